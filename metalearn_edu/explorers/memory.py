"""The memory of a MANN, step by step through a stream. Introduced in notebook 08.

What the slots hold, how much is read, written and used, and how they fill: for more or fewer slots
than the network was trained with, and for a ring, which wipes its oldest slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from ipywidgets import IntSlider, ToggleButtons
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from ..learners import MANN, MANNController
from ..learners.classes import embed_items
from ..learners.mann import least_used_slots
from ..plotting.style import BLACK, BLUE, GREEN, GREY, PURPLE, SMALL, VERMILLION
from ..streams import instance_numbers
from ..tasks import Streams
from .base import Explorer
from .drawing import bare
from .slots import SLOTS, with_slots

__all__ = ["MemoryExplorer", "StreamRecord", "record_streams"]

N_COLUMNS = 25  # items in a row of the strip
PAPER = 0.07  # grey of a picture's paper, so that an empty slot is seen
BARS = {"read": BLUE, "write": VERMILLION, "usage": PURPLE}
RULE_NAMES = {"least used slot (LRUA)": "LRUA", "oldest slot (ring)": "ring"}


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
    holds: Tensor
    """(T, L, slots) int64: the step whose item a slot holds while it is read; -1: none yet."""
    same_class: Tensor
    """(T, L, slots): whether that item is of the same class as the step's own."""

    @property
    def found(self) -> Tensor:
        """(T, L): how much is read from slots that hold the right class."""
        return (self.read * self.same_class).sum(dim=2)

    @property
    def to_wiped(self) -> Tensor:
        """(T, L): how much of a step's writing goes into the slots that it wipes."""
        return (self.write * self.least_used).sum(dim=2)


@torch.no_grad()
def record_streams(learner: MANN, x: Tensor, y: Tensor) -> StreamRecord:
    """Read streams x (T, L, *item), y (T, L) once and keep what the memory did; pure.

    Raises:
        ValueError: the learner has no memory to look at.
    """
    controller = memory_of(learner)
    outputs, states = zip(*learner.steps(x, y), strict=True)
    usage = torch.stack([state.usage for state in states], dim=1)
    before = torch.cat([torch.zeros_like(usage[:, :1]), usage[:, :-1]], dim=1)
    wiped = least_used_slots(before.flatten(0, 1), controller.num_reads).sum(dim=1)
    wiped = wiped.view_as(usage)
    holds = items_held(wiped, controller.write_first)
    classes = y[:, None].expand(-1, y.shape[1], -1).gather(2, holds.clamp(min=0))
    return StreamRecord(
        learner.head(torch.stack(outputs, dim=1)).softmax(dim=-1),
        torch.stack([state.read_weights.sum(dim=1) for state in states], dim=1),
        wiped,
        torch.stack([state.write_weights.sum(dim=1) for state in states], dim=1),
        usage,
        holds,
        (classes == y[:, :, None]) & (holds >= 0),
    )


def memory_of(learner: MANN) -> MANNController:
    """The learner's controller. Raises ValueError if it has no memory to look at."""
    if not isinstance(learner.controller, MANNController):
        raise ValueError(
            f"learner needs a MANNController, which has a memory; it has a "
            f"{type(learner.controller).__name__}"
        )
    return learner.controller


def items_held(wiped: Tensor, write_first: bool) -> Tensor:
    """Which step's item each slot holds when a step reads it, -1 for none: (T, L, slots).

    A step writes the item of the step before, beside the label that has just arrived.

    Args:
        wiped: (T, L, slots), 1 where a step wipes a slot.
        write_first: whether a step reads the memory as it is after its writing.
    """
    held, seen = torch.full_like(wiped[:, 0], -1, dtype=torch.int64), []
    for t, now in enumerate(wiped.unbind(dim=1)):
        after = torch.where(now > 0, t - 1, held)
        seen.append(after if write_first else held)
        held = after
    return torch.stack(seen, dim=1)


class MemoryExplorer(Explorer):
    """A step of a stream, and what the memory does in it.

    Above, the stream so far, with a mark under each item for a right or a wrong answer. Below on
    the left the item to be named and the probabilities of the labels; on the right the slots, each
    with the item that it holds and how much it is read, written and used.

    Args:
        learner: a MANN with a memory that takes pictures.
        streams: of pictures, grey or colour.
        seed: of the streams.
        n_streams: how many there are to choose from.
    """

    title = "How the slots of a memory fill, and what is found in them"
    question = (
        "With 8 slots, find a step at which the item's letter is no longer in memory. Which letter "
        "was wiped for which? Does the ring make the same mistake there?"
    )
    size = (9.6, 4.9)
    text_height = 66
    episode_control, episode_label = "stream", "Next stream"

    def __init__(
        self, learner: MANN, streams: Streams, *, seed: int = 5, n_streams: int = 5, **state: Any
    ) -> None:
        self.x, self.y = streams.episodes(seed, 0, n_streams).stream()
        self.numbers = instance_numbers(self.y)
        self.controller, self.learner = memory_of(learner), learner
        self.embedded = _embedded(learner, self.x)
        self.records: dict[tuple[int, str], StreamRecord] = {}
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        n_streams, length = self.y.shape
        own = self.controller.memory_size
        least = max(self.learner.n_way, self.controller.num_reads)
        slots = sorted({n for n in SLOTS if n >= least} | {own})
        narrow: Any = {"style": {"button_width": "max-content"}}
        return {
            "step": IntSlider(min(12, length), 1, length, description="step"),
            "slots": ToggleButtons(options=slots, value=own, description="slots", **narrow),
            "rule": ToggleButtons(options=list(RULE_NAMES), description="wipe the", **narrow),
            "stream": IntSlider(0, 0, n_streams - 1, description="stream"),
        }

    def record(self, slots: int, rule: str) -> StreamRecord:
        """What the learner's weights do with this number of slots and this rule."""
        key = (slots, RULE_NAMES[rule])
        if key not in self.records:
            controller = with_slots(self.controller, *key)
            reader = MANN(None, controller, self.learner.n_way).eval()
            reader.head = self.learner.head
            self.records[key] = record_streams(reader, self.embedded, self.y)
        return self.records[key]

    def draw(self, fig: Figure, **state: Any) -> None:
        step, stream = state["step"] - 1, state["stream"]
        record = self.record(state["slots"], state["rule"])
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        self._draw_strip(fig.add_axes((0.01, 0.735, 0.98, 0.195)), record, stream, step)
        self._draw_item(fig.add_axes((0.02, 0.40, 0.2, 0.23)), stream, step)
        self._draw_answer(fig.add_axes((0.045, 0.115, 0.15, 0.15)), record, stream, step)
        self._draw_slots(fig.add_axes((0.25, 0.095, 0.74, 0.55)), record, stream, step)
        self._draw_legend(fig, record, stream)

    def _draw_strip(self, ax: Axes, record: StreamRecord, stream: int, step: int) -> None:
        items, n_items = self.x[stream], self.y.shape[1]
        height, width = items.shape[-2:]
        below = height // 4 + 3
        fade = torch.where(torch.arange(n_items) <= step, 1.0, 0.25)
        _draw_pictures(ax, items * fade.view(-1, 1, 1, 1), N_COLUMNS, below)
        right = self._right(record)[stream, : step + 1]
        for is_right, look in MARKS.items():
            places = (right == is_right).nonzero().flatten()
            x = (places % N_COLUMNS) * (width + 2) + width / 2
            y = (places // N_COLUMNS) * (height + below) + height + below / 2
            ax.plot(x.numpy(), y.numpy(), **look)
        row, column = divmod(step, N_COLUMNS)
        place = (column * (width + 2) - 1.5, row * (height + below) - 1.5)
        ax.add_patch(Rectangle(place, width + 2, height + 2, fill=False, ec=BLACK, lw=2))
        whole = self._right(record)[stream]
        words = f"stream {stream}: {int(right.sum())} of {step + 1} right so far"
        ax.set_title(f"{words}, {int(whole.sum())} of all {n_items}", loc="left")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, borderpad=0.1)

    def _draw_item(self, ax: Axes, stream: int, step: int) -> None:
        ax.imshow(1 - self.x[stream, step].mean(dim=0).numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        heard = "none yet" if step == 0 else f"label {int(self.y[stream, step - 1])}"
        number = int(self.numbers[stream, step])
        ax.set_title(f"step {step + 1}, item {number} of its class", fontsize=SMALL)
        ax.set_xlabel(f"heard with it: {heard}", fontsize=SMALL)

    def _draw_answer(self, ax: Axes, record: StreamRecord, stream: int, step: int) -> None:
        probabilities, label = record.probabilities[stream, step], int(self.y[stream, step])
        ax.bar(range(len(probabilities)), probabilities.tolist(), color=GREY)
        ax.plot(label, 1.12, "v", color=GREEN, clip_on=False)
        ax.set(ylim=(0, 1.1), xticks=range(len(probabilities)), yticks=[0, 1])
        ax.set_xlabel("label (▾ true)", fontsize=SMALL)
        ax.set_title("probability", fontsize=SMALL, pad=9)

    def _draw_slots(self, ax: Axes, record: StreamRecord, stream: int, step: int) -> None:
        """A picture per slot, three bars below it, a frame where it matters."""
        holds = record.holds[stream, step]
        height, width = self.x.shape[-2:]
        columns = 8 if len(holds) <= 16 else 16
        below, filled = height // 2, (holds >= 0).float().view(-1, 1, 1, 1)
        pictures = self.x[stream, holds.clamp(min=0)] * filled
        _draw_pictures(ax, pictures, columns, below)
        place = torch.arange(len(holds))
        left, top = (place % columns) * (width + 2), (place // columns) * (height + below)
        ax.hlines(top + height + below - 2, left, left + width, color="0.9", lw=1)
        for i, (name, color) in enumerate(BARS.items()):
            values = getattr(record, name)[stream]
            full = values.max().item() if name == "usage" else max(1.0, values.max().item())
            y = top + height + (i + 0.5) * (below - 2) / 3
            lengths = width * values[step] / max(full, 1e-9)
            ax.hlines(y.numpy(), left.numpy(), (left + lengths).numpy(), color=color, lw=3)
        for name, look in FRAMES.items():
            marked = record.same_class if name == "same class" else record.least_used
            for slot in marked[stream, step].nonzero().flatten().tolist():
                corner = (int(left[slot]) - 1, int(top[slot]) - 1)
                ax.add_patch(Rectangle(corner, width + 1, height + 1, fill=False, **look))
        ax.set_title(self._kept(record, stream, step), loc="left")

    def _draw_legend(self, fig: Figure, record: StreamRecord, stream: int) -> None:
        """What the bars under the slots and the frames around them are."""
        most = record.usage[stream].max().item()
        names = {"usage": f"usage (up to {most:.1f})"}
        bars = [
            Line2D([], [], color=color, lw=3, label=names.get(name, name))
            for name, color in BARS.items()
        ]
        frames = [
            Rectangle((0, 0), 1, 1, fill=False, label=label, **look)
            for label, look in FRAMES.items()
        ]
        words = Line2D([], [], ls="", label="bars from the top:")
        place: Any = {"loc": "lower right", "bbox_to_anchor": (0.995, 0.0), "columnspacing": 0.9}
        fig.legend(handles=[words, *bars, *frames], ncols=6, handlelength=1.2, **place)

    def _right(self, record: StreamRecord) -> Tensor:
        return record.probabilities.argmax(dim=2) == self.y

    def _kept(self, record: StreamRecord, stream: int, step: int) -> str:
        """How many of the classes that came before this step are still in memory."""
        y, holds = self.y[stream], record.holds[stream, step]
        seen, kept = set(y[:step].tolist()), set(y[holds[holds >= 0]].tolist())
        return f"memory of {len(holds)} slots holds {len(kept)} of {len(seen)} classes seen"

    def describe(self, **state: Any) -> str:
        step, stream = state["step"] - 1, state["stream"]
        record = self.record(state["slots"], state["rule"])
        label, probabilities = int(self.y[stream, step]), record.probabilities[stream, step]
        answer, number = int(probabilities.argmax()), int(self.numbers[stream, step])
        weight, slot = record.read[stream, step].max(dim=0)
        wiped = record.least_used[stream, step].nonzero().flatten().tolist()
        verdict = "right" if answer == label else f"wrong, it is {label}"
        return (
            f"Step {step + 1} of stream {stream}, item {number} of its class. The answer is label "
            f"{answer} with probability {probabilities[answer]:.2f}: {verdict}. The most is read "
            f"from slot {int(slot)}, weight {weight:.2f}, "
            f"{self._contents(record, stream, step, int(slot))}. "
            f"{record.found[stream, step]:.2f} of the reading finds the item's own class. Slot "
            f"{', '.join(map(str, wiped))} is wiped; the {self._kept(record, stream, step)}."
        )

    def _contents(self, record: StreamRecord, stream: int, step: int, slot: int) -> str:
        origin = int(record.holds[stream, step, slot])
        if origin < 0:
            return "to which no item was written yet"
        return (
            f"which holds the item of step {origin + 1}, of the class with label "
            f"{int(self.y[stream, origin])}"
        )


MARKS: dict[bool, dict[str, Any]] = {
    True: {"ls": "", "marker": "_", "color": GREEN, "ms": 14, "mew": 3.5, "label": "right"},
    False: {"ls": "", "marker": "x", "color": VERMILLION, "ms": 6, "mew": 2, "label": "wrong"},
}
FRAMES: dict[str, dict[str, Any]] = {
    "same class": {"ec": BLACK, "lw": 2.2},
    "wiped now": {"ec": VERMILLION, "lw": 1.6, "ls": (0, (2, 1.5))},
}


@torch.no_grad()
def _embedded(learner: MANN, x: Tensor) -> Tensor:
    """The items of streams x (T, L, *item) after the learner's encoder, in eval mode: (T, L, d)."""
    training = learner.training
    embedded = embed_items(learner.eval().encoder, x)
    learner.train(training)
    return embedded


def _draw_pictures(ax: Axes, pictures: Tensor, columns: int, below: int) -> None:
    """Dark ink on pale paper, in rows of `columns`, with `below` pixels free under each row."""
    n, (height, width) = len(pictures), pictures.shape[-2:]
    n_rows = -(-n // columns)
    page = torch.ones(n_rows * columns, height + below, width + 2)
    page[:n, :height, :width] = 1 - pictures.mean(dim=1).clamp(min=PAPER)
    page = page.unflatten(0, (n_rows, columns)).transpose(1, 2).flatten(2).flatten(0, 1)
    extent = (0, page.shape[1], page.shape[0], 0)
    ax.imshow(page.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent)
    ax.set(xlim=(-3, page.shape[1] + 1), ylim=(page.shape[0] + 1, -3))
    ax.set_anchor("NW")
    bare(ax)
