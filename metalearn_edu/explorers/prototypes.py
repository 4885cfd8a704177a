"""Prototypes in the plane, with the regions in which each class wins. Introduced in notebook 03."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from ipywidgets import Dropdown, IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..learners import PrototypicalNetwork
from ..plotting import class_look, plot_embedding
from ..plotting.words import add_words
from ..tasks import EpisodeBatch, EpisodeSampler, FewShotDataset
from .base import Explorer

__all__ = ["PrototypeExplorer", "TaskView", "plot_regions", "principal_plane"]

DISTANCE_NAMES = {
    "squared Euclidean": "squared_euclidean",
    "Euclidean": "euclidean",
    "cosine": "cosine",
}
TEMPERATURES = (0.05, 0.1, 0.3, 1, 3, 10)
SHADES = 12  # from white to full colour; more would make files larger, not clearer


def principal_plane(points: Tensor) -> tuple[Tensor, Tensor]:
    """The plane in which points differ most: their mean (d,) and two unit axes (d, 2).

    A point z lies at (z - mean) @ axes in the plane. Three points that are not on one line lie
    in their plane exactly.

    Args:
        points: (N, d), N at least 3 and d at least 2.
    Raises:
        ValueError: fewer than 3 points, or only one number in each.
    """
    if points.ndim != 2 or len(points) < 3 or points.shape[1] < 2:
        raise ValueError(f"points must be (N, d) with N >= 3 and d >= 2, got {tuple(points.shape)}")
    mean = points.mean(dim=0)
    axes = torch.linalg.svd(points - mean, full_matrices=False).Vh[:2].T  # (d, 2)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))  # (1, 2)
    return mean, axes * largest.sign()  # the sign of a direction is free: its largest part is +


def plot_regions(
    score: Callable[[Tensor], Tensor],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    n_points: int = 160,
    ax: Axes,
) -> Axes:
    """Colour the plane by the class that wins; paler colours mean less confident answers.

    A point is white where the largest softmax probability is chance and full colour where it is 1.

    Args:
        score: maps points (N, 2) to scores (N, n_way).
        xlim, ylim: what to cover, in the units of the points.
        n_points: points along each side.
        ax: where to draw.
    """
    x, y = (torch.linspace(*limits, n_points) for limits in (xlim, ylim))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # (rows, columns, 2)
    scores = score(grid.flatten(0, 1)).unflatten(0, (n_points, n_points))  # (rows, columns, n_way)
    ax.imshow(
        _colors(scores).numpy(),
        extent=(*xlim, *ylim),
        origin="lower",
        interpolation="nearest",
        zorder=0,
    )
    for label in range(scores.shape[-1]):
        lead = scores[..., label] - scores.index_fill(-1, torch.tensor(label), -torch.inf).amax(-1)
        if lead.min() < 0 < lead.max():  # the class wins somewhere, but not everywhere
            line: dict[str, Any] = {"colors": "0.35", "linewidths": 0.9, "zorder": 1}
            ax.contour(x.numpy(), y.numpy(), lead.numpy(), [0.0], **line)
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_aspect("equal", adjustable="box")
    shares = scores.argmax(dim=-1).flatten().bincount(minlength=scores.shape[-1]) / n_points**2
    regions = ", ".join(f"{label} {100 * share:.0f} %" for label, share in enumerate(shares))
    add_words(ax, f"The plane coloured by the class that wins. Its parts: {regions}.")
    return ax


def _colors(scores: Tensor) -> Tensor:
    """Scores (*, n_way) to colours (*, 3): the winner's colour, paler if less certain."""
    n_way = scores.shape[-1]
    top, winner = scores.softmax(dim=-1).max(dim=-1)
    colors = torch.tensor([to_rgb(class_look(c)["color"]) for c in range(n_way)])
    sure = ((top - 1 / n_way) / (1 - 1 / n_way)).clamp(0, 1)
    strength = 0.55 * (SHADES * sure).round()[..., None] / SHADES
    return (1 - strength) + strength * colors[winner]


@dataclass(frozen=True)
class TaskView:
    """One task as a learner sees it: embeddings, answers, and the plane to see them in."""

    query_z: Tensor  # (Q, d)
    query_y: Tensor  # (Q,)
    prototypes: Tensor  # (n_way, d)
    right: Tensor  # (Q,) bool
    top: float  # mean of the largest probability
    mean: Tensor  # (d,)
    axes: Tensor  # (d, 2)

    @classmethod
    @torch.no_grad()
    def of(cls, learner: PrototypicalNetwork, batch: EpisodeBatch) -> TaskView:
        """The first task of a batch of embeddings."""
        prototypes = learner.learn_task(batch.support_x, batch.support_y)
        top, answer = learner.predict(prototypes, batch.query_x)[0].softmax(dim=-1).max(dim=-1)
        mean, axes = principal_plane(prototypes[0])
        task, right = batch[0], answer == batch[0].query_y
        return cls(task.query_x, task.query_y, prototypes[0], right, top.mean().item(), mean, axes)

    def place(self, z: Tensor) -> Tensor:
        """Embeddings (N, d) to the plane (N, 2)."""
        return (z - self.mean) @ self.axes

    def turned_to(self, other: TaskView) -> TaskView:
        """The same plane, turned or mirrored so that its prototypes lie as in `other`."""
        mine, theirs = self.place(self.prototypes), other.place(other.prototypes)
        u, _, vh = torch.linalg.svd(mine.T @ theirs)  # the best rotation (Procrustes)
        return replace(self, axes=self.axes @ u @ vh)

    @property
    def figures(self) -> str:
        """How many answers are right, and how confident they are."""
        n_right, n = int(self.right.sum()), len(self.right)
        return f"{n_right} of {n} queries right, mean top probability {self.top:.2f}"

    def draw(self, learner: PrototypicalNetwork, ax: Axes, *, aspect: float) -> None:
        """Points, prototypes and regions in axes that are `aspect` times as wide as high."""
        points, centres = self.place(self.query_z), self.place(self.prototypes)
        xlim, ylim = _limits(torch.cat([points, centres]), aspect)

        def score(plane: Tensor) -> Tensor:
            z = self.mean + plane @ self.axes.T
            return learner.predict(self.prototypes[None], z[None])[0]

        plot_embedding(points, self.query_y, prototypes=centres, legend=False, ax=ax)
        plot_regions(score, xlim, ylim, n_points=100, ax=ax)
        ring: dict[str, Any] = {"mfc": "none", "mec": "black", "mew": 1.6, "ms": 13, "ls": "none"}
        ax.plot(*points[~self.right].T.numpy(), "o", label="wrong", **ring)


class PrototypeExplorer(Explorer):
    """n_way, n_shot, the distance and its temperature, and the plane that they lead to.

    The plane is spanned by the two principal directions of the prototypes. The colours show what
    the rule would answer for a point of that plane; queries are projected onto
    it. Three prototypes lie in the plane exactly; more are approximated.

    Args:
        embedded: a data set of embeddings, from `embed_dataset`, with at least 8 classes of at
            least 20 items.
        seed: of the episodes.
    """

    title = "Prototypes in the embedding plane"
    question = (
        "Which controls move the borders between classes, and which ones change only how sure the "
        "network is?"
    )
    size = (8.6, 4.6)
    episode_control = "episode"
    n_query = 10

    def __init__(self, embedded: FewShotDataset, *, seed: int = 3, **state: Any) -> None:
        self.embedded, self.seed = embedded, seed
        super().__init__(**state)

    def controls(self) -> dict[str, Any]:
        return {
            "n_way": IntSlider(3, 3, 8, description="n_way (classes)"),
            "n_shot": IntSlider(1, 1, 10, description="n_shot (support items per class)"),
            "distance": Dropdown(options=DISTANCE_NAMES, description="distance"),
            "temperature": SelectionSlider(
                options=TEMPERATURES, value=1, description="temperature"
            ),
            "episode": IntSlider(0, 0, 19, description="episode"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        learner, view = self._view(**state)
        fig.set_layout_engine("none")  # fixed axes: quicker, and nothing jumps
        ax = fig.add_axes((0.09, 0.115, 0.745, 0.82))
        view.draw(learner, ax, aspect=0.745 * 8.6 / (0.82 * 4.6))
        ax.set_title(view.figures, loc="left")
        fig.legend(loc="center right", title="label")

    def describe(self, **state: Any) -> str:
        _, view = self._view(**state)
        name = next(name for name, key in DISTANCE_NAMES.items() if key == state["distance"])
        return (
            f"{state['n_way']}-way {state['n_shot']}-shot, {name} distance, temperature "
            f"{state['temperature']}, episode {state['episode']}: {view.figures}. Numbered circles "
            "are prototypes, small marks are queries, a black ring is a query that is given the "
            "wrong class."
        )

    def _view(
        self, n_way: int, n_shot: int, distance: str, temperature: float, episode: int
    ) -> tuple[PrototypicalNetwork, TaskView]:
        sampler = EpisodeSampler(self.embedded, n_way, n_shot, self.n_query)
        learner = PrototypicalNetwork(nn.Identity(), distance, temperature)
        return learner, TaskView.of(learner, sampler.episodes(self.seed, episode, 1))


Limits = tuple[tuple[float, float], tuple[float, float]]


def _limits(points: Tensor, aspect: float) -> Limits:
    """Limits of x and y that hold all points, with a margin, for axes of this width / height."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    width, height = (1.24 * (high - low)).tolist()
    height = max(height, width / aspect)
    half = torch.tensor([height * aspect, height]) / 2
    (x0, y0), (x1, y1) = ((low + high) / 2 - half).tolist(), ((low + high) / 2 + half).tolist()
    return (x0, x1), (y0, y1)
