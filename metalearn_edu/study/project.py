"""A small project, from what was predicted to what may be claimed. Introduced in notebook 12.

A report holds the scores of a few seeds on one set of meta-test episodes, and those of a network to
compare with on the same episodes. Its figures follow from them by the formula of `estimates`, so
that they cannot be typed in; its objections are what a strict reader would say first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..basics.arguments import as_choice, as_number
from ..plotting.style import BLACK, BLUE, GREY, VERMILLION, pyplot_figure, styled
from ..plotting.words import add_words
from .estimates import Estimate, estimate

__all__ = ["CLAIMS", "Prediction", "ProjectReport", "plot_project"]

CLAIMS = ("better", "worse", "cannot tell")
SPLITS = ("meta-train", "meta-val", "meta-test")
FEWEST_SEEDS, FEWEST_EPISODES, MOST_MINUTES, WIDEST = 3, 100, 10.0, 0.2


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What somebody expects before the training.

    Attributes:
        question: what the project asks, in a sentence.
        low, high: the accuracy is expected between these, as fractions.
        against: compared with the other network: one of CLAIMS.
    Raises:
        ValueError: low is not below high, they do not lie in 0..1, or `against` is something else.
    """

    question: str
    low: float
    high: float
    against: str

    def __post_init__(self) -> None:
        as_choice("against", self.against, CLAIMS)
        low, high = as_number("low", self.low), as_number("high", self.high)
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"low and high must be fractions with low below high, such as 0.9 and 0.95; "
                f"got {low} and {high}"
            )

    def __str__(self) -> str:
        return f"{100 * self.low:.1f} to {100 * self.high:.1f} %, against the other: {self.against}"


@dataclass(frozen=True, kw_only=True)
class ProjectReport:
    """What came out of a project.

    Attributes:
        prediction: written before the training.
        accuracy: (seeds, episodes) fractions, every seed on the same meta-test episodes.
        other: (episodes,) of the network to compare with, on the same episodes.
        claim: what the author says of the difference: one of CLAIMS.
        tried: every setting that was trained, the reported one included.
        chosen_on: the split on which the reported setting was chosen among them.
        minutes: of training, all seeds of the reported setting together.
    Raises:
        ValueError: shapes that do not fit, an unknown claim or split, or nothing tried.
    """

    prediction: Prediction
    accuracy: np.ndarray
    other: np.ndarray
    claim: str
    tried: Sequence[str]
    chosen_on: str
    minutes: float

    def __post_init__(self) -> None:
        as_choice("claim", self.claim, CLAIMS)
        as_choice("chosen_on", self.chosen_on, SPLITS)
        as_number("minutes", self.minutes, above=0)
        shape, other = np.shape(self.accuracy), np.shape(self.other)
        if len(shape) != 2 or min(shape) < 1 or shape[1] < 2 or other != shape[1:]:
            raise ValueError(
                "accuracy must be (seeds, episodes), with 2 episodes or more, and other (episodes,)"
                f" of the same episodes; got {shape} and {other}"
            )
        if isinstance(self.tried, str) or not self.tried:
            raise ValueError("tried must list every setting that was trained, at least one")

    @property
    def measured(self) -> Estimate:
        """The accuracy; its interval counts the luck of training and that of the episodes."""
        return _estimate(self.accuracy)

    @property
    def difference(self) -> Estimate:
        """Accuracy less that of the other network, paired by episode."""
        return _estimate(np.asarray(self.accuracy) - np.asarray(self.other))

    @property
    def verdict(self) -> str:
        """What the interval of the difference allows to claim."""
        gap = self.difference
        if abs(gap.value) <= gap.half_width:
            return "cannot tell"
        return "better" if gap.value > 0 else "worse"

    @property
    def surprise(self) -> float:
        """How far the accuracy lies outside the predicted range; 0 inside it, below it negative."""
        mean, expected = self.measured.value, self.prediction
        return min(0.0, mean - expected.low) + max(0.0, mean - expected.high)

    @property
    def objections(self) -> list[str]:
        """What a strict reader would say first; none if the list is empty."""
        return [*_of_size(self), *_of_choice(self)]

    def __str__(self) -> str:
        n_seeds, n_episodes = np.shape(self.accuracy)
        by_seed = ", ".join(f"{100 * a:.1f}" for a in np.asarray(self.accuracy).mean(axis=1))
        rows = {
            "question": self.prediction.question,
            "predicted": str(self.prediction),
            "measured": f"{_percent(self.measured)} ({n_seeds} seeds, {n_episodes} episodes)",
            "by seed": f"{by_seed} %",
            "prediction": _in_words(self.surprise),
            "the other": f"{100 * np.asarray(self.other).mean():.1f} % on the same episodes",
            "difference": f"{_points(self.difference)}: {self.verdict}",
            "claim": self.claim,
            "tried": f"{len(self.tried)}, chosen on {self.chosen_on}: {'; '.join(self.tried)}",
            "training": f"{self.minutes:.1f} minutes",
            "objections": "; ".join(self.objections) or "none that figures alone can show",
        }
        return "\n".join(f"{name:<12}{text}" for name, text in rows.items())

    __repr__ = __str__


def _estimate(scores: np.ndarray) -> Estimate:
    """Of scores (seeds, episodes) in one cell of a study."""
    return estimate(np.asarray(scores, dtype=float)[None, None, None])


def _of_size(report: ProjectReport) -> Iterator[str]:
    """Whether the experiment is large enough for its figures."""
    n_seeds, n_episodes = np.shape(report.accuracy)
    if n_seeds < FEWEST_SEEDS:
        yield f"{n_seeds} seeds show little of the luck of training; train {FEWEST_SEEDS}"
    if n_episodes < FEWEST_EPISODES:
        yield f"{n_episodes} episodes are few; score {FEWEST_EPISODES} or more"
    if report.minutes > MOST_MINUTES:
        yield f"{report.minutes:.1f} minutes of training, where {MOST_MINUTES:g} were allowed"
    if report.minutes < 1:
        yield f"{60 * report.minutes:.0f} seconds of training: a trial run, not a result"


def _of_choice(report: ProjectReport) -> Iterator[str]:
    """Whether something was chosen, predicted or claimed that the data do not carry."""
    if report.chosen_on == "meta-test":
        yield "chosen on meta-test, so the figure is too good by an unknown amount"
    if report.chosen_on == "meta-train" and len(report.tried) > 1:
        yield "chosen on meta-train, where the winner may be the one that overfits most"
    width = report.prediction.high - report.prediction.low
    if width > WIDEST:
        yield f"a prediction {100 * width:.0f} points wide can hardly fail"
    if report.claim != report.verdict:
        yield (
            f"the claim is {report.claim!r}, but {_points(report.difference)} "
            f"allows {report.verdict!r}"
        )


def _percent(found: Estimate) -> str:
    return f"{100 * found.value:.1f} % +- {100 * found.half_width:.1f}"


def _points(found: Estimate) -> str:
    return f"{100 * found.value:+.1f} points +- {100 * found.half_width:.1f}"


def _in_words(surprise: float) -> str:
    if surprise == 0:
        return "right: the mean lies in the predicted range"
    side = "above" if surprise > 0 else "below"
    return f"wrong: the mean lies {100 * abs(surprise):.1f} points {side} the predicted range"


@styled
def plot_project(report: ProjectReport, *, fig: Figure | None = None) -> Figure:
    """Draw a report: the predicted range, each seed, their mean with its interval, the other."""
    fig = fig or pyplot_figure(7.2, 2.5)
    ax = fig.add_subplot()
    expected, found = report.prediction, report.measured
    ax.axvspan(100 * expected.low, 100 * expected.high, color="0.88", label="predicted")
    seeds = 100 * np.asarray(report.accuracy).mean(axis=1)
    ax.plot(seeds, [2] * len(seeds), "o", ms=8, mfc="none", color=BLUE)
    _interval(ax, 1, found, color=BLACK, marker="s")
    other = _estimate(np.asarray(report.other)[None])
    _interval(ax, 0, other, color=VERMILLION, marker="D")
    rows = ["the other network", "mean of the seeds", "each seed"]
    ax.set(yticks=range(3), yticklabels=rows, ylim=(-0.6, 2.6), xlabel="meta-test accuracy (%)")
    ax.grid(axis="x", color=GREY, alpha=0.3)
    ax.set_title(f"difference {_points(report.difference)}: {report.verdict}")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    listed = ", ".join(f"{seed:.1f}" for seed in seeds)
    add_words(
        ax,
        f"Predicted {expected}. Seeds {listed} %; mean {_percent(found)}. The other network "
        f"{_percent(other)}, 95 % intervals.",
    )
    return fig


def _interval(ax: Axes, y: float, found: Estimate, *, color: str, marker: str) -> None:
    """A mean in percent with its 95 % interval."""
    half = 100 * found.half_width
    ax.errorbar(100 * found.value, y, xerr=half, fmt=marker, ms=8, capsize=4, color=color)
