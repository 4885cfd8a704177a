"""MAML: learn a starting point from which a few gradient steps solve a new task.

Finn, Abbeel & Levine (2017). Introduced in notebook 05.

    inner loop:  theta'  = theta - alpha * grad L_support(theta), repeated num_inner_steps times
    outer loop:  theta  <- Adam(theta, grad_theta of the mean over tasks of L_query(theta'))

What is unusual: the outer gradient runs through the inner steps, so it holds second derivatives of
the support loss. `first_order=True` leaves those out (FOMAML). We differ from the paper's code in
one thing: losses are means over items, so our inner_lr is n_way times the published one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import as_integer, as_number
from ..backbones import MLP
from ..tasks import EpisodeBatch
from .any_model import OverTasks, check_for_higher, plain_kernels, taken_in
from .base import LossFunction, MetaLearner, check_tasks, count_classes
from .chunks import ACCELERATED, KEPT, PIECE, Params, loss_in_pieces, tasks_at_once
from .inner_steps import Descent, InnerRule, Names, chosen_names, inner_rule, rates_of
from .norms import converted, needs_support
from .outputs import tensor_of
from .side_by_side import like_its_gradient, run
from .zero_head import find_head, last_layer

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
        if not isinstance(inner_lr, Mapping):
            inner_lr = as_number("inner_lr", inner_lr, at_least=0)
        _check_settings(num_inner_steps, num_test_steps, engine, max_inner_grad_norm)
        self.model = converted(taken_in(model), batch_norm)
        self.inner_lr: Any = inner_lr
        self.meta_lr = as_number("meta_lr", meta_lr, at_least=0)
        self.num_inner_steps, self.num_test_steps = num_inner_steps, num_test_steps
        self.loss_fn, self.first_order, self.engine = loss_fn, first_order, engine
        self.max_inner_grad_norm = max_inner_grad_norm
        self.inner_rule = inner_rule(inner_optimizer)
        _check_engine(engine, self.inner_rule)
        self.inner_names = _moving(self.model, inner_params, inner_lr)
        by_task, kind = engine == "higher", type(self.model).__name__
        self._models = OverTasks(f"the model ({kind})", one_by_one=by_task)
        self._losses = OverTasks("loss_fn", one_by_one=by_task)
        self._chunk_sizes: dict[tuple[int, ...], int] = {}
        self.zero_head = zero_head
        self._head: str | None = None
        if zero_head:
            self._look_for_head()

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

    @property
    def head(self) -> dict[str, nn.Parameter]:
        """What starts at 0, by name; empty without zero_head, or before the layer is found."""
        if self._head is None:
            return {}
        layer = self.model.get_submodule(self._head)
        own = {id(p) for p in layer.parameters()}
        return {n: p for n, p in self.model.named_parameters() if id(p) in own}

    def _look_for_head(self, x: Tensor | None = None) -> None:
        """Find the layer that gives the scores, if need be by those of items x (B, *item)."""
        if x is None:
            if not any(isinstance(layer, nn.Linear) for layer in self.model.modules()):
                raise ValueError(
                    "zero_head needs a model with a linear layer as its last; it has none"
                )
            self._head = last_layer(self.model)
        elif self.zero_head and self._head is None:
            self._head = find_head(self.model, x)
        for name, parameter in self.head.items():
            if name not in self.inner_names:
                raise ValueError(
                    f"zero_head: {name} starts at 0 and must be free to move in the inner loop"
                )
            parameter.requires_grad_(False)  # always starts at 0: nothing to meta-learn

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

    def _scores(self, params: Params, x: Tensor, width: int | None = None) -> Tensor:
        """Scores (T, B, width) of items x (T, B, *item), under each task's parameters."""
        moved = {n: p for n, p in params.items() if n not in (SUPPORT, CLASSES)}
        scores = run(self.model, moved, x, self._models, params.get(SUPPORT))
        return self._fitting(scores, x, params[CLASSES].shape[1] if CLASSES in params else width)

    def _fitting(self, scores: Tensor, x: Tensor, width: int | None) -> Tensor:
        """Scores of `width` columns; those of classes that the tasks do not have are left out."""
        if width is not None and not self.training:
            scores = scores[..., :width]
        _check_scores(self.model, scores, x, width)
        return scores

    def _gradient(self, params: Params, support_x: Tensor, support_y: Tensor, width: Any) -> Params:
        """Gradient of each task's support loss by its own parameters.

        No task's loss depends on another's parameters, so the gradient of the sum holds them all.
        """
        second_order = torch.is_grad_enabled() and not self.first_order
        if not second_order:
            params = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            losses = self._losses(self.loss_fn, self._scores(params, support_x, width), support_y)
            _check_losses(losses)
            total = losses.sum()
        gradient = torch.autograd.grad(
            total, list(params.values()), create_graph=second_order, materialize_grads=True
        )
        return dict(zip(params, gradient, strict=True))

    def _step(self, params: Params, direction: Params) -> Params:
        """One step down (eq. 1); back through `sub` would take two passes."""
        if isinstance(self.inner_lr, Mapping):
            rates = rates_of(self.model, self.inner_lr)
        else:
            rates = dict.fromkeys(params, self.inner_lr)
        return {n: p.add(direction[n], alpha=-rates[n]) for n, p in params.items()}

    def _prepare(self, gradient: Params) -> Params:
        """Clip each task's inner gradient."""
        if self.max_inner_grad_norm is not None:
            squares = torch.stack([_per_task(g).square().sum(dim=1) for g in gradient.values()])
            norms = (squares.sum(dim=0) + 1e-12).sqrt()[:, None]  # (T, 1)
            shrink = (self.max_inner_grad_norm / norms).clamp(max=1)
            gradient = {n: (_per_task(g) * shrink).view_as(g) for n, g in gradient.items()}
        return gradient

    def _inner_loop_higher(
        self, support_x: Tensor, support_y: Tensor, steps: int, width: int | None
    ) -> Params:
        """The same loop on `higher`, which patches the model so that its weights are tensors."""
        import higher

        moved = self._start(width)
        own = dict(self.model.named_parameters())
        start = {**own, **moved}
        names = list(start)

        def prepare(gradient: list[Tensor | None]) -> list[Tensor | None]:
            pairs = zip(names, gradient, strict=True)
            known = {n: g[None] for n, g in pairs if g is not None and n in moved}
            known = self._prepare(known) if known else {}
            cut = {n: g[0].detach() if self.first_order else g[0] for n, g in known.items()}
            return [cut.get(name) for name in names]  # None: frozen or unused, stays in place

        keep_graph = torch.is_grad_enabled()
        rates = rates_of(self.model, self.inner_lr)
        groups = [{"params": [own[name]], "lr": rates[name]} for name in moved]
        momentum = self.inner_rule.momentum if isinstance(self.inner_rule, Descent) else 0.0
        optimizer = torch.optim.SGD(groups, momentum=momentum)
        with (
            torch.enable_grad(),
            plain_kernels(self.model),
            higher.innerloop_ctx(
                self.model,
                optimizer,
                copy_initial_weights=False,  # True would cut the meta-gradient
                track_higher_grads=keep_graph,
            ) as (fast_model, differentiable_optimizer),
        ):
            fast_model.update_params(list(start.values()))
            for _ in range(steps):
                scores = tensor_of(fast_model(support_x.clone()), self.model)[None]
                loss = self.loss_fn(self._fitting(scores, support_x[None], width)[0], support_y)
                _check_losses(loss[None])
                differentiable_optimizer.step(loss, grad_callback=prepare)
            fast = dict(zip(names, fast_model.parameters(), strict=True))
        params = {name: fast[name] for name in moved}
        return params if keep_graph else {name: p.detach() for name, p in params.items()}

    def learn_task(
        self, support_x: Tensor, support_y: Tensor, num_inner_steps: int | None = None
    ) -> Params:
        """Fast parameters of T tasks, each with a leading task axis."""
        width = self._check_fit(support_y)
        self._look_for_head(support_x[0])
        steps = self.num_steps if num_inner_steps is None else num_inner_steps
        inner_loop = self._one_by_one if self.engine == "higher" else self._all_at_once
        params = inner_loop(support_x, support_y, steps, width)
        if steps == 0 and not hasattr(self.model, "output_dim"):  # nobody has looked at scores yet
            with torch.no_grad():
                self._scores({n: p[:1] for n, p in params.items()}, support_x[:1], width)
        return params | self._beside(support_x, None if support_y.is_floating_point() else width)

    def _beside(self, support_x: Tensor, n_way: int | None) -> Params:
        """What predictions need beside the fast parameters."""
        beside = {SUPPORT: support_x} if needs_support(self.model) else {}
        if not self.training and n_way not in (None, getattr(self.model, "output_dim", None)):
            beside[CLASSES] = support_x.new_zeros(len(support_x), n_way)
        return beside

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

    def _one_by_one(
        self, support_x: Tensor, support_y: Tensor, steps: int, width: int | None
    ) -> Params:
        check_for_higher(self.model)
        pairs = zip(support_x, support_y, strict=True)
        tasks = [self._inner_loop_higher(x, y, steps, width) for x, y in pairs]
        return {name: torch.stack([t[name] for t in tasks]) for name in tasks[0]}

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
        whole = size >= len(episodes) or not torch.is_grad_enabled()
        if whole or self._loss_over(episodes) != "mean":
            return super().loss(episodes)
        check_tasks(episodes.support_x, episodes.support_y, episodes.query_x)
        fast = self.learn_task(episodes.support_x, episodes.support_y)
        return loss_in_pieces(self._query_loss, self._unmoved(len(episodes)) | fast, episodes, size)

    def _unmoved(self, n_tasks: int) -> Params:
        """What only the outer loop learns, for each task: the query loss depends on it too."""
        learned = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        return {
            n: p.expand(n_tasks, *p.shape) for n, p in learned.items() if n not in self.inner_names
        }

    def _query_loss(self, state: Params, tasks: EpisodeBatch) -> Tensor:
        return self._mean_loss(self.predict(state, tasks.query_x), tasks)

    def tasks_at_once(self, tasks: EpisodeBatch) -> int:
        """As many as are fast: by what its inner loop computes, and at most 8 pieces of queries."""
        size = self._at_once(self.learn_task, KEPT, tasks.support_x[:1], tasks.support_y[:1])
        return min(size, 8 * self._queries_at_once(tasks))

    def _queries_at_once(self, tasks: EpisodeBatch) -> int:
        return self._at_once(self._predict_at_start, PIECE, tasks.query_x[:1], tasks.support_x[:1])

    def _predict_at_start(self, query_x: Tensor, support_x: Tensor) -> Tensor:
        self._look_for_head(support_x[0])
        start = {n: p[None] for n, p in self._start().items()}
        return self.predict(start | self._beside(support_x, None), query_x)

    def _at_once(self, work: Callable[..., Any], n_bytes: int, *task: Tensor) -> int:
        """`tasks_at_once` of `work(*task)`, counted once for each size of task."""
        if task[0].device.type != "cpu":
            n_bytes *= ACCELERATED
        size = (*task[0].shape, self.num_steps, n_bytes)
        if size not in self._chunk_sizes:
            self._chunk_sizes[size] = tasks_at_once(lambda: work(*task), n_bytes)
        return self._chunk_sizes[size]

    def _check_fit(self, support_y: Tensor) -> int | None:
        """How many scores the labels or targets need; refuse what the loss or the model cannot do.

        None: a loss of one's own on regression targets, whose scores may be of any width.
        """
        regression = support_y.is_floating_point()
        _check_loss(self.loss_fn, support_y)
        needed = support_y.shape[-1] if regression else count_classes(support_y)
        width = needed if self.zero_head else getattr(self.model, "output_dim", needed)
        fewer = not regression and not self.training and width > needed
        if width != needed and not fewer:
            what = "targets" if regression else "n_way"
            raise ValueError(
                f"the model has output_dim {width}, but the tasks need {needed} ({what}); build it "
                f"with output_dim={needed}, or give zero_head=True, which takes any {what}"
            )
        return None if regression and not _is_loss(self.loss_fn, DISTANCES) else needed


def _per_task(g: Tensor) -> Tensor:
    """(T, *shape) -> (T, numbers)."""
    return g.reshape(len(g), -1)


DISTANCES = {
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
}
CROSS_ENTROPY = {F.cross_entropy: nn.CrossEntropyLoss}


def _is_loss(loss_fn: LossFunction, kinds: Mapping[Any, type[nn.Module]]) -> bool:
    """Whether it is one of these functions, or their module, or one of them with settings."""
    plain = getattr(loss_fn, "func", loss_fn)  # of a functools.partial
    return isinstance(plain, tuple(kinds.values())) or any(plain is kind for kind in kinds)


def _check_loss(loss_fn: LossFunction, support_y: Tensor) -> None:
    regression = support_y.is_floating_point()
    if regression and _is_loss(loss_fn, CROSS_ENTROPY):
        raise ValueError(
            "support_y holds regression targets, for which cross-entropy means nothing (with "
            "one output it is always 0); build MAML with loss_fn=F.mse_loss"
        )
    if regression and support_y.ndim < 3:
        raise ValueError(
            f"regression targets must be (T, S, out), got support_y {tuple(support_y.shape)}; give "
            "it a last axis of 1"
        )
    if not regression and _is_loss(loss_fn, DISTANCES):
        raise ValueError(
            "support_y holds class labels, from which scores have no distance; build MAML with "
            "loss_fn=F.cross_entropy"
        )


def _check_losses(losses: Tensor) -> None:
    if losses.ndim != 1:
        raise ValueError(
            f"loss_fn must give one number for a task, got the shape {tuple(losses.shape[1:])}; "
            "take the mean over its items"
        )


def _check_scores(model: nn.Module, scores: Tensor, x: Tensor, width: int | None) -> None:
    shape, n_items = tuple(scores.shape[1:]), x.shape[1]
    if len(shape) == 2 and shape[0] == n_items and width in (None, shape[1]):
        return
    raise ValueError(
        f"forward of {type(model).__name__} must give scores ({n_items}, "
        f"{'n_out' if width is None else width}) for {n_items} items {tuple(x.shape[2:])}, one for "
        f"each class or target, got {shape}"
    )


def _check_settings(
    num_inner_steps: int,
    num_test_steps: int | None,
    engine: str,
    max_inner_grad_norm: float | None,
) -> None:
    as_integer("num_inner_steps", num_inner_steps, at_least=0)
    if num_test_steps is not None:
        as_integer("num_test_steps", num_test_steps, at_least=0)
    if engine not in ("torch.func", "higher"):
        raise ValueError(f"engine must be torch.func or higher, got {engine!r}")
    if max_inner_grad_norm is not None:
        as_number("max_inner_grad_norm", max_inner_grad_norm, above=0)


def _check_engine(engine: str, rule: InnerRule) -> None:
    if engine == "higher" and not isinstance(rule, Descent):
        raise ValueError(
            "engine must be torch.func for inner_optimizer='adam': the Adam of higher is another "
            "one (it adds eps before it corrects the bias)"
        )


def _moving(
    model: nn.Module, inner_params: Names | None, inner_lr: float | Mapping[str, float]
) -> frozenset[str]:
    """Names of the parameters that move in the inner loop, each with a step size."""
    chosen, rated = chosen_names(model, inner_params), rates_of(model, inner_lr).keys()
    if inner_params is not None and chosen - rated:
        raise ValueError(
            f"inner_lr has no step size for {sorted(chosen - rated)[0]}, which inner_params chooses"
        )
    moving = chosen & rated
    if not any(p.requires_grad for n, p in model.named_parameters() if n in moving):
        raise ValueError(
            "the model has no parameter that requires a gradient and may move: nothing can adapt"
        )
    return moving
