"""Many differences at once: which of them are real, with or without a correction for their number.

A 95 % interval misses the truth once in 20 times. So among 24 differences of algorithms that are
equally good we expect one whose interval excludes 0. Two corrections keep the chance of even one
such mistake among all of them at 5 %:

    Bonferroni    each p-value must be below 5 % / 24
    Holm          the smallest below 5 % / 24, the next below 5 % / 23, ..., until one is not

Introduced in notebook 11. Source: Holm (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from ..basics.arguments import as_choice
from .estimates import Estimate, forecast, paired
from .evidence import Evidence, sources_of
from .table import Study

__all__ = ["CORRECTIONS", "Comparison", "compare_in_every_cell", "real_ones"]

CORRECTIONS = ("none", "Bonferroni", "Holm")


@dataclass(frozen=True)
class Comparison:
    """One algorithm minus another in one cell, paired by seed and episode."""

    data: str
    n_classes: int
    n_way: int
    n_shot: int
    first: str
    second: str
    gap: Estimate


def compare_in_every_cell(
    study: Study | None = None, first: str | None = None, second: str | None = None
) -> list[Comparison]:
    """Two algorithms in every measured cell of a study.

    Args:
        study: default: the stored one of the course.
        first, second: names of algorithms; both None: the best of each cell and its runner-up.
    Raises:
        ValueError: one name alone, or one that the study does not have.
    """
    if (first is None) != (second is None):
        raise ValueError(f"first and second must both be names, or neither; got {first}, {second}")
    found = []
    for source in sources_of(study):
        pair = first and second and tuple(_known(source, name) for name in (first, second))
        found += [_comparison(source, cell, pair or None) for cell in product(*source.levels)]
    return found


def _known(source: Evidence, name: str) -> str:
    return as_choice("algorithm", name, list(source.accuracy))


def _comparison(
    source: Evidence, cell: tuple[int, ...], pair: tuple[str, ...] | None
) -> Comparison:
    forecasts = {name: forecast(source, name, cell) for name in pair or source.accuracy}
    ranked = pair or sorted(forecasts, key=lambda name: -forecasts[name].accuracy)
    first, second = ranked[:2]
    gap = paired(forecasts[first], forecasts[second])
    n_classes, n_way, n_shot = cell
    return Comparison(source.data, n_classes, n_way, n_shot, first, second, gap)


def real_ones(
    comparisons: Sequence[Comparison], correction: str = "none", level: float = 0.05
) -> list[bool]:
    """Of each comparison, whether its difference is real at this level.

    Args:
        correction: of CORRECTIONS; see above.
        level: how often differences of equally good algorithms may be called real: each of them,
            or, with a correction, any of them.
    Raises:
        ValueError: an unknown correction.
    """
    as_choice("correction", correction, CORRECTIONS)
    p_values, n = [c.gap.p_value for c in comparisons], len(comparisons)
    if correction != "Holm":
        return [p < (level / n if correction == "Bonferroni" else level) for p in p_values]
    real = [False] * n
    for rank, i in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        if p_values[i] >= level / (n - rank):
            break
        real[i] = True
    return real
