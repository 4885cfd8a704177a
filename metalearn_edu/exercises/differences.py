"""What differs between two results, in words: first their kind, then shape, type and values."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["copy_of", "difference", "show"]

RTOL, ATOL = 1e-4, 1e-5  # float32, and another order of adding up


def copy_of(value: Any) -> Any:
    """A copy that shares nothing with `value`; of a generator, one in the same state."""
    if type(value) is tuple:
        return tuple(copy_of(part) for part in value)
    if isinstance(value, torch.Generator):
        twin = torch.Generator(value.device)
        twin.set_state(value.get_state())
        return twin
    return copy.deepcopy(value)


def difference(got: Any, expected: Any, what: str = "the result") -> str:
    """What differs, in words; empty if nothing does."""
    if got is None and expected is not None:
        return f"{what} is None; is there a return at the end of your function?"
    if isinstance(expected, Tensor | np.ndarray):
        return _array_difference(got, expected, what)
    if isinstance(got, Tensor | np.ndarray | np.generic) and got.ndim == 0:
        got = got.item()  # a number may come as a tensor
    if isinstance(expected, bool | str | type(None)):
        same = isinstance(got, bool | str | type(None)) and got == expected
        return "" if same else f"{what} is {_short(got)}, expected {expected!r}"
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
    if isinstance(got, Tensor) and got.device != expected.device:
        return f"{what} is on the device {got.device}, expected {expected.device}"
    a, b = torch.as_tensor(got).detach(), torch.as_tensor(expected).detach()
    close = torch.isclose(a, b, rtol=RTOL, atol=ATOL, equal_nan=True)
    if close.all():
        return ""
    place = tuple((~close).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    return (
        f"{what} is {_number(a[place])}{where}, expected {_number(b[place])} "
        f"({int((~close).sum())} of {close.numel()} values differ)"
    )


def _number_difference(got: Any, expected: float, what: str) -> str:
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"{what} is of type {type(got).__name__}, expected the number {_number(expected)}"
    if isinstance(expected, int):
        close, kind = type(got) is int and got == expected, " (a whole number, an int)"
    else:
        close, kind = bool(np.isclose(got, expected, rtol=RTOL, atol=ATOL, equal_nan=True)), ""
    return "" if close else f"{what} is {_number(got)}, expected {_number(expected)}{kind}"


def _sequence_difference(got: Any, expected: Any, what: str) -> str:
    if not isinstance(got, tuple | list):
        return f"{what} is of type {type(got).__name__}, expected {len(expected)} values"
    if len(got) != len(expected):
        return f"{what} has {len(got)} values, expected {len(expected)}"
    parts = zip(got, expected, strict=True)
    found = (difference(a, b, f"value {i} of {what}") for i, (a, b) in enumerate(parts))
    return next(filter(None, found), "")


def _dict_difference(got: Any, expected: dict[Any, Any], what: str) -> str:
    if not isinstance(got, dict):
        return f"{what} is of type {type(got).__name__}, expected a dict"
    if set(got) != set(expected):
        return f"{what} has the keys {sorted(map(str, got))}, expected {sorted(map(str, expected))}"
    found = (difference(got[key], expected[key], f"{key!r} of {what}") for key in expected)
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


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else f"of type {type(value).__name__}"


def show(value: Any) -> str:
    """An argument in a few words: itself if it is small; of a function, its name."""
    if isinstance(value, Tensor | np.ndarray):
        small = np.prod(value.shape) <= 12
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return str(value.tolist()) if small else f"a {kind} of shape {tuple(value.shape)}"
    if isinstance(value, int | float | str | list | tuple) and len(repr(value)) <= 80:
        return repr(value)
    return getattr(value, "__name__", f"a {type(value).__name__}")
