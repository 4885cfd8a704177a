"""The exercises of notebook 03: class means, the linear layer they make, attention, two bugs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .draws import draw_int, draw_labels
from .exercise import Case, Exercise, Mistake
from .question import Option, Question

__all__ = [
    "EXERCISES",
    "attention_probabilities",
    "class_means",
    "linear_layer",
    "log_probabilities",
    "remap_labels",
]

NOT_STACKED = (
    "a list of rows is not yet a tensor; `torch.stack(rows)` puts them one below the other"
)
NOT_FLOAT = (
    "`F.one_hot` gives whole numbers, and `@` multiplies only what is of one type; make them "
    "floats, `.to(support_z.dtype)`"
)


def _table(support_y: Tensor, n_way: int) -> Tensor:
    return F.one_hot(support_y, n_way).float()


def _draw_support(generator: Generator) -> tuple[Tensor, Tensor, int]:
    """Labels in any order, some with more items than others, sometimes all with as many."""
    n_way, d = draw_int(2, 6, generator), draw_int(1, 6, generator)
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


def _each_class(support_z: Tensor, support_y: Tensor, n_way: int) -> list[Tensor]:
    """The items of each class."""
    return [support_z[support_y == c] for c in range(n_way)]


def _shots(support_y: Tensor, n_way: int) -> Tensor:
    return support_y.bincount(minlength=n_way)[:, None]


def _class_sums(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return _table(support_y, n_way).T @ support_z


def _sorted_items(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return torch.stack([part.mean(dim=0) for part in support_z.chunk(n_way)])


def _sorted_and_equal(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return support_z.reshape(n_way, -1, support_z.shape[1]).mean(dim=1)


def _sorted_with_counts(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    parts = support_z.split(support_y.bincount(minlength=n_way).tolist())
    return torch.stack([part.mean(dim=0) for part in parts])


def _in_turns(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return torch.stack([support_z[c::n_way].mean(dim=0) for c in range(n_way)])


def _n_shot_of_first(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return _class_sums(support_z, support_y, n_way) / (support_y == 0).sum()


def _last_items(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return torch.stack([z[-1] for z in _each_class(support_z, support_y, n_way)])


def _medoids(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    classes = _each_class(support_z, support_y, n_way)
    return torch.stack([z[(z - z.mean(0)).square().sum(1).argmin()] for z in classes])


def _added_once(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    sums = support_z.new_zeros(n_way, support_z.shape[1])
    sums[support_y] += support_z
    return sums / torch.bincount(support_y, minlength=n_way)[:, None]


def _running_means(support_z: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    means = support_z.new_zeros(n_way, support_z.shape[1])
    for z, c in zip(support_z, support_y, strict=True):
        means[c] = (means[c] + z) / 2
    return means


MEANS_ORDER = (
    "this takes it that the items come class by class; look at `support_y`, which says what "
    "class each item has, in any order"
)
MEANS_EQUAL = (
    "this divides each class by the same number; classes may have unequal numbers of items, so "
    "count each, `one_hot.sum(dim=0)`"
)
MEANS_FEATURES = (
    "this averages over the d numbers of an item (`.mean()` without a dim does, too); average over "
    "the items of a class and keep the d numbers apart, dim=0"
)
MEANS_PARTS = (
    "this cuts the items into equal parts; classes may have unequal numbers of items, so ask for "
    "those of each class, `support_y == c`, or multiply by the one-hot table"
)
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
    mistakes=[
        Mistake(
            _class_sums,
            "these are the sums of each class; a mean is the sum divided by the number of items "
            "of the class",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / len(y),
            "this divides by the number of all support items, so those of other classes count as "
            "zeros; divide by the number of items of the class",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / n,
            "this divides by the number of classes; divide by the number of items of each class",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / z.shape[1],
            "this divides by the length d of an embedding; divide by the number of items of each "
            "class",
        ),
        Mistake(lambda z, y, n: _class_sums(z, y, n) / (len(y) / n), MEANS_EQUAL),
        Mistake(lambda z, y, n: _class_sums(z, y, n) / (len(y) // n), MEANS_EQUAL),
        Mistake(_n_shot_of_first, MEANS_EQUAL),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / y.bincount().max(),
            MEANS_EQUAL,
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / (_shots(y, n) + 1),
            "this divides by one more than the number of items of a class",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / (_shots(y, n) - 1),
            "this divides by one less than the number of items of a class; a mean divides by n",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / _shots(y, n).sqrt(),
            "this divides by the root of the number of items; divide by the number itself",
        ),
        Mistake(_sorted_and_equal, MEANS_ORDER),
        Mistake(_sorted_items, MEANS_ORDER),
        Mistake(_sorted_with_counts, MEANS_ORDER),
        Mistake(
            _in_turns,
            "this takes it that the labels read 0, 1, .., 0, 1, ..; look at `support_y`, they may "
            "come in any order",
        ),
        Mistake(
            lambda z, y, n: z.mean(dim=0).expand(n, -1),
            "this is the mean of all support items; which belong to which class is in `support_y`",
        ),
        Mistake(lambda z, y, n: z.mean(dim=0), "this is one mean of all items; one a class"),
        Mistake(
            lambda z, y, n: torch.stack([c.mean(dim=1) for c in _each_class(z, y, n)]),
            MEANS_FEATURES,
        ),
        Mistake(lambda z, y, n: class_means(z, y, n).mean(dim=1), MEANS_FEATURES),
        Mistake(lambda z, y, n: class_means(z, y, n).mean(dim=1, keepdim=True), MEANS_FEATURES),
        Mistake(
            lambda z, y, n: class_means(z, y, n).mean(dim=1, keepdim=True).expand(-1, z.shape[1]),
            MEANS_FEATURES,
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n).T,
            "rows and columns are exchanged: (n_way, d), a row for each class, is asked for",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n)[:, None],
            "there is an axis of length 1 too many: `keepdim=True` or `[None]` made it",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n)[y],
            "this has a row for each item; a row for each class is asked for",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n)[y.unique_consecutive()],
            "the rows follow the order in which classes come among the items; row c is label c",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n)[list(dict.fromkeys(y.tolist()))],
            "the rows follow the order in which classes first come; row c belongs to label c",
        ),
        Mistake(
            lambda z, y, n: torch.stack([z[y == c + 1].mean(dim=0) for c in range(n)]),
            "labels run from 0 to n_way - 1, not from 1 to n_way",
        ),
        Mistake(
            lambda z, y, n: torch.stack([z[y == c].mean(dim=0) for c in range(1, n)]),
            "the loop begins with label 1; labels run from 0 to n_way - 1",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n)[:-1],
            "the last class is missing; `range(n_way)` ends with n_way - 1 already",
        ),
        Mistake(
            lambda z, y, n: torch.stack([c[0] for c in _each_class(z, y, n)]),
            "this is the first item of each class; average over all its items",
        ),
        Mistake(
            _last_items,
            "this is the last item of each class: `means[label] = item` writes over what was "
            "there; average over all its items",
        ),
        Mistake(
            _added_once,
            "`sums[labels] += items` adds only one item to each class, whatever the number of "
            "times that its label occurs; `index_add` or a matrix product adds them all",
        ),
        Mistake(
            _running_means,
            "halving at each item gives the last one the most weight; add up all, then divide "
            "once by their number",
        ),
        Mistake(
            _medoids,
            "this is the item nearest to the mean; the mean itself is asked for, even where there "
            "is no item",
        ),
        Mistake(
            lambda z, y, n: torch.stack([c.median(dim=0).values for c in _each_class(z, y, n)]),
            "this is the median of each class; the mean is asked for",
        ),
        Mistake(
            lambda z, y, n: torch.stack([c.amax(dim=0) for c in _each_class(z, y, n)]),
            "this is the maximum of each class; the mean is asked for",
        ),
        Mistake(
            lambda z, y, n: F.normalize(class_means(z, y, n), dim=1),
            "these rows have length 1: they were divided by their norm; the mean stays as it is",
        ),
        Mistake(
            lambda z, y, n: class_means(F.normalize(z, dim=1), y, n),
            "the items were divided by their norm before; the mean is of the items as they are",
        ),
        Mistake(
            lambda z, y, n: class_means(z - z.mean(dim=0), y, n),
            "the mean of all items was subtracted; leave the items where they are",
        ),
        Mistake(lambda z, y, n: [c.mean(dim=0) for c in _each_class(z, y, n)], NOT_STACKED),
        Mistake(
            lambda z, y, n: torch.cat([c.mean(dim=0) for c in _each_class(z, y, n)]),
            "`torch.cat` puts the rows end to end; `torch.stack` gives each a row of its own",
        ),
        Mistake(lambda z, y, n: F.one_hot(y, n).T @ z, NOT_FLOAT),
        Mistake(
            lambda z, y, n: _table(y, n) @ z,
            "`one_hot` is (S, n_way); to add up items, multiply its transposed, `one_hot.T`",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / _table(y, n).sum(dim=0),
            "the counts (n_way,) are laid along the columns; `shots[:, None]` makes them a column, "
            "one for each row",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / _table(y, n).sum(dim=1)[:, None],
            "`one_hot.sum(dim=1)` is 1 for each item; the number of items of a class is the sum "
            "of its column, dim=0",
        ),
        Mistake(
            lambda z, y, n: z.T @ _table(y, n),
            "(d, n_way) are sums with rows and columns exchanged; `one_hot.T @ support_z` has a "
            "row for each class",
        ),
        Mistake(
            lambda z, y, n: z.view(len(y) // n, n, -1).mean(dim=0),
            "this takes it that the labels read 0, 1, .., 0, 1, .. and that classes have equal "
            "numbers of items; look at `support_y`",
        ),
        Mistake(lambda z, y, n: z.view(n, len(y) // n, -1).mean(dim=1), MEANS_ORDER),
        Mistake(lambda z, y, n: _sorted_and_equal(z[y.argsort()], y, n), MEANS_PARTS),
        Mistake(lambda z, y, n: _sorted_items(z[y.argsort()], y, n), MEANS_PARTS),
        Mistake(
            lambda z, y, n: torch.stack(_each_class(z, y, n)),
            "classes may have unequal numbers of items, which `torch.stack` cannot stack; take the "
            "mean of each class first",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n).mean(dim=0),
            "the sums of all classes are averaged together; divide each row by its own count",
        ),
        Mistake(lambda z, y, n: _class_sums(z, y, n).mean(dim=1), MEANS_FEATURES),
        Mistake(
            lambda z, y, n: torch.stack([z[c].mean(dim=0) for c in range(n)]),
            "`support_z[c]` is the item at place c; the items of class c are "
            "`support_z[support_y == c]`",
        ),
        Mistake(
            lambda z, y, n: torch.stack([z[y != c].mean(dim=0) for c in range(n)]),
            "these are the means of all other classes: `==`, not `!=`",
        ),
        Mistake(
            lambda z, y, n: z[y].mean(dim=0),
            "`support_z[support_y]` takes the labels for places of items; the items of class c are "
            "`support_z[support_y == c]`",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) * _shots(y, n),
            "this multiplies by the number of items of the class; divide",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n).sum(dim=0),
            "the classes are added up; each has a row of its own",
        ),
        Mistake(
            lambda z, y, n: class_means(z, y, n).mean(dim=0),
            "the classes are averaged; each has a row of its own",
        ),
        Mistake(
            lambda z, y, n: _table(y, n) @ z.T,
            "it is the one-hot table that is to be transposed, not the embeddings: "
            "(n_way, S) @ (S, d)",
        ),
        Mistake(
            lambda z, y, n: _table(y, n) * z,
            "`*` multiplies number by number; the matrix product is `@`",
        ),
        Mistake(
            lambda z, y, n: (_table(y, n).T / _table(y, n).sum(dim=0)) @ z,
            "the counts (n_way,) belong to the rows of the transposed table: `shots[:, None]`",
        ),
        Mistake(
            lambda z, y, n: torch.stack([z[y <= c].mean(dim=0) for c in range(n)]),
            "the classes before still count; begin sum and number anew for each class, with `==`",
        ),
        Mistake(
            lambda z, y, n: torch.stack([z[y >= c].mean(dim=0) for c in range(n)]),
            "the classes after still count: `==`",
        ),
        Mistake(
            lambda z, y, n: torch.stack([c.amin(dim=0) for c in _each_class(z, y, n)]),
            "this is the minimum of each class; the mean is asked for",
        ),
        Mistake(
            lambda z, y, n: class_means(z.sort(dim=0).values, y, n),
            "the items were sorted, their labels were not; leave the items as they are",
        ),
        Mistake(
            lambda z, y, n: _class_sums(z, y, n) / _shots(y, n) ** 2,
            "this divides twice by the number of items of the class; once is enough",
        ),
        Mistake(
            lambda z, y, n: {k: c.mean(dim=0) for k, c in enumerate(_each_class(z, y, n))},
            NOT_STACKED,
        ),
    ],
    hints=[
        "The transposed one-hot table times the embeddings adds up, for each class, just the rows "
        "of that class. Then divide by the number of items in the class.",
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


def _of_means(z: Tensor, y: Tensor, n: int, factor: float, bias_factor: float = -1) -> Layer:
    c = class_means(z, y, n)
    return factor * c, bias_factor * c.square().sum(dim=1)


def _of_other_points(points: Tensor) -> Layer:
    return 2 * points, -points.square().sum(dim=1)


def _with_bias(z: Tensor, y: Tensor, n: int, bias: Tensor) -> Layer:
    return 2 * class_means(z, y, n), bias


LAYER_SUMS = (
    "the weights are those of the class sums; a prototype is the mean, the sum divided by the "
    "number of items of the class"
)
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
    mistakes=[
        Mistake(
            lambda z, y, n: _of_means(z, y, n, 1),
            "the weight is the prototype itself; multiply the square out: the middle term is "
            "2 c · z, so w = 2c",
        ),
        Mistake(
            lambda z, y, n: _of_means(z, y, n, 1, -0.5),
            "these are half of what is asked for: right winners, but softer probabilities; "
            "w = 2c and b = -|c|²",
        ),
        Mistake(
            lambda z, y, n: _of_means(z, y, n, 2, -0.5),
            "the bias is half of what is asked for, -|c|²",
        ),
        Mistake(
            lambda z, y, n: _of_means(z, y, n, -2),
            "the weight has the wrong sign: in -|z - c|² the middle term is + 2 c · z",
        ),
        Mistake(
            lambda z, y, n: _of_means(z, y, n, 2, 1),
            "the bias has the wrong sign: a prototype far from 0 pays for it, b = -|c|²",
        ),
        Mistake(
            lambda z, y, n: _of_means(z, y, n, 2, -2),
            "the bias is twice what is asked for: b = -|c|², the factor 2 belongs to the weight",
        ),
        Mistake(
            lambda z, y, n: _of_means(z, y, n, 2, -4),
            "this is the squared length of the weight; the bias is that of the prototype, -|c|²",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).norm(dim=1)),
            "the bias is minus the length of the prototype; take the square of the length",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).sum(dim=1)),
            "the bias is minus the sum of the prototype's numbers; square each before the sum",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).sum(dim=1).square()),
            "the bias is the square of a sum; square each number first, then add up",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square().mean(dim=1)),
            "the bias is a mean over the d numbers; the squared length is their sum",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square().sum(dim=0)),
            "the bias is added up over the classes, dim=0; each class has one, so add up its d "
            "numbers, dim=1",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square().sum()),
            "the bias is one number for all classes; `sum(dim=1)` gives one for each",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square()),
            "the bias still has d numbers for each class; add them up, `sum(dim=1)`",
        ),
        Mistake(
            lambda z, y, n: _with_bias(
                z, y, n, -class_means(z, y, n).square().sum(dim=1, keepdim=True)
            ),
            "the bias has an axis too many, (n_way, 1): no `keepdim`",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z.square(), y, n).sum(dim=1)),
            "the bias is a mean of squares; take the square of the mean, that is, of the prototype",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, torch.zeros(n)),
            "the bias is missing: without -|c|² far prototypes would win",
        ),
        Mistake(
            lambda z, y, n: (linear_layer(z, y, n)[0].T, linear_layer(z, y, n)[1]),
            "the weight has a row for each class, (n_way, d); here rows and columns are exchanged",
        ),
        Mistake(
            lambda z, y, n: linear_layer(z, y, n)[::-1],
            "weight and bias are exchanged: return the weight first",
        ),
        Mistake(lambda z, y, n: linear_layer(z, y, n)[0], "the bias is missing: return both"),
        Mistake(
            lambda z, y, n: z @ linear_layer(z, y, n)[0].T + linear_layer(z, y, n)[1],
            "these are the scores of the support items; return the layer itself, weight and bias",
        ),
        Mistake(lambda z, y, n: _of_other_points(_class_sums(z, y, n)), LAYER_SUMS),
        Mistake(lambda z, y, n: _of_other_points(_class_sums(z, y, n) / (len(y) / n)), MEANS_EQUAL),
        Mistake(lambda z, y, n: _of_other_points(_sorted_and_equal(z, y, n)), MEANS_ORDER),
        Mistake(lambda z, y, n: _of_other_points(_sorted_items(z, y, n)), MEANS_ORDER),
        Mistake(
            lambda z, y, n: _of_other_points(z),
            "this has a row for each support item; first take the mean of each class",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(z[:n]),
            "these are the first n_way items; first take the mean of each class",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(F.normalize(class_means(z, y, n), dim=1)),
            "the prototypes were divided by their length; use them as they are",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(
                torch.stack([c.median(dim=0).values for c in _each_class(z, y, n)])
            ),
            "the median of each class was taken; a prototype is the mean",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(_class_sums(z, y, n) / len(y)),
            "this divides by the number of all support items; a prototype is the sum divided by "
            "the number of items of the class",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(_sorted_and_equal(z[y.argsort()], y, n)), MEANS_PARTS
        ),
        Mistake(lambda z, y, n: _of_other_points(_in_turns(z, y, n)), MEANS_ORDER),
        Mistake(
            lambda z, y, n: _of_other_points(torch.stack([c[0] for c in _each_class(z, y, n)])),
            "this takes the first item of each class; a prototype is the mean of all of them",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(
                torch.stack([c.mean(dim=1) for c in _each_class(z, y, n)])
            ),
            MEANS_FEATURES,
        ),
        Mistake(
            lambda z, y, n: _of_other_points(class_means(z, y, n)[y]),
            "this has a row for each support item; a class has one row",
        ),
        Mistake(
            lambda z, y, n: (2 * z.mean(dim=0), -z.mean(dim=0).square().sum()),
            "this is the mean of all support items; each class has its own",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -z.square().sum(dim=1)),
            "the bias is that of each support item; take the prototype of each class",
        ),
        Mistake(
            lambda z, y, n: _with_bias(
                z, y, n, -class_means(z, y, n).square().sum(dim=1) - z.square().sum(dim=1)
            ),
            "leave |z|² out: z is the query, and the term is the same for every class",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n) @ class_means(z, y, n).T),
            "`c @ c.T` multiplies every prototype with every other; |c|² is each with itself, the "
            "sum of its squared numbers",
        ),
        Mistake(
            lambda z, y, n: _with_bias(
                z, y, n, -(class_means(z, y, n) @ class_means(z, y, n).T).sum(dim=1)
            ),
            "`c @ c.T` multiplies every prototype with every other; |c|² is each with itself, the "
            "sum of its squared numbers",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n) @ class_means(z, y, n)),
            "`c @ c` multiplies tables; |c|² is the sum of the squared numbers of each prototype",
        ),
        Mistake(
            lambda z, y, n: (
                class_means(z, y, n).square(),
                -class_means(z, y, n).square().sum(dim=1),
            ),
            "the weight is twice the prototype, not its square",
        ),
        Mistake(
            lambda z, y, n: torch.cat(
                [2 * class_means(z, y, n), -class_means(z, y, n).square().sum(1, keepdim=True)], 1
            ),
            "weight and bias are joined in one tensor; return two, `return weight, bias`",
        ),
        Mistake(
            lambda z, y, n: (
                2 * class_means(z, y, n) - class_means(z, y, n).square().sum(1)[:, None]
            ),
            "weight and bias are added up; return two tensors, `return weight, bias`",
        ),
        Mistake(
            lambda z, y, n: torch.nn.Linear(z.shape[1], n),
            "this layer has random weights; return the two tensors that the support set writes",
        ),
        Mistake(
            lambda z, y, n: dict(zip(("weight", "bias"), linear_layer(z, y, n), strict=True)),
            "return two tensors, `return weight, bias`, not a dict",
        ),
        Mistake(
            lambda z, y, n: _of_other_points(_class_sums(z, y, n) / n),
            "this divides by the number of classes; a prototype is the sum divided by the number "
            "of items of the class",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -(class_means(z, y, n) ** 4).sum(dim=1)),
            "this squares twice; |c|² is the sum of the squared numbers",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square().prod(dim=1)),
            "this multiplies the squared numbers; |c|² is their sum",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square().amax(dim=1)),
            "this is the largest squared number; |c|² is their sum",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -torch.ones(n)),
            "the bias is the same for all classes; it is minus the squared length of a prototype",
        ),
        Mistake(
            lambda z, y, n: (2 * class_means(z, y, n).sum(dim=1), linear_layer(z, y, n)[1]),
            "the weight of a class has d numbers, one for each of z; do not add them up",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -class_means(z, y, n).square().sum(dim=1).mean()),
            "the bias is one number for all classes; each class has its own",
        ),
        Mistake(
            lambda z, y, n: _with_bias(
                z, y, n, -_class_sums(z, y, n).square().sum(dim=1) / _shots(y, n)[:, 0]
            ),
            "the bias squares the sum of the items; take the mean first, then the square",
        ),
        Mistake(
            lambda z, y, n: _with_bias(z, y, n, -_class_sums(z, y, n).square().sum(dim=1)),
            "the bias squares the sum of the items; take the mean first, then the square",
        ),
    ],
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
    return attention @ F.one_hot(support_y, n_way).to(attention.dtype)


def _squared(query_z: Tensor, points: Tensor) -> Tensor:
    return (query_z[:, None] - points).square().sum(dim=-1)


def _by_class(weights: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return weights @ _table(support_y, n_way)


def _from_scores(scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return _by_class(scores.softmax(dim=-1), support_y, n_way)


def _mean_by_class(weights: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return _by_class(weights, support_y, n_way) / _shots(support_y, n_way).T


def _columns_in_order(weights: Tensor, n_way: int) -> Tensor:
    return weights.reshape(len(weights), n_way, -1).sum(dim=2)


def _best_of_class(weights: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    return torch.stack([weights[:, support_y == c].amax(dim=1) for c in range(n_way)], dim=1)


def _last_of_class(q: Tensor, z: Tensor, y: Tensor, n: int) -> Tensor:
    out = q.new_zeros(len(q), n)
    for i, c in enumerate(y):
        out[:, c] = (-_squared(q, z)).softmax(dim=-1)[:, i]
    return out


def _nearest_only(q: Tensor, z: Tensor, y: Tensor, n: int) -> Tensor:
    return _table(y, n)[_squared(q, z).argmin(dim=1)]


def _draw_attention(generator: Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    support_z, support_y, n_way = _draw_support(generator)
    n_queries = draw_int(1, 7, generator)
    query_z = torch.randn(n_queries, support_z.shape[1], generator=generator)
    return query_z / 2, support_z / 3, support_y, n_way  # near, so that no probability is 0


_LN2 = math.log(2)
_ROOT = math.sqrt(_LN2)
ATTENTION_EARLY = (
    "the softmax comes too late: this adds up scores within a class and then compares classes; "
    "take the softmax over all support items first, then add up"
)
ATTENTION_DIM = (
    "this softmax goes over the queries (dim=0), so that they share one attention; each query "
    "spends its own on the support items, dim=1"
)
ATTENTION_MEAN = (
    "this averages the attention within a class; add it up, then the classes of a query sum to 1"
)
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
    mistakes=[
        Mistake(
            lambda q, z, y, n: _by_class(-_squared(q, z), y, n).softmax(dim=-1), ATTENTION_EARLY
        ),
        Mistake(
            lambda q, z, y, n: _mean_by_class(-_squared(q, z), y, n).softmax(dim=-1),
            ATTENTION_EARLY,
        ),
        Mistake(
            lambda q, z, y, n: _by_class((-_squared(q, z)).exp(), y, n).softmax(dim=-1),
            "divide the exponentials by their sum; a softmax of exponentials takes exp twice",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y, n).softmax(dim=-1),
            "this takes a second softmax, over the classes; the sums are probabilities already",
        ),
        Mistake(
            lambda q, z, y, n: _by_class((-_squared(q, z)).exp(), y, n),
            "exponentials are not yet probabilities: divide each row by its sum, as softmax does",
        ),
        Mistake(
            lambda q, z, y, n: _by_class(-_squared(q, z), y, n),
            "the softmax over the support items is missing; these are sums of distances",
        ),
        Mistake(
            lambda q, z, y, n: _by_class(_squared(q, z), y, n),
            "the softmax over the support items is missing; these are sums of distances",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1),
            "this is the attention to each item, (Q, S); add up the columns of each class",
        ),
        Mistake(
            lambda q, z, y, n: _by_class((-_squared(q, z)).softmax(dim=0), y, n), ATTENTION_DIM
        ),
        Mistake(
            lambda q, z, y, n: _by_class(
                (-_squared(q, z)).flatten().softmax(0).view(len(q), -1), y, n
            ),
            "this softmax goes over all queries and items at once; each query has its own, dim=1",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(_squared(q, z), y, n),
            "the sign is missing: this pays most attention to what is farthest; softmax of minus "
            "the distances",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z).sqrt(), y, n),
            "these distances are not squared (`torch.cdist` and `norm` take the root)",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z) / z.shape[1], y, n),
            "this is the mean over the d numbers; a squared distance is the sum",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z) / z.shape[1] ** 0.5, y, n),
            "this divides by the root of d, as dot-product attention does; not here",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z) / 2, y, n),
            "the distances are halved; there is no 1/2 in the formula",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-(q[:, None] - z).abs().sum(dim=-1), y, n),
            "these are sums of absolute differences; square the differences",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(q @ z.T, y, n),
            "this compares by the dot product; minus the squared distance is asked for",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(q @ z.T / z.shape[1] ** 0.5, y, n),
            "this compares by the dot product; minus the squared distance is asked for",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(F.normalize(q) @ F.normalize(z).T, y, n),
            "this compares by the cosine, as Vinyals et al. did; here minus the squared distance "
            "is asked for",
        ),
        Mistake(
            lambda q, z, y, n: _mean_by_class((-_squared(q, z)).softmax(dim=-1), y, n),
            ATTENTION_MEAN,
        ),
        Mistake(
            lambda q, z, y, n: F.normalize(
                _mean_by_class((-_squared(q, z)).softmax(dim=-1), y, n), p=1
            ),
            ATTENTION_MEAN,
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y, n) * n / len(y), ATTENTION_MEAN
        ),
        Mistake(
            lambda q, z, y, n: _best_of_class((-_squared(q, z)).softmax(dim=-1), y, n),
            "this takes the largest attention of each class; add up all of them",
        ),
        Mistake(
            _nearest_only,
            "this gives all attention to the nearest item; softmax shares it out",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, class_means(z, y, n))).softmax(dim=-1),
            "this is the Prototypical Network: it averages the items and then measures; measure "
            "each item, then add up",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y, n).log(),
            "these are logarithms; the probabilities are asked for (`softmax`, not `log_softmax`)",
        ),
        Mistake(
            lambda q, z, y, n: _by_class((-_squared(q, z)).log_softmax(dim=-1), y, n),
            "`log_softmax` gives logarithms, and a sum of logarithms is no probability; `softmax`",
        ),
        Mistake(
            lambda q, z, y, n: _by_class((-_squared(q, z)).sigmoid(), y, n),
            "a sigmoid looks at each item alone; a softmax shares one attention out among all",
        ),
        Mistake(
            lambda q, z, y, n: _columns_in_order((-_squared(q, z)).softmax(dim=-1), n), MEANS_ORDER
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y, n).T,
            "rows and columns are exchanged: a row for each query, a column for each class",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(z, z), y, n),
            "this asks about the support items; the queries are to be classified",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1) @ F.one_hot(y, n),
            "`F.one_hot` gives whole numbers, and `@` multiplies only what is of one type; make "
            "them floats, `.to(attention.dtype)`",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1) @ _table(y, n).T,
            "`one_hot` is (S, n_way) as it comes; do not transpose it, (Q, S) @ (S, n_way)",
        ),
        Mistake(
            lambda q, z, y, n: (q - z).square().sum(dim=-1),
            "to subtract every item from every query, give the queries an axis: `query_z[:, None]`",
        ),
        Mistake(
            lambda q, z, y, n: torch.ones(len(q), n),
            "every class gets 1: a softmax within each class sums to 1 there; take one softmax "
            "over all support items",
        ),
        Mistake(
            lambda q, z, y, n: 1 / _shots(y, n).T.expand(len(q), -1),
            "a softmax within each class is blind to the other classes; take one softmax over all "
            "support items, then add up",
        ),
        Mistake(
            lambda q, z, y, n: _by_class(
                (-(q[:, None] - z).square()).softmax(dim=1).sum(dim=-1), y, n
            ),
            "add up the d squared differences to a distance first, then take the softmax",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-(q[:, None] - z).square().sum(dim=1), y, n),
            "this adds up over the support items; the d numbers of a difference are the last axis, "
            "dim=-1",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-(q[:, None] - z).square().sum(dim=0), y, n),
            "this adds up over the queries; the d numbers of a difference are the last axis",
        ),
        Mistake(
            lambda q, z, y, n: (-(q - z).square().sum(dim=-1)).softmax(dim=0) @ _table(y, n),
            "to subtract every item from every query, give the queries an axis: `query_z[:, None]`",
        ),
        Mistake(
            lambda q, z, y, n: attention_probabilities(q, z, y, n).argmax(dim=1),
            "this is the class with the most attention; the probabilities are asked for",
        ),
        Mistake(
            _last_of_class,
            "`out[q, label] = a` writes over what was there; add to it",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1) @ z,
            "this is a mean of the items, weighted by attention; add up the attention by class",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1) @ y.float(),
            "this computes with the labels as numbers; they are names, so use their one-hot table",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).exp() / (-_squared(q, z)).exp().sum(dim=1),
            "the sums (Q,) are laid along the columns; `sum(dim=1, keepdim=True)`, or softmax",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y.sort().values, n),
            "the labels were sorted, the items were not; item i has the label `support_y[i]`",
        ),
        Mistake(
            lambda q, z, y, n: -_squared(q, z) * _table(y, n),
            "`*` multiplies number by number; to add up columns use the matrix product, `@`",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z).square(), y, n),
            "this squares twice, |z - z_i|⁴",
        ),
        Mistake(
            lambda q, z, y, n: _by_class(F.normalize(1 / (_squared(q, z) + 1e-6), p=1), y, n),
            "this shares out by 1 / distance; softmax shares out by exp(-distance)",
        ),
        Mistake(
            lambda q, z, y, n: _mean_by_class((-_squared(q, z)).softmax(dim=-1), y, n).softmax(-1),
            "this averages within a class and takes a second softmax; adding up is enough",
        ),
        Mistake(
            lambda q, z, y, n: torch.stack(
                [(-_squared(q, z)).softmax(dim=-1)[:, y == c].prod(dim=1) for c in range(n)], dim=1
            ),
            "this multiplies the attention within a class; add it up",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1)[:, :n],
            "these are the first n_way items; add up those of each class",
        ),
        Mistake(
            lambda q, z, y, n: (-_squared(q, z)).softmax(dim=-1)[:, y],
            "`attention[:, support_y]` takes labels for places; add up the columns of each class, "
            "`attention[:, support_y == c]`",
        ),
        Mistake(
            lambda q, z, y, n: _by_class(1 - F.normalize(_squared(q, z), p=1, dim=1), y, n),
            "this shares out by 1 - distance; softmax shares out by exp(-distance)",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-(_squared(q, z) ** 1.5), y, n),
            "this is the third power of the distance; the second is asked for",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-2 * _squared(q, z), y, n),
            "the distances are doubled: that is a temperature; there is none in the formula",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-(q[:, None] - z).sum(dim=-1).square(), y, n),
            "this is the square of a sum; square each difference, then add up",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y, n).sum(dim=1),
            "this adds up over all classes, which gives 1; one column for each class",
        ),
        Mistake(
            lambda q, z, y, n: _from_scores(-_squared(q, z), y, n).mean(dim=0),
            "this averages over the queries; a row for each query",
        ),
        Mistake(
            lambda q, z, y, n: _by_class(-_squared(q, z), y, n).softmax(dim=0),
            "two things: the softmax comes too late, it belongs before the sum by class, and it "
            "goes over the queries",
        ),
        Mistake(
            lambda q, z, y, n: _by_class((-_squared(q, z).sqrt()).softmax(dim=0), y, n),
            "two things: the distances are not squared, and the softmax goes over the queries; "
            "over the support items, dim=1",
        ),
    ],
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


UNSQUARED = (
    "the distances are still not squared: `torch.cdist` and `norm` take the root; "
    "`.square()` undoes it"
)
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
    mistakes=[
        Mistake(lambda q, c: _unsquared(q, c), UNSQUARED),
        Mistake(lambda q, c: F.log_softmax(-_squared(q, c).sqrt(), dim=-1), UNSQUARED),
        Mistake(
            lambda q, c: _unsquared(q, c).square(),
            "this squares the log-probabilities; square the distances, before the softmax",
        ),
        Mistake(
            lambda q, c: -_unsquared(q, c).square(),
            "this squares the log-probabilities; square the distances, before the softmax",
        ),
        Mistake(
            lambda q, c: 2 * _unsquared(q, c),
            "twice the logarithm is the logarithm of the square of the probability; square the "
            "distances, before the softmax",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-2 * _squared(q, c).sqrt(), dim=-1),
            "twice the distance is not its square; `.square()`",
        ),
        Mistake(
            lambda q, c: F.log_softmax(_squared(q, c), dim=-1),
            "the minus is lost: `(-distance) ** 2` is positive, and then the farthest class wins",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c).square(), dim=-1),
            "this squares twice, |z - c|⁴",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c).sqrt().sqrt(), dim=-1),
            "this takes one more root; `torch.cdist` has taken one already, so square",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c) / 2, dim=-1),
            "the squared distances are halved: that is a temperature of 2",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c) / q.shape[1], dim=-1),
            "this is a mean over the d numbers, a temperature of d; a squared distance is a sum",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).abs().sum(dim=-1), dim=-1),
            "these are sums of absolute differences (`p=1`); square the differences",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).sum(dim=-1).square(), dim=-1),
            "this is the square of a sum; square each difference, then add up",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).sum(dim=-1), dim=-1),
            "the differences are added up with their signs; square each first",
        ),
        Mistake(
            lambda q, c: F.log_softmax(2 * q @ c.T + c.square().sum(dim=1), dim=-1),
            "the bias of the linear layer is minus |c|²",
        ),
        Mistake(
            lambda q, c: F.log_softmax(q @ c.T, dim=-1),
            "this compares by the dot product; minus the squared distance is asked for",
        ),
        Mistake(
            lambda q, c: F.log_softmax(2 * q @ c.T, dim=-1),
            "the bias of the linear layer is missing, -|c|²",
        ),
        Mistake(
            lambda q, c: F.log_softmax(F.normalize(q) @ F.normalize(c).T, dim=-1),
            "this is the cosine; the squared Euclidean distance is asked for",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c), dim=0),
            "the softmax goes over the queries now; over the classes, dim=-1",
        ),
        Mistake(
            lambda q, c: F.softmax(-_squared(q, c), dim=-1),
            "these are probabilities; their logarithms are asked for, `log_softmax`",
        ),
        Mistake(
            lambda q, c: -_squared(q, c),
            "these are the scores, minus the squared distances; `log_softmax` is missing",
        ),
        Mistake(
            lambda q, c: -log_probabilities(q, c),
            "this is minus the log-probability, as in the loss; a logarithm of a probability is "
            "below 0",
        ),
        Mistake(
            lambda q, c: _squared(q, c),
            "these are the squared distances; softmax of minus the distances is missing",
        ),
        Mistake(
            lambda q, c: log_probabilities(q, c).T,
            "rows and columns are exchanged: a row for each query, a column for each class",
        ),
        Mistake(
            lambda q, c: (q - c).square().sum(dim=-1),
            "to subtract every prototype from every query, give the queries an axis: "
            "`query_z[:, None]`",
        ),
        Mistake(
            lambda q, c: _unsquared(q.square(), c.square()),
            "this squares the points; square their distances",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(_squared(q, c) ** 1.5), dim=-1),
            "this is the third power of the distance; the second is asked for",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c).sqrt() / q.shape[1] ** 0.5, dim=-1),
            UNSQUARED,
        ),
        Mistake(
            lambda q, c: _squared(q, c).log(),
            "this is the logarithm of the distances; softmax of minus the distances comes first",
        ),
        Mistake(
            lambda q, c: F.log_softmax(1 / (_squared(q, c) + 1e-6), dim=-1),
            "this takes 1 / distance as the score; minus the squared distance is asked for",
        ),
        Mistake(
            lambda q, c: F.logsigmoid(-_squared(q, c)),
            "a sigmoid looks at each class alone; the classes of a query share one softmax",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).square().sum(dim=1), dim=-1),
            "this adds up over the prototypes; the d numbers of a difference are the last axis, "
            "dim=-1",
        ),
        Mistake(
            lambda q, c: 2 * q @ c.T - c.square().sum(dim=1) - q.square().sum(dim=1),
            "|z|² is one number for each query, a column: `[:, None]`, or leave it out",
        ),
        Mistake(
            lambda q, c: F.pairwise_distance(q, c),
            "`pairwise_distance` takes row i of both; every query with every prototype is asked "
            "for, as `torch.cdist` does",
        ),
        Mistake(
            lambda q, c: (-_squared(q, c)).softmax(dim=-1).log2(),
            "this is the logarithm to the base 2; the natural one is asked for",
        ),
        Mistake(
            lambda q, c: 2 * log_probabilities(q, c),
            "these are the right log-probabilities, doubled; the square belongs to the distance",
        ),
        Mistake(
            lambda q, c: log_probabilities(q, c).sum(dim=-1),
            "this adds up over the classes; one column for each class",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).square(), dim=-1),
            "the d squared differences are still apart: add them up, `sum(dim=-1)`, before the "
            "softmax",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).square(), dim=-1).sum(dim=-1),
            "the sum over the d squared differences comes before the softmax",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-(q[:, None] - c).square().amax(dim=-1), dim=-1),
            "this is the largest squared difference; the squared distance is their sum",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(F.normalize(q), F.normalize(c)), dim=-1),
            "the points were divided by their length before; leave them as they are",
        ),
        Mistake(
            lambda q, c: F.log_softmax(2 * q @ c.T - c.norm(dim=1), dim=-1),
            "the bias of the linear layer is minus the square of the length, -|c|²",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c).mean(dim=-1, keepdim=True), dim=-1),
            "this averages over the classes before the softmax; the d numbers of a difference are "
            "to be added up",
        ),
        Mistake(
            lambda q, c: torch.cdist(q, c) @ torch.cdist(q, c),
            "`@` is the matrix product; the square of each number is `.square()`",
        ),
        Mistake(
            lambda q, c: torch.cdist(q, c) * torch.cdist(c, q),
            "the square of each number is `.square()`; (Q, n_way) and (n_way, Q) do not fit",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-_squared(q, c).exp(), dim=-1),
            "the exponential belongs to the softmax, which takes it itself",
        ),
        Mistake(
            lambda q, c: F.log_softmax(-torch.cdist(q, c).exp(), dim=-1),
            "this takes the exponential of the distances; square them",
        ),
    ],
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
    return classes, new_support_y, torch.searchsorted(classes, query_y)


def _class_ids(support_y: Tensor, query_y: Tensor) -> Remapped:
    classes = torch.unique(support_y)
    return classes, support_y, query_y


def _queries_apart(support_y: Tensor, query_y: Tensor) -> Remapped:
    classes, new_support_y = torch.unique(support_y, return_inverse=True)
    return classes, new_support_y, torch.unique(query_y, return_inverse=True)[1]


def _as_they_come(support_y: Tensor, query_y: Tensor) -> Remapped:
    classes = list(dict.fromkeys(support_y.tolist()))
    new_support_y, new_query_y = (
        torch.tensor([classes.index(y) for y in ys.tolist()]) for ys in (support_y, query_y)
    )
    return torch.tensor(classes), new_support_y, new_query_y


def _with_parts(support_y: Tensor, query_y: Tensor, **parts: Tensor) -> Remapped:
    """What is right, but for the parts given."""
    classes, s, q = remap_labels(support_y, query_y)
    return parts.get("classes", classes), parts.get("s", s), parts.get("q", q)


def _joined(support_y: Tensor, query_y: Tensor) -> Tensor:
    return torch.unique(torch.cat([support_y, query_y]), return_inverse=True)[1]


def _last_items_of_ids(support_y: Tensor, ids: Tensor) -> Tensor:
    places = {y: i for i, y in enumerate(support_y.tolist())}
    return torch.tensor([places[y] for y in ids.tolist()])


def _draw_ids(generator: Generator) -> tuple[Tensor, Tensor]:
    n_way = draw_int(2, 6, generator)
    ids = torch.randperm([8, 9000][draw_int(0, 2, generator)], generator=generator)[:n_way]
    support_y = ids[draw_labels(n_way, draw_int(1, 6, generator), generator)]
    return support_y, ids[torch.randint(n_way, (draw_int(1, 7, generator),), generator=generator)]


REMAP_QUERIES_APART = (
    "the queries are numbered among themselves; they may hold fewer classes, so look up their "
    "places among the classes of the support set"
)
REMAP_SORTED = (
    "the classes stand in the order in which they come; in sorted order they are asked for, as "
    "`torch.unique` gives them"
)
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
    mistakes=[
        Mistake(
            lambda s, q: _class_ids(s, q),
            "the labels are still class ids; labels run from 0 to n_way - 1",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, q=q),
            "the support labels are right; the query labels are still class ids",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s),
            "the query labels are right; the support labels are still class ids",
        ),
        Mistake(_queries_apart, REMAP_QUERIES_APART),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=torch.unique(q)),
            "these are the classes of the queries, which may be fewer; take those of the support "
            "set",
        ),
        Mistake(_as_they_come, REMAP_SORTED),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=_as_they_come(s, q)[0]),
            REMAP_SORTED,
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=torch.unique(s).flip(0)),
            "the classes stand in falling order; in rising order they are asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=s),
            "`classes` has a place for each item; each class is to stand there once",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=s.sort().values),
            "`classes` holds some ids twice; each class is to stand there once, `torch.unique`",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=torch.arange(len(s.unique()))),
            "`classes` holds 0..n_way-1; keep the ids, or nobody can say which class was meant",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=torch.arange(len(s))),
            "this numbers the items; items of one class share a label",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s.argsort()),
            "`argsort` says where each rank stands; the rank of each class is asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s.argsort().argsort()),
            "these are ranks of the items; items of one class share a label",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s - s.min(), q=q - s.min()),
            "minus the smallest id works only if the ids have no gaps",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s - 1, q=q - 1),
            "minus 1 works only if the ids are 1, 2, 3, ..; they may be any numbers",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s % len(s.unique()), q=q % len(s.unique())),
            "a remainder can be the same for two classes, and is not their place",
        ),
        Mistake(
            lambda s, q: _with_parts(
                s, q, s=remap_labels(s, q)[1] + 1, q=remap_labels(s, q)[2] + 1
            ),
            "these labels run from 1 to n_way (`right=True` does that); from 0 is asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, q=remap_labels(s, q)[2] + 1),
            "the query labels run from 1 to n_way (`right=True` does that); from 0 is asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, q=torch.searchsorted(q, torch.unique(s))),
            "the arguments of `torch.searchsorted` are exchanged: first where to search, then what",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, q=torch.searchsorted(s, q)),
            "`torch.searchsorted` needs a sorted list without repeats to search in: the classes, "
            "not the support labels",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, q=(q[:, None] == s).int().argmax(dim=1)),
            "this finds the first support item of a query's class; its label is asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s.unique(return_counts=True)[1]),
            "these are counts, from `return_counts`; the places come from `return_inverse`",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=remap_labels(s, q)[2], q=remap_labels(s, q)[1]),
            "support and query labels are exchanged",
        ),
        Mistake(
            lambda s, q: remap_labels(s, q)[1:],
            "the classes are missing: return them first, then both labels",
        ),
        Mistake(
            lambda s, q: (*remap_labels(s, q)[1:], remap_labels(s, q)[0]),
            "the order is: classes, support labels, query labels",
        ),
        Mistake(
            lambda s, q: tuple(part.tolist() for part in remap_labels(s, q)),
            "these are lists; `torch.tensor(...)` makes tensors of them",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=(s[:, None] == s.unique()).long()),
            "this is a table with a 1 at the place of each class; `argmax(dim=1)` gives the place",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=remap_labels(s, torch.cat([s, q]))[2]),
            "support and query labels are still joined; cut them apart after len(support_y)",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=_joined(s, q)[len(q) :], q=_joined(s, q)[: len(q)]),
            "the joined labels are cut at the wrong place: the first len(support_y) belong to the "
            "support set",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=(s[:, None] == s.unique()).nonzero()),
            "`nonzero` gives pairs (item, place); the places are the second column",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=(s[:, None] == s.unique()).int().argmax(dim=0)),
            "this is one number for each class; take the place along the classes, dim=1",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s.unique()[s]),
            "`classes[label]` takes the id for a place; the other way round is asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=s.argsort(), q=q.argsort()),
            "`argsort` says where each rank stands; the place of each id among the classes is "
            "asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=_last_items_of_ids(s, s), q=_last_items_of_ids(s, q)),
            "these are places of support items; items of one class share a label, its place among "
            "the classes",
        ),
        Mistake(
            lambda s, q: (len(s.unique()), *remap_labels(s, q)[1:]),
            "this is the number of classes; return their ids",
        ),
        Mistake(
            lambda s, q: {k: i for i, k in enumerate(s.unique().tolist())},
            "this table from ids to labels is a good start; apply it to both and return three "
            "tensors",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, q=remap_labels(s, q)[1][q]),
            "`new_support_y[query_y]` takes ids for places of items; look the ids up among the "
            "classes",
        ),
        Mistake(
            lambda s, q: (
                {k: i for i, k in enumerate(s.unique().tolist())},
                *remap_labels(s, q)[1:],
            ),
            "the first value is a dict; the sorted class ids as a tensor are asked for",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, classes=torch.unique_consecutive(s)),
            "`unique_consecutive` drops only repeats that stand side by side; `torch.unique`",
        ),
        Mistake(
            lambda s, q: _with_parts(s, q, s=len(s.unique()) - 1 - remap_labels(s, q)[1]),
            "these labels count from the end; the smallest id has the label 0",
        ),
    ],
    hints=[
        "`torch.unique(support_y, return_inverse=True)` gives two things: the sorted ids, and the "
        "place of each label among them.",
        "The queries may hold fewer classes, so `torch.unique` of their own would number them "
        "anew. Find their places among the ids of the support set.",
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
        text="Squared, the distances of the query (2, 2) are 2 and 8. Un-squared they are 1.41 and "
        "2.83. What happens to the answer for this query?",
        options={
            "a": Option(
                "Another class wins.",
                "The root of the larger number is the larger root: 1.41 is still less than 2.83.",
            ),
            "b": Option(
                "The same class wins, and p(0) falls.",
                "The scores differ by 1.41 in place of 6: p(0) = 1 / (1 + exp(-1.41)) = 0.80 in "
                "place of 0.9975. The winner tells only which distance is smaller.",
            ),
            "c": Option(
                "The same class wins, and p(0) rises.",
                "It would if the scores differed by more than before. They differ by 2.83 - 1.41.",
            ),
            "d": Option(
                "Nothing changes: softmax looks only at the order.",
                "It looks at differences: 8 - 2 = 6 squared, 1.41 un-squared. `argmax` looks only "
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
                "3, 7, 9 lie farther apart than 1, 2, 4.",
                "The ids are names; nothing computes with their size. They only choose a column.",
            ),
            "b": Option(
                "`torch.unique` leaves out some classes.",
                "It finds all three in both cases, in sorted order. What are the columns of "
                "`scores`, and what does `cross_entropy` take the label for?",
            ),
            "c": Option(
                "The prototypes are the means of the wrong items.",
                "`support_y == c` compares ids with ids, so the prototypes are right. Which number "
                "does the loss compare with them?",
            ),
            "d": Option(
                "The columns are 0, 1, 2, but the labels are ids: 3 has no column, and 1 has that "
                "of another class.",
                "Column 0 is class 1, column 1 is class 2, column 2 is class 4. Id 3 points "
                "outside: an error. Id 1 points at the column of class 2, and id 2 at that of "
                "class 4: no error, a wrong loss.",
            ),
        },
        right="d",
    ),
]
