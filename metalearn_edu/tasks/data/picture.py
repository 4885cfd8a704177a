"""One picture from a file: what we read, and how it becomes (channels, height, width) bytes.

What is unusual:

- The contents of a file, not its name, decide how it is read, and we use only the readers on our
list. Pillow has others that start programs (PostScript) or guess (files without a signature). -
**Deep pictures**, of more than eight bits, keep their grey levels. No file says what its white is:
a microscope writes 12 bits into 16, a simulation writes floats from 0 to 1. So black is 0, and
white is the smallest of 1, 3, 15, 255, 1023, 4095, 16383, 65535, ... that is at least as large as
all numbers of the whole folder, so that a brighter picture stays brighter. If some numbers are
below 0, or all floats are below 1/4, black and white are the smallest and the largest number.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ...basics.names import for_terminal
from ...basics.progress import progress_bar

__all__ = [
    "IMAGE_SUFFIXES",
    "KNOWN_WHITES",
    "Greys",
    "Picture",
    "greys_of",
    "in_line",
    "open_picture",
    "read_picture",
    "read_pictures",
    "remarks",
    "remedy",
    "said_of_greys",
    "why_unreadable",
]

Greys = Mapping[str, tuple[float, float]]
"""Which numbers are black and white in deep pictures of "integers" and of "floats"."""

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000", "QOI", "HEIF")
"""The readers that we use, as Pillow names them."""
TGA = frozenset({".tga", ".icb", ".vda", ".vst"})  # no signature: only its name tells it
NOT_READ = frozenset(
    f".{name}"
    for name in (
        *("ai", "bpg", "cur", "dcm", "dds", "emf", "eps", "exr", "fit", "fits", "fts", "hdr"),
        *("icns", "ico", "jbig", "jng", "jxl", "jxr", "mng", "nii", "pcx", "pdf", "ps", "psd"),
        *("ras", "sgi", "svg", "svgz", "wdp", "wmf", "xbm", "xcf", "xpm"),
        *("arw", "cr2", "cr3", "crw", "dng", "erf", "kdc", "mrw", "nef", "nrw", "orf", "pef"),
        *("raf", "raw", "rw2", "srw", "x3f"),  # and those of the line above: of cameras
    )
)
"""Endings of pictures that we do not read, but do not skip silently."""
HEIF = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
KNOWN_WHITES = {"integers": 65535.0, "floats": 1.0}
DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16, 20, 24, 28, 32)
TOO_DARK = 64  # of 255: with fewer bits in 16 than 14, the upper byte alone is darker
DULL = 32  # of 255: with less than this between dark and bright, it is nearly one colour
BITS, PHOTOMETRY, ORIENTATION, SAMPLES, PLANES, SAMPLE_FORMAT = 258, 262, 274, 277, 284, 339
"""Tags of TIFF and EXIF."""
WHITE_IS_ZERO, APART, SIGNED = 0, 2, 2  # what they say


def _readers() -> tuple[str, ...]:
    """FORMATS that Pillow has here; HEIF where the package pillow-heif is installed."""
    Image.init()
    with contextlib.suppress(Exception):  # a broken installation can raise anything
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


READERS = _readers()
IMAGE_SUFFIXES = TGA.union(
    {".jfif", ".jpe", ".mpo", ".pjp", ".pjpeg"},
    (suffix for suffix, name in Image.registered_extensions().items() if name in READERS),
)
"""Endings of the files that we treat as pictures, in lower case."""


class Numbers(NamedTuple):
    """The numbers of a deep picture."""

    kind: str  # "integers" or "floats"
    low: float
    high: float
    lost: float  # the share that is NaN or infinite; taken as black


class Picture(NamedTuple):
    """A picture as we use it, and what its file holds."""

    tile: Tensor  # (channels, height, width) uint8
    width: int  # of the file's picture, pixels
    height: int
    several: bool  # the file holds several pictures; this is the first
    numbers: Numbers | None  # of a deep picture


def read_pictures(
    files: Iterable[Path],
    size: tuple[int, int],
    channels: int,
    greys: Greys,
    failed: Callable[[Path, Exception], None],
    *,
    desc: str,
    show: bool,
) -> tuple[dict[Path, Picture], dict[str, tuple[float, float]]]:
    """The pictures that can be read, by file, with one black and white for all deep ones.

    Args:
        size, channels: as in `read_picture`.
        greys: black and white where they are given.
        failed: is called with each file that cannot be read, and the reason.
        desc, show: of the progress bar.
    """
    read: dict[Path, Picture] = {}

    def read_one(file: Path, greys: Greys) -> None:
        try:
            read[file] = read_picture(file, size, channels, greys)  # a second time in its old place
        except Exception as error:  # Pillow raises many kinds on damaged files
            read.pop(file, None)
            failed(file, error)

    for file in progress_bar(files, desc=desc, show=show):
        read_one(file, greys)
    common = greys_of(read.values(), greys)
    for file in [f for f, p in read.items() if greys_of([p], greys).items() - common.items()]:
        read_one(file, common)
    return read, common


def read_picture(
    file: Path, size: tuple[int, int], channels: int, greys: Greys | None = None
) -> Picture:
    """One picture: turned as its camera says, on white where it is transparent, not distorted.

    Args:
        size: height and width of the tile.
        channels: 1 for grey, 3 for colour.
        greys: black and white of deep pictures; what is not given comes from the picture's own.
    Raises:
        Exception: of many kinds, on damaged files; `why_unreadable` puts it into words.
    """
    height, width = size
    with open_picture(file) as image:
        full = image.size
        image.draft(None, (4 * width, 4 * height))  # a large JPEG is decoded at a smaller scale
        picture, numbers = _eight_bits(image, file, greys or {})
        picture = _on_white(picture).convert("L" if channels == 1 else "RGB")
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    paper = _border_colour(np.asarray(picture))
    fitted = ImageOps.pad(picture, (width, height), Image.Resampling.BILINEAR, color=paper)
    pixels = np.array(fitted).reshape(height, width, channels)
    return Picture(torch.from_numpy(pixels).permute(2, 0, 1), *full, several, numbers)


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """The picture at `path` before it is decoded; Pillow's own warnings are not passed on.

    Raises:
        OSError: it cannot be opened, or is damaged.
        ValueError: it is not an ordinary file, or not a picture that we read.
    """
    # Opened only after this check, because a pipe or a device would wait forever.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is not an ordinary file")
    readers = (*READERS, "TGA") if path.suffix.lower() in TGA else READERS
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=readers)
        except UnidentifiedImageError:
            file.seek(0)
            raise ValueError(_contents(file.read(32))) from None
        with image:
            _mend(image)
            yield image


def in_line(name: Any) -> str:
    """A name as plain text in one line, for messages."""
    return for_terminal(str(name).replace("\n", r"\n"))


def why_unreadable(path: Path, error: Exception) -> str:
    """The reason in words, without the path and without memory addresses."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "it is a link to nothing"
    text = getattr(error, "strerror", None) or str(error).split(str(path))[0]
    return " ".join(text.split()).strip(" :'\"") or type(error).__name__


def looks_like_a_picture(path: Path) -> bool:
    """Whether a file's contents are a picture that we could read; it is not decoded."""
    try:
        with open_picture(path):
            return True
    except Exception:  # Pillow raises many kinds on damaged files
        return False


def remedy(path: Path) -> str | None:
    """How to make a file in a format that we do not read readable; None if it is not a picture."""
    suffix = path.suffix.lower()
    if suffix in HEIF:
        return "pip install pillow-heif"
    if suffix in NOT_READ:
        return "save as PNG or JPEG"
    return "its name lacks the ending" if looks_like_a_picture(path) else None


def _contents(head: bytes) -> str:
    """Why no reader takes a file that begins like this."""
    if not head:
        return "it is empty"
    if head[4:8] == b"ftyp":
        return "its contents are a film or a picture of HEIC: pip install pillow-heif"
    if head[:4] in (b"%!PS", b"%PDF", b"\xc5\xd0\xd3\xc6"):
        return "its contents are PostScript or PDF, which is not read"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "it is a TIFF of a kind that is not read, such as of double precision"
    return "its contents are no picture"


# ---------------------------------------------------------------- what Pillow decodes wrongly


def _mend(image: Image.Image) -> None:
    """Before decoding, correct what Pillow would silently read wrongly, or refuse it.

    Raises:
        ValueError: a TIFF file whose colours lie one after the other, in a way that is not read.
    """
    packed = any(tile[0] == "libtiff" for tile in _tiles(image))
    several = getattr(image, "tag_v2", {}).get(SAMPLES, 1) > 1
    if _tag(image, PLANES, APART) and not (_tag(image, BITS, 8) if several else packed):
        raise ValueError(
            "it is a TIFF with its colours in separate planes, of a kind that is not read; save "
            "the colours of a pixel together"
        )
    # libtiff gives numbers in this machine's byte order; Pillow assumes the byte order of the file.
    if packed:
        _unpack_by(image, lambda raw: re.sub(r";(16|32)B?([SF])$", r";\1N\2", raw))
    # Pillow stretches greys of 2 and 4 bits to 8 bits, but not the transparent one.
    clear, bits = image.info.get("transparency"), _raw_mode(image).partition("L;")[2]
    if bits in ("2", "4") and isinstance(clear, int) and clear < 2 ** int(bits):
        image.info["transparency"] = clear * 255 // (2 ** int(bits) - 1)


def _tiles(image: Image.Image) -> list[Any]:
    return getattr(image, "tile", None) or []


def _raw_mode(image: Image.Image) -> str:
    """The layout of the pixels in the file, such as "RGB;16B"; empty if it is not known."""
    arguments: Any = next((tile[3] for tile in _tiles(image)), "")
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _unpack_by(image: Image.Image, renamed: Callable[[str], str]) -> None:
    """Let Pillow unpack the pixels by another raw mode."""
    tiles, raw = _tiles(image), renamed(_raw_mode(image))
    for number, tile in enumerate(tiles):
        make = getattr(type(tile), "_make", tuple)  # before Pillow 11 it is a plain tuple
        arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
        tiles[number] = make((*tile[:3], arguments))


# ---------------------------------------------------------------- deep pictures


def greys_of(pictures: Iterable[Picture], given: Greys) -> dict[str, tuple[float, float]]:
    """Black and white for all these pictures: those given, and others by the rule above."""
    found: dict[str, tuple[float, float]] = {}
    numbers = [picture.numbers for picture in pictures if picture.numbers]
    for kind in sorted({n.kind for n in numbers}):
        lows, highs = zip(*((n.low, n.high) for n in numbers if n.kind == kind), strict=True)
        found[kind] = _black_and_white(kind, min(lows), max(highs))
    return {**found, **given}


def said_of_greys(found: Greys) -> list[str]:
    """Which black and white were guessed, for a warning."""
    return [
        f"deep pictures: greys of {low:g} to {high:g} ({kind}) are scaled to 0 to 255"
        for kind, (low, high) in found.items()
        if (low, high) != (0, KNOWN_WHITES[kind])
    ]


def remarks(picture: Picture, greys: Greys) -> list[str]:
    """What to say about a picture that is used."""
    pages = ["it holds several pictures, the first is used"] if picture.several else []
    if picture.numbers is None:
        return pages
    kind, low, high, lost = picture.numbers
    black, white = greys[kind]
    dark, bright = picture.tile.float().quantile(torch.tensor([0.01, 0.99])).tolist()
    said = {
        f"{100 * lost:.3g} % of it is NaN or infinite, taken as black": lost > 0,
        f"its greys of {low:g} to {high:g} are cut off at {black:g} and {white:g}": low < black
        or high > white,
        f"its greys of {low:g} to {high:g} come out as nearly one colour: {black:g} is black and "
        f"{white:g} is white": bright - dark < DULL,
    }
    return pages + [text for text, is_so in said.items() if is_so]


def _black_and_white(kind: str, low: float, high: float) -> tuple[float, float]:
    if low < 0 or (kind == "floats" and high <= 0.25):
        black = min(low, 0.0)
        return black, high if high > black else black + 1
    return 0.0, float(next((2**bits - 1 for bits in DEPTHS if high < 2**bits), high))


def _eight_bits(image: Image.Image, file: Path, greys: Greys) -> tuple[Image.Image, Numbers | None]:
    """The picture in eight bits a channel, turned as its camera says, and its numbers if deep."""
    deep, alpha = _deep_values(image, file)
    if deep is None:
        return ImageOps.exif_transpose(image), None
    numbers = _measured(deep)
    own = {numbers.kind: _black_and_white(*numbers[:3])}
    black, white = {**own, **greys}[numbers.kind]
    eight = Image.fromarray(_as_bytes(deep, black, white, _white_is_zero(image)))
    if alpha is not None:
        eight.putalpha(alpha)
    eight.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return ImageOps.exif_transpose(eight), numbers


def _deep_values(image: Image.Image, file: Path) -> tuple[np.ndarray | None, Image.Image | None]:
    """All bits of a deep picture, (H, W) or (H, W, 3), and its transparency; None for others."""
    if _is_sixteen_bit_colour(image):
        return _both_bytes(image, file)
    if image.mode[0] not in "IF" and not _tag(image, SAMPLE_FORMAT, SIGNED):
        return None, None
    values = np.asarray(image)
    if values.dtype == np.uint8:
        values = values.view(np.int8)  # Pillow reads signed bytes as unsigned
    if image.mode == "I" and image.format == "TIFF" and not _tag(image, SAMPLE_FORMAT, SIGNED):
        values = values.view(np.uint32)  # and 32 unsigned bits as signed
    return values, _where_not(values, image.info.get("transparency"))


def _is_sixteen_bit_colour(image: Image.Image) -> bool:
    """Whether Pillow unpacks 16 bits a channel into 8."""
    if image.mode[0] in "IF":
        return False
    largest = [tile[3][1] for tile in _tiles(image) if tile[0] in ("ppm", "ppm_plain")]
    return ";16" in _raw_mode(image) or any(number > 255 for number in largest)


def _both_bytes(image: Image.Image, file: Path) -> tuple[np.ndarray | None, Image.Image | None]:
    """Pillow keeps the upper byte of 16 bits per channel, so we read the lower one separately."""
    raw, clear = _raw_mode(image), image.info.get("transparency")
    upper = np.asarray(image.convert("RGB"))
    if raw.split(";")[0] in ("RGB", "RGBA", "RGBX") and ";16" in raw:
        lower = np.asarray(_lower_bytes(file).convert("RGB"))
        both = 256 * upper.astype(np.uint16) + lower
        alpha = image.getchannel("A") if image.mode == "RGBA" else _where_not(both, clear)
        return both, alpha
    if upper.max() < TOO_DARK:
        raise ValueError("of its 16 bits a channel only the upper 8 can be read, and are all dark")
    return None, None


def _lower_bytes(file: Path) -> Image.Image:
    orders = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    with open_picture(file) as image:
        _unpack_by(image, lambda raw: raw[:-1] + orders[raw[-1]])
        image.load()
        return image.copy()


def _where_not(values: np.ndarray, clear: Any) -> Image.Image | None:
    """Transparency: full where a pixel has the one value that the file declares transparent."""
    if clear is None:
        return None
    shows = (np.atleast_3d(values) != clear).any(axis=2)
    return Image.fromarray(np.where(shows, 255, 0).astype(np.uint8))


def _measured(values: np.ndarray) -> Numbers:
    kind = "floats" if values.dtype.kind == "f" else "integers"
    finite = values[np.isfinite(values)] if kind == "floats" else values
    if not finite.size:
        raise ValueError("it holds no numbers, only NaN or infinity")
    lost = 1 - finite.size / values.size
    return Numbers(kind, float(finite.min()), float(finite.max()), lost)


def _as_bytes(values: np.ndarray, black: float, white: float, inverted: bool) -> np.ndarray:
    """(H, ...) numbers as uint8, some rows at a time; numbers outside the range are cut off."""
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 256):
        rows = values[start : start + 256].astype(np.float64)
        rows = np.where(np.isfinite(rows), rows, black)
        # A little more, so that what was k / 255 in single precision is k again.
        grey = ((rows - black) * 255 / (white - black) + 1e-3).clip(0, 255).astype(np.uint8)
        out[start : start + 256] = 255 - grey if inverted else grey
    return out


def _white_is_zero(image: Image.Image) -> bool:
    """Pillow turns such TIFF files of eight bits, and leaves deeper ones as they are."""
    return _tag(image, PHOTOMETRY, WHITE_IS_ZERO)


def _tag(image: Image.Image, tag: int, value: int) -> bool:
    """Whether a TIFF file says so."""
    said = getattr(image, "tag_v2", {}).get(tag)
    return value == (said[0] if isinstance(said, tuple) and said else said)


# ---------------------------------------------------------------- paper


def _on_white(image: Image.Image) -> Image.Image:
    """Opaque: transparent parts on white."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer)
    return image


def _border_colour(pixels: np.ndarray) -> int | tuple[int, ...]:
    """Median colour of the outermost pixels, (H, W) or (H, W, 3)."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = np.median(border, axis=0).astype(int)
    return int(median) if median.ndim == 0 else tuple(median.tolist())
