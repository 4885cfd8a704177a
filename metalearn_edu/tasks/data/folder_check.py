"""What is wrong with a folder of pictures, before anything is trained or scored on it.

Introduced in notebook 12. A broken file is a nuisance. A picture that lies in two classes, or twice
in one, is worse: it makes results wrong, and nobody notices.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...basics.arguments import as_integer
from ...basics.files import as_path
from .folder_layout import class_folders, layout_said, listed, passed_over, pictures
from .near_duplicates import first_alike
from .picture import (
    IMAGE_SUFFIXES,
    Greys,
    Picture,
    in_line,
    read_pictures,
    remarks,
    said_of_greys,
    why_unreadable,
)

__all__ = ["Finding", "FolderReport", "check_image_folder"]

SIDE = 28  # side of the small grey pictures that are compared
SAME = 0.995  # correlation above which two of them are nearly the same picture
FLAT = 2.0  # standard deviation of grey (0 to 255) below which a picture shows nothing
SMALLEST, LONGEST, LARGEST = 28, 3.0, 50e6  # pixels a side, ratio of sides, pixels
MOST_COMPARED = 100_000  # pictures; about a minute on one core
SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """Something about one file, or one class folder: the kind of trouble, and what exactly."""

    file: Path
    kind: str
    what: str


@dataclass(frozen=True, repr=False)
class FolderReport:
    """What `check_image_folder` found. `print` shows it; `figures.plot_findings` draws it.

    Attributes:
        root: the folder.
        class_sizes: readable pictures by class, in name order.
        need: how many pictures of a class an episode takes, n_shot + n_query.
        findings: worst first: "layout": train, val and test folders, or groups that seem to hold
            the same classes; "broken" files, "duplicate" pictures, "small" classes, "odd" pictures
            (blank, tiny, very long, very large, cut off), and "other" files that are not read.
        notes: what else to know, one sentence each.
    """

    root: Path
    class_sizes: dict[str, int]
    need: int
    findings: list[Finding]
    notes: tuple[str, ...] = ()

    @property
    def too_small(self) -> dict[str, int]:
        """The classes with too few pictures for an episode, and how many they have."""
        return {name: n for name, n in self.class_sizes.items() if n < self.need}

    @property
    def usable(self) -> list[str]:
        """The classes with enough pictures."""
        return [name for name in self.class_sizes if name not in self.too_small]

    @property
    def is_fine(self) -> bool:
        """Whether nothing was found, and an episode is possible."""
        return not self.findings and len(self.usable) >= 2

    def of_kind(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def __str__(self) -> str:
        n_pictures, n_classes = sum(self.class_sizes.values()), len(self.class_sizes)
        lines = [f"{in_line(self.root.name)}: {n_pictures} pictures in {n_classes} classes"]
        for kind, title in _TITLES.items():
            lines += _section(title, [self._line(finding) for finding in self.of_kind(kind)])
        lines += [f"  {in_line(note)}" for note in self.notes]
        lines.append(self._verdict())
        return "\n".join(lines)

    __repr__ = __str__

    def _line(self, finding: Finding) -> str:
        return in_line(f"{finding.file.relative_to(self.root)}: {finding.what}")

    def _verdict(self) -> str:
        if len(self.usable) < 2:
            return (
                f"not usable: an episode needs at least 2 classes with {self.need} pictures each, "
                f"{len(self.usable)} qualify; add pictures, or ask for fewer queries"
            )
        state = "all is well" if self.is_fine else "usable"
        return f"{state}: up to {len(self.usable)}-way episodes of {self.need} pictures per class"


_TITLES = {
    "layout": "how the folders are taken",
    "broken": "cannot be read",
    "duplicate": "the same picture twice",
    "small": "classes with too few pictures, left out",
    "odd": "odd pictures, used as they are",
    "other": "other files, skipped",
}


def check_image_folder(
    path: str | os.PathLike[str], n_shot: int = 1, n_query: int = 5, *, progress: bool = False
) -> FolderReport:
    """Look at every file of a folder as `load_image_folder` takes it. Introduced in notebook 12.

    Args:
        path: the folder that holds the class folders, or group folders that hold them.
        n_shot, n_query: of the episodes to come; a class needs their sum in pictures.
        progress: show a progress bar.
    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: it holds no class folders, or pictures and folders mixed.
    """
    root, need = (
        as_path("path", path),
        as_integer("n_shot", n_shot) + as_integer("n_query", n_query),
    )
    folders = class_folders(root)
    inside = {name: [p for f in places for p in pictures(f)] for name, places in folders.items()}
    files = [file for files in inside.values() for file in files]
    findings: list[Finding] = []

    def broken(file: Path, error: Exception) -> None:
        findings.append(Finding(file, "broken", why_unreadable(file, error)))

    desc = f"checking {in_line(root.name)}"
    read, greys = read_pictures(files, (SIDE, SIDE), 1, {}, broken, desc=desc, show=progress)
    sizes = {name: sum(file in read for file in files) for name, files in inside.items()}
    findings += _of_folders(root, folders, sizes, need)
    findings += [Finding(f, "odd", w) for f, p in read.items() for w in _oddities(p, greys)]
    tiles = [picture.tile for picture in read.values()]
    same_class = {folder: name for name, places in folders.items() for folder in places}
    twice = _duplicates(list(read), tiles, same_class, progress=progress)
    findings += [Finding(*found) for found in twice]
    others = _files(folders, root) - set(files)
    findings += [Finding(file, "other", _why_other(file)) for file in sorted(others)]
    worst_first = list(_TITLES)
    findings.sort(key=lambda finding: worst_first.index(finding.kind))
    return FolderReport(root, sizes, need, findings, _notes(folders, greys, len(read)))


def _of_folders(
    root: Path, folders: Mapping[str, list[Path]], sizes: Mapping[str, int], need: int
) -> list[Finding]:
    """What is wrong with the folders themselves."""
    layout = layout_said(root, folders)
    findings = [Finding(root, "layout", layout)] if layout else []
    return findings + [
        Finding(folders[name][0], "small", f"{n} pictures, an episode takes {need}")
        for name, n in sizes.items()
        if n < need
    ]


def _notes(folders: Mapping[str, list[Path]], greys: Greys, n_pictures: int) -> tuple[str, ...]:
    others = passed_over(folders)
    many = f"more than {MOST_COMPARED:,} pictures: only the same files were looked for"
    return (
        *said_of_greys(greys),
        *([f"pictures that are not read: {others}"] if others else []),
        *([many] if n_pictures > MOST_COMPARED else []),
    )


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"    and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"  {title} ({len(lines)}):", *(f"    {line}" for line in lines[:SHOWN]), *more]


def _why_other(file: Path) -> str:
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return "it lies in no class folder"
    return f"files ending in {file.suffix or 'nothing'} are not read"


def _files(folders: Mapping[str, list[Path]], root: Path) -> set[Path]:
    """All files in the class folders and above them."""
    below = {folder for places in folders.values() for folder in places}
    above = {f for folder in below for f in folder.parents if root in f.parents}
    places = {root, *below, *above}
    return {f for place in places for f in listed(place) if os.path.isfile(f)}


def _oddities(picture: Picture, greys: Greys) -> list[str]:
    width, height = picture.width, picture.height
    short, long = sorted((width, height))
    odd = {
        "it shows nothing: one colour": picture.tile.float().std() < FLAT,
        f"tiny, {width} x {height} pixels": short < SMALLEST,
        f"very long, {width} x {height} pixels": long > LONGEST * short,
        f"very large, {width} x {height} pixels": width * height > LARGEST,
    }
    return [what for what, is_so in odd.items() if is_so] + remarks(picture, greys)


def _duplicates(
    files: list[Path],
    tiles: list[Tensor],
    class_of: Mapping[Path, str] | None = None,
    *,
    progress: bool = False,
) -> list[tuple[Path, str, str]]:
    """(file, "duplicate", of what) for each picture that shows the same as an earlier one."""
    exact, alike = _same_bytes(files), {}
    if 0 < len(tiles) <= MOST_COMPARED:
        alike = first_alike(torch.cat(tiles), SAME, FLAT, progress=progress)
    found = []
    for i in sorted({*exact, *alike}):
        first, file = files[exact.get(i, alike.get(i, 0))], files[i]
        how = "the same file as" if i in exact else "nearly the same as"
        classes = {(class_of or {}).get(f.parent, f.parent) for f in (first, file)}
        where = "in another class" if len(classes) > 1 else "in its class"
        found.append((file, "duplicate", f"{how} {first.parent.name}/{first.name}, {where}"))
    return found


def _same_bytes(files: list[Path]) -> dict[int, int]:
    """For each file that is byte for byte equal to an earlier one: that file."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        with contextlib.suppress(OSError):  # it might be gone by now
            by_size[file.stat().st_size].append(i)
    first: dict[str, int] = {}
    same = {}
    for i in sorted(i for group in by_size.values() if len(group) > 1 for i in group):
        with contextlib.suppress(OSError), open(files[i], "rb") as contents:
            digest = hashlib.file_digest(contents, "sha256").hexdigest()
            if digest in first:
                same[i] = first[digest]
            first.setdefault(digest, i)
    return same
