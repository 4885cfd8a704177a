"""Files on disk: written completely or not at all, locked, and read within bounds.

A file is first written under a temporary name in the same folder and then renamed, so every reader,
even in another process, sees either the old file or the new one. Arrays are stored as `.npz`, whose
checksums are verified on reading.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that is open
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "as_damage",
    "as_path",
    "digest",
    "load_arrays",
    "locked",
    "open_atomically",
    "open_regular",
    "read_bounded",
    "remove_leftovers",
    "save_arrays",
    "save_json",
    "save_weights",
]

Arrays = dict[str, np.ndarray]

LARGEST_ARRAYS = 2**30
"""The most bytes that all arrays of a file can have together; a file of more is not read."""


def as_path(name: str, value: Any) -> Path:
    """`value` as a Path, "~" as a shell reads it; ValueError, with `name`, if it is none."""
    try:
        path = Path(os.path.expanduser(Path(value)))
        os.fspath(path).encode("utf-8", "surrogateescape")
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a path, got {value!r}") from None
    if "\0" in str(path):
        raise ValueError(f"{name} must be a path, which has no character of code 0: {value!r}")
    return path


# ---------------------------------------------------------------- reading and writing


def open_regular(path: Path) -> BinaryIO:
    """`path` opened for reading, if it is a regular file: reading anything else might never end.

    Raises:
        FileNotFoundError: there is nothing at this path.
        OSError: it is a folder, a device or a pipe, or it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{path} is not a regular file")
    return open(path, "rb")


def read_bounded(path: Path, at_most: int) -> bytes:
    """The content of a regular file; ValueError if it has over `at_most` bytes, else OSError."""
    with open_regular(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise ValueError(f"{path} has more than {at_most} bytes")
    return content


@contextlib.contextmanager
def as_damage(what: str, advice: str = "") -> Iterator[None]:
    """Any error in the content of a file becomes a ValueError: `what`, why, and `advice`.

    Errors of the disk stay what they are.
    """
    try:
        yield
    except Exception as error:  # zipfile, each compression method and NumPy's parser have their own
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{what} ({why}){'; ' * bool(advice)}{advice}") from error


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it becomes `path` when the block ends, and disappears if the block fails.

    A link stays a link, and a file keeps its permissions. Half-written copies of the same file that
    killed processes left are removed.

    Raises:
        OSError: the folder cannot be made or written, or `path` is a folder, a device, a pipe.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode(path)
    remove_leftovers(path.parent, glob.escape(path.name))
    # Not tempfile, whose files only their owner may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with contextlib.ExitStack() as until_replaced:
            with open(temporary, "xb") as file:
                until_replaced.enter_context(_in_use(file))
                if mode is not None:
                    os.chmod(temporary, mode)
                yield file
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a full disk does not say for what it had no room
        raise


def _mode(path: Path) -> int | None:
    """Permissions of a regular file; None if there is nothing; OSError for all else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is not a regular file, so it is not written")
    return stat.S_IMODE(mode)


@contextlib.contextmanager
def _in_use(file: BinaryIO) -> Iterator[None]:
    """Until the block or this process ends, other processes see that `file` is being written."""
    if fcntl is None:
        yield
        return
    held = os.dup(file.fileno())  # which stays after the file is closed
    try:
        with contextlib.suppress(OSError):  # a file system without such locks
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)


def remove_leftovers(folder: Path, names: str, *, alone: bool = False) -> None:
    """Remove the half-written files of killed processes from a folder; files in progress stay.

    Args:
        names: of the files that were written, as a pattern such as "*.json".
        alone: nobody else writes there, because we hold the folder's lock.
    """
    for part in folder.glob(f".{names}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError):
            if alone or not _is_in_use(part):
                part.unlink()


def _is_in_use(part: Path) -> bool:
    age = time.time() - part.lstat().st_mtime
    if age < 2 or fcntl is None:  # seconds; a new one might not be locked yet
        return age < 2
    file = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # no such locks here
        return age < 3600
    finally:
        os.close(file)


@contextlib.contextmanager
def locked(path: Path, *, patience: float = 0) -> Iterator[None]:
    """Hold the lock file at `path`, one process at a time; the system releases that of a dead one.

    If the file system has no locks, or the folder cannot be written, the block runs without one.

    Args:
        patience: seconds to wait for another process.
    Raises:
        TimeoutError: another process, or another thread of ours, still holds it.
    """
    lock = FileLock(path, timeout=patience, poll_interval=0.02, fallback_to_soft=False)
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock)
        except Timeout:
            raise TimeoutError(f"{path} is held by another process") from None
        except (OSError, NotImplementedError):
            pass
        try:
            yield
        finally:
            if (
                lock.is_locked
            ):  # a process that waits for this file sees that it is gone, and makes another
                with contextlib.suppress(OSError):
                    path.unlink()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path` (.npz), completely or not at all. Raises OSError if that fails."""
    with open_atomically(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path, *, at_most: int = LARGEST_ARRAYS) -> Arrays:
    """All arrays of the .npz file at `path`.

    Args:
        at_most: the bytes that they can have together; a file of more is refused before it is read.
    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read, or is not a regular file.
        ValueError: the file is damaged or too large; the message names it.
    """
    with open_regular(path) as file, as_damage(f"{path} is damaged or is not a .npz file"):
        return _arrays_in(file, at_most)


def _arrays_in(file: BinaryIO, at_most: int) -> Arrays:
    if not file.read(2) == b"PK":
        raise ValueError("it is not a .npz archive")
    file.seek(0)
    _check_size(os.fstat(file.fileno()).st_size, at_most + 2**20)
    with np.load(file, allow_pickle=False) as stored:
        _check_size(sum(info.file_size for info in stored.zip.infolist()), at_most)
        arrays = {name: stored[name] for name in stored.files}
    if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{strange[0]!r} is not an array")
    return arrays


def _check_size(size: int, at_most: int) -> None:
    if size > at_most:
        raise ValueError(f"it has {size} bytes, more than {at_most}")


def save_weights(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors to `path` (safetensors), whole or not at all.

    Returns:
        the `digest` of the file.
    Raises:
        OSError: the file cannot be written.
    """
    # The format stores neither strides nor memory that two names share.
    plain = {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    content = save(plain)
    with open_atomically(path) as file:
        file.write(content)
    return digest(content)


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` (JSON), whole or not at all. Raises OSError."""
    with open_atomically(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def digest(*parts: str | bytes) -> str:
    """A short text that differs if the parts differ."""
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(f"{len(content)}:".encode() + content)
    return total.hexdigest()
