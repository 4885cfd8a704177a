"""One layer of linear self-attention against gradient descent, by algebra and by training."""

import pytest
import torch

from metalearn_edu.learners import LinearSelfAttention
from metalearn_edu.tasks import LinearFunctions
from metalearn_edu.training import meta_train


def best_step(d, n):
    """The best step size from w = 0 and its loss, for x and w standard normal, without noise."""
    return n / (n + d + 1), d * (d + 1) / (n + d + 1)


def cosine(a, b):
    return (a * b).sum() / (a.norm() * b.norm())


@pytest.mark.parametrize("inner_lr", [0.3, 1.0])
def test_with_the_weights_of_the_proof_it_is_a_step_of_gradient_descent(inner_lr):
    learner = LinearSelfAttention(3).double()
    learner.set_to_gradient_descent(inner_lr)
    e = LinearFunctions(5, 4, 3).episodes(0, 0, 2).to(dtype=torch.float64)
    for task in e:
        w = torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
        loss = ((task.support_x @ w - task.support_y) ** 2).mean() / 2
        (gradient,) = torch.autograd.grad(loss, w)
        said = learner.adapt(task.support_x, task.support_y)(task.query_x)
        torch.testing.assert_close(said, task.query_x @ (-inner_lr * gradient))


def test_answers_by_hand():
    """d = 1, value (0, 2), key_query (3, 1): (1/2) sum 2 y (3 x + y) times the query."""
    learner = LinearSelfAttention(1)
    with torch.no_grad():
        learner.value.copy_(torch.tensor([0.0, 2.0]))
        learner.key_query.copy_(torch.tensor([[3.0], [1.0]]))
    x, y = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[1.0], [-1.0]]])
    # 2 * 1 * (3 + 1) = 8 and 2 * -1 * (6 - 1) = -10: mean -1
    assert learner(x, y, torch.tensor([[[5.0]]])).item() == pytest.approx(-5.0)


def test_layers_that_answer_alike_have_the_same_form():
    first, second = LinearSelfAttention(2), LinearSelfAttention(2)
    with torch.no_grad():
        second.value.copy_(-3 * first.value)
        second.key_query.copy_(first.key_query / -3)
    torch.testing.assert_close(second.form(), first.form())


@pytest.mark.parametrize("d, n", [(10, 10), (4, 6)])
def test_the_best_step_has_the_loss_of_the_formula(d, n):
    """The closed form d (d + 1) / (n + d + 1), by Monte Carlo."""
    inner_lr, loss = best_step(d, n)
    learner = LinearSelfAttention(d)
    learner.set_to_gradient_descent(inner_lr)
    e = LinearFunctions(n, 4, d, noise_std=0).episodes(5, 0, 20_000)
    error = (learner(e.support_x, e.support_y, e.query_x) - e.query_y).square().mean(dim=(1, 2))
    assert abs(error.mean() - loss) < 4 * error.std() / 20_000**0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_a_trained_layer_lies_on_a_step_of_gradient_descent(seed):
    d = n = 10
    torch.manual_seed(seed)
    learner, ideal = LinearSelfAttention(d), LinearSelfAttention(d)
    ideal.set_to_gradient_descent(1.0)
    before = cosine(learner.form(), ideal.form())
    tasks = LinearFunctions(n, 10, d, noise_std=0)
    meta_train(
        learner,
        tasks,
        n_steps=400,
        n_tasks_per_batch=64,
        seed=seed,
        meta_lr=0.02,
        schedule="cosine",
        progress=False,
    )
    e = tasks.episodes(99, 0, 5000)
    loss = learner.loss(e).item()
    assert abs(before) < 0.5
    assert cosine(learner.form(), ideal.form()) > 0.99
    assert loss == pytest.approx(best_step(d, n)[1], rel=0.03)


def test_labels_and_other_widths_are_refused():
    learner, x = LinearSelfAttention(2), torch.zeros(1, 3, 2)
    with pytest.raises(ValueError, match=r"one number a target, float \(T, S, 1\), got"):
        learner(x, torch.zeros(1, 3, 2), x)
    with pytest.raises(ValueError, match="input_dim is 2, but an item holds 4 numbers"):
        learner(torch.zeros(1, 3, 4), torch.zeros(1, 3, 1), torch.zeros(1, 3, 4))
    with pytest.raises(ValueError, match="input_dim must be an integer of at least 1, got 0"):
        LinearSelfAttention(0)
