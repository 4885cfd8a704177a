"""The exercises of notebook 07 against the package, autograd, and other right ways."""

import numpy as np
import pytest
import torch
from torch import nn

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import what_maml_learns as lesson
from metalearn_edu.exercises.lessons.maml import half_squared_error
from metalearn_edu.learners import IMAML
from metalearn_edu.tasks import EpisodeBatch


def cka_in_numpy(x, y):
    x, y = (np.asarray(t - t.mean(0), dtype=np.float64) for t in (x, y))
    return np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)


def cosines_in_loops(support_z, support_y, query_z, n_way):
    scores = torch.zeros(len(query_z), n_way)
    for q, row in zip(query_z, scores, strict=True):
        for label in range(n_way):
            items = support_z[support_y == label]
            row[label] = sum(q @ z / (q.norm() * z.norm()) for z in items) / len(items)
    return scores


def reptile_by_func(losses, w, inner_lr, num_inner_steps, epsilon):
    moved = torch.zeros_like(w)
    for loss in losses:
        fast_w = w
        for _ in range(num_inner_steps):
            fast_w = fast_w - inner_lr * torch.func.grad(loss)(fast_w)
        moved = moved + (fast_w - w) / len(losses)
    return w + epsilon * moved


def implicit_by_inverse(hessian, query_gradient, pull):
    return torch.inverse(torch.eye(len(hessian)) + hessian / pull) @ query_gradient


def tasks_by_sgd(losses, w, inner_lr, num_inner_steps, momentum):
    """torch.optim.SGD has this very momentum."""
    ends = []
    for loss in losses:
        fast_w = nn.Parameter(w.clone())
        optimizer = torch.optim.SGD([fast_w], lr=inner_lr, momentum=momentum)
        for _ in range(num_inner_steps):
            optimizer.zero_grad()
            loss(fast_w).backward()
            optimizer.step()
        ends.append(fast_w.detach())
    return torch.stack(ends)


def solved_in_a_while(hessian, optimum, target, w, pull, inner_lr):
    phi = w
    while (slope := hessian @ (phi - optimum) + pull * (phi - w)).norm() > 1e-6:
        phi = phi - inner_lr * slope
    return torch.linalg.solve(torch.eye(len(w)) + hessian / pull, phi - target)


def solved_by_autograd(hessian, optimum, target, w, pull, inner_lr):
    """The gradient of the query loss back through all steps: at the minimum it is the same."""
    start = w.clone().requires_grad_()
    phi = start
    for _ in range(400):
        phi = phi - inner_lr * (hessian @ (phi - optimum) + pull * (phi - start))
    return torch.autograd.grad((phi - target).square().sum() / 2, start)[0]


@pytest.mark.parametrize(
    ("right", "name"),
    [
        (cka_in_numpy, "linear_cka"),
        (cosines_in_loops, "cosine_scores"),
        (reptile_by_func, "reptile_step"),
        (implicit_by_inverse, "implicit_gradient"),
        (tasks_by_sgd, "adapt_each_task"),
        (solved_in_a_while, "solved_meta_gradient"),
        (solved_by_autograd, "solved_meta_gradient"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_cka_does_not_see_a_turn_a_scale_or_a_shift():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, generator=generator)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator)).Q
    assert lesson.linear_cka(x, 5 - 2 * x @ turn) == pytest.approx(1, abs=1e-5)
    assert lesson.linear_cka(x, x * torch.tensor([1.0, 3.0, 9.0])) < 0.95


def test_the_implicit_gradient_of_the_package_is_that_of_the_exercise():
    """One linear layer, one task: X'X / n is the Hessian of half the mean squared error."""
    generator = torch.Generator().manual_seed(0)
    x, query_x = torch.randn(2, 1, 4, 2, generator=generator, dtype=torch.float64)
    y, query_y = torch.randn(2, 1, 4, 1, generator=generator, dtype=torch.float64)
    layer = nn.Linear(2, 1, bias=False).double()
    w = layer.weight.detach()[0].clone()
    how = {"lam": 1.0, "num_cg_steps": 2, "tolerance": 1e-10}
    learner = IMAML(layer, 0.1, 0.01, 1000, half_squared_error, **how)
    learner.loss(EpisodeBatch(x, y, query_x, query_y)).backward()

    hessian, query_hessian = (t[0].T @ t[0] / 4 for t in (x, query_x))
    optimum = torch.linalg.solve(hessian, x[0].T @ y[0, :, 0] / 4)
    whole = hessian + torch.eye(2)
    phi = torch.linalg.solve(whole, hessian @ optimum + w)
    slope = query_hessian @ phi - query_x[0].T @ query_y[0, :, 0] / 4
    expected = lesson.implicit_gradient(hessian, slope, 1.0)
    torch.testing.assert_close(layer.weight.grad[0], expected, rtol=1e-5, atol=1e-7)
