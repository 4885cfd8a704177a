"""What a network's `forward` returns, as one tensor: some return a tuple or a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..tasks.episodes import count_classes

__all__ = ["check_scores", "check_width", "tensor_of"]


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


def check_scores(model: nn.Module, scores: Tensor, x: Tensor, width: int | None) -> None:
    """Refuse scores of items x (T, B, *item) that are not (T, B, width); None: any width."""
    shape, n_items = tuple(scores.shape[1:]), x.shape[1]
    if len(shape) == 2 and shape[0] == n_items and width in (None, shape[1]):
        return
    raise ValueError(
        f"forward of {type(model).__name__} must give scores ({n_items}, "
        f"{'n_out' if width is None else width}) for {n_items} items {tuple(x.shape[2:])}, one for "
        f"each class or target, got {shape}"
    )


def check_width(model: nn.Module, support_y: Tensor, *, any_width: bool, exact: bool) -> int:
    """How many scores labels (T, S) or targets (T, S, out) need; an error if the model differs.

    Args:
        any_width: the model can be made to give any number.
        exact: there must not be fewer classes than the model has outputs.
    """
    regression = support_y.is_floating_point()
    if regression and support_y.ndim < 3:
        raise ValueError(
            f"regression targets must be (T, S, out), got support_y {tuple(support_y.shape)}; give "
            "it a last axis of 1"
        )
    needed = support_y.shape[-1] if regression else count_classes(support_y)
    width = needed if any_width else getattr(model, "output_dim", needed)
    if width < needed or (width > needed and (regression or exact)):
        what = "targets" if regression else "n_way"
        raise ValueError(
            f"the model has output_dim {width}, but the tasks need {needed} ({what}); build it "
            f"with output_dim={needed}, or give zero_head=True, which takes any {what}"
        )
    return needed
