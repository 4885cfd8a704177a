"""Why is an answer wrong? Its results are held against those of known wrong answers.

If the results, or the first wrong value of several, are what a known mistake gives, its hint fits.
If that is not so in all examples, we ask whether only their form is wrong, a list, another shape or
another order of the values, and look for a simple relation to the right results that does hold in
all: the negative, the square, n times as much where n is a size of an argument. Then we ask whether
they are right for other arguments. Then a mistake that fits most examples will do, or an argument
that the answer never looks at; of a mistake that fits few examples we say "perhaps".
"""

from __future__ import annotations

import contextlib
import inspect
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .differences import copy_of, difference
from .slips import slips, variants

if TYPE_CHECKING:
    from .exercise import Exercise

__all__ = ["Mistake", "Outcome", "explain", "failure", "known_mistake", "outcome_of"]

N_EXAMPLES = 8


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and the sentence that helps them."""

    wrong: Callable[..., Any]
    hint: str


@dataclass(frozen=True)
class Outcome:
    """What a call gave: a value or an error, and its arguments after the call."""

    value: Any
    error: BaseException | None
    arguments: tuple[Any, ...]
    line: str = ""


def outcome_of(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    """Call a function on copies of the arguments, with torch's random numbers from one seed.

    Raises:
        NotImplementedError: the function is a stub; other errors are part of the outcome.
    """
    copies = copy_of(arguments)
    torch.manual_seed(0)
    try:
        return Outcome(function(*copies), None, copies)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, NotImplementedError) and not str(error):
            raise  # with a message it comes from torch, which uses it for what it cannot do
        return Outcome(None, error, copies, _line(error, function))


def failure(outcome: Outcome, expected: Any) -> str:
    """What is wrong with an outcome, in words; empty if nothing is."""
    error = outcome.error
    if error is None:
        return difference(outcome.value, expected)
    return f"it stops with {type(error).__name__}: {_message(error)}{outcome.line}"


def explain(exercise: Exercise, answer: Callable[..., Any], failed: tuple[Any, ...]) -> str:
    """The hint that fits an answer which fails for the arguments `failed`; empty if none does."""
    examples = _examples(exercise, answer, failed)
    hits = _hits(exercise, examples)
    return (
        _best(hits, len(examples))
        or _form(examples)
        or _exchanged(examples)
        or _relation(examples, partial(_by_formula, exercise))
        or _slip(exercise, examples)
        or _best(hits, len(examples) / 2)
        or _ignored(exercise, answer, examples)
        or _relation(examples, _by_order)
        or ("perhaps: " + _best(hits, 1) if hits else "")
    )


def known_mistake(exercise: Exercise, answer: Callable[..., Any], failed: tuple[Any, ...]) -> str:
    """The hint of the known mistake that gives what the answer gives; empty if none does."""
    examples = _examples(exercise, answer, failed)
    return _best(_hits(exercise, examples), len(examples) / 2)


class _Example:
    """One call of answer and solution."""

    def __init__(self, exercise: Exercise, answer: Any, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.got = outcome_of(answer, arguments)
        self.expected = outcome_of(exercise.solution, arguments)


def _examples(exercise: Exercise, answer: Any, failed: tuple[Any, ...]) -> list[_Example]:
    arguments = [failed, *(case.arguments for case in exercise.cases)]
    if exercise.draw is not None:
        generator = torch.Generator().manual_seed(0)
        arguments += [exercise.draw(generator) for _ in range(N_EXAMPLES)]
    return [_Example(exercise, answer, a) for a in arguments]


Hit = tuple[int, int, str]


def _hits(exercise: Exercise, examples: list[_Example]) -> list[Hit]:
    """Of each known mistake: in how many examples the answer does what it does, how well, hint."""
    part = _first_wrong_part(examples[0])
    hits = []
    for mistake in exercise.mistakes:
        if _agrees(mistake, examples[0], part):  # what does not explain the failure is no reason
            agreed = [_agrees(mistake, example, part) for example in examples]
            hits.append((sum(map(bool, agreed)), sum(agreed), mistake.hint))
    return hits


def _best(hits: list[Hit], at_least: float) -> str:
    """The hint of the mistake that agrees best, in so many examples at least; empty if none."""
    enough = [hit for hit in hits if hit[0] >= at_least]
    return max(enough, key=lambda hit: hit[1])[2] if enough else ""


def _agrees(mistake: Mistake, example: _Example, part: int) -> int:
    """2 if the results are the same, 1 if at least the part is that is wrong, else 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a known mistake does concerns nobody
        wrong, got = outcome_of(mistake.wrong, example.arguments), example.got
    if wrong.error or got.error:
        same = type(wrong.error) is type(got.error) and _message(wrong.error) == _message(got.error)
        return 2 * same
    if not difference(got.value, wrong.value):
        return 2
    parts = [value for value in (got.value, wrong.value) if isinstance(value, tuple | list)]
    if len(parts) < 2 or part >= min(map(len, parts)):
        return 0
    return not difference(parts[0][part], parts[1][part])


def _first_wrong_part(example: _Example) -> int:
    """Which value of a tuple is the first that is wrong; 0 if the result is no tuple."""
    got, expected = example.got.value, example.expected.value
    if not isinstance(got, tuple | list) or not isinstance(expected, tuple | list):
        return 0
    wrong = (i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if difference(a, b))
    return next(wrong, 0)


# --- right numbers in another form -----------------------------------------------------------

FORM = (
    "the numbers are right; only what holds them is not, see above. `torch.tensor` and "
    "`torch.stack` make a tensor, `.to` changes its type, `.squeeze` and `.view` its shape"
)


def _form(examples: list[_Example]) -> str:
    """Whether all numbers are right and only their kind, type or shape is not."""
    if any(e.got.error or e.expected.error for e in examples):
        return ""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # words and the like
        pairs = [(_flat(e.got.value), _flat(e.expected.value)) for e in examples]
        return FORM if all(_close(*pair) for pair in pairs) else ""
    return ""


EXCHANGED = "the values of the result are right, but their order is not; see what is to come first"


def _exchanged(examples: list[_Example]) -> str:
    """Whether the values of a tuple are right and stand in another order, the same in all."""
    pairs = [(e.got.value, e.expected.value) for e in examples]
    if not all(isinstance(value, tuple | list) for pair in pairs for value in pair):
        return ""
    for order in permutations(range(len(pairs[0][0]))):
        if all(
            len(got) == len(order) and not difference([got[i] for i in order], expected)
            for got, expected in pairs
        ):
            return EXCHANGED
    return ""


def _flat(value: Any) -> Tensor:
    """All numbers of a result in one row."""
    if isinstance(value, tuple | list):
        return torch.cat([_flat(part) for part in value])
    return torch.as_tensor(value).detach().double().flatten()


# --- relations to the right result -----------------------------------------------------------

RELATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "minus what is expected; look at the signs": lambda e: -e,
    "the square of what is expected; a root is missing": lambda e: e**2,
    "the root of what is expected; a square is missing": lambda e: e.sqrt(),
    "100 times what is expected; a fraction is asked for, not percent": lambda e: 100 * e,
    "a hundredth of what is expected": lambda e: e / 100,
    "twice what is expected": lambda e: 2 * e,
    "half of what is expected": lambda e: e / 2,
    "one more than what is expected": lambda e: e + 1,
    "one less than what is expected": lambda e: e - 1,
    "1 minus what is expected": lambda e: 1 - e,
    "1 divided by what is expected": lambda e: 1 / e,
    "what is expected, but without the sign": torch.abs,
    "what is expected, but rounded down; `//` and `int` cut the fraction off": torch.floor,
    "what is expected without its last row": lambda e: e[:-1] if e.ndim else e,
    "what is expected without its first row": lambda e: e[1:] if e.ndim else e,
    "the logarithm of what is expected": lambda e: e.log(),
    "the exponential of what is expected": lambda e: e.exp(),
}
FACTORS: dict[str, Callable[[float], float]] = {
    "{n} times what is expected; a sum in place of a mean, or a division too few?": lambda n: n,
    "what is expected, divided by {n}; a mean in place of a sum, or divided twice?": lambda n: (
        1 / n
    ),
    "the root of {n} times what is expected": lambda n: n**0.5,
    "what is expected, divided by the root of {n}": lambda n: n**-0.5,
    "divided by {n} - 1 in place of {n}": lambda n: n / (n - 1),
    "divided by {n} in place of {n} - 1": lambda n: (n - 1) / n,
    "a root of something divided by {n} - 1 in place of {n}": lambda n: (n / (n - 1)) ** 0.5,
    "a root of something divided by {n} in place of {n} - 1": lambda n: ((n - 1) / n) ** 0.5,
}


# A result beside the right one, and the arguments that they are for.
Pairs = list[tuple[tuple[Any, ...], Tensor, Tensor]]


def _relation(examples: list[_Example], find: Callable[[Pairs], str]) -> str:
    """What the results have in common with the right ones, in words; empty if nothing."""
    usable = [e for e in examples if e.got.error is None and e.expected.error is None]
    pairs = [(e.arguments, _parts(e.got.value), _parts(e.expected.value)) for e in usable]
    n_parts = {len(part) for _, got, expected in pairs for part in (got, expected)}
    if examples[0].got.error or len(usable) < 3 or len(n_parts) != 1:
        return ""
    for i in range(n_parts.pop()):
        one = [(arguments, got[i], expected[i]) for arguments, got, expected in pairs]
        what = "the result" if len(pairs[0][1]) == 1 else f"value {i} of the result"
        if not all(_close(got, expected) for _, got, expected in one):
            found = find(one)
            return f"{what} is {found}" if found else ""
    return ""


def _by_formula(exercise: Exercise, pairs: Pairs) -> str:
    for text, change in RELATIONS.items():
        if all(_close(got, change(expected)) for _, got, expected in pairs):
            return text
    for name, sizes in _sizes(exercise, [arguments for arguments, _, _ in pairs]):
        for text, factor in FACTORS.items():
            if all(
                n > 1 and _close(got, factor(n) * expected)
                for n, (_, got, expected) in zip(sizes, pairs, strict=True)
            ):
                return text.format(n=name)
    if all(e.ndim == 2 and _close(got, e.T) for _, got, e in pairs):
        return "the transposed of what is expected; rows and columns are exchanged"
    return ""


def _by_order(pairs: Pairs) -> str:
    if all(
        got.shape == e.shape and _close(got.flatten().sort().values, e.flatten().sort().values)
        for _, got, e in pairs
    ):
        return "right but for its order: the values stand in other places"
    return ""


def _sizes(exercise: Exercise, calls: list[tuple[Any, ...]]) -> Iterator[tuple[str, list[float]]]:
    """Sizes and whole numbers among the arguments, by name, one for each call; no constants."""
    for i, name in enumerate(inspect.signature(exercise.solution).parameters):
        values = [arguments[i] for arguments in calls]
        if all(type(value) is int for value in values):
            yield name, values
        elif all(isinstance(value, Tensor) for value in values):
            for axis in range(min(value.ndim for value in values)):
                yield f"{name}.shape[{axis}]", [value.shape[axis] for value in values]


def _parts(value: Any) -> list[Tensor]:
    values = value if isinstance(value, tuple | list) else [value]
    tensors = [torch.tensor(float(v)) if isinstance(v, int | float) else v for v in values]
    return [v.detach().double() for v in tensors if isinstance(v, Tensor)]


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def _slip(exercise: Exercise, examples: list[_Example]) -> str:
    """For which other arguments all results are right, in words; empty if for none."""
    if examples[0].got.error:
        return ""
    part = _first_wrong_part(examples[0])
    for text, slipped in slips(exercise.solution, examples[0].arguments):
        hint = f"these results are right for {text}; look where you use it"
        if all(_agrees(Mistake(slipped, hint), example, part) for example in examples):
            return hint
    return ""


def _ignored(exercise: Exercise, answer: Callable[..., Any], examples: list[_Example]) -> str:
    """Which arguments the answer never looks at, in words; empty if it looks at all of them."""
    if examples[0].got.error or examples[0].got.value is None:
        return ""
    names = inspect.signature(exercise.solution).parameters
    some = [examples[0], *examples[-3:]]  # small cases may hide what an argument does
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # results that do not compare
        unseen = [
            f"`{name}`"
            for i, name in enumerate(names)
            if _makes_no_difference(exercise, answer, some, i)
        ]
        what = " and ".join(unseen)
        return what and f"the result stays as it is whatever {what} may be; where must it come in?"
    return ""


def _makes_no_difference(
    exercise: Exercise, answer: Callable[..., Any], examples: list[_Example], place: int
) -> bool:
    """Whether the argument in this place moves the right result and never that of the answer."""
    moved = []
    for example in examples:
        value = example.arguments[place]
        for right, ours in zip(
            variants(exercise.solution, place, value), variants(answer, place, value), strict=True
        ):
            expected = outcome_of(right, example.arguments)
            if expected.error is None and difference(expected.value, example.expected.value):
                got = outcome_of(ours, example.arguments)
                moved.append(bool(difference(got.value, example.got.value)))
    return bool(moved) and not any(moved)


# --- errors ----------------------------------------------------------------------------------


def _message(error: BaseException | None) -> str:
    return (str(error).splitlines() or ["no message"])[0]


def _line(error: BaseException, function: Callable[..., Any]) -> str:
    """Where in the function's own file the error arose."""
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f", at line {frames[-1].lineno} of the cell: {frames[-1].line}" if frames else ""
