"""Where the pictures of a folder lie: class/picture or group/class/picture, and what only looks so.

Most data sets come as train/, val/ and test/ with the same classes in each. Read as groups, every
class would count three times, and `split` would put the same class into meta-train and meta-test.
So such folders are neither groups nor classes: what they hold of a class is one class.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .picture import IMAGE_SUFFIXES, in_line, remedy

__all__ = ["class_folders", "listed", "parts_said", "passed_over", "pictures", "same_in_groups"]

PART = re.compile(
    "(?:images?|imgs?|pictures?|photos?|data|meta)?"
    "(?:train(?:ing)?|val(?:id(?:ation)?)?|dev(?:elopment)?|test(?:ing)?|eval(?:uation)?|holdout"
    "|support|query)"
    "(?:images?|imgs?|pictures?|photos?|data|set|split)*[a-z]?"
)
"""Names of parts of a data set, by their letters alone, in lower case."""


def class_folders(root: Path) -> dict[str, list[Path]]:
    """The folders of each class, in name order; more than one where there are train and test.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: it holds no class folders, pictures and folders mixed, or only train and test.
    """
    if not root.exists():
        raise FileNotFoundError(f"path {in_line(root)} does not exist")
    if not root.is_dir():
        raise NotADirectoryError(
            f"path {in_line(root)} is a file; give the folder of the class folders"
        )
    folders = list(_folders_with_pictures(root))
    parts = {place: _parts(place) for place in {root, *(f.parent for f in folders)}}
    classes: dict[str, list[Path]] = {}
    for folder in folders:
        classes.setdefault(_class_name(root, folder, parts), []).append(folder)
    return dict(sorted(classes.items())) if any(parts.values()) else classes


def _folders_with_pictures(root: Path) -> Iterator[Path]:
    """Where pictures belong, by the levels alone."""
    folders = _folders(root)
    if not folders:
        raise ValueError(
            f"{in_line(root)} holds no class folders: put the pictures of each class into a "
            f"folder of its own, such as {in_line(root / 'cat')} and {in_line(root / 'dog')}"
        )
    for folder in folders:
        inner = _folders(folder)
        for below in inner:
            if _folders(below) or pictures(folder):
                mixed = below if _folders(below) else folder
                raise ValueError(
                    f"{in_line(mixed)} holds folders where pictures should be: the levels are "
                    "class/picture or group/class/picture"
                )
        yield from inner or [folder]


def _class_name(root: Path, folder: Path, parts: Mapping[Path, list[str]]) -> str:
    """The path below the root, without parts of a data set."""
    above = [folder, *(f for f in folder.parents if root in f.parents)][::-1]
    names = [f.name for f in above if f.name not in parts[f.parent]]
    if not names:
        raise ValueError(
            f"{in_line(root)} holds {_list(parts[root])}, which are parts of a data set, not "
            "classes: put all pictures of a class into one folder"
        )
    return "/".join(names)


def pictures(folder: Path) -> list[Path]:
    """All that is named like a picture, in name order; none of a folder that cannot be listed."""
    files = (f for f in listed(folder) if f.suffix.lower() in IMAGE_SUFFIXES)
    return [f for f in files if not os.path.isdir(f)]


def passed_over(classes: Mapping[str, list[Path]]) -> str:
    """The pictures in these folders that are not read: how many of which kind, and what helps."""
    folders = [folder for folders in classes.values() for folder in folders]
    files = [f for folder in folders for f in listed(folder) if os.path.isfile(f)]
    others = (f for f in files if f.suffix.lower() not in IMAGE_SUFFIXES)
    kinds = Counter(
        (f.suffix.lower() or "without ending", help) for f in others if (help := remedy(f))
    )
    return ", ".join(f"{n} {in_line(kind)} ({help})" for (kind, help), n in kinds.items())


def listed(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in name order; nothing where it cannot be listed."""
    try:
        return sorted(f for f in folder.iterdir() if not f.name.startswith((".", "__MACOSX")))
    except PermissionError:
        return []  # it is left out as a class without pictures


def parts_said(root: Path) -> str:
    """What to say of a folder that comes in parts, such as train and test; empty of others."""
    for place in [root, *_folders(root)]:
        if parts := _parts(place):
            best = next((name for name in parts if "train" in name.casefold()), parts[0])
            alone = f"; for one part alone give {in_line(root / best)}" if place == root else ""
            return (
                f"{_list(parts)} are parts of a data set, neither classes nor groups: what they "
                f"hold of a class is taken as one class{alone}"
            )
    return ""


def _parts(place: Path) -> list[str]:
    """The folders in it that are parts of a data set; one alone may be any class, a train's."""
    parts = [f.name for f in _folders(place) if _is_part(f.name)]
    return parts if len(parts) > 1 else []


def _list(names: list[str]) -> str:
    *most, last = map(in_line, names)
    return f"{', '.join(most)} and {last}"


def same_in_groups(names: Iterable[str]) -> str:
    """What to say of groups that seem to hold the same classes; empty where they do not."""
    pairs = [name.split("/") for name in names if "/" in name]
    groups = {group for group, _ in pairs}
    count = Counter(name.casefold() for _, name in pairs)
    shared = sorted(name for name, n in count.items() if n > 1 and not _is_number(name))
    if len(shared) < 2 or 2 * len(shared) < len(count):
        return ""
    some = ", ".join(map(in_line, shared[:3])) + (", ..." if len(shared) > 3 else "")
    return (
        f"{len(groups)} groups hold classes of the same names ({some}), taken as different "
        "classes; if they are the same, give one group's folder, or put each class into one folder"
    )


def _is_part(name: str) -> bool:
    return PART.fullmatch(re.sub(r"[\W\d_]", "", name.casefold())) is not None


def _is_number(name: str) -> bool:
    """Whether it is a number, with one word or none: such names tell nothing."""
    return re.fullmatch(r"[^\W\d]*[\W_]*\d+", name) is not None


def _folders(folder: Path) -> list[Path]:
    return [f for f in listed(folder) if os.path.isdir(f)]
