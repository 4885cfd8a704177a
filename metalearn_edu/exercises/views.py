"""What hint, solution and progress show: HTML in a notebook, plain text elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..basics.names import for_terminal
from .checker.question import as_html
from .record import Record

__all__ = ["Folded", "ProgressTable"]

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
        body = f"<pre>{html.escape(self.text)}</pre>" if self.code else as_html(self.text)
        return f"<details><summary>{self.title}</summary>{body}</details>"


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
