"""The one idea of the course: a meta-learner turns a support set into a predictor.

A learner says two things: what a support set teaches it (`learn_task`) and how it answers with
what it was taught (`predict`). All else follows: scores for many tasks at once (calling the
learner), a predictor for one task (`adapt`), the loss of the outer loop (`loss`) and one step of
it (`outer_loop`). Introduced in notebook 01.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..memory import keep_pages
from ..tasks import EpisodeBatch

__all__ = ["MetaLearner", "count_classes", "is_cross_entropy"]

LossFunction = Callable[[Tensor, Tensor], Tensor]


class MetaLearner(nn.Module, ABC):
    """Base class of every learner. T tasks at once, always on the leading axis.

    Attributes:
        meta_lr: step size of the outer loop's Adam.
        loss_fn: what the outer loop minimises, from (T * Q, n_way) scores and (T * Q,) labels.
    """

    meta_lr: float = 1e-3
    loss_fn: LossFunction = staticmethod(F.cross_entropy)

    @abstractmethod
    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Any:
        """What T support sets (T, S, *item), (T, S) teach: a state with a leading task axis."""

    @abstractmethod
    def predict(self, state: Any, query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way), or (T, Q, out) for regression, of query_x (T, Q, *item)."""

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way) of the queries of T tasks.

        Raises:
            ValueError: shapes do not fit, a class has no support item, or items hold NaN.
        """
        check_tasks(support_x, support_y, query_x)
        return self.predict(self.learn_task(support_x, support_y), query_x)

    def adapt(
        self, support_x: Tensor, support_y: Tensor, **options: Any
    ) -> Callable[[Tensor], Tensor]:
        """A predictor for ONE task: from query_x (Q, *item) to scores (Q, n_way).

        The learner is left unchanged; works under torch.no_grad().

        Args:
            support_x: (S, *item).
            support_y: (S,) int64 labels 0..n_way-1; (S, out) floats for regression.
            options: passed on to `learn_task`, for example `num_inner_steps` of MAML.
        """
        support_x, support_y = support_x[None], support_y[None]
        _check_support(support_x, support_y)
        state = self.learn_task(support_x, support_y, **options)

        def predictor(query_x: Tensor) -> Tensor:
            _check_queries(support_x, query_x[None])
            return self.predict(state, query_x[None])[0]

        return predictor

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean query loss over the tasks, a scalar in the units of `loss_fn` (nats)."""
        scores = self(episodes.support_x, episodes.support_y, episodes.query_x)
        return self._mean_loss(scores, episodes)

    def _mean_loss(self, scores: Tensor, episodes: EpisodeBatch) -> Tensor:
        return self.loss_fn(scores.flatten(0, 1), episodes.query_y.flatten(0, 1))

    def tasks_at_once(self, tasks: EpisodeBatch) -> int | None:
        """How many tasks `outer_loop` takes at a time unless told; None: all of them."""
        return None

    @cached_property
    def meta_optimizer(self) -> torch.optim.Optimizer:
        """The Adam optimiser that `outer_loop` uses when none is given."""
        return torch.optim.Adam(self.parameters(), lr=self.meta_lr)

    def outer_loop(
        self,
        tasks: EpisodeBatch,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        max_grad_norm: float | None = None,
        chunk_size: int | None = None,
    ) -> float:
        """One step of the outer loop on a batch of tasks; returns the loss before the step.

        Args:
            tasks: the batch; every task counts equally.
            optimizer: steps all meta-parameters; default: `meta_optimizer`.
            max_grad_norm: shrink the meta-gradient to at most this Euclidean norm.
            chunk_size: back-propagate this many tasks at a time: same gradient, less memory.
                Default: `tasks_at_once`. Not the same where an encoder normalises by batch: its
                statistics are those of all items of a chunk.
        Raises:
            FloatingPointError: the loss or its gradient is not finite; no step was taken.
        """
        keep_pages()
        optimizer = optimizer or self.meta_optimizer
        optimizer.zero_grad()
        limit = float("inf") if max_grad_norm is None else max_grad_norm
        total = 0.0
        size = self.tasks_at_once(tasks) if chunk_size is None else chunk_size
        for chunk in tasks.split(size):
            loss = self.loss(chunk) * (len(chunk) / len(tasks))
            _require_finite("the loss", loss)
            loss.backward()
            total += loss.item()
        norm = nn.utils.clip_grad_norm_(self.parameters(), limit)
        _require_finite("the norm of the meta-gradient", norm)
        optimizer.step()
        return total


def is_cross_entropy(loss_fn: Any) -> bool:
    """Whether a loss is PyTorch's cross-entropy, as a function, a module or with settings."""
    plain = getattr(loss_fn, "func", loss_fn)  # of a functools.partial
    return plain is F.cross_entropy or isinstance(plain, nn.CrossEntropyLoss)


def count_classes(support_y: Tensor) -> int:
    """n_way of labels (T, S): the largest label plus one."""
    return int(support_y.max()) + 1


def class_sums(support_z: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of each class's items and their number, as one product with the one-hot labels.

    Args:
        support_z: (T, S, d) embeddings.
        support_y: (T, S) int64 labels 0..n_way-1.
    Returns:
        sums (T, n_way, d) and counts (T, n_way, 1), in the dtype of the embeddings.
    Raises:
        ValueError: support_y holds regression targets.
    """
    if support_y.is_floating_point():
        raise ValueError(f"classes need int64 labels, but support_y is {support_y.dtype}")
    one_hot = F.one_hot(support_y, count_classes(support_y)).to(support_z.dtype)  # (T, S, n_way)
    return one_hot.transpose(1, 2) @ support_z, one_hot.sum(dim=1)[..., None]


def embed_items(encoder: nn.Module, x: Tensor) -> Tensor:
    """Items (T, B, *item) through an encoder of (T * B, *item): (T, B, *embedding)."""
    return encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _require_finite(what: str, value: Tensor) -> None:
    if not torch.isfinite(value):
        raise FloatingPointError(f"{what} is {value.item()}")


def check_shapes(x_name: str, x: Tensor, y_name: str, y: Tensor) -> None:
    """Refuse items (T, S, *item) and labels or targets (T, S, ...) that cannot belong together."""
    if x.ndim < 3 or y.shape[:2] != x.shape[:2]:
        raise ValueError(
            f"need {x_name} (T, S, *item) and {y_name} (T, S) with the same T and S, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    if 0 in x.shape[:2]:
        raise ValueError(f"{x_name} holds no items: its shape is {tuple(x.shape)}")
    _check_finite(x_name, x)


def check_tasks(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> None:
    """Refuse support sets and queries of T tasks that do not fit, lack a class or hold NaN."""
    _check_support(support_x, support_y)
    _check_queries(support_x, query_x)


def _check_support(support_x: Tensor, support_y: Tensor) -> None:
    check_shapes("support_x", support_x, "support_y", support_y)
    if not support_y.is_floating_point():
        _check_every_class(support_y)


def _check_every_class(support_y: Tensor) -> None:
    if support_y.dtype != torch.int64 or support_y.ndim != 2:
        raise ValueError(
            f"support_y must be int64 labels (T, S), got {support_y.dtype} "
            f"{tuple(support_y.shape)}; regression targets must be floating point"
        )
    if int(support_y.min()) < 0:
        raise ValueError(f"support_y must hold labels from 0, got {int(support_y.min())}")
    present = F.one_hot(support_y, count_classes(support_y)).any(dim=1)  # (T, n_way)
    if not present.all():
        task, label = (~present).nonzero()[0].tolist()
        raise ValueError(
            f"support_y of task {task} has no item with label {label}; labels must run from 0 to "
            f"n_way - 1 = {present.shape[1] - 1} with every class present in every task"
        )


def _check_queries(support_x: Tensor, query_x: Tensor) -> None:
    if (len(query_x), query_x.shape[2:]) != (len(support_x), support_x.shape[2:]):
        raise ValueError(
            f"query_x {tuple(query_x.shape)} does not fit support_x {tuple(support_x.shape)}: "
            "the tasks (first axis) and the shape of an item (after the second) must agree"
        )
    if query_x.shape[1] == 0:
        raise ValueError(f"query_x holds no items: its shape is {tuple(query_x.shape)}")
    _check_finite("query_x", query_x)


def _check_finite(name: str, x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(f"{name} holds {x.dtype}, not floats; for images, {name}.float() / 255")
    if torch.isfinite(x.sum()):  # then all are, and a sum is read off faster
        return
    n_bad = int((~torch.isfinite(x)).sum())
    if n_bad:
        raise ValueError(f"{name} holds {n_bad} NaN or infinite numbers")
