"""MAML as one would write it without this course: the same outer step, by other means.

Each function takes one outer step on a batch and returns the loss before it; the meta-gradients
are left in the parameters' `.grad`. All of them go over the tasks one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metalearn_edu import EpisodeBatch

__all__ = ["LOOPS", "MISSING", "autograd_loop", "higher_loop", "learn2learn_loop"]

Loss = Callable[[Tensor, Tensor], Tensor]


def higher_loop(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> float:
    """The loop of the README of `higher` (Grefenstette et al. 2019)."""
    import higher

    total = 0.0
    inner = torch.optim.SGD(model.parameters(), lr=inner_lr)
    for task in tasks:
        with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (fast, optimizer):
            for _ in range(steps):
                optimizer.step(loss_fn(fast(task.support_x), task.support_y))
            loss = loss_fn(fast(task.query_x), task.query_y) / len(tasks)
            loss.backward()
        total += loss.item()
    return total


def autograd_loop(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> float:
    """`torch.autograd.grad` with create_graph, and nothing else."""
    total, names = 0.0, [name for name, _ in model.named_parameters()]
    for task in tasks:
        params: list[Tensor] = list(model.parameters())
        for _ in range(steps):
            scores = functional_call(model, dict(zip(names, params, strict=True)), task.support_x)
            loss = loss_fn(scores, task.support_y)
            gradient = torch.autograd.grad(loss, params, create_graph=True)
            params = [p - inner_lr * g for p, g in zip(params, gradient, strict=True)]
        scores = functional_call(model, dict(zip(names, params, strict=True)), task.query_x)
        loss = loss_fn(scores, task.query_y) / len(tasks)
        loss.backward()
        total += loss.item()
    return total


def learn2learn_loop(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> float:
    """The loop of the examples of learn2learn (Arnold et al. 2020)."""
    import learn2learn

    total, maml = 0.0, learn2learn.algorithms.MAML(model, lr=inner_lr, first_order=False)
    for task in tasks:
        learner = maml.clone()
        for _ in range(steps):
            learner.adapt(loss_fn(learner(task.support_x), task.support_y))
        loss = loss_fn(learner(task.query_x), task.query_y) / len(tasks)
        loss.backward()
        total += loss.item()
    return total


MISSING = [name for name in ("learn2learn", "jax") if find_spec(name) is None]
LOOPS = {"higher loop": higher_loop, "autograd.grad loop": autograd_loop}
if "learn2learn" not in MISSING:
    LOOPS["learn2learn loop"] = learn2learn_loop
