"""What several explorers draw: letters, frames, an empty page, a picture above its words."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from ..plotting import encode_png, figure_png, new_figure
from ..plotting.style import SMALL, wrap

__all__ = ["bare", "blank_page", "frame", "show_letter", "tile", "with_caption"]

DARK_GREEN = "#007a5a"


def blank_page(fig: Figure) -> Axes:
    """Axes over the whole figure in points of 1/72 inch, (0, 0) in the upper left corner."""
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1))
    width, height = (72 * inches for inches in fig.get_size_inches())
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    return ax


def show_letter(
    ax: Axes, item: Tensor | None, left: float, top: float, side: float, frame: str = "0.75"
) -> None:
    """Dark ink on white paper: an item (C, H, W), or an empty frame for None."""
    if item is not None:
        extent = (left, left + side, top + side, top)
        ax.imshow(1 - np.asarray(item.mean(dim=0)), cmap="gray", vmin=0, vmax=1, extent=extent)
    width = 1 if frame == "0.75" else 3.5
    ax.add_patch(Rectangle((left, top), side, side, fill=False, ec=frame, lw=width))


def tile(ax: Axes, items: Tensor, left: float, top: float) -> None:
    """Pictures (rows, columns, C, H, W) as dark ink, one per cell, to the right and down."""
    rows, columns = items.shape[:2]
    image = 1 - items.mean(dim=2).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    extent = (left, left + columns, top + rows, top)
    ax.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent)
    ax.vlines([left + c for c in range(columns + 1)], top, top + rows, color="0.8", lw=0.8)
    ax.hlines([top + r for r in range(rows + 1)], left, left + columns, color="0.8", lw=0.8)


def frame(ax: Axes, x: float, y: float, width: float, height: float, color: str) -> None:
    """A thick frame in the data's units."""
    ax.add_patch(Rectangle((x, y), width, height, fill=False, ec=color, lw=2.2, zorder=3))


def bare(ax: Axes) -> None:
    """Axes without ticks and without a frame."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def with_caption(png: bytes, words: str, width: float, dpi: int) -> bytes:
    """A PNG picture, `width` inches wide, with words in at most eight lines below it."""
    caption = wrap(words, 72 * width, max_lines=8)
    fig = new_figure(width, (1.4 * SMALL * (1 + caption.count("\n")) + SMALL) / 72)
    fig.set_layout_engine("none")
    fig.text(0.01, 0.5, caption, fontsize=SMALL, va="center")
    parts = [png, figure_png(fig, dpi)]
    pictures = [np.asarray(Image.open(io.BytesIO(part)).convert("RGB")) for part in parts]
    return encode_png(np.concatenate(pictures))
