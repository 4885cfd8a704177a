"""Wrong answers as text: edits of right ones, and near misses made by rule."""

import inspect

import pytest

from metalearn_edu.exercises import Exercise, all_exercises
from metalearn_edu.exercises.checker.edits import HINTS, Edit, _parts, mistakes_of
from metalearn_edu.exercises.checker.near_misses import near_misses


def spread(values):
    """Largest minus smallest of some numbers."""
    high, low = max(values), min(values)
    return high - low


def in_a_loop(values):
    high = low = values[0]
    for value in values:
        high = value if value > high else high
        low = value if value < low else low
    return high - low


@pytest.mark.parametrize(
    ("edit", "result"),
    [
        ("high - low -> high + low", 10),
        ("max -> min ; high - low -> high", 2),
        ("values[0] -> values[1]", 6),
        ("value > high -> value > 5 * high", 0),
        ("- low ->", 8),
        ("return low, result", (2, 6)),
        ("return spread(values) / 2", 3.0),
    ],
)
def test_an_edit_is_a_function(edit, result):
    wrong = Edit((spread, in_a_loop), edit, "look again").wrong
    assert wrong([2, 4, 8]) == result and spread([2, 4, 8]) == 6
    assert wrong.__name__ == edit and inspect.getsource(wrong).startswith("def ")


def test_an_edit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="spread: no right way has what 'mean -> sum' replaces"):
        _ = Edit((spread, in_a_loop), "mean -> sum", "look again").wrong


def test_a_part_that_is_missing_is_refused_with_those_that_are_there():
    with pytest.raises(ValueError, match="has no part 'spread'; it has hausdorff_distance"):
        mistakes_of(spread, lesson="12_capstone.txt")


def test_every_part_of_a_text_belongs_to_an_exercise():
    texts = sorted(HINTS.glob("*.txt"))
    assert texts
    for path in texts:
        lesson = int(path.name[:2])
        names = {
            e.name
            for e in all_exercises().values()
            if isinstance(e, Exercise) and e.lesson == lesson
        }
        assert set(_parts(path.name)) == names


def by_columns(x, rows):
    return -x[:rows].sum(dim=0) * 2


def test_near_misses_change_one_thing():
    news = {miss.new for miss in near_misses(by_columns)}
    for new in (
        "return x[:rows].sum(dim=0) * 2",
        "return -x[rows:].sum(dim=0) * 2",
        "return -x[:rows].sum(dim=1) * 2",
        "return -x[:rows].mean(dim=0) * 2",
        "return -x[:rows].sum(dim=0) / 2",
        "return -x[:rows].sum(dim=0) * 3",
        "return -x[:x].sum(dim=0) * 2",
        "return -x[:rows] * 2",
    ):
        assert new in news
    assert all(miss.old != miss.new for miss in near_misses(by_columns))


def counts(n):
    while n > 1:
        n -= 1
    return n


def test_a_loop_with_a_condition_has_no_near_misses():
    assert near_misses(counts) == ()
