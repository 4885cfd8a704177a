"""The exercises of notebook 11: how sure a study is, between its cells, and a rule to fix."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "11_which_algorithm.txt"

__all__ = ["EXERCISES", "best_measured", "error_of_study", "expected_between"]


# --- how sure is a cell ----------------------------------------------------------------------


def error_of_study(accuracy: Tensor) -> float:
    """Standard error of the mean of accuracy (seeds, episodes); all seeds share the episodes.

    The root of s_seed^2 / n_seeds + s_episode^2 / n_episodes: the spread between the means of
    the seeds, and between the means of the episodes.
    """
    n_seeds, n_episodes = accuracy.shape
    of_seeds = accuracy.mean(dim=1).var() / n_seeds
    of_episodes = accuracy.mean(dim=0).var() / n_episodes
    return (of_seeds + of_episodes).sqrt().item()


def _draw_accuracy(generator: Generator) -> tuple[Tensor]:
    n_seeds, n_episodes = draw_int(2, 6, generator), draw_int(3, 30, generator)
    seeds = 0.1 * torch.randn(n_seeds, 1, generator=generator)
    return (0.7 + seeds + 0.05 * torch.randn(n_seeds, n_episodes, generator=generator),)


ERROR = exercise_of(
    error_of_study,
    lesson=LESSON,
    cases=[
        # means of the seeds 0.5 and 0.7, variance 0.02; of the episodes 0.6 each, variance 0
        Case((torch.tensor([[0.5, 0.5], [0.7, 0.7]]),), 0.1),
        # the seeds agree; means of the episodes 0.5 and 0.9, variance 0.08
        Case((torch.tensor([[0.5, 0.9], [0.5, 0.9]]),), 0.2),
        # the scores differ, but no seed and no episode is better than another: all means are 0.75
        Case((torch.tensor([[0.5, 1.0], [1.0, 0.5]]),), 0.0),
    ],
    draw=_draw_accuracy,
)


# --- between the cells -----------------------------------------------------------------------


def expected_between(low: float, high: float, p_low: float, p_high: float, x: float) -> float:
    """Accuracy at x, from p_low at low and p_high at high: the logit is linear in log x.

    Below low or above high nobody has measured: nan, which is not a number.
    """
    if not low <= x <= high:
        return math.nan
    share = math.log(x / low) / math.log(high / low)
    logits = [math.log(p / (1 - p)) for p in (p_low, p_high)]
    logit = (1 - share) * logits[0] + share * logits[1]
    return 1 / (1 + math.exp(-logit))


def _draw_between(generator: Generator) -> tuple[float, float, float, float, float]:
    low, p_low, p_high, share = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    low, high = 2 + 50 * low, (2 + 50 * low) * (2 + 10 * p_low)
    return low, high, 0.1 + 0.8 * p_low, 0.1 + 0.8 * p_high, low * (high / low) ** (2 * share - 0.5)


BETWEEN = exercise_of(
    expected_between,
    lesson=LESSON,
    cases=[
        Case((50.0, 200.0, 0.5, 0.8, 50.0), 0.5),
        Case((50.0, 200.0, 0.5, 0.8, 200.0), 0.8),
        Case((50.0, 200.0, 0.5, 0.8, 100.0), 2 / 3),  # odds 1 and 4; half-way between: 2
        Case((50.0, 200.0, 0.5, 0.8, 201.0), math.nan),  # nobody has measured there
        Case((50.0, 200.0, 0.5, 0.8, 49.0), math.nan),
        Case((5.0, 20.0, 0.8, 0.5, 10.0), 2 / 3),  # odds 4 and 1: here more is worse
    ],
    draw=_draw_between,
)


# --- the rule with no evidence ---------------------------------------------------------------


def best_measured(accuracy: Tensor, settings: Tensor, request: Tensor) -> int:
    """The algorithm that did best in the measured setting nearest to the request.

    accuracy (settings, algorithms); settings (settings, 3) and request (3,) hold the number of
    images, n_way and n_shot; near means near in the logarithms of the three.
    """
    distance = (settings.log() - request.log()).square().sum(dim=1)
    return int(accuracy[distance.argmin()].argmax())


def _rule_of_thumb(accuracy: Tensor, settings: Tensor, request: Tensor) -> int:
    n_images, _, n_shot = request.tolist()
    if n_shot < 5:
        return 0  # prototypes
    return 1 if n_images < 1000 else 2  # a relation network, or MAML


def _draw_measured(generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    n_settings, n_algorithms = draw_int(4, 40, generator), draw_int(3, 30, generator)
    highest = torch.tensor([9.0, 3.5, 3.0])
    settings = (1 + highest * torch.rand(n_settings, 3, generator=generator)).exp()
    accuracy = torch.rand(n_settings, n_algorithms, generator=generator)
    return accuracy, settings, (1 + highest * torch.rand(3, generator=generator)).exp()


RULE = exercise_of(
    best_measured,
    lesson=LESSON,
    buggy=_rule_of_thumb,
    cases=[
        Case(
            (
                torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.9, 0.7], [0.5, 0.6, 0.8]]),
                torch.tensor([[1000.0, 5.0, 1.0], [4000.0, 5.0, 1.0], [4000.0, 20.0, 5.0]]),
                torch.tensor([5000.0, 6.0, 1.0]),
            ),
            1,  # the second setting is nearest
        ),
        Case(
            (
                torch.tensor([[0.9, 0.2], [0.3, 0.4]]),
                torch.tensor([[100.0, 5.0, 5.0], [3000.0, 5.0, 5.0]]),
                torch.tensor([1000.0, 5.0, 5.0]),
            ),
            1,  # 3000 is 3 times 1000, and 100 a tenth of it
        ),
        Case(
            (
                torch.tensor([[0.9, 0.2], [0.3, 0.4]]),
                torch.tensor([[1000.0, 5.0, 1.0], [1000.0, 20.0, 1.0]]),
                torch.tensor([1000.0, 19.0, 1.0]),
            ),
            1,  # as many images in both, and 20 is nearer to 19
        ),
        Case(
            (
                torch.tensor([[0.9, 0.2], [0.3, 0.4]]),
                torch.tensor([[1000.0, 5.0, 1.0], [1000.0, 5.0, 5.0]]),
                torch.tensor([1000.0, 5.0, 4.0]),
            ),
            1,  # as many images and classes in both, and 5 shots are nearer to 4
        ),
        Case(
            (
                torch.tensor([[0.9, 0.2], [0.3, 0.4]]),
                torch.tensor([[1000.0, 20.0, 1.0], [2500.0, 11.0, 1.0]]),
                torch.tensor([1000.0, 5.0, 1.0]),
            ),
            1,  # logs 0, ln 4 from the first: 1.92; ln 2.5 and ln 2.2 from the second: 1.46
        ),
        Case(
            (
                torch.tensor([[0.9, 0.2], [0.3, 0.4]]),
                torch.tensor([[2700.0, 13.5, 2.7], [3300.0, 5.0, 1.0]]),
                torch.tensor([1000.0, 5.0, 1.0]),
            ),
            1,  # three times (ln 2.7)^2: 2.96; once (ln 3.3)^2: 1.43
        ),
    ],
    draw=_draw_measured,
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    ERROR,
    BETWEEN,
    RULE,
    question_of("more_episodes_or_more_seeds", lesson=LESSON),
    question_of("why_paired", lesson=LESSON),
    question_of("many_comparisons", lesson=LESSON),
]
