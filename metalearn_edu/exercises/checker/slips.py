"""Slips: a right function, called with one argument changed or swapped with another.

One step too many, the support set where the query set belongs, a flag that is ignored: such answers
are right for other arguments than the given ones.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

__all__ = ["slips", "variants"]

Function = Callable[..., Any]

CHANGES: dict[type, dict[str, Function]] = {
    bool: {"not {n}": lambda b: not b, "True": lambda b: True, "False": lambda b: False},
    int: {
        "{n} + 1": lambda n: n + 1,
        "{n} - 1": lambda n: n - 1,
        "1": lambda n: 1,
        "0": lambda n: 0,
    },
    float: {
        "-{n}": lambda x: -x,
        "1": lambda x: 1.0,
        "0": lambda x: 0.0,
        "2 * {n}": lambda x: 2 * x,
        "{n} / 2": lambda x: x / 2,
        "{n} ** 2": lambda x: x**2,
        "1 - {n}": lambda x: 1 - x,
    },
    Tensor: {
        "-{n}": lambda x: -x,
        "0": torch.zeros_like,
        "1": torch.ones_like,
        "2 * {n}": lambda x: 2 * x,
        "{n} / 2": lambda x: x / 2,
        "{n} ** 2": lambda x: x**2,
        "{n}.abs()": torch.abs,
        "{n}.mean()": lambda x: x.mean().expand_as(x),
    },
}


def slips(solution: Function, calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, Function]]:
    """(what was confused, the solution with this slip) for arguments like those of some calls."""
    names = list(inspect.signature(solution).parameters)
    arguments = calls[0]
    for i, (name, value) in enumerate(zip(names, arguments, strict=True)):
        for text, change in _changes_of([call[i] for call in calls]):
            yield _instead(text.format(n=name), name), _with(solution, {i: (i, change)})
        for j, other in enumerate(names):
            if i == j or type(arguments[j]) is not type(value):
                continue
            yield _instead(other, name), _with(solution, {i: (j, _same)})
            if i < j:
                both = {i: (j, _same), j: (i, _same)}
                yield f"`{name}` and `{other}` swapped", _with(solution, both)

    yield from _rows_left_out(solution, names, arguments)


def _changes_of(seen: Sequence[Any]) -> Iterator[tuple[str, Function]]:
    """Changes of an argument; no minus for an argument that is never negative."""
    has_minus = any(number < 0 for value in seen for number in _numbers(value))
    for text, change in CHANGES.get(type(seen[0]), {}).items():
        if has_minus or not text.startswith("-"):
            yield text, change


def _numbers(value: Any) -> list[float]:
    if isinstance(value, int | float):
        return [value]
    return value.flatten().tolist() if isinstance(value, Tensor) else []


def variants(value: Any, seen: Sequence[Any]) -> Iterator[Any]:
    """Other arguments to replace `value`: arguments seen at its position, or their rows."""
    if isinstance(value, Tensor):
        yield from (x for x in seen if x.shape == value.shape and not torch.equal(x, value))
        if value.ndim and len(value) > 1:
            yield value.detach().flip(0)
            yield value.detach().roll(1, 0)
    elif isinstance(value, bool | int | float) or callable(value):
        yield from (x for x in dict.fromkeys(seen) if x != value)


ROWS = {"without the last row": slice(None, -1), "without the first row": slice(1, None)}


def _rows_left_out(
    solution: Function, names: list[str], arguments: tuple[Any, ...]
) -> Iterator[tuple[str, Function]]:
    """The same row left out of all tensors with as many rows."""
    sizes = [len(a) if isinstance(a, Tensor) and a.ndim else 0 for a in arguments]
    for size in sorted({size for size in sizes if size > 1}):
        places = [i for i, other in enumerate(sizes) if other == size]
        which = " and ".join(f"`{names[i]}`" for i in places)
        for text, kept in ROWS.items():
            yield f"{which} {text}", _with(solution, {i: (i, itemgetter(kept)) for i in places})


def _instead(used: str, right: str) -> str:
    return f"`{used}` instead of `{right}`"


def _with(solution: Function, places: Mapping[int, tuple[int, Function]]) -> Function:
    """The solution, called with a changed argument at each of these positions."""

    def slipped(*arguments: Any) -> Any:
        changed = list(arguments)
        for place, (source, change) in places.items():
            changed[place] = change(arguments[source])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes that fit only by chance
            return solution(*changed)

    return slipped


def _same(value: Any) -> Any:
    return value
