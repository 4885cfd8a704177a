"""Does your function do what the course's does? Answers in words, never with a traceback.

`compare` calls both functions on the same examples and says what differs: the kind of result, its
shape, its type, or its values, in this order, since each makes the next one easier to see.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["compare"]

NOT_ATTEMPTED = "not attempted yet"


def compare(
    your_function: Callable[..., Any],
    reference_function: Callable[..., Any],
    examples: Sequence[tuple[Any, ...]],
    *,
    hint: str = "",
) -> None:
    """Print "not attempted yet", "correct", or the first difference with the hint.

    Args:
        your_function: what the exercise asks for; one that raises NotImplementedError counts as
            not attempted.
        reference_function: the course's own.
        examples: the arguments of each call, a tuple a call. Both functions get copies, and
            torch's random numbers start from the same seed.
        hint: what to think of when the results differ.
    Raises:
        ValueError: examples is empty, or one is not a tuple.
    """
    if not examples or not all(isinstance(example, tuple) for example in examples):
        raise ValueError("examples must be one or more tuples of arguments, such as [(x, y)]")
    answer = _answer(your_function, reference_function, examples)
    name = getattr(your_function, "__name__", "your function")
    print(f"{name}: {answer}")
    if hint and answer not in (NOT_ATTEMPTED, _correct(examples)):
        print(f"Hint: {hint}")


def _correct(examples: Sequence[Any]) -> str:
    return f"correct ({len(examples)} example{'s' if len(examples) > 1 else ''})"


def _answer(
    yours: Callable[..., Any], reference: Callable[..., Any], examples: Sequence[tuple[Any, ...]]
) -> str:
    for number, example in enumerate(examples, start=1):
        arguments = _copy(example)
        expected = _call(reference, _copy(example))
        try:
            got = _call(yours, arguments)
        except NotImplementedError:
            return NOT_ATTEMPTED
        except Exception as error:
            return f"example {number} stops with {_where(error)}"
        found = _difference(got, expected, "the result")
        if found:
            return f"example {number} differs: {found}.\nIts arguments: {_show(example)}"
        if _difference(arguments, example, "an argument"):
            return f"example {number}: the result is right, but your function changes its arguments"
    return _correct(examples)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function(*arguments)


def _copy(value: Any) -> Any:
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_copy(part) for part in value)
    if isinstance(value, torch.Generator):
        twin = torch.Generator(value.device)
        twin.set_state(value.get_state())
        return twin
    return copy.deepcopy(value)


def _where(error: Exception) -> str:
    """The error in one line, with the line of code where it arose."""
    text = (str(error).splitlines() or ["no message"])[0]
    frames = traceback.extract_tb(error.__traceback__)[2:]  # ours are left out
    mine = [frame for frame in frames if frame.filename == frames[0].filename]
    at = f", at line {mine[-1].lineno} of the cell: {mine[-1].line}" if mine else ""
    return f"{type(error).__name__}: {text}{at}"


def _difference(got: Any, expected: Any, what: str) -> str:
    """What differs, in words; empty if nothing does."""
    if got is None and expected is not None:
        return f"{what} is None; is there a return at the end of your function?"
    if isinstance(expected, Tensor | np.ndarray):
        return _array_difference(got, expected, what)
    if isinstance(expected, bool | str | type(None)):
        return "" if got == expected else f"{what} is {got!r}, expected {expected!r}"
    if isinstance(expected, int | float):
        return _number_difference(got, expected, what)
    if isinstance(expected, dict):
        return _dict_difference(got, expected, what)
    if isinstance(expected, tuple | list):
        return _sequence_difference(got, expected, what)
    return _object_difference(got, expected, what)


def _array_difference(got: Any, expected: Any, what: str) -> str:
    kind = type(expected).__name__.replace("ndarray", "NumPy array").lower()
    if not isinstance(got, type(expected)):
        return (
            f"{what} is of type {type(got).__name__}, expected a {kind} of {tuple(expected.shape)}"
        )
    if got.shape != expected.shape:
        return f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    if got.dtype != expected.dtype:
        return f"{what} holds {got.dtype}, expected {expected.dtype}"
    a, b = torch.as_tensor(got).detach(), torch.as_tensor(expected).detach()
    close = torch.isclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
    if close.all():
        return ""
    place = tuple((~close).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    return (
        f"{what} is {_number(a[place])}{where}, expected {_number(b[place])} "
        f"({int((~close).sum())} of {close.numel()} values differ)"
    )


def _number_difference(got: Any, expected: float, what: str) -> str:
    if isinstance(got, Tensor | np.ndarray | np.generic) and got.ndim == 0:
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"{what} is of type {type(got).__name__}, expected the number {_number(expected)}"
    close = np.isclose(got, expected, rtol=1e-4, atol=1e-6, equal_nan=True)
    return "" if close else f"{what} is {_number(got)}, expected {_number(expected)}"


def _sequence_difference(got: Any, expected: Any, what: str) -> str:
    if not isinstance(got, tuple | list):
        return f"{what} is of type {type(got).__name__}, expected {len(expected)} values"
    if len(got) != len(expected):
        return f"{what} has {len(got)} values, expected {len(expected)}"
    parts = zip(got, expected, strict=True)
    found = (_difference(a, b, f"value {i} of {what}") for i, (a, b) in enumerate(parts))
    return next(filter(None, found), "")


def _dict_difference(got: Any, expected: dict[Any, Any], what: str) -> str:
    if not isinstance(got, dict):
        return f"{what} is of type {type(got).__name__}, expected a dict"
    if set(got) != set(expected):
        return f"{what} has the keys {sorted(map(str, got))}, expected {sorted(map(str, expected))}"
    found = (_difference(got[key], expected[key], f"{key!r} of {what}") for key in expected)
    return next(filter(None, found), "")


def _object_difference(got: Any, expected: Any, what: str) -> str:
    """Networks are compared by their weights, other objects by their attributes, or by ==."""
    if type(got) is not type(expected):
        return f"{what} is of type {type(got).__name__}, expected {type(expected).__name__}"
    if isinstance(expected, torch.Generator):
        return ""  # its state moves with every draw
    if isinstance(expected, nn.Module):
        return _dict_difference(got.state_dict(), expected.state_dict(), what)
    if not hasattr(expected, "__dict__"):
        return "" if got == expected else f"{what} is {got!r}, expected {expected!r}"
    return _dict_difference(vars(got), vars(expected), what)


def _number(value: Any) -> str:
    number = value.item() if hasattr(value, "item") else value
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def _show(example: tuple[Any, ...]) -> str:
    return ", ".join(_show_one(argument) for argument in example)


def _show_one(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        small = np.prod(value.shape) <= 12
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return str(value.tolist()) if small else f"a {kind} of shape {tuple(value.shape)}"
    if isinstance(value, int | float | str | list | tuple) and len(repr(value)) <= 80:
        return repr(value)
    return f"a {type(value).__name__}"
