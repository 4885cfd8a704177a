"""Episodes: what every learner in the course eats.

An **episode** is one small learning problem: a support set to learn from and a query set to be
judged on. An `EpisodeBatch` holds many of them side by side, always with the task axis first, so
that a learner can work on all of them at once. Introduced in notebook 01.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

__all__ = ["EpisodeBatch", "Task"]


class Task(NamedTuple):
    """One task of a batch, without the task axis: the form in which papers write an episode.

    support_x (S, *item), support_y (S,), query_x (Q, *item), query_y (Q,); for regression the
    targets are (S, out) and (Q, out).
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class EpisodeBatch:
    """T episodes with a leading task axis. Introduced in notebook 01.

    Args:
        support_x: (T, S, *item) float items to learn from.
        support_y: (T, S) int64 labels in 0..n_way-1, or (T, S, out) float regression targets.
        query_x: (T, Q, *item) float items to be judged on.
        query_y: (T, Q) int64 labels, or (T, Q, out) float targets.
        classes: optional (T, n_way) int64: the data set class behind each label.
    Raises:
        ValueError: shapes, dtypes, label range or the number of items per class do not fit.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    classes: Tensor | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        if self.is_classification:
            _check_labels(self)

    @property
    def is_classification(self) -> bool:
        """Whether the targets are class labels (int64); otherwise they are regression targets."""
        return not self.support_y.is_floating_point()

    @property
    def n_tasks(self) -> int:
        """T, the number of episodes."""
        return self.support_x.shape[0]

    @property
    def n_way(self) -> int | None:
        """Classes in each episode; None for regression."""
        return int(self.support_y.max()) + 1 if self.is_classification else None

    @property
    def n_shot(self) -> int:
        """Support items per class (regression: support points per task)."""
        return self.support_x.shape[1] // (self.n_way or 1)

    @property
    def n_query(self) -> int:
        """Query items per class (regression: query points per task)."""
        return self.query_x.shape[1] // (self.n_way or 1)

    def __len__(self) -> int:
        return self.n_tasks

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(self.n_tasks))

    @overload
    def __getitem__(self, key: int) -> Task: ...
    @overload
    def __getitem__(self, key: slice) -> EpisodeBatch: ...
    def __getitem__(self, key: int | slice) -> Task | EpisodeBatch:
        parts = (self.support_x[key], self.support_y[key], self.query_x[key], self.query_y[key])
        if isinstance(key, int):
            return Task(*parts)
        return EpisodeBatch(*parts, classes=None if self.classes is None else self.classes[key])

    def split(self, chunk_size: int | None) -> Iterator[EpisodeBatch]:
        """The same tasks in batches of at most `chunk_size` (None: all in one)."""
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
        step = chunk_size or self.n_tasks
        return (self[start : start + step] for start in range(0, self.n_tasks, step))

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> EpisodeBatch:
        """The same episodes on `device`; `dtype` changes floating-point tensors only."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        parts = (self.support_x, self.support_y, self.query_x, self.query_y)
        classes = None if self.classes is None else self.classes.to(device=device)
        return EpisodeBatch(*map(move, parts), classes=classes)

    def __repr__(self) -> str:
        item = " x ".join(map(str, self.support_x.shape[2:]))
        tasks = f"{self.n_tasks} task{'s' if self.n_tasks != 1 else ''}"
        if not self.is_classification:
            counts = f"{self.n_shot} support and {self.n_query} query points"
            return f"EpisodeBatch({tasks}, regression, {counts}, item {item})"
        shape = f"{self.n_way}-way {self.n_shot}-shot, {self.n_query} queries per class"
        return f"EpisodeBatch({tasks}, {shape}, item {item})"


def _check_shapes(batch: EpisodeBatch) -> None:
    for side in ("support", "query"):
        x, y = getattr(batch, f"{side}_x"), getattr(batch, f"{side}_y")
        for name, tensor in ((f"{side}_x", x), (f"{side}_y", y)):
            if not isinstance(tensor, Tensor):
                raise ValueError(f"{name} must be a tensor, got {type(tensor).__name__}")
        if not x.is_floating_point():
            raise ValueError(f"{side}_x must be floating point, got {x.dtype}; use .float()")
        if x.ndim < 3:
            raise ValueError(
                f"{side}_x must be (tasks, items, *item), got shape {tuple(x.shape)}; "
                f"a single task needs a leading axis: {side}_x[None]"
            )
        if y.shape[:2] != x.shape[:2] or 0 in y.shape[:2]:
            raise ValueError(
                f"{side}_y {tuple(y.shape)} does not fit {side}_x {tuple(x.shape)}: both need the "
                "same number of tasks and of items, at least one of each"
            )
        # Labels are one integer an item; regression targets are a row of floats an item.
        if (y.dtype, y.ndim) != (torch.int64, 2) and not (y.is_floating_point() and y.ndim == 3):
            raise ValueError(
                f"{side}_y must be int64 labels (tasks, items) or float targets "
                f"(tasks, items, out), got {y.dtype} {tuple(y.shape)}"
            )
    if batch.support_x.shape[2:] != batch.query_x.shape[2:]:
        raise ValueError(
            f"support items {tuple(batch.support_x.shape[2:])} and query items "
            f"{tuple(batch.query_x.shape[2:])} differ in shape"
        )
    if len(batch.support_x) != len(batch.query_x):
        raise ValueError(
            f"support_x holds {len(batch.support_x)} tasks, query_x {len(batch.query_x)}"
        )
    if batch.support_y.dtype != batch.query_y.dtype:
        raise ValueError(f"support_y is {batch.support_y.dtype}, query_y {batch.query_y.dtype}")
    if batch.support_y.shape[2:] != batch.query_y.shape[2:]:
        raise ValueError(
            f"support targets {tuple(batch.support_y.shape[2:])} and query targets "
            f"{tuple(batch.query_y.shape[2:])} differ in width"
        )


def _check_labels(batch: EpisodeBatch) -> None:
    n_way = int(batch.support_y.max()) + 1
    lowest = min(int(batch.support_y.min()), int(batch.query_y.min()))
    highest = max(n_way, int(batch.query_y.max()) + 1) - 1
    if lowest < 0 or highest >= n_way:
        raise ValueError(
            f"labels must run from 0 to n_way - 1 = {n_way - 1} (the largest in support_y), "
            f"got {lowest} to {highest}; remap the class ids inside each episode"
        )
    for name, labels in (("support_y", batch.support_y), ("query_y", batch.query_y)):
        counts = torch.zeros(len(labels), n_way, dtype=torch.int64, device=labels.device)
        counts.scatter_add_(1, labels, torch.ones_like(labels))
        if (counts != counts[0, 0]).any():
            task = int((counts != counts[0, 0]).any(dim=1).nonzero()[0])
            raise ValueError(
                f"{name} needs equally many items of each of the {n_way} classes in every task; "
                f"task {task} has {counts[task].tolist()}"
            )
    if batch.classes is not None and batch.classes.shape != (batch.n_tasks, n_way):
        raise ValueError(
            f"classes must be (tasks, n_way) = {(batch.n_tasks, n_way)}, "
            f"got {tuple(batch.classes.shape)}"
        )
