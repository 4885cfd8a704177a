"""Pictures: items in rows, and one task with its support and query set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..basics.arguments import as_integer
from .reading import plain
from .style import BLACK, BLUE, SMALL, add_legend, as_array, flat, pyplot_figure, styled, wrap
from .words import add_words

__all__ = ["mosaic", "plot_episode", "plot_items", "show"]


FINE = 28  # dots: the least width and height that a picture is drawn with


class Episode(Protocol):
    """The parts of one task that are drawn: like `tasks.Task`, but without importing it."""

    @property
    def support_x(self) -> Any:
        """(n_support, *item) items."""

    @property
    def support_y(self) -> Any:
        """(n_support,) labels, or targets."""

    @property
    def query_x(self) -> Any:
        """(n_query, *item) items."""

    @property
    def query_y(self) -> Any:
        """(n_query,) labels, or targets."""


@styled
def plot_items(
    items: Any,
    *,
    titles: Sequence[str] | None = None,
    n_columns: int = 10,
    invert: bool = True,
    fig: Figure | None = None,
) -> Figure:
    """Draw pictures in rows, each with an optional title of at most two lines below it.

    Args:
        items: (N, C, H, W) or (N, H, W), grey (C = 1) or colour (C = 3).
        titles: one per picture.
        n_columns: pictures in a row.
        invert: draw grey pictures as dark ink on white paper; False for photographs.
    Raises:
        ValueError: items are not pictures, or the number of titles does not fit.
    """
    pictures = _pictures(items, invert)
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"titles has {len(titles)} entries for {len(pictures)} items")
    n_columns = min(as_integer("n_columns", n_columns), len(pictures))
    n_rows = -(-len(pictures) // n_columns)
    side = min(0.95, 9 / n_columns)  # inches a picture
    room = 0.42 if titles else 0.0  # inches below it for its title
    fig = fig or pyplot_figure(max(n_columns * side, 1.2) + 0.1, n_rows * (side + room) + 0.1)
    ax = fig.add_subplot()
    height, width = pictures.shape[1:3]
    below = round(room / side * height)
    show(ax, mosaic(pictures, n_columns, below))
    points = fig.get_figwidth() * 72 / n_columns
    for i, title in enumerate(titles or ()):
        x = (i % n_columns) * (width + 1) + width / 2
        y = (i // n_columns) * (height + 1 + below) + height + 1
        _title_below(ax, x, y, wrap(title, points))
    rows = "one row" if n_rows == 1 else f"{n_rows} rows of {n_columns}"
    names = ", ".join(map(plain, map(str, titles or ())))
    add_words(ax, f"{len(pictures)} pictures in {rows}{': ' if names else ''}{names}.")
    return fig


def _title_below(ax: Axes, x: float, y: float, text: str) -> None:
    """One or two lines under a point, close to it."""
    drop = SMALL * (1.2 + 1.2 * text.count("\n"))  # from the picture to the last baseline
    place: Any = {"xytext": (0, -drop), "textcoords": "offset points", "ha": "center"}
    ax.annotate(text, (x, y), fontsize=SMALL, **place)


@styled
def plot_episode(
    task: Episode,
    *,
    class_names: Sequence[str] | None = None,
    n_shown: int = 8,
    invert: bool = True,
    fig: Figure | None = None,
) -> Figure:
    """Draw one task: support set on the left, query set on the right, one row per class.

    A regression task is drawn as points: support filled, queries hollow.

    Args:
        task: one task without a task axis, such as `batch[0]`.
        class_names: (n_way,) what to write beside the labels.
        n_shown: the most support and query items drawn per class.
        invert: draw grey pictures as dark ink on white paper; False for photographs.
    Raises:
        ValueError: items are not pictures, or the number of names does not fit.
    """
    if task.support_y.is_floating_point():
        return _regression_task(task, fig or pyplot_figure(6.4, 3.4))
    n_way, n_shown = int(task.support_y.max()) + 1, as_integer("n_shown", n_shown)
    if class_names is not None and len(class_names) != n_way:
        raise ValueError(f"class_names has {len(class_names)} entries for {n_way} classes")
    support = _by_class(_pictures(task.support_x, invert), task.support_y, n_way)
    query = _by_class(_pictures(task.query_x, invert), task.query_y, n_way)
    side = max(0.3, min(0.72, 6 / n_way))  # inches a picture
    lines = 2 if side > 0.45 else 1
    names = [f"{c}  {name}" for c, name in enumerate(class_names or [""] * n_way)]
    labels = [wrap(name, 150, lines) for name in names]
    widths = [max(min(s.shape[1], n_shown) * side, 1.0) for s in (support, query)]
    margin = 0.35 + 0.085 * max(len(line) for label in labels for line in label.split("\n"))
    fig = fig or pyplot_figure(sum(widths) + margin + 0.2, side * n_way + 0.65)
    axes = fig.subplots(1, 2, width_ratios=widths)
    _one_set(axes[0], "support", support, len(task.support_y), n_shown)
    _one_set(axes[1], "query", query, len(task.query_y), n_shown)
    height = support.shape[2]
    axes[0].set_yticks([c * (height + 1) + height / 2 for c in range(n_way)], labels)
    axes[0].tick_params(length=0, labelsize=SMALL)
    counts = [_count(min(n_shown, items.shape[1]), items.shape[1]) for items in (support, query)]
    known = f" ({', '.join(map(str, class_names))})" if class_names else ""
    add_words(
        fig,
        f"One {n_way}-way task as pictures, one row per class{known}. Left: the support set, "
        f"{counts[0]}. Right: the query set, {counts[1]}.",
    )
    return fig


def _one_set(ax: Axes, name: str, items: np.ndarray, n_items: int, n_shown: int) -> None:
    """The first items of each class (n_way, most, H, W, 3), under the name of the set."""
    shown = items[:, :n_shown]
    show(ax, mosaic(shown.reshape(-1, *items.shape[2:]), shown.shape[1]))
    ax.set_anchor("W")
    even = "" if n_items == items.shape[0] * items.shape[1] else "up to "
    ax.set_title(f"{name}\n{even}{_count(shown.shape[1], items.shape[1])}", loc="left")


def _count(shown: int, total: int) -> str:
    """How many items of a class are drawn, in words."""
    return f"{total} per class" if shown == total else f"{shown} of {total} per class"


def _regression_task(task: Episode, fig: Figure) -> Figure:
    """Support points filled, queries hollow."""
    ax = fig.add_subplot()
    support, query = (as_array(task.support_x), as_array(task.support_y)), task.query_x
    ax.plot(*flat(*support), "o", color=BLACK, label=f"support, {len(task.support_x)}", zorder=3)
    hollow: Any = {"markerfacecolor": "none", "color": BLUE, "linestyle": "none", "marker": "o"}
    ax.plot(*flat(query, task.query_y), **hollow, label=f"query, {len(query)}")
    ax.set(xlabel="x", ylabel="y")
    add_legend(ax)
    return fig


def _pictures(items: Any, invert: bool) -> np.ndarray:
    """(N, H, W, 3) floats in [0, 1], ready to show, of grey or colour pictures of any range."""
    array = as_array(items).astype(float)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not len(array):
        raise ValueError(
            "items must be pictures (N, H, W) or (N, C, H, W) with C 1 (grey) or 3 (colour) and N "
            f"at least 1, got {tuple(array.shape)}"
        )
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        array = (array - low) / ((high - low) or 1)
    if array.shape[1] == 1:
        array = np.repeat(1 - array if invert else array, 3, axis=1)
    scale = -(-FINE // min(array.shape[2:]))  # tiny pictures get several dots a pixel
    return array.transpose(0, 2, 3, 1).repeat(scale, axis=1).repeat(scale, axis=2)


def _by_class(pictures: np.ndarray, labels: Any, n_way: int) -> np.ndarray:
    """(N, H, W, 3) and labels (N,) to (n_way, most, H, W, 3), white where a class has fewer."""
    rows = [pictures[as_array(labels) == c] for c in range(n_way)]
    grid = np.ones((n_way, max(map(len, rows)), *pictures.shape[1:]), pictures.dtype)
    for places, row in zip(grid, rows, strict=True):
        places[: len(row)] = row
    return grid


def mosaic(pictures: np.ndarray, n_columns: int, below: int = 0) -> np.ndarray:
    """One picture made of many, each in a thin grey frame with `below` white rows under it."""
    n, height, width, _ = pictures.shape
    n_rows = -(-n // n_columns)
    cells = np.ones((n_rows * n_columns, height + 1 + below, width + 1, 3))
    cells[:n, : height + 1] = 0.8
    cells[:n, :height, :width] = pictures
    grid = cells.reshape(n_rows, n_columns, *cells.shape[1:])
    return grid.transpose(0, 2, 1, 3, 4).reshape(-1, n_columns * (width + 1), 3)


def show(ax: Axes, image: np.ndarray) -> None:
    """Draw a picture alone, without frame and ticks."""
    ax.imshow(image)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
