"""The one idea of the course: a meta-learner turns a support set into a predictor.

A learner says two things: what a support set teaches it (`learn_task`) and how it answers with
what it was taught (`predict`). All else follows: scores for many tasks at once (calling the
learner), a predictor for one task (`adapt`), the loss of the outer loop (`loss`) and one step of
it (`outer_loop`). Introduced in notebook 01.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..basics.arguments import as_integer, as_number
from ..engine.any_model import wearing
from ..engine.heap import keep_pages
from ..engine.losses import (
    LossFunction,
    as_function,
    check_loss,
    growth,
    is_cross_entropy,
    kind_of,
    learns,
    said_kind,
)
from ..tasks import EpisodeBatch

__all__ = [
    "LossFunction",
    "MetaLearner",
    "as_function",
    "as_learner",
    "count_classes",
    "eval_mode",
    "is_cross_entropy",
    "kept_modes",
]

_MISSING = object()


class _Default:
    """An attribute of a class that gives way to a module that an instance has under its name."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def __get__(self, learner: nn.Module | None, owner: type | None = None) -> Any:
        modules = {} if learner is None else learner._modules
        if self.name in modules:
            return modules[self.name]
        bind = getattr(type(self.value), "__get__", None)
        return bind(self.value, learner, owner) if bind else self.value


class MetaLearner(nn.Module, ABC):
    """Base class of every learner. T tasks at once, always on the leading axis.

    What comes in may be tensors or arrays; floats move to the device and the dtype of the
    learner's parameters.

    Attributes:
        meta_lr: step size of the outer loop's Adam.
        loss_fn: what the outer loop minimises, from (T * Q, n_way) scores and (T * Q,) labels to
            one number: a function or a module. The parameters of a module are meta-learned too.
    """

    meta_lr: float = 1e-3
    loss_fn: LossFunction = staticmethod(F.cross_entropy)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, be it plain or a module, over what the class has.

        PyTorch keeps modules in a table of their own, where Python looks only for names that the
        class does not have; without this they would be lost without a word.
        """
        of_class = inspect.getattr_static(type(self), name, _MISSING)
        if hasattr(type(of_class), "__set__"):  # a property sets itself, or refuses
            object.__setattr__(self, name, value)
            return
        modules = vars(self).get("_modules", {})
        if callable(value) and not isinstance(value, nn.Module):  # may take a module's place
            modules.pop(name, None)
        super().__setattr__(name, value)
        self._show_modules()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As of copies and of pickled learners: another process has another class."""
        super().__setstate__(state)
        self._show_modules()

    def _show_modules(self) -> None:
        """Let the class's attributes give way to modules of their names."""
        for name in vars(self).get("_modules", {}):
            of_class = inspect.getattr_static(type(self), name, _MISSING)
            if of_class is not _MISSING and not isinstance(of_class, _Default):
                setattr(type(self), name, _Default(name, of_class))

    @abstractmethod
    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Any:
        """What T support sets (T, S, *item), (T, S) teach: a state with a leading task axis."""

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

    def adapt(
        self, support_x: Tensor, support_y: Tensor, **options: Any
    ) -> Callable[[Tensor], Tensor]:
        """A predictor for ONE task: from query_x (Q, *item) to scores (Q, n_way).

        Learns and answers in eval mode, whatever mode the learner is in: that of MAML's test
        steps, without dropout. The learner is left unchanged, and the predictor goes on with the
        weights of this moment if the learner is trained later; works under torch.no_grad() and
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
            state = tree_map(torch.clone, learned)  # not the weights themselves
        then = {name: t.detach().clone() for name, t in _tensors(self).items()}

        def predictor(query_x: Tensor) -> Tensor:
            with in_use(self), self._wearing(then), eval_mode(self):
                query_x = self._moved(as_items("query_x", query_x))
                queries = self._queries(support_x, query_x[None])
                return self.predict(state, queries)[0]

        return predictor

    def _wearing(self, weights: dict[str, Tensor]) -> AbstractContextManager[None]:
        """The learner with the weights that it had, if they have changed since."""
        return nullcontext() if _equal(_tensors(self), weights) else wearing(self, weights)

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean query loss over the tasks, a scalar in the units of `loss_fn` (nats).

        Raises:
            ValueError: not episodes, or `loss_fn` does not return one number.
        """
        episodes = self._taken(episodes)
        scores = self(episodes.support_x, episodes.support_y, episodes.query_x)
        return self._mean_loss(scores, episodes)

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
        """How many tasks `outer_loop` takes at a time unless told; None: all of them."""
        return None

    @cached_property
    def meta_optimizer(self) -> torch.optim.Optimizer:
        """The Adam optimiser that `outer_loop` uses when none is given."""
        group = {"params": self.parameters(), "meta_lr": self.meta_lr}
        return torch.optim.Adam([group], lr=self.meta_lr)

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

        It is a step of training: a learner in eval mode takes it in training mode.

        Args:
            tasks: the batch; every task counts equally.
            optimizer: steps all meta-parameters; default: `meta_optimizer`.
            max_grad_norm: shrink the meta-gradient to at most this Euclidean norm.
            chunk_size: back-propagate this many tasks at a time: same gradient, less memory.
                Default: `tasks_at_once`. Not the same where an encoder normalises by batch: its
                statistics are those of all items of a chunk.
        Raises:
            FloatingPointError: the loss or its gradient is not finite, and no step was taken; or
                the step itself left parameters that are not finite.
            ValueError: an argument makes no sense, nothing can be learned from the loss, or it
                cannot be taken in chunks.
        """
        keep_pages()
        limit = as_limit("max_grad_norm", max_grad_norm)
        tasks = self._taken(tasks)
        size = None if chunk_size is None else as_integer("chunk_size", chunk_size)
        require_trainable(self)
        optimizer = self._present_optimizer() if optimizer is None else as_optimizer(optimizer)
        optimizer.zero_grad()
        with _ONE_AT_A_TIME, training_mode(self):
            total = self._backward(tasks, size)
        norm = nn.utils.clip_grad_norm_(self.parameters(), limit)
        _require_finite("the norm of the meta-gradient", norm)
        _step(optimizer)
        require_finite_weights(self)
        return total

    def _backward(self, tasks: EpisodeBatch, size: int | None) -> float:
        """Add the gradient of the loss to every parameter's, `size` tasks at a time; the loss."""
        total = 0.0
        chunks = list(tasks.split(self.tasks_at_once(tasks) if size is None else size))
        share = self._shares(tasks, len(chunks))
        for chunk in chunks:
            loss = self.loss(chunk) * share(len(chunk))
            _require_finite("the loss", loss)
            _require_gradient(loss)
            loss.backward()
            total += loss.item()
        return total

    def _shares(self, tasks: EpisodeBatch, n_chunks: int) -> Callable[[int], float]:
        """What the loss of so many of the tasks counts in that of all.

        A mean counts by the share of the tasks, a sum counts whole.
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
        """Whether `loss_fn` is the "mean" over items, their "sum" or "neither".

        Of PyTorch's own without weights it is known; others are tried, once for tasks with equal
        labels and once for others: of a weighted mean every such task has the same share.
        """
        said = said_kind(self.loss_fn)
        if said is not None:
            return said
        other = _task_with_other_labels(tasks.query_y)
        known = vars(self).get("_tried_loss", (None, {}))
        if known[0] is not self.loss_fn:
            known = (self.loss_fn, {})
            self._tried_loss: tuple[Any, dict[int | None, str]] = known
        if other not in known[1]:
            known[1][other] = self._tried_kind(tasks[0:1], tasks[other or -1 :][:1])
        return known[1][other]

    def _is_plain_mean(self, tasks: EpisodeBatch) -> bool:
        """Whether `loss_fn` is a mean over items, without parameters of its own."""
        return not learns(self.loss_fn) and self._loss_over(tasks) == "mean"

    @torch.no_grad()
    def _tried_kind(self, *tasks: EpisodeBatch) -> str:
        with eval_mode(self):
            scores = [self(task.support_x, task.support_y, task.query_x) for task in tasks]
        targets = [task.query_y for task in tasks]
        parts = [self._score_loss(s, y).item() for s, y in zip(scores, targets, strict=True)]
        whole = self._score_loss(torch.cat(scores), torch.cat(targets))
        return growth(parts, whole.item(), whole.dtype)

    # -------------------------------------------------------------- what comes in

    def _moved(self, x: Tensor) -> Tensor:
        """Items on the device and in the dtype of the first parameter, if there is any."""
        return _like(x, next((p for p in self.parameters() if p.is_floating_point()), x))

    def _support(self, support_x: Any, support_y: Any) -> tuple[Tensor, Tensor]:
        """Support sets of T tasks as tensors for this learner; refused unless they are sound."""
        x = self._moved(as_items("support_x", support_x))
        y = _like(as_tensor("support_y", support_y), x)
        _check_support(x, y)
        return x, y

    def _queries(self, support_x: Tensor, query_x: Any) -> Tensor:
        """Queries of the tasks with these support sets, as a tensor for this learner."""
        x = self._moved(_like(as_items("query_x", query_x), support_x))
        _check_queries(support_x, x)
        return x

    def _taken(self, episodes: EpisodeBatch) -> EpisodeBatch:
        """Episodes on the device and in the dtype of the learner's parameters."""
        if not isinstance(episodes, EpisodeBatch):
            raise ValueError(f"tasks must be an EpisodeBatch, got {type(episodes).__name__}")
        like = self._moved(episodes.support_x)
        return episodes.to(like.device, like.dtype)


def as_learner(name: str, learner: Any) -> MetaLearner:
    """`learner` itself; a ValueError if it is no MetaLearner."""
    if not isinstance(learner, MetaLearner):
        raise ValueError(f"{name} must be a MetaLearner, got {kind_of(learner)}")
    return learner


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    pairs = [(first.get(name), t) for name, t in second.items()]
    return all(
        a is not None and a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in pairs
    )


@contextmanager
def kept_modes(module: nn.Module) -> Iterator[None]:
    """After the block every module is back in its own mode, training or eval."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def training_mode(module: nn.Module) -> Iterator[None]:
    """Training mode inside the block; parts that are in eval mode alone stay so."""
    with kept_modes(module):
        if not module.training:
            module.train()
        yield


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards every module is back in its own mode."""
    with kept_modes(module):
        module.eval()
        yield


@contextmanager
def in_use(learner: nn.Module) -> Iterator[None]:
    """A learner at work, for one thread at a time: its modes and weights change meanwhile.

    Inference mode, which forbids the gradients of inner loops, becomes no_grad in the block.
    """
    try:
        with _ONE_AT_A_TIME, ExitStack() as stack:
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.no_grad())
            yield
    except RuntimeError as error:
        if not any(p.is_inference() for p in learner.parameters()):
            raise
        raise ValueError(f"{_MADE_THERE} ({error})") from error


_ONE_AT_A_TIME = RLock()  # of all learners, for two may share a model
_MADE_THERE = (
    "the learner was made under torch.inference_mode(), without gradients; make it outside"
)


def as_optimizer(optimizer: Any) -> Any:
    """`optimizer` itself; a ValueError if it is none."""
    if not callable(getattr(optimizer, "zero_grad", None)) or isinstance(optimizer, type):
        raise ValueError(f"optimizer must be of torch.optim, got {kind_of(optimizer)}")
    return optimizer


def as_limit(name: str, value: Any) -> float:
    """The largest norm that is allowed: None means any."""
    return float("inf") if value is None else as_number(name, value, above=0)


def count_classes(support_y: Tensor) -> int:
    """n_way of labels (T, S): the largest label plus one."""
    return int(support_y.max()) + 1


def class_sums(support_z: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of each class's items and their number, as one product with the one-hot labels.

    Args:
        support_z: (T, S, d) embeddings.
        support_y: (T, S) int64 labels 0..n_way-1, every class present in every task.
    Returns:
        sums (T, n_way, d) and counts (T, n_way, 1), in the dtype of the embeddings.
    Raises:
        ValueError: support_y holds regression targets, or a class is missing.
    """
    if support_y.is_floating_point():
        raise ValueError(f"classes need int64 labels, but support_y is {support_y.dtype}")
    one_hot = _one_hot_of_every_class(support_y).to(support_z.dtype)  # (T, S, n_way)
    return one_hot.transpose(1, 2) @ support_z, one_hot.sum(dim=1)[..., None]


def class_means(support_z: Tensor, support_y: Tensor) -> Tensor:
    """Mean of each class's items, (T, n_way, d); arguments and errors as for `class_sums`."""
    sums, counts = class_sums(support_z, support_y)
    return sums / counts


def embed_items(encoder: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Items (T, B, *item) through an encoder of (T * B, *item): (T, B, *embedding)."""
    z = encoder(x.flatten(0, 1))
    if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != x.shape[0] * x.shape[1]:
        got = tuple(z.shape) if isinstance(z, Tensor) else kind_of(z)
        raise ValueError(
            f"an encoder must return one embedding an item, a tensor (B, d), got {got} for "
            f"{x.shape[0] * x.shape[1]} items"
        )
    return z.unflatten(0, x.shape[:2])


def as_tensor(name: str, value: Any) -> Tensor:
    """`value` as a tensor: arrays and lists of numbers are copied into one.

    Raises:
        ValueError: it holds no numbers, or rows of unequal length.
    """
    if isinstance(value, Tensor) and value.layout is torch.strided:
        return value
    try:
        return torch.from_numpy(np.array(value, order="C"))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(
            f"{name} must be a tensor or an array of numbers, got {kind_of(value)}"
        ) from None


def as_items(name: str, x: Any) -> Tensor:
    """`x` as a tensor of floats; a ValueError says what to do with bytes."""
    x = as_tensor(name, x)
    if not x.is_floating_point():
        raise ValueError(f"{name} holds {x.dtype}, not floats; for images, {name}.float() / 255")
    return x


def _like(x: Tensor, like: Tensor) -> Tensor:
    """`x` on the device of `like`, floats in its dtype, and ready for gradients."""
    x = x.to(like.device, like.dtype if x.is_floating_point() else None)
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def _task_with_other_labels(y: Tensor) -> int | None:
    """The first of T tasks whose labels (T, Q) are not those of task 0, in whatever order."""
    y = y.flatten(1).sort(dim=1).values
    other = (y != y[0]).any(dim=1).nonzero()
    return int(other[0]) if len(other) else None


def _require_finite(what: str, value: Tensor) -> None:
    if not torch.isfinite(value):
        raise FloatingPointError(f"{what} is {value.item()}")


def require_trainable(learner: nn.Module) -> None:
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"{type(learner).__name__} has no parameter to learn")
    if any(p.is_inference() for p in parameters):
        raise ValueError(_MADE_THERE)


def _require_gradient(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise ValueError(
            "the loss has no gradient by any parameter of the learner: are we under "
            "torch.no_grad(), or does loss_fn detach the scores?"
        )


def _step(optimizer: torch.optim.Optimizer) -> None:
    """One step; a FloatingPointError if its size is beyond the numbers of the parameters."""
    try:
        optimizer.step()
    except (RuntimeError, OverflowError) as error:
        if "overflow" not in str(error):
            raise
        raise FloatingPointError(f"the step is too long ({error})") from None


def require_finite_weights(learner: nn.Module) -> None:
    """Raises FloatingPointError if a parameter holds NaN or infinity; it names the first."""
    for name, parameter in learner.named_parameters():
        # A finite sum has finite terms, and is read off faster.
        if not torch.isfinite(parameter.detach().sum()):
            n_bad = int((~torch.isfinite(parameter)).sum())
            if n_bad:
                raise FloatingPointError(f"{n_bad} numbers of {name} are not finite after the step")


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
    if support_y.is_floating_point():
        _check_finite("support_y", support_y)
    else:
        _one_hot_of_every_class(support_y)


def _one_hot_of_every_class(support_y: Tensor) -> Tensor:
    """Labels (T, S) as (T, S, n_way) of 0 and 1; refused unless each task has every class."""
    if support_y.dtype != torch.int64 or support_y.ndim != 2:
        raise ValueError(
            f"support_y must be int64 labels (T, S), got {support_y.dtype} "
            f"{tuple(support_y.shape)}; regression targets must be floating point"
        )
    lowest, highest = int(support_y.min()), int(support_y.max())
    if lowest < 0:
        raise ValueError(f"support_y must hold labels from 0, got {lowest}")
    if highest >= support_y.shape[1]:  # more classes than items: no table of that size is made
        _refuse_missing(0, support_y[0], highest)
    one_hot = F.one_hot(support_y, highest + 1)
    present = one_hot.any(dim=1)  # (T, n_way)
    if not present.all():
        task = int((~present).any(dim=1).nonzero()[0])
        _refuse_missing(task, support_y[task], highest)
    return one_hot


def _refuse_missing(task: int, labels: Tensor, highest: int) -> None:
    missing = min(set(range(len(labels) + 1)) - set(labels.tolist()))
    raise ValueError(
        f"support_y of task {task} has no item with label {missing}; labels must run from 0 to "
        f"n_way - 1 = {highest} with every class present in every task"
    )


def _check_queries(support_x: Tensor, query_x: Tensor) -> None:
    fits = query_x.ndim > 2 and query_x.shape[2:] == support_x.shape[2:]
    if not fits or len(query_x) != len(support_x):
        raise ValueError(
            f"query_x {tuple(query_x.shape)} does not fit support_x {tuple(support_x.shape)}: "
            "the tasks (first axis) and the shape of an item (after the second) must agree"
        )
    if query_x.shape[1] == 0:
        raise ValueError(f"query_x holds no items: its shape is {tuple(query_x.shape)}")
    _check_finite("query_x", query_x)


def _check_finite(name: str, x: Tensor) -> None:
    if torch.isfinite(x.sum()):  # then all are, and a sum is read off faster
        return
    n_bad = int((~torch.isfinite(x)).sum())
    if n_bad:
        raise ValueError(f"{name} holds {n_bad} NaN or infinite numbers")
