"""The steps of an inner loop: which parameters move, in which direction, and how far.

A rule turns the gradient of a step into its direction, for all tasks at once, and can be
differentiated through; MAML multiplies the direction by its step size, Meta-SGD by learned ones.
What a rule remembers is reset for every task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..basics.arguments import as_number
from .chunks import Params

__all__ = [
    "Adam",
    "Descent",
    "InnerRule",
    "as_rates",
    "chosen_names",
    "clipped",
    "inner_rule",
    "moving_names",
    "part_around",
    "rates_of",
]

Names = Iterable[str] | Callable[[str, nn.Parameter], bool]


@dataclass(frozen=True)
class Descent:
    """Gradient descent, with momentum (0: none) as torch.optim.SGD defines it."""

    momentum: float = 0.0

    def direction(self, gradient: Params, memory: Any = None) -> tuple[Params, Any]:
        """(direction, what to remember) of a step; memory is None in the first one."""
        if self.momentum == 0:
            return gradient, None
        if memory is not None:
            gradient = {n: memory[n] * self.momentum + g for n, g in gradient.items()}
        return gradient, gradient


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba (2015), as torch.optim.Adam defines it."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def direction(self, gradient: Params, memory: Any = None) -> tuple[Params, Any]:
        """(direction, what to remember) of a step; memory is None in the first one."""
        first, second = self.betas
        before: tuple[int, Params, Params] = memory or (0, {}, {})
        step, means, squares = before[0] + 1, before[1], before[2]
        means = {n: _mixed(means.get(n), g, first) for n, g in gradient.items()}
        squares = {n: _mixed(squares.get(n), g.square(), second) for n, g in gradient.items()}
        scale, root = 1 / (1 - first**step), (1 - second**step) ** -0.5
        found = {n: scale * m / (_root(squares[n]) * root + self.eps) for n, m in means.items()}
        return found, (step, means, squares)


InnerRule = Descent | Adam


def _mixed(before: Tensor | None, new: Tensor, share: float) -> Tensor:
    return new * (1 - share) if before is None else before * share + new * (1 - share)


def clipped(gradient: Params, limit: float) -> Params:
    """Each task's gradient, tensors of (T, *shape), shrunk to at most this Euclidean norm."""
    flat = {n: g.reshape(len(g), -1) for n, g in gradient.items()}
    squares = torch.stack([g.square().sum(dim=1) for g in flat.values()])
    norms = (squares.sum(dim=0) + 1e-12).sqrt()[:, None]  # (T, 1)
    shrink = (limit / norms).clamp(max=1)
    return {n: (g * shrink).view_as(gradient[n]) for n, g in flat.items()}


def _root(squares: Tensor) -> Tensor:
    """The square root, with derivative 0 at 0 instead of infinity, as for units that are off."""
    off = squares == 0
    return squares.masked_fill(off, 1).sqrt().masked_fill(off, 0)


def inner_rule(inner_optimizer: Any) -> InnerRule:
    """The rule of a name or a class.

    Args:
        inner_optimizer: "sgd", "momentum" (0.9) or "adam"; or torch.optim.SGD or torch.optim.Adam,
            plain or as functools.partial with momentum, or with betas and eps.
    Raises:
        ValueError: anything else.
    """
    if isinstance(inner_optimizer, str) and inner_optimizer in BY_NAME:
        return BY_NAME[inner_optimizer]
    kind, options = inner_optimizer, {}
    if isinstance(inner_optimizer, partial) and not inner_optimizer.args:
        kind, options = inner_optimizer.func, dict(inner_optimizer.keywords)
    if kind is torch.optim.SGD and options.keys() <= {"momentum"}:
        return Descent(as_number("momentum", options.get("momentum", 0.0), at_least=0))
    if kind is torch.optim.Adam and options.keys() <= {"betas", "eps"}:
        betas = options.get("betas", Adam.betas)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(f"betas must be two numbers, got {betas!r}")
        shares = _share("betas[0]", betas[0]), _share("betas[1]", betas[1])
        return Adam(shares, as_number("eps", options.get("eps", Adam.eps), above=0))
    raise ValueError(
        f"inner_optimizer must be one of {', '.join(BY_NAME)}, or torch.optim.SGD with momentum or "
        f"torch.optim.Adam with betas and eps, as functools.partial; got {inner_optimizer!r}"
    )


BY_NAME: dict[str, InnerRule] = {"sgd": Descent(), "momentum": Descent(0.9), "adam": Adam()}


def _share(name: str, value: Any) -> float:
    share = as_number(name, value, at_least=0, at_most=1)
    if share == 1:
        raise ValueError(f"{name} must be below 1, got {value}")
    return share


# ------------------------------------------------------------------ which, and how far


def chosen_names(model: nn.Module, which: Names | None) -> frozenset[str]:
    """Names of the parameters that may move.

    Args:
        which: names of parameters or of modules that hold them, or a function of a parameter's name
            and the parameter; None: all.
    Raises:
        ValueError: a name that fits no parameter, or nothing is chosen.
    """
    if which is None:
        return frozenset(name for name, _ in model.named_parameters())
    chosen = _chosen(model, "inner_params", which)
    if not any(model.get_parameter(name).requires_grad for name in chosen):
        raise ValueError("inner_params chooses no parameter that requires a gradient")
    return chosen


def _chosen(model: nn.Module, argument: str, which: Names) -> frozenset[str]:
    if callable(which):
        return frozenset(n for n, p in model.named_parameters() if which(n, p))
    return frozenset(n for key in _names(argument, which) for n in _fitting(model, argument, key))


def _names(argument: str, which: Any) -> list[Any]:
    try:
        return [which] if isinstance(which, str) else list(which)
    except TypeError:
        raise ValueError(
            f"{argument} must be names, or a function of a name and a parameter; got {which!r}"
        ) from None


def part_around(model: nn.Module, head: Names, part: str) -> frozenset[str]:
    """Names of the parameters of a model's "head", or of its "body", which is all the rest.

    Args:
        head: names of parameters or of modules that hold them, or a function of a parameter's name
            and the parameter.
    Raises:
        ValueError: a name that fits no parameter, a head that is nothing or is tied to the body, or
            no body.
    """
    if not callable(head):
        head = _names("head", head)
    chosen = _chosen(model, "head", head)
    if not callable(head):
        _refuse_ties(model, head, chosen)
    found = chosen if part == "head" else chosen_names(model, None) - chosen
    if not found:
        raise ValueError(f"head={head!r} leaves no parameter to the {part}, which is to move")
    return found


def _refuse_ties(model: nn.Module, head: list[str], chosen: frozenset[str]) -> None:
    """A weight that head and body share would move as one and stay as the other."""
    inside = {id(p) for n, p in model.named_parameters() if n in chosen}
    for name, p in model.named_parameters(remove_duplicate=False):
        if id(p) in inside and not any(f"{name}.".startswith(f"{key}.") for key in head if key):
            raise ValueError(
                f"the head shares a weight with {name} in the body, where it must not move; untie "
                "them, or say by inner_params of MAML what moves"
            )


def moving_names(
    model: nn.Module, inner_params: Names | None, inner_lr: float | Mapping[str, float]
) -> frozenset[str]:
    """Names of the parameters that move in the inner loop, each with a step size.

    Raises:
        ValueError: as `chosen_names` and `rates_of`; or a chosen parameter has no step size.
    """
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


def as_rates(inner_lr: Any) -> Any:
    """The given step size or step sizes, as fixed numbers.

    Raises:
        ValueError: not finite numbers of at least 0, or to be learned, which Meta-SGD does.
    """
    if isinstance(inner_lr, Mapping):
        return {key: _rate(f"inner_lr[{key!r}]", rate) for key, rate in inner_lr.items()}
    return _rate("inner_lr", inner_lr)


LARGEST_RATE = 1e30
"""Beyond it, a step exceeds the range of float32."""


def _rate(name: str, rate: Any) -> float:
    if isinstance(rate, Tensor) and rate.requires_grad:
        raise ValueError(f"{name} requires a gradient, but stays as it is; MetaSGD learns its own")
    return as_number(name, as_number(name, rate, at_least=0), at_most=LARGEST_RATE)


def rates_of(model: nn.Module, inner_lr: float | Mapping[str, float]) -> dict[str, float]:
    """The step size of each parameter that has one; if several fit, the one with the longest name.

    Raises:
        ValueError: a name that fits no parameter.
    """
    if not isinstance(inner_lr, Mapping):
        return dict.fromkeys(chosen_names(model, None), inner_lr)
    rates: dict[str, float] = {}
    for key in sorted(inner_lr, key=lambda key: len(str(key))):
        rates |= dict.fromkeys(_fitting(model, "inner_lr", key), inner_lr[key])
    return rates


def _fitting(model: nn.Module, argument: str, key: Any) -> list[str]:
    """The parameters that are named `key` or lie inside the module `key`; "" is the whole model."""
    first_name = {id(p): name for name, p in model.named_parameters()}
    prefix = "" if key == "" else f"{key}."
    every_name = list(model.named_parameters(remove_duplicate=False))
    fits = [first_name[id(p)] for n, p in every_name if f"{n}.".startswith(prefix)]
    if not fits:
        known = [name for name, _ in every_name]
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise ValueError(
            f"{argument} names {key!r}, which no parameter is or lies in; there are {shown}"
        )
    return fits
