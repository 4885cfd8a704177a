"""Workloads 1 to 4: one outer step of MAML, second order, and of Meta-SGD.

Every contender starts from the same weights and steps with Adam of step size 0, which costs what
any Adam costs and leaves each round the same work. They must agree in the loss and in the
meta-gradient. Meta-SGD starts with equal step sizes, so that its meta-gradient of the weights is
MAML's; its own of the step sizes comes on top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.jax_peer import jax_loss_and_gradient
from benchmarks.peers import MISSING, PEERS, Loss
from benchmarks.workload import Aim, Run, Workload
from metalearn_edu import MAML, MLP, ConvNet, EpisodeBatch, MAMLModel, MetaSGD, Sinusoids

__all__ = ["WORKLOADS"]

OURS = {"MAML": MAML, "Meta-SGD": MetaSGD}


@dataclass(frozen=True)
class Problem:
    """A model, a batch of tasks and how MAML is to be run on them."""

    make_model: Callable[[], nn.Module]
    make_tasks: Callable[[], EpisodeBatch]
    steps: int
    inner_lr: float
    loss_fn: Loss = F.cross_entropy

    def run_ours(self, name: str) -> Run:
        """One `outer_loop` of MAML or Meta-SGD."""
        torch.manual_seed(0)
        model, tasks = self.make_model(), self.make_tasks()
        learner = OURS[name](model, self.inner_lr, 0.0, self.steps, self.loss_fn)
        return lambda: [torch.tensor(learner.outer_loop(tasks)), meta_gradient(model)]

    def run_peer(self, name: str) -> Run:
        """The same step by other means."""
        torch.manual_seed(0)
        model, tasks = self.make_model(), self.make_tasks()
        step = PEERS[name](model, tasks, self.inner_lr, self.steps, self.loss_fn)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.0)

        def run() -> list[Tensor]:
            optimizer.zero_grad()
            loss = step()
            optimizer.step()
            return [torch.tensor(loss), meta_gradient(model)]

        return run

    def run_jax(self) -> Run:
        """The same loss and meta-gradient, compiled by JAX, and no step."""
        torch.manual_seed(0)
        model, tasks = self.make_model(), self.make_tasks()
        return jax_loss_and_gradient(model, tasks, self.inner_lr, self.steps, self.loss_fn)

    def workload(self, aim: float, tolerance: float = 1e-3) -> Workload:
        """All contenders; `aim` is the speed of MAML that we want, relative to `higher`."""
        contenders: dict[str, Callable[[], Run]] = {
            name: partial(self.run_peer, name) for name in PEERS
        }
        if "jax" not in MISSING and isinstance(self.make_model(), MLP):
            contenders["JAX, jit(vmap)"] = self.run_jax
        contenders |= {name: partial(self.run_ours, name) for name in OURS}
        aims = (
            Aim("MAML", "higher loop", aim),
            Aim("MAML", "plain vmap", 1.0),  # or the engine is not worth its lines
            Aim("Meta-SGD", "MAML", 0.9),
        )
        return Workload(contenders, aims, tolerance)


def meta_gradient(model: nn.Module) -> Tensor:
    """All gradients of the model's parameters in one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def images(n_tasks: int) -> EpisodeBatch:
    """5-way 1-shot tasks with 15 queries per class, of random images."""
    generator = torch.Generator().manual_seed(1)
    support_x = torch.rand(n_tasks, 5, 1, 28, 28, generator=generator)
    query_x = torch.rand(n_tasks, 75, 1, 28, 28, generator=generator)
    classes = torch.arange(5)
    labels = classes.repeat(n_tasks, 1), classes.repeat_interleave(15).repeat(n_tasks, 1)
    return EpisodeBatch(support_x, labels[0], query_x, labels[1])


def sinusoid() -> Workload:
    """Workload 1: 1-40-40-1, 25 tasks of 10 shots, 5 steps."""
    problem = Problem(
        lambda: MAMLModel(1, 40, 1), lambda: Sinusoids().episodes(0, 0, 25), 5, 0.01, F.mse_loss
    )
    return problem.workload(aim=12)


def mlp(steps: int) -> Workload:
    """Workload 2: 784-128-64-5, 32 tasks."""
    return Problem(lambda: MLP(784, [128, 64], 5), lambda: images(32), steps, 0.1).workload(aim=1.5)


def conv(downsample: str, width: int, n_tasks: int, steps: int) -> Workload:
    """Workload 3: four blocks of convolution at 28x28."""
    # A larger step size makes the steps chaotic: rounding errors grow to the tolerance. At 0.01
    # (64 filters, stride 2, 8 tasks) the float32 meta-gradient of the `higher` loop is 12 % from
    # that in float64, where it and ours agree to 3e-15. At 0.001, too, a rounding error may make
    # another number the largest of its pool: over 9 draws, the loop was up to 7e-3 and ours up to
    # 5e-3 from float64, where they agree to 3e-15.
    problem = Problem(
        lambda: ConvNet(1, width, 5, downsample=downsample), lambda: images(n_tasks), steps, 0.001
    )
    return problem.workload(aim=1.8, tolerance=0.02)


CONVS = [
    ("stride", 32, 32, 5),
    ("stride", 64, 8, 5),
    ("stride", 64, 32, 1),
    ("pool", 32, 8, 5),
    ("pool", 32, 32, 1),
    ("pool", 64, 8, 1),
    ("pool", 64, 8, 5),
    ("pool", 64, 32, 5),
]
WORKLOADS = {
    "1-sinusoid": sinusoid(),
    "2-mlp-1step": mlp(1),
    "2-mlp-5steps": mlp(5),
} | {f"3-conv-{c[0]}-{c[1]}-{c[2]}tasks-{c[3]}step{'s' * (c[3] > 1)}": conv(*c) for c in CONVS}
