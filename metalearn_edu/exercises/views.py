"""What check, hint, solution and progress show: HTML in a notebook, plain text elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from ..basics.names import for_terminal
from .checker.exercise import Exercise
from .checker.question import as_html
from .record import Record

__all__ = ["Folded", "Help", "ProgressTable"]

MARKS = {"not attempted yet": " ", "tried": "-", "correct": "x"}


@dataclass(frozen=True)
class Folded:
    """A text that a notebook shows folded, under its title."""

    title: str
    text: str
    code: bool = False

    def __repr__(self) -> str:
        return f"{self.title}:\n{self.text}"

    def _repr_html_(self) -> str:
        return _folded(self.title, _code(self.text) if self.code else as_html(self.text))


def _folded(title: str, body: str) -> str:
    """What a mouse unfolds, or Tab and Enter."""
    return f"<details><summary>{title}</summary>{body}</details>"


def _code(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


@dataclass(frozen=True)
class Help:
    """The text below the verdict on an answer: hints and solution, all folded.

    A hint holds the next one inside it. With a correct answer there is only the solution.
    """

    exercise: Exercise
    is_solved: bool

    def __repr__(self) -> str:
        name = self.exercise.name
        hints = "" if self.is_solved else f'hint("{name}") gives the next hint, '
        return f'{hints}solution("{name}") {"shows " * self.is_solved}our solution'

    def _repr_html_(self) -> str:
        hints = [] if self.is_solved else self.exercise.hints
        ladder = ""
        for number in range(len(hints), 0, -1):
            text = as_html(hints[number - 1])
            ladder = _folded(f"Hint {number} of {len(hints)}", text + ladder)
        return ladder + _folded("Our solution", _code(self.exercise.key()))

    def show(self) -> None:
        """In a notebook folded; in plain Python a line says how to get it, if there is any."""
        if get_ipython() is not None:
            display(self)
        elif not self.is_solved:
            print(self)


class ProgressTable:
    """The state of some exercises.

    Attributes:
        rows: (lesson, name, minutes, difficulty, state) of each.
    """

    def __init__(self, items: Sequence[Any], record: Record) -> None:
        states = {name: for_terminal(entry["state"]) for name, entry in record.items()}
        self.rows = [
            (i.lesson, i.name, i.minutes, i.difficulty, states.get(i.name, "not attempted yet"))
            for i in items
        ]
        self.done = sum(row[4] == "correct" for row in self.rows)

    def __repr__(self) -> str:
        lines = [
            f"[{MARKS.get(state, '?')}] {lesson:02d}  {name:28} {minutes:3} min  {difficulty:7} "
            f"{state}"
            for lesson, name, minutes, difficulty, state in self.rows
        ]
        full = round(20 * self.done / len(self.rows))
        bar = "#" * full + "." * (20 - full)
        return "\n".join([*lines, f"[{bar}] {self.done} of {len(self.rows)} correct"])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{lesson:02d}</td><td><code>{name}</code></td><td>{minutes} min</td>"
            f"<td>{difficulty}</td><td>{html.escape(state)}</td></tr>"
            for lesson, name, minutes, difficulty, state in self.rows
        )
        head = "".join(
            f"<th>{h}</th>" for h in ("lesson", "exercise", "time", "difficulty", "state")
        )
        total = f"{self.done} of {len(self.rows)} correct"
        return (
            f'<p><progress value="{self.done}" max="{len(self.rows)}"></progress> {total}</p>'
            f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
        )
