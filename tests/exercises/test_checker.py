"""check, hint, solution, predict and progress on a toy exercise."""

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch

from metalearn_edu import cli, exercises
from metalearn_edu.exercises import Case, Exercise, Mistake, Option, Question, check, views
from metalearn_edu.exercises.checker import examination as engine
from metalearn_edu.exercises.checker import limits
from metalearn_edu.exercises.checker.differences import difference, show
from metalearn_edu.exercises.checker.limits import OutOfTime
from metalearn_edu.exercises.record import progress_file, read_record, reset_record, update_record

X = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])


def means(x):
    """Means (d,) of the rows x (n, d)."""
    return x.mean(dim=0)


def over_columns(x):
    return x.mean(dim=1)


def buggy_means(x):
    return x.median(dim=0).values


def no_order(answer):
    same = torch.allclose(answer(X), answer(X.flip(0)))
    return "" if same else "the order of the rows must not matter"


def toy(**changes):
    settings = {
        "solution": means,
        "lesson": 99,
        "aim": "average",
        "minutes": 2,
        "difficulty": "easy",
        "cases": [Case((X,), torch.tensor([2.0, 3.0]))],
        "draw": lambda g: (torch.randn(int(torch.randint(2, 9, (), generator=g)), 3, generator=g),),
        "mistakes": [Mistake(over_columns, "this is a mean for each row")],
        "hints": ["Average.", "Use `mean`."],
    }
    return Exercise(**(settings | changes))


QUESTION = Question(
    name="sure",
    lesson=99,
    aim="decide",
    minutes=1,
    difficulty="easy",
    text="Is `x < y` so?",
    options={
        "a": Option("yes", "Because."),
        "b": Option("no", "Look again."),
        "c": Option("it depends", "On what?"),
    },
    right="a",
)


@pytest.fixture(autouse=True)
def table(monkeypatch, tmp_path):
    """The toy exercise and question are all there are, and progress goes to a file of the test."""
    monkeypatch.setenv("METALEARN_EDU_PROGRESS", str(tmp_path / "folder" / "progress.json"))
    monkeypatch.setattr("metalearn_edu.exercises.record._in_memory", {})
    monkeypatch.setattr(exercises, "_hints_given", {})
    monkeypatch.setattr(exercises, "WIDTH", 1000)

    def use(exercise):
        monkeypatch.setattr(
            exercises, "all_exercises", lambda: {"means": exercise, "sure": QUESTION}
        )
        return exercise

    use(toy())
    return use


ASK = 'hint("means") gives the next hint, solution("means") our solution\n'


def answer(capsys, function):
    check(function, "means")
    return capsys.readouterr().out.removesuffix(ASK)


# --- check -----------------------------------------------------------------------------------


def test_a_stub_a_right_and_a_wrong_answer(capsys):
    def my_means(x):
        raise NotImplementedError

    check(my_means)
    assert capsys.readouterr().out == f"my_means: not attempted yet\n{ASK}"
    check(means)
    assert capsys.readouterr().out == "means: correct\n"
    assert answer(capsys, over_columns) == (
        "over_columns: not right yet: for x = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]: "
        "the result has shape (3,), expected (2,).\nHint: this is a mean for each row\n"
    )


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x: -x.mean(dim=0), "the result is minus what is expected"),
        (lambda x: x.mean(dim=0) ** 2, "the square of what is expected"),
        (lambda x: x.sum(dim=0), "x.shape[0] times what is expected; a sum instead of a mean"),
        (lambda x: x.sum(dim=0) / (len(x) - 1), "divided by x.shape[0] - 1 instead of x.shape[0]"),
        (lambda x: x.mean(dim=0) / len(x), "what is expected, divided by x.shape[0]"),
        (lambda x: x.mean(dim=0) + 1, "one more than what is expected"),
        (lambda x: x.mean(dim=0).flip(0), "right but for its order"),
        (lambda x: x.mean(dim=0).floor(), "what is expected, but rounded down"),
        (lambda x: x.mean(dim=0).abs(), "what is expected, but without the sign"),
        (lambda x: x.mean(dim=0)[:-1], "what is expected without its last row"),
        (lambda x: x[:-1].mean(dim=0), "right for `x` without the last row"),
        (lambda x: torch.tensor([2.0, 3.0]), "stays as it is whatever `x` may be"),
        (
            lambda x: x.mean(dim=0) if x.shape[1] == 2 else x.median(dim=0).values + 0.3,
            "the small cases are right, and others are not",
        ),
        (lambda x: x.median(dim=0).values + 0.3, "Average."),
        (lambda x: x.mean(dim=0).nothing, "Average."),
    ],
)
def test_mistakes_that_are_in_no_table(wrong, hint, capsys):
    hints = answer(capsys, wrong).split("Hint: ")
    assert len(hints) == 2 and hint in hints[1]


class Odd:
    """Nothing can be done with it."""

    def __getattribute__(self, name):
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [Odd, object, lambda: [X], lambda: {"a": X}, X.to_sparse, str])
def test_odd_results_are_answered(value, capsys):
    assert "not right yet" in answer(capsys, lambda x: value())


def test_an_error_is_one_line_that_says_where(capsys):
    def broken(x):
        return torch.nn.functional.one_hot(x, 3)

    out = answer(capsys, broken)
    assert "it stops with RuntimeError: one_hot" in out and "Traceback" not in out
    assert "of the cell: return torch.nn.functional.one_hot(x, 3)" in out


def test_what_torch_cannot_do_is_an_attempt(capsys):
    def unsupported(x):
        raise NotImplementedError("Could not run 'aten::nothing'")

    assert "it stops with NotImplementedError: Could not run" in answer(capsys, unsupported)


def test_other_arguments_are_named(capsys):
    assert "it takes (x, y), but it is called with (x)" in answer(capsys, lambda x, y: x)


def test_a_property_is_checked_after_the_cases(table, capsys):
    table(toy(properties=[no_order], draw=None))
    out = answer(capsys, lambda x: torch.tensor([2.0, 3.0]) + (x[0, 0] > 0))
    assert "not right yet: the order of the rows must not matter\n" in out


def test_a_detached_or_half_detached_result_is_found(table, capsys):
    table(toy(gradients=["x"]))
    assert "correct" in answer(capsys, means)
    assert "no gradient flows" in answer(capsys, lambda x: x.mean(dim=0).detach())
    half = answer(capsys, lambda x: (x[0] + x[1:].detach().sum(dim=0)) / len(x))
    assert "the values are right, but" in half
    assert "'x' of the gradients with respect to the arguments is 0 at" in half


def test_what_was_printed_is_shown_once(capsys):
    def chatty(x):
        print("rows:", 3)
        return None

    assert answer(capsys, chatty).endswith("It printed:\n    rows: 3\n")


def test_random_numbers_go_on_as_if_there_was_no_check(capsys):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    check(means)
    assert torch.equal(torch.rand(2), wanted)


def test_a_bug_that_stays_is_not_attempted_yet(table, capsys):
    table(toy(buggy=buggy_means))

    def my_means(x):
        """Another text."""
        return x.median(dim=0).values

    assert answer(capsys, my_means) == "my_means: not attempted yet\n"
    assert "not right yet" in answer(capsys, lambda x: x.median(dim=0).values)


def test_check_says_what_it_needs(capsys):
    check(X)
    assert "check needs the function itself" in capsys.readouterr().out
    check(over_columns)
    assert "there is no exercise 'over_columns'; is it one of means?" in capsys.readouterr().out


def test_long_lines_break_between_words(monkeypatch, capsys):
    monkeypatch.setattr(exercises, "WIDTH", 40)
    check(over_columns, "means")
    assert capsys.readouterr().out == (
        "over_columns: not right yet: for x =\n"
        "[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]:\n"
        "the result has shape (3,), expected\n"
        "(2,).\n"
        f"Hint: this is a mean for each row\n{ASK}"
    )


def test_numbers_have_as_many_digits_as_differ(capsys):
    out = answer(capsys, lambda x: x.mean(dim=0) * torch.tensor([1.0002, 1.0]))
    assert "the result is 2.0004 at [0], expected 2 (1 of 2" in out
    assert difference(2 / 3 + 1e-3, 2 / 3) == "the result is 0.6677, expected 0.6667"
    assert show(torch.tensor([0.1, 1 / 3])) == "[0.1, 0.333333]" and show(0.1) == "0.1"


@pytest.mark.parametrize(
    "number", [0.5, np.float64(0.5), np.float32(0.5), torch.tensor(0.5), Fraction(1, 2)]
)
def test_a_number_is_a_number_whatever_holds_it(number):
    assert difference(number, 0.5) == difference(number, torch.tensor(0.5)) == ""
    assert "expected the number 0.5" in difference("0.5", 0.5)
    assert "of type Tensor of shape (1,), expected" in difference(torch.tensor([0.5]), 0.5)


def test_a_whole_number_is_told_from_a_float():
    assert difference(np.int64(864), 864) == difference(torch.tensor(864), 864) == ""
    assert "864, a float, expected 864 (an int; `int(...)`" in difference(864.0, 864)
    assert difference(863, 864) == "the result is 863, expected 864 (a whole number)"


def test_what_only_rounds_otherwise_is_right(table, capsys):
    def variance(x):
        """Variances (d,) of the columns of x (n, d)."""
        return x.var(dim=0, correction=0)

    def by_squares(x):
        return x.square().mean(dim=0) - x.mean(dim=0).square()

    draw = lambda g: (30 + torch.randn(6, 3, generator=g),)  # noqa: E731
    case = Case((X,), torch.tensor([8 / 3, 8 / 3]))
    table(toy(solution=variance, cases=[case], draw=draw, mistakes=[], gradients=["x"]))
    assert "correct" in answer(capsys, by_squares)
    assert "not right yet" in answer(capsys, lambda x: by_squares(x) + 1e-3)


def test_numpy_is_welcome_where_no_gradient_is_asked_for(table, capsys):
    def in_numpy(x):
        return torch.from_numpy(x.numpy().mean(axis=0))

    assert "correct" in answer(capsys, in_numpy)
    table(toy(gradients=["x"]))
    assert "numpy" in answer(capsys, in_numpy)


def test_a_line_that_is_quoted_is_the_learners_own(table, capsys):
    def writes_into_a_leaf(x):
        x += 1
        return (x - 1).mean(dim=0)

    table(toy(gradients=["x"], cases=[]))
    assert "changes its arguments" in answer(capsys, writes_into_a_leaf)

    def breaks_backward(x):
        y = x.exp()
        z = y.mean(dim=0)
        y.zero_()
        return z * y.sum().exp() + x.mean(dim=0) - z

    out = answer(capsys, lambda x: breaks_backward(x) + x.square().mul_(0).sum())
    assert "examination.py" not in out and "flat * weights" not in out and "of the cell" not in out


def test_who_marks_the_callers_tensor_changes_it(capsys):
    def marks(x):
        x.requires_grad_()
        return x.mean(dim=0).detach()

    assert "changes its arguments" in answer(capsys, marks)


def test_two_mistakes_that_fit_equally_well_are_both_only_perhaps(table, capsys):
    also = Mistake(lambda x: x.mean(dim=1), "the axis is the wrong one")
    table(toy(mistakes=[Mistake(over_columns, "this is a mean for each row"), also]))
    hint = "Hint: perhaps: this is a mean for each row; or: the axis is the wrong one"
    assert hint in answer(capsys, over_columns)


def test_the_question_about_the_bug_is_for_who_still_has_it(table, capsys):
    table(toy(buggy=buggy_means, hints=["Is this a mean?", "Use `mean`."]))
    assert "Is this a mean?" in answer(capsys, lambda x: x.sort(dim=0).values[(len(x) - 1) // 2])
    assert "Is this a mean?" not in answer(capsys, lambda x: x.exp().mean(dim=0).sin())


def test_a_near_miss_is_told_after_all_that_is_listed(table, capsys):
    def moved(x, shift):
        """Means (d,) of the rows x (n, d), moved."""
        return x.mean(dim=0) + shift.square()

    draw = lambda g: tuple(torch.randn(3, 3, generator=g).split([2, 1]))  # noqa: E731
    case = Case((X, torch.tensor([2.0, 3.0])), torch.tensor([6.0, 12.0]))
    table(
        toy(solution=moved, cases=[case], draw=lambda g: (*draw(g)[:1], draw(g)[1][0]), mistakes=[])
    )
    out = answer(capsys, lambda x, shift: x.mean(dim=0) + shift)
    assert "Hint: perhaps it is a call that is left out: the results are those of `return" in out


# --- time ------------------------------------------------------------------------------------


def swallows_everything():
    while True:
        try:
            time.sleep(0.001)
        except:  # noqa: E722
            continue


def swallows_exceptions():
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            continue


WAYS = [limits._in_a_thread, *([limits._in_a_copy] if limits.has_copies() else [])]
each_way = pytest.mark.parametrize("call_within", WAYS)


@each_way
@pytest.mark.parametrize("function", [swallows_everything, swallows_exceptions])
def test_an_endless_loop_is_stopped(function, call_within, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 1.0)
    with pytest.raises(OutOfTime):
        call_within(0.2, function)


@each_way
def test_who_sleeps_is_left_behind(call_within, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 1.0)
    began = time.monotonic()
    with pytest.raises(OutOfTime, match="it waits for something"):
        call_within(0.2, time.sleep, 100)
    assert time.monotonic() - began < 50


@each_way
def test_values_and_errors_come_back(call_within):
    assert call_within(10, lambda a: a + 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(10, lambda: 1 / 0)


def counts_for_ever():
    yield from range(3)
    while True:
        pass


@each_way
def test_what_was_said_before_the_end_is_not_lost(call_within):
    assert call_within(10, range(4).__iter__().__next__) == 0
    assert call_within(10, lambda: (yield 5)) == 5
    with pytest.raises(OutOfTime, match=r"still running after 0\.2 seconds of processor") as stop:
        call_within(0.2, counts_for_ever)
    assert stop.value.so_far == 2


def test_a_thread_is_not_stopped_in_the_middle_of_an_import(tmp_path, monkeypatch):
    slow = (
        "import time\nuntil = time.process_time() + 0.6\nwhile time.process_time() < until: pass\n"
    )
    (tmp_path / "slow_to_import.py").write_text(slow + "VALUE = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def imports_and_loops():
        import slow_to_import  # noqa: F401

        while True:
            pass

    with pytest.raises(OutOfTime):
        limits._in_a_thread(0.2, imports_and_loops)
    assert sys.modules["slow_to_import"].VALUE == 7


def grows(x):
    kept = []
    while True:
        kept.append(bytearray(10**8))


def falls_over(x):
    import ctypes

    return ctypes.string_at(0)


@pytest.mark.skipif(not limits.has_copies(), reason="memory has a limit only in a copy")
def test_memory_has_a_limit_and_a_crash_is_told(monkeypatch, capsys):
    monkeypatch.setattr(limits, "MEMORY", 3 * 10**8)
    assert "does a list or a tensor grow without end?" in answer(capsys, grows)
    assert "it brings Python itself down (SIGSEGV)" in answer(capsys, falls_over)


@pytest.mark.skipif(not limits.has_copies(), reason="a thread shares `input` with all others")
def test_who_asks_is_told_that_nobody_answers(capsys):
    assert "it stops with EOFError: `input` waits for somebody" in answer(capsys, lambda x: input())


def test_a_stop_during_the_search_for_a_hint_keeps_what_was_found(table, monkeypatch, capsys):
    def ends_only_for_the_case(x):
        while not torch.equal(x, X):
            pass
        return x.sum(dim=0)

    monkeypatch.setattr(engine, "LIMIT_SECONDS", 0.3)
    assert "the result is 6 at [0], expected 2" in answer(capsys, ends_only_for_the_case)


def test_a_check_looks_at_an_answer_outside_of_no_grad(table, capsys):
    table(toy(gradients=["x"]))
    with torch.no_grad():
        assert "correct" in answer(capsys, means)
    with torch.inference_mode():
        assert "correct" in answer(capsys, means)


def loops_in_python(x):
    while True:
        pass


def loops_in_c(x):
    return sum(iter(int, 1))


@pytest.mark.parametrize("endless", [loops_in_python, loops_in_c])
def test_the_checker_stops_an_endless_answer(endless, monkeypatch, capsys):
    monkeypatch.setattr(engine, "LIMIT_SECONDS", 0.2)
    assert "still running after 0.2 seconds" in answer(capsys, endless)


# --- hint, solution, predict -----------------------------------------------------------------


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook would be given to show."""
    shown = []
    monkeypatch.setattr(views, "get_ipython", object)
    monkeypatch.setattr(views, "display", shown.append)
    return shown


def test_below_a_verdict_each_hint_holds_the_next_and_the_solution_comes_last(notebook, capsys):
    check(over_columns, "means")
    assert ASK not in capsys.readouterr().out
    first, second, ours = notebook[0]._repr_html_().split("<details><summary>")[1:]
    assert first == "Hint 1 of 2</summary>Average."
    assert second == "Hint 2 of 2</summary>Use <code>mean</code>.</details></details>"
    assert ours.startswith("Our solution</summary><pre>def my_means(x):\n")
    assert repr(notebook[0]) + "\n" == ASK


def test_hints_are_there_from_the_beginning_and_go_with_a_correct_answer(notebook, capsys):
    def my_means(x):
        raise NotImplementedError

    check(my_means)
    check(means)
    before, after = (shown._repr_html_() for shown in notebook)
    assert "Hint 1 of 2" in before and "Hint" not in after
    assert before.endswith(after) and after.startswith("<details><summary>Our solution</summary>")
    assert repr(notebook[1]) == 'solution("means") shows our solution'


def test_what_is_no_function_gets_no_hints(notebook, capsys):
    check(X)
    check(over_columns)
    assert notebook == []


def test_hints_come_one_by_one():
    texts = [exercises.hint("my_means").text for _ in range(3)]
    assert texts == ["Average.", "Use `mean`.", "Average."]
    hint = exercises.hint("means")
    assert repr(hint) == "Hint 2 of 2:\nUse `mean`."
    assert hint._repr_html_() == (
        "<details><summary>Hint 2 of 2</summary>Use <code>mean</code>.</details>"
    )


def test_the_solution_is_the_source_of_the_function():
    text = exercises.solution("means").text
    assert text.startswith("def my_means(x):") and "x.mean(dim=0)" in text
    assert "<details><summary>Solution</summary><pre>def my_means" in (
        exercises.solution("means")._repr_html_()
    )


def test_unknown_names_are_refused_with_similar_ones():
    with pytest.raises(ValueError, match="no exercise 'mean'; is it one of means"):
        exercises.hint("mean")
    with pytest.raises(ValueError, match="no question 'means'; is it one of sure"):
        exercises.predict("means")


def test_a_prediction_by_letter(capsys):
    exercises.predict("sure", "b")
    exercises.predict("sure", " A")
    assert capsys.readouterr().out == "b: not right yet. Look again.\na: correct. Because.\n"
    assert read_record() == {"sure": {"state": "correct", "choice": "a"}}
    with pytest.raises(ValueError, match="choose one of a, b, c; got 'd'"):
        exercises.predict("sure", "d")


def test_a_prediction_by_widget_is_remembered():
    widget = exercises.predict("sure")
    assert widget.button.disabled and widget.reply.value == ""
    widget.choice.value = "b"
    assert not widget.button.disabled
    widget.button.click()
    assert widget.reply.value == '<div role="status">b: not right yet. Look again.</div>'
    again = exercises.predict("sure")
    assert (again.choice.value, again.reply.value) == ("b", widget.reply.value)


def test_a_question_reads_without_a_kernel_and_always_the_same():
    bundle, _ = exercises.predict("sure")._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "Is <code>x &lt; y</code> so?" in bundle["text/html"]
    assert "<details><summary>Answer</summary>a: Because.</details>" in bundle["text/html"]
    assert bundle["text/plain"].startswith("Is `x < y` so?\n  a: yes\n")
    update_record("sure", "correct", choice="a")
    assert exercises.predict("sure")._repr_mimebundle_()[0]["text/html"] == bundle["text/html"]


@pytest.mark.parametrize("right, letters", [("d", "abc"), ("a", "acb")])
def test_a_question_needs_its_right_option(right, letters):
    options = {letter: Option("x", "y") for letter in letters}
    with pytest.raises(ValueError, match="options must be lettered a, b, c"):
        Question(**(vars(QUESTION) | {"options": options, "right": right}))


# --- progress --------------------------------------------------------------------------------


def test_progress_is_kept_and_shown(capsys):
    assert "[....................] 0 of 2 correct" in repr(exercises.progress())
    check(over_columns, "means")
    check(means)
    check(over_columns, "means")  # what was correct stays correct
    table = exercises.progress(99)
    assert "[x] 99  means" in repr(table) and "[ ] 99  sure" in repr(table)
    assert "[##########..........] 1 of 2 correct" in repr(table)
    assert '<progress value="1" max="2">' in table._repr_html_()
    stored = json.loads(progress_file().read_text(encoding="utf-8"))
    assert stored == {"format": 1, "exercises": {"means": {"state": "correct"}}}
    assert [path.name for path in progress_file().parent.iterdir()] == ["progress.json"]
    with pytest.raises(ValueError, match="lesson 7 has no exercises"):
        exercises.progress(7)


def test_a_stub_leaves_no_trace(capsys):
    def my_means(x):
        raise NotImplementedError

    check(my_means)
    assert not progress_file().exists()


@pytest.fixture
def default_file(monkeypatch, tmp_path):
    """The file in the user's folder, which no environment variable names."""
    monkeypatch.delenv("METALEARN_EDU_PROGRESS")
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / "data" / name)
    (tmp_path / "data" / "metalearn_edu").mkdir(parents=True)
    return progress_file()


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"exercises": {"means": 1}}', '{"exercises": {"means": {}}}', "\xff"]
)
def test_a_damaged_file_is_put_aside(text, default_file):
    for number in (1, 2):
        progress_file().write_bytes(text.encode("latin-1"))
        with pytest.warns(UserWarning, match=f"cannot be read .*kept as .*damaged-{number}.json"):
            assert read_record() == {}
    update_record("means", "tried")
    assert read_record() == {"means": {"state": "tried"}}
    backup = progress_file().with_name("progress.damaged-1.json")
    assert backup.read_bytes() == text.encode("latin-1")


def test_an_earlier_file_that_was_put_aside_is_never_replaced(default_file):
    default_file.with_name("progress.damaged-2.json").write_text("older")
    for number in (1, 3):
        default_file.write_text("[" * 100_000)  # deeper than Python reads
        with pytest.warns(UserWarning, match=f"damaged-{number}.json"):
            read_record()
    assert default_file.with_name("progress.damaged-2.json").read_text() == "older"


def test_a_record_of_ours_that_was_cut_off_is_put_aside_wherever_it_lies():
    update_record("means", "correct")
    progress_file().write_bytes(progress_file().read_bytes()[:-20])
    with pytest.warns(UserWarning, match="kept as"):
        update_record("sure", "tried")
    assert read_record() == {"sure": {"state": "tried"}}


FOREIGN = ['{"a": 1}', "my notes", "[" * 100_000, '{"exercises": {"run": "5 km"}}', "\xff\xfe"]


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("do", [read_record, lambda: update_record("sure", "tried"), reset_record])
def test_a_file_of_another_program_stays_as_it_is(text, do):
    progress_file().parent.mkdir()
    progress_file().write_bytes(text.encode("latin-1"))
    with pytest.warns(UserWarning, match="cannot be kept in .*progress.json .*stays as it is"):
        do()
    assert progress_file().read_bytes() == text.encode("latin-1")
    assert [path.name for path in progress_file().parent.iterdir()] == ["progress.json"]


def other_things(folder):
    """Whatever is not a file, by name."""
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "thesis.txt").write_text("mine")
    (folder / "link to the folder").symlink_to("folder")
    (folder / "loop").symlink_to("loop")
    (folder / "device").symlink_to(os.devnull)
    os.mkfifo(folder / "pipe")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
@pytest.mark.parametrize("name", ["folder", "link to the folder", "loop", "device", "pipe"])
def test_what_is_no_file_stays_as_it_is_and_nothing_waits(name, tmp_path, monkeypatch):
    other_things(tmp_path / "things")
    before = sorted((p.name, p.lstat().st_mode) for p in (tmp_path / "things").rglob("*"))
    monkeypatch.setenv("METALEARN_EDU_PROGRESS", str(tmp_path / "things" / name))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_record()
        update_record("means", "correct")
        update_record("sure", "tried")
        assert read_record() == {"means": {"state": "correct"}, "sure": {"state": "tried"}}
        reset_record()
        assert len(said) == 1 and "stays as it is" in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_record() == {}
    after = sorted((p.name, p.lstat().st_mode) for p in (tmp_path / "things").rglob("*"))
    assert before == after and stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_what_memory_held_goes_to_the_file_as_soon_as_that_can_be():
    progress_file().parent.mkdir()
    progress_file().mkdir()  # a drive that is away for a moment
    with pytest.warns(UserWarning, match="cannot be kept"):
        update_record("means", "correct")
    progress_file().rmdir()
    update_record("sure", "tried")
    stored = json.loads(progress_file().read_text(encoding="utf-8"))["exercises"]
    assert stored == {"means": {"state": "correct"}, "sure": {"state": "tried"}}


def test_what_a_later_version_has_written_is_kept():
    progress_file().parent.mkdir()
    later = {"means": {"state": "mastered", "on": "Monday"}, "of_lesson_40": {"state": "halfway"}}
    text = json.dumps({"format": 2, "exercises": later, "lessons": [1]})
    progress_file().write_text(text, encoding="utf-8-sig")  # as an editor on Windows saves it
    update_record("means", "correct")
    update_record("sure", "tried")
    assert "[?] 99  means" in repr(exercises.progress()) and "1 of 2" not in repr(
        exercises.progress()
    )
    stored = json.loads(progress_file().read_text(encoding="utf-8"))
    assert stored == {
        "format": 2,
        "exercises": later | {"sure": {"state": "tried"}},
        "lessons": [1],
    }


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    real = tmp_path / "drive" / "mine.json"
    real.parent.mkdir()
    real.write_text("")
    real.chmod(0o640)
    progress_file().parent.mkdir()
    progress_file().symlink_to(real)
    update_record("means", "correct")
    assert progress_file().is_symlink() and real.stat().st_mode & 0o777 == 0o640
    assert json.loads(real.read_text())["exercises"] == {"means": {"state": "correct"}}
    reset_record()
    assert read_record() == {} and progress_file().is_symlink()


RECORD = """
import sys
from metalearn_edu.exercises.record import update_record
for number in range(50):
    update_record(f"{sys.argv[1]} {number}", "correct")
"""


def test_kernels_that_record_at_the_same_moment_lose_nothing():
    start = [sys.executable, "-W", "error", "-c", RECORD]
    kernels = [subprocess.Popen([*start, str(k)]) for k in range(3)]
    assert [kernel.wait(100) for kernel in kernels] == [0, 0, 0]
    assert len(read_record()) == 150
    assert [path.name for path in progress_file().parent.iterdir()] == ["progress.json"]


def test_who_waits_too_long_for_another_kernel_keeps_it_in_memory(monkeypatch):
    @contextlib.contextmanager
    def held(path, *, patience):
        raise TimeoutError(f"{path} is held by another process")
        yield

    monkeypatch.setattr("metalearn_edu.exercises.record.locked", held)
    with pytest.warns(UserWarning, match="held by another process"):
        update_record("means", "correct")
    assert read_record() == {"means": {"state": "correct"}} and not progress_file().exists()


def test_without_a_place_to_write_memory_must_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METALEARN_EDU_PROGRESS", str(tmp_path / "file" / "progress.json"))
    with pytest.warns(UserWarning, match="METALEARN_EDU_PROGRESS"):
        update_record("means", "correct")
    update_record("sure", "tried")  # no second warning
    assert read_record()["means"] == {"state": "correct"}


def test_progress_can_be_switched_off_or_lies_in_the_users_folder(monkeypatch):
    monkeypatch.setenv("METALEARN_EDU_PROGRESS", "off")
    update_record("means", "tried")
    assert progress_file() is None and read_record() == {"means": {"state": "tried"}}
    monkeypatch.delenv("METALEARN_EDU_PROGRESS")
    assert progress_file().parts[-2:] == ("metalearn_edu", "progress.json")


def test_the_command_line(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    update_record("means", "correct")
    assert run("exercises", "list")[1].splitlines()[0].split() == (
        ["99", "means", "2", "min", "easy", "average"]
    )
    assert "def my_means(x):" in run("exercises", "solutions", "99_toy.ipynb")[1]
    assert run("exercises", "solutions", "07")[2].startswith(
        "metalearn-edu: no exercises for '07'; there are some for 99"
    )
    assert "1 of 2 correct" in run("progress")[1]
    assert "0 of 2 correct" in run("progress", "--reset")[1]


def sum_and_count(x):
    """Sum and number of the rows x (n, d)."""
    return x.sum(dim=0), len(x)


def test_a_mistake_in_one_value_of_several_is_known_whatever_the_others_are(table, capsys):
    mistake = Mistake(lambda x: (x.mean(dim=0), len(x)), "these are means")
    case = Case((X,), (torch.tensor([6.0, 9.0]), 3))
    table(toy(solution=sum_and_count, cases=[case], mistakes=[mistake]))
    assert "Hint: these are means" in answer(capsys, lambda x: (x.mean(dim=0), 2))
    assert "value 1 of the result is one less" in answer(capsys, lambda x: (x.sum(0), len(x) - 1))


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m.double(),
        lambda m: m[None],
        lambda m: m.tolist(),
        lambda m: list(m),
        lambda m: m.numpy(),
    ],
)
def test_right_numbers_in_another_form_are_known(form, table, capsys):
    table(toy())
    assert "the numbers are right" in answer(capsys, lambda x: form(x.mean(dim=0)))
    assert "the numbers are right" not in answer(capsys, lambda x: form(x.amax(dim=0)))


@pytest.mark.parametrize("change", [lambda m: m.tolist(), lambda m: m.flip(0), lambda m: 2 * m])
def test_where_it_stops_with_an_error_nothing_is_nearly_right(change, table, capsys):
    table(toy())  # the case has two columns, what is drawn has three
    out = answer(capsys, lambda x: change(x.mean(dim=0)) if x.shape[1] == 3 else [][0])
    assert "stops with IndexError" in out and "Hint: Average." in out


def test_a_known_mistake_warns_nobody(table, capsys, recwarn):
    def warns(x):
        warnings.warn("known", stacklevel=1)
        return x[0]

    table(toy(mistakes=[Mistake(warns, "this is the first row")]))
    assert "Hint: this is the first row" in answer(capsys, lambda x: x[0])
    assert not recwarn.list


def test_values_in_another_order_are_known(table, capsys):
    case = Case((X,), (torch.tensor([6.0, 9.0]), 3))
    table(toy(solution=sum_and_count, cases=[case]))
    assert "their order is not" in answer(capsys, lambda x: (len(x), x.sum(dim=0)))
    assert "their order is not" not in answer(capsys, lambda x: (len(x), x.mean(dim=0)))


def weighted_mean(x, weights):
    """Mean (d,) of the rows x (n, d), by weights (n,)."""
    return weights @ x / weights.sum()


def weighted(**changes):
    case = Case((X[:2], torch.tensor([1.0, 3.0])), torch.tensor([1.5, 2.5]))
    draw = lambda g: (torch.randn(4, 3, generator=g), torch.rand(4, generator=g))  # noqa: E731
    return toy(solution=weighted_mean, cases=[case], draw=draw, mistakes=[], **changes)


def test_an_argument_that_makes_no_difference_is_named(table, capsys):
    table(weighted())
    assert "whatever `weights` may be" in answer(capsys, lambda x, w: x.median(dim=0).values)
    assert "whatever" not in answer(capsys, lambda x, w: (w @ x).sin())


def test_a_result_that_is_always_the_same_is_told(table, capsys):
    table(weighted())
    out = answer(capsys, lambda x, w: next((w @ x for row in x if row.sum() > 99), x.new_zeros(2)))
    assert "Hint: the result is [0.0, 0.0] each time, whatever the arguments are" in out


def test_an_argument_that_no_gradient_reaches_is_named(table, capsys):
    table(weighted(gradients=["x", "weights"]))
    assert "correct" in answer(capsys, lambda x, w: (w / w.sum()) @ x)
    out = answer(capsys, lambda x, w: w.detach() @ x / w.detach().sum())
    assert "no gradient reaches `weights`: `.detach()`" in out


def test_a_mistake_with_other_values_explains_no_gradient(table, capsys):
    nothing = Mistake(lambda x: x.sum(dim=0) - x.sum(dim=0), "nothing is left")
    table(toy(gradients=["x"], mistakes=[nothing]))
    out = answer(capsys, lambda x: x.mean(dim=0).detach() + 0 * x.sum(dim=0))
    assert "no gradient reaches `x`" in out


def test_a_gradient_that_is_left_in_an_argument_counts(table, capsys):
    def leaves_a_gradient(x):
        if x.requires_grad:
            x.square().sum().backward()
        return x.mean(dim=0)

    table(toy(gradients=["x"]))
    assert "the values are right, but 'x' of the gradients" in answer(capsys, leaves_a_gradient)


def test_a_mistake_that_gradients_alone_show_is_known(table, capsys):
    def half(x):
        return (x[0] + x[1:].detach().sum(dim=0)) / len(x)

    table(toy(gradients=["x"], mistakes=[Mistake(half, "only the first row has a gradient")]))
    out = answer(capsys, lambda x: (x[0] + x.data[1:].sum(dim=0)) / len(x))
    assert "Hint: only the first row has a gradient" in out


def blend(first, second, share, n_times, backwards):
    """first, moved n_times by a share of the way to second, or away from it."""
    for _ in range(n_times):
        first = first + (-share if backwards else share) * (second - first)
    return first


def draw_blend(generator):
    first, second = torch.randn(2, 3, generator=generator)
    share, n_times = torch.rand(2, generator=generator).tolist()
    return first, second, 0.1 + share, int(5 * n_times), share > 0.5


@pytest.mark.parametrize(
    ("wrong", "slip"),
    [
        (lambda a, b, s, n, back: blend(a, b, s, n + 1, back), "`n_times + 1` instead of"),
        (lambda a, b, s, n, back: blend(a, b, s, 1, back), "`1` instead of `n_times`"),
        (lambda a, b, s, n, back: blend(a, b, s, n, False), "`False` instead of `backwards`"),
        (lambda a, b, s, n, back: blend(a, b, 1 - s, n, back), "`1 - share` instead of `share`"),
        (lambda a, b, s, n, back: blend(b, a, s, n, back), "`first` and `second` swapped"),
        (lambda a, b, s, n, back: blend(a, a, s, n, back), "`first` instead of `second`"),
        (lambda a, b, s, n, back: b, "`second` instead of `first`"),
    ],
)
def test_an_answer_that_is_right_for_other_arguments(wrong, slip, table, capsys):
    case = Case((torch.zeros(2), torch.ones(2), 0.5, 2, False), torch.full((2,), 0.75))
    table(toy(solution=blend, cases=[case], draw=draw_blend, mistakes=[]))
    assert f"these results are right for {slip}" in answer(capsys, wrong)


def test_what_holds_always_counts_more_than_a_mistake_that_fits_sometimes(table, capsys):
    by_chance = Mistake(lambda x: x[0] + x[-1] - (len(x) - 3) * 99, "first plus last row")
    table(toy(mistakes=[by_chance]))  # twice the mean, if there are three evenly spaced rows
    assert "twice what is expected" in answer(capsys, lambda x: 2 * x.mean(dim=0))
    rarely = answer(capsys, lambda x: 2 * x.mean(dim=0) if len(x) == 3 else x[0])
    assert "first plus last row" not in rarely


def test_with_a_gpu_a_check_runs_in_a_thread(monkeypatch):
    """There autograd would refuse to work in a copy, once it has worked in the process."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    limits.has_copies.cache_clear()
    try:
        assert not limits.has_copies()
        assert limits.call_within(5, threading.current_thread) is not threading.main_thread()
    finally:
        limits.has_copies.cache_clear()
