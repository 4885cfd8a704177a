"""The exercises of notebook 07: likeness, cosine scores, Reptile, implicit gradients, two bugs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..checker.draws import draw_int, draw_labels
from ..checker.exercise import Case, Exercise, exercise_of
from ..checker.question import Question, question_of
from .maml import Loss, bowl, cube, draw_losses, draw_point, far_bowl

LESSON = "07_what_maml_learns.txt"

__all__ = [
    "EXERCISES",
    "adapt_each_task",
    "cosine_scores",
    "implicit_gradient",
    "linear_cka",
    "reptile_step",
    "solved_meta_gradient",
]


# --- how alike two representations are -------------------------------------------------------


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear CKA of two representations x (n, d) and y (n, e) of the same n items, a scalar.

    Source: Kornblith et al. (2019), eq. 3 with linear kernels.
    """
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())


def _by_items(x: Tensor, y: Tensor) -> Tensor:
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    a, b = x @ x.T, y @ y.T  # (n, n): which items lie in the same direction
    return (a * b).sum() / (a.norm() * b.norm())


def _draw_cka(generator: Generator) -> tuple[Tensor, Tensor]:
    n, d, e = draw_int(3, 8, generator), draw_int(1, 5, generator), draw_int(1, 5, generator)
    x = torch.randn(n, d, generator=generator)
    share = torch.rand((), generator=generator)
    y = share * x @ torch.randn(d, e, generator=generator) + torch.randn(n, e, generator=generator)
    return 2 + 3 * x, y - 1


_RISING = torch.tensor([[0.0], [1.0], [2.0]])

CKA = exercise_of(
    linear_cka,
    lesson=LESSON,
    cases=[
        # centred (-1, 0, 1) and (-1, -1, 2): product 3, squares 2 and 6
        Case((_RISING, torch.tensor([[0.0], [0.0], [3.0]])), torch.tensor(0.75)),
        # columns with products 2 and 0; y'y has 2 and 6 on its diagonal, norm the root of 40
        Case(
            (_RISING, torch.tensor([[0.0, 3.0], [1.0, 0.0], [2.0, 3.0]])),
            torch.tensor(4 / (2 * 40**0.5)),
        ),
        Case((_RISING, 5 - 10 * _RISING), torch.tensor(1.0)),  # turned, scaled and moved
        Case((_RISING, torch.tensor([[0.0], [3.0], [0.0]])), torch.tensor(0.0)),
    ],
    draw=_draw_cka,
    ways=[_by_items],
)


# --- without a head --------------------------------------------------------------------------


def cosine_scores(support_z: Tensor, support_y: Tensor, query_z: Tensor, n_way: int) -> Tensor:
    """Score (Q, n_way) of each class: the mean cosine of a query with its support items.

    Args:
        support_z, query_z: features (S, d) and (Q, d).
        support_y: labels (S,), each of 0..n_way-1 at least once.
    """
    cosines = F.normalize(query_z, dim=1) @ F.normalize(support_z, dim=1).T  # (Q, S)
    one_hot = F.one_hot(support_y, n_way).to(cosines.dtype)  # (S, n_way)
    return cosines @ one_hot / one_hot.sum(dim=0)


def _class_by_class(support_z: Tensor, support_y: Tensor, query_z: Tensor, n_way: int) -> Tensor:
    cosines = F.cosine_similarity(query_z[:, None], support_z[None], dim=-1)
    columns = [cosines[:, support_y == label].mean(dim=1) for label in range(n_way)]
    return torch.stack(columns, dim=1)


def _draw_cosine(generator: Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    n_way, n_more, d = (draw_int(*ends, generator) for ends in ((2, 5), (1, 6), (2, 6)))
    y = draw_labels(n_way, n_more, generator)
    lengths = 1 + 3 * torch.rand(len(y), 1, generator=generator)
    z = lengths * torch.randn(len(y), d, generator=generator)
    return z, y, 1 + 2 * torch.randn(draw_int(1, 5, generator), d, generator=generator), n_way


COSINE = exercise_of(
    cosine_scores,
    lesson=LESSON,
    cases=[
        # lengths do not count: cosines of (3, 0) with (2, 0), (0, 5), (-1, 0) are 1, 0, -1
        Case(
            (
                torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]),
                torch.tensor([0, 1, 1]),
                torch.tensor([[3.0, 0.0], [3.0, 4.0]]),
                2,
            ),
            torch.tensor([[1.0, -0.5], [0.6, 0.1]]),
        ),
        Case(
            (
                torch.tensor([[0.0, 1.0], [4.0, 3.0]]),
                torch.tensor([1, 0]),
                torch.tensor([[0.0, 9.0]]),
                2,
            ),
            torch.tensor([[0.6, 1.0]]),
        ),
    ],
    draw=_draw_cosine,
    ways=[_class_by_class],
)


# --- Reptile ---------------------------------------------------------------------------------


def reptile_step(
    losses: Sequence[Loss], w: Tensor, inner_lr: float, num_inner_steps: int, epsilon: float
) -> Tensor:
    """The start after one step of Reptile: w moved by epsilon towards where the tasks end.

    Args:
        losses: one for each task, from a tensor shaped like w to a scalar.
    """
    ends = []
    for loss in losses:
        fast_w = w.detach()
        for _ in range(num_inner_steps):
            fast_w = fast_w.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(fast_w), fast_w)
            fast_w = (fast_w - inner_lr * gradient).detach()
        ends.append(fast_w)
    return w + epsilon * (torch.stack(ends).mean(dim=0) - w)


def _draw_reptile(generator: Generator) -> tuple[Any, ...]:
    losses = [loss for _ in range(draw_int(1, 3, generator)) for loss in draw_losses(generator)]
    n_losses = draw_int(1, len(losses) + 1, generator)
    rate, epsilon = 0.05 + 0.2 * torch.rand(2, generator=generator)
    steps = draw_int(1, 4, generator)
    return losses[:n_losses], draw_point(generator), rate.item(), steps, 2 * epsilon.item()


_TWO = torch.tensor([2.0])

REPTILE = exercise_of(
    reptile_step,
    lesson=LESSON,
    cases=[
        # ends 1.9 and 2.1, then 1.81 and 2.19: their mean is where we are
        Case(([bowl, far_bowl], _TWO, 0.1, 2, 0.5), torch.tensor([2.0])),
        # 2, 1.9, 1.81: half of the way is 1.905
        Case(([bowl], _TWO, 0.1, 2, 0.5), torch.tensor([1.905])),
        # from 1 the cube leads to 0.9 and 0.819, the bowl stays at 1: mean 0.9095
        Case(([cube, bowl], torch.ones(1), 0.1, 2, 1.0), torch.tensor([0.9095])),
        Case(([cube, bowl], torch.ones(1), 0.1, 2, 0.0), torch.tensor([1.0])),
    ],
    draw=_draw_reptile,
)


# --- the implicit gradient -------------------------------------------------------------------


def implicit_gradient(hessian: Tensor, query_gradient: Tensor, pull: float) -> Tensor:
    """Meta-gradient (d,) at the minimum of the support loss plus pull / 2 times |phi - start|^2.

    Args:
        hessian: of the support loss at the minimum, (d, d).
        query_gradient: of the query loss at the minimum, (d,).

    Source: Rajeswaran et al. (2019), eq. 6.
    """
    eye = torch.eye(len(hessian))
    return torch.linalg.solve(eye + hessian / pull, query_gradient)


def _times_pull(hessian: Tensor, query_gradient: Tensor, pull: float) -> Tensor:
    return pull * torch.linalg.inv(hessian + pull * torch.eye(len(hessian))) @ query_gradient


def _draw_implicit(generator: Generator) -> tuple[Tensor, Tensor, float]:
    d = draw_int(2, 5, generator)
    root = torch.randn(d + 1, d, generator=generator)
    pull = 0.5 + 2 * torch.rand((), generator=generator).item()
    return root.T @ root, torch.randn(d, generator=generator), pull


IMPLICIT = exercise_of(
    implicit_gradient,
    lesson=LESSON,
    cases=[
        # I + H / 2 is diag(3, 1.5)
        Case(
            (torch.tensor([[4.0, 0.0], [0.0, 1.0]]), torch.tensor([3.0, 3.0]), 2.0),
            torch.tensor([1.0, 2.0]),
        ),
        # (2, 1; 1, 2) times (1, -1) is (1, -1)
        Case(
            (torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([1.0, -1.0]), 1.0),
            torch.tensor([1.0, -1.0]),
        ),
        Case((torch.zeros(2, 2), torch.tensor([5.0, -4.0]), 0.1), torch.tensor([5.0, -4.0])),
    ],
    draw=_draw_implicit,
    ways=[_times_pull],
)


# --- find the bug: what the optimiser remembers ----------------------------------------------


def adapt_each_task(
    losses: Sequence[Loss], w: Tensor, inner_lr: float, num_inner_steps: int, momentum: float
) -> Tensor:
    """Weights (T, *shape) of each task after steps with momentum from the same start w.

    In each step the velocity becomes momentum * velocity + gradient, and the weights move by
    -inner_lr * velocity. It is 0 before the first step.
    """
    ends = []
    for loss in losses:
        velocity = torch.zeros_like(w)
        fast_w = w.detach()
        for _ in range(num_inner_steps):
            fast_w = fast_w.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(fast_w), fast_w)
            velocity = momentum * velocity + gradient
            fast_w = (fast_w - inner_lr * velocity).detach()
        ends.append(fast_w)
    return torch.stack(ends)


def _kept_velocity(
    losses: Sequence[Loss], w: Tensor, inner_lr: float, num_inner_steps: int, momentum: float
) -> Tensor:
    velocity = torch.zeros_like(w)
    ends = []
    for loss in losses:
        fast_w = w.detach()
        for _ in range(num_inner_steps):
            fast_w = fast_w.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(fast_w), fast_w)
            velocity = momentum * velocity + gradient
            fast_w = (fast_w - inner_lr * velocity).detach()
        ends.append(fast_w)
    return torch.stack(ends)


def _draw_tasks(generator: Generator) -> tuple[Any, ...]:
    losses = [loss for _ in range(2) for loss in draw_losses(generator)]
    n_losses = draw_int(2, 5, generator)
    rate, momentum = (torch.rand(2, generator=generator) / 2 + 0.1).tolist()
    steps = draw_int(2, 4, generator)
    return losses[:n_losses], draw_point(generator), rate / 4, steps, 1.5 * momentum


EACH_TASK = exercise_of(
    adapt_each_task,
    lesson=LESSON,
    buggy=_kept_velocity,
    cases=[
        # 2, then 2 - 0.1 * 1; velocity 0.5 * 1 + 0.9 = 1.4, so 1.76; the other task likewise
        Case(
            ([bowl, far_bowl], _TWO, 0.1, 2, 0.5),
            torch.tensor([[1.76], [2.24]]),
        ),
        Case(([bowl, bowl], _TWO, 0.1, 1, 0.9), torch.tensor([[1.9], [1.9]])),
        # cube from 1: 0.9, velocity 0.5 + 0.81 = 1.31, so 0.769; bowl stays at 1
        Case(([cube, bowl], torch.ones(1), 0.1, 2, 0.5), torch.tensor([[0.769], [1.0]])),
        Case(([bowl, far_bowl], _TWO, 0.1, 0, 0.5), torch.tensor([[2.0], [2.0]])),
    ],
    draw=_draw_tasks,
)


# --- find the bug: implicit before the minimum -----------------------------------------------


def solved_meta_gradient(
    hessian: Tensor, optimum: Tensor, target: Tensor, w: Tensor, pull: float, inner_lr: float
) -> Tensor:
    """Implicit meta-gradient (d,) with respect to the start w, by gradient steps to the minimum.

    Support loss (phi - optimum)' H (phi - optimum) / 2, query loss |phi - target|^2 / 2.

    Args:
        hessian: H, (d, d).
        optimum, target, w: (d,).
        pull: the inner loop adds pull / 2 times |phi - w|^2 to the support loss.
    """
    phi, slope = w, hessian @ (w - optimum)
    for _ in range(300):  # enough for the flattest direction: nothing of the slope is left
        phi = phi - inner_lr * slope
        slope = hessian @ (phi - optimum) + pull * (phi - w)
    eye = torch.eye(len(w))
    return torch.linalg.solve(eye + hessian / pull, phi - target)


def _in_closed_form(
    hessian: Tensor, optimum: Tensor, target: Tensor, w: Tensor, pull: float, inner_lr: float
) -> Tensor:
    whole = hessian + pull * torch.eye(len(w))
    phi = torch.linalg.solve(whole, hessian @ optimum + pull * w)
    return pull * torch.linalg.solve(whole, phi - target)


def _after_five_steps(
    hessian: Tensor, optimum: Tensor, target: Tensor, w: Tensor, pull: float, inner_lr: float
) -> Tensor:
    phi, slope = w, hessian @ (w - optimum)
    for _ in range(5):
        phi = phi - inner_lr * slope
        slope = hessian @ (phi - optimum) + pull * (phi - w)
    eye = torch.eye(len(w))
    return torch.linalg.solve(eye + hessian / pull, phi - target)


def _draw_solved(generator: Generator) -> tuple[Any, ...]:
    d = draw_int(2, 4, generator)
    turn = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q
    curvature = 0.3 + 2 * torch.rand(d, generator=generator)
    places = 2 * torch.randn(3, d, generator=generator)
    pull = 0.3 + torch.rand((), generator=generator).item()
    return _double(turn @ torch.diag(curvature) @ turn.T, *places, pull, 0.1)


def _double(*arguments: Any) -> tuple[Any, ...]:
    """The arguments in float64: in float32 the slope never falls below what rounding leaves."""
    return tuple(a.double() if isinstance(a, Tensor) else a for a in arguments)


SOLVED = exercise_of(
    solved_meta_gradient,
    lesson=LESSON,
    buggy=_after_five_steps,
    cases=[
        # diag(3, 1) and pull 1: phi = (3 * 1 + 1 * 5, 1 * 1 + 1 * 5) / (4, 2) = (2, 3)
        Case(
            _double(
                torch.tensor([[3.0, 0.0], [0.0, 1.0]]),
                torch.tensor([1.0, 1.0]),
                torch.tensor([0.0, 1.0]),
                torch.tensor([5.0, 5.0]),
                1.0,
                0.1,
            ),
            torch.tensor([0.5, 1.0], dtype=torch.float64),
        ),
        # flat: the start is the minimum
        Case(
            _double(torch.zeros(1, 1), torch.tensor([9.0]), torch.tensor([1.0]), _TWO, 0.5, 0.1),
            torch.tensor([1.0], dtype=torch.float64),
        ),
        # 2 and pull 2: phi = (2 * 0 + 2 * 2) / 4 = 1
        Case(
            _double(torch.tensor([[2.0]]), torch.zeros(1), torch.tensor([5.0]), _TWO, 2.0, 0.2),
            torch.tensor([-2.0], dtype=torch.float64),
        ),
    ],
    draw=_draw_solved,
    ways=[_in_closed_form],
)


# --- questions -------------------------------------------------------------------------------

EXERCISES: list[Exercise | Question] = [
    question_of("one_weight_three_ways", lesson=LESSON),
    CKA,
    question_of("nothing_moved", lesson=LESSON),
    COSINE,
    question_of("waves_from_the_head", lesson=LESSON),
    REPTILE,
    EACH_TASK,
    IMPLICIT,
    SOLVED,
    question_of("before_the_minimum", lesson=LESSON),
    question_of("fifty_steps", lesson=LESSON),
]
