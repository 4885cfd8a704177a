"""You against the machine: name a letter after one example. Introduced in notebook 00."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ipywidgets import HTML, Button, IntSlider, ToggleButtons
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..learners import MetaLearner
from ..plotting import SMALL
from ..tasks import TaskSource
from .base import Explorer

__all__ = ["LetterGame"]

GREEN = "#007a5a"


class LetterGame(Explorer):
    """Rounds of one query and one drawing of each letter; the rivals answer the same rounds.

    The first answer in a round is the one that counts.

    Args:
        tasks: where the rounds come from; 1-shot.
        rivals: learners by name; more can join with `add_rival`.
        n_rounds: rounds in all.
        seed: of the rounds.
    Raises:
        ValueError: the tasks are not 1-shot classification.
    """

    title = "You against the machine"
    question = "Which letters fool the machine and not you? And which fool you?"
    size = (6.4, 3.9)

    def __init__(
        self,
        tasks: TaskSource,
        rivals: Mapping[str, MetaLearner] | None = None,
        *,
        n_rounds: int = 20,
        seed: int = 0,
    ) -> None:
        if tasks.n_way is None or tasks.n_shot != 1:
            raise ValueError(f"the game needs 1-shot classification tasks, got {tasks!r}")
        self.n_way, self.n_rounds = tasks.n_way, n_rounds
        self.episodes = tasks.episodes(seed, 0, n_rounds)
        draw = torch.Generator().manual_seed(seed)
        self.chosen = torch.randint(self.episodes.query_y.shape[1], (n_rounds,), generator=draw)
        self.truth = self.episodes.query_y[torch.arange(n_rounds), self.chosen].tolist()
        self.answers: dict[int, int] = {}
        self.rivals = {name: self._play(rival) for name, rival in (rivals or {}).items()}
        self.score_line = HTML()
        super().__init__()

    def controls(self) -> dict[str, Any]:
        choices = [("?", None), *((str(label), label) for label in range(self.n_way))]
        return {
            "round": IntSlider(1, 1, self.n_rounds, description="round"),
            "answer": ToggleButtons(options=choices, value=None, description="the query is letter"),
        }

    def arrange(self) -> list[Any]:
        self.inputs["answer"].style.button_width = "44px"
        self.inputs["answer"].layout.width = "640px"
        self.next_button = Button(description="Next round")
        self.next_button.on_click(lambda _: self._moved(self._next))
        self.after_change("")
        title, round_slider, answer, reset, *rest = super().arrange()
        return [title, round_slider, answer, self.next_button, *rest, self.score_line, reset]

    def after_change(self, name: str) -> None:
        answer = self.inputs["answer"]
        round_ = self.inputs["round"].value
        if name == "round":
            answer.value = self.answers.get(round_)
        elif answer.value is not None:
            self.answers.setdefault(round_, answer.value)
        self.score_line.value = self.score()

    def reset(self) -> None:
        """Back to round 1, with all answers forgotten."""
        self.answers.clear()
        super().reset()
        self.after_change("")

    def add_rival(self, name: str, learner: MetaLearner) -> None:
        """Let a learner answer all rounds, those of the past too."""
        self.rivals[name] = self._play(learner)
        self.after_change("")
        self.refresh()

    def score(self) -> str:
        """How many of the rounds that you have answered each player has right."""
        if not self.answers:
            return "No round answered yet."
        rounds = sorted(self.answers)
        players = {"you": self.answers} | {
            name: {r: answers[r - 1] for r in rounds} for name, answers in self.rivals.items()
        }
        right = {n: sum(a[r] == self.truth[r - 1] for r in rounds) for n, a in players.items()}
        counts = ", ".join(f"{name} {count}" for name, count in right.items())
        return f"Rounds answered: {len(rounds)}. Right in them: {counts}."

    def draw(self, fig: Figure, **state: Any) -> None:
        index, answer = state["round"] - 1, state["answer"]
        grid = fig.add_gridspec(2, self.n_way, height_ratios=(1, 1.2))
        top = fig.add_subplot(grid[0, :])
        _show_letter(top, self.episodes.query_x[index, self.chosen[index]])
        top.set_title("the query: which letter is it?")
        for label in range(self.n_way):
            self._draw_choice(fig.add_subplot(grid[1, label]), index, label, answer)

    def _draw_choice(self, ax: Axes, index: int, label: int, answer: int | None) -> None:
        _show_letter(ax, self.episodes.support_x[index, label])
        ax.set_title(f"letter {label}")
        # A line for each player in any case, so that nothing moves when the answer is shown.
        names = [] if answer is None else self._voters(index, label, answer)
        ax.set_xlabel(
            "\n".join(names + [" "] * (1 + len(self.rivals) - len(names))), fontsize=SMALL
        )
        if answer is not None and label == self.truth[index]:
            ax.spines[:].set(color=GREEN, linewidth=4)
            ax.set_title(f"letter {label}: true", color=GREEN, fontweight="bold")

    def _voters(self, index: int, label: int, answer: int) -> list[str]:
        votes = {"you": answer} | {name: given[index] for name, given in self.rivals.items()}
        return [name for name, vote in votes.items() if vote == label]

    def describe(self, **state: Any) -> str:
        round_, answer = state["round"], state["answer"]
        start = f"Round {round_} of {self.n_rounds}: one query and {self.n_way} letters."
        if answer is None:
            return f"{start} Not answered yet."
        truth = self.truth[round_ - 1]
        votes = {"you": answer} | {name: given[round_ - 1] for name, given in self.rivals.items()}
        said = ", ".join(f"{name} said {vote}" for name, vote in votes.items())
        return f"{start} The query is letter {truth}; {said}."

    def _play(self, learner: MetaLearner) -> list[int]:
        """The learner's answer in each round."""
        episodes, was_training = self.episodes, learner.training
        learner.eval()
        with torch.no_grad():
            scores = learner(episodes.support_x, episodes.support_y, episodes.query_x)
        learner.train(was_training)
        return scores.argmax(dim=-1)[torch.arange(self.n_rounds), self.chosen].tolist()

    def _next(self) -> None:
        self.set(round=min(self.state["round"] + 1, self.n_rounds))


def _show_letter(ax: Axes, item: torch.Tensor) -> None:
    """Dark ink on white paper."""
    ax.imshow(1 - np.asarray(item.mean(dim=0)), cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="0.8")
