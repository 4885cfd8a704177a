"""Workload 7: episodes from images in memory, beside a loop over items.

The loop is what a `Dataset` of episodes and a `DataLoader` do (as in torchmeta): take an item,
make it a float image, collate the items of a set, collate the tasks of a batch. It is told which
items to take, so that both give the same images; ours draws them first.

And sampling beside the step that it feeds, for the quick steps among workloads 1 to 6: it should
take no more than a twentieth of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import default_collate

from benchmarks import embedding, inner_loop, recurrent
from benchmarks.workload import Aim, Run, Workload
from metalearn_edu import EpisodeSampler, FewShotDataset, Sinusoids, Streams, TaskSource

__all__ = ["WORKLOADS"]

N_CLASSES, N_ITEMS, N_TASKS = 1600, 20, 16
N_WAY, N_SHOT, N_QUERY = 5, 1, 15


def random_dataset() -> FewShotDataset:
    """Random images; the first pixel of an image is its number within the class."""
    generator = torch.Generator().manual_seed(0)
    shape = (N_CLASSES * N_ITEMS, 1, 28, 28)
    items = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    items[:, 0, 0, 0] = torch.arange(len(items)) % N_ITEMS
    labels = torch.arange(N_CLASSES).repeat_interleave(N_ITEMS)
    return FewShotDataset(items, labels)


def vectorised() -> Run:
    """`EpisodeSampler.episodes`."""
    sampler = EpisodeSampler(random_dataset(), N_WAY, N_SHOT, N_QUERY)

    def run() -> list[Tensor]:
        batch = sampler.episodes(0, 0, N_TASKS)
        return [batch.support_x, batch.support_y, batch.query_x, batch.query_y]

    return run


def item_by_item() -> Run:
    """A loop over tasks, classes and items."""
    sampler = EpisodeSampler(random_dataset(), N_WAY, N_SHOT, N_QUERY)
    batch = sampler.episodes(0, 0, N_TASKS)
    classes = torch.as_tensor(batch.classes)[..., None]  # (T, n_way, 1)

    def rows(images: Tensor, per_class: int) -> list[list[int]]:
        within = (images[:, :, 0, 0, 0] * 255).round().long().view(N_TASKS, N_WAY, per_class)
        return (classes * N_ITEMS + within).flatten(1).tolist()

    support, query = rows(batch.support_x, N_SHOT), rows(batch.query_x, N_QUERY)
    items = sampler.dataset.items

    def item(row: int, label: int) -> tuple[Tensor, int]:
        return items[row].float() / 255, label

    def one_set(rows: list[int], per_class: int) -> list[Tensor]:
        return default_collate([item(row, i // per_class) for i, row in enumerate(rows)])

    def run() -> list[Tensor]:
        tasks = [
            [*one_set(s, N_SHOT), *one_set(q, N_QUERY)] for s, q in zip(support, query, strict=True)
        ]
        return default_collate(tasks)

    return run


def sampling_for(tasks: Callable[[], TaskSource], n_tasks: int) -> Run:
    """The batches of one training step after the other; there is no result to compare."""
    source, starts = tasks(), count(step=n_tasks)

    def run() -> list[Tensor]:
        source.episodes(0, next(starts), n_tasks)
        return []

    return run


def without_result(make: Callable[[], Run]) -> Run:
    """The same work, as one without a result to compare."""
    step = make()

    def run() -> list[Tensor]:
        step()
        return []

    return run


def share(step: Callable[[], Run], tasks: Callable[[], TaskSource], n_tasks: int) -> Workload:
    """A training step, and the sampling of a batch like its own."""
    contenders = {
        "training step": partial(without_result, step),
        "sampling": partial(sampling_for, tasks, n_tasks),
    }
    aims = (Aim("sampling", "training step", 20),)
    return Workload(contenders, aims, threads=(1,), memory=False)


def images(*sizes: int) -> Callable[[], TaskSource]:
    """Episodes of random images, n_way, n_shot and n_query."""
    return lambda: EpisodeSampler(random_dataset(), *sizes)


MAML_STEPS = inner_loop.WORKLOADS
SHARES = {
    "1-sinusoid": share(MAML_STEPS["1-sinusoid"].contenders["MAML"], Sinusoids, 25),
    "2-mlp-1step": share(MAML_STEPS["2-mlp-1step"].contenders["MAML"], images(5, 1, 15), 32),
    "5-prototypical": share(embedding.PROTOTYPICAL.step, images(60, 1, 5), 1),
    "5-prototypical-mlp": share(embedding.PROTOTYPICAL_MLP.step, images(60, 1, 5), 1),
    "6-mann": share(recurrent.network, lambda: Streams(random_dataset()), 16),
}
WORKLOADS = {
    "7-sampling": Workload(
        {"item by item, collated": item_by_item, "EpisodeSampler": vectorised},
        (Aim("EpisodeSampler", "item by item, collated", 50),),
        tolerance=0.0,
    )
} | {f"7-sampling-share-of-{name}": workload for name, workload in SHARES.items()}
