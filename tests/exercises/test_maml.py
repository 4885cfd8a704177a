"""The exercises of notebook 05 against closed forms, central differences and each other."""

import pytest
import torch

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import maml as answers


def numbers(seed=5):
    """Arguments of the linear model in float64, without the number of steps."""
    generator = torch.Generator().manual_seed(seed)
    support, query = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (6, 4))
    w = torch.randn(3, generator=generator, dtype=torch.float64)
    return w, support[:, 1:], support[:, 0], query[:, 1:], query[:, 0], 0.1


def half_mse(x, y):
    return lambda w: answers.half_squared_error(x @ w, y)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_linear_closed_form_is_the_gradient_by_autograd(steps):
    w, x, y, query_x, query_y, inner_lr = numbers()
    by_autograd = answers.meta_gradient(
        half_mse(x, y), half_mse(query_x, query_y), w, inner_lr, steps, False
    )
    closed = answers.linear_meta_gradient(w, x, y, query_x, query_y, inner_lr, steps)
    torch.testing.assert_close(closed, by_autograd)


def test_the_gradient_of_the_adapted_loss_is_the_closed_form():
    w, x, y, query_x, query_y, inner_lr = numbers()
    w.requires_grad_()
    loss = answers.adapted_query_loss(w, x, y, query_x, query_y, inner_lr)
    (gradient,) = torch.autograd.grad(loss, w)
    # the mean squared error is twice the loss of the closed form, in both loops
    closed = answers.linear_meta_gradient(w, x, y, query_x, query_y, 2 * inner_lr, 1)
    torch.testing.assert_close(gradient, 2 * closed.detach())


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_meta_gradient_matches_central_differences(steps):
    support_loss, query_loss = answers.draw_losses(torch.Generator().manual_seed(1))
    w, h = torch.tensor([0.5, -1.0], dtype=torch.float64), 1e-5

    def after(w):
        return query_loss(answers.adapt_anywhere(support_loss, w, 0.1, steps))

    shifts = h * torch.eye(2, dtype=torch.float64)
    by_differences = torch.stack([(after(w + s) - after(w - s)) / (2 * h) for s in shifts])
    got = answers.meta_gradient(support_loss, query_loss, w, 0.1, steps, False)
    torch.testing.assert_close(got, by_differences, rtol=1e-6, atol=1e-8)


def test_adapting_to_a_bowl_shrinks_the_distance_by_a_factor_in_each_step():
    w = torch.tensor([3.0, -2.0])
    got = answers.adapt_anywhere(answers.bowl, w, 0.2, 5)
    torch.testing.assert_close(got, 1 + 0.8**5 * (w - 1))


# --- other right ways ------------------------------------------------------------------------


def by_formula(w, support_target, query_target, inner_lr, first_order):
    factor = 1 if first_order else 1 - inner_lr
    return factor * ((1 - inner_lr) * w + inner_lr * support_target - query_target)


def by_higher_steps(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    from torch.func import grad

    def after(w):
        for _ in range(num_inner_steps):
            step = grad(support_loss)(w)
            w = w - inner_lr * (step.detach() if first_order else step)
        return query_loss(w)

    return grad(after)(w)


def written_out(w, support_x, support_y, query_x, query_y, inner_lr):
    gradient = 2 * support_x.T @ (support_x @ w - support_y) / len(support_y)
    return (query_x @ (w - inner_lr * gradient) - query_y).square().mean()


@torch.enable_grad()
def switched_on_throughout(support_loss, w, inner_lr, num_inner_steps):
    for _ in range(num_inner_steps):
        w = w.detach().requires_grad_()
        w = w - inner_lr * torch.autograd.grad(support_loss(w), w)[0]
    return w.detach()


@pytest.mark.parametrize(
    "right, name",
    [
        (by_formula, "scalar_meta_gradient"),
        (by_higher_steps, "meta_gradient"),
        (written_out, "adapted_query_loss"),
        (switched_on_throughout, "adapt_anywhere"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


# --- wrong answers that are in no table ------------------------------------------------------


def writes_data(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    w = w.detach().clone().requires_grad_()
    for _ in range(num_inner_steps):
        w.data -= inner_lr * torch.autograd.grad(support_loss(w), w)[0]
    return torch.autograd.grad(query_loss(w), w)[0]


def retains_the_wrong_graph(w, support_x, support_y, query_x, query_y, inner_lr):
    loss = torch.nn.functional.mse_loss(support_x @ w, support_y)
    (gradient,) = torch.autograd.grad(loss, w, retain_graph=True)
    return torch.nn.functional.mse_loss(query_x @ (w - inner_lr * gradient), query_y)


def gradients_around_backward_only(support_loss, w, inner_lr, num_inner_steps):
    fast_w = w.detach().clone().requires_grad_()
    for _ in range(num_inner_steps):
        fast_w.grad = torch.zeros_like(fast_w)
        with torch.no_grad():
            loss = support_loss(fast_w).requires_grad_()
        with torch.enable_grad():
            loss.backward()
        with torch.no_grad():
            fast_w -= inner_lr * fast_w.grad
    return fast_w.detach()


def no_gradients_at_all(support_loss, w, inner_lr, num_inner_steps):
    for _ in range(num_inner_steps):
        w = w.detach().requires_grad_()
        w = w - inner_lr * torch.autograd.grad(support_loss(w), w)[0]
    return w.detach()


@torch.enable_grad()
def keeps_the_graph(support_loss, w, inner_lr, num_inner_steps):
    w = w.detach().requires_grad_()
    for _ in range(num_inner_steps):
        (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
        w = w - inner_lr * gradient
    return w


def switches_on_for_good(support_loss, w, inner_lr, num_inner_steps):
    torch.set_grad_enabled(True)
    return keeps_the_graph(support_loss, w, inner_lr, num_inner_steps).detach()


@pytest.mark.parametrize(
    "wrong, name, says",
    [
        (writes_data, "meta_gradient", "or there is a `.detach()` or `.data`"),
        (retains_the_wrong_graph, "adapted_query_loss", "is made by `create_graph=True`"),
        (gradients_around_backward_only, "adapt_anywhere", "around the line that computes"),
        (no_gradients_at_all, "adapt_anywhere", "called inside `with torch.no_grad():` it stops"),
        (keeps_the_graph, "adapt_anywhere", "they still require a gradient"),
        (switches_on_for_good, "adapt_anywhere", "leaves gradients switched on for its caller"),
    ],
)
def test_mistakes_in_no_table_are_named(wrong, name, says, capsys):
    check(wrong, name)
    assert says in " ".join(capsys.readouterr().out.split())  # lines break between words
