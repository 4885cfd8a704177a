"""Episodes: the input of every learner in the course.

An **episode** is one small learning problem: a support set to learn from and a query set to be
scored on. An `EpisodeBatch` holds many of them side by side, always with the task axis first, so
that a learner can work on all of them at once. Introduced in notebook 01.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, SupportsIndex, overload

import torch
from torch import Tensor, nn

from ..basics.arguments import as_integer

__all__ = ["EpisodeBatch", "Task", "check_finite", "count_classes"]


class Task(NamedTuple):
    """One task of a batch, without the task axis, as papers write an episode.

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

    Classes may have unequal numbers of items, which may differ between tasks; each needs at least
    one support item, and may have no query. Losses and accuracies are means over the queries of a
    task, so that a class with more queries counts more.

    Args:
        support_x: (T, S, *item) float items to learn from.
        support_y: (T, S) int64 labels in 0..n_way-1, or (T, S, out) float regression targets.
        query_x: (T, Q, *item) float items to be scored on.
        query_y: (T, Q) int64 labels, or (T, Q, out) float targets.
        classes: optional (T, n_way) int64: the data set class behind each label.
        order: optional (T, S + Q) int64: in which order `stream` presents support and query items.
        support_rows, query_rows: optional (T, S) and (T, Q) int64: the row of each item in its data
            set, for `FewShotDataset.files_of`. They move with the other tensors, also to another
            device.
    Raises:
        ValueError: shapes, dtypes or the label range do not fit, or a class has no support item.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    classes: Tensor | None = None
    order: Tensor | None = None
    support_rows: Tensor | None = None
    query_rows: Tensor | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_order(self)
        _check_rows(self)
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

    @cached_property
    def n_way(self) -> int | None:
        """Classes in each episode; None for regression."""
        return count_classes(self.support_y) if self.is_classification else None

    @property
    def n_shot(self) -> int:
        """Support items per class (regression: support points per task).

        Raises:
            ValueError: not every class of every task has the same number.
        """
        return _one_number("n_shot", "support_y", *self._per_class(self.support_y))

    @property
    def n_query(self) -> int:
        """Query items per class (regression: query points per task).

        Raises:
            ValueError: not every class of every task has the same number.
        """
        return _one_number("n_query", "query_y", *self._per_class(self.query_y))

    def _per_class(self, y: Tensor) -> tuple[int, int]:
        """The fewest and the most items of a class in a task; for regression, of a task."""
        if self.n_way is None:
            return y.shape[1], y.shape[1]
        counts = _count_labels(y, self.n_way)
        return int(counts.min()), int(counts.max())

    def __len__(self) -> int:
        return self.n_tasks

    def __iter__(self) -> Iterator[Task]:
        return (self[i] for i in range(self.n_tasks))

    @overload
    def __getitem__(self, key: SupportsIndex) -> Task: ...
    @overload
    def __getitem__(self, key: slice) -> EpisodeBatch: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Task | EpisodeBatch:
        if isinstance(key, slice):
            if not range(self.n_tasks)[key]:
                raise ValueError(f"{key} takes none of the {self.n_tasks} tasks")
            return self._map(lambda tensor: tensor[key], finite=self._finite)
        i = operator.index(key)
        return Task(self.support_x[i], self.support_y[i], self.query_x[i], self.query_y[i])

    def stream(self) -> tuple[Tensor, Tensor]:
        """All items of each task in sequence, for a learner that reads sequences.

        Returns:
            items (T, S + Q, *item) and labels (T, S + Q), or targets (T, S + Q, out), in `order`;
            without one, the support set and then the queries.
        """
        x = torch.cat([self.support_x, self.query_x], dim=1)
        y = torch.cat([self.support_y, self.query_y], dim=1)
        if self.order is None:
            return x, y
        task = torch.arange(len(x), device=x.device)[:, None]
        return x[task, self.order], y[task, self.order]

    def split(self, chunk_size: int | None) -> Iterator[EpisodeBatch]:
        """Batches of the same tasks, at most `chunk_size` (None: all in one), as equal as possible.

        So we avoid the fixed cost of a call for a few remaining tasks.
        """
        size = self.n_tasks if chunk_size is None else as_integer("chunk_size", chunk_size)
        n_chunks = -(-self.n_tasks // size)
        edges = [-(-i * self.n_tasks // n_chunks) for i in range(n_chunks + 1)]
        return (self[start:stop] for start, stop in pairwise(edges))

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> EpisodeBatch:
        """The same episodes on `device`; `dtype` changes floating-point tensors only.

        Tensors made under torch.inference_mode() are copied outside it, ready for gradients.

        Raises:
            ValueError: `dtype` is not floating point, so items would be cut to integers.
        """
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"dtype must be floating point, such as torch.float32, got {dtype}")

        def move(tensor: Tensor) -> Tensor:
            moved = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
            frozen = moved.is_inference() and not torch.is_inference_mode_enabled()
            return moved.clone() if frozen else moved

        same = dtype in (None, self.support_x.dtype)
        return self._map(move, finite=self._finite and same)

    def like(self, module: nn.Module) -> EpisodeBatch:
        """The same episodes on the device and in the dtype of the module's first parameter.

        If it has no floating-point parameter, they stay where they are.
        """
        floats = (p for p in module.parameters() if p.is_floating_point())
        parameter = next(floats, self.support_x)
        return self.to(parameter.device, parameter.dtype)

    def check_finite(self) -> None:
        """Refuse items, or targets of a support set, that hold NaN; checked once.

        Raises:
            ValueError: it names the tensor and says how many.
        """
        if not self._finite:
            check_finite("support_x", self.support_x)
            if not self.is_classification:
                check_finite("support_y", self.support_y)
            check_finite("query_x", self.query_x)
            vars(self)["_finite"] = True

    @cached_property
    def _finite(self) -> bool:
        """Whether `check_finite` has passed; batches made from this one inherit the answer."""
        return False

    def _map(self, change: Callable[[Tensor], Tensor], *, finite: bool = False) -> EpisodeBatch:
        """A batch with every tensor changed; checks that have passed are not repeated."""
        batch = object.__new__(EpisodeBatch)
        for field in fields(self):
            tensor = getattr(self, field.name)
            object.__setattr__(batch, field.name, None if tensor is None else change(tensor))
        vars(batch).update(n_way=self.n_way, _finite=finite)
        return batch

    def __repr__(self) -> str:
        item = " x ".join(map(str, self.support_x.shape[2:]))
        tasks = f"{self.n_tasks} task{'s' if self.n_tasks != 1 else ''}"
        if not self.is_classification:
            counts = f"{self.n_shot} support and {self.n_query} query points"
            return f"EpisodeBatch({tasks}, regression, {counts}, item {item})"
        (few, many), queries = self._per_class(self.support_y), self._per_class(self.query_y)
        shots = f" {few}-shot" if few == many else f", {few} to {many} support items per class"
        asked = " to ".join(str(n) for n in dict.fromkeys(queries))
        shape = f"{self.n_way}-way{shots}, {asked} queries per class"
        return f"EpisodeBatch({tasks}, {shape}, item {item})"


def count_classes(support_y: Tensor) -> int:
    """n_way of labels (T, S) or (S,): the largest label plus one."""
    return int(support_y.max()) + 1


def check_finite(name: str, x: Tensor) -> None:
    """Refuse a tensor with NaN or infinite numbers."""
    if torch.isfinite(x.sum()):  # a finite sum has only finite terms
        return
    n_bad = int((~torch.isfinite(x)).sum())
    if n_bad:
        raise ValueError(f"{name} holds {n_bad} NaN or infinite numbers")


def _one_number(name: str, labels: str, fewest: int, most: int) -> int:
    if fewest != most:
        raise ValueError(
            f"there is no one {name}: the classes of these tasks have {fewest} to {most} items; "
            f"count them in {labels}"
        )
    return most


def _check_shapes(batch: EpisodeBatch) -> None:
    for side in ("support", "query"):
        _check_side(side, getattr(batch, f"{side}_x"), getattr(batch, f"{side}_y"))
    if len(batch.support_x) != len(batch.query_x):
        raise ValueError(
            f"support_x holds {len(batch.support_x)} tasks, query_x {len(batch.query_x)}"
        )
    for letter, what in (("x", "items"), ("y", "labels or targets")):
        support, query = getattr(batch, f"support_{letter}"), getattr(batch, f"query_{letter}")
        if (support.dtype, support.shape[2:]) != (query.dtype, query.shape[2:]):
            raise ValueError(
                f"the {what} of support_{letter} are {support.dtype} of shape "
                f"{tuple(support.shape[2:])}, those of query_{letter} {query.dtype} of shape "
                f"{tuple(query.shape[2:])}; they must agree"
            )


def _check_side(side: str, x: Tensor, y: Tensor) -> None:
    for name, tensor in ((f"{side}_x", x), (f"{side}_y", y)):
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"{name} must be a tensor, got {type(tensor).__name__}; use torch.as_tensor"
            )
    if not x.is_floating_point():
        raise ValueError(f"{side}_x must be floating point, got {x.dtype}; use .float()")
    if x.ndim < 3:
        raise ValueError(
            f"{side}_x must be (tasks, items, *item), got shape {tuple(x.shape)}; "
            f"a single task needs a leading axis: {side}_x[None]"
        )
    if y.shape[:2] != x.shape[:2] or 0 in y.shape or 0 in x.shape:
        raise ValueError(
            f"{side}_y {tuple(y.shape)} does not fit {side}_x {tuple(x.shape)}: both need the "
            "same number of tasks and of items, and no axis may be empty"
        )
    # Labels are one integer an item; regression targets are a row of floats an item.
    if (y.dtype, y.ndim) != (torch.int64, 2) and not (y.is_floating_point() and y.ndim == 3):
        raise ValueError(
            f"{side}_y must be int64 labels (tasks, items) or float targets "
            f"(tasks, items, out), got {y.dtype} {tuple(y.shape)}; .long() makes integers int64, "
            "and .argmax(-1) labels of one-hot rows"
        )


def _check_labels(batch: EpisodeBatch) -> None:
    n_way = count_classes(batch.support_y)
    lowest = min(int(batch.support_y.min()), int(batch.query_y.min()))
    highest = int(batch.query_y.max())
    # More labels than items would fail below, but only after a count that takes a lot of memory.
    if lowest < 0 or highest >= n_way or n_way > batch.support_y.shape[1]:
        raise ValueError(
            f"labels must be 0..n_way - 1 in every task, got {lowest} to "
            f"{max(n_way - 1, highest)} with {batch.support_y.shape[1]} support items, whose "
            f"largest label is {n_way - 1}; remap the class ids inside each episode"
        )
    counts = _count_labels(batch.support_y, n_way)
    if not counts.all():
        task = int((counts == 0).any(dim=1).nonzero()[0])
        raise ValueError(
            f"support_y needs an item of each of the {n_way} classes in every task; task {task} "
            f"has {counts[task].tolist()}"
        )
    _check_table("classes", batch.classes, "(tasks, n_way)", (batch.n_tasks, n_way))


def _check_order(batch: EpisodeBatch) -> None:
    n_items = batch.support_x.shape[1] + batch.query_x.shape[1]
    if batch.order is None:
        return
    _check_table("order", batch.order)
    every = torch.arange(n_items, device=batch.order.device).expand(batch.n_tasks, -1)
    if batch.order.shape != every.shape or not torch.equal(batch.order.sort(dim=1).values, every):
        raise ValueError(
            f"order must name each of the {n_items} items of {batch.n_tasks} tasks once a task, as "
            f"({batch.n_tasks}, {n_items}) positions; got shape {tuple(batch.order.shape)}"
        )


def _check_rows(batch: EpisodeBatch) -> None:
    for side in ("support", "query"):
        shape = tuple(getattr(batch, f"{side}_x").shape[:2])
        name = f"{side}_rows"
        _check_table(name, getattr(batch, name), "(tasks, items)", shape)


def _check_table(
    name: str, table: Tensor | None, axes: str = "", shape: tuple[int, ...] | None = None
) -> None:
    """Refuse anything but a table of integers, of this shape if one is given; None is allowed."""
    if table is None:
        return
    if not isinstance(table, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(table).__name__}")
    if shape is not None and table.shape != shape:
        raise ValueError(f"{name} must be {axes} = {shape}, got {tuple(table.shape)}")
    if table.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, got {table.dtype}; use .long()")


def _count_labels(labels: Tensor, n_way: int) -> Tensor:
    """(T, n_way): how many items of each class a task has."""
    counts = labels.new_zeros(len(labels), n_way)
    return counts.scatter_add_(1, labels, torch.ones_like(labels))
