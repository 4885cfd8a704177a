"""The exercises of notebook 09: pooling, FiLM, vectors of classes, two bugs, and a test."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int, draw_labels
from ..checker.edits import mistakes_of
from ..checker.exercise import Case, Exercise
from ..checker.question import Option, Question

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


POOL = Exercise(
    solution=mean_and_spread,
    lesson=9,
    aim="turn a set into a vector",
    minutes=5,
    difficulty="easy",
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
    mistakes=mistakes_of(mean_and_spread, lesson=LESSON),
    hints=[
        "Take the mean over the items, subtract it from each, square, take the mean over the items "
        "again, add 1e-6, take the root.",
        "Mean and spread are `(d,)` each; `torch.cat` puts them one behind the other.",
        "`(z - mean).square().mean(dim=0)` is the variance with n below.",
    ],
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


FILM = Exercise(
    solution=film_layer,
    lesson=9,
    aim="scale and shift hidden units as a task says",
    minutes=8,
    difficulty="medium",
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
    mistakes=mistakes_of(film_layer, lesson=LESSON),
    hints=[
        "Two lines: make the 2 d numbers and cut them in two halves; then scale, shift, ReLU.",
        "`weight @ e + bias` is `(2 d,)`; `.chunk(2)` gives two of `(d,)`, which broadcast over "
        "the rows of `h`.",
        "With both zero the layer must be `F.relu(h)`, so the factor is `1 + gamma`.",
    ],
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


CLASSES = Exercise(
    solution=class_vectors,
    lesson=9,
    aim="pool class by class without a loop",
    minutes=10,
    difficulty="medium",
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
    mistakes=mistakes_of(class_vectors, _class_by_class, lesson=LESSON),
    ways=[_class_by_class],
    hints=[
        "A table with a row for each item and a 1 at its class turns sums by class into a matrix "
        "product: once for the items, once for their squared distances.",
        "`mean` is `(n_way, d)`, so `mean[y]` is `(S, d)`: each row is the mean of that item's "
        "class. The counts must be `(n_way, 1)` to divide row by row.",
        "`one_hot = F.one_hot(y, n_way).to(z.dtype)`; the sums are `one_hot.T @ z`, the counts "
        "`one_hot.sum(dim=0)[:, None]`.",
    ],
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


INPUT = Exercise(
    solution=network_input,
    buggy=_too_wide,
    lesson=9,
    aim="make two widths fit",
    minutes=5,
    difficulty="easy",
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
    mistakes=mistakes_of(network_input, _by_linear, lesson=LESSON),
    ways=[_by_linear],
    hints=[
        "How many numbers does the network expect beside x, and how many does `e` have?",
        "`mean_and_spread(z)` is `(2 E,)`, `weight` is `(E, 2 E)`. Which argument is never used?",
        "`e = weight @ mean_and_spread(z) + bias`.",
    ],
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


PAIRS = Exercise(
    solution=encode_pairs,
    buggy=_x_twice,
    lesson=9,
    aim="find why an encoder is deaf",
    minutes=4,
    difficulty="easy",
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
    mistakes=mistakes_of(encode_pairs, lesson=LESSON),
    hints=[
        "Which argument is never used?",
        "A pair is an item with its own target beside it, on the last axis.",
        "`torch.cat([support_x, support_y], dim=-1)`.",
    ],
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

EFFECT = Exercise(
    solution=effect_of_targets,
    lesson=9,
    aim="test without training whether labels are heard",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((_of_items, _X, _Y), 0.0),  # deaf
        Case((_of_both, _X, _Y), 1.0),  # the mean of y moves by 1
        Case((_of_squares, _X, _Y), 3.0),  # from 11/3 to 20/3
        Case((_downwards, _X, _Y), 2.0),  # by -1 and by -2
    ],
    draw=_draw_encoder,
    mistakes=mistakes_of(effect_of_targets, lesson=LESSON),
    hints=[
        "Two calls with the same `support_x`: with the targets as they are, and with 1 added to "
        "each.",
        "The two vectors have the same shape. Subtract, take absolute values, take the largest.",
        "`(after - before).abs().max().item()` is a number.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    POOL,
    Question(
        name="mean_cannot_see",
        lesson=9,
        aim="know what pooling loses",
        minutes=4,
        difficulty="medium",
        text="Set A is (0, 1) and (1, 0), set B is (0, 0) and (1, 1). Mean and spread of x and of "
        "y are the same for both. Which further number, computed for each point before pooling, "
        "makes their MEANS differ?",
        options={
            "a": Option(
                "the sum x + y",
                "The mean of a sum is the sum of the means: 1 for both. (The spread of x + y does "
                "differ, 0 for A and 1 for B.)",
            ),
            "b": Option(
                "the difference x - y",
                "The mean of a difference is the difference of the means: 0 for both.",
            ),
            "c": Option(
                "the product x · y",
                "Its mean is 0 for A and 1/2 for B. It is no sum of a number of x and one of y; "
                "such numbers are what hidden units can learn.",
            ),
            "d": Option(
                "the square of y",
                "0 and 1 are their own squares, and both sets have the same values of y: its mean "
                "is 1/2 for both.",
            ),
        },
        right="c",
    ),
    FILM,
    Question(
        name="wrong_vector",
        lesson=9,
        aim="work out what a wrong vector costs",
        minutes=3,
        difficulty="medium",
        text="A blind network, which knows nothing of the task, has the error 3.01. Each task now "
        "gets the vector of ANOTHER task, and the network believes it. What is the error?",
        options={
            "a": Option(
                "about 0.14, as before",
                "Then the vector would not be used at all. This one is used.",
            ),
            "b": Option(
                "3.01",
                "That is the error of who answers with the mean of all waves. Ours draws a wave "
                "with confidence, the wrong one.",
            ),
            "c": Option(
                "about 6.02, twice as much",
                "3.01 is the variance of the waves around their mean. Two waves drawn "
                "independently differ by the sum of two such variances.",
            ),
            "d": Option(
                "4.25, as for predicting zero",
                "That is the mean square of the waves, the error of drawing no wave at all.",
            ),
        },
        right="c",
    ),
    CLASSES,
    INPUT,
    Question(
        name="slope_of_no_spread",
        lesson=9,
        aim="find where a NaN comes from",
        minutes=3,
        difficulty="medium",
        text="The spread of one item is 0, a fine number. Yet without the constant its gradient is "
        "NaN. Why?",
        options={
            "a": Option(
                "n - 1 is 0, and 0/0 is NaN.",
                "That was the defect before. This variance divides by n = 1, and the spread is 0.",
            ),
            "b": Option(
                "The root has an infinite slope at 0, and infinity times 0 is NaN.",
                "The chain rule multiplies it by the slope of the variance, which is 0 at the "
                "mean. With 1e-6 under the root the slope is 500, and 500 times 0 is 0. Several "
                "equal items have the same defect.",
            ),
            "c": Option(
                "The gradient overflows; float64 would help.",
                "Infinity times 0 is NaN in every precision.",
            ),
            "d": Option(
                "One item has no mean.",
                "It has: itself. The spread around it is 0, as printed.",
            ),
        },
        right="b",
    ),
    Question(
        name="stays_at_three",
        lesson=9,
        aim="find a bug from the level of a loss",
        minutes=2,
        difficulty="easy",
        text="The loss of `QuickEncoder` falls, and then stays at about 3. What does that tell?",
        options={
            "a": Option(
                "The learning rate is too high.",
                "Then the loss would jump about, at no level in particular. This level we know.",
            ),
            "b": Option(
                "The vector of 16 numbers is too small.",
                "Two numbers sufficed for an error of about 0.2, in section 6.",
            ),
            "c": Option(
                "It needs more steps.",
                "The others were far below 1 by then. And it is flat.",
            ),
            "d": Option(
                "Nothing of use about the task reaches the network.",
                "3.01 is the best that can be done without the support set. It has learned the "
                "mean of all waves. So either the vector is not used, or it does not hold the "
                "targets.",
            ),
        },
        right="d",
    ),
    PAIRS,
    EFFECT,
]
