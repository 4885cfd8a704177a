"""A start for three tasks of two weights, and where a few inner steps lead from it. Lesson 05."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..plotting.style import BLACK, BLUE, GREEN, GREY, SMALL, VERMILLION, WINE
from .base import Explorer

__all__ = [
    "ACROSS",
    "ALONG",
    "OPTIMA",
    "VALLEYS",
    "StartExplorer",
    "best_start",
    "curvatures",
    "draw_arrows",
    "draw_floors",
    "meta_gradient",
    "path",
    "query_loss",
    "shrinks",
]

ACROSS, ALONG = 4.0, 0.2
"""Curvature of each support loss across its valley, and along the floor."""
VALLEYS = {"three directions": (0.0, 60.0, 120.0), "one direction": (0.0, 0.0, 0.0)}
"""Angle of each task's valley floor against the first weight, in degrees."""
CROSSING = torch.tensor([0.0, -1.3], dtype=torch.float64)
LOOKS: list[dict[str, Any]] = [
    {"color": BLUE, "ls": "-", "marker": "o"},
    {"color": VERMILLION, "ls": "--", "marker": "s"},
    {"color": GREEN, "ls": "-.", "marker": "^"},
]
RATES = [rate / 50 for rate in range(-5, 36)]
LOWEST, HIGHEST = 0.01, 100.0
REACH = 2.5


def _across(angle: float) -> Tensor:
    """Unit vector (2,) across a valley whose floor has this angle in degrees."""
    turn = math.radians(angle)
    return torch.tensor([-math.sin(turn), math.cos(turn)], dtype=torch.float64)


# With three directions, one point lies straight across the valley from all three optima.
OPTIMA = torch.stack(
    [
        CROSSING + side * _across(angle)
        for side, angle in zip((2.4, 1.6, -1.9), VALLEYS["three directions"], strict=True)
    ]
)
"""Weights (3, 2) that solve each task."""


def curvatures(valleys: str) -> Tensor:
    """Hessians (3, 2, 2) of the support losses: ACROSS across the valley, ALONG on its floor."""
    across = torch.stack([_across(angle) for angle in VALLEYS[valleys]])
    floor = torch.eye(2, dtype=torch.float64)
    return ALONG * floor + (ACROSS - ALONG) * across[:, :, None] * across[:, None, :]


def shrinks(valleys: str, inner_lr: float, n_steps: int) -> Tensor:
    """(I - inner_lr H)^n_steps for each task (3, 2, 2): what the steps leave of a distance."""
    step = torch.eye(2, dtype=torch.float64) - inner_lr * curvatures(valleys)
    return torch.linalg.matrix_power(step, n_steps)


def path(start: Tensor, valleys: str, inner_lr: float, n_steps: int, pull: float = 0.0) -> Tensor:
    """Weights (n_steps + 1, 3, 2) of each task after 0, 1, ... inner steps from start (2,).

    Args:
        pull: adds half of it times the squared distance to the start to each support loss.
    """
    hessians, points = curvatures(valleys), [start.expand(3, 2)]
    for _ in range(n_steps):
        slope = (hessians @ (points[-1] - OPTIMA)[..., None])[..., 0]
        slope = slope + pull * (points[-1] - start)
        points.append(points[-1] - inner_lr * slope)
    return torch.stack(points)


def query_loss(start: Tensor, valleys: str, inner_lr: float, n_steps: int) -> float:
    """Mean over the tasks of half the squared distance to the optimum, after the inner steps."""
    rest = path(start, valleys, inner_lr, n_steps)[-1] - OPTIMA
    return rest.square().sum(dim=1).mean().item() / 2


def meta_gradient(start: Tensor, valleys: str, inner_lr: float, n_steps: int) -> Tensor:
    """Gradient (2,) of `query_loss` with respect to the start, second order.

    Source: Finn et al. (2017), eq. 1, with constant Hessians: (I - inner_lr H)^n_steps twice.
    """
    left = shrinks(valleys, inner_lr, n_steps)
    return (left @ left @ (start - OPTIMA)[..., None])[..., 0].mean(dim=0)


def best_start(valleys: str, inner_lr: float, n_steps: int) -> Tensor:
    """The start (2,) where the meta-gradient is 0: the mean of the optima, weighted by shrinks."""
    weights = torch.linalg.matrix_power(shrinks(valleys, inner_lr, n_steps), 2)
    mean = OPTIMA.mean(dim=0)
    pull = (weights @ (OPTIMA - mean)[..., None]).sum(dim=0)
    # where no task cares about a direction (a factor of exactly 0), the start stays at the mean
    return mean + (torch.linalg.pinv(weights.sum(dim=0), hermitian=True) @ pull)[:, 0]


class StartExplorer(Explorer):
    """Three tasks of two weights: each support loss is a valley, each query loss is round.

    On the left the valleys, the start and the arrows of the inner steps; on the right the mean
    query loss after the steps against `inner_lr`, for this start and for the best one.

    Args:
        state: first values of the controls.
    """

    title = "One start, three valleys"
    question = (
        "Where is the best start at inner_lr 0, and where at 0.25? Is it still a good model before "
        "the step? What happens above 0.5?"
    )
    size = (9.6, 4.0)
    text_height = 66

    def __init__(self, **state: Any) -> None:
        super().__init__(**state)
        train = self.button("10 outer steps", "follow the meta-gradient", self.train)
        self.buttons.children = (train, *self.buttons.children)

    def controls(self) -> dict[str, Any]:
        place: Any = {"min": -REACH, "max": REACH, "step": 0.05}
        return {
            "start_1": FloatSlider(-1.5, **place, description="start, weight 1"),
            "start_2": FloatSlider(1.5, **place, description="start, weight 2"),
            "inner_lr": FloatSlider(0.1, min=-0.1, max=0.7, step=0.05, description="inner_lr"),
            "num_inner_steps": IntSlider(1, 0, 5, description="inner steps"),
            "valleys": Dropdown(options=list(VALLEYS), description="valleys"),
        }

    def train(self) -> None:
        """Ten steps of 0.5 along the meta-gradient; the start stays within the picture."""
        state = self.state
        start, how = _start(**state), _how(**state)
        for _ in range(10):
            start = (start - 0.5 * meta_gradient(start, **how)).clamp(-REACH, REACH)
        first, second = (round(20 * value) / 20 for value in start.tolist())  # as the sliders step
        self.set(start_1=first, start_2=second)

    def draw(self, fig: Figure, **state: Any) -> None:
        """The valleys with the arrows; the loss after the steps by inner_lr."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.055, "right": 0.985, "top": 0.92, "bottom": 0.21, "wspace": 0.16}
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.25), gridspec_kw=place)
        self._draw_valleys(left, **state)
        self._draw_losses(right, **state)

    def _draw_valleys(self, ax: Axes, **state: Any) -> None:
        draw_floors(ax, state["valleys"])
        points = path(_start(**state), **_how(**state))
        for task, style in enumerate(LOOKS):
            draw_arrows(ax, points[:, task], style["color"], style["ls"])
        mean, best = OPTIMA.mean(dim=0), best_start(**_how(**state))
        ax.plot(*mean.tolist(), "P", color=GREY, ms=10, label="mean of the optima")
        ax.plot(*best.tolist(), "*", color=WINE, ms=15, label="best start")
        ax.plot(*_start(**state).tolist(), "o", color=BLACK, ms=9, label="your start")
        ax.set(xlim=(-REACH - 0.1, REACH + 0.1), ylim=(-REACH - 0.1, REACH + 0.1))
        ax.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2], aspect="equal")
        ax.set_title("weight 2 against weight 1", loc="left")
        place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1), "ncols": 3}
        ax.legend(**place, columnspacing=0.8, handletextpad=0.1)

    def _draw_losses(self, ax: Axes, **state: Any) -> None:
        start, how = _start(**state), _how(**state)
        yours = [_shown(query_loss(start, **{**how, "inner_lr": rate})) for rate in RATES]
        best = _least_losses(how["valleys"], how["n_steps"])
        ax.plot(RATES, yours, color=BLACK, label="your start")
        ax.plot(RATES, best, color=WINE, ls="--", label="best start of each inner_lr")
        ax.plot(how["inner_lr"], _shown(query_loss(start, **how)), "o", color=BLACK, ms=9)
        ax.plot(how["inner_lr"], _shown(_least_loss(**how)), "*", color=WINE, ms=15)
        ax.axvline(2 / ACROSS, color=GREY, ls=":")
        words = f"inner_lr · {ACROSS:g} above 2:\neach step overshoots further →"
        ax.text(2 / ACROSS - 0.01, HIGHEST, words, color=GREY, ha="right", va="top", fontsize=SMALL)
        ax.set(yscale="log", ylim=(0.8 * LOWEST, 1.3 * HIGHEST), xlim=(-0.12, 0.72))
        ax.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
        ax.minorticks_off()
        ax.set_title("mean query loss after the inner steps, by inner_lr", loc="left")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, columnspacing=0.8)

    def describe(self, **state: Any) -> str:
        """The losses before and after, the best start, and whether the steps overshoot."""
        start, how = _start(**state), _how(**state)
        best, steps = best_start(**how), how["n_steps"]
        still: Any = {**how, "n_steps": 0}
        place = ", ".join(f"{round(value, 2) + 0.0:.2f}" for value in best.tolist())
        gone = [str(t + 1) for t, w in enumerate(path(start, **how)[-1]) if w.abs().max() > REACH]
        leaving = f" Leaving the picture: task {', '.join(gone)}." if gone else ""
        return (
            f"{steps} inner step{'s' * (steps != 1)} of {how['inner_lr']:.2f}; a step multiplies "
            f"the distance across a valley by {1 - how['inner_lr'] * ACROSS:.1f}. Mean query loss "
            f"before -> after: your start {query_loss(start, **still):.2f} -> "
            f"{query_loss(start, **how):.2f}; best start ({place}) {query_loss(best, **still):.2f} "
            f"-> {query_loss(best, **how):.2f}.{leaving}"
        )


def _start(start_1: float, start_2: float, **rest: Any) -> Tensor:
    return torch.tensor([start_1, start_2], dtype=torch.float64)


def _how(valleys: str, inner_lr: float, num_inner_steps: int, **rest: Any) -> dict[str, Any]:
    """The state without the start, as the functions above take it."""
    return {"valleys": valleys, "inner_lr": inner_lr, "n_steps": num_inner_steps}


def _least_loss(valleys: str, inner_lr: float, n_steps: int) -> float:
    best = best_start(valleys, inner_lr, n_steps)
    return query_loss(best, valleys, inner_lr, n_steps)


@lru_cache(maxsize=16)
def _least_losses(valleys: str, n_steps: int) -> list[float]:
    """What the axis shows of the best start's loss at each of RATES."""
    return [_shown(_least_loss(valleys, rate, n_steps)) for rate in RATES]


def _shown(loss: float) -> float:
    """A loss within the axis, so that the curve stays visible at its edge."""
    return min(max(loss, LOWEST), HIGHEST)


def draw_floors(ax: Axes, valleys: str) -> None:
    """One contour of each support loss, the optimum with the number of its task."""
    turn = torch.linspace(0, 2 * math.pi, 73, dtype=torch.float64)
    for task, (angle, style) in enumerate(zip(VALLEYS[valleys], LOOKS, strict=True)):
        across = _across(angle)
        floor = torch.stack([across[1], -across[0]])
        for level in (0.1, 0.4):
            radii = [(2 * level / curvature) ** 0.5 for curvature in (ALONG, ACROSS)]
            ring = OPTIMA[task] + radii[0] * turn.cos()[:, None] * floor
            ring = ring + radii[1] * turn.sin()[:, None] * across
            ax.plot(*ring.T.tolist(), color=style["color"], ls=style["ls"], lw=1, alpha=0.6)
        x, y = OPTIMA[task].tolist()
        ax.plot(x, y, marker=style["marker"], color=style["color"], ms=6)
        place: Any = {"xytext": (6, 5), "textcoords": "offset points", "fontsize": SMALL}
        ax.annotate(f"task {task + 1}", (x, y), color=style["color"], **place)


def draw_arrows(ax: Axes, points: Tensor, color: str, line: str) -> None:
    """An arrow for each inner step of one task; what leaves the axes is cut off."""
    for begin, end in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        how: Any = {"arrowstyle": "-|>", "color": color, "lw": 2, "ls": line, "shrinkA": 0}
        arrow = ax.annotate("", end, begin, arrowprops={**how, "shrinkB": 0}, annotation_clip=False)
        if arrow.arrow_patch is not None:
            arrow.arrow_patch.set_clip_path(ax.patch)
            arrow.arrow_patch.set_clip_on(True)
