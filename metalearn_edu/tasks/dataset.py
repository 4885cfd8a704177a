"""The pool of classes from which episodes are drawn: one tensor, class names and groups.

Images stay uint8 until they are gathered into an episode; the whole of Omniglot at 28x28 is 25 MB
that way. A **group** is what some classes share, such as the script or alphabet of characters.
Introduced in notebook 01.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..basics.arguments import as_integer, as_number, shown
from ..basics.random import uniforms
from .pairs import Channels, Labelled, are_pairs, has_rows, read_arrays, read_pairs

__all__ = ["FewShotDataset", "as_dataset"]

FLOATS = torch.float16, torch.bfloat16, torch.float32, torch.float64


class FewShotDataset:
    """Labelled items for few-shot tasks. Introduced in notebook 01.

    Args:
        items: (N, *item). uint8 images are (N, C, H, W) and become floats in [0, 1] when they are
            gathered; floating-point items are used as they are.
        labels: (N,) integers 0..n_classes-1, each class at least once, in any order.
        class_names: one name per class; default "class 0", "class 1", ...
        class_groups: one group name per class (script, alphabet, ...); default: all in one group.
        name: what to call the data set in messages and figures.
        files: (N,) the file that each item came from, if there are files; see `files_of`.
    Raises:
        ValueError: the shapes, the labels or the number of names do not fit, or items hold NaN.

    Do not change a data set in place: its `digest` is computed once, and would not follow the
    change.
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
        self.files = None if files is None else _as_files(files, len(items))
        # Row r of class c is items[order[starts[c] + r]]: one flat table for unequal class sizes.
        self.order = torch.argsort(self.labels, stable=True)
        self.starts = torch.cumsum(self.class_sizes, 0) - self.class_sizes

    @classmethod
    def from_arrays(
        cls, X: Any, y: Any, *, channels: Channels = None, **names: Any
    ) -> FewShotDataset:
        """A data set from any arrays, tensors or lists: X (N, *item), y (N,) of any label type.

        uint8 arrays of three or four axes are images, (N, H, W), (N, C, H, W) or (N, H, W, C);
        everything else becomes float32 features, unchanged, including float64, bool and other
        integers. Labels are remapped to 0..n_classes-1 in sorted order (numbers by value, texts
        letter by letter: "10" before "2") and kept as class names. The data are copied.

        Args:
            X: also a list of tensors, arrays or pictures of Pillow.
            channels: "first" or "last": which axis of (N, C, H, W) or (N, H, W, C) holds the
                channels. None: the last if it has length 1, 3 or 4 and the second does not; for
                    floats, only if height and width are above 4, because they may be maps of many
                    channels. For bytes, also if the second and third are equal and longer.
            names: class_names (in sorted order of the labels), class_groups, name and files, as
                above.
        Raises:
            ValueError: X does not hold finite numbers in items of one shape, y does not hold one
                label for each, labels are of several types, or one is missing (None, NaN).
        """
        return cls._from_parts(read_arrays(X, y, channels), names)

    @classmethod
    def from_pairs(
        cls,
        pairs: Any,
        *,
        item_key: str | None = None,
        label_key: str | None = None,
        channels: Channels = None,
        **names: Any,
    ) -> FewShotDataset:
        """A data set from labelled items in any of the usual forms.

        - a torch `Dataset` with a length, or a list, of pairs (item, label);
        - the same with rows: mappings that hold an image and its label (Hugging Face);
        - one mapping of two columns, {"image": [...], "label": [...]};
        - one mapping from class name to the items of that class, whose order is kept.

        Items are tensors, arrays, lists of numbers or pictures of Pillow, all of one shape, and are
        stored as `from_arrays` stores them; a label is one number or text. Each entry is read once,
        so a random transform acts once. Names that the data set knows for its labels (`classes` or
        `class_to_idx` of torchvision, also below Subset and ConcatDataset, and `features` of
        Hugging Face) become class names, and the files that torchvision lists as `samples` the
        `files`.

        Args:
            item_key, label_key: where the item and the label of a row, or the columns, are; by
                default image, img, x, pixel_values, ... and label, y, target, fine_label, ...
            channels: as in `from_arrays`; pictures of Pillow do not need it.
            names: class_names (in sorted order of the labels), class_groups, name and files.
        Raises:
            ValueError: there is no entry, or one that does not fit; the message says which and why.
        """
        return cls._from_parts(read_pairs(pairs, (item_key, label_key), channels), names)

    @classmethod
    def _from_parts(cls, read: Labelled, names: dict[str, Any]) -> FewShotDataset:
        known = {"class_names": read.class_names, "files": read.files}
        return cls(read.items, read.labels, **(known | names))

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
        """A short text that differs if items, labels or names differ; the files do not matter."""
        total = hashlib.blake2b(digest_size=8)
        total.update(repr((self.items.dtype, self.item_shape, self.class_names)).encode())
        for tensor in (self.labels, self.items):
            total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def gather(self, rows: Tensor) -> Tensor:
        """Items at `rows` (any shape) as floats, (*rows.shape, *item); images in [0, 1].

        Raises:
            ValueError: `rows` are not integers in 0..N-1.
        """
        return scale(self.take(rows))

    def take(self, rows: Tensor) -> Tensor:
        """Items at `rows` (any shape) as they are stored, (*rows.shape, *item).

        Raises:
            ValueError: `rows` are not integers in 0..N-1.
        """
        rows = self._as_rows(rows)
        flat = rows.flatten().to(self.items.device)
        return self.items.index_select(0, flat).view(*rows.shape, *self.item_shape)

    def files_of(self, rows: Any) -> Any:
        """The files that items came from, as lists nested like `rows`; for a single row, its file.

        Those of an episode are in `files_of(batch.support_rows)` and `files_of(batch.query_rows)`,
        a list a task.

        Args:
            rows: integers of any shape: a tensor, an array, lists, or one number.
        Raises:
            ValueError: the data set has no files, or `rows` are not integers in 0..N-1.
        """
        if self.files is None:
            raise ValueError(
                f"{self.name} does not know its files: it was not read from any, or made without "
                "files="
            )
        at = np.array(self.files, dtype=object)[self._as_rows(rows).cpu().numpy()]
        return at if isinstance(at, str) else at.tolist()

    def _as_rows(self, rows: Any) -> Tensor:
        try:
            given = torch.as_tensor(rows)
        except (TypeError, ValueError, RuntimeError):
            given = torch.empty(0)
        whole = (
            not given.is_floating_point() and not given.is_complex() and given.dtype != torch.bool
        )
        if not whole or not ((given >= 0) & (given < len(self))).all():
            raise ValueError(f"rows must be integers in 0..{len(self) - 1}, got {shown(rows)}")
        return given.long()

    def items_of(self, class_index: int) -> Tensor:
        """All items of one class, (class_size, *item), as floats.

        Raises:
            ValueError: there is no such class.
        """
        class_index = as_integer("class_index", class_index, 0, at_most=self.n_classes - 1)
        start = int(self.starts[class_index])
        return self.gather(self.order[start : start + int(self.class_sizes[class_index])])

    def subset(self, classes: Sequence[int]) -> FewShotDataset:
        """A data set of these classes only, renumbered in the given order.

        Raises:
            ValueError: an index is not an integer, out of range or given twice, or none is given.
        """
        chosen = [as_integer("each of classes", c, None) for c in _listed("classes", classes)]
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
            ValueError: a group does not exist, or none is given; the message lists those that do.
        """
        wanted = [groups] if isinstance(groups, str) else _listed("groups", groups)
        missing = [group for group in wanted if group not in self.groups]
        if missing or not wanted:
            which = f"groups {missing} are not in" if missing else "no group is chosen of"
            raise ValueError(f"{which} {self.name}; it has {self.groups}")
        return self.subset([c for c, group in enumerate(self.class_groups) if group in wanted])

    def split(
        self, shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0
    ) -> tuple[FewShotDataset, ...]:
        """Data sets with disjoint classes, by default meta-train, meta-val and meta-test.

        Args:
            shares: the share of the classes in each part; they sum to 1.
            seed: decides which class goes where.
        Raises:
            ValueError: the shares are not numbers above 0 that sum to 1, a part would get no class,
                or the seed is not an integer.
        """
        shares = _as_shares(shares)
        n, k = self.n_classes, len(shares)
        ends = [round(sum(shares[: i + 1]) * n) for i in range(k)]
        # Each part gets at least one class, as long as there are enough.
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


def as_dataset(data: Any) -> FewShotDataset:
    """`data` itself if it is a FewShotDataset, else a FewShotDataset made from it.

    Args:
        data: a FewShotDataset; a pair (X, y) for `FewShotDataset.from_arrays`; or anything that
            `FewShotDataset.from_pairs` takes. We tell a list of two (item, label) pairs from (X, y)
            by its labels, which are single values.
    Raises:
        ValueError: it is none of these, or its content does not fit.
    """
    if isinstance(data, FewShotDataset):
        return data
    if isinstance(data, tuple | list) and len(data) == 2 and not are_pairs(data):
        return FewShotDataset.from_arrays(*data)
    if has_rows(data):
        return FewShotDataset.from_pairs(data)
    raise ValueError(
        f"dataset must be a FewShotDataset or a pair (X, y), got {type(data).__name__}; a torch "
        "Dataset or list of (item, label), columns with image and label, or a mapping from class "
        "name to items will do, too"
    )


def _listed(name: str, values: Any) -> list[Any]:
    """Several values as a list; those of an array or a tensor as plain numbers."""
    values = values.tolist() if isinstance(values, Tensor | np.ndarray) else values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a list, got {shown(values)}")
    return list(values)


def _as_shares(shares: Any) -> list[float]:
    given = _listed("shares", shares)
    try:
        numbers = [as_number("share", share, above=0) for share in given]
    except ValueError:
        numbers = []
    if not numbers or abs(sum(numbers) - 1) > 1e-9:
        raise ValueError(f"shares must be above 0 and sum to 1, got {shown(tuple(given))}")
    return numbers


def _as_files(files: Any, n_items: int) -> tuple[str, ...]:
    given = _listed("files", files)
    if len(given) != n_items:
        raise ValueError(f"files has {len(given)} entries for {n_items} items")
    if odd := [file for file in given if not isinstance(file, str | os.PathLike)]:
        raise ValueError(f"files must be paths, got {shown(odd[0])}")
    return tuple(os.fspath(file) for file in given)


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
    if items.layout != torch.strided or items.is_meta:
        what = "without values" if items.is_meta else f"of layout {items.layout}"
        raise ValueError(f"items must be a dense tensor, got one {what}")
    if items.dtype not in (torch.uint8, *FLOATS):
        raise ValueError(
            f"items must be uint8 images or floating point, got {items.dtype}; .float() makes it so"
        )
    if items.is_floating_point() and not torch.isfinite(items).all():
        bad = (~torch.isfinite(items)).flatten(1).any(dim=1).nonzero().flatten()
        raise ValueError(f"items hold NaN or infinity in {len(bad)} rows, first row {int(bad[0])}")


def _check_labels(labels: Tensor, n_items: int) -> None:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels must be an integer tensor, got {kind}; {_REMAPS}")
    if labels.shape != (n_items,):
        raise ValueError(
            f"labels must be one per item: {n_items} items, labels {tuple(labels.shape)}"
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
    if isinstance(given, set | frozenset):
        raise ValueError(f"{argument} must be in order, one per class; a set has no order")
    names = default if given is None else [str(name) for name in _listed(argument, given)]
    if len(names) != len(default):
        raise ValueError(f"{argument} has {len(names)} entries for {len(default)} classes")
    return names
