"""Scores of all pairs of a query and a class, beside their pictures. Introduced in notebook 04."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from ipywidgets import Dropdown, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..learners import RelationNetwork
from ..learners.prototypical import embed_dataset
from ..plotting.style import GREEN, GREY, SMALL
from ..plotting.words import add_words
from ..tasks import EpisodeSampler, FewShotDataset
from .base import Explorer
from .drawing import bare, frame, tile

__all__ = ["RelationExplorer", "plot_relations"]

N_QUERIES = 10
N_SHOWN = 4
N_ROWS = 5  # at least, so that few classes do not get huge pictures


def plot_relations(
    scores: Tensor,
    labels: Tensor,
    *,
    classes: Tensor,
    queries: Tensor,
    chosen: int | None = None,
    ax: Axes,
) -> Axes:
    """Draw scores as a table with the pictures of classes above and of queries on the left.

    The darker a cell, the higher its score. A green frame marks each query's own class, a dot the
    class that it is given, a black frame the chosen query. These two classes and the chosen query
    have their scores in numbers; a table full of numbers is slow to draw and hard to read.

    Args:
        scores, labels: (Q, n_way) and (Q,).
        classes, queries: pictures (n_way, C, H, W) and (Q, C, H, W), grey or colour.
        chosen: the row to frame.
        ax: where to draw; one unit is one cell.
    """
    n_queries, n_way = scores.shape
    low, high = scores.min().item(), scores.max().item()
    ax.imshow(scores.numpy(), cmap="Greys", vmin=low, vmax=low + 2.2 * max(high - low, 1e-6))
    tile(ax, queries[:, None], -1.6, -0.5)
    tile(ax, classes[None], -0.5, -1.6)
    answers, rows = scores.argmax(dim=1), torch.arange(n_queries)
    spoken = F.one_hot(answers, n_way) + F.one_hot(labels, n_way)
    if chosen is not None:
        spoken[chosen] = 1
    for row, column in spoken.nonzero().tolist():
        place: Any = {"ha": "center", "va": "center_baseline", "fontsize": SMALL}
        ax.text(column, row, _number(scores[row, column].item()), **place)
    for row, label in enumerate(labels.tolist()):
        frame(ax, label - 0.46, row - 0.46, 0.92, 0.92, GREEN)
    ax.plot((answers + 0.36).numpy(), (rows - 0.34).numpy(), "ko", ms=4, ls="none")
    if chosen is not None:
        frame(ax, -1.6, chosen - 0.5, n_way + 1.1, 1, "black")
    ax.set(xlim=(-1.65, n_way - 0.45), ylim=(n_queries - 0.45, -1.65))
    bare(ax)
    right = int((answers == labels).sum())
    text = f"A table of scores, {n_queries} queries by {n_way} classes, from "
    text += f"{_number(low)} to {_number(high)}; {right} of {n_queries} queries get their class."
    add_words(ax, text)
    return ax


def _number(score: float) -> str:
    """At most four characters."""
    text = f"{score:z.0f}" if abs(score) >= 9.95 else f"{score:z.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class _View:
    """One episode: the pictures, and the scores of some of its queries."""

    support: Tensor  # (n_way, n_shot, C, H, W)
    queries: Tensor  # (N_QUERIES, C, H, W)
    labels: Tensor  # (N_QUERIES,)
    scores: Tensor  # (N_QUERIES, n_way)

    @property
    def n_right(self) -> int:
        return int((self.scores.argmax(dim=1) == self.labels).sum())


class RelationExplorer(Explorer):
    """n_way, n_shot and one chosen query, and the score of every pair.

    On the left the scores of ten queries with all classes, on the right the pairs of the chosen
    query as pictures, with their scores as bars.

    Args:
        learner: a trained network for images; call `refresh` if you train it further.
        dataset: images with at least 8 classes of at least 14 items.
        seed: of the episodes.
    """

    title = "Relation scores of every pair"
    question = (
        "Where the network is wrong, which picture took the query, and would you have confused "
        "them? And what happens to the scores when the shots are summed instead of averaged?"
    )
    size = (9.4, 5.2)
    episode_control = "episode"
    n_query = 4

    def __init__(
        self, learner: RelationNetwork, dataset: FewShotDataset, *, seed: int = 4, **state: Any
    ) -> None:
        self.learner, self.dataset, self.seed = learner, dataset, seed
        self._embed()
        super().__init__(**state)

    def refresh(self) -> None:
        self._embed()
        super().refresh()

    @torch.no_grad()
    def _embed(self) -> None:
        """We embed every item once: an episode then costs only its comparisons."""
        self._embedded = embed_dataset(self.learner.encoder, self.dataset)
        self._views = lru_cache(maxsize=8)(self._look)

    def controls(self) -> dict[str, Any]:
        others = [name for name in ("mean", "sum") if name != self.learner.aggregate]
        return {
            "n_way": IntSlider(5, 3, 8, description="n_way (classes)"),
            "n_shot": IntSlider(1, 1, 10, description="n_shot (support items per class)"),
            "aggregate": Dropdown(
                options=[self.learner.aggregate, *others], description="support items"
            ),
            "episode": IntSlider(0, 0, 19, description="episode"),
            "query": IntSlider(0, 0, N_QUERIES - 1, description="chosen query"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        view, chosen = self._view(**state), state["query"]
        n_way, n_shot = view.support.shape[:2]
        n_columns = 1.4 + min(n_shot, N_SHOWN)
        n_rows = max(n_way, N_ROWS)
        widths = [n_way + 1.5, 10 * n_columns / n_rows, 4]
        fig.set_layout_engine("none")  # the axes do their own layout: quicker, and nothing jumps
        place: Any = {"left": 0.02, "right": 0.99, "top": 0.94, "bottom": 0.11, "wspace": 0.08}
        table, pairs, bars = fig.subplots(1, 3, width_ratios=widths, gridspec_kw=place)
        pictures: Any = {"classes": view.support[:, 0], "queries": view.queries}
        plot_relations(view.scores, view.labels, **pictures, chosen=chosen, ax=table)
        table.set_title(f"{view.n_right} of {N_QUERIES} queries right", loc="left")
        query = view.queries[chosen].expand(n_way, 1, *view.queries.shape[1:])
        tile(pairs, query, -1.4, -0.5)
        tile(pairs, view.support[:, :N_SHOWN], 0, -0.5)
        more = "" if n_shot <= N_SHOWN else f", {N_SHOWN} of {n_shot}"
        pairs.set_title(f"query {chosen} | class{more}", loc="left")
        pairs.set(xlim=(-1.45, n_columns - 1.35), ylim=(n_rows - 0.45, -0.55))
        bare(pairs)
        self._draw_bars(bars, view.scores[chosen], int(view.labels[chosen]))

    def _draw_bars(self, ax: Axes, scores: Tensor, label: int) -> None:
        n_way = len(scores)
        colors = [GREEN if k == label else GREY for k in range(n_way)]
        bars = ax.barh(range(n_way), scores.tolist(), color=colors, height=0.45)
        ax.bar_label(bars, [_number(s) for s in scores.tolist()], padding=3, fontsize=SMALL)
        ax.axvline(0, color="black", lw=0.8)
        rows = max(n_way, N_ROWS)
        ax.set(yticks=[], ylim=(rows - 0.45, -0.55), xlabel=self._quantity)
        ax.set_title("green: own class", loc="left")
        ax.margins(x=0.35)
        ax.spines["left"].set_visible(False)

    @property
    def _quantity(self) -> str:
        """What the scores are: only a network trained that way has scores between 0 and 1."""
        return "score (logit)" if self.learner.objective == "cross_entropy" else "relation score"

    def describe(self, **state: Any) -> str:
        view, chosen = self._view(**state), state["query"]
        scores, label = view.scores[chosen], int(view.labels[chosen])
        given = int(scores.argmax())
        verdict = "right" if given == label else f"wrong, it belongs to class {label}"
        return (
            f"{state['n_way']}-way {state['n_shot']}-shot, {state['aggregate']} of the support "
            f"items, episode {state['episode']}: {view.n_right} of {N_QUERIES} queries right. "
            f"Query {chosen} is given class {given} (counted from 0): {verdict}. In the table a "
            "green frame is a query's own class and a dot is the class with its highest score."
        )

    def _view(self, **state: Any) -> _View:
        return self._views(**{k: v for k, v in state.items() if k != "query"})

    @torch.no_grad()
    def _look(self, n_way: int, n_shot: int, aggregate: str, episode: int) -> _View:
        numbers = n_way, n_shot, self.n_query
        task, embedded = (
            EpisodeSampler(data, *numbers).episodes(self.seed, episode, 1)[0]
            for data in (self.dataset, self._embedded)
        )
        rows = torch.linspace(0, n_way * self.n_query - 1, N_QUERIES).round().long()
        queries, labels = task.query_x[rows], task.query_y[rows]  # some of every class
        compare = RelationNetwork(
            encoder=nn.Identity(),
            relation=self.learner.relation,
            aggregate=aggregate,
            objective=self.learner.objective,
        )
        scores = compare.adapt(embedded.support_x, embedded.support_y)(embedded.query_x[rows])
        support = task.support_x.unflatten(0, (n_way, n_shot))
        return _View(support, queries, labels, scores)
