"""The ridge head: both formulas of R2-D2, their gradients, and the limits of lambda."""

import copy

import pytest
import torch
from torch import nn

from metalearn_edu.backbones import MLP
from metalearn_edu.learners import RidgeHead
from metalearn_edu.learners.ridge_head import ridge_weights, with_ones
from metalearn_edu.tasks import EpisodeBatch

N_WAY = 3


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def one_hot(n_items, n_tasks=2):
    return (
        nn.functional.one_hot(torch.arange(n_items) % N_WAY, N_WAY).double().repeat(n_tasks, 1, 1)
    )


def of_few(z, y, strength):
    """Z' (Z Z' + lambda I)^-1 Y, written for one task as it stands in the paper."""
    n = len(z)
    z, y = z / n**0.5, y / n**0.5
    return z.T @ torch.linalg.inv(z @ z.T + strength * torch.eye(n).double()) @ y


def of_many(z, y, strength):
    """(Z' Z + lambda I)^-1 Z' Y."""
    n, d = z.shape
    z, y = z / n**0.5, y / n**0.5
    return torch.linalg.inv(z.T @ z + strength * torch.eye(d).double()) @ z.T @ y


def close(first, second, atol=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=atol)


# ------------------------------------------------------------------ the formulas

SIZES = [(3, 8), (8, 8), (9, 8), (24, 8)]  # fewer items than numbers, as many, one more, many


@pytest.mark.parametrize(("n_items", "width"), SIZES)
@pytest.mark.parametrize("strength", [0.01, 1.0, 50.0])
def test_both_formulas_are_one(n_items, width, strength):
    z, y = draw(2, n_items, width), one_hot(n_items)
    weights = ridge_weights(z, y, strength)
    assert weights.shape == (2, width, N_WAY)
    for t in range(2):
        close(weights[t], of_few(z[t], y[t], strength))
        close(weights[t], of_many(z[t], y[t], strength))


@pytest.mark.parametrize(("n_items", "width"), SIZES)
def test_the_system_that_is_solved_is_the_smaller_one(n_items, width, monkeypatch):
    solved = []
    solve = torch.linalg.solve
    monkeypatch.setattr(torch.linalg, "solve", lambda a, b: solved.append(len(a[0])) or solve(a, b))
    ridge_weights(draw(2, n_items, width), one_hot(n_items), 1.0)
    assert solved == [min(n_items, width)]


def test_they_make_the_penalised_squares_least():
    z, y = draw(2, 5, 4), one_hot(5)
    weights = ridge_weights(z, y, 0.3).requires_grad_()
    squares = (z @ weights - y).square().sum(dim=(1, 2)) / 5
    cost = squares + 0.3 * weights.square().sum(dim=(1, 2))
    (slope,) = torch.autograd.grad(cost.sum(), weights)
    close(slope, torch.zeros_like(slope))


def test_without_a_penalty_few_items_are_fitted_and_with_a_huge_one_nothing_is():
    z, y = draw(2, 4, 8), one_hot(4)
    close(z @ ridge_weights(z, y, 1e-12), y, atol=1e-8)
    assert ridge_weights(z, y, 1e9).abs().max() < 1e-8


def test_float32_stays_near_the_formula_where_items_are_alike():
    """Nearly equal rows: the system is as ill-conditioned as lambda lets it be."""
    z = draw(1, 1, 6).repeat(1, 6, 1) + 1e-4 * draw(1, 6, 6, seed=1)
    exact = ridge_weights(z, one_hot(6, 1), 0.01)
    single = ridge_weights(z.float(), one_hot(6, 1).float(), 0.01)
    close(single.double(), exact, atol=1e-3)


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize(("n_items", "width"), SIZES[:1] + SIZES[-1:])
def test_gradients_of_both_formulas_match_central_differences(n_items, width):
    z = draw(2, n_items, width).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: ridge_weights(z, one_hot(n_items), 0.5), z)


@pytest.mark.parametrize("n_shot", [1, 4])  # S = 3 and 12 items, 6 numbers with the ones
def test_the_meta_gradient_matches_central_differences_in_every_coordinate(n_shot):
    learner, batch, found = RidgeHead(MLP(4, 3, 5), 0.5, 2.0).double(), episodes(n_shot), []
    learner.loss(batch).backward()
    gradient = torch.cat([p.grad.flatten() for p in learner.parameters()])
    for name, parameter in learner.named_parameters():
        for i in range(parameter.numel()):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = copy.deepcopy(learner)
                with torch.no_grad():
                    moved.get_parameter(name).view(-1)[i] += shift
                ends.append(moved.loss(batch).item())
            found.append((ends[0] - ends[1]) / 2e-5)
    close(gradient, torch.tensor(found, dtype=torch.float64), atol=1e-9)


def episodes(n_shot, n_query=2):
    y = [torch.arange(N_WAY).repeat(2, n) for n in (n_shot, n_query)]
    x = [draw(2, N_WAY * n, 4, seed=n) for n in (n_shot, 10 + n_query)]
    return EpisodeBatch(x[0], y[0], x[1][:, : y[1].shape[1]], y[1])


# ------------------------------------------------------------------ the learner


def test_its_scores_by_hand():
    """One number an item, classes at -1 and 1: Z' Z / 2 is I, so W = (Z' Y / 2) / (1 + lambda)."""
    learner = RidgeHead(nn.Identity(), 1.0, 3.0).double()
    support, query = torch.tensor([[[-1.0], [1.0]]]), torch.tensor([[[0.0], [2.0]]])
    scores = learner(support.double(), torch.tensor([[0, 1]]), query.double())
    close(scores, torch.tensor([[[0.75, 0.75], [-0.75, 2.25]]]).double())


def test_the_scale_multiplies_scores_and_is_learned():
    batch = episodes(1)
    scores = []
    for scale in (1.0, 7.0):
        torch.manual_seed(0)
        learner = RidgeHead(MLP(4, 3, 5), scale=scale).double()
        scores.append(learner(batch.support_x, batch.support_y, batch.query_x))
    close(scores[1], 7 * scores[0])
    before = learner.scale.item()
    learner.outer_loop(batch)
    assert learner.scale.item() != before


def test_ones_are_a_bias():
    z, weights = draw(2, 4, 3), draw(2, 4, 5, seed=1)
    close(with_ones(z) @ weights, z @ weights[:, :3] + weights[:, 3:])


@pytest.mark.parametrize("change", [{"strength": 0.0}, {"strength": -1}, {"scale": 0.0}])
def test_bad_numbers_are_refused(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be .*above 0"):
        RidgeHead(MLP(4, 3, 5), **change)


def test_maps_instead_of_vectors_are_refused():
    learner = RidgeHead(nn.Conv2d(1, 2, 3)).double()
    with pytest.raises(ValueError, match=r"must give vectors .* \(2, 6, 6\) an item"):
        learner(draw(1, 2, 1, 8, 8), torch.tensor([[0, 1]]), draw(1, 2, 1, 8, 8))
