"""Your own pictures as a data set: one folder per class. Introduced in notebook 12.

    animals/cat/1.jpg, animals/cat/2.png, animals/dog/1.jpg, ...

or with one more level, which becomes the group of a class (script, alphabet, ...):

    letters/Greek/alpha/1.png, letters/Greek/beta/1.png, letters/Latin/a/1.png, ...

Pictures may differ in size, shape, format and number. Each is turned as its camera says, put on
white where it is transparent, and fitted into the size without distortion; the rest takes the
colour of the picture's border. `picture` says what happens to more than eight bits.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ...basics.arguments import as_choice, as_integer
from ...basics.capacity import machine_bytes
from ...basics.files import as_path
from ..dataset import FewShotDataset, scale
from .folder_layout import class_folders, layout_said, passed_over, pictures
from .picture import (
    IMAGE_SUFFIXES,
    KNOWN_WHITES,
    Greys,
    Picture,
    greys_of,
    in_line,
    read_picture,
    read_pictures,
    remarks,
    said_of_greys,
    why_unreadable,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "Preparation",
    "load_image_folder",
    "load_picture",
    "read_image_folder",
]

Ink = Literal["dark", "light", "auto"]

SHOWN = 5
LONGEST = 4096  # pixels per side, at most
SHARE = 0.25  # share of the machine's memory, at most, for all items
UNKNOWN_MEMORY = 16e9  # bytes that we assume if the system does not tell


@dataclass(frozen=True)
class Preparation:
    """How pictures became items: `load_picture(file, **vars(preparation))` repeats it.

    It can be written as JSON, and read back with `Preparation(**json)`.

    Attributes:
        size: height and width of an item, pixels.
        channels: 1 for grey, 3 for colour.
        ink: "dark" was inverted, "light" was not.
        greys: black and white of deep pictures, by the kind of their numbers; {} if there are none.
    Raises:
        ValueError: nonsense values.
    """

    size: tuple[int, int]
    channels: Literal[1, 3]
    ink: Literal["dark", "light"]
    greys: Greys | None = None

    def __post_init__(self) -> None:
        as_choice("ink", self.ink, ("dark", "light"))
        channels, size, greys = _checked(self.size, self.channels, self.ink, self.greys)
        vars(self).update(size=size, channels=channels, greys=greys)  # lists, if it comes from JSON


def load_image_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 28,
    channels: Literal[1, 3] = 1,
    ink: Ink | None = None,
    greys: Greys | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool = False,
) -> FewShotDataset:
    """Pictures in folders, one per class, as a data set. Introduced in notebook 12.

    Folders such as train, val and test are not groups: all their pictures of a class are one class,
    with a warning. Hidden files and files without a picture's ending are skipped; pictures in
    formats that we do not read, or outside the class folders, are skipped with a warning.

    Args:
        path: the folder that holds the class folders, or group folders that hold them.
        size: of the items, in pixels: one number, or (height, width).
        channels: 1 for grey, 3 for colour.
        ink: "dark" inverts, so that ink is bright as in the glyphs and Omniglot; "light"
            and None leave the pictures as they are; "auto" inverts if most borders are bright.
        greys: which numbers are black and white in pictures of more than eight bits, such as
            {"integers": (0, 4095), "floats": (0, 1)}. None: values that cover the whole folder,
            with a warning if we had to guess.
        on_error: what to do about a broken picture or a class without pictures: "skip" leaves
            it out with a warning that names it, "raise" stops.
        progress: show a progress bar.
    Returns:
        uint8 items (N, channels, height, width); `class_names` are the folders, "group/class"
        where there are groups; `files` are the pictures.
    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: nonsense arguments, no class folders, fewer than two classes, pictures and
            folders mixed, train and test folders without classes in them, more pictures than
            memory holds; with on_error="raise" also a broken picture or an empty class.
    """
    return read_image_folder(
        path,
        size=size,
        channels=channels,
        ink=ink,
        greys=greys,
        on_error=on_error,
        progress=progress,
    )[0]


def read_image_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 28,
    channels: Literal[1, 3] = 1,
    ink: Ink | None = None,
    greys: Greys | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool = False,
) -> tuple[FewShotDataset, Preparation]:
    """Like `load_image_folder`, and how the pictures were prepared: what "auto" decided, and greys.

    To prepare other pictures in the same way, use `load_image_folder(other, **vars(preparation))`.
    """
    channels, size, given = _checked(size, channels, ink, greys)
    as_choice("on_error", on_error, ("skip", "raise"))
    root, skipped = as_path("path", path), _LeftOut(on_error)
    folders = class_folders(root)
    inside = {name: [p for f in places for p in pictures(f)] for name, places in folders.items()}
    files = [file for files in inside.values() for file in files]
    _check_memory(len(files), channels, size)
    desc = f"reading {in_line(root.name)}"
    read, known = read_pictures(
        files, size, channels, given, skipped.file, desc=desc, show=progress
    )
    classes = {name: [f for f in files if f in read] for name, files in inside.items()}
    others = passed_over(folders)
    skipped.empty([root / name for name, files in classes.items() if not files], others)
    stray = _some([in_line(file.name) for file in pictures(root)])
    more = {
        "skipped pictures that are not read: ": others,
        "skipped pictures that are in no class folder: ": stray,
        "": layout_said(root, folders),
    }
    for text in _said(read, known, given, skipped, more):
        warnings.warn(f"{in_line(root)}: {text}", stacklevel=3)
    return _assembled(root, classes, read, known, ink, others)


def load_picture(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 28,
    channels: Literal[1, 3] = 1,
    ink: Ink | None = None,
    greys: Greys | None = None,
) -> Tensor:
    """One picture as a learner needs it: the same numbers as in a data set prepared alike.

    Args:
        size, channels, ink, greys: as in `load_image_folder`; "auto" looks at this picture's
            border, and missing greys come from its own numbers.
    Returns:
        (channels, height, width) floats in [0, 1].
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: nonsense arguments, or it cannot be read.
    """
    channels, size, given = _checked(size, channels, ink, greys)
    _check_memory(1, channels, size)
    file = as_path("path", path)
    try:
        picture = read_picture(file, size, channels, given)
    except Exception as error:  # Pillow raises many kinds on damaged files
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{in_line(file)} cannot be read: {why_unreadable(file, error)}") from None
    known = greys_of([picture], given)
    for text in [*_guessed(known, given), *remarks(picture, known)]:
        warnings.warn(f"{in_line(file)}: {text}", stacklevel=2)
    item = picture.tile[None]
    return scale(255 - item if _inverts(item, ink) else item)[0]


# ---------------------------------------------------------------- arguments


def _checked(
    size: Any, channels: Any, ink: Any, greys: Any
) -> tuple[Literal[1, 3], tuple[int, int], dict[str, tuple[float, float]]]:
    """Channels, (height, width), and black and white if they are given."""
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    as_choice("ink", ink, ("dark", "light", "auto", None))
    return 1 if channels == 1 else 3, _as_size(size), _as_greys(greys)


def _as_size(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    try:
        return as_integer("size", height, at_most=LONGEST), as_integer(
            "size", width, at_most=LONGEST
        )
    except ValueError:
        raise ValueError(
            f"size must be at least 1 pixel, got {size!r}: an integer of at most {LONGEST}, or "
            "(height, width)"
        ) from None


def _as_greys(greys: Any) -> dict[str, tuple[float, float]]:
    try:
        given = {kind: (float(low), float(high)) for kind, (low, high) in dict(greys or {}).items()}
    except (TypeError, ValueError):
        given = {"": (0.0, 0.0)}
    sound = (-math.inf < low < high < math.inf for low, high in given.values())
    if not set(given) <= set(KNOWN_WHITES) or not all(sound):
        raise ValueError(
            f"greys must be such as {{'integers': (0, 4095), 'floats': (0, 1)}}, got {greys!r}"
        )
    return given


def _check_memory(n: int, channels: int, size: tuple[int, int]) -> None:
    """Refuse what would not fit into memory, before anything is read."""
    need, memory = n * channels * math.prod(size), machine_bytes()
    memory = memory if math.isfinite(memory) else UNKNOWN_MEMORY
    if need > SHARE * memory:
        shape = " x ".join(map(str, (channels, *size)))
        raise ValueError(
            f"size is too large: {n} pictures of {shape} take {need / 1e9:.3g} GB, more than "
            f"{SHARE:.0%} of this machine's {memory / 1e9:.3g} GB"
        )


# ---------------------------------------------------------------- what is left out and said


class _LeftOut(list[str]):
    """Files and classes that are left out, and why; on_error "raise" makes the first an error."""

    def __init__(self, on_error: str) -> None:
        self.stop = on_error == "raise"

    def file(self, file: Path, error: Exception) -> None:
        why = why_unreadable(file, error)
        if self.stop:
            raise ValueError(f"{in_line(file)} cannot be read: {why}") from error
        self.append(f"{in_line(file)} ({why})")

    def empty(self, folders: list[Path], others: str) -> None:
        said = [f"{in_line(folder)} (a class without pictures)" for folder in folders]
        if self.stop and said:
            more = f"; not read: {others}" if others else ""
            raise ValueError(f"{said[0]}: add pictures, or remove the folder{more}")
        self += said


def _said(
    read: Mapping[Path, Picture],
    known: Greys,
    given: Greys,
    left_out: list[str],
    more: Mapping[str, str],
) -> list[str]:
    """What a user must know about a folder, one sentence each."""
    noted = [f"{in_line(f)} ({why})" for f, p in read.items() for why in remarks(p, known)]
    sentences = {"left out ": _some(left_out), **more, "not used as they are: ": _some(noted)}
    said = [start + text for start, text in sentences.items() if text]
    return [*said, *_guessed(known, given)]


def _guessed(known: Greys, given: Greys) -> list[str]:
    return said_of_greys({kind: greys for kind, greys in known.items() if kind not in given})


def _some(texts: list[str]) -> str:
    return "; ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" * (len(texts) > SHOWN))


# ---------------------------------------------------------------- items


def _assembled(
    root: Path,
    classes: Mapping[str, list[Path]],
    read: Mapping[Path, Picture],
    known: Greys,
    ink: str | None,
    others: str,
) -> tuple[FewShotDataset, Preparation]:
    names = [name for name, files in classes.items() if files]
    if len(names) < 2:
        raise ValueError(
            f"{in_line(root)} needs at least two classes with pictures, it has {len(names)}: "
            f"{names}" + (f"; skipped: {others}" if others else "")
        )
    files = [file for name in names for file in classes[name]]
    items = torch.stack([read[file].tile for file in files])
    inverts = _inverts(items, ink)
    dataset = FewShotDataset(
        items.bitwise_not_() if inverts else items,  # of bytes: 255 minus each
        torch.arange(len(names)).repeat_interleave(torch.tensor([len(classes[n]) for n in names])),
        names,
        [name.split("/")[0] if "/" in name else root.name for name in names],
        name=root.name,
        files=files,
    )
    _, channels, height, width = items.shape
    ink = "dark" if inverts else "light"
    settings: Any = {"size": (height, width), "channels": channels, "ink": ink, "greys": known}
    return dataset, Preparation(**settings)


def _inverts(items: Tensor, ink: str | None) -> bool:
    """Whether ink is dark: the user says so, or the border of most pictures is bright."""
    return borders_are_bright(items) if ink == "auto" else ink == "dark"


def borders_are_bright(items: Tensor) -> bool:
    """Whether the border of most pictures (N, C, H, W) is bright: what ink="auto" goes by."""
    sides = (items[..., 0, :], items[..., -1, :], items[..., 0], items[..., -1])
    borders = torch.cat(sides, dim=-1).flatten(1).float().median(dim=1).values
    return bool(borders.median() > 127)
