"""Results: training runs, and scores with their 95 % interval and the line of chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes

from ..basics.names import for_figure
from .reading import plain
from .style import GREY, SMALL, add_legend, legend_label, look, pyplot_axes, styled, wrap
from .words import add_words

__all__ = ["plot_accuracy", "plot_history", "plot_intervals"]


class Training(Protocol):
    """The parts of a training run that are drawn: `training.History`, without importing it."""

    @property
    def losses(self) -> Sequence[float]:
        """Meta-training loss of each step."""

    @property
    def val_steps(self) -> Sequence[int]:
        """Steps after which the run was validated."""

    @property
    def val_scores(self) -> Sequence[float]:
        """Score of each validation."""


class Scores(Protocol):
    """The parts of an evaluation that are drawn: `evaluation.Evaluation`, without importing it."""

    @property
    def metric(self) -> str:
        """Such as "accuracy" (fractions), "mse" or "difference of accuracy"."""

    @property
    def mean(self) -> float:
        """Mean over episodes."""

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval of the mean."""

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""

    @property
    def chance(self) -> float | None:
        """Score of a random guess; None if there is none."""


@styled
def plot_history(
    history: Training,
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
        ValueError: an unknown quantity, or the history does not hold it.
    """
    values = {"loss": history.losses, "validation": history.val_scores}.get(quantity)
    if values is None:
        raise ValueError(f"quantity must be 'loss' or 'validation', got {quantity!r}")
    if not values:
        raise ValueError(f"the history holds no {quantity}; meta_train with val_tasks records both")
    ax = ax or pyplot_axes()
    style, run = look(label or "", index), legend_label(label, 240) if label else None
    if quantity == "loss":
        _losses(ax, np.asarray(values), run, style["color"])
        ax.set(xlabel="outer step", ylabel=f"meta-training loss ({for_figure(unit)})")
    else:
        factor, name = (100, "accuracy (%)") if metric == "accuracy" else (1, metric)
        ax.plot(history.val_steps, factor * np.asarray(values), label=run, **style)
        ax.set(xlabel="outer step", ylabel=f"meta-val {for_figure(name)}")
    add_legend(ax)
    return ax


def _losses(ax: Axes, values: np.ndarray, run: str | None, color: str) -> None:
    """The loss of each step, pale, and its running mean."""
    width = max(1, len(values) // 50)
    steps, mean = _running_mean(values, width)
    ax.plot(np.arange(1, len(values) + 1), values, color=color, alpha=0.25, lw=0.8)
    ax.plot(steps, mean, color=color, label=run or f"mean of {width} steps")


@styled
def plot_intervals(
    evaluations: Mapping[str, Scores], *, split: str = "meta-test", ax: Axes | None = None
) -> Axes:
    """Draw the mean of each evaluation as a dot with its 95 % interval, and the line of chance.

    Args:
        evaluations: by name, all of one metric; names of LOOK get their colour and marker.
        split: where the episodes came from, for the axis label.
    Raises:
        ValueError: none is given, or their metrics differ.
    """
    factor, quantity = _metric(list(evaluations.values()), split)
    ax = ax or pyplot_axes(6.4, 0.95 + 0.62 * len(evaluations))
    for row, (name, evaluation) in enumerate(evaluations.items()):
        mean, half = factor * evaluation.mean, factor * evaluation.half_width
        ax.errorbar([mean], [row], xerr=[half], ls="none", capsize=4, **look(name, row))
        _in_numbers(ax, row, mean, half, in_percent=factor == 100)
        reference = _reference(evaluation)
        if reference is not None:
            ax.vlines(factor * reference, row - 0.5, row + 0.7, color=GREY, ls=":", lw=1.5)
    last = len(evaluations) - 1
    if reference is not None:
        text = f" chance {factor * reference:.3g} %" if reference else " no difference"
        ax.text(factor * reference, last + 0.68, text, fontsize=SMALL, color=GREY, va="bottom")
    ax.set_yticks(range(last + 1), [wrap(name, 150) for name in evaluations])
    ax.set(ylim=(last + 0.7, -0.7), xlabel=f"{quantity}\n{_intervals(evaluations.values())}")
    if evaluation.metric == "accuracy":
        ax.set_xlim(0, 100)
    else:
        ax.margins(x=0.25)
    add_words(ax, _scores_in_words(evaluations, split))
    return ax


def _in_numbers(ax: Axes, row: int, mean: float, half: float, in_percent: bool) -> None:
    """Mean and interval above the dot."""
    digits = 1 if in_percent else 3
    side = "left" if in_percent and mean < 10 else "center"
    place: Any = {"xytext": (0, 7), "textcoords": "offset points", "ha": side}
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    text = f"{mean:.{digits}f} ± {half:.{digits}f}"
    ax.annotate(text, (mean, row), fontsize=SMALL, **place)


@styled
def plot_accuracy(
    results: Mapping[str, Mapping[int, Scores]],
    *,
    split: str = "meta-test",
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy (or squared error) against n_shot, a line per algorithm, with 95 % intervals.

    Args:
        results: {name: {n_shot: Evaluation}}; names of LOOK get their colour and marker.
        split: where the episodes came from, for the axis label.
    Raises:
        ValueError: none is given, or their metrics differ.
    """
    evaluations = [e for by_shot in results.values() for e in by_shot.values()]
    factor, quantity = _metric(evaluations, split)
    ax = ax or pyplot_axes()
    for row, (name, by_shot) in enumerate(results.items()):
        shots = sorted(by_shot)
        mean = [factor * by_shot[k].mean for k in shots]
        half = [factor * by_shot[k].half_width for k in shots]
        ax.errorbar(shots, mean, yerr=half, capsize=3, label=legend_label(name), **look(name, row))
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
    add_legend(ax)
    add_words(ax, _ways_in_words(results, quantity, factor))
    return ax


def _ways_in_words(results: Mapping[str, Mapping[int, Scores]], quantity: str, factor: int) -> str:
    """The score of each line at its first and last number of shots."""
    lines = []
    for name, by_shot in results.items():
        ends = dict.fromkeys((min(by_shot), max(by_shot)))
        lines.append(f"{name} " + ", ".join(f"{factor * by_shot[k].mean:.3g} at {k}" for k in ends))
    return f"{plain(quantity)} against n_shot, with 95 % intervals: {'; '.join(lines)}."


def _scores_in_words(evaluations: Mapping[str, Scores], split: str) -> str:
    """Each score with its interval, the highest score, and what they are compared with."""
    factor, quantity = _metric(list(evaluations.values()), split)
    digits = 1 if factor == 100 else 3
    scores = ", ".join(
        f"{name} {factor * e.mean:.{digits}f} ± {factor * e.half_width:.{digits}f}"
        for name, e in evaluations.items()
    )
    words = f"Dots with 95 % intervals, {plain(quantity)}: {scores}."
    if len(evaluations) > 1:
        words += f" Highest: {max(evaluations, key=lambda name: evaluations[name].mean)}."
    reference = _reference(list(evaluations.values())[-1])
    return words if reference is None else f"{words} {_reference_in_words(factor * reference)}."


def _reference_in_words(reference: float) -> str:
    return f"Dotted line: {f'chance, {reference:.3g} %' if reference else 'no difference'}"


def _metric(evaluations: Sequence[Scores], split: str) -> tuple[int, str]:
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


def _reference(evaluation: Scores) -> float | None:
    """What the mean is compared with: chance, or 0 for a difference."""
    return 0.0 if evaluation.metric.startswith("difference") else evaluation.chance


def _intervals(evaluations: Iterable[Scores]) -> str:
    """What the bars are, in words."""
    counts = sorted({evaluation.n_episodes for evaluation in evaluations})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"bars: 95 % interval over {number} episodes"


def _running_mean(values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and means of `width` values; each mean stands at the middle of its values."""
    mean = np.convolve(values, np.ones(width) / width, mode="valid")
    return np.arange(len(mean)) + (width + 1) / 2, mean
