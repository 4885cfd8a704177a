"""Batch normalisation in an inner loop: where its statistics come from, by name.

Running statistics belong to no task: each task has its own weights, so what one task's layers see
says little about another's. Two other forms are in use (Bronskill et al. 2020, lesson 02):

    transductive   the mean and variance of whatever batch a layer sees. The queries of a task then
                   inform each other, which inflates the score if they are balanced over the
                   classes.
    inductive      the mean and variance of the task's support set, for its queries too ("MetaBN").
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from ..basics.arguments import as_choice

__all__ = ["FORMS", "SupportNorm", "answering", "converted", "needs_support"]

FORMS = ("refuse", "transductive", "inductive")


def converted(model: nn.Module, form: str) -> nn.Module:
    """The model without running statistics: a copy, if there is something to convert.

    Args:
        form: "transductive" or "inductive" as above; "refuse": no conversion. Instance norm uses
            the statistics of each item separately in either form.
    Raises:
        ValueError: an unknown form, or layers with running statistics that stay.
    """
    as_choice("batch_norm", form, FORMS)
    if form != "refuse" and any(_convertible(layer, form) for layer in model.modules()):
        model = copy.deepcopy(model)
        for layer in model.modules():
            if _convertible(layer, form):
                _convert(layer, form)
    _refuse_running_statistics(model, form)
    return model


def _convertible(layer: nn.Module, form: str) -> bool:
    if isinstance(layer, _InstanceNorm):
        return bool(layer.track_running_stats)
    known = isinstance(layer, _BatchNorm) and type(layer).__module__.startswith("torch.nn.")
    return known and (form == "inductive" or bool(layer.track_running_stats))


def _convert(layer: Any, form: str) -> None:
    layer.track_running_stats = False
    layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    if form == "inductive" and isinstance(layer, _BatchNorm):
        layer.__class__ = SupportNorm  # it stays the same object, wherever the model holds it


def _refuse_running_statistics(model: nn.Module, form: str) -> None:
    for name, layer in model.named_modules():
        if getattr(layer, "running_mean", None) is not None:
            kind = type(layer).__name__
            ways = (
                "give MAML batch_norm='inductive' (statistics of the support set) or, knowingly, "
                "'transductive' (of the batch at hand; as with track_running_stats=False), or use "
                "norm='group' or nn.GroupNorm"
                if isinstance(layer, _NormBase) and form == "refuse"
                else "batch_norm= converts PyTorch's own layers only; use one of them, or GroupNorm"
            )
            raise ValueError(
                f"layer {name!r} of the model ({kind}) keeps running statistics, which MAML cannot "
                f"share between tasks; {ways}"
            )


class SupportNorm(_BatchNorm):
    """Batch normalisation of queries by the statistics of their task's support set.

    When the model is called on a support set, it is plain batch normalisation; see `answering`.
    """

    noted: deque[tuple[Tensor, Tensor]] | None = None
    replays = False

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if self.noted is not None and self.replays:
            mean, variance = self.noted.popleft()
        else:
            mean, variance = _statistics(input)
            if self.noted is not None:
                self.noted.append((mean, variance))
        shape = (1, -1, *[1] * (input.ndim - 2))
        z = (input - mean) * torch.rsqrt(variance + self.eps)
        return z * self.weight.view(shape) + self.bias.view(shape) if self.affine else z


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of x (B, C, ...), (1, C, ...) each."""
    if x.numel() == x.shape[1]:
        raise ValueError(
            f"batch normalisation needs several numbers a channel, got {tuple(x.shape)}; "
            "use nn.GroupNorm"
        )
    dims = [0, *range(2, x.ndim)]
    return x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)


def needs_support(model: nn.Module) -> bool:
    """Whether queries are normalised by the statistics of the support set."""
    return any(isinstance(layer, SupportNorm) for layer in model.modules())


@contextmanager
def answering(model: nn.Module, see_support: Callable[[], Any]) -> Iterator[None]:
    """Let the layers see the support set, and then use its statistics, in the order of calls.

    The caller must remove the marks that it leaves on the layers.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, SupportNorm)]
    for layer in layers:
        layer.noted, layer.replays = deque(), False
    see_support()
    for layer in layers:
        layer.replays = True
    yield
