"""The exercises of notebook 06: gradients with respect to step sizes, and two losses to fix."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.edits import Edit
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of
from .maml import Loss, bowl, cube, draw_losses, draw_point, far_bowl

LESSON = "06_meta_sgd.txt"

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
    """Gradients of (w' - query_target)^2 / 2 after one step, with respect to w and to the rate."""
    support_slope = w - support_target
    query_slope = w - rate * support_slope - query_target
    return query_slope * (1 - rate), -query_slope * support_slope


def _draw_scalar(generator: Generator) -> tuple[float, float, float, float]:
    w, support, query = (3 * torch.randn(3, generator=generator)).tolist()
    return w, 1.6 * torch.rand((), generator=generator).item() - 0.8, support, query


SCALAR = exercise_of(
    scalar_gradients,
    lesson=LESSON,
    cases=[
        Case((2.0, 0.1, 1.0, 3.0), (-0.99, 1.1)),
        Case((-1.0, 0.5, 4.0, 0.0), (0.75, 7.5)),  # slopes -5 and 1.5
        Case((2.0, 0.0, 1.0, 3.0), (-1.0, 1.0)),  # no step: the plain slope with respect to w
        Case((1.0, -0.3, 0.5, 2.0), (-1.105, 0.425)),  # slopes 0.5 and -0.85
        Case((1000.0, 0.1, 1.0, 3.0), (807.39, -896202.9)),  # far away: slopes 999 and 897.1
    ],
    draw=_draw_scalar,
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


def _draw_line(generator: Generator) -> tuple[Tensor, Tensor]:
    n = draw_int(4, 30, generator)
    slope, shift, height = torch.rand(3, generator=generator).tolist()
    s, noise = torch.randn(2, n, generator=generator)
    s = s + 1 + 2 * shift
    slope = 1.4 * slope - 0.8 if draw_int(0, 3, generator) else 1.5 + slope  # never near 1
    return s, slope * s + 0.3 * noise + 2 * height + 0.5


LINE = exercise_of(
    best_start_and_rate,
    lesson=LESSON,
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
)


# --- any two losses --------------------------------------------------------------------------


def meta_sgd_gradients(
    support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor, num_inner_steps: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the query loss after the inner steps, with respect to w and to rates.

    Source: Li et al. (2017), eq. 2, with one or more steps of the same rates.
    """
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(fast_w), fast_w, create_graph=True)
        fast_w = fast_w - rates * gradient
    by_w, by_rates = torch.autograd.grad(query_loss(fast_w), (w, rates))
    return by_w, by_rates


def _draw_meta(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor, int]:
    support_loss, query_loss = draw_losses(generator)
    w = draw_point(generator)
    rates = 0.2 * torch.randn(w.shape, generator=generator) + 0.05
    return support_loss, query_loss, w, rates, draw_int(1, 4, generator)


_TWO, _TENTH = torch.tensor([2.0]), torch.tensor([0.1])
META = exercise_of(
    meta_sgd_gradients,
    lesson=LESSON,
    cases=[
        Case((bowl, far_bowl, _TWO, _TENTH, 1), (torch.tensor([-0.99]), torch.tensor([1.1]))),
        # w' = (1.9, -0.2), slopes of the query loss -1.1 and -3.2, of the support loss 1 and -1
        Case(
            (bowl, far_bowl, torch.tensor([2.0, 0.0]), torch.tensor([0.1, -0.2]), 1),
            (torch.tensor([-0.99, -3.84]), torch.tensor([1.1, -3.2])),
        ),
        # 1.9, 1.81: for w -1.19 * 0.81, for the rate -1.19 * (-0.9 - 0.9)
        Case((bowl, far_bowl, _TWO, _TENTH, 2), (torch.tensor([-0.9639]), torch.tensor([2.142]))),
        # 1, 0.9, 0.819: for w -0.181 * 0.8 * 0.82, for the rate -0.181 * (-1 * 0.82 - 0.81)
        Case(
            (cube, bowl, torch.ones(1), _TENTH, 2),
            (torch.tensor([-0.118736]), torch.tensor([0.29503])),
        ),
        # far away, where a clipped gradient shows: slopes 999 and 897.1
        Case(
            (bowl, far_bowl, torch.tensor([1000.0]), _TENTH, 1),
            (torch.tensor([807.39]), torch.tensor([-896202.9])),
        ),
    ],
    draw=_draw_meta,
)


# --- find the bug: a start that is overwritten -----------------------------------------------


def loss_after_step(support_loss: Loss, query_loss: Loss, w: Tensor, rates: Tensor) -> Tensor:
    """Query loss after one step of rates from w, with a graph back to both."""
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    fast_w = w - rates * gradient
    return query_loss(fast_w)


def _draw_one(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor]:
    support_loss, query_loss, w, rates, _ = _draw_meta(generator)
    return support_loss, query_loss, w.requires_grad_(), rates


def _leaf(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


DATA = exercise_of(
    loss_after_step,
    lesson=LESSON,
    buggy=Edit(
        (loss_after_step,),
        "fast_w = w - -> w.data = w.data - ; query_loss(fast_w) -> query_loss(w)",
        "",
    ).wrong,
    cases=[
        Case((bowl, far_bowl, _leaf(2.0), _TENTH), torch.tensor(0.605)),  # 1.1^2 / 2 at 1.9
        # w' = (1.9, -0.2): 1.1^2 / 2 + 3.2^2 / 2
        Case((bowl, far_bowl, _leaf(2.0, 0.0), torch.tensor([0.1, -0.2])), torch.tensor(5.725)),
        # 1 - 0.1 = 0.9: 0.1^2 / 2; the slope of a cube needs the weights that it was taken at
        Case((cube, bowl, _leaf(1.0), _TENTH), torch.tensor(0.005)),
        Case((bowl, far_bowl, _leaf(1000.0), _TENTH), torch.tensor(402394.2)),  # 897.1^2 / 2
    ],
    draw=_draw_one,
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


def _draw_several(generator: Generator) -> tuple[Loss, Loss, Tensor, Tensor, int]:
    support_loss, query_loss, w, rates, steps = _draw_meta(generator)
    return support_loss, query_loss, w.requires_grad_(), rates, steps


EXERCISES: list[Exercise | Question] = [
    question_of("where_the_rate_goes", lesson=LESSON),
    SCALAR,
    LINE,
    META,
    question_of("why_a_bias_steps_back", lesson=LESSON),
    DATA,
    question_of("three_steps_for_one", lesson=LESSON),
    exercise_of(
        loss_after_steps,
        lesson=LESSON,
        buggy=_thrifty,
        cases=[
            Case((bowl, far_bowl, _leaf(2.0), _TENTH, 1), torch.tensor(0.605)),
            # 1.9, 1.81: 1.19^2 / 2
            Case((bowl, far_bowl, _leaf(2.0), _TENTH, 2), torch.tensor(0.70805)),
            # 1, 0.9, 0.819: 0.181^2 / 2
            Case((cube, bowl, _leaf(1.0), _TENTH, 2), torch.tensor(0.0163805)),
            Case((bowl, far_bowl, _leaf(1000.0), _TENTH, 1), torch.tensor(402394.2)),  # 897.1^2 / 2
        ],
        draw=_draw_several,
        gradients=("w", "rates"),
    ),
]
