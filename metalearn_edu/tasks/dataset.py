"""The pool of classes from which episodes are drawn: one tensor, class names, groups.

Images stay uint8 until they are gathered into an episode; the whole of Omniglot at 28x28 is
25 MB that way. A **group** is what classes share beyond being in one data set: the script or
alphabet of a character. Introduced in notebook 01.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
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
        files: (N,) the file that each item came from, where there are files.
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
        *,
        files: Sequence[str | os.PathLike[str]] | None = None,
    ) -> None:
        _check_items(items)
        _check_labels(labels, len(items))
        # The small tables stay on the CPU, wherever the items are.
        self.items, self.labels, self.name = items, labels.to("cpu", torch.int64), name
        self.class_sizes = torch.bincount(self.labels)
        self.class_names = _names(
            "class_names", class_names, [f"class {c}" for c in range(self.n_classes)]
        )
        self.class_groups = _names("class_groups", class_groups, [name] * self.n_classes)
        if files is not None and len(files) != len(items):
            raise ValueError(f"files has {len(files)} entries for {len(items)} items")
        self.files = None if files is None else tuple(os.fspath(file) for file in files)
        # Row r of class c is items[order[starts[c] + r]]: one flat table for unequal class sizes.
        self.order = torch.argsort(self.labels, stable=True)
        self.starts = torch.cumsum(self.class_sizes, 0) - self.class_sizes

    @classmethod
    def from_arrays(cls, X: Any, y: Any, **names: Any) -> FewShotDataset:
        """A data set from any arrays, tensors or lists: X (N, *item), y (N,) of any label type.

        uint8 arrays of three or four axes are images, (N, H, W), (N, C, H, W) or, with 1, 3 or 4
        channels, (N, H, W, C); all else becomes float32 features as they are. Labels are remapped
        to 0..n_classes-1 in sorted order and kept as class names. The data are copied.

        Args:
            names: class_names (in sorted order of the labels), class_groups and name, as above.
        Raises:
            ValueError: X does not hold finite numbers in items of one shape, y does not hold one
                label for each, or a label is missing (NaN).
        """
        items, (classes, labels) = _as_items(X), _as_classes(y)
        if len(items) != len(labels):
            raise ValueError(f"X has {len(items)} items, y {len(labels)} labels")
        names.setdefault("class_names", classes)
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

    @cached_property
    def digest(self) -> str:
        """A short text that differs where items, labels or names do; the files do not matter."""
        total = hashlib.blake2b(digest_size=8)
        total.update(repr((self.items.dtype, self.item_shape, self.class_names)).encode())
        for tensor in (self.labels, self.items):
            total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def gather(self, rows: Tensor) -> Tensor:
        """Items at `rows` (any shape) as floats, (*rows.shape, *item); images in [0, 1]."""
        return scale(self.take(rows))

    def take(self, rows: Tensor) -> Tensor:
        """Items at `rows` (any shape) as they are stored, (*rows.shape, *item)."""
        flat = rows.flatten().to(self.items.device)
        return self.items.index_select(0, flat).unflatten(0, rows.shape)

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
            files=self.files and [self.files[row] for row in keep.nonzero().flatten()],
        )

    def select_groups(self, groups: str | Sequence[str]) -> FewShotDataset:
        """A data set of all classes of these groups; a single name stands for one group.

        Raises:
            ValueError: a group does not exist; the message lists those that do.
        """
        groups = [groups] if isinstance(groups, str) else groups
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
        if not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"shares must be above 0 and sum to 1, got {tuple(shares)}")
        n, k = self.n_classes, len(shares)
        ends = [round(sum(shares[: i + 1]) * n) for i in range(k)]
        # Each part gets a class as long as there are enough for that.
        ends = [min(max(end, i + 1), n - (k - 1 - i)) for i, end in enumerate(ends)]
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
        groups = f"{len(self.groups)} group{'s' if len(self.groups) > 1 else ''}"
        return (
            f"FewShotDataset({self.name}: {self.n_classes} classes in {groups}, "
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
    if items.dtype != torch.uint8:
        return items
    if items.device.type != "cpu":
        return items.float().div_(255)
    # NumPy converts and divides block by block in the cache: half the time, and the same numbers.
    return torch.from_numpy(np.divide(items.numpy(), 255, dtype=np.float32))


def _check_items(items: Tensor) -> None:
    if not isinstance(items, Tensor):
        raise ValueError(
            f"items must be a tensor, got {type(items).__name__}; "
            "FewShotDataset.from_arrays takes any arrays"
        )
    if items.ndim < 2 or 0 in items.shape:
        raise ValueError(
            f"items must be (N, *item) with no empty axis, got {tuple(items.shape)}; "
            "single numbers are items of shape (N, 1)"
        )
    if items.dtype == torch.uint8 and items.ndim != 4:
        raise ValueError(f"uint8 images must be (N, C, H, W), got {tuple(items.shape)}")
    if items.dtype != torch.uint8 and not items.is_floating_point():
        raise ValueError(f"items must be uint8 images or floating point, got {items.dtype}")
    if items.is_floating_point() and not torch.isfinite(items).all():
        bad = (~torch.isfinite(items)).flatten(1).any(dim=1).nonzero().flatten()
        raise ValueError(f"items hold NaN or infinity in {len(bad)} rows, first row {int(bad[0])}")


def _check_labels(labels: Tensor, n_items: int) -> None:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels must be an integer tensor, got {kind}; {_REMAPS}")
    if labels.shape != (n_items,):
        raise ValueError(
            f"labels must be one an item: {n_items} items, labels {tuple(labels.shape)}"
        )
    values = torch.unique(labels).tolist()
    if values != list(range(len(values))):
        missing = next(c for c, value in enumerate(values) if c != value)
        raise ValueError(
            f"the {len(values)} different labels must be 0..{len(values) - 1}, got "
            f"{values[0]} to {values[-1]} without {missing}; {_REMAPS}"
        )


_REMAPS = "FewShotDataset.from_arrays remaps any labels"


def _names(argument: str, given: Sequence[str] | None, default: list[str]) -> list[str]:
    names = default if given is None else [str(name) for name in given]
    if len(names) != len(default):
        raise ValueError(f"{argument} has {len(names)} entries for {len(default)} classes")
    return names


def _as_items(X: Any) -> Tensor:
    """Images as uint8 (N, C, H, W), all else as float32."""
    try:
        if isinstance(X, list | tuple) and X and isinstance(X[0], Tensor):
            X = torch.stack(list(X))
        if not isinstance(X, Tensor):
            X = _as_numbers(np.asarray(X))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"X must hold numbers, in items of one shape: {error}") from None
    if X.is_complex() or X.ndim == 0:
        raise ValueError(f"X must hold real numbers, item by item, got {X.dtype} {tuple(X.shape)}")
    if X.dtype != torch.uint8 or X.ndim not in (3, 4):
        return X.detach().to(torch.float32, copy=True)
    if X.ndim == 3:
        X = X[:, None]
    elif X.shape[1] not in (1, 3, 4) and X.shape[-1] in (1, 3, 4):
        X = X.movedim(-1, 1)
    return X.clone(memory_format=torch.contiguous_format)


def _as_numbers(array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufO":
        raise TypeError(f"got {array.dtype}")
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    return torch.from_numpy(np.array(array, dtype=dtype))


def _as_classes(y: Any) -> tuple[list[str], np.ndarray]:
    """The names of the classes in sorted order, and which of them each label is."""
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if values.ndim != 1:
        raise ValueError(f"y must be (N,), one label an item, got shape {values.shape}")
    missing = values != values  # only NaN differs from itself
    if missing.any():
        raise ValueError(f"y holds NaN in {missing.sum()} places, first {int(missing.argmax())}")
    try:
        classes, labels = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"the labels in y must be of one type: {error}") from None
    return [str(c) for c in classes], labels
