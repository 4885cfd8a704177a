"""Which exercises are done: a small file in the user's data folder.

The environment variable METALEARN_EDU_PROGRESS names another file; with the value `off` nothing
is read or written, and what was done is known until the process ends. So it is in tests and builds.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import platformdirs

from ..tasks.cache import open_atomically

__all__ = ["Record", "progress_file", "read_record", "reset_record", "update_record"]

Record = dict[str, dict[str, Any]]
_RANK = ["not attempted yet", "tried", "correct"]
_in_memory: Record = {}


def progress_file() -> Path | None:
    """Where progress is kept; None if it is switched off."""
    named = os.environ.get("METALEARN_EDU_PROGRESS")
    if named == "off":
        return None
    return Path(named or platformdirs.user_data_path("metalearn_edu") / "progress.json")


def read_record() -> Record:
    """{name: {"state": ..., ...}} of all exercises that were attempted.

    A damaged file is put aside under another name, with a warning that says which.
    """
    path = progress_file()
    if path is None or _in_memory:
        return {name: dict(entry) for name, entry in _in_memory.items()}
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        return _put_aside(path, error)
    try:
        return _valid(json.loads(text))
    except ValueError as error:
        return _put_aside(path, error)


def update_record(name: str, state: str, **more: Any) -> None:
    """Remember the state of an exercise; what was once correct stays correct.

    If the file cannot be written, a warning says so once, and memory must do.
    """
    record = read_record()
    entry = record.setdefault(name, {"state": _RANK[0]})
    entry |= more | {"state": max(entry["state"], state, key=_RANK.index)}
    _write(record)


def reset_record() -> None:
    """Forget all progress."""
    _in_memory.clear()
    path = progress_file()
    if path is not None:
        path.unlink(missing_ok=True)


def _valid(stored: Any) -> Record:
    """The stored record; ValueError if it is not one."""
    record = stored.get("exercises") if isinstance(stored, dict) else None
    if not isinstance(record, dict):
        raise ValueError("it has no table of exercises")
    for name, entry in record.items():
        if not isinstance(entry, dict) or entry.get("state") not in _RANK:
            raise ValueError(f"{name} has no known state")
    return record


def _put_aside(path: Path, error: Exception) -> Record:
    taken = len(list(path.parent.glob(f"{path.stem}.damaged-*")))
    backup = path.with_name(f"{path.stem}.damaged-{taken + 1}{path.suffix}")
    try:
        path.replace(backup)
        kept = f"it is kept as {backup}"
    except OSError:
        kept = "it could not be put aside"
    warnings.warn(f"{path} cannot be read ({error}); {kept}, progress starts anew", stacklevel=4)
    return {}


def _write(record: Record) -> None:
    path = progress_file()
    if path is not None and not _in_memory:
        text = json.dumps({"format": 1, "exercises": record}, indent=1, sort_keys=True)
        try:
            with open_atomically(path) as file:
                file.write(text.encode())
            return
        except OSError as error:
            warnings.warn(
                f"progress cannot be kept in {path} ({error}); set the environment variable "
                "METALEARN_EDU_PROGRESS to a file that you can write",
                stacklevel=4,
            )
    _in_memory.update(record)
