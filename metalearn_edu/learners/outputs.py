"""What a network's `forward` gives, as one tensor: some return a tuple or a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["tensor_of"]


def tensor_of(output: Any, model: nn.Module) -> Tensor:
    """The tensor that counts in what `forward` of `model` returned.

    Args:
        output: a tensor; an object or mapping with `logits`; a mapping with one entry; or a tuple
            or list, of which the first part counts.
    Raises:
        ValueError: none of these.
    """
    found = _main_part(output)
    if not isinstance(found, Tensor):
        raise ValueError(
            f"forward of {type(model).__name__} must return a tensor (or a tuple that begins with "
            f"one, or a mapping or object with 'logits'), got {_described(output)}; return the "
            "scores alone, or wrap the model in one that does"
        )
    return found


def _main_part(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return output.get("logits", next(iter(output.values())) if len(output) == 1 else None)
    if hasattr(output, "logits"):
        return output.logits
    return output[0] if isinstance(output, tuple | list) and output else None


def _described(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a mapping with {', '.join(map(repr, output)) or 'no entry'}"
    if isinstance(output, tuple | list) and output:
        return f"a {type(output).__name__} that begins with a {type(output[0]).__name__}"
    return f"a {type(output).__name__}"
