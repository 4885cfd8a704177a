"""What a loss function is: for labels or for targets, a mean over items or their sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..tasks import EpisodeBatch

__all__ = [
    "LossFunction",
    "LossKind",
    "as_function",
    "check_loss",
    "check_losses",
    "growth",
    "is_cross_entropy",
    "is_distance",
    "kind_of",
    "learns",
    "said_kind",
]

LossFunction = Callable[[Tensor, Tensor], Tensor]

DISTANCES = {
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.binary_cross_entropy: nn.BCELoss,
}
"""Losses that compare scores with targets of the same shape, number by number."""
CROSS_ENTROPY = {F.cross_entropy: nn.CrossEntropyLoss}


def is_cross_entropy(loss_fn: Any) -> bool:
    """Whether a loss is PyTorch's cross-entropy: a function, a module, or either with settings."""
    return _is_one_of(loss_fn, CROSS_ENTROPY)


def is_distance(loss_fn: Any) -> bool:
    """Whether a loss compares scores with targets of the same shape, as far as we can tell."""
    return _is_one_of(loss_fn, DISTANCES)


def _is_one_of(loss_fn: Any, kinds: Mapping[Any, type[nn.Module]]) -> bool:
    plain = getattr(loss_fn, "func", loss_fn)  # of a functools.partial
    return isinstance(plain, tuple(kinds.values())) or any(plain is kind for kind in kinds)


def as_function(name: str, function: Any) -> Any:
    """`function` itself, often a module; a ValueError if it cannot be called, or is a class."""
    if not callable(function) or isinstance(function, type):
        raise ValueError(f"{name} must be a module or a function, got {kind_of(function)}")
    return function


def kind_of(value: Any) -> str:
    """What something is, for a message."""
    if isinstance(value, Tensor):
        return f"a tensor of layout {value.layout}"
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def check_loss(loss_fn: Any, y: Tensor) -> None:
    """Refuse a loss that is meaningless for these labels (..., S) or targets (..., S, out)."""
    as_function("loss_fn", loss_fn)
    if y.is_floating_point() and is_cross_entropy(loss_fn):
        raise ValueError(
            "support_y holds regression targets, for which cross-entropy means nothing (with "
            "one output it is always 0); build MAML with loss_fn=F.mse_loss"
        )
    if not y.is_floating_point() and is_distance(loss_fn):
        raise ValueError(
            "support_y holds class labels, from which scores have no distance; take "
            "loss_fn=F.cross_entropy, or a function that makes targets of the labels first"
        )


def check_losses(losses: Tensor) -> None:
    """Refuse losses that are not one number for each of T tasks, (T,)."""
    if losses.ndim != 1:
        raise ValueError(
            f"loss_fn must give one number for a task, got the shape {tuple(losses.shape[1:])}; "
            "take the mean over its items"
        )


def learns(loss_fn: Any) -> bool:
    """Whether a loss has parameters that are learned."""
    return isinstance(loss_fn, nn.Module) and any(p.requires_grad for p in loss_fn.parameters())


# ------------------------------------------------------------------ a mean or a sum?


def said_kind(loss_fn: Any) -> str | None:
    """What PyTorch's own losses say about themselves; None for others, and for weighted ones."""
    if getattr(loss_fn, "__module__", None) == "torch.nn.functional":
        return "mean"
    is_own = type(loss_fn).__module__ == "torch.nn.modules.loss"
    said = is_own and getattr(loss_fn, "weight", None) is None
    return loss_fn.reduction if said and loss_fn.reduction in ("mean", "sum") else None


def growth(parts: list[float], whole: float, dtype: torch.dtype) -> str:
    """What kind of loss gives `whole` for tasks together and `parts` for each task alone."""
    rtol = min(1e-2, 100 * torch.finfo(dtype).eps)
    if np.isclose(whole, np.mean(parts), rtol=rtol, atol=0, equal_nan=True):
        return "mean"
    return "sum" if np.isclose(whole, np.sum(parts), rtol=rtol, atol=0) else "neither"


class LossKind:
    """Whether a loss is the "mean" over items, their "sum" or "neither", found when first needed.

    For PyTorch's own losses without weights, it is known. Other losses are tried, once on tasks
    with equal labels and once on others, because in a weighted mean every task with equal labels
    has the same share.
    """

    def __init__(self) -> None:
        self._tried: tuple[Any, dict[int | None, str]] = (None, {})

    def of(self, loss_fn: Any, tasks: EpisodeBatch, try_on: Callable[..., str]) -> str:
        """The kind of `loss_fn` on these tasks.

        Args:
            try_on: from two batches of one task to the kind of the loss on them (`growth`).
        """
        said = said_kind(loss_fn)
        if said is not None:
            return said
        other = _task_with_other_labels(tasks.query_y)
        if self._tried[0] is not loss_fn:
            self._tried = loss_fn, {}
        known = self._tried[1]
        if other not in known:
            known[other] = try_on(tasks[0:1], tasks[other or -1 :][:1])
        return known[other]


def _task_with_other_labels(y: Tensor) -> int | None:
    """The first of T tasks whose labels (T, Q) differ from those of task 0, in any order."""
    y = y.flatten(1).sort(dim=1).values
    other = (y != y[0]).any(dim=1).nonzero()
    return int(other[0]) if len(other) else None
