"""The exercises of notebook 02 against the package and against published figures."""

import math

import pytest
import torch

from metalearn_edu import Comparison, Evaluation
from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import honest_evaluation as answers


def by_counting(std, half_width):
    n = 1
    while 1.96 * std / math.sqrt(n) > half_width:
        n += 1
    return n


def half_as_many(std, half_width):
    return math.ceil((1.96 * std / half_width) ** 2 / 2)


def with_the_spread_of_means(scores):
    return 1.96 * scores.mean(dim=0).std() / scores.shape[1] ** 0.5


def by_batch_norm(support_z, query_z):
    variance, mean = torch.var_mean(support_z, dim=0, correction=0)
    return torch.nn.functional.batch_norm(query_z, mean, variance, eps=1e-5)


@pytest.mark.parametrize(
    "right, name",
    [
        (by_counting, "episodes_needed"),
        (with_the_spread_of_means, "half_width_of_rounds"),
        (by_batch_norm, "normalise_queries"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_a_number_that_is_nearly_right_is_wrong(capsys):
    check(lambda std, half_width: by_counting(std, half_width) + 1, "episodes_needed")
    assert "one more than what is expected" in capsys.readouterr().out
    check(half_as_many, "episodes_needed")
    assert "not right yet" in capsys.readouterr().out


def test_episodes_needed_is_the_smallest_number():
    n = answers.episodes_needed(9.0, 0.5)
    assert 1.96 * 9 / math.sqrt(n) <= 0.5 < 1.96 * 9 / math.sqrt(n - 1)


def test_read_interval_gives_the_published_spreads():
    s, binomial = answers.read_interval(0.487, 0.0184, 600, 5)
    assert (round(100 * s, 1), round(100 * binomial, 1)) == (23.0, 22.4)
    s, binomial = answers.read_interval(0.4942, 0.0078, 600, 75)
    assert (round(100 * s, 1), round(100 * binomial, 1)) == (9.7, 5.8)


def test_paired_difference_is_that_of_the_package():
    values = torch.rand(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (Evaluation(v, "accuracy", 0.2, 0, "") for v in values)
    difference = Comparison(first, second).difference
    assert answers.paired_difference(*values) == pytest.approx(
        (difference.mean, difference.half_width)
    )
