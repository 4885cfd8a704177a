"""Accuracy on new letters against the number of letters practised. Introduced in notebook 00."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from ipywidgets import SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plotting.style import BLACK, BLUE, GREY, VERMILLION
from ..tasks import FewShotDataset
from ..tasks.data.glyphs import load_glyphs
from .base import Explorer
from .drawing import bare
from .game import LetterGame, wilson_interval

__all__ = ["PracticeExplorer", "Run", "practice_pool", "stored_runs"]

NEAREST_PIXEL = 44.8  # %, 5-way 1-shot on meta-test, 600 episodes


@dataclass(frozen=True)
class Run:
    """One training run: letters practised, and the accuracies in % on these and on new letters."""

    letters: int
    seed: int
    practised: float
    new: float


@cache
def stored_runs() -> tuple[Run, ...]:
    """The table that `python tools/practice_letters.py` writes."""
    table = files("metalearn_edu.results") / "practice_letters.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return tuple(
        Run(int(r["letters"]), int(r["seed"]), float(r["practised"]), float(r["new"])) for r in rows
    )


def practice_pool(n_letters: int, generator: torch.Generator | None = None) -> FewShotDataset:
    """Letters drawn from Glyphs' meta-train split; a smaller pool is a part of a larger one.

    Raises:
        ValueError: there are fewer letters.
    """
    glyphs = load_glyphs("meta-train")
    if not 1 <= n_letters <= glyphs.n_classes:
        raise ValueError(f"n_letters must lie in 1..{glyphs.n_classes}, got {n_letters}")
    order = torch.randperm(glyphs.n_classes, generator=generator)
    return glyphs.subset(order[:n_letters].tolist())


class PracticeExplorer(Explorer):
    """How many letters a network has practised, and how well it does on letters it has never seen.

    The curves grow with the slider, so that the next point can be guessed first.

    Args:
        game: whose 5-way score is drawn beside the curves; read at each drawing.
        state: first values of the controls.
    """

    title = "Practice makes a learner"
    question = (
        "How many letters must a network practise before it names new letters better than nearest "
        "pixel? And what does a network that has practised on ten letters lack: skill, or variety?"
    )
    size = (8.9, 4.3)

    def __init__(self, game: LetterGame | None = None, **state: Any) -> None:
        self.game, self.runs = game, stored_runs()
        most = max(run.letters for run in self.runs)
        self.pool = practice_pool(most, torch.Generator().manual_seed(0))
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        options = sorted({run.letters for run in self.runs})
        return {
            "letters": SelectionSlider(
                options=options, value=options[0], description="letters practised"
            )
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """On the left the accuracies so far, on the right the letters that were practised."""
        letters = state["letters"]
        fig.set_layout_engine("none")
        place: Any = {"left": 0.08, "right": 0.98, "top": 0.93, "bottom": 0.14, "wspace": 0.08}
        left, right = fig.subplots(1, 2, width_ratios=(1.7, 1), gridspec_kw=place)
        self._draw_levels(left)
        looks = {"practised": (GREY, "s", "--"), "new": (BLUE, "o", "-")}
        for kind, (color, marker, dash) in looks.items():
            self._draw_curve(left, kind, letters, color=color, marker=marker, ls=dash)
        left.set(xscale="log", xlim=(7, 1300), ylim=(0, 108), xlabel="letters practised")
        left.set_ylabel("5-way 1-shot accuracy (%)")
        ticks = sorted({run.letters for run in self.runs})
        left.set_xticks(ticks, [str(n) for n in ticks])
        left.minorticks_off()
        left.legend(loc="lower right", bbox_to_anchor=(1, 0.2), fontsize=11)
        self._draw_letters(right, letters)

    def describe(self, **state: Any) -> str:
        letters = state["letters"]
        known, new = (self._accuracies(kind, letters) for kind in ("practised", "new"))
        return (
            f"{letters} letters practised, {len(new)} networks: 5-way 1-shot accuracy "
            f"{known.mean():.0f} % on the practised letters, {new.mean():.0f} % on new letters "
            f"({new.min():.0f} to {new.max():.0f}). Nearest pixel has {NEAREST_PIXEL:.0f} %, "
            f"chance is 20 %. {self._your_words()}"
        )

    def _draw_levels(self, ax: Axes) -> None:
        """Scores without training: chance, nearest pixel, and you."""
        ax.axhline(20, color=GREY, lw=1.2, ls=":")
        ax.text(7.5, 15, "chance", va="center", fontsize=11)
        ax.axhline(NEAREST_PIXEL, color=VERMILLION, lw=1.2, ls="-.")
        ax.text(1250, NEAREST_PIXEL + 5, "nearest pixel", ha="right", va="center", fontsize=11)
        if score := self._yours():
            right, n = score
            low, high = (100 * end for end in wilson_interval(right, n))
            middle = 100 * right / n
            errors = [[middle - low], [high - middle]]
            star: Any = {"fmt": "*", "ms": 13, "color": BLACK, "capsize": 4}
            ax.errorbar([1150], [middle], yerr=errors, label=f"you, {n} rounds", **star)

    def _draw_curve(self, ax: Axes, kind: str, letters: int, **look: Any) -> None:
        """Means and single runs up to `letters`, with the newest mean as a number."""
        shown = sorted({run.letters for run in self.runs if run.letters <= letters})
        means = [self._accuracies(kind, n).mean() for n in shown]
        for n in shown:
            values = self._accuracies(kind, n)
            dots: Any = {"ls": "none", "ms": 4, "alpha": 0.6} | {"marker": look["marker"]}
            ax.plot([n] * len(values), values, color=look["color"], **dots)
        ax.plot(shown, means, label=f"{kind} letters", ms=8, **look)
        above = 8 if kind == "practised" or means[-1] < 60 else -17  # off the line of nearest pixel
        place: Any = {"xytext": (0, above), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{means[-1]:.0f} %", (shown[-1], means[-1]), weight="bold", **place)

    def _draw_letters(self, ax: Axes, letters: int) -> None:
        """One drawing of each practised letter; the more there are, the smaller they are."""
        columns = int(np.ceil(np.sqrt(letters)))
        pictures = torch.zeros(columns**2, 28, 28)
        pictures[:letters] = self.pool.items[self.pool.order[self.pool.starts[:letters]], 0] / 255
        page = pictures.view(columns, columns, 28, 28).transpose(1, 2).flatten(2).flatten(0, 1)
        ax.imshow(1 - page.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
        ax.set_title(f"the {letters} letters practised", fontsize=12)
        bare(ax)

    def _accuracies(self, kind: str, letters: int) -> np.ndarray:
        return np.array([getattr(run, kind) for run in self.runs if run.letters == letters])

    def _yours(self) -> tuple[int, int] | None:
        """In how many of how many 5-way rounds you were right; None before the first."""
        return self.game.counts(5).get("you") if self.game else None

    def _your_words(self) -> str:
        if not (score := self._yours()):
            return "You have not played yet."
        right, n = score
        low, high = (100 * end for end in wilson_interval(right, n))
        return f"You were right in {right} of {n} rounds: {low:.0f} to {high:.0f} %."
