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
from ..checker.exercise import Case, Exercise
from ..checker.question import Option, Question

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


LATE = Exercise(
    solution=late_labels,
    lesson=8,
    aim="let labels come one step late",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((torch.tensor([2, 0, 1]), 3), torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0]])),
        Case(
            (torch.tensor([1, 1, 0]), 4),
            torch.tensor([[0.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]),
        ),
    ],
    draw=_draw_labels,
    mistakes=mistakes_of(late_labels, lesson=LESSON),
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


def _by_lengths(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    lengths = memory.norm(dim=1) * key.norm()
    return (sharpness * (memory @ key) / lengths).softmax(dim=0)


def _draw_read(generator: Generator) -> tuple[Tensor, Tensor, float]:
    slots, d = draw_int(2, 8, generator), draw_int(2, 7, generator)
    key = 2 * torch.randn(d, generator=generator)
    memory = 2 * torch.randn(slots, d, generator=generator)
    return key, memory, 0.5 + draw_int(0, 8, generator) / 2


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
            (torch.tensor([0.0, 4.0]), torch.tensor([[0.0, 2], [5, 0], [0, -3]]), math.log(3)),
            torch.tensor([9.0, 3.0, 1.0]) / 13,
        ),
    ],
    draw=_draw_read,
    mistakes=mistakes_of(read_weights, _by_lengths, lesson=LESSON),
    ways=[_by_lengths],
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


def _draw_usage(generator: Generator) -> tuple[Tensor, int]:
    many = draw_int(0, 6, generator)  # of few, an `argsort` that is not stable is right too
    slots = draw_int(3, 80 if many else 7, generator)
    dtype = (torch.float32, torch.float64)[draw_int(0, 2, generator)]
    usage = torch.rand(slots, generator=generator, dtype=dtype)
    usage = (3 * usage).floor() if many else 20 * usage  # fresh slots have equal usage
    return usage, draw_int(1, min(slots, 5), generator)


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
    mistakes=mistakes_of(least_used, lesson=LESSON),
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
    mistakes=mistakes_of(stream_inputs, lesson=LESSON),
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
    mistakes=mistakes_of(heard_at, lesson=LESSON),
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


def _two_names(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    now, reads = memory, []
    for key, write, row in zip(keys, writes, rows, strict=True):
        reads.append(read_weights(key, now, sharpness) @ now)
        now = now + write[:, None] * row
    return torch.stack(reads), now


def _at_the_end(
    memory: Tensor, keys: Tensor, writes: Tensor, rows: Tensor, sharpness: float
) -> tuple[Tensor, Tensor]:
    reads, written = [], memory
    for key, write, row in zip(keys, writes, rows, strict=True):
        reads.append(read_weights(key, memory, sharpness) @ memory)
        written = written + write[:, None] * row
    return torch.stack(reads), written


def _draw_loop(generator: Generator) -> tuple[Any, ...]:
    slots, d, length = (draw_int(2, 6, generator) for _ in range(3))
    memory = torch.randn(slots, d, generator=generator)
    keys, rows = torch.randn(2, length, d, generator=generator)
    sharpness = 1 + draw_int(0, 5, generator) / 2
    return memory, keys, _shares(length, slots, generator), rows, sharpness


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
    mistakes=mistakes_of(read_and_write, _two_names, lesson=LESSON),
    ways=[_two_names],
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
