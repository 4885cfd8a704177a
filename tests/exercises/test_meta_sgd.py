from inspect import signature

import pytest
import torch

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import meta_sgd as answers


def query_slope_at_start(w, rate, s, q):
    return (w - q) * (1 - rate), -(w - q) * (w - s)


def wrong_sign(w, rate, s, q):
    by_w, by_rate = answers.scalar_gradients(w, rate, s, q)
    return by_w, -by_rate


def first_order(w, rate, s, q):
    by_w, by_rate = answers.scalar_gradients(w, rate, s, q)
    return by_w / (1 - rate), by_rate


def swapped(*arguments):
    return answers.scalar_gradients(*arguments)[::-1]


def intercept_as_start(s, q):
    w, rate = answers.best_start_and_rate(s, q)
    return (1 - rate) * w, rate


def through_the_origin(s, q):
    rate = (s * q).sum() / s.square().sum()
    return (q.mean() - rate * s.mean()) / (1 - rate), rate


def support_on_query(s, q):
    q = q + 1e-3 * torch.arange(len(q))  # it would divide by 0 where q is constant
    rate = ((s - s.mean()) * q).sum() / (q - q.mean()).square().sum()
    return (q.mean() - rate * s.mean()) / (1 - rate), rate


def stale(support_loss, query_loss, w, rates, num_inner_steps):
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    (g,) = torch.autograd.grad(support_loss(w), w, create_graph=True)
    fast_w = w - num_inner_steps * rates * g
    return torch.autograd.grad(query_loss(fast_w), (w, rates))


def no_graph(support_loss, query_loss, w, rates, num_inner_steps):
    w, rates = w.detach().requires_grad_(), rates.detach().requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (g,) = torch.autograd.grad(support_loss(fast_w), fast_w)
        fast_w = fast_w - rates * g
    return torch.autograd.grad(query_loss(fast_w), (w, rates))


def one_rate(support_loss, query_loss, w, rates, num_inner_steps):
    rates = rates.mean().expand_as(rates)
    return answers.meta_sgd_gradients(support_loss, query_loss, w, rates, num_inner_steps)


def one_step(support_loss, query_loss, w, rates, num_inner_steps):
    return answers.meta_sgd_gradients(support_loss, query_loss, w, rates, 1)


WRONG = {
    "scalar": [query_slope_at_start, wrong_sign, first_order, swapped],
    "regression": [intercept_as_start, through_the_origin, support_on_query],
    "meta": [stale, no_graph, one_rate, one_step],
}
EXERCISES = {
    "scalar": (answers.scalar_gradients, answers.SCALAR_EXAMPLES, answers.SCALAR_HINT),
    "regression": (
        answers.best_start_and_rate,
        answers.REGRESSION_EXAMPLES,
        answers.REGRESSION_HINT,
    ),
    "meta": (answers.meta_sgd_gradients, answers.META_EXAMPLES, answers.META_HINT),
}


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct(name, capsys):
    solution, examples, hint = EXERCISES[name]
    compare(solution, solution, examples, hint=hint)
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize("name, wrong", [(n, w) for n, several in WRONG.items() for w in several])
def test_wrong_answers_get_the_hint(name, wrong, capsys):
    solution, examples, hint = EXERCISES[name]
    compare(wrong, solution, examples, hint=hint)
    out = capsys.readouterr().out
    assert "differs" in out and hint in out


def test_scalar_case_on_paper():
    assert answers.scalar_gradients(2.0, 0.1, 1.0, 3.0) == pytest.approx((-0.99, 1.1))


def test_scalar_gradients_match_central_differences():
    def loss(w, rate, s, q):
        return (w - rate * (w - s) - q) ** 2 / 2

    for w, rate, s, q in answers.SCALAR_EXAMPLES:
        h = 1e-4
        by_w = (loss(w + h, rate, s, q) - loss(w - h, rate, s, q)) / (2 * h)
        by_rate = (loss(w, rate + h, s, q) - loss(w, rate - h, s, q)) / (2 * h)
        assert answers.scalar_gradients(w, rate, s, q) == pytest.approx((by_w, by_rate), abs=1e-8)


@pytest.mark.parametrize("s, q", answers.REGRESSION_EXAMPLES)
def test_nothing_near_the_best_start_and_rate_is_better(s, q):
    s, q = s.double(), q.double()

    def loss(w, rate):
        return (w - rate * (w - s) - q).square().mean()

    w, rate = answers.best_start_and_rate(s, q)
    for shift_w, shift_rate in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.01, 0.01)):
        assert loss(w, rate) < loss(w + shift_w, rate + shift_rate)


def test_one_step_gives_minus_the_product_of_two_gradients():
    support_loss, query_loss, w, rates, _ = answers.META_EXAMPLES[1]
    start = w.clone().requires_grad_()
    (inner,) = torch.autograd.grad(support_loss(start), start)
    fast = (w - rates * inner).requires_grad_()
    (outer,) = torch.autograd.grad(query_loss(fast), fast)
    by_rates = answers.meta_sgd_gradients(support_loss, query_loss, w, rates, 1)[1]
    torch.testing.assert_close(by_rates, -outer * inner)


SOLUTIONS = [solution for solution, _, _ in EXERCISES.values()]


def test_stubs_in_the_lesson_have_the_arguments_of_the_solutions(lesson):
    assert lesson("06").stubs == {
        f"my_{f.__name__}": list(signature(f).parameters) for f in SOLUTIONS
    }


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_in_the_lesson_is_correct(name, lesson, capsys):
    solution, examples, hint = EXERCISES[name]
    compare(lesson("06").solutions[f"my_{solution.__name__}"], solution, examples, hint=hint)
    assert "correct" in capsys.readouterr().out
