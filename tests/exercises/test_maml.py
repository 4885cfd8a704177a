from inspect import signature

import pytest
import torch

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import maml as answers


def stale(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    w = w.requires_grad_()
    fast_w = w
    for _ in range(num_inner_steps):
        (g,) = torch.autograd.grad(support_loss(w), w, create_graph=not first_order)
        fast_w = fast_w - inner_lr * g
    return torch.autograd.grad(query_loss(fast_w), w)[0]


def always_first_order(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    return answers.meta_gradient(support_loss, query_loss, w, inner_lr, num_inner_steps, True)


def one_step(support_loss, query_loss, w, inner_lr, num_inner_steps, first_order):
    return answers.meta_gradient(support_loss, query_loss, w, inner_lr, 1, first_order)


def query_gradient_at_start(w, x, y, query_x, query_y, inner_lr, k):
    n = len(x)
    shrink = torch.eye(3) - inner_lr * x.T @ x / n
    gradient = query_x.T @ (query_x @ w - query_y) / len(query_x)
    return torch.linalg.matrix_power(shrink, k) @ gradient


def forgets_n(w, x, y, query_x, query_y, inner_lr, k):
    return answers.linear_meta_gradient(
        w, x * len(x) ** 0.5, y * len(x) ** 0.5, query_x, query_y, inner_lr, k
    )


def one_factor(w, x, y, query_x, query_y, inner_lr, k):
    full = answers.linear_meta_gradient(w, x, y, query_x, query_y, inner_lr, k)
    shrink = torch.eye(3) - inner_lr * x.T @ x / len(x)
    return torch.linalg.matrix_power(shrink, 1 - k) @ full


WRONG = {
    "scalar": [
        lambda w, s, q, lr, first_order: w - lr * (w - s) - q,
        lambda w, s, q, lr, first_order: (w - q) * (1 if first_order else 1 - lr),
        lambda w, s, q, lr, first_order: (w - lr * (w - s) - q) * (1 if first_order else 1 + lr),
    ],
    "linear": [query_gradient_at_start, forgets_n, one_factor],
    "meta": [stale, always_first_order, one_step],
}
EXERCISES = {
    "scalar": (answers.scalar_meta_gradient, answers.SCALAR_EXAMPLES, answers.SCALAR_HINT),
    "linear": (answers.linear_meta_gradient, answers.LINEAR_EXAMPLES, answers.LINEAR_HINT),
    "meta": (answers.meta_gradient, answers.META_EXAMPLES, answers.META_HINT),
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


@pytest.mark.parametrize("first_order, by_hand", [(False, -0.99), (True, -1.10)])
def test_scalar_case_on_paper(first_order, by_hand):
    got = answers.scalar_meta_gradient(2.0, 1.0, 3.0, 0.1, first_order)
    assert got == pytest.approx(by_hand)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_linear_closed_form_is_the_gradient_by_autograd(steps):
    w, x, y, query_x, query_y, inner_lr, _ = (
        a.double() if isinstance(a, torch.Tensor) else a for a in answers.LINEAR_EXAMPLES[0]
    )

    def half_mse(x, y):
        return lambda w: (x @ w - y).square().mean() / 2

    by_autograd = answers.meta_gradient(
        half_mse(x, y), half_mse(query_x, query_y), w, inner_lr, steps, False
    )
    closed = answers.linear_meta_gradient(w, x, y, query_x, query_y, inner_lr, steps)
    torch.testing.assert_close(closed, by_autograd)


SOLUTIONS = [solution for solution, _, _ in EXERCISES.values()]


def test_stubs_in_the_lesson_have_the_arguments_of_the_solutions(lesson):
    assert lesson("05").stubs == {
        f"my_{f.__name__}": list(signature(f).parameters) for f in SOLUTIONS
    }


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_in_the_lesson_is_correct(name, lesson, capsys):
    solution, examples, hint = EXERCISES[name]
    compare(lesson("05").solutions[f"my_{solution.__name__}"], solution, examples, hint=hint)
    assert "correct" in capsys.readouterr().out
