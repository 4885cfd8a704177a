"""Which pictures a training run has seen, so that they are not scored as new.

seen.npz            64 bits of each picture that was trained or chosen on, and small copies of files
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..basics.files import load_arrays
from ..basics.names import for_terminal
from ..tasks import FewShotDataset
from ..tasks.data.folder_check import FLAT, MOST_COMPARED, SAME, SIDE
from ..tasks.data.near_duplicates import first_alike
from .folder import SEEN, checked_file, damaged

__all__ = ["hash_items", "listed", "picture_hashes", "refuse_seen", "small_items", "warn_of_leaks"]


def picture_hashes(datasets: Mapping[str, FewShotDataset]) -> dict[str, np.ndarray]:
    """64 bits of each picture of the parts that a training looks at, and the class of each.

    For pictures that are files, a small copy is kept as well, because a file that is saved again
    has other bits.

    Args:
        datasets: by name of the part.
    """
    parts = [*datasets.values()]
    names = [f"{name} ({part})" for part, data in datasets.items() for name in data.class_names]
    starts = np.cumsum([0, *(data.n_classes for data in parts)])
    labels = [data.labels.numpy() + start for data, start in zip(parts, starts, strict=False)]
    found = {
        "hashes": np.concatenate([hash_items(data.items) for data in parts]),
        "labels": np.concatenate(labels),
        "names": np.array(names),
    }
    if all(data.files for data in parts):
        found["small"] = np.concatenate([small_items(data.items).numpy() for data in parts])
    return found


def hash_items(items: Tensor) -> np.ndarray:
    """64 bits of each of N items, (N,) uint64."""
    rows = items.detach().cpu().contiguous().flatten(1).numpy()
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def small_items(items: Tensor) -> Tensor:
    """N pictures (N, C, H, W) at 28 x 28, their channels below each other: (N, C * 28, 28)."""
    blocks = [F.adaptive_avg_pool2d(block.float(), SIDE).round() for block in items.split(1000)]
    return torch.cat(blocks).byte().flatten(1, 2)


def refuse_seen(folder: Path, card: Mapping[str, Any], dataset: FewShotDataset) -> None:
    """Refuse pictures, prepared as in training, if the run in `folder` was trained on some of them.

    Raises:
        ValueError: says how many and of which classes; or the run has no record of what it has
            seen.
        DamagedRunError: seen.npz is not what the training wrote.
    """
    path = checked_file(folder, SEEN, card)
    advice = (
        "the score would say nothing about new classes; leave out --data to score the run's "
        "own meta-test classes, or give other pictures"
    )
    try:
        seen = load_arrays(path)
        same, alike, told_apart = _met(seen, dataset)
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise damaged(folder, f"{SEEN}: {error}") from None
    if same:
        raise ValueError(
            f"{_said(same, dataset)} were trained on ({_where(same, dataset)}): {advice}"
        )
    _refuse_alike(alike, dataset, told_apart, advice)
    trained = {str(name).rpartition(" (")[0] for name in seen["names"]}
    if known := [name for name in dataset.class_names if name in trained]:
        text = f"classes of these names were trained on ({listed(known)}): if they are, {advice}"
        warnings.warn(text, stacklevel=2)


def warn_of_leaks(parts: Mapping[str, FewShotDataset]) -> None:
    """Warn how many pictures of a held-out part of a folder are in an earlier part, too.

    This is not an error: pictures that differ only in colour may be the same in grey.

    Args:
        parts: by name, in the order meta-train, meta-val, meta-test.
    """
    advice = "its score says nothing about new classes; metalearn-edu check names such files"
    names = [*parts]
    for n in range(1, len(names)):
        before = picture_hashes({name: parts[name] for name in names[:n]})
        same, alike, _ = _met(before, parts[names[n]])
        _refuse_alike(
            same | alike, parts[names[n]], False, f"{names[n]} is not held out, and {advice}"
        )


Met = dict[int, str]
"""The pictures of a data set that were used in training, with the class that each had there."""


def _met(seen: Mapping[str, np.ndarray], dataset: FewShotDataset) -> tuple[Met, Met, bool]:
    """Pictures that are the same as trained ones, and others nearly the same, turned ones included.

    The last value is whether this can tell pictures apart at all: pictures of a fixed camera are
    all nearly the same.
    """
    classes = [str(seen["names"][label]) for label in seen["labels"].tolist()]
    class_of = dict(zip(seen["hashes"].tolist(), classes, strict=True))
    hashes = enumerate(hash_items(dataset.items).tolist())
    same = {i: class_of[value] for i, value in hashes if value in class_of}
    near, told_apart = _alike(seen, dataset)
    alike = {i: classes[first] for i, first in near.items() if i not in same}
    return same, alike, told_apart


def _alike(seen: Mapping[str, np.ndarray], dataset: FewShotDataset) -> tuple[dict[int, int], bool]:
    n, n_new = len(seen["hashes"]), len(dataset)
    if "small" not in seen or n + 4 * n_new > MOST_COMPARED:
        return {}, False
    turned = [small_items(dataset.items.rot90(turns, (2, 3))) for turns in range(4)]
    first = first_alike(torch.cat([torch.from_numpy(seen["small"]), *turned]), SAME, FLAT)
    alike = {(i - n) % n_new: at for i, at in sorted(first.items()) if i >= n > at}
    return alike, 2 * sum(i < n for i in first) < n


def _refuse_alike(met: Met, dataset: FewShotDataset, told_apart: bool, advice: str) -> None:
    """Refuse a class of which half was used in training; warn if it was less."""
    if not met:
        return
    found = torch.bincount(dataset.labels[list(met)], minlength=dataset.n_classes)
    said = f"{_said(met, dataset)} are nearly those that were trained on ({_where(met, dataset)})"
    if told_apart and (2 * found >= dataset.class_sizes).any():
        raise ValueError(f"{said}: {advice}")
    warnings.warn(f"{said}: if they show the same, {advice}", stacklevel=2)


def _said(met: Met, dataset: FewShotDataset) -> str:
    return f"{len(met)} of the {len(dataset)} pictures"


def _where(met: Met, dataset: FewShotDataset) -> str:
    pairs = Counter((dataset.class_names[int(dataset.labels[i])], met[i]) for i in sorted(met))
    return listed([f"{here}, in training {there}" for here, there in pairs])


def listed(names: list[str], most: int = 5) -> str:
    """The first few of some names, and how many more there are, in one line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(for_terminal(name).replace("\n", "\\n") for name in names[:most]) + more
