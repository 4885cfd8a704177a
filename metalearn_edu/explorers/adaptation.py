"""A start that adapts to any sine wave while we watch. Introduced in notebook 05."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider, SelectionSlider
from matplotlib.figure import Figure
from torch import Tensor

from ..learners import MAML
from ..plotting import plot_curves
from .base import Explorer

__all__ = ["AdaptationExplorer", "support_points", "wave"]

STEP_SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
MOST_SHOTS = 20


class AdaptationExplorer(Explorer):
    """Gradient descent from a learned start, on a sine wave of the user's choice.

    Args:
        learners: MAML learners of one number from one number, by name; the names of LOOK get their
            colour. They are not changed.
        state: first values of the controls.
    Raises:
        ValueError: no learner is given.
    """

    title = "One start, any sine wave"
    question = (
        "With 5 inner steps, how few support points does the curve need? And what does the start "
        "do where it has seen no point at all?"
    )
    size = (7.2, 3.8)

    def __init__(self, learners: Mapping[str, MAML], **state: Any) -> None:
        if not learners:
            raise ValueError("learners must hold at least one learner, got none")
        self.learners = dict(learners)
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """Which start, how to adapt it, and to which wave."""
        return {
            "start": Dropdown(options=list(self.learners), description="start from"),
            "num_inner_steps": IntSlider(5, 0, 20, description="inner steps"),
            "inner_lr": SelectionSlider(options=STEP_SIZES, value=0.01, description="inner_lr"),
            "n_shot": IntSlider(10, 1, MOST_SHOTS, description="support points, n_shot"),
            "amplitude": FloatSlider(3.0, min=0.1, max=5.0, step=0.1, description="amplitude"),
            "phase": FloatSlider(0.4, min=0.0, max=3.1, step=0.1, description="phase (radians)"),
            "points": IntSlider(0, 0, 9, description="other points"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The start, the adapted curve, the truth and the support points."""
        x, truth = wave(state)
        before, after = self._curves(x, state)
        steps = state["num_inner_steps"]
        ax = plot_curves(
            x,
            {"start, 0 steps": before, f"after {steps} {_steps(steps)}": after},
            truth=truth,
            support=support_points(state),
            ax=fig.add_subplot(),
        )
        ax.set(xlim=(-5.2, 5.2), ylim=(-6.5, 6.5))
        ax.set_title(f"{state['start']}: {_change(before, after, truth)}", loc="left")

    def describe(self, **state: Any) -> str:
        """The errors before and after, and whether the curve is still in the picture."""
        x, truth = wave(state)
        before, after = self._curves(x, state)
        steps, points = state["num_inner_steps"], state["n_shot"]
        text = (
            f"{state['start']}, {steps} inner {_steps(steps)} of {state['inner_lr']} on {points} "
            f"support {'point' if points == 1 else 'points'}: {_change(before, after, truth)}."
        )
        if not after.abs().max() < 6.5:
            text += " The curve leaves the picture: the steps are too large, or the points too few."
        return text

    def _curves(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What the start says at x, before and after adapting; the learner stays as it is."""
        learner = copy.copy(self.learners[state["start"]])
        learner.inner_lr = state["inner_lr"]
        support_x, support_y = support_points(state)
        with torch.no_grad():
            before, after = (
                learner.adapt(support_x, support_y, num_inner_steps=steps)(x)
                for steps in (0, state["num_inner_steps"])
            )
        return before, after


def wave(state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """A grid x (201, 1) and the true y there, of a state with amplitude and phase."""
    x = torch.linspace(-5, 5, 201)[:, None]
    return x, _sine(x, state)


def support_points(state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Support points (n_shot, 1) each; one more shot keeps the others where they are."""
    generator = torch.Generator().manual_seed(state["points"])
    x = 10 * torch.rand(MOST_SHOTS, 1, generator=generator)[: state["n_shot"]] - 5
    return x, _sine(x, state)


def _sine(x: Tensor, state: dict[str, Any]) -> Tensor:
    return state["amplitude"] * torch.sin(x - state["phase"])


def _change(before: Tensor, after: Tensor, truth: Tensor) -> str:
    """Squared errors in words."""
    start, end = ((y - truth).square().mean().item() for y in (before, after))
    return f"squared error {start:.2f} -> {end:.2f}" if math.isfinite(end) else "it diverges"


def _steps(n: int) -> str:
    return "step" if n == 1 else "steps"
