"""A step of the outer loop, refused if it is meaningless or its results are not finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..basics.arguments import as_number
from ..engine.losses import kind_of
from .modes import MADE_THERE

__all__ = [
    "as_limit",
    "as_optimizer",
    "require_finite",
    "require_finite_weights",
    "require_gradient",
    "require_trainable",
    "take",
]


def as_optimizer(optimizer: Any) -> Any:
    """`optimizer` itself; a ValueError if it is not an optimiser."""
    if not callable(getattr(optimizer, "zero_grad", None)) or isinstance(optimizer, type):
        raise ValueError(f"optimizer must be of torch.optim, got {kind_of(optimizer)}")
    return optimizer


def as_limit(name: str, value: Any) -> float:
    """The largest allowed norm; None means any."""
    return float("inf") if value is None else as_number(name, value, above=0)


def require_finite(what: str, value: Tensor) -> None:
    """Raises FloatingPointError if a number is NaN or infinite."""
    if not torch.isfinite(value):
        raise FloatingPointError(f"{what} is {value.item()}")


def require_trainable(learner: nn.Module) -> None:
    """Refuse a learner without a parameter that can be trained."""
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"{type(learner).__name__} has no parameter to learn")
    if any(p.is_inference() for p in parameters):
        raise ValueError(MADE_THERE)


def require_gradient(loss: Tensor) -> None:
    """Refuse a loss that does not depend on any parameter."""
    if not loss.requires_grad:
        raise ValueError(
            "the loss has no gradient with respect to any parameter of the learner: are we under "
            "torch.no_grad(), or does loss_fn detach the scores?"
        )


def take(optimizer: torch.optim.Optimizer) -> None:
    """One step; a FloatingPointError if its size exceeds the range of the parameters' dtype."""
    try:
        optimizer.step()
    except (RuntimeError, OverflowError) as error:
        if "overflow" not in str(error):
            raise
        raise FloatingPointError(f"the step is too long ({error})") from None


def require_finite_weights(learner: nn.Module) -> None:
    """Raises FloatingPointError if a parameter holds NaN or infinity; it names the first."""
    for name, parameter in learner.named_parameters():
        # A finite sum has only finite terms, and is faster to check.
        if not torch.isfinite(parameter.detach().sum()):
            n_bad = int((~torch.isfinite(parameter)).sum())
            if n_bad:
                raise FloatingPointError(f"{n_bad} numbers of {name} are not finite after the step")
