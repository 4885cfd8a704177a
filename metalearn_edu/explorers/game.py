"""You against the machine: name a letter after one example. Introduced in notebook 00."""

from __future__ import annotations

import csv
import html
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from ipywidgets import HTML, Dropdown, HBox, IntSlider, ToggleButtons
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..basics.files import open_atomically
from ..basics.names import for_table, for_terminal
from ..basics.random import uniforms
from ..learners import MetaLearner
from ..plotting import look
from ..plotting.style import wrap
from ..tasks import EpisodeSampler, FewShotDataset
from ..tasks.data.glyphs import load_glyphs
from .base import Explorer
from .drawing import DARK_GREEN, blank_page, show_letter

__all__ = ["ALL_SCRIPTS", "LetterGame", "wilson_interval"]

ALL_SCRIPTS = "all scripts"
MOST_WAYS, MOST_ROUNDS = 20, 50


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, from n_right of n cases; it holds for small n too.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    z, share = 1.96, n_right / n
    middle = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


@dataclass(frozen=True)
class _Round:
    """One question: n_way letters and a query."""

    letters: Tensor  # (n_way, C, H, W)
    query: Tensor  # (C, H, W)
    truth: int
    names: tuple[str, ...]  # (n_way,)


class LetterGame(Explorer):
    """Rounds of one query and one drawing of each letter; the rivals answer the same rounds.

    Round r of a script and an n_way is always the same. Only the first answer in a round counts;
    all answers are kept while the kernel runs, and `to_csv` writes them to a file.

    Args:
        rivals: learners by name; more can join with `add_rival`.
        dataset: where the letters come from; its groups become the choice of scripts. Default:
            the letters of Glyphs' meta-test split.
        seed: of the rounds.
        state: first values of the controls.
    Raises:
        ValueError: a class has fewer than 2 items, or there is only one class.
    """

    title = "You against the machine"
    question = (
        "Which letters fool the machine but not you, and which fool you? Who loses most when there "
        "are 20 letters instead of 5: you, the network or the pixels?"
    )
    size = (8.9, 4.6)
    episode_control, episode_label = "round", "Next round"

    def __init__(
        self,
        rivals: Mapping[str, MetaLearner] | None = None,
        dataset: FewShotDataset | None = None,
        *,
        seed: int = 0,
        **state: Any,
    ) -> None:
        self.dataset = load_glyphs("meta-test") if dataset is None else dataset
        self.seed, self.rivals = seed, dict(rivals or {})
        # By script, n_way and round: your first answer, the question, and the rivals' answers.
        self.answers: dict[tuple[str, int, int], int] = {}
        self._rounds: dict[tuple[str, int, int], _Round] = {}
        self._played: dict[tuple[str, int, int, str], int] = {}
        self.score_line, self._laying_out = HTML(), False
        super().__init__(**state)
        self._update()

    def controls(self) -> dict[str, Any]:
        """The script comes first: it limits n_way."""
        most = min(MOST_WAYS, self.dataset.n_classes)
        return {
            "script": Dropdown(
                options=[
                    (for_terminal(name), name) for name in (ALL_SCRIPTS, *self.dataset.groups)
                ],
                description="script",
            ),
            "n_way": IntSlider(min(5, most), 2, most, description="n_way (letters)"),
            "round": IntSlider(1, 1, MOST_ROUNDS, description="round"),
            "answer": ToggleButtons(options=["0"], value=None, description="The query is letter"),
        }

    def arrange(self) -> list[Any]:
        """The buttons of the answer stand right below the letters, and "Next round" below them."""
        answer = self.inputs["answer"]
        answer.style.description_width = "initial"
        answer.layout.width, answer.layout.flex_flow = f"{round(72 * self.size[0])}px", "column"
        title, script, n_way, round_, _, buttons, message, picture, *rest = super().arrange()
        settings = HBox([script, n_way], layout={"flex_flow": "row wrap"})
        game = [settings, round_, message, picture, answer, buttons, self.score_line]
        return [title, *game, *rest]

    def after_change(self, name: str) -> None:
        if self._laying_out:
            return
        if name == "answer" and self.state["answer"] is not None:
            self.answers.setdefault(self._key(), self.state["answer"])
        if name == "script":
            letters = self._letters(self.state["script"])
            self.inputs["n_way"].max = min(MOST_WAYS, letters.n_classes)
        self._update(lay_out=name != "answer")

    def reset(self) -> None:
        """Back to round 1, with all answers forgotten."""
        self.answers.clear()
        super().reset()
        self._update()

    def add_rival(self, name: str, learner: MetaLearner) -> None:
        """Let a learner answer all rounds, including those already played."""
        self.rivals[name] = learner
        self._played = {key: vote for key, vote in self._played.items() if key[-1] != name}
        self._update()
        self.refresh()

    # ------------------------------------------------------------ results

    def results(self) -> list[dict[str, Any]]:
        """All answers, one row per round: the setting, the true letter, and who answered what."""
        rows = []
        for key, answer in sorted(self.answers.items()):
            question, (script, n_way, round_) = self._round(*key), key
            row = {"script": script, "n_way": n_way, "round": round_, "seed": self.seed}
            row |= {"truth": question.truth, "letter": question.names[question.truth]}
            rows.append(row | self._votes(*key, answer=answer))
        return rows

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the results to a file with a header line, as commas separate them.

        Raises:
            ValueError: no round was answered yet.
        """
        if not self.answers:
            raise ValueError("no round was answered yet, so there is nothing to write")
        with open_atomically(Path(path)) as file:
            file.write(self._csv())

    def score(self) -> str:
        """How often each player was right with this n_way, with its 95 % interval."""
        n_way = self.state["n_way"]
        counts = self.counts(n_way)
        if not counts:
            return f"No {n_way}-way round answered yet."
        n = counts["you"][1]
        parts = [f"{name} {right} ({_percent(right, n)})" for name, (right, n) in counts.items()]
        rounds = "round" if n == 1 else "rounds"
        return f"{n_way}-way, {n} {rounds} answered. Right: {', '.join(parts)}."

    def counts(self, n_way: int) -> dict[str, tuple[int, int]]:
        """For each player, how many of the answered rounds of this n_way were right."""
        rows = [row for row in self.results() if row["n_way"] == n_way]
        players = ("you", *self.rivals) if rows else ()
        return {p: (sum(row[p] == row["truth"] for row in rows), len(rows)) for p in players}

    def _csv(self) -> bytes:
        """CSV for a spreadsheet: names in it are text, and are never computed."""
        text, rows = io.StringIO(), self.results()
        writer = csv.writer(text)
        for row in [list(rows[0]), *(row.values() for row in rows)]:
            writer.writerow([for_table(cell) if isinstance(cell, str) else cell for cell in row])
        return text.getvalue().encode("utf-8", "backslashreplace")

    def _score_html(self) -> str:
        line = f'<div role="status">{html.escape(for_terminal(self.score()))}</div>'
        if not self.answers:
            return line
        data = f"data:text/csv;charset=utf-8,{quote(self._csv())}"
        link = f'<a download="letter_game.csv" href="{data}" style="text-decoration: underline">'
        return f"{line}{link}Save all answers as CSV</a>"

    # ------------------------------------------------------------ drawing

    def draw(self, fig: Figure, **state: Any) -> None:
        """The query above, all letters below; after an answer, the truth and all answers."""
        ax, question = blank_page(fig), self._round(*self._key(state))
        n_way, answer = len(question.letters), state["answer"]
        votes = {} if answer is None else self._votes(*self._key(state), answer=answer)
        show_letter(ax, question.query, 268, 8, 104)
        text: Any = {"va": "center", "fontsize": 13}
        ax.text(256, 60, "Which letter is it?", ha="right", **text)
        for row, name in enumerate(("you", *self.rivals)):
            _mark(ax, name, row, 400, 20 + 22 * row)
            ax.text(414, 20 + 22 * row, wrap(name, 220, 1), **text)
        in_a_row = _in_a_row(n_way)
        pitch = 640 / in_a_row
        side = min(74 if n_way > 5 else 118, pitch - 10)
        for label in range(n_way):
            row, column = divmod(label, in_a_row)
            left, top = column * pitch + (pitch - side) / 2, 128 + row * 102
            true = bool(votes) and label == question.truth
            show_letter(
                ax, question.letters[label], left, top, side, DARK_GREEN if true else "0.75"
            )
            name = f"{label}: true" if true else str(label)
            color, weight = (DARK_GREEN, "bold") if true else ("black", "normal")
            below = top + side + 11
            ax.text(left + side / 2, below, name, ha="center", color=color, weight=weight, **text)
            here = [(i, p) for i, (p, vote) in enumerate(votes.items()) if vote == label]
            for place, (index, player) in enumerate(here):
                middle = left + side / 2 + 16 * (place - (len(here) - 1) / 2)
                _mark(ax, player, index, middle, below + 17)

    def describe(self, **state: Any) -> str:
        script, n_way, round_ = self._key(state)
        rivals = f" Against {', '.join(self.rivals)}." if self.rivals else ""
        start = f"Round {round_}, {script}: one query and {n_way} letters.{rivals}"
        if state["answer"] is None:
            return f"{start} Not answered yet."
        votes = self._votes(*self._key(state), answer=state["answer"])
        said = ", ".join(f"{name} said {vote}" for name, vote in votes.items())
        return f"{start} The query is letter {self._round(*self._key(state)).truth}; {said}."

    # ------------------------------------------------------------ rounds

    def _key(self, state: Mapping[str, Any] | None = None) -> tuple[str, int, int]:
        state = state or self.state
        return state["script"], state["n_way"], state["round"]

    def _letters(self, script: str) -> FewShotDataset:
        return self.dataset if script == ALL_SCRIPTS else self.dataset.select_groups([script])

    def _round(self, script: str, n_way: int, round_: int) -> _Round:
        key = script, n_way, round_
        if key not in self._rounds:
            letters = self._letters(script)
            batch = EpisodeSampler(letters, n_way, 1, 1).episodes(self.seed, round_ - 1, 1)
            assert batch.classes is not None  # classification always has them
            # Numbers that no episode of a round uses.
            truth = int(n_way * uniforms(self.seed, MOST_ROUNDS + round_, 1, 1).item())
            names = tuple(letters.class_names[c] for c in batch.classes[0].tolist())
            task = batch[0]
            self._rounds[key] = _Round(task.support_x, task.query_x[truth], truth, names)
        return self._rounds[key]

    def _votes(self, *key: Any, answer: int) -> dict[str, int]:
        """By player, which letter it says."""
        return {"you": answer} | {name: self._play(name, *key) for name in self.rivals}

    @torch.no_grad()
    def _play(self, name: str, *key: Any) -> int:
        if (*key, name) not in self._played:
            question, learner = self._round(*key), self.rivals[name]
            was_training = learner.training
            predictor = learner.eval().adapt(question.letters, torch.arange(len(question.letters)))
            self._played[*key, name] = int(predictor(question.query[None])[0].argmax())
            learner.train(was_training)
        return self._played[*key, name]

    def _update(self, lay_out: bool = True) -> None:
        """The score, and a button for each letter with the answer that was given."""
        self.score_line.value = self._score_html()
        answer, n_way = self.inputs["answer"], self.state["n_way"]
        if not lay_out:
            return
        self._laying_out = True  # new buttons select the first of them, which is not an answer
        with self._hold():
            if len(answer.options) != n_way:
                # In between, set one other label: ipywidgets' buttons see no change if the new
                # labels are the first ones of the old (jupyter-widgets 8.1).
                answer.options = ["..."]
                answer.options = [(str(label), label) for label in range(n_way)]
                # A button has margins of 2 pixels on either side.
                answer.style.button_width = f"{640 // _in_a_row(n_way) - 4}px"
            answer.value = self.answers.get(self._key())
        self._laying_out = False


def _in_a_row(n_way: int) -> int:
    """Letters beside each other; at most two rows."""
    return n_way if n_way <= 5 else 5 if n_way <= 10 else 10


def _mark(ax: Axes, name: str, index: int, x: float, y: float) -> None:
    """The player's marker: the eye finds it faster than a name, and it fits below a letter."""
    ax.plot([x], [y], ls="none", ms=11, **look(name, index))


def _percent(n_right: int, n: int) -> str:
    low, high = wilson_interval(n_right, n)
    return f"{100 * n_right / n:.0f} %, 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
