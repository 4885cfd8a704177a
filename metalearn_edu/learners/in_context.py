"""Learning in context: the answer is one pass through a network that has read the examples.

The learner stores nothing about a task in its weights: it hands on the support set itself, as the
**context**, and the network answers with the context beside the queries. Meta-training makes this
work, so the network takes the role of a whole learning algorithm. Introduced in notebook 10.

What is unusual: a regression learner says how sure it is. It gives a mean and a standard deviation
for each target, and its loss is the negative log-likelihood, whose minimum over all functions is
the exact posterior of the task family, where that is normal.

Conditional neural processes, prior-data fitted networks and in-context learning all rest on this
idea (Garnelo et al. 2018; Muller et al. 2022; Garg et al. 2022).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_integer, as_number
from ..engine.losses import as_function
from ..tasks import EpisodeBatch
from .base import MetaLearner
from .checks import check_kind
from .classes import embed_to_width

__all__ = ["InContextLearner", "context_masks", "gaussian_nll"]


def gaussian_nll(answers: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood of targets, in nats per number.

    Args:
        answers: (..., 2 * out): first means, then standard deviations above 0.
        targets: (..., out).
    Raises:
        ValueError: the shapes do not fit.
    """
    if answers.shape != (*targets.shape[:-1], 2 * targets.shape[-1]):
        raise ValueError(
            f"answers must hold a mean and a standard deviation for each target, got "
            f"{tuple(answers.shape)} for targets {tuple(targets.shape)}"
        )
    mean, std = answers.chunk(2, dim=-1)
    nll = 0.5 * ((targets - mean) / std) ** 2 + std.log() + 0.5 * math.log(2 * math.pi)
    return nll.mean()


def context_masks(
    n_tasks: int, n_support: int, n_items: int, *, every_size: bool, device: torch.device | str
) -> Tensor:
    """Which items of each task are its context: (T, L) of True and False.

    With `every_size`, the context of task t is its first t mod (n_support + 1) items, so that a
    batch trains all sizes from 0 to n_support in one pass; otherwise every context has n_support
    items.
    """
    size = torch.full((n_tasks,), n_support, device=device)
    if every_size:
        size = torch.arange(n_tasks, device=device) % (n_support + 1)
    return torch.arange(n_items, device=device) < size[:, None]


class InContextLearner(MetaLearner):
    """Base class of learners that answer with a context beside the queries.

    Args:
        input_dim: numbers in one item, after `item_encoder`.
        output_dim: n_way for classification, the width of the targets for regression.
        regression: targets are numbers; the loss is the negative log-likelihood in nats.
        min_std: the floor of the standard deviation, in units of the targets.
        item_encoder: a module from items (B, *item) to (B, input_dim); None: flatten them.
        every_size: train on every size of the context at once, see `context_masks`. Then all items
            outside the context of a task are its queries, including support items. If tasks are
            taken in chunks, sizes are counted from 0 in each chunk.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        regression: bool,
        min_std: float,
        item_encoder: nn.Module | None,
        every_size: bool,
    ) -> None:
        super().__init__()
        self.input_dim = as_integer("input_dim", input_dim)
        self.output_dim = as_integer("output_dim", output_dim, 1 if regression else 2)
        self.regression, self.every_size = regression, every_size
        self.min_std = as_number("min_std", min_std, above=0)
        self.item_encoder = (
            nn.Flatten() if item_encoder is None else as_function("item_encoder", item_encoder)
        )
        if regression:
            self.loss_fn = gaussian_nll

    @property
    def n_said(self) -> int:
        """How many numbers the last layer gives for each item: means and spreads, or scores."""
        return 2 * self.output_dim if self.regression else self.output_dim

    @abstractmethod
    def answers(self, x: Tensor, y: Tensor, is_context: Tensor) -> Tensor:
        """The network's output for every item of T tasks, given the context of each task.

        Args:
            x: (T, L, *item).
            y: (T, L, output_dim): targets or one-hot labels of the context, 0 for all others.
            is_context: (T, L) of True and False.
        Returns:
            (T, L, n_way) scores, or (T, L, 2 * output_dim) means and standard deviations.
        """

    def embed(self, x: Tensor) -> Tensor:
        """Items (T, L, *item) as the item encoder represents them, (T, L, input_dim)."""
        return embed_to_width(self.item_encoder, x, self.input_dim)

    def with_std(self, said: Tensor, scale: float = 1.0) -> Tensor:
        """The output of the last layer, (T, L, n_said), with standard deviations above min_std."""
        if not self.regression:
            return said
        mean, spread = said.chunk(2, dim=-1)
        return torch.cat([mean, self.min_std + scale * F.softplus(spread)], dim=-1)

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor]:
        """The context: the support set itself, with labels as one-hot rows."""
        return support_x, self._rows(support_y)

    def predict(self, state: tuple[Tensor, Tensor], query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way), or means (T, Q, out)."""
        said = self._answer(state, query_x)
        return said[..., : self.output_dim]

    def distribution(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each target, both (T, Q, out).

        Raises:
            ValueError: as when the learner is called; or it was built for classification.
        """
        if not self.regression:
            raise ValueError("a classifier gives scores; distribution() is for regression")
        support_x, support_y = self._support(support_x, support_y)
        query_x = self._queries(support_x, query_x)
        said = self._answer(self.learn_task(support_x, support_y), query_x)
        mean, std = said.chunk(2, dim=-1)
        return mean, std

    def _answer(self, state: tuple[Tensor, Tensor], query_x: Tensor) -> Tensor:
        support_x, rows = state
        x = torch.cat([support_x, query_x], dim=1)
        y = F.pad(rows, (0, 0, 0, query_x.shape[1]))  # queries carry no answer
        n_support = support_x.shape[1]
        masks = context_masks(len(x), n_support, x.shape[1], every_size=False, device=x.device)
        return self.answers(x, y, masks)[:, n_support:]

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean loss of the queries, in nats; every task counts equally, whatever its context size.

        Raises:
            ValueError: not episodes, or not of the kind that the learner was built for.
        """
        episodes = self._taken(episodes)
        if not self.every_size:
            self._support(episodes.support_x, episodes.support_y)
        n_support = episodes.support_x.shape[1]
        x = torch.cat([episodes.support_x, episodes.query_x], dim=1)
        y = torch.cat([episodes.support_y, episodes.query_y], dim=1)
        masks = context_masks(
            len(x), n_support, x.shape[1], every_size=self.every_size, device=x.device
        )
        said = self.answers(x, self._rows(y) * masks[..., None], masks)
        if not self.every_size:
            return self._score_loss(said[:, n_support:], episodes.query_y)
        return self._loss_by_size(said, y, masks)

    def _loss_by_size(self, said: Tensor, y: Tensor, masks: Tensor) -> Tensor:
        """The mean over tasks: those of one context size have as many queries and go together."""
        sizes = masks.sum(dim=1)
        total = said.new_zeros(())
        for size in sizes.unique().tolist():
            same = sizes == size
            share = int(same.sum()) / len(y)
            total = total + share * self._score_loss(said[same, size:], y[same, size:])
        return total

    def _loss_over(self, tasks: EpisodeBatch) -> str:
        return "mean" if self.loss_fn is gaussian_nll else super()._loss_over(tasks)

    def _rows(self, y: Tensor) -> Tensor:
        """Targets (T, L, out) as they are, labels (T, L) as one-hot rows (T, L, n_way)."""
        check_kind(y, regression=self.regression)
        if self.regression:
            self._check_width(y.shape[-1], "numbers a target")
            return y
        self._check_width(int(y.max()) + 1, "classes")
        like: Any = next(self.parameters())
        return F.one_hot(y, self.output_dim).to(like.dtype)

    def _check_width(self, width: int, what: str) -> None:
        if width != self.output_dim:
            raise ValueError(f"output_dim is {self.output_dim}, but support_y holds {width} {what}")
