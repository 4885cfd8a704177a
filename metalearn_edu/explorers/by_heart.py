"""A network that never sees the support set learns what a sampler gives away. Notebook 01."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ipywidgets import SelectionSlider, ToggleButtons
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..backbones import ConvNet
from ..plotting.style import BLUE, GREY, VERMILLION
from ..tasks import EpisodeBatch, FewShotDataset
from .base import Explorer

__all__ = ["FRAMES", "ByHeartExplorer", "Film", "Sampler", "film_of"]

Sampler = Callable[[FewShotDataset, int, int, int, int], EpisodeBatch]
"""From a data set, n_way, n_shot, n_query and n_tasks to episodes, as in the lesson."""
FRAMES = (0, 5, 10, 20, 40, 80, 160)
N_WAY = 5


@dataclass(frozen=True)
class Film:
    """What a network does after each number of steps in FRAMES."""

    answers: np.ndarray  # (frames, letters, n_way): mean probability of each label, by letter
    practised: np.ndarray  # (frames,) accuracy in % on new episodes of the practised letters
    new: np.ndarray  # (frames,) accuracy in % on episodes of letters that it never practised


def film_of(
    sampler: Sampler, letters: FewShotDataset, new_letters: FewShotDataset, seed: int = 0
) -> Film:
    """Train a network on the queries of a sampler's 5-way 1-shot episodes, without support sets.

    Each step has 40 episodes with one query per class. All random numbers come from torch's default
    generator, which starts at `seed`.
    """
    torch.manual_seed(seed)
    model = ConvNet(width=16, output_dim=N_WAY, downsample="stride")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    frames = []
    for step in range(FRAMES[-1] + 1):
        if step in FRAMES:
            scores = (_accuracy(model, sampler, data) for data in (letters, new_letters))
            frames.append((_answers(model, letters), *scores))
        x, y = _queries(sampler(letters, N_WAY, 1, 1, 40))
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return Film(*map(np.array, zip(*frames, strict=True)))


def _queries(episodes: EpisodeBatch) -> tuple[Tensor, Tensor]:
    """The queries of all tasks in one list, which is all that this network sees."""
    return episodes.query_x.flatten(0, 1), episodes.query_y.flatten()


@torch.no_grad()
def _accuracy(model: nn.Module, sampler: Sampler, letters: FewShotDataset) -> float:
    """Accuracy in %, over 400 episodes."""
    x, y = _queries(sampler(letters, N_WAY, 1, 1, 400))
    model.eval()
    right = (model(x).argmax(dim=1) == y).double().mean().item()
    model.train()
    return 100 * right


@torch.no_grad()
def _answers(model: nn.Module, letters: FewShotDataset) -> np.ndarray:
    """(letters, n_way): the mean probability of each label over the drawings of a letter."""
    model.eval()
    rows = [model(letters.items_of(c)).softmax(dim=1).mean(dim=0) for c in range(letters.n_classes)]
    model.train()
    return torch.stack(rows).numpy()


class ByHeartExplorer(Explorer):
    """The table that a network learns by heart, as it grows, beside its two accuracies.

    Args:
        films: by the name of the sampler, from `film_of`.
        looking: accuracy in % of a learner that uses the support set, on the new letters.
        state: first values of the controls.
    Raises:
        ValueError: there is no film.
    """

    title = "Learned by heart"
    question = (
        "What does the network know after 160 steps, and what is it worth on letters that it never "
        "practised? Which of the two samplers gives it something to learn?"
    )
    size = (8.9, 4.2)

    def __init__(self, films: Mapping[str, Film], looking: float, **state: Any) -> None:
        if not films:
            raise ValueError("films must hold at least one film: {name: film_of(sampler, ...)}")
        self.films, self.looking = dict(films), looking
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        return {
            "sampler": ToggleButtons(options=list(self.films), description="sampler"),
            "step": SelectionSlider(options=FRAMES, value=0, description="training steps"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        film, frame = self.films[state["sampler"]], FRAMES.index(state["step"])
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.5))
        image = left.imshow(film.answers[frame], vmin=0, vmax=1, cmap="viridis", aspect="auto")
        n_letters, n_way = film.answers[frame].shape
        left.set(xlabel="label", ylabel="practised letter", title="what it answers")
        left.set(xticks=range(n_way), yticks=range(n_letters))
        fig.colorbar(image, ax=left, label="probability")
        self._draw_accuracies(right, film, frame)

    def describe(self, **state: Any) -> str:
        sampler, step = state["sampler"], state["step"]
        film, frame = self.films[sampler], FRAMES.index(step)
        sure = film.answers[frame].max(axis=1).mean()
        return (
            f"{sampler}, after {step} steps: {film.practised[frame]:.0f} % right on episodes of "
            f"the practised letters, {film.new[frame]:.0f} % on new letters; chance is 20 %. Its "
            f"favourite label of a letter has the probability {sure:.2f} on average. Nearest "
            f"pixel, which looks at the support set, has {self.looking:.0f} % on new letters."
        )

    def _draw_accuracies(self, ax: Axes, film: Film, frame: int) -> None:
        """Both curves up to the frame; the steps are evenly spaced though they double."""
        curves: Any = [
            ("practised letters", film.practised, {"color": VERMILLION, "marker": "s", "ls": "--"}),
            ("new letters", film.new, {"color": BLUE, "marker": "o", "ls": "-"}),
        ]
        for name, values, look in curves:
            ax.plot(range(frame + 1), values[: frame + 1], label=name, ms=8, **look)
        for values, above in ((film.practised, 9), (film.new, -17)):
            place: Any = {"xytext": (0, above), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{values[frame]:.0f} %", (frame, values[frame]), weight="bold", **place)
        ax.axhline(20, color=GREY, lw=1.2, ls=":", label="chance")
        ax.axhline(self.looking, color=GREY, lw=1.2, ls="-.", label="nearest pixel, new letters")
        ax.set(xlim=(-0.4, len(FRAMES) - 0.6), ylim=(0, 100), xlabel="training steps")
        ax.set_ylabel("accuracy (%)")
        ax.set_xticks(range(len(FRAMES)), [str(n) for n in FRAMES])
        ax.legend(loc="upper left", fontsize=11)
