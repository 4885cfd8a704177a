"""The exercises of notebook 06 against central differences, closed forms and MAML."""

import pytest
import torch

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import maml
from metalearn_edu.exercises.lessons import meta_sgd as answers

CASES = [(2.0, 0.1, 1.0, 3.0), (-1.0, 0.5, 4.0, 0.0), (1.0, -0.3, 0.5, 2.0), (2.0, 0.1, 2.0, 3.0)]


def landscapes():
    """Two losses, a point and rates of both signs, in float64."""
    losses = maml.draw_losses(torch.Generator().manual_seed(2))
    w, rates = torch.tensor([[0.5, -1.0], [0.2, -0.3]], dtype=torch.float64)
    return *losses, w, rates


@pytest.mark.parametrize("w, rate, s, q", CASES)
def test_scalar_gradients_match_central_differences(w, rate, s, q):
    def loss(w, rate):
        return (w - rate * (w - s) - q) ** 2 / 2

    h = 1e-4
    by_w = (loss(w + h, rate) - loss(w - h, rate)) / (2 * h)
    by_rate = (loss(w, rate + h) - loss(w, rate - h)) / (2 * h)
    assert answers.scalar_gradients(w, rate, s, q) == pytest.approx((by_w, by_rate), abs=1e-8)


@pytest.mark.parametrize("slope", [0.7, -0.6, 0.0])
def test_nothing_near_the_best_start_and_rate_is_better(slope):
    s, noise = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    q = slope * s + 0.3 * noise + 1

    def loss(w, rate):
        return (w - rate * (w - s) - q).square().mean()

    w, rate = answers.best_start_and_rate(s, q)
    for shift_w, shift_rate in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.01, 0.01)):
        assert loss(w, rate) < loss(w + shift_w, rate + shift_rate)


@pytest.mark.parametrize("steps", [1, 3])
def test_meta_sgd_gradients_match_central_differences(steps):
    support_loss, query_loss, w, rates = landscapes()
    shifts = 1e-5 * torch.eye(2, dtype=torch.float64)

    def after(w, rates):
        with torch.no_grad():
            w = w.clone()
        return answers.loss_after_steps(
            support_loss, query_loss, w.requires_grad_(), rates, steps
        ).detach()

    by_w = torch.stack([after(w + d, rates) - after(w - d, rates) for d in shifts]) / 2e-5
    by_rates = torch.stack([after(w, rates + d) - after(w, rates - d) for d in shifts]) / 2e-5
    got = answers.meta_sgd_gradients(support_loss, query_loss, w, rates, steps)
    torch.testing.assert_close(got, (by_w, by_rates), rtol=1e-6, atol=1e-8)


def test_equal_rates_give_the_meta_gradient_of_maml():
    support_loss, query_loss, w, _ = landscapes()
    by_w, _ = answers.meta_sgd_gradients(support_loss, query_loss, w, torch.full_like(w, 0.1), 3)
    torch.testing.assert_close(
        by_w, maml.meta_gradient(support_loss, query_loss, w, 0.1, 3, first_order=False)
    )


def test_one_step_gives_minus_the_product_of_two_gradients():
    support_loss, query_loss, w, rates = landscapes()
    (inner,) = torch.autograd.grad(support_loss(w.requires_grad_()), w)
    fast = (w - rates * inner).detach().requires_grad_()
    (outer,) = torch.autograd.grad(query_loss(fast), fast)
    by_rates = answers.meta_sgd_gradients(support_loss, query_loss, w, rates, 1)[1]
    torch.testing.assert_close(by_rates, -outer * inner)


# --- other right ways ------------------------------------------------------------------------


def by_covariance(support_targets, query_targets):
    covariance = torch.stack([support_targets, query_targets]).cov()
    rate = covariance[0, 1] / covariance[0, 0]
    return (query_targets.mean() - rate * support_targets.mean()) / (1 - rate), rate


def by_functions(support_loss, query_loss, w, rates, num_inner_steps):
    from torch.func import grad

    def after(w, rates):
        for _ in range(num_inner_steps):
            w = w - rates * grad(support_loss)(w)
        return query_loss(w)

    return grad(after, argnums=(0, 1))(w, rates)


def name_overwritten(support_loss, query_loss, w, rates):
    w = w - rates * torch.autograd.grad(support_loss(w), w, create_graph=True)[0]
    return query_loss(w)


@pytest.mark.parametrize(
    "right, name",
    [
        (by_covariance, "best_start_and_rate"),
        (by_functions, "meta_sgd_gradients"),
        (name_overwritten, "loss_after_step"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


# --- wrong answers that are in no table ------------------------------------------------------


def never_steps(support_targets, query_targets):
    return query_targets.mean(), 0.0


def clips_in_the_step(support_loss, query_loss, w, rates):
    gradient = torch.autograd.grad(support_loss(w), w, create_graph=True)[0].clamp(-10, 10)
    return query_loss(w - rates * gradient)


def puts_the_start_back(support_loss, query_loss, w, rates):
    start = w.data.clone()
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    w.data = w.data - rates * gradient
    loss = query_loss(w)
    w.data = start
    return loss


def in_place_under_no_grad(support_loss, query_loss, w, rates):
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    with torch.no_grad():
        w -= rates * gradient
    return query_loss(w)


def new_loss_old_gradient(support_loss, query_loss, w, rates, num_inner_steps):
    fast_w = w
    (gradient,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    for _ in range(num_inner_steps):
        fast_w = fast_w - rates * gradient
        support_loss(fast_w)
    return query_loss(fast_w)


def constant_inner_gradient(support_loss, query_loss, w, rates, num_inner_steps):
    for _ in range(num_inner_steps):
        w = w - rates * torch.autograd.grad(support_loss(w), w, retain_graph=True)[0]
    return query_loss(w)


@pytest.mark.parametrize(
    "wrong, name, says",
    [
        (
            never_steps,
            "best_start_and_rate",
            "Hint: the start is the best one for a rate of 0, but",
        ),
        (clips_in_the_step, "loss_after_step", "go through these arguments by hand"),
        (puts_the_start_back, "loss_after_step", "the step is still hidden from autograd"),
        (in_place_under_no_grad, "loss_after_step", "your function changes its arguments"),
        (new_loss_old_gradient, "loss_after_steps", "still belongs to the start in every step"),
        (constant_inner_gradient, "loss_after_steps", "keep `create_graph=True`"),
    ],
)
def test_mistakes_in_no_table_are_named(wrong, name, says, capsys):
    check(wrong, name)
    assert says in " ".join(capsys.readouterr().out.split())  # lines break between words
