"""The exercises of notebook 12: a rule without training, and what makes a figure honest."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..checker.exercise import Case, exercise_of
from ..checker.question import question_of

LESSON = "12_capstone.txt"

__all__ = ["EXERCISES", "hausdorff_distance"]


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
    question_of("each_once", lesson=LESSON),
    question_of("twice_in_one_class", lesson=LESSON),
]
