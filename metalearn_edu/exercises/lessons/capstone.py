"""The exercises of notebook 12: a gain over seeds, a rule without training, honest figures."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Case, exercise_of
from ..checker.question import question_of

LESSON = "12_capstone.txt"

__all__ = ["EXERCISES", "hausdorff_distance", "paired_gain"]


# --- what a change of the training is worth ---------------------------------------------------


def paired_gain(before: Tensor, after: Tensor, t: float) -> tuple[float, float]:
    """Mean of before - after over the seeds, and half the width of its 95 % interval.

    before, after: (n_seeds,) errors with the same seeds; t: Student's factor for that many seeds.
    """
    gains = before - after
    return gains.mean().item(), t * gains.std().item() / len(gains) ** 0.5


def _draw_gain(generator: Generator) -> tuple[Tensor, Tensor, float]:
    n_seeds = draw_int(2, 8, generator)
    luck = 4 * torch.randn(n_seeds, generator=generator)
    before, after = 30 + luck + torch.randn(2, n_seeds, generator=generator)
    return before, after - 3, 2 + 3 * torch.rand(1, generator=generator).item()


GAIN = exercise_of(
    paired_gain,
    lesson=LESSON,
    cases=[
        # gains 2, 2, 2: no spread
        Case((torch.tensor([30.0, 31.0, 35.0]), torch.tensor([28.0, 29.0, 33.0]), 4.3), (2.0, 0.0)),
        # gains 1 and 3: mean 2, deviation the root of 2, standard error 1
        Case((torch.tensor([4.0, 4.0]), torch.tensor([3.0, 1.0]), 12.7), (2.0, 12.7)),
        # gains 3, 0, -3, 0: mean 0, deviation the root of 6, standard error that of 1.5
        Case(
            (torch.tensor([5.0, 6.0, 1.0, 9.0]), torch.tensor([2.0, 6.0, 4.0, 9.0]), 2.0),
            (0.0, 2 * 1.5**0.5),
        ),
    ],
    draw=_draw_gain,
)


# --- a rule without training ------------------------------------------------------------------


def hausdorff_distance(p: Tensor, q: Tensor) -> Tensor:
    """Modified Hausdorff distance of two sets of points (n, 2) and (m, 2): a scalar.

    The mean distance from a point of one set to the nearest of the other, both ways; the larger.
    """
    distances = (p[:, None] - q[None]).square().sum(dim=-1).sqrt()  # (n, m)
    there, back = distances.amin(dim=1).mean(), distances.amin(dim=0).mean()
    return torch.maximum(there, back)


def _draw(generator: Generator) -> tuple[Tensor, Tensor]:
    n, m = torch.randint(2, 12, (2,), generator=generator).tolist()
    return torch.randn(n, 2, generator=generator), 2 * torch.randn(m, 2, generator=generator)


def _points(*rows: tuple[float, float]) -> Tensor:
    return torch.tensor(rows)


EXERCISES = [
    question_of("closed_set", lesson=LESSON),
    GAIN,
    exercise_of(
        hausdorff_distance,
        lesson=LESSON,
        cases=[
            Case((_points((0.0, 0.0)), _points((3.0, 4.0))), torch.tensor(5.0)),
            # From p: 0 and 2, mean 1. From q: 0.
            Case((_points((0.0, 0.0), (2.0, 0.0)), _points((0.0, 0.0))), torch.tensor(1.0)),
            # From p: 1. From q: 1, 5 and 6, mean 4.
            Case(
                (_points((0.0, 0.0)), _points((1.0, 0.0), (3.0, 4.0), (0.0, -6.0))),
                torch.tensor(4.0),
            ),
            # The same two points, in another order.
            Case(
                (_points((0.0, 0.0), (1.0, 0.0)), _points((1.0, 0.0), (0.0, 0.0))),
                torch.tensor(0.0),
            ),
        ],
        draw=_draw,
    ),
    question_of("one_alphabet", lesson=LESSON),
    question_of("which_mistakes", lesson=LESSON),
    question_of("each_once", lesson=LESSON),
    question_of("twice_in_one_class", lesson=LESSON),
    question_of("chosen_where", lesson=LESSON),
]
