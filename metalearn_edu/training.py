"""The outer loop, for any learner on any task source. Introduced in notebook 03.

Episode i of the training seed is a function of (seed, i), so a run that was stopped resumes at its
step with the same episodes, and with the optimiser's state it gives the same numbers.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .arguments import as_integer
from .checkpoints import CheckpointFolder
from .evaluation import episodes_for, evaluate_meta_learner
from .learners.base import MetaLearner
from .progress import progress_bar
from .tasks import TaskSource
from .tasks.random import uniforms
from .tasks.sampler import as_task_source

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
        interrupted: whether the run was stopped by hand before its last step.
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
    and after the last, and ends with the best weights. Ctrl-C (or the notebook's stop button) ends
    the run after the step in hand and returns the history so far; pressed twice, it ends at once.

    Args:
        learner: any MetaLearner.
        tasks: where meta-training episodes come from.
        n_steps: outer steps in all, those of a resumed checkpoint included.
        n_tasks_per_batch: episodes per outer step.
        seed: of the episodes, step k using n_tasks_per_batch of them from k * n_tasks_per_batch,
            and of dropout. torch's own random numbers are the same before and after.
        meta_lr: Adam's step size; default: the learner's own `meta_lr`.
        schedule: "constant", "cosine" (to 0), or a function from progress (0 to 1) to a factor.
        max_grad_norm: shrink the meta-gradient to at most this norm.
        val_tasks: meta-val task source.
        chunk_size: back-propagate this many tasks at a time: same gradient, less memory.
        checkpoint: folder to keep the state of the run in, every `checkpoint_every` steps and when
            it is stopped; if it holds one, the run resumes and gives the numbers that it would
            have given without the stop.
        progress: show a progress bar.
    Raises:
        FloatingPointError: the loss or its gradient is not finite; the message names the step,
            which is not taken. The learner keeps the weights that it had (the best, if validated).
        ValueError: an argument that makes no sense, or a checkpoint of another run.
        OSError: the checkpoint folder cannot be written.
    """
    run = _Run(
        learner,
        as_task_source("tasks", tasks),
        n_steps=as_integer("n_steps", n_steps),
        n_tasks_per_batch=as_integer("n_tasks_per_batch", n_tasks_per_batch),
        seed=as_integer("seed", seed, None),
        meta_lr=learner.meta_lr if meta_lr is None else meta_lr,
        schedule=schedule,
        max_grad_norm=max_grad_norm,
        val_tasks=None if val_tasks is None else as_task_source("val_tasks", val_tasks),
        val_every=as_integer("val_every", val_every),
        n_val_episodes=as_integer("n_val_episodes", n_val_episodes, 2),
        chunk_size=chunk_size,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_every=as_integer("checkpoint_every", checkpoint_every),
    )
    run.resume()
    bar = progress_bar(total=n_steps, initial=run.history.n_steps, show=progress)
    learner.train()
    try:
        with _stop_button() as stop, torch.random.fork_rng(devices=_gpus(learner)):
            run.go(stop, bar)
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
        run.restore_best()
    run.history.interrupted = run.history.n_steps < n_steps
    return run.history


@contextmanager
def _stop_button() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the step in hand is finished.

    The second Ctrl-C raises KeyboardInterrupt as usual. So does the first where we may not listen:
    outside the main thread, or where somebody else listens already.
    """
    pressed = threading.Event()

    def press(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class _Run:
    """The settings of one run and its state: learner, optimiser, history, best weights so far."""

    learner: MetaLearner
    tasks: TaskSource
    _: KW_ONLY
    n_steps: int
    n_tasks_per_batch: int
    seed: int
    meta_lr: float
    schedule: str | Schedule
    max_grad_norm: float | None
    val_tasks: TaskSource | None
    val_every: int
    n_val_episodes: int
    chunk_size: int | None
    checkpoint: Path | None
    checkpoint_every: int

    def __post_init__(self) -> None:
        for name in ("meta_lr", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value}")
        self.factor = _schedule(self.schedule)
        self.history = History()
        self.optimizer = torch.optim.Adam(self.learner.parameters(), lr=self.meta_lr)
        self.best: dict[str, Tensor] = {}
        self.store = None
        if self.checkpoint is not None:
            self.store = CheckpointFolder(self.checkpoint, self._settings())

    def go(self, stop: threading.Event, bar: tqdm) -> None:
        """Take the steps that are left, until `stop` is set."""
        started = time.perf_counter() - self.history.seconds
        while self.history.n_steps < self.n_steps and not stop.is_set():
            self.step()
            bar.set_postfix(loss=f"{self.history.losses[-1]:.3f}", refresh=False)
            bar.update()
            if self._due(self.val_every):
                self.validate()
            self.history.seconds = time.perf_counter() - started
            if stop.is_set() or self._due(self.checkpoint_every):
                self.save()

    def _due(self, every: int) -> bool:
        return self.history.n_steps % every == 0 or self.history.n_steps == self.n_steps

    def step(self) -> None:
        """One outer step, all of it a function of the seed, its number and the state before."""
        number, size = self.history.n_steps, self.n_tasks_per_batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.meta_lr * self.factor(number / self.n_steps)
        torch.manual_seed(int(uniforms(self.seed, number, 1, 1)[0, 0] * 2**53))
        try:
            loss = self.learner.outer_loop(
                episodes_for(self.learner, self.tasks.episodes(self.seed, number * size, size)),
                optimizer=self.optimizer,
                max_grad_norm=self.max_grad_norm,
                chunk_size=self.chunk_size,
            )
        except FloatingPointError as error:
            raise FloatingPointError(
                f"training stopped at step {number + 1}, which was not taken: {error}; try a "
                f"smaller meta_lr (now {self.meta_lr}) or inner_lr, or max_grad_norm=10"
            ) from None
        self.history.losses.append(loss)

    def validate(self) -> None:
        """Score the learner, and keep its weights if they are the best so far."""
        if self.val_tasks is None:
            return
        history = self.history
        result = evaluate_meta_learner(
            self.learner, self.val_tasks, n_episodes=self.n_val_episodes, seed=VALIDATION_SEED
        )
        history.val_steps.append(history.n_steps)
        history.val_scores.append(result.mean)
        pick = max if result.metric == "accuracy" else min
        finite = [score for score in history.val_scores if math.isfinite(score)]
        if finite and result.mean == pick(finite):
            history.best_step = history.n_steps
            self.best = copy.deepcopy(self.learner.state_dict())

    def restore_best(self) -> None:
        if self.best:
            self.learner.load_state_dict(self.best)

    def save(self) -> None:
        """Write the whole state to the checkpoint folder, if there is one."""
        if self.store is None:
            return
        moments = self.optimizer.state_dict()["state"]
        tensors = {f"learner.{name}": t for name, t in self.learner.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"adam.{i}.{key}": t for i, m in moments.items() for key, t in m.items()}
        self.store.save(self.history.n_steps, tensors, asdict(self.history))

    def resume(self) -> None:
        """Go on from the checkpoint folder; if it is empty, save there.

        So a folder that cannot be written is found out before the first step.
        """
        saved = None if self.store is None else self.store.load()
        if saved is None:
            self.save()
            return
        tensors, history = saved
        self.history = History(**history)
        if self.history.n_steps > self.n_steps:
            raise ValueError(
                f"checkpoint {self.checkpoint} has taken {self.history.n_steps} steps already, "
                f"more than n_steps={self.n_steps}; give another folder"
            )
        try:
            self.learner.load_state_dict(_part(tensors, "learner."))
        except RuntimeError as error:
            raise ValueError(
                f"checkpoint {self.checkpoint} is of a learner with other weights; give another "
                f"folder, or remove it to start afresh: {error}"
            ) from None
        self.best = _part(tensors, "best.")
        state = self.optimizer.state_dict()
        for address, tensor in _part(tensors, "adam.").items():
            index, key = address.split(".")
            state["state"].setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(state)

    def _settings(self) -> dict[str, Any]:
        """What must be equal for a run to resume, as values that JSON holds."""
        schedule, limit, validation = self.schedule, self.max_grad_norm, self.val_tasks
        name = schedule if isinstance(schedule, str) else getattr(schedule, "__name__", "function")
        return {
            "learner": _describe(self.learner),
            # Equal weights in other layers, pooling or strides, are another network.
            "layers": hashlib.sha256(repr(self.learner).encode()).hexdigest()[:12],
            "tasks": repr(self.tasks),
            "n_tasks_per_batch": self.n_tasks_per_batch,
            "seed": self.seed,
            "meta_lr": float(self.meta_lr),
            "max_grad_norm": None if limit is None else float(limit),
            "schedule": name,
            # Only a run at constant meta_lr can be made longer and still give the same numbers.
            "n_steps": "any" if schedule == "constant" else self.n_steps,
            "validation": validation and f"{self.n_val_episodes} episodes of {validation}",
        }


def _describe(learner: MetaLearner) -> str:
    """Class and plain settings of a learner."""
    plain = {k: v for k, v in vars(learner).items() if isinstance(v, bool | int | float | str)}
    settings = [f"{k}={v}" for k, v in plain.items() if k not in ("training", "meta_lr")]
    return f"{type(learner).__name__}({', '.join(settings)})"


def _gpus(learner: MetaLearner) -> set[torch.device]:
    return {p.device for p in learner.parameters() if p.device.type == "cuda"}


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
