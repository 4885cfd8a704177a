"""Which algorithm, when: an answer from a measured study, with its interval and its limits.

Beyond the measured range, we take the best algorithm at its edge: lines that cross where nothing
was measured are not evidence. Introduced in notebook 11.
"""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from ..basics.arguments import as_integer, as_number
from ..runs import ALGORITHMS
from .estimates import Forecast, difference, forecast
from .evidence import COSTS, IMAGES_PER_CLASS, Evidence, cell_costs, sources_of
from .grid import LARGEST_NUMBER, study_recipe
from .recommendation import Candidate, Place, Recommendation
from .table import Study

__all__ = ["select_meta_learning_algorithm"]


def select_meta_learning_algorithm(
    dataset_size: int,
    n_way: int,
    n_shot: int,
    *,
    n_classes: int | None = None,
    data: str | None = None,
    max_adaptation_ms: float | None = None,
    max_memory_mb: float | None = None,
    inductive: bool = False,
    study: Study | None = None,
) -> Recommendation:
    """Which algorithm to use, from measured evidence. Introduced in notebook 11.

    Args:
        dataset_size: labelled images for meta-training. What matters is the number of classes: we
            count one for every 20 images, as both data sets of the study have them.
        n_way, n_shot: of the tasks to solve.
        n_classes: meta-training classes, if they do not have 20 images each.
        data: the data set of the study that is most like yours; None: all of them, with an interval
            that covers theirs.
        max_adaptation_ms: the longest time that one core can take to learn one task's support set.
        max_memory_mb: the most memory that the process can hold while it trains and is scored,
            in 10^6 bytes.
        inductive: leave out learners whose queries inform each other.
        study: default: the stored one of the course.
    Returns:
        a Recommendation; print it, or `build()` the learner.
    Raises:
        ValueError: n_way below 2, n_shot below 1, too few images or classes for such tasks, an
            unknown data set, a value off an axis with a single measured value, or no algorithm
            meets the constraints.
        FileNotFoundError: there is no stored study.
    """
    n_way, n_shot = _count("n_way", n_way, 2), _count("n_shot", n_shot)
    dataset_size = _count("dataset_size", dataset_size)
    n_classes = _enough_classes(dataset_size, n_classes, n_way, n_shot)
    limits = {"max_adaptation_ms": max_adaptation_ms, "max_memory_mb": max_memory_mb}
    for name, limit in limits.items():
        if limit is not None:
            as_number(name, limit, above=0)
    sources = sources_of(study, data)
    names = [source.data for source in sources]
    point = float(n_classes), float(n_way), float(n_shot)
    for source in sources:
        _require_slopes(source, point)
    forecasts = _forecasts(sources, point)
    candidates = [_candidate(sources, forecasts, name, point) for name in forecasts]
    allowed = _allowed(candidates, sources, max_adaptation_ms, max_memory_mb, inductive)
    best, *rest = sorted(allowed, key=lambda c: -sum(f.edge for f in forecasts[c.algorithm]))
    gap, half = _difference(*(forecasts[c.algorithm] for c in (best, *rest[:1])))
    distance, place = _farthest(sources, point)
    return Recommendation(
        ALGORITHMS[best.algorithm].learner,
        study_recipe(best.algorithm, names[0], n_way),
        best,
        rest[0] if rest else None,
        gap,
        half,
        tuple(rest[1:]),
        n_classes,
        n_way,
        n_shot,
        tuple(names),
        min(source.n_seeds for source in sources),
        sources[0].n_episodes,
        distance,
        place,
    )


def _count(name: str, number: int, at_least: int = 1) -> int:
    """The number as a plain int, refused by name if it is too small or too large."""
    return as_integer(name, as_integer(name, number, at_least), None, at_most=LARGEST_NUMBER)


def _difference(best: list[Forecast], *others: list[Forecast]) -> tuple[float, float]:
    """Best minus the first of the others, one forecast per data set; NaN if there is no other.

    Mean over data sets, with half of an interval that covers the difference of each one, too.
    """
    if not others:
        return math.nan, math.nan
    pairs = zip(best, others[0], strict=True)
    gaps, halves = zip(*(difference(a, b) for a, b in pairs), strict=True)
    mean = float(np.mean(gaps))
    apart = max(abs(gap - mean) for gap in gaps)
    return mean, max(float(np.hypot.reduce(halves)) / len(halves), apart)


def _require_slopes(evidence: Evidence, point: tuple[float, ...]) -> None:
    """Refuse a point off an axis on which only one value was measured."""
    for name, levels, x in zip(
        ("n_classes", "n_way", "n_shot"), evidence.levels, point, strict=True
    ):
        if len(levels) == 1 and x != levels[0]:
            raise ValueError(
                f"the study has measured {name} {levels[0]} alone in {evidence.data}, so it says "
                f"nothing of {x:.0f}; metalearn-edu study measures more"
            )


def _enough_classes(dataset_size: int, n_classes: int | None, n_way: int, n_shot: int) -> int:
    """The number of meta-training classes; an error if such tasks cannot be drawn from them."""
    each = (
        IMAGES_PER_CLASS
        if n_classes is None
        else dataset_size // as_integer("n_classes", n_classes)
    )
    n_classes = dataset_size // IMAGES_PER_CLASS if n_classes is None else n_classes
    if n_classes < n_way:
        raise ValueError(
            f"{n_way}-way tasks need at least {n_way} classes, but dataset_size {dataset_size} is "
            f"{n_classes} of {each} images; {n_way * each} images would do, or give n_classes"
        )
    if each < n_shot + 1:
        raise ValueError(
            f"{n_shot}-shot tasks need at least {n_shot + 1} images per class, but {dataset_size} "
            f"images in {n_classes} classes are {each} each; fewer classes (n_classes) of more "
            "images would do"
        )
    return n_classes


def _forecasts(sources: list[Evidence], point: tuple[float, ...]) -> dict[str, list[Forecast]]:
    """One forecast per data set, of the algorithms that all data sets have."""
    names = [name for name in ALGORITHMS if all(name in s.accuracy for s in sources)]
    return {name: [forecast(source, name, point) for source in sources] for name in names}


def _candidate(
    sources: list[Evidence],
    forecasts: dict[str, list[Forecast]],
    name: str,
    point: tuple[float, ...],
) -> Candidate:
    """Mean over the data sets, an interval that covers theirs, and the interpolated costs."""
    mine = forecasts[name]
    costs = [cell_costs(source, name, point) for source in sources]
    return Candidate(
        name,
        float(np.mean([f.accuracy for f in mine])),
        min(f.low for f in mine),
        max(f.high for f in mine),
        *(float(np.mean([of_one[cost] for of_one in costs])) for cost in COSTS),
    )


def _allowed(
    candidates: list[Candidate],
    sources: list[Evidence],
    max_adaptation_ms: float | None,
    max_memory_mb: float | None,
    inductive: bool,
) -> list[Candidate]:
    """The candidates that meet the constraints; a ValueError with numbers if there is none."""
    ms, mb = max_adaptation_ms or math.inf, max_memory_mb or math.inf
    allowed = [
        c
        for c in candidates
        if c.adaptation_ms <= ms
        and (max_memory_mb is None or c.memory_mb <= mb)
        and not (inductive and any(s.transductive[c.algorithm] for s in sources))
    ]
    if allowed:
        return allowed
    fast = min(candidates, key=lambda c: c.adaptation_ms)
    small = min(candidates, key=lambda c: c.memory_mb)
    raise ValueError(
        f"no algorithm meets the constraints: the fastest, {fast.algorithm}, needs "
        f"{fast.adaptation_ms:.1f} ms for a task; the smallest, {small.algorithm}, "
        f"{small.memory_mb:.0f} MB"
    )


def _farthest(sources: list[Evidence], point: tuple[float, ...]) -> tuple[str, Place]:
    """`_distance` in the data set with the least data near the point; named if others differ."""
    found = {source.data: _distance(source, point) for source in sources}
    data = max(found, key=lambda name: get_args(Place).index(found[name][1]))
    text, place = found[data]
    same = len({text for text, _ in found.values()}) == 1
    return (text if same else f"In {data}: {text[0].lower()}{text[1:]}"), place


def _distance(evidence: Evidence, point: tuple[float, ...]) -> tuple[str, Place]:
    """Where the point lies in the grid, as a sentence and as one word."""
    beyond, between = [], []
    for name, levels, x in zip(("classes", "n_way", "n_shot"), evidence.levels, point, strict=True):
        if not levels[0] <= x <= levels[-1]:
            if x < levels[0]:
                part = f"1/{levels[0] / x:.3g} of the smallest measured, {levels[0]}"
            else:
                part = f"{x / levels[-1]:.3g} times the largest measured, {levels[-1]}"
            beyond.append(f"{name} {x:.0f} is {part}")
        elif x not in levels:
            low, high = max(v for v in levels if v < x), min(v for v in levels if v > x)
            between.append(f"{name} {x:.0f} lies between {low} and {high}")
    if beyond:
        text = "; ".join(beyond + between)
        return f"Not measured there: {text}. The interval is wider for it; try it out.", "beyond"
    if between:
        return f"Interpolated: {'; '.join(between)}.", "between"
    return "Measured at exactly this setting.", "measured"
