"""How many tasks at once? One rule for training and evaluation, and the memory that it saves.

Small networks run best with many tasks: each call of a layer costs the same for one task as for a
hundred. Large networks run best with few: their numbers should stay in the processor's cache. Both
follow from a limit on the bytes that are in use. Measured on one thread: MAML's 10 steps on
sinusoids run 100 times faster with 600 tasks than with 1, a convolutional ProtoNet runs half as
fast with 16 as with 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..tasks import EpisodeBatch

Params = dict[str, Tensor]

__all__ = [
    "ACCELERATED",
    "KEPT",
    "PIECE",
    "WORK",
    "Sizes",
    "bytes_computed",
    "loss_in_pieces",
    "tasks_at_once",
    "with_gradient",
]

WORK = 2**28
"""Bytes that all steps of a chunk can compute together. Fewer are held at the same time."""
KEPT = 2 * 10**8
"""The same for inner loops, most of which is kept until the gradient runs back through them."""
PIECE = 2**24
"""The same for queries, in their forward pass: their gradient is computed piece by piece."""
ACCELERATED = 16
"""Factor on KEPT and PIECE on a GPU, which needs many numbers at once. A guess, not measured."""


def tasks_at_once(work: Callable[[], Any], n_bytes: int) -> int:
    """How many tasks a chunk should hold.

    Args:
        work: does everything that is done for ONE task; it is called once.
        n_bytes: what all tasks can compute together: WORK, KEPT or PIECE.
    """
    return max(1, n_bytes // max(1, bytes_computed(work)))


class Sizes:
    """`tasks_at_once`, counted once for each kind of work and size of task."""

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], int] = {}

    def of(self, work: Callable[..., Any], n_bytes: int, *task: Tensor, also: Any = None) -> int:
        """How many tasks a chunk should hold, by what `work(*task)` computes for one task.

        Args:
            also: what this depends on besides the shape of task[0].
        """
        if task[0].device.type != "cpu":
            n_bytes *= ACCELERATED
        size = (*task[0].shape, also, n_bytes)
        if size not in self.known:
            self.known[size] = tasks_at_once(lambda: work(*task), n_bytes)
        return self.known[size]


def bytes_computed(work: Callable[[], Any]) -> int:
    """Bytes of all tensors that `work` computes, even briefly; views of others are free."""
    with torch.no_grad(), _Count() as count:
        work()
    return count.total


class _Count(TorchDispatchMode):
    """Sees every operation below autograd and vmap, with the tensors as they are in memory."""

    total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(returned.alias_info for returned in func._schema.returns):
            self.total += sum(t.nbytes for t in tree_leaves(result) if isinstance(t, Tensor))
        return result


# ------------------------------------------------------------------ a loss piece by piece


def loss_in_pieces(
    loss_fn: Callable[[Params, EpisodeBatch], Tensor],
    params: Params,
    tasks: EpisodeBatch,
    size: int,
) -> Tensor:
    """Mean loss over T tasks, its gradient for `params` computed at once, `size` tasks at a time.

    So nothing else of the loss has to be kept until the gradient runs on to what `params` came
    from. The result can be differentiated once: create_graph=True is refused. MAML's peak of memory
    (64 filters, 8 tasks, 5 steps) falls by half, and its time stays the same.

    Args:
        loss_fn: mean loss of some tasks, from their parameters.
        params: each (T, *shape).
    """
    losses, gradient = [], [torch.empty_like(p) for p in params.values()]
    done = 0
    for some in tasks.split(size):
        piece, done = slice(done, done + len(some)), done + len(some)
        own = [p[piece].detach().requires_grad_() for p in params.values()]
        loss = loss_fn(dict(zip(params, own, strict=True)), some) * (len(some) / len(tasks))
        found = torch.autograd.grad(loss, own, materialize_grads=True)
        for whole, part in zip(gradient, found, strict=True):
            whole[piece] = part
        losses.append(loss.detach())
    return with_gradient(
        torch.stack(losses).sum(), dict(zip(params, gradient, strict=True)), params
    )


def with_gradient(value: Tensor, gradient: Params, params: Params) -> Tensor:
    """A number that is `value` and has, for `params`, the gradient that is given.

    It can be differentiated once: create_graph=True is refused.
    """
    return _Known.apply(value, [gradient[name] for name in params], *params.values())


class _Known(Function):
    """A number whose gradient is already known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient: list[Tensor], *params: Tensor) -> Tensor:
        ctx.save_for_backward(*gradient)
        return value

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                "the loss of a large network, and of Reptile, can be differentiated once; for a "
                "large network, MetaLearner.loss(learner, tasks) keeps all that a second time takes"
            )
        return None, None, *(g * known for known in ctx.saved_tensors)
