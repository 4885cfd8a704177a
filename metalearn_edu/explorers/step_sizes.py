"""Learned step sizes beside what they do to a sine wave. Introduced in notebook 06."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..learners import MAML, MetaSGD
from ..plotting import look, plot_curves
from ..plotting.words import add_words
from .adaptation import MOST_SHOTS, support_points, wave, wave_sliders
from .base import Explorer

__all__ = ["StepSizeExplorer", "layer_names", "plot_step_sizes", "scaled"]

MOST_DOTS = 200  # of one parameter tensor; more make a blot
LINEAR = 0.1  # the axis of step sizes is linear up to here, and logarithmic beyond
TICKS = (-1, -0.1, 0, 0.1, 1)
ALL = "all layers"


def layer_names(model: nn.Module) -> dict[str, str]:
    """Names for people: "layer 2 weight" for the weight of the second module with weights.

    Returns:
        {parameter name: what to call it}, in the order of the model; the last module is "output".
    """
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in model.named_parameters()))
    called = {owner: f"layer {i}" for i, owner in enumerate(owners, start=1)}
    called[owners[-1]] = "output"
    splits = [(name, name.rpartition(".")) for name, _ in model.named_parameters()]
    return {name: f"{called[owner]} {leaf}" for name, (owner, _, leaf) in splits}


def plot_step_sizes(learner: MetaSGD, *, ax: Axes) -> Axes:
    """Draw a row of dots for each parameter tensor, one per step size, and the start as a line.

    The black bar is the middle half; the figure on the right is the share of negative ones. The
    axis is linear from -0.1 to 0.1, and logarithmic beyond.

    Args:
        learner: whose rates to draw; of a large tensor every n-th one is drawn, and all count.
        ax: axes to draw on.
    """
    names = layer_names(learner.model)
    generator = torch.Generator().manual_seed(0)
    for row, rate in enumerate(learner.rates.values()):
        values = rate.detach().flatten().cpu()
        dots = values[:: math.ceil(len(values) / MOST_DOTS)]
        offsets = row + 0.5 * (torch.rand(len(dots), generator=generator) - 0.5)
        ax.plot(dots, offsets, ".", ms=4, alpha=0.5, color=look("Meta-SGD")["color"])
        low, high = torch.quantile(values, torch.tensor([0.25, 0.75], dtype=values.dtype))
        ax.plot([low, high], [row, row], color="black", lw=3, solid_capstyle="butt")
        share = f"{100 * (values < 0).double().mean():.0f} %"
        ax.text(1.02, row, share, transform=ax.get_yaxis_transform(), va="center", fontsize=11)
    ax.axvline(0, color="0.4", ls=":", lw=1.2)
    ax.axvline(learner.inner_lr, color=look("MAML")["color"], ls="--", lw=1.2)
    ax.set_yticks(range(len(learner.rates)), [names[name] for name in learner.rates])
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=0.8)
    ax.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    ax.set_xticks([], minor=True)
    ax.set(ylim=(len(learner.rates) - 0.5, -0.5), xlabel="learned step size")
    ax.text(1.02, 1.02, "below 0", transform=ax.transAxes, fontsize=11)
    add_words(ax, _rates_in_words(learner))
    return ax


def _rates_in_words(learner: MetaSGD) -> str:
    """The middle half of the step sizes of each parameter tensor, and how many are negative."""
    names, rows = layer_names(learner.model), []
    for name, rate in learner.rates.items():
        values = rate.detach().flatten().cpu().double()
        low, high = torch.quantile(values, values.new_tensor([0.25, 0.75])).tolist()
        share = 100 * (values < 0).double().mean().item()
        rows.append(f"{names[name]}: {low:.2g} to {high:.2g}, {share:.0f} % negative")
    return (
        f"Learned step sizes as dots, a row for each parameter tensor, from a start of "
        f"{learner.inner_lr:g}. The middle half: {'; '.join(rows)}."
    )


def scaled(learner: MetaSGD, layer: str, factor: float) -> MetaSGD:
    """A copy with the step sizes of one layer times a factor.

    Args:
        learner: stays as it is.
        layer: as in `layer_names`, without weight or bias; or "all layers".
        factor: may be 0 (the layer stands still) or negative (it goes backwards).
    """
    changed = copy.deepcopy(learner)
    names = layer_names(changed.model)
    with torch.no_grad():
        for name, rate in changed.rates.items():
            if layer in (ALL, names[name].rpartition(" ")[0]):
                rate.mul_(factor)
    return changed


class StepSizeExplorer(Explorer):
    """One learned step size per weight, and the wave that these steps lead to.

    Args:
        meta_sgd: learner of one number from one number; its step sizes are on the left.
        maml: learner to compare with, on the same support points. Neither is changed.
        state: first values of the controls.
    """

    title = "A step size for every weight"
    question = (
        "Which layer's step sizes can you halve, or set to 0, and still get a wave? And what do "
        "three steps do at a large amplitude?"
    )
    size = (9.6, 4.0)
    episode_control = "points"

    def __init__(self, meta_sgd: MetaSGD, maml: MAML, **state: Any) -> None:
        self.meta_sgd, self.maml = meta_sgd, maml
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        """What to change, how many steps, and on which points of which wave."""
        return {
            "layer": Dropdown(options=self._layers(), description="step sizes of"),
            "factor": FloatSlider(1.0, min=-1.0, max=3.0, step=0.25, description="times"),
            "num_inner_steps": IntSlider(1, 0, 5, description="inner steps"),
            "n_shot": IntSlider(10, 1, MOST_SHOTS, description="n_shot (support points)"),
            **wave_sliders(),
            "points": IntSlider(0, 0, 9, description="points (seed)"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """Step sizes on the left; both adapted curves, truth and support on the right."""
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.13, "right": 0.985, "top": 0.91, "bottom": 0.27, "wspace": 0.38}
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.25), gridspec_kw=place)
        plot_step_sizes(self._changed(state), ax=left)
        x, truth = wave(state)
        curves = self._curves(x, state)
        plot_curves(x, curves, truth=truth, support=support_points(state), ax=right)
        right.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=4, columnspacing=1.0)
        right.set(xlim=(-5.2, 5.2), ylim=(-6.5, 6.5))
        right.set_title(f"squared error: {_errors(curves, truth)}", loc="left", fontsize=11)

    def describe(self, **state: Any) -> str:
        """The step sizes and the errors in words, and whether a curve has left the plot."""
        x, truth = wave(state)
        curves = self._curves(x, state)
        rates = torch.cat([rate.detach().flatten() for rate in self._changed(state).step_sizes])
        steps, points = state["num_inner_steps"], state["n_shot"]
        text = (
            f"{len(rates)} step sizes from {rates.min():.3f} to {rates.max():.3f}, "
            f"{100 * (rates < 0).double().mean():.0f} % of them negative. Squared error after "
            f"{steps} inner step{'s' * (steps != 1)} on {points} support "
            f"point{'s' * (points != 1)}: {_errors(curves, truth)}."
        )
        gone = [name for name, y in curves.items() if not y.abs().max() < 6.5]
        if state["factor"] != 1:
            text += f" Step sizes of {state['layer']} times {state['factor']:g}."
        return text + f" Off the plot: {', '.join(gone)}." * bool(gone)

    def _layers(self) -> list[str]:
        names = layer_names(self.meta_sgd.model).values()
        return [ALL, *dict.fromkeys(name.rpartition(" ")[0] for name in names)]

    def _changed(self, state: dict[str, Any]) -> MetaSGD:
        return scaled(self.meta_sgd, state["layer"], state["factor"])

    def _curves(self, x: Tensor, state: dict[str, Any]) -> dict[str, Tensor]:
        """What each learner says at x after adapting; the learners stay as they are."""
        support_x, support_y = support_points(state)
        steps = state["num_inner_steps"]
        with torch.no_grad():
            return {
                name: learner.adapt(support_x, support_y, num_inner_steps=steps)(x)
                for name, learner in (("MAML", self.maml), ("Meta-SGD", self._changed(state)))
            }


def _errors(curves: dict[str, Tensor], truth: Tensor) -> str:
    """Squared errors in words."""
    errors = {name: (y - truth).square().mean().item() for name, y in curves.items()}
    return ", ".join(
        f"{name} {error:.2f}" if error < 1e4 else f"{name} diverges"
        for name, error in errors.items()
    )
