"""Move a task's vector along a direction and watch the curve follow. Introduced in notebook 09."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from ipywidgets import Dropdown, FloatSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..learners import TaskConditionedNetwork
from ..plotting import plot_curves
from ..plotting.style import BLACK, GREEN, GREY, VERMILLION
from ..tasks import Sinusoids
from .adaptation import support_points, wave, wave_sliders
from .base import Explorer
from .task_space import task_plane

__all__ = ["VectorWalkExplorer", "linear_probe", "walk_directions", "wave_numbers"]

N_TASKS, N_NEAR = 2000, 200
NEARBY, WEIGHTS, RANDOM = "as nearby tasks differ", "the probe's weights", "random"


def linear_probe(vectors: Tensor, plane: Tensor) -> Tensor:
    """Weights and bias (E + 1, 2) that read a and b from a vector by least squares.

    Args:
        vectors: (T, E) the vectors of T tasks.
        plane: (T, 2) their a and b.
    """
    return torch.linalg.lstsq(_with_one(vectors), plane.double()).solution


def walk_directions(
    vectors: Tensor, plane: Tensor, here: Tensor, *, seed: int = 0
) -> dict[str, Tensor]:
    """Three ways to move a vector so that a, or b, should grow by 1: (2, E) each, row 0 for a.

    - as nearby tasks differ: by how much vectors grow with a and with b, by least squares over the
      N_NEAR tasks that lie nearest to `here`.
    - the probe's weights: the shortest step after which a linear probe reads 1 more.
    - random: as long as the first, in a random direction; the control.

    Args:
        vectors, plane: (T, E) and (T, 2), as for `linear_probe`.
        here: (2,) the a and b of the task whose vector is moved.
        seed: of the random directions.
    """
    near = (plane - here).square().sum(dim=1).topk(min(N_NEAR, len(plane)), largest=False).indices
    slopes = torch.linalg.lstsq(_with_one(plane[near]), vectors[near].double()).solution[:2]
    shortest = torch.linalg.pinv(linear_probe(vectors, plane)[:-1])
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(slopes.shape, generator=generator, dtype=slopes.dtype)
    random = noise * (slopes.norm(dim=1) / noise.norm(dim=1))[:, None]
    steps = {NEARBY: slopes, WEIGHTS: shortest, RANDOM: random}
    return {name: step.to(vectors.dtype) for name, step in steps.items()}


def wave_numbers(x: Tensor, curves: Tensor) -> Tensor:
    """The a and b (T, 2) of the waves a sin x - b cos x that are nearest to T curves.

    Args:
        x: (N, 1) the places, at least two of them.
        curves: (T, N, 1) the values there.
    """
    basis = torch.cat([x.sin(), -x.cos()], dim=1)
    return curves[..., 0] @ torch.linalg.pinv(basis).T


def _with_one(rows: Tensor) -> Tensor:
    """(T, d) to (T, d + 1) in double precision, with a column of ones."""
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1).double()


@dataclass(frozen=True)
class _Walk:
    """One task's vector before and after it was moved."""

    x: Tensor  # (201, 1)
    before: Tensor  # (201, 1) the curve of its own vector
    after: Tensor  # (201, 1) the curve of the moved one
    start: Tensor  # (2,) a and b of the curve before
    path: Tensor  # (11, 2) a and b of the curve on the way to the moved vector
    read: Tensor  # (2,) what the probe reads from the moved vector, counted from the start
    asked: Tensor  # (2,)
    length: float  # of the move, in the vector's own units

    @property
    def end(self) -> Tensor:
        return self.path[-1]


class VectorWalkExplorer(Explorer):
    """A task's vector, moved along a direction that should change a or b, and the curve it gives.

    A wave is a sin x - b cos x. On the left is the plane of a and b: the curve before the move
    (circle), what was asked for (plus), the way of the curve (line and cross), and what the linear
    probe reads from the moved vector (square). On the right are the curves.

    Args:
        learner: a regression network on one number; it is not changed.
        seed: of the tasks by which the directions are found.
        state: first values of the controls.
    Raises:
        ValueError: a classifier.
    """

    title = "Push the vector"
    question = (
        "Ask for one more of a, then of b. Along which direction does the curve go where it was "
        "asked to, and along which does only the probe's reading go there?"
    )
    size = (9.6, 3.8)

    def __init__(self, learner: TaskConditionedNetwork, *, seed: int = 7, **state: Any) -> None:
        if not learner.regression:
            raise ValueError("learner must be for regression, got regression=False")
        self.learner = learner
        waves = Sinusoids(n_shot=10, n_query=1)
        self.plane = task_plane(*waves.task_parameters(seed, 0, N_TASKS))  # (N_TASKS, 2)
        episodes = waves.episodes(seed, 0, N_TASKS)
        self.vectors = self._vectors(episodes.support_x, episodes.support_y)  # (N_TASKS, E)
        self.probe = linear_probe(self.vectors, self.plane)
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """Which wave, which direction, and how far."""
        far: Any = {"min": -2.0, "max": 2.0, "step": 0.25}
        names = [NEARBY, WEIGHTS, RANDOM]
        return {
            **wave_sliders(phase=0.8),
            "direction": Dropdown(options=names, description="direction of the move"),
            "more_a": FloatSlider(1.0, description="a should grow by", **far),
            "more_b": FloatSlider(0.0, description="b should grow by", **far),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The plane of a and b, and the curves."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.06, "right": 0.99, "top": 0.91, "bottom": 0.27, "wspace": 0.13}
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.2), gridspec_kw=place)
        walk = self._walk(state)
        self._draw_plane(left, walk)
        curves = {"before": walk.before, "moved": walk.after}
        asked = _curve(walk.x, walk.start + walk.asked)
        plot_curves(walk.x, curves, truth=asked, ax=right)
        _restyle(right)
        right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        right.set(xlim=(-5.2, 5.2), ylim=(-8, 8), ylabel="")
        right.set_title("the curve, told each vector", loc="left")

    def _draw_plane(self, ax: Axes, walk: _Walk) -> None:
        """Where tasks lie, and where curve and probe went."""
        ax.plot(*self.plane[:300].T, ".", color="0.8", ms=5)
        ax.plot(*walk.path.T, "-", color=VERMILLION)
        goal = walk.start + walk.asked
        ax.plot(*walk.start, "o", ms=9, color=GREY, label="before")
        ax.plot(*goal, "+", ms=15, mew=2.5, color=BLACK, label="asked")
        hollow: Any = {"mfc": "none", "mec": GREEN, "mew": 2, "ls": "none"}
        ax.plot(*(walk.start + walk.read), "s", ms=13, label="probe", **hollow)
        ax.plot(*walk.end, "X", ms=11, color=VERMILLION, mec="white", label="curve")
        ax.set(xlim=(-7.3, 7.3), ylim=(-3, 7.3), xlabel="a", ylabel="b")
        names: Any = {"loc": "upper center", "ncols": 4, "columnspacing": 0.9}
        ax.legend(bbox_to_anchor=(0.5, -0.2), handletextpad=0.2, **names)
        ax.set_title("a and b (dots: other tasks)", loc="left")

    def describe(self, **state: Any) -> str:
        """What was asked, what the probe reads, what the curve does."""
        walk = self._walk(state)
        curve = walk.end - walk.start
        return (
            f"Amplitude {state['amplitude']:.1f}, phase {state['phase']:.1f}; direction: "
            f"{state['direction']}. Asked: {_pair(walk.asked)}. The vector moved by "
            f"{walk.length:.2f}. The probe reads {_pair(walk.read)} more than before; the curve "
            f"changed by {_pair(curve)}."
        )

    @torch.no_grad()
    def _vectors(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """The vectors (T, E) of T support sets."""
        return self.learner.learn_task(support_x, support_y)[:, 0]

    @torch.no_grad()
    def _walk(self, state: dict[str, Any]) -> _Walk:
        x, _ = wave(state)
        support_x, support_y = support_points(state | {"n_shot": 10, "points": 0})
        vector = self._vectors(support_x[None], support_y[None])  # (1, E)
        asked = torch.tensor([state["more_a"], state["more_b"]])
        here = task_plane(*(torch.tensor(state[key]) for key in ("amplitude", "phase")))
        directions = walk_directions(self.vectors, self.plane, here)
        move = asked @ directions[state["direction"]]  # (E,)
        steps = vector + torch.linspace(0, 1, 11)[:, None] * move  # (11, E)
        curves = self.learner.predict(steps[:, None], x.expand(11, -1, -1))
        path = wave_numbers(x, curves)
        read = (move.double() @ self.probe[:-1]).float()
        length = move.norm().item()
        return _Walk(x, curves[0], curves[-1], path[0], path, read, asked, length)


def _curve(x: Tensor, numbers: Tensor) -> Tensor:
    """The wave (N, 1) of a and b at x (N, 1)."""
    return numbers[0] * x.sin() - numbers[1] * x.cos()


def _restyle(ax: Axes) -> None:
    """The curve before is grey and dotted, the one after the move is that of the cross."""
    looks: dict[str, dict[str, Any]] = {
        "before": {"color": GREY, "ls": ":"},
        "moved": {"color": VERMILLION, "ls": "-"},
        "truth": {"color": BLACK, "label": "asked"},
    }
    for line in ax.lines:
        line.set(**looks.get(str(line.get_label()), {}))


def _pair(numbers: Tensor) -> str:
    a, b = (value + 0.0 if abs(value) >= 0.005 else 0.0 for value in numbers.tolist())
    return f"a {a:+.2f}, b {b:+.2f}"
