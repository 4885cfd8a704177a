"""Checks of arguments that many parts of the package use."""

import math
import operator
from collections.abc import Callable, Collection
from typing import Any, TypeVar

__all__ = ["as_choice", "as_integer", "as_number", "if_given", "shown"]

T = TypeVar("T")


def as_integer(
    name: str, value: Any, at_least: int | None = 1, *, at_most: int | None = None
) -> int:
    """`value` as a plain int: Python's and NumPy's integers pass, bools and floats do not.

    Args:
        name: what the caller calls the value, for the message.
        at_least, at_most: the smallest and the largest sensible value; None: no bound.
    Raises:
        ValueError: not an integer, or out of bounds.
    """
    try:
        number: int | None = None if _is_truth(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not _within(number, at_least, at_most):
        bounds = _bounds({"of at least": at_least, "of at most": at_most})
        raise ValueError(f"{name} must be an integer{bounds}, got {shown(value)}")
    return number


def as_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> float:
    """`value` as a plain float: Python's and NumPy's numbers and tensors of one number pass.

    Args:
        name: what the caller calls the value, for the message.
        at_least, above, at_most: bounds, where there are any.
    Raises:
        ValueError: not a number, NaN, infinite, or out of bounds.
    """
    try:
        plain = value.detach() if hasattr(value, "detach") else value  # a tensor that is learned
        number = math.nan if _is_truth(plain) or isinstance(plain, str | bytes) else float(plain)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    beyond = above is not None and not number > above
    if not math.isfinite(number) or beyond or not _within(number, at_least, at_most):
        bounds = _bounds({"of at least": at_least, "above": above, "at most": at_most})
        raise ValueError(f"{name} must be a finite number{bounds}, got {shown(value)}")
    return number


def as_choice(name: str, value: Any, choices: Collection[str | None]) -> Any:
    """`value` itself, if it is one of `choices`.

    Raises:
        ValueError: it is not one of them.
    """
    if not isinstance(value, str | None) or value not in choices:
        allowed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {allowed}; got {shown(value)}")
    return value


def as_range(name: str, limits: Any, *, within: float | None = None) -> tuple[float, float]:
    """`limits` as two floats, the lower first.

    Args:
        within: the size that neither end must exceed.
    Raises:
        ValueError: it is not a pair, an end is not a finite number or too large, or they are not in
            order.
    """
    try:
        low, high = limits
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair (low, high), got {shown(limits)}") from None
    least = None if within is None else -within
    ends = [as_number(name, end, at_least=least, at_most=within) for end in (low, high)]
    if ends[0] > ends[1]:
        raise ValueError(f"{name} must be (low, high) with low <= high, got {low}, {high}")
    return ends[0], ends[1]


def if_given(check: Callable[..., T], name: str, value: Any, **bounds: Any) -> T | None:
    """What `check` makes of `value`; None, for an optional value, stays None."""
    return None if value is None else check(name, value, **bounds)


def _is_truth(value: Any) -> bool:
    """Whether it is a True or False of Python, NumPy or torch."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def _within(number: float, at_least: float | None, at_most: float | None) -> bool:
    return (at_least is None or number >= at_least) and (at_most is None or number <= at_most)


def _bounds(bounds: dict[str, float | None]) -> str:
    """The bounds, if any, in words, with a space before them."""
    said = [f"{words} {bound}" for words, bound in bounds.items() if bound is not None]
    return f" {' and '.join(said)}" if said else ""


def shown(value: Any) -> str:
    """`value` for a message, in one line that is not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an object's own repr; also Python's limit on the digits of an integer
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]}..."
