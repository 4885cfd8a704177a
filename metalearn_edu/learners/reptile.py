"""Reptile: move the start towards where ordinary training on a task ends.

Nichol, Achiam & Schulman (2018). Introduced in notebook 07.

    inner loop:  phi    =  num_inner_steps steps of SGD or Adam from theta, on the task's items
    outer loop:  theta  <- theta + epsilon * mean over tasks of (phi - theta)

What is unusual: no query set, and no gradient through the inner loop, not even at its end. The
outer step is a step of gradient descent in which theta - phi stands for the gradient. So Reptile is
a loss with that gradient, and everything else is as for other learners: the paper's outer step is
SGD of size epsilon, and Adam is possible too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_choice, as_integer, if_given
from ..engine import Support, for_each_task, with_gradient
from ..engine.losses import LossFunction, learns
from ..tasks import EpisodeBatch
from .maml import MAML
from .modes import in_use

__all__ = ["Reptile"]


class Reptile(MAML):
    """First-order meta-learning of an initialisation, by ordinary training on each task.

    Args:
        model: as for MAML.
        inner_lr: step size of the inner loop, as for MAML.
        meta_lr: step size of the outer loop's optimiser; for "sgd" it is the paper's epsilon.
        num_inner_steps: inner steps in training, 1 or more; with 1 of SGD, Reptile is training on
            all tasks together.
        loss_fn: loss of the inner loop; there is no other.
        inner_batch_size: items of an inner step in training. The task's items are taken in turn,
            one of each class and then the next of each, over and over; the paper's code shuffles
            them. Default: all items in every step.
        with_queries: train on the items of an episode's query set too, as further training items
            of its task. The paper trains with 10 or 15 items per class even for 1-shot tasks.
            Default: on the support set alone; the query set is then not looked at.
        outer_optimizer: "adam", or "sgd" for the paper's interpolation.
        options: num_test_steps, max_inner_grad_norm, zero_head, inner_optimizer and batch_norm, as
            for MAML. The paper has Adam without momentum: functools.partial(torch.optim.Adam,
            betas=(0, 0.999)). In use all of the support set counts in every step.
    Raises:
        ValueError: as MAML does; something that Reptile would never learn, because it does not move
            in the inner loop.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float | Mapping[str, float] = 0.01,
        meta_lr: float = 0.001,
        num_inner_steps: int = 5,
        loss_fn: LossFunction = F.cross_entropy,
        *,
        inner_batch_size: int | None = None,
        with_queries: bool = False,
        outer_optimizer: str = "adam",
        **options: Any,
    ) -> None:
        for name in ("first_order", "engine"):
            if name in options:
                raise ValueError(f"{name} is not for Reptile, whose inner loop has one form")
        super().__init__(
            model, inner_lr, meta_lr, num_inner_steps, loss_fn, first_order=True, **options
        )
        self.inner_batch_size = if_given(as_integer, "inner_batch_size", inner_batch_size)
        self.with_queries = with_queries
        self.outer_optimizer = as_choice("outer_optimizer", outer_optimizer, ("adam", "sgd"))
        self._refuse_what_stays()

    def _refuse_what_stays(self) -> None:
        needed = 2 if self.zero_head else 1
        as_integer("num_inner_steps of Reptile", self.num_inner_steps, needed)
        stays = sorted(self._network.unmoved())
        if stays or learns(self.loss_fn):
            what = stays[0] if stays else "a parameter of loss_fn"
            raise ValueError(
                f"Reptile learns what moves in its inner loop, and {what} does not; let it move, "
                "or fix it with requires_grad_(False)"
            )

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """A scalar whose gradient is the mean over tasks of theta - phi.

        Its value is the mean loss of each task's phi on the items that it was trained on.
        """
        with in_use(self):
            support = self._items(self._taken(episodes))
            with torch.no_grad():
                start = self._network.start(support.width)
                steps = self._minibatches(support)
                phi = self._walk(for_each_task(start, len(support.x)), steps)
                value = self._network.losses(phi, support, self.loss_fn).mean()
                gradient = {n: p - phi[n].mean(dim=0) for n, p in start.items()}
            return with_gradient(value, gradient, start)

    def _items(self, episodes: EpisodeBatch) -> Support:
        """What each task is trained on."""
        x, y = episodes.support_x, episodes.support_y
        if self.with_queries:
            x, y = torch.cat([x, episodes.query_x], 1), torch.cat([y, episodes.query_y], 1)
        return self._network.support(x, y, self.loss_fn, exact=self.training)

    def _minibatches(self, items: Support) -> Iterator[Any]:
        """The slope of each inner step in training, on the next minibatch."""
        n_items = items.x.shape[1]
        size = min(self.inner_batch_size or n_items, n_items)
        order = _one_of_each_class_at_a_time(items.y)
        task = torch.arange(len(order), device=order.device)[:, None]
        for step in range(self.num_steps):
            places = torch.arange(step * size, (step + 1) * size, device=order.device) % n_items
            chosen = task, order[:, places]
            yield partial(self._slope, replace(items, x=items.x[chosen], y=items.y[chosen]))

    def _loss_over(self, tasks: EpisodeBatch) -> str:
        """Every task counts alike, whatever `loss_fn` makes of its items."""
        return "mean"

    def new_optimizer(self, params: Any, meta_lr: float) -> torch.optim.Optimizer:
        """Adam, or SGD: theta <- theta - epsilon * (theta - phi)."""
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        return kinds[self.outer_optimizer](params, lr=meta_lr)


def _one_of_each_class_at_a_time(y: Tensor) -> Tensor:
    """An order (T, S) of items with labels (T, S); targets stay in their order.

    Episodes have their items class by class, and a minibatch of one class teaches nothing.
    """
    if y.is_floating_point():
        return torch.arange(y.shape[1], device=y.device).expand(y.shape[:2])
    earlier = F.one_hot(y).cumsum(dim=1)  # (T, S, n_way), items of a class up to here
    return earlier.gather(2, y[..., None])[..., 0].argsort(dim=1, stable=True)
