"""A valley to turn: one step size, one for each weight, or a whole matrix. Lesson 06."""

from __future__ import annotations

import math
from typing import Any

import torch
from ipywidgets import IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..plotting.style import BLACK, GREY, VERMILLION, WINE
from .base import Explorer

__all__ = ["ValleyExplorer", "best_steps", "left_over", "valley"]

LOOKS: dict[str, dict[str, Any]] = {
    "one number": {"color": VERMILLION, "ls": "--", "marker": "s"},
    "diagonal": {"color": WINE, "ls": "-", "marker": "*"},
    "full matrix": {"color": BLACK, "ls": ":", "marker": "^"},
}


def valley(angle: float, ratio: float) -> Tensor:
    """Curvature (2, 2) of the loss w H w / 2: 1 along the valley and `ratio` across it.

    Args:
        angle: of the valley's floor against the first weight, in degrees.
        ratio: of the two curvatures.
    """
    turn = math.radians(angle)
    floor = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    across = torch.tensor([-math.sin(turn), math.cos(turn)], dtype=torch.float64)
    return torch.outer(floor, floor) + ratio * torch.outer(across, across)


def best_steps(curvature: Tensor) -> dict[str, Tensor]:
    """For each kind of step A, the one with the least mean squared distance left over all starts.

    A step leads from w to (I - A H) w, so what is left is the sum of squares of I - A H, and each
    row of a diagonal A is a least-squares fit of its own.

    Args:
        curvature: H, (d, d), symmetric and positive definite.
    Returns:
        {kind: A of shape (d, d)}.
    """
    squares = curvature.square()
    one = curvature.trace() / squares.sum()
    return {
        "one number": one * torch.eye(len(curvature), dtype=curvature.dtype),
        "diagonal": torch.diag(curvature.diag() / squares.sum(dim=1)),
        "full matrix": torch.linalg.inv(curvature),
    }


def left_over(step: Tensor, curvature: Tensor) -> float:
    """Root mean square of the distance that one step leaves, over all directions of the start."""
    rest = torch.eye(len(curvature), dtype=curvature.dtype) - step @ curvature
    return (rest.square().sum() / len(curvature)).sqrt().item()


class ValleyExplorer(Explorer):
    """A quadratic loss of two weights whose valley can be turned, and three kinds of steps.

    Each is the best of its kind for this valley, over all starts: one number for both weights, one
    number for each weight (as in Meta-SGD), or a full matrix.

    Args:
        state: first values of the controls.
    """

    title = "One step into a valley"
    question = (
        "For which angles is one step size per weight as good as a full matrix, and for which is "
        "it no better than a single number?"
    )
    size = (9.6, 4.4)

    def controls(self) -> dict[str, Any]:
        return {
            "angle": IntSlider(0, 0, 90, 5, description="angle of the valley (degrees)"),
            "ratio": IntSlider(8, 1, 20, description="curvature across / along"),
            "start": IntSlider(30, 0, 350, 10, description="direction of the start (degrees)"),
            "n_steps": IntSlider(1, 1, 5, description="steps"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        fig.set_layout_engine("none")  # the axes do their own layout: quicker, and nothing jumps
        place: Any = {"left": 0.06, "right": 0.985, "top": 0.91, "bottom": 0.14, "wspace": 0.2}
        left, right = fig.subplots(1, 2, width_ratios=(1.15, 1), gridspec_kw=place)
        self._draw_valley(left, **state)
        self._draw_angles(right, **state)

    def _draw_valley(self, ax: Axes, **state: Any) -> None:
        curvature = valley(state["angle"], state["ratio"])
        side = torch.linspace(-2.6, 2.6, 61, dtype=torch.float64)
        grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
        height = torch.einsum("...i,ij,...j->...", grid, curvature, grid) / 2
        levels = [level**2 / 2 for level in (0.5, 1, 2, 3, 4.5, 6)]
        ax.contour(side, side, height.numpy(), levels, colors="0.75", linewidths=1)
        for kind, path in self._paths(**state).items():
            ax.plot(*path.T.tolist(), label=kind, ms=9, **LOOKS[kind])
        ax.plot([0], [0], "+", color=BLACK, ms=13, mew=2)
        ax.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xlabel="weight 1", ylabel="weight 2")
        ax.set(xticks=[-2, -1, 0, 1, 2], yticks=[-2, -1, 0, 1, 2])
        ax.set_aspect("equal", adjustable="box")
        ax.set_title("cross: the minimum", loc="left")

    def _draw_angles(self, ax: Axes, **state: Any) -> None:
        angles = range(0, 91, 5)
        for kind, style in LOOKS.items():
            shares = [_share(kind, angle, state["ratio"]) for angle in angles]
            ax.plot(angles, shares, label=kind, **{**style, "marker": ""})
            ax.plot([state["angle"]], [_share(kind, state["angle"], state["ratio"])], **style, ms=9)
        ax.axvline(state["angle"], color=GREY, lw=1)
        ax.set(xlim=(-2, 92), ylim=(-4, 118), xlabel="angle of the valley (degrees)")
        ax.set_xticks([0, 15, 30, 45, 60, 75, 90])
        ax.set_title("distance left after one step (%), over all starts", loc="left")
        ax.legend(loc="upper center", ncols=3, columnspacing=0.7, handlelength=1.6)

    def describe(self, **state: Any) -> str:
        shares = {kind: _share(kind, state["angle"], state["ratio"]) for kind in LOOKS}
        ends = {kind: path[-1].norm().item() for kind, path in self._paths(**state).items()}
        mean = ", ".join(f"{kind} {share:.0f} %" for kind, share in shares.items())
        here = ", ".join(f"{kind} {end:.2f}" for kind, end in ends.items())
        steps = state["n_steps"]
        return (
            f"Valley at {state['angle']} degrees, {state['ratio']} times as steep across as along. "
            f"Distance from the minimum that one step leaves, over all starts: {mean}. From the "
            f"start at {state['start']} degrees, at a distance of 2, after {steps} "
            f"step{'s' * (steps != 1)}: {here}."
        )

    def _paths(self, **state: Any) -> dict[str, Tensor]:
        """The points (n_steps + 1, 2) that each kind of step goes through."""
        curvature, turn = valley(state["angle"], state["ratio"]), math.radians(state["start"])
        start = 2 * torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
        paths = {}
        for kind, step in best_steps(curvature).items():
            points = [start]
            for _ in range(state["n_steps"]):
                points.append(points[-1] - step @ (curvature @ points[-1]))
            paths[kind] = torch.stack(points)
        return paths


def _share(kind: str, angle: float, ratio: float) -> float:
    """Percentage of the distance that is left."""
    curvature = valley(angle, ratio)
    return 100 * left_over(best_steps(curvature)[kind], curvature)
