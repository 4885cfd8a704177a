"""The space of sine-wave tasks, and the vectors that stand for them. Introduced in notebook 09."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from ipywidgets import IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..learners import TaskConditionedNetwork
from ..plotting import plot_curves
from ..plotting.style import VERMILLION
from ..tasks import Sinusoids
from .adaptation import MOST_SHOTS, support_points, wave, wave_sliders
from .base import Explorer
from .prototypes import principal_plane

__all__ = ["TaskSpaceExplorer", "task_plane"]

N_TASKS, N_NEAREST = 200, 5


def task_plane(amplitude: Tensor, phase: Tensor) -> Tensor:
    """Where waves lie in the plane of tasks: (T, 2), A cos(phase) and A sin(phase).

    y = A sin(x - phase) = (A cos phase) sin x - (A sin phase) cos x, so these two numbers say
    everything about the task. With phases from 0 to pi the tasks fill half a disc.
    """
    return torch.stack([amplitude * phase.cos(), amplitude * phase.sin()], dim=-1)


@dataclass(frozen=True)
class _View:
    """The task in hand among others."""

    place: Tensor  # (2,) where it lies in the plane of tasks
    vector: Tensor  # (2,) where its vector lies in the plane of vectors
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

    On the left 200 tasks as they are, in the middle the vectors that they get from ten points
    each (their two principal directions); colour is the phase, size the amplitude. The cross is
    the chosen task and its vector, rings are the five tasks whose vectors are nearest to it,
    counted in all directions. On the right the network, told this vector.

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
    size = (11.0, 3.7)
    episode_control = "points"

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
        """Which wave, and what the learner sees of it."""
        return {
            **wave_sliders(phase=0.8),
            "n_shot": IntSlider(10, 1, MOST_SHOTS, description="n_shot (support points)"),
            "points": IntSlider(0, 0, 9, description="points (seed)"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """All tasks, their vectors, and the function of the chosen one."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        margins: Any = {"left": 0.05, "right": 0.99, "top": 0.91, "bottom": 0.25, "wspace": 0.13}
        tasks, vectors, right = fig.subplots(1, 3, width_ratios=(1, 1, 1.2), gridspec_kw=margins)
        view = self._view(state)
        self._draw_plane(tasks, task_plane(*self.tasks), view.place, view.nearest)
        tasks.set(xlabel="A cos phase", ylabel="A sin phase")
        tasks.set_title("200 tasks", loc="left")
        self._draw_plane(vectors, self._project(self.vectors), view.vector, view.nearest)
        vectors.set(xlabel="first principal direction", ylabel="second", xticks=[], yticks=[])
        vectors.set_title("their vectors", loc="left")
        names: Any = {"loc": "upper center", "ncols": 2, "handletextpad": 0.2}
        vectors.legend(bbox_to_anchor=(-0.1, -0.18), **names)
        curves = {"Task-conditioned": view.answer}
        plot_curves(view.x, curves, truth=view.truth, support=support_points(state), ax=right)
        right.legend(loc="upper center", bbox_to_anchor=(0.45, -0.18), ncols=3, columnspacing=0.8)
        right.set(xlim=(-5.2, 5.2), ylim=(-5.6, 5.6), ylabel="")
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

    def _draw_plane(self, ax: Axes, places: Tensor, here: Tensor, nearest: Tensor) -> None:
        """The other tasks (200, 2), rings around the nearest, and a cross (2,) where we are."""
        amplitude, phase = self.tasks
        colors: Any = {"c": phase, "cmap": "viridis", "vmin": 0, "vmax": torch.pi}
        x, y = places.T
        ax.scatter(x, y, s=6 + 12 * amplitude, **colors)
        ring: dict[str, Any] = {"mfc": "none", "mec": "black", "mew": 1.5, "ms": 12, "ls": "none"}
        ax.plot(*places[nearest].T, "o", label="nearest vectors", **ring)
        ax.plot(*here, "X", ms=14, color=VERMILLION, mec="white", label="this task")
        low, high = places.amin(dim=0), places.amax(dim=0)
        edge = 0.12 * (high - low)
        limits = torch.stack([low - edge, high + edge], dim=1).tolist()
        ax.set(xlim=limits[0], ylim=limits[1])

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
        vector = self._project(e)[0]
        return _View(true_place, vector, nearest, gaps.mean().item(), x, truth, answer)
