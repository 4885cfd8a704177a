"""Where made and downloaded data is kept, and how it gets there without half-written files.

The folder is `METALEARN_EDU_CACHE` if that environment variable is set, else the user's own cache
folder. A file is first written whole under a temporary name in the same folder and then renamed,
so whoever reads it, another process too, sees the old file or the new one. Arrays are stored as
`.npz`, whose checksums are verified on reading.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout

__all__ = [
    "cache_folder",
    "cached_arrays",
    "load_arrays",
    "locked",
    "open_atomically",
    "save_arrays",
]

Arrays = dict[str, np.ndarray]

# Results that could not be written to the folder stay here until the process ends.
_kept_in_memory: dict[Path, Arrays] = {}


def cache_folder() -> Path:
    """The folder for made and downloaded data; it need not exist yet."""
    import pooch  # not before it is needed: writing a checkpoint needs `open_atomically` alone

    return Path(os.environ.get("METALEARN_EDU_CACHE") or pooch.os_cache("metalearn_edu"))


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` when the block ends, and vanishes if it fails.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile, whose files only their owner may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def locked(path: Path, *, patience: float = 0) -> Iterator[None]:
    """Hold the lock file at `path`, for one process at a time; the system frees a dead one's.

    Where the file system knows no locks, or the folder cannot be written, the block runs without.

    Args:
        patience: seconds to wait for another process.
    Raises:
        TimeoutError: another process, or another thread of ours, holds it still.
    """
    lock = FileLock(path, timeout=patience, fallback_to_soft=False)
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock)
        except Timeout:
            raise TimeoutError(f"{path} is held by another process") from None
        except (OSError, NotImplementedError):
            pass
        yield


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path` (.npz) at once. Raises OSError if that cannot be."""
    with open_atomically(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> Arrays:
    """All arrays of the .npz file at `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged; the message names it.
    """
    try:
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ValueError("it is not a .npz archive")
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged or is not a .npz file ({error})") from error


def cached_arrays(path: Path, build: Callable[[], Arrays], *, cache: bool = True) -> Arrays:
    """The arrays stored at `path`; if they are not there, `build()`, stored for the next time.

    A damaged file is rebuilt, with a line that says so. If the folder cannot be written, the
    result is kept in memory until the process ends, with a warning that says what to do.

    Args:
        path: the .npz file, in the cache folder.
        build: makes the arrays.
        cache: False makes them anew and touches no file.
    """
    if not cache:
        return build()
    if path in _kept_in_memory:
        return _kept_in_memory[path]
    try:
        return load_arrays(path)
    except ValueError as error:
        print(f"The cached file is rebuilt: {error}.")
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
