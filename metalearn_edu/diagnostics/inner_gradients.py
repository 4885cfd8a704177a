"""The calls of an inner loop to autograd, which tell what mistake it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import debug_unwrap
from torch.overrides import TorchFunctionMode

__all__ = ["InnerGradient", "Watch"]


@dataclass
class InnerGradient:
    """One request for a gradient while the outer loss was computed."""

    by_backward: bool
    keeps_graph: bool
    outputs: list[Tensor]
    inputs: list[Tensor]
    results: list[Tensor | None]

    def repeats(self, other: InnerGradient) -> bool:
        """Whether this is the other call's gradient again, at the same point."""
        if _places(self.inputs) != _places(other.inputs):
            return False
        if _places(self.outputs) == _places(other.outputs):
            return True
        pairs = [
            (a, b)
            for a, b in zip(self.results, other.results, strict=True)
            if a is not None and b is not None
        ]
        same = all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
        return same and any(a.any() for a, _ in pairs)


class Watch(TorchFunctionMode):
    """Records the calls of an inner loop to autograd, whether plain, `higher` or torch.func.

    Args:
        constant_gradients: treat every inner gradient as a constant, as a first-order method does.
    """

    def __init__(self, constant_gradients: bool = False) -> None:
        super().__init__()
        self.constant_gradients = constant_gradients
        self.calls: list[InnerGradient] = []
        self.cut_by: dict[str, None] = {}  # in order of first appearance

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not torch.is_grad_enabled():
            self.cut_by["torch.no_grad()"] = None
        if func is torch.Tensor.detach and args[0].requires_grad:
            self.cut_by[".detach()"] = None
        elif getattr(func, "__self__", None) is torch.Tensor.data and args[0].requires_grad:
            self.cut_by[".data or deepcopy"] = None
        elif func is torch.autograd.grad:
            self._note(args[0], args[1], result, bool(kwargs.get("create_graph")))
            if self.constant_gradients:
                return tuple(g if g is None else g.detach() for g in result)
        elif func in (torch.Tensor.backward, torch.autograd.backward):
            self._note(args[0], (), (), bool(kwargs.get("create_graph")), by_backward=True)
        return result

    def _note(
        self, outputs: Any, inputs: Any, results: Any, keeps_graph: bool, by_backward: bool = False
    ) -> None:
        tensors = (_plain(outputs), _plain(inputs), _plain(results))
        self.calls.append(InnerGradient(by_backward, keeps_graph, *tensors))

    def stale(self, num_inner_steps: int | None) -> list[str]:
        """Inner gradients that were reused, or never computed."""
        repeated = [g for i, g in enumerate(self.calls) if any(map(g.repeats, self.calls[:i]))]
        lost = [g for g in self.calls if g.inputs and all(r is None for r in g.results)]
        if repeated or lost:
            return [
                "stale inner loss: a later inner step used the gradient of an earlier point again; "
                "compute the loss again at the fast parameters in every step (or does the batch "
                "hold one task twice?)"
            ]
        if num_inner_steps is not None and len(self.calls) < num_inner_steps:
            return [
                f"stale inner loss: {num_inner_steps} inner steps need as many inner gradients, "
                f"but only {len(self.calls)} were computed"
            ]
        return []

    def why_first_order(self) -> str:
        """Where the graph of the inner gradients was cut, as far as we saw."""
        if any(g.by_backward for g in self.calls):
            return "loss.backward() keeps no graph of them"
        if not all(g.keeps_graph for g in self.calls):
            return "torch.autograd.grad was called without create_graph=True"
        return f"they were cut off by {self.cuts()}"

    def cuts(self) -> str:
        """The calls seen that cut the graph."""
        return " and ".join(self.cut_by) or "nothing that we could see"


def _plain(tensors: Any) -> list[Any]:
    """Tensors without the wrappers of torch.func; None stays None."""
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    return [t if t is None else debug_unwrap(t) for t in several]


def _places(tensors: Sequence[Tensor]) -> list[tuple[int, torch.Size]]:
    """Where tensors are in memory; the same address is the same tensor while both are held."""
    return [(t.data_ptr(), t.shape) for t in tensors]
