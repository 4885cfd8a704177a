"""Run any PyTorch model with other weights than its own, for one task or for many.

We only borrow the caller's model: while it runs, other tensors replace its parameters and buffers,
and afterwards every module is as it was before, whatever the model wrote and whatever failed. So
parts under two names, tied weights and lists of weights (as in recurrent layers) need no special
rule.

Many tasks go through `torch.func.vmap` at once. What vmap cannot run (recurrent layers, an `if` on
the data, `.item()`) runs task by task instead: the same numbers, more slowly, with one warning.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .norms import answering
from .outputs import tensor_of

__all__ = [
    "OverTasks",
    "call",
    "check_for_higher",
    "check_weights_are_found",
    "plain_kernels",
    "taken_in",
    "wearing",
]


def taken_in(model: nn.Module) -> nn.Module:
    """The model, without wrappers that have no layers of their own.

    `torch.compile` and `nn.DataParallel` are such wrappers: the model inside has the same weights.

    Raises:
        ValueError: not a module, or one that cannot run with other weights.
    """
    while isinstance(model, nn.DataParallel) or "_orig_mod" in getattr(model, "_modules", {}):
        model = (
            model.module if isinstance(model, nn.DataParallel) else model.get_submodule("_orig_mod")
        )
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got a {type(model).__name__}")
    for name, layer in model.named_modules():
        _check_layer(name, layer)
    return model


def _check_layer(name: str, layer: nn.Module) -> None:
    where = f"layer {name!r} of the model" if name else "the model"
    if isinstance(layer, torch.jit.ScriptModule):
        raise ValueError(
            f"{where} is scripted, and TorchScript cannot run with other weights than its own; "
            "give the module that was scripted"
        )
    if isinstance(layer, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(f"{where} is a {type(layer).__name__}; give its .module instead")
    tensors = (*layer._parameters.values(), *layer._buffers.values())
    if any(t is not None and is_lazy(t) for t in tensors):
        raise ValueError(
            f"{where} ({type(layer).__name__}) has no size yet; call the model once on a batch of "
            "items before you give it"
        )


def check_for_higher(model: nn.Module) -> None:
    """Refuse what `higher` silently leaves out when it copies a model."""
    for name, layer in model.named_modules():
        missed = ""
        if layer._forward_hooks or layer._forward_pre_hooks:
            missed = "forward hooks"
        elif "forward" in layer.__dict__:
            missed = "a forward of its own object"
        elif any(map(_holds_weights, layer.__dict__.keys() - ELSEWHERE, repeat(layer))):
            missed = "layers or parameters in a list"
        if missed:
            raise ValueError(
                f"layer {name!r} of the model has {missed}, which higher leaves out; use "
                "engine='torch.func'"
            )


def _holds_weights(key: str, layer: nn.Module) -> bool:
    parts = tree_leaves(layer.__dict__[key])
    return any(isinstance(part, nn.Parameter | nn.Module) for part in parts)


ELSEWHERE = nn.Module().__dict__.keys() | {"_flat_weights"}
"""Attributes that higher knows: a module's own tables, and the list of recurrent layers."""

# ------------------------------------------------------------------ one task


def call(
    model: nn.Module, params: dict[str, Tensor], x: Tensor, support_x: Tensor | None = None
) -> tuple[Tensor, list[str]]:
    """The output of `model` for items x (B, *item) of ONE task, with parameters of that task.

    Args:
        params: all or some of its parameters, by name.
        support_x: (S, *item), if layers take their statistics from the support set.
    Returns:
        The tensor that `forward` returns, and the buffers that it wrote to, by name. What it wrote
        is dropped.
    """
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    worn = buffers | {name: p.clone() for name, p in params.items()}
    with plain_kernels(model), wearing(model, worn), _nothing_computed_later(model):
        if support_x is None:
            output = model(x.clone())  # forward may write to it
        else:
            with answering(model, lambda: model(support_x.clone())):
                output = model(x.clone())
        now = dict(model.named_buffers())
        written = [
            n
            for n, b in buffers.items()
            if now.get(n) is not b or (b._version if not b.is_inference() else 0)
        ]
    return tensor_of(output, model), written


@contextmanager
def _nothing_computed_later(model: nn.Module) -> Iterator[None]:
    """Refuse activation checkpoints: they would be recomputed with the model's own weights."""
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(_LATER):
            yield
    except RuntimeError as error:
        if _LATER not in str(error):
            raise
        raise ValueError(f"forward of {type(model).__name__} {_LATER}") from None


_LATER = (
    "saves no activations (torch.utils.checkpoint, or hooks on saved tensors) and would compute "
    "them again later, with other weights than those of the task; switch that off"
)


def check_weights_are_found(model: nn.Module, x: Tensor) -> None:
    """Refuse a model that uses a weight in a place where no other weight can replace it.

    Args:
        x: items (B, *item), for one call.
    Raises:
        ValueError: a function or an object of the model holds a parameter.
    """
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    other = {n: p.detach().clone().requires_grad_() for n, p in own.items()}
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        output, _ = call(model, other, x.detach())
    used = {id(leaf) for leaf in _leaves(output)}
    held = [name for name, p in own.items() if id(p) in used]
    if held:
        raise ValueError(
            f"{type(model).__name__} holds {', '.join(held[:3])} in a function or an object of its "
            "own, where no other weight can take its place; use it as an attribute of a module"
        )


def _leaves(x: Tensor) -> Iterator[Tensor]:
    """The tensors that x was computed from and can be differentiated with respect to."""
    seen, left = set(), [x.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [before for before, _ in node.next_functions]
            yield from [node.variable] if hasattr(node, "variable") else []


@contextmanager
def wearing(model: nn.Module, tensors: dict[str, Tensor]) -> Iterator[None]:
    """`model` with other tensors instead of its parameters and buffers of these names.

    Every place that holds such a parameter gets the other tensor: a part under two names, a tied
    layer, a list. At the end, all modules are as they were.
    """
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    instead = {id(own[name]): t for name, t in tensors.items()}
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    try:
        for module, attributes in before:
            for key, value in attributes.items():
                if key not in UNTOUCHED:
                    module.__dict__[key] = _exchanged(value, instead)
        yield
    finally:
        for module, attributes in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)


UNTOUCHED = nn.Module().__dict__.keys() - {"_parameters", "_buffers", "_modules"}


def _exchanged(value: Any, instead: dict[int, Tensor]) -> Any:
    """`value` with other tensors; lists and mappings are copied, so that they can be written to."""
    if isinstance(value, Tensor):
        return instead.get(id(value), value)
    if isinstance(value, dict):
        other = copy.copy(value)
        other.update((key, _exchanged(part, instead)) for key, part in value.items())
        return other
    if type(value) in (list, tuple):
        return type(value)(_exchanged(part, instead) for part in value)
    return value


@contextmanager
def plain_kernels(model: nn.Module) -> Iterator[None]:
    """Kernels that can be differentiated twice, and no compiled code.

    The fast kernels of attention and of recurrent layers on a GPU have no second derivative, and
    the one for weight norm has a wrong second derivative.
    """
    layers = list(model.modules())
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        if any(isinstance(layer, nn.RNNBase) for layer in layers):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        if any("_orig_mod" in layer._modules or layer._compiled_call_impl for layer in layers):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if any(_has_weight_norm(layer) for layer in layers):
            stack.enter_context(_WeightNormWrittenOut())
        yield


def _has_weight_norm(layer: nn.Module) -> bool:
    parts = type(layer), *map(type, layer._forward_pre_hooks.values())
    return any("weightnorm" in part.__name__.lower() for part in parts)


class _WeightNormWrittenOut(TorchFunctionMode):
    """PyTorch's `_weight_norm` fails gradgradcheck (2.13): here it is the formula."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return (_weight_norm if func is torch._weight_norm else func)(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """g v / |v|, the norm over all axes but `dim`; -1: over all."""
    axes = [axis for axis in range(v.ndim) if axis != dim]
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


# ------------------------------------------------------------------ many tasks


class OverTasks:
    """Calls a function for each of T tasks: all at once if vmap can, else one after the other.

    Args:
        what: what is called, for the warning.
        one_by_one: do not try vmap.
    """

    def __init__(self, what: str, *, one_by_one: bool = False) -> None:
        self.what, self.one_by_one, self.said = what, one_by_one, False
        self.checked = False

    def __call__(self, function: Callable[..., Tensor], *parts: Any) -> Tensor:
        """function(*parts) of each task, stacked.

        Args:
            parts: tensors, and mappings of tensors, each with a leading axis of T.
        Raises:
            Whatever `function` raises for a single task.
        """
        reason: Exception | None = None
        if not self.one_by_one:
            try:
                return vmap(function, randomness="different")(*parts)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # from vmap or from the function itself: the loop will tell
                reason = error
        results = torch.stack([function(*_of_task(parts, t)) for t in range(_n_tasks(parts))])
        if reason is not None:
            self._fall_back(reason)
        return results

    def _fall_back(self, reason: Exception) -> None:
        self.one_by_one = True
        first_line = (str(reason).splitlines() or [type(reason).__name__])[0]
        warnings.warn(
            f"torch.func.vmap cannot run {self.what} for all tasks at once ({first_line[:150]}); "
            "from now on tasks run one after the other: the same numbers, more slowly",
            stacklevel=2,
        )

    def say_dropped(self, names: list[str]) -> None:
        """Warn, once, that what a model writes to its buffers is dropped."""
        if names and not self.said:
            self.said = True
            warnings.warn(
                f"{self.what} writes on its buffers ({', '.join(names[:3])}) when it is called; "
                "each call starts from the same buffers, and what it wrote is dropped",
                stacklevel=2,
            )


def _of_task(parts: Any, t: int) -> Any:
    return tree_map(lambda part: part[t], parts)


def _n_tasks(parts: Any) -> int:
    sizes: list[int] = []
    tree_map(lambda part: sizes.append(len(part)), parts)
    return sizes[-1]
