"""What an exercise is: a function to write, how to examine it, and what may be said."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .edits import Edit, hints_of, mistakes_of
from .texts import facts_of

__all__ = ["Answer", "Case", "Exercise", "Mistake", "Property", "Verdict", "exercise_of"]

Answer = Callable[..., Any]
# What must hold for every right answer: returns "" or, in words, what does not.
Property = Callable[[Answer], str]
State = Literal["not attempted yet", "tried", "correct"]


@dataclass(frozen=True)
class Case:
    """Arguments and the result that was worked out by hand."""

    arguments: tuple[Any, ...]
    result: Any


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and the sentence that helps them."""

    wrong: Answer
    hint: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Exercise:
    """A function to write. Its name is that of the solution; the learner's is `my_<name>`.

    Attributes:
        solution: the course's own function; its source is what the learner is shown.
        lesson: the number of the notebook.
        aim: what solving it teaches, as a verb phrase.
        minutes, difficulty: what to expect.
        cases: worked out by hand, small ones first.
        draw: from a generator to the arguments of one more call, other sizes included; None only
            if the properties say everything.
        mistakes: typical wrong answers, each with what to say to people who give it.
        hints: a ladder; the first is the idea, and is also given when no known mistake fits. In
            an exercise to find the bug it asks about that bug, and is given while it is there.
        properties: checked between the cases and the draws.
        gradients: the arguments with respect to which the text requires gradients; these must be
            those of the solution.
        buggy: in an exercise to find the bug, what the learner finds in the notebook.
        ways: other right answers, of which `mistakes` may be edits too.
    """

    solution: Answer
    lesson: int
    aim: str
    minutes: int
    difficulty: Literal["easy", "medium", "hard"]
    cases: Sequence[Case]
    draw: Callable[[torch.Generator], tuple[Any, ...]] | None
    mistakes: Sequence[Mistake | Edit]
    hints: Sequence[str]
    properties: Sequence[Property] = ()
    gradients: Sequence[str] = ()
    buggy: Answer | None = None
    ways: Sequence[Answer] = ()

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


def exercise_of(
    solution: Answer, *, lesson: str, ways: Sequence[Answer] = (), **more: Any
) -> Exercise:
    """The exercise with this solution, whose words are in a text of the folder `hints`.

    Args:
        lesson: file name of the text: facts, hints and, if none are given here, mistakes.
        more: the other attributes of an `Exercise`.

    Raises:
        ValueError: the text has no part with the name of the solution, or it lacks the facts.
    """
    words = facts_of(f"hints/{lesson}", solution.__name__) | {
        "hints": hints_of(solution, lesson=lesson),
        "mistakes": mistakes_of(solution, *ways, lesson=lesson),
    }
    return Exercise(solution=solution, ways=ways, **(words | more))


@dataclass(frozen=True)
class Verdict:
    """What a check found: the state, and what to print."""

    state: State
    text: str


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
