"""Workload 5: a step of the methods that compare, beside the bare passes through their networks.

60-way 1-shot with 5 queries per class: 360 images, and 18,000 pairs for the relation module. The
peer is told the loss's gradient: it sends the same images forward through encoder (and relation
module), and that gradient back. So it must arrive at the same gradient of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.workload import Aim, Run, Workload
from metalearn_edu import (
    ConvNet,
    EnhancedProtoNet,
    EpisodeBatch,
    PrototypicalNetwork,
    RelationNetwork,
)

__all__ = ["WORKLOADS"]

N_WAY, N_QUERY = 60, 5
SIDES = [N_WAY, N_WAY * N_QUERY]
SUPPORT_Y = torch.arange(N_WAY)
QUERY_Y = SUPPORT_Y.repeat_interleave(N_QUERY)


@dataclass(frozen=True)
class Method:
    """A learner; what its networks make of all images; the loss that follows from that."""

    make: Callable[[], Any]
    passes: Callable[[Any, Tensor], Tensor]
    loss: Callable[[Tensor], Tensor]

    def step(self) -> Run:
        """`outer_loop`, with Adam of step size 0."""
        torch.manual_seed(0)
        learner, (support_x, query_x) = self.make(), images().split(SIDES)
        learner.meta_lr = 0.0
        tasks = EpisodeBatch(support_x[None], SUPPORT_Y[None], query_x[None], QUERY_Y[None])

        def run() -> list[Tensor]:
            learner.outer_loop(tasks)
            return [weight_gradient(learner)]

        return run

    def bare(self) -> Run:
        """The passes, forward and back."""
        torch.manual_seed(0)
        learner, x = self.make(), images()
        results = self.passes(learner, x).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(results), results)

        def run() -> list[Tensor]:
            learner.zero_grad()
            self.passes(learner, x).backward(gradient)
            return [weight_gradient(learner)]

        return run

    def workload(self, *aims: Aim) -> Workload:
        """Both contenders."""
        return Workload({"bare passes": self.bare, "outer_loop": self.step}, aims)


def images() -> Tensor:
    """First the support set, a class each, and then the queries of each class."""
    return torch.rand(sum(SIDES), 1, 28, 28, generator=torch.Generator().manual_seed(0))


def weight_gradient(learner: Any) -> Tensor:
    """All gradients in one vector."""
    return torch.cat([p.grad.flatten() for p in learner.parameters()])


def embed(learner: PrototypicalNetwork, x: Tensor) -> Tensor:
    """All images through the encoder."""
    return learner.encoder(x)


def embed_and_relate(learner: RelationNetwork, x: Tensor) -> Tensor:
    """All images through the encoder, all pairs through the relation module: (1, Q, n_way)."""
    classes, queries = learner.encoder(x).split(SIDES)
    return learner.relation(classes[None, None], queries[None, :, None])


def prototypical_loss(z: Tensor) -> Tensor:
    """With one support item per class, the items themselves are the prototypes."""
    classes, queries = z.split(SIDES)
    return F.cross_entropy(-torch.cdist(queries, classes).square(), QUERY_Y)


def relation_loss(logits: Tensor) -> Tensor:
    """Squared error of the scores."""
    return F.mse_loss(torch.sigmoid(logits[0]), F.one_hot(QUERY_Y, N_WAY).float())


# Of a small MLP's step, the 18,000 distances from explicit differences are the larger part: no aim.
TENTH_LONGER = Aim("outer_loop", "bare passes", 0.91)
PROTOTYPICAL = Method(lambda: PrototypicalNetwork(ConvNet()), embed, prototypical_loss)
PROTOTYPICAL_MLP = Method(lambda: EnhancedProtoNet(784, 128, 64), embed, prototypical_loss)
RELATION = Method(RelationNetwork.convolutional, embed_and_relate, relation_loss)
WORKLOADS = {
    "5-prototypical": PROTOTYPICAL.workload(TENTH_LONGER),
    "5-prototypical-mlp": PROTOTYPICAL_MLP.workload(),
    "5-relation": RELATION.workload(TENTH_LONGER),
}
