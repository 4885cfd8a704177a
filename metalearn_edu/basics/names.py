"""Names of files and classes are shown as plain text, on a terminal, in a figure and in a table.

A name may hold characters that a terminal reads as a command, Matplotlib as a formula, or a
spreadsheet as something to compute.
"""

from __future__ import annotations

from typing import Any

__all__ = ["for_figure", "for_table", "for_terminal"]


def for_terminal(text: Any) -> str:
    """`text` with every invisible character written as its escape; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in str(text))


def for_figure(text: Any) -> str:
    """`text` so that Matplotlib shows it literally and reads no formulas between dollars."""
    return for_terminal(text).replace("$", r"\$")


def for_table(text: Any) -> str:
    """`text` so that a spreadsheet shows it: what it would compute gets an apostrophe in front."""
    shown = str(text)
    return f"'{shown}" if shown.lstrip(" \t\r\n")[:1] in ("=", "+", "-", "@") else shown


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
