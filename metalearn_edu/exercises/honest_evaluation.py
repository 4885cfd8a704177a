"""Reference solutions of the exercises of notebook 02, and the examples they are compared on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "NEEDED_EXAMPLES",
    "NEEDED_HINT",
    "PAIRED_EXAMPLES",
    "PAIRED_HINT",
    "READ_EXAMPLES",
    "READ_HINT",
    "episodes_needed",
    "paired_difference",
    "read_interval",
]


def episodes_needed(std: float, half_width: float) -> int:
    """Smallest number n of episodes with 1.96 * std / sqrt(n) <= half_width."""
    return math.ceil((1.96 * std / half_width) ** 2)


def read_interval(
    mean: float, half_width: float, n_episodes: int, n_queries: int
) -> tuple[float, float]:
    """Standard deviation of an episode, and of n_queries independent queries; all fractions."""
    s = half_width * math.sqrt(n_episodes) / 1.96
    return s, math.sqrt(mean * (1 - mean) / n_queries)


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean of first - second, scores (n,) on the same episodes, and half of its 95 % interval."""
    difference = first - second
    half = 1.96 * difference.std() / math.sqrt(len(difference))
    return difference.mean().item(), half.item()


NEEDED_EXAMPLES = [(9.0, 5.0), (9.0, 1.0), (0.1, 0.005), (23.0, 1.84)]
NEEDED_HINT = (
    "n is the square of 1.96 * std / half_width, rounded up: fewer episodes would give a wider "
    "interval than asked for"
)
READ_EXAMPLES = [(0.487, 0.0184, 600, 5), (0.4942, 0.0078, 600, 75), (0.2, 0.05, 4, 16)]
READ_HINT = (
    "first s, from half_width = 1.96 * s / sqrt(n_episodes); then the square root of "
    "mean * (1 - mean) / n_queries; all of them are fractions"
)
_FIRST = torch.tensor([0.6, 0.8, 0.7, 0.9], dtype=torch.float64)
_SECOND = torch.tensor([0.5, 0.8, 0.6, 0.8], dtype=torch.float64)
PAIRED_EXAMPLES = [(_FIRST, _SECOND), (_SECOND, _FIRST.flip(0))]
PAIRED_HINT = (
    "subtract the scores episode by episode, then take 1.96 * s / sqrt(n) of the differences, "
    "with n - 1 in s"
)
