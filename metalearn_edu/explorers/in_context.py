"""Points set by hand, and each learner's answer to them. Introduced in notebook 10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ipywidgets import FloatSlider, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..exact_posterior import ExactPosterior
from ..learners import MAML, InContextLearner, MetaLearner
from ..plotting import look
from ..plotting.style import BLACK, GREY
from ..tasks import GaussianProcesses
from .adaptation import adaptation_path
from .base import Explorer

__all__ = ["InContextExplorer", "points_by_hand"]

PLACES = (-0.4, 0.6, -1.4, 1.5, 0.1)
"""x of the points, in the order in which they come."""
HEIGHTS = (0.9, -0.8, -0.5, 0.4, 0.6)
MOST_POINTS, MOST_STEPS = len(PLACES), 10
LIMIT = 3.4  # of the picture's y


def points_by_hand(state: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The points of a state: (n_points, 1) each."""
    n = state["n_points"]
    heights = [[state[f"y_{i + 1}"]] for i in range(n)]
    return torch.tensor(PLACES[:n])[:, None], torch.tensor(heights)


class InContextExplorer(Explorer):
    """Points of a curve set by hand, answered by learners and by the exact posterior.

    On the left the transformer, on the right the others; the exact posterior is in both, with its
    band of two standard deviations, which holds 95 % of all measurements.

    Args:
        tasks: the family whose posterior is drawn.
        transformer: an in-context learner of one number from one number.
        others: more learners by name, drawn on the right; a MAML is drawn after `steps` inner
            steps. The names of LOOK get their colour.
        state: first values of the controls.
    Raises:
        ValueError: no other learner is given.
    """

    title = "Set the points yourself"
    question = (
        "Put two neighbours at heights that this family hardly ever has, such as 2 and -2. Which "
        "learner still goes through both? And where no point is near, whose curve knows that it "
        "does not know?"
    )
    size = (10.4, 3.9)

    def __init__(
        self,
        tasks: GaussianProcesses,
        transformer: InContextLearner,
        others: Mapping[str, MetaLearner],
        **state: Any,
    ) -> None:
        if not others:
            raise ValueError("others must hold at least one learner, got none")
        self.exact, self.transformer, self.others = (
            ExactPosterior(tasks),
            transformer,
            dict(others),
        )
        self.x_range = tasks.x_range
        self.x = torch.linspace(*tasks.x_range, 121)[:, None]
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """The number of points, the height of each, and MAML's steps."""
        limits: Any = {"min": -2.5, "max": 2.5, "step": 0.1}
        heights = {
            f"y_{i + 1}": FloatSlider(y, description=f"height of point {i + 1}", **limits)
            for i, y in enumerate(HEIGHTS)
        }
        return {
            "n_points": IntSlider(3, 1, MOST_POINTS, description="points"),
            **heights,
            "steps": IntSlider(5, 0, MOST_STEPS, description="inner steps of MAML"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The transformer with its band, the others, and the exact posterior beside both."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.05, "right": 0.98, "top": 0.91, "bottom": 0.26, "wspace": 0.1}
        axes = fig.subplots(1, 2, sharey=True, gridspec_kw=place)
        points, (exact, band) = points_by_hand(state), self._distribution(self.exact, state)
        for ax in axes:
            self._draw_band(ax, exact, band, BLACK, "exact posterior")
            ax.plot(*points, "o", color=BLACK, ms=8, zorder=5, label="your points")
            ax.set(xlim=self.x_range, ylim=(-LIMIT, LIMIT), xlabel="x")
        mean, std = self._distribution(self.transformer, state)
        self._draw_band(axes[0], mean, std, look("Transformer")["color"], "Transformer")
        for row, (name, curve) in enumerate(self._curves(state).items()):
            axes[1].plot(self.x, curve, color=look(name, row)["color"], label=name)
        titles = ("a transformer: mean and 2 standard deviations", "the others: mean alone")
        for ax, title in zip(axes, titles, strict=True):
            ax.set_title(title, loc="left")
            lines = [line for line in ax.lines if ax is axes[0] or line.get_label() in self.others]
            ax.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)

    def describe(self, **state: Any) -> str:
        """How far each learner is from the exact posterior, and how sure the transformer is."""
        exact, band = self._distribution(self.exact, state)
        mean, std = self._distribution(self.transformer, state)
        curves = {"Transformer": mean} | self._curves(state)
        apart = [f"{n} {(c - exact).square().mean().sqrt():.2f}" for n, c in curves.items()]
        widths = f"{std.mean():.2f} on average, the exact one {band.mean():.2f}"
        n, k = state["n_points"], state["steps"]
        return (
            f"{n} point{'s' * (n != 1)}, {k} inner step{'s' * (k != 1)}. Root mean square distance "
            f"of the curves from the exact posterior's mean: {', '.join(apart)}. The transformer's "
            f"standard deviation is {widths}."
        )

    def _draw_band(self, ax: Axes, mean: Tensor, std: Tensor, color: str, label: str) -> None:
        low, high = mean - 2 * std, mean + 2 * std
        fill = GREY if color == BLACK else color
        ax.fill_between(self.x[:, 0], low[:, 0], high[:, 0], color=fill, alpha=0.2, lw=0)
        ax.plot(self.x, mean, color=color, ls="--" if color == BLACK else "-", label=label)

    @torch.no_grad()
    def _distribution(self, learner: Any, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (N, 1) over the grid."""
        x, y = points_by_hand(state)
        mean, std = learner.distribution(x[None], y[None], self.x[None])
        return mean[0], std[0]

    @torch.no_grad()
    def _curves(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """The answers of the other learners on the grid, (N, 1)."""
        return {name: self._answer(learner, state) for name, learner in self.others.items()}

    def _answer(self, learner: MetaLearner, state: dict[str, Any]) -> Tensor:
        x, y = points_by_hand(state)
        if not isinstance(learner, MAML):
            return learner.adapt(x, y)(self.x)
        steps = {"inner_lr": learner.inner_lr, "n_steps": state["steps"]}
        return adaptation_path(learner, x, y, self.x, **steps)[-1]
