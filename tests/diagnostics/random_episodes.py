import torch

from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler, FewShotDataset


def make_episodes(n_tasks=2, n_way=3, n_shot=2, n_query=3, item=(4,), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def items(n):
        return torch.randn(n_tasks, n_way * n, *item, generator=generator, dtype=dtype)

    def labels(n):
        return torch.arange(n_way).repeat_interleave(n).repeat(n_tasks, 1)

    return EpisodeBatch(items(n_shot), labels(n_shot), items(n_query), labels(n_query))


def image_sampler():
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(0, 256, (60, 1, 8, 8), generator=generator).to(torch.uint8)
    return EpisodeSampler(FewShotDataset(items, torch.arange(6).repeat(10)), 3, 2, 4)
