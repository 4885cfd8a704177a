"""Where made and downloaded data is kept, and how it gets there without half-written files.

The folder is `METALEARN_EDU_CACHE` if that environment variable is set, else the user's own cache
folder. A file is first written whole under a temporary name in the same folder and then renamed,
so whoever reads it, another process too, sees the old file or the new one. Arrays are stored as
`.npz`, whose checksums are verified on reading.
"""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from ..names import for_terminal

try:
    import fcntl
except ImportError:  # Windows, which lets nobody remove a file that is open
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "as_damage",
    "as_path",
    "cache_folder",
    "cached_arrays",
    "load_arrays",
    "locked",
    "open_atomically",
    "open_regular",
    "read_bounded",
    "remove_leftovers",
    "save_arrays",
]

Arrays = dict[str, np.ndarray]

LARGEST_ARRAYS = 2**30
"""Bytes of all arrays in a file together, before which it is not read."""

# Results that could not be written to the folder stay here until the process ends.
_kept_in_memory: dict[Path, Arrays] = {}


def cache_folder() -> Path:
    """The folder for made and downloaded data; it need not exist yet."""
    import pooch  # not before it is needed: writing a checkpoint needs `open_atomically` alone

    named = os.environ.get("METALEARN_EDU_CACHE")
    return as_path("METALEARN_EDU_CACHE", named or pooch.os_cache("metalearn_edu"))


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
    """`path` opened for reading, if it is a regular file: any other might never end, or begin.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: a folder, a device, a pipe; or it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{path} is not a regular file")
    return open(path, "rb")


def read_bounded(path: Path, at_most: int) -> bytes:
    """What a regular file holds, if that is `at_most` bytes; ValueError if more, else OSError."""
    with open_regular(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise ValueError(f"{path} has more than {at_most} bytes")
    return content


@contextlib.contextmanager
def as_damage(what: str, advice: str = "") -> Iterator[None]:
    """Whatever goes wrong in what a file holds becomes a ValueError: `what`, why, and `advice`.

    Errors of the disk stay what they are.
    """
    try:
        yield
    except Exception as error:  # zipfile, each way of packing and NumPy's parser have their own
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{what} ({why}){'; ' * bool(advice)}{advice}") from error


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` when the block ends, and vanishes if it fails.

    A link stays a link, and a file keeps its permissions. What killed processes left half-written
    of the same file is removed.

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
            error.filename = str(path)  # a full disk does not say what it had no room for
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
    """Other processes see, until the block ends or this process does, that `file` is written."""
    if fcntl is None:
        yield
        return
    held = os.dup(file.fileno())  # which stays when the file is closed
    try:
        with contextlib.suppress(OSError):  # a file system without such locks
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(held)


def remove_leftovers(folder: Path, names: str) -> None:
    """Remove what killed processes left half-written in a folder; what somebody still writes stays.

    Args:
        names: of the files that were written, as a pattern such as "*.json".
    """
    for part in folder.glob(f".{names}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError):
            if not _is_in_use(part):
                part.unlink()


def _is_in_use(part: Path) -> bool:
    age = time.time() - part.lstat().st_mtime
    if age < 2 or fcntl is None:  # seconds; one that was just made may not be locked yet
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
    """Hold the lock file at `path`, for one process at a time; the system frees a dead one's.

    Where the file system knows no locks, or the folder cannot be written, the block runs without.

    Args:
        patience: seconds to wait for another process.
    Raises:
        TimeoutError: another process, or another thread of ours, holds it still.
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
            ):  # whoever waits for this file sees that it is gone, and makes another
                with contextlib.suppress(OSError):
                    path.unlink()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path` (.npz) at once. Raises OSError if that cannot be."""
    with open_atomically(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path, *, at_most: int = LARGEST_ARRAYS) -> Arrays:
    """All arrays of the .npz file at `path`.

    Args:
        at_most: bytes that they have together; a file of more is refused before it is read.
    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read, or is no regular file.
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
        raise ValueError(f"{strange[0]!r} is no array")
    return arrays


def _check_size(size: int, at_most: int) -> None:
    if size > at_most:
        raise ValueError(f"it has {size} bytes, more than {at_most}")


def cached_arrays(
    path: Path,
    build: Callable[[], Arrays],
    *,
    cache: bool = True,
    check: Callable[[Arrays], None] | None = None,
) -> Arrays:
    """The arrays stored at `path`; if they are not there, `build()`, stored for the next time.

    A file that is damaged or holds other arrays is rebuilt, with a line that says so. If the folder
    cannot be written, the result is kept in memory until the process ends, with a warning that says
    what to do.

    Args:
        path: the .npz file, in the cache folder.
        build: makes the arrays.
        cache: False makes them anew and touches no file.
        check: raises ValueError for arrays that `build` would not make.
    """
    if not cache:
        return build()
    if path in _kept_in_memory:
        return _kept_in_memory[path]
    try:
        arrays = load_arrays(path)
        if check is not None:
            check(arrays)
        return arrays
    except ValueError as error:
        text = str(error) if str(path) in str(error) else f"{path}: {error}"
        print(f"The cached file is rebuilt: {for_terminal(text)}.")
    except OSError:
        pass  # Not there, or not readable: made below, and saving says what is wrong.
    arrays = build()
    try:
        save_arrays(path, arrays)
    except OSError as error:
        _kept_in_memory[path] = arrays
        warnings.warn(
            f"The cache folder {path.parent} cannot be written ({error}), so this data is made "
            "again in each session. Set the environment variable METALEARN_EDU_CACHE to a folder "
            "that you can write.",
            stacklevel=3,
        )
    return arrays
