"""A figure read back as text: its title, its axes, and where each of its marks begins and ends.

This is the text alternative of a figure that has no text of its own. It reads what was drawn, so it
cannot say anything that the picture does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

__all__ = ["number", "plain", "read_axes", "title_of"]

MOST_MARKS = 12  # marks of one kind in one panel; if there are more, they are counted
BEYOND = 0.05  # share of a line's height by which an inner turn must pass both of its ends


def read_axes(ax: Axes) -> str:
    """Title, axes, marks and written words of one panel, as sentences."""
    parts = [
        title_of(ax),
        *_axes(ax),
        *_pictures(ax),
        *_many(list(filter(None, _marks(ax)))),
        *_words(ax),
    ]
    return " ".join(_sentence(part) for part in parts if part)


def title_of(drawn: Axes | Figure) -> str:
    """All titles of a panel, or the one above all panels, as plain text."""
    if isinstance(drawn, Figure):
        return plain(drawn.get_suptitle())
    titles = (drawn.get_title("left"), drawn.get_title("center"), drawn.get_title("right"))
    return ", ".join(filter(None, map(plain, titles)))


def plain(text: object) -> str:
    """The text of a figure in one line, without the signs that Matplotlib reads as formulas."""
    dollars = str(text).replace(r"\$", "\0").replace("$", "").replace("\0", "$")
    return re.sub(r"\s+", " ", dollars).strip()


def number(value: float) -> str:
    """Three digits, or whole thousands."""
    if np.isfinite(value) and abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.2g}"
    return f"{value + 0.0:.3g}"  # no minus before 0


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _axes(ax: Axes) -> Iterator[str]:
    """Name, range and scale of both axes; nothing for an axis without a name and ticks."""
    for kind, axis in (("Vertical", ax.yaxis), ("Horizontal", ax.xaxis)):
        name = plain(axis.get_label_text())
        if ax.axison and (name or len(axis.get_majorticklocs())):
            scale = "" if axis.get_scale() == "linear" else f", {axis.get_scale()} scale"
            yield f"{kind} axis: {name}{', ' if name else ''}{_range(axis)}{scale}"


def _range(axis: Axis) -> str:
    names = list(_tick_names(axis).values())
    if names:
        return ", ".join(names[:MOST_MARKS])
    low, high = axis.get_view_interval()
    return f"{number(low)} to {number(high)}"


def _tick_names(axis: Axis) -> dict[float, str]:
    """The text at the ticks of an axis, if it is not their value, by position."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    places = [float(place) for place in axis.get_majorticklocs()]
    names = map(plain, axis.get_major_formatter().format_ticks(places))
    found = {place: name for place, name in zip(places, names, strict=True) if name}
    return found if any(name != number(place) for place, name in found.items()) else {}


def _pictures(ax: Axes) -> Iterator[str]:
    for image in ax.images:
        values: Any = np.ma.asarray(image.get_array())
        if values.ndim == 2 and values.size:
            rows, columns = values.shape
            span = f"{number(float(values.min()))} to {number(float(values.max()))}"
            yield f"{rows} by {columns} values as shades, {span}"
        else:
            yield "A picture"


def _many(marks: list[str]) -> list[str]:
    """The marks, or the first of them and how many more there are."""
    more = len(marks) - MOST_MARKS
    return marks if more <= 0 else [*marks[:MOST_MARKS], f"And {more} more marks of this kind"]


def _marks(ax: Axes) -> Iterator[str]:
    """Each line, each group of points and each group of bars in words."""
    errors = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    parts = {id(part) for error in errors for part in (error.lines[0], *error.lines[1])}
    for error in errors:
        yield _error_bar(ax, error)
    for line in ax.lines:
        if line.get_visible() and id(line) not in parts:
            yield _line(ax, line, _name(line.get_label()))
    for container in ax.containers:
        if isinstance(container, BarContainer) and len(container):
            yield _bars(ax, container)
    for points in ax.collections:
        if isinstance(points, PathCollection):
            xy: Any = np.ma.filled(np.ma.asarray(points.get_offsets(), dtype=float), np.nan)
            yield _points(ax, xy, _name(points.get_label()))


def _error_bar(ax: Axes, error: ErrorbarContainer) -> str:
    """A point with both ends of its bar; for several points, only that they have bars."""
    line, _, bars = error.lines
    words = "" if line is None else _line(ax, line, _name(error.get_label()))
    ends = np.concatenate([segment for part in bars for segment in part.get_segments()])
    if not words or len(ends) != 2:
        return f"{words}, with error bars" if words else ""
    low, high = ends[:, 0] if error.has_xerr else ends[:, 1]
    return f"{words} ({number(low)} to {number(high)})"


def _name(label: object) -> str:
    """The name of a mark in the legend; empty if the legend leaves it out."""
    text = str(label)
    return "" if text.startswith("_") else plain(text)


def _line(ax: Axes, line: Line2D, name: str) -> str:
    xy = np.asarray(line.get_xydata(), dtype=float)
    xy = xy[np.isfinite(xy).all(axis=1)]
    if len(xy) == 0:
        return ""
    if line.get_transform() != ax.transData:
        return _rule(ax, line, xy, name)
    if len(xy) > 1 and line.get_linestyle() != "None":
        return f"{name or 'A line'} goes {_way(ax, xy)}"
    return _points(ax, xy, name)


def _rule(ax: Axes, line: Line2D, xy: np.ndarray, name: str) -> str:
    """A line across the whole panel, such as the one for chance; others are decoration."""
    along_x = line.get_transform() == ax.get_yaxis_transform(which="grid")
    along_y = line.get_transform() == ax.get_xaxis_transform(which="grid")
    if not (along_x or along_y):
        return ""
    column = 1 if along_x else 0
    kind = "Horizontal" if along_x else "Vertical"
    return f"{kind} line at {number(xy[0, column])}" + (f": {name}" if name else "")


def _way(ax: Axes, xy: np.ndarray) -> str:
    """Where a line begins and ends, and the turns that stand out between its ends."""
    first, last, y = xy[0], xy[-1], xy[:, 1]
    words = f"from {_place(ax, first)} to {_place(ax, last)}"
    room = BEYOND * (y.max() - y.min())
    for kind, at, beyond in (
        ("highest", y.argmax(), y.max() - max(first[1], last[1])),
        ("lowest", y.argmin(), min(first[1], last[1]) - y.min()),
    ):
        if beyond > room:
            words += f", {kind} {_place(ax, xy[at])}"
    return words


def _points(ax: Axes, xy: np.ndarray, name: str) -> str:
    xy = xy[np.isfinite(xy).all(axis=1)]
    if len(xy) == 1:
        return f"{name + ': ' if name else ''}{_place(ax, xy[0])}"
    if len(xy) == 0:
        return ""
    (x_low, y_low), (x_high, y_high) = xy.min(axis=0), xy.max(axis=0)
    spans = f"{_span(x_low, x_high, ax.xaxis)} across, {_span(y_low, y_high, ax.yaxis)} up"
    return f"{name + ': ' if name else ''}{len(xy)} points, {spans}"


def _span(low: float, high: float, axis: Axis) -> str:
    first, last = _value(axis, low), _value(axis, high)
    return first if first == last else f"{first} to {last}"


def _place(ax: Axes, point: np.ndarray) -> str:
    return f"{_value(ax.yaxis, point[1])} at {_value(ax.xaxis, point[0])}"


def _value(axis: Axis, value: float) -> str:
    """A number, or the word for it on the axis; 0 if it differs from 0 only by rounding."""
    low, high = axis.get_view_interval()
    if abs(value) < 1e-6 * abs(high - low):
        value = 0.0
    return _tick_names(axis).get(float(value)) or number(value)


def _bars(ax: Axes, bars: BarContainer) -> str:
    """The length of each bar by its name, or the longest one of many."""
    upright = bars.orientation != "horizontal"
    lengths = [bar.get_height() if upright else bar.get_width() for bar in bars]
    middles = [
        bar.get_x() + bar.get_width() / 2 if upright else bar.get_y() + bar.get_height() / 2
        for bar in bars
    ]
    axis = ax.xaxis if upright else ax.yaxis
    name = _name(bars.get_label())
    start = f"{name}: " if name else ""
    if len(bars) > MOST_MARKS:
        top = int(np.argmax(lengths))
        return f"{start}{len(bars)} bars, the longest {number(lengths[top])} at " + _value(
            axis, middles[top]
        )
    pairs = zip(middles, lengths, strict=True)
    return start + "bars: " + ", ".join(f"{_value(axis, m)} {number(n)}" for m, n in pairs)


def _words(ax: Axes) -> Iterator[str]:
    """What is written inside the panel."""
    found = [words for text in ax.texts if (words := plain(text.get_text()))]
    if found:
        more = f" and {len(found) - MOST_MARKS} more" * (len(found) > MOST_MARKS)
        yield f"Written in it: {'; '.join(found[:MOST_MARKS])}{more}"
