"""MAML of an MLP in JAX: the inner loop by `grad`, the tasks by `vmap`, all of it by `jit`.

The weights are those of the PyTorch model, so that loss and meta-gradient must be the same. JAX
is no dependency of the project; where it is installed too, it takes part. The number of threads is
PyTorch's: XLA takes all cores that the process may use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.workload import Run
from metalearn_edu import EpisodeBatch

__all__ = ["jax_loss_and_gradient"]

Loss = Callable[[Tensor, Tensor], Tensor]


def jax_loss_and_gradient(
    model: nn.Module, tasks: EpisodeBatch, inner_lr: float, steps: int, loss_fn: Loss
) -> Run:
    """A compiled outer step without its optimiser: the loss before it and the meta-gradient.

    Args:
        model: linear layers with ReLU between, as in `MLP`.
        loss_fn: F.mse_loss or F.cross_entropy.
    """
    import jax
    import jax.numpy as jnp

    def scores(params: list[Any], x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight.T + bias)
        weight, bias = params[-1]
        return x @ weight.T + bias

    def loss(params: list[Any], x: Any, y: Any) -> Any:
        if loss_fn is F.mse_loss:
            return jnp.mean((scores(params, x) - y) ** 2)
        log_p = jax.nn.log_softmax(scores(params, x))
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def task_loss(params: list[Any], support_x: Any, support_y: Any, x: Any, y: Any) -> Any:
        for _ in range(steps):
            gradient = jax.grad(loss)(params, support_x, support_y)
            params = jax.tree.map(lambda p, g: p - inner_lr * g, params, gradient)
        return loss(params, x, y)

    def mean_loss(params: list[Any], *batch: Any) -> Any:
        return jnp.mean(jax.vmap(task_loss, in_axes=(None, 0, 0, 0, 0))(params, *batch))

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    params = [tuple(jnp.asarray(p.detach().numpy()) for p in (m.weight, m.bias)) for m in layers]
    sides = tasks.support_x.flatten(2), tasks.support_y, tasks.query_x.flatten(2), tasks.query_y
    batch = [jnp.asarray(side.numpy()) for side in sides]
    compiled = jax.jit(jax.value_and_grad(mean_loss))

    def run() -> list[Tensor]:
        value, gradient = compiled(params, *batch)
        flat = [torch.tensor(jax.device_get(g)).flatten() for pair in gradient for g in pair]
        return [torch.tensor(float(value)), torch.cat(flat)]

    return run
