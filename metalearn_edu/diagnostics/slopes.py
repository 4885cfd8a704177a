"""Slopes of a loss along some directions: by autograd, and by central differences.

Where a direction crosses a kink, of ReLU or of max-pooling, the second difference bounds what the
kink can explain; rounding is bounded too. Only the rest counts as an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "Slopes",
    "directions_around",
    "gradient_figures",
    "resolution_problems",
    "slopes_along",
]


@dataclass
class Slopes:
    """Directional derivatives of the loss, one per direction, for one parameter tensor.

    `kinks` and `rounding` say how far apart these can put the two; `weight` corrects for the share
    of all directions that was tried.
    """

    autograd: Tensor
    differences: Tensor
    kinks: Tensor
    rounding: float
    weight: float

    @property
    def limit(self) -> Tensor:
        """How far apart the two can be although both are right."""
        return self.kinks + self.rounding

    @property
    def relative_error(self) -> float:
        unexplained = ((self.autograd - self.differences).abs() - self.limit).clamp(min=0).norm()
        # NaN stays NaN, and is not a success.
        return 0.0 if unexplained == 0 else (unexplained / self.size).item()

    @property
    def size(self) -> Tensor:
        """Length of the slopes, by autograd or by differences, whichever is larger."""
        return torch.maximum(self.autograd.norm(), self.differences.norm())

    @property
    def is_flat(self) -> bool:
        """Whether the loss does not depend on this parameter."""
        return bool((self.differences.abs() <= self.limit).all())


def directions_around(like: Tensor, n_directions: int, generator: torch.Generator) -> Tensor:
    """(n, *like.shape) orthonormal directions: random, or every coordinate if there are few."""
    if like.numel() <= n_directions:
        basis = torch.eye(like.numel(), dtype=like.dtype)
    else:
        normal = torch.randn(like.numel(), n_directions, dtype=like.dtype, generator=generator)
        basis = torch.linalg.qr(normal).Q.T
    return basis.reshape(len(basis), *like.shape).to(like.device)


def slopes_along(
    directions: Tensor, gradient: Tensor, ends: Tensor, middle: float, step: float
) -> Slopes:
    """The slopes of the loss along some directions of one parameter tensor.

    Args:
        directions: (n, *shape).
        gradient: (*shape), by autograd.
        ends: (n, 2) losses at +step and -step along each direction.
        middle: the loss at the point itself.
    """
    return Slopes(
        directions.reshape(len(directions), -1).mv(gradient.flatten()).cpu(),
        (ends[:, 0] - ends[:, 1]) / (2 * step),
        _kinks(ends, middle, step),
        _rounding(middle, step),
        math.sqrt(gradient.numel() / len(directions)),
    )


def _kinks(ends: Tensor, middle: float, step: float) -> Tensor:
    """How far central differences can be off because of kinks, which show in second differences."""
    return (ends[:, 0] + ends[:, 1] - 2 * middle).abs() / (2 * step)


def _rounding(middle: float, step: float) -> float:
    """How far a central difference can be off because its ends are rounded."""
    return 1e3 * torch.finfo(torch.float64).eps * max(1.0, abs(middle)) / (2 * step)


def resolution_problems(slopes: dict[str, Slopes], step: float) -> list[str]:
    """Whether rounding dominates the differences, so that nothing was checked."""
    hidden = math.hypot(*(s.weight * s.rounding * len(s.kinks) ** 0.5 for s in slopes.values()))
    size = math.hypot(*(s.weight * s.size.item() for s in slopes.values()))
    if size == 0 or hidden <= 0.1 * size:
        return []
    return [
        f"differences at step {step:g} check nothing: rounding alone may explain {hidden:.2g} of "
        f"slopes of {size:.2g} in all; take a larger step, or a loss that is larger than its noise"
    ]


def gradient_figures(slopes: dict[str, Slopes]) -> dict[str, float]:
    """Relative error, cosine and norm ratio to the true gradient; the error of each tensor."""
    ours = torch.cat([s.weight * s.autograd for s in slopes.values()])
    true = torch.cat([s.weight * s.differences for s in slopes.values()])
    figures = {
        "relative error": ((ours - true).norm() / true.norm()).item(),
        "cosine": torch.cosine_similarity(ours, true, dim=0).item(),
        "norm ratio": (ours.norm() / true.norm()).item(),
    }
    return figures | {f"relative error of {n}": s.relative_error for n, s in slopes.items()}
