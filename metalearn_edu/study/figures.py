"""A study as a figure: accuracy against meta-training classes, cost and time of training.

Accuracies crowd where they are high, so their axis is that of the logit: from 90 to 95 % is about
as far as from 80 to 90 %.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ..basics.names import for_figure
from ..plotting.style import GREY, look, pyplot_figure, styled
from ..plotting.words import add_words
from ..runs import ALGORITHMS
from .estimates import forecast
from .evidence import Evidence, by_moment, cell_costs, sources_of
from .table import Study

__all__ = ["accuracy_axis", "look_of", "plot_study", "plot_study_cost", "plot_study_times"]

TICKS = (2, 5, 10, 20, 40, 60, 80, 90, 95, 98)  # percent


@styled
def plot_study(study: Study, *, fig: Figure | None = None) -> Figure:
    """Draw a study: accuracy against meta-training classes, a row per data set, a panel per cell.

    Dots are shifted a little, so that their 95 % intervals can be told apart.

    Args:
        study: with at least one seed that has every cell.
    Raises:
        ValueError: no seed has every cell.
    """
    sources = sources_of(study)
    cells = list(product(*sources[0].levels[1:]))
    fig = fig or pyplot_figure(0.8 + 2.4 * len(cells), 1.2 + 2.3 * len(sources))
    axes = fig.subplots(len(sources), len(cells), sharex="row", sharey=True, squeeze=False)
    for source, row in zip(sources, axes, strict=True):
        for ax, cell in zip(row, cells, strict=True):
            _accuracy_by_classes(ax, source, *cell)
        row[0].set_ylabel(f"{for_figure(source.data.title())}\nmeta-test accuracy (%)")
    for ax in axes[-1]:
        ax.set_xlabel("meta-training classes")
    _legend_below(fig, axes[0, 0], sources[0])
    panels = [_classes_in_words(source, *cell) for source in sources for cell in cells]
    text = "Meta-test accuracy against the number of meta-training classes, by algorithm. "
    add_words(fig, text + " ".join(panels))
    return fig


def _classes_in_words(source: Evidence, n_way: int, n_shot: int) -> str:
    """Each algorithm's accuracy with the fewest and the most classes, the best one first."""
    few, many = source.levels[0][0], source.levels[0][-1]
    found = {
        a: [100 * forecast(source, a, (n, n_way, n_shot)).accuracy for n in (few, many)]
        for a in source.accuracy
    }
    ranked = sorted(found, key=lambda a: -found[a][1])
    lines = [
        f"{ALGORITHMS[a].name_in_study} {found[a][0]:.1f} to {found[a][1]:.1f} %" for a in ranked
    ]
    title = f"{source.data.title()}, {n_way}-way {n_shot}-shot, {few} to {many} classes"
    return f"{title}: {', '.join(lines)}; chance {100 / n_way:.3g} %."


def look_of(algorithm: str, index: int) -> dict[str, Any]:
    """The look of an algorithm that a recipe can name; its entry may define one."""
    entry = ALGORITHMS[algorithm]
    return look(entry.name, index) | dict(entry.look)


def _accuracy_by_classes(ax: Axes, source: Evidence, n_way: int, n_shot: int) -> None:
    sizes = np.array(source.levels[0])
    for i, algorithm in enumerate(source.accuracy):
        found = [forecast(source, algorithm, (n, n_way, n_shot)) for n in sizes]
        mean, low, high = 100 * np.array([(f.accuracy, f.low, f.high) for f in found]).T
        apart = 1.05 ** (i - (len(source.accuracy) - 1) / 2)
        name, style = ALGORITHMS[algorithm].name_in_study, look_of(algorithm, i)
        bars: Any = {"yerr": (mean - low, high - mean), "capsize": 2, "lw": 1.2, "ms": 5}
        ax.errorbar(sizes * apart, mean, **bars, label=name, **style)
    ax.axhline(100 / n_way, color=GREY, ls=":", label="chance")
    ax.set_xscale("log")
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    accuracy_axis(ax)
    ax.set_title(f"{n_way}-way {n_shot}-shot", loc="left")


def accuracy_axis(ax: Axes, low: float = 4, high: float = 99) -> None:
    """Make the upright axis one of percent at the distances of their logits."""
    ax.set_yscale("function", functions=(_logit, _percent))
    ax.set_ylim(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()


def _logit(percent: Any) -> np.ndarray:
    p = np.clip(np.asarray(percent, dtype=float) / 100, 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p))


def _percent(logit: Any) -> np.ndarray:
    return 100 / (1 + np.exp(-np.asarray(logit, dtype=float)))


@styled
def plot_study_times(study: Study, *, fig: Figure | None = None) -> Figure:
    """Draw accuracy against the processor time of the training, a panel for each cell.

    Args:
        study: one that scores each training several times; its largest meta-training set counts.
    Raises:
        ValueError: it scores each once, or no seed has every cell.
    """
    moments = by_moment(study)
    sources = next(iter(moments.values()))
    cells = [(s, c) for s in range(len(sources)) for c in product(*sources[s].levels[1:])]
    fig = fig or pyplot_figure(1.0 + 3.6 * len(cells), 4.6)
    axes = fig.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for ax, (number, cell) in zip(axes, cells, strict=True):
        _accuracy_by_time(ax, {t: found[number] for t, found in moments.items()}, cell)
    axes[0].set_ylabel("meta-test accuracy (%)")
    _legend_below(fig, axes[0], sources[0])
    text = "Meta-test accuracy against seconds of training on one core, by algorithm. "
    add_words(fig, text + " ".join(_times_in_words(moments, n, cell) for n, cell in cells))
    return fig


def _accuracy_by_time(ax: Axes, moments: dict[float, Evidence], cell: tuple[int, ...]) -> None:
    seconds, last = np.array(list(moments)), next(reversed(moments.values()))
    point = last.levels[0][-1], *cell
    for i, algorithm in enumerate(last.accuracy):
        found = [forecast(source, algorithm, point) for source in moments.values()]
        mean, low, high = 100 * np.array([(f.accuracy, f.low, f.high) for f in found]).T
        apart = 1.03 ** (i - (len(last.accuracy) - 1) / 2)
        bars: Any = {"yerr": (mean - low, high - mean), "capsize": 2, "lw": 1.2, "ms": 5}
        name, style = ALGORITHMS[algorithm].name_in_study, look_of(algorithm, i)
        ax.errorbar(seconds * apart, mean, **bars, label=name, **style)
    ax.axhline(100 / cell[0], color=GREY, ls=":", label="chance")
    ax.set_xscale("log")
    ax.set_xticks(seconds, [f"{t:g}" for t in seconds])
    accuracy_axis(ax, 15)
    ax.set(xlabel="seconds of training, one core")
    title = f"{for_figure(last.data.title())}, {cell[0]}-way {cell[1]}-shot, {point[0]} classes"
    ax.set_title(title, loc="left")


def _times_in_words(
    moments: dict[float, list[Evidence]], number: int, cell: tuple[int, ...]
) -> str:
    """Each algorithm's accuracy after the shortest and the longest time, the best one first."""
    first, last = (list(moments.values())[i][number] for i in (0, -1))
    point = last.levels[0][-1], *cell
    found = {
        a: [100 * forecast(s, a, point).accuracy for s in (first, last)] for a in last.accuracy
    }
    ranked = sorted(found, key=lambda a: -found[a][1])
    lines = [
        f"{ALGORITHMS[a].name_in_study} {found[a][0]:.1f} to {found[a][1]:.1f} %" for a in ranked
    ]
    times = f"{min(moments):g} to {max(moments):g} seconds"
    title = f"{last.data.title()}, {cell[0]}-way {cell[1]}-shot, {times}"
    return f"{title}: {', '.join(lines)}; chance {100 / cell[0]:.3g} %."


@styled
def plot_study_cost(
    study: Study, n_way: int = 5, n_shot: int = 1, *, fig: Figure | None = None
) -> Figure:
    """Draw accuracy against the time to learn a task, one panel per data set.

    Args:
        study: with at least one seed that has every cell; we use its largest meta-training set.
        n_way, n_shot: a cell of the study, or a point between its cells.
    Raises:
        ValueError: no seed has every cell.
    """
    sources = sources_of(study)
    fig = fig or pyplot_figure(0.8 + 3.2 * len(sources), 4.2)
    axes = fig.subplots(1, len(sources), sharey=True, squeeze=False)[0]
    for ax, source in zip(axes, sources, strict=True):
        _accuracy_by_cost(ax, source, n_way, n_shot)
    axes[0].set_ylabel("meta-test accuracy (%)")
    _legend_below(fig, axes[0], sources[0])
    panels = [_cost_in_words(source, n_way, n_shot) for source in sources]
    text = "Meta-test accuracy against the milliseconds to learn a task on one core, by algorithm. "
    add_words(fig, text + " ".join(panels))
    return fig


def _cost_in_words(source: Evidence, n_way: int, n_shot: int) -> str:
    """Accuracy and cost of each algorithm, the cheapest first."""
    point = source.levels[0][-1], n_way, n_shot
    costs = {a: cell_costs(source, a, point)["adapt_ms"] for a in source.accuracy}
    dots = [
        f"{ALGORITHMS[a].name_in_study} {100 * forecast(source, a, point).accuracy:.1f} % in "
        f"{costs[a]:.3g} ms"
        for a in sorted(costs, key=lambda a: costs[a])
    ]
    title = f"{source.data.title()}, {n_way}-way {n_shot}-shot, {point[0]} classes"
    return f"{title}: {', '.join(dots)}; chance {100 / n_way:.3g} %."


def _accuracy_by_cost(ax: Axes, source: Evidence, n_way: int, n_shot: int) -> None:
    point = source.levels[0][-1], n_way, n_shot
    for i, algorithm in enumerate(source.accuracy):
        found, cost = forecast(source, algorithm, point), cell_costs(source, algorithm, point)
        mean, low, high = (100 * x for x in (found.accuracy, found.low, found.high))
        name, style = ALGORITHMS[algorithm].name_in_study, look_of(algorithm, i)
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


def _legend_below(fig: Figure, ax: Axes, source: Evidence) -> None:
    """One legend for all panels, with what the bars are."""
    seeds = f"{source.n_seeds} seeds" if source.n_seeds > 1 else "1 seed (its luck not counted)"
    title = f"bars: 95 % interval, {source.n_episodes} episodes, {seeds}"
    handles, labels = ax.get_legend_handles_labels()
    place: Any = {"loc": "outside lower center", "ncols": 3, "title": title}
    fig.legend(handles, labels, handlelength=1.6, columnspacing=1.2, **place)
