"""Read data in any usual form into items and labels: arrays, pairs, rows, columns, data sets.

All forms go through the same two readers, `as_items` and `as_classes`, so that a picture and a
label mean the same in every form.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from ..basics.arguments import shown

__all__ = ["Channels", "Labelled", "are_pairs", "has_rows", "read_arrays", "read_pairs"]

Channels = Literal["first", "last"] | None
Keys = tuple[str | None, str | None]
Names = dict[int, str]

ITEM_KEYS = ("image", "images", "img", "picture", "pixel_values", "item", "x", "X", "input")
LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


class Labelled(NamedTuple):
    """What was read: the parts of a FewShotDataset."""

    items: Tensor
    labels: Tensor
    """(N,) int64, 0..n_classes-1."""
    class_names: list[str]
    files: list[str] | None = None


def read_arrays(X: Any, y: Any, channels: Channels = None) -> Labelled:
    """Items X and their labels y; see `FewShotDataset.from_arrays`."""
    if _holds_scalars(X) and len(_shape(y) or ()) > 1:
        raise ValueError("X holds single values and y whole items: are X and y swapped?")
    items, (labels, class_names) = as_items(X, channels), as_classes(y, "y")
    if len(items) != len(labels):
        raise ValueError(f"X has {len(items)} items, y {len(labels)} labels")
    return Labelled(items, labels, class_names)


def read_pairs(data: Any, keys: Keys = (None, None), channels: Channels = None) -> Labelled:
    """Pairs, rows, columns or items by class; see `FewShotDataset.from_pairs`."""
    if isinstance(data, Mapping):
        columns = _columns(data, keys)
        return (
            _read_by_class(data, channels) if columns is None else read_arrays(*columns, channels)
        )
    items, labels, keys = _read_rows(data, keys)
    classes = _read_classes(data, labels, keys[1])
    return Labelled(as_items(items, channels, "the data"), *classes, _files(data, len(items)))


# ---------------------------------------------------------------- in which form they come


def are_pairs(data: Any) -> bool:
    """Whether both entries of `data`, a list or tuple of two, are pairs of an item and its label.

    Then it cannot be a pair (X, y) as well, for which X[1] would be an item.
    """
    return all(
        isinstance(entry, Mapping)
        or (isinstance(entry, tuple | list) and len(entry) == 2 and _shape(entry[1]) == ())
        for entry in data
    )


def has_rows(data: Any) -> bool:
    """Whether `read_pairs` can read `data`, or at least say what is wrong with it."""
    if isinstance(data, tuple | list):
        return len(data) > 0 and isinstance(data[0], tuple | list | Mapping)
    return isinstance(data, Mapping | Dataset | DataLoader) or (
        not isinstance(data, str | bytes | Tensor | np.ndarray)
        and hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
    )


def _columns(data: Mapping[Any, Any], keys: Keys) -> tuple[Any, Any] | None:
    """The columns of items and of labels; None where the keys are names of classes."""
    found = [
        [key for key in data if key in ((wanted,) if wanted else known)]
        for wanted, known in zip(keys, (ITEM_KEYS, LABEL_KEYS), strict=True)
    ]
    if any(keys) or (all(found) and _holds_scalars(data[found[1][0]])):
        item_key, label_key = _keys_of(data, keys, "the columns")
        return _listed(data[item_key]), _listed(data[label_key])
    if all(found) and len(data) == 2:  # more likely columns than classes
        label_key = found[1][0]
        raise ValueError(
            f"the column {label_key!r} must hold one label per item, got "
            f"{_described(data[label_key])}; of one-hot labels, give .argmax(1); classes need "
            f"other names than {shown(list(data))}"
        )
    return None


def _keys_of(row: Mapping[Any, Any], keys: Keys, what: str) -> tuple[str, str]:
    """Under which keys a row, or the columns, hold the item and the label."""
    item_key = _key_of(row, keys[0], ITEM_KEYS, "item", what)
    return item_key, _key_of(row, keys[1], LABEL_KEYS, "label", what)


def _key_of(
    row: Mapping[Any, Any], wanted: str | None, known: Sequence[str], part: str, what: str
) -> str:
    found = [key for key in row if key == wanted or (wanted is None and key in known)]
    if len(found) == 1:
        return found[0]
    several = f"more than one {part} ({', '.join(found)})"
    where = f"no {wanted!r}" if wanted is not None else f"no {part} under {', '.join(known)}"
    raise ValueError(
        f"{what} must hold one item and one label, but have {several if found else where}; the "
        f"keys are {shown(list(row))}: choose by item_key and label_key"
    )


# ---------------------------------------------------------------- row by row


def _read_rows(data: Any, keys: Keys) -> tuple[list[Any], list[Any], Keys]:
    """All items and labels, and, where rows are mappings, the keys that they are under."""
    items, labels = [], []
    for i in range(_length(data)):
        row = _row(data, i)
        if isinstance(row, Mapping):
            keys = _keys_of(row, keys, f"row {i} and all others")
            row = row[keys[0]], row[keys[1]]
        elif not isinstance(row, tuple | list) or len(row) != 2:
            raise ValueError(
                f"entry {i} of the data must be a pair (item, label), or a mapping that holds "
                f"both, got {_described(row)}"
            )
        items.append(row[0])
        labels.append(_as_label(i, row[1]))
    if not items:
        raise ValueError(f"the data ({type(data).__name__}) are empty: no pair (item, label)")
    return items, labels, keys


def _length(data: Any) -> int:
    name = type(data).__name__
    if isinstance(data, DataLoader):
        raise ValueError("a DataLoader gives batches, not pairs; give its .dataset")
    if isinstance(data, IterableDataset) or not hasattr(data, "__getitem__"):
        raise ValueError(
            f"the data must have a length and entries by number, got {name}; for a stream that "
            "ends and fits into memory, give list(data)"
        )
    try:
        return len(data)
    except TypeError:
        raise ValueError(f"the data ({name}) must have a length: define __len__") from None


def _row(data: Any, i: int) -> Any:
    try:
        return data[i]
    except Exception as error:  # a user's data set can raise anything
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"entry {i} of {type(data).__name__} cannot be read: {said}") from error


def _as_label(i: int, label: Any) -> Any:
    """A label as a plain number or text."""
    shape = _shape(label)
    if isinstance(label, Tensor | np.ndarray | np.generic) and shape in ((), (1,)):
        label = label.item()
    if isinstance(label, str | bytes | Number):
        return label
    advice = "; of one-hot labels, give label.argmax()" if shape and len(shape) == 1 else ""
    raise ValueError(
        f"the label of entry {i} must be one number or text, got {_described(label)}{advice}"
    )


# ---------------------------------------------------------------- what the labels are called


def _read_classes(data: Any, labels: list[Any], key: str | None) -> tuple[Tensor, list[str]]:
    """Labels 0..n_classes-1 and class names, which the data set may know by number."""
    leaves = [_leaf(data, i)[0] for i in range(len(labels))]
    tables = {id(leaf): _names_by_label(leaf, key) for leaf in leaves}
    names = [
        _name_of(i, label, tables[id(leaf)])
        for i, (leaf, label) in enumerate(zip(leaves, labels, strict=True))
    ]
    first, *others = tables.values()
    if any(table != first for table in others):
        labels = names  # a number can mean different classes in different parts of the data
    numbers, classes = as_classes(labels, "the data")
    called = dict(zip(labels, names, strict=True))
    return numbers, [_as_name(called[label]) for label in sorted(called)] if first else classes


def _leaf(data: Any, i: int) -> tuple[Any, int]:
    """The data set below Subset and ConcatDataset that entry i comes from, and its number there.

    We do not look below subclasses with their own __getitem__, whose labels can mean other things.
    """
    while type(data).__getitem__ in (Subset.__getitem__, ConcatDataset.__getitem__):
        if isinstance(data, Subset):
            data, i = data.dataset, int(data.indices[i])
        else:
            part = bisect_right(data.cumulative_sizes, i)
            before = data.cumulative_sizes[part - 1] if part else 0
            data, i = data.datasets[part], i - before
    return data, i


def _names_by_label(data: Any, key: str | None) -> Names | None:
    """What torchvision (class_to_idx, classes) or Hugging Face (features) call the labels."""
    if getattr(data, "target_transform", None) is not None:
        return None  # the names no longer belong to these labels
    features = getattr(data, "features", None)
    if isinstance(features, Mapping) and key in features:
        return _numbered(getattr(features[key], "names", None))
    numbers = getattr(data, "class_to_idx", None)
    if isinstance(numbers, Mapping) and numbers:
        return {number: str(name) for name, number in reversed(list(numbers.items()))}
    return _numbered(getattr(data, "classes", None))


def _numbered(names: Any) -> Names | None:
    if not isinstance(names, list | tuple) or not names:
        return None
    if not all(isinstance(name, str | tuple) for name in names):
        return None
    # A class of ImageNet has several names.
    return {i: n if isinstance(n, str) else ", ".join(map(str, n)) for i, n in enumerate(names)}


def _name_of(i: int, label: Any, names: Names | None) -> Any:
    if names is None or isinstance(label, str):
        return label
    if label not in names:
        raise ValueError(
            f"the label of entry {i} is {label}, but only {shown(list(names))} have names"
        )
    return names[label]


def _files(data: Any, n: int) -> list[str] | None:
    """The file of each entry, where the data set lists its `samples` as torchvision's do."""
    found = []
    for leaf, i in (_leaf(data, i) for i in range(n)):
        samples = getattr(leaf, "samples", None)
        if not isinstance(samples, list) or len(samples) != len(leaf):
            return None
        file = samples[i][0] if isinstance(samples[i], tuple | list) else None
        if not isinstance(file, str | os.PathLike):
            return None
        found.append(os.fspath(file))
    return found


# ---------------------------------------------------------------- class by class


def _read_by_class(data: Mapping[Any, Any], channels: Channels) -> Labelled:
    """Class name -> items of that class, in the order of the mapping."""
    if not data:
        raise ValueError("the mapping from class names to items is empty")
    if all(str(name).lower() in SPLITS for name in data):
        raise ValueError(
            f"{shown(list(data))} are names of splits, not of classes; give one of them, such as "
            f"data[{next(iter(data))!r}]"
        )
    items = [(name, item) for name in data for item in _items_of(name, data[name])]
    classes = {name: number for number, name in enumerate(data)}
    labels = torch.tensor([classes[name] for name, _ in items])
    names = [*map(str, data)]
    return Labelled(as_items([item for _, item in items], channels, "the data"), labels, names)


def _items_of(name: Any, items: Any) -> list[Any]:
    if not isinstance(items, Tensor | np.ndarray | list | tuple):
        raise ValueError(
            f"the items of class {name!r} must be an array, a tensor or a list, got "
            f"{_described(items)}"
        )
    if len(items) == 0:
        raise ValueError(f"class {name!r} has no items")
    return list(items)


# ---------------------------------------------------------------- items


def as_items(X: Any, channels: Channels, where: str = "X") -> Tensor:
    """Images as uint8 (N, C, H, W), anything else as float32 (N, *item); numbers are copied."""
    if channels not in ("first", "last", None):
        raise ValueError(f"channels must be 'first', 'last' or None, got {channels!r}")
    if isinstance(X, list | tuple) and X and _is_picture(X[0]):
        channels = None  # Pillow's pictures know which of their axes is which
    X = X if isinstance(X, Tensor) else _as_tensor(X, where)
    if X.is_complex() or X.ndim == 0 or X.layout != torch.strided:
        dense = "" if X.layout == torch.strided else f", {X.layout}; use .to_dense()"
        got = f"{X.dtype} {tuple(X.shape)}{dense}"
        raise ValueError(f"{where} must hold real numbers, item by item, got {got}")
    if X.dtype == torch.uint8 and X.ndim == 3:
        X = X[:, None]
    elif _channels_come_last(X, channels):
        X = X.movedim(-1, 1)
    dtype = torch.uint8 if X.dtype == torch.uint8 and X.ndim == 4 else torch.float32
    return X.detach().to(dtype, copy=True, memory_format=torch.contiguous_format)


def _channels_come_last(X: Tensor, channels: Channels) -> bool:
    """Whether X is (N, H, W, C): said so, or with 1, 3 or 4 channels and so no (N, C, H, W).

    Floats may also be maps of many channels, which are square or small: those stay.
    """
    if X.ndim != 4:
        if channels is not None:
            raise ValueError(
                f"channels={channels!r} is for items of four axes, got shape {tuple(X.shape)}"
            )
        return False
    if channels is not None or X.shape[1] in (1, 3, 4):
        return channels == "last"
    is_bytes, (_, height, width, last) = X.dtype == torch.uint8, X.shape
    if last in (1, 3, 4):
        return is_bytes or min(height, width) > 4
    return is_bytes and height == width > last


def _as_tensor(X: Any, where: str) -> Tensor:
    several = isinstance(X, list | tuple) and len(X) > 0
    try:
        if several and not isinstance(X[0], list | tuple | Number):
            return _stacked([_as_item(i, item) for i, item in enumerate(X)])
        return _as_numbers(X if isinstance(X, np.ndarray) else np.asarray(X))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{where} must hold numbers, in items of one shape: {error}") from None


def _as_item(i: int, item: Any) -> Tensor:
    """One item; a picture of Pillow as (C, H, W)."""
    if isinstance(item, Tensor):
        return item.detach()
    if _is_picture(item):
        return _as_pixels(item)
    if isinstance(item, np.ndarray | np.generic | list | Number):
        return _as_numbers(item if isinstance(item, np.ndarray) else np.asarray(item))
    advice = "; load_image_folder reads files" if isinstance(item, str | os.PathLike) else ""
    raise TypeError(f"item {i} is {_described(item)}{advice}")


def _stacked(items: list[Tensor]) -> Tensor:
    """Items of one shape as one tensor; bytes cannot be mixed with other numbers."""
    first = items[0]
    for i, item in enumerate(items):
        if item.shape != first.shape:
            raise ValueError(f"item 0 is {tuple(first.shape)}, item {i} {tuple(item.shape)}")
        if (item.dtype == torch.uint8) != (first.dtype == torch.uint8):
            raise ValueError(f"item 0 is {first.dtype}, item {i} {item.dtype}; one kind for all")
    return torch.stack(items)


def _as_numbers(array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufO":
        raise TypeError(f"got {array.dtype}")
    if np.ma.is_masked(array):
        raise TypeError("some numbers are masked")
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    with np.errstate(over="ignore"):  # infinity is refused later, with its row
        return torch.from_numpy(np.array(array, dtype=dtype))


def _is_picture(item: Any) -> bool:
    """Whether it is an image of Pillow, which need not be imported to know."""
    return hasattr(item, "getbands") and hasattr(item, "convert")


def _as_pixels(picture: Any) -> Tensor:
    """(C, H, W): palettes and other colour spaces as RGB, greys of more than 8 bits as floats."""
    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode not in ("L", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    pixels = _as_numbers(np.asarray(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)


# ---------------------------------------------------------------- labels


def as_classes(y: Any, where: str) -> tuple[Tensor, list[str]]:
    """Labels 0..n_classes-1, (N,), in sorted order of the original labels; and those as text."""
    values = _label_array(y, where)
    if values.ndim != 1:
        of_column = "give y[:, 0]" if values.shape[-1:] == (1,) else _ONE_HOT
        advice = f"; {of_column}" if values.ndim == 2 else ""
        raise ValueError(f"y must be (N,), one label per item, got shape {values.shape}{advice}")
    infinite = np.isinf(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    for what, found in (("NaN", values != values), ("infinity", infinite)):  # NaN is not itself
        if found.any():
            raise ValueError(
                f"{where} holds {what} in {found.sum()} places, first {found.argmax()}"
            )
    try:
        classes, labels = np.unique(values, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"the labels in {where} must be of one type: {error}") from None
    return torch.as_tensor(labels), [_as_name(c) for c in classes]


def _as_name(label: Any) -> str:
    """A label as text; in HDF5 and MATLAB files it is bytes."""
    return label.decode(errors="backslashreplace") if isinstance(label, bytes) else str(label)


def _label_array(y: Any, where: str) -> np.ndarray:
    """Labels as an array, after a check that NumPy does not change some of them."""
    if isinstance(y, Tensor):
        y = y.detach().cpu()
        return np.asarray(y.float() if y.dtype == torch.bfloat16 else y)
    try:
        values = np.asarray(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{where} must hold one label per item: {error}") from None
    if np.ma.is_masked(y):
        raise ValueError(f"{where} must hold one label per item: some are masked")
    if values.ndim != 1 or not (isinstance(y, list | tuple) or values.dtype == object):
        return values
    _check_kinds(y, where)
    whole = values.dtype.kind == "f" and all(isinstance(label, int) for label in y)
    return np.array(y, dtype=object) if whole else values  # integers beyond 64 bits


def _check_kinds(y: Sequence[Any], where: str) -> None:
    """Refuse labels of mixed kinds (numbers, texts, bools), which NumPy would turn into texts."""
    if {*map(type, y)} <= {int} or {*map(type, y)} <= {str}:
        return  # the usual cases, fast
    kinds = [_kind(label) for label in y]
    for i, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise ValueError(
                f"the labels in {where} must be of one type: that of item 0 is {kinds[0]}, that of "
                f"item {i} {kind}"
            )
    if kinds[0] == "None":
        raise ValueError(f"{where} holds no labels, but None for each item")


def _kind(label: Any) -> str:
    label = label.item() if isinstance(label, Tensor | np.generic | np.ndarray) else label
    if isinstance(label, bool | None):
        return "None" if label is None else "bool"
    return "a number" if isinstance(label, Number) else type(label).__name__


_ONE_HOT = "of one-hot labels, give y.argmax(1)"


# ---------------------------------------------------------------- in words


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of an array or of nested lists, () for a single value; None for anything else."""
    if value is None or isinstance(value, str | bytes | Number):
        return ()
    if isinstance(value, list | tuple):
        return (len(value), *(_shape(value[0]) or ())) if value else (0,)
    return tuple(value.shape) if hasattr(value, "shape") else None


def _holds_scalars(column: Any) -> bool:
    """Whether its entries are single values, as labels are."""
    shape = _shape(column)
    if shape is None and hasattr(column, "__getitem__"):
        shape = (len(column), *(_shape(column[0]) or (0,)))  # a column of Hugging Face
    return shape is not None and len(shape) == 1 and shape != (0,)


def _listed(column: Any) -> Any:
    """A column that is neither array nor list, as a list."""
    plain = isinstance(column, list | tuple) or hasattr(column, "__array__")
    return column if plain else list(column)


def _described(value: Any) -> str:
    """What a value is, for a message: short, in one line."""
    name = f"a {type(value).__name__}"
    if isinstance(value, Mapping):
        return f"{name} with the keys {shown(list(value))}"
    if hasattr(value, "shape"):
        return f"{name} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{name} of {len(value)}"
    if value is None or not isinstance(value, str | bytes | Number | os.PathLike):
        return "None" if value is None else name
    return f"{name} ({shown(value)})"
