"""The pool of classes from which episodes are drawn: one tensor, class names, groups.

Images stay uint8 until they are gathered into an episode; the whole of Omniglot at 28x28 is
25 MB that way. A **group** is what classes share beyond being in one data set: the script or
alphabet of a character. Introduced in notebook 01.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .random import uniforms

__all__ = ["FewShotDataset", "as_dataset"]


class FewShotDataset:
    """Labelled items for few-shot tasks. Introduced in notebook 01.

    Args:
        items: (N, *item). uint8 images are (N, C, H, W) and become floats in [0, 1] when they are
            gathered; floating-point items are used as they are.
        labels: (N,) integers 0..n_classes-1, each class at least once, in any order.
        class_names: one name a class; default "class 0", "class 1", ...
        class_groups: one group name a class (script, alphabet, ...); default: all in one group.
        name: what to call the data set in messages and figures.
    Raises:
        ValueError: the shapes, the labels or the number of names do not fit, or items hold NaN.
    """

    def __init__(
        self,
        items: Tensor,
        labels: Tensor,
        class_names: Sequence[str] | None = None,
        class_groups: Sequence[str] | None = None,
        name: str = "data",
    ) -> None:
        _check_items(items, labels)
        self.items, self.labels, self.name = items, labels.to(torch.int64), name
        self.class_sizes = torch.bincount(self.labels)
        if (self.class_sizes == 0).any():
            empty = (self.class_sizes == 0).nonzero().flatten().tolist()
            raise ValueError(
                f"labels must cover 0..{len(self.class_sizes) - 1}; no item has label(s) "
                f"{empty[:5]}; FewShotDataset.from_arrays remaps any labels"
            )
        self.class_names = _names(class_names, self.n_classes, "class_names", "class {}")
        self.class_groups = _names(class_groups, self.n_classes, "class_groups", name)
        # Row r of class c is items[order[starts[c] + r]]: one flat table for unequal class sizes.
        self.order = torch.argsort(self.labels, stable=True)
        self.starts = torch.cumsum(self.class_sizes, 0) - self.class_sizes

    @classmethod
    def from_arrays(cls, X: Any, y: Any, **names: Any) -> FewShotDataset:
        """A data set from any arrays, tensors or lists: X (N, *item), y (N,) of any label type.

        Grey uint8 images (N, H, W) get their channel axis; labels are remapped to 0..n_classes-1
        in sorted order and kept as class names.
        """
        items = torch.as_tensor(np.asarray(X) if not isinstance(X, Tensor) else X)
        if items.dtype == torch.uint8 and items.ndim == 3:
            items = items[:, None]
        elif items.dtype != torch.uint8 and not items.is_floating_point():
            items = items.float()
        values, labels = np.unique(np.asarray(y), return_inverse=True)
        names.setdefault("class_names", [str(value) for value in values])
        return cls(items, torch.as_tensor(labels), **names)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_sizes)

    @property
    def groups(self) -> list[str]:
        """The distinct groups, in order of first appearance."""
        return list(dict.fromkeys(self.class_groups))

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item, for example (1, 28, 28)."""
        return tuple(self.items.shape[1:])

    def gather(self, rows: Tensor) -> Tensor:
        """Items at `rows` (any shape) as floats, (*rows.shape, *item); images in [0, 1]."""
        return scale(self.items[rows])

    def items_of(self, class_index: int) -> Tensor:
        """All items of one class, (class_size, *item), as floats."""
        start = int(self.starts[class_index])
        return self.gather(self.order[start : start + int(self.class_sizes[class_index])])

    def subset(self, classes: Sequence[int]) -> FewShotDataset:
        """A data set of these classes only, renumbered in the given order.

        Raises:
            ValueError: an index is out of range or given twice, or none is given.
        """
        chosen = [int(c) for c in classes]
        if not chosen or len(set(chosen)) != len(chosen):
            raise ValueError(f"classes must be distinct and at least one, got {chosen[:10]}")
        if not all(0 <= c < self.n_classes for c in chosen):
            raise ValueError(f"classes must lie in 0..{self.n_classes - 1}, got {chosen[:10]}")
        renumber = torch.full((self.n_classes,), -1)
        renumber[torch.tensor(chosen)] = torch.arange(len(chosen))
        labels = renumber[self.labels]
        keep = labels >= 0
        return FewShotDataset(
            self.items[keep],
            labels[keep],
            [self.class_names[c] for c in chosen],
            [self.class_groups[c] for c in chosen],
            self.name,
        )

    def select_groups(self, groups: Sequence[str]) -> FewShotDataset:
        """A data set of all classes of these groups.

        Raises:
            ValueError: a group does not exist; the message lists those that do.
        """
        missing = sorted(set(groups) - set(self.class_groups))
        if missing:
            raise ValueError(f"groups {missing} are not in {self.name}; it has {self.groups}")
        return self.subset([c for c, g in enumerate(self.class_groups) if g in set(groups)])

    def split(
        self, shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0
    ) -> tuple[FewShotDataset, ...]:
        """Data sets with disjoint classes, by default meta-train, meta-val and meta-test.

        Args:
            shares: the share of the classes in each part; they sum to 1.
            seed: decides which class goes where.
        Raises:
            ValueError: the shares do not sum to 1, or a part would get no class.
        """
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"shares must be above 0 and sum to 1, got {tuple(shares)}")
        ends = [round(sum(shares[: i + 1]) * self.n_classes) for i in range(len(shares))]
        starts = [0, *ends[:-1]]
        if any(end <= start for start, end in zip(starts, ends, strict=True)):
            raise ValueError(
                f"{self.n_classes} classes are too few for shares {tuple(shares)}: "
                "every part needs at least one"
            )
        order = np.argsort(uniforms(seed, 0, 1, self.n_classes)[0])
        return tuple(self.subset(sorted(order[a:b])) for a, b in zip(starts, ends, strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        low, high = int(self.class_sizes.min()), int(self.class_sizes.max())
        sizes = f"{low}" if low == high else f"{low} to {high}"
        item = " x ".join(map(str, self.item_shape))
        return (
            f"FewShotDataset({self.name}: {self.n_classes} classes in {len(self.groups)} groups, "
            f"{sizes} items each, item {item})"
        )


def as_dataset(data: FewShotDataset | tuple[Any, Any]) -> FewShotDataset:
    """`data` itself if it is a FewShotDataset, or a pair (X, y) made into one."""
    if isinstance(data, FewShotDataset):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return FewShotDataset.from_arrays(*data)
    raise ValueError(
        f"dataset must be a FewShotDataset or a pair (X, y), got {type(data).__name__}"
    )


def scale(items: Tensor) -> Tensor:
    """uint8 images as floats in [0, 1]; other items as they are."""
    return items.float() / 255 if items.dtype == torch.uint8 else items


def _check_items(items: Tensor, labels: Tensor) -> None:
    if items.ndim < 2 or len(items) == 0:
        raise ValueError(f"items must be (N, *item) with N at least 1, got {tuple(items.shape)}")
    if labels.ndim != 1 or len(labels) != len(items):
        raise ValueError(
            f"labels must be one an item: {len(items)} items, labels {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise ValueError(
            "labels must be integers from 0; FewShotDataset.from_arrays remaps any labels"
        )
    if items.dtype == torch.uint8 and items.ndim != 4:
        raise ValueError(f"uint8 images must be (N, C, H, W), got {tuple(items.shape)}")
    if items.dtype != torch.uint8 and not items.is_floating_point():
        raise ValueError(f"items must be uint8 images or floating point, got {items.dtype}")
    if items.is_floating_point() and not torch.isfinite(items).all():
        bad = (~torch.isfinite(items)).flatten(1).any(dim=1).nonzero().flatten()
        raise ValueError(f"items hold NaN or infinity in {len(bad)} rows, first row {int(bad[0])}")


def _names(given: Sequence[str] | None, n_classes: int, argument: str, default: str) -> list[str]:
    names = [default.format(c) for c in range(n_classes)] if given is None else list(given)
    if len(names) != n_classes:
        raise ValueError(f"{argument} has {len(names)} entries for {n_classes} classes")
    return names
