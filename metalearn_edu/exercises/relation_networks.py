"""Reference solutions of the exercises of notebook 04, and the examples they are compared on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "CLASS_EXAMPLES",
    "LOSS_EXAMPLES",
    "PAIR_EXAMPLES",
    "RELATION_EXAMPLES",
    "all_pairs",
    "class_scores",
    "relation_logits",
    "squared_error",
]


def all_pairs(class_z: Tensor, query_z: Tensor) -> Tensor:
    """Pairs (Q, n_way, 2d): row q, column k is class_z[k] (n_way, d), then query_z[q] (Q, d)."""
    shape = (len(query_z), len(class_z), -1)
    return torch.cat([class_z.expand(shape), query_z[:, None].expand(shape)], dim=2)


def relation_logits(
    class_z: Tensor, query_z: Tensor, weight: Tensor, bias: Tensor, score: Tensor
) -> Tensor:
    """Logits (Q, n_way) of a hidden layer on [class; query], without making the pairs.

    Args:
        class_z, query_z: (n_way, d) and (Q, d).
        weight, bias: (h, 2d) and (h,), the hidden layer; ReLU follows.
        score: (h,), from the hidden layer to the logit.
    """
    d = class_z.shape[1]
    from_class = class_z @ weight[:, :d].T + bias  # (n_way, h)
    from_query = query_z @ weight[:, d:].T  # (Q, h)
    return F.relu(from_class + from_query[:, None]) @ score


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over pairs of (score - 1 for the own class, else 0) squared; scores (Q, n_way)."""
    return (scores - F.one_hot(labels, scores.shape[1])).square().mean()


def class_scores(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    """Scores (Q, n_way): the mean of item_scores (Q, S) over the support items of each class."""
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ (one_hot / one_hot.sum(dim=0))


_CLASSES = torch.tensor([[0.0, 1.0], [3.0, 2.0], [-1.0, 0.5]])
_QUERIES = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
_WEIGHT = torch.tensor([[1.0, 0, -1, 0], [-1, 0, 1, 0], [0, 2, 0, -1], [0.5, -1, 0, 1]])
_BIAS = torch.tensor([0.5, 0.0, -1.0, 0.25])
_SCORE = torch.tensor([-1.0, -1.0, -0.5, 2.0])
_SCORES = torch.tensor([[0.9, 0.2, 0.0], [0.5, 0.5, 1.0], [0.1, 0.7, 0.3]])
_ITEM_SCORES = torch.tensor([[3.0, -1.0, 2.0, 0.5], [0.0, 1.0, -2.0, 4.0]])

PAIR_EXAMPLES = [(_CLASSES, _QUERIES), (_QUERIES, _QUERIES), (_CLASSES[:2, :1], _QUERIES[:, :1])]
RELATION_EXAMPLES = [
    (_CLASSES, _QUERIES, _WEIGHT, _BIAS, _SCORE),
    (_QUERIES, _QUERIES, _WEIGHT, 0 * _BIAS, _SCORE),
    (_CLASSES, _QUERIES[:1], _WEIGHT[:3], _BIAS[:3], -_SCORE[:3]),
]
LOSS_EXAMPLES = [
    (_SCORES, torch.tensor([0, 2, 1])),
    (torch.full((5, 5), 0.2), torch.arange(5)),
    (_SCORES[:2], torch.tensor([1, 1])),
]
CLASS_EXAMPLES = [
    (_ITEM_SCORES, torch.tensor([0, 0, 1, 1]), 2),
    (_ITEM_SCORES, torch.tensor([1, 0, 1, 1]), 2),
    (_ITEM_SCORES, torch.tensor([2, 0, 1, 0]), 3),
]
