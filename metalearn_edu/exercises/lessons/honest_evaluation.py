"""The exercises of notebook 02: intervals, and two evaluations to fix."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "02_honest_evaluation.txt"

__all__ = [
    "EXERCISES",
    "episodes_needed",
    "half_width_of_rounds",
    "normalise_queries",
    "paired_difference",
    "read_interval",
]


def _between(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


# --- how many episodes -----------------------------------------------------------------------


def episodes_needed(std: float, half_width: float) -> int:
    """Smallest number n of episodes with 1.96 * std / sqrt(n) <= half_width."""
    return math.ceil((1.96 * std / half_width) ** 2)


def _by_search(std: float, half_width: float) -> int:
    n = 1
    while 1.96 * std / math.sqrt(n) > half_width:
        n += 1
    return n


def _draw_needed(generator: Generator) -> tuple[float, float]:
    std = _between(0.05, 25, generator)
    return std, std / _between(1.5, 20, generator)


NEEDED = exercise_of(
    episodes_needed,
    lesson=LESSON,
    cases=[
        Case((9.0, 1.0), 312),  # 17.64 squared is 311.2
        Case((9.0, 5.0), 13),  # 3.528 squared is 12.4
        Case((0.1, 0.05), 16),  # 3.92 squared is 15.4
        Case((0.03, 0.01176), 25),  # 5 squared; no float formula rounds it above 25
    ],
    draw=_draw_needed,
    ways=[_by_search],
)


# --- a published interval --------------------------------------------------------------------


def read_interval(
    mean: float, half_width: float, n_episodes: int, n_queries: int
) -> tuple[float, float]:
    """Standard deviation of an episode, and of n_queries independent queries; all fractions."""
    s = half_width * math.sqrt(n_episodes) / 1.96
    return s, math.sqrt(mean * (1 - mean) / n_queries)


def _draw_read(generator: Generator) -> tuple[float, float, int, int]:
    mean, half_width = _between(0.1, 0.9, generator), _between(0.002, 0.03, generator)
    return mean, half_width, draw_int(50, 2000, generator), draw_int(4, 120, generator)


READ = exercise_of(
    read_interval,
    lesson=LESSON,
    cases=[
        Case((0.5, 0.0196, 100, 25), (0.1, 0.1)),  # 0.0196 * 10 / 1.96; sqrt(0.25 / 25)
        Case((0.2, 0.049, 4, 16), (0.05, 0.1)),  # 0.049 * 2 / 1.96; sqrt(0.16 / 16)
    ],
    draw=_draw_read,
)


# --- two learners on the same episodes -------------------------------------------------------


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean of first - second, scores (n,) on the same episodes, and half of its 95 % interval."""
    difference = first - second
    half = 1.96 * difference.std() / math.sqrt(len(difference))
    return difference.mean().item(), half.item()


def _draw_paired(generator: Generator) -> tuple[Tensor, Tensor]:
    n = draw_int(3, 40, generator)
    tasks = torch.rand(n, generator=generator, dtype=torch.float64)
    noise = torch.rand(2, n, generator=generator, dtype=torch.float64)
    first, second = 0.3 + 0.4 * tasks + 0.3 * noise
    return first, second - 0.1


_FIRST = torch.tensor([0.6, 0.8, 0.7, 0.9], dtype=torch.float64)
_SECOND = torch.tensor([0.5, 0.8, 0.5, 0.8], dtype=torch.float64)

PAIRED = exercise_of(
    paired_difference,
    lesson=LESSON,
    cases=[
        # differences 0.1, 0, 0.2, 0.1: squared deviations 0.02, over 3, root 0.081650
        Case((_FIRST, _SECOND), (0.1, 0.0800167)),
        Case((_SECOND, _SECOND), (0.0, 0.0)),
        Case((_SECOND, _FIRST), (-0.1, 0.0800167)),
    ],
    draw=_draw_paired,
)


# --- find the bug: rounds over the same tasks ------------------------------------------------


def half_width_of_rounds(scores: Tensor) -> float:
    """Half of the 95 % interval of the mean of scores (n_rounds, n_tasks) on the same tasks."""
    of_tasks = scores.mean(dim=0)  # (n_tasks,)
    return (1.96 * of_tasks.std() / math.sqrt(len(of_tasks))).item()


def _pooled(scores: Tensor) -> float:
    return (1.96 * scores.std() / math.sqrt(scores.numel())).item()


def _draw_rounds(generator: Generator) -> tuple[Tensor]:
    n_rounds, n_tasks = draw_int(2, 7, generator), draw_int(8, 30, generator)
    tasks = torch.rand(n_tasks, generator=generator, dtype=torch.float64)
    noise = torch.rand(n_rounds, n_tasks, generator=generator, dtype=torch.float64)
    return (0.2 + 0.6 * tasks + 0.2 * noise,)


ROUNDS = exercise_of(
    half_width_of_rounds,
    lesson=LESSON,
    buggy=_pooled,
    cases=[
        # two equal rounds over tasks with 0.4 and 0.6: s = 0.141421, over the root of 2 tasks
        Case((torch.tensor([[0.4, 0.6], [0.4, 0.6]]),), 0.196),
        Case((torch.tensor([[0.5, 0.5], [0.7, 0.7], [0.3, 0.3]]),), 0.0),
        # means of the tasks 0.3, 0.6, 0.9: s = 0.3, over the root of 3
        Case((torch.tensor([[0.2, 0.5, 0.8], [0.4, 0.7, 1.0]]),), 0.339482),
        # means 0.4, 0.6, 0.5: s = 0.1, over the root of 3
        Case((torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.3, 0.5]]),), 0.113161),
    ],
    draw=_draw_rounds,
)


# --- find the bug: queries that inform each other --------------------------------------------


def normalise_queries(support_z: Tensor, query_z: Tensor) -> Tensor:
    """Queries (Q, d) minus the support set's mean, divided by its spread, column by column.

    Each query is judged on its own. The spread of support_z (S, d) is the square root of
    (mean squared deviation + 1e-5).
    """
    mean = support_z.mean(dim=0)
    variance = support_z.var(dim=0, correction=0)
    return (query_z - mean) / (variance + 1e-5).sqrt()


def _by_queries(support_z: Tensor, query_z: Tensor) -> Tensor:
    mean = query_z.mean(dim=0)
    variance = query_z.var(dim=0, correction=0)
    return (query_z - mean) / (variance + 1e-5).sqrt()


def _draw_normalise(generator: Generator) -> tuple[Tensor, Tensor]:
    n_support, n_queries, d = (draw_int(2, 8, generator) for _ in range(3))
    shift = 3 * torch.rand(d + 1, generator=generator)
    support_z = shift + torch.randn(n_support + 2, d + 1, generator=generator)
    return support_z, 1 + 2 * torch.randn(n_queries, d + 1, generator=generator)


NORMALISE = exercise_of(
    normalise_queries,
    lesson=LESSON,
    buggy=_by_queries,
    cases=[
        # columns of the support set: mean 1 and 0, spread 1 and 2
        Case(
            (torch.tensor([[0.0, 2.0], [2.0, -2.0]]), torch.tensor([[3.0, 1.0]])),
            torch.tensor([[1.99999, 0.499999]]),
        ),
        # one support item: the spread is the root of 0.00001, 0.0031623
        Case(
            (torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.01], [1.02, 2.0]])),
            torch.tensor([[0.0, 3.16228], [6.32456, 0.0]]),
        ),
    ],
    draw=_draw_normalise,
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    NEEDED,
    READ,
    ROUNDS,
    PAIRED,
    NORMALISE,
    question_of("half_as_wide", lesson=LESSON),
    question_of("no_spread_at_all", lesson=LESSON),
]
