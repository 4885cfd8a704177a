"""Is this really second order? Compare the gradient of an outer loss with central differences.

What goes wrong in meta-learning often goes wrong silently: the code runs, the loss falls, and the
result belongs to another algorithm. Introduced in notebook 05.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..basics.arguments import as_integer, as_number
from .inner_gradients import Watch
from .report import Report, listed
from .slopes import (
    Slopes,
    directions_around,
    gradient_figures,
    resolution_problems,
    slopes_along,
)

__all__ = ["check_meta_gradient"]

OuterLoss = Callable[[Any], Tensor]
SMALLEST_STEP, LARGEST_STEP = 1e-8, 1e-3
"""Outside these bounds, a difference in float64 is only rounding, or no longer a slope."""


def check_meta_gradient(
    outer_loss: OuterLoss,
    model: nn.Module,
    *,
    num_inner_steps: int | None = None,
    n_directions: int = 8,
    step: float = 1e-5,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> Report:
    """Compare the gradient of an outer loss with central differences, and name the mistake.

    `outer_loss(copy_of_model)` adapts and returns the query loss; the copy is in float64, so the
    data it uses must be too. Each parameter tensor is moved a little along random directions (along
    each coordinate if it has few). Where a direction crosses a kink, of ReLU or of max-pooling, the
    second difference bounds what the kink can explain, and only the rest counts as an error. We
    also record the calls of the inner loop to autograd, which tell what mistake it makes.

    Args:
        outer_loss: from the module to a scalar. It must give the same number at each call; we seed
            global random numbers before each call, and you must seed your own generators.
        model: any module, a whole learner too: check_meta_gradient(lambda m: m.loss(batch), maml).
        num_inner_steps: distinct inner gradients that one call should compute; give it, with one
            task in the loss, to catch an inner gradient that is computed once for all steps.
        n_directions: directions per parameter tensor; two calls each.
        step: half the distance of the central difference, 1e-8 to 1e-3. If rounding could explain
            a tenth of all slopes at this step, that is reported as a problem.
        tolerance: largest relative error, per parameter tensor, that still counts as right, 0 to 1.
        seed: of the directions and of the global random numbers.
    Returns:
        A report. Its figures are the overall relative error, cosine and norm ratio to the true
        gradient, and the relative error of each parameter tensor.
    Raises:
        ValueError: the model has no parameter to differentiate with respect to, the data are not
        float64, the
            outer loss is not a scalar, or a number makes no sense.
    """
    if not isinstance(model, nn.Module) or not callable(outer_loss):
        raise ValueError(
            "need outer_loss, a function of a model, and model, a module; got "
            f"{type(outer_loss).__name__} and {type(model).__name__}"
        )
    if num_inner_steps is not None:
        num_inner_steps = as_integer("num_inner_steps", num_inner_steps, 0)
    n_directions, seed = as_integer("n_directions", n_directions), as_integer("seed", seed, None)
    step = as_number("step", step, at_least=SMALLEST_STEP, at_most=LARGEST_STEP)
    tolerance = as_number("tolerance", tolerance, at_least=0, at_most=1)
    probe = _Probe(outer_loss, model, seed)
    try:
        trace = probe.trace()
    except _NoGraph as error:
        return Report("meta-gradient", [str(error)])
    if unsteady := _unsteady(probe, trace):
        return Report("meta-gradient", unsteady)
    slopes = probe.slopes(trace, n_directions, step)
    problems = [
        *trace.problems(num_inner_steps),
        *resolution_problems(slopes, step),
        *_gradient_problems(probe, trace, slopes, tolerance),
    ]
    return Report("meta-gradient", problems, gradient_figures(slopes))


class _NoGraph(Exception):
    """The outer loss cannot be differentiated; the text says why."""


@dataclass
class _Trace:
    """One watched call of the outer loss."""

    value: float
    gradient: dict[str, Tensor | None]
    changed: list[str]
    watch: Watch

    def problems(self, num_inner_steps: int | None) -> list[str]:
        """Faults in what the call did, whatever its gradient is."""
        found = self.watch.stale(num_inner_steps)
        if self.changed:
            found.append(
                f"the call changed {listed(self.changed)} in place: the start that we meta-learn "
                "is lost, and the graph is cut; return fast parameters instead"
            )
        return found


class _Probe:
    """The outer loss as a repeatable function of the parameters of a float64 copy."""

    def __init__(self, outer_loss: OuterLoss, model: nn.Module, seed: int) -> None:
        self.outer_loss, self.seed = outer_loss, seed
        self.model = copy.deepcopy(model).double()
        self.start = {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}
        if not self.start:
            raise ValueError(f"{type(model).__name__} has no parameter that requires a gradient")

    def value(self, name: str | None = None, shift: Tensor | None = None) -> float:
        """The outer loss after moving parameter `name` by `shift`."""
        return self._call(self._fresh(name, shift)).item()

    def trace(self, constant_gradients: bool = False) -> _Trace:
        """Call the outer loss once, watched, and differentiate it."""
        model = self._fresh()
        parameters = {n: p for n, p in model.named_parameters() if n in self.start}
        with Watch(constant_gradients) as watch:
            loss = self._call(model)
        now = dict(model.named_parameters())
        changed = [
            n for n, p in parameters.items() if now[n] is not p or not torch.equal(p, self.start[n])
        ]
        if not isinstance(loss, Tensor):
            raise _NoGraph(f"the outer loss is a plain {type(loss).__name__}; leave out .item()")
        if loss.grad_fn is None:
            raise _NoGraph(
                "no gradient at all: the outer loss has no graph to any parameter; calls that cut "
                f"the graph: {watch.cuts()}"
            )
        gradient = _differentiate(loss, parameters)
        return _Trace(loss.item(), gradient, changed, watch)

    def slopes(self, trace: _Trace, n_directions: int, step: float) -> dict[str, Slopes]:
        """Directional derivatives of each parameter tensor, by autograd and by differences."""
        generator = torch.Generator().manual_seed(self.seed)
        found = {}
        for name, start in self.start.items():
            directions = directions_around(start, n_directions, generator)
            values = [[self.value(name, sign * step * d) for sign in (1, -1)] for d in directions]
            ends = torch.tensor(values, dtype=torch.float64)
            gradient = trace.gradient[name]
            gradient = torch.zeros_like(start) if gradient is None else gradient
            found[name] = slopes_along(directions, gradient, ends, trace.value, step)
        return found

    def _fresh(self, name: str | None = None, shift: Tensor | None = None) -> nn.Module:
        model = copy.deepcopy(self.model)
        if name is not None and shift is not None:
            with torch.no_grad():
                model.get_parameter(name).add_(shift)
        return model

    def _call(self, model: nn.Module) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            try:
                loss = self.outer_loss(model)
            except RuntimeError as error:
                raise _translated(error) from error
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise ValueError(f"the outer loss must be a scalar, got shape {tuple(loss.shape)}")
        return loss


def _unsteady(probe: _Probe, trace: _Trace) -> list[str]:
    """Whether a second call at the same parameters gives a different loss or fails."""
    again = probe.value()
    if math.isfinite(again) and math.isclose(again, trace.value, rel_tol=1e-12):
        return []
    return [
        f"the outer loss is {trace.value:.6g} and then {again:.6g} at the same parameters: it is "
        "not finite, draws random numbers or keeps state"
    ]


def _differentiate(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    try:
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    except RuntimeError as error:
        if "inplace" not in str(error):
            raise
        raise _NoGraph(
            "no gradient: the inner loop changed a tensor in place that the gradient needs; "
            "make new fast parameters instead"
        ) from error
    return dict(zip(parameters, gradients, strict=True))


def _translated(error: RuntimeError) -> Exception:
    """A clearer error for two frequent errors of torch; any other unchanged."""
    text = str(error)
    if "does not require grad" in text:
        return _NoGraph(
            f"the inner loop asked for a gradient where there is no graph ({text}): it runs under "
            "torch.no_grad(), or on detached tensors"
        )
    if "dtype" in text or "Double" in text:
        return ValueError(
            "the check runs in float64; give the outer loss float64 data, for example "
            f"episodes.to(dtype=torch.float64) ({text})"
        )
    return error


def _gradient_problems(
    probe: _Probe, trace: _Trace, slopes: dict[str, Slopes], tolerance: float
) -> list[str]:
    missing = [n for n, g in trace.gradient.items() if g is None and not slopes[n].is_flat]
    unused = [n for n, g in trace.gradient.items() if g is None and slopes[n].is_flat]
    wrong = [n for n, s in slopes.items() if n not in missing and not s.relative_error <= tolerance]
    problems = []
    if missing:
        it = "it" if len(missing) == 1 else "them"
        problems.append(
            f"no gradient reaches {listed(missing)}, although the loss depends on {it}; calls that "
            f"cut the graph: {trace.watch.cuts()}"
        )
    if unused:
        problems.append(f"the loss does not depend on {listed(unused)}")
    if wrong:
        problems.append(_wrong_gradient(probe, trace, slopes, wrong))
    return problems


def _wrong_gradient(
    probe: _Probe, trace: _Trace, slopes: dict[str, Slopes], wrong: list[str]
) -> str:
    figures = gradient_figures(slopes)
    size = (
        f"relative error {figures['relative error']:.2g}, cosine {figures['cosine']:.3f}, "
        f"norm {figures['norm ratio']:.2f} times the true one"
    )
    if trace.watch.calls and _is_first_order(probe, trace):
        return (
            "the meta-gradient is first-order: the inner gradients count as constants, because "
            f"{trace.watch.why_first_order()} ({size})"
        )
    return (
        f"the gradient of {listed(wrong)} is wrong ({size}); calls that cut the graph: "
        f"{trace.watch.cuts()}"
    )


def _is_first_order(probe: _Probe, trace: _Trace) -> bool:
    """Whether nothing changes if we treat every inner gradient as a constant."""
    constant = probe.trace(constant_gradients=True).gradient
    pairs = [(g, constant[n]) for n, g in trace.gradient.items()]
    return all(
        a is b if a is None or b is None else torch.allclose(a, b, rtol=1e-9, atol=1e-12)
        for a, b in pairs
    )
