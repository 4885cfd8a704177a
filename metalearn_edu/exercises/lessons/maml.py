"""The exercises of notebook 05: meta-gradients, and two inner loops to fix."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.differences import difference
from ..checker.draws import draw_int
from ..checker.edits import Edit
from ..checker.exercise import Answer, Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "05_maml.txt"

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
    """A third of the sum of w cubed: slope w squared, curvature 2 w, different at each point."""
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


SCALAR = exercise_of(
    scalar_meta_gradient,
    lesson=LESSON,
    cases=[
        Case((2.0, 1.0, 3.0, 0.1, False), -0.99),
        Case((2.0, 1.0, 3.0, 0.1, True), -1.1),
        Case((-1.0, 4.0, 0.0, 0.5, False), 0.75),  # w' = 1.5
        Case((2.0, 1.0, 3.0, 0.0, False), -1.0),  # no step: the plain slope
        Case((2.0, 1.0, 3.0, 2.0, False), 3.0),  # w' = 0, past the target: factor -1
        Case((1000.0, 1.0, 3.0, 0.1, False), 807.39),  # far away: w' = 1000 - 99.9
    ],
    draw=_draw_scalar,
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


def _draw_linear(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float, int]:
    n, n_query, d = (draw_int(*ends, generator) for ends in ((4, 9), (2, 7), (2, 5)))
    support, query = (torch.randn(rows, d + 1, generator=generator) for rows in (n, n_query))
    inner_lr = 0.05 + 0.25 * torch.rand((), generator=generator).item()
    w = torch.randn(d, generator=generator)
    steps = draw_int(0, 5, generator)
    return w, support[:, 1:], support[:, 0], query[:, 1:], query[:, 0], inner_lr, steps


_FAR = torch.tensor([1000.0])
_HAND = (
    torch.zeros(2),
    torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]]),  # X'X / 4: 0.5 and 2
    torch.tensor([1.0, 1.0, 2.0, 2.0]),
    torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
    torch.tensor([1.0, 1.0]),
    0.1,
)

LINEAR = exercise_of(
    linear_meta_gradient,
    lesson=LESSON,
    cases=[
        # w_1 = (0.05, 0.2), the query gradient is -0.75 in both places; factors 0.95 and 0.8
        Case((*_HAND, 1), torch.tensor([-0.7125, -0.6])),
        Case((*_HAND, 0), torch.tensor([-1.0, -1.0])),
        # w_2 = (0.0975, 0.36), query gradient -0.5425; factors 0.9025 and 0.64
        Case((*_HAND, 2), torch.tensor([-0.489606, -0.3472])),
        # far away, where a clipped gradient shows: w_1 = (950.05, 800.2), then 1749.25
        Case((_FAR.expand(2), *_HAND[1:], 1), torch.tensor([1661.7875, 1399.4])),
    ],
    draw=_draw_linear,
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


def _draw_meta(generator: Generator) -> tuple[Loss, Loss, Tensor, float, int, bool]:
    support_loss, query_loss = draw_losses(generator)
    inner_lr = 0.05 + 0.2 * torch.rand((), generator=generator).item()
    steps, first_order = draw_int(0, 4, generator), bool(draw_int(0, 2, generator))
    return support_loss, query_loss, draw_point(generator), inner_lr, steps, first_order


_TWO = torch.tensor([2.0])
META = exercise_of(
    meta_gradient,
    lesson=LESSON,
    cases=[
        Case((bowl, far_bowl, _TWO, 0.1, 1, False), torch.tensor([-0.99])),
        Case((bowl, far_bowl, _TWO, 0.1, 1, True), torch.tensor([-1.1])),
        # w_1 = 1.9, w_2 = 1.81: (1.81 - 3) * 0.9 * 0.9
        Case((bowl, far_bowl, _TWO, 0.1, 2, False), torch.tensor([-0.9639])),
        Case((bowl, far_bowl, _TWO, 0.1, 0, False), torch.tensor([-1.0])),
        # w_1 = 0.9, w_2 = 0.819, factors 0.8 and 0.82: (0.819 - 1) * 0.8 * 0.82
        Case((cube, bowl, torch.ones(1), 0.1, 2, False), torch.tensor([-0.118736])),
        # far away, where a clipped gradient shows: (1000 - 99.9 - 3) * 0.9
        Case((bowl, far_bowl, _FAR, 0.1, 1, False), torch.tensor([807.39])),
    ],
    draw=_draw_meta,
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

ADAPTED = exercise_of(
    adapted_query_loss,
    lesson=LESSON,
    buggy=Edit((adapted_query_loss,), ", create_graph=True ->", "").wrong,
    cases=[
        # w' = 2 - 0.1 * 2 * (2 - 1) = 1.8, squared errors 1.2^2 and 2.2^2
        Case((*_AT_TWO, 0.1), torch.tensor(3.14)),
        Case((*_AT_TWO, 0.0), torch.tensor(2.5)),
        # far away: w' = 800.2, errors 797.2 and 796.2
        Case((_FAR.clone().requires_grad_(), *_AT_TWO[1:], 0.1), torch.tensor(634731.1)),
    ],
    draw=_draw_adapted,
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


def _moves_under_no_grad(answer: Answer) -> str:
    """Whether an answer adapts if its caller has switched gradients off."""
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
    """Whether the returned weights require no gradient."""
    return STILL_A_GRAPH if answer(bowl, torch.tensor([2.0]), 0.1, 1).requires_grad else ""


INSIDE = (
    "an evaluation calls it in this way. Inside, the inner loop must switch gradients on again: "
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


ANYWHERE = exercise_of(
    adapt_anywhere,
    lesson=LESSON,
    buggy=Edit(
        (adapt_anywhere,),
        "enable_grad -> no_grad ; support_loss(fast_w) -> support_loss(fast_w).requires_grad_()",
        "",
    ).wrong,
    cases=[
        Case((bowl, _TWO, 0.1, 1), torch.tensor([1.9])),
        Case((bowl, _TWO, 0.1, 2), torch.tensor([1.81])),
        Case((cube, torch.ones(1), 0.1, 2), torch.tensor([0.819])),  # 1, 0.9, 0.9 - 0.081
        Case((bowl, _FAR, 0.1, 1), torch.tensor([900.1])),
    ],
    draw=_draw_anywhere,
    properties=[_moves_under_no_grad, _leaves_no_graph],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    SCALAR,
    question_of("resting_start", lesson=LESSON),
    LINEAR,
    META,
    question_of("before_any_step", lesson=LESSON),
    question_of("first_order_trained", lesson=LESSON),
    ADAPTED,
    question_of("what_the_cure_cured", lesson=LESSON),
    ANYWHERE,
]
