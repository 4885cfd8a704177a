import math
from inspect import signature

import pytest
import torch

from metalearn_edu import Comparison, Evaluation
from metalearn_edu.exercises import compare
from metalearn_edu.exercises import honest_evaluation as answers


def rounds_down(std, half_width):
    return int((1.96 * std / half_width) ** 2)


def forgets_the_square(std, half_width):
    return math.ceil(1.96 * std / half_width)


def takes_the_whole_width(std, half_width):
    return math.ceil((1.96 * std / (half_width / 2)) ** 2)


def standard_error_only(mean, half_width, n_episodes, n_queries):
    return half_width / 1.96, answers.read_interval(mean, half_width, n_episodes, n_queries)[1]


def variance_of_queries(mean, half_width, n_episodes, n_queries):
    s, binomial = answers.read_interval(mean, half_width, n_episodes, n_queries)
    return s, binomial**2


def ignores_queries(mean, half_width, n_episodes, n_queries):
    s, _ = answers.read_interval(mean, half_width, n_episodes, n_queries)
    return s, math.sqrt(mean * (1 - mean))


def unpaired(first, second):
    half = 1.96 * torch.sqrt((first.var() + second.var()) / len(first))
    return (first - second).mean().item(), half.item()


def second_minus_first(first, second):
    return answers.paired_difference(second, first)


def divides_by_n(first, second):
    difference = first - second
    half = 1.96 * difference.std(correction=0) / math.sqrt(len(difference))
    return difference.mean().item(), half.item()


EXERCISES = {
    "episodes_needed": (
        answers.NEEDED_EXAMPLES,
        answers.NEEDED_HINT,
        [rounds_down, forgets_the_square, takes_the_whole_width],
    ),
    "read_interval": (
        answers.READ_EXAMPLES,
        answers.READ_HINT,
        [standard_error_only, variance_of_queries, ignores_queries],
    ),
    "paired_difference": (
        answers.PAIRED_EXAMPLES,
        answers.PAIRED_HINT,
        [unpaired, second_minus_first, divides_by_n],
    ),
}
WRONG = [(name, wrong) for name, (_, _, wrongs) in EXERCISES.items() for wrong in wrongs]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct(name, capsys):
    examples, hint, _ = EXERCISES[name]
    solution = getattr(answers, name)
    compare(solution, solution, examples, hint=hint)
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize("name, wrong", WRONG, ids=[wrong.__name__ for _, wrong in WRONG])
def test_a_typical_mistake_is_found_and_gets_the_hint(name, wrong, capsys):
    examples, hint, _ = EXERCISES[name]
    compare(wrong, getattr(answers, name), examples, hint=hint)
    out = capsys.readouterr().out
    assert "differs" in out and hint in out


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


def test_stubs_in_the_lesson_have_the_arguments_of_the_solutions(lesson):
    assert lesson("02").stubs == {
        name: list(signature(getattr(answers, name)).parameters) for name in EXERCISES
    }


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_in_the_lesson_is_correct(name, lesson, capsys):
    examples, hint, _ = EXERCISES[name]
    compare(lesson("02").solutions[name], getattr(answers, name), examples, hint=hint)
    assert "correct" in capsys.readouterr().out
