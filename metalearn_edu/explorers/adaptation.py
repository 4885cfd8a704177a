"""Starts that adapt to a task while we watch: waves and letters. Introduced in notebook 05."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from ipywidgets import FloatSlider, IntSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..engine.inner_steps import Descent
from ..engine.norms import needs_support
from ..learners import MAML
from ..plotting import look, plot_curves
from ..plotting.style import GREY, SMALL, VERMILLION
from ..tasks import EpisodeSampler, FewShotDataset
from .base import Explorer
from .drawing import bare, frame, tile

__all__ = [
    "AdaptationExplorer",
    "GlyphAdaptationExplorer",
    "adaptation_path",
    "support_points",
    "wave",
]

STEP_SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
GLYPH_STEP_SIZES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
MOST_SHOTS, MOST_STEPS, MOST_GLYPH_STEPS = 20, 20, 10
ERRORS = (0.01, 0.1, 1, 10, 100)


def adaptation_path(
    learner: MAML,
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
    *,
    inner_lr: float,
    n_steps: int,
) -> Tensor:
    """A learner's answers to ONE task's queries after 0, 1, ..., n_steps inner steps.

    It follows the path once; `adapt` would start again for each number of steps.

    Args:
        support_x, support_y: (S, *item) and (S,) or (S, out).
        query_x: (Q, *item).
    Returns:
        (n_steps + 1, Q, out) without gradient; the learner is unchanged.
    Raises:
        ValueError: the learner has zero_head, which starts each loop with another head, or its
            steps or its layers carry something from one step to the next.
    """
    if learner.zero_head:
        raise ValueError("learner must be without zero_head: each step would begin with a 0 head")
    if learner.inner_rule != Descent() or needs_support(learner.model):
        raise ValueError(
            "learner must have inner_optimizer='sgd' and no inductive batch norm: what they "
            "remember would be lost from step to step"
        )
    walker = copy.deepcopy(learner).eval()
    walker.inner_lr = inner_lr
    answers = []
    with torch.no_grad():
        for _ in range(n_steps):
            answers.append(walker.model(query_x))
            walker.model.load_state_dict(walker.inner_loop(support_x, support_y, 1), strict=False)
        return torch.stack([*answers, walker.model(query_x)])


class AdaptationExplorer(Explorer):
    """Gradient descent from several starts, on a sine wave that the user chooses.

    On the left the curves after the chosen number of inner steps, on the right the error of each
    start after every number of steps.

    Args:
        learners: MAML learners of one number from one number, by name; the names of LOOK get their
            colour. They are not changed; call `refresh` if you train them further.
        state: first values of the controls.
    Raises:
        ValueError: no learner is given.
    """

    title = "Three starts, any sine wave"
    question = (
        "With 5 inner steps, how few support points does MAML's curve need? And can 20 steps "
        "replace a good start?"
    )
    size = (9.6, 3.8)
    episode_control = "points"

    def __init__(self, learners: Mapping[str, MAML], **state: Any) -> None:
        if not learners:
            raise ValueError("learners must hold at least one learner, got none")
        self.learners = dict(learners)
        self._paths = lru_cache(maxsize=4)(self._walk)
        super().__init__(**state)

    def refresh(self) -> None:
        self._paths.cache_clear()
        super().refresh()

    def controls(self) -> dict[str, Any]:
        """How to adapt, and to which points of which wave."""
        return {
            "num_inner_steps": IntSlider(5, 0, MOST_STEPS, description="inner steps"),
            "inner_lr": SelectionSlider(
                options=STEP_SIZES, value=0.01, description="inner_lr (step size)"
            ),
            "n_shot": IntSlider(10, 1, MOST_SHOTS, description="n_shot (support points)"),
            **wave_sliders(),
            "points": IntSlider(0, 0, 9, description="points (seed)"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The adapted curves, the truth and the support points; the errors by step."""
        fig.set_layout_engine("none")  # fixed axes are faster, and nothing jumps
        place: Any = {"left": 0.065, "right": 0.985, "top": 0.91, "bottom": 0.27, "wspace": 0.17}
        left, right = fig.subplots(1, 2, width_ratios=(1.35, 1), gridspec_kw=place)
        x, truth = wave(state)
        paths, steps = self._curves(state), state["num_inner_steps"]
        curves = {name: path[steps] for name, path in paths.items()}
        plot_curves(x, curves, truth=truth, support=support_points(state), ax=left)
        left.legend(loc="upper center", bbox_to_anchor=(0.8, -0.2), ncols=5, columnspacing=1.2)
        left.set(xlim=(-5.2, 5.2), ylim=(-6.5, 6.5))
        left.set_title(f"after {steps} inner step{'s' * (steps != 1)}", loc="left")
        self._draw_errors(right, _errors(paths, truth), steps)

    def _draw_errors(self, ax: Axes, errors: dict[str, Tensor], steps: int) -> None:
        shown = {name: e.clamp(ERRORS[0], ERRORS[-1]).log10() for name, e in errors.items()}
        plot_curves(range(MOST_STEPS + 1), shown, ax=ax)
        ax.legend().remove()  # that of the curves serves both
        ax.axvline(steps, color=GREY, ls=":", lw=1.2)
        for row, (name, values) in enumerate(shown.items()):
            ax.plot(steps, values[steps], **look(name, row))
        ax.set_yticks(range(-2, 3), [f"{error:g}" for error in ERRORS])
        ax.set(xlim=(-0.5, MOST_STEPS + 0.5), ylim=(-2.1, 2.1), xticks=range(0, MOST_STEPS + 1, 5))
        ax.set(xlabel="inner steps", ylabel="")
        ax.set_title("squared error on the wave, by step", loc="left")

    def describe(self, **state: Any) -> str:
        """The errors before and after, and which curves have left the plot."""
        paths, steps, points = self._curves(state), state["num_inner_steps"], state["n_shot"]
        errors = _errors(paths, wave(state)[1])
        changes = [f"{name} {e[0]:.2f} -> {_error(e[steps])}" for name, e in errors.items()]
        text = (
            f"{steps} inner step{'s' * (steps != 1)} of {state['inner_lr']} on {points} support "
            f"point{'s' * (points != 1)}. Squared error on the whole wave, before -> after: "
            f"{', '.join(changes)}."
        )
        gone = [name for name, path in paths.items() if not path[steps].abs().max() < 6.5]
        leave = "The steps are too large or the points too few"
        return text + f" {leave}: {', '.join(gone)} leaves the plot." * bool(gone)

    def _curves(self, state: dict[str, Any]) -> dict[str, Tensor]:
        """What each learner says on the grid of the wave after 0, 1, ... steps: (21, 201, 1)."""
        return self._paths(**{k: v for k, v in state.items() if k != "num_inner_steps"})

    def _walk(self, inner_lr: float, **state: Any) -> dict[str, Tensor]:
        support, (x, _) = support_points(state), wave(state)
        how: Any = {"inner_lr": inner_lr, "n_steps": MOST_STEPS}
        return {n: adaptation_path(m, *support, x, **how) for n, m in self.learners.items()}


@dataclass(frozen=True)
class _Letters:
    """One episode of letters, and the learner's answers to its queries at each step."""

    support: Tensor  # (n_way, n_shot, C, H, W)
    queries: Tensor  # (n_way, n_query, C, H, W)
    answers: Tensor  # (n_steps + 1, n_way, n_query) labels
    loss: Tensor  # (n_steps + 1,) mean cross-entropy of the queries, in nats

    @property
    def right(self) -> Tensor:
        """(n_steps + 1, n_way, n_query) bool."""
        return self.answers == torch.arange(len(self.support))[:, None]

    @property
    def accuracy(self) -> Tensor:
        """(n_steps + 1,) fractions."""
        return self.right.double().mean(dim=(1, 2))


class GlyphAdaptationExplorer(Explorer):
    """Gradient descent from a learned start, on an episode of letters.

    On the left the episode, a row per class; a query with a wrong answer has a frame and the number
    of the class that it is given. On the right the accuracy after every number of steps.

    Args:
        learner: a MAML classifier of the pictures; it is not changed.
        dataset: with at least as many classes as the learner has outputs, of at least 10 items.
        seed: of the episodes.
        state: first values of the controls.
    """

    title = "One start, any five letters"
    question = (
        "This start was trained for one step of one size. Can more and smaller steps do the same? "
        "And do more shots forgive a wrong number of steps?"
    )
    size = (9.6, 3.8)
    slow = True
    episode_control = "episode"
    n_query, most_shots = 5, 5

    def __init__(
        self, learner: MAML, dataset: FewShotDataset, *, seed: int = 6, **state: Any
    ) -> None:
        self.learner, self.dataset, self.seed = learner, dataset, seed
        self.n_way = int(learner.model.output_dim)  # type: ignore[arg-type]
        self._letters = lru_cache(maxsize=8)(self._walk)
        super().__init__(**state)

    def refresh(self) -> None:
        self._letters.cache_clear()
        super().refresh()

    def controls(self) -> dict[str, Any]:
        """How to adapt, and to which episode."""
        trained, steps = self.learner.inner_lr, self.learner.num_inner_steps
        sizes = sorted({*GLYPH_STEP_SIZES, trained})
        return {
            "num_inner_steps": IntSlider(steps, 0, MOST_GLYPH_STEPS, description="inner steps"),
            "inner_lr": SelectionSlider(
                options=sizes, value=trained, description="inner_lr (step size)"
            ),
            "n_shot": IntSlider(
                1, 1, self.most_shots, description="n_shot (support items per class)"
            ),
            "episode": IntSlider(0, 0, 19, description="episode"),
        }

    def draw(self, fig: Figure, **state: Any) -> None:
        """The episode with the answers at this step; the accuracy by step."""
        fig.set_layout_engine("none")
        place: Any = {"left": 0.03, "right": 0.92, "top": 0.91, "bottom": 0.15, "wspace": 0.1}
        left, right = fig.subplots(1, 2, width_ratios=(1.6, 1), gridspec_kw=place)
        view, steps = self._view(state), state["num_inner_steps"]
        self._draw_episode(left, view, steps)
        percent = 100 * view.accuracy
        right.axhline(100 / self.n_way, color=GREY, ls=":", lw=1.2)
        right.text(10.7, 100 / self.n_way, "chance", va="center", fontsize=SMALL, color=GREY)
        right.axvline(steps, color=GREY, ls=":", lw=1.2)
        right.plot(range(len(percent)), percent, **look("MAML"))
        right.set(ylim=(-2, 102), xticks=range(0, MOST_GLYPH_STEPS + 1, 2), xlabel="inner steps")
        right.set_title("query accuracy (%), by step", loc="left")

    def _draw_episode(self, ax: Axes, view: _Letters, steps: int) -> None:
        n_way, n_query = view.queries.shape[:2]
        gap = view.support.shape[1] + 0.6
        tile(ax, view.support, 0, -0.5)
        tile(ax, view.queries, gap, -0.5)
        for row, column in (~view.right[steps]).nonzero().tolist():
            frame(ax, gap + column + 0.03, row - 0.47, 0.94, 0.94, VERMILLION)
            given = str(int(view.answers[steps, row, column]))
            corner: Any = {"ha": "right", "va": "top", "color": VERMILLION, "fontsize": SMALL}
            paper: Any = {"fc": "white", "ec": "none", "pad": 1}
            ax.text(gap + column + 0.9, row - 0.45, given, weight="bold", bbox=paper, **corner)
        ax.set(xlim=(-0.1, self.most_shots + n_query + 0.65), ylim=(n_way - 0.45, -0.55))
        ax.set_anchor("W")
        bare(ax)
        ax.set_yticks(range(n_way))
        ax.tick_params(length=0)
        ax.set_title("support", loc="left")
        ax.text(gap, -0.68, f"queries: {int(view.right[steps].sum())} of {n_way * n_query} right")

    def describe(self, **state: Any) -> str:
        """How many queries are right: before any step, now, and at best."""
        view, steps = self._view(state), state["num_inner_steps"]
        right = view.right.sum(dim=(1, 2))
        best = int(right.argmax())
        return (
            f"{self.n_way}-way {state['n_shot']}-shot, {steps} inner step{'s' * (steps != 1)} of "
            f"{state['inner_lr']}: {int(right[steps])} of {self.n_way * self.n_query} queries "
            f"right, loss {_error(view.loss[steps])} nats; {int(right[0])} right before any step. "
            f"The best number of steps here is {best}, with {int(right[best])} right. A framed "
            "query is wrong, and the number in it is the class that it was assigned to."
        )

    def _view(self, state: dict[str, Any]) -> _Letters:
        return self._letters(**{k: v for k, v in state.items() if k != "num_inner_steps"})

    def _walk(self, inner_lr: float, n_shot: int, episode: int) -> _Letters:
        sampler = EpisodeSampler(self.dataset, self.n_way, n_shot, self.n_query)
        task = sampler.episodes(self.seed, episode, 1)[0]
        how: Any = {"inner_lr": inner_lr, "n_steps": MOST_GLYPH_STEPS}
        scores = adaptation_path(self.learner, task.support_x, task.support_y, task.query_x, **how)
        loss = torch.stack([self.learner.loss_fn(s, task.query_y) for s in scores])
        shape = (self.n_way, self.n_query)
        return _Letters(
            task.support_x.unflatten(0, (self.n_way, n_shot)),
            task.query_x.unflatten(0, shape),
            scores.argmax(dim=2).unflatten(1, shape),
            loss,
        )


def wave_sliders(phase: float = 0.4) -> dict[str, FloatSlider]:
    """Controls for the wave: its amplitude and its phase, which begins at `phase`."""
    return {
        "amplitude": FloatSlider(3.0, min=0.1, max=5.0, step=0.1, description="amplitude"),
        "phase": FloatSlider(phase, min=0.0, max=3.1, step=0.1, description="phase (radians)"),
    }


def wave(state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """A grid x (201, 1) and the true y there, of a state with amplitude and phase."""
    x = torch.linspace(-5, 5, 201)[:, None]
    return x, _sine(x, state)


def support_points(state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Support points (n_shot, 1) each; one more shot keeps the others where they are."""
    generator = torch.Generator().manual_seed(state["points"])
    x = 10 * torch.rand(MOST_SHOTS, 1, generator=generator)[: state["n_shot"]] - 5
    return x, _sine(x, state)


def _sine(x: Tensor, state: dict[str, Any]) -> Tensor:
    return state["amplitude"] * torch.sin(x - state["phase"])


def _errors(paths: dict[str, Tensor], truth: Tensor) -> dict[str, Tensor]:
    """Squared error after 0, 1, ... steps; infinite where a path has diverged."""
    errors = {name: (path - truth).square().mean(dim=(1, 2)) for name, path in paths.items()}
    return {name: e.nan_to_num(torch.inf, torch.inf) for name, e in errors.items()}


def _error(value: Tensor) -> str:
    return f"{value:.2f}" if value < 1e4 else "diverges"
