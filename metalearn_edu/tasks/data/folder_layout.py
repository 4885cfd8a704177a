"""Where the pictures of a folder are: class/picture or group/class/picture, and look-alikes.

Most data sets come as train/, val/ and test/ with the same classes in each. Read as groups, every
class would count three times, and `split` would put the same class into meta-train and meta-test.
So we take such folders neither as groups nor as classes: all their pictures of a class are one
class.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .picture import IMAGE_SUFFIXES, in_line, remedy

__all__ = ["class_folders", "layout_said", "listed", "passed_over", "pictures"]

PART = re.compile(
    "(.*?)(?:images?|imgs?|pictures?|photos?|data(?:set)?|meta)?"
    "(?:train(?:ing)?|trn|val(?:id(?:ation)?)?|dev(?:elopment)?|test(?:ing)?|tst|eval(?:uation)?"
    "|holdout|support|query)+"
    "(?:images?|imgs?|pictures?|photos?|data|set|split)*[a-z]?"
)
"""Names of parts of a data set, by their letters alone, in lower case; first the data set's own."""


def class_folders(root: Path) -> dict[str, list[Path]]:
    """The folders of each class, in name order; more than one if there are train and test.

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
    classes: dict[str, list[Path]] = {}
    for folder, names in _lowest(root):
        if not names:
            raise ValueError(_why_no_classes(root))
        classes.setdefault("/".join(names), []).append(folder)
    return dict(sorted(classes.items(), key=lambda of_class: Path(of_class[0])))


def _lowest(
    place: Path, names: tuple[str, ...] = (), *, is_root: bool = True
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The innermost folders, and the names on the way to them, without parts of a data set."""
    inner = _folders(place)
    if not inner:
        yield place, names
    elif len(names) == 2 or (pictures(place) and not is_root):
        raise ValueError(
            f"{in_line(place)} holds folders where pictures should be: the levels are "
            "class/picture or group/class/picture"
        )
    parts = _parts(inner)
    for folder in inner:
        more = () if folder.name in parts else (folder.name,)
        yield from _lowest(folder, names + more, is_root=False)


def _why_no_classes(root: Path) -> str:
    if parts := _parts(_folders(root)):
        return (
            f"{in_line(root)} holds {_list(parts)}, which are parts of a data set, not classes: "
            "put all pictures of a class into one folder"
        )
    return (
        f"{in_line(root)} holds no class folders: put the pictures of each class into a folder of "
        f"its own, such as {in_line(root / 'cat')} and {in_line(root / 'dog')}"
    )


def pictures(folder: Path) -> list[Path]:
    """All files named like a picture, in name order; none if the folder cannot be listed."""
    files = (f for f in listed(folder) if f.suffix.lower() in IMAGE_SUFFIXES)
    return [f for f in files if not os.path.isdir(f)]


def passed_over(classes: Mapping[str, list[Path]]) -> str:
    """The pictures in these folders that we do not read: how many of which kind, and what helps."""
    folders = [folder for folders in classes.values() for folder in folders]
    files = [f for folder in folders for f in listed(folder) if os.path.isfile(f)]
    others = (f for f in files if f.suffix.lower() not in IMAGE_SUFFIXES)
    kinds = Counter(
        (f.suffix.lower() or "without ending", help) for f in others if (help := remedy(f))
    )
    return ", ".join(f"{n} {in_line(kind)} ({help})" for (kind, help), n in kinds.items())


def listed(folder: Path) -> list[Path]:
    """The visible content of a folder, in name order; nothing if it cannot be listed."""
    try:
        return sorted(f for f in folder.iterdir() if not f.name.startswith((".", "__MACOSX")))
    except PermissionError:
        return []  # it is left out, as a class without pictures


def layout_said(root: Path, classes: Iterable[str]) -> str:
    """How the folders are taken, in words; empty if that is obvious."""
    return "; ".join(filter(None, (parts_said(root), same_in_groups(classes))))


def parts_said(root: Path) -> str:
    """What to say about a folder with parts, such as train and test; empty for others."""
    for place in [root, *_folders(root)]:
        if parts := _parts(_folders(place)):
            best = next((name for name in parts if "train" in name.casefold()), parts[0])
            alone = f"; for one part alone give {in_line(root / best)}" if place == root else ""
            return (
                f"{_list(parts)} are parts of a data set, neither classes nor groups: what they "
                f"hold of a class is taken as one class{alone}"
            )
    return ""


def _parts(folders: list[Path]) -> list[str]:
    """The folders of one place that are parts of a data set; a single one may be any class."""
    named = [(f.name, PART.fullmatch(_letters(f.name))) for f in folders]
    found = [(name, match[1]) for name, match in named if match]
    count = Counter(of for _, of in found)
    return [name for name, of in found if count[of] > 1]


def _list(names: list[str]) -> str:
    *most, last = map(in_line, names)
    return f"{', '.join(most)} and {last}"


def same_in_groups(names: Iterable[str]) -> str:
    """What to say about groups that seem to hold the same classes; empty if they do not."""
    pairs = {tuple(name.casefold().rpartition("/")[::2]) for name in names}
    groups = {group for group, _ in pairs}
    count = Counter(name for _, name in pairs)
    shared = sorted(name for name, n in count.items() if n > 1 and not _is_number(name))
    if len(shared) < 2 or 2 * len(shared) < len(count):
        return ""
    some = ", ".join(map(in_line, shared[:3])) + (", ..." if len(shared) > 3 else "")
    return (
        f"{len(groups)} groups hold classes of the same names ({some}), taken as different "
        "classes; if they are the same, give one group's folder, or put each class into one folder"
    )


def _letters(name: str) -> str:
    return re.sub(r"[\W\d_]", "", name.casefold())


def _is_number(name: str) -> bool:
    """Whether it is a number, with one word or none: such names say nothing."""
    return re.fullmatch(r"[^\W\d]*[\W_]*\d+", name) is not None


def _folders(folder: Path) -> list[Path]:
    return [f for f in listed(folder) if os.path.isdir(f)]
