"""The embedding during training, frame by frame, and what a temperature does to it.

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

SHOTS = (1, 5)
TEMPERATURES = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0)


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
        seed: of the episodes.
    Raises:
        ValueError: fewer than two frames.
    """

    title = "The embedding while it trains"
    question = (
        "Where is the bottom of the valley on the right before, during and after the training? "
        "What does the training change: the place of the bottom, or its depth?"
    )
    size = (9.0, 4.3)
    episode_control, episode_label = "frame", "Next frame"
    n_query, n_measured = 10, 50

    def __init__(
        self, frames: Mapping[int, FewShotDataset], *, seed: int = 0, **state: Any
    ) -> None:
        if len(frames) < 2:
            raise ValueError(f"a film needs at least 2 frames, got {len(frames)}")
        self.steps = sorted(frames)
        self.frames = [frames[step] for step in self.steps]
        self.seed = seed
        self.losses = {n: torch.stack([self._losses(f, n) for f in self.frames]) for n in SHOTS}
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        return {
            "frame": IntSlider(0, 0, len(self.steps) - 1, description="frame"),
            "temperature": SelectionSlider(
                options=TEMPERATURES, value=1.0, description="temperature"
            ),
            "n_shot": SelectionSlider(
                options=SHOTS, value=1, description="n_shot (support items per class)"
            ),
            "episode": IntSlider(0, 0, 19, description="episode"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        learner, view = self._view(**state)
        plane = fig.add_axes((0.085, 0.125, 0.44, 0.78))
        view.draw(learner, plane, aspect=0.44 * 9 / (0.78 * 4.3))
        n_right, n = int(view.right.sum()), len(view.right)
        plane.set_title(f"{self._when(state['frame'])}: {n_right} of {n} right", loc="left")
        fig.legend(*plane.get_legend_handles_labels(), loc=(0.535, 0.35), title="label")
        loss = fig.add_axes((0.715, 0.125, 0.27, 0.78))
        losses = self.losses[state["n_shot"]]
        self._draw_losses(loss, losses, state["frame"], state["temperature"])

    def describe(self, **state: Any) -> str:
        _, view = self._view(**state)
        losses = self.losses[state["n_shot"]][state["frame"]]
        now, best = losses[TEMPERATURES.index(state["temperature"])], losses.argmin()
        return (
            f"After {self._when(state['frame'])}, {state['n_shot']}-shot, temperature "
            f"{state['temperature']:g}, episode {state['episode']}: {view.figures}. Over "
            f"{self.n_measured} episodes the loss is {now:.2f} nats; it is lowest, "
            f"{losses[best]:.2f}, at temperature {TEMPERATURES[best]:g}."
        )

    def _when(self, frame: int) -> str:
        return f"{self.steps[frame]} outer steps"

    def _draw_losses(self, ax: Axes, losses: Tensor, frame: int, temperature: float) -> None:
        """Loss against temperature for all frames, losses (frames, temperatures)."""
        ax.plot(TEMPERATURES, losses.T, color=GREY, lw=0.8)
        now, best = losses[frame], int(losses[frame].argmin())
        ax.plot(TEMPERATURES, now, color=BLUE, lw=2.4, label=self._when(frame))
        hollow: Any = {"ls": "none", "mfc": "white", "mec": BLUE, "ms": 9, "label": "lowest"}
        ax.plot(TEMPERATURES[best], now[best], "o", **hollow)
        here = TEMPERATURES.index(temperature)
        ax.plot(temperature, now[here].clamp(max=2.75), "X", color=BLACK, ms=9, label="now", ls="")
        ax.axhline(math.log(5), ls=":", color=GREY)
        ax.text(30, 1.63, "guessing", fontsize=SMALL, color="0.4", ha="right")
        ax.set(xscale="log", xlabel="temperature", ylabel="loss (nats)", ylim=(0, 2.8))
        ax.set_xticks([0.03, 0.1, 0.3, 1, 3, 10, 30], ["0.03", "0.1", "0.3", "1", "3", "10", "30"])
        ax.minorticks_off()
        ax.set_title(f"{self.n_measured} episodes", loc="left")
        ax.legend(loc="upper right", fontsize=SMALL)

    @torch.no_grad()
    def _losses(self, frame: FewShotDataset, n_shot: int) -> Tensor:
        """Cross-entropy (temperatures,) of the queries of `n_measured` episodes, in nats."""
        batch = self._sampler(frame, n_shot).episodes(self.seed + 1, 0, self.n_measured)
        scores = PrototypicalNetwork(nn.Identity())(batch.support_x, batch.support_y, batch.query_x)
        scores, target = scores.flatten(0, 1), batch.query_y.flatten()
        return torch.stack([F.cross_entropy(scores / t, target) for t in TEMPERATURES])

    def _sampler(self, frame: FewShotDataset, n_shot: int) -> EpisodeSampler:
        return EpisodeSampler(frame, 5, n_shot, self.n_query)

    def _view(
        self, frame: int, temperature: float, n_shot: int, episode: int
    ) -> tuple[PrototypicalNetwork, TaskView]:
        """The task in this frame, its plane turned so that nothing flips from frame to frame."""
        learner = PrototypicalNetwork(nn.Identity(), temperature=temperature)
        last, now = (
            TaskView.of(
                learner, self._sampler(self.frames[f], n_shot).episodes(self.seed, episode, 1)
            )
            for f in (-1, frame)
        )
        return learner, now.turned_to(last)
