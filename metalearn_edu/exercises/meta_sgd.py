"""Reference solutions of the exercises of notebook 06, and the examples they are compared on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .maml import bowl, far_bowl, waves

__all__ = [
    "META_EXAMPLES",
    "META_HINT",
    "REGRESSION_EXAMPLES",
    "REGRESSION_HINT",
    "SCALAR_EXAMPLES",
    "SCALAR_HINT",
    "best_start_and_rate",
    "meta_sgd_gradients",
    "scalar_gradients",
]

Loss = Callable[[Tensor], Tensor]


def scalar_gradients(
    w: float, rate: float, support_target: float, query_target: float
) -> tuple[float, float]:
    """Gradient by w and by the rate of the query loss (w' - query_target)^2 / 2 after one step."""
    support_slope = w - support_target
    query_slope = w - rate * support_slope - query_target
    return query_slope * (1 - rate), -query_slope * support_slope


def best_start_and_rate(support_targets: Tensor, query_targets: Tensor) -> tuple[Tensor, Tensor]:
    """Start and rate, two scalars, with the least mean query loss over tasks of one weight.

    Args:
        support_targets: (n_tasks,), not all equal.
        query_targets: (n_tasks,), whose slope on the support targets is not 1.
    """
    s = support_targets - support_targets.mean()
    rate = (s * query_targets).sum() / s.square().sum()
    w = (query_targets.mean() - rate * support_targets.mean()) / (1 - rate)
    return w, rate


def meta_sgd_gradients(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> tuple[Tensor, Tensor]:
    """Gradients by w and by rates, all of one shape, of the query loss after the inner steps.

    Source: Li et al. (2017), eq. 2, with one or more steps of the same rates.
    """
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w = fast_w - rates * gradient
    by_w, by_rates = torch.autograd.grad(query_loss(fast_w), (w, rates))
    return by_w, by_rates


_DRAWN = torch.Generator().manual_seed(6)
_S, _NOISE = torch.randn(2, 12, generator=_DRAWN)
_POINT, _RATES = torch.tensor([0.5, -1.0]), torch.tensor([0.2, -0.4])

SCALAR_EXAMPLES = [
    (2.0, 0.1, 1.0, 3.0),
    (-1.0, 0.5, 4.0, 0.0),
    (2.0, 0.0, 1.0, 3.0),
    (1.0, -0.3, 0.5, 2.0),
    (2.0, 0.1, 2.0, 3.0),
]
SCALAR_HINT = (
    "both are the slope of the query loss at w' times something: by w that is 1 - rate, by the "
    "rate it is minus the slope of the support loss at w"
)
REGRESSION_EXAMPLES = [
    (torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])),
    (_S, 0.7 * _S + 0.2 * _NOISE),
    (_S + 3, 1.5 - 0.6 * _S + 0.3 * _NOISE),
    (_S[:5], torch.full((5,), 4.0)),
]
REGRESSION_HINT = (
    "the slope is the mean of (s - mean s)(q - mean q) over the mean of (s - mean s)^2; the "
    "intercept, mean q - slope * mean s, is (1 - rate) w and not yet w"
)
META_EXAMPLES = [
    (bowl, far_bowl, torch.tensor([2.0]), torch.tensor([0.1]), 1),
    (waves, bowl, _POINT, _RATES, 1),
    (waves, bowl, _POINT, _RATES, 3),
    (bowl, waves, _POINT[:, None].expand(2, 3), _RATES[:, None].expand(2, 3), 2),
]
META_HINT = (
    "a new support gradient at every new fast_w, with its graph (create_graph=True), times rates; "
    "then one call of autograd.grad at the end by both w and rates"
)
