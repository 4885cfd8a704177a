"""Which exercises are done: a small file in the user's data folder.

The environment variable METALEARN_EDU_PROGRESS names another file; with the value `off` nothing
is read or written, and progress is known until the process ends. Tests and builds do this.

Kernels that record at the same moment wait for each other. What is not ours, and what cannot be
read, stays as it is: a warning says so once, and progress is kept in memory until it can be
written to the file. Only a damaged record of ours is put aside, under another name.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from ..basics.files import as_path, locked, open_atomically, read_bounded

__all__ = ["Record", "progress_file", "read_record", "reset_record", "update_record"]

Record = dict[str, dict[str, Any]]
_RANK = ["not attempted yet", "tried", "correct"]
_LARGEST = 10_000_000  # bytes
_FORMAT = 1
_in_memory: dict[Path | None, Record] = {}  # what could not be kept in a file, by the file


def progress_file() -> Path | None:
    """Where progress is kept; None if it is switched off."""
    named = os.environ.get("METALEARN_EDU_PROGRESS")
    if named == "off":
        return None
    return as_path("METALEARN_EDU_PROGRESS", named) if named else _default_file()


def _default_file() -> Path:
    return platformdirs.user_data_path("metalearn_edu") / "progress.json"


def read_record() -> Record:
    """{name: {"state": ..., ...}} of all exercises that were attempted.

    A damaged file is put aside under another name, with a warning that says which.
    """
    path = progress_file()
    stored: dict[str, Any] = {}
    if path is not None:
        try:
            stored = _read(path)
        except _DamagedError:
            stored = _in_turn(path, lambda: _read_or_put_aside(path)) or {}
        except (OSError, ValueError) as error:
            _keep_in_memory(path, error)
    return _merged(_exercises(stored), _in_memory.get(path, {}))


def update_record(name: str, state: str, **more: Any) -> None:
    """Remember the state of an exercise; what was once correct stays correct.

    If the file cannot be written, a warning says so once, and memory must do.
    """
    path, new = progress_file(), {name: more | {"state": state}}
    if path is None or not _in_turn(path, lambda: _add(path, new)):
        _in_memory[path] = _merged(_in_memory.get(path, {}), new)


def reset_record() -> None:
    """Forget all progress; a file that is not ours, or cannot be removed, stays, with a warning."""
    path = progress_file()
    if path is None or _in_turn(path, lambda: _remove(path)) is not None:
        _in_memory.pop(path, None)
    else:
        _in_memory[path] = {}


# ---------------------------------------------------------------- what a record is


class _DamagedError(ValueError):
    """The file is a record of ours, or was one."""


def _exercises(stored: dict[str, Any]) -> Record:
    return stored.get("exercises", {})


def _merged(record: Record, new: Record) -> Record:
    """All entries of both; of an exercise the newer values, and the better state."""
    merged = {name: dict(entry) for name, entry in record.items()}
    for name, entry in new.items():
        known = merged.get(name, {"state": _RANK[0]})
        states = known["state"], entry["state"]
        merged[name] = known | entry | {"state": max(states, key=_rank)}
    return merged


def _rank(state: str) -> int:
    """The place of a state; those of a later version are above all of ours."""
    return _RANK.index(state) if state in _RANK else len(_RANK)


def _checked(stored: Any) -> dict[str, Any]:
    """What was read, if it is a record; else ValueError."""
    record = stored.get("exercises") if isinstance(stored, dict) else None
    if not isinstance(record, dict):
        raise ValueError("it has no table of exercises")
    for name, entry in record.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("state"), str):
            raise ValueError(f"{name} has no state")
    return stored


# ---------------------------------------------------------------- the file


def _read(path: Path) -> dict[str, Any]:
    """All that the file holds, also what a later version has put there.

    Raises:
        _DamagedError: it is a record of ours that cannot be read.
        OSError, ValueError: it cannot be read, or is not ours.
    """
    try:
        content = read_bounded(path, _LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if not content.strip():
        return {}  # a place to write to
    try:
        stored = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        ours = _is_default(path) or _begins_like_ours(content)
        raise (_DamagedError if ours else ValueError)(str(error)) from None
    try:
        return _checked(stored)
    except ValueError as error:
        of_later_version = isinstance(stored, dict) and stored.get("format", _FORMAT) != _FORMAT
        ours = _is_default(path) and not of_later_version
        raise (_DamagedError if ours else ValueError)(str(error)) from None


def _is_default(path: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(_default_file())


def _begins_like_ours(content: bytes) -> bool:
    start = b"".join(content[:1000].removeprefix(b"\xef\xbb\xbf").split())
    return start.startswith((b'{"exercises":{', b'{"format":1,"exercises":{'))


def _read_or_put_aside(path: Path) -> dict[str, Any]:
    try:
        return _read(path)
    except _DamagedError as error:
        _put_aside(Path(os.path.realpath(path)), error)
        return {}


def _put_aside(path: Path, error: Exception) -> None:
    number = 1
    while os.path.lexists(path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")):
        number += 1
    backup = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
    path.rename(backup)
    warnings.warn(
        f"{path} cannot be read ({error}); it is kept as {backup}, progress starts from zero",
        stacklevel=6,
    )


def _add(path: Path, new: Record) -> dict[str, Any]:
    """Put entries into the file, and those that are in memory; what it holds then."""
    stored = _read_or_put_aside(path)
    record = _merged(_merged(_exercises(stored), _in_memory.get(path, {})), new)
    stored = {"format": _FORMAT} | stored | {"exercises": record}
    with open_atomically(path) as file:
        file.write(json.dumps(stored, indent=1, sort_keys=True).encode())
    _in_memory.pop(path, None)
    return stored


def _remove(path: Path) -> dict[str, Any]:
    stored = _read_or_put_aside(path)
    Path(os.path.realpath(path)).unlink(missing_ok=True)
    return stored


def _in_turn(path: Path, do: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """`do()` while no other process does the same; None, and a warning, if it cannot be done."""
    real = Path(os.path.realpath(path))
    try:
        if real.exists() and not real.is_file():
            _read(path)  # says what it is, before a lock is put beside it
        with locked(real.with_name(f".{real.name}.lock"), patience=5):
            return do()
    except (OSError, ValueError) as error:
        _keep_in_memory(path, error)
        return None


def _keep_in_memory(path: Path, error: Exception) -> None:
    if path in _in_memory:
        return  # it was said
    _in_memory[path] = {}
    warnings.warn(
        f"progress cannot be kept in {path} ({error}), which stays as it is; set the environment "
        "variable METALEARN_EDU_PROGRESS to a file that you can write",
        stacklevel=4,
    )
