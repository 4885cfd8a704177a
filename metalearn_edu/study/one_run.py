"""One run of a study: train a learner, score it in its cells, and record its costs.

What is unusual: we score the last weights, not the best on meta-val, so no run uses meta-val or
meta-test in training. A run may score one training several times while it continues, at given
amounts of processor time.
"""

from __future__ import annotations

import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..engine.heap import peak_memory
from ..evaluation import TEST_SEED, evaluate_meta_learner, is_transductive
from ..learners import MetaLearner
from ..runs import Recipe, task_source, train_command, train_learner
from .grid import Run, n_query, n_train_classes, pictures_digest
from .table import Row

__all__ = ["train_and_score"]

FIRST_STEPS = 5
"""Of a training by the clock, to see how long a step takes."""

_one_at_a_time = threading.Lock()  # torch's random numbers and thread count belong to the process


def train_and_score(run: Run) -> dict[str, Any]:
    """Do one run and return the content of its file: settings, rows, right answers by episode.

    Raises:
        FloatingPointError: the training diverged.
        KeyboardInterrupt: somebody stopped it.
    """
    scored: list[tuple[dict[str, Any], list[int]]] = []
    with _one_at_a_time, _one_thread(), peak_memory() as memory:
        begun = time.perf_counter()
        for seconds, trained in _moments(run):
            columns = _of_recipe(trained.recipe) | trained.cost | {"after_seconds": seconds}
            for cell in run.cells:
                figures, right = _score(trained.learner, run, *cell)
                scored.append((columns | figures, right))
        transductive = _is_transductive(trained.learner, run)
    shared: dict[str, Any] = _versions() | {
        "transductive": transductive,
        "n_parameters": sum(p.numel() for p in trained.learner.parameters() if p.requires_grad),
        "peak_memory_mb": round(memory.megabytes, 1),
        "threads": 1,
    }
    return {
        "settings": run.settings,
        "digest": pictures_digest(run.recipe.data),
        "seconds": round(time.perf_counter() - begun, 1),
        "rows": [asdict(Row(**shared, **figures)) for figures, _ in scored],
        "right": [right for _, right in scored],
    }


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class _Trained:
    """A learner, the recipe that leads to it, and the seconds that its training has taken so far.

    The seconds of a processor, and those of the clock on the wall.
    """

    learner: MetaLearner
    recipe: Recipe
    seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def cost(self) -> dict[str, float]:
        """As columns of the table."""
        taken = {"train_seconds": self.seconds, "wall_seconds": self.wall_seconds}
        return {name: round(seconds, 2) for name, seconds in taken.items()}


def _moments(run: Run) -> Iterator[tuple[float, _Trained]]:
    """Each of the run's moments with the learner as it is then."""
    if not run.seconds:
        yield 0.0, _train(run.recipe)
        return
    with TemporaryDirectory() as place:
        trained = None
        for seconds in run.seconds:
            trained = _train_until(seconds, run.recipe, trained, Path(place))
            yield seconds, trained


def _train_until(seconds: float, recipe: Recipe, so_far: _Trained | None, place: Path) -> _Trained:
    """Go on until the processor has spent this many seconds on the training, to 1 %.

    We know how long a step takes only after taking it. So we take 9 out of 10 of the steps that
    seem to be left, as long as any are; at a constant step size the learner is the same as after as
    many steps in one go.
    """
    trained = so_far or _train(replace(recipe, n_steps=FIRST_STEPS), place)
    per_step = trained.seconds / trained.recipe.n_steps
    while (left := seconds - trained.seconds) > 0.01 * seconds:
        more = max(1, int(0.9 * left / per_step))
        before = trained
        trained = _train(replace(recipe, n_steps=before.recipe.n_steps + more), place, before)
        per_step = (trained.seconds - before.seconds) / more
    return trained


def _train(recipe: Recipe, place: Path | None = None, so_far: _Trained | None = None) -> _Trained:
    """Train as the recipe says; `place` has the checkpoint of the training `so_far`, to go on."""
    wall, start = time.perf_counter(), time.process_time()
    learner, history = train_learner(recipe, progress=False, checkpoint=place)
    taken = time.process_time() - start, time.perf_counter() - wall
    if history.interrupted:
        raise KeyboardInterrupt  # half a training run is not a result
    before = (so_far.seconds, so_far.wall_seconds) if so_far else (0.0, 0.0)
    return _Trained(learner.eval(), recipe, *map(sum, zip(before, taken, strict=True)))


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    """The columns that are known before the training."""
    return {
        "algorithm": recipe.algorithm,
        "data": recipe.data,
        "n_classes": n_train_classes(recipe),
        "seed": recipe.seed,
        "command": train_command(recipe),
    }


def _score(
    learner: MetaLearner, run: Run, n_way: int, n_shot: int
) -> tuple[dict[str, Any], list[int]]:
    """Figures of one cell, and the right answers in each meta-test episode."""
    cell = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query(n_way)}
    figures: dict[str, Any] = dict(cell)
    for split, n_episodes in (("val", run.n_val_episodes), ("test", run.n_test_episodes)):
        tasks = task_source(run.recipe, f"meta-{split}", **cell)  # type: ignore[arg-type]
        result = evaluate_meta_learner(learner, tasks, n_episodes=n_episodes)
        figures[f"{split}_accuracy"] = round(result.mean, 6)
        figures[f"{split}_half_width"] = round(result.half_width, 6)
        figures[f"{split}_episodes"] = n_episodes
    task = tasks.episodes(0, 0, 1)[0]
    figures["adapt_ms"] = round(_milliseconds(learner, task.support_x, task.support_y), 3)
    right = (result.values * n_way * cell["n_query"]).round().int().tolist()
    return figures, right


def _is_transductive(learner: MetaLearner, run: Run) -> bool:
    """Whether queries inform each other, measured on an episode of the run's first cell."""
    (n_way, n_shot), *_ = run.cells
    tasks = task_source(run.recipe, "meta-val", n_way=n_way, n_shot=n_shot, n_query=5)
    return is_transductive(learner, tasks.episodes(TEST_SEED, 0, 1))


def _milliseconds(learner: MetaLearner, support_x: Any, support_y: Any) -> float:
    """Processor time for learning one task: the mean over calls for 0.2 s, after a first call."""
    with torch.no_grad():
        learner.adapt(support_x, support_y)
        start, calls = time.process_time(), 0
        while time.process_time() - start < 0.2:
            learner.adapt(support_x, support_y)
            calls += 1
    return 1000 * (time.process_time() - start) / calls


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside the block, torch has one thread, as in every run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _versions() -> dict[str, str]:
    """Versions of the software: python, torch, package, and the commit of the package."""
    from .. import __version__

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "package": __version__,
        "commit": _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
        if _git("ls-files", Path(__file__).name)  # not that of a repository around us
        else "",
    }


def _git(*arguments: str) -> str:
    """The output of git in this folder; empty if there is none."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
