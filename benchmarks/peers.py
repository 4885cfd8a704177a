"""MAML as one would write it without this course: the same outer step, by other means.

Each takes one outer step on a batch and returns the loss before it; the meta-gradients are left in
the parameters' `.grad`. The loops go over the tasks one by one; plain vmap and
parallel-metalearn take all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.plain_vmap import vmap_outer_step
from metalearn_edu import EpisodeBatch

__all__ = ["MISSING", "PEERS", "Loss"]

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


def iteryne_loop(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> float:
    """The loop of the README of iteryne 0.1."""
    from iteryne import MAML

    total, maml = 0.0, MAML(model, inner_lr=inner_lr, inner_steps=steps)
    for task in tasks:
        learner = maml.clone().adapt_on(loss_fn, task.support_x, task.support_y)
        loss = loss_fn(learner(task.query_x), task.query_y) / len(tasks)
        loss.backward()
        total += loss.item()
    return total


def parallel_metalearn(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> Callable[[], float]:
    """The step of parallel-metalearn 0.5, which needs a head, and losses of its own classes."""
    from metalearn.algorithms import MAML
    from metalearn.inner_optimizers import InnerSGD
    from metalearn.loss import BaseLoss
    from metalearn.model_wrappers import MAML_Model

    class Whole(nn.Module):
        """A part of its model, which it calls with settings."""

        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Tensor, **settings: Any) -> Tensor:
            return self.inside(x)

    class Same(BaseLoss):
        """Our loss, with itself as the metric."""

        def forward(self, out_dict: Any, targets: Tensor, **settings: Any) -> Any:
            loss = loss_fn(out_dict["logits"], targets)
            return loss, loss.detach()

    wrapped = MAML_Model(Whole(model), Whole(nn.Identity()))
    rule = InnerSGD(wrapped.get_fast_weights(), inner_lr=inner_lr, learn_lr=False)
    outer = torch.optim.SGD(wrapped.parameters(), lr=0.0)
    learner = MAML(
        model=wrapped, optimizer=outer, inner_optimizer=rule, support_loss_fn=Same(),
        inner_steps=steps, device=torch.device("cpu"),
    )  # fmt: skip
    sides = tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y
    return lambda: learner.step(iter([sides]))[0]


PACKAGES = {
    "learn2learn": "learn2learn",
    "iteryne": "iteryne",
    "parallel-metalearn": "metalearn",
    "jax": "jax",
}
"""Peers that take part where they can be imported: under which name."""

MISSING = [name for name, module in PACKAGES.items() if find_spec(module) is None]
Step = Callable[[], float]


def whole(step: Callable[..., float]) -> Callable[..., Step]:
    """A step that needs nothing prepared: from the problem to the step."""
    return partial(partial, step)


PEERS: dict[str, Callable[..., Step]] = {
    "higher loop": whole(higher_loop),
    "autograd.grad loop": whole(autograd_loop),
    "plain vmap": whole(vmap_outer_step),
}
"""From (model, tasks, inner_lr, steps, loss_fn) to a function that takes one outer step."""

if "learn2learn" not in MISSING:
    PEERS["learn2learn loop"] = whole(learn2learn_loop)
if "iteryne" not in MISSING:
    PEERS["iteryne loop"] = whole(iteryne_loop)
if "parallel-metalearn" not in MISSING:
    PEERS["parallel-metalearn"] = parallel_metalearn
