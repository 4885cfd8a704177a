"""Reference solutions of the exercises of notebook 09, and the examples they are compared on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "CLASS_EXAMPLES",
    "CLASS_HINT",
    "DEAF_EXAMPLES",
    "DEAF_HINT",
    "FILM_EXAMPLES",
    "FILM_HINT",
    "POOL_EXAMPLES",
    "POOL_HINT",
    "class_vectors",
    "film_layer",
    "is_deaf",
    "mean_and_spread",
]

Encoder = Callable[[Tensor, Tensor], Tensor]


def mean_and_spread(z: Tensor) -> Tensor:
    """One vector (2 d,) of a set of embedded items z (S, d): their mean, then their spread."""
    mean = z.mean(dim=0)  # (d,)
    variance = (z - mean).square().mean(dim=0)
    return torch.cat([mean, (variance + 1e-6).sqrt()])


def film_layer(h: Tensor, e: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Hidden units h (Q, d), scaled and shifted as the task's vector e (E,) says, after ReLU.

    Args:
        weight, bias: (2 d, E) and (2 d,), the linear layer that makes gamma, then beta.
    """
    gamma, beta = (weight @ e + bias).chunk(2)  # (d,) each
    return F.relu((1 + gamma) * h + beta)


def class_vectors(z: Tensor, y: Tensor, n_way: int) -> Tensor:
    """Mean and spread (n_way, 2 d) of each class, from z (S, d) with labels y (S,)."""
    one_hot = F.one_hot(y, n_way).to(z.dtype)  # (S, n_way)
    counts = one_hot.sum(dim=0)[:, None]  # (n_way, 1)
    mean = one_hot.T @ z / counts  # (n_way, d)
    variance = one_hot.T @ (z - mean[y]).square() / counts
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


def is_deaf(encode: Encoder, support_x: Tensor, support_y: Tensor) -> bool:
    """Whether encode(support_x, support_y) stays the same when only the targets change."""
    return torch.equal(encode(support_x, support_y), encode(support_x, support_y + 1))


def _of_items(x: Tensor, y: Tensor) -> Tensor:
    return mean_and_spread(x)


def _of_pairs(x: Tensor, y: Tensor) -> Tensor:
    return mean_and_spread(torch.cat([x, y], dim=1))


def _of_squares(x: Tensor, y: Tensor) -> Tensor:
    return mean_and_spread(torch.cat([x, y.square()], dim=1))


def _of_sizes(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([x.mean(), torch.tensor(float(len(y)))])


_Z = torch.tensor([[1.0, 0.0], [5.0, 0.0], [1.0, 0.0], [5.0, 4.0]])
_X = torch.tensor([[-1.0], [0.5], [2.0]])
_TARGETS = torch.tensor([[0.5], [3.0], [-1.0]])
_WEIGHT = torch.tensor([[0.5], [0.0], [1.0], [-2.0]])

POOL_EXAMPLES = [(_Z,), (torch.tensor([[4.0, -2.0, 1.0]]),), (_Z[:3] / 2,)]
POOL_HINT = (
    "one mean and one spread for each column; divide by the number of items, also in the spread, "
    "and put 1e-6 under the root"
)
FILM_EXAMPLES = [
    (
        torch.tensor([[1.0, -2.0], [3.0, 0.5]]),
        torch.tensor([2.0]),
        _WEIGHT,
        torch.tensor([0.0, 1.0, 0.0, 0.5]),
    ),
    (torch.tensor([[1.0, -1.0]]), torch.tensor([-3.0]), 0 * _WEIGHT, torch.zeros(4)),
    (_Z / 2 - 1, torch.tensor([1.0, -1.0]), torch.arange(8.0).view(4, 2) / 4, torch.ones(4) / 8),
]
FILM_HINT = (
    "weight @ e + bias holds gamma, then beta; with both zero the layer must be relu(h), so the "
    "factor is 1 + gamma; the ReLU comes last"
)
CLASS_EXAMPLES = [
    (_Z, torch.tensor([0, 1, 1, 0]), 2),
    (_Z, torch.tensor([2, 0, 1, 0]), 3),
    (torch.tensor([[3.0, 1.0]]), torch.tensor([0]), 1),
]
CLASS_HINT = (
    "the spread is around the mean of an item's own class, mean[y]; a class is divided by its own "
    "number of items"
)
DEAF_EXAMPLES = [
    (_of_items, _X, _TARGETS),
    (_of_pairs, _X, _TARGETS),
    (_of_squares, _X, _TARGETS),
    (_of_sizes, _X, _TARGETS),
]
DEAF_HINT = (
    "call encode twice with the same support_x; other targets must be other numbers, not the same "
    "in another order, and not only with another sign"
)
