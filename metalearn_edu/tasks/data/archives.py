"""Archives of drawings from outside: checked and limited in size before anything is unpacked.

An archive is never unpacked into a folder: its files are read from it one by one. It is refused as
a whole if a path in it leads out of its folder, or if the files that we need are larger than
drawings can be.
"""

from __future__ import annotations

import contextlib
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ...basics.files import as_damage, open_regular

__all__ = ["LARGEST_FILE", "Files", "check_total", "open_archive"]

LARGEST_FILE = 100_000
"""Bytes of one drawing, or of one list of them; the official drawings have at most 500."""
LARGEST_TOTAL = 2**26
"""Bytes of all files together, and of the archive itself; Omniglot has about 10^7."""
MOST_FILES = 200_000

Files = dict[str, Callable[[], bytes]]
"""Paths of files, and the function that reads each."""

_HELP = "Get the archive from the official source."


@contextlib.contextmanager
def open_archive(path: Path, wanted: re.Pattern[str]) -> Iterator[Files]:
    """The files of a .zip archive whose paths have a match of `wanted`, while the block lasts.

    Raises:
        ValueError: the archive is damaged, needs a password, is packed in a way that we do not
            read, is too large, or a path in it leads out; the functions that read the files raise
            it, too.
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        members = _opened(file, path)
        for info in members.infolist():
            _check_place(info, path)
        found = [info for info in members.infolist() if wanted.search(info.filename)]
        _check(found, path)
        yield {info.filename: partial(_read, members, info, path) for info in found}


def _opened(file: BinaryIO, path: Path) -> zipfile.ZipFile:
    check_total(os.fstat(file.fileno()).st_size, path)
    with _damaged(path):
        archive = zipfile.ZipFile(file)
    if len(archive.infolist()) > MOST_FILES:
        raise ValueError(
            f"{path} is refused: it has {len(archive.infolist())} files, more than {MOST_FILES}"
        )
    return archive


def _damaged(path: Path) -> contextlib.AbstractContextManager[None]:
    return as_damage(f"{path} is damaged or no archive", "delete it and fetch it again")


def check_total(size: int, path: Path) -> None:
    """Refuse more bytes than all drawings can have together. Raises ValueError."""
    if size > LARGEST_TOTAL:
        raise ValueError(
            f"{path} is refused: its drawings or itself have more than {LARGEST_TOTAL} bytes. "
            f"{_HELP}"
        )


def _check_place(info: zipfile.ZipInfo, path: Path) -> None:
    name = info.orig_filename.replace("\\", "/")
    if "\0" in name or name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise ValueError(
            f"{path} is refused, and nothing was read from it: the path {info.orig_filename!r} "
            f"in it leads out of its folder, or is none. {_HELP}"
        )


def _check(found: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse what is packed in another way, or is larger, than the official archives."""
    seen: set[str] = set()
    for info in found:
        refused = f"{path} is refused: {info.filename!r}"
        if info.filename in seen:
            raise ValueError(f"{refused} is there twice. {_HELP}")
        seen.add(info.filename)
        if info.flag_bits & 0x41:
            raise ValueError(f"{refused} in it needs a password. {_HELP}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"{refused} in it is packed by method {info.compress_type}; pack it again as .zip "
                "archives usually are (stored or deflated)"
            )
        if info.file_size > LARGEST_FILE:
            raise ValueError(
                f"{refused} has {info.file_size} bytes, a drawing at most {LARGEST_FILE}. {_HELP}"
            )
    check_total(sum(info.file_size for info in found), path)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    with _damaged(path), archive.open(info) as file:
        # Not read(), which would unpack everything if the header states a false size.
        return file.read(info.file_size + 1)
