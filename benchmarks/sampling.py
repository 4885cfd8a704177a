"""Workload 7: episodes from images in memory, beside a loop over items.

The loop is what a `Dataset` of episodes and a `DataLoader` do (as in torchmeta): take an item,
make it a float image, collate the items of a set, collate the tasks of a batch. It is told which
items to take, so that both give the same images; ours draws them first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import default_collate

from benchmarks.race import Aim, Run, Workload
from metalearn_edu import EpisodeSampler, FewShotDataset

__all__ = ["WORKLOADS"]

N_CLASSES, N_ITEMS, N_TASKS = 1600, 20, 16
N_WAY, N_SHOT, N_QUERY = 5, 1, 15


def make_sampler() -> EpisodeSampler:
    """Random images; the first pixel of an image is its number within the class."""
    generator = torch.Generator().manual_seed(0)
    shape = (N_CLASSES * N_ITEMS, 1, 28, 28)
    items = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    items[:, 0, 0, 0] = torch.arange(len(items)) % N_ITEMS
    labels = torch.arange(N_CLASSES).repeat_interleave(N_ITEMS)
    return EpisodeSampler(FewShotDataset(items, labels), N_WAY, N_SHOT, N_QUERY)


def vectorised() -> Run:
    """`EpisodeSampler.episodes`."""
    sampler = make_sampler()

    def run() -> list[Tensor]:
        batch = sampler.episodes(0, 0, N_TASKS)
        return [batch.support_x, batch.support_y, batch.query_x, batch.query_y]

    return run


def item_by_item() -> Run:
    """A loop over tasks, classes and items."""
    sampler = make_sampler()
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


WORKLOADS = {
    "7-sampling": Workload(
        {"item by item, collated": item_by_item, "EpisodeSampler": vectorised},
        (Aim("EpisodeSampler", "item by item, collated", 50),),
        tolerance=0.0,
    )
}
