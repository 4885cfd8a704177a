"""The outer loop, for any learner on any task source. Introduced in notebook 03.

Episode i of the training seed is a function of (seed, i), so a run that was stopped resumes at its
step with the same episodes, and with the optimiser's state it gives the same numbers.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .checkpoints import CheckpointFolder
from .evaluation import evaluate_meta_learner
from .learners.base import MetaLearner
from .tasks import EpisodeBatch, TaskSource

__all__ = ["History", "meta_train"]

VALIDATION_SEED = 10_000
Schedule = Callable[[float], float]

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}
"""Factor on meta_lr by name, as a function of the share of the run that is done, 0 to 1."""


@dataclass
class History:
    """What happened in a run of `meta_train`.

    Attributes:
        losses: meta-training loss of each step.
        val_steps, val_scores: after which steps we validated, and the mean score on the
            meta-val episodes (accuracy as a fraction, or squared error).
        best_step: the validated step whose weights the learner holds now; None: the last step.
        interrupted: whether the run was stopped by hand.
        seconds: wall-clock time of the run, that before a resumption included.
    """

    losses: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    val_scores: list[float] = field(default_factory=list)
    best_step: int | None = None
    interrupted: bool = False
    seconds: float = field(default=0.0, compare=False)

    @property
    def n_steps(self) -> int:
        """Outer steps taken."""
        return len(self.losses)


def meta_train(
    learner: MetaLearner,
    tasks: TaskSource,
    *,
    n_steps: int,
    n_tasks_per_batch: int = 16,
    seed: int = 0,
    meta_lr: float | None = None,
    schedule: str | Schedule = "constant",
    max_grad_norm: float | None = None,
    val_tasks: TaskSource | None = None,
    val_every: int = 500,
    n_val_episodes: int = 200,
    chunk_size: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 500,
    progress: bool = True,
) -> History:
    """Take `n_steps` outer steps with Adam; the learner is changed in place.

    With `val_tasks`, the learner is scored on the same meta-val episodes every `val_every` steps
    and ends with the best weights. Ctrl-C (or the notebook's stop button) ends the run and returns
    the history so far.

    Args:
        learner: any MetaLearner.
        tasks: where meta-training episodes come from.
        n_steps: outer steps in all, those of a resumed checkpoint included.
        n_tasks_per_batch: episodes per outer step.
        seed: of the episodes; step k uses n_tasks_per_batch episodes from k * n_tasks_per_batch.
        meta_lr: Adam's step size; default: the learner's own `meta_lr`.
        schedule: "constant", "cosine" (to 0), or a function from progress (0 to 1) to a factor.
        max_grad_norm: shrink the meta-gradient to at most this norm.
        val_tasks: meta-val task source.
        chunk_size: back-propagate this many tasks at a time: same gradient, less memory.
        checkpoint: folder to keep the state of the run in; if it holds one, the run resumes.
        progress: show a progress bar.
    Raises:
        FloatingPointError: the loss or its gradient is not finite; the message names the step. The
            learner keeps the weights it had before that step.
        ValueError: a count below 1, an unknown schedule, or a checkpoint of another run.
    """
    counts = {"n_steps": n_steps, "n_tasks_per_batch": n_tasks_per_batch, "val_every": val_every}
    _check_positive(**counts, n_val_episodes=n_val_episodes, checkpoint_every=checkpoint_every)
    factor = _schedule(schedule)
    run = _Run(learner, learner.meta_lr if meta_lr is None else meta_lr)
    store = None
    if checkpoint is not None:
        settings = {"seed": seed, "n_tasks_per_batch": n_tasks_per_batch, "tasks": repr(tasks)}
        settings |= {"meta_lr": run.meta_lr, "max_grad_norm": max_grad_norm}
        # Only a run at constant meta_lr can be made longer and still give the same numbers.
        settings |= {} if schedule == "constant" else {"n_steps": n_steps}
        store = CheckpointFolder(Path(checkpoint), settings)
        run.resume(store)
    bar = tqdm(total=n_steps, initial=run.history.n_steps, disable=not progress)
    learner.train()
    started = time.perf_counter() - run.history.seconds
    try:
        for step in range(run.history.n_steps, n_steps):
            run.set_lr(factor(step / n_steps))
            batch = tasks.episodes(seed, step * n_tasks_per_batch, n_tasks_per_batch)
            run.step(batch, max_grad_norm, chunk_size)
            bar.set_postfix(loss=f"{run.history.losses[-1]:.3f}", refresh=False)
            bar.update()
            run.history.seconds = time.perf_counter() - started
            last = step + 1 == n_steps
            if val_tasks and (last or (step + 1) % val_every == 0):
                run.validate(val_tasks, n_val_episodes)
            if store and (last or (step + 1) % checkpoint_every == 0):
                run.save(store)
    except KeyboardInterrupt:
        run.history.interrupted = True
    finally:
        bar.close()
        run.restore_best()
    return run.history


class _Run:
    """The state of one run: learner, optimiser, history, best weights so far."""

    def __init__(self, learner: MetaLearner, meta_lr: float) -> None:
        if not 0 < meta_lr < math.inf:
            raise ValueError(f"meta_lr must be above 0 and finite, got {meta_lr}")
        self.learner, self.meta_lr, self.history = learner, meta_lr, History()
        self.optimizer = torch.optim.Adam(learner.parameters(), lr=meta_lr)
        self.best: dict[str, Tensor] = {}

    def set_lr(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.meta_lr * factor

    def step(
        self, batch: EpisodeBatch, max_grad_norm: float | None, chunk_size: int | None
    ) -> None:
        like = next(self.learner.parameters())
        try:
            loss = self.learner.outer_loop(
                batch.to(like.device, like.dtype),
                optimizer=self.optimizer,
                max_grad_norm=max_grad_norm,
                chunk_size=chunk_size,
            )
        except FloatingPointError as error:
            raise FloatingPointError(
                f"training stopped at step {self.history.n_steps}: {error}; try a smaller meta_lr "
                f"(now {self.meta_lr}) or inner_lr, or max_grad_norm=10"
            ) from None
        self.history.losses.append(loss)

    def validate(self, val_tasks: TaskSource, n_episodes: int) -> None:
        history = self.history
        result = evaluate_meta_learner(
            self.learner, val_tasks, n_episodes=n_episodes, seed=VALIDATION_SEED
        )
        history.val_steps.append(history.n_steps)
        history.val_scores.append(result.mean)
        pick = max if result.metric == "accuracy" else min
        if pick(history.val_scores) == result.mean:
            history.best_step = history.n_steps
            self.best = copy.deepcopy(self.learner.state_dict())

    def restore_best(self) -> None:
        if self.best:
            self.learner.load_state_dict(self.best)

    def save(self, store: CheckpointFolder) -> None:
        moments = self.optimizer.state_dict()["state"]
        tensors = {f"learner.{name}": t for name, t in self.learner.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"adam.{i}.{key}": t for i, m in moments.items() for key, t in m.items()}
        store.save(self.history.n_steps, tensors, asdict(self.history))

    def resume(self, store: CheckpointFolder) -> None:
        saved = store.load()
        if saved is None:
            return
        tensors, history = saved
        self.history = History(**history)
        self.learner.load_state_dict(_part(tensors, "learner."))
        self.best = _part(tensors, "best.")
        state = self.optimizer.state_dict()
        for address, tensor in _part(tensors, "adam.").items():
            index, key = address.split(".")
            state["state"].setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(state)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _schedule(schedule: str | Schedule) -> Schedule:
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise ValueError(
            f"schedule must be {' or '.join(SCHEDULES)} or a function, got {schedule!r}"
        )
    return SCHEDULES[schedule]


def _check_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
