"""The state of a learner at work: training or eval mode, one thread at a time, its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import RLock

import torch
from torch import Tensor, nn

from ..engine.any_model import wearing

__all__ = ["eval_mode", "in_use", "kept_modes", "training_mode", "weights_of", "with_weights"]


@contextmanager
def kept_modes(module: nn.Module) -> Iterator[None]:
    """After the block every module is back in its own mode, training or eval."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def training_mode(module: nn.Module) -> Iterator[None]:
    """Training mode inside the block; parts that alone were put into eval mode stay in it."""
    with kept_modes(module):
        if not module.training:
            module.train()
        yield


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards every module is back in its own mode."""
    with kept_modes(module):
        module.eval()
        yield


@contextmanager
def in_use(learner: nn.Module) -> Iterator[None]:
    """A learner at work, for one thread at a time: its modes and weights change meanwhile.

    Inference mode, which forbids the gradients of inner loops, becomes no_grad in the block.
    """
    try:
        with ONE_AT_A_TIME, ExitStack() as stack:
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.no_grad())
            yield
    except RuntimeError as error:
        if not any(p.is_inference() for p in learner.parameters()):
            raise
        raise ValueError(f"{MADE_THERE} ({error})") from error


ONE_AT_A_TIME = RLock()  # one lock for all learners, because two may share a model
MADE_THERE = "the learner was made under torch.inference_mode(), without gradients; make it outside"


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of its parameters and buffers, by name, as they are now."""
    return {name: t.detach().clone() for name, t in _tensors(module).items()}


def with_weights(module: nn.Module, weights: dict[str, Tensor]) -> AbstractContextManager[None]:
    """The module with the weights that it had, if they have changed since."""
    return nullcontext() if _equal(_tensors(module), weights) else wearing(module, weights)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    pairs = [(first.get(name), t) for name, t in second.items()]
    return all(
        a is not None and a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in pairs
    )
