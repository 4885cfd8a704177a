"""Reference solutions of the exercises of notebook 05, and the examples they are compared on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "LINEAR_EXAMPLES",
    "LINEAR_HINT",
    "META_EXAMPLES",
    "META_HINT",
    "SCALAR_EXAMPLES",
    "SCALAR_HINT",
    "linear_meta_gradient",
    "meta_gradient",
    "scalar_meta_gradient",
]

Loss = Callable[[Tensor], Tensor]


def scalar_meta_gradient(
    w: float, support_target: float, query_target: float, inner_lr: float, first_order: bool
) -> float:
    """d/dw of the query loss (w' - query_target)^2 / 2 after one inner step from w."""
    fast_w = w - inner_lr * (w - support_target)
    gradient = fast_w - query_target
    return gradient if first_order else gradient * (1 - inner_lr)


def linear_meta_gradient(
    w: Tensor,
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    inner_lr: float,
    num_inner_steps: int,
) -> Tensor:
    """Meta-gradient (d,) of the linear model x @ w (d,), loss half the mean squared error.

    Source: Finn et al. (2017), eq. 1, with the constant Hessian X'X / n of a linear model.
    """
    n, d = support_x.shape
    shrink = torch.eye(d, dtype=w.dtype) - inner_lr * support_x.T @ support_x / n
    fast_w = w
    for _ in range(num_inner_steps):
        fast_w = fast_w - inner_lr * support_x.T @ (support_x @ fast_w - support_y) / n
    gradient = query_x.T @ (query_x @ fast_w - query_y) / len(query_x)
    return torch.linalg.matrix_power(shrink, num_inner_steps) @ gradient


def meta_gradient(
    support_loss: Loss,
    query_loss: Loss,
    w: Tensor,
    inner_lr: float,
    num_inner_steps: int,
    first_order: bool,
) -> Tensor:
    """Gradient, shaped like w, of the query loss after some inner steps from w."""
    w = w.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w = fast_w - inner_lr * (gradient.detach() if first_order else gradient)
    return torch.autograd.grad(query_loss(fast_w), w)[0]


def bowl(w: Tensor) -> Tensor:
    """Half the squared distance of w from 1."""
    return (w - 1).square().sum() / 2


def far_bowl(w: Tensor) -> Tensor:
    """Half the squared distance of w from 3."""
    return (w - 3).square().sum() / 2


def waves(w: Tensor) -> Tensor:
    """A loss whose curvature changes from point to point."""
    return (w.sin() + w.prod()).sum()


_DRAWN = torch.Generator().manual_seed(5)
_X, _Q, _W = (torch.randn(n, 3, generator=_DRAWN) for n in (6, 4, 1))
_LINE = (_W[0], _X, _X.sum(dim=1), _Q, _Q[:, 0])
_POINT = torch.tensor([0.5, -1.0])

SCALAR_EXAMPLES = [
    (2.0, 1.0, 3.0, 0.1, False),
    (2.0, 1.0, 3.0, 0.1, True),
    (-1.0, 4.0, 0.0, 0.5, False),
    (2.0, 1.0, 3.0, 0.0, False),
]
SCALAR_HINT = (
    "first w', then the slope of the query loss at w'; second order multiplies it by dw'/dw, "
    "first order takes dw'/dw for 1"
)
LINEAR_EXAMPLES = [(*_LINE, 0.1, 1), (*_LINE, 0.2, 5), (*_LINE, 0.1, 0)]
LINEAR_HINT = (
    "the query gradient is taken at the adapted w_k, and multiplied by (I - inner_lr X'X/n) once "
    "for each inner step; X and n are those of the support set"
)
META_EXAMPLES = [
    (bowl, far_bowl, torch.tensor([2.0]), 0.1, 1, False),
    (bowl, far_bowl, torch.tensor([2.0]), 0.1, 1, True),
    (waves, bowl, _POINT, 0.2, 3, False),
    (waves, bowl, _POINT, 0.2, 3, True),
    (waves, bowl, _POINT, 0.2, 0, False),
]
META_HINT = (
    "a new support gradient at every new fast_w; it keeps its graph (create_graph=True) unless "
    "first_order, and the last gradient is taken by w, not by fast_w"
)
