"""Exercises and questions as text: wrong answers are edits of right ones. And near misses."""

import inspect

import pytest

from metalearn_edu.exercises import Exercise, Option, all_exercises
from metalearn_edu.exercises.checker import texts
from metalearn_edu.exercises.checker.edits import Edit, mistakes_of
from metalearn_edu.exercises.checker.exercise import Case, exercise_of
from metalearn_edu.exercises.checker.near_misses import near_misses
from metalearn_edu.exercises.checker.question import question_of


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
    with pytest.raises(
        ValueError, match="has no part 'spread'; it has paired_gain, hausdorff_distance"
    ):
        mistakes_of(spread, lesson="12_capstone.txt")


@pytest.mark.parametrize("folder", ["hints", "questions"])
def test_every_part_of_a_text_belongs_to_an_exercise_or_question(folder):
    files = sorted((texts.ROOM / folder).glob("*.txt"))
    assert files
    for path in files:
        asked = [i for i in all_exercises().values() if i.lesson == int(path.name[:2])]
        names = {i.name for i in asked if isinstance(i, Exercise) == (folder == "hints")}
        assert set(texts.parts_of(f"{folder}/{path.name}")) == names


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A room of our own, whose texts can be written."""
    monkeypatch.setattr(texts, "ROOM", tmp_path)
    texts.parts_of.cache_clear()
    for folder in ("hints", "questions"):
        (tmp_path / folder).mkdir()
    yield tmp_path
    texts.parts_of.cache_clear()


SPREAD = """\
# spread
5 minutes, easy: measure how far numbers lie apart

1. What is the largest number, and what the smallest?
2. Subtract.

this is their sum
    high - low -> high + low
one of them alone says nothing
    return high
    return low
"""


def test_an_exercise_has_its_words_from_the_text(room):
    (room / "hints" / "07_a_toy.txt").write_text(SPREAD, encoding="utf-8")
    cases, ways = [Case(([2, 4, 8],), 6)], [in_a_loop]
    toy = exercise_of(spread, lesson="07_a_toy.txt", cases=cases, draw=None, ways=ways)
    assert (toy.lesson, toy.minutes, toy.difficulty) == (7, 5, "easy")
    assert toy.aim == "measure how far numbers lie apart"
    assert toy.hints == ["What is the largest number, and what the smallest?", "Subtract."]
    assert [m.wrong([2, 4, 8]) for m in toy.mistakes] == [10, 8, 2]
    assert [m.hint for m in toy.mistakes][1:] == 2 * ["one of them alone says nothing"]


def test_an_exercise_without_facts_is_refused(room):
    text = SPREAD.replace("5 minutes, easy", "5 minutes, simple")
    (room / "hints" / "07_a_toy.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"below # spread write '5 minutes, easy: .*'5 minutes, s"):
        exercise_of(spread, lesson="07_a_toy.txt", cases=[], draw=None)


QUESTION = """\
# apart
2 minutes, hard: tell apart from far

How far are 2 and 8 apart?

a: 10
    That is their sum.
b, right: 6: as 8 - 2
    It is.
"""


def test_a_question_is_read_from_the_text(room):
    (room / "questions" / "07_a_toy.txt").write_text(QUESTION, encoding="utf-8")
    asked = question_of("apart", lesson="07_a_toy.txt")
    assert (asked.name, asked.lesson, asked.minutes, asked.right) == ("apart", 7, 2, "b")
    assert asked.text == "How far are 2 and 8 apart?" and asked.aim == "tell apart from far"
    first, second = Option("10", "That is their sum."), Option("6: as 8 - 2", "It is.")
    assert asked.options == {"a": first, "b": second}


@pytest.mark.parametrize(
    ("old", "new"),
    [(", right", ""), ("a:", "a, right:"), ("    It is.\n", ""), ("\n\nHow", "\nHow")],
)
def test_a_question_that_is_not_written_so_is_refused(room, old, new):
    (room / "questions" / "07_a_toy.txt").write_text(QUESTION.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"questions/07_a_toy.txt: write apart as .*question says"):
        question_of("apart", lesson="07_a_toy.txt")


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
