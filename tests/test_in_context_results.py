"""What lesson 10 says of the shipped in-context learners, on other tasks than the lesson's."""

import pytest
import torch

from metalearn_edu import (
    ExactPosterior,
    GaussianProcesses,
    LinearFunctions,
    Sinusoids,
    compare_meta_learners,
    evaluate_likelihood,
    evaluate_meta_learner,
)
from metalearn_edu.evaluation import Comparison
from metalearn_edu.pretrained import load_pretrained

SEED = 30_000


@pytest.mark.parametrize("name, gap", [("transformer_gp", 0.1), ("cnp_gp", 1.5)])
@pytest.mark.parametrize("n", [3, 10, 20])
def test_nobody_is_below_the_exact_likelihood(name, gap, n):
    learner, _ = load_pretrained(name)
    tasks = GaussianProcesses(n, 10)
    pair = (learner, ExactPosterior(tasks))
    above = Comparison(
        *(evaluate_likelihood(one, tasks, n_episodes=300, seed=SEED) for one in pair)
    ).difference
    assert -3 / 1.96 * above.half_width < above.mean < gap


@pytest.mark.parametrize("n, most", [(1, 1.03), (4, 1.05), (15, 1.1)])
def test_the_transformer_follows_ridge_on_linear_functions(n, most):
    learner, _ = load_pretrained("transformer_linear")
    tasks = LinearFunctions(n, 10)
    pair = compare_meta_learners(learner, ExactPosterior(tasks), tasks, n_episodes=600, seed=SEED)
    assert pair.difference.mean > -3 / 1.96 * pair.difference.half_width
    assert pair.first.mean < most * pair.second.mean


def test_with_shuffled_labels_it_is_worse_than_predicting_nothing():
    learner, _ = load_pretrained("transformer_linear")
    e = LinearFunctions(15, 10).episodes(SEED, 0, 300)
    with torch.no_grad():
        said = learner(e.support_x, e.support_y.roll(1, dims=1), e.query_x)
    assert (said - e.query_y).square().mean() > e.query_y.square().mean()


def test_few_functions_are_remembered_and_many_are_generalised():
    new = LinearFunctions(15, 10)

    def score(learner, tasks):
        return evaluate_meta_learner(learner, tasks, n_episodes=300, seed=SEED).mean

    own, other, list_own, list_other = {}, {}, {}, {}
    for name, n_functions in {"4": 4, "64": 64, "512": 512, "all": None}.items():
        learner, _ = load_pretrained(f"memory_{name}")
        its = LinearFunctions(15, 10, n_functions=n_functions)
        own[name], other[name] = score(learner, its), score(learner, new)
        list_own[name] = score(ExactPosterior(its), its)
        list_other[name] = score(ExactPosterior(its), new)
    ridge = list_other["all"]
    assert own["4"] < 1.1 * list_own["4"] and own["4"] < 0.5 * ridge
    assert 0.9 < other["4"] / list_other["4"] < 1.1 and other["4"] > 8.25  # of predicting 0
    assert own["64"] > 2 * list_own["64"] and other["64"] < list_other["64"] / 3
    assert other["4"] > other["64"] > other["512"]
    assert other["512"] < 1.4 * ridge and other["all"] < 1.4 * ridge


def test_one_point_of_a_wave_leaves_nobody_below_the_line():
    tasks = Sinusoids(1, 20)
    for name in ("transformer_waves", "cnp_waves"):
        learner, _ = load_pretrained(name)
        pair = compare_meta_learners(
            learner, ExactPosterior(tasks), tasks, n_episodes=600, seed=SEED
        )
        assert pair.difference.mean > -3 / 1.96 * pair.difference.half_width
        assert pair.first.mean < 2.5  # 3.0 without any point
