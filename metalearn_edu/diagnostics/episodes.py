"""Are episodes sound, in labels, items and classes? Introduced in notebook 01."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..tasks import EpisodeBatch
from .report import Report

__all__ = ["check_episodes", "fingerprints"]


def check_episodes(
    episodes: EpisodeBatch | Sequence[Tensor] | Tensor,
    support_y: Tensor | None = None,
    query_x: Tensor | None = None,
    query_y: Tensor | None = None,
    *,
    classes: Tensor | None = None,
) -> Report:
    """Check whether episodes are sound, even tensors that EpisodeBatch would refuse.

    Args:
        episodes: an EpisodeBatch, a tuple (support_x, support_y, query_x, query_y), or support_x
            followed by the other three; one task without the task axis is fine, too.
        classes: (T, n_way), the data set class behind each label.
    Raises:
        ValueError: the four tensors have no common task axis, items and labels differ in number, or
            there are none.
    """
    if isinstance(episodes, EpisodeBatch):
        classes = episodes.classes if classes is None else classes
        parts = [episodes.support_x, episodes.support_y, episodes.query_x, episodes.query_y]
    elif isinstance(episodes, tuple | list):
        parts = _with_task_axis(list(episodes))
    else:
        parts = _with_task_axis([episodes, support_y, query_x, query_y])
    support_x, support_y, query_x, query_y = parts
    problems = []
    if support_y.is_floating_point() != query_y.is_floating_point():
        problems.append(f"support_y holds {support_y.dtype}, query_y {query_y.dtype}")
    elif not support_y.is_floating_point():
        problems += _label_problems(support_y, query_y)
    elif not (torch.isfinite(support_y).all() and torch.isfinite(query_y).all()):
        problems.append("targets hold NaN or infinite numbers")
    problems += _item_problems(support_x, query_x)
    if classes is not None:
        problems += _class_problems(_checked_classes(classes, len(support_x)))
    return Report("episodes", problems, {"tasks": len(support_x)})


def _with_task_axis(parts: list[Any]) -> list[Tensor]:
    if len(parts) != 4 or not all(isinstance(part, Tensor) for part in parts):
        raise ValueError("need four tensors: support_x, support_y, query_x, query_y")
    is_one_task = parts[1].ndim == (2 if parts[1].is_floating_point() else 1)
    parts = [part[None] for part in parts] if is_one_task else parts
    support_x, support_y, query_x, query_y = parts
    fits = support_x.shape[:2] == support_y.shape[:2] and query_x.shape[:2] == query_y.shape[:2]
    flat = min(support_x.ndim, query_x.ndim) < 3 or support_y.ndim < 2
    if not fits or flat or support_x.shape[:1] != query_x.shape[:1] or 0 in support_x.shape[:2]:
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(
            "need support_x (T, S, *item), support_y (T, S), query_x (T, Q, *item), "
            f"query_y (T, Q); got {shapes}"
        )
    return parts


def _checked_classes(classes: Any, n_tasks: int) -> Tensor:
    if not isinstance(classes, Tensor) or classes.ndim != 2 or len(classes) != n_tasks:
        shape = tuple(classes.shape) if isinstance(classes, Tensor) else type(classes).__name__
        raise ValueError(f"classes must be a tensor (tasks, n_way) of {n_tasks} tasks, got {shape}")
    return classes


def _label_problems(support_y: Tensor, query_y: Tensor) -> list[str]:
    """Faults of the labels, each reported for the first task that has it."""
    found: dict[str, str] = {}
    for task, (support, query) in enumerate(zip(support_y, query_y, strict=True)):
        labels, counts = support.unique(return_counts=True)
        query_labels, query_counts = query.unique(return_counts=True)
        n_way, ids = len(labels), labels.tolist()
        if n_way == 1:
            found.setdefault(
                "one", f"task {task} has one class only: nothing to tell apart, any guess is right"
            )
        if ids != list(range(n_way)):
            found.setdefault(
                "range", f"labels of task {task} are {ids[:10]}, not 0..{n_way - 1}: remap them"
            )
        strangers = sorted(set(query_labels.tolist()) - set(ids))
        if strangers:
            found.setdefault(
                "strangers", f"task {task} asks for labels {strangers[:10]} without support items"
            )
        for side, n in (("support", counts), ("query", query_counts)):
            if int(n.min()) != int(n.max()):
                found.setdefault(
                    side, f"the {side} set of task {task} has {n.tolist()[:10]} items per class"
                )
    return list(found.values())


def _item_problems(support_x: Tensor, query_x: Tensor) -> list[str]:
    support, query = fingerprints(support_x), fingerprints(query_x)
    problems = []
    shared = [len(set(s) & set(q)) for s, q in zip(support, query, strict=True)]
    if any(shared):
        problems.append(
            f"{sum(shared)} support items are among the queries of their task (first in task "
            f"{_first(shared)}): the answer was shown"
        )
    for side, items in (("support", support), ("query", query)):
        repeated = [len(row) - len(set(row)) for row in items]
        if any(repeated):
            problems.append(
                f"{sum(repeated)} items stand twice in the {side} set of their task (first in "
                f"task {_first(repeated)})"
            )
    twins = len(support) - len({(*s, *q) for s, q in zip(support, query, strict=True)})
    if twins:
        problems.append(f"{twins} of {len(support)} tasks repeat another task item by item")
    if not (torch.isfinite(support_x).all() and torch.isfinite(query_x).all()):
        problems.append("items hold NaN or infinite numbers")
    return problems


def _class_problems(classes: Tensor) -> list[str]:
    problems = []
    repeated = [len(row) - len(set(row)) for row in classes.tolist()]
    if any(repeated):
        row = classes[_first(repeated)].tolist()
        problems.append(
            f"{sum(r > 0 for r in repeated)} tasks use one class under two labels (first task "
            f"{_first(repeated)}, classes {row[:10]})"
        )
    n_tasks, n_way = classes.shape
    in_order = bool((classes.diff(dim=1) > 0).all())
    if in_order and n_way > 1 and math.factorial(n_way) ** n_tasks > 1000:
        problems.append(
            "labels follow the order of the classes in every task: shuffle them, or a learner can "
            "remember which label a class tends to get"
        )
    return problems


def fingerprints(items: Tensor) -> list[list[bytes]]:
    """The bytes of each item (T, n, *item), to find equal ones."""
    items = items.detach().cpu()
    items = items + 0.0 if items.is_floating_point() else items  # -0.0 equals 0.0
    rows = items.flatten(2).contiguous().view(torch.uint8).numpy()
    return [[row.tobytes() for row in task] for task in rows]


def _first(counts: list[int]) -> int:
    return next(i for i, count in enumerate(counts) if count)
