"""What a study says: accuracies and costs on a grid of n_classes, n_way and n_shot.

The weights here say how much each cell contributes to a point between or beyond them; they are
linear in the logarithms of the three. Introduced in notebook 11.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from ..runs import ALGORITHMS
from .table import Study, load_study

__all__ = [
    "Evidence",
    "axis_weights",
    "by_moment",
    "cell_costs",
    "cell_weights",
    "evidence",
    "nearest_inside",
    "sources_of",
]

IMAGES_PER_CLASS = 20
"""Items per class in both data sets of the stored study."""

COSTS = ("train_seconds", "adapt_ms", "peak_memory_mb")


@dataclass(frozen=True)
class Evidence:
    """What a study says about one data set, as far as all algorithms have all cells.

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


@lru_cache(maxsize=16)  # a study never changes, so its identity is enough as a key
def evidence(study: Study, data: str) -> Evidence:
    """What the study says about one data set; seeds that lack a cell are left out.

    Raises:
        ValueError: the study has no such data set, several training times, or no seed that has
            every cell.
    """
    part = study.where(data=data)
    if not part.rows:
        raise ValueError(f"data must be one of {', '.join(study.values('data'))}; got {data!r}")
    if len(times := part.values("after_seconds")) > 1:
        said = ", ".join(f"{seconds:g}" for seconds in times)
        raise ValueError(
            f"the study has scored its trainings after {said} seconds; choose one, as "
            f"study.where(after_seconds={times[-1]:g})"
        )
    levels = part.values("n_classes"), part.values("n_way"), part.values("n_shot")
    where = _row_numbers(part, list(product(*levels)))
    if not all(numbers.size for numbers in where.values()):
        raise ValueError(
            f"no seed of the study has every cell of {data}; "
            "metalearn-edu study with the same options finishes it"
        )
    sizes = tuple(map(len, levels))
    costs = {cost: np.array([getattr(row, cost) for row in part.rows]) for cost in COSTS}
    return Evidence(
        data,
        levels,
        {n: part.accuracy[i].reshape(*sizes, *i.shape[1:], -1) for n, i in where.items()},
        {
            name: {cost: costs[cost][i].mean(axis=1).reshape(sizes) for cost in COSTS}
            for name, i in where.items()
        },
        {name: any(part.rows[k].transductive for k in i.flat) for name, i in where.items()},
    )


def by_moment(study: Study) -> dict[float, list[Evidence]]:
    """What the study says of each data set, by the seconds after which trainings were scored.

    Raises:
        ValueError: as `evidence`, or each training was scored once.
    """
    times = study.values("after_seconds") if study.rows else []
    if len(times) < 2:
        raise ValueError(
            "study must have scored each training several times, as load_study(OVER_TIME) has, or "
            "one that metalearn-edu study --seconds made"
        )
    return {t: sources_of(study.where(after_seconds=t)) for t in times}


def _row_numbers(part: Study, cells: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    """By algorithm, (cells, seeds) row numbers of the seeds that have every cell."""
    algorithms = [name for name in ALGORITHMS if name in part.values("algorithm")]
    rows = {
        (r.algorithm, r.n_classes, r.n_way, r.n_shot, r.seed): i for i, r in enumerate(part.rows)
    }
    complete = [
        seed
        for seed in part.values("seed")
        if all((name, *cell, seed) in rows for name in algorithms for cell in cells)
    ]
    return {
        name: np.array([[rows[name, *cell, seed] for seed in complete] for cell in cells], int)
        for name in algorithms
    }


def sources_of(study: Study | None, data: str | None = None) -> list[Evidence]:
    """What a study (default: the stored one) says about a data set, or about each of its own."""
    study = load_study() if study is None else study
    if not isinstance(study, Study):
        raise ValueError(f"study must be a Study, as load_study gives it; got {study!r:.60}")
    if data is not None and not isinstance(data, str):
        raise ValueError(f"data must be the name of a data set, got {data!r:.60}")
    if not study.rows:
        raise ValueError("study has no rows; metalearn-edu study measures some")
    names = study.values("data") if data is None else [data]
    return [evidence(study, name) for name in names]


def axis_weights(levels: list[int], value: float) -> np.ndarray:
    """Weights of the levels for linear interpolation in the logarithm; they sum to 1.

    Beyond the levels, the line through the last two continues, and some weights are negative.
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
    """The nearest point of the measured range."""
    return tuple(
        min(max(x, levels[0]), levels[-1]) for levels, x in zip(evidence.levels, point, strict=True)
    )


def cell_costs(evidence: Evidence, algorithm: str, point: tuple[float, ...]) -> dict[str, float]:
    """Each of COSTS at a point; between and beyond the cells, its logarithm is linear."""
    weights = cell_weights(evidence, point)
    logs = {cost: np.log(values) for cost, values in evidence.costs[algorithm].items()}
    return {cost: float(np.exp((weights * log).sum())) for cost, log in logs.items()}
