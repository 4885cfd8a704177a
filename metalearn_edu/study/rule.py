"""A rule without evidence, and how well such a rule does when compared with a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from ..runs import ALGORITHMS
from .estimates import difference, forecast
from .evidence import IMAGES_PER_CLASS, Evidence, sources_of
from .table import Study

__all__ = ["RuleRecord", "Verdict", "judge_rule", "rule_of_thumb"]

Rule = Callable[[int, int, int], str]


def rule_of_thumb(dataset_size: int, n_way: int, n_shot: int) -> str:
    """A rule that is often copied without evidence; returns an algorithm's name.

    Below 5 shots: prototypes. Otherwise, with fewer than 1000 examples: a relation network. Else
    MAML.
    """
    if n_shot < 5:
        return "prototypical"
    return "relation" if dataset_size < 1000 else "maml"


@dataclass(frozen=True)
class Verdict:
    """What a rule chose in one cell, and by how much the best one was better (paired, 95 %)."""

    data: str
    n_classes: int
    n_way: int
    n_shot: int
    chosen: str
    best: str
    loss: float
    half_width: float

    @property
    def is_right(self) -> bool:
        """Whether the choice is the best, or not proven worse because the interval includes 0."""
        return self.chosen == self.best or self.loss <= self.half_width


@dataclass(frozen=True)
class RuleRecord:
    """How well a rule did in every cell of a study."""

    verdicts: tuple[Verdict, ...]
    n_seeds: int

    @property
    def n_right(self) -> int:
        """Cells in which the choice was the best, or not proven worse."""
        return sum(verdict.is_right for verdict in self.verdicts)

    @property
    def n_best(self) -> int:
        """Cells in which the choice itself had the highest accuracy."""
        return sum(verdict.chosen == verdict.best for verdict in self.verdicts)

    def __str__(self) -> str:
        worst = max(self.verdicts, key=lambda verdict: verdict.loss)
        seeds = f"{self.n_seeds} seeds" if self.n_seeds > 1 else "1 seed"
        chosen, best = (ALGORITHMS[name].name_in_study for name in (worst.chosen, worst.best))
        where = f"{worst.n_way}-way {worst.n_shot}-shot tasks of {worst.data}"
        return (
            f"right in {self.n_right} of {len(self.verdicts)} cells ({seeds}): the best in "
            f"{self.n_best}, not shown to be worse in {self.n_right - self.n_best}; at worst it "
            f"loses {100 * worst.loss:.1f} percentage points: {chosen} instead of "
            f"{best} in {where} with {worst.n_classes} classes"
        )

    __repr__ = __str__


def judge_rule(rule: Rule = rule_of_thumb, study: Study | None = None) -> RuleRecord:
    """Compare a rule with a study: in how many cells is its choice as good as the best?

    Args:
        rule: from (dataset_size, n_way, n_shot) to the name of an algorithm of the study.
        study: default: the stored one of the course.
    Raises:
        ValueError: the rule names an algorithm that the study does not have.
        FileNotFoundError: there is no stored study.
    """
    if not callable(rule):
        raise ValueError(f"rule must be a function of (dataset_size, n_way, n_shot), got {rule!r}")
    sources = sources_of(study)
    verdicts = [_verdict(rule, s, cell) for s in sources for cell in product(*s.levels)]
    return RuleRecord(tuple(verdicts), min(source.n_seeds for source in sources))


def _verdict(rule: Rule, evidence: Evidence, cell: tuple[int, ...]) -> Verdict:
    n_classes, n_way, n_shot = cell
    forecasts = {name: forecast(evidence, name, cell) for name in evidence.accuracy}
    best = max(forecasts, key=lambda name: forecasts[name].accuracy)
    chosen = rule(IMAGES_PER_CLASS * n_classes, n_way, n_shot)
    if chosen not in list(forecasts):
        raise ValueError(f"the rule names {chosen!r}; the study has {', '.join(forecasts)}")
    gap = difference(forecasts[best], forecasts[chosen])
    return Verdict(evidence.data, n_classes, n_way, n_shot, chosen, best, *gap)
