"""Six settings and the episode that they give. Introduced in notebook 01."""

from __future__ import annotations

from typing import Any

from ipywidgets import Checkbox, Dropdown, IntSlider
from matplotlib.figure import Figure

from ..basics.names import for_figure, for_terminal
from ..plotting import plot_episode
from ..tasks import EpisodeBatch, EpisodeSampler, FewShotDataset
from ..tasks.data.glyphs import load_glyphs
from .base import Explorer

__all__ = ["EpisodeExplorer"]

ALL_SCRIPTS = "all scripts"


class EpisodeExplorer(Explorer):
    """n_way, n_shot, n_query, script, rotations and seed, and the episode drawn.

    If the data cannot give such an episode, the picture shows the sampler's own message.

    Args:
        dataset: where the classes come from; its groups become the choice of scripts. Default:
            the letters of Glyphs' meta-test split.
    """

    title = "One episode"
    question = (
        "Which settings make the task harder for you? What does a new seed change, and what does "
        "it leave as it was?"
    )
    size = (8.6, 5.0)
    episode_control = "seed"

    def __init__(self, dataset: FewShotDataset | None = None) -> None:
        self.dataset = load_glyphs("meta-test") if dataset is None else dataset
        super().__init__()

    def controls(self) -> dict[str, Any]:
        return {
            "n_way": IntSlider(5, 2, 10, description="n_way (classes)"),
            "n_shot": IntSlider(1, 1, 5, description="n_shot (support items per class)"),
            "n_query": IntSlider(5, 1, 8, description="n_query (queries per class)"),
            "script": Dropdown(
                options=[
                    (for_terminal(name), name) for name in (ALL_SCRIPTS, *self.dataset.groups)
                ],
                description="script",
            ),
            "rotations": Checkbox(False, description="count turned letters as classes"),
            "seed": IntSlider(0, 0, 99, description="seed"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        try:
            batch, names = self._episode(**state)
        except ValueError as refusal:
            fig.text(
                0.5, 0.5, for_figure(refusal), ha="center", va="center", wrap=True, fontsize=12
            )
            return
        plot_episode(batch[0], class_names=names, fig=fig)

    def describe(self, **state: Any) -> str:
        try:
            batch, names = self._episode(**state)
        except ValueError as refusal:
            return f"No such episode: {refusal}"
        letters = ", ".join(f"{label} is {name}" for label, name in enumerate(names))
        return (
            f"{batch.n_way}-way {batch.n_shot}-shot: {batch.support_x.shape[1]} support and "
            f"{batch.query_x.shape[1]} query pictures. Labels: {letters}."
        )

    def _episode(self, script: str, seed: int, **settings: Any) -> tuple[EpisodeBatch, list[str]]:
        """The episode, and the name of the class behind each label."""
        chosen = script == ALL_SCRIPTS
        dataset = self.dataset if chosen else self.dataset.select_groups([script])
        batch = EpisodeSampler(dataset, **settings).episodes(seed, 0, 1)
        assert batch.classes is not None  # classification episodes always have them
        turns = 4 if settings["rotations"] else 1
        return batch, [
            self._name(dataset, c // turns, c % turns) for c in batch.classes[0].tolist()
        ]

    def _name(self, dataset: FewShotDataset, class_index: int, turn: int) -> str:
        name = dataset.class_names[class_index].lower()
        return f"{name}, {90 * turn}°" if turn else name
