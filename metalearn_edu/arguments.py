"""Checks of arguments that many parts of the package make."""

import operator
from typing import Any

__all__ = ["as_integer"]


def as_integer(name: str, value: Any, at_least: int | None = 1) -> int:
    """`value` as a plain int: Python's and NumPy's integers pass, bools and floats do not.

    Args:
        name: what the caller calls the value, for the message.
        at_least: the smallest value that makes sense; None: any integer.
    Raises:
        ValueError: not an integer, or below `at_least`.
    """
    try:
        number: int | None = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or (at_least is not None and number < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        raise ValueError(f"{name} must be an integer{bound}, got {value!r}")
    return number
