"""MAML by `torch.func` alone, as its tutorial writes it: `grad` inside, `vmap` over the tasks.

It has none of our machinery: what our MAML gains beside it is what the engine is for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metalearn_edu import EpisodeBatch

__all__ = ["Params", "after_inner_loop", "vmap_outer_step", "vmap_scores"]

Loss = Callable[[Tensor, Tensor], Tensor]
Params = dict[str, Tensor]


def after_inner_loop(
    model: nn.Module, x: Tensor, y: Tensor, inner_lr: float, steps: int, loss_fn: Loss
) -> Params:
    """Fast parameters of one task, from its support set."""

    def loss(params: Params) -> Tensor:
        return loss_fn(functional_call(model, params, (x,)), y)

    params: Params = dict(model.named_parameters())
    for _ in range(steps):
        gradient = grad(loss)(params)
        params = {name: p - inner_lr * gradient[name] for name, p in params.items()}
    return params


def vmap_outer_step(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> float:
    """The mean query loss of all tasks, whose gradient is left in the parameters."""

    def task_loss(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        fast = after_inner_loop(model, support_x, support_y, inner_lr, steps, loss_fn)
        return loss_fn(functional_call(model, fast, (query_x,)), query_y)

    sides = tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y
    loss = vmap(task_loss)(*sides).mean()
    loss.backward()
    return loss.item()


@torch.no_grad()
def vmap_scores(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> Tensor:
    """Scores (T, Q, width) of all tasks' queries."""

    def scores(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        fast = after_inner_loop(model, support_x, support_y, inner_lr, steps, loss_fn)
        return functional_call(model, fast, (query_x,))

    return vmap(scores)(tasks.support_x, tasks.support_y, tasks.query_x)
