"""A start for three tasks of two weights, and three gradients that could move it. Lesson 07."""

from __future__ import annotations

import math
from typing import Any

import torch
from ipywidgets import FloatSlider, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..plotting.style import BLACK, GREY, ORANGE, WINE
from .base import Explorer
from .starts import LOOKS, OPTIMA, curvatures, draw_arrows, draw_floors, path

__all__ = ["GradientsExplorer", "errors", "gradients", "settled", "shares_of_start"]

VALLEYS = "three directions"
MOST_STEPS = 30
REACH = 2.6
LOWEST, HIGHEST = 0.001, 10.0
LEVELS = ["0.1 %", "1 %", "10 %", "100 %", "1000 %"]
ARROWS: dict[str, dict[str, Any]] = {
    "first order": {"color": ORANGE, "ls": "--", "marker": "D"},
    "exact": {"color": BLACK, "ls": "-", "marker": "s"},
    "implicit": {"color": WINE, "ls": ":", "marker": "*"},
}


def shares_of_start(pull: float, inner_lr: float, n_steps: int) -> Tensor:
    """Derivatives (n_steps + 1, 3, 2, 2) of each task's weights with respect to the start.

    After 0, 1, ... inner steps on the support loss plus pull / 2 times the squared distance to the
    start: the start itself, then (I - inner_lr (H + pull I)) of the one before, plus what the pull
    brings back.
    """
    eye = torch.eye(2, dtype=torch.float64)
    step = eye - inner_lr * (curvatures(VALLEYS) + pull * eye)
    shares = [eye.expand(3, 2, 2)]
    for _ in range(n_steps):
        shares.append(step @ shares[-1] + inner_lr * pull * eye)
    return torch.stack(shares)


def settled(pull: float) -> Tensor:
    """What `shares_of_start` becomes with ever more steps, (3, 2, 2): pull (H + pull I)^-1.

    It is (I + H / pull)^-1, and 0 for a pull of 0. Source: Rajeswaran et al. (2019), lemma 1.
    """
    eye = torch.eye(2, dtype=torch.float64)
    return pull * torch.linalg.inv(curvatures(VALLEYS) + pull * eye)


def gradients(start: Tensor, pull: float, inner_lr: float, n_steps: int) -> dict[str, Tensor]:
    """Three gradients (n_steps + 1, 2) of the mean query loss, after 0, 1, ... inner steps.

    All three have the query gradient at the adapted weights. The first order leaves it as it is,
    the exact one goes back through the steps, and the implicit one takes the steps as converged.
    """
    slopes = path(start, VALLEYS, inner_lr, n_steps, pull) - OPTIMA  # of half a squared distance
    factors = {
        "first order": torch.eye(2, dtype=torch.float64),
        "exact": shares_of_start(pull, inner_lr, n_steps),
        "implicit": settled(pull),
    }
    return {
        name: (factor.mT @ slopes[..., None])[..., 0].mean(dim=1)
        for name, factor in factors.items()
    }


def errors(start: Tensor, pull: float, inner_lr: float, n_steps: int) -> dict[str, Tensor]:
    """How far first order and implicit are from exact, in lengths of the exact, (n_steps + 1,)."""
    found = gradients(start, pull, inner_lr, n_steps)
    exact = found.pop("exact")
    scale = exact.norm(dim=1).clamp(min=1e-12)
    return {name: (gradient - exact).norm(dim=1) / scale for name, gradient in found.items()}


class GradientsExplorer(Explorer):
    """Three tasks of two weights, one start, and where three gradients would move it.

    On the left the valleys of the support losses, the paths of the inner steps and the three steps
    downhill; on the right the error of first order and implicit against the number of steps.

    Args:
        state: first values of the controls.
    """

    title = "Three gradients for one start"
    question = (
        "From how many steps on is the implicit arrow right? What makes it sooner? When is first "
        "order right?"
    )
    size = (9.6, 4.0)
    text_height = 66

    def controls(self) -> dict[str, Any]:
        place: Any = {"min": -2.5, "max": 2.5, "step": 0.05}
        return {
            "start_1": FloatSlider(-1.5, **place, description="start, weight 1"),
            "start_2": FloatSlider(1.5, **place, description="start, weight 2"),
            "pull": FloatSlider(1.0, min=0, max=5, step=0.1, description="lambda (pull to start)"),
            "inner_lr": FloatSlider(0.1, min=0, max=0.5, step=0.01, description="inner_lr"),
            "num_inner_steps": IntSlider(2, 0, MOST_STEPS, description="inner steps k"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The valleys with paths and arrows; the errors by inner steps."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.055, "right": 0.985, "top": 0.92, "bottom": 0.21, "wspace": 0.2}
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.25), gridspec_kw=place)
        self._draw_plane(left, **state)
        self._draw_errors(right, **state)

    def _draw_plane(self, ax: Axes, **state: Any) -> None:
        draw_floors(ax, VALLEYS)
        start, how = _start(**state), _how(**state)
        points = path(start, VALLEYS, how["inner_lr"], how["n_steps"], how["pull"])
        for task, style in enumerate(LOOKS):
            ax.plot(*points[:, task].T.tolist(), ".-", color=style["color"], lw=1, ms=5, alpha=0.6)
        for name, gradient in gradients(start, **how).items():
            style = ARROWS[name]
            end = start - _within_reach(gradient[-1])
            draw_arrows(ax, torch.stack([start, end]), style["color"], style["ls"])
            ax.plot(*end.tolist(), **style, mec="white", ms=12, zorder=5, label=name)
        ax.plot(*start.tolist(), "o", color=BLACK, ms=9)
        ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        ax.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        ax.set_title("weight 2 against weight 1", loc="left")
        place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1), "ncols": 3}
        ax.legend(**place, columnspacing=0.8, handletextpad=0.1)

    def _draw_errors(self, ax: Axes, **state: Any) -> None:
        start, how = _start(**state), _how(**state)
        curves = errors(start, **{**how, "n_steps": MOST_STEPS})
        for name, curve in curves.items():
            style = {**ARROWS[name], "marker": ""}
            shown = curve.clamp(LOWEST, HIGHEST).tolist()
            ax.plot(range(MOST_STEPS + 1), shown, **style, label=name)
            here = how["n_steps"]
            ax.plot([here], [shown[here]], **ARROWS[name], mec="white", ms=12, zorder=5)
        ax.axvline(how["n_steps"], color=GREY, lw=1)
        ax.set(yscale="log", ylim=(0.7 * LOWEST, 1.4 * HIGHEST), xlim=(-0.7, MOST_STEPS + 0.7))
        ax.set_yticks([0.001, 0.01, 0.1, 1, 10], LEVELS)
        ax.minorticks_off()
        ax.set_title("error by inner steps, in % of the exact gradient", loc="left")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, columnspacing=0.8)

    def describe(self, **state: Any) -> str:
        """The three gradients at the present number of steps, and the two errors."""
        start, how = _start(**state), _how(**state)
        found = {name: gradient[-1] for name, gradient in gradients(start, **how).items()}
        wrong = {name: 100 * error[-1].item() for name, error in errors(start, **how).items()}
        places = "; ".join(
            f"{name} ({', '.join(_short(-x) for x in gradient.tolist())})"
            for name, gradient in found.items()
        )
        steps, factor = how["n_steps"], 1 - how["inner_lr"] * (4 + how["pull"])
        growth = " The steps overshoot more and more." if abs(factor) > 1 else ""
        return (
            f"{steps} inner step{'s' * (steps != 1)} of {how['inner_lr']:.2f}, lambda "
            f"{how['pull']:.1f}. Steps downhill: {places}. Error in % of the exact one: first "
            f"order {_percent(wrong['first order'])}, implicit {_percent(wrong['implicit'])}."
            f"{growth}"
        )


def _within_reach(gradient: Tensor) -> Tensor:
    """A gradient no longer than ten pictures: a dashed line has to be drawn dash by dash."""
    return gradient * min(1.0, 20 * REACH / max(gradient.norm().item(), 1e-12))


def _start(start_1: float, start_2: float, **rest: Any) -> Tensor:
    return torch.tensor([start_1, start_2], dtype=torch.float64)


def _how(pull: float, inner_lr: float, num_inner_steps: int, **rest: Any) -> dict[str, Any]:
    """The state without the start, as the functions above take it."""
    return {"pull": pull, "inner_lr": inner_lr, "n_steps": num_inner_steps}


def _short(number: float) -> str:
    return f"{round(number, 2) + 0.0:.2f}" if abs(number) < 1000 else f"{number:.0e}"


def _percent(error: float) -> str:
    if not math.isfinite(error) or error > 1000:
        return "above 1000"
    return f"{error:.1f}" if error >= 0.05 else "below 0.05"
