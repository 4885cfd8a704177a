"""Prototypical Networks against hand-made cases, loops, and the views of them in the paper."""

import numpy as np
import pytest
import torch
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.learners import (
    EnhancedProtoNet,
    PrototypicalNetwork,
    class_prototypes,
    embed_dataset,
)
from metalearn_edu.learners.prototypical import DISTANCES, Views, squared_euclidean
from metalearn_edu.tasks import FewShotDataset
from metalearn_edu.tasks.augmented import warp

T, N_WAY, N_SHOT, N_QUERY, D = 3, 4, 2, 5, 6


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SUPPORT_Z, QUERY_Z = draw(T, N_WAY * N_SHOT, D), draw(T, N_QUERY, D, seed=1)
SUPPORT_Y = draw(T, N_WAY * N_SHOT, seed=2).argsort(dim=1) % N_WAY  # each label N_SHOT times


def identity(**options):
    """A learner whose embedding is the item itself, so that we see the method alone."""
    return PrototypicalNetwork(nn.Identity(), **options)


def close(first, second, atol=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=atol)


def test_a_case_for_pencil_and_paper():
    support = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [0.0, 6.0]]])
    labels = torch.tensor([[0, 0, 1, 1]])
    assert class_prototypes(support, labels).tolist() == [[[1, 0], [0, 5]]]
    scores = identity()(support, labels, torch.tensor([[[1.0, 1.0], [0.0, 5.0]]]))
    assert scores.tolist() == [[[-1, -17], [-26, 0]]]


def test_prototypes_are_the_means_that_a_loop_finds_with_unequal_shots():
    labels = torch.tensor(
        [[0, 0, 0, 1, 1, 1, 2, 3], [3, 2, 1, 0, 3, 3, 3, 1], [1, 0, 3, 2, 2, 2, 2, 2]]
    )
    prototypes = class_prototypes(SUPPORT_Z, labels)
    for task in range(T):
        for label in range(N_WAY):
            mean = SUPPORT_Z[task][labels[task] == label].mean(dim=0)
            close(prototypes[task, label], mean)


def test_scores_equal_the_linear_classifier_of_the_paper():
    """With w = 2c and b = -|c|^2 only a constant per query is left over (Snell et al., eq. 8)."""
    prototypes = class_prototypes(SUPPORT_Z, SUPPORT_Y)
    linear = QUERY_Z @ (2 * prototypes).transpose(1, 2) - prototypes.square().sum(-1)[:, None]
    difference = identity()(SUPPORT_Z, SUPPORT_Y, QUERY_Z) - linear
    close(difference, difference[..., :1].expand_as(difference))
    close(difference[..., 0], -QUERY_Z.square().sum(-1))
    single = identity()(SUPPORT_Z.float(), SUPPORT_Y, QUERY_Z.float()).log_softmax(-1)
    torch.testing.assert_close(single, linear.float().log_softmax(-1), rtol=1e-5, atol=1e-5)


def test_probabilities_are_the_posterior_of_equal_spherical_gaussians():
    """exp(-d^2) is a Gaussian of covariance I / 2 around each prototype, all equally likely."""
    prototypes = class_prototypes(SUPPORT_Z, SUPPORT_Y)
    density = torch.distributions.MultivariateNormal(
        prototypes[:, None], 0.5 * torch.eye(D).double()
    )
    joint = density.log_prob(QUERY_Z[:, :, None].expand(-1, -1, N_WAY, -1)).exp()
    posterior = joint / joint.sum(dim=-1, keepdim=True)
    close(identity()(SUPPORT_Z, SUPPORT_Y, QUERY_Z).softmax(dim=-1), posterior)


@pytest.mark.parametrize("distance", ["squared_euclidean", "euclidean"])
def test_moving_or_turning_all_embeddings_changes_nothing(distance):
    learner = identity(distance=distance)
    turn = torch.linalg.qr(draw(D, D, seed=2)).Q
    moved = learner(SUPPORT_Z @ turn + 7, SUPPORT_Y, QUERY_Z @ turn + 7)
    close(moved, learner(SUPPORT_Z, SUPPORT_Y, QUERY_Z), atol=1e-11)


@pytest.mark.parametrize("distance", DISTANCES)
def test_duplicating_the_support_set_changes_nothing(distance):
    learner = identity(distance=distance)
    doubled = learner(SUPPORT_Z.repeat(1, 2, 1), SUPPORT_Y.repeat(1, 2), QUERY_Z)
    close(doubled, learner(SUPPORT_Z, SUPPORT_Y, QUERY_Z))


def test_with_one_shot_it_is_the_nearest_neighbour():
    support, labels = SUPPORT_Z[:, :N_WAY], torch.arange(N_WAY).repeat(T, 1)
    scores = identity()(support, labels, QUERY_Z)
    for task in range(T):
        for query in range(N_QUERY):
            distances = [(QUERY_Z[task, query] - s).norm().item() for s in support[task]]
            assert scores[task, query].argmax() == distances.index(min(distances))


def test_with_one_shot_it_is_a_matching_network_on_squared_distances():
    """Attention over support items instead of classes; with one item each they coincide."""
    support, labels = SUPPORT_Z[:, :N_WAY], torch.arange(N_WAY).flip(0).repeat(T, 1)
    attention = (-torch.cdist(QUERY_Z, support).square()).softmax(dim=-1)
    close(identity()(support, labels, QUERY_Z).softmax(-1), attention.flip(-1))


def test_distances_keep_their_digits_far_from_the_origin():
    """Where the matrix form |a|^2 + |b|^2 - 2ab is off by whole units, differences are exact."""
    points = torch.rand(1, 30, D, generator=torch.Generator().manual_seed(0)) + 1000
    found = squared_euclidean(points, points)
    assert found[0].diagonal().abs().max() == 0
    exact = squared_euclidean(points.double(), points.double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    squares = points.square().sum(-1)
    matrix_form = squares[..., None] + squares[:, None] - 2 * points @ points.transpose(1, 2)
    assert matrix_form[0].diagonal().abs().max() > 0.1


def test_the_euclidean_distance_is_the_root_and_has_a_gradient_at_zero():
    squared = identity()(SUPPORT_Z, SUPPORT_Y, QUERY_Z)
    close(
        identity(distance="euclidean")(SUPPORT_Z, SUPPORT_Y, QUERY_Z).square(), -squared, atol=1e-10
    )
    z = SUPPORT_Z[:, :N_WAY].clone().requires_grad_()
    labels = torch.arange(N_WAY).repeat(T, 1)
    identity(distance="euclidean")(z, labels, z).sum().backward()
    assert torch.isfinite(z.grad).all()


def test_the_cosine_distance_sees_directions_only():
    learner = identity(distance="cosine")
    scores = learner(SUPPORT_Z, SUPPORT_Y, QUERY_Z)
    close(learner(3 * SUPPORT_Z, SUPPORT_Y, QUERY_Z / 5), scores)
    assert scores.min() >= -2 and scores.max() <= 0
    prototypes = class_prototypes(SUPPORT_Z, SUPPORT_Y)
    expected = torch.cosine_similarity(QUERY_Z[:, :, None], prototypes[:, None], dim=-1) - 1
    close(scores, expected)
    zero = torch.zeros_like(SUPPORT_Z).requires_grad_()  # an embedding without a direction
    learner(zero, SUPPORT_Y, QUERY_Z).sum().backward()
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_temperature_divides_the_scores(distance):
    scores = identity(distance=distance)(SUPPORT_Z, SUPPORT_Y, QUERY_Z)
    cold = identity(distance=distance, temperature=0.1)(SUPPORT_Z, SUPPORT_Y, QUERY_Z)
    close(cold, 10 * scores, atol=1e-10)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"distance must be one of .*; got 'manhattan'"):
        identity(distance="manhattan")
    for temperature in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"temperature must be .* above 0, got {temperature}"):
            identity(temperature=temperature)


def test_the_default_network_has_the_promised_widths():
    layers = [m for m in EnhancedProtoNet(784, 64, 16).modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(784, 64), (64, 64), (64, 16)]
    images = draw(T, N_WAY, 1, 28, 28, dtype=torch.float32)
    scores = EnhancedProtoNet(784, 64, 16)(images, torch.arange(N_WAY).repeat(T, 1), images)
    assert scores.shape == (T, N_WAY, N_WAY)
    assert torch.equal(scores.argmax(-1), torch.arange(N_WAY).repeat(T, 1))


def test_prototypes_of_a_missing_class_are_refused():
    with pytest.raises(ValueError, match="support_y of task 0 has no item with label 1"):
        class_prototypes(torch.rand(1, 2, 3), torch.tensor([[0, 2]]))


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (None, torch.tensor([[0, 1]]), "support_z must be a tensor or an array of numbers"),
        (torch.rand(1, 2, 3), None, "support_y must be a tensor or an array of numbers"),
        (torch.rand(2, 3), torch.tensor([0, 1]), r"need support_z \(.*\) and support_y \(T, S\)"),
        (torch.rand(1, 2, 3, 4), torch.tensor([[0, 1]]), "support_z must be vectors"),
        (torch.rand(1, 2, 3) / 0, torch.tensor([[0, 1]]), "support_z holds 6 NaN or infinite"),
        (torch.rand(1, 2, 3), torch.rand(1, 2), "classes need int64 labels"),
        (torch.rand(1, 2, 3), torch.tensor([[0, 10**12]]), "label 1; labels must run from 0"),
    ],
)
def test_prototypes_of_nonsense_are_refused(z, y, message):
    with pytest.raises(ValueError, match=message):
        class_prototypes(z, y)


def test_prototypes_of_arrays():
    z = np.array([[[1.0, 2.0], [3.0, 6.0]]])
    assert class_prototypes(z, np.array([[0, 0]])).tolist() == [[[2.0, 4.0]]]


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), "hot", None, True])
def test_a_temperature_that_is_no_number_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, got"):
        PrototypicalNetwork(nn.Identity(), temperature=temperature)


def test_an_encoder_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^encoder must be"):
        PrototypicalNetwork(3)


def test_a_temperature_may_be_learned():
    learner = PrototypicalNetwork(nn.Linear(2, 2), temperature=nn.Parameter(torch.tensor(2.0)))
    assert "temperature" in dict(learner.named_parameters())


def test_maps_are_no_embeddings():
    x = torch.rand(1, 2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"gives \(3, 4, 4\) an item; end it with nn.Flatten\(\)$"):
        PrototypicalNetwork(nn.Conv2d(1, 3, 1))(x, torch.tensor([[0, 1]]), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": None}, "encoder must be a module, got NoneType"),
        ({"dataset": torch.rand(3, 2)}, "dataset must be a FewShotDataset, got Tensor"),
        ({"chunk_size": 0}, "chunk_size must be an integer of at least 1, got 0"),
        ({"chunk_size": float("nan")}, "chunk_size must be an integer"),
    ],
)
def test_embedding_of_nonsense_is_refused(arguments, message):
    dataset = FewShotDataset(torch.rand(4, 2), torch.arange(2).repeat(2))
    with pytest.raises(ValueError, match=message):
        embed_dataset(**{"encoder": nn.Identity(), "dataset": dataset} | arguments)


# ------------------------------------------------------------------ views


def test_views_are_the_mean_of_what_the_encoder_says_of_warped_images():
    encoder, x = ConvNet(1, 4), torch.rand(3, 1, 28, 28)
    views = Views(encoder, 3, amount=0.7)
    assert torch.equal(views.train()(x), encoder(x))
    by_hand = [encoder(warp(x, change.expand(3, -1))) for change in views.changes]
    assert torch.allclose(views.eval()(x), sum(by_hand) / 3, atol=1e-6)
    assert torch.allclose(by_hand[0], encoder(x), atol=1e-4)  # the first is the image itself
    assert not torch.allclose(by_hand[1], by_hand[0], atol=1e-2)
    assert list(views.state_dict()) == [f"encoder.{name}" for name in encoder.state_dict()]


def test_one_view_is_the_encoder():
    encoder, x = ConvNet(1, 4), torch.rand(3, 1, 28, 28)
    assert torch.allclose(Views(encoder, 1).eval()(x), encoder(x), atol=1e-4)


def test_views_are_warped_either_way_by_at_most_the_amount():
    views = Views(nn.Identity(), 50, amount=0.2)
    assert (views.n_views, views.amount, Views(nn.Identity(), 2).amount) == (50, 0.2, 0.5)
    assert -0.2 <= views.changes.min() < -0.19 and 0.19 < views.changes.max() <= 0.2


def test_views_are_those_that_shipped_weights_were_measured_with():
    assert Views(nn.Identity(), 2).changes[1, :3].tolist() == pytest.approx(
        [-0.3162, 0.1251, -0.0446], abs=1e-4
    )


@pytest.mark.parametrize(
    ("n_views", "amount", "message"),
    [(0, 0.5, "^n_views must be an integer"), (2, "far", "^amount must be a finite number")],
)
def test_views_of_nonsense_are_refused(n_views, amount, message):
    with pytest.raises(ValueError, match=message):
        Views(nn.Identity(), n_views, amount)
