"""Reference solutions of the exercises of notebook 01, and the examples they are compared on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "COUNT_EXAMPLES",
    "COUNT_HINT",
    "LABEL_EXAMPLES",
    "LABEL_HINT",
    "SPLIT_EXAMPLES",
    "SPLIT_HINT",
    "count_episodes",
    "episode_labels",
    "split_items",
]


def episode_labels(class_ids: Tensor, chosen: Tensor) -> Tensor:
    """Labels (S,) of items of the classes class_ids (S,): their places in chosen (n_way,)."""
    return (class_ids[:, None] == chosen).int().argmax(dim=1)


def split_items(items: Tensor, n_shot: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support and query sets, items and labels class by class, of items (T, n_way, n, *item)."""
    parts = []
    for x in (items[:, :, :n_shot], items[:, :, n_shot:]):
        labels = torch.arange(x.shape[1]).repeat_interleave(x.shape[2])  # 0, 0, .., 1, 1, ..
        parts += [x.flatten(1, 2), labels.repeat(len(x), 1)]
    support_x, support_y, query_x, query_y = parts
    return support_x, support_y, query_x, query_y


def count_episodes(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    """Number of different episodes of a pool of n_classes classes with class_size items each."""
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    return math.perm(n_classes, n_way) * items**n_way


LABEL_EXAMPLES = [
    (torch.tensor([7, 3, 7, 9]), torch.tensor([9, 3, 7])),
    (torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 2])),
    (torch.tensor([41, 853]), torch.tensor([853, 41])),
]
LABEL_HINT = (
    "the label is the place of the class in `chosen`: not its class number, and not its rank among "
    "the sorted numbers"
)
SPLIT_EXAMPLES = [
    (torch.arange(12.0).reshape(1, 3, 4, 1), 1),
    (torch.arange(24.0).reshape(2, 3, 4, 1), 2),
    (torch.arange(40.0).reshape(1, 2, 5, 2, 2), 3),
]
SPLIT_HINT = (
    "the first n_shot items of each class are the support set, the others the query set; items and "
    "labels come class by class: 0, 0, .., 1, 1, .."
)
COUNT_EXAMPLES = [(3, 4, 2, 1, 2), (3, 2, 2, 1, 1), (5, 6, 3, 2, 3), (6, 20, 2, 5, 15)]
COUNT_HINT = (
    "classes in order (math.perm), times, for each of the n_way classes, the ways to choose its "
    "support items and then its query items from those left (math.comb)"
)
