"""Why is an answer wrong? We compare its results with those of known wrong answers.

`explain` goes through `LOOKS` in order, and takes the first that finds something. What we state as
certain holds in all examples: cases and draws. If a mistake fits only some of them, or two fit
equally well, we say "perhaps".
"""

from __future__ import annotations

import contextlib
import dis
import inspect
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from .differences import difference, show
from .edits import Edit
from .exercise import Answer, Exercise, Mistake
from .near_misses import near_misses
from .outcomes import Outcome, message, outcome_of
from .relations import Example, close, other_places, relation
from .slips import slips, variants

__all__ = ["explain", "known_mistake"]

N_EXAMPLES = 20


def explain(exercise: Exercise, answer: Answer, failed: tuple[Any, ...]) -> str:
    """The hint for an answer that fails for the arguments `failed`; empty if none fits."""
    patient = _Patient(exercise, answer, failed, exercise.mistakes)
    return next(filter(None, (look(patient) for look in LOOKS)), "")


def known_mistake(
    exercise: Exercise,
    answer: Answer,
    failed: tuple[Any, ...],
    likely: Sequence[Mistake | Edit],
) -> str:
    """The hint of the likely mistake that gives the same results; empty if there is none."""
    patient = _Patient(exercise, answer, failed, likely)
    return _known(patient) or _mostly_known(patient)


class _Patient:
    """A wrong answer, with examples of what it does; the first is the call that failed."""

    def __init__(
        self,
        exercise: Exercise,
        answer: Any,
        failed: tuple[Any, ...],
        likely: Sequence[Mistake | Edit],
    ) -> None:
        self.exercise, self.answer, self.likely = exercise, answer, likely
        self.examples = _examples(exercise, answer, failed)
        self.first = self.examples[0]
        self.part = _first_wrong_part(self.first)

    @cached_property
    def hits(self) -> list[Hit]:
        return _hits(self)

    @cached_property
    def unseen(self) -> list[int]:
        """The positions of the arguments that should make a difference to the answer but do not."""
        if self.first.got.error or self.first.got.value is None:
            return []
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # nothing to compare
            return [i for i in range(len(self.names)) if _makes_no_difference(self, i)]
        return []

    @property
    def names(self) -> list[str]:
        return list(inspect.signature(self.exercise.solution).parameters)

    def does(self, wrong: Answer, example: Example) -> int:
        """Whether the answer does what a function of ours does: 2 yes, 1 in part, 0 no."""
        found = _outcome(self.exercise, wrong, example.arguments, example.place)
        return _agrees(found, example, self.part)


def _examples(exercise: Exercise, answer: Any, failed: tuple[Any, ...]) -> list[Example]:
    """The call that failed, then the calls that every examination makes."""
    calls = _calls(exercise)
    place = next((i for i, arguments in enumerate(calls) if arguments is failed), None)
    places = [place, *range(len(calls))]
    return [_example(exercise, answer, failed if i is None else calls[i], i) for i in places]


def _example(exercise: Exercise, answer: Any, call: tuple[Any, ...], place: int | None) -> Example:
    expected = _outcome(exercise, exercise.solution, call, place)
    return Example(call, outcome_of(answer, call), expected, place)


@lru_cache(maxsize=100)
def _calls(exercise: Exercise) -> list[tuple[Any, ...]]:
    """The cases, and some draws that are always the same."""
    calls = [case.arguments for case in exercise.cases]
    if exercise.draw is not None:
        generator = torch.Generator().manual_seed(0)
        calls += [exercise.draw(generator) for _ in range(N_EXAMPLES)]
    return calls


def _outcome(
    exercise: Exercise, function: Answer, arguments: tuple[Any, ...], place: int | None
) -> Outcome:
    """What a function of ours returns; remembered for the calls of every examination."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a known mistake does concerns nobody
        if place is None:
            return outcome_of(function, arguments)
        return _remembered(exercise, function, place)


@lru_cache(maxsize=10_000)
def _remembered(exercise: Exercise, function: Answer, place: int) -> Outcome:
    return outcome_of(function, _calls(exercise)[place])


Hit = tuple[int, int, str]


def _hits(patient: _Patient) -> list[Hit]:
    """For each known mistake: in how many examples the answer agrees with it, how well, hint."""
    hits = []
    for mistake in patient.likely:
        if patient.does(mistake.wrong, patient.first):  # otherwise it explains nothing
            agreed = [patient.does(mistake.wrong, example) for example in patient.examples]
            hits.append((sum(map(bool, agreed)), sum(agreed), mistake.hint))
    return hits


def _known(patient: _Patient) -> str:
    """The mistake that gives the answer's results in all examples."""
    return _one_of(_best(patient.hits, len(patient.examples)))


def _still_there(patient: _Patient) -> str:
    """The bug to find: the first hint asks about it, and is for answers that still have it."""
    exercise = patient.exercise
    if exercise.buggy is None:
        return ""
    same = all(patient.does(exercise.buggy, example) for example in patient.examples)
    return exercise.hints[0] if same else ""


def _mostly_known(patient: _Patient) -> str:
    return _perhaps(_best(patient.hits, 0.75 * len(patient.examples)))


def _best(hits: list[Hit], at_least: float) -> list[str]:
    """The hints of the mistakes that agree best, in at least this share of examples."""
    most = max((hit[1] for hit in hits if hit[0] >= at_least), default=0)
    return list(dict.fromkeys(hit[2] for hit in hits if hit[0] >= at_least and hit[1] == most))


def _one_of(hints: list[str]) -> str:
    """A hint, unchanged; if several fit equally well, none is certain."""
    return hints[0] if len(hints) == 1 else _perhaps(hints)


def _perhaps(hints: list[str]) -> str:
    return "perhaps: " + "; or: ".join(hints) if hints else ""


def _agrees(wrong: Outcome, example: Example, part: int) -> int:
    """2 if the results are the same, 1 if at least the part is that is wrong, else 0.

    Errors are the same if their messages are, and nearly the same if they differ only in sizes.
    """
    got = example.got
    if wrong.error or got.error:
        if _kind_of(wrong.error) != _kind_of(got.error):
            return 0
        return 1 + (message(wrong.error) == message(got.error))
    if not difference(got.value, wrong.value):
        return 2
    return _agree_in_part(got.value, wrong.value, example.expected.value, part)


def _agree_in_part(got: Any, wrong: Any, expected: Any, part: int) -> bool:
    """Whether this part is the same, and the answer is wrong only where ours is wrong."""
    values = (got, wrong, expected)
    if not all(isinstance(value, tuple | list) and len(value) > part for value in values):
        return False
    if difference(got[part], wrong[part]):
        return False
    triples = list(zip(got, wrong, expected, strict=False))
    return all(difference(a, e) or not difference(b, e) for a, b, e in triples)


def _kind_of(error: BaseException | None) -> tuple[type, str]:
    """An error without the numbers in its message, which may be sizes."""
    return type(error), re.sub(r"-?[0-9]+", "#", message(error))


def _first_wrong_part(example: Example) -> int:
    """Which value of a tuple is the first that is wrong; 0 if the result is not a tuple."""
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


def _form(patient: _Patient) -> str:
    """Whether all numbers are right and only their kind, type or shape is not."""
    if any(e.got.error or e.expected.error for e in patient.examples):
        return ""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # words and the like
        pairs = [(_flat(e.got.value), _flat(e.expected.value)) for e in patient.examples]
        if all(close(*pair) for pair in pairs):
            return WHOLE if type(patient.first.expected.value) is int else FORM
    return ""


WHOLE = "the number is right; `int(...)`, or whole numbers all the way, make it an int"
EXCHANGED = "the values of the result are right, but their order is not; see what is to come first"


def _exchanged(patient: _Patient) -> str:
    """Whether the values of a tuple are right but in another order, the same in all examples."""
    pairs = [(e.got.value, e.expected.value) for e in patient.examples]
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


# --- arguments ---------------------------------------------------------------------------------


def _slip(patient: _Patient) -> str:
    """For which other arguments all results are right, in words; empty if for none."""
    if patient.first.got.error or _is_constant(patient):
        return ""
    fits = [
        text
        for text, slipped in slips(
            patient.exercise.solution, [example.arguments for example in patient.examples]
        )
        if all(
            _agrees(outcome_of(slipped, example.arguments), example, patient.part)
            for example in patient.examples
        )
    ]
    if not 1 <= len(fits) <= 3:  # if it is right for many others, it does not count at all
        return ""
    hint = f"these results are right for {' or '.join(fits)}; look where you use it"
    return hint if len(fits) == 1 else f"perhaps: {hint}"


def _is_constant(patient: _Patient) -> bool:
    """Whether the answer gives the same whatever its arguments are."""
    first, *others = [example.got.value for example in patient.examples]
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        return not any(difference(other, first) for other in others)
    return False


def _ignored(patient: _Patient) -> str:
    """Which arguments are not in the code of the answer, or that all results are the same."""
    unseen = patient.unseen
    if not any(_is_read(patient.answer, i) for i in unseen):
        return _whatever(patient, unseen)
    return ALWAYS.format(show(patient.first.got.value)) if _is_constant(patient) else ""


ALWAYS = (
    "the result is {} each time, whatever the arguments are; is there a condition that never "
    "holds, or a number that is always the same?"
)


def _without_effect(patient: _Patient) -> str:
    """Which arguments have no effect although they are in the code."""
    found = _whatever(patient, patient.unseen)
    return found and f"perhaps: {found}"


def _whatever(patient: _Patient, unseen: list[int]) -> str:
    what = " and ".join(f"`{patient.names[i]}`" for i in unseen)
    return what and f"the result stays as it is whatever {what} may be; where must it come in?"


def _is_read(answer: Answer, place: int) -> bool:
    """Whether the code of a function has the argument in this place in it."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if code is None or place >= code.co_argcount:
        return True
    name = code.co_varnames[place]
    reads = (i for i in dis.get_instructions(code) if i.argval == name or name in _cells(i))
    return any(reads)


def _cells(instruction: dis.Instruction) -> tuple[Any, ...]:
    return instruction.argval if isinstance(instruction.argval, tuple) else ()


def _makes_no_difference(patient: _Patient, place: int) -> bool:
    """Whether the argument at this position changes the right result but never the answer's."""
    some = [patient.first, *patient.examples[-3:]]  # small cases may hide what an argument does
    seen = [example.arguments[place] for example in patient.examples]
    moved = []
    for example in some:
        for other in variants(example.arguments[place], seen):
            arguments = (*example.arguments[:place], other, *example.arguments[place + 1 :])
            expected = outcome_of(patient.exercise.solution, arguments)
            if expected.error is None and difference(expected.value, example.expected.value):
                got = outcome_of(patient.answer, arguments)
                moved.append(bool(difference(got.value, example.got.value)))
    return bool(moved) and not any(moved)


def _near_miss(patient: _Patient) -> str:
    """A right way with one thing changed that gives the answer's results in all examples."""
    if patient.first.got.error or _is_constant(patient):
        return ""
    fits = [
        miss
        for way in (patient.exercise.solution, *patient.exercise.ways)
        for miss in near_misses(way)
        if all(patient.does(miss.function, example) == 2 for example in patient.examples)
    ]
    if not fits:
        return ""
    kinds = " or ".join(dict.fromkeys(miss.kind for miss in fits[:2]))
    lines = " or of ".join(f"`{miss.new}`" for miss in fits[:2])
    return f"perhaps it is {kinds}: the results are those of {lines}"


# --- all looks, in their order ---------------------------------------------------------------

Look = Callable[[_Patient], str]

LOOKS: list[Look] = [
    _known,  # a listed mistake that does in all examples what the answer does
    _still_there,  # the bug with which the exercise began
    _form,  # right numbers, held by something else
    _exchanged,  # right values, in another order
    lambda p: relation(p.names, p.examples),  # twice as much, the negative, n times as much
    _slip,  # right for other arguments
    _mostly_known,  # perhaps a listed mistake: in three of four examples
    _ignored,  # an argument that is not looked at
    _near_miss,  # perhaps one thing in a right way, changed by rule; this shows a part of it
    _without_effect,  # perhaps an argument that has no effect
    lambda p: other_places(p.examples),  # right numbers in other places
]
