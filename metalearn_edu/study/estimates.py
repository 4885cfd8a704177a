"""The accuracy to expect at a point of a study, with its interval; also for differences.

Between the points of the grid we interpolate the logit of the accuracy, log(p / (1 - p)), linearly
in the logarithms of n_classes, n_way and n_shot; beyond it we extrapolate in a straight line, and
widen the interval by the difference between that line and the value at the edge. Introduced in
notebook 11.

What is unusual: an estimate is a weighted sum of episodes' accuracies, and so is the difference of
two algorithms, on the same episodes and seeds. One formula gives the standard error of both:

    se^2 = s_seed^2 / n_seeds + sum over cells of s_episode^2 / n_episodes

where s_seed is the spread of the weighted sum between seeds (first weights, training episodes,
which classes), and s_episode that between episodes within a cell of n_way and n_shot. The degrees
of freedom are those of Welch and Satterthwaite; three seeds make wide intervals.

What one seed makes of one episode, beyond what both do elsewhere, is in both spreads. To count it
once one would subtract s_rest^2 / (n_seeds n_episodes); we do not, so intervals err on the wide
side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .evidence import Evidence, cell_weights, nearest_inside

__all__ = [
    "Estimate",
    "Forecast",
    "difference",
    "estimate",
    "forecast",
    "paired",
    "sigmoid",
    "student",
    "tail",
]


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

    @property
    def p_value(self) -> float:
        """How often luck alone strays as far from 0 as this value, or farther."""
        if not self.error:
            return float(self.value == 0)
        return tail(abs(self.value) / self.error, self.degrees)


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


def student(degrees: float, confidence: float = 0.95) -> float:
    """The t within which 95 % of Student's distribution lie: 12.7 for 1, 4.30 for 2, 1.96 for many.

    Args:
        degrees: of freedom.
        confidence: the share that lies within, if not 95 %.
    """
    degrees = min(degrees, 1e4)
    angles, within = _student(degrees)
    return float(math.sqrt(degrees) * np.tan(np.interp(confidence, within, angles)))


def tail(t: float, degrees: float) -> float:
    """The share of Student's distribution that lies beyond -t and t."""
    degrees = min(degrees, 1e4)
    angles, within = _student(degrees)
    return float(1 - np.interp(math.atan(t / math.sqrt(degrees)), angles, within))


@lru_cache(maxsize=256)
def _student(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles a, and the share of Student's distribution with |t| below sqrt(degrees) * tan(a).

    With t = sqrt(degrees) * tan(a) the density is proportional to cos(a)^(degrees - 1), which we
    sum numerically.
    """
    edges = np.linspace(0, np.pi / 2, 20_001)
    mass = np.cumsum(np.cos((edges[1:] + edges[:-1]) / 2) ** (degrees - 1))
    return edges, np.append(0, mass / mass[-1])


@dataclass(frozen=True)
class Forecast:
    """For one algorithm at a point: expected accuracy, its 95 % interval, and its ingredients.

    `weighted` sums to the changes of the accuracy; `estimate` takes it, also for differences.
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
    slopes = (weights / (p * (1 - p)))[..., None, None]  # d logit / d accuracy, by cell
    half = estimate(slopes * values).half_width + abs(here - edge)
    accuracy = sigmoid(here)
    weighted = accuracy * (1 - accuracy) * slopes * values
    return Forecast(accuracy, sigmoid(here - half), sigmoid(here + half), sigmoid(edge), weighted)


def _logits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of each cell and its logit, from accuracies (*cells, seeds, episodes)."""
    p = values.mean(axis=(-2, -1)).clip(1e-3, 1 - 1e-3)  # so that an accuracy of 1 has a logit
    return p, np.log(p / (1 - p))


def sigmoid(x: float) -> float:
    """The accuracy with this logit."""
    return 1 / (1 + math.exp(-x))


def difference(first: Forecast, second: Forecast) -> tuple[float, float]:
    """First minus second, paired by seed and episode: (difference, half its 95 % interval)."""
    gap = paired(first, second)
    beyond = abs(gap.value - (first.edge - second.edge))
    return gap.value, gap.half_width + beyond


def paired(first: Forecast, second: Forecast) -> Estimate:
    """First minus second, paired by seed and episode, with the error within the measured range."""
    gap = estimate(first.weighted - second.weighted)
    return replace(gap, value=first.accuracy - second.accuracy)
