"""The exercises of notebook 04: pairs, a comparison without pairs, a squared error, two bugs."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..checker.draws import draw_int, draw_labels
from ..checker.exercise import Answer, Case, Exercise, Mistake
from ..checker.question import Option, Question

__all__ = [
    "EXERCISES",
    "all_pairs",
    "class_scores",
    "entropy_of_logits",
    "relation_logits",
    "squared_error",
]


def _table(labels: Tensor, n_way: int) -> Tensor:
    return F.one_hot(labels, n_way).float()


# --- pairs -----------------------------------------------------------------------------------


def all_pairs(class_z: Tensor, query_z: Tensor) -> Tensor:
    """Pairs (Q, n_way, 2d): row q, column k is class_z[k] (n_way, d), then query_z[q] (Q, d)."""
    shape = (len(query_z), len(class_z), -1)
    return torch.cat([class_z.expand(shape), query_z[:, None].expand(shape)], dim=2)


def _both(c: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Class and query of each pair, (Q, n_way, d) both."""
    shape = (len(q), len(c), -1)
    return c.expand(shape), q[:, None].expand(shape)


def _shuffled(x: Tensor, c: Tensor, q: Tensor, repeat: bool) -> Tensor:
    """Rows x, repeated and then cut into (Q, n_way, d)."""
    n = len(q) * len(c) // len(x)
    rows = x.repeat(n, 1) if repeat else x.repeat_interleave(n, dim=0)
    return rows.view(len(q), len(c), -1)


def _loops_exchanged(c: Tensor, q: Tensor) -> Tensor:
    out = c.new_zeros(len(q), len(c), 2 * c.shape[1])
    for i, j in itertools.product(range(len(q)), range(len(c))):
        out[i, j] = torch.cat([c[i], q[j]])
    return out


def _draw_pairs(generator: Generator) -> tuple[Tensor, Tensor]:
    n_way, n_queries, d = (draw_int(1, 6, generator) for _ in range(3))
    query_z = torch.randn(n_queries, d, generator=generator)
    return torch.randn(n_way, d, generator=generator), query_z


PAIRS_TURNED = "rows are the queries and columns the classes; here they are exchanged"
PAIRS_QUERY_FIRST = "the query comes first in these pairs; the class is to come first"
PAIRS_SHUFFLED = (
    "`view` or `reshape` cuts the numbers in the order in which they lie, so the wrong ones meet: "
    "`repeat_interleave` gives a a b b, `repeat` gives a b a b"
)
PAIRS_AXIS = (
    "the two parts must have the same shape (Q, n_way, d) before they are joined: give the queries "
    "an axis with `query_z[:, None]`, then `expand` both"
)
PAIRS = Exercise(
    solution=all_pairs,
    lesson=4,
    aim="put every class beside every query",
    minutes=5,
    difficulty="easy",
    cases=[
        Case(
            (torch.tensor([[0.0, 1.0], [3.0, 2.0], [-1.0, 5.0]]), torch.tensor([[7.0, 8.0]])),
            torch.tensor(
                [[[0.0, 1.0, 7.0, 8.0], [3.0, 2.0, 7.0, 8.0], [-1.0, 5.0, 7.0, 8.0]]],
            ),
        ),
        Case(
            (torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0], [7.0], [8.0]])),
            torch.tensor(
                [[[1.0, 6.0], [2.0, 6.0]], [[1.0, 7.0], [2.0, 7.0]], [[1.0, 8.0], [2.0, 8.0]]]
            ),
        ),
    ],
    draw=_draw_pairs,
    mistakes=[
        Mistake(lambda c, q: torch.cat(_both(c, q)[::-1], dim=2), PAIRS_QUERY_FIRST),
        Mistake(lambda c, q: all_pairs(q, c), PAIRS_TURNED + "; and the query comes first"),
        Mistake(lambda c, q: all_pairs(c, q).transpose(0, 1), PAIRS_TURNED),
        Mistake(
            lambda c, q: torch.cat(_both(c, q), dim=1),
            "this joins along the axis of the classes (dim=1); join the numbers, dim=2",
        ),
        Mistake(
            lambda c, q: torch.cat(_both(c, q), dim=0),
            "this joins along the axis of the queries: `torch.cat` does so unless told `dim=2`",
        ),
        Mistake(
            lambda c, q: torch.stack(_both(c, q), dim=2),
            "`stack` makes a new axis of length 2; `torch.cat` puts the numbers side by side",
        ),
        Mistake(
            lambda c, q: torch.stack(_both(c, q), dim=-1).flatten(2),
            "the numbers of class and query alternate: c1, q1, c2, q2; first all of the class",
        ),
        Mistake(
            lambda c, q: all_pairs(c, q).flatten(0, 1),
            "these are the right pairs in one long list; rows and columns are to be two axes, "
            "(Q, n_way, 2d)",
        ),
        Mistake(
            lambda c, q: all_pairs(c, q).transpose(0, 1).flatten(0, 1),
            "these are the pairs in one long list; rows and columns are to be two axes, "
            "(Q, n_way, 2d)",
        ),
        Mistake(lambda c, q: c + q[:, None], "this adds; put them side by side with `torch.cat`"),
        Mistake(
            lambda c, q: c - q[:, None],
            "this subtracts; the network is to see both, side by side: `torch.cat`",
        ),
        Mistake(
            lambda c, q: q[:, None] - c,
            "this subtracts; the network is to see both, side by side: `torch.cat`",
        ),
        Mistake(lambda c, q: c * q[:, None], "this multiplies; `torch.cat` puts them side by side"),
        Mistake(
            lambda c, q: torch.cat([_both(c, q)[0]] * 2, dim=2),
            "the class stands twice in each pair; the second half is the query",
        ),
        Mistake(
            lambda c, q: torch.cat([_both(c, q)[1]] * 2, dim=2),
            "the query stands twice in each pair; the first half is the class",
        ),
        Mistake(
            lambda c, q: _both(c, q)[0], "these are the classes alone; the queries are missing"
        ),
        Mistake(
            lambda c, q: _both(c, q)[1], "these are the queries alone; the classes are missing"
        ),
        Mistake(
            lambda c, q: torch.cat([c, q]),
            "this puts the queries below the classes; every class is to meet every query",
        ),
        Mistake(
            lambda c, q: torch.cat([c, q], dim=1),
            "this joins class i and query i only; every class is to meet every query",
        ),
        Mistake(
            lambda c, q: torch.stack(
                [torch.cat([a, b]) for a, b in zip(c, q, strict=False)],
            ),
            "`zip` joins class i and query i only; every class is to meet every query, two loops",
        ),
        Mistake(
            lambda c, q: torch.stack([torch.cat([a, b]) for b in q for a in c]),
            "these are the right pairs in one long list; rows and columns are to be two axes, "
            "(Q, n_way, 2d)",
        ),
        Mistake(
            lambda c, q: torch.cat([_shuffled(c, c, q, False), _both(c, q)[1]], 2),
            PAIRS_SHUFFLED,
        ),
        Mistake(
            lambda c, q: torch.cat([_both(c, q)[0], _shuffled(q, c, q, True)], 2),
            PAIRS_SHUFFLED,
        ),
        Mistake(
            lambda c, q: torch.cat([_shuffled(c, c, q, False), _shuffled(q, c, q, True)], 2),
            PAIRS_SHUFFLED,
        ),
        Mistake(
            lambda c, q: all_pairs(c, q).transpose(0, 1).reshape(len(q), len(c), -1),
            PAIRS_SHUFFLED,
        ),
        Mistake(lambda c, q: torch.cat([c[None], q[:, None]], dim=2), PAIRS_AXIS),
        Mistake(lambda c, q: torch.cat([c, q[:, None]], dim=2), PAIRS_AXIS),
        Mistake(lambda c, q: torch.cat([c, q], dim=2), PAIRS_AXIS),
        Mistake(lambda c, q: torch.cat([c, q[:, None]], dim=-1), PAIRS_AXIS),
        Mistake(
            lambda c, q: torch.cat([c.expand(len(q), len(c), -1), q.expand(len(q), len(c), -1)], 2),
            "the queries lack an axis: `query_z[:, None]` is (Q, 1, d), and `expand` can lay it "
            "along the classes",
        ),
        Mistake(
            lambda c, q: torch.cat([c[:, None].expand(len(q), len(c), -1), _both(c, q)[1]], 2),
            "the axis of the classes is the second; `class_z[:, None]` puts it first. "
            "`class_z.expand(Q, n_way, d)` adds the axis in front by itself",
        ),
        Mistake(
            lambda c, q: torch.cat(_both(F.normalize(c), F.normalize(q)), dim=2),
            "these embeddings were divided by their length; leave them as they are",
        ),
        Mistake(
            lambda c, q: [[torch.cat([a, b]) for a in c] for b in q],
            "these are lists of pairs; `torch.stack` makes a tensor of them, twice",
        ),
        Mistake(
            lambda c, q: torch.cat([c.expand(2, 2, 2), q[:, None].expand(2, 2, 2)], dim=2),
            "(2, 2, 2) fits the example in the text only; `len(query_z)`, `len(class_z)` and -1 "
            "fit all",
        ),
        Mistake(
            lambda c, q: (c - q[:, None]).abs(),
            "this subtracts; the network is to see both, side by side: `torch.cat`",
        ),
        Mistake(
            lambda c, q: torch.cat([all_pairs(c, q), (c - q[:, None]).abs()], dim=2),
            "a third part, the difference, is not asked for: a pair has 2d numbers",
        ),
        Mistake(
            lambda c, q: all_pairs(c.mean(dim=0).expand(len(c), -1), q),
            "this puts the mean of all classes into every pair; each class has its own pair",
        ),
        Mistake(
            lambda c, q: _both(c, q),
            "these are the two halves; `torch.cat` joins them along dim=2",
        ),
        Mistake(
            lambda c, q: torch.cartesian_prod(c.flatten(), q.flatten()),
            "this pairs single numbers; pair whole embeddings",
        ),
        Mistake(
            lambda c, q: torch.cat([c.expand(len(q), -1, -1), q.expand(len(c), -1, -1)], dim=2),
            "the queries lack an axis: `query_z[:, None]` is (Q, 1, d), and `expand` can lay it "
            "along the classes",
        ),
        Mistake(
            _loops_exchanged,
            "the loops write to [class, query]; rows are the queries: `out[q, k]`",
        ),
        Mistake(
            lambda c, q: torch.cat([c.repeat(len(q), 1, 1), q.repeat(len(c), 1, 1)], dim=2),
            "the queries lack an axis: `query_z[:, None]` is (Q, 1, d), and `expand` can lay it "
            "along the classes",
        ),
        Mistake(
            lambda c, q: all_pairs(c, q).permute(1, 2, 0),
            "the axes are in another order; (Q, n_way, 2d) is asked for",
        ),
        Mistake(
            lambda c, q: all_pairs(c, q).permute(2, 0, 1),
            "the numbers of a pair are the last axis, (Q, n_way, 2d)",
        ),
        Mistake(
            lambda c, q: torch.cat([c.flatten(), q.flatten()]),
            "this puts all numbers in one row; every class is to meet every query",
        ),
        Mistake(
            lambda c, q: q @ c.T,
            "this multiplies, so that one number is left of a pair; `torch.cat` keeps all 2d",
        ),
        Mistake(
            lambda c, q: torch.cat([c.repeat(len(q), 1), q.repeat(len(c), 1)], dim=1),
            "both repeat in the same rhythm, so class i meets only some queries; repeat one as a b "
            "a b, the other as a a b b, `repeat_interleave`, and give the result two axes",
        ),
        Mistake(
            lambda c, q: torch.stack(_both(c, q), dim=-1),
            "`stack` makes a new axis of length 2; `torch.cat` puts the numbers side by side",
        ),
    ],
    hints=[
        "Make two tensors of the same shape (Q, n_way, d), one with the class of each pair and one "
        "with its query; then join them along the last axis.",
        "`class_z` lacks the axis of the queries, which comes first; `expand` puts new axes in "
        "front by itself. `query_z` lacks the axis in the middle: `query_z[:, None]`.",
        "`torch.cat([...], dim=2)`; without `dim` it joins along the first axis.",
    ],
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


def _halves(c: Tensor, q: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """What class (n_way, h) and query (Q, 1, h) bring to the hidden units."""
    d = c.shape[1]
    return c @ w[:, :d].T, (q @ w[:, d:].T)[:, None]


def _draw_relation(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    n_way, n_queries, d, h = (draw_int(low, 6, generator) for low in (1, 1, 1, 2))
    class_z, query_z = (torch.randn(n, d, generator=generator) for n in (n_way, n_queries))
    bias, score = torch.randn(2, h, generator=generator)
    return class_z, query_z, torch.randn(h, 2 * d, generator=generator), bias, score


def _swapped(c: Tensor, q: Tensor, w: Tensor, b: Tensor, s: Tensor) -> Tensor:
    d = c.shape[1]
    return F.relu(c @ w[:, d:].T + b + (q @ w[:, :d].T)[:, None]) @ s


def _one_half(c: Tensor, q: Tensor, w: Tensor, b: Tensor, s: Tensor) -> Tensor:
    d = c.shape[1]
    return F.relu(c @ w[:, :d].T + b + (q @ w[:, :d].T)[:, None]) @ s


def _other_half(c: Tensor, q: Tensor, w: Tensor, b: Tensor, s: Tensor) -> Tensor:
    d = c.shape[1]
    return F.relu(c @ w[:, d:].T + b + (q @ w[:, d:].T)[:, None]) @ s


def _relu_of_parts(c: Tensor, q: Tensor, w: Tensor, b: Tensor, s: Tensor) -> Tensor:
    from_class, from_query = _halves(c, q, w)
    return (F.relu(from_class + b) + F.relu(from_query)) @ s


def _hidden(c: Tensor, q: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return sum(_halves(c, q, w)) + b


RELU_APART = (
    "this takes the ReLU of each part; then nothing compares class and query. Add first, then ReLU"
)
RELATION_AXIS = (
    "(n_way, h) and (Q, h) cannot be added for all pairs; give the query part an axis, `[:, None]`"
)


class _Made(TorchDispatchMode):
    """Remembers the shapes of all tensors that are made, but for views of what was there."""

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
    """Whether nothing holds the 2d numbers of a class and a query, one pair or all of them."""
    n_way, n_queries, d, h = 5, 7, 11, 3  # 2d is the size of nothing else
    generator = torch.Generator().manual_seed(0)
    class_z, query_z = (torch.randn(n, d, generator=generator) for n in (n_way, n_queries))
    bias, score = torch.randn(2, h, generator=generator)
    weight = torch.randn(h, 2 * d, generator=generator)
    with _Made(weight) as made:
        answer(class_z, query_z, weight, bias, score)
    others = made.shapes - {(h, 2 * d), (2 * d, h)}  # a copy of the weights, say
    return PAIRS_MADE if any(2 * d in shape for shape in others) else ""


PAIRS_MADE = (
    "the logits are right, but they are made from pairs: somewhere a class and a query stand side "
    "by side, 2d numbers. Let each meet its own half of the weights, and add the two products"
)
_CLASSES = torch.tensor([[1.0, 1.0], [4.0, 4.0], [0.0, 2.0]])
_DISTANCE = torch.tensor([[1.0, 0, -1, 0], [-1, 0, 1, 0], [0, 1, 0, -1], [0, -1, 0, 1]])
RELATION = Exercise(
    solution=relation_logits,
    lesson=4,
    aim="compare without making a single pair",
    minutes=8,
    difficulty="medium",
    cases=[
        Case(  # minus the Manhattan distances
            (
                _CLASSES,
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
    mistakes=[
        Mistake(lambda c, q, w, b, s: _hidden(c, q, w, b) @ s, "the ReLU is missing"),
        Mistake(_relu_of_parts, RELU_APART),
        Mistake(
            lambda c, q, w, b, s: sum(F.relu(part + b) for part in _halves(c, q, w)) @ s, RELU_APART
        ),
        Mistake(
            lambda c, q, w, b, s: (sum(F.relu(part) for part in _halves(c, q, w)) + b) @ s,
            RELU_APART,
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b) @ s),
            "the ReLU comes after `score`; it belongs to the hidden units, before",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(F.relu(_hidden(c, q, w, b)) @ s),
            "there is a second ReLU after `score`; a logit may be below 0",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b) * s).sum(dim=-1),
            "this multiplies by `score` before the ReLU; ReLU first",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, 2 * b)) @ s,
            "the bias is added twice, with the class and with the query; once is enough",
        ),
        Mistake(lambda c, q, w, b, s: F.relu(_hidden(c, q, w, 0 * b)) @ s, "the bias is missing"),
        Mistake(
            lambda c, q, w, b, s: (F.relu(_hidden(c, q, w, 0 * b)) + b) @ s,
            "the bias is added after the ReLU; add it before",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, -b)) @ s, "the bias has the wrong sign"
        ),
        Mistake(
            _swapped,
            "the halves of the weights are exchanged: the columns `weight[:, :d]` meet the class, "
            "which comes first",
        ),
        Mistake(
            _one_half,
            "both parts meet the same half of the weights; the query meets `weight[:, d:]`",
        ),
        Mistake(
            _other_half,
            "both parts meet the same half of the weights; the class meets `weight[:, :d]`",
        ),
        Mistake(
            lambda c, q, w, b, s: relation_logits(c, q, w, b, s).T,
            "a row for each query, a column for each class is asked for; here they are exchanged: "
            "it is the query part that gets the new axis",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_halves(c, q, w)[0] + b - _halves(c, q, w)[1]) @ s,
            "this subtracts the query part; the weights have their signs already, so add",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_halves(c, q, w)[0] * _halves(c, q, w)[1] + b) @ s,
            "this multiplies the two parts; a concatenation before a linear layer is a sum after",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)).mean(dim=-1),
            "`score` is missing: each hidden unit has a weight of its own",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)).sum(dim=-1),
            "`score` is missing: each hidden unit has a weight of its own",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)),
            "these are the hidden units; `@ score` makes one logit of them",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)) * s,
            "`*` weights the hidden units, and they are still to be added up; `@ score` does both",
        ),
        Mistake(
            lambda c, q, w, b, s: (F.relu(_hidden(c, q, w, b)) * s).mean(dim=-1),
            "this is the mean over the hidden units; the logit is their weighted sum",
        ),
        Mistake(
            lambda c, q, w, b, s: (F.relu(_hidden(c, q, w, b)) @ s)[..., None],
            "there is an axis of length 1 too many at the end; `score` is (h,)",
        ),
        Mistake(
            lambda c, q, w, b, s: relation_logits(c, q, w, b, s).sigmoid(),
            "these are scores between 0 and 1; the logits are asked for, so no sigmoid",
        ),
        Mistake(
            lambda c, q, w, b, s: _hidden(c, q, w, b).sigmoid() @ s,
            "the hidden units have a ReLU here, not a sigmoid",
        ),
        Mistake(
            lambda c, q, w, b, s: _hidden(c, q, w, b).tanh() @ s,
            "the hidden units have a ReLU here, not a tanh",
        ),
        Mistake(
            lambda c, q, w, b, s: relation_logits(c, q, w, b, s).softmax(dim=-1),
            "these are probabilities; the logits are asked for, so no softmax",
        ),
        Mistake(
            lambda c, q, w, b, s: relation_logits(c, q, w, b, s) + 3,
            "there is no constant 3 here",
        ),
        Mistake(
            lambda c, q, w, b, s: _hidden(c, q, w, b).abs() @ s,
            "this is the absolute value; ReLU makes 0 of what is below 0",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(c @ w[:, : c.shape[1]].T + b) @ s,
            "the query has no part in this",
        ),
        Mistake(
            lambda c, q, w, b, s: (F.relu(c @ w[:, : c.shape[1]].T + b) @ s).expand(len(q), -1),
            "the query has no part in this",
        ),
        Mistake(
            lambda c, q, w, b, s: (
                F.relu(c @ w[:, : c.shape[1]].T + q @ w[:, c.shape[1] :].T + b) @ s
            ),
            RELATION_AXIS,
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[:, : c.shape[1]],
            "the weights are (h, 2d): multiply by the transposed of a half, `weight[:, :d].T`",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[: c.shape[1]].T,
            "`weight[:d]` cuts the rows, which are the hidden units; cut the columns, "
            "`weight[:, :d]`",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[: c.shape[1]],
            "`weight[:d]` cuts the rows, which are the hidden units; cut the columns, "
            "`weight[:, :d]`",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w.T,
            "the classes meet all 2d columns of the weights; theirs are the first d",
        ),
        Mistake(
            lambda c, q, w, b, s: all_pairs(c, q) @ w,
            "the weights are (h, 2d): multiply by their transposed, `weight.T`",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[:, : len(c)].T,
            "d is the length of an embedding, `class_z.shape[1]`; `len(class_z)` is n_way",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)).sum(dim=1),
            "the sum goes over the classes; it is the hidden units, the last axis, that `score` "
            "weights and adds up: `@ score`",
        ),
        Mistake(
            lambda c, q, w, b, s: (F.relu(_hidden(c, q, w, b)) * s).sum(dim=1),
            "the sum goes over the classes; it is the hidden units, the last axis, that are to be "
            "added up: `@ score`",
        ),
        Mistake(
            lambda c, q, w, b, s: 3 - F.relu(_hidden(c, q, w, b)) @ s,
            "there is no constant 3 here, and `score` has its sign already",
        ),
        Mistake(
            lambda c, q, w, b, s: 3 - F.relu(_hidden(c, q, w, b)).sum(dim=-1),
            "this is the module of section 2; here `score` holds the weights of the hidden units, "
            "and there is no constant 3",
        ),
        Mistake(
            lambda c, q, w, b, s: -F.relu(_hidden(c, q, w, b)).sum(dim=-1),
            "`score` is missing: each hidden unit has a weight of its own",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, 0 * b)) @ s + b,
            "the bias is (h,), one for each hidden unit: add it before the ReLU",
        ),
        Mistake(
            lambda c, q, w, b, s: (F.relu(_halves(c, q, w)[0] + b) + _halves(c, q, w)[1]) @ s,
            RELU_APART,
        ),
        Mistake(
            lambda c, q, w, b, s: (_halves(c, q, w)[0] + b + F.relu(_halves(c, q, w)[1])) @ s,
            RELU_APART,
        ),
        Mistake(
            lambda c, q, w, b, s: F.leaky_relu(_hidden(c, q, w, b)) @ s,
            "this is a leaky ReLU; ReLU makes 0 of what is below 0",
        ),
        Mistake(
            lambda c, q, w, b, s: F.gelu(_hidden(c, q, w, b)) @ s,
            "this is a GELU; the hidden units have a ReLU here",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu((c - q[:, None]) @ w[:, : c.shape[1]].T + b) @ s,
            "this subtracts class and query and uses half of the weights; the class meets "
            "`weight[:, :d]`, the query `weight[:, d:]`, and the products are added",
        ),
        Mistake(
            lambda c, q, w, b, s: s @ F.relu(_hidden(c, q, w, b)),
            "`score` is (h,) and the hidden units are the last axis: `hidden @ score`, not "
            "`score @ hidden`",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)) @ s[None],
            "`score` is (h,): `hidden @ score` needs no further axis",
        ),
        Mistake(
            lambda c, q, w, b, s: torch.cat([c, q], dim=1),
            "this joins class i and query i only; and the point is to do without `torch.cat`",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[:, : c.shape[1]].T + (q @ w[:, c.shape[1] :].T)[:, :, None],
            "the new axis stands at the wrong place: `[:, None]` makes (Q, 1, h), which meets "
            "(n_way, h)",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)).amax(dim=-1),
            "this is the largest hidden unit; the logit is their weighted sum, `@ score`",
        ),
        Mistake(
            lambda c, q, w, b, s: -relation_logits(c, q, w, b, s),
            "the sign is wrong; `score` has its own",
        ),
        Mistake(
            lambda c, q, w, b, s: (
                F.relu(c @ w[: c.shape[1]] + b + (q @ w[c.shape[1] :])[:, None]) @ s
            ),
            "`weight[:d]` cuts the rows, which are the hidden units; cut the columns, "
            "`weight[:, :d]`, and transpose",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, 0 * b)) @ s + b.sum(),
            "the bias is added after the ReLU; each hidden unit has its own, added before",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(-_hidden(c, q, w, b)) @ s,
            "the sign of the hidden units is wrong before the ReLU",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)) @ s.abs(),
            "`score` may hold numbers below 0; take it as it is",
        ),
        Mistake(
            lambda c, q, w, b, s: F.relu(_hidden(c, q, w, b)).sum(dim=-1) @ s,
            "`@ score` adds up the hidden units itself; no sum before it",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[:, : c.shape[1] - 1].T,
            "the class meets the columns 0 to d - 1, which is `weight[:, :d]`: a slice leaves out "
            "its end",
        ),
        Mistake(
            lambda c, q, w, b, s: c @ w[:, : c.shape[1] + 1].T,
            "the class meets the columns 0 to d - 1, which is `weight[:, :d]`: a slice leaves out "
            "its end",
        ),
    ],
    hints=[
        "The columns `weight[:, :d]` belong to the class, the others to the query. Two products, "
        "one sum that broadcasts, one ReLU, one product.",
        "The class part is (n_way, h). The query part is (Q, h) and must be (Q, 1, h) for the sum, "
        "which is then (Q, n_way, h).",
        "`from_class = class_z @ weight[:, :d].T + bias`, and "
        "`F.relu(from_class + from_query[:, None]) @ score`",
    ],
)


# --- the squared error -----------------------------------------------------------------------


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over pairs of (score - 1 for the own class, else 0) squared; scores (Q, n_way)."""
    return (scores - F.one_hot(labels, scores.shape[1])).square().mean()


def _gap(scores: Tensor, labels: Tensor) -> Tensor:
    return scores - F.one_hot(labels, scores.shape[1])


def _own(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.gather(1, labels[:, None])[:, 0]


def _draw_scores(generator: Generator) -> tuple[Tensor, Tensor]:
    n_queries, n_way = draw_int(1, 7, generator), draw_int(2, 6, generator)
    scores = torch.rand(n_queries, n_way, generator=generator)
    return scores, torch.randint(n_way, (n_queries,), generator=generator)


SQUARED_OWN = "only a query's own class counts here; the scores of the others are pulled to 0"
SQUARED = Exercise(
    solution=squared_error,
    lesson=4,
    aim="write the loss of a regression on pairs",
    minutes=3,
    difficulty="easy",
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
    mistakes=[
        Mistake(
            lambda s, y: _gap(s, y).square().sum(),
            "this is the sum over all pairs; take the mean",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().sum(dim=1).mean(),
            "this adds up the pairs of a query; the mean is over all pairs, queries and classes",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().mean(dim=1).sum(),
            "this adds up over the queries; the mean is over all pairs, queries and classes",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().mean(dim=1),
            "this is a loss for each query; one number for all is asked for",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().mean(dim=0),
            "this is a loss for each class; one number for all is asked for",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square(),
            "this is a loss for each pair; take their mean",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().mean() / 2,
            "there is no 1/2 in this formula",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().mean().sqrt(),
            "this takes the root of the mean; the squared error has none",
        ),
        Mistake(lambda s, y: _gap(s, y).abs().mean(), "this is the absolute error; square it"),
        Mistake(
            lambda s, y: _gap(s, y).mean(),
            "without the square, errors above and below cancel; square each before the mean",
        ),
        Mistake(
            lambda s, y: _gap(s, y).mean().square(),
            "this squares the mean; square each error, then take the mean",
        ),
        Mistake(lambda s, y: (_own(s, y) - 1).square().mean(), SQUARED_OWN),
        Mistake(lambda s, y: (_own(s, y) - 1).square().sum() / s.numel(), SQUARED_OWN),
        Mistake(lambda s, y: (1 - _own(s, y)).mean(), SQUARED_OWN),
        Mistake(
            lambda s, y: (s * (1 - F.one_hot(y, s.shape[1]))).square().mean(),
            "a query's own class does not count here; its score is pulled to 1",
        ),
        Mistake(
            lambda s, y: s.square().mean(),
            "this pulls all scores to 0; the score of the own class is pulled to 1",
        ),
        Mistake(
            lambda s, y: (s - 1).square().mean(),
            "this pulls all scores to 1; those of the other classes are pulled to 0",
        ),
        Mistake(
            lambda s, y: (s - 1 + F.one_hot(y, s.shape[1])).square().mean(),
            "this pulls the own class to 0 and the others to 1; it is the other way round",
        ),
        Mistake(
            lambda s, y: (s - y[:, None]).square().mean(),
            "this pulls the scores to the number of the class; the targets are 1 and 0, "
            "`F.one_hot`",
        ),
        Mistake(
            lambda s, y: (s.argmax(dim=1) - y).square().float().mean(),
            "this compares the numbers of classes; compare the scores with 1 and 0",
        ),
        Mistake(
            lambda s, y: (s.argmax(dim=1) != y).float().mean(),
            "this is the share of wrong answers; the squared error of the scores is asked for",
        ),
        Mistake(
            lambda s, y: _gap(s.softmax(dim=1), y).square().mean(),
            "a softmax came first; the scores stay as they are, and need not sum to 1",
        ),
        Mistake(
            lambda s, y: _gap(s.sigmoid(), y).square().mean(),
            "a sigmoid came first; the scores have had theirs already",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y),
            "this is the cross-entropy; the squared error is asked for",
        ),
        Mistake(
            lambda s, y: F.binary_cross_entropy(s, _table(y, s.shape[1])),
            "this is the cross-entropy of each pair; the squared error is asked for",
        ),
        Mistake(
            lambda s, y: -(_table(y, s.shape[1]) * s.log()).sum(dim=1).mean(),
            "this is a cross-entropy; the squared error is asked for",
        ),
        Mistake(
            lambda s, y: (s - F.one_hot(y)).square().mean(),
            "`F.one_hot(labels)` is only as wide as the largest label asks for; give it the number "
            "of classes, `scores.shape[1]`",
        ),
        Mistake(
            lambda s, y: (s - F.one_hot(y, len(s))).square().mean(),
            "`len(scores)` is the number of queries; the one-hot table is as wide as there are "
            "classes, `scores.shape[1]`",
        ),
        Mistake(
            lambda s, y: (s - F.one_hot(y, s.shape[1]).T).square().mean(),
            "the one-hot table is (Q, n_way) as it comes; do not transpose it",
        ),
        Mistake(
            lambda s, y: (s - y).square().mean(),
            "labels are names, not targets; the targets are 1 and 0, `F.one_hot`",
        ),
        Mistake(
            lambda s, y: (
                (_own(s, y) - 1).square().mean() / 2
                + (s * (1 - F.one_hot(y, s.shape[1]))).square().sum() / (s.numel() - len(s)) / 2
            ),
            "this gives own and other classes the same weight; all pairs count equally here",
        ),
        Mistake(
            lambda s, y: (
                (_own(s, y) - 1).square().mean()
                + (s * (1 - F.one_hot(y, s.shape[1]))).square().sum() / (s.numel() - len(s))
            ),
            "this adds two means, own and other classes; all pairs count equally in one mean",
        ),
        Mistake(
            lambda s, y: (s - s.amax(dim=1, keepdim=True)).square().mean(),
            "the targets come from the labels, not from the largest score",
        ),
        Mistake(
            lambda s, y: (s - F.one_hot(s.argmax(dim=1), s.shape[1])).square().mean(),
            "the targets come from the labels, not from the largest score",
        ),
        Mistake(
            lambda s, y: (s.amax(dim=1) - 1).square().mean(),
            "this looks at the largest score of a query; all its scores count, with targets from "
            "the labels",
        ),
        Mistake(
            lambda s, y: (s.square() - F.one_hot(y, s.shape[1])).mean(),
            "the scores are squared before the target is subtracted; square the difference",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().median(),
            "this is the median; the mean is asked for",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().sum() / (s.numel() - 1),
            "this divides by one less than the number of pairs; a mean divides by n",
        ),
        Mistake(
            lambda s, y: _gap(s, y).norm(),
            "this is the root of the sum; the squared error is the mean, without a root",
        ),
        Mistake(
            lambda s, y: (s - 1 / s.shape[1]).square().mean(),
            "this pulls every score to 1 / n_way; the target is 1 for the own class, else 0",
        ),
        Mistake(
            lambda s, y: (s - F.one_hot(y, 5)).square().mean(),
            "the table has five columns; `scores.shape[1]` fits any number of classes",
        ),
        Mistake(
            lambda s, y: (s - F.one_hot(y, 3)).square().mean(),
            "the table has three columns; `scores.shape[1]` fits any number of classes",
        ),
        Mistake(
            lambda s, y: (s - torch.zeros_like(s).index_fill(1, y, 1)).square().mean(),
            "`t[:, labels] = 1` writes whole columns; each row has one 1, "
            "`t[range(Q), labels] = 1`, or `F.one_hot`",
        ),
        Mistake(
            lambda s, y: torch.zeros_like(s)[y],
            "`t[labels] = 1` writes whole rows; each row has one 1, `t[range(Q), labels] = 1`, or "
            "`F.one_hot`",
        ),
        Mistake(
            lambda s, y: (s + 1 - 2 * F.one_hot(y, s.shape[1])).square().mean(),
            "the targets are 1 and 0, not 1 and -1",
        ),
        Mistake(
            lambda s, y: _gap(s, y).square().sum(dim=1),
            "this is a loss for each query; one number for all is asked for",
        ),
        Mistake(
            lambda s, y: (s * F.one_hot(y, s.shape[1])).square().mean(),
            "this multiplies by the targets; subtract them",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s, y),
            "this is a loss for log-probabilities; the squared error of all scores is asked for",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s.log(), y),
            "this is a cross-entropy; the squared error is asked for",
        ),
        Mistake(
            lambda s, y: _gap((s + 1e-6).log(), y).square().mean(),
            "there is no logarithm here: the scores themselves are compared with 1 and 0",
        ),
        Mistake(
            lambda s, y: _gap(s.round(), y).square().mean(),
            "the scores were rounded; their distance to 1 and 0 is what counts",
        ),
        Mistake(
            lambda s, y: _gap(s.softmax(dim=0), y).square().mean(),
            "a softmax came first, and over the queries; the scores stay as they are",
        ),
    ],
    hints=[
        "`F.one_hot(labels, n_way)` is the table of what the scores should be.",
        "All Q * n_way pairs count, not only those of a query with its own class, and each counts "
        "once. `n_way` is `scores.shape[1]`.",
        "`(scores - targets).square().mean()`",
    ],
)


# --- find the bug: scores of items are not scores of classes ---------------------------------


def class_scores(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    """Scores (Q, n_way): the mean of item_scores (Q, S) over the support items of each class."""
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot / one_hot.sum(dim=0)


def _summed_scores(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    one_hot = F.one_hot(support_y, n_way).to(item_scores.dtype)  # (S, n_way)
    return item_scores @ one_hot


def _of_each_class(item_scores: Tensor, support_y: Tensor, n_way: int) -> list[Tensor]:
    return [item_scores[:, support_y == k] for k in range(n_way)]


def _running_scores(item_scores: Tensor, support_y: Tensor, n_way: int) -> Tensor:
    out = item_scores.new_zeros(len(item_scores), n_way)
    for i, k in enumerate(support_y):
        out[:, k] = (out[:, k] + item_scores[:, i]) / 2
    return out


def _of_each_mean(item_scores: Tensor, support_y: Tensor, n_way: int) -> list[Tensor]:
    return [part.mean(dim=1) for part in _of_each_class(item_scores, support_y, n_way)]


def _draw_items(generator: Generator) -> tuple[Tensor, Tensor, int]:
    n_queries, n_way = draw_int(1, 6, generator), draw_int(2, 6, generator)
    if draw_int(0, 4, generator):
        support_y = draw_labels(n_way, draw_int(1, 8, generator), generator)
    else:
        support_y = torch.arange(n_way).repeat(draw_int(2, 4, generator))
    return 2 * torch.randn(n_queries, len(support_y), generator=generator), support_y, n_way


SCORES_SUM = (
    "these are sums, which grow with the number of items of a class; divide each column by the "
    "number of items of its class"
)
SCORES_EQUAL = (
    "this divides every class by the same number; classes may have unequal numbers of items, so "
    "count each: `one_hot.sum(dim=0)`"
)
SCORES_ORDER = (
    "this takes it that the items come class by class, equally many of each; look at `support_y`"
)
SCORES_TURNS = (
    "this takes it that the labels read 0, 1, .., 0, 1, ..; look at `support_y`, they may come in "
    "any order"
)
SCORES = Exercise(
    solution=class_scores,
    buggy=_summed_scores,
    lesson=4,
    aim="make scores of classes from scores of items",
    minutes=5,
    difficulty="easy",
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
    mistakes=[
        Mistake(lambda s, y, n: _summed_scores(s, y, n), SCORES_SUM),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / len(y),
            "this divides by the number of all support items; divide by those of the class",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / n,
            "this divides by the number of classes; divide by the number of items of each class",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / len(s),
            "this divides by the number of queries; divide by the number of items of each class",
        ),
        Mistake(lambda s, y, n: _summed_scores(s, y, n) * n / len(y), SCORES_EQUAL),
        Mistake(lambda s, y, n: _summed_scores(s, y, n) / (len(y) // n), SCORES_EQUAL),
        Mistake(lambda s, y, n: _summed_scores(s, y, n) / (y == 0).sum(), SCORES_EQUAL),
        Mistake(lambda s, y, n: _summed_scores(s, y, n) / y.bincount().max(), SCORES_EQUAL),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) * y.bincount(),
            "this multiplies by the number of items of the class; divide",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / y.bincount().sqrt(),
            "this divides by the root of the number of items; divide by the number itself",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / (y.bincount() + 1),
            "this divides by one more than the number of items of the class",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / (y.bincount() - 1),
            "this divides by one less than the number of items of the class",
        ),
        Mistake(lambda s, y, n: s.reshape(len(s), n, -1).mean(dim=2), SCORES_ORDER),
        Mistake(lambda s, y, n: s.view(len(s), n, len(y) // n).mean(dim=2), SCORES_ORDER),
        Mistake(
            lambda s, y, n: torch.stack([part.mean(dim=1) for part in s.chunk(n, dim=1)], dim=1),
            SCORES_ORDER,
        ),
        Mistake(
            lambda s, y, n: torch.stack(
                [part.mean(dim=1) for part in s.split(y.bincount().tolist(), dim=1)], dim=1
            ),
            "this takes it that the items come class by class; look at `support_y`, they may come "
            "in any order",
        ),
        Mistake(
            lambda s, y, n: torch.stack([s[:, k::n].mean(dim=1) for k in range(n)], dim=1),
            SCORES_TURNS,
        ),
        Mistake(lambda s, y, n: s, "this still has a column for each item; one for each class"),
        Mistake(lambda s, y, n: s[:, :n], "these are the first n_way items; use `support_y`"),
        Mistake(lambda s, y, n: s[:, y], "`item_scores[:, support_y]` takes labels for places"),
        Mistake(
            lambda s, y, n: torch.stack([k.amax(dim=1) for k in _of_each_class(s, y, n)], dim=1),
            "this is the best score of each class; the mean is asked for",
        ),
        Mistake(
            lambda s, y, n: torch.stack([k.amin(dim=1) for k in _of_each_class(s, y, n)], dim=1),
            "this is the lowest score of each class; the mean is asked for",
        ),
        Mistake(
            lambda s, y, n: torch.stack(
                [k.median(dim=1).values for k in _of_each_class(s, y, n)], dim=1
            ),
            "this is the median score of each class; the mean is asked for",
        ),
        Mistake(
            lambda s, y, n: torch.stack([k[:, 0] for k in _of_each_class(s, y, n)], dim=1),
            "this is the first item of each class; take the mean of all of them",
        ),
        Mistake(
            lambda s, y, n: torch.stack([k[:, -1] for k in _of_each_class(s, y, n)], dim=1),
            "this is the last item of each class (`out[:, label] = ...` writes over what was "
            "there); take the mean of all of them",
        ),
        Mistake(
            lambda s, y, n: class_scores(s, y, n).T,
            "rows and columns are exchanged: a row for each query, a column for each class",
        ),
        Mistake(
            lambda s, y, n: torch.stack([k.mean(dim=0) for k in _of_each_class(s, y, n)]),
            "this averages over the queries (dim=0); average over the items of the class, dim=1",
        ),
        Mistake(
            lambda s, y, n: torch.stack([k.mean() for k in _of_each_class(s, y, n)]),
            "this averages over the queries too; each query has its own scores",
        ),
        Mistake(
            lambda s, y, n: class_scores(s, y, n).mean(dim=0),
            "this averages over the queries too; each query has its own scores",
        ),
        Mistake(
            lambda s, y, n: class_scores(s.softmax(dim=1), y, n),
            "a softmax came before the mean; the scores stay as they are",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s.softmax(dim=1), y, n),
            "this is attention, as in lesson 03; the mean of the scores is asked for",
        ),
        Mistake(
            lambda s, y, n: class_scores(s, y, n).softmax(dim=1),
            "there is a softmax at the end; the scores themselves are asked for",
        ),
        Mistake(
            lambda s, y, n: class_scores(s.sigmoid(), y, n),
            "a sigmoid came first; take the mean of the scores as they are",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / F.one_hot(y, n).sum(dim=1),
            "`one_hot.sum(dim=1)` is 1 for each item; the number of items of a class is the sum of "
            "its column, dim=0",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / F.one_hot(y, n).sum(dim=0)[:, None],
            "the counts (n_way,) belong to the columns here, so they stay as they are: no "
            "`[:, None]`",
        ),
        Mistake(
            lambda s, y, n: F.normalize(_summed_scores(s, y, n), p=1, dim=1),
            "each row was divided by its own sum; divide each column by the number of items of its "
            "class",
        ),
        Mistake(
            lambda s, y, n: s @ F.one_hot(y, n),
            "`F.one_hot` gives whole numbers, and `@` multiplies only what is of one type; keep "
            "`.to(item_scores.dtype)`",
        ),
        Mistake(
            lambda s, y, n: s @ _table(y, n).T,
            "`one_hot` is (S, n_way) as it comes; do not transpose it",
        ),
        Mistake(
            lambda s, y, n: torch.stack(_of_each_class(s, y, n)),
            "classes may have unequal numbers of items, which `torch.stack` cannot stack; take the "
            "mean of each class first",
        ),
        Mistake(lambda s, y, n: s.view(len(s), -1, n).mean(dim=1), SCORES_TURNS),
        Mistake(
            lambda s, y, n: s[y == 0],
            "`item_scores[support_y == k]` asks for queries; the items are the columns, "
            "`item_scores[:, support_y == k]`",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n).softmax(dim=1),
            "there is a softmax of sums; the mean of the scores is asked for",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n).mean(dim=0),
            "this averages over the queries; each query has its own scores",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / _summed_scores(s, y, n).sum(1, keepdim=True),
            "each row was divided by its own sum; divide each column by the number of items of its "
            "class",
        ),
        Mistake(
            lambda s, y, n: torch.stack([k.logsumexp(1) for k in _of_each_class(s, y, n)], dim=1),
            "this is logsumexp, the softmax way to a maximum; the mean is asked for",
        ),
        Mistake(
            lambda s, y, n: s.argmax(dim=1),
            "this is the best item; scores of classes are asked for",
        ),
        Mistake(
            lambda s, y, n: y[s.argmax(dim=1)],
            "this is the class of the best item; scores of all classes are asked for",
        ),
        Mistake(
            _running_scores,
            "halving at each item gives the last one the most weight; add up all, then divide once",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) * y.bincount() / len(y),
            "this weights a class by its share of the items; divide by the number of its items",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) - y.bincount(),
            "this subtracts the number of items; divide by it",
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / 3,
            SCORES_EQUAL,
        ),
        Mistake(
            lambda s, y, n: _summed_scores(s, y, n) / 5,
            SCORES_EQUAL,
        ),
        Mistake(
            lambda s, y, n: class_scores(s.log_softmax(dim=1), y, n),
            "a softmax came before the mean; the scores stay as they are",
        ),
        Mistake(
            lambda s, y, n: torch.stack(_of_each_mean(s, y, n)[1:], dim=1),
            "class 0 is missing; labels run from 0 to n_way - 1",
        ),
        Mistake(
            lambda s, y, n: torch.stack(_of_each_mean(s, y, n)[:-1], dim=1),
            "the last class is missing; `range(n_way)` ends with n_way - 1 already",
        ),
        Mistake(
            lambda s, y, n: torch.stack([s[:, y == k + 1].mean(dim=1) for k in range(n)], dim=1),
            "labels run from 0 to n_way - 1, not from 1 to n_way",
        ),
        Mistake(
            lambda s, y, n: class_scores(s, y, n)[:, y],
            "this has a column for each item; one for each class",
        ),
        Mistake(
            lambda s, y, n: class_scores(s, y, n)[:, list(dict.fromkeys(y.tolist()))],
            "the columns follow the order in which classes first come; column k is label k",
        ),
        Mistake(
            lambda s, y, n: F.avg_pool1d(s[None], len(y) // n)[0],
            "this averages neighbours, as if the items came class by class and equally many of "
            "each; look at `support_y`",
        ),
        Mistake(
            lambda s, y, n: F.normalize(_summed_scores(s, y, n), dim=1),
            "each row was divided by its length; divide each column by the number of items of its "
            "class",
        ),
        Mistake(
            _of_each_mean,
            "these are lists of columns; `torch.stack(columns, dim=1)` makes a table of them",
        ),
        Mistake(
            lambda s, y, n: torch.cat(_of_each_mean(s, y, n)),
            "`torch.cat` puts the columns end to end; `torch.stack(columns, dim=1)`",
        ),
        Mistake(
            lambda s, y, n: torch.stack([s[:, y != k].mean(dim=1) for k in range(n)], dim=1),
            "these are the means of all other classes: `==`, not `!=`",
        ),
        Mistake(
            lambda s, y, n: torch.stack(
                [part.mean(dim=1) for part in s.split(len(y) // n, dim=1)][:n], dim=1
            ),
            SCORES_ORDER,
        ),
    ],
    hints=[
        "Class 1 has three items and class 0 has one. Whose sum is larger, if all items score the "
        "same?",
        "The counts are (n_way,), one for each column of (Q, n_way). `one_hot` knows them.",
        "`one_hot.sum(dim=0)` is the number of items of each class.",
    ],
)


# --- find the bug: cross-entropy on sigmoid scores -------------------------------------------


def entropy_of_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, a scalar in nats, of logits (Q, n_way) and labels (Q,)."""
    return F.cross_entropy(logits, labels)


def _entropy_of_sigmoids(logits: Tensor, labels: Tensor) -> Tensor:
    scores = torch.sigmoid(logits)
    return F.cross_entropy(scores, labels)


def _draw_logits(generator: Generator) -> tuple[Tensor, Tensor]:
    n_queries, n_way = draw_int(1, 7, generator), draw_int(2, 6, generator)
    scale = (2, 60)[draw_int(0, 2, generator)]  # large ones, too: exp of them is infinite
    logits = scale * torch.randn(n_queries, n_way, generator=generator)
    return logits, torch.randint(n_way, (n_queries,), generator=generator)


STILL_SQUEEZED = (
    "something still squeezes the scores before the softmax, so that the loss has a floor; softmax "
    "wants any numbers at all"
)
ENTROPY = Exercise(
    solution=entropy_of_logits,
    buggy=_entropy_of_sigmoids,
    lesson=4,
    aim="find one normalisation too many",
    minutes=2,
    difficulty="easy",
    cases=[
        Case(  # p of the own class 3/4 and 1/2
            (torch.tensor([[math.log(3), 0.0], [1.0, 1.0]]), torch.tensor([0, 1])),
            torch.tensor((math.log(4 / 3) + math.log(2)) / 2),
        ),
        Case((torch.tensor([[30.0, 0.0, 0.0, 0.0, 0.0]]), torch.tensor([0])), torch.tensor(0.0)),
        Case((torch.tensor([[200.0, 0.0]]), torch.tensor([1])), torch.tensor(200.0)),
    ],
    draw=_draw_logits,
    mistakes=[
        Mistake(
            lambda s, y: _entropy_of_sigmoids(s, y),
            "there is still a sigmoid before the cross-entropy, which takes a softmax itself",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.softmax(dim=1), y),
            "`F.cross_entropy` takes the softmax itself; with yours there are two, and the loss "
            "has the same floor",
        ),
        Mistake(lambda s, y: F.cross_entropy(s.tanh(), y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(2 * s.sigmoid(), y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(10 * s.sigmoid(), y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(2 * s.sigmoid() - 1, y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(F.normalize(s), y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(s.clamp(0, 1), y), STILL_SQUEEZED),
        Mistake(
            lambda s, y: F.cross_entropy(F.relu(s), y),
            "a ReLU throws away what is below 0; softmax wants any numbers at all",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.sigmoid().log(), y),
            "the logarithm undoes a part of the sigmoid only; leave the sigmoid out",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s.sigmoid().log(), y),
            "this looks at the own class alone: a network that says 1 to everything has no loss; "
            "the softmax makes the classes compete",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s.sigmoid(), y),
            "`F.nll_loss` wants log-probabilities; `F.cross_entropy` of the logits makes them",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s.softmax(dim=1), y),
            "`F.nll_loss` wants log-probabilities: `log_softmax`, or `F.cross_entropy` of the "
            "logits",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s, y),
            "`F.nll_loss` wants log-probabilities; `F.cross_entropy` of the logits makes them",
        ),
        Mistake(
            lambda s, y: squared_error(s.sigmoid(), y),
            "the squared error of sigmoid scores is a repair too, that of the paper; here keep the "
            "cross-entropy",
        ),
        Mistake(
            lambda s, y: squared_error(s, y),
            "this is the squared error of the logits; keep the cross-entropy",
        ),
        Mistake(
            lambda s, y: squared_error(s.softmax(dim=1), y),
            "this is the squared error of probabilities; keep the cross-entropy",
        ),
        Mistake(
            lambda s, y: F.binary_cross_entropy_with_logits(s, _table(y, s.shape[1])),
            "the cross-entropy of each pair as a yes-no question is a repair too; here let the "
            "classes of a query compete, `F.cross_entropy`",
        ),
        Mistake(
            lambda s, y: F.binary_cross_entropy_with_logits(s.sigmoid(), _table(y, s.shape[1])),
            "`with_logits` takes a sigmoid itself; and here let the classes of a query compete, "
            "`F.cross_entropy`",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(-s, y),
            "the sign of the logits is wrong: a high one means the own class",
        ),
        Mistake(
            lambda s, y: -F.cross_entropy(s, y),
            "the sign is wrong: `F.cross_entropy` has its minus already",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y, reduction="sum"),
            "this is the sum over the queries; the mean, as `F.cross_entropy` gives it",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y, reduction="none"),
            "this is a loss for each query; one number for all is asked for",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y) / s.shape[1],
            "this divides by the number of classes; the mean is over the queries alone",
        ),
        Mistake(
            lambda s, y: 1 - _own(s.softmax(dim=1), y).mean(),
            "this is 1 - p; the cross-entropy is -ln p",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, s.argmax(dim=1)),
            "this compares the logits with their own best class; compare with `labels`",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.T, y),
            "the logits are (Q, n_way) as they come; do not transpose them",
        ),
        Mistake(
            lambda s, y: _entropy_of_sigmoids(s, y) - math.log(1 + (s.shape[1] - 1) / math.e),
            "the floor is subtracted, but the gradient is as before; leave the sigmoid out",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, F.one_hot(y, s.shape[1])),
            "targets of classes are whole numbers (Q,): give `labels` as they are",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.sigmoid().softmax(dim=1), y),
            "the sigmoid is still there, and a second softmax; give `F.cross_entropy` the logits",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.sigmoid(), y, reduction="sum"),
            "the sigmoid is still there, and the losses are added up; the mean of the logits' "
            "cross-entropy is asked for",
        ),
        Mistake(
            lambda s, y: F.cross_entropy((-s).sigmoid(), y),
            "the sigmoid is still there, and the sign is wrong",
        ),
        Mistake(
            lambda s, y: -_own(s.softmax(dim=1), y).mean().log(),
            "this is the logarithm of a mean; take the logarithm of each query's p, then the mean",
        ),
        Mistake(
            lambda s, y: -s.log_softmax(dim=1).mean(),
            "this averages over all classes; only the own class of each query counts, which the "
            "softmax has weighed against the others",
        ),
        Mistake(
            lambda s, y: -_own(s.log_softmax(dim=0), y).mean(),
            "this softmax goes over the queries; over the classes of a query, dim=1",
        ),
        Mistake(
            lambda s, y: _entropy_of_sigmoids(s, y) - math.log(1 + 4 / math.e),
            "the floor is subtracted, but the gradient is as before; leave the sigmoid out",
        ),
        Mistake(
            lambda s, y: _entropy_of_sigmoids(s, y) - 0.905,
            "the floor is subtracted, but the gradient is as before; leave the sigmoid out",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.sigmoid().round(), y),
            STILL_SQUEEZED,
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.exp(), y),
            "`F.cross_entropy` takes the exponential itself; give it the logits as they are",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y, label_smoothing=0.1),
            "label smoothing changes the targets; the plain cross-entropy is asked for",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s / 10, y),
            "the logits are divided: that is a temperature; give them as they are",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(10 * s, y),
            "the logits are multiplied: that is a temperature; give them as they are",
        ),
        Mistake(
            lambda s, y: (
                F.binary_cross_entropy_with_logits(s, _table(y, s.shape[1]), reduction="sum")
                / len(s)
            ),
            "the cross-entropy of each pair as a yes-no question is a repair too; here let the "
            "classes of a query compete, `F.cross_entropy`",
        ),
        Mistake(
            lambda s, y: -(F.logsigmoid(s) * _table(y, s.shape[1])).mean(),
            "this looks at the own class alone: a network that says 1 to everything has no loss; "
            "the softmax makes the classes compete",
        ),
        Mistake(
            lambda s, y: F.multi_margin_loss(s, y),
            "this is a margin loss; the cross-entropy of the logits is asked for",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y).sigmoid(),
            "now the sigmoid is around the loss; leave it out",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.argmax(dim=1).float(), y.float()),
            "`F.cross_entropy` takes the logits themselves, not the answers",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(100 * s.sigmoid(), y),
            STILL_SQUEEZED,
        ),
        Mistake(
            lambda s, y: F.binary_cross_entropy(s.softmax(dim=1), _table(y, s.shape[1])),
            "this asks a yes-no question for each class; `F.cross_entropy` of the logits asks one "
            "question for each query",
        ),
        Mistake(
            lambda s, y: (s.argmax(dim=1) != y).float().mean(),
            "this is the share of wrong answers, which has no gradient; keep the cross-entropy",
        ),
        Mistake(
            lambda s, y: s.logsumexp(dim=1).mean(),
            "the logit of the own class is missing: -s[own] + logsumexp(s)",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.abs(), y),
            "the logits below 0 count too; give them as they are",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(F.softplus(s), y),
            "a softplus squeezes what is below 0; give the logits as they are",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s, y) / math.log(s.shape[1]),
            "this divides by the loss of the constant answer, ln n_way; give the loss itself",
        ),
        Mistake(
            lambda s, y: F.nll_loss(s.softmax(dim=1), y).log(),
            "the logarithm of each query's p comes first, then the mean: `log_softmax`, or "
            "`F.cross_entropy`",
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.clamp(-1, 1), y),
            STILL_SQUEEZED,
        ),
        Mistake(
            lambda s, y: F.cross_entropy(s.softmax(dim=0), y),
            "there is a softmax over the queries before the cross-entropy, which takes one over "
            "the classes itself; leave yours out",
        ),
        Mistake(lambda s, y: F.cross_entropy(5 * s.sigmoid(), y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(20 * s.sigmoid(), y), STILL_SQUEEZED),
        Mistake(
            lambda s, y: F.cross_entropy(F.normalize(s.sigmoid(), p=1, dim=1), y), STILL_SQUEEZED
        ),
        Mistake(lambda s, y: F.cross_entropy(F.hardtanh(s / 3), y), STILL_SQUEEZED),
        Mistake(lambda s, y: F.cross_entropy(F.softsign(s), y), STILL_SQUEEZED),
    ],
    hints=[
        "Which numbers can the softmax inside `F.cross_entropy` get here, at the most and at the "
        "least? Which does it need to say 0.999?",
        "There is one normalisation too many. Leave it out.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    PAIRS,
    RELATION,
    SQUARED,
    SCORES,
    ENTROPY,
    Question(
        name="sum_or_mean",
        lesson=4,
        aim="see what a sum does to a learned comparison",
        minutes=2,
        difficulty="easy",
        text="Class 0 has the items (0, 1) and (2, 1), class 1 has (4, 3) and (4, 5). The query is "
        "(4, 4). The relation module, made for single items, is 3 minus the Manhattan distance. "
        "Which class does it choose?",
        options={
            "a": Option(
                "Class 1 with the mean, class 1 with the sum.",
                "With the sum class 1 lies at (8, 8), at a distance of 8 from the query. Where "
                "does class 0 lie, and how far is that?",
            ),
            "b": Option(
                "Class 1 with the mean, class 0 with the sum.",
                "The means are (1, 1) and (4, 4): logits -3 and 3. The sums are (2, 2) and (8, 8): "
                "logits -1 and -5, so class 0 wins, although no item of it is near.",
            ),
            "c": Option(
                "Class 0 with the mean, class 1 with the sum.",
                "The mean of class 1 is (4, 4), the query itself; no distance is smaller than 0.",
            ),
            "d": Option(
                "Class 1 with both: a sum is twice a mean, and that changes no order.",
                "It would change no order if the scores were doubled. Here the points are doubled, "
                "and the query is not.",
            ),
        },
        right="b",
    ),
    Question(
        name="nearly_zero",
        lesson=4,
        aim="read a loss against that of a constant answer",
        minutes=4,
        difficulty="medium",
        text="A colleague trains with 20-way episodes. After a few steps the squared error is "
        "0.0475, and it stays there. 'Nearly zero,' the colleague says. What has the network "
        "learned?",
        options={
            "a": Option(
                "Nearly everything: the scores are wrong by 0.0475 on average.",
                "An average over pairs can be small while each answer is worthless: 19 of 20 pairs "
                "want a 0. What does a constant score cost?",
            ),
            "b": Option(
                "To be right in 95 % of cases.",
                "1 - 0.0475 looks like it, but a squared error is no share of wrong answers.",
            ),
            "c": Option(
                "How many classes there are, and nothing else.",
                "A constant score r costs (1 - r)²/N + (N - 1) r²/N. Its smallest value is at "
                "r = 1/N, where it is 1/N · (1 - 1/N): 0.16 for 5-way, 0.0475 for 20-way. This "
                "network says 0.05 to everything.",
            ),
            "d": Option(
                "To say 0 to every pair.",
                "Close: that would cost 1/20 = 0.05. One constant score is a little better still.",
            ),
        },
        right="c",
    ),
    Question(
        name="worse_than_chance",
        lesson=4,
        aim="find a bug from its symptom",
        minutes=3,
        difficulty="medium",
        text="`colleagues_scores` is right with one shot and worse than guessing with five. Why?",
        options={
            "a": Option(
                "With five shots the network is used outside of its training.",
                "So it is with the package's comparison, which gets better with more shots. Look "
                "at the shape of what the function returns.",
            ),
            "b": Option(
                "It adds up the support items of a class, and sums grow.",
                "It adds up nothing: it never sees the labels. How many columns has its result?",
            ),
            "c": Option(
                "It scores every item, not every class: `argmax` names a column among 25.",
                "It returns (Q, n_way * n_shot). With one shot items and classes are the same. "
                "With five, column 7 is an item of class 1, and `argmax` says 7. A query of "
                "class 0 is right only if item 0 is its best, one of class 1 to 4 only by mistake.",
            ),
            "d": Option(
                "The queries are compared with each other.",
                "Each query is paired with each support item on its own; no query meets another.",
            ),
        },
        right="c",
    ),
]
