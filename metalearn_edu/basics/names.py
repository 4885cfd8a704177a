"""Names of files and classes are text, whatever is in them: on a terminal, in a figure, in a table.

A name may hold what a terminal takes for a command, Matplotlib for a formula, or a spreadsheet for
something to compute.
"""

from __future__ import annotations

from typing import Any

__all__ = ["for_figure", "for_table", "for_terminal"]


def for_terminal(text: Any) -> str:
    """`text` with every character that no screen shows written as its escape; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in str(text))


def for_figure(text: Any) -> str:
    """`text` as Matplotlib shows it letter by letter, without reading formulas between dollars."""
    return for_terminal(text).replace("$", r"\$")


def for_table(text: Any) -> str:
    """`text` as a spreadsheet shows it: what it would compute gets an apostrophe before it."""
    shown = str(text)
    return f"'{shown}" if shown.lstrip(" \t\r\n")[:1] in ("=", "+", "-", "@") else shown


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
