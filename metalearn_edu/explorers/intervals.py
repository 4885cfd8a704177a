"""Episodes and queries, and the width of the resulting interval. Introduced in notebook 02."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..basics.arguments import as_integer
from ..evaluation import Evaluation
from ..plotting.style import BLUE, GREY, VERMILLION
from .base import Explorer

__all__ = [
    "IntervalExplorer",
    "deviation_between_tasks",
    "episode_deviation",
    "expected_half_width",
    "simulate_evaluations",
]

EPISODES = (5, 10, 20, 50, 100, 200, 600, 1000, 2000)
N_WAY = 5
SIMULATED = "simulated"


def episode_deviation(mean: float, between: float, n_queries: int) -> float:
    """Standard deviation of the accuracy of an episode with n_queries independent queries.

    Args:
        mean: of the true accuracies of all tasks, a fraction.
        between: standard deviation of these true accuracies.
    Source: law of total variance; a query of a task with true accuracy p has variance p (1 - p).
    """
    of_one_query = mean * (1 - mean) - between**2
    return math.sqrt(between**2 + of_one_query / n_queries)


def deviation_between_tasks(mean: float, deviation: float, n_queries: int) -> float:
    """Standard deviation of the true accuracies, from that of measured ones; 0 if none is left.

    Args:
        mean, deviation: of the accuracies of episodes with n_queries queries each, fractions.
    Source: `episode_deviation`, solved for `between`.
    """
    left_over = deviation**2 - mean * (1 - mean) / n_queries
    return math.sqrt(max(left_over, 0.0) / (1 - 1 / n_queries))


def expected_half_width(mean: float, between: float, n_queries: int, n_episodes: int) -> float:
    """Half of the 95 % interval of the mean over n_episodes, in the units of `mean`."""
    return 1.96 * episode_deviation(mean, between, n_queries) / math.sqrt(n_episodes)


def simulate_evaluations(
    mean: float,
    between: float,
    n_queries: int,
    n_episodes: int,
    n_evaluations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Accuracies (n_evaluations, n_episodes): each task has a true accuracy from a beta law.

    Raises:
        ValueError: no beta law has this mean and standard deviation.
    """
    tasks = _beta_tasks(mean, between, (n_evaluations, n_episodes), rng)
    return _answer(tasks, n_queries, rng)


def _answer(tasks: np.ndarray, n_queries: int, rng: np.random.Generator) -> np.ndarray:
    """Accuracies of episodes whose tasks have these true accuracies; queries are independent."""
    return rng.binomial(n_queries, tasks) / n_queries


def _beta_tasks(
    mean: float, between: float, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    if not 0 < mean < 1 or not 0 <= between**2 < mean * (1 - mean):
        raise ValueError(
            f"between must be below sqrt(mean (1 - mean)), got mean={mean}, between={between}"
        )
    if between == 0:
        return np.full(size, mean)
    strength = mean * (1 - mean) / between**2 - 1
    return rng.beta(mean * strength, (1 - mean) * strength, size)


@dataclass(frozen=True)
class _View:
    """Simulated evaluations as means and half-widths, and the truth about tasks, in percent."""

    truth: float
    between: float  # standard deviation of the true accuracies
    means: np.ndarray
    halves: np.ndarray
    n_queries: int
    n_episodes: int

    def expected(self, n_queries: int, n_episodes: int) -> float:
        """The half-width by the formula."""
        learner = self.truth / 100, self.between / 100
        return 100 * expected_half_width(*learner, n_queries, n_episodes)

    @property
    def half(self) -> float:
        return self.expected(self.n_queries, self.n_episodes)

    @property
    def misses(self) -> np.ndarray:
        return np.abs(self.means - self.truth) > self.halves


class IntervalExplorer(Explorer):
    """n_episodes, n_query and two properties of the learner, and 30 evaluations of it.

    Every task has a true accuracy, and each query of it is answered correctly with that
    probability, independently. The true accuracies come from two sliders, or from a real network:
    then every episode that was measured stands for a task. Its score includes the luck of its
    queries, so all scores are moved towards their mean until that part is gone.

    Args:
        measured: evaluations of real learners by name, 5-way, for example of the same network
            with inductive and with transductive normalisation on the same episodes.
        measured_queries: queries in each of these episodes.
    Raises:
        ValueError: an evaluation is not of accuracies, or too short to have a spread.
    """

    title = "How wide is the interval?"
    question = (
        "You may score 6,000 queries in all. Do you take many episodes with few queries or few "
        "episodes with many, and does the answer depend on how much the tasks differ? And does an "
        "interval know how its queries were scored, together or one by one?"
    )
    size = (9.0, 4.2)
    episode_control, episode_label = "seed", "Evaluate again"
    n_evaluations = 30

    def __init__(
        self,
        measured: Mapping[str, Evaluation] | None = None,
        *,
        measured_queries: int = 75,
        **state: Any,
    ) -> None:
        self.measured = dict(measured or {})
        self.measured_queries = as_integer("measured_queries", measured_queries, 2)
        for name, evaluation in self.measured.items():
            if evaluation.metric != "accuracy" or evaluation.n_episodes < 2:
                raise ValueError(
                    f"measured[{name!r}] must hold accuracies of at least 2 episodes, "
                    f"got {evaluation.metric} of {evaluation.n_episodes}"
                )
        super().__init__(**state)
        self.after_change("learner")

    def controls(self) -> dict[str, Any]:
        return {
            "learner": Dropdown(options=[SIMULATED, *self.measured], description="learner"),
            "n_episodes": SelectionSlider(options=EPISODES, value=100, description="episodes"),
            "n_query": IntSlider(15, 1, 40, description="n_query (queries per class, of 5)"),
            "accuracy": FloatSlider(
                0.8, min=0.3, max=0.95, step=0.05, readout_format=".0%", description="true accuracy"
            ),
            "between": FloatSlider(
                0.08,
                min=0,
                max=0.15,
                step=0.01,
                readout_format=".0%",
                description="spread of it between tasks",
            ),
            "seed": IntSlider(3, 0, 19, description="seed"),
        }

    def after_change(self, name: str) -> None:
        """A measured learner has its own accuracy and spread."""
        for fact in ("accuracy", "between"):
            self.inputs[fact].disabled = self.state["learner"] != SIMULATED

    def draw(self, fig: Figure, **state: Any) -> None:
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.03, "right": 0.985, "top": 0.98, "bottom": 0.135, "wspace": 0.2}
        left, right = fig.subplots(1, 2, width_ratios=(1.1, 1), gridspec_kw=place)
        view = self._view(**state)
        self._draw_evaluations(left, view)
        self._draw_widths(right, view)

    def describe(self, **state: Any) -> str:
        view = self._view(**state)
        deviation = view.expected(view.n_queries, 1) / 1.96
        luck = math.sqrt(deviation**2 - view.between**2)
        learner = "" if state["learner"] == SIMULATED else f"{state['learner']}: "
        return (
            f"{learner}{view.n_episodes} episodes of {view.n_queries} queries. The accuracy of an "
            f"episode strays by {deviation:.1f} points around {view.truth:.1f} %: "
            f"{view.between:.0f} because tasks differ, "
            f"{luck:.1f} by the luck of the queries. So the 95 % interval is ± "
            f"{view.half:.2f} points. "
            f"{self.n_evaluations - view.misses.sum()} of {self.n_evaluations} simulated "
            "evaluations cover the truth."
        )

    def _draw_evaluations(self, ax: Axes, view: _View) -> None:
        ax.axvline(view.truth, color=GREY, lw=1.2)
        rows = np.arange(self.n_evaluations)
        looks = [("covers", BLUE, "o", ~view.misses), ("misses", VERMILLION, "X", view.misses)]
        for name, color, marker, chosen in looks:
            dots: Any = {"fmt": marker, "ms": 4, "lw": 1.5, "color": color}
            dots["label"] = f"{name} the truth: {chosen.sum()}"
            ax.errorbar(view.means[chosen], rows[chosen], xerr=view.halves[chosen], **dots)
        ax.set(xlabel="accuracy (%)", ylabel="simulated evaluation", yticks=[])
        reach = next((w for w in (3, 10, 30) if w >= 3 * view.half), 80)
        ax.set_xlim(max(view.truth - reach, 0), min(view.truth + reach, 105))
        ax.set_ylim(-1, self.n_evaluations + 7)
        ax.legend(loc="upper center", ncols=2, fontsize=11, columnspacing=1, handletextpad=0.3)

    def _draw_widths(self, ax: Axes, view: _View) -> None:
        for n_query, dash in {1: ":", 5: "--", 15: "-."}.items():
            halves = [view.expected(N_WAY * n_query, n) for n in EPISODES]
            ax.plot(EPISODES, halves, color=GREY, ls=dash, lw=1.4, label=f"n_query {n_query}")
        now = view.n_episodes, view.half
        ax.plot(*now, "o", color=BLUE, ms=9, label="now")
        side = "right" if view.n_episodes >= 600 else "left"
        place: Any = {"xytext": (8, 8), "textcoords": "offset points", "fontsize": 12, "ha": side}
        ax.annotate(f"± {view.half:.2f}", now, **place)
        ax.set(xscale="log", yscale="log", xlabel="episodes", xlim=(4, 5000), ylim=(0.1, 40))
        ax.set_ylabel("half of the 95 % interval (points)")
        ax.set_xticks([10, 100, 1000], ["10", "100", "1000"])
        ax.set_yticks([0.1, 0.3, 1, 3, 10, 30], ["0.1", "0.3", "1", "3", "10", "30"])
        ax.minorticks_off()
        ax.legend(fontsize=11)

    def _view(
        self,
        learner: str,
        n_episodes: int,
        n_query: int,
        accuracy: float,
        between: float,
        seed: int,
    ) -> _View:
        rng, n_queries = np.random.default_rng(seed), N_WAY * n_query
        if learner in self.measured:
            known = self.measured[learner].values.numpy()
            accuracy, spread = known.mean(), known.std()
            between = deviation_between_tasks(accuracy, spread, self.measured_queries)
            true = accuracy + (known - accuracy) * (between / spread if spread else 0)
            tasks = rng.choice(true.clip(0, 1), (self.n_evaluations, n_episodes))
            values = 100 * _answer(tasks, n_queries, rng)
        else:
            numbers = n_queries, n_episodes, self.n_evaluations
            values = 100 * simulate_evaluations(accuracy, between, *numbers, rng)
        halves = 1.96 * values.std(axis=1, ddof=1) / math.sqrt(n_episodes)
        truth = 100 * accuracy, 100 * between
        return _View(*truth, values.mean(axis=1), halves, n_queries, n_episodes)
