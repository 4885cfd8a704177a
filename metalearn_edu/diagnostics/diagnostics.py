"""Is this really second order? Do queries inform each other? Is the episode sound?

What goes wrong in meta-learning often goes wrong silently: the code runs, the loss falls, and the
result belongs to another algorithm or is too good to be true. Each check here works on any
function or learner and returns a `Report`. Introduced in notebooks 01 (episodes), 02 (transduction)
and 05 (meta-gradient).
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap
from torch.overrides import TorchFunctionMode

from ..basics.arguments import as_integer, as_number
from ..evaluation import ScoreFunction, query_by_query, score_episodes, scores_differ
from ..tasks import EpisodeBatch, FewShotDataset
from ..tasks.dataset import scale

__all__ = [
    "Report",
    "check_episodes",
    "check_meta_gradient",
    "check_splits",
    "check_transduction",
]


@dataclass(frozen=True, repr=False)
class Report:
    """What a check found; true if it found nothing wrong.

    Attributes:
        check: what was checked, in a few words.
        problems: each fault in plain words; empty if all is well.
        figures: what was measured, by name.
    """

    check: str
    problems: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            return f"{self.check}: no problem found"
        return "\n".join([f"{self.check}:", *(f"- {problem}" for problem in self.problems)])

    __repr__ = __str__

    def require(self) -> None:
        """Do nothing if all is well.

        Raises:
            AssertionError: with the problems as its text.
        """
        if not self.ok:
            raise AssertionError(str(self))


# ---------------------------------------------------------------------- the meta-gradient

OuterLoss = Callable[[Any], Tensor]

SMALLEST_STEP, LARGEST_STEP = 1e-8, 1e-3
"""Outside of these a difference in float64 is rounding, or no slope any more."""


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
    second difference bounds what the kink can explain, and only the rest counts as an error. What
    the inner loop asked of autograd is watched meanwhile; that is how a mistake gets its name.

    Args:
        outer_loss: from the module to a scalar. The same numbers at each call; global random
            numbers are seeded before each, a generator of your own is up to you.
        model: any module, a whole learner too: check_meta_gradient(lambda m: m.loss(batch), maml).
        num_inner_steps: distinct inner gradients that one call should ask for; give it, with one
            task in the loss, to catch an inner gradient that is computed once for all steps.
        n_directions: directions per parameter tensor; two calls each.
        step: half the distance of the central difference, 1e-8 to 1e-3. If rounding could explain
            a tenth of all slopes at this step, that is reported as a problem.
        tolerance: largest relative error, per parameter tensor, that counts as right, 0 to 1.
        seed: of the directions and of the global random numbers.
    Returns:
        A report with relative error, cosine and norm ratio to the true gradient in its figures:
        overall, and the relative error of each parameter tensor.
    Raises:
        ValueError: the model has no parameter to differentiate by, the data are not float64, the
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
    again = probe.value()
    if not math.isfinite(again) or not math.isclose(again, trace.value, rel_tol=1e-12):
        problem = (
            f"the outer loss is {trace.value:.6g} and then {again:.6g} at the same parameters: it "
            "is not finite, draws random numbers or keeps state"
        )
        return Report("meta-gradient", [problem])
    slopes = probe.slopes(trace, n_directions, step)
    problems = [
        *trace.problems(num_inner_steps),
        *_resolution_problems(slopes, step),
        *_gradient_problems(probe, trace, slopes, tolerance),
    ]
    return Report("meta-gradient", problems, _gradient_figures(slopes))


class _NoGraph(Exception):
    """The outer loss cannot be differentiated; the text says why."""


@dataclass
class _InnerGradient:
    """One call for a gradient while the outer loss was computed."""

    by_backward: bool
    keeps_graph: bool
    outputs: list[Tensor]
    inputs: list[Tensor]
    results: list[Tensor | None]

    def repeats(self, other: _InnerGradient) -> bool:
        """Whether this is the other call's gradient again, at the same point."""
        if _places(self.inputs) != _places(other.inputs):
            return False
        if _places(self.outputs) == _places(other.outputs):
            return True
        pairs = [
            (a, b)
            for a, b in zip(self.results, other.results, strict=True)
            if a is not None and b is not None
        ]
        same = all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
        return same and any(a.any() for a, _ in pairs)


class _Watch(TorchFunctionMode):
    """Notes what an inner loop asks of autograd, whether plain, `higher` or torch.func.

    Args:
        constant_gradients: treat every inner gradient as a constant, as a first-order method does.
    """

    def __init__(self, constant_gradients: bool = False) -> None:
        super().__init__()
        self.constant_gradients = constant_gradients
        self.calls: list[_InnerGradient] = []
        self.cut_by: dict[str, None] = {}  # in order of first appearance

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not torch.is_grad_enabled():
            self.cut_by["torch.no_grad()"] = None
        if func is torch.Tensor.detach and args[0].requires_grad:
            self.cut_by[".detach()"] = None
        elif getattr(func, "__self__", None) is torch.Tensor.data and args[0].requires_grad:
            self.cut_by[".data or deepcopy"] = None
        elif func is torch.autograd.grad:
            self._note(args[0], args[1], result, bool(kwargs.get("create_graph")))
            if self.constant_gradients:
                return tuple(g if g is None else g.detach() for g in result)
        elif func in (torch.Tensor.backward, torch.autograd.backward):
            self._note(args[0], (), (), bool(kwargs.get("create_graph")), by_backward=True)
        return result

    def _note(
        self, outputs: Any, inputs: Any, results: Any, keeps_graph: bool, by_backward: bool = False
    ) -> None:
        tensors = (_plain(outputs), _plain(inputs), _plain(results))
        self.calls.append(_InnerGradient(by_backward, keeps_graph, *tensors))

    def stale(self, num_inner_steps: int | None) -> list[str]:
        """Inner gradients that were used again, or never computed."""
        repeated = [g for i, g in enumerate(self.calls) if any(map(g.repeats, self.calls[:i]))]
        lost = [g for g in self.calls if g.inputs and all(r is None for r in g.results)]
        if repeated or lost:
            return [
                "stale inner loss: a later inner step used the gradient of an earlier point again; "
                "compute the loss again at the fast parameters in every step (or does the batch "
                "hold one task twice?)"
            ]
        if num_inner_steps is not None and len(self.calls) < num_inner_steps:
            return [
                f"stale inner loss: {num_inner_steps} inner steps need as many inner gradients, "
                f"but only {len(self.calls)} were computed"
            ]
        return []

    def why_first_order(self) -> str:
        """Where the graph of the inner gradients was cut, as far as we saw."""
        if any(g.by_backward for g in self.calls):
            return "loss.backward() keeps no graph of them"
        if not all(g.keeps_graph for g in self.calls):
            return "torch.autograd.grad was called without create_graph=True"
        return f"they were cut off by {self.cuts()}"

    def cuts(self) -> str:
        """The calls seen that cut the graph."""
        return " and ".join(self.cut_by) or "nothing that we could see"


def _plain(tensors: Any) -> list[Any]:
    """Tensors without the wrappers of torch.func; None stays None."""
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    return [t if t is None else debug_unwrap(t) for t in several]


def _places(tensors: Sequence[Tensor]) -> list[tuple[int, torch.Size]]:
    """Where tensors live in memory; the same place is the same tensor while both are held."""
    return [(t.data_ptr(), t.shape) for t in tensors]


@dataclass
class _Trace:
    """One watched call of the outer loss."""

    value: float
    gradient: dict[str, Tensor | None]
    changed: list[str]
    watch: _Watch

    def problems(self, num_inner_steps: int | None) -> list[str]:
        """Faults that show in what the call did, whatever its gradient."""
        found = self.watch.stale(num_inner_steps)
        if self.changed:
            found.append(
                f"the call changed {_names(self.changed)} in place: the start that we meta-learn "
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
        with _Watch(constant_gradients) as watch:
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

    def slopes(self, trace: _Trace, n_directions: int, step: float) -> dict[str, _Slopes]:
        """Directional derivatives of each parameter tensor, by autograd and by differences."""
        generator = torch.Generator().manual_seed(self.seed)
        found = {}
        for name, start in self.start.items():
            directions = _directions(start, n_directions, generator)
            values = [[self.value(name, sign * step * d) for sign in (1, -1)] for d in directions]
            ends = torch.tensor(values, dtype=torch.float64)
            gradient = trace.gradient[name]
            gradient = torch.zeros_like(start) if gradient is None else gradient
            found[name] = _Slopes(
                directions.reshape(len(directions), -1).mv(gradient.flatten()).cpu(),
                (ends[:, 0] - ends[:, 1]) / (2 * step),
                _kinks(ends, trace.value, step),
                _rounding(trace.value, step),
                math.sqrt(start.numel() / len(directions)),
            )
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


@dataclass
class _Slopes:
    """Directional derivatives of the loss, one per direction, for one parameter tensor.

    `kinks` and `rounding` say how far the two may lie apart because of these; `weight` makes up
    for the share of all directions that was tried.
    """

    autograd: Tensor
    differences: Tensor
    kinks: Tensor
    rounding: float
    weight: float

    @property
    def limit(self) -> Tensor:
        """How far the two may lie apart though both are right."""
        return self.kinks + self.rounding

    @property
    def relative_error(self) -> float:
        unexplained = ((self.autograd - self.differences).abs() - self.limit).clamp(min=0).norm()
        # NaN stays NaN, and is no success.
        return 0.0 if unexplained == 0 else (unexplained / self.size).item()

    @property
    def size(self) -> Tensor:
        """Length of the slopes, by autograd or by differences, whichever is larger."""
        return torch.maximum(self.autograd.norm(), self.differences.norm())

    @property
    def is_flat(self) -> bool:
        """Whether the loss does not depend on this parameter."""
        return bool((self.differences.abs() <= self.limit).all())


def _directions(like: Tensor, n_directions: int, generator: torch.Generator) -> Tensor:
    """(n, *like.shape) orthonormal directions: random, or every coordinate if there are few."""
    if like.numel() <= n_directions:
        basis = torch.eye(like.numel(), dtype=like.dtype)
    else:
        normal = torch.randn(like.numel(), n_directions, dtype=like.dtype, generator=generator)
        basis = torch.linalg.qr(normal).Q.T
    return basis.reshape(len(basis), *like.shape).to(like.device)


def _kinks(ends: Tensor, middle: float, step: float) -> Tensor:
    """How far central differences may be off because of kinks: these show in second ones."""
    return (ends[:, 0] + ends[:, 1] - 2 * middle).abs() / (2 * step)


def _rounding(middle: float, step: float) -> float:
    """How far a central difference may be off because its ends are rounded."""
    return 1e3 * torch.finfo(torch.float64).eps * max(1.0, abs(middle)) / (2 * step)


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
    """A clearer error for two frequent ones of torch; any other as it is."""
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


def _resolution_problems(slopes: dict[str, _Slopes], step: float) -> list[str]:
    """Whether rounding leaves so little of the differences that nothing was checked."""
    hidden = math.hypot(*(s.weight * s.rounding * len(s.kinks) ** 0.5 for s in slopes.values()))
    size = math.hypot(*(s.weight * s.size.item() for s in slopes.values()))
    if size == 0 or hidden <= 0.1 * size:
        return []
    return [
        f"differences at step {step:g} check nothing: rounding alone may explain {hidden:.2g} of "
        f"slopes of {size:.2g} in all; take a larger step, or a loss that is larger than its noise"
    ]


def _gradient_problems(
    probe: _Probe, trace: _Trace, slopes: dict[str, _Slopes], tolerance: float
) -> list[str]:
    missing = [n for n, g in trace.gradient.items() if g is None and not slopes[n].is_flat]
    unused = [n for n, g in trace.gradient.items() if g is None and slopes[n].is_flat]
    wrong = [n for n, s in slopes.items() if n not in missing and not s.relative_error <= tolerance]
    problems = []
    if missing:
        it = "it" if len(missing) == 1 else "them"
        problems.append(
            f"no gradient reaches {_names(missing)}, although the loss depends on {it}; calls that "
            f"cut the graph: {trace.watch.cuts()}"
        )
    if unused:
        problems.append(f"the loss does not depend on {_names(unused)}")
    if wrong:
        problems.append(_wrong_gradient(probe, trace, slopes, wrong))
    return problems


def _wrong_gradient(
    probe: _Probe, trace: _Trace, slopes: dict[str, _Slopes], wrong: list[str]
) -> str:
    figures = _gradient_figures(slopes)
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
        f"the gradient of {_names(wrong)} is wrong ({size}); calls that cut the graph: "
        f"{trace.watch.cuts()}"
    )


def _is_first_order(probe: _Probe, trace: _Trace) -> bool:
    """Whether nothing changes if we make every inner gradient a constant ourselves."""
    constant = probe.trace(constant_gradients=True).gradient
    pairs = [(g, constant[n]) for n, g in trace.gradient.items()]
    return all(
        a is b if a is None or b is None else torch.allclose(a, b, rtol=1e-9, atol=1e-12)
        for a, b in pairs
    )


def _gradient_figures(slopes: dict[str, _Slopes]) -> dict[str, float]:
    ours = torch.cat([s.weight * s.autograd for s in slopes.values()])
    true = torch.cat([s.weight * s.differences for s in slopes.values()])
    figures = {
        "relative error": ((ours - true).norm() / true.norm()).item(),
        "cosine": torch.cosine_similarity(ours, true, dim=0).item(),
        "norm ratio": (ours.norm() / true.norm()).item(),
    }
    return figures | {f"relative error of {n}": s.relative_error for n, s in slopes.items()}


def _names(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# ---------------------------------------------------------------------- transduction


def check_transduction(learner: ScoreFunction, episodes: EpisodeBatch) -> Report:
    """Whether queries inform each other: score them all at once, then one by one.

    A learner that is asked about one item at a time must give the same answer. Batch normalisation
    on the statistics of the query batch breaks that, and shows an accuracy that nobody gets who
    asks about single items. Tasks of one batch must not inform each other either.

    Args:
        learner: a learner, checked in the mode it is in, or any function from support_x, support_y
            and query_x (T, Q, *item) to scores (T, Q, n_way).
        episodes: a few tasks; each query costs one call.
    Returns:
        A report with both accuracies (regression: squared errors) and the largest differences.
    Raises:
        ValueError: not a learner or not episodes, or tasks of one query, which show nothing.
    """
    if not isinstance(episodes, EpisodeBatch) or not callable(learner):
        got = type(learner).__name__, type(episodes).__name__
        raise ValueError(f"need learner, a function, and episodes, an EpisodeBatch; got {got}")
    if episodes.query_x.shape[1] < 2:
        raise ValueError("episodes have one query per task, which has no other to be informed by")
    score = copy.deepcopy(learner) if isinstance(learner, nn.Module) else learner
    together = torch.cat([_score(score, episodes[t : t + 1]) for t in range(len(episodes))])
    if scores_differ(together[:1], _score(score, episodes[:1])):
        problem = "two equal calls give different scores: the learner is random (dropout?) or keeps"
        return Report("transduction", [f"{problem} state, so that nothing can be compared"])
    try:
        alone = query_by_query(score, episodes).detach()
    except ValueError as error:
        problem = f"a query cannot be scored alone, so queries need each other: {error}"
        return Report("transduction", [problem + _batch_norms(score)])
    return _compare_scores(score, episodes, together, alone)


def _compare_scores(
    score: ScoreFunction, episodes: EpisodeBatch, together: Tensor, alone: Tensor
) -> Report:
    batch = _score(score, episodes)
    what = "accuracy" if episodes.is_classification else "squared error"
    before, after = (score_episodes(s, episodes).mean().item() for s in (together, alone))
    problems = []
    if scores_differ(together, alone):
        shown = ".1%" if episodes.is_classification else ".3g"
        problems.append(
            f"queries inform each other: {what} {before:{shown}} with all queries at once, "
            f"{after:{shown}} one by one{_batch_norms(score)}"
        )
    if scores_differ(together, batch):
        problems.append(
            "tasks inform each other: scores change with the tasks beside them"
            + _batch_norms(score)
        )
    figures = {
        f"{what}, all queries at once": before,
        f"{what}, one by one": after,
        "largest score difference": (together - alone).abs().max().item(),
        "largest score difference between tasks": (together - batch).abs().max().item(),
    }
    return Report("transduction", problems, figures)


def _score(score: ScoreFunction, episodes: EpisodeBatch) -> Tensor:
    return score(episodes.support_x, episodes.support_y, episodes.query_x).detach()


def _batch_norms(score: Any) -> str:
    """Layers that now normalise with the statistics of the batch, as the end of a sentence."""
    modules = score.named_modules() if isinstance(score, nn.Module) else ()
    layers = [
        name
        for name, m in modules
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and (m.training or m.running_mean is None)
    ]
    return f"; normalised by batch statistics: {_names(layers)}" if layers else ""


# ---------------------------------------------------------------------- episodes and splits


def check_episodes(
    episodes: EpisodeBatch | Sequence[Tensor] | Tensor,
    support_y: Tensor | None = None,
    query_x: Tensor | None = None,
    query_y: Tensor | None = None,
    *,
    classes: Tensor | None = None,
) -> Report:
    """Whether episodes are sound; also for tensors that EpisodeBatch would refuse.

    Args:
        episodes: an EpisodeBatch, a tuple (support_x, support_y, query_x, query_y), or support_x
            followed by the other three; one task without the task axis is welcome.
        classes: (T, n_way), the data set class behind each label.
    Raises:
        ValueError: the four tensors have no common task axis, items and labels differ in number, or
            there are none.
    """
    if isinstance(episodes, EpisodeBatch):
        classes = episodes.classes if classes is None else classes
        parts = [episodes.support_x, episodes.support_y, episodes.query_x, episodes.query_y]
    elif isinstance(episodes, tuple | list):
        parts = _with_task_axis(list(episodes))
    else:
        parts = _with_task_axis([episodes, support_y, query_x, query_y])
    support_x, support_y, query_x, query_y = parts
    problems = []
    if support_y.is_floating_point() != query_y.is_floating_point():
        problems.append(f"support_y holds {support_y.dtype}, query_y {query_y.dtype}")
    elif not support_y.is_floating_point():
        problems += _label_problems(support_y, query_y)
    elif not (torch.isfinite(support_y).all() and torch.isfinite(query_y).all()):
        problems.append("targets hold NaN or infinite numbers")
    problems += _item_problems(support_x, query_x)
    if classes is not None:
        problems += _class_problems(_checked_classes(classes, len(support_x)))
    return Report("episodes", problems, {"tasks": len(support_x)})


def _with_task_axis(parts: list[Any]) -> list[Tensor]:
    if len(parts) != 4 or not all(isinstance(part, Tensor) for part in parts):
        raise ValueError("need four tensors: support_x, support_y, query_x, query_y")
    is_one_task = parts[1].ndim == (2 if parts[1].is_floating_point() else 1)
    parts = [part[None] for part in parts] if is_one_task else parts
    support_x, support_y, query_x, query_y = parts
    fits = support_x.shape[:2] == support_y.shape[:2] and query_x.shape[:2] == query_y.shape[:2]
    flat = min(support_x.ndim, query_x.ndim) < 3 or support_y.ndim < 2
    if not fits or flat or support_x.shape[:1] != query_x.shape[:1] or 0 in support_x.shape[:2]:
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise ValueError(
            "need support_x (T, S, *item), support_y (T, S), query_x (T, Q, *item), "
            f"query_y (T, Q); got {shapes}"
        )
    return parts


def _checked_classes(classes: Any, n_tasks: int) -> Tensor:
    if not isinstance(classes, Tensor) or classes.ndim != 2 or len(classes) != n_tasks:
        shape = tuple(classes.shape) if isinstance(classes, Tensor) else type(classes).__name__
        raise ValueError(f"classes must be a tensor (tasks, n_way) of {n_tasks} tasks, got {shape}")
    return classes


def _label_problems(support_y: Tensor, query_y: Tensor) -> list[str]:
    """Faults of the labels, each reported for the first task that has it."""
    found: dict[str, str] = {}
    for task, (support, query) in enumerate(zip(support_y, query_y, strict=True)):
        labels, counts = support.unique(return_counts=True)
        query_labels, query_counts = query.unique(return_counts=True)
        n_way, ids = len(labels), labels.tolist()
        if n_way == 1:
            found.setdefault(
                "one", f"task {task} has one class only: nothing to tell apart, any guess is right"
            )
        if ids != list(range(n_way)):
            found.setdefault(
                "range", f"labels of task {task} are {ids[:10]}, not 0..{n_way - 1}: remap them"
            )
        strangers = sorted(set(query_labels.tolist()) - set(ids))
        if strangers:
            found.setdefault(
                "strangers", f"task {task} asks for labels {strangers[:10]} without support items"
            )
        for side, n in (("support", counts), ("query", query_counts)):
            if int(n.min()) != int(n.max()):
                found.setdefault(
                    side, f"the {side} set of task {task} has {n.tolist()[:10]} items per class"
                )
    return list(found.values())


def _item_problems(support_x: Tensor, query_x: Tensor) -> list[str]:
    support, query = _fingerprints(support_x), _fingerprints(query_x)
    problems = []
    shared = [len(set(s) & set(q)) for s, q in zip(support, query, strict=True)]
    if any(shared):
        problems.append(
            f"{sum(shared)} support items are among the queries of their task (first in task "
            f"{_first(shared)}): the answer was shown"
        )
    for side, items in (("support", support), ("query", query)):
        repeated = [len(row) - len(set(row)) for row in items]
        if any(repeated):
            problems.append(
                f"{sum(repeated)} items stand twice in the {side} set of their task (first in "
                f"task {_first(repeated)})"
            )
    twins = len(support) - len({(*s, *q) for s, q in zip(support, query, strict=True)})
    if twins:
        problems.append(f"{twins} of {len(support)} tasks repeat another task item by item")
    if not (torch.isfinite(support_x).all() and torch.isfinite(query_x).all()):
        problems.append("items hold NaN or infinite numbers")
    return problems


def _class_problems(classes: Tensor) -> list[str]:
    problems = []
    repeated = [len(row) - len(set(row)) for row in classes.tolist()]
    if any(repeated):
        row = classes[_first(repeated)].tolist()
        problems.append(
            f"{sum(r > 0 for r in repeated)} tasks use one class under two labels (first task "
            f"{_first(repeated)}, classes {row[:10]})"
        )
    n_tasks, n_way = classes.shape
    in_order = bool((classes.diff(dim=1) > 0).all())
    if in_order and n_way > 1 and math.factorial(n_way) ** n_tasks > 1000:
        problems.append(
            "labels follow the order of the classes in every task: shuffle them, or a learner can "
            "remember which label a class tends to get"
        )
    return problems


def _fingerprints(items: Tensor) -> list[list[bytes]]:
    """The bytes of each item (T, n, *item), to find equal ones."""
    items = items.detach().cpu()
    items = items + 0.0 if items.is_floating_point() else items  # there is a -0.0, equal to 0.0
    rows = items.flatten(2).contiguous().view(torch.uint8).numpy()
    return [[row.tobytes() for row in task] for task in rows]


def _first(counts: list[int]) -> int:
    return next(i for i, count in enumerate(counts) if count)


def check_splits(*datasets: FewShotDataset, **named: FewShotDataset) -> Report:
    """Whether splits share classes, by group and name, or hold the same items.

    Args:
        datasets: the splits, called by their `name`; or `train=..., test=...` with names of yours.
    Raises:
        ValueError: fewer than two splits, one name twice, or something else than data sets.
    """
    for name, dataset in [*enumerate(datasets, 1), *named.items()]:
        if not isinstance(dataset, FewShotDataset):
            raise ValueError(f"split {name} must be a FewShotDataset, got {type(dataset).__name__}")
    numbered = _numbered(datasets)
    if numbered.keys() & named.keys():
        raise ValueError(
            f"two splits are called {min(numbered.keys() & named.keys())!r}; rename one"
        )
    splits: Mapping[str, FewShotDataset] = numbered | named
    if len(splits) < 2:
        raise ValueError(f"need at least two splits to compare, got {len(splits)}")
    classes = {n: set(zip(d.class_groups, d.class_names, strict=True)) for n, d in splits.items()}
    items = {n: set(_fingerprints(some[None])[0]) for n, some in _alike(splits).items()}
    problems, figures = [], {}
    for first, second in combinations(splits, 2):
        both = sorted(classes[first] & classes[second])
        figures[f"shared classes: {first}, {second}"] = float(len(both))
        if both:
            some = _names([f"{name} ({group})" for group, name in both])
            problems.append(f"{first} and {second} share {len(both)} classes: {some}")
        n_items = len(items[first] & items[second])
        figures[f"shared items: {first}, {second}"] = float(n_items)
        if n_items and not both:
            problems.append(f"{first} and {second} hold {n_items} equal items under other names")
    return Report("splits", problems, figures)


def _alike(splits: Mapping[str, FewShotDataset]) -> dict[str, Tensor]:
    """The items of each split; all as float32 in [0, 1] where the splits store them unlike."""
    items = {name: dataset.items for name, dataset in splits.items()}
    if len({some.dtype for some in items.values()}) == 1:
        return items
    return {name: scale(some).float() for name, some in items.items()}


def _numbered(datasets: Sequence[FewShotDataset]) -> dict[str, FewShotDataset]:
    """Splits by name; several of one name get their place as well."""
    counts = Counter(d.name for d in datasets)
    return {
        d.name if counts[d.name] == 1 else f"{d.name} ({i})": d for i, d in enumerate(datasets, 1)
    }
