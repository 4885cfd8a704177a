"""Learners that answer beside a context: what the mask lets through, and every size in one pass."""

import pytest
import torch

from metalearn_edu.learners import (
    ConditionalNeuralProcess,
    InContextTransformer,
    gaussian_nll,
)
from metalearn_edu.learners.in_context import context_masks
from metalearn_edu.tasks import EpisodeBatch, GaussianProcesses, LinearFunctions
from metalearn_edu.training import meta_train


def seeded(make):
    torch.manual_seed(0)
    return make().double()


def cnp(**options):
    return seeded(lambda: ConditionalNeuralProcess(1, 1, 16, **options))


def transformer(**options):
    return seeded(lambda: InContextTransformer(1, 1, 16, n_layers=3, n_heads=2, **options))


def classifier(**options):
    return seeded(
        lambda: InContextTransformer(2, 3, 16, n_layers=2, n_heads=2, regression=False, **options)
    )


MAKE = {"CNP": cnp, "transformer": transformer}
both = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def episodes(n_tasks=9, n_shot=4, n_query=3):
    return GaussianProcesses(n_shot, n_query).episodes(0, 0, n_tasks).to(dtype=torch.float64)


def items(e):
    x = torch.cat([e.support_x, e.query_x], dim=1)
    return x, torch.cat([e.support_y, e.query_y], dim=1)


def test_masks_by_hand():
    masks = context_masks(4, 2, 3, every_size=True, device="cpu").int().tolist()
    assert masks == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]
    masks = context_masks(2, 2, 3, every_size=False, device="cpu").int().tolist()
    assert masks == [[1, 1, 0]] * 2


def test_who_may_see_whom_by_hand():
    is_context = torch.tensor([[True, True, False, False]])
    assert InContextTransformer.may_see(is_context).int().tolist() == [
        [[[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]]
    ]


@both
def test_targets_outside_the_context_are_not_seen(make):
    """Whatever stands in the place of the answers, the answers stay: nothing leaks."""
    e, learner = episodes(), make()
    x, y = items(e)
    masks = context_masks(len(x), 4, 7, every_size=True, device="cpu")
    said = learner.answers(x, y * masks[..., None], masks)
    gradient = torch.autograd.grad(
        said.square().sum(), (z := y.clone().requires_grad_(),), allow_unused=True
    )
    assert gradient == (None,) and z.requires_grad
    changed = EpisodeBatch(e.support_x, e.support_y, e.query_x, e.query_y + 100)
    assert torch.equal(
        learner(e.support_x, e.support_y, changed.query_x),
        learner(e.support_x, e.support_y, e.query_x),
    )


@both
def test_training_on_every_size_is_the_mean_of_separate_passes(make):
    """Ten tasks, sizes 0 to 4 twice: each asked by itself with its own first examples alone."""
    e, learner = episodes(n_tasks=10), make(every_size=True)
    x, y = items(e)
    losses = []
    for task in range(10):
        size = task % 5
        one = slice(task, task + 1)
        tokens = torch.cat([x[one, :size], x[one, size:]], dim=1)
        is_context = torch.arange(7)[None] < size
        for place in range(size, 7):  # one query at a time, no other beside it
            rows = [*range(size), place]
            told = y[one, rows].clone()
            told[:, -1] = 0
            said = learner.answers(tokens[:, rows], told, is_context[:, rows])
            losses.append((task, gaussian_nll(said[:, -1], y[one, place]).item()))
    by_task = [
        sum(v for t, v in losses if t == task) / sum(t == task for t, _ in losses)
        for task in range(10)
    ]
    assert learner.loss(e).item() == pytest.approx(sum(by_task) / 10, abs=1e-10)


@both
def test_a_full_context_gives_the_loss_of_the_answers(make):
    e, learner = episodes(), make()
    mean, std = learner.distribution(e.support_x, e.support_y, e.query_x)
    expected = -torch.distributions.Normal(mean, std).log_prob(e.query_y).mean()
    assert learner.loss(e).item() == pytest.approx(expected.item())
    assert torch.equal(mean, learner(e.support_x, e.support_y, e.query_x))


@both
def test_the_standard_deviation_has_its_floor(make):
    learner = make(min_std=0.3)
    e = episodes()
    _, std = learner.distribution(e.support_x, e.support_y, e.query_x)
    assert std.min() > 0.3
    with pytest.raises(ValueError, match="min_std must be a finite number above 0, got 0"):
        make(min_std=0)


def test_a_cnp_with_examples_twice_says_the_same_and_a_transformer_may_not():
    """Each example twice has the same mean; so a CNP cannot count."""
    e = episodes()
    twice = [torch.cat([t, t], dim=1) for t in (e.support_x, e.support_y)]
    once = cnp()(e.support_x, e.support_y, e.query_x)
    torch.testing.assert_close(cnp()(*twice, e.query_x), once)


def test_answers_of_a_cnp_by_hand():
    learner = ConditionalNeuralProcess(1, 1, 1)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.fill_(1.0)
    x = torch.tensor([[[1.0], [2.0], [0.0]]])
    y = torch.tensor([[[3.0], [0.0], [0.0]]])
    said = learner.answers(x, y, torch.tensor([[True, True, False]]))
    # encoder: 1 + 3 + 1 = 5, 6, 7 and 2 + 0 + 1 = 3, 4, 5: mean 6; decoder at 0: 7, 8, 9
    assert said[0, 2].tolist() == pytest.approx([9.0, 0.1 + 0.9 * 9.0001234], abs=1e-4)


def test_a_classifier_knows_its_classes_by_their_labels_alone():
    """A transformer that is told other labels answers otherwise: labels are read, not guessed."""
    learner = classifier()
    x, labels = torch.randn(2, 6, 2).double(), torch.arange(3).repeat(2, 2)
    query = torch.randn(2, 4, 2).double()
    said = learner(x, labels, query)
    other = learner(x, (labels + 1) % 3, query)
    assert said.shape == (2, 4, 3) and not torch.allclose(said, other)


@pytest.mark.parametrize("labels", [torch.arange(2).repeat(1, 3), torch.arange(6)[None]])
def test_another_number_of_classes_is_refused(labels):
    with pytest.raises(ValueError, match=r"output_dim is 3, but support_y holds [26] classes"):
        classifier()(torch.zeros(1, 6, 2), labels, torch.zeros(1, 1, 2))


def test_every_size_trains_a_classifier_too():
    x, labels = torch.randn(7, 6, 2).double(), torch.arange(3).repeat(7, 2)
    e = EpisodeBatch(x, labels, x[:, :4], labels[:, :4])
    loss = classifier(every_size=True).loss(e)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: InContextTransformer(1, 1, 10, n_heads=4), "multiple of n_heads = 4, got 10"),
        (lambda: InContextTransformer(1, 1, regression=False), "output_dim must be .* at least 2"),
        (lambda: InContextTransformer(0), "input_dim must be an integer of at least 1, got 0"),
        (lambda: InContextTransformer(1, n_layers=0), "n_layers must be an integer of at least 1"),
        (lambda: InContextTransformer(1, item_encoder=3), "item_encoder must be a module"),
        (lambda: ConditionalNeuralProcess(hidden_dim=0), "hidden_dim must be an integer"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@both
def test_other_targets_and_items_are_refused(make):
    e, learner = episodes(), make()
    with pytest.raises(ValueError, match="built for regression"):
        learner(e.support_x, torch.zeros(9, 4, dtype=torch.int64), e.query_x)
    with pytest.raises(ValueError, match="output_dim is 1, but support_y holds 2 numbers"):
        learner(e.support_x, e.support_y.repeat(1, 1, 2), e.query_x)
    with pytest.raises(ValueError, match="input_dim is 1, but an item"):
        learner(e.support_x.repeat(1, 1, 2), e.support_y, e.query_x.repeat(1, 1, 2))
    with pytest.raises(ValueError, match="is for regression"):
        classifier().distribution(e.support_x, e.support_y, e.query_x)


def test_a_short_training_leaves_predicting_nothing_behind():
    """Two numbers, no noise: 8 examples say all; predicting 0 has an error of 2."""
    torch.manual_seed(0)
    learner = InContextTransformer(2, 1, 16, n_layers=2, n_heads=2, every_size=True)
    tasks = LinearFunctions(8, 8, 2, noise_std=0.1)
    meta_train(learner, tasks, n_steps=400, n_tasks_per_batch=36, meta_lr=3e-3, progress=False)
    e = tasks.episodes(99, 0, 300)
    error = (learner(e.support_x, e.support_y, e.query_x) - e.query_y).square().mean()
    assert error < 0.8
