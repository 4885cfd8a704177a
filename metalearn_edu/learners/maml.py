"""MAML: learn a starting point from which a few gradient steps solve a new task.

Finn, Abbeel & Levine (2017). Introduced in notebook 05.

    inner loop:  theta'  = theta - alpha * grad L_support(theta), repeated num_inner_steps times
    outer loop:  theta  <- Adam(theta, grad_theta of the mean over tasks of L_query(theta'))

What is unusual: the outer gradient runs through the inner steps, so it holds second derivatives of
the support loss. `first_order=True` leaves those out (FOMAML). We differ from the paper's code in
one thing: losses are means over items, so our inner_lr is n_way times the published one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from ..arguments import as_integer
from ..backbones import MLP
from ..tasks import EpisodeBatch
from .base import LossFunction, MetaLearner, check_tasks, count_classes
from .chunks import ACCELERATED, KEPT, PIECE, Params, loss_in_pieces, tasks_at_once
from .side_by_side import like_its_gradient, run

__all__ = ["MAML", "MAMLModel"]


class MAMLModel(MLP):
    """The plain backbone: input_dim -> hidden_dim -> hidden_dim -> output_dim, ReLU between.

    With input_dim 1, hidden_dim 40 and output_dim 1 it is the sinusoid network of the paper.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__(input_dim, [hidden_dim, hidden_dim], output_dim)


class MAML(MetaLearner):
    """Model-agnostic meta-learning of an initialisation.

    Args:
        model: any module whose output width is n_way (regression: the width of the targets). Its
            layers must not keep running statistics: each task has its own.
        inner_lr: step size alpha of the inner loop.
        meta_lr: step size of the outer loop's Adam.
        num_inner_steps: inner steps in training; 0 or more.
        loss_fn: loss of inner and outer loop: F.cross_entropy, F.mse_loss, ...
        first_order: leave out second derivatives (FOMAML).
        engine: "torch.func" (all tasks at once) or "higher" (task by task).
        num_test_steps: inner steps in eval mode; default: num_inner_steps.
        max_inner_grad_norm: shrink each task's inner gradient to at most this Euclidean norm.
        zero_head: start every inner loop with the last linear layer at 0, so that no class begins
            with an advantage and the class order cannot matter (Kao, Chiu & Chen 2022). The first
            inner step then moves that layer alone.
    Raises:
        ValueError: a negative step size, count or limit, an unknown engine, a model whose layers
            keep running statistics, or zero_head without a linear layer.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float = 0.01,
        meta_lr: float = 0.001,
        num_inner_steps: int = 5,
        loss_fn: LossFunction = F.cross_entropy,
        *,
        first_order: bool = False,
        engine: str = "torch.func",
        num_test_steps: int | None = None,
        max_inner_grad_norm: float | None = None,
        zero_head: bool = False,
    ) -> None:
        super().__init__()
        _check_settings(inner_lr, num_inner_steps, num_test_steps, engine, max_inner_grad_norm)
        _refuse_running_statistics(model)
        self.model, self.inner_lr, self.meta_lr = model, inner_lr, meta_lr
        self.num_inner_steps, self.num_test_steps = num_inner_steps, num_test_steps
        self.loss_fn, self.first_order, self.engine = loss_fn, first_order, engine
        self.max_inner_grad_norm = max_inner_grad_norm
        self._chunk_sizes: dict[tuple[int, ...], int] = {}
        self.head = _last_linear(model) if zero_head else {}
        for parameter in self.head.values():
            parameter.requires_grad_(False)  # always starts at 0: nothing to meta-learn

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
        return {name: p[0] for name, p in params.items()}

    def _start(self) -> Params:
        """The parameters that the inner loop moves, where it starts."""
        params: Params = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        return params | {n: torch.zeros_like(p, requires_grad=True) for n, p in self.head.items()}

    def _gradient(self, params: Params, support_x: Tensor, support_y: Tensor) -> Params:
        """Gradient of each task's support loss by its own parameters.

        No task's loss depends on another's parameters, so the gradient of the sum holds them all.
        """
        second_order = torch.is_grad_enabled() and not self.first_order
        if not second_order:
            params = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            scores = run(self.model, params, support_x)
            total = vmap(self.loss_fn)(scores, support_y).sum()
        gradient = torch.autograd.grad(
            total, list(params.values()), create_graph=second_order, materialize_grads=True
        )
        return dict(zip(params, gradient, strict=True))

    def _step(self, params: Params, gradient: Params) -> Params:
        """One step of gradient descent (eq. 1); back through `sub` would take two passes."""
        return {n: p.add(gradient[n], alpha=-self.inner_lr) for n, p in params.items()}

    def _prepare(self, gradient: Params) -> Params:
        """Clip each task's inner gradient."""
        if self.max_inner_grad_norm is not None:
            squares = torch.stack([_per_task(g).square().sum(dim=1) for g in gradient.values()])
            norms = (squares.sum(dim=0) + 1e-12).sqrt()[:, None]  # (T, 1)
            shrink = (self.max_inner_grad_norm / norms).clamp(max=1)
            gradient = {n: (_per_task(g) * shrink).view_as(g) for n, g in gradient.items()}
        return gradient

    def _inner_loop_higher(self, support_x: Tensor, support_y: Tensor, steps: int) -> Params:
        """The same loop on `higher`, which patches the model so that its weights are tensors."""
        import higher

        moved = self._start()
        start = {**dict(self.model.named_parameters()), **moved}
        names = list(start)

        def prepare(gradient: list[Tensor | None]) -> list[Tensor | None]:
            pairs = zip(names, gradient, strict=True)
            known = self._prepare({name: g[None] for name, g in pairs if g is not None})
            cut = {n: g[0].detach() if self.first_order else g[0] for n, g in known.items()}
            return [cut.get(name) for name in names]  # None: frozen or unused, stays in place

        keep_graph = torch.is_grad_enabled()
        optimizer = torch.optim.SGD(self.model.parameters(), lr=self.inner_lr)
        with (
            torch.enable_grad(),
            higher.innerloop_ctx(
                self.model,
                optimizer,
                copy_initial_weights=False,  # True would cut the meta-gradient
                track_higher_grads=keep_graph,
            ) as (fast_model, differentiable_optimizer),
        ):
            fast_model.update_params(list(start.values()))
            for _ in range(steps):
                loss = self.loss_fn(fast_model(support_x), support_y)
                differentiable_optimizer.step(loss, grad_callback=prepare)
            fast = dict(zip(names, fast_model.parameters(), strict=True))
        params = {name: fast[name] for name in moved}
        return params if keep_graph else {name: p.detach() for name, p in params.items()}

    def learn_task(
        self, support_x: Tensor, support_y: Tensor, num_inner_steps: int | None = None
    ) -> Params:
        """Fast parameters of T tasks, each with a leading task axis."""
        self._check_fit(support_y)
        steps = self.num_steps if num_inner_steps is None else num_inner_steps
        if self.engine == "higher":
            pairs = zip(support_x, support_y, strict=True)
            tasks = [self._inner_loop_higher(x, y, steps) for x, y in pairs]
            return {name: torch.stack([t[name] for t in tasks]) for name in tasks[0]}
        start = {name: like_its_gradient(p) for name, p in self._start().items()}
        params = {name: p.expand(len(support_x), *p.shape) for name, p in start.items()}
        for _ in range(steps):
            gradient = self._gradient(params, support_x, support_y)
            params = self._step(params, self._prepare(gradient))
        return params

    def predict(self, state: Params, query_x: Tensor) -> Tensor:
        """Scores of each task's queries under its own fast parameters."""
        return run(self.model, state, query_x)

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean query loss over the tasks, a scalar in the units of `loss_fn`.

        Of large networks its gradient by the fast parameters is taken at once, a few tasks at a
        time, so that their queries need not be kept while it runs back through the inner loop.
        """
        episodes = self._taken(episodes)
        size = self._queries_at_once(episodes)
        whole = size >= len(episodes) or not torch.is_grad_enabled()
        if whole or self._loss_over(episodes) != "mean":
            return super().loss(episodes)
        check_tasks(episodes.support_x, episodes.support_y, episodes.query_x)
        fast = self.learn_task(episodes.support_x, episodes.support_y)
        return loss_in_pieces(self._query_loss, fast, episodes, size)

    def _query_loss(self, state: Params, tasks: EpisodeBatch) -> Tensor:
        return self._mean_loss(self.predict(state, tasks.query_x), tasks)

    def tasks_at_once(self, tasks: EpisodeBatch) -> int:
        """As many as are fast: by what its inner loop computes, and at most 8 pieces of queries."""
        size = self._at_once(self.learn_task, KEPT, tasks.support_x[:1], tasks.support_y[:1])
        return min(size, 8 * self._queries_at_once(tasks))

    def _queries_at_once(self, tasks: EpisodeBatch) -> int:
        return self._at_once(self._predict_at_start, PIECE, tasks.query_x[:1])

    def _predict_at_start(self, query_x: Tensor) -> Tensor:
        return self.predict({n: p[None] for n, p in self._start().items()}, query_x)

    def _at_once(self, work: Callable[..., Any], n_bytes: int, *task: Tensor) -> int:
        """`tasks_at_once` of `work(*task)`, counted once for each size of task."""
        if task[0].device.type != "cpu":
            n_bytes *= ACCELERATED
        size = (*task[0].shape, self.num_steps, n_bytes)
        if size not in self._chunk_sizes:
            self._chunk_sizes[size] = tasks_at_once(lambda: work(*task), n_bytes)
        return self._chunk_sizes[size]

    def _check_fit(self, support_y: Tensor) -> None:
        width = getattr(self.model, "output_dim", None)
        regression = support_y.is_floating_point()
        if regression and self.loss_fn is F.cross_entropy:
            raise ValueError(
                "support_y holds regression targets, for which cross-entropy means nothing (with "
                "one output it is always 0); build MAML with loss_fn=F.mse_loss"
            )
        needed = support_y.shape[-1] if regression else count_classes(support_y)
        if width is not None and width != needed:
            raise ValueError(
                f"the model has output_dim {width}, but the tasks need {needed} "
                f"({'targets' if regression else 'n_way'}); build it with output_dim={needed}"
            )


def _per_task(g: Tensor) -> Tensor:
    """(T, *shape) -> (T, numbers)."""
    return g.reshape(len(g), -1)


def _last_linear(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weight and bias of the model's last linear layer, by name."""
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("zero_head needs a model with a linear layer as its last; it has none")
    parameters = dict(model.named_parameters())
    prefix = f"{layers[-1]}." if layers[-1] else ""
    return {n: parameters[n] for n in (f"{prefix}weight", f"{prefix}bias") if n in parameters}


def _check_settings(
    inner_lr: Any,
    num_inner_steps: int,
    num_test_steps: int | None,
    engine: str,
    max_inner_grad_norm: float | None,
) -> None:
    if not inner_lr >= 0:
        raise ValueError(f"inner_lr must be 0 or more, got {inner_lr}")
    as_integer("num_inner_steps", num_inner_steps, at_least=0)
    if num_test_steps is not None:
        as_integer("num_test_steps", num_test_steps, at_least=0)
    if engine not in ("torch.func", "higher"):
        raise ValueError(f"engine must be torch.func or higher, got {engine!r}")
    if max_inner_grad_norm is not None and not max_inner_grad_norm > 0:
        raise ValueError(f"max_inner_grad_norm must be above 0, got {max_inner_grad_norm}")


def _refuse_running_statistics(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None:
            raise ValueError(
                f"layer {name!r} of the model keeps running statistics, which MAML cannot share "
                "between tasks; use norm='group', or norm='batch_transductive' knowingly"
            )
