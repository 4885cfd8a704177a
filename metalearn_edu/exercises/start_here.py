"""The warm-up of notebook 00."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .draws import draw_int
from .exercise import Case, Exercise, Mistake

__all__ = ["EXERCISES", "share_right"]


def share_right(answers: Tensor, truth: Tensor) -> float:
    """The share of the answers (Q,) that are the true labels (Q,), as a fraction in [0, 1]."""
    return (answers == truth).float().mean().item()


def _counts(answers: Tensor, truth: Tensor) -> int:
    return int((answers == truth).sum())


def _percent(answers: Tensor, truth: Tensor) -> float:
    return 100 * share_right(answers, truth)


def _table(answers: Tensor, truth: Tensor) -> Tensor:
    return (answers == truth).float()


def _all_or_nothing(answers: Tensor, truth: Tensor) -> bool:
    return torch.equal(answers, truth)


def _share_wrong(answers: Tensor, truth: Tensor) -> float:
    return 1 - share_right(answers, truth)


def _mean_of_truth_values(answers: Tensor, truth: Tensor) -> float:
    return (answers == truth).mean().item()


def _divides_by_classes(answers: Tensor, truth: Tensor) -> float:
    return _counts(answers, truth) / len(truth.unique())


def _among_the_labels(answers: Tensor, truth: Tensor) -> float:
    return torch.isin(answers, truth).float().mean().item()


def _mean_distance(answers: Tensor, truth: Tensor) -> float:
    return (answers - truth).abs().float().mean().item()


def _same_object(answers: Tensor, truth: Tensor) -> float:
    return sum(a is b for a, b in zip(answers, truth, strict=True)) / len(truth)


def _draw(generator: Generator) -> tuple[Tensor, Tensor]:
    n_queries, n_labels = draw_int(1, 30, generator), draw_int(3, 7, generator)
    answers, truth = torch.randint(n_labels, (2, n_queries), generator=generator)
    return answers, truth


EXERCISES = [
    Exercise(
        solution=share_right,
        lesson=0,
        aim="use the exercises of this course",
        minutes=3,
        difficulty="easy",
        cases=[
            Case((torch.tensor([0, 1, 1, 4, 2]), torch.tensor([0, 1, 3, 4, 0])), 0.6),
            Case((torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3])), 1.0),
            Case((torch.tensor([1, 1, 1, 1]), torch.tensor([0, 0, 0, 0])), 0.0),
        ],
        draw=_draw,
        mistakes=[
            Mistake(_counts, "this is how many are right; divide by the number of queries"),
            Mistake(_percent, "these are percent; a fraction is asked for, 0.6 and not 60"),
            Mistake(_table, "this is one number for each query; take their mean"),
            Mistake(_all_or_nothing, "this says whether all are right; how large is the share?"),
            Mistake(_share_wrong, "this is the share that is wrong; compare with == and not !="),
            Mistake(
                _mean_of_truth_values,
                "truth values have no mean in PyTorch; make them numbers first, with `.float()`",
            ),
            Mistake(
                _divides_by_classes,
                "this divides by the number of different labels; divide by the number of queries",
            ),
            Mistake(
                _among_the_labels,
                "this asks whether an answer occurs anywhere in `truth`; compare place by place, "
                "with ==",
            ),
            Mistake(
                _mean_distance,
                "labels are names: 4 is no further from 0 than 1 is. Count the equal ones, with ==",
            ),
            Mistake(
                _same_object,
                "`is` asks for the same object, and two tensors are never that; == asks for the "
                "same value",
            ),
        ],
        hints=[
            "A truth value counts as 1 if it is true and as 0 if not. The mean of ones and zeros "
            "is a share.",
            "`(answers == truth).float()` makes the truth values numbers; `.mean()` is their mean.",
        ],
    )
]
