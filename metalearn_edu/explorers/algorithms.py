"""Ways, shots, classes: the measurements, and the recommendation. Introduced in notebook 11."""

from __future__ import annotations

from typing import Any

import numpy as np
from ipywidgets import Dropdown, IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plotting.style import BLACK, GREY
from ..runs import ALGORITHMS
from ..study.estimates import Forecast, forecast
from ..study.evidence import Evidence, evidence
from ..study.figures import accuracy_axis, look_of
from ..study.selection import select_meta_learning_algorithm
from ..study.table import Study, load_study
from .base import Explorer

__all__ = ["AlgorithmExplorer", "draw_ranking"]

SIZES = (20, 35, 50, 100, 200, 400, 1600)
MOST_WAYS, MOST_SHOTS = 50, 20
IMAGES = 20  # of a class; more where n_shot asks for more
LOWEST, HIGHEST = 1, 99.7  # percent, of the picture


class AlgorithmExplorer(Explorer):
    """Which algorithm a study recommends, over classes, ways and shots, and how sure it is.

    Args:
        study: what was measured; default: the stored study of the course.
        state: first values of the controls.
    """

    title = "Which algorithm, for which task?"
    question = (
        "Where do two lines cross, and is the difference real there? How wide do the bands become "
        "where nobody has measured?"
    )
    size = (9.6, 4.2)
    text_height = 164

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
        """On the left accuracy over classes, on the right what to expect of each at the line."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.07, "right": 0.985, "top": 0.9, "bottom": 0.15, "wspace": 0.62}
        left, right = fig.subplots(1, 2, gridspec_kw=place)
        source = self.sources[state["data"]]
        _draw_lines(left, source, state)
        point = state["n_classes"], state["n_way"], state["n_shot"]
        found = {name: forecast(source, name, point) for name in source.accuracy}
        draw_ranking(right, found, 100 / state["n_way"])
        right.set_title(f"{source.data}, {point[0]} classes; dotted: chance", loc="left")

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


def _draw_lines(ax: Axes, source: Evidence, state: dict[str, Any]) -> None:
    """Each algorithm over the classes: measured as dots, and beyond them dashed."""
    task, levels = (state["n_way"], state["n_shot"]), source.levels[0]
    # on these axes interpolation and extrapolation are straight lines
    sizes = sorted({SIZES[0], *levels, SIZES[-1]})
    inside = [sizes.index(n) for n in levels]
    measured = task[0] in source.levels[1] and task[1] in source.levels[2]
    for i, name in enumerate(source.accuracy):
        found = [forecast(source, name, (n, *task)) for n in sizes]
        mean, low, high = 100 * np.array([(f.accuracy, f.low, f.high) for f in found]).T
        style = look_of(name, i)
        ax.fill_between(sizes, low, high, color=style["color"], alpha=0.13, lw=0)
        ax.plot(sizes, mean, color=style["color"], ls="--", lw=1)
        dots = style if measured else style | {"marker": ""}
        ax.plot([sizes[k] for k in inside], mean[inside], **dots, lw=1.4, ms=6)
    ax.axvline(state["n_classes"], color=BLACK, lw=1)
    ax.axhline(100 / task[0], color=GREY, ls=":")
    accuracy_axis(ax, LOWEST, HIGHEST)
    ax.set(xscale="log", xlabel="meta-training classes", ylabel="meta-test accuracy (%)")
    ax.set_xticks([20, 50, 200, 800], ["20", "50", "200", "800"])
    ax.minorticks_off()
    words = "dots: measured" if measured else "no dots: between or beyond"
    ax.set_title(f"{task[0]}-way {task[1]}-shot; {words}", loc="left")


def draw_ranking(ax: Axes, found: dict[str, Forecast], chance: float) -> None:
    """Expected accuracy with its interval, a row per algorithm, the best on top."""
    order = sorted(found, key=lambda name: -found[name].edge)
    for row, name in enumerate(order):
        f, style = found[name], look_of(name, list(found).index(name))
        bars = [[100 * (f.accuracy - f.low)], [100 * (f.high - f.accuracy)]]
        ax.errorbar([100 * f.accuracy], [row], xerr=bars, capsize=4, **style)
    ax.axvline(chance, color=GREY, ls=":")
    names = [ALGORITHMS[name].name_in_study.replace(" (", "\n(") for name in order]
    ax.set_yticks(range(len(order)), names)
    ax.set(xlim=(0, 100), ylim=(len(order) - 0.5, -0.5))
    ax.set_xlabel("meta-test accuracy (%), 95 % interval")
