"""The exercises of notebook 06: gradients by step sizes, and two losses to mend."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Answer, Case, Exercise, Mistake
from ..checker.question import Option, Question
from .maml import Loss, bowl, cube, draw_losses, draw_point, far_bowl

__all__ = [
    "EXERCISES",
    "best_start_and_rate",
    "loss_after_step",
    "loss_after_steps",
    "meta_sgd_gradients",
    "scalar_gradients",
]


# --- one weight, one rate --------------------------------------------------------------------


def scalar_gradients(
    w: float, rate: float, support_target: float, query_target: float
) -> tuple[float, float]:
    """Gradient by w and by the rate of the query loss (w' - query_target)^2 / 2 after one step."""
    support_slope = w - support_target
    query_slope = w - rate * support_slope - query_target
    return query_slope * (1 - rate), -query_slope * support_slope


def _slopes(w: float, r: float, s: float, q: float) -> tuple[float, float]:
    """Slope of the support loss at w, of the query loss at w'."""
    return w - s, w - r * (w - s) - q


def _scalar(by_w: Callable[..., float], by_rate: Callable[..., float]) -> Answer:
    """An answer from (rate, support slope, query slope), one function for each value."""

    def answer(w: float, r: float, s: float, q: float) -> tuple[float, float]:
        slopes = _slopes(w, r, s, q)
        return by_w(r, *slopes), by_rate(r, *slopes)

    return answer


def _by_w(rate: float, support_slope: float, query_slope: float) -> float:
    return query_slope * (1 - rate)


def _by_rate(rate: float, support_slope: float, query_slope: float) -> float:
    return -query_slope * support_slope


def _draw_scalar(generator: Generator) -> tuple[float, float, float, float]:
    w, support, query = (3 * torch.randn(3, generator=generator)).tolist()
    return w, 1.6 * torch.rand((), generator=generator).item() - 0.8, support, query


SCALAR = Exercise(
    solution=scalar_gradients,
    lesson=6,
    aim="compute the gradient by a step size on paper",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((2.0, 0.1, 1.0, 3.0), (-0.99, 1.1)),
        Case((-1.0, 0.5, 4.0, 0.0), (0.75, 7.5)),  # slopes -5 and 1.5
        Case((2.0, 0.0, 1.0, 3.0), (-1.0, 1.0)),  # no step: the plain slope by w
        Case((1.0, -0.3, 0.5, 2.0), (-1.105, 0.425)),  # slopes 0.5 and -0.85
    ],
    draw=_draw_scalar,
    mistakes=[
        Mistake(
            lambda w, r, s, q: ((w - q) * (1 - r), -(w - q) * (w - s)),
            "the slope of the query loss is taken at the start w; take it at w', after the step",
        ),
        Mistake(
            lambda w, r, s, q: (w - q, -(w - q) * (w - s)),
            "the slope of the query loss is taken at the start w; take it at w', after the step. "
            "And the gradient by w needs the factor dw'/dw = 1 - rate",
        ),
        Mistake(
            _scalar(lambda r, a, b: b, _by_rate),
            "the gradient by w is that of first order: the factor dw'/dw = 1 - rate is missing",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * (1 + r), _by_rate),
            "w' = w - rate * (w - target) contains w twice; dw'/dw is 1 - rate, with a minus",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * r, _by_rate),
            "dw'/dw is 1 - rate, not rate: w' is w itself minus a part of the way",
        ),
        Mistake(
            _scalar(lambda r, a, b: -b * r, _by_rate),
            "dw'/dw is 1 - rate: the derivative of w itself, which is 1, is missing",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * (1 - r * a), _by_rate),
            "the factor is 1 - rate times the second derivative of the support loss, which is 1; "
            "this has its slope there",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * (1 - r) ** 2, _by_rate),
            "the factor 1 - rate occurs once, for one step",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: b * a),
            "the sign of the gradient by the rate: w' falls by the support slope if the rate rises "
            "by 1, so dw'/d rate is minus the support slope",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -b),
            "dw'/d rate is minus the support slope, not -1",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: b),
            "the gradient by the rate is the query slope times dw'/d rate, which is minus the "
            "support slope",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -a),
            "this is dw'/d rate alone; the chain rule multiplies it by the query slope at w'",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: a),
            "this is the support slope; the gradient by the rate is minus the query slope at w' "
            "times it",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -a * a),
            "this is the support slope squared; one of the two slopes is that of the query loss",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -b * b),
            "this is the query slope squared; one of the two slopes is that of the support loss",
        ),
        Mistake(
            lambda w, r, s, q: (scalar_gradients(w, r, s, q)[0], -_slopes(w, r, s, q)[1] * w),
            "by the rate, the factor is minus the support slope w - support_target, not -w",
        ),
        Mistake(
            lambda w, r, s, q: (scalar_gradients(w, r, s, q)[0], -_slopes(w, r, s, q)[1] * s),
            "by the rate, the factor is minus the support slope w - support_target, not the target",
        ),
        Mistake(
            lambda w, r, s, q: (
                scalar_gradients(w, r, s, q)[0],
                -_slopes(w, r, s, q)[1] * (w - r * (w - s)),
            ),
            "by the rate, the factor is minus the support slope w - support_target, not w'",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -b * a * (1 - r)),
            "the gradient by the rate has 1 - rate too much in it: this factor belongs to the "
            "gradient by w only, and the support slope is the one at the start w, not at w'",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -b * a * r),
            "w' = w - rate * support_slope; by the rate, this has the derivative -support_slope, "
            "without the rate",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: b * (1 - a)),
            "w itself does not depend on the rate: dw'/d rate is minus the support slope",
        ),
        Mistake(
            lambda w, r, s, q: (scalar_gradients(w, r, s, q)[0], -(w - q) * (w - s)),
            "the query slope in the gradient by the rate is taken at w; take it at w'",
        ),
        Mistake(
            lambda w, r, s, q: (
                scalar_gradients(w, r, s, q)[0],
                -_slopes(w, r, s, q)[1] * (w - q),
            ),
            "the step follows the support loss: by the rate, the factor is w - support_target",
        ),
        Mistake(
            lambda w, r, s, q: scalar_gradients(w, r, s, q)[::-1],
            "first the gradient by w, then by the rate",
        ),
        Mistake(
            lambda w, r, s, q: _slopes(w, r, s, q),
            "these are the two slopes; now multiply: by w the query slope times 1 - rate, by the "
            "rate minus the product of both",
        ),
        Mistake(
            lambda w, r, s, q: _slopes(w, r, s, q)[::-1],
            "these are the two slopes; now multiply: by w the query slope times 1 - rate, by the "
            "rate minus the product of both",
        ),
        Mistake(
            lambda w, r, s, q: scalar_gradients(w, r, s, s),
            "the outer loop differentiates the support loss; it must be the query loss",
        ),
        Mistake(
            lambda w, r, s, q: scalar_gradients(w, r, q, q),
            "the step goes towards the query target; it must only see the support target",
        ),
        Mistake(
            lambda w, r, s, q: scalar_gradients(w, r, q, s),
            "support and query target are exchanged",
        ),
        Mistake(
            lambda w, r, s, q: (
                (w + r * (w - s) - q) * (1 - r),
                -(w + r * (w - s) - q) * (w - s),
            ),
            "the step goes uphill: w' = w - rate * (w - support_target), with a minus",
        ),
        Mistake(
            lambda w, r, s, q: (
                (w + r * (w - s) - q) * (1 + r),
                (w + r * (w - s) - q) * (w - s),
            ),
            "the step goes uphill: w' = w - rate * (w - support_target), with a minus",
        ),
        Mistake(
            lambda w, r, s, q: (
                2 * (w - 2 * r * (w - s) - q) * (1 - 2 * r),
                -4 * (w - 2 * r * (w - s) - q) * (w - s),
            ),
            "both losses have a 1/2, so that their slopes have no factor 2",
        ),
        Mistake(
            lambda w, r, s, q: ((w - s - q) * (1 - r), -(w - s - q) * (w - s)),
            "the step forgets its length: w' = w - rate * (w - support_target)",
        ),
        Mistake(
            lambda w, r, s, q: (
                w - r * scalar_gradients(w, r, s, q)[0],
                r - r * scalar_gradients(w, r, s, q)[1],
            ),
            "these are start and rate after an outer step; only the gradients are asked for",
        ),
        Mistake(
            lambda w, r, s, q: scalar_gradients(w, r, s, q)[0],
            "two values are asked for: the gradient by w and the gradient by the rate",
        ),
        Mistake(
            lambda w, r, s, q: (scalar_gradients(w, r, s, q)[0],),
            "two values are asked for: the gradient by w and the gradient by the rate",
        ),
        Mistake(
            lambda w, r, s, q: sum(scalar_gradients(w, r, s, q)),
            "this is the sum of the two gradients; return both, by w and by the rate",
        ),
        Mistake(
            _scalar(lambda r, a, b: b - r * a, _by_rate),
            "the chain rule multiplies: by w, the query slope at w' times dw'/dw = 1 - rate",
        ),
        Mistake(
            _scalar(lambda r, a, b: b - (1 - r), _by_rate),
            "the chain rule multiplies: by w, the query slope at w' times dw'/dw = 1 - rate",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * (1 - r) * a, _by_rate),
            "the support slope does not belong into the gradient by w: dw'/dw is 1 - rate",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * a, _by_rate),
            "the support slope does not belong into the gradient by w: dw'/dw is 1 - rate",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * (1 - r) + a, _by_rate),
            "the support slope is added to the gradient by w; the outer loop minimises the query "
            "loss alone",
        ),
        Mistake(
            _scalar(lambda r, a, b: b / (1 - r), _by_rate),
            "the chain rule multiplies by dw'/dw = 1 - rate; this divides by it",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: -b * a / r if r else 0.0),
            "dw'/d rate is minus the support slope; there is nothing to divide by",
        ),
        Mistake(
            lambda w, r, s, q: ((w - r * (w - s) ** 2 / 2 - q) * (1 - r), 0.0),
            "the step uses the support loss itself; it goes along its slope, w - support_target",
        ),
        Mistake(
            _scalar(lambda r, a, b: b * b / 2 * (1 - r), _by_rate),
            "this multiplies the query loss by dw'/dw; take its slope, w' - query_target",
        ),
        Mistake(
            lambda w, r, s, q: (0.9 * (w - 0.1 * (w - s) - q), -(w - 0.1 * (w - s) - q) * (w - s)),
            "the step size 0.1 of the example is written into your function; use rate",
        ),
        Mistake(
            lambda w, r, s, q: ((1 - r) * (w - r * s - q), -(w - r * s - q) * s),
            "the support slope is w - support_target, not the target alone",
        ),
        Mistake(
            _scalar(_by_w, lambda r, a, b: abs(b * a)),
            "the sign counts: a gradient says in which direction the loss rises",
        ),
    ],
    hints=[
        "The cell after the prediction does it for w = 2, the rate 0.1 and the targets 1 and 3. "
        "Put names in place of the numbers.",
        "The support slope is w - support_target, the query slope is w' - query_target. Both "
        "gradients are the query slope times something: dw'/dw, and dw'/d rate.",
        "w' = w - rate · (w - support_target): by w this has the derivative 1 - rate, by the rate "
        "-(w - support_target).",
    ],
)


# --- many tasks: a line ----------------------------------------------------------------------


def best_start_and_rate(support_targets: Tensor, query_targets: Tensor) -> tuple[Tensor, Tensor]:
    """Start and rate, two scalars, with the least mean query loss over tasks of one weight.

    Args:
        support_targets: (n_tasks,), not all equal.
        query_targets: (n_tasks,), whose slope on the support targets is not 1.
    """
    s = support_targets - support_targets.mean()
    rate = (s * query_targets).sum() / s.square().sum()
    w = (query_targets.mean() - rate * support_targets.mean()) / (1 - rate)
    return w, rate


Pair = tuple[Tensor, Tensor]


def _with_rate(rate_of: Callable[[Tensor, Tensor], Tensor]) -> Answer:
    """An answer with another rate, and the start that belongs to it."""

    def answer(s: Tensor, q: Tensor) -> Pair:
        rate = rate_of(s, q)
        return (q.mean() - rate * s.mean()) / (1 - rate), rate

    return answer


def _with_start(start_of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Answer:
    """An answer with another start, from the targets and the right rate."""

    def answer(s: Tensor, q: Tensor) -> Pair:
        rate = best_start_and_rate(s, q)[1]
        return start_of(s, q, rate), rate

    return answer


def _centred(t: Tensor) -> Tensor:
    return t - t.mean()


def _draw_line(generator: Generator) -> Pair:
    n = draw_int(4, 30, generator)
    slope, shift, height = torch.rand(3, generator=generator).tolist()
    s, noise = torch.randn(2, n, generator=generator)
    s = s + 1 + 2 * shift
    slope = 1.4 * slope - 0.8 if draw_int(0, 3, generator) else 1.5 + slope  # never near 1
    return s, slope * s + 0.3 * noise + 2 * height + 0.5


LINE = Exercise(
    solution=best_start_and_rate,
    lesson=6,
    aim="see a step size as the slope of a line",
    minutes=10,
    difficulty="medium",
    cases=[
        # the line through (0, 1) and (2, 0): slope -1/2, intercept 1 = (1 + 1/2) w
        Case(
            (torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])),
            (torch.tensor(2 / 3), torch.tensor(-0.5)),
        ),
        # means 2 and 2; slope (-1 * -1 + 1 * 0) / 2 = 1/2, intercept 1 = w / 2
        Case(
            (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])),
            (torch.tensor(2.0), torch.tensor(0.5)),
        ),
        # slope (-1 * 0 + 1 * 4) / 2 = 2, intercept -2 = (1 - 2) w
        Case(
            (torch.tensor([1.0, 3.0]), torch.tensor([0.0, 4.0])),
            (torch.tensor(2.0), torch.tensor(2.0)),
        ),
        # the query target is always 4: no step, and the start is 4
        Case(
            (torch.tensor([1.0, 5.0, 3.0]), torch.full((3,), 4.0)),
            (torch.tensor(4.0), torch.tensor(0.0)),
        ),
    ],
    draw=_draw_line,
    mistakes=[
        Mistake(
            _with_start(lambda s, q, rate: q.mean() - rate * s.mean()),
            "this is the intercept of the line, which is (1 - rate) w; divide it by 1 - rate",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (1 - rate) * (q.mean() - rate * s.mean())),
            "the intercept is (1 - rate) w: divide it by 1 - rate, do not multiply",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (q.mean() + rate * s.mean()) / (1 - rate)),
            "the line goes through the two means: mean q = (1 - rate) w + rate * mean s; solve "
            "that for w, with a minus",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (q.mean() - rate * s.mean()) / (1 + rate)),
            "the intercept of the line is (1 - rate) w, not (1 + rate) w",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (q.mean() - rate * s.mean()) / rate),
            "the intercept of the line is (1 - rate) w: divide by 1 - rate, not by the rate",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (q.mean() - s.mean()) / (1 - rate)),
            "mean q = (1 - rate) w + rate * mean s: the rate before the mean of s is missing",
        ),
        Mistake(
            _with_start(lambda s, q, rate: q.mean() / (1 - rate)),
            "mean q = (1 - rate) w + rate * mean s: subtract the part of the support targets. (If "
            "you do: is it their own mean, or that of the centred ones, which is 0?)",
        ),
        Mistake(
            _with_start(lambda s, q, rate: q.mean()),
            "the mean of the query targets is the best start for a rate of 0 only",
        ),
        Mistake(
            _with_start(lambda s, q, rate: s.mean()),
            "this is the mean of the support targets; every best line goes through both means: "
            "mean q = (1 - rate) w + rate * mean s",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (s.mean() - rate * q.mean()) / (1 - rate)),
            "in the start, support and query means are exchanged: "
            "mean q = (1 - rate) w + rate * mean s",
        ),
        Mistake(
            _with_rate(lambda s, q: (s * q).sum() / s.square().sum()),
            "this is the best line through the origin: subtract the mean from the support targets "
            "first",
        ),
        Mistake(
            _with_rate(lambda s, q: (s * q).sum() / _centred(s).square().sum()),
            "the mean is subtracted in the denominator only; the products need it, too",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).sum() / s.square().sum()),
            "the mean is subtracted in the products only; the squares need it, too",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).sum() / (_centred(q).square().sum() + 1e-20)),
            "this is the slope of the support targets on the query targets; the sum of squares "
            "must be that of the support targets",
        ),
        Mistake(
            _with_rate(
                lambda s, q: (
                    (_centred(s) * q).sum()
                    / (_centred(s).square().sum() * _centred(q).square().sum() + 1e-20).sqrt()
                )
            ),
            "this is the correlation; for the slope, divide by the sum of squares of the support "
            "targets alone",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).sum()),
            "the sum of products must be divided by the sum of squares of the support targets",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).mean()),
            "this is the covariance; divide it by the variance of the support targets",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).mean() / s.var()),
            "`mean()` divides by n, `var()` by n - 1: use one of the two in both places",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).sum() / (len(s) - 1) / s.var(correction=0)),
            "the covariance is divided by n - 1, the variance by n: use one of the two in both "
            "places",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).sum() / _centred(s).square().sum().sqrt()),
            "no root: divide the sum of products by the sum of squares",
        ),
        Mistake(
            _with_rate(lambda s, q: q.std() / s.std()),
            "a quotient of spreads knows nothing of how s and q go together; take the sum of "
            "products",
        ),
        Mistake(
            _with_rate(lambda s, q: q.var() / s.var()),
            "a quotient of variances knows nothing of how s and q go together; take the sum of "
            "products",
        ),
        Mistake(
            _with_rate(lambda s, q: 1 - best_start_and_rate(s, q)[1]),
            "w' = (1 - rate) w + rate * s: the slope is the rate itself, not 1 - rate",
        ),
        Mistake(
            _with_start(lambda s, q, rate: q.mean() - s.mean()),
            "mean q = (1 - rate) w + rate * mean s; solve that for w",
        ),
        Mistake(
            _with_start(lambda s, q, rate: q.mean() - rate * s.mean() / (1 - rate)),
            "parentheses: the whole of mean q - rate * mean s is divided by 1 - rate",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).mean() / s.std(correction=0)),
            "the covariance is divided by the variance, the square of the standard deviation",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).mean() / s.std()),
            "the covariance is divided by the variance, the square of the standard deviation",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).sum() / s.var()),
            "a sum of products belongs to a sum of squares; `var()` is divided by n - 1",
        ),
        Mistake(
            _with_rate(lambda s, q: (_centred(s) * q).mean() / _centred(s).square().sum()),
            "a mean of products belongs to a mean of squares, a sum to a sum",
        ),
        Mistake(
            _with_rate(lambda s, q: -(_centred(s) * q).sum() / _centred(s).square().sum()),
            "the sign of the rate: w' = (1 - rate) w + rate * s rises with s as the rate says",
        ),
        Mistake(
            _with_rate(lambda s, q: (q / s).mean()),
            "a mean of quotients is no slope; it also forgets the start",
        ),
        Mistake(
            _with_rate(lambda s, q: q.mean() / s.mean()),
            "a quotient of means is the slope of a line through the origin and the means; subtract "
            "the means first, then multiply target by target",
        ),
        Mistake(
            lambda s, q: best_start_and_rate(s, q)[::-1],
            "first the start w, then the rate",
        ),
        Mistake(
            _with_start(lambda s, q, rate: (q - rate * s) / (1 - rate)),
            "this is a start for each task; all tasks share one, so take means",
        ),
        Mistake(
            lambda s, q: (
                best_start_and_rate(s, q)[1],
                q.mean() - best_start_and_rate(s, q)[1] * s.mean(),
            ),
            "first the start w, then the rate; and the intercept of the line is (1 - rate) w",
        ),
        Mistake(
            lambda s, q: best_start_and_rate(q, s),
            "support and query targets are exchanged: the line predicts q from s",
        ),
        Mistake(
            lambda s, q: best_start_and_rate(s, q)[1],
            "two values are asked for, the start and the rate",
        ),
        Mistake(
            lambda s, q: (
                (q.mean() - best_start_and_rate(s, q)[1] * s.mean())
                / (1 - best_start_and_rate(s, q)[1]),
                1 - best_start_and_rate(s, q)[1],
            ),
            "w' = (1 - rate) w + rate * s: the slope is the rate itself, not 1 - rate",
        ),
    ],
    hints=[
        "Two parts. The slope of the best line of q on s is the rate; the start follows from the "
        "fact that every best line goes through the two means.",
        "Subtract its mean from the support targets. The slope is the sum of their products with "
        "the query targets, divided by the sum of their squares.",
        "mean q = (1 - rate) · w + rate · mean s. Solve that for w.",
    ],
)


# --- any two losses --------------------------------------------------------------------------


def meta_sgd_gradients(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> tuple[Tensor, Tensor]:
    """Gradients by w and by rates, all of one shape, of the query loss after the inner steps.

    Source: Li et al. (2017), eq. 2, with one or more steps of the same rates.
    """
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w = fast_w - rates * gradient
    by_w, by_rates = torch.autograd.grad(query_loss(fast_w), (w, rates))
    return by_w, by_rates


def _gradients(
    after: Callable[[Loss, Loss, Tensor, Tensor, int], Tensor],
) -> Callable[[Loss, Loss, Tensor, Tensor, int], Pair]:
    """The answer that differentiates what `after` gives, mostly a query loss, by w and rates."""

    def answer(support: Loss, query: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
        w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
        loss = after(support, query, w, rates, k)
        by_w, by_rates = torch.autograd.grad(
            loss, (w, rates), allow_unused=True, materialize_grads=True
        )
        return by_w, by_rates

    return answer


def _slope(loss: Loss, at: Tensor, *, graph: bool = True) -> Tensor:
    """Gradient of a loss, with or without a graph of its own."""
    if not at.requires_grad:
        at = at.detach().requires_grad_()
    return torch.autograd.grad(loss(at), at, create_graph=graph)[0]


def _walk(support: Loss, w: Tensor, rates: Tensor, k: int, *, graph: bool = True) -> Tensor:
    """The weights after k steps."""
    for _ in range(k):
        w = w - rates * _slope(support, w, graph=graph)
    return w


def _always_from_start(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    fast_w = w
    for _ in range(k):
        fast_w = w - rates * _slope(s, fast_w)
    return q(fast_w)


def _last_rates_only(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    fast_w = _walk(s, w, rates.detach(), max(k - 1, 0))
    return q(_walk(s, fast_w, rates, min(k, 1)))


def _first_rates_only(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    fast_w = _walk(s, w, rates, min(k, 1))
    return q(_walk(s, fast_w, rates.detach(), max(k - 1, 0)))


def _sum_of_losses(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    losses = [q(_walk(s, w, rates, i)) for i in range(1, max(k, 1) + 1)]
    return torch.stack(losses).sum()


def _mean_of_losses(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    return _sum_of_losses(s, q, w, rates, k) / max(k, 1)


def _one_step_formula(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    by_w, _ = meta_sgd_gradients(s, q, w, rates, k)
    outer = _slope(q, _walk(s, w.detach().requires_grad_(), rates, k).detach())
    return by_w, -(outer * _slope(s, w)).detach()


def _plus_in_formula(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    by_w, by_rates = _one_step_formula(s, q, w, rates, k)
    return by_w, -by_rates


def _by_fast_w(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    fast_w = _walk(s, w.detach().requires_grad_(), rates, k)
    return _slope(q, fast_w.detach()).detach(), meta_sgd_gradients(s, q, w, rates, k)[1]


def _added_up(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    by_w, by_rates = meta_sgd_gradients(s, q, w, rates, k)
    start = w.detach().requires_grad_()
    inner = [_slope(s, _walk(s, start, rates, i)).detach() for i in range(k)]
    return by_w + sum(inner, torch.zeros_like(w)), by_rates


def _graph_used_up(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    loss = q(_walk(s, w, rates, k))
    return torch.autograd.grad(loss, w)[0], torch.autograd.grad(loss, rates)[0]


def _cut_off(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    start = w.detach().requires_grad_()
    fast_w = w.detach().requires_grad_()
    by_w, by_rates = torch.autograd.grad(q(fast_w), (start, rates.detach().requires_grad_()))
    return by_w, by_rates


def _no_leaf(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    w = w.detach()
    return torch.autograd.grad(s(w), w)[0]


def _mean_gradient(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    for _ in range(k):
        w = w - rates * _slope(s, w).mean()
    return q(w)


def _last_graph_only(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    return q(_walk(s, _walk(s, w, rates, k - 1, graph=False), rates, 1))


def _by_start(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    fast_w = w
    for _ in range(k):
        (gradient,) = torch.autograd.grad(s(fast_w), w, create_graph=True)
        fast_w = fast_w - rates * gradient
    return q(fast_w)


def _rates_no_leaf(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    w, rates = w.detach().requires_grad_(), rates.detach()
    by_w, by_rates = torch.autograd.grad(q(_walk(s, w, rates, k)), (w, rates))
    return by_w, by_rates


def _rates_unused(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Pair:
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    by_w, by_rates = torch.autograd.grad(q(w), (w, rates))
    return by_w, by_rates


def _in_place(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    w = w.detach().requires_grad_()
    w -= rates * _slope(s, w).detach()
    return w


def _draw_meta(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor, int]:
    support_loss, query_loss = draw_losses(generator)
    w = draw_point(generator)
    rates = 0.2 * torch.randn(w.shape, generator=generator) + 0.05
    return support_loss, query_loss, w, rates, draw_int(1, 4, generator)


_TWO, _TENTH = torch.tensor([2.0]), torch.tensor([0.1])
STALE = (
    "every step uses the support gradient at the start; compute loss and gradient anew at fast_w "
    "in each step"
)
SMALLER_RATES = "the rates are used as they are, signs included; they may be negative"

META = Exercise(
    solution=meta_sgd_gradients,
    lesson=6,
    aim="write Meta-SGD for any two losses",
    minutes=10,
    difficulty="medium",
    cases=[
        Case((bowl, far_bowl, _TWO, _TENTH, 1), (torch.tensor([-0.99]), torch.tensor([1.1]))),
        # w' = (1.9, -0.2), slopes of the query loss -1.1 and -3.2, of the support loss 1 and -1
        Case(
            (bowl, far_bowl, torch.tensor([2.0, 0.0]), torch.tensor([0.1, -0.2]), 1),
            (torch.tensor([-0.99, -3.84]), torch.tensor([1.1, -3.2])),
        ),
        # 1.9, 1.81: by w -1.19 * 0.81, by the rate -1.19 * (-0.9 - 0.9)
        Case((bowl, far_bowl, _TWO, _TENTH, 2), (torch.tensor([-0.9639]), torch.tensor([2.142]))),
        # 1, 0.9, 0.819: by w -0.181 * 0.8 * 0.82, by the rate -0.181 * (-1 * 0.82 - 0.81)
        Case(
            (cube, bowl, torch.ones(1), _TENTH, 2),
            (torch.tensor([-0.118736]), torch.tensor([0.29503])),
        ),
    ],
    draw=_draw_meta,
    mistakes=[
        Mistake(
            _gradients(lambda s, q, w, r, k: q(w - k * r * _slope(s, w))),
            STALE,
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(w - k * r * _slope(s, w, graph=False))),
            STALE,
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r, k, graph=False))),
            "the inner gradients are constants: `create_graph=True` is missing, or something is "
            "detached. So the gradient by w is of first order",
        ),
        Mistake(
            _by_fast_w,
            "the first gradient is taken by fast_w; take it by w, the start",
        ),
        Mistake(
            lambda s, q, w, r, k: meta_sgd_gradients(s, q, w, r, 1),
            "this takes one inner step, whatever `num_inner_steps` says; does every step begin "
            "where the last one ended?",
        ),
        Mistake(
            lambda s, q, w, r, k: meta_sgd_gradients(s, q, w, r, k + 1),
            "one inner step too many",
        ),
        Mistake(
            lambda s, q, w, r, k: (
                meta_sgd_gradients(s, q, w, r, k - 1)
                if k > 1
                else (_slope(q, w).detach(), torch.zeros_like(w))
            ),
            "one inner step too few",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(w)),
            "the query loss is taken at the start; take it at fast_w",
        ),
        Mistake(
            _gradients(_always_from_start),
            "every step begins at w again; let it begin at fast_w, where the last one ended",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, -r, k))),
            "the inner steps go uphill; subtract rates times the gradient",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: s(_walk(s, w, r, k))),
            "at the end this differentiates the support loss; the outer loop asks for the query "
            "loss",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(q, w, r, k))),
            "the inner steps use the query loss; they must only see the support loss",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: s(_walk(q, w, r, k))),
            "support and query loss are exchanged",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r, k)) + s(_walk(s, w, r, k))),
            "the support loss at fast_w is added; the outer loop minimises the query loss alone",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r.mean(), k))),
            "one rate for all weights, the mean; each weight has its own, element by element",
        ),
        Mistake(
            lambda s, q, w, r, k: meta_sgd_gradients(s, q, w, r.mean().expand_as(r), k),
            "one rate for all weights, the mean; each weight has its own, element by element",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r.flatten()[0], k))),
            "one rate for all weights, the first; each weight has its own, element by element",
        ),
        Mistake(_gradients(lambda s, q, w, r, k: q(_walk(s, w, r.abs(), k))), SMALLER_RATES),
        Mistake(_gradients(lambda s, q, w, r, k: q(_walk(s, w, r.clamp(min=0), k))), SMALLER_RATES),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r**2, k))),
            "the rates are used as they are, without a square",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r.exp(), k))),
            "the rates are used as they are, without an exponential",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r.sigmoid(), k))),
            "the rates are used as they are, without a sigmoid",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, 2 * r, k))),
            "the steps are twice too long",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, F.softplus(r), k))),
            SMALLER_RATES,
        ),
        Mistake(
            _gradients(_mean_gradient),
            "the inner gradient is averaged over the weights; each weight has its own",
        ),
        Mistake(
            lambda s, q, w, r, k: (
                meta_sgd_gradients(s, q, w, r, k)[0],
                meta_sgd_gradients(s, q, w, r, k)[1].mean(),
            ),
            "each weight has a rate of its own, so the gradient by rates has the shape of w; no "
            "mean",
        ),
        Mistake(
            lambda s, q, w, r, k: (meta_sgd_gradients(s, q, w, r, k)[0],) * 2,
            "both values are the gradient by w; the second is by rates",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r.sum(), k))),
            "one rate for all weights, the sum; each weight has its own, element by element",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r, k + 1, graph=False))),
            "one inner step too many; and the inner gradients are constants, for "
            "`create_graph=True` is missing",
        ),
        Mistake(
            _gradients(_last_graph_only),
            "only the last inner gradient keeps its graph; `create_graph=True` in every step",
        ),
        Mistake(
            _gradients(_by_start),
            "the inner gradient is taken by w; each step is plain gradient descent at fast_w, so "
            "take it by fast_w",
        ),
        Mistake(
            lambda s, q, w, r, k: (None, meta_sgd_gradients(s, q, w, r, k)[1]),
            "`None` means that the query loss does not depend on w: fast_w was cut off in a step, "
            "by `.detach()` or `.data`",
        ),
        Mistake(
            lambda s, q, w, r, k: (None, meta_sgd_gradients(s, q, _walk(s, w, r, k - 1), r, 1)[1]),
            "`None` means that the query loss does not depend on w: fast_w was cut off in a step, "
            "by `.detach()` or `.data`",
        ),
        Mistake(
            _rates_no_leaf,
            "rates needs `requires_grad_()` before the steps, as w does",
        ),
        Mistake(
            _rates_unused,
            "no gradient reaches the rates: the steps go through `.data`, `.detach()` or `no_grad`",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r / k, k))),
            "each step uses the whole rates; do not share them among the steps",
        ),
        Mistake(
            _one_step_formula,
            "minus the product of the two gradients holds for one step only; with more steps let "
            "autograd differentiate by rates",
        ),
        Mistake(
            _plus_in_formula,
            "the gradient by rates has a minus: fast_w falls where the gradient is positive",
        ),
        Mistake(
            lambda s, q, w, r, k: (
                meta_sgd_gradients(s, q, w, r, k)[0],
                -meta_sgd_gradients(s, q, w, r, k)[1],
            ),
            "the sign of the gradient by rates: rates times the gradient is subtracted, and "
            "autograd returns the gradient as it is",
        ),
        Mistake(
            _gradients(_last_rates_only),
            "only the rates of the last step count in the gradient; all steps use the same rates",
        ),
        Mistake(
            _gradients(_first_rates_only),
            "only the rates of the first step count in the gradient; all steps use the same rates",
        ),
        Mistake(
            _gradients(lambda s, q, w, r, k: q(_walk(s, w, r.detach(), k))),
            "no gradient reaches the rates: they are detached in the steps",
        ),
        Mistake(
            _gradients(_sum_of_losses),
            "the query losses after all steps are added; only the one after the last step counts",
        ),
        Mistake(
            _gradients(_mean_of_losses),
            "this is a mean over the query losses after all steps; only the one after the last "
            "step counts",
        ),
        Mistake(
            lambda s, q, w, r, k: meta_sgd_gradients(s, q, w, r, k)[::-1],
            "first the gradient by w, then by rates",
        ),
        Mistake(
            lambda s, q, w, r, k: meta_sgd_gradients(s, q, w, r, k)[0],
            "two gradients are asked for, by w and by rates: "
            "`torch.autograd.grad(loss, (w, rates))`",
        ),
        Mistake(
            lambda s, q, w, r, k: torch.stack(meta_sgd_gradients(s, q, w, r, k)),
            "return the two gradients as a tuple, as `torch.autograd.grad(loss, (w, rates))` does",
        ),
        Mistake(
            lambda s, q, w, r, k: (
                w - r * meta_sgd_gradients(s, q, w, r, k)[0],
                r - r * meta_sgd_gradients(s, q, w, r, k)[1],
            ),
            "these are start and rates after an outer step; only the gradients are asked for",
        ),
        Mistake(
            _added_up,
            "`backward()` adds the inner gradients to `w.grad`, too; "
            "`torch.autograd.grad(loss, fast_w)` adds nothing anywhere",
        ),
        Mistake(
            _graph_used_up,
            "the first call of `autograd.grad` frees the graph; ask for both gradients in one "
            "call, `torch.autograd.grad(loss, (w, rates))`",
        ),
        Mistake(
            _cut_off,
            "the query loss does not depend on w or on rates any more: somewhere fast_w was cut "
            "off, by `.detach()`, `.data`, or under `no_grad`",
        ),
        Mistake(
            _no_leaf,
            "a gradient was taken of something that has no graph; begin with "
            "`w.detach().requires_grad_()` and the same of rates, and let no `.detach()` or "
            "`no_grad` be in the way",
        ),
        Mistake(
            _in_place,
            "`fast_w -= ...` writes into w, for both are one tensor; make a new one, "
            "`fast_w = fast_w - ...`",
        ),
    ],
    hints=[
        "The loop of `meta_sgd_loss`, with one tensor in place of a dict. At the end, "
        "`torch.autograd.grad(loss, (w, rates))` gives both gradients at once.",
        "Begin with `w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()` and "
        "`fast_w = w`.",
        "In the loop: the gradient of `support_loss(fast_w)` by `fast_w` with `create_graph=True`, "
        "then `fast_w = fast_w - rates * gradient`.",
    ],
)


# --- find the bug: a start that is overwritten -----------------------------------------------


def loss_after_step(support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor) -> Tensor:
    """Query loss after one step of rates from w, with a graph back to both."""
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    fast_w = w - rates * gradient
    return query_loss(fast_w)


def _writes_data(support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    w.data = w.data - rates * gradient
    return query_loss(w)


def _data_of_a_copy(s: Loss, q: Loss, w: Tensor, rates: Tensor) -> Tensor:
    fast_w = w.clone()
    fast_w.data = w.data - rates * _slope(s, w)
    return q(fast_w)


def _new_leaf(s: Loss, q: Loss, w: Tensor, rates: Tensor) -> Tensor:
    return q((w - rates * _slope(s, w)).detach().requires_grad_())


def _draw_one(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor]:
    support_loss, query_loss, w, rates, _ = _draw_meta(generator)
    return support_loss, query_loss, w.requires_grad_(), rates


def _leaf(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


DATA = Exercise(
    solution=loss_after_step,
    buggy=_writes_data,
    lesson=6,
    aim="find what overwrites a start",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((bowl, far_bowl, _leaf(2.0), _TENTH), torch.tensor(0.605)),  # 1.1^2 / 2 at 1.9
        # w' = (1.9, -0.2): 1.1^2 / 2 + 3.2^2 / 2
        Case(
            (bowl, far_bowl, _leaf(2.0, 0.0), torch.tensor([0.1, -0.2])),
            torch.tensor(5.725),
        ),
        # 1 - 0.1 = 0.9: 0.1^2 / 2; the slope of a cube needs the weights that it was taken at
        Case((cube, bowl, _leaf(1.0), _TENTH), torch.tensor(0.005)),
    ],
    draw=_draw_one,
    mistakes=[
        Mistake(
            _data_of_a_copy,
            "the start is safe now, but the step is still hidden from autograd, by `.data`, "
            "`.detach()` or `no_grad`: no gradient reaches the rates, and the one by w lacks the "
            "second order. Compute a new tensor from w, rates and gradient",
        ),
        Mistake(
            _new_leaf,
            "the adapted weights are a new leaf; the way back to w and to the rates is cut",
        ),
        Mistake(
            lambda s, q, w, r: _no_leaf(s, q, w, r, 1),
            "the support loss must have a graph: no `.detach()`, `.data` or `no_grad` before the "
            "gradient is taken",
        ),
        Mistake(
            lambda s, q, w, r: q(w.detach() - r * _slope(s, w)),
            "`w.data` or `w.detach()` cuts one of the two ways back to w; the w in "
            "`w - rates * gradient` must keep its graph",
        ),
        Mistake(
            lambda s, q, w, r: q(w - r * _slope(s, w, graph=False)),
            "the rates get a gradient now, but the inner gradient is a constant: keep "
            "`create_graph=True`",
        ),
        Mistake(
            lambda s, q, w, r: q(w - r.detach() * _slope(s, w)),
            "no gradient reaches the rates: they must not be detached",
        ),
        Mistake(
            lambda s, q, w, r: q(w),
            "this is the query loss at the start; take it at the adapted weights",
        ),
        Mistake(
            lambda s, q, w, r: s(w - r * _slope(s, w)),
            "this is the support loss after the step; the query loss is asked for",
        ),
        Mistake(
            lambda s, q, w, r: q(w - r * _slope(s, w)) + s(w),
            "the support loss is added; the query loss alone is asked for",
        ),
        Mistake(
            lambda s, q, w, r: q(w - r * _slope(q, w)),
            "the step uses the query loss; it must only see the support loss",
        ),
        Mistake(
            lambda s, q, w, r: q(w + r * _slope(s, w)),
            "the step goes uphill; subtract rates times the gradient",
        ),
        Mistake(
            lambda s, q, w, r: _in_place(s, q, w, r, 1),
            "`w -= ...` writes into the start just as `.data` does, and autograd refuses it; give "
            "the result a name of its own",
        ),
        Mistake(
            lambda s, q, w, r: w - r * _slope(s, w),
            "these are the adapted weights; return the query loss there",
        ),
    ],
    hints=[
        "Which line changes something that belongs to the caller?",
        "The same line hides the step from autograd. Give the adapted weights a name of their own.",
        "`fast_w = w - rates * gradient` is a new tensor with a graph.",
    ],
    gradients=("w", "rates"),
)


# --- find the bug: a stale loss --------------------------------------------------------------


def loss_after_steps(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> Tensor:
    """Query loss after steps of rates from w, with a graph back to both."""
    fast_w = w
    for _ in range(num_inner_steps):
        loss = support_loss(fast_w)
        (gradient,) = torch.autograd.grad(loss, fast_w, create_graph=True)
        fast_w = fast_w - rates * gradient
    return query_loss(fast_w)


def _thrifty(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> Tensor:
    fast_w = w
    loss = support_loss(fast_w)
    (gradient,) = torch.autograd.grad(loss, fast_w, create_graph=True)
    for _ in range(num_inner_steps):
        fast_w = fast_w - rates * gradient
    return query_loss(fast_w)


def _used_up(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    loss = s(w)
    for _ in range(2):
        torch.autograd.grad(loss, w)
    return loss


def _of_another(s: Loss, q: Loss, w: Tensor, rates: Tensor, k: int) -> Tensor:
    loss, other = s(w), w - rates
    return torch.autograd.grad(loss, other)[0]


def _draw_several(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor, int]:
    support_loss, query_loss, w, rates, steps = _draw_meta(generator)
    return support_loss, query_loss, w.requires_grad_(), rates, steps


EXERCISES: list[Exercise | Question] = [
    Question(
        name="where_the_rate_goes",
        lesson=6,
        aim="read the sign of a gradient by a step size",
        minutes=1,
        difficulty="easy",
        text="The support set pulls `w` from 2 towards 1, the query set wants it at 3. What will "
        "the outer loop do to the step size 0.1, if it goes on for long?",
        options={
            "a": Option(
                "Make it larger",
                "A longer step leads further down, away from 3. The gradient by the step size is "
                "+1.10, and gradient descent goes against it.",
            ),
            "b": Option(
                "Make it smaller, until it is 0",
                "Smaller is right. But at 0 the query loss still falls if the step goes the other "
                "way, and nothing stops it there.",
            ),
            "c": Option(
                "Make it smaller, and then negative",
                "The gradient is (query slope) · (-support slope) = -1.1 · -1 = +1.10, so the "
                "step size falls. A negative one leads from 2 up to 3: nothing forbids it.",
            ),
        },
        right="c",
    ),
    SCALAR,
    LINE,
    META,
    Question(
        name="why_a_bias_steps_back",
        lesson=6,
        aim="reason from the sign of a learned step size",
        minutes=5,
        difficulty="medium",
        text="In the inner step of the trained learner the biases of the output go against their "
        "own support gradient. Why does that help the queries?",
        options={
            "a": Option(
                "Their support gradient is 0, so the sign does not matter.",
                "It is the mean probability of the class minus 1/5, which is 0 only if no class "
                "is favoured.",
            ),
            "b": Option(
                "The weights of the same output act like a second bias, which goes too far; the "
                "bias takes some of it back.",
                "The features are never negative, so lowering the weights of an output lowers its "
                "score for every picture. With the biases held still, a favoured class is "
                "disfavoured after the step in about 60 % of the episodes and on average.",
            ),
            "c": Option(
                "A class that is favoured before the step should be favoured after it.",
                "All five classes have as many queries; a good predictor favours none.",
            ),
            "d": Option(
                "Negative step sizes always generalise better.",
                "Most of the learned step sizes are positive, and making a bias step back helps "
                "only because of what the other weights do in the same step.",
            ),
        },
        right="b",
    ),
    DATA,
    Question(
        name="three_steps_for_one",
        lesson=6,
        aim="say what a stale loss costs",
        minutes=2,
        difficulty="easy",
        text="`thrifty_meta_sgd_loss` with learned step sizes trains without any sign of trouble. "
        "What have we lost?",
        options={
            "a": Option(
                "Nothing: three steps are taken, only faster.",
                "The printed line says otherwise: three steps equal one that is three times as "
                "long. Training makes the step sizes a third as large, and that is all.",
            ),
            "b": Option(
                "The second and the third step: they do not react to what the first has done.",
                "The loss belongs to the start, and so does its gradient. Three steps along one "
                "gradient are one step, under the name of three.",
            ),
            "c": Option(
                "The gradient by the step sizes is wrong.",
                "It is the exact gradient of this loss. The loss itself is not the one we want, "
                "and finite differences cannot see that.",
            ),
            "d": Option(
                "The start no longer gets a gradient.",
                "It does: the graph leads through `params` back to the start.",
            ),
        },
        right="b",
    ),
    Exercise(
        solution=loss_after_steps,
        buggy=_thrifty,
        lesson=6,
        aim="find what makes three steps one",
        minutes=5,
        difficulty="easy",
        cases=[
            Case((bowl, far_bowl, _leaf(2.0), _TENTH, 1), torch.tensor(0.605)),
            # 1.9, 1.81: 1.19^2 / 2
            Case((bowl, far_bowl, _leaf(2.0), _TENTH, 2), torch.tensor(0.70805)),
            # 1, 0.9, 0.819: 0.181^2 / 2
            Case((cube, bowl, _leaf(1.0), _TENTH, 2), torch.tensor(0.0163805)),
        ],
        draw=_draw_several,
        mistakes=[
            Mistake(
                lambda s, q, w, r, k: q(w - k * r * _slope(s, w)),
                "the gradient still belongs to the start in every step: take the loss of fast_w "
                "inside the loop, and its gradient by fast_w",
            ),
            Mistake(
                _used_up,
                "the loss is still computed once, before the loop, and its graph is used up by the "
                "first step; compute it anew in every step",
            ),
            Mistake(
                _of_another,
                "this loss does not depend on that fast_w: it was computed before the step. "
                "Compute it anew in every step",
            ),
            Mistake(
                lambda s, q, w, r, k: q(_walk(s, w, r, k, graph=False)),
                "the loss is right, but the inner gradients are constants: keep "
                "`create_graph=True`",
            ),
            Mistake(
                lambda s, q, w, r, k: q(_walk(s, w, r.detach(), k)),
                "no gradient reaches the rates: they must not be detached",
            ),
            Mistake(
                lambda s, q, w, r, k: q(_walk(s, w, r, k).detach().requires_grad_()),
                "the adapted weights are a new leaf; the way back to w and to the rates is cut",
            ),
            Mistake(
                lambda s, q, w, r, k: q(
                    _walk(s, _walk(s, w, r, k - 1).detach().requires_grad_(), r, 1)
                ),
                "fast_w is detached in every step, so only the last one has a graph",
            ),
            Mistake(
                lambda s, q, w, r, k: _always_from_start(s, q, w, r, k),
                "every step begins at w again; let it begin at fast_w, where the last one ended",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, q, w, r, 1),
                "this takes one step only. Is the return inside the loop, or does every step "
                "begin at w?",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, q, w, r, k + 1),
                "one step too many",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, q, w, r, k - 1),
                "one step too few",
            ),
            Mistake(
                _by_start,
                "the loss is new in every step, but its gradient is taken by w; take it by fast_w",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, q, w, k * r, k),
                "each step is num_inner_steps times too long",
            ),
            Mistake(
                lambda s, q, w, r, k: q(_walk(s, w, r, k)) + s(_walk(s, w, r, k)),
                "the support loss is added; the query loss alone is asked for",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, q, w, r, k) / k,
                "the query loss is divided by the number of steps; it is taken once, at the end",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, q, w, r / k, k),
                "each step uses the whole rates; do not share them among the steps",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(s, s, w, r, k),
                "this is the support loss after the steps; the query loss is asked for",
            ),
            Mistake(
                lambda s, q, w, r, k: loss_after_steps(q, q, w, r, k),
                "the steps use the query loss; they must only see the support loss",
            ),
            Mistake(
                lambda s, q, w, r, k: q(_walk(s, w, -r, k)),
                "the steps go uphill; subtract rates times the gradient",
            ),
            Mistake(
                lambda s, q, w, r, k: _walk(s, w, r, k),
                "these are the adapted weights; return the query loss there",
            ),
            Mistake(
                _sum_of_losses,
                "the query losses after all steps are added; only the one after the last step "
                "counts",
            ),
        ],
        hints=[
            "At which weights is the loss computed? And at which should it be, in the second step?",
            "Two lines stand before the loop that belong into it.",
            "In each step: `loss = support_loss(fast_w)`, its gradient by `fast_w`, then the step.",
        ],
        gradients=("w", "rates"),
    ),
]
