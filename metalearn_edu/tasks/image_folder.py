"""Your own pictures as a data set: one folder a class. Introduced in notebook 12.

    animals/cat/1.jpg, animals/cat/2.png, animals/dog/1.jpg, ...

or with one more level, which becomes the group of a class (script, alphabet, ...):

    letters/Greek/alpha/1.png, letters/Greek/beta/1.png, letters/Latin/a/1.png, ...

Pictures may differ in size, shape, format and number. Each is turned as its camera says, laid on
white where it is transparent, fitted into a square without distortion, and the rest of the square
takes the colour of the picture's border.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..progress import progress_bar
from .dataset import FewShotDataset

__all__ = ["IMAGE_SUFFIXES", "load_image_folder"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def load_image_folder(
    path: str | os.PathLike[str],
    *,
    size: int = 28,
    channels: Literal[1, 3] = 1,
    ink: Literal["dark", "light", "auto"] | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool = False,
) -> FewShotDataset:
    """Pictures in folders, one a class, as a data set. Introduced in notebook 12.

    Hidden files and files that are no pictures by their ending are passed over.

    Args:
        path: the folder that holds the class folders, or group folders that hold them.
        size: height and width of the items, pixels.
        channels: 1 for grey, 3 for colour.
        ink: "dark" inverts, so that ink comes out bright as in the glyphs and Omniglot; "light"
            and None leave the pictures as they are; "auto" inverts if most borders are bright.
        on_error: what to do about a broken picture or a class without pictures: "skip" leaves
            it out with a warning that names it, "raise" stops.
        progress: show a progress bar.
    Returns:
        uint8 items (N, channels, size, size); `class_names` are the folders, "group/class" where
        there are groups.
    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: nonsense arguments, no class folders, fewer than two classes, pictures and
            folders mixed; with on_error="raise" also a broken picture or an empty class.
    """
    _check_arguments(size, channels, ink, on_error)
    root = Path(path)
    classes = {name: pictures(folder) for name, folder in class_folders(root)}
    tiles: dict[str, list[Tensor]] = {name: [] for name in classes}
    skipped: list[str] = []
    todo = [(name, file) for name, files in classes.items() for file in files]
    for name, file in progress_bar(todo, desc=f"reading {root.name}", show=progress):
        try:
            tiles[name].append(read_picture(file, size, channels))
        except Exception as error:  # Pillow raises many kinds on damaged files
            if on_error == "raise":
                raise ValueError(f"{file} cannot be read: {error}") from error
            skipped.append(f"{file} ({error})")
    return _assemble(root, tiles, skipped, ink, on_error)


def _check_arguments(size: int, channels: int, ink: str | None, on_error: str) -> None:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    if ink not in ("dark", "light", "auto", None):
        raise ValueError(f"ink must be 'dark', 'light', 'auto' or None, got {ink!r}")
    if on_error not in ("skip", "raise"):
        raise ValueError(f"on_error must be 'skip' or 'raise', got {on_error!r}")


# ---------------------------------------------------------------- folders


def class_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """(class name, folder) of each class, in name order."""
    if not root.exists():
        raise FileNotFoundError(f"path {root} does not exist")
    if not root.is_dir():
        raise NotADirectoryError(f"path {root} is a file; give the folder of the class folders")
    folders = _folders(root)
    if not folders:
        raise ValueError(
            f"{root} holds no class folders: put the pictures of each class into a folder of its "
            f"own, such as {root / 'cat'} and {root / 'dog'}"
        )
    for folder in folders:
        inner = _folders(folder)
        for below in inner:
            if _folders(below) or pictures(folder):
                raise ValueError(
                    f"{below if _folders(below) else folder} holds folders where pictures should "
                    "be: the levels are class/picture or group/class/picture"
                )
            yield f"{folder.name}/{below.name}", below
        if not inner:
            yield folder.name, folder


def _folders(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_dir() and not hidden(f))


def pictures(folder: Path) -> list[Path]:
    files = (f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(f for f in files if f.is_file() and not hidden(f))


def hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))


# ---------------------------------------------------------------- pictures


def read_picture(file: Path, size: int, channels: int) -> Tensor:
    """One picture as (channels, size, size) uint8; Pillow's own warnings are not passed on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            image.draft(None, (4 * size, 4 * size))  # a large JPEG is decoded at a smaller scale
            picture = _plain(ImageOps.exif_transpose(image))
            picture = picture.convert("L" if channels == 1 else "RGB")
    paper = _border_colour(np.asarray(picture))
    square = ImageOps.pad(picture, (size, size), Image.Resampling.BILINEAR, color=paper)
    pixels = np.array(square).reshape(size, size, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _plain(image: Image.Image) -> Image.Image:
    """Eight bits a channel and opaque, transparent parts on white."""
    if image.mode.startswith("I"):  # 16 bits a pixel; a plain conversion would clip
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
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


def _assemble(
    root: Path,
    tiles: dict[str, list[Tensor]],
    skipped: list[str],
    ink: str | None,
    on_error: str,
) -> FewShotDataset:
    skipped = skipped + [f"{name} (a class without pictures)" for name, t in tiles.items() if not t]
    if skipped and on_error == "raise":
        raise ValueError(f"{root / skipped[0]}: add pictures, or remove the folder")
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        text = f"{root}: left out {'; '.join(skipped[:5])}{more}"
        warnings.warn(text, stacklevel=3)
    names = [name for name in tiles if tiles[name]]
    if len(names) < 2:
        raise ValueError(
            f"{root} needs at least two classes with pictures, it has {len(names)}: {names}"
        )
    items = torch.stack([tile for name in names for tile in tiles[name]])
    counts = torch.tensor([len(tiles[name]) for name in names])
    return FewShotDataset(
        255 - items if _inverts(items, ink) else items,
        torch.arange(len(names)).repeat_interleave(counts),
        names,
        [name.split("/")[0] if "/" in name else root.name for name in names],
        name=root.name,
    )


def _inverts(items: Tensor, ink: str | None) -> bool:
    """Whether ink is dark: said so, or the border of most pictures is bright."""
    return borders_are_bright(items) if ink == "auto" else ink == "dark"


def borders_are_bright(items: Tensor) -> bool:
    """Whether the border of most pictures (N, C, H, W) is bright: what ink="auto" goes by."""
    sides = (items[..., 0, :], items[..., -1, :], items[..., 0], items[..., -1])
    borders = torch.cat(sides, dim=-1).flatten(1).float().median(dim=1).values
    return bool(borders.median() > 127)
