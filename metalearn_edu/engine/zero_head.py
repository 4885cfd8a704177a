"""Which linear layer gives a model's scores? We find it by what it does, not by its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ..backbones import MLP, ConvNet
from .any_model import call, wearing

__all__ = ["Head", "find_head", "hold_at_zero", "last_layer"]


class Head:
    """The layer of a model that gives its scores, found now or when first used.

    Args:
        needs: who looks for it, for messages.
        instead: what would work for a model in which there is none.
    Raises:
        ValueError: the model has no linear layer.
    """

    def __init__(self, model: nn.Module, needs: str, instead: str) -> None:
        if not any(isinstance(layer, nn.Linear) for layer in model.modules()):
            raise ValueError(
                f"{needs} needs a model with a linear layer as its last; it has none: {instead}"
            )
        self.needs, self.instead = needs, instead
        self.name = last_layer(model)

    def look(self, model: nn.Module, x: Tensor) -> None:
        """Find the layer, if it has not been found, from the scores of items x (B, *item)."""
        if self.name is None:
            self.name = find_head(model, x, self.needs, self.instead)

    def parameters(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters of the layer, by their names in the model; empty before it is found."""
        if self.name is None:
            return {}
        own = {id(p) for p in model.get_submodule(self.name).parameters()}
        return {n: p for n, p in model.named_parameters() if id(p) in own}


def hold_at_zero(head: Mapping[str, nn.Parameter], moving: Collection[str]) -> None:
    """Take a head that starts at 0 out of the outer loop, which has nothing to learn there.

    Raises:
        ValueError: it does not move in the inner loop.
    """
    for name, parameter in head.items():
        if name not in moving:
            raise ValueError(
                f"zero_head: {name} starts at 0 and must be free to move in the inner loop"
            )
        parameter.requires_grad_(False)


def last_layer(model: nn.Module) -> str | None:
    """The name of the linear layer that ends a plain sequence of layers; None: not such a model."""
    plain = {nn.Sequential.forward, MLP.forward, ConvNet.forward}
    names: list[str] = []
    for name, layer in model.named_modules(remove_duplicate=False):
        if layer._forward_hooks or layer._forward_pre_hooks or "forward" in layer.__dict__:
            return None
        if type(layer).forward not in plain:
            if layer._modules:
                return None
            names += [] if type(layer) is nn.Identity else [name]
    last = model.get_submodule(names[-1]) if names else None
    once = sum(model.get_submodule(name) is last for name in names) == 1
    return names[-1] if type(last) is nn.Linear and once and not _is_tied(model, last) else None


def find_head(
    model: nn.Module, x: Tensor, needs: str = "zero_head", instead: str = "leave out zero_head"
) -> str:
    """The name of the linear layer that gives the scores of items x (B, *item).

    It is the last layer called that leaves all scores equal if its parameters are 0, that can learn
    from there, and that has as many outputs as there are scores. What comes after it (softmax, a
    scale, another shape) must keep equal scores equal.

    Raises:
        ValueError: there is none, or it shares its weights.
    """
    calls = _linear_calls(model, x)
    for name in dict.fromkeys(reversed(calls)):
        layer = model.get_submodule(name)
        if _gives_the_scores(model, layer, x):
            if _is_tied(model, layer) or calls.count(name) > 1:
                raise ValueError(
                    f"{needs}: layer {name!r} gives the scores, but its weights are used elsewhere "
                    f"too, where they must not be 0; untie them, or {instead}"
                )
            return name
    raise ValueError(
        f"{needs} needs one nn.Linear that gives the scores, so that all are equal while it is 0; "
        f"none of {', '.join(dict.fromkeys(calls)) or 'its layers'} does; let the model end in "
        f"one, or {instead}"
    )


def _linear_calls(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the linear layers in the order in which they are called."""
    calls: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        _answers(model, {}, x)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _gives_the_scores(model: nn.Module, layer: nn.Module, x: Tensor) -> bool:
    own = {id(p) for p in layer.parameters()}
    zero = {
        name: torch.zeros_like(p, requires_grad=True)
        for name, p in model.named_parameters()
        if id(p) in own
    }
    with torch.enable_grad():
        scores = _answers(model, zero, x)
        if not zero or scores.ndim != 2 or scores.shape[1] != getattr(layer, "out_features", None):
            return False
        different = scores * torch.arange(1, scores.numel() + 1).to(scores).view_as(scores)
        if not different.requires_grad:
            return False
        slopes = torch.autograd.grad(different.sum(), list(zero.values()), materialize_grads=True)
    equal = torch.allclose(scores, scores[0, 0].expand_as(scores), rtol=0, atol=1e-6)
    return equal and any(bool(slope.any()) for slope in slopes)


def _answers(model: nn.Module, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """Scores without dropout; the model's modes are as before at the end."""
    with wearing(model, {}):
        model.eval()
        return call(model, params, x)[0]


def _is_tied(model: nn.Module, layer: nn.Module) -> bool:
    """Whether another layer shares a parameter with this one."""
    own = {id(p) for p in layer._parameters.values() if p is not None}
    others = (other for other in model.modules() if other is not layer)
    return any(id(p) in own for other in others for p in other._parameters.values())
