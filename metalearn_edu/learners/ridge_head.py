"""R2-D2: the last layer of each task by ridge regression, in closed form, trained through.

Bertinetto, Henriques, Torr & Vedaldi (2019).

    W = Z'(ZZ' + lambda I)^-1 Y   where a task has few items: S equations
    W = (Z'Z + lambda I)^-1 Z'Y   where it has many: d equations; the same W
    scores = s * Z_query W        s is learned

Z are the embeddings of the support set with a column of ones, Y its labels as one-hot rows, both
divided by the root of the number S of items, so that lambda weighs against a mean.

What is unusual: classes are regressed on, as if they were numbers. So the best layer is the answer
of a linear system, and the outer gradient runs through its solution. The paper also adds one
learned number to all scores, which softmax does not see; we leave it out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..basics.arguments import as_number
from ..engine.losses import as_function
from .base import MetaLearner
from .checks import one_hot_of_every_class
from .classes import embed_vectors

__all__ = ["RidgeHead", "ridge_weights", "with_ones"]


def with_ones(z: Tensor) -> Tensor:
    """Embeddings (..., d) with a last number of 1, whose weight is a bias: (..., d + 1)."""
    return torch.cat([z, torch.ones_like(z[..., :1])], dim=-1)


def ridge_weights(z: Tensor, targets: Tensor, strength: float) -> Tensor:
    """The W that makes |z W - targets|^2 / S + strength * |W|^2 least, for each of T tasks.

    Of the two formulas, the one with the smaller system of equations.

    Args:
        z: (T, S, d).
        targets: (T, S, out).
        strength: lambda, above 0.
    Returns:
        (T, d, out).
    Source: Bertinetto et al. (2019).
    """
    n_items, width = z.shape[1:]
    z, targets = z / n_items**0.5, targets / n_items**0.5
    if n_items <= width:
        return z.mT @ torch.linalg.solve(_plus(z @ z.mT, strength), targets)
    return torch.linalg.solve(_plus(z.mT @ z, strength), z.mT @ targets)


def _plus(square: Tensor, strength: float) -> Tensor:
    """Square matrices (T, n, n) + strength * I."""
    one = torch.eye(square.shape[-1], dtype=square.dtype, device=square.device)
    return square + strength * one


class RidgeHead(MetaLearner):
    """An encoder whose embeddings suit a last layer that ridge regression finds.

    Args:
        encoder: maps items (B, *item) to embeddings (B, d).
        strength: lambda.
        scale: what the learned factor s of the scores starts from.
    Raises:
        ValueError: strength or scale is no number above 0.
    """

    def __init__(self, encoder: nn.Module, strength: float = 0.1, scale: float = 10.0) -> None:
        super().__init__()
        self.encoder = as_function("encoder", encoder)
        self.strength = as_number("strength", strength, above=0)
        self.scale = nn.Parameter(torch.tensor(as_number("scale", scale, above=0)))

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """W, (T, d + 1, n_way)."""
        z = with_ones(embed_vectors(self.encoder, support_x))
        return ridge_weights(z, one_hot_of_every_class(support_y).to(z.dtype), self.strength)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        """The scores s * Z W, (T, Q, n_way)."""
        return self.scale * (with_ones(embed_vectors(self.encoder, query_x)) @ state)
