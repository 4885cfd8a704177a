"""One style for all figures of the course: a colour and a marker for each algorithm.

The colours are those of Okabe and Ito, which people with any colour vision can tell apart, with a
few darker ones added; no figure relies only on colour.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..basics.names import for_figure
from .display import show_with_words

__all__ = [
    "add_legend",
    "as_array",
    "class_look",
    "encode_png",
    "figure_png",
    "flat",
    "legend_label",
    "look",
    "new_figure",
    "pyplot_axes",
    "pyplot_figure",
    "styled",
    "use_course_style",
    "wrap",
]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, WINE = "#0072B2", "#D55E00", "#CC79A7", "#882255"
OLIVE, INDIGO, GREY = "#7A7A00", "#332288", "#767676"
LOOK: dict[str, dict[str, Any]] = {
    "ProtoNet": {"color": BLUE, "marker": "o"},
    "MAML": {"color": VERMILLION, "marker": "s"},
    "FOMAML": {"color": ORANGE, "marker": "D"},
    "Reptile": {"color": OLIVE, "marker": "v"},
    "ANIL": {"color": INDIGO, "marker": "<"},
    "BOIL": {"color": SKY, "marker": ">"},
    "iMAML": {"color": PURPLE, "marker": "d"},
    "Meta-SGD": {"color": WINE, "marker": "*"},
    "Relation Network": {"color": GREEN, "marker": "^"},
    "Ordinary classifier": {"color": BLACK, "marker": "x"},
    "Ridge head": {"color": ORANGE, "marker": "h"},
    "MANN": {"color": PURPLE, "marker": "P"},
    "Task-conditioned": {"color": SKY, "marker": "X"},
    "Transformer": {"color": GREEN, "marker": "p"},
    "CNP": {"color": INDIGO, "marker": "H"},
    "exact posterior": {"color": BLACK, "marker": "_"},
    "nearest pixel": {"color": GREY, "marker": "d"},
    "joint training": {"color": GREY, "marker": "h"},
    "from scratch": {"color": GREY, "marker": ">"},
    "you": {"color": BLACK, "marker": "*"},
}
"""Colour and marker of each algorithm and baseline, the same in every notebook."""

STYLE: Any = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 90,
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 7,
    "image.interpolation": "nearest",
}
CLASS_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, WINE, OLIVE, INDIGO)
CLASS_MARKERS = "os^DvP*X<>"
SMALL = 11  # points; no text in a figure is smaller


def use_course_style() -> None:
    """Set fonts, sizes and line widths for all figures of this notebook.

    In a notebook each figure then comes with a text alternative, see `describe`.
    """
    show_with_words()
    mpl.rcParams.update(STYLE)


def look(name: str, index: int = 0) -> dict[str, Any]:
    """Colour and marker of `name`; if LOOK does not have the name, those of class `index`."""
    return dict(LOOK[name]) if name in LOOK else class_look(index)


def class_look(label: int) -> dict[str, Any]:
    """Colour and marker of an episode label; 100 labels in a row all look different."""
    turn = label // len(CLASS_COLORS)
    return {
        "color": CLASS_COLORS[label % len(CLASS_COLORS)],
        "marker": CLASS_MARKERS[(label + turn) % len(CLASS_MARKERS)],
    }


def new_figure(width: float = 6.4, height: float = 3.6) -> Figure:
    """An empty figure in the course's style, unknown to pyplot; sizes in inches."""
    with mpl.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def figure_png(fig: Figure, dpi: int = 72) -> bytes:
    """The figure as the bytes of a PNG picture."""
    with mpl.rc_context(STYLE):
        fig.set_dpi(dpi)
        canvas = FigureCanvasAgg(fig)
        canvas.draw()  # draw once; savefig would go through all artists twice
    return encode_png(np.asarray(canvas.buffer_rgba())[..., :3])


def encode_png(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as PNG with at most 256 colours, a quarter of the usual bytes."""
    buffer = io.BytesIO()
    few: Any = {"method": Image.Quantize.FASTOCTREE, "dither": Image.Dither.NONE}
    Image.fromarray(image).quantize(256, **few).save(buffer, format="png")
    return buffer.getvalue()


P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw in the course's style, whatever the notebook has set."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapper


def pyplot_figure(width: float, height: float) -> Figure:
    """An empty figure that a notebook shows; sizes in inches."""
    import matplotlib.pyplot as plt  # loaded late: it chooses the backend

    return plt.figure(figsize=(width, height), layout="constrained")


def pyplot_axes(width: float = 6.4, height: float = 3.6) -> Axes:
    """The only axes of a figure that a notebook shows."""
    return pyplot_figure(width, height).add_subplot()


def add_legend(ax: Axes, title: str | None = None) -> None:
    """A legend on the right of the axes, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        columns = 1 + (len(labels) - 1) // 11
        place: Any = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "title": title}
        ax.legend(handles, labels, ncols=columns, columnspacing=0.8, handlelength=1.6, **place)


def legend_label(name: Any, points: float = 130) -> str:
    """A name for a legend, which would otherwise leave out names with a leading underscore."""
    text = wrap(name, points)
    return f" {text}" if text.startswith("_") else text


def wrap(text: Any, points: float, max_lines: int = 2) -> str:
    """A name in at most `max_lines` lines, each about `points` wide, ready for Matplotlib."""
    width = max(4, int(points / (0.56 * SMALL)))
    lines = textwrap.wrap(str(text).rstrip(), width, max_lines=max_lines, placeholder=" …")
    return for_figure("\n".join(lines))  # do it now, so that no escape is cut in two


def as_array(values: Any) -> np.ndarray:
    """A tensor, array or list as a NumPy array."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    values = values.detach().cpu()  # NumPy has no bfloat16
    return np.asarray(values.float() if "bfloat16" in str(values.dtype) else values)


def flat(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of one axis."""
    return as_array(x).reshape(-1), as_array(y).reshape(-1)
