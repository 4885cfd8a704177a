"""The exercises of notebook 08: late labels, reading, writing, two bugs, and a test for leaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.edits import Edit, mistakes_of
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "08_memory_augmented_networks.txt"

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


def _draw_labels(generator: Generator) -> tuple[Tensor, int]:
    n_way, length = draw_int(2, 7, generator), draw_int(1, 12, generator)
    return torch.randint(n_way, (length,), generator=generator), n_way


LATE = exercise_of(
    late_labels,
    lesson=LESSON,
    cases=[
        Case((torch.tensor([2, 0, 1]), 3), torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0]])),
        Case(
            (torch.tensor([1, 1, 0]), 4),
            torch.tensor([[0.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]),
        ),
    ],
    draw=_draw_labels,
)


# --- reading ---------------------------------------------------------------------------------


def read_weights(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    """(slots,): softmax over the slots of sharpness * cosine(key (d,), memory (slots, d))."""
    cosine = F.normalize(memory, dim=1) @ F.normalize(key, dim=0)
    return torch.softmax(sharpness * cosine, dim=0)


def _by_lengths(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    lengths = memory.norm(dim=1) * key.norm()
    return (sharpness * (memory @ key) / lengths).softmax(dim=0)


def _draw_read(generator: Generator) -> tuple[Tensor, Tensor, float]:
    slots, d = draw_int(2, 8, generator), draw_int(2, 7, generator)
    key = 2 * torch.randn(d, generator=generator)
    memory = 2 * torch.randn(slots, d, generator=generator)
    return key, memory, 0.5 + draw_int(0, 8, generator) / 2


READ = exercise_of(
    read_weights,
    lesson=LESSON,
    cases=[
        # cosines 1, 0, and 3 / 5 of the row (3, 4)
        Case(
            (torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]]), 1.0),
            torch.tensor([math.e, 1.0, math.exp(0.6)]) / (math.e + 1 + math.exp(0.6)),
        ),
        # cosines 1, 0, -1: weights 3 : 1 : 1/3
        Case(
            (torch.tensor([0.0, 4.0]), torch.tensor([[0.0, 2], [5, 0], [0, -3]]), math.log(3)),
            torch.tensor([9.0, 3.0, 1.0]) / 13,
        ),
    ],
    draw=_draw_read,
    ways=[_by_lengths],
)


# --- where to write --------------------------------------------------------------------------


def least_used(usage: Tensor, n_heads: int) -> Tensor:
    """(n_heads, slots): row i is 1 at the slot that head i may wipe; usage (slots,)."""
    slots = usage.argsort(stable=True)[:n_heads]
    return F.one_hot(slots, len(usage)).to(usage.dtype)


def _one_by_one(usage: Tensor, n_heads: int) -> Tensor:
    left, rows = usage.clone(), usage.new_zeros(n_heads, len(usage))
    for head in range(n_heads):
        slot = left.argmin()
        rows[head, slot] = 1
        left[slot] = math.inf
    return rows


def _draw_usage(generator: Generator) -> tuple[Tensor, int]:
    many = draw_int(0, 6, generator)  # of few, an `argsort` that is not stable is right too
    slots = draw_int(3, 80 if many else 7, generator)
    dtype = (torch.float32, torch.float64)[draw_int(0, 2, generator)]
    usage = torch.rand(slots, generator=generator, dtype=dtype)
    usage = (3 * usage).floor() if many else 20 * usage  # fresh slots have equal usage
    return usage, draw_int(1, min(slots, 5), generator)


LEAST = exercise_of(
    least_used,
    lesson=LESSON,
    cases=[
        Case((torch.tensor([1.5, 1.0, 0.5]), 1), torch.tensor([[0.0, 0, 1]])),
        Case(
            (torch.tensor([0.3, 2.0, 0.1, 0.9, 0.6]), 3),
            torch.tensor([[0.0, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]),
        ),
        # far apart: the second least is used more than the least and 1
        Case((torch.tensor([5.0, 0.5, 3.0]), 2), torch.tensor([[0.0, 1, 0], [0, 0, 1]])),
        # a fresh memory: all equal, so the first two
        Case((torch.zeros(4), 2), torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])),
    ],
    draw=_draw_usage,
    ways=[_one_by_one],
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


# Mistakes at two of these places often come together.
OFTEN = [
    ["usage.argmin() -> usage.argmax()", "usage.argmin() -> (decay * usage + read_now).argmin()"],
    [
        "gate * read_before -> gate * read_now",
        "gate * read_before + (1 - gate) -> (1 - gate) * read_before + gate",
    ],
    [
        "* (1 - least)[:, None] ->",
        "(1 - least) -> (1 - write)",
        "memory * (1 - least)[:, None] -> (memory ; * row -> * row) * (1 - least)[:, None]",
    ],
]


def _mistakes() -> list[Edit]:
    """Those of the list, and pairs of them, for which both hints are said."""
    single = mistakes_of(write_step, lesson=LESSON)
    hints = {mistake.edit: mistake.hint for mistake in single}
    pairs = [pair for some, others in combinations(OFTEN, 2) for pair in product(some, others)]
    both = [Edit((write_step,), f"{a} ; {b}", f"{hints[a]}. And: {hints[b]}") for a, b in pairs]
    return single + both


def _draw_write(generator: Generator) -> tuple[Any, ...]:
    slots, d = draw_int(3, 9, generator), draw_int(2, 6, generator)
    memory, row = torch.randn(slots, d, generator=generator), torch.rand(d, generator=generator)
    usage = 3 * torch.rand(slots, generator=generator)
    if draw_int(0, 4, generator) == 0:  # slots that nobody used are equal
        usage = usage.floor()
    gate, decay = (draw_int(low, 10, generator) / 11 for low in (1, 3))
    return memory, usage, *_shares(2, slots, generator), gate, 1 + row, decay


STEP = exercise_of(
    write_step,
    lesson=LESSON,
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
            (torch.tensor([[2.0, 3], [1, 1], [1, 2]]), torch.tensor([2.25, 0.5, 0.75])),
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
    mistakes=_mistakes(),
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


def _draw_inputs(generator: Generator) -> tuple[Tensor, Tensor, int]:
    n_tasks, length = draw_int(1, 4, generator), draw_int(2, 8, generator)
    n_way, d = draw_int(2, 6, generator), draw_int(1, 4, generator)
    x = torch.randn(n_tasks, length, d, generator=generator)
    return x, torch.randint(n_way, (n_tasks, length), generator=generator), n_way


INPUTS = exercise_of(
    stream_inputs,
    lesson=LESSON,
    buggy=_with_labels,
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


def _draw_stream(generator: Generator) -> tuple[Stream, Tensor, Tensor, int]:
    length = draw_int(3, 9, generator)
    x = torch.randint(1, 4, (length, 2), generator=generator).float()
    y = torch.randint((1, 5)[draw_int(0, 3, generator) > 0], (length,), generator=generator)
    delay, keeps = draw_int(-3, 4, generator), bool(draw_int(0, 2, generator))
    scale = (1.0, 0.02)[draw_int(0, 2, generator)]
    return _hears(delay, keeps, 10.0, scale), x, y, draw_int(0, length, generator)


_ITEMS = torch.tensor([[1.0], [2.0], [1.0], [3.0], [1.0], [2.0]])
_LABELS = torch.tensor([0, 3, 0, 4, 1, 3])

HEARD = exercise_of(
    heard_at,
    lesson=LESSON,
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
)


# --- find the bug: all is written at the end -------------------------------------------------


def read_and_write(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    """What L steps read, (L, d), and the memory after them; a step writes, then reads.

    Args:
        memory: (slots, d), before the first step.
        keys, rows: (L, d), what each step looks for, and what it writes.
        writes: (L, slots), how much of its row goes to each slot.
    """
    reads = []
    for key, write, row in zip(keys, writes, rows, strict=True):
        memory = memory + write[:, None] * row
        reads.append(read_weights(key, memory, sharpness) @ memory)
    return torch.stack(reads), memory


def _two_names(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    now, reads = memory, []
    for key, write, row in zip(keys, writes, rows, strict=True):
        now = now + write[:, None] * row
        reads.append(read_weights(key, now, sharpness) @ now)
    return torch.stack(reads), now


def _at_the_end(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, written = [], memory
    for key, write, row in zip(keys, writes, rows, strict=True):
        written = written + write[:, None] * row
        reads.append(read_weights(key, memory, sharpness) @ memory)
    return torch.stack(reads), written


def _draw_loop(generator: Generator) -> tuple[Any, ...]:
    slots, d, length = (draw_int(2, 6, generator) for _ in range(3))
    memory = torch.randn(slots, d, generator=generator)
    keys, rows = torch.randn(2, length, d, generator=generator)
    sharpness = 1 + draw_int(0, 5, generator) / 2
    return memory, keys, _shares(length, slots, generator), rows, sharpness


LOOP = exercise_of(
    read_and_write,
    lesson=LESSON,
    buggy=_at_the_end,
    cases=[
        # empty at first; both times the cosine with the key's slot is 1, the other 0: 3/4 and 1/4
        Case(
            (
                torch.zeros(2, 2),
                torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
                torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
                torch.tensor([[2.0, 0.0], [0.0, 3.0]]),
                math.log(3),
            ),
            (torch.tensor([[1.5, 0.0], [1.5, 0.75]]), torch.tensor([[2.0, 0.0], [0.0, 3.0]])),
        ),
        # memories (2, 0), (0, 1) and then (2, 0), (0, 2), of which half a row is new
        Case(
            (
                torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
                torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
                torch.tensor([[1.0, 0.0], [0.0, 0.5]]),
                torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
                math.log(3),
            ),
            (torch.tensor([[1.5, 0.25], [0.5, 1.5]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]])),
        ),
    ],
    draw=_draw_loop,
    ways=[_two_names],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    LATE,
    question_of("best_first_answer", lesson=LESSON),
    READ,
    LEAST,
    STEP,
    question_of("missing_fifth", lesson=LESSON),
    question_of("eight_slots", lesson=LESSON),
    question_of("too_good_at_first", lesson=LESSON),
    INPUTS,
    HEARD,
    question_of("blind_address", lesson=LESSON),
    LOOP,
]
