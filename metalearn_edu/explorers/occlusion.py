"""Cover a part of the query, and see how the comparison changes. Introduced in notebook 04."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from ipywidgets import IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..learners import RelationNetwork
from ..plotting.style import GREY, SMALL
from ..tasks import EpisodeSampler, FewShotDataset
from .base import Explorer
from .drawing import blank_page, frame, show_letter

__all__ = ["OcclusionExplorer", "covered"]

N_WAY = 5
N_QUERY = 4
PLACES = 7
MOST = 20.0  # a change of a logit that has the full colour; numbers stay readable below it


def covered(picture: Tensor, n_places: int = PLACES) -> Tensor:
    """Copies of a picture, each with a square of paper at another position of a grid.

    Args:
        picture: (C, H, W), 0 is paper; H and W multiples of n_places.
        n_places: places in a row and in a column; a square is as wide as two of them.
    Returns:
        (n_places * n_places, C, H, W), row by row.
    Raises:
        ValueError: the picture cannot be cut into that many places.
    """
    height, width = picture.shape[-2:]
    if height % n_places or width % n_places:
        raise ValueError(
            f"a picture of {height} x {width} has no {n_places} x {n_places} equal places"
        )
    copies = picture.repeat(n_places * n_places, 1, 1, 1)
    for i, copy in enumerate(copies):
        top, bottom = _span(i // n_places, height // n_places)
        left, right = _span(i % n_places, width // n_places)
        copy[:, top:bottom, left:right] = 0
    return copies


def _span(place: int, side: int) -> tuple[int, int]:
    """Where a square begins and ends: half a place beyond its own on either side."""
    return max(0, place * side - side // 2), (place + 1) * side + side // 2


@dataclass(frozen=True)
class _View:
    """One query: its pictures and logits, whole and covered."""

    support: Tensor  # (N_WAY, C, H, W)
    picture: Tensor  # (C, H, W)
    label: int
    whole: Tensor  # (N_WAY,)
    logits: Tensor  # (PLACES * PLACES, N_WAY)

    def verdict(self, logits: Tensor) -> str:
        given = int(logits.argmax())
        return f"class {given}, {'right' if given == self.label else 'wrong'}"

    @property
    def rival(self) -> int:
        """The class with the highest logit, except for the query's own."""
        return int(self.whole.index_fill(0, torch.tensor(self.label), -torch.inf).argmax())


class OcclusionExplorer(Explorer):
    """A square of paper moves over the query, and the logits of two pairs follow.

    The maps show, for every place, by how much the logit changes if the square lies there: for the
    pair of the query and its own class, and for that with the best of the others.

    Args:
        learner: a trained network for images whose sides are multiples of 7.
        dataset: images with at least 5 classes of at least 5 items.
        seed: of the episodes.
        state: first values of the controls.
    """

    title = "What decides: a square of paper over the query"
    question = (
        "Find the strokes that support the query's own class, and those that support the rival. Is "
        "there a place where the square makes the network more confident of the right class?"
    )
    size = (9.6, 4.3)
    episode_control = "episode"

    def __init__(
        self, learner: RelationNetwork, dataset: FewShotDataset, *, seed: int = 4, **state: Any
    ) -> None:
        self.learner, self.dataset, self.seed = learner, dataset, seed
        self._view = lru_cache(maxsize=64)(self._look)
        super().__init__(**state)

    def refresh(self) -> None:
        self._view.cache_clear()
        super().refresh()

    def controls(self) -> dict[str, Any]:
        return {
            "row": IntSlider(3, 0, PLACES - 1, description="row of the square"),
            "column": IntSlider(3, 0, PLACES - 1, description="column of the square"),
            "query": IntSlider(0, 0, N_WAY * N_QUERY - 1, description="chosen query"),
            "episode": IntSlider(0, 0, 19, description="episode"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        view, ax = self._view(state["episode"], state["query"]), blank_page(fig)
        place = PLACES * state["row"] + state["column"]
        ax.text(8, 24, f"query {state['query']}, partly covered", fontsize=SMALL)
        self._draw_query(ax, view, state["row"], state["column"])
        ax.text(8, 244, f"whole: {view.verdict(view.whole)}", fontsize=SMALL)
        ax.text(8, 264, f"covered: {view.verdict(view.logits[place])}", fontsize=SMALL)
        for i, (k, name) in enumerate(((view.label, "own class"), (view.rival, "rival"))):
            left = 216 + 240 * i
            show_letter(ax, view.support[k], left, 8, 64)
            words = f"whole {_number(view.whole[k])}\ncovered {_number(view.logits[place, k])}"
            ax.text(left + 74, 8, f"{name} {k}\n{words}", va="top", fontsize=SMALL)
            self._draw_map(ax, view, k, left, place)
        ax.text(216, 304, "change of the logit if the square lies there", fontsize=SMALL)

    def _draw_query(self, ax: Axes, view: _View, row: int, column: int) -> None:
        left, top, side = 8, 34, 192
        show_letter(ax, view.picture, left, top, side)
        (up, down), (west, east) = (
            (side * edge / (4 * PLACES) for edge in _span(place, 4)) for place in (row, column)
        )
        box = (left + west, top + up), min(east, side) - west, min(down, side) - up
        ax.add_patch(Rectangle(*box, fc="white", ec="black", lw=2, hatch="//"))

    def _draw_map(self, ax: Axes, view: _View, k: int, left: float, place: int) -> None:
        """The changes of one pair; where they are 1 or more with their numbers."""
        top, cell = 84, 29
        change = (view.logits - view.whole)[:, k]
        extent = (left, left + PLACES * cell, top + PLACES * cell, top)
        colors: Any = {"cmap": "PuOr_r", "vmin": -MOST, "vmax": MOST}
        ax.imshow(change.view(PLACES, PLACES).numpy(), extent=extent, **colors)
        ink = view.picture.mean(dim=0).flip(0).numpy()  # a contour goes upwards
        ax.contour(ink, [0.5], extent=extent, colors=GREY, linewidths=1)
        middle: Any = {"ha": "center", "va": "center_baseline", "fontsize": SMALL}
        for i in (change.abs() >= 0.95).nonzero().flatten().tolist():
            row, column = divmod(i, PLACES)
            x, y = left + cell * (column + 0.5), top + cell * (row + 0.5)
            ax.text(x, y, _number(change[i], 0), **middle)
        ax.add_patch(Rectangle((left, top), PLACES * cell, PLACES * cell, fill=False, ec="0.75"))
        row, column = divmod(place, PLACES)
        frame(ax, left + cell * column, top + cell * row, cell, cell, "black")

    def describe(self, **state: Any) -> str:
        view = self._view(state["episode"], state["query"])
        place = PLACES * state["row"] + state["column"]
        change = view.logits - view.whole
        parts = [
            f"{name} {k}: logit {view.whole[k]:.1f} whole, {view.logits[place, k]:.1f} covered, "
            f"changes from {change[:, k].min():.1f} to {change[:, k].max():.1f} over all places"
            for k, name in ((view.label, "Own class"), (view.rival, "rival"))
        ]
        n_right = int((view.logits.argmax(dim=1) == view.label).sum())
        return (
            f"Query {state['query']} of episode {state['episode']}, the square in row "
            f"{state['row']}, column {state['column']}. {'; '.join(parts)}. Whole it is named "
            f"{view.verdict(view.whole)}, covered {view.verdict(view.logits[place])}; with the "
            f"square on {n_right} of {PLACES * PLACES} places the answer is right."
        )

    @torch.no_grad()
    def _look(self, episode: int, query: int) -> _View:
        task = EpisodeSampler(self.dataset, N_WAY, 1, N_QUERY).episodes(self.seed, episode, 1)[0]
        picture = task.query_x[query]
        compare = self.learner.adapt(task.support_x, task.support_y)
        logits = compare(torch.cat([picture[None], covered(picture)]))
        label = int(task.query_y[query])
        return _View(task.support_x, picture, label, logits[0], logits[1:])


def _number(value: Tensor, digits: int = 1) -> str:
    return f"{value.item():z.{digits}f}".replace("-", "\N{MINUS SIGN}")
