"""The one idea of the course: a meta-learner turns a support set into a predictor.

A learner defines two things: what it learns from a support set (`learn_task`) and how it
answers with that (`predict`). Everything else follows: scores for many tasks at once (calling the
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
from torch.utils._pytree import tree_map

from ..basics.arguments import as_integer, as_number
from ..engine.heap import keep_pages
from ..engine.losses import LossFunction, LossKind, check_loss, growth, kind_of, learns
from ..tasks import EpisodeBatch
from .attributes import Settable
from .checks import as_items, as_tensor, check_queries, check_support, like
from .modes import ONE_AT_A_TIME, eval_mode, in_use, training_mode, weights_of, with_weights
from .steps import (
    as_limit,
    as_optimizer,
    require_finite,
    require_finite_weights,
    require_gradient,
    require_trainable,
    take,
)

__all__ = ["LossFunction", "MetaLearner", "as_learner"]


class MetaLearner(Settable, ABC):
    """Base class of every learner. It works on T tasks at once, always on the leading axis.

    Inputs are tensors or arrays; floats are moved to the device and the dtype of the learner's
    parameters.

    Attributes:
        meta_lr: step size of the outer loop's Adam.
        loss_fn: what the outer loop minimises: a function or a module from (T * Q, n_way) scores
            and (T * Q,) labels to one number. The parameters of a module are meta-learned too.
        reads_streams: whether the learner has a `stream`, and should be scored on it as well.
    """

    meta_lr: float = 1e-3
    loss_fn: LossFunction = staticmethod(F.cross_entropy)
    reads_streams: bool = False

    @abstractmethod
    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Any:
        """What T support sets (T, S, *item), (T, S) teach, as a state with a leading task axis."""

    @abstractmethod
    def predict(self, state: Any, query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way), or (T, Q, out) for regression, of query_x (T, Q, *item)."""

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way) of the queries of T tasks.

        Raises:
            ValueError: not numbers, shapes do not fit, a class has no support item, or items hold
                NaN.
        """
        with in_use(self):
            support_x, support_y = self._support(support_x, support_y)
            query_x = self._queries(support_x, query_x)
            return self.predict(self.learn_task(support_x, support_y), query_x)

    def answer(self, episodes: EpisodeBatch) -> Tensor:
        """Scores (T, Q, n_way) of the queries of a batch, which was checked when it was created.

        Raises:
            ValueError: not episodes, or items hold NaN.
        """
        with in_use(self):
            episodes = self._taken(episodes)
            if self._does_more_when_called:
                return self(episodes.support_x, episodes.support_y, episodes.query_x)
            state = self.learn_task(episodes.support_x, episodes.support_y)
            return self.predict(state, episodes.query_x)

    @property
    def _does_more_when_called(self) -> bool:
        """Whether a call has hooks, or a subclass has its own `forward`."""
        own = type(self).forward is not MetaLearner.forward or "forward" in vars(self)
        return bool(own or self._forward_hooks or self._forward_pre_hooks)

    def adapt(
        self, support_x: Tensor, support_y: Tensor, **options: Any
    ) -> Callable[[Tensor], Tensor]:
        """A predictor for ONE task: from query_x (Q, *item) to scores (Q, n_way).

        Learns and answers in eval mode, whatever mode the learner is in: with MAML's test steps and
        without dropout. The learner is left unchanged, and the predictor keeps the present weights
        even if the learner is trained later. This works under torch.no_grad() and
        torch.inference_mode().

        Args:
            support_x: (S, *item).
            support_y: (S,) int64 labels 0..n_way-1; (S, out) floats for regression.
            options: passed on to `learn_task`, for example `num_inner_steps` of MAML.
        Raises:
            ValueError: as `forward`; so does the predictor.
        """
        with in_use(self), eval_mode(self):
            support_x, support_y = self._support(
                self._moved(as_items("support_x", support_x))[None],
                as_tensor("support_y", support_y)[None],
            )
            learned = self.learn_task(support_x, support_y, **options)
            state = tree_map(torch.clone, learned)  # a copy, not the weights themselves
        then = weights_of(self)

        def predictor(query_x: Tensor) -> Tensor:
            with in_use(self), with_weights(self, then), eval_mode(self):
                query_x = self._moved(as_items("query_x", query_x))
                queries = self._queries(support_x, query_x[None])
                return self.predict(state, queries)[0]

        return predictor

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean query loss over the tasks, a scalar in the units of `loss_fn` (nats).

        Raises:
            ValueError: not episodes, or `loss_fn` does not return one number.
        """
        episodes = self._taken(episodes)
        return self._mean_loss(self.answer(episodes), episodes)

    def _mean_loss(self, scores: Tensor, episodes: EpisodeBatch) -> Tensor:
        return self._score_loss(scores, episodes.query_y)

    def _score_loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """`loss_fn` of scores (T, Q, out) and labels (T, Q) or targets (T, Q, out): a scalar."""
        check_loss(self.loss_fn, targets)
        loss = self.loss_fn(scores.flatten(0, 1), targets.flatten(0, 1))
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"loss_fn must return one number, a tensor of shape (), got {shape}")
        return loss.squeeze()

    def tasks_at_once(self, tasks: EpisodeBatch) -> int | None:
        """How many tasks `outer_loop` takes at a time by default; None: all of them."""
        return None

    @cached_property
    def meta_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser that `outer_loop` uses when none is given."""
        group = {"params": self.parameters(), "meta_lr": self.meta_lr}
        return self.new_optimizer([group], self.meta_lr)

    def new_optimizer(self, params: Any, meta_lr: float) -> torch.optim.Optimizer:
        """The optimiser that `outer_loop` and `meta_train` use: Adam for most methods.

        Args:
            params: the meta-parameters, or groups of them.
        """
        return torch.optim.Adam(params, lr=meta_lr)

    def _present_optimizer(self) -> torch.optim.Optimizer:
        """`meta_optimizer` with the `meta_lr` and the parameters that the learner has now."""
        meta_lr = as_number("meta_lr", self.meta_lr, at_least=0)
        groups = self.meta_optimizer.param_groups
        for group in groups:
            if group.get("meta_lr", meta_lr) != meta_lr:  # a schedule's own "lr" stays
                group["lr"] = group["meta_lr"] = meta_lr
        known = {id(p) for group in groups for p in group["params"]}
        new = [p for p in self.parameters() if id(p) not in known]
        if new:
            self.meta_optimizer.add_param_group({"params": new, "meta_lr": meta_lr})
        return self.meta_optimizer

    def outer_loop(
        self,
        tasks: EpisodeBatch,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        max_grad_norm: float | None = None,
        chunk_size: int | None = None,
    ) -> float:
        """One step of the outer loop on a batch of tasks; returns the loss before the step.

        It is a training step: a learner in eval mode takes it in training mode.

        Args:
            tasks: the batch; every task counts equally.
            optimizer: steps all meta-parameters; default: `meta_optimizer`.
            max_grad_norm: shrink the meta-gradient to at most this Euclidean norm.
            chunk_size: back-propagate this many tasks at a time: same gradient, less memory.
                Default: `tasks_at_once`. The gradient differs if an encoder normalises by batch:
                    its statistics are those of all items of a chunk.
        Raises:
            FloatingPointError: the loss or its gradient is not finite, and no step was taken; or
                the step itself left parameters that are not finite.
            ValueError: an argument makes no sense, nothing can be learned from the loss, or the
                loss cannot be computed in chunks.
        """
        keep_pages()
        limit = as_limit("max_grad_norm", max_grad_norm)
        tasks = self._taken(tasks)
        size = None if chunk_size is None else as_integer("chunk_size", chunk_size)
        require_trainable(self)
        optimizer = self._present_optimizer() if optimizer is None else as_optimizer(optimizer)
        optimizer.zero_grad()
        with ONE_AT_A_TIME, training_mode(self):
            total = self._backward(tasks, size)
        norm = nn.utils.clip_grad_norm_(self.parameters(), limit)
        require_finite("the norm of the meta-gradient", norm)
        take(optimizer)
        require_finite_weights(self)
        return total

    def _backward(self, tasks: EpisodeBatch, size: int | None) -> float:
        """Add the gradient of the loss to every parameter's, `size` tasks at a time; the loss."""
        total = 0.0
        chunks = list(tasks.split(self.tasks_at_once(tasks) if size is None else size))
        share = self._shares(tasks, len(chunks))
        for chunk in chunks:
            loss = self.loss(chunk) * share(len(chunk))
            require_finite("the loss", loss)
            require_gradient(loss)
            loss.backward()
            total += loss.item()
        return total

    def _shares(self, tasks: EpisodeBatch, n_chunks: int) -> Callable[[int], float]:
        """The share of the whole loss that belongs to some of the tasks.

        A mean counts in proportion to the tasks; a sum counts in full.
        """
        if n_chunks == 1:
            return lambda n_tasks: 1.0
        if self._loss_over(tasks) == "neither":
            raise ValueError(
                "loss_fn is neither a mean over items nor their sum, so tasks cannot be taken in "
                "chunks; chunk_size=len(tasks) takes them all at once"
            )
        adds_up = self._loss_over(tasks) == "sum"
        return lambda n_tasks: 1.0 if adds_up else n_tasks / len(tasks)

    def _loss_over(self, tasks: EpisodeBatch) -> str:
        """Whether `loss_fn` is the "mean" over items, their "sum" or "neither"."""
        return self._loss_kind.of(self.loss_fn, tasks, self._tried_kind)

    @cached_property
    def _loss_kind(self) -> LossKind:
        return LossKind()

    def _is_plain_mean(self, tasks: EpisodeBatch) -> bool:
        """Whether `loss_fn` is a mean over items, without parameters of its own."""
        return not learns(self.loss_fn) and self._loss_over(tasks) == "mean"

    @torch.no_grad()
    def _tried_kind(self, *tasks: EpisodeBatch) -> str:
        with eval_mode(self):
            scores = [self.answer(task) for task in tasks]
        targets = [task.query_y for task in tasks]
        parts = [self._score_loss(s, y).item() for s, y in zip(scores, targets, strict=True)]
        whole = self._score_loss(torch.cat(scores), torch.cat(targets))
        return growth(parts, whole.item(), whole.dtype)

    # -------------------------------------------------------------- what comes in

    def _moved(self, x: Tensor) -> Tensor:
        """Items on the device and in the dtype of the first parameter, if there is one."""
        return like(x, next((p for p in self.parameters() if p.is_floating_point()), x))

    def _support(self, support_x: Any, support_y: Any) -> tuple[Tensor, Tensor]:
        """Support sets of T tasks as tensors for this learner; an error unless they are sound."""
        x = self._moved(as_items("support_x", support_x))
        y = like(as_tensor("support_y", support_y), x)
        check_support(x, y)
        return x, y

    def _queries(self, support_x: Tensor, query_x: Any) -> Tensor:
        """Queries of the tasks with these support sets, as a tensor for this learner."""
        x = self._moved(like(as_items("query_x", query_x), support_x))
        check_queries(support_x, x)
        return x

    def _taken(self, episodes: EpisodeBatch) -> EpisodeBatch:
        """Episodes on the device and in the dtype of the learner's parameters, without NaN."""
        if not isinstance(episodes, EpisodeBatch):
            raise ValueError(f"tasks must be an EpisodeBatch, got {type(episodes).__name__}")
        episodes = episodes.like(self)
        episodes.check_finite()
        return episodes


def as_learner(name: str, learner: Any) -> MetaLearner:
    """`learner` itself; a ValueError if it is not a MetaLearner."""
    if not isinstance(learner, MetaLearner):
        raise ValueError(f"{name} must be a MetaLearner, got {kind_of(learner)}")
    return learner
