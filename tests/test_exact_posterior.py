"""Exact posteriors against Monte Carlo, against references and against each other."""

import math

import pytest
import torch

from metalearn_edu import ExactPosterior, evaluate_likelihood, evaluate_meta_learner
from metalearn_edu.exact_posterior import posterior
from metalearn_edu.learners import MAML, MAMLModel, gaussian_nll
from metalearn_edu.tasks import (
    EpisodeSampler,
    FewShotDataset,
    GaussianProcesses,
    LinearFunctions,
    Sinusoids,
)


def errors(tasks, n, n_episodes=4000):
    """Squared error and negative log-likelihood by task, (T,) both, with n examples."""
    e = tasks.episodes(3, 0, n_episodes)
    mean, std = posterior(tasks, e.support_x[:, :n], e.support_y[:, :n], e.query_x)
    nll = [
        gaussian_nll(torch.cat(rows, dim=-1), y).item()
        for *rows, y in zip(mean, std, e.query_y, strict=True)
    ]
    return ((mean - e.query_y) ** 2).mean(dim=(1, 2)).double(), torch.tensor(nll).double()


def assert_near(values, expected, slack):
    assert abs(values.mean() - expected) < 4 * values.std() / len(values) ** 0.5 + slack


@pytest.mark.parametrize(
    "n, mse, nll", [(0, 8.25, 2.412), (4, 4.5, 2.07), (8, 1.69, 1.566), (15, 0.548, 1.083)]
)
def test_ridge_has_the_errors_of_the_references(n, mse, nll):
    squares, likelihoods = errors(LinearFunctions(15, 10), n)
    assert_near(squares, mse, 0.01)
    assert_near(likelihoods, nll, 0.005)


@pytest.mark.parametrize(
    "n, mse, nll", [(0, 1.01, 1.42), (3, 0.51, 0.79), (10, 0.11, -0.12), (20, 0.031, -0.52)]
)
def test_the_gaussian_process_has_the_errors_of_the_references(n, mse, nll):
    squares, likelihoods = errors(GaussianProcesses(20, 10), n)
    assert_near(squares, mse, 0.01)
    assert_near(likelihoods, nll, 0.01)


def test_ridge_is_what_many_draws_of_w_say():
    """Importance sampling: 400,000 draws of w, weighted by how they explain three points."""
    tasks = LinearFunctions(3, 2, 2, noise_std=0.7, prior_mean=0.5)
    e = tasks.episodes(0, 0, 1)
    generator = torch.Generator().manual_seed(0)
    w = 0.5 + torch.randn(400_000, 2, generator=generator, dtype=torch.float64)
    residual = e.support_y[0, :, 0] - w @ e.support_x[0].double().T
    weight = (-(residual**2).sum(dim=1) / (2 * 0.7**2)).softmax(dim=0)
    said = w @ e.query_x[0].double().T  # (N, Q)
    mean = weight @ said
    variance = weight @ (said - mean) ** 2 + 0.7**2
    exact, std = posterior(tasks, e.support_x, e.support_y, e.query_x)
    assert exact[0, :, 0].tolist() == pytest.approx(mean.tolist(), abs=0.02)
    assert (std[0, :, 0] ** 2).tolist() == pytest.approx(variance.tolist(), abs=0.02)


def test_a_list_of_many_functions_is_nearly_ridge_and_a_short_one_is_known_by_heart():
    few, many = LinearFunctions(3, 5, 1, n_functions=2), LinearFunctions(3, 5, 1, n_functions=9999)
    e = LinearFunctions(3, 5, 1).episodes(0, 0, 50)
    ridge, std = posterior(LinearFunctions(3, 5, 1), e.support_x, e.support_y, e.query_x)
    listed, spread = posterior(many, e.support_x, e.support_y, e.query_x)
    assert (listed - ridge).abs().max() < 0.15 and (spread - std).abs().max() < 0.15
    only = posterior(few, e.support_x, e.support_y, e.query_x)[0] / e.query_x
    low, high = few.functions().aminmax()
    assert only.min() > low - 1e-4 and only.max() < high + 1e-4


def test_gaussian_process_of_one_point_by_hand():
    tasks = GaussianProcesses(1, 1, length=0.5, noise_std=0.1)
    x, y, query = (torch.tensor([[[v]]]) for v in (0.0, 2.0, 0.5))
    mean, std = posterior(tasks, x, y, query)
    k = math.exp(-0.5)
    assert mean.item() == pytest.approx(k * 2.0 / 1.01, rel=1e-5)
    assert std.item() ** 2 == pytest.approx(1 - k**2 / 1.01 + 0.01, rel=1e-5)


def test_waves_before_any_point_and_through_one_by_rejection():
    """A million waves: all of them, and those that pass within 0.02 of a point."""
    tasks, generator = Sinusoids(1, 1), torch.Generator().manual_seed(0)
    u = torch.rand(2, 1_000_000, generator=generator, dtype=torch.float64)
    amplitude, phase = 0.1 + 4.9 * u[0], math.pi * u[1]
    query = torch.tensor([[[-3.0], [0.5], [4.0]]])
    said = amplitude * (query[0].double() - phase).sin()  # (3, N)
    mean, std = posterior(tasks, torch.zeros(1, 0, 1), torch.zeros(1, 0, 1), query)
    assert mean.flatten().tolist() == pytest.approx(said.mean(dim=1).tolist(), abs=0.01)
    assert std.flatten().tolist() == pytest.approx(said.std(dim=1).tolist(), abs=0.01)
    for x, y in ((1.0, 0.6), (2.0, -1.5), (-4.0, 2.5), (3.0, 0.02)):
        near = (amplitude * (x - phase).sin() - y).abs() < 0.02
        mean, std = posterior(tasks, torch.tensor([[[x]]]), torch.tensor([[[y]]]), query)
        n = near.sum().item() ** 0.5
        for value, sd, those in zip(mean.flatten(), std.flatten(), said[:, near], strict=True):
            assert abs(value - those.mean()) < 4 * those.std() / n + 0.02
            assert sd.item() == pytest.approx(those.std().item(), rel=0.1, abs=0.02)


def test_one_point_of_a_wave_leaves_the_error_of_the_references_and_says_how_much():
    tasks = Sinusoids(1, 10)
    e = tasks.episodes(3, 0, 4000)
    mean, std = posterior(tasks, e.support_x, e.support_y, e.query_x)
    squares = ((mean - e.query_y) ** 2).mean(dim=(1, 2))
    assert_near(squares, 1.30, 0.09)
    assert_near(squares - (std**2).mean(dim=(1, 2)), 0, 0)  # calibrated


def test_two_points_give_the_wave_away():
    assert (
        evaluate_meta_learner(ExactPosterior(Sinusoids()), Sinusoids(3, 10), n_episodes=300).mean
        < 1e-6
    )


def test_a_point_of_no_wave_is_refused():
    x, y = torch.tensor([[[0.0]]]), torch.tensor([[[1.0]]])  # a wave of phase 0 to pi falls at 0
    with pytest.raises(ValueError, match=r"no wave of Sinusoids.* passes through \(0, 1\)"):
        ExactPosterior(Sinusoids())(x, y, x)


@pytest.mark.parametrize(
    "tasks", [LinearFunctions(6, 5), LinearFunctions(6, 5, n_functions=7), GaussianProcesses(6, 5)]
)
def test_the_order_of_examples_and_other_queries_do_not_matter(tasks):
    e, learner = tasks.episodes(0, 0, 4), ExactPosterior(tasks)
    said = learner(e.support_x, e.support_y, e.query_x)
    flipped = learner(e.support_x.flip(1), e.support_y.flip(1), e.query_x[:, :2])
    torch.testing.assert_close(flipped, said[:, :2], atol=1e-4, rtol=1e-4)
    predictor = learner.adapt(e.support_x[0], e.support_y[0])
    torch.testing.assert_close(predictor(e.query_x[0]), said[0], atol=1e-4, rtol=1e-4)


def test_likelihood_by_hand():
    """One standard deviation off with std 2: 1/2 + log 2 + log(2 pi) / 2."""
    said = torch.tensor([[1.0, 2.0]])
    by_hand = 0.5 + math.log(2) + 0.5 * math.log(2 * math.pi)
    assert gaussian_nll(said, torch.tensor([[3.0]])).item() == pytest.approx(by_hand)
    with pytest.raises(ValueError, match=r"got \(1, 1\) for targets \(1, 1\)"):
        gaussian_nll(torch.ones(1, 1), torch.ones(1, 1))


def test_evaluate_likelihood_is_the_mean_over_episodes():
    tasks = GaussianProcesses(5, 4)
    result = evaluate_likelihood(ExactPosterior(tasks), tasks, n_episodes=7, seed=1, chunk_size=3)
    e = tasks.episodes(1, 0, 7)
    mean, std = posterior(tasks, e.support_x, e.support_y, e.query_x)
    log_p = torch.distributions.Normal(mean, std).log_prob(e.query_y)
    assert result.values.tolist() == pytest.approx((-log_p.mean(dim=(1, 2))).tolist(), abs=1e-5)
    assert str(result).startswith("nll ") and result.n_episodes == 7


def test_what_has_no_likelihood_or_no_known_posterior_is_refused():
    dataset = FewShotDataset(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.arange(8) // 4)
    with pytest.raises(ValueError, match=r"tasks must be LinearFunctions.*got EpisodeSampler"):
        ExactPosterior(EpisodeSampler(dataset, 2, 1, 1))
    with pytest.raises(ValueError, match=r"by distribution\(\); MAML does not"):
        evaluate_likelihood(MAML(MAMLModel(1, 4, 1)), Sinusoids())
    with pytest.raises(ValueError, match=r"items \(8,\) and targets \(1,\), got \(1,\)"):
        ExactPosterior(LinearFunctions())(*[torch.zeros(1, 2, 1)] * 3)


def test_a_family_of_one_s_own_has_no_posterior_here():
    """Not even one made from ours: its law may be another."""
    own = type("Own", (LinearFunctions,), {})
    with pytest.raises(ValueError, match="whose posterior is known; got Own"):
        ExactPosterior(own())
