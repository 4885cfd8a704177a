import math

import numpy as np
import pytest
import torch

from metalearn_edu import Evaluation
from metalearn_edu.explorers.intervals import (
    EPISODES,
    IntervalExplorer,
    deviation_between_tasks,
    episode_deviation,
    expected_half_width,
    simulate_evaluations,
)


def test_deviation_without_differing_tasks_is_binomial():
    assert episode_deviation(0.2, 0.0, 16) == pytest.approx(0.1)


def test_deviation_with_very_many_queries_is_that_of_the_tasks():
    assert episode_deviation(0.8, 0.08, 10**9) == pytest.approx(0.08, rel=1e-4)


def test_half_width_by_hand():
    assert expected_half_width(0.2, 0.0, 16, 4) == pytest.approx(1.96 * 0.1 / 2)


@pytest.mark.parametrize("between", [0.0, 0.1])
@pytest.mark.parametrize("n_queries", [5, 75])
def test_simulation_has_the_moments_of_the_formula(between, n_queries):
    values = simulate_evaluations(0.7, between, n_queries, 400, 200, np.random.default_rng(0))
    assert values.shape == (200, 400)
    assert values.mean() == pytest.approx(0.7, abs=0.005)
    assert values.std() == pytest.approx(episode_deviation(0.7, between, n_queries), rel=0.02)


@pytest.mark.parametrize("mean, between", [(0.95, 0.3), (1.0, 0.0), (0.5, -0.9)])
def test_simulation_refuses_what_no_law_has(mean, between):
    with pytest.raises(ValueError, match="between must be below"):
        simulate_evaluations(mean, between, 5, 2, 2, np.random.default_rng(0))


@pytest.mark.parametrize("n_episodes", [EPISODES[0], EPISODES[-1]])
@pytest.mark.parametrize("n_query", [1, 40])
@pytest.mark.parametrize("accuracy, between", [(0.3, 0.0), (0.95, 0.15), (0.5, 0.15)])
def test_every_corner_can_be_drawn(n_episodes, n_query, accuracy, between):
    state = {"n_episodes": n_episodes, "n_query": n_query}
    explorer = IntervalExplorer(**state, accuracy=accuracy, between=between)
    left, right = explorer.figure().axes
    covers, misses = (text.get_text() for text in left.get_legend().get_texts())
    assert int(covers.split(": ")[1]) + int(misses.split(": ")[1]) == explorer.n_evaluations
    x, y = right.lines[-1].get_data()
    expected = 100 * expected_half_width(accuracy, between, 5 * n_query, n_episodes)
    assert (x[0], y[0]) == (n_episodes, pytest.approx(expected))


def test_description_says_what_the_width_is_made_of():
    text = IntervalExplorer(n_episodes=100, n_query=15, accuracy=0.8, between=0.08).text.value
    s = 100 * math.sqrt(0.0064 + (0.16 - 0.0064) / 75)
    assert f"strays by {s:.1f} points around 80.0 %: 8 because tasks differ" in text
    assert f"± {1.96 * s / 10:.2f} points" in text


def test_a_moved_slider_changes_picture_and_text():
    explorer = IntervalExplorer()
    before = explorer.picture.value, explorer.text.value
    explorer.set(n_query=1)
    assert explorer.picture.value != before[0] and explorer.text.value != before[1]


def evaluation(*values, metric="accuracy"):
    return Evaluation(torch.tensor(values, dtype=torch.float64), metric, 0.2, 0, "")


def test_a_measured_learner_brings_its_own_truth_and_spread():
    explorer = IntervalExplorer({"together": evaluation(0.5, 0.9), "alone": evaluation(0.2, 0.2)})
    free = [not explorer.inputs[name].disabled for name in ("accuracy", "between")]
    assert free == [True, True]
    explorer.set(learner="together", n_query=40, n_episodes=2000)
    assert explorer.inputs["accuracy"].disabled and explorer.inputs["between"].disabled
    words = explorer.text.value
    assert "together: 2000 episodes of 200 queries" in words
    # (0.2 squared - 0.21 / 75) / (1 - 1 / 75) = 0.0377, whose root is 0.194
    assert "around 70.0 %: 19 because tasks differ" in words
    left, _ = explorer.figure(learner="alone").axes
    assert left.lines[0].get_xdata()[0] == pytest.approx(20)
    explorer.reset()
    assert not explorer.inputs["accuracy"].disabled


def test_evaluations_of_a_measured_learner_scatter_around_its_mean():
    explorer = IntervalExplorer({"net": evaluation(0.3, 0.6, 0.9)})
    view = explorer._view(**{**explorer.state, "learner": "net", "n_episodes": 1000})
    spread = 100 * np.sqrt(0.06 / 1000)  # new queries, as many as before: the measured spread
    assert view.means.mean() == pytest.approx(60, abs=4 * spread / np.sqrt(30))
    assert view.means.std() == pytest.approx(spread, rel=0.5)
    assert view.half == pytest.approx(1.96 * spread)


def test_the_luck_of_measured_queries_is_not_counted_twice():
    rng = np.random.default_rng(0)
    coins = rng.binomial(75, 0.2, 4000) / 75
    assert deviation_between_tasks(coins.mean(), coins.std(), 75) < 0.02
    tasks = simulate_evaluations(0.7, 0.1, 75, 20_000, 1, rng)
    assert deviation_between_tasks(0.7, tasks.std(), 75) == pytest.approx(0.1, rel=0.03)
    assert deviation_between_tasks(0.2, 0.01, 75) == 0
    explorer = IntervalExplorer({"coins": evaluation(*coins)}, learner="coins")
    assert f"strays by {100 * coins.std():.1f} points" in explorer.text.value


@pytest.mark.parametrize("wrong", [evaluation(0.5), evaluation(0.5, 0.6, metric="mse")])
def test_refuses_what_is_no_evaluation_of_accuracies(wrong):
    with pytest.raises(ValueError, match=r"measured\['net'\] must hold accuracies of at least 2"):
        IntervalExplorer({"net": wrong})
