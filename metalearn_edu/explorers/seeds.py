"""Seeds drawn from a study: which differences look real, and for whom. Lesson 11."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

from ipywidgets import Dropdown, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plotting.style import BLACK, GREY
from ..runs import ALGORITHMS
from ..study.comparisons import CORRECTIONS, Comparison, compare_in_every_cell, real_ones
from ..study.figures import look_of
from ..study.table import Study, load_study
from .base import Explorer

__all__ = ["SeedExplorer"]

BEST = ("", "")  # instead of two names: the best of each setting and its runner-up
Pair = tuple[str, str]


class SeedExplorer(Explorer):
    """Two algorithms in every setting of a study, judged by a few of its seeds.

    Args:
        study: what was measured; default: the stored study of the course.
        state: first values of the controls.
    """

    title = "Which differences are real, with these seeds?"
    question = (
        "Draw one seed several times: in how many settings does the winner change? How much do "
        "more seeds help, and how much a correction?"
    )
    size = (9.6, 4.6)
    text_height = 88
    episode_control = "draw"
    episode_label = "Draw other seeds"

    def __init__(self, study: Study | None = None, **state: Any) -> None:
        self.study = load_study() if study is None else study
        self.seeds: list[int] = self.study.values("seed")
        self._known: dict[tuple[tuple[int, ...], Pair], list[Comparison]] = {}
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """The pair, the seeds and the correction."""
        pairs = list(combinations(self._algorithms(), 2))
        names = [(" and ".join(ALGORITHMS[name].name for name in pair), pair) for pair in pairs]
        options = [("the best and the runner-up", BEST), *names]
        close = ("maml", "meta-sgd")
        return {
            "pair": Dropdown(
                options=options, value=close if close in pairs else BEST, description="compared"
            ),
            "n_seeds": IntSlider(1, 1, len(self.seeds), description="number of seeds"),
            "draw": IntSlider(0, 0, self._most_draws() - 1, description="draw"),
            "correction": Dropdown(options=CORRECTIONS, description="correction"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """A panel per data set, a row per setting, the difference with its interval."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        found, real = self._judged(**state)
        names = list(dict.fromkeys(c.data for c in found))
        place: Any = {"left": 0.2, "right": 0.985, "top": 0.82, "bottom": 0.12, "wspace": 0.46}
        axes = fig.subplots(1, len(names), squeeze=False, gridspec_kw=place)[0]
        for ax, name in zip(axes, names, strict=True):
            rows = [(c, r) for c, r in zip(found, real, strict=True) if c.data == name]
            self._draw_rows(ax, rows, self._reach(state["pair"]))
            ax.set_title(f"{name}: {sum(r for _, r in rows)} of {len(rows)} real", loc="left")
        seeds = ", ".join(map(str, self._seeds_of(state["n_seeds"], state["draw"])))
        title = f"{_words(state['pair'])}; seeds {seeds}; correction: {state['correction']}"
        fig.text(0.01, 0.955, f"{title}. Filled: real; bars: 95 % intervals", fontsize=12)
        self._say_who_leads(fig, found)

    def describe(self, **state: Any) -> str:
        """How many are real, for whom, and what luck alone would give."""
        found, real = self._judged(**state)
        ahead = [_leader(c) for c, is_real in zip(found, real, strict=True) if is_real]
        count = {name: ahead.count(name) for name in dict.fromkeys(ahead)}
        whose = ", ".join(f"{n} for {ALGORITHMS[name].name_in_study}" for name, n in count.items())
        drawn = self._seeds_of(state["n_seeds"], state["draw"])
        few = " One seed: the luck of training is not counted." if len(drawn) == 1 else ""
        if len(drawn) == len(self.seeds) > 1:
            few = " These are all seeds, so every draw is the same."
        return (
            f"{_words(state['pair'])}, seeds {', '.join(map(str, drawn))}, correction: "
            f"{state['correction']}. {len(ahead)} of {len(found)} differences are real"
            f"{f': {whose}' if whose else ''}. If all algorithms were equally good and the "
            f"intervals right, {_by_luck(state['correction'], len(found))}.{few}"
        )

    def _algorithms(self) -> list[str]:
        return [name for name in ALGORITHMS if name in self.study.values("algorithm")]

    def _most_draws(self) -> int:
        n = len(self.seeds)
        return max(comb(n, k) for k in range(1, n + 1))

    def _seeds_of(self, n_seeds: int, draw: int) -> tuple[int, ...]:
        draws = list(combinations(self.seeds, n_seeds))
        return draws[draw % len(draws)]

    def _judged(
        self, pair: Pair, n_seeds: int, draw: int, correction: str
    ) -> tuple[list[Comparison], list[bool]]:
        found = self._compared(self._seeds_of(n_seeds, draw), pair)
        return found, real_ones(found, correction)

    def _compared(self, seeds: tuple[int, ...], pair: Pair) -> list[Comparison]:
        if (seeds, pair) not in self._known:
            part, names = self.study.with_seeds(seeds), pair if pair != BEST else ()
            self._known[seeds, pair] = compare_in_every_cell(part, *names)
        return self._known[seeds, pair]

    def _reach(self, pair: Pair) -> tuple[float, float]:
        """Limits in points that hold the differences of every single seed, and 0."""
        gaps = [100 * c.gap.value for seed in self.seeds for c in self._compared((seed,), pair)]
        room = 2 + 0.1 * (max(gaps) - min(gaps))
        return min(0.0, *gaps) - room, max(0.0, *gaps) + room

    def _draw_rows(
        self, ax: Axes, rows: list[tuple[Comparison, bool]], limits: tuple[float, float]
    ) -> None:
        for row, (c, is_real) in enumerate(rows):
            style: Any = look_of(_leader(c), self._algorithms().index(_leader(c)))
            style |= {"mfc": style["color"] if is_real else "white", "capsize": 3}
            gap, half = 100 * c.gap.value, 100 * c.gap.half_width
            ax.errorbar([gap], [row], xerr=[half], lw=1.8 if is_real else 1, **style)
        ax.axvline(0, color=BLACK, lw=1)
        labels = [f"{c.n_classes}: {c.n_way}-way {c.n_shot}-shot" for c, _ in rows]
        ax.set_yticks(range(len(rows)), labels)
        ax.grid(axis="y", color=GREY, alpha=0.2)
        ax.set(xlim=limits, ylim=(len(rows) - 0.5, -0.5), xlabel="difference (points)")

    def _say_who_leads(self, fig: Figure, found: list[Comparison]) -> None:
        """A legend of the marks, in the row above the panels; left of it what the labels are."""
        fig.text(0.01, 0.905, "rows: meta-training classes, tasks; marks:", fontsize=11)
        leaders = list(dict.fromkeys(_leader(c) for c in found))
        for name in leaders:
            mark: Any = look_of(name, self._algorithms().index(name))
            label = f"{ALGORITHMS[name].name} is ahead"
            fig.axes[0].plot([], [], ls="none", label=label, **mark)
        place: Any = {"loc": "center left", "bbox_to_anchor": (0.4, 0.918), "ncols": len(leaders)}
        fig.legend(*fig.axes[0].get_legend_handles_labels(), **place, handletextpad=0.2)


def _leader(comparison: Comparison) -> str:
    return comparison.first if comparison.gap.value >= 0 else comparison.second


def _words(pair: Pair) -> str:
    """What is subtracted from what."""
    if pair == BEST:
        return "the best minus the runner-up"
    return " minus ".join(ALGORITHMS[name].name for name in pair)


def _by_luck(correction: str, n: int) -> str:
    if correction == "none":
        return f"luck alone would call {0.05 * n:.1f} of them real on average"
    return "luck alone would call even one real at most once in 20 studies"
