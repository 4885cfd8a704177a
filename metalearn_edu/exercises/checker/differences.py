"""What differs between two results, in words: first the kind, then shape, type and values.

A number may come as a Python number, a NumPy scalar or a tensor without dimensions.
"""

from __future__ import annotations

import copy
import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["changes", "copy_of", "difference", "show"]

RTOL = 1e-4  # float32, and sums in another order


def copy_of(value: Any) -> Any:
    """A copy that shares nothing with `value`; for a generator, one in the same state."""
    if type(value) is tuple:
        return tuple(copy_of(part) for part in value)
    if isinstance(value, Tensor) and value.is_leaf:  # a deep copy takes five times as long
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        twin = torch.Generator(value.device)
        twin.set_state(value.get_state())
        return twin
    return copy.deepcopy(value)


def changes(after: Any, before: Any) -> bool:
    """Whether arguments have changed: other values, or marked for a gradient."""
    if isinstance(before, tuple):
        return any(changes(a, b) for a, b in zip(after, before, strict=True))
    if isinstance(before, Tensor) and before.requires_grad != after.requires_grad:
        return True
    return bool(difference(after, before))


def difference(
    got: Any,
    expected: Any,
    what: str = "the result",
    any_float: bool = False,
    rtol: float = RTOL,
) -> str:
    """What differs, in words; empty if nothing does.

    Args:
        any_float: tensors may hold floats of another precision.
        rtol: the relative difference that is allowed; a tenth of it near 0.
    """
    if got is None and expected is not None:
        return f"{what} is None; is there a return at the end of your function?"
    got, expected = _plain(got), _plain(expected)
    if isinstance(expected, Tensor | np.ndarray):
        return _array_difference(got, expected, what, any_float, rtol)
    if isinstance(expected, bool | str | type(None)):
        same = isinstance(got, bool | str | type(None)) and got == expected
        return "" if same else f"{what} is {_short(got)}, expected {expected!r}"
    if isinstance(expected, int | float):
        return _number_difference(got, expected, what, rtol)
    if isinstance(expected, dict):
        return _dict_difference(got, expected, what, rtol)
    if isinstance(expected, tuple | list):
        return _sequence_difference(got, expected, what, any_float, rtol)
    return _object_difference(got, expected, what)


def _plain(value: Any) -> Any:
    """A number as a Python number, from any container."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        return value.item()
    return value


def _array_difference(got: Any, expected: Any, what: str, any_float: bool, rtol: float) -> str:
    kind = type(expected).__name__.replace("ndarray", "NumPy array").lower()
    if not isinstance(got, type(expected)):
        return (
            f"{what} is of type {type(got).__name__}, expected a {kind} of {tuple(expected.shape)}"
        )
    if got.shape != expected.shape:
        return f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    if got.dtype != expected.dtype and not (any_float and _is_float(got) and _is_float(expected)):
        return f"{what} holds {got.dtype}, expected {expected.dtype}"
    if isinstance(got, Tensor) and got.device != expected.device:
        return f"{what} is on the device {got.device}, expected {expected.device}"
    a = torch.as_tensor(got).detach()
    b = torch.as_tensor(expected).detach().to(a.dtype)
    if torch.equal(a, b):
        return ""
    close = torch.isclose(a, b, rtol=rtol, atol=rtol / 10, equal_nan=True)
    if close.all():
        return ""
    place = tuple((~close).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    one, other = _unlike(a[place].item(), b[place].item())
    return (
        f"{what} is {one}{where}, expected {other} "
        f"({int((~close).sum())} of {close.numel()} values differ)"
    )


def _is_float(value: Any) -> bool:
    return value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind == "f"


def _number_difference(got: Any, expected: float, what: str, rtol: float) -> str:
    if isinstance(got, bool) or not isinstance(got, Real):
        kind = type(got).__name__
        shape = f" of shape {tuple(got.shape)}" if isinstance(got, Tensor | np.ndarray) else ""
        return f"{what} is of type {kind}{shape}, expected the number {_number(expected)}"
    if isinstance(expected, int):
        return _integer_difference(got, expected, what)
    if _near(float(got), expected, rtol):
        return ""
    one, other = _unlike(float(got), expected)
    return f"{what} is {one}, expected {other}"


def _near(a: float, b: float, rtol: float) -> bool:
    """PyTorch's `isclose` for two numbers, without slow tensors."""
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or a == b or abs(a - b) <= rtol / 10 + rtol * abs(b) < math.inf


def _integer_difference(got: Any, expected: int, what: str) -> str:
    if not isinstance(got, int):
        whole = "an int" if got != expected else "an int; `int(...)` makes one"
        kind = type(got).__name__
        return f"{what} is {_number(float(got))}, a {kind}, expected {expected} ({whole})"
    return "" if got == expected else f"{what} is {got}, expected {expected} (a whole number)"


def _sequence_difference(got: Any, expected: Any, what: str, any_float: bool, rtol: float) -> str:
    if not isinstance(got, tuple | list):
        return f"{what} is of type {type(got).__name__}, expected {len(expected)} values"
    if len(got) != len(expected):
        return f"{what} has {len(got)} values, expected {len(expected)}"
    parts = enumerate(zip(got, expected, strict=True))
    found = (difference(a, b, f"value {i} of {what}", any_float, rtol) for i, (a, b) in parts)
    return next(filter(None, found), "")


def _dict_difference(got: Any, expected: dict[Any, Any], what: str, rtol: float = RTOL) -> str:
    if not isinstance(got, dict):
        return f"{what} is of type {type(got).__name__}, expected a dict"
    if set(got) != set(expected):
        return f"{what} has the keys {sorted(map(str, got))}, expected {sorted(map(str, expected))}"
    found = (
        difference(got[key], expected[key], f"{key!r} of {what}", rtol=rtol) for key in expected
    )
    return next(filter(None, found), "")


def _object_difference(got: Any, expected: Any, what: str) -> str:
    """Networks are compared by their weights, other objects by their attributes, or by ==."""
    if type(got) is not type(expected):
        return f"{what} is of type {type(got).__name__}, expected {type(expected).__name__}"
    if isinstance(expected, torch.Generator):
        return ""  # its state changes with every draw
    if isinstance(expected, nn.Module):
        return _dict_difference(got.state_dict(), expected.state_dict(), what)
    if not hasattr(expected, "__dict__"):
        return "" if got == expected else f"{what} is {got!r}, expected {expected!r}"
    return _dict_difference(vars(got), vars(expected), what)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _unlike(one: Any, other: Any) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart, at least four."""
    if not (isinstance(one, float) and isinstance(other, float)):
        return _number(one), _number(other)
    for digits in range(4, 18):
        pair = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return pair


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 80 else f"of type {type(value).__name__}"


def show(value: Any) -> str:
    """An argument in a few words: itself if it is small; for a function, its name."""
    if isinstance(value, Tensor | np.ndarray):
        small = np.prod(value.shape) <= 12
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return (
            repr(_rounded(value.tolist())) if small else f"a {kind} of shape {tuple(value.shape)}"
        )
    if isinstance(value, int | float | str | list | tuple):
        text = repr(_rounded(value))
        if len(text) <= 80:
            return text
    return getattr(value, "__name__", f"a {type(value).__name__}")


def _rounded(value: Any) -> Any:
    """Floats with six digits: in float32, further digits mean nothing."""
    if isinstance(value, tuple | list):
        return type(value)(map(_rounded, value))
    is_number = type(value) is float and math.isfinite(value)
    return float(f"{value:.6g}") if is_number else value
