"""One look for every figure of the course: a colour and a marker for each algorithm.

The colours are those of Okabe and Ito, which people with any colour vision can tell apart, with a
few darker ones added; no figure relies on colour alone. Accuracies are fractions in code and
percent on axes, with their 95 % interval and the line of chance.

Functions draw on the axes or the figure that they are given and return it. Given none, they make
one with pyplot, so that a notebook shows it; end the cell with `plt.show()`.
"""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

from .basics.arguments import as_integer
from .basics.names import for_figure

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .study.selection import Evidence
    from .study.study import Study
    from .tasks import Task
    from .tasks.data.folder_check import Finding, FolderReport
    from .training import History

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "LOOK",
    "class_look",
    "encode_png",
    "figure_png",
    "look",
    "new_figure",
    "plot_accuracy",
    "plot_curves",
    "plot_embedding",
    "plot_episode",
    "plot_findings",
    "plot_history",
    "plot_intervals",
    "plot_items",
    "plot_study",
    "plot_study_cost",
    "use_course_style",
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
    "Meta-SGD": {"color": WINE, "marker": "*"},
    "Relation Network": {"color": GREEN, "marker": "^"},
    "MANN": {"color": PURPLE, "marker": "P"},
    "Task-conditioned": {"color": SKY, "marker": "X"},
    "Transformer": {"color": GREEN, "marker": "p"},
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
FINE = 28  # dots: the least width and height that a picture is drawn with
SMALL = 11  # points; no text of a figure is smaller


def use_course_style() -> None:
    """Set fonts, sizes and line widths for all figures of this notebook."""
    mpl.rcParams.update(STYLE)


def look(name: str, index: int = 0) -> dict[str, Any]:
    """Colour and marker of `name`; for a name that LOOK does not have, those of class `index`."""
    return dict(LOOK[name]) if name in LOOK else class_look(index)


def class_look(label: int) -> dict[str, Any]:
    """Colour and marker of an episode label; 100 labels in a row all look different."""
    turn = label // len(CLASS_COLORS)
    return {
        "color": CLASS_COLORS[label % len(CLASS_COLORS)],
        "marker": CLASS_MARKERS[(label + turn) % len(CLASS_MARKERS)],
    }


def new_figure(width: float = 6.4, height: float = 3.6) -> Figure:
    """An empty figure in the course's style that pyplot does not know; sizes in inches."""
    with mpl.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def figure_png(fig: Figure, dpi: int = 72) -> bytes:
    """The figure as the bytes of a PNG picture."""
    with mpl.rc_context(STYLE):
        fig.set_dpi(dpi)
        canvas = FigureCanvasAgg(fig)
        canvas.draw()  # once; savefig would go through all artists twice
    return encode_png(np.asarray(canvas.buffer_rgba())[..., :3])


def encode_png(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as PNG with at most 256 colours, a quarter of the usual bytes."""
    buffer = io.BytesIO()
    few: Any = {"method": Image.Quantize.FASTOCTREE, "dither": Image.Dither.NONE}
    Image.fromarray(image).quantize(256, **few).save(buffer, format="png")
    return buffer.getvalue()


def _styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw in the course's style, whatever the notebook has set."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapper


# ---------------------------------------------------------------- pictures


@_styled
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
        titles: one a picture.
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
    fig = fig or _pyplot_figure(max(n_columns * side, 1.2) + 0.1, n_rows * (side + room) + 0.1)
    ax = fig.add_subplot()
    height, width = pictures.shape[1:3]
    below = round(room / side * height)
    _show(ax, _mosaic(pictures, n_columns, below))
    points = fig.get_figwidth() * 72 / n_columns
    for i, title in enumerate(titles or ()):
        x = (i % n_columns) * (width + 1) + width / 2
        y = (i // n_columns) * (height + 1 + below) + height + 1
        text = _wrap(title, points)
        drop = SMALL * (1.2 + 1.2 * text.count("\n"))  # from the picture to the last baseline
        place: Any = {"xytext": (0, -drop), "textcoords": "offset points", "ha": "center"}
        ax.annotate(text, (x, y), fontsize=SMALL, **place)
    return fig


@_styled
def plot_episode(
    task: Task,
    *,
    class_names: Sequence[str] | None = None,
    n_shown: int = 8,
    invert: bool = True,
    fig: Figure | None = None,
) -> Figure:
    """Draw one task: the support set on the left, the query set on the right, a row a class.

    A regression task is drawn as points: support filled, queries hollow.

    Args:
        task: one task without a task axis, such as `batch[0]`.
        class_names: (n_way,) what to write beside the labels.
        n_shown: at most so many support and query items of each class are drawn.
        invert: draw grey pictures as dark ink on white paper; False for photographs.
    Raises:
        ValueError: items are not pictures, or the number of names does not fit.
    """
    if task.support_y.is_floating_point():
        return _regression_task(task, fig or _pyplot_figure(6.4, 3.4))
    n_way, n_shown = int(task.support_y.max()) + 1, as_integer("n_shown", n_shown)
    if class_names is not None and len(class_names) != n_way:
        raise ValueError(f"class_names has {len(class_names)} entries for {n_way} classes")
    support = _by_class(_pictures(task.support_x, invert), task.support_y, n_way)
    query = _by_class(_pictures(task.query_x, invert), task.query_y, n_way)
    side = max(0.3, min(0.72, 6 / n_way))  # inches a picture
    lines = 2 if side > 0.45 else 1
    names = [f"{c}  {name}" for c, name in enumerate(class_names or [""] * n_way)]
    labels = [_wrap(name, 150, lines) for name in names]
    widths = [max(min(s.shape[1], n_shown) * side, 1.0) for s in (support, query)]
    margin = 0.35 + 0.085 * max(len(line) for label in labels for line in label.split("\n"))
    fig = fig or _pyplot_figure(sum(widths) + margin + 0.2, side * n_way + 0.65)
    axes = fig.subplots(1, 2, width_ratios=widths)
    for ax, name, items in zip(axes, ("support", "query"), (support, query), strict=True):
        shown = items[:, :n_shown]
        _show(ax, _mosaic(shown.reshape(-1, *items.shape[2:]), shown.shape[1]))
        ax.set_anchor("W")
        even = (
            "" if len(getattr(task, f"{name}_y")) == items.shape[0] * items.shape[1] else "up to "
        )
        ax.set_title(f"{name}\n{even}{_count(shown.shape[1], items.shape[1])}", loc="left")
    height = support.shape[2]
    axes[0].set_yticks([c * (height + 1) + height / 2 for c in range(n_way)], labels)
    axes[0].tick_params(length=0, labelsize=SMALL)
    return fig


@_styled
def plot_findings(report: FolderReport, *, n_shown: int = 8, fig: Figure | None = None) -> Figure:
    """Draw what is wrong with a checked folder, worst first: a row for each file or small class.

    Args:
        report: from `check_image_folder`.
        n_shown: at most so many rows.
        fig: to draw on; its size is set.
    """
    found = [finding for finding in report.findings if finding.kind != "other"]
    shown = found[: as_integer("n_shown", n_shown, 0)]
    fig = fig or _pyplot_figure(1, 1)
    fig.set_size_inches(6.8, 0.5 + 0.62 * max(len(shown), 1))
    ax = fig.add_subplot()
    name = _wrap(report.root.name, 300, 1)
    ax.set_title(f"{name}: {len(shown)} of {len(found)} findings", loc="left")
    if not shown:
        _show(ax, np.ones((1, 8, 3)))
        ax.text(0, 0, "nothing suspicious", va="center")
        return fig
    pictures = np.stack([_thumbnail(finding) for finding in shown])
    side = pictures.shape[1]
    _show(ax, np.pad(_mosaic(pictures, 1), ((0, 0), (0, 10 * side), (0, 0)), constant_values=1))
    for i, finding in enumerate(shown):
        name = finding.file.relative_to(report.root).as_posix()
        text = f"{_wrap(name, 400, 1)}\n{_wrap(finding.what, 430, 1)}"
        ax.text(1.3 * side, i * (side + 1) + side / 2, text, va="center", fontsize=SMALL)
    return fig


def _thumbnail(finding: Finding) -> np.ndarray:
    """(56, 56, 3) floats in [0, 1]: the picture, of a class its first four, or a cross."""
    from .tasks.data.folder_layout import pictures

    if finding.kind != "small":
        return _picture_or_cross(finding.file)
    with contextlib.suppress(OSError):  # the folder may be gone
        some = [_picture_or_cross(file)[::2, ::2] for file in pictures(finding.file)[:4]]
        some += [np.ones((28, 28, 3))] * (4 - len(some))
        return np.stack(some).reshape(2, 2, 28, 28, 3).transpose(0, 2, 1, 3, 4).reshape(56, 56, 3)
    return _picture_or_cross(finding.file)


def _picture_or_cross(file: Path) -> np.ndarray:
    """(56, 56, 3) floats in [0, 1]: the picture, or a cross where there is none to see."""
    from .tasks.data.picture import read_picture

    with contextlib.suppress(Exception):  # Pillow raises many kinds on damaged files
        return read_picture(file, (56, 56), 3).tile.numpy().transpose(1, 2, 0) / 255
    cross = np.eye(56) + np.eye(56)[::-1] + np.eye(56, k=1) + np.eye(56, k=1)[::-1]
    return np.repeat(0.92 - 0.5 * np.clip(cross, 0, 1)[..., None], 3, axis=2)


def _count(shown: int, total: int) -> str:
    return f"{total} a class" if shown == total else f"{shown} of {total} a class"


def _regression_task(task: Task, fig: Figure) -> Figure:
    ax = fig.add_subplot()
    support, query = (_array(task.support_x), _array(task.support_y)), task.query_x
    ax.plot(*_flat(*support), "o", color=BLACK, label=f"support, {len(task.support_x)}", zorder=3)
    hollow: Any = {"markerfacecolor": "none", "color": BLUE, "linestyle": "none", "marker": "o"}
    ax.plot(*_flat(query, task.query_y), **hollow, label=f"query, {len(query)}")
    ax.set(xlabel="x", ylabel="y")
    _legend(ax)
    return fig


def _pictures(items: Any, invert: bool) -> np.ndarray:
    """(N, H, W, 3) floats in [0, 1], ready to show, of grey or colour pictures of any range."""
    array = _array(items).astype(float)
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
    rows = [pictures[_array(labels) == c] for c in range(n_way)]
    grid = np.ones((n_way, max(map(len, rows)), *pictures.shape[1:]), pictures.dtype)
    for places, row in zip(grid, rows, strict=True):
        places[: len(row)] = row
    return grid


def _mosaic(pictures: np.ndarray, n_columns: int, below: int = 0) -> np.ndarray:
    """One picture of many: a thin grey frame around each, `below` white rows under each."""
    n, height, width, _ = pictures.shape
    n_rows = -(-n // n_columns)
    cells = np.ones((n_rows * n_columns, height + 1 + below, width + 1, 3))
    cells[:n, : height + 1] = 0.8
    cells[:n, :height, :width] = pictures
    grid = cells.reshape(n_rows, n_columns, *cells.shape[1:])
    return grid.transpose(0, 2, 1, 3, 4).reshape(-1, n_columns * (width + 1), 3)


def _show(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


# ---------------------------------------------------------------- results


@_styled
def plot_history(
    history: History,
    *,
    quantity: str = "loss",
    metric: str = "accuracy",
    unit: str = "nats",
    label: str | None = None,
    index: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a training run: the loss of each outer step and its running mean, or the validation.

    Args:
        history: what `meta_train` returned.
        quantity: "loss" or "validation".
        metric: what the validation measured: "accuracy", or the name of any other score.
        unit: of the loss.
        label: name of the run; an algorithm of LOOK gets its colour.
        index: colour of a run whose name is not in LOOK, to tell several apart.
    Raises:
        ValueError: an unknown quantity, or the history holds none of it.
    """
    values = {"loss": history.losses, "validation": history.val_scores}.get(quantity)
    if values is None:
        raise ValueError(f"quantity must be 'loss' or 'validation', got {quantity!r}")
    if not values:
        raise ValueError(f"the history holds no {quantity}; meta_train with val_tasks records both")
    ax = ax or _pyplot_axes()
    style = look(label or "", index)
    if quantity == "loss":
        width = max(1, len(values) // 50)
        steps, mean = _running_mean(np.asarray(values), width)
        ax.plot(np.arange(1, len(values) + 1), values, color=style["color"], alpha=0.25, lw=0.8)
        name = _label(label or f"mean of {width} steps", 240)
        ax.plot(steps, mean, color=style["color"], label=name)
        ax.set(xlabel="outer step", ylabel=f"meta-training loss ({for_figure(unit)})")
        _legend(ax)
        return ax
    factor, name = (100, "accuracy (%)") if metric == "accuracy" else (1, metric)
    run = _label(label, 240) if label else label
    ax.plot(history.val_steps, factor * np.asarray(values), label=run, **style)
    ax.set(xlabel="outer step", ylabel=f"meta-val {for_figure(name)}")
    _legend(ax)
    return ax


@_styled
def plot_intervals(
    evaluations: Mapping[str, Evaluation], *, split: str = "meta-test", ax: Axes | None = None
) -> Axes:
    """Draw the mean of each evaluation as a dot with its 95 % interval, and the line of chance.

    Args:
        evaluations: by name, all of one metric; names of LOOK get their colour and marker.
        split: where the episodes came from, for the axis label.
    Raises:
        ValueError: none is given, or their metrics differ.
    """
    factor, quantity = _metric(list(evaluations.values()), split)
    ax = ax or _pyplot_axes(6.4, 0.95 + 0.62 * len(evaluations))
    for row, (name, evaluation) in enumerate(evaluations.items()):
        mean, half = factor * evaluation.mean, factor * evaluation.half_width
        ax.errorbar([mean], [row], xerr=[half], ls="none", capsize=4, **look(name, row))
        digits = 1 if factor == 100 else 3
        text = f"{mean:.{digits}f} ± {half:.{digits}f}"
        side = "left" if factor == 100 and mean < 10 else "center"
        place: Any = {"xytext": (0, 7), "textcoords": "offset points", "ha": side}
        place["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        ax.annotate(text, (mean, row), fontsize=SMALL, **place)
        reference = _reference(evaluation)
        if reference is not None:
            ax.vlines(factor * reference, row - 0.5, row + 0.7, color=GREY, ls=":", lw=1.5)
    last = len(evaluations) - 1
    if reference is not None:
        text = f" chance {factor * reference:.3g} %" if reference else " no difference"
        ax.text(factor * reference, last + 0.68, text, fontsize=SMALL, color=GREY, va="bottom")
    ax.set_yticks(range(last + 1), [_wrap(name, 150) for name in evaluations])
    ax.set(ylim=(last + 0.7, -0.7), xlabel=f"{quantity}\n{_intervals(evaluations.values())}")
    if evaluation.metric == "accuracy":
        ax.set_xlim(0, 100)
    else:
        ax.margins(x=0.25)
    return ax


@_styled
def plot_accuracy(
    results: Mapping[str, Mapping[int, Evaluation]],
    *,
    split: str = "meta-test",
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy (or squared error) against n_shot, a line an algorithm, with 95 % intervals.

    Args:
        results: {name: {n_shot: Evaluation}}; names of LOOK get their colour and marker.
        split: where the episodes came from, for the axis label.
    Raises:
        ValueError: none is given, or their metrics differ.
    """
    evaluations = [e for by_shot in results.values() for e in by_shot.values()]
    factor, quantity = _metric(evaluations, split)
    ax = ax or _pyplot_axes()
    for row, (name, by_shot) in enumerate(results.items()):
        shots = sorted(by_shot)
        mean = [factor * by_shot[k].mean for k in shots]
        half = [factor * by_shot[k].half_width for k in shots]
        ax.errorbar(shots, mean, yerr=half, capsize=3, label=_label(name), **look(name, row))
    for chance in sorted({c for e in evaluations if (c := _reference(e)) is not None}):
        ax.axhline(factor * chance, color=GREY, ls=":", label=f"chance {factor * chance:.3g} %")
    ax.set_xscale("log")
    shots = sorted({k for by_shot in results.values() for k in by_shot})
    ax.set_xticks(shots, [str(k) for k in shots])
    ax.minorticks_off()
    ax.set(xlabel="n_shot, support items per class", ylabel=quantity)
    ax.set_title(_intervals(evaluations), loc="left", fontsize=SMALL)
    if evaluations[0].metric == "accuracy":
        ax.set_ylim(0, 100)
    _legend(ax)
    return ax


@_styled
def plot_study(study: Study, *, fig: Figure | None = None) -> Figure:
    """Draw a study: accuracy against meta-training classes, a row a data set, a panel a cell.

    Dots stand a little apart, so that their 95 % intervals can be told apart.

    Args:
        study: with at least one seed that has every cell.
    Raises:
        ValueError: it has none.
    """
    sources = _evidence(study)
    cells = list(product(*sources[0].levels[1:]))
    fig = fig or _pyplot_figure(0.8 + 2.4 * len(cells), 1.2 + 2.3 * len(sources))
    axes = fig.subplots(len(sources), len(cells), sharex="row", sharey=True, squeeze=False)
    for source, row in zip(sources, axes, strict=True):
        for ax, cell in zip(row, cells, strict=True):
            _accuracy_by_classes(ax, source, *cell)
        row[0].set_ylabel(f"{for_figure(source.data.title())}\nmeta-test accuracy (%)")
    for ax in axes[-1]:
        ax.set_xlabel("meta-training classes")
    _legend_below(fig, axes[0, 0], sources[0])
    return fig


def _look_of(algorithm: str, index: int) -> dict[str, Any]:
    """Of an algorithm that a recipe can name: its entry may have a look of its own."""
    from .runs import ALGORITHMS

    return look(ALGORITHMS[algorithm].name, index) | dict(ALGORITHMS[algorithm].look)


def _accuracy_by_classes(ax: Axes, source: Evidence, n_way: int, n_shot: int) -> None:
    from .runs import ALGORITHMS
    from .study.selection import forecast

    sizes = np.array(source.levels[0])
    for i, algorithm in enumerate(source.accuracy):
        found = [forecast(source, algorithm, (n, n_way, n_shot)) for n in sizes]
        mean, low, high = 100 * np.array([(f.accuracy, f.low, f.high) for f in found]).T
        apart = 1.05 ** (i - (len(source.accuracy) - 1) / 2)
        name, style = ALGORITHMS[algorithm].name, _look_of(algorithm, i)
        bars: Any = {"yerr": (mean - low, high - mean), "capsize": 2, "lw": 1.2, "ms": 5}
        ax.errorbar(sizes * apart, mean, **bars, label=name, **style)
    ax.axhline(100 / n_way, color=GREY, ls=":", label="chance")
    ax.set_xscale("log")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    ax.set(ylim=(0, 100))
    ax.set_title(f"{n_way}-way {n_shot}-shot", loc="left")


@_styled
def plot_study_cost(
    study: Study, n_way: int = 5, n_shot: int = 1, *, fig: Figure | None = None
) -> Figure:
    """Draw accuracy against the time to learn a task, a panel a data set.

    Args:
        study: with at least one seed that has every cell; its largest meta-training set counts.
        n_way, n_shot: a cell of the study, or between its cells.
    Raises:
        ValueError: no seed has every cell.
    """
    from .runs import ALGORITHMS
    from .study.selection import cell_costs, forecast

    sources = _evidence(study)
    fig = fig or _pyplot_figure(0.8 + 3.2 * len(sources), 4.2)
    axes = fig.subplots(1, len(sources), sharey=True, squeeze=False)[0]
    for ax, source in zip(axes, sources, strict=True):
        point = source.levels[0][-1], n_way, n_shot
        for i, algorithm in enumerate(source.accuracy):
            found, cost = forecast(source, algorithm, point), cell_costs(source, algorithm, point)
            mean, low, high = (100 * x for x in (found.accuracy, found.low, found.high))
            name, style = ALGORITHMS[algorithm].name, _look_of(algorithm, i)
            bars: Any = {"yerr": [[mean - low], [high - mean]], "ls": "none", "capsize": 3}
            ax.errorbar([cost["adapt_ms"]], [mean], **bars, label=name, **style)
        ax.axhline(100 / n_way, color=GREY, ls=":", label="chance")
        ax.set(xscale="log", ylim=(0, 100), xlabel="ms to learn a task, one core")
        ax.margins(x=0.15)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        title = f"{for_figure(source.data.title())}, {n_way}-way {n_shot}-shot,\n{point[0]} classes"
        ax.set_title(title, loc="left")
    axes[0].set_ylabel("meta-test accuracy (%)")
    _legend_below(fig, axes[0], sources[0])
    return fig


def _evidence(study: Study) -> list[Evidence]:
    from .study.selection import evidence

    return [evidence(study, data) for data in study.values("data")]


def _legend_below(fig: Figure, ax: Axes, source: Evidence) -> None:
    """One legend for all panels, with what the bars are."""
    seeds = f"{source.n_seeds} seeds" if source.n_seeds > 1 else "1 seed (its luck not counted)"
    title = f"bars: 95 % interval, {source.n_episodes} episodes, {seeds}"
    handles, labels = ax.get_legend_handles_labels()
    place: Any = {"loc": "outside lower center", "ncols": 4, "title": title}
    fig.legend(handles, labels, handlelength=1.6, columnspacing=1.2, **place)


@_styled
def plot_curves(
    x: Any,
    curves: Mapping[str, Any],
    *,
    truth: Any = None,
    support: tuple[Any, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw functions of one variable, the true one dashed, and the support points.

    Args:
        x: (n,) or (n, 1), in order.
        curves: {name: y (n,) or (n, 1)}; names of LOOK get their colour.
        truth: y of the true function at x.
        support: (x, y) of the support points.
    """
    ax = ax or _pyplot_axes()
    if truth is not None:
        ax.plot(*_flat(x, truth), color=BLACK, ls="--", lw=1.3, label="truth")
    for row, (name, y) in enumerate(curves.items()):
        dash: Any = ("-", "-.", (0, (4, 1, 1, 1, 1, 1)), ":")[row % 4]
        ax.plot(*_flat(x, y), color=look(name, row)["color"], ls=dash, label=_label(name))
    if support is not None:
        ax.plot(*_flat(*support), "o", color=BLACK, label="support", zorder=3)
    ax.set(xlabel="x", ylabel="y")
    _legend(ax)
    return ax


@_styled
def plot_embedding(
    z: Any,
    labels: Any,
    *,
    prototypes: Any = None,
    class_names: Sequence[str] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw embedded items in the plane, a colour and marker a class, and the prototypes.

    Args:
        z: (N, 2); project longer embeddings first.
        labels: (N,) episode labels.
        prototypes: (n_way, 2), drawn large, with their label inside.
        class_names: (n_way,) for the legend; default: the labels.
        legend: False leaves it to you.
    Raises:
        ValueError: the embeddings are not in the plane.
    """
    points, labels = _array(z), _array(labels)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"z must be (N, 2), got {points.shape}; project it on two axes first")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"labels must be one an item: {len(points)} items, labels {labels.shape}")
    if class_names is not None and not np.isin(labels, range(len(class_names))).all():
        raise ValueError(
            f"class_names has {len(class_names)} entries for labels up to {labels.max()}"
        )
    ax = ax or _pyplot_axes(5.6, 4)
    for label in np.unique(labels):
        name = str(label) if class_names is None else _label(f"{label}  {class_names[label]}")
        mine = points[labels == label]
        ax.plot(*mine.T, ls="none", ms=6, alpha=0.7, mew=0, label=name, **class_look(int(label)))
    for label, centre in enumerate([] if prototypes is None else _array(prototypes)):
        color = class_look(label)["color"]
        ax.plot(*centre, "o", ms=19, color="white", mec=color, mew=2.5, zorder=4)
        ax.text(
            centre[0],
            centre[1],
            str(label),
            ha="center",
            va="center_baseline",
            fontsize=SMALL,
            zorder=5,
        )
    ax.set(xlabel="first axis (embedding units)", ylabel="second axis (embedding units)")
    ax.set_aspect("equal", adjustable="datalim")
    if legend:
        _legend(ax, title="label")
    return ax


def _metric(evaluations: Sequence[Evaluation], split: str) -> tuple[int, str]:
    """Factor from code to axis, and the name of the quantity with its unit."""
    metrics = sorted({evaluation.metric for evaluation in evaluations})
    if len(metrics) != 1:
        raise ValueError(f"need evaluations of one metric, got {metrics or 'no evaluation'}")
    names = {
        "accuracy": (100, f"{split} accuracy (%)"),
        "difference of accuracy": (100, f"difference of {split} accuracy (percentage points)"),
        "mse": (1, f"{split} mean squared error"),
    }
    factor, quantity = names.get(metrics[0], (1, f"{split} {metrics[0]}"))
    return factor, for_figure(quantity)


def _reference(evaluation: Evaluation) -> float | None:
    """What the mean is held against: chance, or 0 for a difference."""
    return 0.0 if evaluation.metric.startswith("difference") else evaluation.chance


def _intervals(evaluations: Any) -> str:
    counts = sorted({evaluation.n_episodes for evaluation in evaluations})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"bars: 95 % interval over {number} episodes"


def _running_mean(values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and means of `width` values; each mean stands at the middle of its values."""
    mean = np.convolve(values, np.ones(width) / width, mode="valid")
    return np.arange(len(mean)) + (width + 1) / 2, mean


# ---------------------------------------------------------------- shared


def _pyplot_figure(width: float, height: float) -> Figure:
    import matplotlib.pyplot as plt  # loaded late: it chooses the backend

    return plt.figure(figsize=(width, height), layout="constrained")


def _pyplot_axes(width: float = 6.4, height: float = 3.6) -> Axes:
    return _pyplot_figure(width, height).add_subplot()


def _legend(ax: Axes, title: str | None = None) -> None:
    """A legend on the right of the axes, where it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        columns = 1 + (len(labels) - 1) // 11
        place: Any = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "title": title}
        ax.legend(handles, labels, ncols=columns, columnspacing=0.8, handlelength=1.6, **place)


def _label(name: Any, points: float = 130) -> str:
    """A name for a legend, which would leave out what begins with an underscore."""
    text = _wrap(name, points)
    return f" {text}" if text.startswith("_") else text


def _wrap(text: Any, points: float, max_lines: int = 2) -> str:
    """A name in at most `max_lines` lines, each about `points` wide, as Matplotlib takes it."""
    width = max(4, int(points / (0.56 * SMALL)))
    lines = textwrap.wrap(str(text).rstrip(), width, max_lines=max_lines, placeholder=" …")
    return for_figure("\n".join(lines))  # now, so that no escape is cut in two


def _array(values: Any) -> np.ndarray:
    """A tensor, array or list as a NumPy array."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    values = values.detach().cpu()  # NumPy has no bfloat16
    return np.asarray(values.float() if "bfloat16" in str(values.dtype) else values)


def _flat(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    return _array(x).reshape(-1), _array(y).reshape(-1)
