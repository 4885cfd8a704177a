"""What must hold for every exercise and question of every lesson, from the lessons' own tables."""

import ast
import copy
import inspect
import io
import linecache
import re
from dataclasses import replace
from functools import cache, partial
from itertools import chain

import nbformat
import pytest
import torch

from metalearn_edu import exercises
from metalearn_edu.exercises import Exercise, Question, all_exercises
from metalearn_edu.exercises.checker import examination as engine
from metalearn_edu.exercises.checker.differences import difference
from metalearn_edu.exercises.checker.near_misses import near_misses
from metalearn_edu.exercises.checker.outcomes import outcome_of
from metalearn_edu.exercises.views import Help
from tools import build_notebooks as build
from tools.instructor import solve

CODE = {name: item for name, item in all_exercises().items() if isinstance(item, Exercise)}
QUESTIONS = {name: item for name, item in all_exercises().items() if isinstance(item, Question)}
SOURCES = {int(path.stem[:2]): path for path in build.find_sources()}
NOTEBOOKS = sorted({item.lesson for item in all_exercises().values()})

each_exercise = pytest.mark.parametrize("exercise", CODE.values(), ids=CODE)
each_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)


@pytest.fixture(autouse=True)
def long_lines(monkeypatch):
    monkeypatch.setattr(exercises, "WIDTH", 10_000)


IN_A_COPY = engine.call_within


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """A copy of the process costs more than most checks; `test_checker` is about copies."""
    monkeypatch.setattr(engine, "call_within", lambda _, function, *args: [*function(*args)][-1])


def verdict(function, exercise):
    """What a check says."""
    return engine.examine(exercise, function)


@cache
def cells(lesson):
    """The code cells of a lesson's source."""
    return [c.source for c in build.code_cells(build.read_source(SOURCES[lesson]))]


@cache
def trees(lesson):
    """The code cells of a lesson's source, parsed."""
    return [ast.parse(source) for source in cells(lesson)]


def run_cell(lesson, number, source):
    """Run one cell after the imports of those before it, and nothing else."""
    before = [node for tree in trees(lesson)[:number] for node in tree.body]
    imports = [node for node in before if isinstance(node, ast.Import | ast.ImportFrom)]
    scope = {}
    exec("\n".join(map(ast.unparse, imports)), scope)
    file = f"<{lesson:02d}, cell {number}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), scope)
    return scope


def cell_of(exercise):
    """(number, source) of the one cell with the learner's function."""
    places = [
        (lesson, number, source)
        for lesson in SOURCES
        for number, source in enumerate(cells(lesson))
        if f"def {exercise.stub}(" in source
    ]
    assert [lesson for lesson, _, _ in places] == [exercise.lesson], f"{exercise.stub}: {places}"
    return places[0][1:]


# --- the table of exercises ------------------------------------------------------------------


@each_exercise
def test_an_exercise_is_complete(exercise):
    assert exercise.minutes > 0 and exercise.aim and len(exercise.hints) >= 2
    assert exercise.solution.__doc__ and len(exercise.mistakes) >= 3
    hints = [m.hint for m in exercise.mistakes]
    assert len(set(hints)) >= 3, "three mistakes of three kinds"
    assert exercise.draw is not None or exercise.properties


@each_exercise
def test_the_solution_gives_what_was_worked_out_by_hand(exercise):
    for case in exercise.cases:
        outcome = outcome_of(exercise.solution, case.arguments)
        assert outcome.error is None and difference(outcome.value, case.result) == ""


@each_exercise
def test_the_solution_and_other_right_ways_are_correct(exercise):
    for way in (exercise.solution, *exercise.ways):
        for _ in range(3):  # other arguments each time
            assert verdict(way, exercise).text == "correct"


@each_exercise
def test_each_mistake_gets_its_own_hint(exercise):
    verdicts = [(verdict(m.wrong, exercise), m) for m in exercise.mistakes]
    lost = [(m.hint, v.text) for v, m in verdicts if v.state != "tried" or m.hint not in v.text]
    assert not lost


@each_exercise
def test_a_mistake_stops_for_no_name_that_nobody_knows(exercise):
    """An edit that left half a name behind would be a mistake that nobody makes."""
    generator = torch.Generator().manual_seed(0)
    calls = [case.arguments for case in exercise.cases]
    calls += [exercise.draw(generator) for _ in range(3)] if exercise.draw else []
    errors = {m.hint: outcome_of(m.wrong, c).error for m in exercise.mistakes for c in calls}
    assert not {h: e for h, e in errors.items() if isinstance(e, NameError | SyntaxError)}


@each_exercise
def test_a_mistake_passes_by_luck_once_in_a_million_checks(exercise, monkeypatch):
    """What no case shows must show in half of the draws, of which a check makes 20."""
    monkeypatch.setattr(engine, "explain", lambda *_: "")  # which hint is not the question
    monkeypatch.setattr(engine, "N_DRAWS", 0)
    wrongs = [m.wrong for m in exercise.mistakes if not any(engine._failures(exercise, m.wrong))]
    monkeypatch.setattr(engine, "N_DRAWS", 1)
    generator = torch.Generator().manual_seed(0)
    drawn = replace(exercise, cases=[], properties=[], draw=lambda _: exercise.draw(generator))
    for wrong in wrongs:
        assert sum(any(engine._failures(drawn, wrong)) for _ in range(50)) >= 25, wrong.__name__


# --- near misses -----------------------------------------------------------------------------

# Changes by rule that a check lets pass, since they change nothing that counts.
EQUIVALENT = {
    "share_right": {"len(answers)": "as many answers as queries"},
    "attention_probabilities": {
        ".to(support_z.dtype)": "all tensors are of one dtype",
        "support_z.new_zeros": "all tensors are of one dtype",
    },
    "remap_labels": {"ids.index(y) for y in ys]": "a tensor without dimensions equals its number"},
    "all_pairs": {
        "2 * query_z.shape[1]": "classes and queries have the same d",
        "query_z.new_zeros": "all tensors are of one dtype",
    },
    "relation_logits": {"d = query_z.shape[1]": "classes and queries have the same d"},
    "squared_error": {"targets[range(len(scores))": "as many labels as rows of scores"},
    "linear_meta_gradient": {
        "/ len(query_y)": "as many targets as rows",
        "dtype=support_x.dtype": "all tensors are of one dtype",
        "dtype=support_y.dtype": "all tensors are of one dtype",
        "dtype=query_x.dtype": "all tensors are of one dtype",
        "dtype=query_y.dtype": "all tensors are of one dtype",
    },
    "meta_gradient": {"w)[-1]": "there is one gradient, the first and the last"},
    "late_labels": {"known = F.one_hot(y, n_way)": "`cat` with floats makes floats"},
    "read_weights": {"dim=-1)": "the only axis is the last"},
    "write_step": {
        "-> least = F.one_hot(usage.argmin(), len(usage))": "whole numbers times floats are floats",
        ".to(memory.dtype)": "all tensors are of one dtype",
        ".to(read_before.dtype)": "all tensors are of one dtype",
        ".to(read_now.dtype)": "all tensors are of one dtype",
        ".to(row.dtype)": "all tensors are of one dtype",
        "len(memory))": "as many usages as slots",
        "len(read_before))": "as many reads as slots",
        "len(read_now))": "as many reads as slots",
    },
    "stream_inputs": {
        "known = F.one_hot(y, n_way)": "`cat` with floats makes floats",
        ".to(y.dtype)": "`cat` with floats makes floats",
    },
    "heard_at": {
        "(y[t] + 1) % 4": "another label from 0 to 4 all the same",
        "(y[t] - 1) % 5": "another label from 0 to 4 all the same",
        "(y[t] + 2) % 5": "another label from 0 to 4 all the same",
        "else len(x)": "as many items as labels",
    },
    "gradient_step": {"/ len(x)": "as many targets as items"},
    "attend": {"k.shape[1]": "queries and keys have the same d"},
    "ridge_posterior": {"torch.eye(query.shape[1])": "items and queries have the same d"},
    "reptile_step": {
        "-> fast_w = fast_w - inner_lr * gradient": "a longer graph, and the same gradient"
    },
    "implicit_gradient": {"torch.eye(len(query_gradient))": "H has as many rows as the gradient"},
    "adapt_each_task": {
        "-> fast_w = fast_w - inner_lr * velocity": "a longer graph, and the same gradient"
    },
    "solved_meta_gradient": {
        "phi, slope = (w, hessian @ (w - optimum)) ->": "the minimum is the same from anywhere",
        "-> for _ in range(": "the slope is nearly 0 long before the last step",
        "torch.eye(len(": "all have d rows",
    },
    "best_measured": {".square().mean(dim=1)": "a third of the sum is smallest at the same place"},
}


@each_exercise
def test_no_near_miss_of_a_right_way_is_correct(exercise):
    passed = {
        miss.name
        for way in (exercise.solution, *exercise.ways)
        for miss in near_misses(way)
        if all(is_correct(miss.function, exercise) for _ in range(3))  # not by luck
    }
    known = EQUIVALENT.get(exercise.name, {})
    assert {name for name in passed if not any(part in name for part in known)} == set()


def is_correct(function, exercise):
    """Whether an answer is correct."""
    try:
        with engine._as_ever(io.StringIO()):
            return engine._first_failure(exercise, function) is None
    except NotImplementedError:  # it is the bug that was shipped
        return False


# --- attacks ---------------------------------------------------------------------------------


def raises(solution, arguments):
    return [][0]


def returns_nothing(solution, arguments):
    return None


def prints(solution, arguments):
    print(solution(*arguments))


def leaves(solution, arguments):
    raise SystemExit


def never_ends(solution, arguments):
    while True:
        pass


def other_kind(solution, arguments):
    """The same result as a kind that was not asked for."""
    value = solution(*arguments)
    if isinstance(value, torch.Tensor) and value.ndim:
        return value.detach().numpy()
    is_number = isinstance(value, bool | int | float | torch.Tensor)  # these have many forms
    return str(value) if is_number else list(map(str, value))


def other_dtype(solution, arguments):
    """Tensors that hold something else: whole numbers where no argument says which floats."""
    value = solution(*arguments)
    if any(isinstance(a, torch.Tensor) and a.is_floating_point() for a in arguments):
        change = {torch.float32: torch.float64, torch.float64: torch.float32}
    else:
        change = {torch.float32: torch.int64, torch.int64: torch.int32}
    parts = value if isinstance(value, tuple) else (value,)
    parts = tuple(
        v.to(change.get(v.dtype, torch.int32)) if isinstance(v, torch.Tensor) and v.ndim else str(v)
        for v in parts
    )
    return parts if isinstance(value, tuple) else parts[0]


def in_place(solution, arguments):
    value = kept(solution(*arguments))  # the result may be a view of an argument
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            argument.data.fill_(7)
    return value


def kept(value):
    """A copy; one of a tensor that has a graph is a tensor without."""
    if isinstance(value, tuple):
        return tuple(map(kept, value))
    return copy.deepcopy(value.detach() if isinstance(value, torch.Tensor) else value)


def list_of_wrongs(exercise):
    attacks = [raises, returns_nothing, prints, leaves, other_kind, other_dtype]
    tensors = [isinstance(a, torch.Tensor) for c in exercise.cases for a in c.arguments]
    return attacks + [in_place] * any(tensors)


@each_exercise
def test_no_attack_is_correct(exercise):
    for attack in list_of_wrongs(exercise):
        found = verdict(partial(attacked, attack, exercise.solution), exercise)
        assert found.state == "tried" and "Traceback" not in found.text, attack.__name__
        assert attack is not in_place or "changes its arguments" in found.text


@each_exercise
def test_an_answer_that_never_ends_is_stopped(exercise, monkeypatch):
    monkeypatch.setattr(engine, "call_within", IN_A_COPY)
    monkeypatch.setattr(engine, "LIMIT_SECONDS", 0.05)
    found = verdict(partial(attacked, never_ends, exercise.solution), exercise)
    assert found.state == "tried" and "still running" in found.text


def attacked(attack, solution, *arguments):
    return attack(solution, arguments)


@each_exercise
def test_no_stored_result_is_correct(exercise):
    stored = [(c.arguments, c.result) for c in exercise.cases]

    def by_heart(*arguments):
        for known, result in stored:
            if difference(arguments, known) == "":
                return result
        return stored[-1][1] if stored else None

    assert verdict(by_heart, exercise).state == "tried"


@pytest.mark.parametrize("exercise", [e for e in CODE.values() if e.gradients])
def test_a_detached_result_is_found(exercise):
    def detached(*arguments):
        return kept(exercise.solution(*arguments))

    assert "no gradient flows" in verdict(detached, exercise).text


# --- questions -------------------------------------------------------------------------------


@each_question
def test_a_question_is_complete(question, capsys):
    assert question.minutes > 0 and question.aim and len(question.options) >= 3
    assert len({o.reason for o in question.options.values()}) == len(question.options)
    assert all(option.reason for option in question.options.values())


@each_question
def test_a_question_stands_in_one_notebook(question):
    call = re.compile(rf"\bpredict\(\"{question.name}\"\)")
    found = [lesson for lesson in SOURCES for source in cells(lesson) if call.search(source)]
    assert found == [question.lesson]


# --- the notebooks ---------------------------------------------------------------------------


@each_exercise
def test_the_stub_has_the_arguments_of_the_solution_and_is_not_attempted_yet(exercise, capsys):
    number, source = cell_of(exercise)
    scope = run_cell(exercise.lesson, number, source)
    wanted = list(inspect.signature(exercise.solution).parameters)
    assert list(inspect.signature(scope[exercise.stub]).parameters) == wanted
    assert f"check({exercise.stub})" in source
    said = f"{exercise.stub}: not attempted yet\n{Help(exercise, is_solved=False)}\n"
    assert capsys.readouterr().out == said


@each_exercise
def test_the_cell_with_the_solution_is_correct(exercise, capsys):
    number, source = cell_of(exercise)
    scope = run_cell(exercise.lesson, number, solve(source))
    assert capsys.readouterr().out == f"{exercise.stub}: correct\n"
    assert scope[exercise.stub] is not exercise.solution


@each_exercise
def test_nothing_else_depends_on_the_answer(exercise):
    """So a notebook with all solutions differs from the learner's in the checks alone.

    The cell of the exercise needs the imports above it and no more (it ran so in the tests
    above), no other cell uses the learner's function, and what the solution imports is not
    something else in the notebook.
    """
    number, source = cell_of(exercise)
    cells_with_names = names(exercise.lesson)
    others = cells_with_names[:number] + cells_with_names[number + 1 :]
    assert not any(n.id == exercise.stub for n in chain(*others))
    assigned = {n.id for n in chain(*others) if not isinstance(n.ctx, ast.Load)}
    assert not assigned & set(imported(solve(source))), "the solution's import hides a variable"


@cache
def names(lesson):
    """All names in each code cell."""
    return [[n for n in ast.walk(tree) if isinstance(n, ast.Name)] for tree in trees(lesson)]


def imported(source):
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
    return [a.asname or a.name for node in nodes for a in node.names]


@pytest.mark.parametrize("lesson", NOTEBOOKS)
def test_stored_checks_say_not_attempted_yet_and_show_the_hints_of_today(lesson):
    stored = nbformat.read(build.notebook_of(SOURCES[lesson]), as_version=4)
    checks = [c for c in build.code_cells(stored) if re.search(r"^check\(my_", c.source, re.M)]
    asked = [exercise for exercise in CODE.values() if exercise.lesson == lesson]
    assert len(checks) == len(asked)
    for exercise in asked:
        (cell,) = [c for c in checks if f"def {exercise.stub}(" in c.source]
        printed, below = cell.outputs
        assert printed.text == f"{exercise.stub}: not attempted yet\n"
        shown = Help(exercise, is_solved=False)
        assert below.data["text/plain"] == repr(shown)
        assert below.data["text/html"] == shown._repr_html_()
