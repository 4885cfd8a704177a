"""The outer loop, for any learner on any task source. Introduced in notebook 03.

Episode i of the training seed is a function of (seed, i), so a run that was stopped resumes at its
step with the same episodes, and with the optimiser's state it gives the same numbers.
"""

from __future__ import annotations

import copy
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .basics.arguments import as_integer, as_number
from .basics.files import digest
from .basics.progress import progress_bar
from .basics.random import uniforms
from .checkpoints import CheckpointFolder, describe, is_plain
from .evaluation import evaluate_meta_learner
from .learners.base import MetaLearner, as_learner
from .learners.modes import eval_mode, kept_modes
from .learners.steps import as_limit, require_trainable
from .tasks import EpisodeBatch, TaskSource
from .tasks.sampler import as_task_source

__all__ = ["History", "meta_train"]

VALIDATION_SEED = 10_000
Schedule = Callable[[float], float]

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
}
"""Factors on meta_lr by name, as functions of the share of the run that is done, 0 to 1."""


@dataclass
class History:
    """What happened in a run of `meta_train`.

    Attributes:
        losses: meta-training loss of each step.
        val_steps, val_scores: after which steps we validated, and the mean score on the meta-val
            episodes (accuracy as a fraction, or squared error).
        best_step: the validated step whose weights the learner has now; None: the last step.
        interrupted: whether the run was stopped by hand before its last step.
        seconds: wall-clock time of the run, including that before a resumption.
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
    """Take `n_steps` outer steps; the learner is changed in place.

    With `val_tasks`, the learner is scored on the same meta-val episodes every `val_every` steps
    and after the last, and ends with the best weights. Ctrl-C (or the notebook's stop button) ends
    the run after the current step and returns the history so far; pressed twice, it ends
    immediately. A trained learner comes back in eval mode, ready for use; after an error every
    module is back in its original mode.

    Args:
        learner: any MetaLearner.
        tasks: where meta-training episodes come from.
        n_steps: total outer steps, including those of a resumed checkpoint.
        n_tasks_per_batch: episodes per outer step.
        seed: of the episodes and of dropout; step k uses n_tasks_per_batch episodes from k *
            n_tasks_per_batch on. The state of torch's own random numbers does not change.
        meta_lr: step size of Adam, or of the optimiser that the learner makes instead; default: the
            learner's own `meta_lr`.
        schedule: "constant", "cosine" (to 0), or a function from progress (0 to 1) to a factor of
            at least 0.
        max_grad_norm: shrink the meta-gradient to at most this norm.
        val_tasks: meta-val task source.
        chunk_size: back-propagate this many tasks at a time: same gradient, less memory.
        checkpoint: folder to keep the state of the run in, every `checkpoint_every` steps and when
            it is stopped; if it holds one, the run resumes and gives the numbers that it would
            have given without the stop.
        progress: show a progress bar.
    Raises:
        FloatingPointError: the loss, its gradient, the weights or the last validation is not
            finite; the message names the step. The learner keeps the last weights with a finite
            loss (the best, if validated).
        ValueError: an argument that makes no sense, or a checkpoint of another run: of another
            learner, loss, task source or setting.
        OSError: the checkpoint folder cannot be written, or another training is running in it.
    """
    run = _Run(
        as_learner("learner", learner),
        as_task_source("tasks", tasks),
        n_steps=as_integer("n_steps", n_steps),
        n_tasks_per_batch=as_integer("n_tasks_per_batch", n_tasks_per_batch),
        seed=as_integer("seed", seed, None),
        meta_lr=as_number("meta_lr", learner.meta_lr if meta_lr is None else meta_lr, above=0),
        schedule=schedule,
        max_grad_norm=None if max_grad_norm is None else as_limit("max_grad_norm", max_grad_norm),
        val_tasks=None if val_tasks is None else as_task_source("val_tasks", val_tasks),
        val_every=as_integer("val_every", val_every),
        n_val_episodes=as_integer("n_val_episodes", n_val_episodes, 2),
        chunk_size=None if chunk_size is None else as_integer("chunk_size", chunk_size),
        checkpoint=None if checkpoint is None else _folder(checkpoint),
        checkpoint_every=as_integer("checkpoint_every", checkpoint_every),
    )
    with kept_modes(learner), run.alone():
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
    learner.eval()
    run.history.interrupted = run.history.n_steps < n_steps
    return run.history


@contextmanager
def _stop_button() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the current step is finished.

    The second Ctrl-C raises KeyboardInterrupt as usual. So does the first if we cannot handle it:
    outside the main thread, or if other code already does.
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
    """The settings of one run and its state: learner, optimiser, history, best weights so far.

    `before` and `batch` are the weights before the last step and its episodes, whose loss with
    those weights was finite.
    """

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
        require_trainable(self.learner)
        self.factor = _schedule(self.schedule)
        self.history = History()
        self.optimizer = self.learner.new_optimizer(self.learner.parameters(), self.meta_lr)
        self.best: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self.batch: EpisodeBatch | None = None
        self.store = None
        if self.checkpoint is not None:
            self.store = CheckpointFolder(self.checkpoint, self._settings())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the checkpoint folder, if there is one, against other training runs."""
        with ExitStack() as held:
            if self.store is not None:
                held.enter_context(self.store.held())
            yield

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
                self.require_sound()
                self.save()

    def _due(self, every: int) -> bool:
        return self.history.n_steps % every == 0 or self.history.n_steps == self.n_steps

    def step(self) -> None:
        """One outer step, which depends only on the seed, its number and the state before it."""
        number, size = self.history.n_steps, self.n_tasks_per_batch
        factor = as_number("the factor of schedule", self.factor(number / self.n_steps), at_least=0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.meta_lr * factor
        torch.manual_seed(int(uniforms(self.seed, number, 1, 1)[0, 0] * 2**53))
        batch = self.tasks.episodes(self.seed, number * size, size).like(self.learner)
        now = {name: t.detach().clone() for name, t in self.learner.state_dict().items()}
        try:
            loss = self.learner.outer_loop(
                batch,
                optimizer=self.optimizer,
                max_grad_norm=self.max_grad_norm,
                chunk_size=self.chunk_size,
            )
        except FloatingPointError as error:
            self.learner.load_state_dict(now)
            self.require_sound()
            raise self._diverged(f"at step {number + 1}, which was not taken: {error}") from None
        self.before, self.batch = now, batch
        self.history.losses.append(loss)

    @torch.no_grad()
    def require_sound(self) -> None:
        """Raise if, after the last step, the loss on its own episodes is not finite.

        In that case, the weights from before the step are restored.
        """
        if self.batch is None:
            return
        with eval_mode(self.learner):
            size = self.chunk_size or self.learner.tasks_at_once(self.batch)
            loss = sum(self.learner.loss(few).item() for few in self.batch.split(size))
        validated = self.history.val_steps[-1:] == [self.history.n_steps]
        score = self.history.val_scores[-1] if validated else 0.0
        if not math.isfinite(loss):
            self.learner.load_state_dict(self.before)
            raise self._diverged(f"after step {self.history.n_steps}: the loss is then {loss}")
        if not math.isfinite(score) and self.history.n_steps == self.n_steps:
            raise self._diverged(f"after step {self.n_steps}: its validation gives {score}")

    def _diverged(self, where: str) -> FloatingPointError:
        return FloatingPointError(
            f"training stopped {where}; try a smaller meta_lr (now {self.meta_lr}) or inner_lr, "
            "or max_grad_norm=10"
        )

    def validate(self) -> None:
        """Score the learner, and keep its weights if they are the best so far."""
        if self.val_tasks is None:
            return
        history, score = self.history, self._validation_score(self.val_tasks)
        history.val_steps.append(history.n_steps)
        history.val_scores.append(score)
        pick = min if self.val_tasks.n_way is None else max
        finite = [score for score in history.val_scores if math.isfinite(score)]
        if finite and score == pick(finite):
            history.best_step = history.n_steps
            self.best = copy.deepcopy(self.learner.state_dict())

    def _validation_score(self, val_tasks: TaskSource) -> float:
        """The mean score; NaN if the learner diverges, from which training may recover."""
        n_episodes, seed = self.n_val_episodes, VALIDATION_SEED
        try:
            return evaluate_meta_learner(
                self.learner, val_tasks, n_episodes=n_episodes, seed=seed
            ).mean
        except FloatingPointError:
            return math.nan

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
        """Continue from the checkpoint folder; if it is empty, save there.

        So a folder that cannot be written is noticed before the first step.
        """
        saved = None if self.store is None else self.store.load()
        if saved is None:
            self.save()
            return
        tensors, history = saved
        self.history = _history(self.checkpoint, history)
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
        """What must be equal for a run to resume, as values that fit into JSON."""
        validation = self.val_tasks and (
            f"{self.n_val_episodes} episodes of {self.val_tasks.fingerprint} "
            f"after every {self.val_every} steps"
        )
        weights = {id(p): p for p in self.learner.parameters()}
        learned = [i for i, p in weights.items() if p.requires_grad]
        settings = partial(_settings_of, learned=weights.keys())
        own = ("meta_lr", "meta_optimizer", "loss_fn")  # told below, or not used here
        return {
            "learner": settings(self.learner, but=own),
            # Equal weights in different layers, or with different layer settings, make a different
            # network.
            "layers": digest(repr(self.learner), *map(settings, [*self.learner.modules()][1:])),
            "loss": describe(self.learner.loss_fn, learned),
            "precision": str(next(self.learner.parameters()).dtype),
            "tasks": self.tasks.fingerprint,
            "n_tasks_per_batch": self.n_tasks_per_batch,
            "seed": self.seed,
            "meta_lr": self.meta_lr,
            "max_grad_norm": self.max_grad_norm,
            "schedule": self.schedule
            if isinstance(self.schedule, str)
            else describe(self.schedule),
            # Only a run at constant meta_lr can be made longer and still give the same numbers.
            "n_steps": "any" if self.schedule == "constant" else self.n_steps,
            "validation": validation,
        }


def _settings_of(module: nn.Module, learned: Collection[int], but: tuple[str, ...] = ()) -> str:
    """Class and settings of a learner or of a part of it: all attributes that are not state.

    Weights and what PyTorch keeps beside them are state, and so is the mode. Private attributes
    count only if they are plain values; others are working memory.
    """
    state = (*but, *vars(nn.Module()))
    held = vars(module) | {n: module._buffers[n] for n in module._non_persistent_buffers_set}
    settings = {n: value for n, value in held.items() if n not in state}
    texts = [
        f"{name}={describe(value, learned)}"
        for name, value in settings.items()
        if is_plain(value) or not name.startswith("_")
    ]
    return f"{type(module).__name__}({', '.join(texts)})"


def _folder(checkpoint: Any) -> Path:
    try:
        return Path(checkpoint)
    except TypeError:
        raise ValueError(f"checkpoint must be a path of a folder, got {checkpoint!r}") from None


def _history(checkpoint: Path | None, saved: dict[str, Any]) -> History:
    """The history in a checkpoint, refused unless this version of the course wrote it."""
    known: dict[str, Any] = {
        field.name: type(getattr(History(), field.name)) for field in fields(History)
    }
    known["best_step"] = (int, type(None))
    fits = saved.keys() == known.keys() and all(isinstance(saved[n], known[n]) for n in known)
    lists = [*saved["losses"], *saved["val_steps"], *saved["val_scores"]] if fits else [None]
    if not fits or not all(type(number) in (int, float) for number in lists):
        raise ValueError(
            f"checkpoint {checkpoint} was written by another version of the course or changed "
            f"since: its history holds {', '.join(sorted(saved))}; remove it to start afresh"
        )
    return History(**saved)


def _gpus(learner: MetaLearner) -> set[torch.device]:
    return {p.device for p in learner.parameters() if p.device.type == "cuda"}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _schedule(schedule: str | Schedule) -> Schedule:
    if callable(schedule):
        return schedule
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        raise ValueError(
            f"schedule must be {' or '.join(SCHEDULES)} or a function, got {schedule!r}"
        )
    return SCHEDULES[schedule]
