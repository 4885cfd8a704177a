"""Exercises that answer back: check, hint, solution, predict, progress.

    check(my_prototypes)          "not attempted yet", "correct", or what is wrong, with a hint;
                                  below it, folded, more hints and the course's own function
    hint("prototypes")            the same without a check: the next hint at each call
    solution("prototypes")        ... and the course's own function
    predict("one_shot")           a question; predict("one_shot", "b") answers it
    progress()                    what is done; also: metalearn-edu progress

Each lesson has a module in `lessons` whose list EXERCISES holds its exercises and questions.
"""

from __future__ import annotations

import importlib
import pkgutil
import textwrap
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from . import lessons
from .checker import examination as exercise  # for code that examines many answers
from .checker.examination import examine
from .checker.exercise import Case, Exercise, Mistake, Verdict
from .checker.question import Option, Question, QuestionWidget
from .record import read_record, update_record
from .views import Folded, Help, ProgressTable

__all__ = [
    "Case",
    "Exercise",
    "Mistake",
    "Option",
    "Question",
    "Verdict",
    "all_exercises",
    "check",
    "examine",
    "exercise",
    "find",
    "hint",
    "predict",
    "progress",
    "solution",
    "solutions_of",
]

WIDTH = 100  # columns; JupyterLab breaks longer lines in the middle of a word
_hints_given: dict[str, int] = {}


@cache
def all_exercises() -> dict[str, Exercise | Question]:
    """Every exercise and question by name, in the order of the lessons."""
    found: list[Exercise | Question] = []
    for module in pkgutil.iter_modules(lessons.__path__, f"{lessons.__name__}."):
        found += importlib.import_module(module.name).EXERCISES
    return {item.name: item for item in sorted(found, key=lambda item: item.lesson)}


def find(name: str, kind: type = object) -> Any:
    """The exercise or question of a name; `my_` in front of it does not count.

    Raises:
        ValueError: there is none of this kind; the message names those with similar names.
    """
    known = {n: item for n, item in all_exercises().items() if isinstance(item, kind)}
    wanted = str(name).removeprefix("my_")
    if wanted in known:
        return known[wanted]
    near = get_close_matches(wanted, known, n=3, cutoff=0.4) or list(known)
    what = {Exercise: "exercise", Question: "question"}.get(kind, "exercise or question")
    raise ValueError(f"there is no {what} {wanted!r}; is it one of {', '.join(near)}?")


def check(your_function: Callable[..., Any], name: str = "") -> None:
    """Print "not attempted yet", "correct", or what is wrong with your function, and a hint.

    A notebook shows all hints and the solution below it, folded.

    Args:
        your_function: the function itself, without a call.
        name: of the exercise; not needed if the function is called `my_<name>`.
    """
    if not callable(your_function):
        kind = type(your_function).__name__
        print(f"check needs the function itself, as in check(my_function); it got a value ({kind})")
        return
    called = getattr(your_function, "__name__", "your function")
    try:
        asked = find(name or called, Exercise)
    except ValueError as error:
        print(f"{called}: {error}")
        return
    verdict = exercise.examine(asked, your_function)
    if verdict.state != "not attempted yet":
        update_record(asked.name, verdict.state)
    print(_within(WIDTH, f"{called}: {verdict.text}"))
    Help(asked, is_solved=verdict.state == "correct").show()


def _within(width: int, text: str) -> str:
    """The text with its long lines broken between words."""
    broken = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        broken += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(broken)


def hint(name: str) -> Folded:
    """The next hint of an exercise, folded; after the last one, the first again.

    Raises:
        ValueError: there is no such exercise.
    """
    asked = find(name, Exercise)
    given = _hints_given.get(asked.name, 0) % len(asked.hints)
    _hints_given[asked.name] = given + 1
    return Folded(f"Hint {given + 1} of {len(asked.hints)}", asked.hints[given])


def solution(name: str) -> Folded:
    """The source of the course's own function, folded.

    Raises:
        ValueError: there is no such exercise.
    """
    return Folded("Solution", find(name, Exercise).key(), code=True)


def predict(name: str, choice: str | None = None) -> QuestionWidget | None:
    """A question with its options; with a choice, print its comment on that option.

    Raises:
        ValueError: there is no such question or option.
    """
    question = find(name, Question)
    if choice is None:
        return QuestionWidget(question)
    print(question.answer(choice))
    return None


def solutions_of(notebook: str) -> str:
    """The solutions of a notebook, named by number or by name, as plain text.

    Raises:
        ValueError: no exercises belong to it.
    """
    digits = Path(notebook).name[:2]
    items = [i for i in all_exercises().values() if f"{i.lesson:02d}" == digits.zfill(2)]
    if not items:
        lessons = sorted({f"{i.lesson:02d}" for i in all_exercises().values()})
        raise ValueError(f"no exercises for {notebook!r}; there are some for {', '.join(lessons)}")
    return "\n\n".join(f"## {item.name}\n\n{item.key()}" for item in items)


def progress(lesson: int | None = None) -> ProgressTable:
    """A table of all exercises, or those of one lesson, with the state of each and a bar."""
    items = [i for i in all_exercises().values() if lesson in (None, i.lesson)]
    if not items:
        raise ValueError(f"lesson {lesson} has no exercises")
    return ProgressTable(items, read_record())
