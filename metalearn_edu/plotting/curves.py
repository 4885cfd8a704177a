"""Curves in the plane: functions of one variable, and embedded items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .reading import number
from .style import (
    BLACK,
    SMALL,
    add_legend,
    as_array,
    class_look,
    flat,
    legend_label,
    look,
    pyplot_axes,
    styled,
)
from .words import add_words

__all__ = ["plot_curves", "plot_embedding"]


@styled
def plot_curves(
    x: Any,
    curves: Mapping[str, Any],
    *,
    truth: Any = None,
    support: tuple[Any, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw functions of one variable, with the true one dashed, and the support points.

    Args:
        x: (n,) or (n, 1), in order.
        curves: {name: y (n,) or (n, 1)}; names of LOOK get their colour.
        truth: y of the true function at x.
        support: (x, y) of the support points.
    """
    ax = ax or pyplot_axes()
    if truth is not None:
        ax.plot(*flat(x, truth), color=BLACK, ls="--", lw=1.3, label="truth")
    for row, (name, y) in enumerate(curves.items()):
        dash: Any = ("-", "-.", (0, (4, 1, 1, 1, 1, 1)), ":")[row % 4]
        ax.plot(*flat(x, y), color=look(name, row)["color"], ls=dash, label=legend_label(name))
    if support is not None:
        ax.plot(*flat(*support), "o", color=BLACK, label="support", zorder=3)
    ax.set(xlabel="x", ylabel="y")
    add_legend(ax)
    return ax


@styled
def plot_embedding(
    z: Any,
    labels: Any,
    *,
    prototypes: Any = None,
    class_names: Sequence[str] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw embedded items in the plane, a colour and marker per class, and the prototypes.

    Args:
        z: (N, 2); project longer embeddings first.
        labels: (N,) episode labels.
        prototypes: (n_way, 2), drawn large, with their label inside.
        class_names: (n_way,) for the legend; default: the labels.
        legend: False leaves it to you.
    Raises:
        ValueError: the embeddings are not in the plane.
    """
    points, labels = as_array(z), as_array(labels)
    _check_embedding(points, labels, class_names)
    ax = ax or pyplot_axes(5.6, 4)
    for label in np.unique(labels):
        name = str(label) if class_names is None else legend_label(f"{label}  {class_names[label]}")
        mine = points[labels == label]
        ax.plot(*mine.T, ls="none", ms=6, alpha=0.7, mew=0, label=name, **class_look(int(label)))
    for label, centre in enumerate([] if prototypes is None else as_array(prototypes)):
        _prototype(ax, label, centre)
    ax.set(xlabel="first axis (embedding units)", ylabel="second axis (embedding units)")
    ax.set_aspect("equal", adjustable="datalim")
    if legend:
        add_legend(ax, title="label")
    add_words(ax, _clouds_in_words(points, labels, class_names, prototypes is not None))
    return ax


def _check_embedding(
    points: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None
) -> None:
    """Raises ValueError: not in the plane, or labels or names do not fit."""
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"z must be (N, 2), got {points.shape}; project it on two axes first")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"labels must be one per item: {len(points)} items, labels {labels.shape}")
    if class_names is not None and not np.isin(labels, range(len(class_names))).all():
        raise ValueError(
            f"class_names has {len(class_names)} entries for labels up to {labels.max()}"
        )


def _prototype(ax: Axes, label: int, centre: np.ndarray) -> None:
    """A large ring with the label inside."""
    color = class_look(label)["color"]
    ax.plot(*centre, "o", ms=19, color="white", mec=color, mew=2.5, zorder=4)
    place: Any = {"ha": "center", "va": "center_baseline", "zorder": 5}
    ax.text(centre[0], centre[1], str(label), fontsize=SMALL, **place)


def _clouds_in_words(
    points: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None, prototypes: bool
) -> str:
    """How many items each class has, and around which point they lie."""
    clouds = []
    for label in np.unique(labels):
        mine = points[labels == label]
        x, y = map(number, mine.mean(axis=0))
        name = f"{label} ({class_names[label]})" if class_names is not None else str(label)
        clouds.append(f"{name}: {len(mine)} around ({x}, {y})")
    more = ", with the prototype of each class" * prototypes
    return f"{len(points)} embedded items in the plane{more}. By label, {'; '.join(clouds)}."
