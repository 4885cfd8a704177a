"""The answer to "which algorithm?", with an explanation in words and as a table."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Literal

from ..learners import MetaLearner
from ..runs import ALGORITHMS, Recipe, build_learner

__all__ = ["Candidate", "Recommendation", "percent"]

Place = Literal["measured", "between", "beyond"]  # nearest first


@dataclass(frozen=True)
class Candidate:
    """One algorithm at the requested point: what to expect, and what it costs."""

    algorithm: str
    accuracy: float
    low: float
    high: float
    train_seconds: float
    adaptation_ms: float
    memory_mb: float


@dataclass(frozen=True)
class Recommendation:
    """The answer of `select_meta_learning_algorithm`. Print it to read the explanation.

    Attributes:
        learner: the class to use; `build()` makes one, ready to train.
        recipe: its settings in the study, for `runs.train_recipe`. For a folder of your own images
            `dataclasses.replace(recipe, data=FOLDER)`; more n_steps do better.
        best, runner_up: expected accuracy with its 95 % interval, and cost; runner_up is None if
            the constraints leave only one algorithm.
        difference, half_width: best minus runner-up, paired on the same episodes, with half its 95
            % interval; for several data sets, the mean, and an interval that covers each of theirs.
        others: the other algorithms that meet the constraints, best first.
        n_classes, n_way, n_shot: the request.
        data, n_seeds, n_episodes: what was measured: data sets, seeds, episodes in each cell.
        distance: in words, how far the request is from what was measured.
        place: "measured", a point of the grid; "between" its points; or "beyond" them.
    """

    learner: type[MetaLearner]
    recipe: Recipe
    best: Candidate
    runner_up: Candidate | None
    difference: float
    half_width: float
    others: tuple[Candidate, ...]
    n_classes: int
    n_way: int
    n_shot: int
    data: tuple[str, ...]
    n_seeds: int
    n_episodes: int
    distance: str
    place: Place

    @property
    def is_real(self) -> bool:
        """Whether the interval of the difference to the runner-up excludes 0.

        Beyond the grid, no pairs were measured, so no difference counts as real.
        """
        paired = self.runner_up is not None and self.place != "beyond"
        return paired and abs(self.difference) > self.half_width

    def build(self, item_shape: tuple[int, ...] = (1, 28, 28)) -> MetaLearner:
        """A new learner for items of this shape, ready for `meta_train`."""
        return build_learner(self.recipe, item_shape)

    def sentences(self) -> list[str]:
        """The explanation, sentence by sentence."""
        best, name = self.best, ALGORITHMS[self.best.algorithm].name_in_study
        seeds = f"{self.n_seeds} seeds" if self.n_seeds > 1 else "1 seed"
        lines = [
            f"{name} for {self.n_way}-way {self.n_shot}-shot tasks after meta-training on "
            f"{self.n_classes} classes; its class is {self.learner.__name__}.",
            f"Expected meta-test accuracy {percent(best.accuracy)} % (95 % interval "
            f"{percent(best.low)} to {percent(best.high)}), from {seeds} and {self.n_episodes} "
            f"episodes a cell of {' and '.join(self.data)}.",
        ]
        if self.n_seeds == 1:
            lines.append(
                "With one seed the interval speaks of the episodes alone, not of the luck of "
                "training: it is too narrow."
            )
        lines += [self._against_runner_up(), self.distance]
        memory = "" if math.isnan(best.memory_mb) else f", {best.memory_mb:.0f} MB at most"
        lines.append(
            f"Cost on one core in the study: {best.train_seconds:.0f} s of training, "
            f"{best.adaptation_ms:.1f} ms to learn a task{memory}. All were trained about as long; "
            "after longer training the order may be another."
        )
        return lines

    def _against_runner_up(self) -> str:
        if self.runner_up is None:
            return "No other algorithm meets the constraints."
        name = ALGORITHMS[self.runner_up.algorithm].name_in_study
        gap = f"{100 * self.difference:.1f} +- {100 * self.half_width:.1f} percentage points"
        if self.place == "beyond":
            side = "behind" if self.difference >= 0 else "ahead"
            gap = gap.removeprefix("-")
            return (
                f"Ranked as at the edge of what was measured. Runner-up {name} would be {side} by "
                f"{gap} if the trend of the study went on; nobody has compared them there, so no "
                "difference is known to be real."
            )
        if self.is_real:
            return (
                f"Runner-up {name} is behind by {gap} on the same episodes: a real difference, as "
                "one comparison at 95 %."
            )
        return (
            f"Runner-up {name} is behind by {gap} on the same episodes: no real difference, so let "
            "cost decide."
        )

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def _repr_html_(self) -> str:
        first, *rest = map(html.escape, self.sentences())
        items = "".join(f"<li>{line}</li>" for line in rest)
        return f"<p><b>{first}</b></p><ul>{items}</ul>{self._table()}"

    def _table(self) -> str:
        runner_up = [] if self.runner_up is None else [self.runner_up]
        head = "algorithm", "accuracy (%)", "95 % interval", "ms a task", "training (s)", "MB"
        lines = [
            (
                ALGORITHMS[c.algorithm].name_in_study,
                percent(c.accuracy),
                f"{percent(c.low)} to {percent(c.high)}",
                f"{c.adaptation_ms:.1f}",
                f"{c.train_seconds:.0f}",
                f"{c.memory_mb:.0f}",
            )
            for c in [self.best, *runner_up, *self.others]
        ]
        rows = ["".join(f"<th>{word}</th>" for word in head)]
        rows += ["".join(f"<td>{html.escape(word)}</td>" for word in line) for line in lines]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def percent(fraction: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * fraction:.1f}"
