"""Reference solutions of the exercises of notebook 03, and the examples they are compared on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "ATTENTION_EXAMPLES",
    "LINEAR_EXAMPLES",
    "MEAN_EXAMPLES",
    "REMAP_EXAMPLES",
    "attention_probabilities",
    "linear_scores",
    "mean_by_matmul",
    "remap_labels",
]


def mean_by_matmul(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    """Prototypes (n_way, d) of support_z (S, d) with labels support_y (S,), without a loop."""
    one_hot = F.one_hot(support_y, n_way).to(support_z.dtype)  # (S, n_way)
    shots = one_hot.sum(dim=0)  # (n_way,)
    return one_hot.T @ support_z / shots[:, None]


def linear_scores(query_z: Tensor, prototypes: Tensor) -> Tensor:
    """Scores (Q, n_way) of query_z (Q, d): a linear layer with w = 2c and b = -|c|^2."""
    weight = 2 * prototypes  # (n_way, d)
    bias = -prototypes.square().sum(dim=1)  # (n_way,)
    return query_z @ weight.T + bias


def attention_probabilities(
    query_z: Tensor, support_z: Tensor, support_y: Tensor, n_way: int
) -> Tensor:
    """Class probabilities (Q, n_way): attention to each support item, summed within a class."""
    squared = (query_z[:, None] - support_z).square().sum(dim=-1)  # (Q, S)
    attention = (-squared).softmax(dim=-1)  # (Q, S)
    return attention @ F.one_hot(support_y, n_way).to(attention.dtype)


def remap_labels(support_y: Tensor, query_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The class ids in sorted order, then support_y and query_y as their places 0..n_way-1."""
    classes, new_support_y = torch.unique(support_y, return_inverse=True)
    return classes, new_support_y, torch.searchsorted(classes, query_y)


_Z = torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 1.0], [4.0, 5.0]])
_Y = torch.tensor([0, 1, 0, 1])
_UNEQUAL = torch.tensor([2, 0, 1, 0])
_QUERIES = torch.tensor([[2.0, 2.0], [2.0, 3.0], [0.5, -1.0]])
_CENTRES = torch.tensor([[1.0, 1.0], [4.0, 4.0]])

MEAN_EXAMPLES = [(_Z, _Y, 2), (_Z, _UNEQUAL, 3)]
LINEAR_EXAMPLES = [(_QUERIES, _CENTRES), (_QUERIES[:1], _Z)]
ATTENTION_EXAMPLES = [(_QUERIES, _CENTRES, torch.tensor([0, 1]), 2), (_QUERIES / 2, _Z / 2, _Y, 2)]
REMAP_EXAMPLES = [
    (torch.tensor([3, 7, 9]), torch.tensor([9, 9, 3, 7])),
    (torch.tensor([4, 1, 2, 1]), torch.tensor([4, 2, 4])),
]
