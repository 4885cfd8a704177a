"""The embedding while it trains, frame by frame, and what a temperature does to it.

Introduced in notebook 03. Frames are taken during `meta_train` by `filming`, which changes nothing
of the training itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from ipywidgets import IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..learners import PrototypicalNetwork, embed_dataset
from ..plotting.style import BLACK, BLUE, GREY, SMALL
from ..tasks import EpisodeSampler, FewShotDataset
from .base import Explorer
from .prototypes import TaskView

__all__ = ["TrainingFilm", "filming"]

TEMPERATURES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@contextmanager
def filming(
    learner: PrototypicalNetwork, dataset: FewShotDataset, steps: Collection[int]
) -> Iterator[dict[int, FewShotDataset]]:
    """Inside the block, keep the embeddings of a data set after each of these outer steps.

    Args:
        learner: the one that `meta_train` trains inside the block.
        dataset: what to embed; a few classes are enough.
        steps: counted from the beginning of the block; 0 is the untrained network.
    Yields:
        the frames by step, filled as the training goes on.
    """
    frames: dict[int, FewShotDataset] = {}
    done, outer_loop = 0, learner.outer_loop

    def keep() -> None:
        if done in steps:
            frames[done] = embed_dataset(learner.encoder, dataset)

    def filmed_outer_loop(*args: Any, **options: Any) -> float:
        nonlocal done
        loss = outer_loop(*args, **options)
        done += 1
        keep()
        return loss

    keep()
    learner.outer_loop = filmed_outer_loop  # type: ignore[method-assign]
    try:
        yield frames
    finally:
        del learner.outer_loop


class TrainingFilm(Explorer):
    """One task in the plane of its prototypes, after more and more outer steps.

    On the right, the cross-entropy of new episodes against the temperature, for every frame.

    Args:
        frames: the same classes embedded after each number of outer steps, from `filming`; at
            least 5 classes of at least 15 items.
        n_shot: support items per class.
        seed: of the episodes.
    Raises:
        ValueError: fewer than two frames.
    """

    title = "The embedding while it trains"
    question = (
        "Which temperature has the lowest loss before the training, and which one after it? Who "
        "has moved the valley, if the temperature was 1 all the time?"
    )
    size = (9.0, 4.3)
    episode_control, episode_label = "frame", "Next frame"
    n_query, n_measured = 10, 50

    def __init__(
        self, frames: Mapping[int, FewShotDataset], *, n_shot: int = 5, seed: int = 0, **state: Any
    ) -> None:
        if len(frames) < 2:
            raise ValueError(f"a film needs at least 2 frames, got {len(frames)}")
        self.steps = sorted(frames)
        self.frames = [frames[step] for step in self.steps]
        self.n_shot, self.seed = n_shot, seed
        self.losses = torch.stack([self._losses(frame) for frame in self.frames])
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        return {
            "frame": IntSlider(0, 0, len(self.steps) - 1, description="frame"),
            "temperature": SelectionSlider(
                options=TEMPERATURES, value=1.0, description="temperature"
            ),
            "episode": IntSlider(0, 0, 19, description="episode"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        learner, view = self._view(**state)
        plane, loss = (
            fig.add_axes((0.06, 0.125, 0.47, 0.78)),
            fig.add_axes((0.66, 0.125, 0.32, 0.78)),
        )
        view.draw(learner, plane, aspect=0.47 * 9 / (0.78 * 4.3))
        plane.set_title(self._figures(view, state["frame"]), loc="left")
        fig.legend(*plane.get_legend_handles_labels(), loc=(0.54, 0.35), title="label")
        self._draw_losses(loss, state["frame"], state["temperature"])

    def describe(self, **state: Any) -> str:
        _, view = self._view(**state)
        losses = self.losses[state["frame"]]
        now, best = losses[TEMPERATURES.index(state["temperature"])], losses.argmin()
        return (
            f"After {self.steps[state['frame']]} outer steps, temperature {state['temperature']:g},"
            f" episode {state['episode']}: {view.figures}. Over {self.n_measured} episodes the "
            f"loss is {now:.2f} nats; it is lowest, {losses[best]:.2f}, at temperature "
            f"{TEMPERATURES[best]:g}."
        )

    def _figures(self, view: TaskView, frame: int) -> str:
        n_right, n = int(view.right.sum()), len(view.right)
        return f"{self.steps[frame]} outer steps: {n_right} of {n} right, top p {view.top:.2f}"

    def _draw_losses(self, ax: Axes, frame: int, temperature: float) -> None:
        for losses in self.losses:
            ax.plot(TEMPERATURES, losses, color=GREY, lw=0.8)
        now, best = self.losses[frame], int(self.losses[frame].argmin())
        ax.plot(TEMPERATURES, now, color=BLUE, lw=2.2, label=f"{self.steps[frame]} outer steps")
        hollow: Any = {"ls": "none", "mfc": "white", "mec": BLUE, "ms": 9, "label": "lowest"}
        ax.plot(TEMPERATURES[best], now[best], "o", **hollow)
        here = TEMPERATURES.index(temperature)
        ax.plot(temperature, now[here].clamp(max=2.9), "X", color=BLACK, ms=9, label="now", ls="")
        ax.axhline(math.log(5), ls=":", color=GREY)
        ax.text(0.0012, 1.65, "guessing", fontsize=SMALL, color="0.4")
        ax.set(xscale="log", xlabel="temperature", ylabel="loss (nats)", ylim=(0, 3))
        ax.set_xticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
        ax.minorticks_off()
        ax.set_title(f"{self.n_measured} episodes", loc="left")
        ax.legend(loc="upper left", fontsize=SMALL)

    @torch.no_grad()
    def _losses(self, frame: FewShotDataset) -> Tensor:
        """Cross-entropy (temperatures,) of the queries of `n_measured` episodes, in nats."""
        batch = self._sampler(frame).episodes(self.seed + 1, 0, self.n_measured)
        scores = PrototypicalNetwork(nn.Identity())(batch.support_x, batch.support_y, batch.query_x)
        scores, target = scores.flatten(0, 1), batch.query_y.flatten()
        return torch.stack([F.cross_entropy(scores / t, target) for t in TEMPERATURES])

    def _sampler(self, frame: FewShotDataset) -> EpisodeSampler:
        return EpisodeSampler(frame, 5, self.n_shot, self.n_query)

    def _view(
        self, frame: int, temperature: float, episode: int
    ) -> tuple[PrototypicalNetwork, TaskView]:
        """The task in this frame, its plane turned so that nothing flips from frame to frame."""
        learner = PrototypicalNetwork(nn.Identity(), temperature=temperature)
        last, now = (
            TaskView.of(learner, self._sampler(self.frames[f]).episodes(self.seed, episode, 1))
            for f in (-1, frame)
        )
        return learner, now.turned_to(last)
