"""The exercises of notebook 10 against the package, autograd, and other right ways."""

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exact_posterior import posterior
from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import in_context_learning as lesson
from metalearn_edu.learners import InContextTransformer, LinearSelfAttention
from metalearn_edu.tasks import LinearFunctions


def step_by_autograd(x, y, query, inner_lr):
    w = torch.zeros(x.shape[1], requires_grad=True)
    (gradient,) = torch.autograd.grad(((x @ w - y) ** 2).mean() / 2, w)
    return query @ (-inner_lr * gradient)


def attend_by_loop(q, k, v, may_see):
    rows = []
    for i in range(len(q)):
        seen = may_see[i].nonzero().flatten()
        weights = torch.softmax(torch.stack([q[i] @ k[j] for j in seen]) / len(q[i]) ** 0.5, 0)
        rows.append(sum(w * v[j] for w, j in zip(weights, seen, strict=True)))
    return torch.stack(rows)


def attend_by_torch(q, k, v, may_see):
    return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=may_see[None])[0]


def ridge_by_stacking(x, y, query, noise):
    """Least squares on the examples and d more of (sqrt(noise) e_k, 0)."""
    d = x.shape[1]
    more = noise**0.5 * torch.eye(d)
    w = torch.linalg.lstsq(torch.cat([x, more]), torch.cat([y, torch.zeros(d)])[:, None]).solution
    inverse = torch.inverse(x.T @ x + noise * torch.eye(d))
    return (query @ w)[:, 0], torch.stack([noise * (1 + z @ inverse @ z) for z in query])


def who_by_loop(n_context, n_items):
    rows = [[j < n_context or j == i for j in range(n_items)] for i in range(n_items)]
    return torch.tensor(rows)


def pairs_by_loop(n_items):
    return torch.tensor([[j < i for j in range(n_items)] for i in range(n_items)])


@pytest.mark.parametrize(
    ("right", "name"),
    [
        (step_by_autograd, "gradient_step"),
        (attend_by_loop, "attend"),
        (attend_by_torch, "attend"),
        (ridge_by_stacking, "ridge_posterior"),
        (who_by_loop, "who_sees_whom"),
        (pairs_by_loop, "pairs_seen"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_the_step_is_the_layer_with_the_weights_of_the_proof():
    e = LinearFunctions(5, 4, 3).episodes(0, 0, 1)
    learner = LinearSelfAttention(3)
    learner.set_to_gradient_descent(0.7)
    said = learner(e.support_x, e.support_y, e.query_x)[0, :, 0]
    step = lesson.gradient_step(e.support_x[0], e.support_y[0, :, 0], e.query_x[0], 0.7)
    torch.testing.assert_close(step, said)


def test_the_posterior_is_that_of_the_package():
    tasks = LinearFunctions(5, 4, 3)
    e = tasks.episodes(0, 0, 1)
    mean, std = posterior(tasks, e.support_x, e.support_y, e.query_x)
    x, y, query = e.support_x[0], e.support_y[0, :, 0], e.query_x[0]
    got = lesson.ridge_posterior(x, y, query, 0.25)
    torch.testing.assert_close(got, (mean[0, :, 0], std[0, :, 0] ** 2))


def test_the_mask_is_that_of_the_package():
    is_context = torch.arange(6)[None] < 4
    assert torch.equal(lesson.who_sees_whom(4, 6), InContextTransformer.may_see(is_context)[0, 0])
