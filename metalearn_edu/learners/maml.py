"""MAML: learn a starting point from which a few gradient steps solve a new task.

Finn, Abbeel & Levine (2017). Introduced in notebook 05.

    inner loop:  theta'  = theta - alpha * grad L_support(theta), repeated num_inner_steps times
    outer loop:  theta  <- Adam(theta, grad_theta of the mean over tasks of L_query(theta'))

What is unusual: the outer gradient runs through the inner steps, so it holds second derivatives of
the support loss. `first_order=True` leaves those out (FOMAML). We differ from the paper's code in
one thing: losses are means over items, so our inner_lr is n_way times the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import MLP
from ..basics.arguments import as_integer, as_number
from ..engine.any_model import OverTasks, taken_in
from ..engine.chunks import KEPT, PIECE, Params, Sizes, loss_in_pieces
from ..engine.inner_steps import Names, as_rates, clipped, inner_rule, moving_names, rates_of
from ..engine.losses import LossFunction, as_function, check_loss, check_losses, is_distance, learns
from ..engine.norms import converted, needs_support
from ..engine.outputs import check_scores, check_width, tensor_of
from ..engine.side_by_side import like_its_gradient, run
from ..engine.with_higher import check_engine, descend
from ..engine.zero_head import Head
from ..tasks import EpisodeBatch
from .base import MetaLearner, check_tasks

__all__ = ["MAML", "MAMLModel"]

SUPPORT, CLASSES = "..support_x", "..classes"
"""What predictions may need beside the fast parameters: the support set, and a row of 0 for each
task, as long as it has classes. No parameter has such names."""


class MAMLModel(MLP):
    """The plain backbone: input_dim -> hidden_dim -> hidden_dim -> output_dim, ReLU between.

    With input_dim 1, hidden_dim 40 and output_dim 1 it is the sinusoid network of the paper.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__(input_dim, [hidden_dim, hidden_dim], output_dim)


class MAML(MetaLearner):
    """Model-agnostic meta-learning of an initialisation.

    A model that is not a plain sequence of layers is run by `torch.func.vmap` or, where vmap
    cannot, task by task, with one warning. It is never changed: what its `forward` writes on it
    (buffers, attributes) is dropped after each call.

    Args:
        model: any module whose output width is n_way (regression: the width of the targets). Its
            `forward` may return a tuple that begins with the scores, or a mapping or an object with
            "logits". What wraps it (torch.compile, nn.DataParallel) is taken off.
        inner_lr: step size alpha of the inner loop; or a mapping from names of parameters, or of
            modules that hold them, to their step sizes ("": all others). What it does not name does
            not move in the inner loop.
        meta_lr: step size of the outer loop's Adam.
        num_inner_steps: inner steps in training; 0 or more.
        loss_fn: loss of inner and outer loop: F.cross_entropy, F.mse_loss, ...
        first_order: leave out second derivatives (FOMAML).
        engine: "torch.func" (all tasks at once) or "higher" (task by task).
        num_test_steps: inner steps in eval mode; default: num_inner_steps.
        max_inner_grad_norm: shrink each task's inner gradient to at most this Euclidean norm.
        zero_head: start every inner loop with the linear layer that gives the scores at 0, so that
            no class begins with an advantage and the class order cannot matter (Kao, Chiu & Chen
            2022). The first inner step then moves that layer alone, and n_way may differ from
            training. The layer is found at once in a plain sequence, else in the first call.
            Without it, tasks in training have as many classes as the model has outputs; in eval
            mode they may have fewer, which then are the first outputs.
        inner_params: what moves in the inner loop: names of parameters, or of modules that hold
            them, or a function of a parameter's name and the parameter; None: all. The outer loop
            learns all the same. The head alone is ANIL, all but the head BOIL (Raghu et al. 2020;
            Oh et al. 2021).
        inner_optimizer: rule of the inner steps: "sgd", "momentum" (0.9) or "adam"; or
            torch.optim.SGD or torch.optim.Adam, plain or as functools.partial with momentum, or
            with betas and eps. It starts afresh with each task and is differentiated through.
        batch_norm: what layers with running statistics become, in a copy of the model that is then
            `learner.model`. "refuse": an error; "inductive": a task's queries are normalised by the
            mean and variance of its support set; "transductive": by those of the batch of queries.
    Raises:
        ValueError: a setting out of bounds or unknown, names that fit no parameter, nothing that
            could move, a model whose layers keep running statistics, has no size yet or is
            scripted, or zero_head without a linear layer that gives the scores.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float | Mapping[str, float] = 0.01,
        meta_lr: float = 0.001,
        num_inner_steps: int = 5,
        loss_fn: LossFunction = F.cross_entropy,
        *,
        first_order: bool = False,
        engine: str = "torch.func",
        num_test_steps: int | None = None,
        max_inner_grad_norm: float | None = None,
        zero_head: bool = False,
        inner_params: Names | None = None,
        inner_optimizer: Any = "sgd",
        batch_norm: str = "refuse",
    ) -> None:
        super().__init__()
        self.model = converted(taken_in(model), batch_norm)
        self.inner_lr = as_rates(inner_lr)
        self.meta_lr = as_number("meta_lr", meta_lr, at_least=0)
        self.num_inner_steps = as_integer("num_inner_steps", num_inner_steps, at_least=0)
        self.num_test_steps = num_test_steps
        if num_test_steps is not None:
            self.num_test_steps = as_integer("num_test_steps", num_test_steps, at_least=0)
        self.max_inner_grad_norm = max_inner_grad_norm
        if max_inner_grad_norm is not None:
            self.max_inner_grad_norm = as_number(
                "max_inner_grad_norm", max_inner_grad_norm, above=0
            )
        self.loss_fn = as_function("loss_fn", loss_fn)
        self.first_order, self.engine, self.zero_head = first_order, engine, zero_head
        self.inner_rule = inner_rule(inner_optimizer)
        check_engine(engine, self.inner_rule)
        self.inner_names = moving_names(self.model, inner_params, self.inner_lr)
        self._head = Head(self.model, self.inner_names) if zero_head else None
        by_task, kind = engine == "higher", type(self.model).__name__
        self._models = OverTasks(f"the model ({kind})", one_by_one=by_task)
        self._losses = OverTasks("loss_fn", one_by_one=by_task)
        self._sizes = Sizes()

    @property
    def num_steps(self) -> int:
        """Inner steps in the present mode, training or eval."""
        if self.training or self.num_test_steps is None:
            return self.num_inner_steps
        return self.num_test_steps

    def inner_loop(
        self, support_x: Tensor, support_y: Tensor, num_inner_steps: int | None = None
    ) -> Params:
        """Parameters after `num_inner_steps` gradient steps on ONE task's support set.

        Args:
            support_x: (S, *item).
            support_y: (S,) labels, or (S, out) targets.
            num_inner_steps: default: `num_steps`.
        Returns:
            Fast parameters by name; the model itself is unchanged. They remember how they came
            from the model's parameters, so that the outer gradient can run through them.
        Source: Finn et al. (2017), eq. 1.
        """
        params = self.learn_task(support_x[None], support_y[None], num_inner_steps)
        return {name: p[0] for name, p in params.items() if name not in (SUPPORT, CLASSES)}

    def learn_task(
        self, support_x: Tensor, support_y: Tensor, num_inner_steps: int | None = None
    ) -> Params:
        """Fast parameters of T tasks, each with a leading task axis."""
        width = self._check_fit(support_y)
        self._look_for_head(support_x[0])
        steps = self.num_steps
        if num_inner_steps is not None:
            steps = as_integer("num_inner_steps", num_inner_steps, at_least=0)
        inner_loop = self._one_by_one if self.engine == "higher" else self._all_at_once
        params = inner_loop(support_x, support_y, steps, width)
        if steps == 0 and not hasattr(self.model, "output_dim"):  # nobody has looked at scores yet
            with torch.no_grad():
                self._scores({n: p[:1] for n, p in params.items()}, support_x[:1], width)
        return params | self._beside(support_x, None if support_y.is_floating_point() else width)

    def _all_at_once(
        self, support_x: Tensor, support_y: Tensor, steps: int, width: int | None
    ) -> Params:
        start = {name: like_its_gradient(p) for name, p in self._start(width).items()}
        params = {name: p.expand(len(support_x), *p.shape) for name, p in start.items()}
        memory = None
        for _ in range(steps):
            gradient = self._prepare(self._gradient(params, support_x, support_y, width))
            direction, memory = self.inner_rule.direction(gradient, memory)
            params = self._step(params, direction)
        return params

    def _gradient(self, params: Params, support_x: Tensor, support_y: Tensor, width: Any) -> Params:
        """Gradient of each task's support loss by its own parameters.

        No task's loss depends on another's parameters, so the gradient of the sum holds them all.
        """
        second_order = torch.is_grad_enabled() and not self.first_order
        if not second_order:
            params = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            losses = self._losses(self.loss_fn, self._scores(params, support_x, width), support_y)
            check_losses(losses)
            total = losses.sum()
        gradient = torch.autograd.grad(
            total, list(params.values()), create_graph=second_order, materialize_grads=True
        )
        return dict(zip(params, gradient, strict=True))

    def _prepare(self, gradient: Params) -> Params:
        """Clip each task's inner gradient."""
        limit = self.max_inner_grad_norm
        return gradient if limit is None else clipped(gradient, limit)

    def _step(self, params: Params, direction: Params) -> Params:
        """One step down (eq. 1); back through `sub` would take two passes."""
        rates = self._rates(params)
        return {n: p.add(direction[n], alpha=-rates[n]) for n, p in params.items()}

    def predict(self, state: Params, query_x: Tensor) -> Tensor:
        """Scores of each task's queries under its own fast parameters."""
        return self._scores(state, query_x)

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean query loss over the tasks, a scalar in the units of `loss_fn`.

        Of large networks its gradient by the fast parameters is taken at once, a few tasks at a
        time, so that their queries need not be kept while it runs back through the inner loop.
        """
        episodes = self._taken(episodes)
        size = self._queries_at_once(episodes)
        whole = size >= len(episodes) or not torch.is_grad_enabled() or learns(self.loss_fn)
        if whole or self._loss_over(episodes) != "mean":
            return super().loss(episodes)
        check_tasks(episodes.support_x, episodes.support_y, episodes.query_x)
        fast = self.learn_task(episodes.support_x, episodes.support_y)
        return loss_in_pieces(self._query_loss, self._unmoved(len(episodes)) | fast, episodes, size)

    # -------------------------------------------------------------- the parameters

    def _start(self, width: int | None = None) -> Params:
        """The parameters that the inner loop moves, where it starts; a zero head for `width`."""
        params: Params = {
            n: p
            for n, p in self.model.named_parameters()
            if p.requires_grad and n in self.inner_names
        }
        for name, p in self.head.items():
            shape = (p.shape[0] if width is None else width, *p.shape[1:])
            params[name] = p.new_zeros(shape).requires_grad_()
        return params

    @property
    def head(self) -> dict[str, nn.Parameter]:
        """What starts at 0, by name; empty without zero_head, or before the layer is found."""
        return {} if self._head is None else self._head.parameters(self.model)

    def _look_for_head(self, x: Tensor) -> None:
        if self._head is not None:
            self._head.look(self.model, x)

    def _rates(self, params: Params) -> dict[str, float]:
        if isinstance(self.inner_lr, Mapping):
            return rates_of(self.model, self.inner_lr)
        return dict.fromkeys(params, self.inner_lr)

    def _unmoved(self, n_tasks: int) -> Params:
        """What only the outer loop learns, for each task: the query loss depends on it too."""
        learned = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        return {
            n: p.expand(n_tasks, *p.shape) for n, p in learned.items() if n not in self.inner_names
        }

    # -------------------------------------------------------------- the scores

    def _scores(self, params: Params, x: Tensor, width: int | None = None) -> Tensor:
        """Scores (T, B, width) of items x (T, B, *item), under each task's parameters."""
        moved = {n: p for n, p in params.items() if n not in (SUPPORT, CLASSES)}
        scores = run(self.model, moved, x, self._models, params.get(SUPPORT))
        return self._fitting(scores, x, params[CLASSES].shape[1] if CLASSES in params else width)

    def _fitting(self, scores: Tensor, x: Tensor, width: int | None) -> Tensor:
        """Scores of `width` columns; those of classes that the tasks do not have are left out."""
        if width is not None and not self.training:
            scores = scores[..., :width]
        check_scores(self.model, scores, x, width)
        return scores

    def _beside(self, support_x: Tensor, n_way: int | None) -> Params:
        """What predictions need beside the fast parameters."""
        beside = {SUPPORT: support_x} if needs_support(self.model) else {}
        if not self.training and n_way not in (None, getattr(self.model, "output_dim", None)):
            beside[CLASSES] = support_x.new_zeros(len(support_x), n_way)
        return beside

    def _check_fit(self, support_y: Tensor) -> int | None:
        """How many scores the labels or targets need; refuse what the loss or the model cannot do.

        None: a loss of one's own on regression targets, whose scores may be of any width.
        """
        check_loss(self.loss_fn, support_y)
        needed = check_width(self.model, support_y, any_width=self.zero_head, exact=self.training)
        own_loss = support_y.is_floating_point() and not is_distance(self.loss_fn)
        return None if own_loss else needed

    # -------------------------------------------------------------- how many at a time

    def _query_loss(self, state: Params, tasks: EpisodeBatch) -> Tensor:
        return self._mean_loss(self.predict(state, tasks.query_x), tasks)

    def tasks_at_once(self, tasks: EpisodeBatch) -> int:
        """As many as are fast: by what its inner loop computes, and at most 8 pieces of queries."""
        task = tasks.support_x[:1], tasks.support_y[:1]
        size = self._sizes.of(self.learn_task, KEPT, *task, also=self.num_steps)
        return min(size, 8 * self._queries_at_once(tasks))

    def _queries_at_once(self, tasks: EpisodeBatch) -> int:
        task = tasks.query_x[:1], tasks.support_x[:1]
        return self._sizes.of(self._predict_at_start, PIECE, *task)

    def _predict_at_start(self, query_x: Tensor, support_x: Tensor) -> Tensor:
        self._look_for_head(support_x[0])
        start = {n: p[None] for n, p in self._start().items()}
        return self.predict(start | self._beside(support_x, None), query_x)

    def _one_by_one(
        self, support_x: Tensor, support_y: Tensor, steps: int, width: int | None
    ) -> Params:
        moved = self._start(width)
        settings: dict[str, Any] = {"rates": self._rates(moved), "rule": self.inner_rule}
        settings |= {"prepare": self._prepare, "first_order": self.first_order}
        tasks = []
        for x, y in zip(support_x, support_y, strict=True):

            def loss_of(model: nn.Module, x: Tensor = x, y: Tensor = y) -> Tensor:
                scores = tensor_of(model(x.clone()), self.model)
                loss = self.loss_fn(self._fitting(scores[None], x[None], width)[0], y)
                check_losses(loss[None])
                return loss

            tasks.append(descend(self.model, moved, loss_of, steps, **settings))
        return {name: torch.stack([t[name] for t in tasks]) for name in moved}
