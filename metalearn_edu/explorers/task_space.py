"""The space of sine-wave tasks, and the vectors that stand for them. Introduced in notebook 09."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..learners import TaskConditionedNetwork
from ..plotting import plot_curves
from ..tasks import Sinusoids
from .adaptation import MOST_SHOTS, support_points, wave
from .base import Explorer
from .prototypes import principal_plane

__all__ = ["TaskSpaceExplorer", "task_plane"]

PLANES = {"the tasks themselves": "tasks", "their vectors": "vectors"}
N_TASKS, N_NEAREST = 200, 5


def task_plane(amplitude: Tensor, phase: Tensor) -> Tensor:
    """Where waves lie in the plane of tasks: (T, 2), A cos(phase) and A sin(phase).

    y = A sin(x - phase) = (A cos phase) sin x - (A sin phase) cos x, so these two numbers say all
    about the task. With phases from 0 to pi the tasks fill half a disc.
    """
    return torch.stack([amplitude * phase.cos(), amplitude * phase.sin()], dim=-1)


@dataclass(frozen=True)
class _View:
    """The task in hand among others."""

    here: Tensor  # (2,) its place
    nearest: Tensor  # (N_NEAREST,) which tasks have the most similar vectors
    gap: float  # how far away these lie in the plane of tasks
    x: Tensor  # (201, 1)
    truth: Tensor  # (201, 1)
    answer: Tensor  # (201, 1)

    @property
    def error(self) -> float:
        return (self.answer - self.truth).square().mean().item()


class TaskSpaceExplorer(Explorer):
    """A wave of the user's choice as a point among other tasks, and what the network makes of it.

    On the left 200 tasks, as what they are or as the vectors that they get from ten points each
    (their two principal directions); colour is the phase, size the amplitude. The cross is the
    vector of the task in hand, rings are the five tasks whose vectors are nearest to it, counted
    in all directions. On the right the network, told this vector.

    Args:
        learner: a regression network on one number; it is not changed.
        seed: of the other tasks.
        state: first values of the controls.
    Raises:
        ValueError: a classifier, or vectors of fewer than 2 numbers.
    """

    title = "Tasks as points"
    question = (
        "Go once along the border of the half-disc: amplitude 5, phase from 0 to 3.1. Which way "
        "does the vector take? And how few support points leave it among the right neighbours?"
    )
    size = (9.0, 3.6)
    slow = True

    def __init__(self, learner: TaskConditionedNetwork, *, seed: int = 7, **state: Any) -> None:
        width = learner.task_encoder.task_embedding_dim
        if not learner.regression or width < 2:
            raise ValueError(
                "learner must be for regression, with task_embedding_dim at least 2 to span a "
                f"plane; got regression={learner.regression}, task_embedding_dim={width}"
            )
        self.learner = learner
        waves = Sinusoids(n_shot=10, n_query=1)
        self.tasks = waves.task_parameters(seed, 0, N_TASKS)  # amplitudes and phases, (200,) each
        episodes = waves.episodes(seed, 0, N_TASKS)
        self.vectors = self._vectors(episodes.support_x, episodes.support_y)
        self.mean, self.axes = principal_plane(self.vectors)
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """Which wave, what the learner sees of it, and which plane is drawn."""
        return {
            "plane": Dropdown(options=PLANES, value="vectors", description="left"),
            "amplitude": FloatSlider(3.0, min=0.1, max=5.0, step=0.1, description="amplitude"),
            "phase": FloatSlider(0.8, min=0.0, max=3.1, step=0.1, description="phase (radians)"),
            "n_shot": IntSlider(10, 1, MOST_SHOTS, description="support points, n_shot"),
            "points": IntSlider(0, 0, 9, description="other points"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The plane with all tasks, and the function of the one in hand."""
        view = self._view(state)
        left, right = fig.subplots(1, 2, width_ratios=(1, 1))
        self._draw_plane(left, view, state)
        curves = {"Task-conditioned": view.answer}
        plot_curves(view.x, curves, truth=view.truth, support=support_points(state), ax=right)
        right.legend(loc="lower center", ncols=3, handlelength=1.0, columnspacing=0.6)
        right.set(xlim=(-5.2, 5.2), ylim=(-7.6, 5.6))
        right.set_title(f"squared error {view.error:.2f}", loc="left")

    def describe(self, **state: Any) -> str:
        """The error, the neighbours, and where they lie."""
        view = self._view(state)
        n = state["n_shot"]
        return (
            f"Amplitude {state['amplitude']:.1f}, phase {state['phase']:.1f}, {n} support "
            f"{'point' if n == 1 else 'points'}: squared error {view.error:.2f}. The "
            f"{N_NEAREST} tasks with the nearest vectors are on average {view.gap:.2f} away from "
            "it in the plane (A cos phase, A sin phase)."
        )

    def _draw_plane(self, ax: Axes, view: _View, state: dict[str, Any]) -> None:
        places = self._places(state["plane"])
        amplitude, phase = self.tasks
        x, y = places.T
        dots = ax.scatter(
            x, y, c=phase, s=6 + 12 * amplitude, cmap="viridis", vmin=0, vmax=torch.pi
        )
        ax.figure.colorbar(dots, ax=ax, label="phase (radians)", shrink=0.9)
        ring: dict[str, Any] = {"mfc": "none", "mec": "black", "mew": 1.5, "ms": 12, "ls": "none"}
        ax.plot(*places[view.nearest].T, "o", label="nearest vectors", **ring)
        ax.plot(*view.here, "X", ms=14, color="#D55E00", mec="white", label="this task")
        names = {
            "tasks": ("A cos phase", "A sin phase"),
            "vectors": ("first principal direction", "second direction"),
        }[state["plane"]]
        ax.set(xlabel=names[0], ylabel=names[1])
        ax.margins(0.08)
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, handletextpad=0.2)

    def _places(self, plane: str) -> Tensor:
        """Where the other tasks lie, (200, 2)."""
        return task_plane(*self.tasks) if plane == "tasks" else self._project(self.vectors)

    def _project(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) @ self.axes

    @torch.no_grad()
    def _vectors(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """The vectors (T, E) of T support sets."""
        return self.learner.learn_task(support_x, support_y)[:, 0]

    @torch.no_grad()
    def _view(self, state: dict[str, Any]) -> _View:
        x, truth = wave(state)
        support_x, support_y = support_points(state)
        e = self._vectors(support_x[None], support_y[None])  # (1, E)
        answer = self.learner.predict(e[:, None], x[None])[0]
        nearest = (self.vectors - e).square().sum(dim=1).topk(N_NEAREST, largest=False).indices
        true_place = task_plane(*(torch.tensor(state[key]) for key in ("amplitude", "phase")))
        gaps = (task_plane(*self.tasks)[nearest] - true_place).norm(dim=1)
        here = true_place if state["plane"] == "tasks" else self._project(e)[0]
        return _View(here, nearest, gaps.mean().item(), x, truth, answer)
