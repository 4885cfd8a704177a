"""A short list by distance, compared in full by a relation network. Introduced in notebook 04."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from ipywidgets import Dropdown, IntSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..learners.base import MetaLearner
from ..plotting.style import BLUE, GREEN, GREY, SMALL, VERMILLION
from ..tasks import EpisodeSampler, FewShotDataset
from .base import Explorer
from .drawing import bare, frame, tile

__all__ = ["RerankExplorer", "reranked"]

N_WAY = 20
N_QUERY = 5
N_EPISODES = 20
N_COLUMNS = 5


def reranked(first: Tensor, second: Tensor, n_kept: int) -> Tensor:
    """The class of each query: the best by `second` among the `n_kept` best by `first`.

    Args:
        first, second: scores (Q, n_way) of the cheap and of the costly comparison.
        n_kept: the length of the short list, 1 to n_way.
    Returns:
        (Q,) int64.
    Raises:
        ValueError: the shapes differ, or there is no such list.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"first is {tuple(first.shape)} and second {tuple(second.shape)}; "
            "both must be (Q, n_way)"
        )
    if not 1 <= n_kept <= first.shape[1]:
        raise ValueError(f"n_kept must lie in 1..{first.shape[1]}, got {n_kept}")
    listed = first.topk(n_kept, dim=1).indices
    best = second.gather(1, listed).argmax(dim=1, keepdim=True)
    return listed.gather(1, best)[:, 0]


@dataclass(frozen=True)
class _Scores:
    """All episodes: what both comparisons say of every pair."""

    first: Tensor  # (N_EPISODES, Q, N_WAY)
    second: Tensor  # (N_EPISODES, Q, N_WAY)
    labels: Tensor  # (N_EPISODES, Q)

    def shares(self) -> tuple[Tensor, Tensor]:
        """Share of right answers, and of lists with the own class: (N_WAY,) each, by length."""
        first, second, labels = (t.flatten(0, 1) for t in (self.first, self.second, self.labels))
        own = first.gather(1, labels[:, None])
        rank = (first > own).sum(dim=1)
        lengths = range(1, N_WAY + 1)
        right = [(reranked(first, second, m) == labels).double().mean() for m in lengths]
        return torch.stack(right), torch.stack([(rank < m).double().mean() for m in lengths])


class RerankExplorer(Explorer):
    """How many of twenty classes are compared in full, after a distance has sorted them.

    On the left the classes in the order of the distance, with the logits of those on the list. On
    the right the accuracy over 20 episodes, against the length of the list.

    Args:
        dataset: pictures with at least 20 classes of at least 6 items.
        compare: the costly comparison, and its items: the data set, perhaps embedded already.
        proposers: the cheap ones by name, each with its items.
        seed: of the episodes.
        state: first values of the controls.
    Raises:
        ValueError: there is no proposer.
    """

    title = "A short list by distance, then the relation network"
    question = (
        "How long must the list be to have nearly all of the gain? And what does the relation "
        "network do to a proposer that is better than itself?"
    )
    size = (9.6, 4.5)
    episode_control = "episode"

    def __init__(
        self,
        dataset: FewShotDataset,
        compare: tuple[MetaLearner, FewShotDataset],
        proposers: dict[str, tuple[MetaLearner, FewShotDataset]],
        *,
        seed: int = 4,
        **state: Any,
    ) -> None:
        if not proposers:
            raise ValueError("proposers is empty; it needs at least one {name: (learner, items)}")
        self.dataset, self.compare, self.proposers, self.seed = dataset, compare, proposers, seed
        self._score = lru_cache(maxsize=None)(self._score_all)
        self._second = lru_cache(maxsize=1)(lambda: self._all(*self.compare))
        super().__init__(**state)

    def refresh(self) -> None:
        self._score.cache_clear()
        self._second.cache_clear()
        super().refresh()

    def controls(self) -> dict[str, Any]:
        return {
            "proposer": Dropdown(options=list(self.proposers), description="the list is made by"),
            "n_kept": IntSlider(2, 1, N_WAY, description="classes on the list"),
            "query": IntSlider(0, 0, N_WAY - 1, description="chosen query"),
            "episode": IntSlider(0, 0, N_EPISODES - 1, description="episode"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        fig.set_layout_engine("none")  # the axes do their own layout: quicker, and nothing jumps
        place: Any = {"left": 0.01, "right": 0.985, "top": 0.91, "bottom": 0.13, "wspace": 0.16}
        left, right = fig.subplots(1, 2, width_ratios=(1.35, 1), gridspec_kw=place)
        self._draw_list(left, **state)
        self._draw_shares(right, **state)

    def _draw_list(self, ax: Axes, **state: Any) -> None:
        """The query, and the classes in the order of the proposer, five in a row."""
        first, second, label = self._of_query(**state)
        task = self._task(self.dataset, state["episode"])
        order, n_kept = first.argsort(descending=True).tolist(), state["n_kept"]
        given = int(reranked(first[None], second[None], n_kept))
        tile(ax, task.query_x[self._row(**state)][None, None], -1.6, 0)
        ax.text(-1.1, -0.1, "query", ha="center", va="bottom", fontsize=SMALL)
        for rank, k in enumerate(order):
            row, column = divmod(rank, N_COLUMNS)
            top, listed = 1.5 * row, rank < n_kept
            tile(ax, task.support_x[k][None, None] * (1 if listed else 0.3), column, top)
            if listed and n_kept > 1:
                text: Any = {"ha": "center", "va": "top", "fontsize": SMALL}
                words = f"{second[k]:z.1f}".replace("-", "\N{MINUS SIGN}")
                ax.text(column + 0.5, top + 1.04, words, **text)
            if k == label:
                frame(ax, column + 0.04, top + 0.04, 0.92, 0.92, GREEN)
            if k == given:
                ax.plot([column + 0.86], [top + 0.14], "ko", ms=8, mec="white")
        ax.set(xlim=(-1.7, N_COLUMNS + 0.05), ylim=(1.5 * N_WAY / N_COLUMNS - 0.05, -0.35))
        ax.set_aspect("equal")
        bare(ax)
        ax.set_title("frame: own class; dot: the answer; pale: not compared", loc="left")

    def _draw_shares(self, ax: Axes, **state: Any) -> None:
        right, listed = self._percent(state["proposer"])
        lengths, n_kept = range(1, N_WAY + 1), state["n_kept"]
        ax.plot(lengths, listed, ":", color=GREY)
        ax.plot(lengths, right, "-", marker=".", color=BLUE)
        ax.axhline(right[-1], color=VERMILLION, ls="--", lw=1.2)
        ax.plot([n_kept], [right[n_kept - 1]], "o", ms=11, mfc="none", mec="black", mew=2)
        names: Any = {"ha": "right", "fontsize": SMALL}
        ax.text(20.3, 100.8, "own class on the list", color=GREY, va="bottom", **names)
        ax.text(20.3, right.min() - 3, "all 20 compared (dashed)", color=VERMILLION, **names)
        ax.set(xlim=(0.4, 20.6), ylim=(min(60, right.min() - 5), 104))
        ax.set_xticks([1, 2, 5, 10, 15, 20])
        ax.set(xlabel="classes on the list", ylabel="accuracy (%)")
        ax.set_title(f"{right[n_kept - 1]:.1f} % for {_cost(n_kept)} a query", loc="left")

    def describe(self, **state: Any) -> str:
        first, second, label = self._of_query(**state)
        right, listed = self._percent(state["proposer"])
        n_kept = state["n_kept"]
        rank = int((first > first[label]).sum()) + 1
        given = int(reranked(first[None], second[None], n_kept))
        verdict = "right" if given == label else "wrong"
        return (
            f"{N_WAY}-way 1-shot, list by {state['proposer']}. With {n_kept} on the list, "
            f"{_cost(n_kept)} a query: {right[n_kept - 1]:.1f} % right, and the own class is on "
            f"{listed[n_kept - 1]:.1f} % of the lists. The distance alone has {right[0]:.1f} %, "
            f"all {N_WAY} compared {right[-1]:.1f} % ({N_EPISODES} episodes). Query "
            f"{state['query']} of episode {state['episode']}: own class at place {rank} of the "
            f"distance; the answer is {verdict}."
        )

    def _percent(self, proposer: str) -> tuple[np.ndarray, np.ndarray]:
        """As `shares`, in percent and ready to draw."""
        right, listed = self._score(proposer).shares()
        return 100 * right.numpy(), 100 * listed.numpy()

    def _row(self, **state: Any) -> int:
        """One query of each class can be chosen."""
        return N_QUERY * int(state["query"])

    def _of_query(self, **state: Any) -> tuple[Tensor, Tensor, int]:
        scores, episode, row = self._score(state["proposer"]), state["episode"], self._row(**state)
        label = int(scores.labels[episode, row])
        return scores.first[episode, row], scores.second[episode, row], label

    def _task(self, dataset: FewShotDataset, episode: int) -> Any:
        return EpisodeSampler(dataset, N_WAY, 1, N_QUERY).episodes(self.seed, episode, 1)[0]

    def _score_all(self, proposer: str) -> _Scores:
        first, _ = self._all(*self.proposers[proposer])
        second, labels = self._second()
        return _Scores(first, second, labels)

    @torch.no_grad()
    def _all(self, learner: MetaLearner, dataset: FewShotDataset) -> tuple[Tensor, Tensor]:
        tasks = [self._task(dataset, episode) for episode in range(N_EPISODES)]
        scores = [learner.adapt(t.support_x, t.support_y)(t.query_x) for t in tasks]
        return torch.stack(scores), torch.stack([t.query_y for t in tasks])


def _cost(n_kept: int) -> str:
    """With one class on the list there is nothing to compare."""
    return f"{n_kept} pairs" if n_kept > 1 else "no pair"
