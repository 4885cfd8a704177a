"""A network that answers for many tasks at once, each task with its own parameters.

All that a learner with an inner loop needs to call:

    support = network.support(support_x, support_y, loss_fn)
    params = for_each_task(network.start(), len(support_x))
    gradient = network.gradient(params, support, loss_fn)        of each task's own support loss
    scores = network.scores(network.state(params, support), query_x)

How this is computed is up to the engine: layer by layer for all tasks side by side
(layers.py), by vmap or in a loop over tasks (any_model.py), some tasks at a time (chunks.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ..tasks import EpisodeBatch
from .any_model import OverTasks, taken_in
from .chunks import KEPT, PIECE, Params, Sizes, loss_in_pieces
from .derivatives import like_its_gradient
from .layers import run
from .losses import LossFunction, check_loss, check_losses, is_distance
from .norms import converted, needs_support
from .outputs import check_scores, check_width
from .zero_head import Head, hold_at_zero

__all__ = ["Change", "Network", "Support", "as_model", "for_each_task"]

SUPPORT, CLASSES = "..support_x", "..classes"
"""What predictions may need beside the fast parameters: the support set, and a row of 0 for each
task, as long as it has classes. No parameter has such names."""

Learn = Callable[[Tensor, Tensor], Params]
QueryLoss = Callable[[Params, EpisodeBatch], Tensor]


def as_model(model: nn.Module, batch_norm: str) -> nn.Module:
    """The model as it is run: without wrappers, with batch normalisation as requested (norms.py).

    Raises:
        ValueError: not a module, or one that cannot run with other weights; an unknown
            `batch_norm`, or layers with running statistics that stay.
    """
    return converted(taken_in(model), batch_norm)


def for_each_task(params: Params, n_tasks: int) -> Params:
    """Each parameter once for every task, (n_tasks, *shape); nothing is copied."""
    start = {name: like_its_gradient(p) for name, p in params.items()}
    return {name: p.expand(n_tasks, *p.shape) for name, p in start.items()}


@dataclass(frozen=True)
class Support:
    """The support sets of T tasks, and how many scores their items need.

    Attributes:
        x: (T, S, *item).
        y: (T, S) labels, or (T, S, out) targets.
        width: how many scores; None: any number, for targets with a custom loss.
        exact: whether the network must not give more scores, of which the first would count.
    """

    x: Tensor
    y: Tensor
    width: int | None
    exact: bool


class Change(Protocol):
    """Few numbers that move instead of a model's parameters, and what they make of these."""

    def start(self, model: nn.Module) -> Params:
        """Where the numbers start, by names that no parameter has."""

    def weights(self, model: nn.Module, params: Params) -> Params:
        """The parameters of T tasks, (T, *shape) each, that differ from the model's.

        Args:
            params: the numbers, and parameters in the place of the model's own, (T, *shape) each.
        """


class Network:
    """A model, the parameters that move in an inner loop, and a way to run many tasks.

    Args:
        model: from `as_model`.
        moving: names of the parameters that move.
        zero_head: the layer that gives the scores starts at 0.
        one_by_one: do not try vmap.
        change: numbers that move beside these parameters, and change others.
    Raises:
        ValueError: zero_head without a linear layer that gives the scores and moves.
    """

    def __init__(
        self,
        model: nn.Module,
        moving: Collection[str],
        *,
        zero_head: bool = False,
        one_by_one: bool = False,
        change: Change | None = None,
    ) -> None:
        self.model, self.moving, self.change = model, frozenset(moving), change
        self._zero_head, self._part, self._needs = zero_head, "", "zero_head"
        self._head: Head | None = None
        if zero_head:
            self._head = Head(model, "zero_head", "leave out zero_head")
            self._settle()
        self._models = OverTasks(f"the model ({type(model).__name__})", one_by_one=one_by_one)
        self._losses = OverTasks("loss_fn", one_by_one=one_by_one)
        self._sizes = Sizes()

    # -------------------------------------------------------------- the parameters

    @property
    def head(self) -> dict[str, nn.Parameter]:
        """What starts at 0, by name; empty without zero_head, or before the layer is found."""
        return self._found() if self._zero_head else {}

    def move_only(self, part: str, needs: str, instead: str) -> None:
        """Let only the "head" move of what moves now, or only the "body", which is all the rest.

        The head is the linear layer that gives the scores. It is found at once in a plain sequence
        of layers, else in the first call; what cannot be is refused then.

        Args:
            needs, instead: who wants it, and what would work without such a layer, for messages.
        Raises:
            ValueError: there is no such layer, or nothing is left that could move.
        """
        self._part, self._needs = part, needs
        self._head = Head(self.model, needs, instead)
        self._settle()

    @property
    def is_settled(self) -> bool:
        """Whether all is known of the head that needs to be."""
        return self._head is None or self._head.name is not None

    def _settle(self) -> None:
        """Once the head is found: what moves, and what starts at 0."""
        head = self._found()
        if head and self._part:
            own = head.keys() if self._part == "head" else self._every_name() - head.keys()
            self.moving &= own
            self._check_moving(own)
        if head and self._zero_head:
            hold_at_zero(head, self.moving)

    def _check_moving(self, own: Collection[str]) -> None:
        missing = sorted(set(own) - self.moving)
        if missing:
            raise ValueError(
                f"inner_lr has no step size for {missing[0]}, which {self._needs} moves"
            )
        if not self._zero_head and not any(n in self.moving for n in self._learned()):
            raise ValueError(
                f"{self._needs} moves the {self._part} of the model, in which no parameter "
                "requires a gradient: nothing can adapt"
            )

    def _found(self) -> dict[str, nn.Parameter]:
        return {} if self._head is None else self._head.parameters(self.model)

    def _every_name(self) -> set[str]:
        return {name for name, _ in self.model.named_parameters()}

    def start(self, width: int | None = None) -> Params:
        """What moves, where it starts; a zero head for `width` scores."""
        params: Params = {n: p for n, p in self._learned().items() if n in self.moving}
        params |= {} if self.change is None else self.change.start(self.model)
        for name, p in self.head.items():
            shape = (p.shape[0] if width is None else width, *p.shape[1:])
            params[name] = p.new_zeros(shape).requires_grad_()
        return params

    def unmoved(self) -> Params:
        """What only the outer loop learns; all losses depend on it too."""
        return {n: p for n, p in self._learned().items() if n not in self.moving}

    def _learned(self) -> dict[str, nn.Parameter]:
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def _look_for_head(self, x: Tensor) -> None:
        if self._head is not None and not self.is_settled:
            self._head.look(self.model, x)
            self._settle()

    # -------------------------------------------------------------- one step of the inner loop

    def support(
        self, x: Tensor, y: Tensor, loss_fn: LossFunction, *, exact: bool = True
    ) -> Support:
        """Support sets (T, S, *item) with labels (T, S) or targets (T, S, out), to learn from.

        Raises:
            ValueError: the loss or the model cannot do what they need.
        """
        check_loss(loss_fn, y)
        width = check_width(self.model, y, any_width=self._zero_head, exact=exact)
        own_loss = y.is_floating_point() and not is_distance(loss_fn)
        self._look_for_head(x[0])
        return Support(x, y, None if own_loss else width, exact)

    def gradient(
        self, params: Params, support: Support, loss_fn: LossFunction, *, second_order: bool = True
    ) -> Params:
        """Gradient of each task's support loss for its own parameters, (T, *shape) each.

        No task's loss depends on another's parameters, so the gradient of the sum holds them all.

        Args:
            second_order: the gradient can itself be differentiated, if gradients are enabled at
                all.
        """
        second_order = second_order and torch.is_grad_enabled()
        if not second_order:
            params = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            total = self.losses(params, support, loss_fn).sum()
        gradient = torch.autograd.grad(
            total, list(params.values()), create_graph=second_order, materialize_grads=True
        )
        return dict(zip(params, gradient, strict=True))

    def losses(self, params: Params, support: Support, loss_fn: LossFunction) -> Tensor:
        """Each task's support loss under its own parameters, (T,)."""
        scores = self.fitting(self._run(params, support.x), support.x, support)
        losses = self._losses(loss_fn, scores, support.y)
        check_losses(losses)
        return losses

    def fitting(self, scores: Tensor, x: Tensor, support: Support) -> Tensor:
        """Scores (T, B, width) of items x, without those for classes that the tasks lack."""
        return self._fitting(scores, x, support.width, exact=support.exact)

    def _fitting(self, scores: Tensor, x: Tensor, width: int | None, *, exact: bool) -> Tensor:
        if width is not None and not exact:
            scores = scores[..., :width]
        check_scores(self.model, scores, x, width)
        return scores

    # -------------------------------------------------------------- the scores

    def state(self, params: Params, support: Support, *, seen: bool = True) -> Params:
        """All that `scores` needs: the fast parameters, and some facts about the support sets.

        Args:
            seen: the scores of the support sets have been checked; if not, those of one task are
                checked.
        """
        if not seen and not hasattr(self.model, "output_dim"):
            with torch.no_grad():
                one = {n: p[:1] for n, p in params.items()}
                self.fitting(self._run(one, support.x[:1]), support.x[:1], support)
        n_way = None if support.y.is_floating_point() or support.exact else support.width
        return params | self._beside(support.x, n_way)

    def parameters(self, state: Params) -> Params:
        """The fast parameters of a state."""
        return {n: p for n, p in state.items() if n not in (SUPPORT, CLASSES)}

    def scores(self, state: Params, x: Tensor) -> Tensor:
        """Scores (T, B, width) of items x (T, B, *item), under each task's parameters."""
        scores = self._run(self.parameters(state), x, state.get(SUPPORT))
        n_way = state[CLASSES].shape[1] if CLASSES in state else None
        return self._fitting(scores, x, n_way, exact=False)

    def _run(self, params: Params, x: Tensor, support_x: Tensor | None = None) -> Tensor:
        params = params if self.change is None else self.change.weights(self.model, params)
        return run(self.model, params, x, self._models, support_x)

    def _beside(self, support_x: Tensor, n_way: int | None) -> Params:
        beside = {SUPPORT: support_x} if needs_support(self.model) else {}
        if n_way not in (None, getattr(self.model, "output_dim", None)):
            beside[CLASSES] = support_x.new_zeros(len(support_x), n_way)
        return beside

    # -------------------------------------------------------------- how many at a time

    def query_loss(
        self,
        learn: Learn,
        loss_of: QueryLoss,
        tasks: EpisodeBatch,
        is_mean: Callable[[EpisodeBatch], bool],
    ) -> Tensor:
        """Mean query loss over the tasks, a scalar.

        For large networks, its gradient is computed immediately, a few tasks at a time, so that
        their queries need not be kept while it runs back through the inner loop.

        Args:
            learn: from support sets to a state, for all tasks.
            loss_of: mean query loss of some of the tasks, from their state.
            is_mean: whether that is a mean over items and has no parameters of its own.
        """
        size = self._queries_at_once(tasks)
        whole = size >= len(tasks) or not torch.is_grad_enabled() or not is_mean(tasks)
        state = learn(tasks.support_x, tasks.support_y)
        if whole:
            return loss_of(state, tasks)
        unmoved = {n: p.expand(len(tasks), *p.shape) for n, p in self.unmoved().items()}
        return loss_in_pieces(loss_of, unmoved | state, tasks, size)

    def tasks_at_once(self, tasks: EpisodeBatch, learn: Learn, n_steps: int) -> int:
        """As many as run fast, by the work of one inner loop, and at most 8 pieces of queries."""
        task = tasks.support_x[:1], tasks.support_y[:1]
        size = self._sizes.of(learn, KEPT, *task, also=n_steps)
        return min(size, 8 * self._queries_at_once(tasks))

    def _queries_at_once(self, tasks: EpisodeBatch) -> int:
        task = tasks.query_x[:1], tasks.support_x[:1]
        return self._sizes.of(self._scores_at_start, PIECE, *task)

    def _scores_at_start(self, query_x: Tensor, support_x: Tensor) -> Tensor:
        self._look_for_head(support_x[0])
        start = {n: p[None] for n, p in self.start().items()}
        return self.scores(start | self._beside(support_x, None), query_x)
