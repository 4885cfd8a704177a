"""The exercises of notebook 09: pooling, FiLM, vectors of classes, two bugs, and a test."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int, draw_labels
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "09_task_representations.txt"

__all__ = [
    "EXERCISES",
    "class_vectors",
    "effect_of_targets",
    "encode_pairs",
    "film_layer",
    "mean_and_spread",
    "network_input",
]

SMALL = math.sqrt(1e-6)  # the spread of what does not vary


# --- pooling ---------------------------------------------------------------------------------


def mean_and_spread(z: Tensor) -> Tensor:
    """One vector (2 d,) of a set of embedded items z (S, d): their mean, then their spread."""
    mean = z.mean(dim=0)  # (d,)
    variance = (z - mean).square().mean(dim=0)
    return torch.cat([mean, (variance + 1e-6).sqrt()])


def _draw_set(generator: Generator) -> tuple[Tensor]:
    n_items, d = draw_int(1, 9, generator), draw_int(2, 6, generator)
    return (2 * torch.randn(n_items, d, generator=generator) + 1,)


POOL = exercise_of(
    mean_and_spread,
    lesson=LESSON,
    cases=[
        Case(  # the set of the lesson
            (torch.tensor([[1.0, 0.0], [5.0, 0.0], [1.0, 0.0], [5.0, 4.0]]),),
            torch.tensor([3.0, 1.0, 2.0, math.sqrt(3)]),
        ),
        Case(  # mean (1, 2, 3), spread (1, 2, 0.001)
            (torch.tensor([[0.0, 4.0, 3.0], [2.0, 0.0, 3.0]]),),
            torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, SMALL]),
        ),
        Case((torch.tensor([[4.0, -2.0]]),), torch.tensor([4.0, -2.0, SMALL, SMALL])),  # one item
    ],
    draw=_draw_set,
)


# --- FiLM ------------------------------------------------------------------------------------


def film_layer(h: Tensor, e: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Hidden units h (Q, d), scaled and shifted as the task's vector e (E,) says, after ReLU.

    Args:
        weight, bias: (2 d, E) and (2 d,), the linear layer that makes gamma, then beta.
    """
    gamma, beta = (weight @ e + bias).chunk(2)  # (d,) each
    return F.relu((1 + gamma) * h + beta)


def _draw_film(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n_queries, d, width = (draw_int(2, 6, generator) for _ in range(3))
    return (
        1 + torch.randn(n_queries, d, generator=generator),
        torch.randn(width, generator=generator),
        torch.randn(2 * d, width, generator=generator),
        torch.randn(2 * d, generator=generator),
    )


FILM = exercise_of(
    film_layer,
    lesson=LESSON,
    cases=[
        Case(  # gamma (1, 0), beta (2, -4), as in the lesson
            (
                torch.tensor([[1.0, -2.0]]),
                torch.tensor([2.0]),
                torch.tensor([[0.5], [0.0], [1.0], [-2.0]]),
                torch.zeros(4),
            ),
            torch.tensor([[4.0, 0.0]]),
        ),
        Case(  # gamma (1, 0.5), beta (2, -1)
            (
                torch.tensor([[2.0, 4.0], [-3.0, 1.0]]),
                torch.tensor([1.0, 1.0]),
                torch.tensor([[1.0, 1.0], [0.0, 0.5], [2.0, 1.0], [-1.0, -1.0]]),
                torch.tensor([-1.0, 0.0, -1.0, 1.0]),
            ),
            torch.tensor([[6.0, 5.0], [0.0, 0.5]]),
        ),
        Case(  # no modulation: a plain ReLU
            (torch.tensor([[1.0, -1.0]]), torch.tensor([3.0]), torch.zeros(4, 1), torch.zeros(4)),
            torch.tensor([[1.0, 0.0]]),
        ),
    ],
    draw=_draw_film,
)


# --- a vector for each class -----------------------------------------------------------------


def class_vectors(z: Tensor, y: Tensor, n_way: int) -> Tensor:
    """Mean and spread (n_way, 2 d) of each class, from z (S, d) with labels y (S,)."""
    one_hot = F.one_hot(y, n_way).to(z.dtype)  # (S, n_way)
    counts = one_hot.sum(dim=0)[:, None]  # (n_way, 1)
    mean = one_hot.T @ z / counts  # (n_way, d)
    variance = one_hot.T @ (z - mean[y]).square() / counts
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)


def _class_by_class(z: Tensor, y: Tensor, n_way: int) -> Tensor:
    rows = []
    for label in range(n_way):
        items = z[y == label]
        rows.append(mean_and_spread(items))
    return torch.stack(rows)


def _draw_classes(generator: Generator) -> tuple[Tensor, Tensor, int]:
    n_way, d = draw_int(2, 5, generator), draw_int(2, 5, generator)
    y = draw_labels(n_way, draw_int(1, 8, generator), generator)
    return 1 + 2 * torch.randn(len(y), d, generator=generator), y, n_way


CLASSES = exercise_of(
    class_vectors,
    lesson=LESSON,
    cases=[
        Case(  # class 0: (1, 0), (5, 4); class 1: (5, 0), (1, 0)
            (
                torch.tensor([[1.0, 0.0], [5.0, 0.0], [1.0, 0.0], [5.0, 4.0]]),
                torch.tensor([0, 1, 1, 0]),
                2,
            ),
            torch.tensor([[3.0, 2.0, 2.0, 2.0], [3.0, 0.0, 2.0, SMALL]]),
        ),
        Case(  # class 2 has one item, class 0 two, class 1 three
            (
                torch.tensor([[4.0], [1.0], [9.0], [1.0], [6.0], [4.0]]),
                torch.tensor([0, 1, 2, 1, 0, 1]),
                3,
            ),
            torch.tensor([[5.0, 1.0], [2.0, math.sqrt(2)], [9.0, SMALL]]),
        ),
    ],
    draw=_draw_classes,
    ways=[_class_by_class],
)


# --- find the bug: E against 2E --------------------------------------------------------------


def network_input(z: Tensor, query_x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(Q, 1 + E): each query x (Q, 1) beside the task's vector of E numbers.

    Args:
        z: (S, E) embedded pairs.
        weight, bias: (E, 2 E) and (E,), the linear layer from mean and spread to the vector.
    """
    e = weight @ mean_and_spread(z) + bias  # (E,)
    return torch.cat([query_x, e.expand(len(query_x), -1)], dim=1)


def _too_wide(z: Tensor, query_x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    e = mean_and_spread(z)
    return torch.cat([query_x, e.expand(len(query_x), -1)], dim=1)


def _by_linear(z: Tensor, query_x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    pooled = mean_and_spread(z)
    e = F.linear(pooled, weight, bias)
    return torch.cat([query_x, e.repeat(len(query_x), 1)], dim=1)


def _draw_beside(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n_items, n_queries, width = (draw_int(low, 6, generator) for low in (1, 2, 2))
    return (
        torch.randn(n_items, width, generator=generator),
        torch.randn(n_queries, 1, generator=generator),
        torch.randn(width, 2 * width, generator=generator),
        torch.randn(width, generator=generator),
    )


INPUT = exercise_of(
    network_input,
    lesson=LESSON,
    buggy=_too_wide,
    cases=[
        Case(  # mean (2, 1), spread (1, 1): rows 2 + 1, 1 - 2 * 1, and the bias
            (
                torch.tensor([[1.0, 0.0], [3.0, 2.0]]),
                torch.tensor([[7.0], [8.0], [9.0]]),
                torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, -2.0]]),
                torch.tensor([10.0, 0.0]),
            ),
            torch.tensor([[7.0, 13.0, -1.0], [8.0, 13.0, -1.0], [9.0, 13.0, -1.0]]),
        ),
        Case(  # one item: mean (2, 5), and of the spread the root of 1e-6 is left
            (
                torch.tensor([[2.0, 5.0]]),
                torch.tensor([[7.0]]),
                torch.tensor([[1.0, 0.0, 1000.0, 0.0], [0.0, 1.0, 0.0, 2000.0]]),
                torch.tensor([0.0, 0.0]),
            ),
            torch.tensor([[7.0, 3.0, 7.0]]),
        ),
    ],
    draw=_draw_beside,
    ways=[_by_linear],
)


# --- find the bug: the encoder that does not listen ------------------------------------------


def encode_pairs(support_x: Tensor, support_y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Embedding (T, S, h) of each support pair, a linear layer and ReLU.

    Args:
        support_x, support_y: (T, S, 1) each.
        weight, bias: (h, 2) and (h,): the columns of weight are for x, then for y.
    """
    pairs = torch.cat([support_x, support_y], dim=-1)  # (T, S, 2)
    return F.relu(F.linear(pairs, weight, bias))


def _x_twice(support_x: Tensor, support_y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    pairs = torch.cat([support_x, support_x], dim=-1)  # (T, S, 2)
    return F.relu(F.linear(pairs, weight, bias))


def _draw_pairs(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n_tasks, n_items, width = (draw_int(low, 5, generator) for low in (1, 2, 2))
    x, y = torch.randn(2, n_tasks, n_items, 1, generator=generator)
    weight = torch.randn(width, 2, generator=generator)
    return x, y, weight, 1 + torch.rand(width, generator=generator)


PAIRS = exercise_of(
    encode_pairs,
    lesson=LESSON,
    buggy=_x_twice,
    cases=[
        Case(  # x + 10 y, and 2 x - y + 1, after ReLU
            (
                torch.tensor([[[1.0], [2.0]]]),
                torch.tensor([[[0.5], [6.0]]]),
                torch.tensor([[1.0, 10.0], [2.0, -1.0]]),
                torch.tensor([0.0, 1.0]),
            ),
            torch.tensor([[[6.0, 2.5], [62.0, 0.0]]]),
        ),
    ],
    draw=_draw_pairs,
)


# --- the test that finds it ------------------------------------------------------------------

Encoder = Callable[[Tensor, Tensor], Tensor]


def effect_of_targets(
    encode: Callable[[Tensor, Tensor], Tensor], support_x: Tensor, support_y: Tensor
) -> float:
    """By how much a number of the vector moves at most if every target grows by 1."""
    before, after = encode(support_x, support_y), encode(support_x, support_y + 1)
    return (after - before).abs().max().item()


def _of_pairs(weight: Tensor) -> Encoder:
    """Mean and spread of a linear layer with ReLU on pairs; weight (h, 3), the last for bias."""

    def encode(x: Tensor, y: Tensor) -> Tensor:
        return mean_and_spread(encode_pairs(x, y, weight[:, :2], weight[:, 2]))

    return encode


def _of_items(x: Tensor, y: Tensor) -> Tensor:
    return mean_and_spread(x)


def _of_both(x: Tensor, y: Tensor) -> Tensor:
    return mean_and_spread(torch.cat([x, y], dim=1))


def _of_squares(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x.mean(dim=0), y.square().mean(dim=0)])


def _downwards(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([-y.mean(dim=0), -2 * y.mean(dim=0)])


def _draw_encoder(generator: Generator) -> tuple[Encoder, Tensor, Tensor]:
    n_items = draw_int(2, 6, generator)
    x, y = 2 * torch.randn(2, n_items, 1, generator=generator)
    others: list[Encoder] = [_of_items, _of_both, _of_squares]
    layer = _of_pairs(torch.randn(4, 3, generator=generator))
    return [layer, layer, layer, *others][draw_int(0, 6, generator)], x, y


_X = torch.tensor([[-1.0], [0.0], [4.0]])
_Y = torch.tensor([[1.0], [3.0], [-1.0]])

EFFECT = exercise_of(
    effect_of_targets,
    lesson=LESSON,
    cases=[
        Case((_of_items, _X, _Y), 0.0),  # deaf
        Case((_of_both, _X, _Y), 1.0),  # the mean of y moves by 1
        Case((_of_squares, _X, _Y), 3.0),  # from 11/3 to 20/3
        Case((_downwards, _X, _Y), 2.0),  # by -1 and by -2
    ],
    draw=_draw_encoder,
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    POOL,
    question_of("mean_cannot_see", lesson=LESSON),
    FILM,
    question_of("wrong_vector", lesson=LESSON),
    question_of("push_the_vector", lesson=LESSON),
    question_of("one_number", lesson=LESSON),
    CLASSES,
    INPUT,
    question_of("slope_of_no_spread", lesson=LESSON),
    question_of("stays_at_three", lesson=LESSON),
    PAIRS,
    EFFECT,
]
