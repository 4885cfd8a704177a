"""Implicit MAML: the exact meta-gradient, without a way back through the inner steps.

Rajeswaran, Finn, Kakade & Levine (2019). Introduced in notebook 07.

    inner problem:  phi    =  argmin  L_support(phi) + lambda / 2 * |phi - theta|^2
    outer loop:     theta  <- Adam on the mean over tasks of L_query(phi), whose gradient is
                    (I + H / lambda)^-1 grad L_query(phi)        H: curvature of L_support at phi

What is unusual: where the inner problem is solved, its solution has a derivative of its own,
whatever steps led there. So no step is kept, and memory does not grow with their number. The linear
system is solved by conjugate gradients, from products of H with a vector. All of this holds at the
minimum: before it is reached the gradient is wrong, so we measure how far the inner loop has come.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_integer, as_number
from ..engine import (
    Params,
    Support,
    conjugate_gradients,
    curvature_around,
    for_each_task,
    with_pull_back,
)
from ..engine.implicit import dot
from ..engine.losses import LossFunction
from ..tasks import EpisodeBatch
from .maml import MAML

__all__ = ["IMAML"]

Slope = Callable[[Params], Params]


class IMAML(MAML):
    """MAML with a proximal inner problem and its implicit gradient.

    Args:
        model: as for MAML.
        inner_lr: step size of the inner loop, as for MAML; it must be below 2 / (lam + the largest
            curvature of the support loss), or the steps grow.
        meta_lr: step size of the outer loop's Adam.
        num_inner_steps: inner steps in training at most; a task that is solved takes no more.
        loss_fn: loss of inner and outer loop.
        lam: lambda, the weight of the pull towards the start, above 0. The larger it is, the less a
            task can move, and the sooner its problem is solved.
        num_cg_steps: steps of conjugate gradients; exact with as many as the model has parameters.
        tolerance: a task counts as solved when the gradient of its inner problem has shrunk to this
            share of its norm at the start. If the outer gradient is taken above it, there is one
            warning, and `residual` says by how much. Networks with kinks (ReLU, max-pooling) may
            have their minimum on one, where the gradient does not become small.
        options: num_test_steps, max_inner_grad_norm, zero_head, inner_params, inner_optimizer and
            batch_norm, as for MAML.
    Raises:
        ValueError: as MAML does; first_order or engine, which it does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float | Mapping[str, float] = 0.1,
        meta_lr: float = 0.001,
        num_inner_steps: int = 50,
        loss_fn: LossFunction = F.cross_entropy,
        *,
        lam: float = 2.0,
        num_cg_steps: int = 5,
        tolerance: float = 1e-3,
        **options: Any,
    ) -> None:
        for name in ("first_order", "engine"):
            if name in options:
                raise ValueError(f"{name} is not for IMAML, which keeps no inner step")
        super().__init__(
            model, inner_lr, meta_lr, num_inner_steps, loss_fn, first_order=True, **options
        )
        self.lam = as_number("lam", lam, above=0)
        self.num_cg_steps = as_integer("num_cg_steps", num_cg_steps)
        self.tolerance = as_number("tolerance", tolerance, at_least=0)
        self._report = _Report()

    @property
    def residual(self) -> float:
        """How far the inner loop was from its minimum when the last gradient was taken there.

        The norm of the inner problem's gradient at its end, as a share of that at the start; of
        several tasks the largest. NaN before the first gradient.
        """
        return self._report.residual

    def _descend(self, support: Support, steps: int) -> Params:
        """The solution of each task's inner problem, which knows its own derivative."""
        start = for_each_task(self._network.start(support.width), len(support.x))
        with torch.no_grad():
            problem = _Problem(start, self.lam, self.tolerance)
            params = self._walk(start, problem.slopes(partial(self._slope, support), steps))
        if not torch.is_grad_enabled():
            return params
        shared = [*self._network.unmoved().values(), *_learned_by(self.loss_fn)]
        pull_back = partial(self._implicit_gradient, support, problem, params, shared)
        return with_pull_back(params, [*start.values(), *shared], pull_back)

    def _implicit_gradient(
        self,
        support: Support,
        problem: _Problem,
        params: Params,
        shared: list[Tensor],
        by_params: Params,
    ) -> list[Tensor | None]:
        """From grad L_query(phi) to the gradient for theta, (I + H / lambda)^-1 grad L_query(phi).

        What does not move but shapes the support loss gets its part too, by the same theorem.
        """
        at = {n: p.detach().requires_grad_() for n, p in params.items()}
        with torch.enable_grad():
            gradient = self._network.gradient(at, support, self.loss_fn)
        self._report.of_inner_loop(problem.residual(params, gradient), self.tolerance)
        curvature = curvature_around(at, gradient)

        def regularised(v: Params) -> Params:
            return {n: h.add(v[n], alpha=self.lam) for n, h in curvature(v).items()}

        u, positive = conjugate_gradients(regularised, by_params, self.num_cg_steps)
        self._report.of_curvature(positive, self.lam)
        return [*(self.lam * t for t in u.values()), *_pulled(gradient, shared, u)]

    def tasks_at_once(self, tasks: EpisodeBatch) -> int:
        """As for MAML with one inner step: no more are kept, however many there are."""
        return self._network.tasks_at_once(tasks, partial(self.learn_task, num_inner_steps=1), 1)


class _Problem:
    """The inner problem of each task: its gradient, and whether it is solved."""

    def __init__(self, start: Params, lam: float, tolerance: float) -> None:
        self.start = {n: p.detach() for n, p in start.items()}
        self.lam, self.tolerance = lam, tolerance
        # What rounding leaves of the pull.
        eps = 10 * torch.finfo(next(iter(start.values())).dtype).eps
        self.least = eps * lam * dot(self.start, self.start).sqrt()  # (T,)
        self.first: Tensor | None = None  # norm of the gradient at the start, (T,)
        self.is_solved = False

    def slopes(self, slope: Slope, steps: int) -> Iterator[Slope]:
        """At most `steps` times the gradient, until all tasks are solved."""
        for _ in range(steps):
            if self.is_solved:
                return
            yield lambda params: self._of_the_unsolved(params, slope(params))

    def _of_the_unsolved(self, params: Params, slope: Params) -> Params:
        """0 for a task that is solved, so that it does not depend on others when it stops."""
        gradient = self._gradient(params, slope)
        norm = dot(gradient, gradient).sqrt()
        self.first = norm if self.first is None else self.first
        left = norm > torch.maximum(self.tolerance * self.first, self.least)
        self.is_solved = not bool(left.any())
        return {n: g * left.view(-1, *[1] * (g.ndim - 1)) for n, g in gradient.items()}

    def residual(self, params: Params, slope: Params) -> Tensor:
        """The norm of the gradient as a share of that at the start, (T,)."""
        gradient = self._gradient(params, slope)
        norm = dot(gradient, gradient).sqrt()
        first = norm if self.first is None else self.first
        return torch.where(norm > self.least, norm / first, 0)

    def _gradient(self, params: Params, slope: Params) -> Params:
        return {n: g.detach() + self.lam * (params[n] - self.start[n]) for n, g in slope.items()}


class _Report:
    """How inner loops ended, and the warnings about it, each given once."""

    def __init__(self) -> None:
        self.residual, self.said = math.nan, set[str]()

    def of_inner_loop(self, residual: Tensor, tolerance: float) -> None:
        self.residual = float(residual.max())
        # Where rounding is all that is left, no step can do more.
        least = max(tolerance, 100 * torch.finfo(residual.dtype).eps)
        if not self.residual <= least:
            self._say(
                "the inner loop ends before its minimum: its gradient is still "
                f"{self.residual:.2g} of that at the start (tolerance {tolerance:g}), so the "
                "implicit gradient is not exact; try more inner steps, a larger lam, another "
                "inner_lr, or a network without kinks, such as nn.Tanh for nn.ReLU"
            )

    def of_curvature(self, positive: Tensor, lam: float) -> None:
        if not positive.all():
            self._say(
                f"the support loss curves down by more than lam = {lam:g} where the inner loop "
                "ends, which is no minimum then; try a larger lam"
            )

    def _say(self, text: str) -> None:
        kind = text[:20]
        if kind not in self.said:
            self.said.add(kind)
            warnings.warn(text, stacklevel=2)


def _learned_by(loss_fn: Any) -> list[Tensor]:
    parameters = loss_fn.parameters() if isinstance(loss_fn, nn.Module) else []
    return [p for p in parameters if p.requires_grad]


def _pulled(gradient: Params, shared: list[Tensor], u: Params) -> list[Tensor | None]:
    """What the solution passes on to what its problem depends on: - d/d shared of u . gradient."""
    parts = [n for n, g in gradient.items() if g.requires_grad]
    if not shared or not parts:
        return [None] * len(shared)
    found = torch.autograd.grad(
        [gradient[n] for n in parts], shared, [-u[n] for n in parts], allow_unused=True
    )
    return list(found)
