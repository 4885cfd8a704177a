"""The exercises of notebook 12: a rule without training, and what makes a figure honest."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..checker.edits import mistakes_of
from ..checker.exercise import Case, Exercise
from ..checker.question import Option, Question

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
    Exercise(
        solution=hausdorff_distance,
        lesson=12,
        aim="write the baseline of the published one-shot task",
        minutes=8,
        difficulty="medium",
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
        mistakes=mistakes_of(hausdorff_distance, lesson=LESSON),
        hints=[
            "First all distances, (n, m): `p[:, None] - q[None]`, squared, summed, root. Then of "
            "each row the smallest, and their mean; the same for the columns.",
            "`distances.amin(dim=1).mean()` is the way from p to q; `torch.maximum` of both ways.",
        ],
    ),
    Question(
        name="one_alphabet",
        lesson=12,
        aim="say what makes a task hard",
        minutes=2,
        difficulty="easy",
        text="Twenty letters to learn from one drawing each. When will a learner err more often: "
        "if the letters come from anywhere, or all from one alphabet?",
        options={
            "a": Option(
                "From anywhere: there is more to know",
                "More variety makes the letters easier to tell apart, not harder.",
            ),
            "b": Option(
                "From one alphabet",
                "Letters of one alphabet share strokes and style, as b, d, p and q do. And here "
                "one person draws what we learn from and another what we are asked.",
            ),
            "c": Option(
                "No difference: both are 20-way 1-shot",
                "Way and shot fix the chance level, not how alike the classes are.",
            ),
        },
        right="b",
    ),
    Question(
        name="each_once",
        lesson=12,
        aim="keep to the rules of a task",
        minutes=3,
        difficulty="medium",
        text="In an official run each of the 20 characters is asked for exactly once. A program "
        "that hands out every label once errs much less often. Is its figure comparable with the "
        "published ones?",
        options={
            "a": Option(
                "Yes: it uses nothing but the files of the run",
                "It uses more: that the questions form a set, each answer of which rules others "
                "out.",
            ),
            "b": Option(
                "Yes, if the learner was trained on background alphabets only",
                "That is needed as well, but it is another rule.",
            ),
            "c": Option(
                "No: the answer to one question then depends on the other questions",
                "It is transductive (lesson 02), and more: it knows how many queries each class "
                "has. Say so, or answer each question by itself.",
            ),
        },
        right="c",
    ),
    Question(
        name="twice_in_one_class",
        lesson=12,
        aim="see how a bad folder makes a good figure",
        minutes=2,
        difficulty="easy",
        text="Somebody saved a third of their pictures twice, under two names, in the same class. "
        "What does that do to the measured 1-shot accuracy?",
        options={
            "a": Option(
                "It goes up, and means nothing",
                "Where both copies meet in an episode, any rule that compares pictures is right. "
                "The check finds such pairs before you measure.",
            ),
            "b": Option(
                "Nothing: the labels are right",
                "The labels are right, but in some episodes a query is the very support picture.",
            ),
            "c": Option(
                "It goes down: the learner is confused",
                "A picture is never far from its copy. Confusion comes from a picture in two "
                "classes, which the check finds, too.",
            ),
        },
        right="a",
    ),
]
