"""MAML: learn a starting point from which a few gradient steps solve a new task.

Finn, Abbeel & Levine (2017). Introduced in notebook 05.

    inner loop:  theta'  = theta - alpha * grad L_support(theta), repeated num_inner_steps times
    outer loop:  theta  <- Adam(theta, grad_theta of the mean over tasks of L_query(theta'))

What is unusual: the outer gradient runs through the inner steps, so it holds second derivatives of
the support loss. `first_order=True` leaves them out (FOMAML). We differ from the paper's code in
one thing: losses are means over items, so our inner_lr is n_way times the published one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import repeat
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import MLP
from ..basics.arguments import as_integer, as_number, if_given
from ..engine import (
    Names,
    Network,
    Params,
    Support,
    as_model,
    as_rates,
    check_engine,
    clipped,
    for_each_task,
    inner_loop_of_higher,
    inner_rule,
    moving_names,
    rates_of,
)
from ..engine.losses import LossFunction, as_function
from ..tasks import EpisodeBatch
from .base import MetaLearner
from .modes import in_use

__all__ = ["MAML", "MAMLModel"]


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
            "logits". Wrappers around it (torch.compile, nn.DataParallel) are removed.
        inner_lr: step size alpha of the inner loop; or a mapping from names of parameters, or of
            modules that hold them, to their step sizes ("": all others). Parameters that it does
            not name do not move in the inner loop.
        meta_lr: step size of the outer loop's Adam.
        num_inner_steps: inner steps in training; 0 or more.
        loss_fn: loss of inner and outer loop: F.cross_entropy, F.mse_loss, ...
        first_order: leave out second derivatives (FOMAML).
        engine: "torch.func" (all tasks at once) or "higher" (task by task).
        num_test_steps: inner steps in eval mode; default: num_inner_steps.
        max_inner_grad_norm: shrink each task's inner gradient to at most this Euclidean norm.
        zero_head: start every inner loop with the linear layer that gives the scores at 0, so that
            no class begins with an advantage and the class order cannot matter (Kao, Chiu & Chen
            2022). The first inner step then moves only that layer, and n_way may differ from
            training. In a plain sequence, the layer is found immediately, otherwise in the first
            call. Without it, tasks in training have as many classes as the model has outputs; in
            eval mode they may have fewer, which then use the first outputs.
        inner_params: what moves in the inner loop: names of parameters, or of modules that hold
            them, or a function of a parameter's name and the parameter; None: all. The outer loop
            learns all of them. ANIL and BOIL are two settings of it.
        inner_optimizer: rule of the inner steps: "sgd", "momentum" (0.9) or "adam"; or
            torch.optim.SGD or torch.optim.Adam, plain or as functools.partial with momentum, or
            with betas and eps. Its state is reset for each task, and gradients run through it.
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
        self.model = as_model(model, batch_norm)
        self.inner_lr = as_rates(inner_lr)
        self.meta_lr = as_number("meta_lr", meta_lr, at_least=0)
        self.num_inner_steps = as_integer("num_inner_steps", num_inner_steps, at_least=0)
        self.num_test_steps = if_given(as_integer, "num_test_steps", num_test_steps, at_least=0)
        self.max_inner_grad_norm = if_given(
            as_number, "max_inner_grad_norm", max_inner_grad_norm, above=0
        )
        self.loss_fn = as_function("loss_fn", loss_fn)
        self.first_order, self.engine, self.zero_head = first_order, engine, zero_head
        self.inner_rule = inner_rule(inner_optimizer)
        check_engine(engine, self.inner_rule)
        self.inner_names = moving_names(self.model, inner_params, self.inner_lr)
        self._network = Network(
            self.model, self.inner_names, zero_head=zero_head, one_by_one=engine == "higher"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a new model replaces the old one everywhere."""
        super().__setattr__(name, value)
        if name == "model" and "_network" in vars(self):
            self._network.model = value

    @property
    def num_steps(self) -> int:
        """Inner steps in the present mode, training or eval."""
        if self.training or self.num_test_steps is None:
            return self.num_inner_steps
        return self.num_test_steps

    @property
    def head(self) -> dict[str, nn.Parameter]:
        """What starts at 0, by name; empty without zero_head, or before the layer is found."""
        return self._network.head

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
        state = self.learn_task(support_x[None], support_y[None], num_inner_steps)
        return {name: p[0] for name, p in self._network.parameters(state).items()}

    def learn_task(
        self, support_x: Tensor, support_y: Tensor, num_inner_steps: int | None = None
    ) -> Params:
        """Fast parameters of T tasks, each with a leading task axis."""
        support = self._network.support(support_x, support_y, self.loss_fn, exact=self.training)
        given = if_given(as_integer, "num_inner_steps", num_inner_steps, at_least=0)
        steps = self.num_steps if given is None else given
        inner_loop = self._with_higher if self.engine == "higher" else self._descend
        return self._network.state(inner_loop(support, steps), support, seen=steps > 0)

    def _descend(self, support: Support, steps: int) -> Params:
        """`steps` steps down each task's support loss, from the common start."""
        params = for_each_task(self._network.start(support.width), len(support.x))
        return self._walk(params, repeat(partial(self._slope, support), steps))

    def _walk(self, params: Params, slopes: Iterable[Callable[[Params], Params]]) -> Params:
        """One inner step for each of `slopes`, which say the gradient at a point."""
        memory = None  # what the rule remembers, momentum or moments
        for slope in slopes:
            direction, memory = self.inner_rule.direction(self._clip(slope(params)), memory)
            params = self._step(params, direction)
        return params

    def _slope(self, support: Support, params: Params) -> Params:
        """Gradient of each task's support loss."""
        further = not self.first_order
        return self._network.gradient(params, support, self.loss_fn, second_order=further)

    def _clip(self, gradient: Params) -> Params:
        """Each task's inner gradient, shrunk to max_inner_grad_norm."""
        limit = self.max_inner_grad_norm
        return gradient if limit is None else clipped(gradient, limit)

    def _step(self, params: Params, direction: Params) -> Params:
        """One step down (eq. 1); with `sub`, the backward pass would take two passes."""
        rates = self._rates(params)
        return {n: p.add(direction[n], alpha=-rates[n]) for n, p in params.items()}

    def _rates(self, params: Params) -> dict[str, float]:
        if isinstance(self.inner_lr, Mapping):
            return rates_of(self.model, self.inner_lr)
        return dict.fromkeys(params, self.inner_lr)

    def _with_higher(self, support: Support, steps: int) -> Params:
        """The same steps as `_descend`, as `higher` takes them."""
        return inner_loop_of_higher(
            self._network,
            support,
            self.loss_fn,
            steps,
            rates=self._rates(self._network.start()),
            rule=self.inner_rule,
            prepare=self._clip,
            first_order=self.first_order,
        )

    def predict(self, state: Params, query_x: Tensor) -> Tensor:
        """Scores of each task's queries under its own fast parameters."""
        return self._network.scores(state, query_x)

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean query loss over the tasks, a scalar in the units of `loss_fn`."""
        if self._does_more_when_called:
            return super().loss(episodes)
        with in_use(self):
            episodes = self._taken(episodes)
            return self._network.query_loss(
                self.learn_task, self._query_loss, episodes, self._is_plain_mean
            )

    def _query_loss(self, state: Params, episodes: EpisodeBatch) -> Tensor:
        return self._mean_loss(self.predict(state, episodes.query_x), episodes)

    def tasks_at_once(self, tasks: EpisodeBatch) -> int:
        """As many as run fast, estimated from the work of the inner loop and the queries."""
        return self._network.tasks_at_once(tasks, self.learn_task, self.num_steps)
