"""The text alternative of a figure: what it shows, for those who cannot see it.

`plt.show()` passes it on with the picture (`display.py`). The words of `describe` come first, then
those of the course's plot functions with the title; without either, the text is read from the
figure (`reading.py`).
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..basics.names import for_terminal
from .reading import read_axes, title_of

__all__ = ["add_words", "alt_text", "describe"]

Drawn = Figure | Axes
_described: WeakKeyDictionary[Drawn, str] = WeakKeyDictionary()
_added: WeakKeyDictionary[Drawn, list[str]] = WeakKeyDictionary()


def describe(drawn: Drawn, text: str) -> None:
    """Say in words what a figure, or one panel of it, shows; a new text replaces the old one.

    Name the kind of picture, the axes, the values that matter and what follows from them.

    Args:
        drawn: a figure, for its whole text; or axes, for that of one panel.
        text: the words; line breaks and indents become spaces.
    Raises:
        ValueError: the text is empty.
    """
    if not text.strip():
        raise ValueError("text is empty: say what the figure shows")
    _described[drawn] = " ".join(text.split())


def add_words(drawn: Drawn, text: str) -> None:
    """Add what a plot function says about its drawing to the words of earlier drawings there."""
    _added.setdefault(drawn, []).append(text)


def alt_text(fig: Figure) -> str:
    """What a figure shows: its own text, or those of its panels from left to right and down."""
    if fig in _described or fig in _added:
        return for_terminal(_words_of(fig))
    panels = [ax for ax in fig.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]
    texts = [_words_of(ax) for ax in panels]
    if len(texts) > 1:
        texts = [f"Panel {i} of {len(texts)}: {text}" for i, text in enumerate(texts, 1)]
    title = title_of(fig)
    words = " ".join(filter(None, [f"{title}." * bool(title), *texts])) or "An empty figure."
    return for_terminal(words)


def _words_of(drawn: Drawn) -> str:
    if drawn in _described:
        return _described[drawn]
    if drawn in _added:
        title = title_of(drawn)
        return " ".join([f"{title}."] * bool(title) + _added[drawn])
    return read_axes(drawn) if isinstance(drawn, Axes) else ""
