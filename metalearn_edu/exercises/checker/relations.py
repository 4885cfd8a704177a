"""How all results are related to the right ones: doubled, negated, transposed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .outcomes import Outcome

__all__ = ["Example", "close", "other_places", "relation"]


@dataclass(frozen=True)
class Example:
    """One call of an answer, and of the solution beside it.

    Attributes:
        place: among the calls that every examination of this exercise makes, or None.
    """

    arguments: tuple[Any, ...]
    got: Outcome
    expected: Outcome
    place: int | None


RELATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "minus what is expected; look at the signs": lambda e: -e,
    "the square of what is expected; a root is missing": lambda e: e**2,
    "the root of what is expected; a square is missing": lambda e: e.sqrt(),
    "100 times what is expected; it must be a fraction, not percent": lambda e: 100 * e,
    "a hundredth of what is expected": lambda e: e / 100,
    "twice what is expected": lambda e: 2 * e,
    "half of what is expected": lambda e: e / 2,
    "one more than what is expected": lambda e: e + 1,
    "one less than what is expected": lambda e: e - 1,
    "1 minus what is expected": lambda e: 1 - e,
    "1 divided by what is expected": lambda e: 1 / e,
    "what is expected, but without the sign": torch.abs,
    "what is expected, but rounded down; `//` and `int` cut the fraction off": torch.floor,
    "what is expected without its last row": lambda e: e[:-1] if e.ndim else e,
    "what is expected without its first row": lambda e: e[1:] if e.ndim else e,
    "the logarithm of what is expected": lambda e: e.log(),
    "the exponential of what is expected": lambda e: e.exp(),
}
FACTORS: dict[str, Callable[[float], float]] = {
    "{n} times what is expected; a sum instead of a mean, or a division too few?": lambda n: n,
    "what is expected, divided by {n}; a mean instead of a sum, or divided twice?": lambda n: 1 / n,
    "the root of {n} times what is expected": lambda n: n**0.5,
    "what is expected, divided by the root of {n}": lambda n: n**-0.5,
    "divided by {n} - 1 instead of {n}": lambda n: n / (n - 1),
    "divided by {n} instead of {n} - 1": lambda n: (n - 1) / n,
    "the root of {n} / ({n} - 1) times what is expected; is it {n} or {n} - 1?": lambda n: (
        (n / (n - 1)) ** 0.5
    ),
    "the root of ({n} - 1) / {n} times what is expected; is it {n} or {n} - 1?": lambda n: (
        ((n - 1) / n) ** 0.5
    ),
}


# A result beside the right one, and the arguments that they are for.
Pairs = list[tuple[tuple[Any, ...], Tensor, Tensor]]


def relation(names: list[str], examples: Sequence[Example]) -> str:
    """What all results have in common with the right ones, in words; empty if nothing.

    Args:
        names: of the arguments.
        examples: the first is the call that failed.
    """
    return _in_words(examples, lambda pairs: _by_formula(names, pairs))


def other_places(examples: Sequence[Example]) -> str:
    """Whether all results are right except for their order, in words."""
    return _in_words(examples, _by_order)


def _in_words(examples: Sequence[Example], find: Callable[[Pairs], str]) -> str:
    usable = [e for e in examples if e.got.error is None and e.expected.error is None]
    pairs = [(e.arguments, _parts(e.got.value), _parts(e.expected.value)) for e in usable]
    n_parts = {len(part) for _, got, expected in pairs for part in (got, expected)}
    if examples[0].got.error or len(usable) < 3 or len(n_parts) != 1:
        return ""
    for i in range(n_parts.pop()):
        one = [(arguments, got[i], expected[i]) for arguments, got, expected in pairs]
        what = "the result" if len(pairs[0][1]) == 1 else f"value {i} of the result"
        if not all(close(got, expected) for _, got, expected in one):
            found = find(one)
            return f"{what} is {found}" if found else ""
    return ""


def _by_formula(names: list[str], pairs: Pairs) -> str:
    for text, change in RELATIONS.items():
        if all(close(got, change(expected)) for _, got, expected in pairs):
            return text
    for name, sizes in _sizes(names, [arguments for arguments, _, _ in pairs]):
        for text, factor in FACTORS.items():
            if all(
                n > 1 and close(got, factor(n) * expected)
                for n, (_, got, expected) in zip(sizes, pairs, strict=True)
            ):
                return text.format(n=name)
    if all(e.ndim == 2 and close(got, e.T) for _, got, e in pairs):
        return "the transpose of what is expected; rows and columns are swapped"
    return ""


def _by_order(pairs: Pairs) -> str:
    misplaced = [e[got != e] for _, got, e in pairs if got.shape == e.shape]
    if len(torch.cat(misplaced).unique()) < 3:
        return ""  # zeros and ones always look the same, in any order
    if all(
        got.shape == e.shape and close(got.flatten().sort().values, e.flatten().sort().values)
        for _, got, e in pairs
    ):
        return "right but for its order: the values stand in other places"
    return ""


def _sizes(names: list[str], calls: list[tuple[Any, ...]]) -> Iterator[tuple[str, list[float]]]:
    """Sizes and whole numbers among the arguments, by name, one for each call; no constants."""
    for i, name in enumerate(names):
        values = [arguments[i] for arguments in calls]
        if all(type(value) is int for value in values):
            yield name, values
        elif all(isinstance(value, Tensor) for value in values):
            for axis in range(min(value.ndim for value in values)):
                yield f"{name}.shape[{axis}]", [value.shape[axis] for value in values]


def _parts(value: Any) -> list[Tensor]:
    values = value if isinstance(value, tuple | list) else [value]
    tensors = [torch.tensor(float(v)) if isinstance(v, int | float) else v for v in values]
    return [v.detach().double() for v in tensors if isinstance(v, Tensor)]


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have one shape and nearly the same numbers."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)
