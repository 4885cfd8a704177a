"""Task-conditioned networks against hand computation, closed forms and a linear probe."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import MLP
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import TaskConditionedNetwork
from metalearn_edu.learners.task_conditioned import ConditionedMLP, TaskEncoder, pool_by_class
from metalearn_edu.tasks import EpisodeBatch, Sinusoids
from metalearn_edu.training import meta_train


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def encoder():
    """A set encoder for classes: items of 3 numbers."""
    torch.manual_seed(0)
    return TaskEncoder(3, 8, 5).double()


@pytest.fixture
def pair_encoder():
    """A set encoder for regression: pairs of 2 numbers and 1 target."""
    torch.manual_seed(0)
    return TaskEncoder(2, 8, 5, target_dim=1).double()


# ---------------------------------------------------------------- pooling


def pooled_by_numpy(z, y):
    """Mean and spread of each class of one task, a loop over classes."""
    rows = []
    for label in range(y.max() + 1):
        members = z[y == label]
        mean = members.sum(axis=0) / len(members)
        variance = ((members - mean) ** 2).sum(axis=0) / len(members)
        rows.append(np.concatenate([mean, np.sqrt(variance + 1e-6)]))
    return np.stack(rows)


def test_pooling_on_paper():
    # class 0: 1 and 5, mean 3, both 2 away; class 1: 4 alone; class 2: 0, 0, 3, mean 1,
    # squares 1, 1, 4, so the variance is 2
    z = torch.tensor([[[1.0], [0.0], [4.0], [5.0], [0.0], [3.0]]], dtype=torch.float64)
    pooled = pool_by_class(z, torch.tensor([[0, 2, 1, 0, 2, 2]]))
    expected = torch.tensor([[[3.0, 2.0], [4.0, 0.001], [1.0, 2**0.5]]], dtype=torch.float64)
    torch.testing.assert_close(pooled, expected, atol=1e-6, rtol=0)


def test_pooling_against_a_loop_with_unequal_classes():
    z, y = draw(2, 7, 4), torch.tensor([[0, 1, 1, 2, 2, 2, 2], [2, 0, 1, 0, 0, 2, 1]])
    expected = np.stack([pooled_by_numpy(z[t].numpy(), y[t].numpy()) for t in range(2)])
    np.testing.assert_allclose(pool_by_class(z, y).numpy(), expected, rtol=1e-12)


def test_the_spread_of_one_example_is_finite_and_has_a_finite_gradient():
    z = draw(1, 2, 4).requires_grad_()
    pooled = pool_by_class(z, torch.tensor([[0, 1]]))
    torch.testing.assert_close(pooled[..., 4:], torch.full((1, 2, 4), 1e-3, dtype=torch.float64))
    (slope,) = torch.autograd.grad(pooled[..., 4:].sum(), z)
    assert torch.equal(slope, torch.zeros_like(z))  # a single item is always at its mean


def test_equal_items_have_a_finite_gradient_too():
    z = torch.ones(1, 3, 2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(pool_by_class(z, torch.zeros(1, 3, dtype=int)).sum(), z)
    torch.testing.assert_close(slope, torch.full_like(z, 1 / 3))  # that of the mean alone


def test_gradient_of_pooling_against_differences():
    z = draw(1, 5, 3).requires_grad_()
    y = torch.tensor([[0, 1, 0, 1, 1]])
    assert torch.autograd.gradcheck(lambda z: pool_by_class(z, y), z)


# ---------------------------------------------------------------- the task's vector


def test_the_vector_does_not_depend_on_the_order(encoder, pair_encoder):
    x, y, order = draw(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2]] * 2), [4, 0, 5, 2, 1, 3]
    torch.testing.assert_close(encoder(x[:, order], y[:, order]), encoder(x, y))
    x, y = draw(2, 6, 2), draw(2, 6, 1, seed=1)
    torch.testing.assert_close(pair_encoder(x[:, order], y[:, order]), pair_encoder(x, y))


def test_the_vector_does_not_depend_on_giving_all_twice(encoder, pair_encoder):
    x, y = draw(2, 4, 3), torch.tensor([[0, 1, 1, 0]] * 2)
    torch.testing.assert_close(encoder(x.repeat(1, 2, 1), y.repeat(1, 2)), encoder(x, y))
    x, y = draw(2, 4, 2), draw(2, 4, 1, seed=1)
    doubled = pair_encoder(x.repeat(1, 2, 1), y.repeat(1, 2, 1))
    torch.testing.assert_close(doubled, pair_encoder(x, y))


def test_the_vector_depends_on_labels_and_targets(encoder, pair_encoder):
    x, y = draw(1, 4, 3), torch.tensor([[0, 0, 1, 1]])
    assert (encoder(x, y) - encoder(x, torch.tensor([[0, 1, 0, 1]]))).abs().amin(-1).max() > 0.01
    x, y = draw(1, 4, 2), draw(1, 4, 1, seed=1)
    assert (pair_encoder(x, y) - pair_encoder(x, -y)).abs().max() > 1e-3
    swapped = y[:, [1, 0, 2, 3]]  # the same x, the same y, other pairs
    assert (pair_encoder(x, y) - pair_encoder(x, swapped)).abs().max() > 1e-3


def test_the_vector_of_a_class_follows_its_label(encoder):
    x, y = draw(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2]] * 2)
    new_label = torch.tensor([2, 0, 1])
    torch.testing.assert_close(encoder(x, new_label[y])[:, new_label], encoder(x, y))


def test_the_encoder_is_what_its_docstring_says(encoder, pair_encoder):
    x, y = draw(1, 4, 3), torch.tensor([[0, 1, 1, 0]])
    by_hand = pooled_by_numpy(encoder.item(x[0]).detach().numpy(), y[0].numpy())
    expected = by_hand @ encoder.task.weight.detach().numpy().T + encoder.task.bias.tolist()
    np.testing.assert_allclose(encoder(x, y)[0].detach().numpy(), expected, rtol=1e-10)
    x, y = draw(3, 4, 2), draw(3, 4, 1)
    assert pair_encoder(x, y).shape == (3, 1, 5)


# ---------------------------------------------------------------- conditioning


def test_zero_modulation_is_the_base_network():
    torch.manual_seed(0)
    network = ConditionedMLP(3, 5, 8, 2, "film").double()
    nn.init.zeros_(network.film.weight)
    nn.init.zeros_(network.film.bias)
    base = nn.Sequential(network.first, nn.ReLU(), network.second, nn.ReLU(), network.last)
    x, e = draw(4, 3), draw(6, 1, 5, seed=1)
    torch.testing.assert_close(network(x, e), base(x).expand(6, 4, 2))


def test_film_against_numpy():
    torch.manual_seed(0)
    network = ConditionedMLP(3, 5, 8, 2, "film").double()
    p = {name: value.detach().numpy() for name, value in network.named_parameters()}
    x, e = draw(3).numpy(), draw(5, seed=1).numpy()

    def layer(name, value):
        return p[f"{name}.weight"] @ value + p[f"{name}.bias"]

    gamma_1, beta_1, gamma_2, beta_2 = layer("film", e).reshape(4, 8)
    h = np.maximum((1 + gamma_1) * layer("first", x) + beta_1, 0)
    h = np.maximum((1 + gamma_2) * layer("second", h) + beta_2, 0)
    got = network(torch.tensor(x), torch.tensor(e)).detach().numpy()
    np.testing.assert_allclose(got, layer("last", h), rtol=1e-12)


def test_concat_is_a_linear_layer_on_both_side_by_side():
    torch.manual_seed(0)
    network = ConditionedMLP(3, 5, 8, 2, "concat").double()
    joined = nn.Linear(8, 8).double()
    with torch.no_grad():
        joined.weight.copy_(torch.cat([network.first.weight_a, network.first.weight_b], dim=1))
        joined.bias.copy_(network.first.bias)
    x, e = draw(4, 3), draw(6, 5, seed=1)
    pairs = torch.cat([x.expand(6, 4, 3), e[:, None].expand(6, 4, 5)], dim=-1)
    expected = network.last(F.relu(network.second(F.relu(joined(pairs)))))
    torch.testing.assert_close(network(x, e[:, None]), expected)


@pytest.mark.parametrize("conditioning", ["concat", "film"])
def test_each_score_is_that_of_one_query_with_one_class(conditioning):
    torch.manual_seed(0)
    learner = TaskConditionedNetwork(3, 5, 8, conditioning=conditioning).double()
    x, y, query = draw(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2]] * 2), draw(2, 4, 3, seed=1)
    e = learner.task_encoder(x, y)
    scores = learner(x, y, query)
    assert scores.shape == (2, 4, 3)
    for t, q, k in [(0, 0, 0), (1, 3, 2), (0, 2, 1)]:
        torch.testing.assert_close(scores[t, q, k], learner.network(query[t, q], e[t, k])[0])


@pytest.mark.parametrize("conditioning", ["concat", "film"])
def test_columns_permute_with_the_classes(conditioning):
    torch.manual_seed(0)
    learner = TaskConditionedNetwork(3, 5, 8, conditioning=conditioning).double()
    x, y, query = draw(2, 6, 3), torch.tensor([[0, 1, 2, 0, 1, 2]] * 2), draw(2, 4, 3, seed=1)
    new_label = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        learner(x, new_label[y], query)[..., new_label], learner(x, y, query)
    )


# ---------------------------------------------------------------- what training puts into it


def clouds(seed, n_tasks, n_way=4, n_shot=2, n_query=5):
    """Classes that are clouds in the plane with centres drawn anew for each task."""
    centres = 2 * draw(n_tasks, n_way, 2, seed=seed)
    label = torch.arange(n_way).repeat(n_shot + n_query).expand(n_tasks, -1)
    centre = torch.take_along_dim(centres, label[..., None], dim=1)
    x = (centre + 0.2 * draw(*centre.shape, seed=seed + 1)).float()
    k = n_way * n_shot
    return EpisodeBatch(x[:, :k], label[:, :k], x[:, k:], label[:, k:])


def test_shuffling_the_vectors_across_tasks_destroys_the_accuracy():
    torch.manual_seed(0)
    learner = TaskConditionedNetwork(2, 8, 32, conditioning="film")
    learner.meta_lr = 5e-3
    for step in range(100):
        learner.outer_loop(clouds(10 * step, 32))
    test = clouds(100_000, 200)
    with torch.no_grad():
        state = learner.learn_task(test.support_x, test.support_y)
        right, other = (
            (learner.predict(e, test.query_x).argmax(-1) == test.query_y).double().mean()
            for e in (state, state.roll(1, dims=0))
        )
    assert right > 0.8  # chance is 0.25
    assert other < 0.35


def probe_r2(vectors, targets):
    """R^2 (2,) of a least-squares probe with an intercept, fitted on half of the tasks."""
    design = torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1).double()
    half = len(design) // 2
    weights = torch.linalg.lstsq(design[:half], targets[:half]).solution
    rest = targets[half:]
    error = (rest - design[half:] @ weights).square().sum(0)
    return 1 - error / (rest - rest.mean(0)).square().sum(0)


def test_a_linear_probe_reads_the_wave_from_its_vector_only_if_the_targets_went_in():
    torch.manual_seed(0)
    near = {"x_range": (-2.0, 2.0)}  # an easier family: 400 steps suffice
    learner = TaskConditionedNetwork(1, 8, 32, 1, regression=True)
    options = {"n_tasks_per_batch": 32, "meta_lr": 1e-2, "schedule": "cosine", "progress": False}
    meta_train(learner, Sinusoids(10, 10, **near), n_steps=400, **options)
    waves = Sinusoids(10, 1, **near)
    test, (amplitude, phase) = waves.episodes(5, 0, 2000), waves.task_parameters(5, 0, 2000)
    plane = torch.stack([amplitude * phase.cos(), amplitude * phase.sin()], dim=1).double()
    with torch.no_grad():
        told = learner.learn_task(test.support_x, test.support_y)[:, 0]
        blind = learner.learn_task(test.support_x, torch.zeros_like(test.support_y))[:, 0]
    told, blind = probe_r2(told, plane), probe_r2(blind, plane)
    assert told[0] > 0.85 and told[1] > 0.6, told  # three seeds: 0.96 to 0.97, 0.78 to 0.84
    assert blind.max() < 0.05, blind  # no wave can be read from where the points lie
    error = evaluate_meta_learner(learner, waves, n_episodes=200, chunk_size=200).mean
    assert error < 0.3  # three seeds: 0.07 to 0.08


# ---------------------------------------------------------------- refusals


def test_a_classifier_refuses_targets_and_a_regressor_labels():
    x, labels, targets = draw(1, 4, 2), torch.tensor([[0, 1, 0, 1]]), draw(1, 4, 1)
    classifier = TaskConditionedNetwork(2, 5, 8).double()
    regressor = TaskConditionedNetwork(2, 5, 8, regression=True).double()
    with pytest.raises(ValueError, match="float64, but this network was built for class labels"):
        classifier(x, targets, x)
    with pytest.raises(ValueError, match="int64, but this network was built for regression"):
        regressor(x, labels, x)


def test_refuses_wrong_widths():
    x, y = draw(1, 4, 2), torch.tensor([[0, 1, 0, 1]])
    with pytest.raises(ValueError, match=r"input_dim is 3, but an item of shape \(2,\)"):
        TaskConditionedNetwork(3, 5, 8).double()(x, y, x)
    learner = TaskConditionedNetwork(6, 5, 8, item_encoder=MLP(2, 4, 7)).double()
    with pytest.raises(ValueError, match="comes out of the item encoder with 7 numbers"):
        learner(x, y, x)
    with pytest.raises(ValueError, match="output_dim is 1, but support_y holds 2 numbers"):
        TaskConditionedNetwork(2, 5, 8, 1, regression=True).double()(x, draw(1, 4, 2), x)


def test_refuses_outputs_by_class_and_unknown_conditioning():
    with pytest.raises(ValueError, match="output_dim must be 1 for classification"):
        TaskConditionedNetwork(2, 5, 8, 5)
    with pytest.raises(ValueError, match="conditioning must be concat or film, got 'add'"):
        TaskConditionedNetwork(2, 5, 8, conditioning="add")


def test_training_on_single_items_leaves_the_spread_unheard():
    """So that more shots in use than in training do no harm: their spread has weight 0."""
    torch.manual_seed(0)
    learner = TaskConditionedNetwork(4, 5, 6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        x = torch.randn(2, 6, 4, generator=generator)
        y = torch.arange(3).repeat(2, 2)
        learner.outer_loop(EpisodeBatch(x[:, :3], y[:, :3], x[:, 3:], y[:, 3:]))
    assert torch.equal(learner.task_encoder.task.weight[:, 6:], torch.zeros(5, 6))


WIDTHS = [0, -1, 1.5, float("nan"), "x", True]


@pytest.mark.parametrize("width", WIDTHS)
def test_widths_that_are_none_are_refused(width):
    for position in range(3):
        sizes = [4, 5, 6]
        sizes[position] = width
        with pytest.raises(ValueError, match="must be an integer of at least 1, got"):
            TaskConditionedNetwork(*sizes)
        with pytest.raises(ValueError, match="must be an integer of at least 1, got"):
            TaskEncoder(*sizes)
    with pytest.raises(ValueError, match=r"(output|target)_dim must be an integer"):
        TaskConditionedNetwork(4, 5, 6, width, regression=True)


def test_what_is_no_item_encoder_is_refused():
    with pytest.raises(ValueError, match="item_encoder must be a module or a function, got int"):
        TaskConditionedNetwork(4, 5, 6, item_encoder=3)


def test_pooling_without_a_class_is_refused():
    with pytest.raises(ValueError, match="support_y of task 0 has no item with label 1"):
        TaskEncoder(4, 5, 6)(torch.rand(1, 2, 4), torch.tensor([[0, 2]]))
