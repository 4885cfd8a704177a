"""Workload 8: 600 episodes of MAML with 10 inner steps, beside scoring them one by one.

One by one means a plain loop: for each task ten times `torch.autograd.grad`, and then its queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks.plain_vmap import vmap_scores
from benchmarks.workload import Aim, Run, Workload
from metalearn_edu import (
    MAML,
    MLP,
    EpisodeBatch,
    EpisodeSampler,
    FewShotDataset,
    MAMLModel,
    Sinusoids,
    Task,
    TaskSource,
    evaluate_meta_learner,
)

__all__ = ["WORKLOADS"]

N_EPISODES, SEED, CHUNKS = 600, 1, (20, 600)


@dataclass(frozen=True)
class Trial:
    """A learner and where its episodes come from."""

    make_model: Callable[[], nn.Module]
    make_tasks: Callable[[], TaskSource]
    loss_fn: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy

    def learner(self) -> MAML:
        """In eval mode, the same at each call."""
        torch.manual_seed(0)
        return MAML(self.make_model(), 0.05, num_inner_steps=10, loss_fn=self.loss_fn).eval()

    def together(self, chunk_size: int | None) -> Run:
        """`evaluate_meta_learner`."""
        learner, tasks = self.learner(), self.make_tasks()
        options = {"n_episodes": N_EPISODES, "seed": SEED, "chunk_size": chunk_size}
        return lambda: [evaluate_meta_learner(learner, tasks, **options).values]

    def one_by_one(self) -> Run:
        """A plain loop over tasks and steps."""
        learner, tasks = self.learner(), self.make_tasks()
        model, loss_fn = learner.model, self.loss_fn

        def score(task: Task) -> Tensor:
            params = dict(model.named_parameters())
            for _ in range(learner.num_inner_steps):
                loss = loss_fn(functional_call(model, params, task.support_x), task.support_y)
                gradient = torch.autograd.grad(loss, list(params.values()))
                with torch.no_grad():
                    moved = zip(params.items(), gradient, strict=True)
                    params = {n: p - learner.inner_lr * g for (n, p), g in moved}
                for p in params.values():
                    p.requires_grad_()
            with torch.no_grad():
                scores = functional_call(model, params, task.query_x)
            if self.loss_fn is F.mse_loss:
                return F.mse_loss(scores, task.query_y)
            return (scores.argmax(dim=1) == task.query_y).float().mean()

        return lambda: [
            torch.stack([score(tasks.episodes(SEED, i, 1)[0]) for i in range(N_EPISODES)])
        ]

    def plain_vmap(self, chunk_size: int) -> Run:
        """`vmap` and `grad`, and nothing else of ours but the episodes."""
        learner, tasks = self.learner(), self.make_tasks()
        settings = learner.inner_lr, learner.num_inner_steps, self.loss_fn

        def score(batch: EpisodeBatch) -> Tensor:
            scores = vmap_scores(learner.model, batch, *settings)
            if self.loss_fn is F.mse_loss:
                return (scores - batch.query_y).square().flatten(1).mean(dim=1)
            return (scores.argmax(dim=2) == batch.query_y).float().mean(dim=1)

        starts = range(0, N_EPISODES, chunk_size)
        return lambda: [torch.cat([score(tasks.episodes(SEED, i, chunk_size)) for i in starts])]

    def workload(self, *aims: Aim) -> Workload:
        """One by one, plain vmap, chunks of a fixed size, and of the size that the work tells."""
        contenders = {"one by one": self.one_by_one}
        contenders |= {f"plain vmap of {n}": partial(self.plain_vmap, n) for n in CHUNKS}
        contenders |= {f"chunks of {n}": partial(self.together, n) for n in CHUNKS}
        contenders["evaluate_meta_learner"] = partial(self.together, None)
        return Workload(contenders, aims)


def random_images() -> EpisodeSampler:
    """5-way 1-shot episodes with 15 queries per class, of 100 classes of noise around a picture."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(100, 1, 1, 28, 28, generator=generator)
    noise = torch.rand(100, 20, 1, 28, 28, generator=generator)
    items = (127 * (pictures + noise)).to(torch.uint8).flatten(0, 1)
    return EpisodeSampler(FewShotDataset(items, torch.arange(100).repeat_interleave(20)), 5, 1, 15)


# The larger network is bound by its weights' way through memory, one by one or not: no aim.
SINUSOID = Trial(lambda: MAMLModel(1, 40, 1), Sinusoids, F.mse_loss)
IMAGES = Trial(lambda: MLP(784, [128, 64], 5), random_images)
BESIDE_LOOP = Aim("evaluate_meta_learner", "one by one", 3)
BESIDE_VMAP = [Aim("evaluate_meta_learner", f"plain vmap of {n}", 1.0) for n in CHUNKS]
WORKLOADS = {
    "8-evaluation-sinusoid": SINUSOID.workload(BESIDE_LOOP, *BESIDE_VMAP),
    "8-evaluation-mlp": IMAGES.workload(*BESIDE_VMAP),
}
