"""Run folders: weights, a card that says how they were made, and which pictures they have seen.

    model.safetensors   the weights
    card.json           recipe, data, figures, and a checksum of each other file
    seen.npz            what was trained or chosen on; see seen.py
    checkpoint/         the state of the training, for going on

The card is written last: a folder without one is not finished. A folder with such files from
another program, or from another training run, is refused, and two training runs never share a
folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..basics.files import (
    locked,
    remove_leftovers,
    save_arrays,
    save_json,
    save_weights,
)

__all__ = [
    "CARD",
    "SEEN",
    "WEIGHTS",
    "DamagedRunError",
    "checked_file",
    "claimed",
    "damaged",
    "load_weights",
    "read_card",
    "record_figures",
    "refuse_shipped",
    "save_run",
]

WEIGHTS, CARD, SEEN, CHECKPOINT = "model.safetensors", "card.json", "seen.npz", "checkpoint"
LARGEST_CARD = 2**24  # bytes; a card with a thousand figures has half a million
PACKAGE = Path(__file__).resolve().parents[1]


class DamagedRunError(ValueError):
    """A file of a run folder is not what the training run wrote."""

    is_damage = True  # no argument is wrong


def damaged(folder: Path, why: object) -> DamagedRunError:
    """The error that says that `folder` is damaged."""
    return DamagedRunError(f"run {folder} is damaged: {why}; train it again")


# ---------------------------------------------------------------- reading


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a run folder.

    Raises:
        ValueError: the folder holds no finished run.
        DamagedRunError: the card cannot be read, or is not a card.
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
        raise damaged(folder, f"{CARD} is not a card ({error})") from None
    return card


def _check_card(card: Any) -> None:
    """Refuse values of types that no card has; fields added by later versions are fine."""
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
    """The weights of a run, which must be those that its card was written for.

    Raises:
        DamagedRunError: they are missing, changed, or not weights.
    """
    path = checked_file(folder, WEIGHTS, card)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise damaged(folder, f"{WEIGHTS}: {error}") from None


def checked_file(folder: Path, name: str, card: Mapping[str, Any]) -> Path:
    """The path of a run's file, whose checksum must be that of the card, if the card has one."""
    path = folder / name
    if not path.is_file():  # we would wait forever for a pipe of that name
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
    """Lock `folder` for one training run, and remove half-written files of killed runs.

    Args:
        folder: need not exist yet.
        settings: of the training, as under "recipe" on its card.
        data: as under "data" on its card.
    Raises:
        ValueError: it is not a folder, lies in the package, or holds files of something else.
        TimeoutError: another training run is using it.
    """
    if _is_shipped(folder):
        raise ValueError(f"{folder} lies inside the package itself; give another folder")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give another name")
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
    """Remove the lock, and folders that are then empty, because the training did not begin."""
    with suppress(OSError):
        lock.unlink(missing_ok=True)  # before it is released; if that is impossible, it stays
        lock.parent.rmdir()
        if not existed:
            folder.rmdir()


def _refuse_others(folder: Path, settings: dict[str, Any], data: dict[str, Any]) -> None:
    here = [name for name in (WEIGHTS, CARD, SEEN) if (folder / name).exists()]
    if not here:
        return
    if CARD not in here:
        # A training run that was killed between its weights and its card still has a checkpoint,
        # which knows which run it belongs to.
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
        seen: from `picture_hashes`; None if there are no pictures.
    """
    save_weights(folder / WEIGHTS, weights)
    names = [WEIGHTS]
    if seen is not None:
        save_arrays(folder / SEEN, seen)
        names.append(SEEN)
    # A run that is trained again keeps figures that were measured with equal weights.
    files = {name: _checksum(folder / name) for name in names}
    save_json(folder / CARD, card | {"files": files} | _kept_figures(folder, files))


def _kept_figures(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    with suppress(ValueError):
        before = read_card(folder)
        if before.get("files") == files and before.get("figures"):
            return {"figures": before["figures"]}
    return {}


def refuse_shipped(folder: Path) -> None:
    """Refuse to change the card of weights that come with the package. Raises ValueError."""
    if _is_shipped(folder):
        raise ValueError(
            f"{folder.name} comes with the package, so that its card stays as it is; copy the "
            f"folder {folder}, or train a run of your own, and record the figure there"
        )


def _is_shipped(folder: Path) -> bool:
    return folder.resolve().is_relative_to(PACKAGE)


def record_figures(folder: Path, figures: list[dict[str, Any]]) -> None:
    """Add measured figures to the card of a run; figures with equal settings are replaced.

    Raises:
        ValueError: the run comes with the package.
    """
    refuse_shipped(folder)
    what = ("split", "tasks", "episodes", "seed", "at")
    with locked(folder / f".{CARD}.lock", patience=60):
        card = read_card(folder)
        every = [*(card.get("figures") or []), *figures]
        known = {json.dumps([figure.get(k) for k in what]): figure for figure in every}
        save_json(folder / CARD, card | {"figures": [*known.values()]})
