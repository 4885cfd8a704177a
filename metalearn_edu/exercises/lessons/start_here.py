"""The warm-up of notebook 00."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Case, exercise_of

LESSON = "00_start_here.txt"

__all__ = ["EXERCISES", "share_right"]


def share_right(answers: Tensor, truth: Tensor) -> float:
    """The share of the answers (Q,) that are the true labels (Q,), as a fraction in [0, 1]."""
    return (answers == truth).float().mean().item()


def _in_a_loop(answers: Tensor, truth: Tensor) -> float:
    right = 0
    for i in range(len(truth)):
        right += int(answers[i] == truth[i])
    return right / len(truth)


def _draw(generator: Generator) -> tuple[Tensor, Tensor]:
    n_queries, n_labels = draw_int(1, 30, generator), draw_int(3, 7, generator)
    answers, truth = torch.randint(n_labels, (2, n_queries), generator=generator)
    return answers, truth


EXERCISES = [
    exercise_of(
        share_right,
        lesson=LESSON,
        cases=[
            Case((torch.tensor([0, 1, 1, 4, 2]), torch.tensor([0, 1, 3, 4, 0])), 0.6),
            Case((torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3])), 1.0),
            Case((torch.tensor([1, 1, 1, 1]), torch.tensor([0, 0, 0, 0])), 0.0),
        ],
        draw=_draw,
        ways=[_in_a_loop],
    )
]
