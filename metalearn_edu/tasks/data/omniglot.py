"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people.

Lake, Salakhutdinov & Tenenbaum (2015), Science 350(6266). Introduced in notebook 12.

Wherever the drawings come from (the official archives, unpacked folders, or `omniglot28.npz`), the
result is the same bytes: 28x28 pixels, ink bright, each pixel the inked share of its 3.75 x 3.75
cell of the 105x105 drawing. Published work often uses another filter, so its numbers may differ
slightly. Two protocols are in use, and they differ:

- "official": 30 background alphabets to learn from, 20 evaluation alphabets to be scored on. Our
  meta-val is five of the background alphabets, so that no choice is ever made on an evaluation
  alphabet.
- "vinyals": 1,028 / 172 / 423 characters, the lists of Vinyals et al. (2016) as kept by Snell et
  al. (2017). Published with rotations as extra classes: `EpisodeSampler(..., rotations=True)`.
  Its meta-train holds characters of official evaluation alphabets.

Whatever their order in the source, we return the drawings alphabet by alphabet, character by
character, and in the order of the people who drew them. Links to files are followed; archives,
folders and downloads are bounded in size.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

from ...basics.files import Arrays, as_path, load_arrays, read_bounded
from ...basics.progress import progress_bar
from ..cache import cache_folder, cached_arrays
from ..dataset import FewShotDataset
from .archives import LARGEST_FILE, check_total, open_archive
from .downloads import fetch

__all__ = [
    "EVALUATION_ALPHABETS",
    "META_TRAIN_ALPHABETS",
    "META_VAL_ALPHABETS",
    "download_omniglot",
    "load_omniglot",
    "shrink_drawing",
]

OFFICIAL_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
OFFICIAL_ARCHIVES = {
    "images_background.zip": "md5:68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "md5:6b91aef0f799c5bb55b94e3f2daec811",
}
VINYALS_URL = (
    "https://raw.githubusercontent.com/jakesnell/prototypical-networks/"
    "c9bb4d258267c11cb6e23f0a19242d24ca98ad8a/data/omniglot/splits/vinyals/"
)
VINYALS_LISTS = {
    "train.txt": "sha256:984522c194c30fb678ce53304a160a42faf5403ad4f9a67010f32dd3a35738e0",
    "val.txt": "sha256:11f99e54faee3e26f53d3231c1cceac5bf7b8730e9be31cb6dab256551dc0c1a",
    "test.txt": "sha256:845264cc5c156180828ccf17915668b17ee21424d0170df6e7d81676aa5d1204",
}

META_TRAIN_ALPHABETS = (
    "Anglo-Saxon_Futhorc",
    "Arcadian",
    "Asomtavruli_(Georgian)",
    "Balinese",
    "Bengali",
    "Blackfoot_(Canadian_Aboriginal_Syllabics)",
    "Braille",
    "Cyrillic",
    "Early_Aramaic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Hebrew",
    "Inuktitut_(Canadian_Aboriginal_Syllabics)",
    "Japanese_(hiragana)",
    "Japanese_(katakana)",
    "Latin",
    "Malay_(Jawi_-_Arabic)",
    "Mkhedruli_(Georgian)",
    "N_Ko",
    "Ojibwe_(Canadian_Aboriginal_Syllabics)",
    "Sanskrit",
    "Syriac_(Estrangelo)",
    "Tagalog",
    "Tifinagh",
)
# Five background alphabets without a close relative among the other 25: 161 characters.
META_VAL_ALPHABETS = (
    "Alphabet_of_the_Magi",
    "Armenian",
    "Burmese_(Myanmar)",
    "Futurama",
    "Korean",
)
EVALUATION_ALPHABETS = (
    "Angelic",
    "Atemayar_Qelisayer",
    "Atlantean",
    "Aurek-Besh",
    "Avesta",
    "Ge_ez",
    "Glagolitic",
    "Gurmukhi",
    "Kannada",
    "Keble",
    "Malayalam",
    "Manipuri",
    "Mongolian",
    "Old_Church_Slavonic_(Cyrillic)",
    "Oriya",
    "Sylheti",
    "Syriac_(Serto)",
    "Tengwar",
    "Tibetan",
    "ULOG",
)
BACKGROUND_ALPHABETS = tuple(sorted(META_TRAIN_ALPHABETS + META_VAL_ALPHABETS))
_ALPHABETS = BACKGROUND_ALPHABETS + EVALUATION_ALPHABETS

OFFICIAL_SPLITS = {
    "meta-train": META_TRAIN_ALPHABETS,
    "meta-val": META_VAL_ALPHABETS,
    "meta-test": EVALUATION_ALPHABETS,
    "background": BACKGROUND_ALPHABETS,
    "evaluation": EVALUATION_ALPHABETS,
}
VINYALS_SPLITS = {"meta-train": 0, "meta-val": 1, "meta-test": 2}

Split = Literal["meta-train", "meta-val", "meta-test", "background", "evaluation"]

NPZ_NAME = "omniglot28.npz"
DRAWERS = 20
CHARACTERS = 1623
WHOLE = {
    "images": "8167dffec9d3ee72541f00f4f120b260f19aebf40a2a4c142dfc5a700a187882",
    "char_number": "a272c35ee6495154b3759a58b2fc2b44441a1422eaa372b717c29990757accc6",
    "char_vinyals": "debb16441ee33d459921aa1c0d8490c82c3b433e860ff159436fb3e04c1926d5",
}
"""sha256 of the bytes of all characters, in our order."""
THREE_WAYS = (
    "There are three ways to give it: "
    "(1) load_omniglot(..., download=True) fetches the official archives, about 16 MB, once; "
    "(2) path= names a folder with images_background.zip and images_evaluation.zip, or with the "
    "unpacked alphabets, or omniglot28.npz; "
    "(3) the environment variable METALEARN_EDU_DATA names such a folder or file."
)


def load_omniglot(
    split: Split | None = None,
    protocol: Literal["official", "vinyals"] = "official",
    *,
    path: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool = True,
) -> FewShotDataset:
    """Omniglot as a data set: 28x28 pixels, ink bright. Introduced in notebook 12.

    We look for the data at `path`; without it, where METALEARN_EDU_DATA says; without that, in
    the cache folder, where `download` puts it.

    Args:
        split: "meta-train", "meta-val", "meta-test"; with the official protocol "background" and
            "evaluation" too; None: all characters.
        protocol: "official" splits by alphabet, "vinyals" by character.
        path: a folder with the official archives, with unpacked alphabets or with
            `omniglot28.npz`, or such a file.
        download: fetch the official archives if they are not in the cache folder yet.
        progress: show progress while downloading and converting, which happens once.
    Returns:
        uint8 items (20 * n_classes, 1, 28, 28); `class_names` such as "Greek/character07",
        `class_groups` the alphabets.
    Raises:
        FileNotFoundError: there are no data; the message says what would help.
        ValueError: unknown split or protocol, a damaged file, a refused archive, or data that has
            no character of the split.
        OSError: the download failed, or it cannot be stored.
    """
    _check_choice(split, protocol)
    place, arrays = _find(path, download, progress)
    _check_whole(arrays, place)
    keep = _classes_of(split, protocol, arrays, place)
    images = torch.from_numpy(arrays["images"][np.isin(arrays["char_index"], keep)])
    alphabets = arrays["alphabet_names"][arrays["char_alphabet"][keep]].tolist()
    numbers = arrays["char_number"][keep].tolist()
    return FewShotDataset(
        images[:, None],
        torch.arange(len(keep)).repeat_interleave(DRAWERS),
        [f"{a}/character{n:02d}" for a, n in zip(alphabets, numbers, strict=True)],
        alphabets,
        name=f"Omniglot {split} ({protocol})" if split else "Omniglot",
    )


def _check_choice(split: str | None, protocol: str) -> None:
    splits = {"official": list(OFFICIAL_SPLITS), "vinyals": list(VINYALS_SPLITS)}
    if protocol not in list(splits):
        raise ValueError(f"protocol must be 'official' or 'vinyals', got {protocol!r}")
    if split is not None and split not in splits[protocol]:
        raise ValueError(
            f"split must be one of {splits[protocol]} or None with protocol={protocol!r}, "
            f"got {split!r}"
        )


def _classes_of(split: str | None, protocol: str, arrays: Arrays, place: Path) -> np.ndarray:
    """The classes of a split, in the stored order."""
    if protocol == "vinyals" and "char_vinyals" not in arrays:
        raise ValueError(
            f"{place} has no Vinyals lists: put train.txt, val.txt and test.txt into its folder "
            f"splits/vinyals (from {VINYALS_URL}), or use protocol='official'"
        )
    alphabet = arrays["alphabet_names"][arrays["char_alphabet"]]
    if split is None:
        keep = np.ones(len(alphabet), dtype=bool)
    elif protocol == "official":
        keep = np.isin(alphabet, OFFICIAL_SPLITS[split])
    else:
        keep = arrays["char_vinyals"] == VINYALS_SPLITS[split]
    if not keep.any():
        found = ", ".join(arrays["alphabet_names"].tolist())
        raise ValueError(f"{place} has no character of split {split!r}; its alphabets are: {found}")
    return keep.nonzero()[0]


# ---------------------------------------------------------------- where it is


def _find(
    path: str | os.PathLike[str] | None, download: bool, progress: bool
) -> tuple[Path, Arrays]:
    """The place where the data were found, and their arrays."""
    given = path if path is not None else os.environ.get("METALEARN_EDU_DATA") or None
    if given is not None:
        who = "path" if path is not None else "the environment variable METALEARN_EDU_DATA"
        place = as_path(who, given)
        return place, _in_order(_load(place, who, progress))
    folder = cache_folder() / "omniglot"
    archives = all((folder / name).exists() for name in OFFICIAL_ARCHIVES)
    if not archives and not (folder / NPZ_NAME).exists():
        if not download:
            raise FileNotFoundError(f"Omniglot is not on this computer. {THREE_WAYS}")
        download_omniglot(folder, progress=progress)
    return folder, _in_order(_converted(folder / NPZ_NAME, folder, progress))


def _converted(stored: Path, folder: Path, progress: bool) -> Arrays:
    return cached_arrays(stored, lambda: _convert(folder, progress), check=_check_arrays)


def _load(place: Path, who: str, progress: bool) -> Arrays:
    """Arrays from a folder or a .npz file that the user named."""
    if place.is_file() or (place / NPZ_NAME).is_file():
        return _load_npz(place if place.is_file() else place / NPZ_NAME)
    if not place.exists():
        raise FileNotFoundError(f"{who} is {place}, which does not exist. {THREE_WAYS}")
    if not place.is_dir():
        raise ValueError(f"{who} is {place}, which is neither a file nor a folder. {THREE_WAYS}")
    name = f"omniglot-{_fingerprint(place, who)}.npz"
    return _converted(cache_folder() / name, place, progress)


def _load_npz(file: Path) -> Arrays:
    try:
        arrays = load_arrays(file, at_most=_LARGEST_NPZ)
        _check_arrays(arrays)
        return arrays
    except ValueError as error:
        raise ValueError(f"{file} is not {NPZ_NAME}: {error}. {THREE_WAYS}") from error


def _fingerprint(folder: Path, who: str) -> str:
    """A text that changes when a file with drawings changes in name, size or time."""
    files = [*_archives(folder), *_unpacked(folder), *_vinyals_files(folder).values()]
    if not any(file.suffix in (".zip", ".png") for file in files):
        raise FileNotFoundError(f"{who} is {folder}, which holds no Omniglot. {THREE_WAYS}")
    states = [(os.path.realpath(file), os.stat(file)) for file in files]
    stats = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
    return hashlib.sha256(repr(sorted(stats)).encode()).hexdigest()[:16]


def _archives(folder: Path) -> list[Path]:
    return sorted([*folder.glob("images_background*.zip"), *folder.glob("images_evaluation*.zip")])


def _unpacked(folder: Path) -> list[Path]:
    names = "*/character[0-9][0-9]/[0-9][0-9][0-9][0-9]_[0-9][0-9].png"
    return sorted([*folder.glob(names), *folder.glob(f"images_*/{names}")])


def _vinyals_files(folder: Path) -> dict[str, Path]:
    files = {name: folder / "splits" / "vinyals" / name for name in VINYALS_LISTS}
    return files if all(file.exists() for file in files.values()) else {}


# ---------------------------------------------------------------- the arrays of omniglot28.npz

# The axes of each array, optional ones last, and the kinds of numbers that it can hold.
_ARRAYS: dict[str, tuple[tuple[str | int, ...], str]] = {
    "images": (("drawings", 28, 28), "u"),
    "char_index": (("drawings",), "iu"),
    "alphabet_names": (("alphabets",), "U"),
    "char_alphabet": (("characters",), "iu"),
    "char_number": (("characters",), "iu"),
    "char_vinyals": (("characters",), "iu"),
    "drawer_index": (("drawings",), "iu"),
    "alphabet_index": (("drawings",), "iu"),
}
_NEEDED = tuple(_ARRAYS)[:5]
_LARGEST_NPZ = 2**27  # bytes; the real file has 2.6e7


def _check_arrays(arrays: Arrays) -> None:
    """Refuse arrays that are not those of `omniglot28.npz`, in any order.

    Raises:
        ValueError: an array is missing, of another shape or kind, or does not fit the others.
    """
    if missing := sorted(set(_NEEDED) - set(arrays)):
        raise ValueError(f"it lacks the arrays {missing}")
    sizes = _check_shapes(arrays)
    ranges = {
        "char_index": (0, sizes["characters"]),
        "char_alphabet": (0, sizes["alphabets"]),
        "char_number": (1, 100),
        "char_vinyals": (0, len(VINYALS_SPLITS)),
        "drawer_index": (0, DRAWERS),
    }
    for name, (low, end) in ranges.items():
        if name in arrays and not ((low <= arrays[name]) & (arrays[name] < end)).all():
            raise ValueError(f"{name} must lie in {low}..{end - 1}")
    _check_characters(arrays)
    _check_drawings(arrays)


def _check_shapes(arrays: Arrays) -> dict[str, int]:
    """How many alphabets, characters and drawings there are; ValueError if the arrays disagree."""
    sizes: dict[str, int] = {}
    for name, (axes, kinds) in _ARRAYS.items():
        if name not in arrays:
            continue
        array, kind = arrays[name], "uint8" if kinds == "u" else "text" if kinds == "U" else "int"
        found = zip(axes, array.shape, strict=False)
        expected = [sizes.setdefault(a, n) if isinstance(a, str) else a for a, n in found]
        fits = array.dtype == np.uint8 if kinds == "u" else array.dtype.kind in kinds
        if not fits or array.ndim != len(axes) or list(array.shape) != expected:
            shape = tuple(sizes.get(axis, axis) for axis in axes)  # type: ignore[arg-type]
            raise ValueError(
                f"{name} is {array.dtype} of shape {array.shape}, where {kind} of shape {shape} is "
                "needed"
            )
    if not all(sizes.values()):
        raise ValueError("it is empty")
    return sizes


def _check_characters(arrays: Arrays) -> None:
    names = arrays["alphabet_names"].tolist()
    if strange := sorted(set(names) - set(_ALPHABETS)):
        raise ValueError(f"alphabet_names has {strange[:5]}, which Omniglot has not")
    characters = list(
        zip(arrays["char_alphabet"].tolist(), arrays["char_number"].tolist(), strict=True)
    )
    if len(set(names)) < len(names) or len(set(characters)) < len(characters):
        raise ValueError("an alphabet or a character is there twice")


def _check_drawings(arrays: Arrays) -> None:
    index = arrays["char_index"].astype(np.int64)
    counts = np.bincount(index, minlength=len(arrays["char_number"]))
    places = index * DRAWERS + _drawers(arrays)
    if not (counts == DRAWERS).all() or len(np.unique(places)) < len(places):
        raise ValueError(
            f"char_index must name each character {DRAWERS} times, with another person in "
            "drawer_index each time"
        )
    if not np.array_equal(
        arrays["char_alphabet"][index], arrays.get("alphabet_index", arrays["char_alphabet"][index])
    ):
        raise ValueError("alphabet_index does not fit char_index and char_alphabet")
    ink = arrays["images"].mean(axis=(1, 2)) / 255
    if not ((ink > 0) & (ink <= 0.5)).all():
        raise ValueError("images must show bright ink on black paper, 0 to 255: none is empty")


def _drawers(arrays: Arrays) -> np.ndarray:
    """Who drew each drawing, from 0; if that is not stored, the order of the drawings."""
    if "drawer_index" in arrays:
        return arrays["drawer_index"].astype(np.int64)
    order = np.argsort(arrays["char_index"], kind="stable")
    ordered = arrays["char_index"][order]
    drawers = np.empty(len(order), np.int64)
    drawers[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return drawers


def _in_order(arrays: Arrays) -> Arrays:
    """The needed arrays, sorted by alphabet, character and drawer, as `_convert` gives them."""
    rank = np.array([_ALPHABETS.index(name) for name in arrays["alphabet_names"].tolist()])
    characters = np.lexsort((arrays["char_number"], rank[arrays["char_alphabet"]]))
    index = np.argsort(characters)[arrays["char_index"]]
    drawings = np.lexsort((_drawers(arrays), index))
    ordered = {"images": arrays["images"][drawings], "char_index": index[drawings]}
    columns = [name for name in arrays if name in ("char_alphabet", "char_number", "char_vinyals")]
    ordered |= {name: arrays[name][characters] for name in columns}
    return ordered | {"alphabet_names": arrays["alphabet_names"]}


def _check_whole(arrays: Arrays, place: Path) -> None:
    """Refuse data with all characters of Omniglot whose drawings are not those of Omniglot.

    So drawings in an unknown order cannot get wrong names. For a part of Omniglot, we cannot tell.
    Raises ValueError.
    """
    if len(arrays["char_number"]) < CHARACTERS:
        return
    for name in [name for name in WHOLE if name in arrays]:
        content = arrays[name].astype(np.uint8).tobytes()
        if hashlib.sha256(content).hexdigest() != WHOLE[name]:
            raise ValueError(
                f"{place} has all {CHARACTERS:,} characters, but {name} is not as in Omniglot: it "
                "is of other drawings, made smaller in another way, or in another order than the "
                f"file says; take the official archives. {THREE_WAYS}"
            )


# ---------------------------------------------------------------- download


def download_omniglot(
    folder: str | os.PathLike[str] | None = None,
    *,
    base_url: str = OFFICIAL_URL,
    archives: Mapping[str, str] = OFFICIAL_ARCHIVES,
    splits_url: str = VINYALS_URL,
    splits: Mapping[str, str] = VINYALS_LISTS,
    progress: bool = True,
) -> Path:
    """Fetch the archives and the Vinyals lists; complete files are not fetched again.

    Args:
        folder: where to put them; default: `omniglot` in the cache folder, where `load_omniglot`
            looks.
        base_url, archives: where the archives are, and their names with "algorithm:checksum".
        splits_url, splits: the same for the Vinyals lists.
        progress: show a bar for each file.
    Returns:
        The folder.
    Raises:
        ConnectionError: a file could not be fetched completely, is too large, or comes too slowly.
        ValueError: a file does not fit its checksum.
        OSError: the folder cannot be written.
    In each case no half-written file stays behind.
    """
    folder = cache_folder() / "omniglot" if folder is None else as_path("folder", folder)
    _check_writable(folder)
    for name, checksum in archives.items():
        fetch(base_url.rstrip("/") + "/" + name, checksum, folder, progress, THREE_WAYS)
    for name, checksum in splits.items():
        url = splits_url.rstrip("/") + "/" + name
        fetch(url, checksum, folder / "splits" / "vinyals", False, THREE_WAYS)
    return folder


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise PermissionError(
            f"Omniglot cannot be stored: the folder {folder} cannot be written. Set the "
            "environment variable METALEARN_EDU_CACHE to a folder that you can write."
        )


# ---------------------------------------------------------------- from drawings to arrays


class _Drawing(NamedTuple):
    """One image file and what it shows."""

    alphabet: str
    number: int  # NN of characterNN, from 1
    drawer: int  # from 1
    file_id: int  # the character's number in the whole data set
    source: str
    png: bytes


def _convert(folder: Path, progress: bool) -> Arrays:
    """The arrays of `omniglot28.npz`, from the archives and alphabets in `folder`."""
    found = _distinct(folder)
    order = {name: i for i, name in enumerate(_ALPHABETS)}
    if strange := sorted({alphabet for alphabet, _, _ in found} - set(order)):
        raise ValueError(
            f"{folder} holds {strange[:5]}, which Omniglot has not; for pictures of your own use "
            "load_image_folder"
        )
    drawings = sorted(found.values(), key=lambda d: (order[d.alphabet], d.number, d.drawer))
    classes = _complete_classes(drawings, folder)
    bar = progress_bar(drawings, desc="converting Omniglot", show=progress)
    names = [name for name in order if any(name == alphabet for alphabet, _ in classes)]
    arrays = {
        "images": np.stack([read_drawing(d.png, d.source) for d in bar]),
        "char_index": np.repeat(np.arange(len(classes), dtype=np.int16), DRAWERS),
        "drawer_index": np.tile(np.arange(DRAWERS, dtype=np.uint8), len(classes)),
        "alphabet_names": np.array(names),
        "alphabet_set": np.array([name in EVALUATION_ALPHABETS for name in names], np.uint8),
        "char_alphabet": np.array([names.index(alphabet) for alphabet, _ in classes], np.uint8),
        "char_number": np.array([number for _, number in classes], np.uint8),
        "char_file_id": np.array([d.file_id for d in drawings[::DRAWERS]], np.int16),
    }
    arrays["alphabet_index"] = arrays["char_alphabet"][arrays["char_index"]]
    return arrays | _vinyals_column(classes, folder)


def _distinct(folder: Path) -> dict[tuple[str, int, int], _Drawing]:
    """The drawings by alphabet, character and drawer.

    The small official archives share alphabets, so a drawing that comes twice counts once.

    Raises:
        ValueError: there are none, two that should be equal differ, or they are too large.
    """
    found: dict[tuple[str, int, int], _Drawing] = {}
    size = 0
    for new in _drawings(folder):
        size += len(new.png)
        check_total(size, folder)
        known = found.setdefault((new.alphabet, new.number, new.drawer), new)
        if known.png != new.png:
            raise ValueError(f"{known.source} and {new.source} differ, but should be one drawing")
    if not found:
        raise ValueError(
            f"{folder} holds no drawing, such as images_background/Greek/character01/0394_01.png. "
            f"{THREE_WAYS}"
        )
    return found


def _complete_classes(drawings: Sequence[_Drawing], folder: Path) -> list[tuple[str, int]]:
    """(alphabet, number) of each class, in order; every one must have its 20 drawings."""
    people: dict[tuple[str, int], list[int]] = {}
    for d in drawings:
        people.setdefault((d.alphabet, d.number), []).append(d.drawer)
    for (alphabet, number), drawers in people.items():
        if drawers != list(range(1, DRAWERS + 1)):
            raise ValueError(
                f"{folder} is not whole: {alphabet}/character{number:02d} has {len(drawers)} of "
                f"its {DRAWERS} drawings, by {drawers}; unpack or fetch it again"
            )
    return list(people)


def _vinyals_column(classes: Sequence[tuple[str, int]], folder: Path) -> Arrays:
    """`char_vinyals`: 0 train, 1 val, 2 test for each class; nothing if there are no lists."""
    part_of: dict[str, int] = {}
    for part, file in enumerate(_vinyals_files(folder).values()):
        text = read_bounded(file, _LARGEST_LIST).decode("utf-8", "replace")
        for line in text.split():
            part_of[line.rsplit("/", 1)[0]] = part  # ALPHABET/characterNN/rotRRR
    if not part_of:
        return {}
    names = [f"{alphabet}/character{number:02d}" for alphabet, number in classes]
    if missing := [name for name in names if name not in part_of]:
        raise ValueError(f"{folder / 'splits' / 'vinyals'} lists no {missing[0]}; fetch it again")
    return {"char_vinyals": np.array([part_of[name] for name in names], np.uint8)}


def _drawings(folder: Path) -> Iterator[_Drawing]:
    """Every drawing in the folder's archives and unpacked alphabets, as its file's bytes."""
    for file in _unpacked(folder):
        yield from _drawing(file.as_posix(), str(file), partial(read_bounded, file, LARGEST_FILE))
    for archive in _archives(folder):
        with open_archive(archive, _PATH) as files:
            for name, read in files.items():
                yield from _drawing(name, f"{name} in {archive}", read)


_PATH = re.compile(r"([^/]+)/character(\d\d)/(\d{4})_(\d\d)\.png$", re.ASCII)


def _drawing(path: str, source: str, read: Callable[[], bytes]) -> Iterator[_Drawing]:
    """The drawing at ".../ALPHABET/characterNN/IIII_DD.png"; nothing for any other file."""
    if match := _PATH.search(path):
        number, file_id, drawer = map(int, match.groups()[1:])
        yield _Drawing(match[1], number, drawer, file_id, source, read())


def read_drawing(png: bytes, source: str) -> np.ndarray:
    """The (28, 28) pixels of one image file of 105x105, as `shrink_drawing` makes them.

    Raises:
        ValueError: no such image; the message names `source`.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.size != (_SIDE, _SIDE):
                raise ValueError(f"it has {image.size} pixels, not {(_SIDE, _SIDE)}")
            if image.mode not in ("1", "L", "P", "RGB"):
                raise ValueError(f"it is of mode {image.mode}, not black ink on white paper")
            ink = np.asarray(image.convert("L")) < 128
    except Exception as error:  # on a damaged file, Pillow does not always raise an OSError
        raise ValueError(f"{source} cannot be read: {error}") from error
    if not 0 < ink.mean() <= 0.5:
        what = "more ink than paper, white on black?" if ink.any() else "no ink"
        raise ValueError(f"{source} cannot be read: it has {what}")
    return shrink_drawing(ink)


def shrink_drawing(ink: np.ndarray) -> np.ndarray:
    """(105, 105) booleans, True where there is ink, to (28, 28) uint8: round(255 * inked share).

    Exact: 105 / 28 = 15 / 4, so areas are counted in sixteenths of a pixel, 225 to a cell, and
    255 / 225 = 17 / 15 has no ties to round.
    """
    area = _OVERLAP @ ink.astype(np.float64) @ _OVERLAP.T  # (28, 28), whole numbers 0 to 225
    return np.rint(area * 17 / 15).astype(np.uint8)


_SIDE = 105
_LARGEST_LIST = 1_000_000  # bytes of a Vinyals list; the longest has 1.4e5
# (28, 105): how many quarters of pixel j lie in cell i, which spans quarters 15 i to 15 i + 15.
_QUARTERS = np.arange(4 * _SIDE).reshape(_SIDE, 4)
_OVERLAP = (np.arange(28)[:, None, None] == _QUARTERS // 15).sum(axis=-1) * 1.0
