"""Texts that a teacher can edit: one file per lesson, with a part for each exercise or question.

# one_alphabet
2 minutes, easy: say what makes a task hard

... what `edits` or `question` reads
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["facts_of", "part_of", "parts_of"]

ROOM = Path(__file__).parents[1]
FACTS = re.compile(r"(?P<minutes>\d+) minutes, (?P<difficulty>easy|medium|hard): (?P<aim>.+)")


def part_of(file: str, name: str) -> str:
    """The text under `# name` in a file, such as hints/12_capstone.txt.

    Raises:
        ValueError: the file has no such part.
    """
    parts = parts_of(file)
    if name not in parts:
        raise ValueError(f"{file} has no part {name!r}; it has {', '.join(parts)}")
    return parts[name]


@cache
def parts_of(file: str) -> dict[str, str]:
    """The text under each heading of a file."""
    text = (ROOM / file).read_text(encoding="utf-8")
    _, *parts = re.split(r"^# (\w+)\n+", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def facts_of(file: str, name: str) -> dict[str, Any]:
    """The lesson, minutes, difficulty and aim of an exercise or question, from below its heading.

    Raises:
        ValueError: they are missing.
    """
    line = part_of(file, name).partition("\n")[0]
    found = FACTS.fullmatch(line)
    if found is None:
        raise ValueError(f"{file}: below # {name} write '5 minutes, easy: its aim', not {line!r}")
    lesson = int(Path(file).name[:2])
    return {**found.groupdict(), "minutes": int(found["minutes"]), "lesson": lesson}
