"""Where generated and downloaded data are kept.

The folder is `METALEARN_EDU_CACHE` if that environment variable is set, else the user's own cache
folder.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from ..basics.files import Arrays, as_path, load_arrays, save_arrays
from ..basics.names import for_terminal

__all__ = ["cache_folder", "cached_arrays"]

# Results that could not be written to the folder stay here until the process ends.
_kept_in_memory: dict[Path, Arrays] = {}


def cache_folder() -> Path:
    """The folder for generated and downloaded data; it need not exist yet."""
    import pooch  # imported only when needed: writing a checkpoint needs only `open_atomically`

    named = os.environ.get("METALEARN_EDU_CACHE")
    return as_path("METALEARN_EDU_CACHE", named or pooch.os_cache("metalearn_edu"))


def cached_arrays(
    path: Path,
    build: Callable[[], Arrays],
    *,
    cache: bool = True,
    check: Callable[[Arrays], None] | None = None,
) -> Arrays:
    """The arrays stored at `path`; if there are none, `build()`, stored for the next time.

    A file that is damaged or holds other arrays is rebuilt, with a line that says so. If the folder
    cannot be written, the result is kept in memory until the process ends, with a warning that says
    what to do.

    Args:
        path: the .npz file, in the cache folder.
        build: makes the arrays.
        cache: False makes them again and touches no file.
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
        pass  # Not there, or not readable: they are made below, and saving says what is wrong.
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
