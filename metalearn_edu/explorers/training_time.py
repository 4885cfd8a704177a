"""Minutes of training as a slider: who leads when? Introduced in notebook 11."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from ipywidgets import Dropdown, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plotting.style import BLACK, GREY
from ..runs import ALGORITHMS
from ..study.estimates import Forecast, forecast, sigmoid
from ..study.evidence import by_moment
from ..study.figures import accuracy_axis, look_of
from ..study.table import OVER_TIME, Study, load_study
from .algorithms import draw_ranking
from .base import Explorer

__all__ = ["TrainingTimeExplorer"]

STOPS = 4  # from one measured time to the next


class TrainingTimeExplorer(Explorer):
    """Accuracy while the training goes on, and the order of the algorithms at each moment.

    Args:
        study: one that scores each training several times; default: the stored one. Its first data
            set and its largest meta-training set are shown.
        state: first values of the controls.
    """

    title = "Who leads, after how long?"
    question = (
        "Which lines cross, and when? Does any line become flat before the end? Which algorithm "
        "would you not judge yet?"
    )
    size = (9.6, 4.2)
    text_height = 112

    def __init__(self, study: Study | None = None, **state: Any) -> None:
        moments = by_moment(load_study(OVER_TIME) if study is None else study)
        self.moments = {seconds: sources[0] for seconds, sources in moments.items()}
        self.source = next(iter(self.moments.values()))
        self._known: dict[tuple[float, tuple[int, int]], dict[str, Forecast]] = {}
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """The time, and the tasks that score."""
        stops = _stops(list(self.moments))
        cells = [(way, shot) for way in self.source.levels[1] for shot in self.source.levels[2]]
        return {
            "seconds": SelectionSlider(
                options=[(f"{seconds:.3g}", seconds) for seconds in stops],
                value=stops[0],
                description="seconds of training, one core",
            ),
            "cell": Dropdown(
                options=[(f"{way}-way {shot}-shot", (way, shot)) for way, shot in cells],
                description="tasks",
            ),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """On the left the training so far, on the right who leads now."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.07, "right": 0.985, "top": 0.9, "bottom": 0.15, "wspace": 0.62}
        left, right = fig.subplots(1, 2, gridspec_kw=place)
        self._draw_training(left, **state)
        draw_ranking(right, self._found(**state), 100 / state["cell"][0])
        right.set_title(f"after {state['seconds']:.3g} seconds; dotted: chance", loc="left")

    def describe(self, **state: Any) -> str:
        """The order now, and who has passed whom since the first moment."""
        found = self._found(**state)
        ranked = sorted(found, key=lambda name: -found[name].accuracy)
        lines = [f"{ALGORITHMS[n].name_in_study} {100 * found[n].accuracy:.1f} %" for n in ranked]
        seeds = f"{self.source.n_seeds} seeds" if self.source.n_seeds > 1 else "1 seed"
        measured = state["seconds"] in self.moments
        how = "measured" if measured else "interpolated between two measured times"
        way, shot = state["cell"]
        return (
            f"After {state['seconds']:.3g} seconds of training on one core, {way}-way {shot}-shot "
            f"tasks of {self.source.data}, {seeds}, {how}: {', '.join(lines)}. "
            f"{self._passed(ranked, state['cell'])}"
        )

    def _passed(self, ranked: list[str], cell: tuple[int, int]) -> str:
        """Who has passed whom since the first moment."""
        start = self._found(next(iter(self.moments)), cell)
        passed = [
            f"{ALGORITHMS[a].name} has passed {ALGORITHMS[b].name}"
            for i, a in enumerate(ranked)
            for b in ranked[i + 1 :]
            if start[a].accuracy < start[b].accuracy
        ]
        return (
            f"By the means, since the start {', '.join(passed)}."
            if passed
            else "The order is the same as at the start."
        )

    def _draw_training(self, ax: Axes, seconds: float, cell: tuple[int, int]) -> None:
        times = np.array(list(self.moments))
        for i, name in enumerate(self.source.accuracy):
            values = [100 * self._found(t, cell)[name].accuracy for t in times]
            style = look_of(name, i)
            ax.plot(times, values, color=style["color"], lw=1, alpha=0.35)
            before = times <= seconds
            now = [*np.array(values)[before], 100 * self._found(seconds, cell)[name].accuracy]
            ax.plot([*times[before], seconds], now, **style, lw=2, ms=6)
        ax.axvline(seconds, color=BLACK, lw=1)
        ax.axhline(100 / cell[0], color=GREY, ls=":")
        accuracy_axis(ax, 80 / cell[0])
        ax.set(xscale="log", xlabel="seconds of training, one core")
        ax.set_ylabel("meta-test accuracy (%)")
        ax.set_xticks(times, [f"{t:g}" for t in times])
        ax.minorticks_off()
        classes = self.source.levels[0][-1]
        ax.set_title(f"{self.source.data}, {cell[0]}-way {cell[1]}-shot, {classes} classes")

    def _found(self, seconds: float, cell: tuple[int, int]) -> dict[str, Forecast]:
        """What each algorithm reaches; between measured times logits lie on a straight line."""
        times = list(self.moments)
        after = next(t for t in times if t >= seconds)
        before = max((t for t in times if t <= seconds), default=after)
        low, high = self._measured(before, cell), self._measured(after, cell)
        if before == after:
            return low
        share = math.log(seconds / before) / math.log(after / before)
        return {name: _between(low[name], high[name], share) for name in low}

    def _measured(self, seconds: float, cell: tuple[int, int]) -> dict[str, Forecast]:
        if (seconds, cell) not in self._known:
            source = self.moments[seconds]
            point = source.levels[0][-1], *cell
            self._known[seconds, cell] = {n: forecast(source, n, point) for n in source.accuracy}
        return self._known[seconds, cell]


def _between(low: Forecast, high: Forecast, share: float) -> Forecast:
    """Without an interval of its own: it holds those of both measured times."""
    logits = [math.log(f.accuracy / (1 - f.accuracy)) for f in (low, high)]
    accuracy = sigmoid((1 - share) * logits[0] + share * logits[1])
    ends = min(low.low, high.low), max(low.high, high.high)
    return Forecast(accuracy, *ends, accuracy, low.weighted)


def _stops(times: list[float]) -> list[float]:
    """The measured times and some between them, at equal factors."""
    stops = [
        before * (after / before) ** (k / STOPS)
        for before, after in itertools.pairwise(times)
        for k in range(STOPS)
    ]
    return [*stops, times[-1]]
