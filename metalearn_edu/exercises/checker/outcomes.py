"""What a call of a learner's function gives: a value or an error, and what is wrong with it."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .differences import copy_of, difference
from .limits import Stop

__all__ = ["Outcome", "failure", "message", "outcome_of"]


@dataclass(frozen=True)
class Outcome:
    """What a call gave: a value or an error, and its arguments after the call."""

    value: Any
    error: BaseException | None
    arguments: tuple[Any, ...]
    line: str = ""


def outcome_of(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    quoted: Callable[..., Any] | None = None,
) -> Outcome:
    """Call a function on copies of the arguments, with torch's random numbers from one seed.

    Args:
        quoted: whose line is named where an error arises; that of `function` without it.

    Raises:
        NotImplementedError: the function is a stub; other errors are part of the outcome.
    """
    copies = copy_of(arguments)
    torch.default_generator.manual_seed(0)  # `torch.manual_seed` is slow: it seeds all devices
    try:
        return Outcome(function(*copies), None, copies)
    except Stop:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, NotImplementedError) and not str(error):
            raise  # with a message it comes from torch, which uses it for what it cannot do
        return Outcome(None, error, copies, _line(error, quoted or function))


def failure(outcome: Outcome, expected: Any, any_float: bool = False) -> str:
    """What is wrong with an outcome, in words; empty if nothing is."""
    error = outcome.error
    if error is None:
        return difference(outcome.value, expected, any_float=any_float)
    return f"it stops with {type(error).__name__}: {message(error)}{outcome.line}"


def message(error: BaseException | None) -> str:
    """The first line of it, without PyTorch's own advice."""
    line = (str(error).splitlines() or ["no message"])[0]
    return line.split(" Hint: ")[0].rstrip(".")


def _line(error: BaseException, function: Callable[..., Any]) -> str:
    """Where in the function's own file the error arose."""
    while isinstance(function, partial):
        function = function.func
    own = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f", at line {frames[-1].lineno} of the cell: {frames[-1].line}" if frames else ""
