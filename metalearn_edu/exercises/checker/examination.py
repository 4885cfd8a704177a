"""How an answer to an exercise is examined.

An answer passes the cases worked out by hand, then the properties, then a comparison with the
solution on fresh arguments at each check, so that no list of stored results can pass. The first
failure is explained: `diagnosis` looks among the exercise's known mistakes first. Gradients count
only if the text of the exercise requires them.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from .diagnosis import explain, known_mistake
from .differences import changes, copy_of, difference, show
from .exercise import Answer, Exercise, Mistake, Property, Verdict
from .limits import MEMORY, OutOfTime, call_within
from .outcomes import Outcome, failure, outcome_of

__all__ = ["examine"]

LIMIT_SECONDS = (
    10.0  # seconds of processor time; the first use of a part of PyTorch takes two of them
)
N_DRAWS = 20


def examine(exercise: Exercise, answer: Answer) -> Verdict:
    """Examine an answer. Raises nothing; an answer that never ends is stopped."""
    try:
        return call_within(LIMIT_SECONDS, _verdicts, exercise, answer)
    except OutOfTime as stop:
        return stop.so_far or Verdict("tried", f"not right yet: {stop}")


def _verdicts(exercise: Exercise, answer: Answer) -> Iterator[Verdict]:
    """The verdict; before the search for a hint, which may take too long, one without a hint."""
    printed = io.StringIO()
    with _as_ever(printed):
        try:
            found = _first_failure(exercise, answer)
            if found is None:
                yield Verdict("correct", "correct")
                return
            yield _tried(found.text(found.fallback), printed)
            yield _tried(found.text(found.hint() or found.fallback), printed)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                yield Verdict("not attempted yet", "not attempted yet")
                return
            kind = type(error).__name__  # a result so odd that inspecting it fails
            yield _tried(f"its result cannot be looked at ({kind}: {error})", printed)


@contextlib.contextmanager
def _as_ever(printed: io.StringIO) -> Iterator[None]:
    """Fixed settings, whatever those of the caller, whose random numbers do not change."""
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        yield


def _tried(problem: str, printed: io.StringIO) -> Verdict:
    return Verdict("tried", "\n".join([f"not right yet: {problem}", *_first_lines(printed)]))


@dataclass(frozen=True)
class _Failure:
    """What is wrong, and how to find a hint that fits."""

    what: str
    fallback: str = ""
    hint: Callable[[], str] = field(default=lambda: "")

    def text(self, hint: str) -> str:
        return f"{self.what}.\nHint: {hint}" if hint else self.what


def _first_failure(exercise: Exercise, answer: Answer) -> _Failure | None:
    wrong = _wrong_call(exercise, answer)
    if wrong:
        return _Failure(wrong)
    if exercise.buggy and _is_untouched(exercise, answer):
        raise NotImplementedError
    return next(filter(None, _failures(exercise, answer)), None)


def _failures(exercise: Exercise, answer: Answer) -> Iterator[_Failure | None]:
    """What each test of the answer finds, from the simple to the thorough."""
    for case in exercise.cases:
        yield _failure_at(exercise, answer, case.arguments, case.result, _idea(exercise))
    for holds in exercise.properties:
        yield _broken(exercise, answer, holds)
    for arguments, expected in _drawn(exercise):
        yield _failure_at(exercise, answer, arguments, expected, ONLY_SMALL)
    if exercise.gradients:
        for arguments in [*(case.arguments for case in exercise.cases), *_draws(exercise)]:
            yield _gradient_failure(exercise, answer, arguments)


def _idea(exercise: Exercise) -> str:
    """What to say about an answer that does something unknown."""
    return MENDED_OTHERWISE if exercise.buggy else exercise.hints[0]


MENDED_OTHERWISE = (
    "this does something else than the function with the bug did, but not yet what it should; "
    "go through these arguments by hand, line by line"
)


def _draws(exercise: Exercise) -> Iterator[tuple[Any, ...]]:
    if exercise.draw is None:
        return
    generator = torch.Generator()
    generator.seed()  # other arguments at each check
    for _ in range(N_DRAWS):
        yield exercise.draw(generator)


def _drawn(exercise: Exercise) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for arguments in _draws(exercise):
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


@lru_cache(maxsize=100)
def _body(function: Any) -> list[str]:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    body = node.body if isinstance(node, ast.FunctionDef) else [node]
    return [ast.dump(line) for line in body if not _is_text(line)]


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _failure_at(
    exercise: Exercise, answer: Answer, arguments: tuple, expected: Any, fallback: str
) -> _Failure | None:
    outcome = outcome_of(answer, arguments)
    found = failure(outcome, expected, any_float=not _has_floats(arguments))
    if found and _rounds_otherwise(exercise, answer, arguments, outcome):
        found = ""
    call = _call(exercise, arguments)
    if not found:
        return _Failure(f"{call}: {CHANGES}") if changes(outcome.arguments, arguments) else None
    if _is_memory(outcome):
        return _Failure(f"{call}: {found}", TOO_MUCH)
    return _Failure(f"{call}: {found}", fallback, lambda: explain(exercise, answer, arguments))


def _has_floats(arguments: tuple) -> bool:
    """Whether the precision of a result follows from the arguments."""
    return any(isinstance(a, Tensor) and a.is_floating_point() for a in arguments)


def _is_memory(outcome: Outcome) -> bool:
    return isinstance(outcome.error, MemoryError) or "allocate memory" in str(outcome.error)


TOO_MUCH = (
    f"it asks for more than {MEMORY >> 30} GB of memory; does a list or a tensor grow without end?"
)
ONLY_SMALL = (
    "the small cases are right, and others are not; is a size, an order or a result of the small "
    "cases written into your function?"
)
CHANGES = (
    "the result is right, but your function changes its arguments.\n"
    "Hint: `+=`, `x[i] = ...` and methods that end in _, `requires_grad_()` too, change the tensor "
    "of the caller; make a new one"
)


def _broken(exercise: Exercise, answer: Answer, holds: Property) -> _Failure | None:
    outcome = outcome_of(holds, (answer,), quoted=answer)
    if outcome.error is None:
        return _Failure(outcome.value) if outcome.value else None
    return _Failure(failure(outcome, None), _idea(exercise))


def _gradient_failure(exercise: Exercise, answer: Answer, arguments: tuple) -> _Failure | None:
    """Whether the gradient of a weighted sum of the result is that of the solution."""
    expected = _gradients(exercise, exercise.solution, arguments) or {}
    outcome = outcome_of(partial(_gradients, exercise, answer), (arguments,), quoted=answer)
    if outcome.error is not None:
        return _Failure(f"the values are right, but with gradients {failure(outcome, None)}", CUT)
    if outcome.value is None:
        return _Failure(
            "the values are right, but no gradient flows through your function", CUT_OFF
        )
    found = _gradient_difference(outcome.value, expected)
    if not found or _agree_in_double(exercise, answer, arguments):
        return None
    return _Failure(
        f"{_call(exercise, arguments)}: the values are right, but {found}",
        _cut_off(outcome.value, expected) or CUT,
        lambda: _gradient_mistake(exercise, answer, arguments),
    )


def _gradient_difference(got: Any, expected: Any) -> str:
    return difference(got, expected, "the gradients with respect to the arguments")


def _agree_in_double(exercise: Exercise, answer: Answer, arguments: tuple) -> bool:
    """Whether the gradients are the same with twice as many digits, so that rounding was all."""
    exact = _exact(arguments)
    with contextlib.suppress(Exception):  # an answer may be made only for float32
        expected = _gradients(exercise, exercise.solution, exact)
        return not _gradient_difference(_gradients(exercise, answer, exact), expected)
    return False


def _rounds_otherwise(
    exercise: Exercise, answer: Answer, arguments: tuple, outcome: Outcome
) -> bool:
    """Whether the values are nearly right, and right with twice as many digits."""
    if difference(outcome.value, outcome_of(exercise.solution, arguments).value, rtol=0.02):
        return False
    exact = _exact(arguments)
    again, expected = outcome_of(answer, exact), outcome_of(exercise.solution, exact)
    return again.error is None and not difference(again.value, expected.value, rtol=1e-6)


def _exact(arguments: tuple) -> tuple:
    return tuple(
        a.detach().double().requires_grad_(a.requires_grad)
        if isinstance(a, Tensor) and a.dtype == torch.float32
        else a
        for a in arguments
    )


def _gradient_mistake(exercise: Exercise, answer: Answer, arguments: tuple) -> str:
    """The hint of a known mistake with these gradients, and with the same values."""
    values = outcome_of(exercise.solution, arguments).value
    other = _with_gradients(exercise)
    likely = [
        mistake
        for mistake, known in zip(other.mistakes, exercise.mistakes, strict=True)
        if not failure(outcome_of(known.wrong, arguments), values)
    ]
    return known_mistake(other, _by_gradients(exercise, answer), arguments, likely)


@lru_cache(maxsize=100)
def _with_gradients(exercise: Exercise) -> Exercise:
    """The exercise with gradients as results: some mistakes show only in these."""
    mistakes = [Mistake(_by_gradients(exercise, m.wrong), m.hint) for m in exercise.mistakes]
    return replace(exercise, solution=_by_gradients(exercise, exercise.solution), mistakes=mistakes)


def _by_gradients(exercise: Exercise, function: Answer) -> Answer:
    """The function with its gradients as the result."""
    return lambda *arguments: _gradients(exercise, function, arguments)


def _cut_off(got: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Which arguments no gradient reaches although it should."""
    names = [f"`{name}`" for name in got if expected[name].any() and not got[name].any()]
    return f"no gradient reaches {' and '.join(names)}: {LOST}" if names else ""


LOST = "`.detach()`, `.data`, `.item()` or `no_grad` cuts it off"
CUT_OFF = (
    "`.item()`, `.detach()`, `.data`, `torch.tensor(...)` and `no_grad` cut the graph; later the "
    "outer loop must differentiate through this step"
)
CUT = (
    "does a part of the computation go through `.detach()` or `.data`, or does a small constant "
    "stand in another place? `backward()` inside the function adds to the gradients, too"
)


def _gradients(exercise: Exercise, function: Answer, arguments: tuple) -> dict[str, Tensor] | None:
    """What `backward()` leaves in each argument that counts; None without a graph."""
    arguments = copy_of(arguments)
    names = inspect.signature(exercise.solution).parameters
    leaves = {
        name: a
        for name, a in zip(names, arguments, strict=False)
        if name in exercise.gradients and isinstance(a, Tensor)
    }
    for leaf in leaves.values():
        leaf.requires_grad_()
    torch.default_generator.manual_seed(0)
    result = function(*arguments)
    parts = result if isinstance(result, tuple | list) else [result]
    parts = [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()]
    if not parts or not all(part.requires_grad for part in parts):
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
    return ["It printed:", *(f"    {line[:300]}" for line in lines[:n])] if lines else []
