"""What is wrong with a folder of pictures, before anything is trained on it or judged by it.

Introduced in notebook 12. A broken file is a nuisance. A picture that lies in two classes, or twice
in one, is worse: it makes figures wrong, and nobody notices.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..arguments import as_integer
from ..progress import progress_bar
from .image_folder import IMAGE_SUFFIXES, class_folders, hidden, pictures, read_picture

__all__ = ["Finding", "FolderReport", "check_image_folder"]

SIDE = 28  # of the small grey pictures that are compared
SAME = 0.995  # correlation of two of them from which on they are nearly the same picture
FLAT = 2.0  # standard deviation of grey, of 255, below which a picture shows nothing
SMALLEST, LONGEST, LARGEST = 28, 3.0, 50e6  # pixels a side, ratio of sides, pixels
SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """Something about one file, or one class folder: the kind of trouble, and what exactly."""

    file: Path
    kind: str
    what: str


@dataclass(frozen=True, repr=False)
class FolderReport:
    """What `check_image_folder` found. `print` shows it; `plotting.plot_findings` draws it.

    Attributes:
        root: the folder.
        class_sizes: readable pictures by class, in name order.
        need: how many an episode takes of a class, n_shot + n_query.
        findings: worst first: "broken" files, "duplicate" pictures, "small" classes, "odd"
            pictures (blank, tiny, very long, very large), and "other" files that are no pictures.
    """

    root: Path
    class_sizes: dict[str, int]
    need: int
    findings: list[Finding]

    @property
    def too_small(self) -> dict[str, int]:
        """The classes that have too few pictures for an episode, and how many they have."""
        return {name: n for name, n in self.class_sizes.items() if n < self.need}

    @property
    def usable(self) -> list[str]:
        """The classes that have enough."""
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
        lines = [f"{self.root.name}: {n_pictures} pictures in {n_classes} classes"]
        for kind, title in _TITLES.items():
            lines += _section(title, [self._line(finding) for finding in self.of_kind(kind)])
        lines.append(self._verdict())
        return "\n".join(lines)

    __repr__ = __str__

    def _line(self, finding: Finding) -> str:
        return f"{finding.file.relative_to(self.root)}: {finding.what}"

    def _verdict(self) -> str:
        if len(self.usable) < 2:
            return (
                f"not usable: an episode needs at least 2 classes with {self.need} pictures each, "
                f"{len(self.usable)} qualify; add pictures, or ask for fewer queries"
            )
        state = "all is well" if self.is_fine else "usable"
        return f"{state}: up to {len(self.usable)}-way episodes of {self.need} pictures a class"


_TITLES = {
    "broken": "cannot be read",
    "duplicate": "the same picture twice",
    "small": "classes with too few pictures, left out",
    "odd": "odd pictures, used as they are",
    "other": "other files, passed over",
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
    root, need = Path(path), as_integer("n_shot", n_shot) + as_integer("n_query", n_query)
    folders = dict(class_folders(root))
    todo = [(name, file) for name, folder in folders.items() for file in pictures(folder)]
    sizes = dict.fromkeys(folders, 0)
    findings, files, tiles = [], [], []
    for name, file in progress_bar(todo, desc=f"checking {root.name}", show=progress):
        try:
            tile = read_picture(file, SIDE, 1)
        except Exception as error:  # Pillow raises many kinds on damaged files
            findings.append(Finding(file, "broken", _reason(file, error)))
            continue
        sizes[name] += 1
        files.append(file)
        tiles.append(tile)
        findings += [Finding(file, "odd", what) for what in _oddities(file, tile)]
    findings += [Finding(*found) for found in _duplicates(files, tiles)]
    others = _files(folders, root) - {file for _, file in todo}
    findings += [Finding(file, "other", _why_other(file, root)) for file in sorted(others)]
    findings += [
        Finding(folders[name], "small", f"{n} pictures, an episode takes {need}")
        for name, n in sizes.items()
        if n < need
    ]
    worst_first = list(_TITLES)
    findings.sort(key=lambda finding: worst_first.index(finding.kind))
    return FolderReport(root, sizes, need, findings)


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"    and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"  {title} ({len(lines)}):", *(f"    {line}" for line in lines[:SHOWN]), *more]


def _reason(file: Path, error: Exception) -> str:
    """Why a file cannot be read, without its path and without memory addresses."""
    if file.stat().st_size == 0:
        return "it is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return "its contents are no picture"
    return str(error).split(str(file))[0].strip(" :'\"") or type(error).__name__


def _why_other(file: Path, root: Path) -> str:
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return "it lies in no class folder"
    return f"files ending in {file.suffix or 'nothing'} are not read"


def _files(folders: dict[str, Path], root: Path) -> set[Path]:
    """All files in the class folders and above them."""
    places = {root, *folders.values(), *(f.parent for f in folders.values())}
    return {f for place in places for f in place.iterdir() if f.is_file() and not hidden(f)}


def _oddities(file: Path, tile: Tensor) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            width, height = image.size
    short, long = sorted((width, height))
    odd = {
        "it shows nothing: one colour": tile.float().std() < FLAT,
        f"tiny, {width} x {height} pixels": short < SMALLEST,
        f"very long, {width} x {height} pixels": long > LONGEST * short,
        f"very large, {width} x {height} pixels": width * height > LARGEST,
    }
    return [what for what, is_so in odd.items() if is_so]


def _duplicates(files: list[Path], tiles: list[Tensor]) -> list[tuple[Path, str, str]]:
    """(file, "duplicate", of which) for each picture that an earlier one shows, too."""
    if not files:
        return []
    grey = torch.stack(tiles).flatten(1).double()
    centred = grey - grey.mean(dim=1, keepdim=True)
    flat = centred.norm(dim=1) < FLAT * SIDE
    centred = torch.where(flat[:, None], 0, centred / centred.norm(dim=1, keepdim=True))
    exact = _same_bytes(files)
    found = []
    for i, file in enumerate(files):
        alike = (centred[:i] @ centred[i] > SAME).nonzero().flatten().tolist()
        first = exact.get(i, alike[0] if alike else None)
        if first is not None:
            how = "the same file as" if i in exact else "nearly the same as"
            where = "in another class" if files[first].parent != file.parent else "in its class"
            other = f"{files[first].parent.name}/{files[first].name}"
            found.append((file, "duplicate", f"{how} {other}, {where}"))
    return found


def _same_bytes(files: list[Path]) -> dict[int, int]:
    """For each file that is byte for byte an earlier one: which."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for i, file in enumerate(files):
        by_size[file.stat().st_size].append(i)
    first: dict[str, int] = {}
    same = {}
    for i in sorted(i for group in by_size.values() if len(group) > 1 for i in group):
        digest = hashlib.sha256(files[i].read_bytes()).hexdigest()
        if digest in first:
            same[i] = first[digest]
        first.setdefault(digest, i)
    return same
