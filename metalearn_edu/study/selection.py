"""Which algorithm, when: an answer from a measured study, with its interval and its limits.

The study has accuracies on a grid of n_way, n_shot and number of meta-training classes. Between the
points of the grid we interpolate the logit of the accuracy, log(p / (1 - p)), linearly in the
logarithms of the three; beyond it we go on in a straight line, and widen the interval by as much as
that line differs from the value at the edge. Which algorithm is best is said by the values at the
edge: lines that cross where nobody has measured are no evidence. Introduced in notebook 11.

What is unusual: an estimate is a weighted sum of episodes' accuracies, and so is the difference of
two algorithms, on the same episodes and seeds. One formula gives the standard error of both:

    se^2 = s_seed^2 / n_seeds + sum over cells of s_episode^2 / n_episodes

where s_seed is the spread of the weighted sum between seeds (first weights, training episodes,
which classes), and s_episode that between episodes within a cell of n_way and n_shot. The degrees
of freedom are those of Welch and Satterthwaite; three seeds make wide intervals.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal, get_args

import numpy as np

from ..basics.arguments import as_integer, as_number
from ..learners import MetaLearner
from ..runs import ALGORITHMS, Recipe, build_learner
from .study import LARGEST_NUMBER, Study, load_study, study_recipe

__all__ = [
    "Recommendation",
    "RuleRecord",
    "Verdict",
    "judge_rule",
    "rule_of_thumb",
    "select_meta_learning_algorithm",
]

IMAGES_PER_CLASS = 20
"""In both data sets of the stored study."""


# ---------------------------------------------------------------- the evidence


@dataclass(frozen=True)
class Evidence:
    """What a study says of one data set, as far as all algorithms have all cells.

    Attributes:
        data: its name.
        levels: the measured n_classes, n_way and n_shot, in order.
        accuracy: by algorithm, (n_classes, n_way, n_shot, seeds, episodes) fractions.
        costs: by algorithm and name, (n_classes, n_way, n_shot) means over seeds.
        transductive: by algorithm.
    """

    data: str
    levels: tuple[list[int], list[int], list[int]]
    accuracy: dict[str, np.ndarray]
    costs: dict[str, dict[str, np.ndarray]]
    transductive: dict[str, bool]

    @property
    def n_seeds(self) -> int:
        """Seeds that have every cell."""
        return next(iter(self.accuracy.values())).shape[3]

    @property
    def n_episodes(self) -> int:
        """Meta-test episodes in each cell."""
        return next(iter(self.accuracy.values())).shape[4]


COSTS = ("train_seconds", "adapt_ms", "peak_memory_mb")


@lru_cache(maxsize=16)  # a study never changes, and is told from others by what it is, not holds
def evidence(study: Study, data: str) -> Evidence:
    """What the study says of one data set; seeds that lack a cell are left out.

    Raises:
        ValueError: the study has no such data set, or no seed has every cell.
    """
    part = study.where(data=data)
    if not part.rows:
        raise ValueError(f"data must be one of {', '.join(study.values('data'))}; got {data!r}")
    algorithms = [name for name in ALGORITHMS if name in part.values("algorithm")]
    levels = part.values("n_classes"), part.values("n_way"), part.values("n_shot")
    cells = list(product(*levels))
    rows = {
        (r.algorithm, r.n_classes, r.n_way, r.n_shot, r.seed): i for i, r in enumerate(part.rows)
    }
    complete = [
        seed
        for seed in part.values("seed")
        if all((name, *cell, seed) in rows for name in algorithms for cell in cells)
    ]
    if not complete:
        raise ValueError(
            f"no seed of the study has every cell of {data}; "
            "metalearn-edu study with the same options finishes it"
        )
    shape = *map(len, levels), len(complete)
    where = {
        name: [rows[name, *cell, seed] for cell in cells for seed in complete]
        for name in algorithms
    }
    costs = {cost: np.array([getattr(row, cost) for row in part.rows]) for cost in COSTS}
    return Evidence(
        data,
        levels,
        {name: part.accuracy[i].reshape(*shape, -1) for name, i in where.items()},
        {
            name: {cost: costs[cost][i].reshape(shape).mean(axis=3) for cost in COSTS}
            for name, i in where.items()
        },
        {name: any(part.rows[k].transductive for k in i) for name, i in where.items()},
    )


def axis_weights(levels: list[int], value: float) -> np.ndarray:
    """Weights of the levels for linear interpolation in the logarithm; they sum to 1.

    Beyond the levels the line through the last two goes on; some weights are negative then.
    """
    weights = np.zeros(len(levels))
    if len(levels) == 1:
        return weights + 1
    upper = int(np.clip(np.searchsorted(levels, value), 1, len(levels) - 1))
    low, high = math.log(levels[upper - 1]), math.log(levels[upper])
    share = (math.log(value) - low) / (high - low)
    weights[upper - 1], weights[upper] = 1 - share, share
    return weights


def cell_weights(evidence: Evidence, point: tuple[float, ...]) -> np.ndarray:
    """(n_classes, n_way, n_shot) weights of the cells for a point (n_classes, n_way, n_shot)."""
    axes = [axis_weights(levels, x) for levels, x in zip(evidence.levels, point, strict=True)]
    return np.einsum("c,w,s->cws", *axes)


def nearest_inside(evidence: Evidence, point: tuple[float, ...]) -> tuple[float, ...]:
    """The point of the measured range that is nearest."""
    return tuple(
        min(max(x, levels[0]), levels[-1]) for levels, x in zip(evidence.levels, point, strict=True)
    )


def cell_costs(evidence: Evidence, algorithm: str, point: tuple[float, ...]) -> dict[str, float]:
    """Each of COSTS at a point; between and beyond the cells its logarithm is linear."""
    weights = cell_weights(evidence, point)
    logs = {cost: np.log(values) for cost, values in evidence.costs[algorithm].items()}
    return {cost: float(np.exp((weights * log).sum())) for cost, log in logs.items()}


# ---------------------------------------------------------------- estimates


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of accuracies: its value, standard error and degrees of freedom."""

    value: float
    error: float
    degrees: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval, from Student's distribution."""
        return student(self.degrees) * self.error


def estimate(weighted: np.ndarray) -> Estimate:
    """The sum over cells of weighted accuracies (n_classes, n_way, n_shot, seeds, episodes).

    Cells of one n_way and n_shot share their episodes, so they are added up before the spread
    between episodes is taken; so are all cells before that between seeds.
    """
    n_seeds, n_episodes = weighted.shape[3:]
    by_seed = weighted.mean(axis=4).sum(axis=(0, 1, 2))  # (seeds,)
    by_episode = weighted.mean(axis=3).sum(axis=0)  # (n_way, n_shot, episodes)
    parts = [(v / n_episodes, n_episodes - 1) for v in by_episode.var(axis=2, ddof=1).flat]
    if n_seeds > 1:
        parts.append((by_seed.var(ddof=1) / n_seeds, n_seeds - 1))
    variance = sum(v for v, _ in parts)
    spread = sum(v**2 / n for v, n in parts)
    degrees = variance**2 / spread if spread else math.inf
    return Estimate(float(by_seed.mean()), math.sqrt(variance), float(degrees))


def student(degrees: float) -> float:
    """The t that 95 % of Student's distribution lie within: 12.7 for 1, 4.30 for 2, 1.96 for many.

    With t = sqrt(degrees) * tan(a) the density is that of cos(a)^(degrees - 1), which we sum up.
    """
    degrees = min(degrees, 1e4)
    edges = np.linspace(0, np.pi / 2, 20_001)
    mass = np.cumsum(np.cos((edges[1:] + edges[:-1]) / 2) ** (degrees - 1))
    return float(math.sqrt(degrees) * np.tan(np.interp(0.95, mass / mass[-1], edges[1:])))


@dataclass(frozen=True)
class Forecast:
    """Of one algorithm at a point: expected accuracy, its 95 % interval, and how it was made.

    `weighted` sums to the accuracy's changes: what `estimate` takes, also of differences.
    """

    accuracy: float
    low: float
    high: float
    edge: float
    weighted: np.ndarray


def forecast(evidence: Evidence, algorithm: str, point: tuple[float, ...]) -> Forecast:
    """The accuracy to expect of an algorithm at a point (n_classes, n_way, n_shot).

    `edge` is the accuracy at the nearest point of the measured range.
    """
    values = evidence.accuracy[algorithm]
    p, logit = _logits(values)
    weights = cell_weights(evidence, point)
    inside = cell_weights(evidence, nearest_inside(evidence, point))
    here, edge = float((weights * logit).sum()), float((inside * logit).sum())
    slopes = (weights / (p * (1 - p)))[..., None, None]  # of the logit, by each cell's accuracy
    half = estimate(slopes * values).half_width + abs(here - edge)
    accuracy = sigmoid(here)
    weighted = accuracy * (1 - accuracy) * slopes * values
    return Forecast(accuracy, sigmoid(here - half), sigmoid(here + half), sigmoid(edge), weighted)


def _logits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of each cell and its logit, from accuracies (*cells, seeds, episodes)."""
    p = values.mean(axis=(-2, -1)).clip(1e-3, 1 - 1e-3)  # so that all right has a logit
    return p, np.log(p / (1 - p))


def best_map(evidence: Evidence, sizes: Any, ways: Any, n_shot: int) -> np.ndarray:
    """Which algorithm is expected to be best: numbers in the order of `evidence.accuracy`.

    Beyond the measured range it is the best at its edge.

    Args:
        sizes, ways: lists or arrays of n_classes and n_way.
    Returns:
        (len(ways), len(sizes)) int.
    """
    points = zip(evidence.levels, (sizes, ways, [n_shot]), strict=True)
    axes = [
        np.array([axis_weights(levels, x) for x in np.clip(xs, levels[0], levels[-1])])
        for levels, xs in points
    ]
    logits = [_logits(values)[1] for values in evidence.accuracy.values()]
    return np.einsum("gc,hw,ks,acws->ahg", *axes, np.stack(logits)).argmax(axis=0)


def sigmoid(x: float) -> float:
    """The accuracy of a logit."""
    return 1 / (1 + math.exp(-x))


def difference(first: Forecast, second: Forecast) -> tuple[float, float]:
    """First minus second, paired by seed and episode: (difference, half its 95 % interval)."""
    gap = first.accuracy - second.accuracy
    beyond = abs(gap - (first.edge - second.edge))
    return gap, estimate(first.weighted - second.weighted).half_width + beyond


# ---------------------------------------------------------------- the recommendation

Place = Literal["measured", "between", "beyond"]  # nearest first


@dataclass(frozen=True)
class Candidate:
    """One algorithm at the point that was asked for: what to expect, and what it costs."""

    algorithm: str
    accuracy: float
    low: float
    high: float
    train_seconds: float
    adaptation_ms: float
    memory_mb: float


@dataclass(frozen=True)
class Recommendation:
    """What `select_meta_learning_algorithm` answers. Printed, it explains itself.

    Attributes:
        learner: the class to use; `build()` makes one, ready to train.
        recipe: its settings in the study, for `recipes.train_recipe`. For a folder of your own
            images `dataclasses.replace(recipe, data=FOLDER)`; more n_steps do better.
        best, runner_up: expected accuracy with its 95 % interval, and cost; runner_up is None where
            the constraints leave one algorithm.
        difference, half_width: best minus runner-up, paired on the same episodes, with half its
            95 % interval; of several data sets the mean, and an interval that holds each one's.
        others: the rest that meets the constraints, best first.
        n_classes, n_way, n_shot: what was asked for.
        data, n_seeds, n_episodes: what was measured: data sets, seeds, episodes in each cell.
        distance: in words, how far the request lies from what was measured.
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

        Beyond the grid nothing was paired, so no difference counts as real there.
        """
        paired = self.runner_up is not None and self.place != "beyond"
        return paired and abs(self.difference) > self.half_width

    def build(self, item_shape: tuple[int, ...] = (1, 28, 28)) -> MetaLearner:
        """A new learner for items of this shape, ready for `meta_train`."""
        return build_learner(self.recipe, item_shape)

    def sentences(self) -> list[str]:
        """The explanation, sentence by sentence."""
        best, name = self.best, ALGORITHMS[self.best.algorithm].name
        seeds = f"{self.n_seeds} seeds" if self.n_seeds > 1 else "1 seed"
        lines = [
            f"{name} ({self.learner.__name__}) for {self.n_way}-way {self.n_shot}-shot tasks "
            f"after meta-training on {self.n_classes} classes.",
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
        name = ALGORITHMS[self.runner_up.algorithm].name
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
            return f"Runner-up {name} is behind by {gap} on the same episodes: a real difference."
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
                ALGORITHMS[c.algorithm].name,
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
        n_classes: meta-training classes, where they do not hold 20 images each.
        data: the data set of the study that is like yours; None: all of them, with an interval that
            spans theirs.
        max_adaptation_ms: one core may take so long to learn one task's support set.
        max_memory_mb: the process may hold so much while it trains and is scored, in 10^6 bytes.
        inductive: leave out learners whose queries inform each other.
        study: default: the stored one of the course.
    Returns:
        a Recommendation; print it, or `build()` the learner.
    Raises:
        ValueError: n_way below 2, n_shot below 1, too few images or classes for such tasks, an
            unknown data set, a value off an axis with one measured value alone, or no algorithm
            meets the constraints.
        FileNotFoundError: there is no stored study.
    """
    n_way, n_shot = as_integer("n_way", n_way, 2), as_integer("n_shot", n_shot)
    dataset_size = as_integer("dataset_size", dataset_size)
    for name, number in {"n_way": n_way, "n_shot": n_shot, "dataset_size": dataset_size}.items():
        as_integer(name, number, None, at_most=LARGEST_NUMBER)
    n_classes = _n_classes(dataset_size, n_classes, n_way, n_shot)
    limits = {"max_adaptation_ms": max_adaptation_ms, "max_memory_mb": max_memory_mb}
    for name, limit in limits.items():
        if limit is not None:
            as_number(name, limit, above=0)
    sources = _sources(study, data)
    names = [source.data for source in sources]
    point = float(n_classes), float(n_way), float(n_shot)
    for source in sources:
        _require_slopes(source, point)
    forecasts = _forecasts(sources, point)
    candidates = [_candidate(sources, forecasts, name, point) for name in forecasts]
    allowed = _allowed(candidates, sources, max_adaptation_ms, max_memory_mb, inductive)
    best, *rest = sorted(allowed, key=lambda c: -sum(f.edge for f in forecasts[c.algorithm]))
    gap, half = math.nan, math.nan
    if rest:
        pairs = zip(forecasts[best.algorithm], forecasts[rest[0].algorithm], strict=True)
        gaps, halves = zip(*(difference(a, b) for a, b in pairs), strict=True)
        gap, half = _mean_difference(gaps, halves)
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


def _sources(study: Study | None, data: str | None = None) -> list[Evidence]:
    """What a study, default the stored one, says of a data set, or of each that it has."""
    study = load_study() if study is None else study
    if not isinstance(study, Study):
        raise ValueError(f"study must be a Study, as load_study gives it; got {study!r:.60}")
    if data is not None and not isinstance(data, str):
        raise ValueError(f"data must be the name of a data set, got {data!r:.60}")
    if not study.rows:
        raise ValueError("study has no rows; metalearn-edu study measures some")
    names = study.values("data") if data is None else [data]
    return [evidence(study, name) for name in names]


def _mean_difference(gaps: Sequence[float], halves: Sequence[float]) -> tuple[float, float]:
    """Mean over data sets, with half an interval that holds each one's own difference too."""
    mean = float(np.mean(gaps))
    apart = max(abs(gap - mean) for gap in gaps)
    return mean, max(float(np.hypot.reduce(halves)) / len(halves), apart)


def _require_slopes(evidence: Evidence, point: tuple[float, ...]) -> None:
    """Refuse a point off an axis on which one value alone was measured."""
    for name, levels, x in zip(
        ("n_classes", "n_way", "n_shot"), evidence.levels, point, strict=True
    ):
        if len(levels) == 1 and x != levels[0]:
            raise ValueError(
                f"the study has measured {name} {levels[0]} alone in {evidence.data}, so it says "
                f"nothing of {x:.0f}; metalearn-edu study measures more"
            )


def _n_classes(dataset_size: int, n_classes: int | None, n_way: int, n_shot: int) -> int:
    """The number of meta-training classes, refused if such tasks cannot be drawn from them."""
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
            f"{n_shot}-shot tasks need at least {n_shot + 1} images a class, but {dataset_size} "
            f"images in {n_classes} classes are {each} each; fewer classes (n_classes) of more "
            "images would do"
        )
    return n_classes


def _forecasts(sources: list[Evidence], point: tuple[float, ...]) -> dict[str, list[Forecast]]:
    """One for each data set, of the algorithms that all of them have."""
    names = [name for name in ALGORITHMS if all(name in s.accuracy for s in sources)]
    return {name: [forecast(source, name, point) for source in sources] for name in names}


def _candidate(
    sources: list[Evidence],
    forecasts: dict[str, list[Forecast]],
    name: str,
    point: tuple[float, ...],
) -> Candidate:
    """Mean over the data sets, an interval that spans theirs, and the interpolated costs."""
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
    """`_distance` in the data set that has least near the point; it is named if others differ."""
    found = {source.data: _distance(source, point) for source in sources}
    data = max(found, key=lambda name: get_args(Place).index(found[name][1]))
    text, place = found[data]
    same = len({text for text, _ in found.values()}) == 1
    return (text if same else f"In {data}: {text[0].lower()}{text[1:]}"), place


def _distance(evidence: Evidence, point: tuple[float, ...]) -> tuple[str, Place]:
    """Where the point lies in the grid, in words and in one."""
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


# ---------------------------------------------------------------- a rule without evidence

Rule = Callable[[int, int, int], str]


def rule_of_thumb(dataset_size: int, n_way: int, n_shot: int) -> str:
    """The rule that is often copied, with no evidence given: an algorithm's name.

    Below 5 shots prototypes; else with fewer than 1000 examples a relation network; else MAML.
    """
    if n_shot < 5:
        return "prototypical"
    return "relation" if dataset_size < 1000 else "maml"


@dataclass(frozen=True)
class Verdict:
    """What a rule chose in one cell, and by how much the best was better (paired, 95 %)."""

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
        """Whether the choice is the best, or not shown to be worse: the interval includes 0."""
        return self.chosen == self.best or self.loss <= self.half_width


@dataclass(frozen=True)
class RuleRecord:
    """How a rule did in every cell of a study."""

    verdicts: tuple[Verdict, ...]
    n_seeds: int

    @property
    def n_right(self) -> int:
        """Cells where the choice was the best, or not shown to be worse."""
        return sum(verdict.is_right for verdict in self.verdicts)

    @property
    def n_best(self) -> int:
        """Cells where the choice itself had the highest accuracy."""
        return sum(verdict.chosen == verdict.best for verdict in self.verdicts)

    def __str__(self) -> str:
        worst = max(self.verdicts, key=lambda verdict: verdict.loss)
        seeds = f"{self.n_seeds} seeds" if self.n_seeds > 1 else "1 seed"
        where = f"{worst.n_way}-way {worst.n_shot}-shot tasks of {worst.data}"
        return (
            f"right in {self.n_right} of {len(self.verdicts)} cells ({seeds}): the best in "
            f"{self.n_best}, not shown to be worse in {self.n_right - self.n_best}; at worst it "
            f"loses {100 * worst.loss:.1f} percentage points: {worst.chosen} instead of "
            f"{worst.best} in {where} with {worst.n_classes} classes"
        )

    __repr__ = __str__


def judge_rule(rule: Rule = rule_of_thumb, study: Study | None = None) -> RuleRecord:
    """Hold a rule against a study: in how many cells is its choice as good as the best?

    Args:
        rule: from (dataset_size, n_way, n_shot) to the name of an algorithm of the study.
        study: default: the stored one of the course.
    Raises:
        ValueError: the rule names an algorithm that the study does not have.
        FileNotFoundError: there is no stored study.
    """
    if not callable(rule):
        raise ValueError(f"rule must be a function of (dataset_size, n_way, n_shot), got {rule!r}")
    sources = _sources(study)
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
