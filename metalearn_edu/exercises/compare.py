"""Does your function do what the course's does? Answers in words, never with a traceback.

`compare` calls both functions on the same examples and says what differs: the kind of result, its
shape, its type, or its values, in this order, since each makes the next one easier to see.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .differences import copy_of, difference, show

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
        arguments = copy_of(example)
        expected = _call(reference, copy_of(example))
        try:
            got = _call(yours, arguments)
        except NotImplementedError:
            return NOT_ATTEMPTED
        except Exception as error:
            return f"example {number} stops with {_where(error)}"
        found = difference(got, expected)
        if found:
            return f"example {number} differs: {found}.\nIts arguments: {_show(example)}"
        if difference(arguments, example, "an argument"):
            return f"example {number}: the result is right, but your function changes its arguments"
    return _correct(examples)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function(*arguments)


def _where(error: Exception) -> str:
    """The error in one line, with the line of code where it arose."""
    text = (str(error).splitlines() or ["no message"])[0]
    frames = traceback.extract_tb(error.__traceback__)[2:]  # ours are left out
    mine = [frame for frame in frames if frame.filename == frames[0].filename]
    at = f", at line {mine[-1].lineno} of the cell: {mine[-1].line}" if mine else ""
    return f"{type(error).__name__}: {text}{at}"


def _show(example: tuple[Any, ...]) -> str:
    return ", ".join(show(argument) for argument in example)
