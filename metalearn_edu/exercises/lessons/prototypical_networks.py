"""The exercises of notebook 03: class means, the linear layer they make, attention, two bugs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int, draw_labels
from ..checker.edits import mistakes_of
from ..checker.exercise import Case, Exercise
from ..checker.question import Option, Question

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
    """Labels in any order, some with more items than others, sometimes all with as many."""
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


MEANS = Exercise(
    solution=class_means,
    lesson=3,
    aim="compute prototypes as one matrix product",
    minutes=5,
    difficulty="easy",
    cases=[
        Case(
            (
                torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 1.0], [4.0, 5.0]]),
                torch.tensor([0, 1, 0, 1]),
                2,
            ),
            torch.tensor([[1.0, 1.0], [4.0, 4.0]]),
        ),
        Case(  # class 0 has three items, the others one
            (
                torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 1.0], [5.0, -5.0], [3.0, 8.0]]),
                torch.tensor([2, 0, 1, 0, 0]),
                3,
            ),
            torch.tensor([[4.0, 2.0], [2.0, 1.0], [0.0, 1.0]]),
        ),
    ],
    draw=_draw_support,
    mistakes=mistakes_of(class_means, _in_a_loop, _item_by_item, lesson=LESSON),
    ways=[_in_a_loop, _item_by_item],
    hints=[
        "The transpose of the one-hot table times the embeddings adds up, for each class, just the "
        "rows of that class. Then divide by the number of items in the class.",
        "(n_way, S) @ (S, d) gives (n_way, d). The counts are (n_way,); to divide row by row they "
        "must be (n_way, 1): `shots[:, None]`.",
        "`one_hot = F.one_hot(support_y, n_way).to(support_z.dtype)`, then `one_hot.T @ support_z` "
        "and `one_hot.sum(dim=0)`.",
    ],
)


# --- the linear layer ------------------------------------------------------------------------

Layer = tuple[Tensor, Tensor]


def linear_layer(support_z: Tensor, support_y: Tensor, n_way: int) -> Layer:
    """Weight (n_way, d) and bias (n_way,) that a support set (S, d), (S,) writes: 2c, -|c|^2."""
    prototypes = class_means(support_z, support_y, n_way)  # (n_way, d)
    weight = 2 * prototypes
    bias = -prototypes.square().sum(dim=1)
    return weight, bias


LAYER = Exercise(
    solution=linear_layer,
    lesson=3,
    aim="see a support set become a linear classifier",
    minutes=7,
    difficulty="medium",
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
    mistakes=mistakes_of(linear_layer, lesson=LESSON),
    hints=[
        "First the prototypes, the means of each class: your function of exercise 1, or "
        "`class_means` from the package. Then read weight and bias off the formula.",
        "`weight` is (n_way, d), a row for each class. `bias` is (n_way,): of each prototype minus "
        "the sum of its squared numbers.",
        "`bias = -prototypes.square().sum(dim=1)`",
    ],
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
    return query_z / 2, support_z / 3, support_y, n_way  # near, so that no probability is 0


_LN2 = math.log(2)
_ROOT = math.sqrt(_LN2)
ATTENTION = Exercise(
    solution=attention_probabilities,
    lesson=3,
    aim="tell attention to items from distance to means",
    minutes=8,
    difficulty="medium",
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
        Case(  # all items are equally far, and class 0 has two of the three
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
    mistakes=mistakes_of(attention_probabilities, _column_by_column, lesson=LESSON),
    ways=[_column_by_column],
    hints=[
        "Three steps: squared distances (Q, S); softmax of minus the distances along the support "
        "axis; add the columns that belong to one class.",
        "`query_z[:, None] - support_z` is (Q, S, d). Adding columns by class is, once more, a "
        "product with the one-hot table: (Q, S) @ (S, n_way).",
        "`attention = (-squared).softmax(dim=-1)`, then "
        "`attention @ F.one_hot(support_y, n_way).to(attention.dtype)`",
    ],
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


LOGS = Exercise(
    solution=log_probabilities,
    buggy=_unsquared,
    lesson=3,
    aim="find a distance that is not squared",
    minutes=3,
    difficulty="easy",
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
    mistakes=mistakes_of(log_probabilities, lesson=LESSON),
    hints=[
        "Look at one query and one prototype: which number does `torch.cdist` give for (2, 2) and "
        "(1, 1), and which did we have on paper?",
        "Square the distances before the softmax, or write the sum of squared differences as in "
        "section 3.",
    ],
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


REMAP = Exercise(
    solution=remap_labels,
    buggy=_class_ids,
    lesson=3,
    aim="turn class ids into labels of an episode",
    minutes=5,
    difficulty="easy",
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
    mistakes=mistakes_of(remap_labels, _by_list, lesson=LESSON),
    ways=[_by_list],
    hints=[
        "`torch.unique(support_y, return_inverse=True)` gives two things: the sorted ids, and the "
        "place of each label among them.",
        "The queries may hold fewer classes, so a `torch.unique` of their own would number them "
        "differently. Find their places among the ids of the support set.",
        "`torch.searchsorted(classes, query_y)` finds the places of numbers in a sorted tensor.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    MEANS,
    LAYER,
    ATTENTION,
    LOGS,
    REMAP,
    Question(
        name="root_of_the_distance",
        lesson=3,
        aim="say what the square does to a probability",
        minutes=2,
        difficulty="easy",
        text="Squared, the distances of the query (2, 2) are 2 and 8. Unsquared they are 1.41 and "
        "2.83. What happens to the answer for this query?",
        options={
            "a": Option(
                "Another class wins.",
                "The root of the larger number is the larger root: 1.41 is still less than 2.83.",
            ),
            "b": Option(
                "The same class wins, and p(0) falls.",
                "The scores differ by 1.41 instead of 6: p(0) = 1 / (1 + exp(-1.41)) = 0.80, no "
                "longer 0.9975. The winner tells only which distance is smaller.",
            ),
            "c": Option(
                "The same class wins, and p(0) rises.",
                "It would if the scores differed by more than before. They differ by 2.83 - 1.41.",
            ),
            "d": Option(
                "Nothing changes: softmax looks only at the order.",
                "It looks at differences: 8 - 2 = 6 squared, 1.41 unsquared. `argmax` looks only "
                "at the order.",
            ),
        },
        right="b",
    ),
    Question(
        name="when_the_two_agree",
        lesson=3,
        aim="compare prototypes with attention",
        minutes=2,
        difficulty="easy",
        text="Prototypical Networks measure the distance to the mean of a class, Matching Networks "
        "attend to each item and add up. For which `n_shot` do both give the same probabilities, "
        "whatever the items are?",
        options={
            "a": Option(
                "Only for `n_shot = 1`.",
                "The mean of one item is the item, and a sum over one item is that item's "
                "attention. With two, the exponential of a mean distance is not a mean of "
                "exponentials.",
            ),
            "b": Option(
                "For every `n_shot`: a mean and a sum differ by a factor, which softmax removes.",
                "They act at different places: the mean on points, before the distance; the sum on "
                "attention, after the exponential.",
            ),
            "c": Option(
                "For large `n_shot`, since the mean gets more exact.",
                "The mean settles, but attention still follows the nearest items. Think of a class "
                "of two clouds.",
            ),
            "d": Option(
                "Never.",
                "Try `n_shot = 1`: what is the mean of one item?",
            ),
        },
        right="a",
    ),
    Question(
        name="loud_and_silent",
        lesson=3,
        aim="find a bug from its symptom",
        minutes=3,
        difficulty="medium",
        text="With the classes 3, 7, 9 `loss_from_class_ids` stops with an error; with 1, 2, 4 it "
        "gives a loss that is far too large. Why?",
        options={
            "a": Option(
                "The ids 3, 7, 9 lie farther apart than 1, 2, 4, and far ids cost more.",
                "The ids are names; nothing computes with their size. They only choose a column.",
            ),
            "b": Option(
                "`torch.unique` leaves out some of the classes of the support set.",
                "It finds all three in both cases, in sorted order. What are the columns of "
                "`scores`, and what does `cross_entropy` take the label for?",
            ),
            "c": Option(
                "The prototypes are the means of the wrong items, those of another id.",
                "`support_y == c` compares ids with ids, so the prototypes are right. Which number "
                "does the loss compare with them?",
            ),
            "d": Option(
                "The labels are ids, but the columns are numbered 0, 1, 2.",
                "Column 0 is class 1, column 1 is class 2, column 2 is class 4. Id 3 points "
                "outside: an error. Id 1 points at the column of class 2, and id 2 at that of "
                "class 4: no error, a wrong loss.",
            ),
        },
        right="d",
    ),
]
