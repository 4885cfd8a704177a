"""The exercises of notebook 05: meta-gradients, and two inner loops to mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.differences import difference
from ..checker.draws import draw_int
from ..checker.exercise import Answer, Case, Exercise, Mistake
from ..checker.question import Option, Question

__all__ = [
    "EXERCISES",
    "adapt_anywhere",
    "adapted_query_loss",
    "bowl",
    "cube",
    "draw_losses",
    "draw_point",
    "far_bowl",
    "half_squared_error",
    "linear_meta_gradient",
    "meta_gradient",
    "scalar_meta_gradient",
]

Loss = Callable[[Tensor], Tensor]


# --- losses ----------------------------------------------------------------------------------


def half_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared error, so that its slope has no factor 2."""
    return (prediction - target).square().mean() / 2


def bowl(w: Tensor) -> Tensor:
    """Half the squared distance of w from 1: slope w - 1, curvature 1."""
    return (w - 1).square().sum() / 2


def far_bowl(w: Tensor) -> Tensor:
    """Half the squared distance of w from 3: slope w - 3, curvature 1."""
    return (w - 3).square().sum() / 2


def cube(w: Tensor) -> Tensor:
    """A third of the sum of w cubed: slope w squared, curvature 2 w, other at each point."""
    return w.pow(3).sum() / 3


def draw_losses(generator: Generator) -> tuple[Loss, Loss]:
    """Two random losses of a tensor of any shape, whose curvature changes from point to point."""

    def landscape() -> Loss:
        height, phase, place = torch.randn(3, generator=generator).tolist()

        def loss(w: Tensor) -> Tensor:
            return (1 + height**2) * (w + phase).sin().sum() + (w.sum() - place) ** 2 / 2

        return loss

    return landscape(), landscape()


def draw_point(generator: Generator) -> Tensor:
    """Random weights of one of three shapes."""
    shape = [(1,), (3,), (2, 2)][draw_int(0, 3, generator)]
    return torch.randn(shape, generator=generator)


# --- one weight ------------------------------------------------------------------------------


def scalar_meta_gradient(
    w: float, support_target: float, query_target: float, inner_lr: float, first_order: bool
) -> float:
    """d/dw of the query loss (w' - query_target)^2 / 2 after one inner step from w."""
    fast_w = w - inner_lr * (w - support_target)
    slope = fast_w - query_target
    return slope if first_order else slope * (1 - inner_lr)


def _draw_scalar(generator: Generator) -> tuple[float, float, float, float, bool]:
    w, support, query = (3 * torch.randn(3, generator=generator)).tolist()
    inner_lr = 0.05 + 2.5 * torch.rand((), generator=generator).item()
    return w, support, query, inner_lr, bool(draw_int(0, 2, generator))


SCALAR = Exercise(
    solution=scalar_meta_gradient,
    lesson=5,
    aim="compute a meta-gradient on paper",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((2.0, 1.0, 3.0, 0.1, False), -0.99),
        Case((2.0, 1.0, 3.0, 0.1, True), -1.1),
        Case((-1.0, 4.0, 0.0, 0.5, False), 0.75),  # w' = 1.5
        Case((2.0, 1.0, 3.0, 0.0, False), -1.0),  # no step: the plain slope
        Case((2.0, 1.0, 3.0, 2.0, False), 3.0),  # w' = 0, past the target: factor -1
    ],
    draw=_draw_scalar,
    mistakes=[
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, s, q, lr, True),
            "this is the first-order value, also where second order is asked for: the factor "
            "dw'/dw = 1 - inner_lr is missing",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, s, q, lr, False),
            "this has the factor 1 - inner_lr in both cases; `first_order=True` takes it for 1",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, s, q, lr, not first),
            "the two orders are exchanged: the factor 1 - inner_lr belongs to second order",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - q) * (1 if first else 1 - lr),
            "the slope of the query loss is taken at the start w; take it at w', after the step",
        ),
        Mistake(
            lambda w, s, q, lr, first: w - q,
            "this is the slope of the query loss at the start; the inner step is missing",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else 1 + lr),
            "w' = w - inner_lr * (w - target) contains w twice; its derivative is 1 - inner_lr, "
            "with a minus",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else lr),
            "dw'/dw is 1 - inner_lr, not inner_lr: w' is w itself minus a little of it",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else -lr),
            "dw'/dw is 1 - inner_lr: the derivative of w itself, which is 1, is missing",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else 1 - lr) ** 2,
            "the factor 1 - inner_lr occurs once for each inner step, and there is one step",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) - (0 if first else 1 - lr),
            "the chain rule multiplies: slope times (1 - inner_lr)",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) - (0 if first else lr),
            "the chain rule multiplies the slope by (1 - inner_lr); this subtracts inner_lr",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w + lr * (w - s) - q) * (1 if first else 1 - lr),
            "the inner step goes uphill: w' = w - inner_lr * (w - support_target), with a minus",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w + lr * (w - s) - q) * (1 if first else 1 + lr),
            "the inner step goes uphill: w' = w - inner_lr * (w - support_target), with a minus",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, q, q, lr, first),
            "the inner step goes towards the query target; it must only see the support target",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, s, s, lr, first),
            "this is the slope of the support loss at w'; the outer loop asks for the query loss",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, q, s, lr, first),
            "support and query target are exchanged",
        ),
        Mistake(
            lambda w, s, q, lr, first: w - lr * (w - s),
            "this is w', the weight after the inner step; what is the slope of the query loss "
            "there?",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) ** 2 / 2,
            "this is the query loss at w'; its derivative by w is asked for",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) ** 2 / 2 * (1 if first else 1 - lr),
            "this multiplies the query loss by dw'/dw; take its slope, w' - query_target",
        ),
        Mistake(
            lambda w, s, q, lr, first: w - lr * scalar_meta_gradient(w, s, q, lr, first),
            "this is the start after an outer step; only the gradient is asked for",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else (w - s)),
            "the query slope is multiplied by the support slope; dw'/dw is 1 - inner_lr",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else 1 - lr * (w - s)),
            "the factor is 1 - inner_lr times the second derivative of the support loss, which "
            "is 1; this has its slope there",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) ** 2 / 2 - q) * (1 if first else 1 - lr),
            "the inner step uses the support loss itself; it goes along its slope, "
            "w - support_target",
        ),
        Mistake(
            lambda w, s, q, lr, first: (
                2 * (w - 2 * lr * (w - s) - q) * (1 if first else 1 - 2 * lr)
            ),
            "both losses have a 1/2, so that their slopes have no factor 2",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - 2 * lr * (w - s) - q) * (1 if first else 1 - lr),
            "the support loss has a 1/2, so that its slope is w - support_target, without a 2",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - (w - s) - q) * (1 if first else 1 - lr),
            "the inner step forgets its length, inner_lr",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * w - s - q) * (1 if first else 1 - lr),
            "parentheses: the step is inner_lr times the whole of (w - support_target)",
        ),
        Mistake(
            lambda w, s, q, lr, first: (
                scalar_meta_gradient(w - lr * (w - s), s, q, lr, first) * (1 if first else 1 - lr)
            ),
            "this takes two inner steps; here there is one",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w - lr * (w - s), s, q, lr, first),
            "this takes two inner steps; here there is one",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) / (1 if first else 1 - lr),
            "the chain rule multiplies by dw'/dw = 1 - inner_lr; this divides by it",
        ),
        Mistake(
            lambda w, s, q, lr, first: scalar_meta_gradient(w, s, q, 0.1, first),
            "the step size 0.1 of the example is written into your function; use inner_lr",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else 0.9),
            "the factor 0.9 of the example is written into your function; it is 1 - inner_lr",
        ),
        Mistake(
            lambda w, s, q, lr, first: (
                scalar_meta_gradient(w, s, q, lr, first) + scalar_meta_gradient(w, s, s, lr, first)
            ),
            "the slope of the support loss at w' is added; the outer loop minimises the query loss "
            "alone",
        ),
        Mistake(
            lambda w, s, q, lr, first: (
                scalar_meta_gradient(w, s, q, lr, False),
                scalar_meta_gradient(w, s, q, lr, True),
            ),
            "return one number, the one that `first_order` asks for",
        ),
        Mistake(
            lambda w, s, q, lr, first: (
                scalar_meta_gradient(w, s, q, lr, True),
                scalar_meta_gradient(w, s, q, lr, False),
            ),
            "return one number, the one that `first_order` asks for",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * s - q) * (1 if first else 1 - lr),
            "the inner step goes along the slope of the support loss, w - support_target, not "
            "along the target alone",
        ),
        Mistake(
            lambda w, s, q, lr, first: abs(scalar_meta_gradient(w, s, q, lr, first)),
            "the sign counts: a gradient says in which direction the loss rises",
        ),
        Mistake(
            lambda w, s, q, lr, first: lr * scalar_meta_gradient(w, s, q, lr, first),
            "inner_lr times too much: the gradient is asked for, not a step along it",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else 1 - lr**2),
            "dw'/dw is 1 - inner_lr, without a square",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) * (1 if first else 1 - 2 * lr),
            "the support loss has a 1/2, so its second derivative is 1 and the factor 1 - inner_lr",
        ),
        Mistake(
            lambda w, s, q, lr, first: 2 * (w - 2 * lr * (w - s) - q) * (1 if first else 1 - lr),
            "both losses have a 1/2, so that their slopes have no factor 2",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - lr * (w - s) - q) ** 2 * (1 if first else 1 - lr),
            "the slope of the query loss is w' - query_target, without a square",
        ),
        Mistake(
            lambda w, s, q, lr, first: (w - s) * (1 if first else 1 - lr),
            "this has the slope of the support loss at w; take that of the query loss at w'",
        ),
        Mistake(
            lambda w, s, q, lr, first: (
                (w - lr * (w - s) - q) * (1 if first else 1 - lr * (w - lr * (w - s) - s))
            ),
            "the factor is 1 - inner_lr times the second derivative of the support loss, which is "
            "1; this has its slope at w' there",
        ),
    ],
    hints=[
        "The first cell of this section does it for w = 2 and the targets 1 and 3. Put names in "
        "place of the numbers.",
        "w' = w - inner_lr · (w - support_target). The slope of the query loss there is "
        "w' - query_target.",
        "Return the slope if `first_order`, else the slope times 1 - inner_lr.",
    ],
)


# --- a line ----------------------------------------------------------------------------------


def linear_meta_gradient(
    w: Tensor,
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    inner_lr: float,
    num_inner_steps: int,
) -> Tensor:
    """Meta-gradient (d,) of the linear model x @ w (d,), loss half the mean squared error.

    Source: Finn et al. (2017), eq. 1, with the constant Hessian X'X / n of a linear model.
    """
    n, d = support_x.shape
    shrink = torch.eye(d, dtype=w.dtype) - inner_lr * support_x.T @ support_x / n
    fast_w = w
    for _ in range(num_inner_steps):
        fast_w = fast_w - inner_lr * support_x.T @ (support_x @ fast_w - support_y) / n
    gradient = query_x.T @ (query_x @ fast_w - query_y) / len(query_x)
    return torch.linalg.matrix_power(shrink, num_inner_steps) @ gradient


def _slope(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return x.T @ (x @ w - y) / len(x)


def _adapted(w: Tensor, x: Tensor, y: Tensor, lr: float, k: int) -> Tensor:
    for _ in range(k):
        w = w - lr * _slope(w, x, y)
    return w


def _power(x: Tensor, lr: float, k: int) -> Tensor:
    shrink = torch.eye(x.shape[1]) - lr * x.T @ x / len(x)
    return torch.linalg.matrix_power(shrink, max(k, 0))


def _without_eye(x: Tensor, lr: float, k: int) -> Tensor:
    return torch.linalg.matrix_power(1 - lr * x.T @ x / len(x), k)


def _draw_linear(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float, int]:
    n, n_query, d = (draw_int(*ends, generator) for ends in ((4, 9), (2, 7), (2, 5)))
    support, query = (torch.randn(rows, d + 1, generator=generator) for rows in (n, n_query))
    inner_lr = 0.05 + 0.25 * torch.rand((), generator=generator).item()
    w = torch.randn(d, generator=generator)
    steps = draw_int(0, 5, generator)
    return w, support[:, 1:], support[:, 0], query[:, 1:], query[:, 0], inner_lr, steps


_HAND = (
    torch.zeros(2),
    torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]]),  # X'X / 4: 0.5 and 2
    torch.tensor([1.0, 1.0, 2.0, 2.0]),
    torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
    torch.tensor([1.0, 1.0]),
    0.1,
)

LINEAR = Exercise(
    solution=linear_meta_gradient,
    lesson=5,
    aim="compute the meta-gradient of a linear model in closed form",
    minutes=10,
    difficulty="medium",
    cases=[
        # w_1 = (0.05, 0.2), the query gradient is -0.75 in both places; factors 0.95 and 0.8
        Case((*_HAND, 1), torch.tensor([-0.7125, -0.6])),
        Case((*_HAND, 0), torch.tensor([-1.0, -1.0])),
        # w_2 = (0.0975, 0.36), query gradient -0.5425; factors 0.9025 and 0.64
        Case((*_HAND, 2), torch.tensor([-0.489606, -0.3472])),
    ],
    draw=_draw_linear,
    mistakes=[
        Mistake(
            lambda w, x, y, qx, qy, lr, k: _slope(_adapted(w, x, y, lr, k), qx, qy),
            "this is the first-order value: the query gradient at w_k, without the factors "
            "I - inner_lr X'X/n",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: _power(x, lr, k) @ _slope(w, qx, qy),
            "the query gradient is taken at the start w; take it at w_k, where the loop ends",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: _slope(w, qx, qy),
            "this is the query gradient at the start; the inner loop is missing",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, 1) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "the factor I - inner_lr X'X/n occurs once for each inner step; here it occurs once",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k + 1) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "one factor I - inner_lr X'X/n too many: there are as many as inner steps",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k - 1) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "one factor I - inner_lr X'X/n too few: there are as many as inner steps",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, 1) ** k @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "`**` takes the power of each entry; the power of a matrix is "
            "`torch.linalg.matrix_power`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                k * _power(x, lr, 1) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "k times the matrix is not its k-th power; `torch.linalg.matrix_power`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _without_eye(x, lr, k) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "1 - matrix subtracts every entry from 1; the identity is `torch.eye(d)`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                torch.linalg.matrix_power(lr * x.T @ x / len(x), k)
                @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "the identity is missing: the factor is I - inner_lr X'X/n",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(qx, lr, k) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "the factor has the curvature of the support loss, X'X/n of the support set: it comes "
            "from the inner steps",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, -lr, k) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "the factor is I minus inner_lr X'X/n, not plus",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, -lr, k), qx, qy)
            ),
            "the inner steps go uphill: subtract inner_lr times X'(Xw - y)/n",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                -_power(x, lr, k) @ _slope(_adapted(w, x, y, -lr, k), qx, qy)
            ),
            "the error is the prediction minus the target, Xw - y, in both gradients",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: linear_meta_gradient(w, x, y, qx, qy, lr * len(x), k),
            "the support loss is a mean: divide X'(Xw - y) and X'X by the number n of support rows",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr * len(x), k) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "in the factor, X'X must be divided by the number n of support rows",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, lr * len(x), k), qx, qy)
            ),
            "in the inner loop, X'(Xw - y) must be divided by the number n of support rows",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                len(qx) * linear_meta_gradient(w, x, y, qx, qy, lr * len(x), k)
            ),
            "both losses are means: divide by the number of rows, of the support set in the inner "
            "loop and in the factor, of the query set in the query gradient",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                linear_meta_gradient(w, x, y, qx, qy, lr, k) * len(qx) / len(x)
            ),
            "the query gradient is divided by the number of query rows, not of support rows",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: linear_meta_gradient(
                w, x, y, qx, qy, lr * len(x) / x.shape[1], k
            ),
            "this divides by d, the number of columns; the mean is over the n support rows",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: 2 * linear_meta_gradient(w, x, y, qx, qy, 2 * lr, k),
            "the loss is half the mean squared error, so its gradient has no factor 2",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(w - k * lr * _slope(w, x, y), qx, qy)
            ),
            "every inner step uses the support gradient at the start; compute it anew at fast_w",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(w - lr * _slope(w, x, y), qx, qy)
            ),
            "the factors are right, but the inner loop takes one step only",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, lr, k + 1), qx, qy)
            ),
            "the factors are right, but the inner loop takes one step too many",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, lr, k - 1), qx, qy)
            ),
            "the factors are right, but the inner loop takes one step too few",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, 1, k) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "inner_lr is missing in the factor I - inner_lr X'X/n",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, 1, k), qx, qy)
            ),
            "inner_lr is missing in the inner steps",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: _adapted(w, x, y, lr, k),
            "this is w_k, the weights after the inner loop; the gradient by the start is asked for",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: linear_meta_gradient(w, x, y, x, y, lr, k),
            "the gradient at w_k is that of the support set; the outer loop asks for the query set",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: linear_meta_gradient(w, qx, qy, x, y, lr, k),
            "support and query set are exchanged",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: linear_meta_gradient(w, qx, qy, qx, qy, lr, k),
            "the inner loop uses the query set; it must only see the support set",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) * _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "`*` multiplies entry by entry; a matrix times a vector is `@`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: linear_meta_gradient(w, x, y, qx, qy, lr, max(k - 1, 0)),
            "one inner step too few, and one factor too few",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, 1).diag() ** k * _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "this takes the diagonal of X'X/n only; the factor is a whole matrix",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (1 - lr) ** k * _slope(_adapted(w, x, y, lr, k), qx, qy),
            "1 - inner_lr belongs to a curvature of 1; here the curvature is the matrix X'X/n",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, k * lr, 1) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "I - k inner_lr X'X/n is not the k-th power of I - inner_lr X'X/n",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: _adapted(w, x, y, lr, k) - w,
            "this is how far the inner loop moves; the gradient of the query loss is asked for",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: torch.linalg.solve(
                _power(x, lr, k), _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "this divides by the matrix; the chain rule multiplies by it",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                torch.linalg.matrix_power(torch.eye(len(x)) - lr * x @ x.T / len(x), k)
                @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "X X' is `(n, n)`; the factor is made of X'X, `support_x.T @ support_x`, which is "
            "`(d, d)`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: x @ (x @ w - y),
            "the gradient is X'(Xw - y)/n, with the transposed of X: `support_x.T @ ...`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k)
                @ _slope(w - lr * x.mean(0) * (x @ w - y).mean() if k else w, qx, qy)
            ),
            "the mean of the products is not the product of the means: X'(Xw - y), then divide",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, lr / x.shape[1], k), qx, qy)
            ),
            "the inner gradient is divided by the number of rows n only, not by `numel()`",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, lr / max(k, 1), k), qx, qy)
            ),
            "each of the inner steps has the whole length inner_lr; do not share it among them",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                linear_meta_gradient(w, x, y, qx, qy, lr, k) * len(qx) / qx.shape[1]
            ),
            "the query gradient is divided by the number of query rows, not of columns",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ (qx.mean(0) * (qx @ _adapted(w, x, y, lr, k) - qy).mean())
            ),
            "the mean of the products is not the product of the means: X'(Xw - y) of the query "
            "set, then divide",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                linear_meta_gradient(w, x, y, qx, qy, lr, k)
                + linear_meta_gradient(w, x, y, x, y, lr, k)
            ),
            "the support gradient at w_k is added; the outer loop minimises the query loss alone",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, lr, k) @ _slope(_adapted(w, x, y, 2 * lr, k), qx, qy)
            ),
            "the loss is half the mean squared error, so the inner gradient has no factor 2",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr, k: (
                _power(x, 2 * lr, k) @ _slope(_adapted(w, x, y, lr, k), qx, qy)
            ),
            "the loss is half the mean squared error, so its second derivative is X'X/n, without "
            "a factor 2",
        ),
    ],
    hints=[
        "Three parts: a loop of inner steps, the query gradient at the weights where the loop "
        "ends, and the power of the matrix `I - inner_lr * X'X / n` of the support set.",
        "`support_x.T @ support_x` is `(d, d)`. Divide it by the number of support rows, and the "
        "query gradient by the number of query rows.",
        "`torch.eye(d)` is the identity, `torch.linalg.matrix_power(matrix, k)` the power, and "
        "`@` multiplies matrix and vector.",
    ],
)


# --- any two losses --------------------------------------------------------------------------


def meta_gradient(
    support_loss: Loss,
    query_loss: Loss,
    w: Tensor,
    inner_lr: float,
    num_inner_steps: int,
    first_order: bool,
) -> Tensor:
    """Gradient, shaped like w, of the query loss after some inner steps from w."""
    w = w.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w = fast_w - inner_lr * (gradient.detach() if first_order else gradient)
    return torch.autograd.grad(query_loss(fast_w), w)[0]


def _fast(loss: Loss, w: Tensor, lr: float, k: int) -> Tensor:
    """The weights after k inner steps."""
    for _ in range(k):
        w = (w - lr * _gradient(loss, w)).detach()
    return w


def _gradient(loss: Loss, w: Tensor) -> Tensor:
    w = w.detach().requires_grad_()
    return torch.autograd.grad(loss(w), w)[0]


def _detached_at(kept: Callable[[int, int], bool]) -> Answer:
    """An answer that keeps the graph in those of the steps only."""

    def answer(
        support: Loss, query: Loss, w: Tensor, lr: float, k: int, first_order: bool
    ) -> Tensor:
        w = w.detach().requires_grad_()
        fast_w = w
        for i in range(k):
            (gradient,) = torch.autograd.grad(support(fast_w), fast_w, create_graph=True)
            kept_here = kept(i, k) and not first_order
            fast_w = fast_w - lr * (gradient if kept_here else gradient.detach())
        return torch.autograd.grad(query(fast_w), w)[0]

    return answer


def _cut_off(support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool) -> Tensor:
    w = w.detach().requires_grad_()
    fast_w = _fast(support, w, lr, k).requires_grad_()
    return torch.autograd.grad(query(fast_w), w)[0]


def _no_leaf(support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool) -> Tensor:
    w = w.detach()
    return torch.autograd.grad(support(w), w)[0]


def _in_place(support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool) -> Tensor:
    w = w.detach().requires_grad_()
    w -= lr * _gradient(support, w)
    return w


def _by_start(support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool) -> Tensor:
    w = w.detach().requires_grad_()
    fast_w = w
    for _ in range(k):
        (gradient,) = torch.autograd.grad(support(fast_w), w, create_graph=True)
        fast_w = fast_w - lr * (gradient.detach() if first else gradient)
    return torch.autograd.grad(query(fast_w), w)[0]


def _always_from_start(
    support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool
) -> Tensor:
    w = w.detach().requires_grad_()
    fast_w = w
    for _ in range(k):
        (gradient,) = torch.autograd.grad(support(fast_w), fast_w, create_graph=True)
        fast_w = w - lr * (gradient.detach() if first else gradient)
    return torch.autograd.grad(query(fast_w), w)[0]


def _old_weights_cut(
    support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool
) -> Tensor:
    w = w.detach().requires_grad_()
    fast_w = w
    for _ in range(k):
        (gradient,) = torch.autograd.grad(support(fast_w), fast_w, create_graph=True)
        fast_w = fast_w.detach() - lr * gradient
    return torch.autograd.grad(query(fast_w), w)[0]


def _accumulated(support: Loss, query: Loss, w: Tensor, lr: float, k: int, first: bool) -> Tensor:
    total = torch.zeros_like(w)
    for i in range(k):
        total = total + _gradient(support, _fast(support, w, lr, i))
    return total + meta_gradient(support, query, w, lr, k, first)


def _draw_meta(generator: Generator) -> tuple[Loss, Loss, Tensor, float, int, bool]:
    support_loss, query_loss = draw_losses(generator)
    inner_lr = 0.05 + 0.2 * torch.rand((), generator=generator).item()
    steps, first_order = draw_int(0, 4, generator), bool(draw_int(0, 2, generator))
    return support_loss, query_loss, draw_point(generator), inner_lr, steps, first_order


_TWO = torch.tensor([2.0])
FIRST_ORDER = (
    "in every case this is the first-order value: either the inner gradients are constants "
    "(`create_graph=True` is missing, or there is a `.detach()` or `.data`), or the last gradient "
    "is taken by fast_w in place of w (is w overwritten in the loop?)"
)

STALE = (
    "every inner step uses the support gradient at the start; compute loss and gradient anew at "
    "fast_w in each step"
)

META = Exercise(
    solution=meta_gradient,
    lesson=5,
    aim="write MAML for any two losses",
    minutes=10,
    difficulty="medium",
    cases=[
        Case((bowl, far_bowl, _TWO, 0.1, 1, False), torch.tensor([-0.99])),
        Case((bowl, far_bowl, _TWO, 0.1, 1, True), torch.tensor([-1.1])),
        # w_1 = 1.9, w_2 = 1.81: (1.81 - 3) * 0.9 * 0.9
        Case((bowl, far_bowl, _TWO, 0.1, 2, False), torch.tensor([-0.9639])),
        Case((bowl, far_bowl, _TWO, 0.1, 0, False), torch.tensor([-1.0])),
        # w_1 = 0.9, w_2 = 0.819, factors 0.8 and 0.82: (0.819 - 1) * 0.8 * 0.82
        Case((cube, bowl, torch.ones(1), 0.1, 2, False), torch.tensor([-0.118736])),
    ],
    draw=_draw_meta,
    mistakes=[
        Mistake(lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k, True), FIRST_ORDER),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k, False),
            "this is the second-order value, also where `first_order` is True: there the inner "
            "gradient counts as a constant, `create_graph=False` or `.detach()`",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k, not first),
            "the two orders are exchanged: `create_graph=not first_order`",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, k * lr, min(k, 1), first),
            STALE,
        ),
        Mistake(lambda s, q, w, lr, k, first: meta_gradient(s, q, w, k * lr, 1, False), STALE),
        Mistake(lambda s, q, w, lr, k, first: meta_gradient(s, q, w, k * lr, 1, True), STALE),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, 1, first),
            "this takes one inner step, whatever `num_inner_steps` says",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, min(k, 1), first),
            "this takes one inner step only; does every step begin at fast_w, where the last one "
            "ended?",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k + 1, first),
            "one inner step too many",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k + 1, True),
            "one inner step too many, and all of them count as constants (first order)",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k - 1, first),
            "one inner step too few",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, 0, first),
            "this is the query gradient at the start; the query loss must be taken at fast_w",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, -lr, k, first),
            "the inner steps go uphill; subtract inner_lr times the gradient",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, 1.0, k, first),
            "the inner steps forget their length, inner_lr",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr / max(k, 1), k, first),
            "each of the inner steps has the whole length inner_lr; do not share it among them",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, s, w, lr, k, first),
            "at the end this differentiates the support loss; the outer loop asks for the query "
            "loss",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(q, s, w, lr, k, first),
            "support and query loss are exchanged",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(q, q, w, lr, k, first),
            "the inner steps use the query loss; they must only see the support loss",
        ),
        Mistake(
            _detached_at(lambda i, k: i == k - 1),
            "only the last inner step keeps its graph; every step brings a factor I - inner_lr H",
        ),
        Mistake(
            _detached_at(lambda i, k: i == 0),
            "only the first inner step keeps its graph; every step brings a factor I - inner_lr H",
        ),
        Mistake(
            _detached_at(lambda i, k: i != k - 1),
            "the last inner step has no graph; it brings a factor I - inner_lr H like the others",
        ),
        Mistake(
            _detached_at(lambda i, k: i != 0),
            "the first inner step has no graph; it brings a factor I - inner_lr H like the others",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: (
                _gradient(q, _fast(s, w, lr, k)) * (1 if first else (1 - lr) ** k)
            ),
            "the factor (1 - inner_lr) per step is for a curvature of 1; here autograd must find "
            "the curvature: keep the graph of the inner gradients",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: _fast(s, w, lr, k),
            "this is fast_w, the weights after the inner loop; the gradient of the query loss by w "
            "is asked for",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: q(_fast(s, w, lr, k)),
            "this is the query loss; its gradient by w is asked for",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: (meta_gradient(s, q, w, lr, k, first),),
            "`torch.autograd.grad` returns a tuple, with a gradient for each input; take its first "
            "entry, `[0]`",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: (meta_gradient(s, q, w, lr, k, True),),
            "`torch.autograd.grad` returns a tuple, with a gradient for each input; take its first "
            "entry, `[0]`",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: w - lr * meta_gradient(s, q, w, lr, k, first),
            "this is the start after an outer step; only the gradient is asked for",
        ),
        Mistake(
            _cut_off,
            "the query loss no longer depends on w: fast_w was cut off, by `.detach()`, `.data`, "
            "`.clone().requires_grad_()` of a detached tensor, or under `no_grad`",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: torch.zeros_like(w),
            "zeros come out where the query loss does not depend on w: where was fast_w cut off?",
        ),
        Mistake(
            _no_leaf,
            "a gradient was taken of something that has no graph; begin with "
            "`w = w.detach().requires_grad_()`, and let no `.detach()` or `no_grad` be in the way",
        ),
        Mistake(
            _in_place,
            "`fast_w -= ...` writes into w, for both are one tensor; make a new one, "
            "`fast_w = fast_w - ...`",
        ),
        Mistake(
            _by_start,
            "the inner gradient is taken by w; each step is plain gradient descent at fast_w, so "
            "take it by fast_w",
        ),
        Mistake(
            _always_from_start,
            "every step begins at w again; let it begin at fast_w, where the last one ended",
        ),
        Mistake(
            _old_weights_cut,
            "the old fast_w is detached in the step; both fast_w and the gradient must keep their "
            "graph",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: meta_gradient(s, q, w, lr, k, first).sum(),
            "a gradient has the shape of w; do not add it up",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: _fast(s, w, lr, k) - w,
            "this is how far the inner loop moves; the gradient of the query loss is asked for",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: (
                (meta_gradient(s, q, w, lr, k, first) + meta_gradient(s, s, w, lr, k, first)) / 2
            ),
            "this is a mean with the support loss; the outer loop minimises the query loss alone",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: (
                meta_gradient(s, q, w, lr, k, first) + meta_gradient(s, s, w, lr, k, first)
            ),
            "the support loss at fast_w is added; the outer loop minimises the query loss alone",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: sum(
                (meta_gradient(s, q, w, lr, i, first) for i in range(1, max(k, 1) + 1)),
                torch.zeros_like(w),
            ),
            "the query losses after all steps are added; only the one after the last step counts",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: sum(
                (meta_gradient(s, q, w, lr, i, first) for i in range(k + 1)), torch.zeros_like(w)
            ),
            "the query losses at the start and after all steps are added; only the one after the "
            "last step counts",
        ),
        Mistake(
            lambda s, q, w, lr, k, first: (
                sum(
                    (meta_gradient(s, q, w, lr, i, first) for i in range(1, k + 1)),
                    torch.zeros_like(w),
                )
                / max(k, 1)
            ),
            "this is a mean over the query losses after all steps; only the one after the last "
            "step counts",
        ),
        Mistake(
            _accumulated,
            "`backward()` adds the inner gradients to `w.grad`, too; "
            "`torch.autograd.grad(loss, fast_w)` adds nothing anywhere",
        ),
    ],
    hints=[
        "The inner loop of `maml_by_autograd`, with one tensor in place of a dict. Keep the start "
        "and the moving weights apart: two names.",
        "Begin with `w = w.detach().requires_grad_()` and `fast_w = w`. In each step, take the "
        "gradient of `support_loss(fast_w)` by `fast_w`.",
        "`torch.autograd.grad(loss, fast_w, create_graph=not first_order)[0]` in the loop. The "
        "last line differentiates `query_loss(fast_w)` by `w`.",
    ],
)


# --- find the bug: a constant inner gradient -------------------------------------------------


def adapted_query_loss(
    w: Tensor,
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    inner_lr: float,
) -> Tensor:
    """Mean squared error on the query set after one inner step, with a graph back to w (d,)."""
    support_loss = F.mse_loss(support_x @ w, support_y)
    (gradient,) = torch.autograd.grad(support_loss, w, create_graph=True)
    fast_w = w - inner_lr * gradient
    return F.mse_loss(query_x @ fast_w, query_y)


def _constant_gradient(
    w: Tensor,
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    inner_lr: float,
) -> Tensor:
    support_loss = F.mse_loss(support_x @ w, support_y)
    (gradient,) = torch.autograd.grad(support_loss, w)
    fast_w = w - inner_lr * gradient
    return F.mse_loss(query_x @ fast_w, query_y)


def _cut_weights(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    fast_w = (w - 2 * lr * _slope(w, x, y)).detach().requires_grad_()
    return F.mse_loss(query_x @ fast_w, query_y)


def _cut_start(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    fast_w = w.detach() - 2 * lr * _slope(w, x, y)
    return F.mse_loss(query_x @ fast_w, query_y)


def _of_a_constant(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    loss = F.mse_loss(x @ w, y).detach()
    return torch.autograd.grad(loss, w)[0]


def _of_a_leaf(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    loss = F.mse_loss(x @ w, y).detach().requires_grad_()
    return torch.autograd.grad(loss, w)[0]


def _by_backward(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    F.mse_loss(x @ w, y).backward(create_graph=True)
    assert w.grad is not None
    return F.mse_loss(query_x @ (w - lr * w.grad), query_y)


def _support_too(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    return adapted_query_loss(w, x, y, query_x, query_y, lr) + F.mse_loss(x @ w, y)


def _two_steps(
    w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor, lr: float
) -> Tensor:
    once = w - lr * _slope(w, x, y) * 2
    return adapted_query_loss(once, x, y, query_x, query_y, lr)


def _draw_adapted(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
    w, x, y, query_x, query_y, inner_lr, _ = _draw_linear(generator)
    return w.requires_grad_(), x, y, query_x, query_y, inner_lr


_AT_TWO = (
    torch.tensor([2.0], requires_grad=True),
    torch.ones(1, 1),
    torch.ones(1),
    torch.ones(2, 1),
    torch.tensor([3.0, 4.0]),
)

ADAPTED = Exercise(
    solution=adapted_query_loss,
    buggy=_constant_gradient,
    lesson=5,
    aim="find what makes MAML first order in silence",
    minutes=5,
    difficulty="easy",
    cases=[
        # w' = 2 - 0.1 * 2 * (2 - 1) = 1.8, squared errors 1.2^2 and 2.2^2
        Case((*_AT_TWO, 0.1), torch.tensor(3.14)),
        Case((*_AT_TWO, 0.0), torch.tensor(2.5)),
    ],
    draw=_draw_adapted,
    mistakes=[
        Mistake(
            lambda w, x, y, qx, qy, lr: _constant_gradient(w, x, y, qx, qy, lr),
            "the loss is right, but its gradient by w is still of first order: the inner gradient "
            "comes back as a constant. `retain_graph=True` keeps the graph of the loss, and "
            "`requires_grad_()` begins a new one; a graph of the gradient is made by "
            "`create_graph=True`",
        ),
        Mistake(
            _cut_weights,
            "the adapted weights are cut off: the query loss has no way back to w at all",
        ),
        Mistake(
            _cut_start,
            "the way from w to the query loss leads through the inner gradient only; the w in "
            "`w - inner_lr * gradient` must keep its graph, too",
        ),
        Mistake(
            _of_a_constant,
            "the support loss must have a graph: no `.detach()`, `.data` or `no_grad` before the "
            "gradient is taken",
        ),
        Mistake(
            _of_a_leaf,
            "`requires_grad_()` on the loss begins a new graph that does not reach w; the loss "
            "needs none, it has the graph that leads back to w",
        ),
        Mistake(
            _by_backward,
            "`backward()` leaves the support gradient in `w.grad`, and the caller's `backward()` "
            "adds the meta-gradient to it; `torch.autograd.grad` leaves nothing behind",
        ),
        Mistake(_support_too, "the support loss is added; the query loss alone is asked for"),
        Mistake(_two_steps, "these are two inner steps; one is asked for"),
        Mistake(
            lambda w, x, y, qx, qy, lr: adapted_query_loss(w, qx, qy, qx, qy, lr),
            "the inner step uses the query set; it must only see the support set",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: F.mse_loss(qx @ w, qy),
            "the query loss is taken at the start; take it at the adapted weights",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: adapted_query_loss(w, x, y, x, y, lr),
            "this is the support loss after the step; the query loss is asked for",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: adapted_query_loss(w, x, y, qx, qy, len(x) * lr),
            "the support loss is a mean over the rows, not a sum",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: w - 2 * lr * _slope(w, x, y),
            "these are the adapted weights; return the query loss there",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: (qx @ (w - 2 * lr * _slope(w, x, y)) - qy).abs().mean(),
            "this is a mean of absolute errors; `F.mse_loss` is of squared ones",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: adapted_query_loss(w, x, y, qx, qy, -lr),
            "the inner step goes uphill; subtract inner_lr times the gradient",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: adapted_query_loss(w, x, y, qx, qy, lr / 2),
            "the loss is the mean squared error, whose gradient has a factor 2",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: torch.autograd.grad(
                adapted_query_loss(w, x, y, qx, qy, lr), w, create_graph=True
            )[0],
            "this is the meta-gradient; return the query loss itself, so that others can "
            "differentiate it",
        ),
        Mistake(
            lambda w, x, y, qx, qy, lr: (1 - lr) * adapted_query_loss(w, x, y, qx, qy, lr),
            "the factor 1 - inner_lr belongs to the gradient of the paper case; with a graph of "
            "the inner gradient autograd finds it by itself",
        ),
    ],
    hints=[
        "The loss is right; its gradient by w is not. Which line turns something that depends on w "
        "into a plain number?",
        "`torch.autograd.grad` can return a gradient that has a graph itself, as in section 2.",
        "The argument is called `create_graph`.",
    ],
    gradients=("w",),
)


# --- find the bug: adapting under no_grad ----------------------------------------------------


def adapt_anywhere(support_loss: Loss, w: Tensor, inner_lr: float, num_inner_steps: int) -> Tensor:
    """Weights after inner steps from w, without a graph; under torch.no_grad() as well."""
    fast_w = w.detach().clone().requires_grad_()
    for _ in range(num_inner_steps):
        fast_w.grad = torch.zeros_like(fast_w)
        with torch.enable_grad():
            loss = support_loss(fast_w)
        loss.backward()
        with torch.no_grad():
            fast_w -= inner_lr * fast_w.grad
    return fast_w.detach()


def _new_tensor_each_step(support_loss: Loss, w: Tensor, inner_lr: float, steps: int) -> Tensor:
    fast_w = w.detach().clone().requires_grad_()
    for _ in range(steps):
        with torch.enable_grad():
            support_loss(fast_w).backward()
        fast_w = fast_w - inner_lr * cast(Tensor, fast_w.grad)
    return fast_w.detach()


def _under_no_grad(support_loss: Loss, w: Tensor, inner_lr: float, num_inner_steps: int) -> Tensor:
    fast_w = w.detach().clone().requires_grad_()
    for _ in range(num_inner_steps):
        fast_w.grad = torch.zeros_like(fast_w)
        with torch.no_grad():  # no meta-gradient is needed at test time
            loss = support_loss(fast_w).requires_grad_()
        loss.backward()
        with torch.no_grad():
            fast_w -= inner_lr * fast_w.grad
    return fast_w.detach()


def _without_the_cure(support_loss: Loss, w: Tensor, lr: float, k: int) -> Tensor:
    with torch.no_grad():
        support_loss(w).backward()
    return w


def _in_place_with_graph(support_loss: Loss, w: Tensor, lr: float, k: int) -> Tensor:
    fast_w = w.detach().clone().requires_grad_()
    for _ in range(k):
        fast_w -= lr * _gradient(support_loss, fast_w)
    return fast_w


def _adds_up(support_loss: Loss, w: Tensor, lr: float, k: int) -> Tensor:
    total = torch.zeros_like(w)
    for _ in range(k):
        total = total + _gradient(support_loss, w)
        w = w - lr * total
    return w


def _one_graph(support_loss: Loss, w: Tensor, lr: float, k: int) -> Tensor:
    fast_w = w.detach().clone().requires_grad_()
    loss = support_loss(fast_w)
    for _ in range(k):
        loss.backward()
    return _fast(support_loss, w, lr, k)


def _moves_under_no_grad(answer: Answer) -> str:
    """Whether an answer adapts where its caller has switched gradients off."""
    with torch.no_grad():
        try:
            moved = answer(bowl, torch.tensor([2.0]), 0.1, 1)
        except RuntimeError as error:
            return f"called inside `with torch.no_grad():` it stops with {error}.\nHint: {INSIDE}"
        switched_on = torch.is_grad_enabled()
    if difference(moved, torch.tensor([1.9])):
        return f"called inside `with torch.no_grad():` it gives {moved}.\nHint: {INSIDE}"
    return STAYS_ON if switched_on else ""


def _leaves_no_graph(answer: Answer) -> str:
    """Whether the weights that come out are plain numbers."""
    return STILL_A_GRAPH if answer(bowl, torch.tensor([2.0]), 0.1, 1).requires_grad else ""


INSIDE = (
    "an evaluation calls it so. Inside, the inner loop must switch gradients on again: "
    "`with torch.enable_grad():`"
)
STAYS_ON = (
    "called inside `with torch.no_grad():` it leaves gradients switched on for its caller.\n"
    "Hint: `set_grad_enabled(True)` lasts; `with torch.enable_grad():` ends with its block"
)
STILL_A_GRAPH = (
    "the weights are right, but they still require a gradient.\n"
    "Hint: an evaluation would keep the graph of every step; return them with `.detach()`"
)


def _draw_anywhere(generator: Generator) -> tuple[Loss, Tensor, float, int]:
    support_loss, _, w, inner_lr, steps, _ = _draw_meta(generator)
    w.requires_grad_(bool(draw_int(0, 2, generator)))  # as the weights of a network do
    return support_loss, w, inner_lr, steps


ANYWHERE = Exercise(
    solution=adapt_anywhere,
    buggy=_under_no_grad,
    lesson=5,
    aim="find why an inner loop does not move",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((bowl, _TWO, 0.1, 1), torch.tensor([1.9])),
        Case((bowl, _TWO, 0.1, 2), torch.tensor([1.81])),
        Case((cube, torch.ones(1), 0.1, 2), torch.tensor([0.819])),  # 1, 0.9, 0.9 - 0.081
    ],
    draw=_draw_anywhere,
    properties=[_moves_under_no_grad, _leaves_no_graph],
    mistakes=[
        Mistake(
            lambda s, w, lr, k: w,
            "these are the weights of the start: no step moved them. A loss that is computed under "
            "`no_grad` has no graph, so `backward()` never arrives at fast_w: `enable_grad` must "
            "stand around the line that computes the loss. (If it does: is it the loss of fast_w, "
            "is its gradient still there at the step, and do you return fast_w?)",
        ),
        Mistake(
            _new_tensor_each_step,
            "`fast_w = fast_w - ...` makes a tensor that is no leaf, and `backward()` leaves "
            "nothing in its `.grad`; change fast_w in place under `no_grad`, or make the new one "
            "a leaf, `.detach().requires_grad_()`",
        ),
        Mistake(
            _without_the_cure,
            "a loss that is computed under `no_grad` has no graph; without `requires_grad_()` you "
            "are told so at least. `enable_grad` must stand around the line that computes the loss",
        ),
        Mistake(
            _adds_up,
            "the gradients of all steps add up: `backward()` adds to `fast_w.grad`; make it zero "
            "in every step",
        ),
        Mistake(
            lambda s, w, lr, k: _fast(s, w, k * lr, min(k, 1)),
            "every step uses the gradient at the start; compute the loss anew in every step",
        ),
        Mistake(
            _one_graph,
            "the loss is computed once, before the loop; compute it anew in every step",
        ),
        Mistake(
            lambda s, w, lr, k: _fast(s, w, -lr, k),
            "the steps go uphill; subtract inner_lr times the gradient",
        ),
        Mistake(
            lambda s, w, lr, k: _fast(s, w, lr, min(k, 1)),
            "only the first step moves the weights. Is the return inside the loop? Or was fast_w "
            "made anew, `fast_w = fast_w - ...`? Then it is no leaf, and `backward()` fills the "
            "`.grad` of leaves only; the second `no_grad`, with `-=`, is right",
        ),
        Mistake(
            _in_place_with_graph,
            "the second `no_grad` is right: a leaf may be changed in place only where nothing is "
            "recorded",
        ),
        Mistake(
            lambda s, w, lr, k: _gradient(s, _fast(s, w, lr, k - 1)),
            "this is the last gradient; return the weights",
        ),
        Mistake(
            lambda s, w, lr, k: _fast(s, w, lr / max(k, 1), k),
            "each step has the whole length inner_lr; do not share it among the steps",
        ),
        Mistake(
            lambda s, w, lr, k: w - _fast(s, w, lr, k),
            "this is how far the weights moved; return where they are",
        ),
        Mistake(lambda s, w, lr, k: _fast(s, w, lr, k + 1), "one step too many"),
        Mistake(lambda s, w, lr, k: _fast(s, w, lr, k - 1), "one step too few"),
        Mistake(
            lambda s, w, lr, k: s(_fast(s, w, lr, k)),
            "this is the support loss at the adapted weights; return the weights",
        ),
    ],
    hints=[
        "Which line must see gradients switched on, even if nobody needs a meta-gradient?",
        "The inner loop is gradient descent: without a graph of the loss there is no gradient. "
        "What is the opposite of `no_grad`?",
        "`with torch.enable_grad():` in place of the first `no_grad`; `requires_grad_()` is not "
        "needed then. The second `no_grad` is right: the step itself is not to be recorded.",
    ],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    SCALAR,
    Question(
        name="resting_start",
        lesson=5,
        aim="see what a meta-gradient looks for",
        minutes=1,
        difficulty="easy",
        text="The support loss is smallest at 1, the query loss at 3. We follow the second-order "
        "meta-gradient to the end. Where does the start come to rest?",
        options={
            "a": Option(
                "At 1",
                "The inner step goes there by itself; the outer loop never looks at the support "
                "loss.",
            ),
            "b": Option(
                "Between 1 and 3",
                "A compromise of both losses would be there, but the outer loop minimises the "
                "query loss alone, at w'.",
            ),
            "c": Option(
                "At 3",
                "There the query loss is smallest before the step. But it is taken after the "
                "step, which pulls the weight towards 1.",
            ),
            "d": Option(
                "Above 3",
                "The step will pull it towards 1, so the start must lie as far beyond 3 that w' "
                "is 3.",
            ),
        },
        right="d",
    ),
    LINEAR,
    META,
    Question(
        name="before_any_step",
        lesson=5,
        aim="know an accuracy without measuring it",
        minutes=1,
        difficulty="easy",
        text="A MAML that was trained well on 5-way 1-shot glyphs. What is its meta-test accuracy "
        "after 0 inner steps?",
        options={
            "a": Option(
                "20 %",
                "Labels are dealt anew in each episode. Only the support set tells which letter "
                "is number 3, and without a step nobody has looked at it.",
            ),
            "b": Option(
                "About 45 %, like nearest pixel",
                "Nearest pixel looks at the support set. With 0 steps MAML does not.",
            ),
            "c": Option(
                "A little less than after 1 step",
                "The start holds good features, but the five outputs cannot know which class has "
                "which number.",
            ),
        },
        right="a",
    ),
    ADAPTED,
    Question(
        name="what_the_cure_cured",
        lesson=5,
        aim="find a bug from its symptom",
        minutes=2,
        difficulty="easy",
        text="After `loss.requires_grad_()` the error message is gone, and the error of the model "
        "is the same after 0 and after 5 steps. What happens in `loss.backward()`?",
        options={
            "a": Option(
                "The gradients arrive, but they are exactly 0.",
                "A gradient of 0 would look the same. But every `p.grad` is still `None`: nothing "
                "arrives.",
            ),
            "b": Option(
                "It begins and ends at the loss, which is a leaf without a graph.",
                "Under `no_grad` nothing is recorded. `requires_grad_()` makes the loss a leaf; "
                "`backward()` then has nowhere to go, and the optimiser skips parameters whose "
                "gradient is `None`.",
            ),
            "c": Option(
                "The optimiser steps are undone by `no_grad`.",
                "`optimizer.step()` works under `no_grad`; in fact it switches gradients off by "
                "itself. It has nothing to apply.",
            ),
            "d": Option(
                "The copy is trained, and the query loss uses the old model.",
                "A good suspicion for this symptom in general, but the last line uses `fast`.",
            ),
        },
        right="b",
    ),
    ANYWHERE,
]
