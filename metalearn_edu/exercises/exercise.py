"""What an exercise is, and how an answer to it is looked at.

An answer passes the cases worked out by hand, then the properties, then a comparison with the
solution on arguments drawn anew at each check, so that no list of stored results can pass. The
first failure is explained: `diagnosis` looks among the exercise's known mistakes first.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, Literal

import torch
from torch import Tensor

from .diagnosis import Mistake, explain, failure, known_mistake, outcome_of
from .differences import copy_of, difference, show
from .limits import OutOfTime, call_within

__all__ = ["Case", "Exercise", "Mistake", "Property", "Verdict", "examine"]

LIMIT_SECONDS = 10.0  # on a busy machine the first use of a part of PyTorch takes some of them
N_DRAWS = 20
Answer = Callable[..., Any]
# What must hold for every right answer: returns "" or, in words, what does not.
Property = Callable[[Answer], str]
State = Literal["not attempted yet", "tried", "correct"]


@dataclass(frozen=True)
class Case:
    """Arguments and the result that was worked out by hand."""

    arguments: tuple[Any, ...]
    result: Any


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A function to write. Its name is that of the solution; the learner's is `my_<name>`.

    Attributes:
        solution: the course's own function; its source is what the learner is shown.
        lesson: the number of the notebook.
        aim: what solving it teaches, as a verb phrase.
        minutes, difficulty: what to expect.
        cases: worked out by hand, small ones first.
        draw: from a generator to the arguments of one more call, other sizes included; None only
            if the properties say all.
        mistakes: typical wrong answers, each with what to say to who gives it.
        hints: a ladder; the first is the idea, and is also given when no known mistake fits.
        properties: checked between the cases and the draws.
        differentiable: gradients by all float tensors must be those of the solution.
        buggy: in an exercise to find the bug, what the learner finds in the notebook.
    """

    solution: Answer
    lesson: int
    aim: str
    minutes: int
    difficulty: Literal["easy", "medium", "hard"]
    cases: Sequence[Case]
    draw: Callable[[torch.Generator], tuple[Any, ...]] | None
    mistakes: Sequence[Mistake]
    hints: Sequence[str]
    properties: Sequence[Property] = ()
    differentiable: bool = False
    buggy: Answer | None = None

    @property
    def name(self) -> str:
        """The name of the solution."""
        return self.solution.__name__

    @property
    def stub(self) -> str:
        """The name of the function that the learner writes."""
        return f"my_{self.name}"

    def key(self) -> str:
        """The solution under the learner's name, after the imports that it needs."""
        text = textwrap.dedent(inspect.getsource(self.solution))
        text = text.replace(f"def {self.name}(", f"def {self.stub}(", 1)
        needed = _imports(self.solution, text)
        return "\n".join([*needed, "", "", text]) if needed else text


@dataclass(frozen=True)
class Verdict:
    """What a check found: the state, and what to print."""

    state: State
    text: str


def examine(exercise: Exercise, answer: Answer) -> Verdict:
    """Look at an answer. Raises nothing; an answer that never ends is stopped."""
    printed = io.StringIO()
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(printed):
            problem = call_within(LIMIT_SECONDS, _problem, exercise, answer)
    except OutOfTime:
        problem = (
            f"it is still running after {LIMIT_SECONDS:g} seconds, and was stopped.\n"
            "Hint: is there a loop that never ends? What makes its condition false?"
        )
    except NotImplementedError:
        return Verdict("not attempted yet", "not attempted yet")
    except Exception as error:  # a result so odd that looking at it fails
        problem = f"its result cannot be looked at ({type(error).__name__}: {error})"
    if not problem:
        return Verdict("correct", "correct")
    return Verdict("tried", "\n".join([f"not right yet: {problem}", *_first_lines(printed)]))


def _problem(exercise: Exercise, answer: Answer) -> str:
    """The first failure with its hint; empty if there is none."""
    problem = _wrong_call(exercise, answer)
    if problem:
        return problem
    if exercise.buggy and _is_untouched(exercise, answer):
        raise NotImplementedError
    return next(filter(None, _problems(exercise, answer)), "")


def _problems(exercise: Exercise, answer: Answer) -> Iterator[str]:
    """What each look at the answer finds, from the simple to the thorough."""
    for case in exercise.cases:
        yield _failure_at(exercise, answer, case.arguments, case.result, exercise.hints[0])
    for holds in exercise.properties:
        yield _broken(exercise, answer, holds)
    for arguments, expected in _drawn(exercise):
        yield _failure_at(exercise, answer, arguments, expected, ONLY_SMALL)
        if exercise.differentiable:
            yield _gradient_failure(exercise, answer, arguments)


def _drawn(exercise: Exercise) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if exercise.draw is None:
        return
    generator = torch.Generator()
    generator.seed()  # other arguments at each check
    for _ in range(N_DRAWS):
        arguments = exercise.draw(generator)
        yield arguments, outcome_of(exercise.solution, arguments).value


def _wrong_call(exercise: Exercise, answer: Answer) -> str:
    wanted = list(inspect.signature(exercise.solution).parameters)
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):
        return ""  # some built-in functions have none
    try:
        signature.bind(*wanted)
    except TypeError:
        return f"it takes {signature}, but it is called with ({', '.join(wanted)})"
    return ""


def _is_untouched(exercise: Exercise, answer: Answer) -> bool:
    """Whether the answer is still the function with the bug, apart from its name."""
    with contextlib.suppress(OSError, TypeError, SyntaxError):
        return _body(answer) == _body(exercise.buggy)
    return False


def _body(function: Any) -> list[str]:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    body = node.body if isinstance(node, ast.FunctionDef) else [node]
    return [ast.dump(line) for line in body if not _is_text(line)]


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _failure_at(
    exercise: Exercise, answer: Answer, arguments: tuple, expected: Any, fallback: str
) -> str:
    outcome = outcome_of(answer, arguments)
    found = failure(outcome, expected)
    if not found:
        changed = difference(outcome.arguments, arguments)
        return f"{_call(exercise, arguments)}: {CHANGES}" if changed else ""
    reason = explain(exercise, answer, arguments) or fallback
    return f"{_call(exercise, arguments)}: {found}.\nHint: {reason}"


ONLY_SMALL = (
    "the small cases are right, and others are not; is a size, an order or a result of the small "
    "cases written into your function?"
)
CHANGES = (
    "the result is right, but your function changes its arguments.\n"
    "Hint: `+=`, `x[i] = ...` and methods that end in _ write into the tensor of the caller; "
    "make a new one"
)


def _broken(exercise: Exercise, answer: Answer, holds: Property) -> str:
    outcome = outcome_of(holds, (answer,))
    if outcome.error is None:
        return str(outcome.value)
    return f"{failure(outcome, None)}.\nHint: {exercise.hints[0]}"


def _gradient_failure(exercise: Exercise, answer: Answer, arguments: tuple) -> str:
    """Whether the gradient of a weighted sum of the result is that of the solution."""
    expected = _gradients(exercise, exercise.solution, arguments)
    assert expected is not None  # the solution has a graph
    outcome = outcome_of(lambda: _gradients(exercise, answer, arguments), ())
    if outcome.error is not None:
        return f"the values are right, but with gradients {failure(outcome, None)}"
    if outcome.value is None:
        return (
            "the values are right, but no gradient flows through your function.\nHint: `.item()`, "
            "`.detach()`, `.data`, `torch.tensor(...)` and `no_grad` cut the graph; later the "
            "outer loop must differentiate through this step"
        )
    found = difference(outcome.value, expected, "the gradients by the arguments")
    if not found:
        return ""
    by_gradients = partial(_by_gradients, exercise)
    values = outcome_of(exercise.solution, arguments).value
    mistakes = [
        Mistake(by_gradients(m.wrong), m.hint)
        for m in exercise.mistakes
        if not failure(outcome_of(m.wrong, arguments), values)  # as with the answer
    ]
    other = replace(exercise, solution=by_gradients(exercise.solution), mistakes=mistakes)
    reason = (
        known_mistake(other, by_gradients(answer), arguments)
        or _cut_off(outcome.value, expected)
        or CUT
    )
    return f"{_call(exercise, arguments)}: the values are right, but {found}.\nHint: {reason}"


def _cut_off(got: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Which arguments no gradient reaches, though it should."""
    names = [f"`{name}`" for name in got if expected[name].any() and not got[name].any()]
    return f"no gradient reaches {' and '.join(names)}: {LOST}" if names else ""


LOST = "`.detach()`, `.data`, `.item()` or `no_grad` cuts it off"
CUT = (
    "does a part of the computation go through `.detach()` or `.data`, or does a small constant "
    "stand in another place? `backward()` inside the function adds to the gradients, too"
)


def _by_gradients(exercise: Exercise, function: Answer) -> Answer:
    """The function with its gradients as the result: some mistakes show in these alone."""
    return wraps(function)(lambda *arguments: _gradients(exercise, function, arguments))


def _gradients(exercise: Exercise, function: Answer, arguments: tuple) -> dict[str, Tensor] | None:
    """What `backward()` leaves in each float tensor among the arguments; None without a graph."""
    arguments = copy_of(arguments)
    names = inspect.signature(exercise.solution).parameters
    leaves = {
        name: a
        for name, a in zip(names, arguments, strict=False)
        if isinstance(a, Tensor) and a.is_floating_point()
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    torch.manual_seed(0)
    result = function(*arguments)
    parts = [result] if isinstance(result, Tensor) else result
    parts = [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()]
    if not all(part.requires_grad for part in parts):
        return None
    flat = torch.cat([part.flatten() for part in parts])
    weights = torch.arange(1, len(flat) + 1) / len(flat)  # each value counts differently
    (flat * weights).sum().backward()
    return {
        name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for name, leaf in leaves.items()
    }


def _call(exercise: Exercise, arguments: Iterable[Any]) -> str:
    """For which arguments, by name."""
    names = inspect.signature(exercise.solution).parameters
    pairs = zip(names, arguments, strict=False)
    return "for " + ", ".join(f"{name} = {show(value)}" for name, value in pairs)


def _first_lines(printed: io.StringIO, n: int = 5) -> list[str]:
    lines = list(dict.fromkeys(printed.getvalue().splitlines()))
    return ["It printed:", *(f"    {line[:100]}" for line in lines[:n])] if lines else []


def _imports(function: Answer, text: str) -> list[str]:
    """Import statements for the names that a function takes from its module."""
    module = inspect.getmodule(function)
    assert module is not None
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    lines = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept = [a for a in node.names if (a.asname or a.name) in used]
            used -= {a.asname or a.name for a in kept}
            lines += [_absolute(node, kept, module.__name__)] if kept else []
    own = sorted(name for name in used & set(vars(module)) if not name.startswith("__"))
    return lines + ([f"from {module.__name__} import {', '.join(own)}"] if own else [])


def _absolute(node: ast.Import | ast.ImportFrom, names: list[ast.alias], module: str) -> str:
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import(names))
    parents = module.split(".")[: -node.level] if node.level else []
    return ast.unparse(ast.ImportFrom(".".join([*parents, node.module or ""]), names, 0))
