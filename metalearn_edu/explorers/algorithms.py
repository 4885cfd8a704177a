"""Ways, shots, classes: the measured map, and the recommendation. Introduced in notebook 11."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from ipywidgets import Dropdown, IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from ..plotting import look
from ..plotting.style import BLACK, GREY
from ..runs import ALGORITHMS
from ..study.estimates import best_map, forecast
from ..study.evidence import Evidence, evidence
from ..study.selection import select_meta_learning_algorithm
from ..study.table import Study, load_study
from .base import Explorer

__all__ = ["AlgorithmExplorer"]

SIZES = (20, 35, 50, 100, 200, 400, 1600)
MOST_WAYS, MOST_SHOTS = 50, 20
IMAGES = 20  # of a class; more where n_shot asks for more


class AlgorithmExplorer(Explorer):
    """Which algorithm a study recommends, over classes and ways, and how sure it is.

    Args:
        study: what was measured; default: the stored study of the course.
        state: first values of the controls.
    """

    title = "Which algorithm, for which task?"
    question = (
        "Where does the best algorithm change, and is the difference real there? How wide do the "
        "intervals become where nobody has measured?"
    )
    size = (9.6, 4.2)
    text_height = 140

    def __init__(self, study: Study | None = None, **state: Any) -> None:
        self.study = load_study() if study is None else study
        names = self.study.values("data")
        self.sources: dict[str, Evidence] = {name: evidence(self.study, name) for name in names}
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """The task, the number of meta-training classes, and the data set most like your own."""
        measured = {n for source in self.sources.values() for n in source.levels[0]}
        return {
            "n_way": IntSlider(5, 2, MOST_WAYS, description="n_way"),
            "n_shot": IntSlider(1, 1, MOST_SHOTS, description="n_shot"),
            "n_classes": SelectionSlider(
                options=sorted(measured.union(SIZES)),
                value=200,
                description="meta-training classes, at least n_way",
            ),
            "data": Dropdown(options=list(self.sources), description="data set"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """On the left the map of the best, on the right what to expect of each."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.07, "right": 0.985, "top": 0.9, "bottom": 0.15, "wspace": 0.55}
        left, right = fig.subplots(1, 2, gridspec_kw=place)
        source = self.sources[state["data"]]
        _draw_map(left, source, state)
        _draw_forecasts(right, source, state)

    def describe(self, **state: Any) -> str:
        """The recommendation in sentences."""
        classes, shot = state["n_classes"], state["n_shot"]
        images = classes * max(IMAGES, shot + 1)
        asked = {"n_classes": classes, "data": state["data"], "study": self.study}
        return " ".join(
            select_meta_learning_algorithm(images, state["n_way"], shot, **asked).sentences()
        )

    def after_change(self, name: str) -> None:
        """Keep as many classes as the task has ways."""
        classes = self.inputs["n_classes"]
        if name in ("n_way", "n_classes") and classes.value < self.inputs["n_way"].value:
            classes.value = min(n for n in classes.options if n >= self.inputs["n_way"].value)


def _draw_map(ax: Axes, source: Evidence, state: dict[str, Any]) -> None:
    """The expected best in colours, what was measured as dots, the wanted setting as a cross."""
    sizes, ways = np.geomspace(SIZES[0], SIZES[-1], 50), np.geomspace(2, MOST_WAYS, 50)
    best = best_map(source, sizes, ways, state["n_shot"])
    colors = ListedColormap([look(ALGORITHMS[name].name)["color"] for name in source.accuracy])
    limits: Any = {"vmin": -0.5, "vmax": len(source.accuracy) - 0.5, "alpha": 0.45}
    ax.pcolormesh(sizes, ways, best, cmap=colors, shading="nearest", **limits)
    for i, name in enumerate(source.accuracy):
        where = np.argwhere(best == i)
        if len(where) > 60:  # a name has room there
            row, column = np.median(where, axis=0).astype(int)
            called = ALGORITHMS[name].name
            ax.text(sizes[column], ways[row], called, ha="center", va="bottom", fontsize=11)
    ax.plot(*zip(*product(*source.levels[:2]), strict=True), ".", color=BLACK, ms=6)
    cross: Any = {"color": BLACK, "mfc": "white", "ms": 13, "mew": 1.8, "clip_on": False}
    ax.plot(state["n_classes"], state["n_way"], "P", zorder=5, **cross)
    ax.set(xscale="log", yscale="log", xlabel="meta-training classes", ylabel="n_way")
    ax.set_xticks([20, 50, 200, 800], ["20", "50", "200", "800"])
    ax.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    ax.minorticks_off()
    ax.set_title(f"expected best, {state['n_shot']}-shot; dots: measured", loc="left", fontsize=12)


def _draw_forecasts(ax: Axes, source: Evidence, state: dict[str, Any]) -> None:
    """Expected accuracy with its interval, a row per algorithm, the best on top."""
    point = state["n_classes"], state["n_way"], state["n_shot"]
    found = {name: forecast(source, name, point) for name in source.accuracy}
    order = sorted(found, key=lambda name: -found[name].edge)
    for row, name in enumerate(order):
        f, style = found[name], look(ALGORITHMS[name].name)
        bars = [[100 * (f.accuracy - f.low)], [100 * (f.high - f.accuracy)]]
        ax.errorbar([100 * f.accuracy], [row], xerr=bars, capsize=4, **style)
    ax.axvline(100 / state["n_way"], color=GREY, ls=":")
    ax.set_yticks(range(len(order)), [ALGORITHMS[name].name for name in order])
    ax.set(xlim=(0, 100), ylim=(len(order) - 0.5, -0.5), xlabel="meta-test accuracy (%)")
    ax.set_title(f"{source.data}: 95 % intervals; dotted: chance", loc="left", fontsize=12)
