"""The exercises of notebook 03: class means, the linear layer they define, attention, two bugs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int, draw_labels
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "03_prototypical_networks.txt"

__all__ = [
    "EXERCISES",
    "attention_probabilities",
    "class_means",
    "linear_layer",
    "log_probabilities",
    "remap_labels",
]


def _draw_support(generator: Generator) -> tuple[Tensor, Tensor, int]:
    """Labels in any order: some have more items than others, or all have the same number."""
    n_way, d = draw_int(1, 6, generator), draw_int(1, 6, generator)
    if draw_int(0, 4, generator):
        support_y = draw_labels(n_way, draw_int(1, 9, generator), generator)
    else:
        support_y = torch.arange(n_way).repeat(draw_int(2, 4, generator))
    return 2 * torch.randn(len(support_y), d, generator=generator), support_y, n_way


# --- class means -----------------------------------------------------------------------------


def class_means(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    """Prototypes (n_way, d) of support_z (S, d) with labels support_y (S,), without a loop."""
    one_hot = F.one_hot(support_y, n_way).to(support_z.dtype)  # (S, n_way)
    shots = one_hot.sum(dim=0)  # (n_way,)
    return one_hot.T @ support_z / shots[:, None]


def _in_a_loop(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    means = []
    for c in range(n_way):
        items = support_z[support_y == c]
        means.append(items.mean(dim=0))
    return torch.stack(means)


def _item_by_item(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    sums = support_z.new_zeros(n_way, support_z.shape[1])
    for z, c in zip(support_z, support_y, strict=True):
        sums[c] += z
    return sums / support_y.bincount(minlength=n_way)[:, None]


MEANS = exercise_of(
    class_means,
    lesson=LESSON,
    cases=[
        Case(
            (
                torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 1.0], [4.0, 5.0]]),
                torch.tensor([0, 1, 0, 1]),
                2,
            ),
            torch.tensor([[1.0, 1.0], [4.0, 4.0]]),
        ),
        Case(  # class 0 has three items, the others have one
            (
                torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 1.0], [5.0, -5.0], [3.0, 8.0]]),
                torch.tensor([2, 0, 1, 0, 0]),
                3,
            ),
            torch.tensor([[4.0, 2.0], [2.0, 1.0], [0.0, 1.0]]),
        ),
    ],
    draw=_draw_support,
    ways=[_in_a_loop, _item_by_item],
)


# --- the linear layer ------------------------------------------------------------------------

Layer = tuple[Tensor, Tensor]


def linear_layer(support_z: Tensor, support_y: Tensor, n_way: int) -> Layer:
    """Weight (n_way, d) and bias (n_way,) that a support set (S, d), (S,) writes: 2c, -|c|^2."""
    prototypes = class_means(support_z, support_y, n_way)  # (n_way, d)
    weight = 2 * prototypes
    bias = -prototypes.square().sum(dim=1)
    return weight, bias


LAYER = exercise_of(
    linear_layer,
    lesson=LESSON,
    cases=[
        Case(
            (torch.tensor([[0.0, 1.0], [4.0, 4.0], [2.0, 1.0]]), torch.tensor([0, 1, 0]), 2),
            (torch.tensor([[2.0, 2.0], [8.0, 8.0]]), torch.tensor([-2.0, -32.0])),
        ),
        Case(  # prototypes (2, 0, 1) of one item, (0, 3, -1) of two
            (
                torch.tensor([[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 4.0, -2.0]]),
                torch.tensor([1, 0, 1]),
                2,
            ),
            (torch.tensor([[4.0, 0.0, 2.0], [0.0, 6.0, -2.0]]), torch.tensor([-5.0, -10.0])),
        ),
    ],
    draw=_draw_support,
)


# --- attention -------------------------------------------------------------------------------


def attention_probabilities(
    query_z: Tensor, support_z: Tensor, support_y: Tensor, n_way: int
) -> Tensor:
    """Class probabilities (Q, n_way): attention to each support item, summed within a class."""
    squared = (query_z[:, None] - support_z).square().sum(dim=-1)  # (Q, S)
    attention = (-squared).softmax(dim=-1)  # (Q, S)
    one_hot = F.one_hot(support_y, n_way).to(query_z.dtype)  # (S, n_way)
    return attention @ one_hot


def _column_by_column(query_z: Tensor, support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    attention = (-(query_z[:, None] - support_z).square().sum(dim=-1)).softmax(dim=-1)
    result = query_z.new_zeros(len(query_z), n_way)
    for i, c in enumerate(support_y):
        result[:, c] += attention[:, i]
    return result


def _draw_attention(generator: Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    support_z, support_y, n_way = _draw_support(generator)
    n_queries = draw_int(1, 7, generator)
    query_z = torch.randn(n_queries, support_z.shape[1], generator=generator)
    return (
        query_z / 2,
        support_z / 3,
        support_y,
        n_way,
    )  # close together, so that no probability is 0


_LN2 = math.log(2)
_ROOT = math.sqrt(_LN2)
ATTENTION = exercise_of(
    attention_probabilities,
    lesson=LESSON,
    cases=[
        Case(  # squared distances ln 2, 2 ln 2 and 2 ln 2: attention 1/2, 1/4 and 1/4
            (
                torch.tensor([[0.0, 0.0]]),
                torch.tensor([[_ROOT, 0.0], [_ROOT, _ROOT], [_ROOT, -_ROOT]]),
                torch.tensor([0, 1, 0]),
                2,
            ),
            torch.tensor([[0.75, 0.25]]),
        ),
        Case(  # all items are equally far away, and class 0 has two of the three
            (
                torch.tensor([[0.0], [0.0]]),
                torch.tensor([[1.0], [-1.0], [1.0]]),
                torch.tensor([0, 1, 0]),
                2,
            ),
            torch.tensor([[2 / 3, 1 / 3], [2 / 3, 1 / 3]]),
        ),
    ],
    draw=_draw_attention,
    ways=[_column_by_column],
)


# --- find the bug: probabilities that are too soft -------------------------------------------


def log_probabilities(query_z: Tensor, prototypes: Tensor) -> Tensor:
    """Log-probabilities (Q, n_way) of query_z (Q, d) by squared distance to prototypes."""
    squared = (query_z[:, None] - prototypes).square().sum(dim=-1)  # (Q, n_way)
    return F.log_softmax(-squared, dim=-1)


def _unsquared(query_z: Tensor, prototypes: Tensor) -> Tensor:
    distance = torch.cdist(query_z, prototypes)  # (Q, n_way)
    return F.log_softmax(-distance, dim=-1)


def _draw_log(generator: Generator) -> tuple[Tensor, Tensor]:
    n_queries, n_way, d = (draw_int(low, 7, generator) for low in (1, 2, 1))
    query_z = torch.randn(n_queries, d, generator=generator)
    return query_z, 1.5 * torch.randn(n_way, d, generator=generator)


LOGS = exercise_of(
    log_probabilities,
    lesson=LESSON,
    buggy=_unsquared,
    cases=[
        Case(  # squared distances 2 and 4; 5 and 5; 10 and 0
            (
                torch.tensor([[2.0, 2.0], [2.0, 3.0], [4.0, 2.0]]),
                torch.tensor([[1.0, 1.0], [4.0, 2.0]]),
            ),
            torch.tensor([[-0.126928, -2.126928], [-_LN2, -_LN2], [-10.0000454, -0.0000454]]),
        ),
        Case(  # squared distances 0, 1 and 4
            (torch.tensor([[0.0]]), torch.tensor([[0.0], [1.0], [-2.0]])),
            torch.tensor([[-0.326562, -1.326562, -4.326562]]),
        ),
    ],
    draw=_draw_log,
)


# --- find the bug: labels that are not remapped ----------------------------------------------

Remapped = tuple[Tensor, Tensor, Tensor]


def remap_labels(support_y: Tensor, query_y: Tensor) -> Remapped:
    """The class ids in sorted order, then support_y and query_y as their places 0..n_way-1."""
    classes, new_support_y = torch.unique(support_y, return_inverse=True)
    new_query_y = torch.searchsorted(classes, query_y)
    return classes, new_support_y, new_query_y


def _by_list(support_y: Tensor, query_y: Tensor) -> Remapped:
    ids = sorted(set(support_y.tolist()))
    new_support_y, new_query_y = (
        torch.tensor([ids.index(y) for y in ys.tolist()]) for ys in (support_y, query_y)
    )
    return torch.tensor(ids), new_support_y, new_query_y


def _class_ids(support_y: Tensor, query_y: Tensor) -> Remapped:
    classes = torch.unique(support_y)
    return classes, support_y, query_y


def _draw_ids(generator: Generator) -> tuple[Tensor, Tensor]:
    n_way = draw_int(2, 6, generator)
    ids = torch.randperm([8, 9000][draw_int(0, 2, generator)], generator=generator)[:n_way]
    support_y = ids[draw_labels(n_way, draw_int(1, 6, generator), generator)]
    return support_y, ids[torch.randint(n_way, (draw_int(1, 7, generator),), generator=generator)]


REMAP = exercise_of(
    remap_labels,
    lesson=LESSON,
    buggy=_class_ids,
    cases=[
        Case(
            (torch.tensor([3, 7, 9]), torch.tensor([9, 9, 3, 7])),
            (torch.tensor([3, 7, 9]), torch.tensor([0, 1, 2]), torch.tensor([2, 2, 0, 1])),
        ),
        Case(  # no query of class 1
            (torch.tensor([4, 1, 2, 1]), torch.tensor([4, 2, 4])),
            (torch.tensor([1, 2, 4]), torch.tensor([2, 0, 1, 0]), torch.tensor([2, 1, 2])),
        ),
    ],
    draw=_draw_ids,
    ways=[_by_list],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    MEANS,
    LAYER,
    ATTENTION,
    LOGS,
    REMAP,
    question_of("root_of_the_distance", lesson=LESSON),
    question_of("when_the_two_agree", lesson=LESSON),
    question_of("loud_and_silent", lesson=LESSON),
]
