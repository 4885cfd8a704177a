"""What if the episodes, letters or scripts were drawn again? Introduced in notebook 02.

An interval over episodes takes the pool of classes as given. The **bootstrap** asks what another
pool would have given: it draws new classes from the existing ones, with replacement, and scores the
new pool. What is unusual: we do not score a pool by drawing episodes from it, because their luck
would hide the differences; we compute its accuracy exactly. With one shot, a query is right if its
support item is closer than those of the other classes, and the probability of that is a sum over
sets of classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ipywidgets import Dropdown, IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation import Evaluation
from ..plotting.style import BLACK, BLUE, GREY, SMALL, VERMILLION
from ..tasks import FewShotDataset
from .base import Explorer

__all__ = ["BootstrapExplorer", "draw_classes", "farther_shares", "pool_accuracy"]

N_WAY = 5
UNITS = ("episodes", "classes", "groups")
N_EPISODES = (1, 10, 100, 600, 6000)
REDRAWS, FEWEST = 400, 20
Array = np.ndarray


def farther_shares(
    embedded: FewShotDataset, *, n_pairs: int = 80, rng: np.random.Generator
) -> Array:
    """How often another class does not interfere: shares (K, n_pairs, K).

    We draw pairs of a query and a support item of class c. Entry [c, i, k] is the share of the
    items of class k that are farther from the query of pair i than its support item is.

    Args:
        embedded: K classes with at least 2 items each, all vectors or flattened pictures.
        n_pairs: pairs of each class.
    Raises:
        ValueError: a class has only one item.
    """
    if embedded.class_sizes.min() < 2:
        raise ValueError(f"every class needs at least 2 items, got {embedded.class_sizes.tolist()}")
    z = embedded.items.flatten(1).double().numpy()
    items = [np.flatnonzero(embedded.labels.numpy() == c) for c in range(embedded.n_classes)]
    shares = np.empty((len(items), n_pairs, len(items)))
    for c, own in enumerate(items):
        squared = _squared_distances(z[own], z)  # (items of c, N)
        query, support = _pairs(len(own), n_pairs, rng)
        limit = squared[query, own[support]][:, None]  # (n_pairs, 1)
        farther = squared[query] > limit  # (n_pairs, N)
        shares[c] = np.stack([farther[:, of_k].mean(axis=1) for of_k in items], axis=1)
    return shares


def _squared_distances(a: Array, b: Array) -> Array:
    """Squared distances (len(a), len(b)) of points (n, d) from their common centre."""
    a, b = a - b.mean(axis=0), b - b.mean(axis=0)
    return (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)


def _pairs(n_items: int, n_pairs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Numbers of n_pairs queries and other items; every item is a query equally often."""
    query = np.arange(n_pairs) % n_items
    return query, (query + rng.integers(1, n_items, n_pairs)) % n_items


def pool_accuracy(shares: Array, counts: Array) -> Array:
    """Accuracy (B,) of 5-way 1-shot episodes, infinitely many, from each of B pools of classes.

    Args:
        shares: (K, n_pairs, K), from `farther_shares`.
        counts: (B, K), how often each class is in a pool. An episode has five different classes;
            a set of classes comes up as often as the product of their counts says.
    Raises:
        ValueError: a pool has fewer than 5 different classes.
    Source: the sum over sets of four other classes is an elementary symmetric polynomial (Newton's
        identities); the accuracy is that of the products of shares over that of ones.
    """
    fewest = int((counts > 0).sum(axis=1).min())
    if fewest < N_WAY:
        raise ValueError(f"a pool needs {N_WAY} different classes, got {fewest}")
    right, asked = np.zeros(len(counts)), np.zeros(len(counts))
    for c, share in enumerate(shares):
        others = counts * (np.arange(counts.shape[1]) != c)  # (B, K)
        right += counts[:, c] * _sets_of_four(share, others).mean(axis=0)
        asked += counts[:, c] * _sets_of_four(np.ones((1, counts.shape[1])), others)[0]
    return right / asked


def _sets_of_four(shares: Array, counts: Array) -> Array:
    """Sum over all sets of four classes of the product of counts * shares, (n_pairs, B)."""
    s1, s2, s3, s4 = (shares**j @ (counts.T.astype(float) ** j) for j in (1, 2, 3, 4))
    return (s1**4 - 6 * s1**2 * s2 + 3 * s2**2 + 8 * s1 * s3 - 6 * s4) / 24


def draw_classes(groups: Array, unit: str, n_pools: int, rng: np.random.Generator) -> Array:
    """How often each class is in each of n_pools pools, (n_pools, K), drawn with replacement.

    Args:
        groups: (K,) the number of the group of each class, from 0.
        unit: what is drawn again: "episodes" (every class stays, once), "classes", or "groups":
            whole groups with all their classes.
    """
    if unit == "episodes":
        return np.ones((n_pools, len(groups)), int)
    n = len(groups) if unit == "classes" else groups.max() + 1
    counts = rng.multinomial(n, np.full(n, 1 / n), n_pools)
    return counts if unit == "classes" else counts[:, groups]


@dataclass(frozen=True)
class _Pool:
    """A learner on a pool of classes: what is needed to score it on any other draw of them."""

    shares: Array  # (K, n_pairs, K)
    groups: Array  # (K,)
    names: list[str]  # of the groups
    mean: float  # accuracy on the pool as it is, in percent
    scores: Array  # (n,) of measured episodes, in points from their mean

    @classmethod
    def of(cls, embedded: FewShotDataset, measured: Evaluation) -> _Pool:
        shares = farther_shares(embedded, rng=np.random.default_rng(0))
        groups = np.array([embedded.groups.index(g) for g in embedded.class_groups])
        exact = 100 * pool_accuracy(shares, np.ones((1, len(groups)))).item()
        scores = 100 * (measured.values.numpy() - measured.mean)
        return cls(shares, groups, list(embedded.groups), exact, scores)


@dataclass(frozen=True)
class _View:
    """The results of all repetitions, in percent."""

    pool: _Pool
    counts: Array  # (n_redraws, K)
    results: Array  # (n_redraws,)
    formula: float  # 1.96 s / sqrt(n), in points

    @property
    def interval(self) -> tuple[float, float] | None:
        """The range that holds 95 % of the results; None for fewer than 20 results."""
        if len(self.results) < FEWEST:
            return None
        low, high = np.percentile(self.results, [2.5, 97.5])
        return float(low), float(high)

    @property
    def width(self) -> str:
        """Half of the interval in words."""
        if self.interval is None:
            return f"too few for a range; go on to {FEWEST}"
        return f"± {(self.interval[1] - self.interval[0]) / 2:.1f} points"


class BootstrapExplorer(Explorer):
    """The evaluation is repeated, with its episodes, its letters or its scripts drawn again.

    Each repetition draws a pool of classes, takes the exact accuracy on it, and adds the luck of
    n_episodes episodes: for one episode this is the score of the next task.

    Args:
        learners: by name, the classes as embedded by a learner (for nearest pixel: the pictures),
            and its 5-way 1-shot evaluation on episodes of these classes.
        class_word, group_word: what classes and groups are called, in the plural.
    """

    title = "What if it were drawn again?"
    question = (
        "How wide is the 95 % range when only the episodes are drawn again, and how wide when the "
        "letters are, or whole scripts? Which of these ranges do more episodes make narrower?"
    )
    size = (9.0, 4.3)
    episode_control, episode_label = "n_redraws", "Draw again"

    def __init__(
        self,
        learners: Mapping[str, tuple[FewShotDataset, Evaluation]],
        *,
        class_word: str = "letters",
        group_word: str = "scripts",
        **state: Any,
    ) -> None:
        self.pools = {name: _Pool.of(*learner) for name, learner in learners.items()}
        self.words = dict(zip(UNITS, ("episodes", class_word, group_word), strict=True))
        self._exact: dict[tuple[str, str], tuple[Array, Array]] = {}
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        units = {f"{self.words[unit]}{' only' * (unit == 'episodes')}": unit for unit in UNITS}
        return {
            "learner": Dropdown(options=list(self.pools), description="learner"),
            "unit": Dropdown(options=units, description="what is drawn again"),
            "n_episodes": SelectionSlider(
                options=N_EPISODES, value=600, description="episodes in an evaluation"
            ),
            "n_redraws": IntSlider(20, 1, REDRAWS, description="repetitions"),
        }

    def range(self, **state: Any) -> tuple[float, float]:
        """The range that holds 95 % of the repetitions of a state, in percent.

        Raises:
            ValueError: fewer than 20 repetitions, or no such control.
        """
        self._check_names(state)
        view = self._view(**{**self.state, **state})
        ends = view.interval
        if ends is None:
            raise ValueError(f"n_redraws must be at least {FEWEST}, got {len(view.results)}")
        return ends

    def draw(self, fig: Figure, **state: Any) -> None:
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        place: Any = {"left": 0.06, "right": 0.985, "top": 0.9, "bottom": 0.135, "wspace": 0.12}
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.15), gridspec_kw=place)
        view = self._view(**state)
        self._draw_pool(left, view, state["unit"])
        self._draw_results(right, view)

    def describe(self, **state: Any) -> str:
        view = self._view(**state)
        what = "the score of one task" if state["n_episodes"] == 1 else "the mean"
        also = "" if state["unit"] == "episodes" else f" and {self.words[state['unit']]}"
        found = f"the newest repetition has {view.results[-1]:.1f} %, {view.width}"
        if view.interval is not None:
            low, high = view.interval
            found = f"95 % of them put {what} between {low:.1f} and {high:.1f} %, {view.width}"
        return (
            f"{state['learner']}: {state['n_redraws']} repetitions of an evaluation with "
            f"n = {state['n_episodes']}, with new episodes{also}. Here {found}. The formula, "
            f"1.96 s / √n, says ± {view.formula:.1f}."
        )

    def _draw_pool(self, ax: Axes, view: _View, unit: str) -> None:
        """How often each class is in the newest pool, group by group."""
        counts, groups = view.counts[-1], view.pool.groups
        order = np.argsort(groups, kind="stable")
        for number, name in enumerate(view.pool.names):
            where = np.flatnonzero(groups[order] == number)
            hatch = ("", "///", "...")[number % 3]
            look: Any = {"color": (BLUE, VERMILLION, GREY)[number % 3], "alpha": 0.8}
            ax.bar(where, counts[order][where], width=1, hatch=hatch, ec="white", lw=0, **look)
            ax.text(where.mean(), 6.55, name, ha="center", fontsize=SMALL)
            ax.axvline(where[-1] + 0.5, color="0.8", lw=1)
        ax.set(ylim=(0, 7), xlim=(-1, len(groups)), xticks=[])
        ax.set_xlabel(f"the {len(groups)} {self.words['classes']}, each a bar")
        ax.set_title(
            f"newest: {(counts > 0).sum()} of {len(groups)} {self.words['classes']}", loc="left"
        )
        ax.set_ylabel("times drawn", labelpad=2)

    def _draw_results(self, ax: Axes, view: _View) -> None:
        """A dot for each repetition, in columns, the newest marked; below them both ranges."""
        width = next(w for w in (0.1, 0.25, 0.5, 1, 2, 4) if np.ptp(view.results) < 40 * w)
        bins = np.round(view.results / width).astype(int)
        heights = np.array([(bins[:i] == b).sum() for i, b in enumerate(bins)])
        ax.plot(bins * width, heights, "o", color=GREY, ms=4)
        ax.plot(bins[-1] * width, heights[-1], "X", color=BLACK, ms=9, label="newest")
        top, mean = max(10.0, 1.25 * heights.max()), view.pool.mean
        ranges = {"95 % of the repetitions": (view.interval, BLUE, "-", 0.1)}
        formula = mean - view.formula, mean + view.formula
        ranges["the formula, ± 1.96 s / √n"] = (formula, VERMILLION, "--", 0.22)
        for name, (ends, color, dash, down) in ranges.items():
            if ends is not None:
                look: Any = {"ls": dash, "marker": "|", "ms": 12, "color": color, "label": name}
                ax.plot(ends, [-down * top] * 2, **look)
        reach = max(3.0, 1.1 * view.formula, 1.1 * np.abs(view.results - mean).max())
        ax.set(xlim=(mean - reach, mean + reach), ylim=(-0.3 * top, 1.45 * top), yticks=[])
        ax.set_xlabel("accuracy (%), a dot for each repetition")
        ax.legend(loc="upper left", fontsize=SMALL, borderpad=0, labelspacing=0.2)
        ax.set_title(view.width, loc="left")

    def _view(self, learner: str, unit: str, n_episodes: int, n_redraws: int) -> _View:
        pool = self.pools[learner]
        counts, exact = self._pools_of(learner, unit)
        drawn = np.random.default_rng(1).choice(pool.scores, (REDRAWS, n_episodes))
        results = (exact + drawn.mean(axis=1))[:n_redraws]
        formula = 1.96 * pool.scores.std(ddof=1) / math.sqrt(n_episodes)
        return _View(pool, counts[:n_redraws], results, formula)

    def _pools_of(self, learner: str, unit: str) -> tuple[Array, Array]:
        """Pools and their exact accuracies in percent, the same for every setting; kept."""
        if (learner, unit) not in self._exact:
            pool = self.pools[learner]
            rng = np.random.default_rng(0)
            counts = draw_classes(pool.groups, unit, REDRAWS, rng)
            distinct, which = np.unique(counts, axis=0, return_inverse=True)
            exact = 100 * pool_accuracy(pool.shares, distinct)[which.ravel()]
            self._exact[learner, unit] = counts, exact
        return self._exact[learner, unit]
