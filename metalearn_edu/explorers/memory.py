"""The memory of a MANN, step by step through a stream. Introduced in notebook 08."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from ipywidgets import IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..learners import MANN, MANNController
from ..learners.mann import least_used_slots
from ..plotting.style import BLUE, GREEN, GREY, PURPLE, SMALL, VERMILLION
from ..streams import instance_numbers
from ..tasks import Streams
from .base import Explorer

__all__ = ["MemoryExplorer", "StreamRecord", "record_streams"]

N_COLUMNS = 25  # items in a row of the strip
ROWS = {"read": BLUE, "least_used": GREY, "write": VERMILLION, "usage": PURPLE}


@dataclass(frozen=True)
class StreamRecord:
    """What a MANN did at each step of T streams of L items; weights are summed over the heads."""

    probabilities: Tensor
    """(T, L, n_way): softmax of the scores, before the label is known."""
    read: Tensor
    """(T, L, slots)."""
    least_used: Tensor
    """(T, L, slots): 1 for the slots that are wiped at this step, else 0."""
    write: Tensor
    """(T, L, slots)."""
    usage: Tensor
    """(T, L, slots), after the step."""
    memory: Tensor
    """(T, L, slots, memory_dim), after the step."""
    write_first: bool
    """Whether a step reads the memory as it is after its writing."""

    def origin(self, stream: int, step: int, slot: int) -> int | None:
        """The step, from 0, whose item a slot holds when `step` reads it; None: never written.

        A step writes the item of the step before, beside the label that has just arrived.
        """
        wiped = self.least_used[stream, : step + self.write_first, slot].nonzero().flatten()
        return int(wiped[-1]) - 1 if len(wiped) else None


@torch.no_grad()
def record_streams(learner: MANN, x: Tensor, y: Tensor) -> StreamRecord:
    """Read streams x (T, L, *item), y (T, L) once and keep what the memory did; pure.

    Raises:
        ValueError: the learner has no memory to look at.
    """
    if not isinstance(learner.controller, MANNController):
        raise ValueError(
            f"learner needs a MANNController, which has a memory; it has a "
            f"{type(learner.controller).__name__}"
        )
    n_heads, slots = learner.controller.num_reads, learner.controller.memory_size
    outputs, states = zip(*learner.steps(x, y), strict=True)
    usage = torch.stack([state.usage for state in states], dim=1)
    before = torch.cat([torch.zeros_like(usage[:, :1]), usage[:, :-1]], dim=1)
    least_used = least_used_slots(before.flatten(0, 1), n_heads).sum(dim=1)
    return StreamRecord(
        learner.head(torch.stack(outputs, dim=1)).softmax(dim=-1),
        torch.stack([state.read_weights.sum(dim=1) for state in states], dim=1),
        least_used.view(*y.shape, slots),
        torch.stack([state.write_weights.sum(dim=1) for state in states], dim=1),
        usage,
        torch.stack([state.memory for state in states], dim=1),
        learner.controller.write_first,
    )


class MemoryExplorer(Explorer):
    """A step of a stream, and what the memory does in it.

    Above, the stream so far, with a bar under each item: green if the answer was right, red if it
    was wrong. Below on the left the item to be named and the probabilities of the labels; on the
    right the weights over the slots and the memory after the step, one column per slot.

    Args:
        learner: a MANN with a memory that takes pictures.
        streams: of pictures, grey or colour.
        seed: of the streams.
        n_streams: how many there are to choose from.
    """

    title = "What the memory does at each step of a stream"
    question = (
        "Find a step at which a class appears for the second time. Which slot is read, which item "
        "is in it, and is it of the same class? And what is read at the first item of a class?"
    )
    size = (9.6, 6.2)
    episode_control, episode_label = "stream", "Next stream"

    def __init__(
        self, learner: MANN, streams: Streams, *, seed: int = 5, n_streams: int = 5, **state: Any
    ) -> None:
        self.x, self.y = streams.episodes(seed, 0, n_streams).stream()
        self.numbers = instance_numbers(self.y)
        learner_mode = learner.training
        self.record = record_streams(learner.eval(), self.x, self.y)
        learner.train(learner_mode)
        self.right = self.record.probabilities.argmax(dim=2) == self.y
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        n_streams, length = self.y.shape
        return {
            "step": IntSlider(min(12, length), 1, length, description="step"),
            "stream": IntSlider(0, 0, n_streams - 1, description="stream"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        step, stream = state["step"] - 1, state["stream"]
        n_rows = -(-self.y.shape[1] // N_COLUMNS)
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        ratios: Any = {"height_ratios": [0.62 * n_rows, 5.6], "width_ratios": [1, 3.6]}
        margins: Any = {"left": 0.03, "right": 0.99, "top": 0.95, "bottom": 0.09}
        grid = fig.add_gridspec(2, 2, **ratios, **margins, wspace=0.3, hspace=0.15)
        self._draw_strip(fig.add_subplot(grid[0, :]), stream, step)
        left = grid[1, 0].subgridspec(2, 1, height_ratios=[1.2, 1], hspace=0.4)
        self._draw_item(fig.add_subplot(left[0]), stream, step)
        self._draw_answer(fig.add_subplot(left[1]), stream, step)
        right = grid[1, 1].subgridspec(2, 1, height_ratios=[5, 2.2], hspace=0.06)
        self._draw_weights(fig.add_subplot(right[0]), stream, step)
        self._draw_memory(fig.add_subplot(right[1]), stream, step)

    def _draw_strip(self, ax: Axes, stream: int, step: int) -> None:
        items, n_items = self.x[stream], self.y.shape[1]
        height, width = items.shape[-2:]
        n_rows, below = -(-n_items // N_COLUMNS), height // 4 + 2
        image = torch.ones(n_rows * (height + below), min(N_COLUMNS, n_items) * (width + 2))
        marks: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for i in range(n_items):
            row, column = divmod(i, N_COLUMNS)
            top, left = row * (height + below), column * (width + 2)
            ink = items[i].mean(dim=0) * (1.0 if i <= step else 0.25)
            image[top : top + height, left : left + width] = 1 - ink
            if i <= step:
                marks[bool(self.right[stream, i])].append((left + 2, top + height + 1.5))
        for right, places in marks.items():
            x, y = torch.tensor(places).reshape(-1, 2).T
            ax.hlines(y, x, x + width - 5, color=GREEN if right else VERMILLION, lw=4)
        row, column = divmod(step, N_COLUMNS)
        place = (column * (width + 2) - 1, row * (height + below) - 1)
        ax.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, aspect="equal")
        ax.add_patch(Rectangle(place, width + 1, height + 1, fill=False, ec="black", lw=2))
        ax.set(xlim=(-2, image.shape[1]), ylim=(image.shape[0], -2), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        n_right = int(self.right[stream, : step + 1].sum())
        ax.set_title(f"stream {stream}: {n_right} of {step + 1} right so far", loc="left")

    def _draw_item(self, ax: Axes, stream: int, step: int) -> None:
        ax.imshow(1 - self.x[stream, step].mean(dim=0).numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        heard = "none yet" if step == 0 else f"label {int(self.y[stream, step - 1])}"
        number = int(self.numbers[stream, step])
        ax.set_title(f"step {step + 1}, item {number} of its class", fontsize=SMALL)
        ax.set_xlabel(f"arriving now: {heard}", fontsize=SMALL)

    def _draw_answer(self, ax: Axes, stream: int, step: int) -> None:
        probabilities, label = self.record.probabilities[stream, step], int(self.y[stream, step])
        colors = [GREEN if k == label else GREY for k in range(len(probabilities))]
        ax.bar(range(len(probabilities)), probabilities.tolist(), color=colors)
        ax.plot(label, 1.04, "v", color=GREEN, clip_on=False)
        ax.set(ylim=(0, 1.1), xticks=range(len(probabilities)), yticks=[0, 1])
        ax.set_xlabel("label (green: the true one)", fontsize=SMALL)
        ax.set_title("probability", fontsize=SMALL)

    def _draw_weights(self, ax: Axes, stream: int, step: int) -> None:
        """A row of bars for each kind of weight; one axes for all is much quicker than four."""
        edges, labels = torch.arange(self.record.usage.shape[2] + 1) - 0.5, []
        bases = [-1.25 * row for row in range(len(ROWS))]
        for base, (name, color) in zip(bases, ROWS.items(), strict=True):
            weights = getattr(self.record, name)[stream]
            top = max(weights.max().item(), 0.0 if name == "usage" else 1.0)
            heights = base + weights[step] / top
            ax.stairs(heights.numpy(), edges.numpy(), baseline=base, fill=True, color=color)
            labels.append(f"{name.replace('_', ' ')}\n0 to {top:.1f}")
        ax.hlines(bases, edges[0], edges[-1], color="black", lw=0.8)
        ax.set_yticks([base + 0.45 for base in bases], labels)
        ax.tick_params(length=0)
        ax.set(xlim=(-0.8, len(edges) - 1.2), ylim=(bases[-1] - 0.05, 1.05), xticks=[])
        ax.spines[:].set_visible(False)

    def _draw_memory(self, ax: Axes, stream: int, step: int) -> None:
        memory = self.record.memory[stream]
        limit = memory.abs().max().item()
        colors: Any = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "aspect": "auto"}
        ax.imshow(memory[step].T.numpy(), **colors)
        ax.set(xlim=(-0.8, memory.shape[1] - 0.2), yticks=[])
        ax.set_ylabel("memory\nrows", rotation=0, ha="right", va="center", fontsize=SMALL)
        ax.set_xlabel(f"slot (red below 0, blue above, up to {limit:.1f})", fontsize=SMALL)

    def describe(self, **state: Any) -> str:
        step, stream = state["step"] - 1, state["stream"]
        label, probabilities = int(self.y[stream, step]), self.record.probabilities[stream, step]
        answer, number = int(probabilities.argmax()), int(self.numbers[stream, step])
        weight, slot = self.record.read[stream, step].max(dim=0)
        verdict = "right" if answer == label else f"wrong, it is {label}"
        return (
            f"Step {step + 1} of stream {stream}, item {number} of its class. The answer is label "
            f"{answer} with probability {probabilities[answer]:.2f}: {verdict}. The most is read "
            f"from slot {int(slot)}, weight {weight:.2f}, "
            f"{self._contents(stream, step, int(slot))}."
        )

    def _contents(self, stream: int, step: int, slot: int) -> str:
        origin = self.record.origin(stream, step, slot)
        if origin is None or origin < 0:
            return "to which no item was written while it was fresh"
        return (
            f"which holds the item of step {origin + 1}, of the class with label "
            f"{int(self.y[stream, origin])}"
        )
