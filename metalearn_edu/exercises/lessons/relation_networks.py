"""The exercises of notebook 04: pairs, a comparison without pairs, a squared error, two bugs."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..checker.draws import draw_int, draw_labels
from ..checker.exercise import Answer, Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "04_relation_networks.txt"

__all__ = [
    "EXERCISES",
    "all_pairs",
    "class_scores",
    "entropy_of_logits",
    "relation_logits",
    "squared_error",
]


# --- pairs -----------------------------------------------------------------------------------


def all_pairs(class_z: Tensor, query_z: Tensor) -> Tensor:
    """Pairs (Q, n_way, 2d): row q, column k is class_z[k] (n_way, d), then query_z[q] (Q, d)."""
    shape = (len(query_z), len(class_z), -1)
    return torch.cat([class_z.expand(shape), query_z[:, None].expand(shape)], dim=2)


def _by_repeating(class_z: Tensor, query_z: Tensor) -> Tensor:
    classes = class_z.repeat(len(query_z), 1)
    queries = query_z.repeat_interleave(len(class_z), dim=0)
    return torch.cat([classes, queries], dim=1).view(len(query_z), len(class_z), -1)


def _one_by_one(class_z: Tensor, query_z: Tensor) -> Tensor:
    pairs = class_z.new_zeros(len(query_z), len(class_z), 2 * class_z.shape[1])
    for i, q in enumerate(query_z):
        for k, c in enumerate(class_z):
            pairs[i, k] = torch.cat([c, q])
    return pairs


def _draw_pairs(generator: Generator) -> tuple[Tensor, Tensor]:
    n_way, n_queries, d = (draw_int(1, 6, generator) for _ in range(3))
    query_z = torch.randn(n_queries, d, generator=generator)
    return torch.randn(n_way, d, generator=generator), query_z


PAIRS = exercise_of(
    all_pairs,
    lesson=LESSON,
    cases=[
        Case(
            (torch.tensor([[0.0, 1.0], [3.0, 2.0], [-1.0, 5.0]]), torch.tensor([[7.0, 8.0]])),
            torch.tensor([[[0.0, 1.0, 7.0, 8.0], [3.0, 2.0, 7.0, 8.0], [-1.0, 5.0, 7.0, 8.0]]]),
        ),
        Case(
            (torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0], [7.0], [8.0]])),
            torch.tensor(
                [[[1.0, 6.0], [2.0, 6.0]], [[1.0, 7.0], [2.0, 7.0]], [[1.0, 8.0], [2.0, 8.0]]]
            ),
        ),
    ],
    draw=_draw_pairs,
    ways=[_by_repeating, _one_by_one],
)


# --- no pairs --------------------------------------------------------------------------------


def relation_logits(
    class_z: Tensor, query_z: Tensor, weight: Tensor, bias: Tensor, score: Tensor
) -> Tensor:
    """Logits (Q, n_way) of a hidden layer on [class; query], without making the pairs.

    Args:
        class_z, query_z: (n_way, d) and (Q, d).
        weight, bias: (h, 2d) and (h,), the hidden layer; ReLU follows.
        score: (h,), from the hidden layer to the logit.
    """
    d = class_z.shape[1]
    from_class = class_z @ weight[:, :d].T + bias  # (n_way, h)
    from_query = query_z @ weight[:, d:].T  # (Q, h)
    return F.relu(from_class + from_query[:, None]) @ score


def _draw_relation(generator: Generator) -> tuple[Tensor, ...]:
    n_way, n_queries, d, h = (draw_int(low, 6, generator) for low in (1, 1, 1, 2))
    return _of_sizes(n_way, n_queries, d, h, generator)


def _of_sizes(n_way: int, n_queries: int, d: int, h: int, generator: Generator) -> tuple:
    shapes = (n_way, d), (n_queries, d), (h, 2 * d), (h,), (h,)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


class _Made(TorchDispatchMode):
    """Remembers the shapes of all new tensors, except views of existing ones."""

    def __init__(self, *there: Tensor) -> None:
        super().__init__()
        self.there = {tensor.untyped_storage().data_ptr() for tensor in there}
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, Tensor) and part.untyped_storage().data_ptr() not in self.there:
                self.shapes.add(tuple(part.shape))
        return result


def _makes_no_pairs(answer: Answer) -> str:
    """Whether no tensor holds the 2d numbers of a class and a query, of one pair or of all."""
    n_way, n_queries, d, h = 5, 7, 11, 3  # nothing else has the size 2d
    arguments = _of_sizes(n_way, n_queries, d, h, torch.Generator().manual_seed(0))
    with _Made(arguments[2]) as made:
        answer(*arguments)
    others = made.shapes - {(h, 2 * d), (2 * d, h)}  # such as a copy of the weights
    return PAIRS_MADE if any(2 * d in shape for shape in others) else ""


PAIRS_MADE = (
    "the logits are right, but they are made from pairs: a tensor holds class and query side "
    "by side, 2d numbers. Multiply each by its own half of the weights, and add the two products"
)
_DISTANCE = torch.tensor([[1.0, 0, -1, 0], [-1, 0, 1, 0], [0, 1, 0, -1], [0, -1, 0, 1]])
RELATION = exercise_of(
    relation_logits,
    lesson=LESSON,
    cases=[
        Case(  # minus the Manhattan distances
            (
                torch.tensor([[1.0, 1.0], [4.0, 4.0], [0.0, 2.0]]),
                torch.tensor([[2.0, 2.0], [3.0, 4.0]]),
                _DISTANCE,
                0 * _DISTANCE[0],
                -torch.ones(4),
            ),
            torch.tensor([[-2.0, -4.0, -2.0], [-5.0, -1.0, -5.0]]),
        ),
        Case(  # hidden units 2c - q + 1 = 1, 5 and c + q - 2 = 1, 3; the ReLU cuts c = -1, q = 1
            (
                torch.tensor([[1.0], [3.0], [-1.0]]),
                torch.tensor([[2.0], [1.0]]),
                torch.tensor([[2.0, -1.0], [1.0, 1.0]]),
                torch.tensor([1.0, -2.0]),
                torch.tensor([10.0, 1.0]),
            ),
            torch.tensor([[11.0, 53.0, 0.0], [20.0, 62.0, 0.0]]),
        ),
    ],
    draw=_draw_relation,
    properties=[_makes_no_pairs],
)


# --- the squared error -----------------------------------------------------------------------


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over pairs of (score - 1 for the own class, else 0) squared; scores (Q, n_way)."""
    return (scores - F.one_hot(labels, scores.shape[1])).square().mean()


def _from_targets(scores: Tensor, labels: Tensor) -> Tensor:
    targets = torch.zeros_like(scores)
    targets[range(len(labels)), labels] = 1
    return F.mse_loss(scores, targets)


def _draw_scores(generator: Generator) -> tuple[Tensor, Tensor]:
    n_queries, n_way = draw_int(1, 7, generator), draw_int(2, 6, generator)
    scores = torch.rand(n_queries, n_way, generator=generator)
    return scores, torch.randint(n_way, (n_queries,), generator=generator)


SQUARED = exercise_of(
    squared_error,
    lesson=LESSON,
    cases=[
        Case(  # 0.01, 0.04, 0 and 0.25, 0.25, 0
            (torch.tensor([[0.9, 0.2, 0.0], [0.5, 0.5, 1.0]]), torch.tensor([0, 2])),
            torch.tensor(0.55 / 6),
        ),
        Case((torch.full((5, 5), 0.2), torch.arange(5)), torch.tensor(0.16)),  # 1/5 (1 - 1/5)
        Case(  # no query of class 3
            (torch.tensor([[0.0, 1.0, 0.0, 0.5]]), torch.tensor([1])),
            torch.tensor(0.0625),
        ),
    ],
    draw=_draw_scores,
    ways=[_from_targets],
)


# --- find the bug: scores of items are not scores of classes ---------------------------------


def class_scores(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    """Scores (Q, n_way): the mean of item_scores (Q, S) over the support items of each class."""
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot / one_hot.sum(dim=0)


def _summed_scores(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot


def _class_by_class(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    parts = [item_scores[:, support_y == k] for k in range(n_way)]
    return torch.stack([part.mean(dim=1) for part in parts], dim=1)


def _item_by_item(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    sums = item_scores.new_zeros(len(item_scores), n_way)
    for i, k in enumerate(support_y):
        sums[:, k] += item_scores[:, i]
    return sums / support_y.bincount()


def _draw_items(generator: Generator) -> tuple[Tensor, Tensor, int]:
    n_queries, n_way = draw_int(1, 6, generator), draw_int(2, 6, generator)
    if draw_int(0, 4, generator):
        support_y = draw_labels(n_way, draw_int(1, 8, generator), generator)
    else:
        support_y = torch.arange(n_way).repeat(draw_int(2, 4, generator))
    return 2 * torch.randn(n_queries, len(support_y), generator=generator), support_y, n_way


SCORES = exercise_of(
    class_scores,
    lesson=LESSON,
    buggy=_summed_scores,
    cases=[
        Case(
            (
                torch.tensor([[3.0, -1.0, 2.0, 0.5, 4.0], [0.0, 1.0, -2.0, 4.0, 1.0]]),
                torch.tensor([1, 0, 1, 1, 2]),
                3,
            ),
            torch.tensor([[-1.0, 5.5 / 3, 4.0], [1.0, 2 / 3, 1.0]]),
        ),
        Case(
            (torch.tensor([[3.0, -1.0, 2.0, 0.5]]), torch.tensor([0, 1, 0, 1]), 2),
            torch.tensor([[2.5, -0.25]]),
        ),
    ],
    draw=_draw_items,
    ways=[_class_by_class, _item_by_item],
)


# --- find the bug: cross-entropy on sigmoid scores -------------------------------------------


def entropy_of_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, a scalar in nats, of logits (Q, n_way) and labels (Q,)."""
    return F.cross_entropy(logits, labels)


def _entropy_of_sigmoids(logits: Tensor, labels: Tensor) -> Tensor:
    scores = torch.sigmoid(logits)
    return F.cross_entropy(scores, labels)


def _minus_log_p(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.log_softmax(dim=1).gather(1, labels[:, None])
    return -own.mean()


def _draw_logits(generator: Generator) -> tuple[Tensor, Tensor]:
    scores, labels = _draw_scores(generator)
    scale = (7, 400)[draw_int(0, 2, generator)]  # large ones, too, whose exp is infinite
    return scale * (scores - 0.5), labels


ENTROPY = exercise_of(
    entropy_of_logits,
    lesson=LESSON,
    buggy=_entropy_of_sigmoids,
    cases=[
        Case(  # p of the own class 3/4 and 1/2
            (torch.tensor([[math.log(3), 0.0], [1.0, 1.0]]), torch.tensor([0, 1])),
            torch.tensor((math.log(4 / 3) + math.log(2)) / 2),
        ),
        Case((torch.tensor([[30.0, 0.0, 0.0, 0.0, 0.0]]), torch.tensor([0])), torch.tensor(0.0)),
        Case((torch.tensor([[200.0, 0.0]]), torch.tensor([1])), torch.tensor(200.0)),
    ],
    draw=_draw_logits,
    ways=[_minus_log_p],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    PAIRS,
    RELATION,
    SQUARED,
    SCORES,
    ENTROPY,
    question_of("sum_or_mean", lesson=LESSON),
    question_of("nearly_zero", lesson=LESSON),
    question_of("which_cause", lesson=LESSON),
    question_of("worse_than_chance", lesson=LESSON),
]
