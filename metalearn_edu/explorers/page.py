"""The HTML that the shell of an explorer writes into the page: a picture and lines of words."""

from __future__ import annotations

import html
from base64 import b64encode

from ..basics.names import for_terminal

__all__ = ["as_html", "live_line", "picture_tag"]


def as_html(words: str) -> str:
    """Words with names in them; invisible characters must not be sent to a browser, either."""
    return html.escape(for_terminal(words))


def picture_tag(png: bytes, alt: str, width: float, height: float) -> str:
    """An <img> element of fixed size in pixels; `alt` is escaped."""
    data = b64encode(png).decode()
    size = f'width="{round(width)}" height="{round(height)}"'
    # a frame in the colour of the theme, around a picture that is white in any theme
    style = "max-width: none; border: 1px solid var(--jp-border-color2, #bbb)"
    return f'<img src="data:image/png;base64,{data}" alt="{alt}" {size} style="{style}">'


def live_line(role: str, words: str) -> str:
    """Words that a screen reader says when they change, their lines near to each other."""
    return f'<div role="{role}" style="line-height: 1.5">{words}</div>'
