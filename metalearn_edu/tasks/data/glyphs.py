"""Glyphs: drawings of the letters of 15 writing systems. Introduced in notebook 01.

There is nothing to download: we draw them from the font DejaVu Sans that Matplotlib ships.
Every character is a class with 20 drawings of 28x28 pixels, ink bright. A drawing is the printed
letter after a random affine map (turn, scale, shear, shift), a smooth random displacement, and a
random pen width. What is unusual:

- Letters of the same shape are one class: Latin A, Greek Alpha and Cyrillic A look the same, and a
class that cannot be told from another would only blur every result. We keep the first one. - The
splits are by script, so meta-test has writing systems that no learner was trained on. - All 20
drawings come from one printed shape. Omniglot's come from 20 people, so the same
  accuracy means a little more there.

A drawing depends only on the seed, the character and its number, and everything is computed in
float64 and then rounded, so the same seed gives the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
import math
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache as remember
from typing import Literal

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.path import Path
from torch import Tensor

from ...basics.arguments import as_integer
from ...basics.files import Arrays
from ...basics.progress import progress_bar
from ..cache import cache_folder, cached_arrays
from ..dataset import FewShotDataset

__all__ = ["GLYPHS_VERSION", "GLYPH_SPLITS", "Variation", "draw", "load_glyphs", "printed_letter"]

# Increase it whenever the same seed gives other bytes than before.
GLYPHS_VERSION = 1
DRAWINGS_PER_CLASS = 20

Split = Literal["meta-train", "meta-val", "meta-test"]

# Scripts by split. Of several letters with one shape, the first in this order is kept.
GLYPH_SPLITS: dict[str, tuple[str, ...]] = {
    "meta-train": (
        "Latin",
        "Greek",
        "Cyrillic",
        "Coptic",
        "Canadian syllabics",
        "Arabic",
        "Hebrew",
        "Lao",
    ),
    "meta-val": ("Armenian", "N'Ko", "Ogham"),
    "meta-test": ("Georgian", "Tifinagh", "Lisu", "Old Italic"),
}
# Unicode names of letters begin with the script, in most cases by the name used here.
_NAME_PREFIX = {"Canadian syllabics": "CANADIAN SYLLABICS", "N'Ko": "NKO"}

_BITMAP = 64  # side of a printed letter, in pixels
_SMALLEST = 600  # font units, 0.4 of a capital's height: anything smaller is a mark, not a letter
_SAME_SHAPE = 0.9  # letters whose pooled bitmaps have a larger cosine are one class


@dataclass(frozen=True)
class Variation:
    """How far drawings deviate from print; each value is the half-width of a uniform draw.

    Args:
        rotation: radians.
        scale: natural logarithm of the factor, for each axis.
        shear: tangent of the slant.
        shift: in image widths.
        elastic: displacement of each point of the 5x5 control grid, in image widths.
        pen: change of the threshold between ink and paper.
    """

    rotation: float = math.radians(20)
    scale: float = 0.2
    shear: float = 0.3
    shift: float = 0.08
    elastic: float = 2 / 28
    pen: float = 0.12


def load_glyphs(
    split: Split | None = None, *, seed: int = 0, cache: bool = True, progress: bool = False
) -> FewShotDataset:
    """Drawings of printed letters as a data set. Introduced in notebook 01.

    Args:
        split: "meta-train", "meta-val", "meta-test" (disjoint in scripts) or None for all.
        seed: of the drawings; the classes are the same for every seed.
        cache: keep the drawings in the cache folder; making them takes seconds, reading them does
            not.
        progress: show a progress bar while they are made.
    Returns:
        uint8 items (20 * n_classes, 1, 28, 28), ink bright; `class_names` are Unicode names such
        as "GREEK SMALL LETTER ALPHA", `class_groups` the scripts.
    Raises:
        ValueError: unknown split, or a seed that is not an integer from 0 to 2^63 - 1.
    """
    if split is not None and split not in list(GLYPH_SPLITS):
        raise ValueError(f"split must be one of {list(GLYPH_SPLITS)} or None, got {split!r}")
    seed = as_integer("seed", seed, 0, at_most=2**63 - 1)
    file = f"glyphs-v{GLYPHS_VERSION}-font{font_checksum()[:8]}-seed{seed}.npz"
    arrays = cached_arrays(
        cache_folder() / file, lambda: _draw_all(seed, progress), cache=cache, check=_check
    )
    scripts = GLYPH_SPLITS[split] if split else tuple(s for ss in GLYPH_SPLITS.values() for s in ss)
    return _dataset(arrays, scripts, f"glyphs {split}" if split else "glyphs")


def _check(arrays: Arrays) -> None:
    """Refuse arrays that `_draw_all` would not give, by name, shape or kind. Raises ValueError."""
    n_classes = len(arrays["names"]) if {"images", "names", "scripts"} == set(arrays) else 0
    images, names = (n_classes, DRAWINGS_PER_CLASS, 28, 28), (n_classes,)
    expected = {"images": (images, "u"), "names": (names, "U"), "scripts": (names, "U")}
    found = {name: (array.shape, array.dtype.kind) for name, array in arrays.items()}
    if not n_classes or found != expected or arrays["images"].dtype != np.uint8:
        raise ValueError(f"these are no Glyphs: {found}")


def _dataset(arrays: Arrays, scripts: Sequence[str], name: str) -> FewShotDataset:
    keep = np.isin(arrays["scripts"], scripts)
    images = torch.from_numpy(arrays["images"][keep])  # (n_classes, drawings, 28, 28)
    return FewShotDataset(
        images.flatten(0, 1)[:, None],
        torch.arange(len(images)).repeat_interleave(images.shape[1]),
        class_names=arrays["names"][keep].tolist(),
        class_groups=arrays["scripts"][keep].tolist(),
        name=name,
    )


def _draw_all(seed: int, progress: bool) -> Arrays:
    """Every class drawn: images (n_classes, 20, 28, 28) uint8, and its name and script."""
    characters, scripts, bitmaps = _distinct_letters()
    images = [
        draw(bitmap, seed=seed, character=character)
        for character, bitmap in progress_bar(
            zip(characters, bitmaps, strict=True),
            total=len(characters),
            desc="drawing glyphs",
            show=progress,
        )
    ]
    return {
        "images": torch.stack(images).numpy(),
        "names": np.array([unicodedata.name(c) for c in characters]),
        "scripts": np.array(scripts),
    }


# ---------------------------------------------------------------- print


def _font_path() -> str:
    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@remember
def font_checksum() -> str:
    """SHA-256 of the font file, which decides the shapes."""
    with open(_font_path(), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _open_font() -> FT2Font:
    font = FT2Font(_font_path())
    font.set_size(font.units_per_EM, 72)  # one pixel is one font unit, so outlines are exact
    return font


def _letters(font: FT2Font, script: str) -> Iterator[str]:
    """The font's letters of `script` in code point order, without those that decompose."""
    prefix = _NAME_PREFIX.get(script, script.upper()) + " "
    for character in map(chr, sorted(font.get_charmap())):
        is_letter = unicodedata.category(character) in ("Lu", "Ll", "Lo")
        whole = not unicodedata.decomposition(character)  # else accented or composed
        if is_letter and whole and unicodedata.name(character, "").startswith(prefix):
            yield character


def _distinct_letters() -> tuple[list[str], list[str], Tensor]:
    """Characters, their scripts, and bitmaps (n, 64, 64), one for each shape."""
    font = _open_font()
    found = [
        (character, script, outline)
        for scripts in GLYPH_SPLITS.values()
        for script in scripts
        for character in _letters(font, script)
        if np.ptp(outline := _outline(character, font), axis=(0, 1)).max() >= _SMALLEST
    ]
    bitmaps = torch.stack([_bitmap(outline) for _, _, outline in found])
    kept = _first_of_each_shape(bitmaps)
    return [found[i][0] for i in kept], [found[i][1] for i in kept], bitmaps[kept]


def _first_of_each_shape(bitmaps: Tensor) -> list[int]:
    """Indices of the bitmaps that differ from every bitmap kept before them."""
    shapes = F.normalize(F.avg_pool2d(bitmaps[:, None], 4).flatten(1), dim=1)  # (n, 256)
    alike = shapes @ shapes.T > _SAME_SHAPE
    kept: list[int] = []
    for i in range(len(bitmaps)):
        if not alike[i, kept].any():
            kept.append(i)
    return kept


def printed_letter(character: str) -> Tensor:
    """The letter as printed: (64, 64) float64 ink in [0, 1], centred, its longer side filled.

    Raises:
        ValueError: the font has no such character, or it has no ink.
    """
    return _bitmap(_outline(character, _open_font()))


def _bitmap(segments: np.ndarray) -> Tensor:
    low, high = segments.min(axis=(0, 1)), segments.max(axis=(0, 1))
    fine = 4 * _BITMAP  # four points in each direction decide a pixel's ink
    points = (segments - (low + high) / 2) * (fine / (high - low).max()) + fine / 2
    return F.avg_pool2d(torch.from_numpy(_fill(points, fine))[None], 4)[0]


def _outline(character: str, font: FT2Font) -> np.ndarray:
    """The outline in font units as straight segments (n, from/to, x/y); a curve is eight."""
    if len(character) != 1 or font.get_char_index(ord(character)) == 0:
        raise ValueError(f"character must be one that DejaVu Sans has, got {character!r}")
    font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    t = np.arange(1, 9)[:, None] / 8
    segments: list[np.ndarray] = []
    here = start = np.zeros(2)
    for flat, code in Path(*font.get_path()).iter_segments(simplify=False):
        points = flat.reshape(-1, 2)
        if code == Path.MOVETO:
            here = start = points[0]
            continue
        line = start[None] if code == Path.CLOSEPOLY else points
        if code == Path.CURVE3:  # a quadratic curve: control point, end point
            line = (1 - t) ** 2 * here + 2 * t * (1 - t) * points[0] + t**2 * points[1]
        segments.extend(np.stack([np.vstack([here[None], line[:-1]]), line], axis=1))
        here = line[-1]
    if not segments:
        raise ValueError(f"character {character!r} has no ink")
    return np.stack(segments)


def _fill(segments: np.ndarray, size: int) -> np.ndarray:
    """Ink (size, size), 0 or 1, of closed outlines, row 0 on top: non-zero winding at centres.

    Walking along a row from the left, each edge that we cross upwards counts +1, downwards -1;
    there is ink where the sum is not zero.
    """
    (x0, y0), (x1, y1) = segments[:, 0].T[..., None], segments[:, 1].T[..., None]  # (n, 1) each
    y = np.arange(size) + 0.5
    crossed = (y0 <= y) != (y1 <= y)  # (n, size): which edges cross which rows
    edge, row = crossed.nonzero()
    along = (y[row] - y0[edge, 0]) / (y1 - y0)[edge, 0]
    x = x0[edge, 0] + along * (x1 - x0)[edge, 0]
    column = np.clip(np.ceil(x - 0.5), 0, size).astype(np.int64)  # first centre right of it
    steps = np.zeros((size, size + 1), dtype=np.int64)
    np.add.at(steps, (size - 1 - row, column), np.where(y1 > y0, 1, -1)[edge, 0])
    return (steps.cumsum(axis=1)[:, :size] != 0).astype(np.float64)


# ---------------------------------------------------------------- drawings

_FILL = 0.68  # half of the letter's longer side, where the image runs from -1 to 1
_LIMIT = 0.82  # ink stays within this, two pixels from the border
_BLUR = 1.1  # of the pen, in pixels at twice the resolution
_PEN, _SOFTNESS = 0.42, 0.25  # middle and width of the step from paper to ink, as shares of ink


def draw(
    bitmap: Tensor,
    n_drawings: int = DRAWINGS_PER_CLASS,
    *,
    seed: int = 0,
    character: str = " ",
    variation: Variation | None = None,
) -> Tensor:
    """Draw a printed letter as if by a shaky hand. Introduced in notebook 01.

    Args:
        bitmap: (64, 64) float64 ink in [0, 1], from `printed_letter`.
        n_drawings: how many; drawing k does not depend on this number.
        seed: with `character` it fixes the drawings.
        variation: how far they deviate from print.
    Returns:
        (n_drawings, 28, 28) uint8, ink bright.
    """
    draws = np.random.default_rng([seed, ord(character)]).random((n_drawings, 57))
    maps, pens = _hands(torch.from_numpy(2 * draws - 1), variation or Variation())
    wide = torch.linspace(-1.8, 1.8, 49, dtype=torch.float64).expand(n_drawings, -1)
    y, x = _fit(_warp(bitmap, maps, wide, wide), wide)
    fine = _warp(bitmap, maps, y, x)  # (n, 56, 56)
    blur = _blur_matrix(fine.shape[-1])
    pressure = blur @ fine @ blur.T - _PEN - pens[:, None, None]
    ink = (pressure / _SOFTNESS + 0.5).clamp(0, 1)
    return (255 * F.avg_pool2d(ink, 2)).round().to(torch.uint8)


def _hands(draws: Tensor, variation: Variation) -> tuple[Tensor, Tensor]:
    """Random hands from uniform draws in [-1, 1], (n, 57): maps (n, 2, 7, 7) and pens (n,).

    A map says where in the printed letter a point (x, y) of the drawing comes from: coordinate i of
    the source is basis(y) @ maps[:, i] @ basis(x), where the basis holds the five weights of the
    elastic control points, then the coordinate itself, then 1. The image is 2 units wide.
    """
    turn, slant = draws[:, 0] * variation.rotation, draws[:, 1] * variation.shear
    grow = torch.exp(draws[:, 2:4] * variation.scale) * _FILL
    cos, sin, one = turn.cos(), turn.sin(), torch.ones_like(turn)
    rotate = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    shear = torch.stack([one, slant, 0 * one, one], dim=1).view(-1, 2, 2)
    inverse = torch.linalg.inv(rotate @ shear @ torch.diag_embed(grow))  # (n, source, drawing)
    shift = inverse @ (draws[:, 4:6, None] * 2 * variation.shift)  # (n, 2, 1)
    bend = inverse @ draws[:, 6:56].view(-1, 2, 25) * 2 * variation.elastic
    maps = torch.zeros(len(draws), 2, 7, 7, dtype=draws.dtype)
    maps[:, :, :5, :5] = bend.view(-1, 2, 5, 5)
    maps[:, :, 6, 5], maps[:, :, 5, 6] = inverse[:, :, 0], inverse[:, :, 1]
    maps[:, :, 6, 6] = -shift[:, :, 0]
    return maps, draws[:, 56] * variation.pen


def _warp(bitmap: Tensor, maps: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Ink at the points y (n, rows) by x (n, columns) of each drawing: (n, rows, columns)."""
    rows, columns = _basis(y)[:, None], _basis(x)[:, None].mT
    source = ((rows @ maps).flatten(1, 2) @ columns[:, 0]).unflatten(1, (2, -1))
    prints = bitmap.expand(len(x), 1, -1, -1)
    return F.grid_sample(prints, source.movedim(1, -1), align_corners=False)[:, 0]


def _basis(u: Tensor) -> Tensor:
    """Coordinates (n, points) to (n, points, 7), as `_hands` needs them."""
    return torch.cat([_cubic(u), u[..., None], torch.ones_like(u)[..., None]], dim=-1)


def _cubic(u: Tensor) -> Tensor:
    """Weights (n, points, 5) of five control values over [-1, 1]: cubic convolution, clamped."""
    position = (2 * (u + 1)).clamp(0, 4)
    d = (position[..., None] - torch.arange(-1, 6, dtype=u.dtype)).abs()  # one beyond each end
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    weights = torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
    weights[..., 1] += weights[..., 0]  # values beyond the ends repeat the last ones
    weights[..., 5] += weights[..., 6]
    return weights[..., 1:6]


def _fit(ink: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
    """Where to look, y and x (n, 56), so that no ink lies beyond `_LIMIT`.

    Most drawings fit as they are. One that does not is moved in, and made smaller if it must be.
    """
    lows, highs = [], []
    for axis in (2, 1):  # the largest ink of each row, then of each column
        inked = ink.amax(dim=axis) > 0.05
        lows.append(torch.where(inked, wide, math.inf).amin(dim=1))
        highs.append(torch.where(inked, wide, -math.inf).amax(dim=1))
    low, high = torch.stack(lows), torch.stack(highs)  # (2, n): y, x
    zoom = ((high - low).amax(dim=0) / (2 * _LIMIT)).clamp(min=1.0)
    centre = 0 - (zoom * _LIMIT - high).clamp(max=0) + (low + zoom * _LIMIT).clamp(max=0)
    pixels = (torch.arange(56, dtype=ink.dtype) + 0.5) / 28 - 1
    y, x = centre[..., None] + zoom[:, None] * pixels
    return y, x


@remember
def _blur_matrix(size: int) -> Tensor:
    """(size, size): Gaussian blur of one axis; paper beyond the border."""
    distance = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-((distance[:, None] - distance) ** 2) / (2 * _BLUR**2))
    return weights / weights[size // 2].sum()
