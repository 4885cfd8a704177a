"""Estimates and their intervals, against closed forms, a printed table and simulations."""

import math

import numpy as np
import pytest

from metalearn_edu.study.estimates import estimate, student


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (30, 2.0423), (1e9, 1.9602)],
)
def test_student_agrees_with_the_printed_table(degrees, t):
    assert student(degrees) == pytest.approx(t, abs=2e-4)


def test_the_error_of_one_cell_by_hand():
    # two seeds with means 0.6 and 0.8, four episodes with means 0.6, 0.8, 0.6, 0.8
    values = np.array([[0.5, 0.7, 0.5, 0.7], [0.7, 0.9, 0.7, 0.9]])[None, None, None]
    result = estimate(values)
    of_seeds, of_episodes = 0.02 / 2, (0.04 / 3) / 4
    assert result.value == pytest.approx(0.7)
    assert result.error == pytest.approx(math.sqrt(of_seeds + of_episodes))
    welch = (of_seeds + of_episodes) ** 2 / (of_seeds**2 / 1 + of_episodes**2 / 3)
    assert result.degrees == pytest.approx(welch)


def test_one_seed_has_the_error_of_the_episodes_alone():
    values = np.array([0.5, 0.7, 0.6, 0.8])[None, None, None, None]
    result = estimate(values)
    assert result.error == pytest.approx(values.std(ddof=1) / 2) and result.degrees == 3


def test_the_interval_covers_the_truth_in_95_of_100_studies():
    rng = np.random.default_rng(1)
    weights = np.array([0.7, 0.3, 1.5, -0.5]).reshape(2, 1, 2, 1, 1)
    covered = []
    for _ in range(600):
        luck_of_seed = rng.normal(0, 0.02, (1, 1, 1, 3, 1))  # of all cells of a training
        luck_of_episode = rng.normal(0, 0.1, (1, 1, 2, 1, 40))  # of all sizes of the training set
        values = 0.8 + luck_of_seed + luck_of_episode + np.zeros((2, 1, 2, 3, 40))
        result = estimate(weights * values)
        covered.append(abs(result.value - 0.8 * weights.sum()) <= result.half_width)
    assert 0.92 < np.mean(covered) < 0.99  # 3 sigma: 0.923 to 0.977; Welch is on the safe side
