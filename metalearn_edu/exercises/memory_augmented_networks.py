"""Reference solutions of the exercises of notebook 08, and the examples they are compared on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "LATE_EXAMPLES",
    "LATE_HINT",
    "LEAK_EXAMPLES",
    "LEAK_HINT",
    "READ_EXAMPLES",
    "READ_HINT",
    "WRITE_EXAMPLES",
    "WRITE_HINT",
    "late_labels",
    "leaks",
    "read_weights",
    "write_step",
]


def late_labels(y: Tensor, n_way: int) -> Tensor:
    """(L, n_way) floats: row t is the label y[t - 1] as one-hot; row 0 is all zeros; y (L,)."""
    known = F.one_hot(y, n_way).float()
    return torch.cat([torch.zeros(1, n_way), known[:-1]])


def read_weights(key: Tensor, memory: Tensor, sharpness: float) -> Tensor:
    """(slots,): softmax over the slots of sharpness * cosine(key (d,), memory (slots, d))."""
    cosine = F.normalize(memory, dim=1) @ F.normalize(key, dim=0)
    return torch.softmax(sharpness * cosine, dim=0)


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
    least_used = F.one_hot(usage.argmin(), len(usage)).to(usage.dtype)
    write = gate * read_before + (1 - gate) * least_used
    memory = memory * (1 - least_used)[:, None] + write[:, None] * row
    return memory, decay * usage + read_now + write


def leaks(stream: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, t: int) -> bool:
    """Whether another label at step t changes a score at step t or before.

    Args:
        stream: x (L, d), y (L,) to scores (L, 5).
        x, y: a stream with labels 0 to 4.
        t: the step.
    """
    other = y.clone()
    other[t] = (y[t] + 1) % 5
    return not torch.equal(stream(x, y)[: t + 1], stream(x, other)[: t + 1])


def _sums(x: Tensor, y: Tensor, delay: int) -> Tensor:
    """Running sums of the items, and of the labels as they arrive `delay` steps late."""
    known = F.one_hot(y, 5).to(x.dtype)
    arrived = torch.zeros_like(known)
    if delay > 0:
        arrived[delay:] = known[:-delay]
    else:
        arrived[: len(y) + delay] = known[-delay:]
    return arrived.cumsum(dim=0) + x.cumsum(dim=0)[:, :1]


def _one_late(x: Tensor, y: Tensor) -> Tensor:
    return _sums(x, y, 1)


def _at_once(x: Tensor, y: Tensor) -> Tensor:
    return _sums(x, y, 0)


def _from_the_future(x: Tensor, y: Tensor) -> Tensor:
    """Only the next label, so that step t itself does not know y[t]."""
    known = F.one_hot(y.roll(-1), 5).to(x.dtype)
    return known + x[:, :1]


_MEMORY = torch.tensor([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]])
_WIDE = torch.tensor([[1.0, 2, 0, -1], [0, 1, 1, 1], [2, 0, 0, 0.5], [-1, -1, 3, 0], [0, 0, 0, 1]])
_ITEMS = torch.tensor([[0.5, 1.0], [1.5, -1.0], [0.0, 2.0], [1.0, 1.0], [2.0, 0.0], [0.5, 0.5]])
_LABELS = torch.tensor([0, 3, 0, 4, 1, 3])

LATE_HINT = (
    "row t holds the label of step t - 1; nothing is known at step 0, and the last label never "
    "arrives"
)
LATE_EXAMPLES = [
    (torch.tensor([2, 0, 1, 2]), 3),
    (torch.tensor([1, 1, 0]), 5),
    (torch.tensor([4, 0, 3, 3, 2, 1, 0]), 5),
]

READ_HINT = "the cosine divides by both lengths; multiply it by sharpness before the softmax"
READ_EXAMPLES = [
    (torch.tensor([1.0, 0.0]), _MEMORY, 1.0),
    (torch.tensor([1.0, 0.0]), _MEMORY, 10.0),
    (torch.tensor([3.0, -1.0, 2.0, 0.0]), _WIDE, 4.0),
]

WRITE_HINT = (
    "in order: find the least used slot by the old usage, mix the write weights with the reads of "
    "the step before, wipe that slot and only that one, add, and bring the usage up to date"
)
WRITE_EXAMPLES = [
    (
        _MEMORY,
        torch.tensor([1.5, 1.0, 0.5]),
        torch.tensor([1.0, 0.0, 0.0]),
        torch.tensor([0.0, 1.0, 0.0]),
        0.5,
        torch.tensor([1.0, -1.0]),
        0.5,
    ),
    (
        _MEMORY,
        torch.zeros(3),
        torch.tensor([0.2, 0.3, 0.5]),
        torch.tensor([0.6, 0.3, 0.1]),
        0.0,
        torch.tensor([2.0, 1.0]),
        0.9,
    ),
    (
        _WIDE,
        torch.tensor([3.0, 0.4, 1.0, 0.7, 0.5]),
        torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0]),
        torch.tensor([0.4, 0.1, 0.1, 0.2, 0.2]),
        0.75,
        torch.tensor([1.0, 0.0, -2.0, 0.5]),
        0.99,
    ),
]

LEAK_HINT = (
    "change one label, y[t], in a copy; compare the scores of steps 0 to t, step t with them, and "
    "no later ones, which may change"
)
LEAK_EXAMPLES = [
    (_one_late, _ITEMS, _LABELS, 2),
    (_at_once, _ITEMS, _LABELS, 2),
    (_from_the_future, _ITEMS, _LABELS, 3),
    (_one_late, _ITEMS, _LABELS, 0),
    (_at_once, _ITEMS, _LABELS, 5),
]
