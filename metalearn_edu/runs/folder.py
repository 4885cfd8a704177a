"""Run folders: weights, a card that says how they were made, and which pictures they have seen.

    model.safetensors   the weights
    card.json           recipe, data, figures, and a checksum of each other file
    seen.npz            64 bits and, of files, a small copy of what was trained or chosen on
    checkpoint/         the state of the training, for going on

The card is written last: what has none is not finished. A folder with files of these names that
another program, or another training, has left is refused, and two trainings never share one.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..basics.files import (
    load_arrays,
    locked,
    remove_leftovers,
    save_arrays,
    save_json,
    save_weights,
)
from ..basics.names import for_terminal
from ..tasks import FewShotDataset
from ..tasks.data.folder_check import FLAT, MOST_COMPARED, SAME, SIDE
from ..tasks.data.near_duplicates import first_alike

__all__ = [
    "CARD",
    "SEEN",
    "WEIGHTS",
    "DamagedRunError",
    "claimed",
    "listed",
    "load_weights",
    "picture_hashes",
    "read_card",
    "record_figures",
    "refuse_seen",
    "save_run",
    "warn_of_leaks",
]

WEIGHTS, CARD, SEEN, CHECKPOINT = "model.safetensors", "card.json", "seen.npz", "checkpoint"
LARGEST_CARD = 2**24  # bytes; a card with a thousand figures has half a million
PACKAGE = Path(__file__).resolve().parents[1]


class DamagedRunError(ValueError):
    """A file of a run folder is not what the training wrote."""

    is_damage = True  # nobody's argument is wrong


def damaged(folder: Path, why: object) -> DamagedRunError:
    """The error that says so of `folder`."""
    return DamagedRunError(f"run {folder} is damaged: {why}; train it again")


# ---------------------------------------------------------------- reading


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a run folder.

    Raises:
        ValueError: the folder holds no finished run.
        DamagedRunError: the card cannot be read, or is no card.
    """
    path = folder / CARD
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no trained run (no {CARD}); "
            f"metalearn-edu train ALGORITHM --output {folder} makes one"
        )
    try:
        if path.stat().st_size > LARGEST_CARD:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        card = json.loads(path.read_text(encoding="utf-8"))
        _check_card(card)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(folder, f"{CARD} is no card ({error})") from None
    return card


def _check_card(card: Any) -> None:
    """Refuse what has not the types that a card has; what a later version adds may be there."""
    if not isinstance(card, dict):
        raise ValueError(f"it holds a {type(card).__name__}")
    kinds = {"recipe": dict, "item_shape": list, "data": dict, "files": dict, "figures": list}
    optional = {"data", "files", "figures"}
    for name, kind in kinds.items():
        value = card.get(name)
        if not isinstance(value, kind) and not (name in optional and value is None):
            raise ValueError(f"{name} must be a {kind.__name__}, got {type(value).__name__}")
    sides = card["item_shape"]
    if not (1 <= len(sides) <= 3 and all(type(n) is int and 0 < n <= 2**14 for n in sides)):
        raise ValueError("item_shape must be up to three whole numbers above 0")
    if not all(isinstance(figure, dict) for figure in card.get("figures") or []):
        raise ValueError("figures must be a list of objects")


def load_weights(folder: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a run, which are those that its card was written for.

    Raises:
        DamagedRunError: they are missing, changed, or no weights.
    """
    path = _checked(folder, WEIGHTS, card)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise damaged(folder, f"{WEIGHTS}: {error}") from None


def _checked(folder: Path, name: str, card: Mapping[str, Any]) -> Path:
    """The path of a run's file, whose checksum is that of the card where it has one."""
    path = folder / name
    if not path.is_file():  # a pipe of that name would be waited for
        raise damaged(folder, f"{name} is missing, or no plain file")
    expected = (card.get("files") or {}).get(name)
    if expected is not None and _checksum(path) != expected:
        raise damaged(folder, f"{name} is not the file that the training wrote")
    return path


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- writing


@contextmanager
def claimed(folder: Path, settings: dict[str, Any], data: dict[str, Any]) -> Iterator[None]:
    """Hold `folder` for one training; what a killed one left half-written there is removed.

    Args:
        folder: need not exist yet.
        settings: of the training, as its card has them under "recipe".
        data: as its card has them under "data".
    Raises:
        ValueError: it is no folder, lies in the package, or holds what is not this training's.
        TimeoutError: another training is running there.
    """
    if folder.resolve().is_relative_to(PACKAGE):
        raise ValueError(f"{folder} lies inside the package itself; give another folder")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give another name")
    _refuse_others(folder, settings, data)
    existed, lock = folder.is_dir(), folder / CHECKPOINT / ".run.lock"
    with ExitStack() as held:
        try:
            held.enter_context(locked(lock))
        except TimeoutError:
            raise TimeoutError(
                f"another training is running in {folder}; wait for it, or give another folder"
            ) from None
        held.callback(_leave_no_trace, folder, lock, existed)
        for name in (WEIGHTS, CARD, SEEN):
            remove_leftovers(folder, name, alone=True)
        yield


def _leave_no_trace(folder: Path, lock: Path, existed: bool) -> None:
    """Remove the lock, and folders that are empty then: the training did not begin."""
    with suppress(OSError):
        lock.unlink(missing_ok=True)  # before it is let go; where that cannot be, it stays
        lock.parent.rmdir()
        if not existed:
            folder.rmdir()


def _refuse_others(folder: Path, settings: dict[str, Any], data: dict[str, Any]) -> None:
    here = [name for name in (WEIGHTS, CARD, SEEN) if (folder / name).exists()]
    if not here:
        return
    if CARD not in here:
        # A training that was killed between its weights and its card has a checkpoint still, and
        # that knows of which run it is.
        if (folder / CHECKPOINT / "state.json").is_file():
            return
        raise ValueError(f"{folder} holds a {here[0]} of something else; give another folder")
    try:
        card = read_card(folder)
    except DamagedRunError as error:
        raise ValueError(
            f"{folder} holds a {CARD} of something else ({error}); give another folder"
        ) from None
    there, here_now = card["recipe"], json.loads(json.dumps(settings))
    different = [n for n in here_now if n in there and there[n] != here_now[n]]
    if different:
        changes = "; ".join(f"{n}: {there[n]} there, {here_now[n]} here" for n in different)
        raise ValueError(f"{folder} holds another run ({changes}); give another folder")
    then = (card.get("data") or {}).get("digests")
    if then is not None and then != data["digests"]:
        raise ValueError(
            f"the pictures of {data.get('path', data['kind'])} have changed since the run in "
            f"{folder} was trained; give another folder for a new run"
        )


def save_run(
    folder: Path,
    card: dict[str, Any],
    weights: dict[str, Tensor],
    seen: Mapping[str, np.ndarray] | None,
) -> None:
    """Write a finished run, the card last. Raises OSError.

    Args:
        seen: of `picture_hashes`; None where there are no pictures.
    """
    save_weights(folder / WEIGHTS, weights)
    names = [WEIGHTS]
    if seen is not None:
        save_arrays(folder / SEEN, seen)
        names.append(SEEN)
    # A run that is trained again keeps the figures that were measured of equal weights.
    files = {name: _checksum(folder / name) for name in names}
    save_json(folder / CARD, card | {"files": files} | _kept_figures(folder, files))


def _kept_figures(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    with suppress(ValueError):
        before = read_card(folder)
        if before.get("files") == files and before.get("figures"):
            return {"figures": before["figures"]}
    return {}


def record_figures(folder: Path, figures: list[dict[str, Any]]) -> None:
    """Add measured figures, with their settings, to the card of a run; equal ones are replaced."""
    what = ("split", "tasks", "episodes", "seed", "at")
    with locked(folder / f".{CARD}.lock", patience=60):
        card = read_card(folder)
        every = [*(card.get("figures") or []), *figures]
        known = {json.dumps([figure.get(k) for k in what]): figure for figure in every}
        save_json(folder / CARD, card | {"figures": [*known.values()]})


# ---------------------------------------------------------------- pictures that were seen


def picture_hashes(datasets: Mapping[str, FewShotDataset]) -> dict[str, np.ndarray]:
    """64 bits of each picture of the parts that a training looks at, and the class of each.

    Of pictures that are files a small copy is kept as well: saved anew they have other bits.

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
    """Refuse pictures, prepared as in training, of which the run in `folder` was trained on some.

    Raises:
        ValueError: how many, and of which classes; or the run does not know what it has seen.
        DamagedRunError: seen.npz is not what the training wrote.
    """
    path = _checked(folder, SEEN, card)
    advice = (
        "the score would say nothing of classes that are new; leave out --data to score the run's "
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
    """Say how many pictures of a held-out part of a folder are in an earlier part, too.

    It is no error: what differs in colour alone may be the same in grey.

    Args:
        parts: by name, in the order meta-train, meta-val, meta-test.
    """
    advice = "its score says nothing of classes that are new; metalearn-edu check names such files"
    names = [*parts]
    for n in range(1, len(names)):
        before = picture_hashes({name: parts[name] for name in names[:n]})
        same, alike, _ = _met(before, parts[names[n]])
        _refuse_alike(
            same | alike, parts[names[n]], False, f"{names[n]} is not held out, and {advice}"
        )


Met = dict[int, str]
"""The pictures of a data set that a training has met, and the class that each had there."""


def _met(seen: Mapping[str, np.ndarray], dataset: FewShotDataset) -> tuple[Met, Met, bool]:
    """Pictures that are the same as trained ones, and others nearly the same, turned ones included.

    The last answer is whether that tells pictures apart at all: of a camera that does not move all
    are nearly the same.
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
    """Refuse where half of a class has been met; warn of fewer."""
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
