"""Checks of inputs: tensors or arrays of T tasks, which must fit each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.losses import kind_of
from ..tasks.episodes import check_finite

__all__ = [
    "as_items",
    "as_tensor",
    "check_kind",
    "check_queries",
    "check_shapes",
    "check_support",
    "like",
    "one_hot_of_every_class",
]


def as_tensor(name: str, value: Any) -> Tensor:
    """`value` as a tensor: arrays and lists of numbers are copied into one.

    Raises:
        ValueError: it does not hold numbers, or has rows of unequal length.
    """
    if isinstance(value, Tensor) and value.layout is torch.strided:
        return value
    try:
        return torch.from_numpy(np.array(value, order="C"))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(
            f"{name} must be a tensor or an array of numbers, got {kind_of(value)}"
        ) from None


def as_items(name: str, x: Any) -> Tensor:
    """`x` as a tensor of floats; for bytes, a ValueError that says what to do."""
    x = as_tensor(name, x)
    if not x.is_floating_point():
        raise ValueError(f"{name} holds {x.dtype}, not floats; for images, {name}.float() / 255")
    return x


def like(x: Tensor, other: Tensor) -> Tensor:
    """`x` on the device of `other`, floats in its dtype, and ready for gradients."""
    x = x.to(other.device, other.dtype if x.is_floating_point() else None)
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def check_shapes(x_name: str, x: Tensor, y_name: str, y: Tensor) -> None:
    """Refuse items (T, S, *item) and labels or targets (T, S, ...) that cannot belong together."""
    if x.ndim < 3 or y.shape[:2] != x.shape[:2]:
        raise ValueError(
            f"need {x_name} (T, S, *item) and {y_name} (T, S) with the same T and S, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    if 0 in x.shape[:2]:
        raise ValueError(f"{x_name} holds no items: its shape is {tuple(x.shape)}")
    check_finite(x_name, x)


def check_support(support_x: Tensor, support_y: Tensor) -> None:
    """Refuse support sets of T tasks that do not fit, lack a class or hold NaN."""
    check_shapes("support_x", support_x, "support_y", support_y)
    if support_y.is_floating_point():
        check_finite("support_y", support_y)
    else:
        one_hot_of_every_class(support_y)


def one_hot_of_every_class(support_y: Tensor) -> Tensor:
    """Labels (T, S) as (T, S, n_way) of 0 and 1; an error unless each task has every class."""
    if support_y.dtype != torch.int64 or support_y.ndim != 2:
        raise ValueError(
            f"support_y must be int64 labels (T, S), got {support_y.dtype} "
            f"{tuple(support_y.shape)}; regression targets must be floating point"
        )
    lowest, highest = int(support_y.min()), int(support_y.max())
    if lowest < 0:
        raise ValueError(f"support_y must hold labels from 0, got {lowest}")
    if highest >= support_y.shape[1]:  # more classes than items: do not make a table of that size
        _refuse_missing(0, support_y[0], highest)
    one_hot = F.one_hot(support_y, highest + 1)
    present = one_hot.any(dim=1)  # (T, n_way)
    if not present.all():
        task = int((~present).any(dim=1).nonzero()[0])
        _refuse_missing(task, support_y[task], highest)
    return one_hot


def _refuse_missing(task: int, labels: Tensor, highest: int) -> None:
    missing = min(set(range(len(labels) + 1)) - set(labels.tolist()))
    raise ValueError(
        f"support_y of task {task} has no item with label {missing}; labels must run from 0 to "
        f"n_way - 1 = {highest} with every class present in every task"
    )


def check_queries(support_x: Tensor, query_x: Tensor) -> None:
    """Refuse queries that do not fit their support sets, or hold NaN."""
    fits = query_x.ndim > 2 and query_x.shape[2:] == support_x.shape[2:]
    if not fits or len(query_x) != len(support_x):
        raise ValueError(
            f"query_x {tuple(query_x.shape)} does not fit support_x {tuple(support_x.shape)}: "
            "the tasks (first axis) and the shape of an item (after the second) must agree"
        )
    if query_x.shape[1] == 0:
        raise ValueError(f"query_x holds no items: its shape is {tuple(query_x.shape)}")
    check_finite("query_x", query_x)


def check_kind(support_y: Tensor, *, regression: bool) -> None:
    """Refuse labels where a network is for regression, and targets where it is for labels."""
    if regression != support_y.is_floating_point():
        raise ValueError(
            f"support_y is {support_y.dtype}, but this network was built for "
            f"{'regression' if regression else 'class labels'} (regression=...)"
        )
