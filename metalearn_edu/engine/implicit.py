"""What a gradient needs that does not run back through the steps: curvature, and a linear system.

A minimum is a function of what its loss depends on, whatever steps led there. Its derivative holds
the inverse of the curvature, which is never written down: conjugate gradients ask for nothing but
products of curvature and a vector. All of this is for T tasks at once, each with its own numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from .chunks import Params

__all__ = ["conjugate_gradients", "curvature_around", "dot", "with_pull_back"]

Linear = Callable[[Params], Params]


def dot(a: Params, b: Params) -> Tensor:
    """Each task's inner product over all of its parameters, (T,)."""
    return torch.stack([(a[n] * b[n]).flatten(1).sum(dim=1) for n in a]).sum(dim=0)


def curvature_around(params: Params, gradient: Params) -> Linear:
    """From v to H v of each task, with H the derivative of `gradient` at `params`.

    Args:
        params: (T, *shape) each, of which `gradient` was computed and can be differentiated.
    """
    parts = [n for n, g in gradient.items() if g.requires_grad]  # others are constant

    def product(v: Params) -> Params:
        if not parts:
            return {n: torch.zeros_like(p) for n, p in params.items()}
        found = torch.autograd.grad(
            [gradient[n] for n in parts],
            list(params.values()),
            [v[n] for n in parts],
            retain_graph=True,
            materialize_grads=True,
        )
        return dict(zip(params, found, strict=True))

    return product


def conjugate_gradients(apply: Linear, b: Params, steps: int) -> tuple[Params, Tensor]:
    """x with A x = b for each task, A symmetric and positive.

    Exact after as many steps as x has numbers. Hestenes & Stiefel (1952). A task is left as it is
    once it is solved to rounding, or where A turns out not to be positive.

    Args:
        apply: from v to A v.
        b: (T, *shape) each.
    Returns:
        x, and whether A was positive along all directions that were tried, (T,).
    """
    x = {n: torch.zeros_like(t) for n, t in b.items()}
    rest, direction, left = b, b, dot(b, b)
    enough = left * torch.finfo(left.dtype).eps ** 2
    positive = torch.ones_like(left, dtype=torch.bool)
    for _ in range(steps):
        image = apply(direction)
        along = dot(direction, image)
        at_work = left > enough
        positive &= (along > 0) | ~at_work
        at_work &= positive
        step = torch.where(at_work, left / along.where(at_work, torch.ones_like(along)), 0)
        x = _plus(x, step, direction)
        rest = _plus(rest, -step, image)
        before, left = left, dot(rest, rest)
        share = torch.where(at_work, left / before.where(at_work, torch.ones_like(before)), 0)
        direction = _plus(rest, share, direction)
    return x, positive


def _plus(a: Params, scale: Tensor, b: Params) -> Params:
    """a + scale * b, with one number of `scale` (T,) for each task."""
    return {n: t + scale.view(-1, *[1] * (t.ndim - 1)) * b[n] for n, t in a.items()}


def with_pull_back(
    values: Params, inputs: Sequence[Tensor], pull_back: Callable[[Params], Sequence[Tensor | None]]
) -> Params:
    """`values`, as functions of `inputs` of which nothing is known but how gradients go back.

    They can be differentiated once: create_graph=True is refused.

    Args:
        pull_back: from the gradients of `values` to those of `inputs`.
    """

    def by_name(gradients: tuple[Tensor, ...]) -> Sequence[Tensor | None]:
        return pull_back(dict(zip(values, gradients, strict=True)))

    found = _PulledBack.apply(by_name, tuple(values.values()), *inputs)
    return dict(zip(values, found, strict=True))


class _PulledBack(Function):
    @staticmethod
    def forward(ctx: Any, pull_back: Any, values: tuple[Tensor, ...], *inputs: Tensor) -> Any:
        ctx.pull_back = pull_back
        return tuple(value.detach() for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("an implicit gradient can be differentiated once, not twice")
        return None, None, *ctx.pull_back(gradients)
