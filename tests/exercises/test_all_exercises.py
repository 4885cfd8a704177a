"""What must hold for every exercise and question of every lesson, from the lessons' own tables."""

import ast
import copy
import inspect
import linecache
import re
from dataclasses import replace

import nbformat
import pytest
import torch

from metalearn_edu.exercises import Exercise, Question, all_exercises, check
from metalearn_edu.exercises import exercise as engine
from metalearn_edu.exercises.diagnosis import outcome_of
from metalearn_edu.exercises.differences import difference
from tools import build_notebooks as build
from tools.instructor import solve

CODE = {name: item for name, item in all_exercises().items() if isinstance(item, Exercise)}
QUESTIONS = {name: item for name, item in all_exercises().items() if isinstance(item, Question)}
MISTAKES = [
    pytest.param(e, m, id=f"{e.name}-{m.wrong.__name__}") for e in CODE.values() for m in e.mistakes
]
SOURCES = {int(path.stem[:2]): path for path in build.find_sources()}
NOTEBOOKS = sorted({item.lesson for item in all_exercises().values()})

each_exercise = pytest.mark.parametrize("exercise", CODE.values(), ids=CODE)
each_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)


def answer(capsys, function, exercise):
    check(function, exercise.name)
    return capsys.readouterr().out


def cells(lesson):
    """The code cells of a lesson's source."""
    return [c.source for c in build.code_cells(build.read_source(SOURCES[lesson]))]


def run_cell(lesson, number, source):
    """Run one cell after the imports of those before it, and nothing else."""
    before = "\n".join(cells(lesson)[:number])
    imports = [n for n in ast.parse(before).body if isinstance(n, ast.Import | ast.ImportFrom)]
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
def test_the_solution_is_correct(exercise, capsys):
    for _ in range(3):  # other arguments each time
        assert answer(capsys, exercise.solution, exercise) == f"{exercise.name}: correct\n"


@pytest.mark.parametrize("exercise, mistake", MISTAKES)
def test_a_mistake_gets_its_own_hint(exercise, mistake, capsys):
    out = answer(capsys, mistake.wrong, exercise)
    assert "not right yet" in out and mistake.hint in out


@pytest.mark.parametrize("exercise, mistake", MISTAKES)
def test_a_mistake_passes_by_luck_once_in_a_million_checks(exercise, mistake, monkeypatch):
    """What no case shows must show in half of the draws, of which a check makes 20."""
    monkeypatch.setattr(engine, "explain", lambda *_: "")  # which hint is not the question
    monkeypatch.setattr(engine, "N_DRAWS", 0)
    if any(engine._problems(exercise, mistake.wrong)):
        return
    monkeypatch.setattr(engine, "N_DRAWS", 1)
    generator = torch.Generator().manual_seed(0)
    drawn = replace(exercise, cases=[], draw=lambda _: exercise.draw(generator))
    shown = [any(engine._problems(drawn, mistake.wrong)) for _ in range(50)]
    assert sum(shown) >= 25


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
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    return str(value) if isinstance(value, bool | int | float) else list(map(str, value))


def other_dtype(solution, arguments):
    value = solution(*arguments)
    change = {torch.float32: torch.float64, torch.float64: torch.float32, torch.int64: torch.int32}
    parts = value if isinstance(value, tuple) else (value,)
    parts = tuple(v.to(change[v.dtype]) if isinstance(v, torch.Tensor) else str(v) for v in parts)
    return parts if isinstance(value, tuple) else parts[0]


def in_place(solution, arguments):
    value = kept(solution(*arguments))  # the result may be a view of an argument
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            argument.data.zero_().add_(7)
    return value


def kept(value):
    """A copy; one of a tensor that has a graph is a tensor without."""
    if isinstance(value, tuple):
        return tuple(map(kept, value))
    return copy.deepcopy(value.detach() if isinstance(value, torch.Tensor) else value)


def list_of_wrongs(exercise):
    attacks = [raises, returns_nothing, prints, leaves, never_ends, other_kind, other_dtype]
    tensors = [isinstance(a, torch.Tensor) for c in exercise.cases for a in c.arguments]
    return attacks + [in_place] * any(tensors)


ATTACKS = [
    pytest.param(e, a, id=f"{e.name}-{a.__name__}")
    for e in CODE.values()
    for a in list_of_wrongs(e)
]


@pytest.mark.parametrize("exercise, attack", ATTACKS)
def test_no_attack_is_correct_or_ends_in_a_traceback(exercise, attack, capsys, monkeypatch):
    monkeypatch.setattr(engine, "LIMIT_SECONDS", 0.3 if attack is never_ends else 30)
    out = answer(capsys, lambda *arguments: attack(exercise.solution, arguments), exercise)
    assert "not right yet" in out and "correct" not in out and "Traceback" not in out
    assert attack is not never_ends or "still running" in out
    assert attack is not in_place or "changes its arguments" in out


@each_exercise
def test_no_stored_result_is_correct(exercise, capsys):
    stored = [(c.arguments, c.result) for c in exercise.cases]

    def by_heart(*arguments):
        for known, result in stored:
            if difference(arguments, known) == "":
                return result
        return stored[-1][1] if stored else None

    assert "not right yet" in answer(capsys, by_heart, exercise)


@pytest.mark.parametrize("exercise", [e for e in CODE.values() if e.differentiable])
def test_a_detached_result_is_found(exercise, capsys):
    def detached(*arguments):
        return kept(exercise.solution(*arguments))

    assert "no gradient flows" in answer(capsys, detached, exercise)


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
def test_the_stub_has_the_arguments_of_the_solution(exercise):
    number, source = cell_of(exercise)
    scope = run_cell(exercise.lesson, number, source)
    wanted = list(inspect.signature(exercise.solution).parameters)
    assert list(inspect.signature(scope[exercise.stub]).parameters) == wanted
    assert f"check({exercise.stub})" in source


@each_exercise
def test_an_unfilled_stub_is_not_attempted_yet(exercise, capsys):
    run_cell(exercise.lesson, *cell_of(exercise))
    assert capsys.readouterr().out == f"{exercise.stub}: not attempted yet\n"


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
    others = [s for i, s in enumerate(cells(exercise.lesson)) if i != number]
    trees = [ast.parse(s) for s in others]
    names = {n.id for t in trees for n in ast.walk(t) if isinstance(n, ast.Name)}
    assert exercise.stub not in names
    assigned = {
        n.id
        for t in trees
        for n in ast.walk(t)
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    assert not assigned & set(imported(solve(source))), "the solution's import hides a variable"


def imported(source):
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
    return [a.asname or a.name for node in nodes for a in node.names]


@pytest.mark.parametrize("lesson", NOTEBOOKS)
def test_stored_checks_say_not_attempted_yet(lesson):
    notebook = nbformat.read(build.notebook_of(SOURCES[lesson]), as_version=4)
    stored = "".join(
        t for c in build.code_cells(notebook) for o in c.outputs for t in build.texts(o)
    )
    for exercise in CODE.values():
        if exercise.lesson == lesson:
            assert f"{exercise.stub}: not attempted yet\n" in stored
