"""Wrong answers, written as edits of a right one.

The texts of the folder `hints`, one for each lesson, hold the ladder of hints for each exercise,
then its mistakes: at the margin, the sentence that helps; below it, indented, the wrong answers,
one on each line:

    # weights_and_bias
    10 minutes, medium: find the straight line in a distance

    1. Expand the square and see which terms depend on the class.
    2. The first is what all classes have in common.

    the bias has the wrong sign: it is lower for a prototype far from 0, b = -|c|²
        -prototypes -> prototypes
        return weight, -bias

    old -> new      a right way with `new` instead of `old`; several edits are separated by ` ; `
    return value    the solution with another value, in its own names; `result`: the right

An edit is made in the first right way that has its `old`: the solution, or one of the other ways.
"""

from __future__ import annotations

import inspect
import linecache
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from .texts import part_of

__all__ = ["Edit", "compiled", "hints_of", "mistakes_of", "source_of"]

Answer = Callable[..., Any]
RUNG = re.compile(r"\d+\. (.+)")


@dataclass(frozen=True)
class Edit:
    """A wrong answer that people give, and the sentence that helps them.

    Attributes:
        ways: the solution, then other right answers.
        edit: what is changed, as above.
        hint: what to say to people who give this answer.
    """

    ways: tuple[Answer, ...]
    edit: str
    hint: str

    @cached_property
    def wrong(self) -> Answer:
        """The function with the edit. Raises ValueError if no right way has the replaced text."""
        solution = self.ways[0]
        if self.edit.startswith("return ") and "->" not in self.edit:
            return compiled(solution, _returning(source_of(solution), self.edit), self.edit)
        pairs = [pair.partition("->")[::2] for pair in self.edit.split(" ; ")]
        for way in self.ways:
            source = _replaced(source_of(way), pairs)
            if source:
                return compiled(way, source, self.edit)
        raise ValueError(f"{solution.__name__}: no right way has what {self.edit!r} replaces")


def mistakes_of(*ways: Answer, lesson: str) -> list[Edit]:
    """The mistakes of the exercise whose solution is the first of its right ways.

    Args:
        lesson: file name of the text in the folder `hints`.

    Raises:
        ValueError: the text has no part with the name of the solution.
    """
    edits, hint = [], ""
    for line in part_of(f"hints/{lesson}", ways[0].__name__).splitlines():
        if line.startswith("    "):
            edits.append(Edit(ways, line.strip(), hint))
        elif line:
            hint = line
    return edits


def hints_of(solution: Answer, lesson: str) -> list[str]:
    """The ladder of hints of an exercise, from the same text."""
    lines = part_of(f"hints/{lesson}", solution.__name__).splitlines()
    return [found[1] for line in lines if (found := RUNG.fullmatch(line))]


@cache
def source_of(way: Answer) -> str:
    """The text of a function, without its indentation in the file."""
    return textwrap.dedent(inspect.getsource(way))


def _replaced(source: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The source with the edits; empty if it lacks the text that one of them replaces."""
    for old, new in pairs:
        if old.strip() not in source:
            return ""
        source = source.replace(old.strip(), new.strip())
    return source


def _returning(source: str, value: str) -> str:
    """The source whose last `return X` becomes `result = X` and `return value`."""
    head, _, last = source.rpartition("return ")
    indent = head.rsplit("\n", 1)[-1]
    return f"{head}result = {last.rstrip()}\n{indent}{value}\n"


def compiled(way: Answer, source: str, name: str) -> Answer:
    """The function from a changed source, in the module of the original function."""
    scope = dict(way.__globals__)
    file = f"<{way.__name__}: {name}>"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the learner did not write this
        exec(compile(source, file, "exec", dont_inherit=True), scope)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    function = scope[way.__name__]
    scope[way.__name__] = way  # a call of itself by its name is one of the right way
    function.__name__ = name
    return function
