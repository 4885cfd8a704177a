"""How good is a learner, and how sure are we? Introduced in notebook 02.

The unit of analysis is the episode: we draw fresh ones from a fixed seed, score each, and report
the mean with its 95 % interval, 1.96 * s / sqrt(n). The interval covers the sampling of episodes,
not that of training; for that, train with several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .basics.arguments import as_integer
from .engine.chunks import WORK, tasks_at_once
from .engine.heap import keep_pages
from .learners import gaussian_nll
from .learners.base import MetaLearner, as_learner
from .learners.modes import eval_mode
from .tasks import EpisodeBatch, TaskSource
from .tasks.sampler import as_task_source

__all__ = [
    "Comparison",
    "Evaluation",
    "compare_meta_learners",
    "evaluate_likelihood",
    "evaluate_meta_learner",
    "is_transductive",
    "score_one_shot_runs",
]

ScoreFunction = Callable[[Tensor, Tensor, Tensor], Tensor]

TEST_SEED = 20_000
"""Default seed of evaluation episodes, different from the seeds used in training."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of one learner on n episodes: accuracy, error rate (fractions) or squared error.

    Attributes:
        values: (n_episodes,) float64, one score per episode, in order.
        metric: "accuracy", "error rate", "mse", or "nll", the negative log-likelihood in nats.
        chance: accuracy or error rate of guessing; None for regression.
        seed, tasks: which episodes they were: 0 .. n_episodes - 1 of `seed` of this task source;
            seed None: a fixed set of tasks.
        transductive: whether queries inform each other; None if that was not checked.
        n_lost: episodes with scores or targets that are not finite. For accuracy, such queries
            count as wrong; a squared error, and its mean over the episodes, is NaN or infinite.
    """

    values: Tensor
    metric: str
    chance: float | None
    seed: int | None
    tasks: str
    transductive: bool | None = None
    n_lost: int = 0

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over episodes."""
        return self.values.mean().item()

    @property
    def std(self) -> float:
        """Standard deviation between episodes (n - 1 in the denominator)."""
        return self.values.std().item()

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval of the mean, 1.96 * std / sqrt(n)."""
        return 1.96 * self.std / math.sqrt(self.n_episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean."""
        return self.mean - self.half_width, self.mean + self.half_width

    def __str__(self) -> str:
        mean, half_width = self.mean, self.half_width
        if self.metric in ("accuracy", "error rate"):
            figure = f"{100 * mean:.1f} % +- {100 * half_width:.1f}"
            figure = f"{figure} errors" if self.metric == "error rate" else figure
        elif self.metric == "difference of accuracy":
            figure = f"{100 * mean:.1f} +- {100 * half_width:.1f} percentage points"
        else:
            figure = f"{self.metric} {mean:.3f} +- {half_width:.3f}"
        chance = "" if self.chance is None else f", chance {100 * self.chance:.1f} %"
        mode = {None: "", False: ", inductive", True: ", transductive"}[self.transductive]
        lost = f", {self.n_lost} of them with scores that are not finite" if self.n_lost else ""
        return (
            f"{figure} (95 % interval over {self.n_episodes} episodes{lost}{chance}{mode}; "
            f"{self.tasks})"
        )

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two learners on the same episodes: the paired difference, first minus second."""

    first: Evaluation
    second: Evaluation

    @property
    def difference(self) -> Evaluation:
        """Differences by episode, with their own mean and interval."""
        values = self.first.values - self.second.values
        metric = f"difference of {self.first.metric}"
        return Evaluation(values, metric, None, self.first.seed, self.first.tasks)

    @property
    def is_real(self) -> bool:
        """Whether the 95 % interval of the difference excludes 0."""
        low, high = self.difference.interval
        return low > 0 or high < 0

    def __str__(self) -> str:
        verdict = "the interval excludes 0" if self.is_real else "the interval includes 0"
        return f"first minus second: {self.difference}; {verdict}"

    __repr__ = __str__


def evaluate_meta_learner(
    learner: MetaLearner,
    tasks: TaskSource,
    *,
    n_episodes: int = 600,
    seed: int = TEST_SEED,
    chunk_size: int | None = None,
    check_transduction: bool = False,
) -> Evaluation:
    """Score a learner on fresh episodes 0 .. n_episodes - 1 of `seed`.

    The learner is put in eval mode and returned in the mode it came in. Data are moved to the
    device and the dtype of its parameters.

    Args:
        chunk_size: episodes scored at once; bounds the memory, does not change the result (unless
            an encoder normalises by batch: its statistics are those of a chunk). Default: as many
            as run fast, estimated from the work of one episode (see `engine.chunks`).
        check_transduction: also score one episode query by query, to fill in
            `Evaluation.transductive`; the scores stay the same. One forward pass per query.
    Raises:
        FloatingPointError: no finite score at all: the learner diverged. If only some episodes
            are affected, `Evaluation.n_lost` and its text say how many.
        ValueError: n_episodes below 2 (there is no interval), or another argument makes no sense.
    """
    as_learner("learner", learner)
    tasks, seed = as_task_source("tasks", tasks), as_integer("seed", seed, None)
    values, lost = score_in_chunks(_episode_scores, learner, tasks, n_episodes, seed, chunk_size)
    transductive = None
    if check_transduction:
        transductive = is_transductive(learner, tasks.episodes(seed, 0, 1))
    metric = "mse" if tasks.n_way is None else "accuracy"
    chance = None if tasks.n_way is None else 1 / tasks.n_way
    return Evaluation(values, metric, chance, seed, repr(tasks), transductive, lost)


def compare_meta_learners(
    first: MetaLearner, second: MetaLearner, tasks: TaskSource, **options: Any
) -> Comparison:
    """Evaluate two learners on the same episodes and pair the results.

    Args:
        options: those of `evaluate_meta_learner`: n_episodes, seed, chunk_size.
    Raises:
        FloatingPointError, ValueError: as `evaluate_meta_learner` does.
    """
    as_learner("first", first)
    as_learner("second", second)
    return Comparison(
        evaluate_meta_learner(first, tasks, **options),
        evaluate_meta_learner(second, tasks, **options),
    )


def evaluate_likelihood(
    learner: Any,
    tasks: TaskSource,
    *,
    n_episodes: int = 600,
    seed: int = TEST_SEED,
    chunk_size: int | None = None,
) -> Evaluation:
    """Negative log-likelihood, in nats per target, of the same episodes as `evaluate_meta_learner`.

    Introduced in notebook 10.

    Args:
        learner: a regression learner with `distribution`, such as an InContextTransformer or the
            ExactPosterior.
    Raises:
        FloatingPointError: no episode has a finite score.
        ValueError: the learner does not say how sure it is, or another argument makes no sense.
    """
    if not hasattr(as_learner("learner", learner), "distribution"):
        raise ValueError(
            f"learner must give a mean and a standard deviation, by distribution(); "
            f"{type(learner).__name__} does not"
        )
    tasks, seed = as_task_source("tasks", tasks), as_integer("seed", seed, None)
    values, lost = score_in_chunks(_likelihoods, learner, tasks, n_episodes, seed, chunk_size)
    return Evaluation(values, "nll", None, seed, repr(tasks), n_lost=lost)


def score_one_shot_runs(learner: MetaLearner, runs: EpisodeBatch) -> Evaluation:
    """Error rate of a learner in each run of the one-shot task. Introduced in notebook 12.

    Each question is answered separately, as in the published task: we do not use the fact that
    every character comes once in a run.

    Args:
        learner: any learner; it must not have seen the alphabets of the runs.
        runs: from `load_one_shot_runs`, or any classification tasks.
    Returns: an Evaluation whose values are error rates, one for each run.
    Raises:
        FloatingPointError: no finite score at all; see `evaluate_meta_learner`.
        ValueError: regression tasks, or the learner has another n_way.
    """
    as_learner("learner", learner)
    if not isinstance(runs, EpisodeBatch) or runs.n_way is None:
        got = "regression" if isinstance(runs, EpisodeBatch) else type(runs).__name__
        raise ValueError(f"runs must be classification tasks (an EpisodeBatch), got {got}")
    with eval_mode(learner), torch.no_grad():
        right, lost = _together(_episode_scores(learner, few) for few in runs.split(4))
    return Evaluation(1 - right, "error rate", 1 - 1 / runs.n_way, None, repr(runs), None, lost)


Scored = tuple[np.ndarray, np.ndarray]
"""Values (T, ...) of T tasks, and the share (T,) of their queries with finite scores; float64."""


def score_in_chunks(
    score: Callable[[Any, EpisodeBatch], Scored],
    learner: MetaLearner,
    tasks: TaskSource,
    n_episodes: int,
    seed: int,
    chunk_size: int | None,
) -> tuple[Tensor, int]:
    """`score` of episodes 0 .. n_episodes - 1 of `seed`, one row each, in eval mode, in chunks."""
    keep_pages()
    n_episodes = as_integer("n_episodes", n_episodes, 2)
    chunk_size = None if chunk_size is None else as_integer("chunk_size", chunk_size)
    with eval_mode(learner), torch.no_grad():
        step = chunk_size or tasks_at_once(lambda: score(learner, tasks.episodes(seed, 0, 1)), WORK)
        return _together(
            score(learner, tasks.episodes(seed, start, min(step, n_episodes - start)))
            for start in range(0, n_episodes, step)
        )


def _together(chunks: Iterable[Scored]) -> tuple[Tensor, int]:
    """The values of all chunks, and how many episodes have scores or errors that are not finite.

    Raises:
        FloatingPointError: no episode has a finite score.
    """
    values, answered = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.any() or not answered.any():
        raise FloatingPointError(
            f"in none of {len(values)} episodes is a score finite: did the learner diverge?"
        )
    return torch.from_dlpack(values), int(((answered < 1) | ~finite).sum())


def score_episodes(scores: Tensor, episodes: EpisodeBatch) -> Tensor:
    """(T,) float64: accuracy of each episode, or its mean squared error for regression.

    A query whose scores are not finite counts as wrong: its largest score would mean nothing, and a
    learner that diverged would look as good as chance.

    Args:
        scores: (T, Q, n_way), or (T, Q, out) for regression.
    Raises:
        ValueError: scores of another shape, which might broadcast to a wrong figure.
    """
    _check_scores(scores, episodes)
    return torch.from_dlpack(_episode_values(scores.detach(), episodes))


def _episode_values(scores: Tensor, episodes: EpisodeBatch) -> np.ndarray:
    """`score_episodes` in NumPy, because some devices do not have float64."""
    target = episodes.query_y.to(scores.device)
    if episodes.is_classification:
        right = (scores.argmax(dim=-1) == target) & scores.isfinite().all(dim=-1)
        return right.cpu().numpy().mean(axis=1)
    apart = (scores - target).float() if scores.element_size() < 4 else scores - target
    return np.square(apart.cpu().numpy(), dtype=np.float64).mean(axis=(1, 2))


def _check_scores(scores: Tensor, episodes: EpisodeBatch) -> None:
    width = episodes.query_y.shape[-1] if episodes.n_way is None else episodes.n_way
    expected = (*episodes.query_y.shape[:2], width)
    if not isinstance(scores, Tensor) or scores.shape != expected:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"scores must be {expected}, got {got}")


def share_answered(scores: Tensor) -> np.ndarray:
    """(T,) share of queries whose scores (T, Q, out) are finite."""
    return scores.isfinite().all(dim=2).cpu().numpy().mean(axis=1)


def query_by_query(score: ScoreFunction, episodes: EpisodeBatch) -> Tensor:
    """(T, Q, n_way) scores when every query of every task is scored alone.

    Args:
        score: a learner, or any function from support_x, support_y, query_x to scores.
    """
    rows = [
        score(task.support_x[None], task.support_y[None], query[None, None])
        for task in episodes
        for query in task.query_x
    ]
    return torch.cat(rows).unflatten(0, episodes.query_x.shape[:2]).squeeze(2)


def scores_differ(first: Tensor, second: Tensor) -> bool:
    """Whether two sets of scores differ by more than rounding can explain."""
    tolerance = torch.finfo(first.dtype).eps ** 0.5 * max(1.0, first.abs().max().item())
    return not (first - second).abs().max().item() <= tolerance


@torch.no_grad()
def is_transductive(learner: MetaLearner, episodes: EpisodeBatch) -> bool:
    """Whether the queries of these episodes inform each other: does scoring one by one differ?"""
    with eval_mode(learner):
        together = learner.answer(episodes)
        try:
            alone = query_by_query(learner, episodes)
        except ValueError:  # batch normalisation refuses a batch of one
            return True
    return scores_differ(together, alone)


def _episode_scores(learner: MetaLearner, episodes: EpisodeBatch) -> Scored:
    episodes = episodes.like(learner)
    scores = learner.answer(episodes)
    _check_scores(scores, episodes)
    return _episode_values(scores, episodes), share_answered(scores)


def _likelihoods(learner: Any, episodes: EpisodeBatch) -> Scored:
    episodes = episodes.like(learner)
    mean, std = learner.distribution(episodes.support_x, episodes.support_y, episodes.query_x)
    _check_scores(mean, episodes)
    rows = zip(torch.cat([mean, std], dim=-1).double(), episodes.query_y.double(), strict=True)
    values = np.array([gaussian_nll(said, target).item() for said, target in rows])
    return values, share_answered(mean)
