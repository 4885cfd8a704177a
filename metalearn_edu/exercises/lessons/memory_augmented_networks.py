"""The exercises of notebook 08: late labels, reading, writing, two bugs, and a test for leaks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Case, Exercise, Mistake
from ..checker.question import Option, Question

__all__ = [
    "EXERCISES",
    "heard_at",
    "late_labels",
    "least_used",
    "read_and_write",
    "read_weights",
    "stream_inputs",
    "write_step",
]


def _shares(n: int, slots: int, generator: Generator) -> Tensor:
    """Weights (n, slots), each row summing to 1."""
    return torch.randn(n, slots, generator=generator).softmax(dim=1)


# --- labels, one step late -------------------------------------------------------------------


def late_labels(y: Tensor, n_way: int) -> Tensor:
    """(L, n_way) floats: row t is the label y[t - 1] as one-hot; row 0 is all zeros; y (L,)."""
    known = F.one_hot(y, n_way).float()
    return torch.cat([torch.zeros(1, n_way), known[:-1]])


def _known(y: Tensor, n_way: int) -> Tensor:
    return F.one_hot(y, n_way).float()


def _draw_labels(generator: Generator) -> tuple[Tensor, int]:
    n_way, length = draw_int(2, 7, generator), draw_int(1, 12, generator)
    return torch.randint(n_way, (length,), generator=generator), n_way


FIRST_ROW = "; at step 0 nothing has been told, so row 0 is all zeros"

LATE = Exercise(
    solution=late_labels,
    lesson=8,
    aim="let labels come one step late",
    minutes=5,
    difficulty="easy",
    cases=[
        Case(
            (torch.tensor([2, 0, 1]), 3),
            torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0]]),
        ),
        Case(
            (torch.tensor([1, 1, 0]), 4),
            torch.tensor([[0.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]),
        ),
    ],
    draw=_draw_labels,
    mistakes=[
        Mistake(
            lambda y, n_way: _known(y, n_way),
            "nothing is shifted: row t holds the label of step t, the very one that is asked for",
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.zeros(1, n_way), _known(y, n_way)[1:]]),
            "row 0 is wiped, but the other rows are not shifted: row t still holds the label of "
            "step t",
        ),
        Mistake(
            lambda y, n_way: torch.cat([_known(y, n_way)[:-1], torch.zeros(1, n_way)]),
            "the zeros stand in the last row; put them in front, so that all rows move down by one",
        ),
        Mistake(
            lambda y, n_way: torch.cat([_known(y, n_way)[1:], torch.zeros(1, n_way)]),
            "shifted the wrong way: row t holds the label of step t + 1, the future",
        ),
        Mistake(
            lambda y, n_way: _known(y.roll(1), n_way),
            "`roll` brings the last label round to row 0, so that step 0 hears a label of the "
            "future" + FIRST_ROW,
        ),
        Mistake(
            lambda y, n_way: _known(y.roll(-1), n_way),
            "shifted the wrong way, and rolled: row t holds the label of step t + 1, the future",
        ),
        Mistake(
            lambda y, n_way: _known((y + 1) % n_way, n_way),
            "this moves the one to the next class, not to the next step; steps are the rows",
        ),
        Mistake(
            lambda y, n_way: F.pad(_known(y, n_way), (1, 0))[:, :-1],
            "this shifts the columns, which are the classes; shift the rows, which are the steps",
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.zeros(1, n_way), _known(y, n_way)]),
            "there is one row more than steps: the last label would arrive after the last step; "
            "drop it",
        ),
        Mistake(
            lambda y, n_way: _known(y, n_way)[:-1],
            "the last label is dropped, and the row of zeros in front is missing",
        ),
        Mistake(
            lambda y, n_way: (
                late_labels(y, n_way).roll(1, dims=0).index_fill(0, torch.tensor([0]), 0.0)
            ),
            "the labels come two steps late; one is asked for",
        ),
        Mistake(
            lambda y, n_way: _known(torch.cat([y.new_zeros(1), y[:-1]]), n_way),
            "row 0 says class 0: the number 0 is a label, too" + FIRST_ROW,
        ),
        Mistake(
            lambda y, n_way: _known(torch.cat([y[:1], y[:-1]]), n_way),
            "row 0 holds the label of step 0 itself" + FIRST_ROW,
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.full((1, n_way), 1 / n_way), _known(y, n_way)[:-1]]),
            "row 0 holds 1 / n_way for each class" + FIRST_ROW,
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.ones(1, n_way), _known(y, n_way)[:-1]]),
            "row 0 holds ones" + FIRST_ROW,
        ),
        Mistake(
            lambda y, n_way: late_labels(y, int(y.max()) + 1),
            "`F.one_hot(y)` counts the classes by the largest label in y; a class may not have "
            "come yet, so give it n_way",
        ),
        Mistake(
            lambda y, n_way: late_labels(y, n_way).long(),
            "the rows are whole numbers; `.float()` makes floats of them",
        ),
        Mistake(
            lambda y, n_way: torch.cat([_known(y.roll(1), n_way)[:-1], torch.zeros(1, n_way)]),
            "rolled, and then the wrong row is wiped: step 0 hears the last label; wipe row 0",
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.full((1, n_way), -1.0), _known(y, n_way)[:-1]]),
            "row 0 holds -1; at step 0 nothing has been told, so row 0 is all zeros",
        ),
        Mistake(
            lambda y, n_way: _known(y, n_way)[1:],
            "a row is missing, and nothing is shifted: drop the last row, and put one of zeros in "
            "front",
        ),
        Mistake(
            lambda y, n_way: F.one_hot(
                torch.cat([y.new_full((1,), n_way), y[:-1]]), n_way + 1
            ).float(),
            "there is a column more than classes: nothing told is a row of zeros, and no class of "
            "its own",
        ),
        Mistake(
            lambda y, n_way: F.one_hot(torch.cat([y.new_zeros(1), y[:-1] + 1]), n_way + 1).float(),
            "there is a column more than classes: nothing told is a row of zeros, and no class of "
            "its own; and the labels stay as they are",
        ),
        Mistake(
            lambda y, n_way: late_labels(y.flip(0), n_way),
            "the stream runs backwards: the labels were reversed, not moved by one step",
        ),
        Mistake(
            lambda y, n_way: torch.zeros(len(y), n_way),
            "no label ever arrives; from step 1 on, each row holds the label of the step before",
        ),
        Mistake(
            lambda y, n_way: torch.cat([y.new_full((1,), -1), y[:-1]]),
            "these are the late labels as numbers; make each a one-hot row of n_way numbers",
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.zeros(n_way), _known(y, n_way)[:-1]]),
            "a row to put in front has two axes, `torch.zeros(1, n_way)`; `torch.zeros(n_way)` "
            "has one",
        ),
        Mistake(
            lambda y, n_way: torch.cat([torch.zeros(1, n_way), F.one_hot(y).float()[:-1]]),
            "`F.one_hot(y)` counts the classes by the largest label in y; a class may not have "
            "come yet, so give it n_way, too",
        ),
        Mistake(
            lambda y, n_way: torch.cat([y.new_zeros(1), y[:-1]]),
            "these are the late labels as numbers; make each a one-hot row, `F.one_hot(y, n_way)`",
        ),
        Mistake(
            lambda y, n_way: late_labels(y, n_way).cumsum(dim=0),
            "row t holds all labels up to step t - 1 in sum; only that of step t - 1 arrives",
        ),
        Mistake(
            lambda y, n_way: late_labels(y, n_way).T,
            "steps are the rows and classes the columns; yours is transposed",
        ),
        Mistake(
            lambda y, n_way: late_labels(y, n_way).index_fill(
                0, torch.tensor([1] if len(y) > 1 else [0]), 0.0
            ),
            "row 1 is empty, too: at step 1 the label of step 0 has come; does your loop begin at "
            "2?",
        ),
        Mistake(
            lambda y, n_way: late_labels((y - 1) % n_way, n_way),
            "the steps are right, but the 1 stands at the class before; label k belongs to column "
            "k",
        ),
        Mistake(
            lambda y, n_way: late_labels((y + 1) % n_way, n_way),
            "the steps are right, but the 1 stands at the class after; label k belongs to column k",
        ),
        Mistake(
            lambda y, n_way: _known((y - 1) % n_way, n_way),
            "1 is subtracted from the labels; the label of the step BEFORE is `y[t - 1]`, not "
            "`y[t] - 1`",
        ),
    ],
    hints=[
        "Make all one-hot rows, drop the last, and put a row of zeros in front.",
        "`F.one_hot(y, n_way).float()` is `(L, n_way)`; so must the result be.",
        "`torch.cat([torch.zeros(1, n_way), ...])` puts a row in front; `[:-1]` drops the last.",
    ],
)


# --- reading ---------------------------------------------------------------------------------


def read_weights(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    """(slots,): softmax over the slots of sharpness * cosine(key (d,), memory (slots, d))."""
    cosine = F.normalize(memory, dim=1) @ F.normalize(key, dim=0)
    return torch.softmax(sharpness * cosine, dim=0)


def _cosine(key: Tensor, memory: Tensor) -> Tensor:
    return F.normalize(memory, dim=1) @ F.normalize(key, dim=0)


def _squared_lengths(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    lengths = memory.square().sum(dim=1) * key.square().sum()
    return torch.softmax(sharpness * (memory @ key) / lengths, dim=0)


def _sums_as_lengths(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    rows, unit = F.normalize(memory, p=1.0, dim=1), F.normalize(key, p=1.0, dim=0)
    return torch.softmax(sharpness * rows @ unit, dim=0)


def _over_the_sum(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    scores = sharpness * _cosine(key, memory)
    return scores / scores.sum()


def _draw_read(generator: Generator) -> tuple[Tensor, Tensor, float]:
    slots, d = draw_int(2, 8, generator), draw_int(2, 7, generator)
    key = 2 * torch.randn(d, generator=generator)
    memory = 2 * torch.randn(slots, d, generator=generator)
    return key, memory, 0.5 + draw_int(0, 8, generator) / 2


BOTH_LENGTHS = "the cosine divides by the length of the key and by the length of each row; here "

READ = Exercise(
    solution=read_weights,
    lesson=8,
    aim="read a memory by its content",
    minutes=6,
    difficulty="easy",
    cases=[
        # cosines 1, 0, and 3 / 5 of the row (3, 4)
        Case(
            (torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]]), 1.0),
            torch.tensor([math.e, 1.0, math.exp(0.6)]) / (math.e + 1 + math.exp(0.6)),
        ),
        # cosines 1, 0, -1: weights 3 : 1 : 1/3
        Case(
            (
                torch.tensor([0.0, 4.0]),
                torch.tensor([[0.0, 2.0], [5.0, 0.0], [0.0, -3.0]]),
                math.log(3),
            ),
            torch.tensor([9.0, 3.0, 1.0]) / 13,
        ),
    ],
    draw=_draw_read,
    mistakes=[
        Mistake(
            lambda key, memory, sharpness: torch.softmax(sharpness * memory @ key, dim=0),
            BOTH_LENGTHS + "is the scalar product alone, so that long rows win",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * memory @ F.normalize(key, dim=0), dim=0
            ),
            BOTH_LENGTHS + "the rows keep their lengths, so that long rows win",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * F.normalize(memory, dim=1) @ key, dim=0
            ),
            BOTH_LENGTHS + "the key keeps its own, which acts like a sharpness",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * F.normalize(memory, dim=0) @ F.normalize(key, dim=0), dim=0
            ),
            "this gives the columns of the memory length 1; a slot is a row, so `dim=1`",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * (memory @ key) / (memory.norm() * key.norm()), dim=0
            ),
            BOTH_LENGTHS + "all rows are divided by one number, the norm of the whole memory; "
            "`memory.norm(dim=1)`",
        ),
        Mistake(
            _squared_lengths,
            "this divides by the squared lengths; a length is the root of the sum of squares",
        ),
        Mistake(
            _sums_as_lengths,
            "this divides by sums of absolute numbers; a length is the root of the sum of squares",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * memory @ key / len(key) ** 0.5, dim=0
            ),
            "this is the attention of transformers, divided by the root of d; the cosine divides "
            "by both lengths",
        ),
        Mistake(
            lambda key, memory, sharpness: _cosine(key, memory).softmax(dim=0),
            "sharpness has no effect on your weights (what is added to all scores, softmax "
            "forgets); multiply the cosines by it before the softmax",
        ),
        Mistake(
            lambda key, memory, sharpness: sharpness * _cosine(key, memory).softmax(dim=0),
            "sharpness multiplies the weights after the softmax, so they sum to it and not to 1; "
            "it belongs inside",
        ),
        Mistake(
            lambda key, memory, sharpness: (_cosine(key, memory) / sharpness).softmax(dim=0),
            "this divides by sharpness, as one does with a temperature; multiply, or a large "
            "sharpness makes a blur",
        ),
        Mistake(
            lambda key, memory, sharpness: (_cosine(key, memory) ** sharpness).softmax(dim=0),
            "this raises the cosines to the power sharpness; multiply them by it",
        ),
        Mistake(
            lambda key, memory, sharpness: sharpness * _cosine(key, memory),
            "these are sharpness times cosine; softmax makes weights of them that sum to 1",
        ),
        Mistake(
            lambda key, memory, sharpness: _cosine(key, memory),
            "these are the cosines; sharpness and softmax are still to come",
        ),
        Mistake(
            _over_the_sum,
            "this divides the scores by their sum, and some are negative; softmax takes the "
            "exponential of each first",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory)).exp(),
            "these are the exponentials; softmax divides them by their sum",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory)).sigmoid(),
            "sigmoid looks at each slot alone, so the weights do not sum to 1; softmax lets the "
            "slots compete",
        ),
        Mistake(
            lambda key, memory, sharpness: F.one_hot(_cosine(key, memory).argmax(), len(memory)).to(
                memory.dtype
            ),
            "this takes the nearest row alone, with no gradient for the key; softmax gives every "
            "slot a weight",
        ),
        Mistake(
            lambda key, memory, sharpness: (-sharpness * _cosine(key, memory)).softmax(dim=0),
            "a sign is wrong: the row that is least like the key gets the largest weight",
        ),
        Mistake(
            lambda key, memory, sharpness: (-sharpness * (memory - key).norm(dim=1)).softmax(dim=0),
            "this compares by the distance; the cosine is asked for",
        ),
        Mistake(
            lambda key, memory, sharpness: (
                -sharpness * (memory - key).square().sum(dim=1)
            ).softmax(dim=0),
            "this compares by squared distance; the cosine is asked for",
        ),
        Mistake(
            lambda key, memory, sharpness: read_weights(key, memory, sharpness) @ memory,
            "this is what is read, `weights @ memory`; the weights themselves are asked for",
        ),
        Mistake(
            lambda key, memory, sharpness: read_weights(key, memory, sharpness)[None],
            "one axis too many; with a key of one axis the result has one, too",
        ),
        Mistake(
            lambda key, memory, sharpness: read_weights(key, memory, sharpness)[:, None],
            "one axis too many; `(slots,)` is asked for, not a column",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory))[:, None].softmax(
                dim=1
            )[:, 0],
            "each weight is 1, so the softmax ran over an axis of length 1; it must run over the "
            "slots",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(sharpness * _cosine(key, memory), dim=1),
            "key and scores have one axis only, so `dim=0` for them: `F.normalize(key, dim=0)` "
            "(its default is 1) and `softmax(dim=0)`",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory).abs()).softmax(dim=0),
            "the opposite direction counts as much as the same: a negative cosine must stay "
            "negative",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory).square()).softmax(
                dim=0
            ),
            "the cosines are squared; then the opposite direction counts as much as the same",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory).relu()).softmax(dim=0),
            "negative cosines are set to 0; they must stay negative, and softmax can take them",
        ),
        Mistake(
            lambda key, memory, sharpness: read_weights(key, memory, sharpness).softmax(dim=0),
            "softmax is taken twice; the second one makes a blur of the weights",
        ),
        Mistake(
            lambda key, memory, sharpness: F.normalize(read_weights(key, memory, sharpness), dim=0),
            "the weights are normalised once more after the softmax; they sum to 1 already",
        ),
        Mistake(
            lambda key, memory, sharpness: _cosine(key, memory).softmax(dim=0) ** sharpness,
            "the weights are raised to the power sharpness after the softmax, and no longer sum "
            "to 1; multiply the cosines by it before",
        ),
        Mistake(
            lambda key, memory, sharpness: (
                sharpness * _cosine(key - key.mean(), memory - memory.mean(dim=1, keepdim=True))
            ).softmax(dim=0),
            "this is a correlation: the mean of key and rows is subtracted first; the cosine "
            "subtracts nothing",
        ),
        Mistake(
            lambda key, memory, sharpness: (
                sharpness * (memory @ key) / (memory.norm(dim=1) + key.norm())
            ).softmax(dim=0),
            "the scalar product is divided by the SUM of the lengths; divide by their product",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * F.cosine_similarity(memory, key[None], dim=0), dim=0
            ),
            "this compares along the slots and gives a number for each column; compare along "
            "`dim=1`, a number for each slot",
        ),
        Mistake(
            lambda key, memory, sharpness: _cosine(key, memory).argmax(),
            "this is the number of the nearest slot; softmax gives every slot a weight",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.softmax(
                sharpness * F.normalize(memory.T, dim=1) @ F.normalize(key, dim=0), dim=0
            ),
            "the memory is transposed: (slots, d) times (d,) fits as it is",
        ),
        Mistake(
            lambda key, memory, sharpness: torch.log_softmax(
                sharpness * _cosine(key, memory), dim=0
            ),
            "these are the logarithms of the weights: `log_softmax`",
        ),
        Mistake(
            lambda key, memory, sharpness: (
                -sharpness * (F.normalize(memory, dim=1) - F.normalize(key, dim=0)).norm(dim=1)
            ).softmax(dim=0),
            "the lengths are right, but this compares by the distance; the cosine is asked for",
        ),
        Mistake(
            lambda key, memory, sharpness: (sharpness * _cosine(key, memory).exp()).softmax(dim=0),
            "the exponential is taken before the softmax, which takes it itself",
        ),
        Mistake(
            lambda key, memory, sharpness: _cosine(key, memory).softmax(dim=0) @ memory,
            "this is what is read, `weights @ memory`, and without sharpness; the weights are "
            "asked for",
        ),
    ],
    hints=[
        "Bring the key and each row to length 1; then one product gives all the cosines.",
        "`F.normalize(memory, dim=1)` is `(slots, d)` with rows of length 1; times a key `(d,)` of "
        "length 1 it is `(slots,)`.",
        "`torch.softmax(sharpness * cosine, dim=0)`.",
    ],
)


# --- where to write --------------------------------------------------------------------------


def least_used(usage: Tensor, n_heads: int) -> Tensor:
    """(n_heads, slots): row i is 1 at the slot that head i may wipe; usage (slots,)."""
    slots = usage.argsort(stable=True)[:n_heads]
    return F.one_hot(slots, len(usage)).to(usage.dtype)


def _rows_of(slots: Tensor, usage: Tensor) -> Tensor:
    return F.one_hot(slots, len(usage)).to(usage.dtype)


def _all_in_one(usage: Tensor, n_heads: int) -> Tensor:
    return least_used(usage, n_heads).sum(dim=0)


def _draw_usage(generator: Generator) -> tuple[Tensor, int]:
    many = draw_int(0, 6, generator)  # of few, an `argsort` that is not stable is right too
    slots = draw_int(3, 80 if many else 7, generator)
    dtype = (torch.float32, torch.float64)[draw_int(0, 2, generator)]
    usage = torch.rand(slots, generator=generator, dtype=dtype)
    usage = (3 * usage).floor() if many else 20 * usage  # fresh slots have equal usage
    return usage, draw_int(1, min(slots, 5), generator)


EQUALS = (
    "right, unless slots have equal usage: then the first of them comes first, and "
    "`argsort(stable=True)` keeps that order (`topk` and a plain `argsort` promise none)"
)

LEAST = Exercise(
    solution=least_used,
    lesson=8,
    aim="find a slot to wipe for each head",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((torch.tensor([1.5, 1.0, 0.5]), 1), torch.tensor([[0.0, 0, 1]])),
        Case(
            (torch.tensor([0.3, 2.0, 0.1, 0.9, 0.6]), 3),
            torch.tensor([[0.0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]),
        ),
        # a fresh memory: all equal, so the first two
        Case((torch.zeros(4), 2), torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])),
    ],
    draw=_draw_usage,
    mistakes=[
        Mistake(
            lambda usage, n_heads: _rows_of(
                usage.argsort(descending=True, stable=True)[:n_heads], usage
            ),
            "these are the slots used most, which hold what is needed",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argsort(stable=True)[1 : n_heads + 1], usage),
            "this begins with the second least used slot; places count from 0, so `[:n_heads]`",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argsort(stable=True)[: n_heads + 1], usage),
            "this is one slot more than there are heads; `[:n_heads]`",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argsort(stable=True)[: n_heads - 1], usage),
            "this is one slot less than there are heads; `[:n_heads]`",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argmin(), usage).expand(n_heads, -1),
            "all heads get the same slot and would wipe each other's writing; each needs its own",
        ),
        Mistake(
            _all_in_one,
            "this marks the slots of all heads in one row; make a row for each head",
        ),
        Mistake(
            lambda usage, n_heads: (usage <= usage.sort().values[min(n_heads, len(usage) - 1)]).to(
                usage.dtype
            ),
            "the n-th smallest stands at place n - 1, so this marks one slot too many; and a row "
            "for each head is asked for",
        ),
        Mistake(
            lambda usage, n_heads: (usage < usage.sort().values[n_heads - 1]).to(usage.dtype),
            "`<` leaves out the n-th smallest itself; and a row for each head is asked for",
        ),
        Mistake(
            lambda usage, n_heads: _all_in_one(usage, n_heads).expand(n_heads, -1),
            "every row marks the slots of all heads; one slot in each row",
        ),
        Mistake(
            lambda usage, n_heads: usage.argsort(stable=True)[:n_heads],
            "these are the numbers of the slots; `F.one_hot` makes rows with a 1 of them",
        ),
        Mistake(
            lambda usage, n_heads: usage.sort().values[:n_heads],
            "these are the smallest usages; which slots have them?",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads) * usage,
            "the places are right; put a 1 there, not the usage",
        ),
        Mistake(
            lambda usage, n_heads: 1 - least_used(usage, n_heads),
            "this is 1 minus what is asked for: a 1 for the slots to keep",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads).flip(0),
            "right slots, but the last head gets the least used one",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(
                usage.argsort(stable=True)[:n_heads].sort().values, usage
            ),
            "right slots, but in the order of their numbers; head 0 gets the least used one",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(
                len(usage) - 1 - usage.flip(0).argsort(stable=True)[:n_heads], usage
            ),
            EQUALS,
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.topk(n_heads, largest=False).indices, usage),
            EQUALS,
        ),
        Mistake(lambda usage, n_heads: _rows_of(usage.argsort()[:n_heads], usage), EQUALS),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argsort(stable=True).argsort()[:n_heads], usage),
            "this is the rank of each slot (an `argsort` of an `argsort`); the slots in the order "
            "of their usage are asked for, one `argsort`",
        ),
        Mistake(
            lambda usage, n_heads: torch.eye(len(usage), dtype=usage.dtype)[:n_heads],
            "these are the first slots, whatever the usage",
        ),
        Mistake(
            lambda usage, n_heads: F.one_hot(usage.argsort(stable=True)[:n_heads]),
            "`F.one_hot` makes rows as long as the largest number needs; tell it the number of "
            "slots, len(usage)",
        ),
        Mistake(
            lambda usage, n_heads: F.one_hot(usage.argsort(stable=True)[:n_heads], n_heads),
            "a row has a place for each slot, so `F.one_hot(numbers, len(usage))`, not n_heads",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argsort(stable=True), usage),
            "this is a row for every slot; there are n_heads rows, `[:n_heads]`",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads) / n_heads,
            "the ones are divided by n_heads; each head wipes one whole slot",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads).cumsum(dim=0),
            "row i marks the slots of all heads up to i; only that of head i",
        ),
        Mistake(
            lambda usage, n_heads: (-usage).softmax(dim=0).expand(n_heads, -1),
            "softmax shares the writing among all slots; exactly one 1 in each row is asked for",
        ),
        Mistake(
            lambda usage, n_heads: (usage == 0).to(usage.dtype).expand(n_heads, -1),
            "this marks slots that were never used; when all are in use, the least used one must "
            "go",
        ),
        Mistake(
            lambda usage, n_heads: torch.stack(
                [(usage == v).to(usage.dtype) for v in usage.sort().values[:n_heads]]
            ),
            "this marks all slots with the same usage; if some are equal, each head takes one of "
            "them, the first one first",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads).T,
            "heads are the rows and slots the columns; yours is transposed",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads).long(),
            "the ones are whole numbers; `.to(usage.dtype)` makes floats of them",
        ),
        Mistake(
            lambda usage, n_heads: least_used(usage, n_heads).bool(),
            "these are True and False; `.to(usage.dtype)` makes 1 and 0",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argsort(stable=True)[-n_heads:], usage),
            "these are the slots used most; the sorting begins with the least used ones, "
            "`[:n_heads]`",
        ),
        Mistake(
            lambda usage, n_heads: (usage <= usage.sort().values[n_heads - 1]).to(usage.dtype),
            "this marks all slots up to the n-th smallest usage in one row, and more if some are "
            "equal; a row for each head",
        ),
        Mistake(
            lambda usage, n_heads: (
                (usage <= usage.sort().values[n_heads - 1]).to(usage.dtype).expand(n_heads, -1)
            ),
            "every row marks all slots up to the n-th smallest usage; one slot in each row",
        ),
        Mistake(
            lambda usage, n_heads: (
                (usage < usage.sort().values[n_heads - 1]).to(usage.dtype).expand(n_heads, -1)
            ),
            "every row marks all slots below the n-th smallest usage, which leaves it out; one "
            "slot in each row",
        ),
        Mistake(
            lambda usage, n_heads: _rows_of(usage.argmin(), usage),
            "this is one row, for the least used slot alone; a row for each head",
        ),
        Mistake(
            lambda usage, n_heads: usage.argsort(stable=True)[:n_heads].to(usage.dtype),
            "these are the numbers of the slots; `F.one_hot` makes rows with a 1 of them",
        ),
        Mistake(
            lambda usage, n_heads: usage.topk(n_heads).indices,
            "these are the numbers of the slots used MOST; the least used ones, as one-hot rows",
        ),
    ],
    hints=[
        "Sort the slots by their usage. The first n_heads of them are wanted, one for each head.",
        "`usage.argsort(stable=True)` gives the numbers of the slots, least used first, equal ones "
        "in their order.",
        "`F.one_hot(numbers, len(usage))` makes `(n_heads, slots)`; `.to(usage.dtype)` floats.",
    ],
)


# --- one step of writing ---------------------------------------------------------------------


def write_step(
    memory: Tensor,
    usage: Tensor,
    read_before: Tensor,
    read_now: Tensor,
    gate: float,
    row: Tensor,
    decay: float,
) -> tuple[Tensor, Tensor]:
    """One writing of one head by least recently used access: the new memory and usage.

    Args:
        memory, usage: (slots, d) and (slots,), as they were.
        read_before, read_now: (slots,) read weights of the step before and of this step.
        gate: share that goes to the slots read before; the rest goes to the least used slot.
        row: (d,), what to write.
        decay: how much of the usage is left after a step.
    """
    least = F.one_hot(usage.argmin(), len(usage)).to(usage.dtype)
    write = gate * read_before + (1 - gate) * least
    memory = memory * (1 - least)[:, None] + write[:, None] * row
    return memory, decay * usage + read_now + write


Step = Callable[..., tuple[Tensor, Tensor]]

# What can go wrong at each of the five places of write_step: how it is done, and what to say.
SLOT: dict[str, tuple[Callable[..., Any], str]] = {
    "most_used": (
        lambda usage, now, decay: usage.argmax(),
        "this writes to the slot used most; the least used one is to go",
    ),
    "by_new_usage": (
        lambda usage, now, decay: (decay * usage + now).argmin(),
        "this looks for the least used slot by a usage that this step's reads have changed; take "
        "the old one",
    ),
    "least_read": (
        lambda usage, now, decay: now.argmin(),
        "this looks for the slot least read in this step; the usage is what counts",
    ),
}
WRITE: dict[str, tuple[Callable[..., Any], str]] = {
    "reads_of_now": (
        lambda before, now, least, gate: gate * now + (1 - gate) * least,
        "the write weights take this step's reads, `read_now`; take `read_before`",
    ),
    "gate_swapped": (
        lambda before, now, least, gate: (1 - gate) * before + gate * least,
        "the gate is the wrong way round: it is the share of the slots read before, and 1 - gate "
        "that of the least used slot",
    ),
    "gate_of_reads_only": (
        lambda before, now, least, gate: gate * before + least,
        "the least used slot gets a full 1; its share is 1 - gate",
    ),
    "gate_of_least_only": (
        lambda before, now, least, gate: before + (1 - gate) * least,
        "the slots read before are written in full; their share is the gate",
    ),
    "no_gate": (
        lambda before, now, least, gate: before + least,
        "the gate is not used: it shares the writing between the two places",
    ),
    "same_gate": (
        lambda before, now, least, gate: gate * (before + least),
        "both places get the share gate; the least used slot gets 1 - gate",
    ),
    "half_each": (
        lambda before, now, least, gate: (before + least) / 2,
        "half goes to each place; the gate says how much",
    ),
    "only_least": (
        lambda before, now, least, gate: least,
        "this writes to the least used slot alone; the share gate goes to the slots read before",
    ),
    "only_reads": (
        lambda before, now, least, gate: before,
        "this writes to the slots read before alone; the share 1 - gate goes to the least used one",
    ),
    "share_of_least": (
        lambda before, now, least, gate: (1 - gate) * least,
        "the share of the slots read before is missing, gate * read_before",
    ),
    "share_of_reads": (
        lambda before, now, least, gate: gate * before,
        "the share of the least used slot is missing, (1 - gate) times its one-hot row",
    ),
    "softmax": (
        lambda before, now, least, gate: (gate * before + (1 - gate) * least).softmax(dim=0),
        "the write weights sum to 1 already; a softmax smears them over all slots",
    ),
    "length_1": (
        lambda before, now, least, gate: F.normalize(gate * before + (1 - gate) * least, dim=0),
        "the write weights sum to 1 already; do not normalise them",
    ),
    "both_reads": (
        lambda before, now, least, gate: gate * (before + now) / 2 + (1 - gate) * least,
        "the reads of both steps are mixed into the write weights; take `read_before` alone",
    ),
    "product": (
        lambda before, now, least, gate: gate * before * (1 - gate) * least,
        "the two shares are multiplied; they are added",
    ),
    "sigmoid_again": (
        lambda before, now, least, gate: (
            torch.sigmoid(torch.tensor(gate)) * before
            + (1 - torch.sigmoid(torch.tensor(gate))) * least
        ),
        "the gate is a share already, between 0 and 1; no sigmoid here",
    ),
}
WIPE: dict[str, tuple[Callable[..., Any], str]] = {
    "never_wiped": (
        lambda memory, least, write, row: memory + write[:, None] * row,
        "nothing is wiped: what was in the least used slot stays in the sum",
    ),
    "wiped_after": (
        lambda memory, least, write, row: (memory + write[:, None] * row) * (1 - least)[:, None],
        "the wiping comes after the writing and takes the new row along; wipe first",
    ),
    "wiped_by_weight": (
        lambda memory, least, write, row: memory * (1 - write)[:, None] + write[:, None] * row,
        "each slot is wiped by its write weight; only the least used slot is wiped, and wholly",
    ),
    "all_wiped": (
        lambda memory, least, write, row: write[:, None] * row,
        "all slots are wiped; only the least used one may lose what it held",
    ),
    "others_wiped": (
        lambda memory, least, write, row: memory * least[:, None] + write[:, None] * row,
        "all slots but the least used one are wiped; multiply by 1 minus the one-hot row",
    ),
    "full_row": (
        lambda memory, least, write, row: memory * (1 - least)[:, None] + least[:, None] * row,
        "the new row goes to the least used slot alone and in full; `write[:, None] * row` shares "
        "it out",
    ),
    "wiped_and_weighed": (
        lambda memory, least, write, row: (
            memory * ((1 - least) * (1 - write))[:, None] + write[:, None] * row
        ),
        "besides the least used slot, the others are wiped by their write weights; they only gain",
    ),
    "read_away": (
        lambda memory, least, write, row: memory * (1 - least)[:, None] - write[:, None] * row,
        "the row is subtracted; it is added",
    ),
    "row_by_row": (
        lambda memory, least, write, row: memory * (1 - least)[:, None] + row + 0 * write[:, None],
        "every slot gets the whole row; its write weight says how much, `write[:, None] * row`",
    ),
    "row_length_1": (
        lambda memory, least, write, row: (
            memory * (1 - least)[:, None] + write[:, None] * F.normalize(row, dim=0)
        ),
        "the row is brought to length 1; write it as it is",
    ),
    "row_squashed": (
        lambda memory, least, write, row: (
            memory * (1 - least)[:, None] + write[:, None] * row.tanh()
        ),
        "the row goes through a tanh; write it as it is",
    ),
    "memory_decays": (
        lambda memory, least, write, row: (
            0.5 * memory * (1 - least)[:, None] + write[:, None] * row
        ),
        "what the other slots hold is halved; only the least used one loses anything",
    ),
    "row_twice": (
        lambda memory, least, write, row: memory * (1 - least)[:, None] + 2 * write[:, None] * row,
        "the row is written twice",
    ),
    "no_row": (
        lambda memory, least, write, row: memory * (1 - least)[:, None] + write[:, None] + 0 * row,
        "the write weights are added themselves; they multiply `row`, `write[:, None] * row`",
    ),
}
USAGE: dict[str, tuple[Callable[..., Any], str]] = {
    "no_decay": (
        lambda usage, before, now, write, least, decay: usage + now + write,
        "the old usage does not decay; older reads and writes must count less",
    ),
    "all_decay": (
        lambda usage, before, now, write, least, decay: decay * (usage + now + write),
        "this step's reads and writes decay at once; they are added after the decay",
    ),
    "reads_decay": (
        lambda usage, before, now, write, least, decay: decay * (usage + now) + write,
        "the reads are added before the decay; add them after it",
    ),
    "writes_decay": (
        lambda usage, before, now, write, least, decay: decay * (usage + write) + now,
        "the writes are added before the decay; add them after it",
    ),
    "new_decay": (
        lambda usage, before, now, write, least, decay: usage + decay * (now + write),
        "the decay is at the wrong term: it is the old usage that decays",
    ),
    "twice": (
        lambda usage, before, now, write, least, decay: decay**2 * usage + now + write,
        "the old usage decays twice",
    ),
    "average_of_decay": (
        lambda usage, before, now, write, least, decay: (1 - decay) * usage + decay * (now + write),
        "this is a moving average, the wrong way round; decay * usage, and reads and writes in "
        "full",
    ),
    "moving_average": (
        lambda usage, before, now, write, least, decay: decay * usage + (1 - decay) * (now + write),
        "this is a moving average; reads and writes are added in full, without 1 - decay",
    ),
    "subtracted": (
        lambda usage, before, now, write, least, decay: decay * usage - now - write,
        "reads and writes are subtracted from the usage; they are added",
    ),
    "decay_subtracted": (
        lambda usage, before, now, write, least, decay: usage - decay + now + write,
        "the decay is subtracted; the old usage is multiplied by it",
    ),
    "decay_divides": (
        lambda usage, before, now, write, least, decay: usage / decay + now + write,
        "the old usage is divided by the decay and grows; multiply by it",
    ),
    "decay_as_power": (
        lambda usage, before, now, write, least, decay: usage**decay + now + write,
        "the decay is used as a power; the old usage is multiplied by it",
    ),
    "no_decay_only_reads": (
        lambda usage, before, now, write, least, decay: usage + now,
        "the old usage does not decay, and the write weights are missing in it",
    ),
    "no_decay_only_writes": (
        lambda usage, before, now, write, least, decay: usage + write,
        "the old usage does not decay, and this step's reads are missing in it",
    ),
    "no_decay_least": (
        lambda usage, before, now, write, least, decay: usage + now + least,
        "the old usage does not decay, and a full 1 is added at the least used slot in place of "
        "the write weights",
    ),
    "no_decay_before": (
        lambda usage, before, now, write, least, decay: usage + before + write,
        "the old usage does not decay, and the reads of the step before are counted",
    ),
    "wrong_share": (
        lambda usage, before, now, write, least, decay: (1 - decay) * usage + now + write,
        "decay is what is left of the old usage, not what is lost",
    ),
    "only_reads": (
        lambda usage, before, now, write, least, decay: decay * usage + now,
        "the write weights are missing in the usage",
    ),
    "only_writes": (
        lambda usage, before, now, write, least, decay: decay * usage + write,
        "this step's reads, `read_now`, are missing in the usage",
    ),
    "nothing_new": (
        lambda usage, before, now, write, least, decay: decay * usage,
        "this step's reads and writes are missing in the usage",
    ),
    "forgets": (
        lambda usage, before, now, write, least, decay: now + write,
        "the old usage is forgotten; what is left of it is decay * usage",
    ),
    "unchanged": (
        lambda usage, before, now, write, least, decay: usage,
        "the usage is still the old one",
    ),
    "reads_of_before": (
        lambda usage, before, now, write, least, decay: decay * usage + before + write,
        "the usage counts the reads of the step before; it counts those of this step, `read_now`",
    ),
    "both_reads": (
        lambda usage, before, now, write, least, decay: decay * usage + before + now + write,
        "the reads of the step before were counted in that step; add `read_now` only",
    ),
    "reads_twice": (
        lambda usage, before, now, write, least, decay: decay * usage + 2 * now + write,
        "this step's reads are counted twice",
    ),
    "writes_twice": (
        lambda usage, before, now, write, least, decay: decay * usage + now + 2 * write,
        "the write weights are counted twice",
    ),
    "mean": (
        lambda usage, before, now, write, least, decay: decay * usage + (now + write) / 2,
        "reads and writes are averaged; both are added in full",
    ),
    "largest": (
        lambda usage, before, now, write, least, decay: torch.maximum(decay * usage, now + write),
        "this takes the larger of old and new; they are added",
    ),
    "old_reads_decay": (
        lambda usage, before, now, write, least, decay: decay * (usage + before + write),
        "reads and writes decay at once, and the reads are those of the step before: "
        "decay * usage + read_now + write",
    ),
    "least_for_write": (
        lambda usage, before, now, write, least, decay: decay * usage + now + least,
        "this adds the least used slot with a full 1; add the write weights",
    ),
    "reset": (
        lambda usage, before, now, write, least, decay: decay * usage * (1 - least) + now + write,
        "the usage of the wiped slot is set to 0; the formula leaves it as it is",
    ),
    "shares": (
        lambda usage, before, now, write, least, decay: (
            (decay * usage + now + write) / (decay * usage + now + write).sum()
        ),
        "the usage is divided by its sum; it is not a share",
    ),
    "product": (
        lambda usage, before, now, write, least, decay: decay * usage + now * write,
        "reads and writes are multiplied; their sum is added",
    ),
}
RIGHT: dict[str, Callable[..., Any]] = {
    "slot": lambda usage, now, decay: usage.argmin(),
    "write": lambda before, now, least, gate: gate * before + (1 - gate) * least,
    "wipe": lambda memory, least, write, row: memory * (1 - least)[:, None] + write[:, None] * row,
    "usage": lambda usage, before, now, write, least, decay: decay * usage + now + write,
}
WRONG = {"slot": SLOT, "write": WRITE, "wipe": WIPE, "usage": USAGE}


def _writing(**chosen: str) -> Step:
    """write_step with what WRONG names at some of its places."""
    do = RIGHT | {place: WRONG[place][name][0] for place, name in chosen.items()}

    def step(
        memory: Tensor,
        usage: Tensor,
        read_before: Tensor,
        read_now: Tensor,
        gate: float,
        row: Tensor,
        decay: float,
    ) -> tuple[Tensor, Tensor]:
        least = F.one_hot(do["slot"](usage, read_now, decay), len(usage)).to(usage.dtype)
        write = do["write"](read_before, read_now, least, gate)
        new = do["wipe"](memory, least, write, row)
        return new, do["usage"](usage, read_before, read_now, write, least, decay)

    step.__name__ = "_".join(chosen.values())
    return step


def _gain(memory: Tensor, *rest: Any) -> Tensor:
    """What a right step of writing adds."""
    return write_step(torch.zeros_like(memory), *rest)[0]


# Things that go wrong together, at two places of the new memory.
OFTEN = {
    "slot": ("most_used", "by_new_usage"),
    "write": ("reads_of_now", "gate_swapped"),
    "wipe": ("never_wiped", "wiped_after", "wiped_by_weight"),
}


def _wiped_too(share: Tensor, memory: Tensor, usage: Tensor, *rest: Any) -> Tensor:
    """The new memory if a share of each slot is wiped besides the least used one."""
    least = _rows_of(usage.argmin()[None], usage)[0]
    kept = memory * ((1 - least) * (1 - share))[:, None]
    return kept + _gain(memory, usage, *rest)


def _writing_mistakes() -> list[Mistake]:
    """One thing done wrongly, then two."""
    single = [{place: name} for place in WRONG for name in WRONG[place]]
    pairs = [
        {first: a, second: b}
        for first, second in itertools.combinations(OFTEN, 2)
        for a, b in itertools.product(OFTEN[first], OFTEN[second])
    ]
    return [
        Mistake(_writing(**chosen), ". And: ".join(WRONG[p][n][1] for p, n in chosen.items()))
        for chosen in single + pairs
    ]


def _draw_write(
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, float, Tensor, float]:
    slots, d = draw_int(3, 9, generator), draw_int(2, 6, generator)
    before, now = _shares(2, slots, generator)
    usage = 3 * torch.rand(slots, generator=generator)
    if draw_int(0, 4, generator) == 0:  # slots that nobody used are equal
        usage = usage.floor()
    return (
        torch.randn(slots, d, generator=generator),
        usage,
        before,
        now,
        draw_int(1, 10, generator) / 11,
        1 + torch.rand(d, generator=generator),
        draw_int(3, 10, generator) / 11,
    )


STEP = Exercise(
    solution=write_step,
    lesson=8,
    aim="write where it was read last, or into the least used slot",
    minutes=12,
    difficulty="medium",
    cases=[
        # usage (2, 0.5, 1): slot 1 goes; write (0.25, 0.75, 0)
        Case(
            (
                torch.tensor([[7.0], [8.0], [3.0]]),
                torch.tensor([2.0, 0.5, 1.0]),
                torch.tensor([1.0, 0.0, 0.0]),
                torch.tensor([0.0, 1.0, 0.0]),
                0.25,
                torch.tensor([4.0]),
                0.5,
            ),
            (torch.tensor([[8.0], [3.0], [3.0]]), torch.tensor([1.25, 2.0, 0.5])),
        ),
        # step 3 of the table in the lesson: slot 2 is wiped, half of the row goes to 0 and to 2
        Case(
            (
                torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]),
                torch.tensor([1.5, 1.0, 0.5]),
                torch.tensor([1.0, 0.0, 0.0]),
                torch.tensor([1.0, 0.0, 0.0]),
                0.5,
                torch.tensor([2.0, 4.0]),
                0.5,
            ),
            (
                torch.tensor([[2.0, 3.0], [1.0, 1.0], [1.0, 2.0]]),
                torch.tensor([2.25, 0.5, 0.75]),
            ),
        ),
        # a fresh memory: all usages are equal, and the first slot goes
        Case(
            (
                torch.tensor([[2.0], [3.0], [4.0]]),
                torch.zeros(3),
                torch.tensor([0.0, 0.0, 1.0]),
                torch.tensor([0.0, 1.0, 0.0]),
                0.25,
                torch.tensor([4.0]),
                0.5,
            ),
            (torch.tensor([[3.0], [3.0], [5.0]]), torch.tensor([0.75, 1.0, 0.25])),
        ),
    ],
    draw=_draw_write,
    mistakes=[
        *_writing_mistakes(),
        Mistake(
            lambda memory, usage, before, *rest: (
                memory * (1 - before)[:, None] + _gain(memory, usage, before, *rest),
                write_step(memory, usage, before, *rest)[1],
            ),
            "the slots read before are wiped; only the least used slot is",
        ),
        Mistake(
            lambda memory, usage, before, now, *rest: (
                memory * (1 - now)[:, None] + _gain(memory, usage, before, now, *rest),
                write_step(memory, usage, before, now, *rest)[1],
            ),
            "the slots read in this step are wiped; only the least used slot is",
        ),
        Mistake(
            lambda memory, usage, before, *rest: (
                _wiped_too(before, memory, usage, before, *rest),
                write_step(memory, usage, before, *rest)[1],
            ),
            "the slots read before are wiped besides the least used one; only that one is",
        ),
        Mistake(
            lambda memory, usage, before, now, gate, *rest: (
                memory * (1 - (1 - gate) * _rows_of(usage.argmin()[None], usage))[0, :, None]
                + _gain(memory, usage, before, now, gate, *rest),
                write_step(memory, usage, before, now, gate, *rest)[1],
            ),
            "the least used slot is wiped by its share 1 - gate; it is wiped wholly, whatever "
            "the gate may be",
        ),
        Mistake(
            lambda *step: write_step(*step)[::-1], "memory first, then usage; yours are exchanged"
        ),
        Mistake(lambda *step: write_step(*step)[0], "return two things: the memory and the usage"),
    ],
    hints=[
        "Make the least used slot a one-hot row. Then every line is a formula of this section.",
        "`least` and `write` are `(slots,)`. `write[:, None] * row` is `(slots, d)`: each slot "
        "gets its share of the row. `memory * (1 - least)[:, None]` wipes.",
        "`F.one_hot(usage.argmin(), len(usage))` is the one-hot row; the last line is "
        "`decay * usage + read_now + write`.",
    ],
)


# --- find the bug: the label leak ------------------------------------------------------------


def stream_inputs(x: Tensor, y: Tensor, n_way: int) -> Tensor:
    """(T, L, d + n_way): each item of x (T, L, d), and the label of the step before; y (T, L)."""
    known = F.one_hot(y, n_way).to(x.dtype)  # (T, L, n_way)
    late = torch.cat([torch.zeros_like(known[:, :1]), known[:, :-1]], dim=1)
    return torch.cat([x, late], dim=2)


def _with_labels(x: Tensor, y: Tensor, n_way: int) -> Tensor:
    known = F.one_hot(y, n_way).to(x.dtype)  # (T, L, n_way)
    return torch.cat([x, known], dim=2)


def _inputs(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Items beside labels (T, L, n_way) that were changed in some way."""

    def inputs(x: Tensor, y: Tensor, n_way: int) -> Tensor:
        return torch.cat([x, change(F.one_hot(y, n_way).to(x.dtype))], dim=2)

    inputs.__name__ = change.__name__
    return inputs


def _items_too(x: Tensor, y: Tensor, n_way: int) -> Tensor:
    both = _with_labels(x, y, n_way)
    return torch.cat([0 * both[:, :1], both[:, :-1]], dim=1)


def _items_early(x: Tensor, y: Tensor, n_way: int) -> Tensor:
    known = F.one_hot(y, n_way).to(x.dtype)
    return torch.cat([torch.cat([x[:, 1:], 0 * x[:, :1]], dim=1), known], dim=2)


def _items_late(x: Tensor, y: Tensor, n_way: int) -> Tensor:
    known = F.one_hot(y, n_way).to(x.dtype)
    return torch.cat([torch.cat([0 * x[:, :1], x[:, :-1]], dim=1), known], dim=2)


def _shifted(y: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], dim=1)


def _one_long_stream(known: Tensor) -> Tensor:
    """Labels (T, L, n_way) one step late, from one stream into the next."""
    return F.pad(known.flatten(0, 1), (0, 0, 1, 0))[:-1].view_as(known)


def _draw_inputs(generator: Generator) -> tuple[Tensor, Tensor, int]:
    n_tasks, length = draw_int(1, 4, generator), draw_int(2, 8, generator)
    n_way, d = draw_int(2, 6, generator), draw_int(1, 4, generator)
    x = torch.randn(n_tasks, length, d, generator=generator)
    return x, torch.randint(n_way, (n_tasks, length), generator=generator), n_way


INPUTS = Exercise(
    solution=stream_inputs,
    buggy=_with_labels,
    lesson=8,
    aim="close a label leak",
    minutes=5,
    difficulty="easy",
    cases=[
        Case(
            (torch.tensor([[[0.5], [0.7], [0.9]]]), torch.tensor([[1, 0, 1]]), 2),
            torch.tensor([[[0.5, 0, 0], [0.7, 0, 1], [0.9, 1, 0]]]),
        ),
        Case(
            (torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]), torch.tensor([[0, 2], [1, 1]]), 3),
            torch.tensor([[[1.0, 0, 0, 0], [2, 1, 0, 0]], [[3, 0, 0, 0], [4, 0, 1, 0]]]),
        ),
    ],
    draw=_draw_inputs,
    mistakes=[
        Mistake(
            lambda x, y, n_way: _with_labels(x, y, n_way),
            "the label of step t still stands beside the item of step t, the very one that is "
            "asked for",
        ),
        Mistake(
            _inputs(lambda known: torch.cat([0 * known[:, :1], known[:, 1:]], dim=1)),
            "only step 0 is mended: from step 1 on, each item still has its own label beside it",
        ),
        Mistake(
            _inputs(lambda known: torch.cat([known[:, :-1], 0 * known[:, :1]], dim=1)),
            "only the last step is mended: all others still have their own labels; the zeros go "
            "to the front",
        ),
        Mistake(
            _inputs(lambda known: torch.cat([known[:, 1:], 0 * known[:, :1]], dim=1)),
            "shifted the wrong way: beside item t stands the label of step t + 1",
        ),
        Mistake(
            _inputs(lambda known: known.roll(1, dims=1)),
            "`roll` brings the last label round to step 0, a leak from the future; step 0 hears "
            "zeros",
        ),
        Mistake(
            _inputs(lambda known: known.roll(-1, dims=1)),
            "shifted the wrong way, and rolled: beside item t stands the label of step t + 1",
        ),
        Mistake(
            _inputs(lambda known: torch.cat([0 * known[:1], known[:-1]])),
            "this shifts along the tasks, the first axis: each stream hears the labels of another "
            "one; steps are axis 1",
        ),
        Mistake(
            _inputs(lambda known: known.roll(1, dims=0)),
            "this rolls along the tasks, the first axis: each stream hears the labels of another "
            "one; steps are axis 1",
        ),
        Mistake(
            _inputs(lambda known: torch.cat([0 * known[..., :1], known[..., :-1]], dim=2)),
            "this shifts along the classes, the last axis: each item still hears of its own label; "
            "steps are axis 1",
        ),
        Mistake(
            _inputs(lambda known: known.roll(1, dims=2)),
            "this only renames the classes: each item still hears its own label; shift along the "
            "steps, axis 1",
        ),
        Mistake(
            _inputs(lambda known: known.flatten(0, 1).roll(1, dims=0).view_as(known)),
            "the tasks were joined to one long stream and rolled, so that step 0 of a stream hears "
            "the last label of another one; step 0 hears zeros",
        ),
        Mistake(
            _inputs(lambda known: F.pad(known, (0, 0, 2, 0))[:, : known.shape[1]]),
            "the labels come two steps late; one is asked for",
        ),
        Mistake(
            _inputs(lambda known: 0 * known),
            "no label ever arrives now; nothing leaks, and nothing can be learned",
        ),
        Mistake(
            _inputs(lambda known: torch.cat([known[:, :1], known[:, :-1]], dim=1)),
            "step 0 still hears its own label; it must hear zeros",
        ),
        Mistake(
            _inputs(
                lambda known: torch.cat(
                    [torch.full_like(known[:, :1], 1 / known.shape[2]), known[:, :-1]], dim=1
                )
            ),
            "step 0 hears 1 / n_way of each class; it must hear zeros",
        ),
        Mistake(
            _inputs(lambda known: F.pad(known, (0, 0, 1, 0))[:, :-1].cumsum(dim=1)),
            "all labels so far are in sum beside item t; only that of step t - 1 arrives",
        ),
        Mistake(
            _items_too,
            "items and labels were shifted together, so each item still has its own label beside "
            "it; shift the labels alone",
        ),
        Mistake(
            _items_early,
            "the items were moved in place of the labels; the items stay, and zeros stand in the "
            "place of the first label",
        ),
        Mistake(
            _items_late,
            "the items were moved and not the labels, so that a label comes BEFORE its item; the "
            "items stay where they are",
        ),
        Mistake(
            lambda x, y, n_way: _with_labels(x, torch.cat([0 * y[:, :1], y[:, :-1]], dim=1), n_way),
            "step 0 hears the label 0: the number 0 is a class, too; zeros belong into the one-hot "
            "row",
        ),
        Mistake(
            lambda x, y, n_way: stream_inputs(x, y, n_way).roll(n_way, dims=2),
            "first the item, then the label; yours are exchanged",
        ),
        Mistake(
            lambda x, y, n_way: stream_inputs(x, y, n_way)[:, 1:],
            "step 0 is missing: it has an item, and zeros beside it; all L steps are asked for",
        ),
        Mistake(
            lambda x, y, n_way: stream_inputs(x, y, n_way)[:, :-1],
            "the last step is missing; only its label never arrives",
        ),
        Mistake(
            _inputs(lambda known: F.pad(known, (0, 0, 1, 0))),
            "zeros are put in front, but the last label is not dropped: there is a step too many",
        ),
        Mistake(
            _inputs(lambda known: known * torch.eye(known.shape[1])[0][:, None]),
            "the label of step 0 stays where it is and all others are wiped",
        ),
        Mistake(
            _inputs(lambda known: known + F.pad(known, (0, 0, 1, 0))[:, :-1]),
            "the label of the step before has been added to that of step t, which still leaks",
        ),
        Mistake(
            _inputs(lambda known: known / 2),
            "making a leak smaller does not close it: the own label still stands there",
        ),
        Mistake(
            _inputs(
                lambda known: torch.cat([known.roll(1, dims=1)[:, :-1], 0 * known[:, :1]], dim=1)
            ),
            "rolled, and then the wrong step is wiped: step 0 hears the last label",
        ),
        Mistake(
            _inputs(lambda known: _one_long_stream(known)),
            "the tasks were joined to one long stream and shifted, so that step 0 of a stream "
            "hears "
            "the last label of the one before; each stream begins with zeros",
        ),
        Mistake(
            _inputs(lambda known: F.pad(known, (0, 0, 1, 0))[:1, :-1].expand_as(known)),
            "all streams hear the labels of the first one",
        ),
        Mistake(
            lambda x, y, n_way: torch.cat([x, _shifted(y)[..., None].to(x.dtype)], dim=2),
            "the label stands there as one number; make it one-hot, n_way numbers",
        ),
        Mistake(
            lambda x, y, n_way: _with_labels(
                x, torch.cat([0 * y[:, :1] + n_way, y[:, :-1]], dim=1), n_way + 1
            ),
            "nothing told is a row of zeros, and no class of its own: there is a column too many",
        ),
        Mistake(lambda x, y, n_way: x, "the labels are gone; they come one step late"),
        Mistake(
            lambda x, y, n_way: _with_labels(x, (y - 1) % n_way, n_way),
            "1 is subtracted from the labels, so each item still hears of its own; the label of "
            "the step before is `y[:, t - 1]`",
        ),
    ],
    hints=[
        "What stands beside the item of step 0? And what is the network asked for at step 0?",
        "`known` is `(T, L, n_way)`. Put zeros `(T, 1, n_way)` in front along the steps, axis 1, "
        "and drop the last step.",
        "`torch.cat([torch.zeros_like(known[:, :1]), known[:, :-1]], dim=1)`.",
    ],
)


# --- the test that finds it ------------------------------------------------------------------

Stream = Callable[[Tensor, Tensor], Tensor]


def heard_at(stream: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, t: int) -> int:
    """The first step with other scores if the label of step t is another; L if there is none.

    Args:
        stream: x (L, d), y (L,) to scores (L, 5).
        x, y: a stream with labels 0 to 4.
        t: the step whose label is changed.
    """
    other = y.clone()
    other[t] = (y[t] + 1) % 5
    changed = (stream(x, y) != stream(x, other)).any(dim=1)  # (L,)
    return int(changed.int().argmax()) if changed.any() else len(y)


def _hears(delay: int, keeps: bool, large: float, scale: float = 1.0) -> Stream:
    """Scores from the items up to a step and the labels that came `delay` steps late.

    Args:
        keeps: a label is heard at all later steps, too.
        large: how much the items count.
        scale: of all scores; a change is a change, however small.
    """

    def stream(x: Tensor, y: Tensor) -> Tensor:
        known = F.one_hot(y, 5).to(x.dtype)
        arrived = torch.zeros_like(known)
        if 0 <= delay < len(y):
            arrived[delay:] = known[: len(y) - delay]
        elif -len(y) < delay < 0:
            arrived[:delay] = known[-delay:]
        heard = arrived.cumsum(dim=0) if keeps else arrived
        by_items = large * x.cumsum(dim=0).sum(dim=1, keepdim=True) * torch.arange(5.0)
        return scale * (by_items + heard)

    return stream


def _changed(stream: Stream, x: Tensor, y: Tensor, other: Tensor) -> Tensor:
    return (stream(x, y) != stream(x, other)).any(dim=1)


def _with_other(y: Tensor, t: int) -> Tensor:
    other = y.clone()
    other[t] = (y[t] + 1) % 5
    return other


def _first(changed: Tensor) -> int:
    return int(changed.int().argmax()) if changed.any() else len(changed)


def _minus_1_if_none(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    found = heard_at(stream, x, y, t)
    return found if found < len(y) else -1


def _t_if_none(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    found = heard_at(stream, x, y, t)
    return found if found < len(y) else t


def _nothing_if_none(stream: Stream, x: Tensor, y: Tensor, t: int) -> Any:
    found = heard_at(stream, x, y, t)
    return found if found < len(y) else None


def _last_change(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    changed = _changed(stream, x, y, _with_other(y, t)).nonzero()
    return int(changed[-1]) if len(changed) else len(y)


def _only_later(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    changed = _changed(stream, x, y, _with_other(y, t))
    return t + 1 + _first(changed[t + 1 :])


def _not_before_t(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    changed = _changed(stream, x, y, _with_other(y, t))
    return t + _first(changed[t:])


def _only_up_to_t(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    found = heard_at(stream, x, y, t)
    return found if found <= t else len(y)


def _another_item(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    other = x.clone()
    other[t] += 1
    return _first((stream(x, y) != stream(other, y)).any(dim=1))


def _answers(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    answers = [stream(x, labels).argmax(dim=1) for labels in (y, _with_other(y, t))]
    return _first(answers[0] != answers[1])


def _place_in_table(stream: Stream, x: Tensor, y: Tensor, t: int) -> int:
    changed = (stream(x, y) != stream(x, _with_other(y, t))).flatten()
    return int(changed.int().argmax()) if changed.any() else len(y)


def _draw_stream(generator: Generator) -> tuple[Stream, Tensor, Tensor, int]:
    length = draw_int(3, 9, generator)
    x = torch.randint(1, 4, (length, 2), generator=generator).float()
    y = torch.randint((1, 5)[draw_int(0, 3, generator) > 0], (length,), generator=generator)
    delay, keeps = draw_int(-3, 4, generator), bool(draw_int(0, 2, generator))
    scale = (1.0, 0.02)[draw_int(0, 2, generator)]
    return _hears(delay, keeps, 10.0, scale), x, y, draw_int(0, length, generator)


_ITEMS = torch.tensor([[1.0], [2.0], [1.0], [3.0], [1.0], [2.0]])
_LABELS = torch.tensor([0, 3, 0, 4, 1, 3])

HEARD = Exercise(
    solution=heard_at,
    lesson=8,
    aim="test for leaks without training",
    minutes=8,
    difficulty="medium",
    cases=[
        Case((_hears(1, True, 0.0), _ITEMS, _LABELS, 2), 3),  # as it should be
        Case((_hears(0, True, 0.0), _ITEMS, _LABELS, 1), 1),  # at once
        Case((_hears(-1, False, 0.0), _ITEMS, _LABELS, 3), 2),  # one step too early
        Case((_hears(-2, False, 0.0), _ITEMS, _LABELS, 1), 6),  # step -1 does not exist
        Case((_hears(1, True, 0.0), _ITEMS, _LABELS, 5), 6),  # the last label arrives nowhere
        Case((_hears(0, False, 0.0), _ITEMS, 0 * _LABELS, 5), 5),  # all labels 0, at the last step
        Case((_hears(1, True, 0.0, 0.02), _ITEMS, _LABELS, 0), 1),  # a change of 0.02
        Case((_hears(1, True, 0.0), _ITEMS, _LABELS, 4), 5),  # label 1
        Case((_hears(1, True, 0.0), _ITEMS, (_LABELS + 1) % 5, 4), 5),  # label 2
    ],
    draw=_draw_stream,
    mistakes=[
        Mistake(
            _minus_1_if_none, "if no step changes, the answer is the length L of the stream, not -1"
        ),
        Mistake(
            lambda stream, x, y, t: int(_changed(stream, x, y, _with_other(y, t)).int().argmax()),
            "if no step changes, `argmax` says 0, as if step 0 had heard it; ask `any()` first, "
            "and return the length L",
        ),
        Mistake(
            lambda stream, x, y, t: min(heard_at(stream, x, y, t), len(y) - 1),
            "if no step changes, the answer is the length L of the stream, not the last step",
        ),
        Mistake(_t_if_none, "if no step changes, the answer is the length L of the stream, not t"),
        Mistake(
            _nothing_if_none,
            "if no step changes, nothing is returned; the answer is then the length L",
        ),
        Mistake(
            lambda stream, x, y, t: int(_changed(stream, x, y, _with_other(y, t)).nonzero()[0]),
            "if no step changes, there is no first one to take; return the length L then",
        ),
        Mistake(_last_change, "this is the LAST step that changes; when is it heard first?"),
        Mistake(
            lambda stream, x, y, t: int(_changed(stream, x, y, _with_other(y, t)).sum()),
            "this is the number of steps that change; which is the first of them?",
        ),
        Mistake(
            lambda stream, x, y, t: heard_at(stream, x, y, t) - t,
            "this is the delay, counted from t; the step itself is asked for",
        ),
        Mistake(
            _only_later,
            "this looks only at steps after t, where a leak cannot be; look at all steps",
        ),
        Mistake(
            _not_before_t,
            "this does not look at the steps before t; a label may leak there, too",
        ),
        Mistake(
            _only_up_to_t,
            "this looks at the steps up to t only; an honest stream hears the label at t + 1",
        ),
        Mistake(_another_item, "this changes the item of step t; change its label"),
        Mistake(
            lambda stream, x, y, t: _first(_changed(stream, x, y, (y + 1) % 5)),
            "this changes all labels; change that of step t alone",
        ),
        Mistake(
            lambda stream, x, y, t: _first(
                _changed(stream, x, y, torch.cat([y[:t], (y[t:] + 1) % 5]))
            ),
            "this changes the labels of all steps from t on; change that of step t alone",
        ),
        Mistake(
            lambda stream, x, y, t: _first(
                _changed(stream, x, y, _with_other(y, min(t + 1, len(y) - 1)))
            ),
            "this changes the label of step t + 1; change that of step t",
        ),
        Mistake(
            lambda stream, x, y, t: _first(_changed(stream, x, y, _with_other(y, max(t - 1, 0)))),
            "this changes the label of step t - 1; change that of step t",
        ),
        Mistake(
            lambda stream, x, y, t: _first(
                _changed(stream, x, y, y.index_fill(0, torch.tensor([t]), 0))
            ),
            "the new label is always 0, which is no change where it was 0 already; "
            "`(y[t] + 1) % 5` always differs",
        ),
        Mistake(
            lambda stream, x, y, t: t,
            "this is t, whatever the stream does; compare the scores of two calls",
        ),
        Mistake(
            lambda stream, x, y, t: len(y),
            "no change is ever found. Are both calls made with the same labels (`other = y` is no "
            "copy, `y.clone()` is)? Or do you wait for a step at which all five scores "
            "change? One is enough",
        ),
        Mistake(
            _answers,
            "this compares the answers (`argmax`); scores may change long before an answer does",
        ),
        Mistake(
            _place_in_table,
            "this is the place in the flattened table of scores; first ask for each step, "
            "`any(dim=1)`",
        ),
        Mistake(
            lambda stream, x, y, t: _first(
                stream(x, y)[:, 0] != stream(x, _with_other(y, t))[:, 0]
            ),
            "this compares the score of class 0 alone; any may change",
        ),
        Mistake(
            lambda stream, x, y, t: _first(~_changed(stream, x, y, _with_other(y, t))),
            "this is the first step that stays the SAME; which changes?",
        ),
        Mistake(
            lambda stream, x, y, t: heard_at(stream, x, y, t) + 1,
            "this counts from 1; the first step is step 0",
        ),
        Mistake(
            lambda stream, x, y, t: t + 1,
            "this is t + 1, what an honest stream gives, whatever the stream does; call it twice",
        ),
        Mistake(
            lambda stream, x, y, t: heard_at(stream, x, y, t) <= t,
            "this says whether it leaks; at which step is the label heard?",
        ),
        Mistake(
            lambda stream, x, y, t: (
                _changed(stream, x, y, _with_other(y, t)).nonzero().flatten().tolist()
            ),
            "these are all the steps that change, as a list; which is the first?",
        ),
        Mistake(
            lambda stream, x, y, t: _changed(stream, x, y, _with_other(y, t)).nonzero()[0],
            "right, but a tensor with one number in it; `int(...)` or `.item()` takes it out. And "
            "if "
            "no step changes, there is no first one to take",
        ),
        Mistake(
            lambda stream, x, y, t: not torch.equal(stream(x, y), stream(x, _with_other(y, t))),
            "this says whether anything changes; at which step does it change first?",
        ),
        Mistake(
            lambda stream, x, y, t: _changed(stream, x, y, _with_other(y, t)),
            "this says of each step whether it changes; which is the first?",
        ),
    ],
    hints=[
        "Two calls: with `y`, and with a copy in which `y[t]` is another label. At which steps do "
        "the scores differ?",
        "`(first != second).any(dim=1)` is `(L,)`: true for the steps that changed.",
        "`.int().argmax()` is the place of the first true, and 0 if there is none, so ask "
        "`.any()` first.",
    ],
)


# --- find the bug: all is written at the end -------------------------------------------------


def read_and_write(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    """What L steps read, (L, d), and the memory after them; a step reads, then writes.

    Args:
        memory: (slots, d), before the first step.
        keys, rows: (L, d), what each step looks for, and what it writes.
        writes: (L, slots), how much of its row goes to each slot.
    """
    reads = []
    for key, write, row in zip(keys, writes, rows, strict=True):
        reads.append(read_weights(key, memory, sharpness) @ memory)
        memory = memory + write[:, None] * row
    return torch.stack(reads), memory


def _at_the_end(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, written = [], memory
    for key, write, row in zip(keys, writes, rows, strict=True):
        reads.append(read_weights(key, memory, sharpness) @ memory)
        written = written + write[:, None] * row
    return torch.stack(reads), written


Loop = Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _looping(
    name: str,
    read: Callable[..., Tensor] | None = None,
    write: Callable[..., Tensor] | None = None,
    *,
    write_first: bool = False,
) -> Loop:
    """read_and_write with one thing done differently; both get what they may need and more."""
    read = read or (lambda key, start, now, sharp: read_weights(key, now, sharp) @ now)
    write = write or (lambda start, now, w, row: now + w[:, None] * row)

    def loop(
        memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
    ) -> tuple[Tensor, Tensor]:
        now, reads = memory, []
        for key, w, row in zip(keys, writes, rows, strict=True):
            new = write(memory, now, w, row)
            reads.append(read(key, memory, new if write_first else now, sharpness))
            now = new
        return torch.stack(reads), now

    loop.__name__ = name
    return loop


def _reads_after_all(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    final = memory + writes.T @ rows
    return torch.stack([read_weights(key, final, sharpness) @ final for key in keys]), final


def _only_last_read(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, final = read_and_write(memory, keys, writes, rows, sharpness)
    return reads[-1], final


def _memory_before_last(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, final = read_and_write(memory, keys, writes, rows, sharpness)
    return reads, final - writes[-1][:, None] * rows[-1]


def _last_write_twice(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, final = read_and_write(memory, keys, writes, rows, sharpness)
    return reads, final + writes[-1][:, None] * rows[-1]


def _lagging(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, before, now = [], memory, memory
    for key, write, row in zip(keys, writes, rows, strict=True):
        reads.append(read_weights(key, before, sharpness) @ before)
        before, now = now, now + write[:, None] * row
    return torch.stack(reads), now


def _draw_loop(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    slots, d, length = (draw_int(2, 6, generator) for _ in range(3))
    return (
        torch.randn(slots, d, generator=generator),
        torch.randn(length, d, generator=generator),
        _shares(length, slots, generator),
        torch.randn(length, d, generator=generator),
        1 + draw_int(0, 5, generator) / 2,
    )


LOOP = Exercise(
    solution=read_and_write,
    buggy=_at_the_end,
    lesson=8,
    aim="step through time: what is written can be read later",
    minutes=5,
    difficulty="medium",
    cases=[
        # empty at first; at step 1 the cosines are 1 and 0, so the weights 3/4 and 1/4
        Case(
            (
                torch.zeros(2, 2),
                torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
                torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
                torch.tensor([[2.0, 0.0], [0.0, 3.0]]),
                math.log(3),
            ),
            (torch.tensor([[0.0, 0.0], [1.5, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 3.0]])),
        ),
        # weights 3/4, 1/4, then with slot 0 at (2, 0) the other way round
        Case(
            (
                torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
                torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
                torch.tensor([[1.0, 0.0], [0.5, 0.5]]),
                torch.tensor([[1.0, 0.0], [2.0, 2.0]]),
                math.log(3),
            ),
            (torch.tensor([[0.75, 0.25], [0.5, 0.75]]), torch.tensor([[3.0, 1.0], [1.0, 2.0]])),
        ),
    ],
    draw=_draw_loop,
    mistakes=[
        Mistake(
            lambda *arguments: _at_the_end(*arguments),
            "every step still reads the memory as it was before the first step; what was written "
            "is seen by nobody",
        ),
        Mistake(
            _looping(
                "writes_first_old_address",
                read=lambda key, start, now, s: read_weights(key, start, s) @ now,
                write_first=True,
            ),
            "each step writes and then reads, with an address from the first memory; read first, "
            "and "
            "look at the memory of now",
        ),
        Mistake(
            _looping(
                "hard_write",
                write=lambda start, now, w, row: now + F.one_hot(w.argmax(), len(w))[:, None] * row,
            ),
            "the whole row goes to the slot with the largest weight; each slot gets its share, "
            "`write[:, None] * row`",
        ),
        Mistake(
            _looping(
                "sets",
                write=lambda start, now, w, row: torch.where(
                    F.one_hot(w.argmax(), len(w)).bool()[:, None], row, now
                ),
            ),
            "a row is replaced; rows are added to, each slot by its write weight",
        ),
        Mistake(
            _looping("average", write=lambda start, now, w, row: (now + w[:, None] * row) / 2),
            "old memory and new row are averaged; add the row",
        ),
        Mistake(
            _looping("minus", write=lambda start, now, w, row: now - w[:, None] * row),
            "the row is subtracted; add it",
        ),
        Mistake(
            _looping("dull", read=lambda key, start, now, s: read_weights(key, now, 1 / s) @ now),
            "this divides by sharpness; hand it to `read_weights` as before",
        ),
        Mistake(
            _looping(
                "weighed", read=lambda key, start, now, s: read_weights(key, now, s)[:, None] * now
            ),
            "these are the rows times their weights; what is read is their sum, `weights @ memory`",
        ),
        Mistake(
            _looping(
                "row", read=lambda key, start, now, s: now[read_weights(key, now, s).argmax()]
            ),
            "this reads the best row alone; what is read is the weighted mean of all, as before",
        ),
        Mistake(
            lambda memory, *rest: read_and_write(torch.zeros_like(memory), *rest),
            "this begins with an empty memory; it begins with `memory`, which may hold something",
        ),
        Mistake(
            lambda *call: (read_and_write(*call)[0].cumsum(dim=0), read_and_write(*call)[1]),
            "the reads are added up over the steps; each step has its own",
        ),
        Mistake(
            lambda *call: (read_and_write(*call)[0].mean(dim=0), read_and_write(*call)[1]),
            "this is the mean of all reads; stack them, one row a step",
        ),
        Mistake(
            lambda *call: (read_and_write(*call)[0].flatten(), read_and_write(*call)[1]),
            "the reads are one long row (`torch.cat`); `torch.stack` gives each step its own",
        ),
        Mistake(
            lambda *call: (list(read_and_write(*call)[0]), read_and_write(*call)[1]),
            "the reads are a list; `torch.stack` makes a tensor (L, d) of them",
        ),
        Mistake(
            lambda *call: read_and_write(*call)[0],
            "return two things: the reads, and the memory after the last step",
        ),
        Mistake(
            lambda memory, keys, *rest: read_and_write(memory, keys.roll(1, dims=0), *rest),
            "each step looks for the key of another step",
        ),
        Mistake(
            lambda memory, keys, writes, rows, sharpness: read_and_write(
                memory, keys, writes.roll(1, dims=0), rows.roll(1, dims=0), sharpness
            ),
            "each step writes the row of another step",
        ),
        Mistake(
            _looping("writes_first", write_first=True),
            "each step writes and then reads its own row; here a step reads first",
        ),
        Mistake(
            _reads_after_all,
            "all steps read the memory as it is after the last one, so early steps see the future",
        ),
        Mistake(
            _looping(
                "old_address", read=lambda key, start, now, s: read_weights(key, start, s) @ now
            ),
            "what is read comes from the memory of now, but its weights from the first memory; "
            "the address must look at the same memory",
        ),
        Mistake(
            _looping(
                "old_content", read=lambda key, start, now, s: read_weights(key, now, s) @ start
            ),
            "the weights look at the memory of now, but what is read comes from the first memory",
        ),
        Mistake(
            _looping("from_the_start", write=lambda start, now, w, row: start + w[:, None] * row),
            "each step writes onto the first memory, so that what was written before is lost",
        ),
        Mistake(
            _looping("overwrites", write=lambda start, now, w, row: w[:, None] * row + 0 * now),
            "each step throws the whole memory away and keeps its own row alone; add to it",
        ),
        Mistake(
            _looping(
                "wipes",
                write=lambda start, now, w, row: now * (1 - w)[:, None] + w[:, None] * row,
            ),
            "this wipes as it writes; here rows are only added",
        ),
        Mistake(
            _looping("doubles", write=lambda start, now, w, row: now + 2 * w[:, None] * row),
            "each row is written twice",
        ),
        Mistake(
            _looping("full_rows", write=lambda start, now, w, row: now + row + 0 * w[:, None]),
            "every slot gets the whole row; `write[:, None] * row` gives each its share",
        ),
        Mistake(
            _looping("blurred", read=lambda key, start, now, s: read_weights(key, now, 1.0) @ now),
            "sharpness is lost; hand it to `read_weights` as before",
        ),
        Mistake(
            _looping(
                "by_product", read=lambda key, start, now, s: (s * now @ key).softmax(dim=0) @ now
            ),
            "the address was by cosine, `read_weights`; scalar products let long rows win",
        ),
        Mistake(
            _looping("weights_only", read=lambda key, start, now, s: read_weights(key, now, s)),
            "these are the read weights; what is read is `weights @ memory`",
        ),
        Mistake(
            _looping("reads_mean", read=lambda key, start, now, s: now.mean(dim=0) + 0 * key),
            "this reads the mean of all slots; the key says where to look",
        ),
        Mistake(
            _lagging, "each step misses what the step before it wrote; there is one step of delay"
        ),
        Mistake(_only_last_read, "this is the last read alone; stack those of all steps"),
        Mistake(
            lambda memory, *rest: (read_and_write(memory, *rest)[0], memory),
            "the reads are right; the memory returned is the first one, not that after all steps",
        ),
        Mistake(
            _memory_before_last,
            "the reads are right; the writing of the last step is missing in the memory returned",
        ),
        Mistake(
            _last_write_twice,
            "the reads are right; the last row has been written twice in the memory returned",
        ),
        Mistake(
            lambda memory, keys, writes, rows, sharpness: read_and_write(
                memory, keys, writes, rows, sharpness
            )[::-1],
            "first the reads, then the memory; yours are exchanged",
        ),
    ],
    hints=[
        "Which memory does step 5 read? And which one did step 4 write to?",
        "One name is enough: what a step leaves behind is what the next step reads.",
        "`memory = memory + write[:, None] * row`, after the reading; `written` can go.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    LATE,
    Question(
        name="best_first_answer",
        lesson=8,
        aim="know how good a first answer can be",
        minutes=3,
        difficulty="medium",
        text="The best learner there could be recognises every letter, forgets nothing and never "
        "peeks. Five classes, ten items of each, in random order. What share of the FIRST items of "
        "a class does it get right?",
        options={
            "a": Option(
                "20 %",
                "That is an even guess among five labels. But at the second new class one label is "
                "taken and can be ruled out.",
            ),
            "b": Option(
                "about 46 %",
                "1/5 for the first new class, then 1/4, 1/3, 1/2 and 1, since labels that have "
                "come are ruled out. The mean is 137/300 = 45.67 %.",
            ),
            "c": Option(
                "60 %",
                "That is the middle of 1/5 and 1, but the chances in between are not evenly "
                "spaced: 1/5, 1/4, 1/3, 1/2, 1.",
            ),
            "d": Option(
                "100 %",
                "Nobody has told it the label of a class that has not come yet; who has 100 % "
                "there has heard it.",
            ),
        },
        right="b",
    ),
    READ,
    LEAST,
    STEP,
    Question(
        name="missing_fifth",
        lesson=8,
        aim="follow a label to the memory, step by step",
        minutes=3,
        difficulty="medium",
        text="Item 7 is the first of its class, and item 8, right after it, the second. Our "
        "controller reads the memory as it was before the step's writing. Can it find item 7 when "
        "it is asked for item 8?",
        options={
            "a": Option(
                "Yes: the pair was written at step 7.",
                "At step 7 its label is not known yet. What is there to be written with it?",
            ),
            "b": Option(
                "Yes: label and item arrive together at step 8.",
                "The label of item 7 does arrive at step 8, and the pair is written then. But when "
                "is the memory read?",
            ),
            "c": Option(
                "No: the pair is written at step 8, after the reading.",
                "The label of item 7 arrives at step 8, and the pair is written at step 8. Item 8 "
                "looks into a memory that does not hold it yet.",
            ),
            "d": Option(
                "No: the slot has been wiped in between.",
                "There is one step in between, and 64 slots; the least used one is wiped.",
            ),
        },
        right="c",
    ),
    Question(
        name="too_good_at_first",
        lesson=8,
        aim="find a bug from its symptom",
        minutes=2,
        difficulty="easy",
        text="Sixty steps, no memory, and more than 90 % right from the first instance on. What do "
        "you conclude?",
        options={
            "a": Option(
                "An LSTM is better at this than a memory.",
                "Then it would be so from the second instance on. At the first instance nobody has "
                "told it anything.",
            ),
            "b": Option(
                "The classes of meta-test were seen in training.",
                "Labels are dealt anew in each stream, so that even a class that it knows well has "
                "an unknown label at its first instance.",
            ),
            "c": Option(
                "A label reaches the network before it is asked for.",
                "No honest learner can be above 45.67 % at the first instance. So it has heard the "
                "label; look at the line that puts it beside the item.",
            ),
            "d": Option(
                "The points of a class lie close together, so one is enough.",
                "That helps at the second instance. At the first there is not even one.",
            ),
        },
        right="c",
    ),
    INPUTS,
    HEARD,
    Question(
        name="blind_address",
        lesson=8,
        aim="tell an address by content from one by position",
        minutes=2,
        difficulty="easy",
        text="`QuickAddress` chooses where to read. What does it not look at when it chooses?",
        options={
            "a": Option(
                "the state of the controller, `hidden`",
                "`hidden` is what `where` reads. It is the only thing that it reads.",
            ),
            "b": Option(
                "what is in the memory",
                "The weights come from `hidden` alone. Swap two rows, and it reads the wrong one. "
                "To find an item it would have to remember by itself where it put it.",
            ),
            "c": Option(
                "a softmax over the slots",
                "There is one, in the first line of `forward`: the weights do sum to 1.",
            ),
            "d": Option(
                "the number of slots",
                "It is in the shape of its weights, an output for each slot; that is the trouble.",
            ),
        },
        right="b",
    ),
    LOOP,
]
