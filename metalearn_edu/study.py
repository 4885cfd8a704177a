"""A study: many learners trained and scored under the same conditions, as one table.

A run trains one learner once and scores it in cells: numbers of ways and shots. The table has a
row for each cell of each run; beside it stand the right answers in every meta-test episode, so
that two learners can be compared on the same episodes. Introduced in notebook 11.

Each finished run is one file, written whole or not at all, under a name that is a hash of all its
settings; the table is put together from these files in the order of the grid. So a study that was
stopped goes on where it was, no row is there twice, and rows of other settings never mix in.

What is unusual: every training has about the same computing time, whatever its algorithm, and the
last weights are scored, not the best on meta-val: no run sees meta-val or meta-test in training.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config

from .arguments import as_integer
from .checkpoints import save_json
from .evaluation import evaluate_meta_learner
from .learners import MetaLearner
from .memory import peak_memory
from .progress import progress_bar
from .recipes import (
    ALGORITHMS,
    Recipe,
    load_split,
    make_recipe,
    task_source,
    train_command,
    train_learner,
)
from .tasks.cache import load_arrays, open_atomically

__all__ = ["Grid", "Row", "Run", "Study", "load_study", "run_study", "train_and_score"]

RESULTS = Path(__file__).parent.parent / "results"
"""The stored study of the course."""

NETWORK: dict[str, Any] = {"width": 32, "downsample": "stride"}
"""The same small ConvNet for every algorithm (Relation Networks keep their own maps, as wide)."""

SETTINGS: dict[str, dict[str, Any]] = {
    "prototypical": {"n_steps": 850, "meta_lr": 4e-3},
    "relation": {"n_steps": 410, "meta_lr": 4e-3},
    "maml": {"n_steps": 1000, "meta_lr": 4e-3},
    "meta-sgd": {"n_steps": 1000, "meta_lr": 4e-3},
    "task-conditioned": {"n_steps": 1500, "n_tasks_per_batch": 1, "meta_lr": 1e-3},
    "mann": {"n_steps": 260, "meta_lr": 4e-3, "metric_weight": 3.0},
}
"""Outer steps that take about 40 s of one core, and what differs from the recipe's own settings.

Measured once, in processor time on one thread, on 200 classes of Glyphs: 47 ms a step for
prototypical, 96 relation, 41 maml and meta-sgd in 5-way episodes (29 in 20-way), 26
task-conditioned, 151 mann in 5-way streams (293 in 20-way: twice the time of the others). The step
sizes are the best of two or three on meta-val.
"""

CLASSES_PER_STEP = {"maml": 20, "meta-sgd": 20, "mann": 40}
"""Of learners of one n_way, so that a step costs about the same: 4 tasks of 5-way, 1 of 20-way.

Many small steps did better in the same time than few large ones; mann needs larger ones.
"""


def study_recipe(algorithm: str, data: str, n_way: int, share: float = 1.0, **over: Any) -> Recipe:
    """The recipe of a training in a study.

    Args:
        n_way: of the episodes that the learner is for; those that take any have no use for it.
        share: of the usual outer steps.
        over: further settings of the Recipe: n_classes, seed, ...
    """
    settings: dict[str, Any] = NETWORK | SETTINGS[algorithm] | {"n_way": n_way} | over
    if algorithm in CLASSES_PER_STEP:
        settings["n_tasks_per_batch"] = max(1, CLASSES_PER_STEP[algorithm] // n_way)
    settings["n_steps"] = math.ceil(share * settings["n_steps"])
    return make_recipe(algorithm, data, **settings)


@dataclass(frozen=True)
class Run:
    """One training, and where the learner is scored.

    Attributes:
        recipe: what is trained, and how.
        cells: (n_way, n_shot) of the episodes that score it.
        n_val_episodes, n_test_episodes: how many there are in each cell, by split.
    """

    recipe: Recipe
    cells: tuple[tuple[int, int], ...]
    n_val_episodes: int = 100
    n_test_episodes: int = 300

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result, as values that JSON holds."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def key(self) -> str:
        """A file name for the run: readable, and different for different settings."""
        r = self.recipe
        usual = asdict(Recipe(r.algorithm))
        # A setting that a later version adds has its usual value in all earlier runs.
        changed = {n: value for n, value in asdict(r).items() if value != usual[n]}
        text = json.dumps(self.settings | {"recipe": changed}, sort_keys=True)
        ways = "-".join(str(way) for way in sorted({way for way, _ in self.cells}))
        name = f"{r.algorithm}_{Path(r.data).name}_{r.n_classes or 'all'}_{ways}way_seed{r.seed}"
        return f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Grid:
    """Every combination of these is measured; an impossible grid is refused.

    Attributes:
        algorithms: names in recipes.ALGORITHMS.
        data: data sets, as a Recipe names them.
        n_classes: sizes of the meta-training set, before rotations; None: all its classes.
        ways, shots: of the episodes that score a learner. All train on 1 shot.
        seeds: of first weights, episodes, and which n_classes classes they are.
        share: of the usual outer steps, for a quick try.
        n_val_episodes, n_test_episodes: that score a learner in each cell.
    Raises:
        ValueError: a list is empty or has an entry twice, or an entry makes no sense.
    """

    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    data: tuple[str, ...] = ("glyphs", "omniglot")
    n_classes: tuple[int | None, ...] = (50, 200, None)
    ways: tuple[int, ...] = (5, 20)
    shots: tuple[int, ...] = (1, 5)
    seeds: tuple[int, ...] = (0, 1, 2)
    share: float = 1.0
    n_val_episodes: int = 100
    n_test_episodes: int = 300

    def __post_init__(self) -> None:
        for name in ("algorithms", "data", "n_classes", "ways", "shots", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be different and at least one, got {values}")
        unknown = sorted(set(self.algorithms) - set(ALGORITHMS))
        if unknown:
            raise ValueError(f"algorithms must be of {', '.join(ALGORITHMS)}; got {unknown}")
        smallest = {"ways": 2, "shots": 1, "n_classes": 2, "seeds": 0}
        for name, at_least in smallest.items():
            for value in getattr(self, name):
                if value is not None:
                    as_integer(name, value, at_least)
        as_integer("n_val_episodes", self.n_val_episodes, 2)
        as_integer("n_test_episodes", self.n_test_episodes, 2)
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    def runs(self) -> list[Run]:
        """The runs, seed by seed: so the first seed of all cells is there early."""
        axes = product(self.seeds, self.data, self.n_classes, self.algorithms)
        return [run for axis in axes for run in self._runs(*axis)]

    def _runs(self, seed: int, data: str, n_classes: int | None, algorithm: str) -> Iterator[Run]:
        """One training for all ways where the learner takes any, else one for each."""
        groups = [self.ways] if ALGORITHMS[algorithm].any_way else [(way,) for way in self.ways]
        for ways in groups:
            asked = {"n_classes": n_classes, "seed": seed}
            recipe = study_recipe(algorithm, data, ways[0], self.share, **asked)
            cells = tuple(product(ways, self.shots))
            yield Run(recipe, cells, self.n_val_episodes, self.n_test_episodes)

    def check(self) -> None:
        """Refuse what the data cannot give; loads each data set once.

        Raises:
            ValueError: too few classes or items for a cell.
            FileNotFoundError, OSError: the data is not there.
        """
        for data in self.data:
            if data == "sinusoids":
                raise ValueError("data sinusoids has no classes to learn from; a study needs them")
            available = load_split(data, "meta-train").n_classes
            largest = max((n for n in self.n_classes if n is not None), default=0)
            if largest > available:
                raise ValueError(
                    f"n_classes is {largest}, but meta-train of {data} has {available} classes"
                )
            for way, shot in product(self.ways, self.shots):
                for split in ("meta-val", "meta-test"):
                    task_source(
                        Recipe("maml", data), split, n_way=way, n_shot=shot, n_query=n_query(way)
                    )


SMALL: dict[str, Any] = {
    "data": ("glyphs",),
    "n_classes": (50,),
    "ways": (5,),
    "seeds": (0, 1),
    "share": 0.02,
    "n_val_episodes": 20,
    "n_test_episodes": 50,
}
"""A grid of a minute or two, to see that all works; its figures mean nothing."""


def n_query(n_way: int) -> int:
    """Queries per class in the episodes that score: 15 up to 5-way, 5 from 15-way on."""
    return min(15, max(5, 75 // n_way))


@dataclass(frozen=True)
class Row:
    """One learner in one cell.

    Attributes:
        algorithm, data, n_classes, n_way, n_shot, seed: which; n_classes is always the number.
        val_accuracy, val_half_width, val_episodes: on meta-val: mean, half its 95 % interval.
        test_accuracy, test_half_width, test_episodes: on meta-test.
        n_query: queries per class in these episodes.
        transductive: whether queries inform each other, tried out in the run's first cell.
        train_seconds: processor time of the training, data included, one thread.
        wall_seconds: the same by the clock on the wall; longer where others share the machine.
        adapt_ms: processor time to learn one task's support set, milliseconds.
        n_parameters: numbers that the outer loop learns.
        peak_memory_mb: the most that the process held, Python and torch included, in 10^6 bytes;
            NaN where the system does not say.
        threads, python, torch, package, commit: with what; commit is empty outside git.
        command: trains such a learner (and, unlike the study, keeps the best weights on meta-val).
    """

    algorithm: str
    data: str
    n_classes: int
    n_way: int
    n_shot: int
    seed: int
    val_accuracy: float
    val_half_width: float
    val_episodes: int
    test_accuracy: float
    test_half_width: float
    test_episodes: int
    n_query: int
    transductive: bool
    train_seconds: float
    wall_seconds: float
    adapt_ms: float
    n_parameters: int
    peak_memory_mb: float
    threads: int
    python: str
    torch: str
    package: str
    commit: str
    command: str


@dataclass(frozen=True, eq=False)
class Study:
    """A table of rows, and the right answers behind it.

    Attributes:
        rows: in the order of the grid.
        right: (n_rows, n_episodes) integers: queries answered rightly in each meta-test episode,
            of n_way * n_query. Rows of one data set and cell have the same episodes.
    """

    rows: tuple[Row, ...]
    right: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """(n_rows, n_episodes) fractions."""
        queries = np.array([row.n_way * row.n_query for row in self.rows])
        return self.right / queries[:, None]

    def where(self, **values: Any) -> Study:
        """The part of the study whose rows have these values, such as n_way=5."""
        keep = [all(getattr(r, n) == v for n, v in values.items()) for r in self.rows]
        return Study(tuple(r for r, k in zip(self.rows, keep, strict=True) if k), self.right[keep])

    def values(self, name: str) -> list[Any]:
        """The different values of a column, in order."""
        return sorted({getattr(row, name) for row in self.rows})


# ---------------------------------------------------------------- one run

_one_at_a_time = threading.Lock()  # torch's random numbers and thread count are the process's


def train_and_score(run: Run) -> dict[str, Any]:
    """Do one run and return what its file holds: settings, rows, right answers by episode.

    Raises:
        FloatingPointError: the training diverged.
        KeyboardInterrupt: somebody stopped it.
    """
    with _one_at_a_time, _one_thread(), peak_memory() as memory:
        begun, start = time.perf_counter(), time.process_time()
        learner, history = train_learner(run.recipe, progress=False)
        if history.interrupted:
            raise KeyboardInterrupt  # half a training is no result
        cost = {"train_seconds": round(time.process_time() - start, 2)}
        cost["wall_seconds"] = round(time.perf_counter() - begun, 2)
        cells = [_score(learner.eval(), run, *cell) for cell in run.cells]
        transductive = _is_transductive(learner, run)
    shared: dict[str, Any] = {
        "algorithm": run.recipe.algorithm,
        "data": run.recipe.data,
        "n_classes": _n_classes(run.recipe),
        "seed": run.recipe.seed,
        **cost,
        "transductive": transductive,
        "n_parameters": sum(p.numel() for p in learner.parameters() if p.requires_grad),
        "peak_memory_mb": round(memory.megabytes, 1),
        "threads": 1,
        **_versions(),
        "command": train_command(run.recipe),
    }
    return {
        "settings": run.settings,
        "seconds": round(time.perf_counter() - begun, 1),
        "rows": [asdict(Row(**shared, **figures)) for figures, _ in cells],
        "right": [right for _, right in cells],
    }


def _n_classes(recipe: Recipe) -> int:
    return recipe.n_classes or load_split(recipe.data, "meta-train").n_classes


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
    (n_way, n_shot), *_ = run.cells
    tasks = task_source(run.recipe, "meta-val", n_way=n_way, n_shot=n_shot, n_query=5)
    return bool(
        evaluate_meta_learner(learner, tasks, n_episodes=2, check_transduction=True).transductive
    )


def _milliseconds(learner: MetaLearner, support_x: Any, support_y: Any) -> float:
    """Processor time of learning one task: mean of the calls in about 0.2 s, after a first one."""
    with torch.no_grad():
        learner.adapt(support_x, support_y)
        start, calls = time.process_time(), 0
        while time.process_time() - start < 0.2:
            learner.adapt(support_x, support_y)
            calls += 1
    return 1000 * (time.process_time() - start) / calls


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _versions() -> dict[str, str]:
    """Versions of what computes here: python, torch, package, and the commit of the package."""
    from . import __version__

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "package": __version__,
        "commit": _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
        if _git("ls-files", Path(__file__).name)  # not the commit of whatever lies around us
        else "",
    }


def _git(*arguments: str) -> str:
    """What git says in this folder; empty if it says nothing."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


# ---------------------------------------------------------------- many runs


def run_study(
    grid: Grid,
    folder: Path,
    *,
    n_jobs: int = -1,
    backend: str = "local",
    scheduler: str | None = None,
    progress: bool = True,
) -> Study:
    """Do the runs of the grid that are not done, then write and return the whole table.

    Args:
        grid: what to measure.
        folder: holds a file for each finished run in `runs`, and study.csv and study.npz.
        n_jobs: runs at a time on this machine, one thread each; -1: as many as it has cores.
        backend: "local" processes, or the workers of a "dask" cluster.
        scheduler: address of Dask's scheduler, such as tcp://10.0.0.1:8786.
        progress: show a progress bar.
    Raises:
        ValueError: an impossible grid, backend or n_jobs, Dask is not installed, or the folder
            has the table of another study.
        FloatingPointError: some runs diverged; all others are finished and stored.
        OSError: the folder cannot be written, the data is not there, or no scheduler answers.
    """
    check_workers(n_jobs, backend, scheduler)
    grid.check()
    runs = grid.runs()
    todo = [run for run in runs if finished(run, folder) is None]
    if lost := _without_runs(folder) - {place for run in runs for place in _places(run)}:
        raise ValueError(
            f"{folder / 'study.csv'} has {len(lost)} rows that are not of this grid, and no runs "
            "to make them of again; choose another folder"
        )
    failures = []
    try:
        with (
            _workers(scheduler, n_jobs) as parallel,
            progress_bar(total=len(runs), initial=len(runs) - len(todo), show=progress) as bar,
        ):
            for key, result in parallel(delayed(_attempt)(run) for run in todo):
                if "failed" in result:
                    failures.append(f"{key}: {result['failed']}")
                else:
                    save_json(_path(folder, key), result)
                bar.update()
    finally:
        study = write_table(runs, folder)
    if failures:
        raise FloatingPointError(f"{len(failures)} of {len(runs)} runs failed; {failures[0]}")
    return study


def check_workers(n_jobs: int, backend: str, scheduler: str | None) -> None:
    """Refuse a number of jobs, a backend or a scheduler that make no sense. Raises ValueError."""
    if n_jobs == 0 or n_jobs < -1:
        raise ValueError(f"n_jobs must be at least 1, or -1 for all cores; got {n_jobs}")
    if backend not in ("local", "dask"):
        raise ValueError(f"backend must be local or dask, got {backend!r}")
    if backend == "dask" and not scheduler:
        raise ValueError("backend dask needs the address of its scheduler, as tcp://HOST:8786")
    if backend == "local" and scheduler:
        raise ValueError(f"scheduler {scheduler} is for --backend dask; the backend is local")


def state_of(grid: Grid, folder: Path, n_jobs: int = -1) -> str:
    """How many runs of the grid are done in `folder`, and about how long the others will take."""
    runs = grid.runs()
    contents = {run: finished(run, folder) for run in runs}
    seconds = [(r.recipe.algorithm, c["seconds"]) for r, c in contents.items() if c is not None]
    todo = [run.recipe.algorithm for run in runs if contents[run] is None]
    n_rows = sum(len(run.cells) for run in runs)
    text = f"{len(runs)} runs, {n_rows} rows: {len(seconds)} done, {len(todo)} to do"
    if not todo or not seconds:
        return text + (", how long they take is not known yet" if todo else "")
    of_all = [s for _, s in seconds]
    guesses = [[s for name, s in seconds if name == algorithm] or of_all for algorithm in todo]
    minutes = sum(sum(guess) / len(guess) for guess in guesses) / 60 / effective_n_jobs(n_jobs)
    return f"{text}, in about {max(1, round(minutes))} minutes"


def _attempt(run: Run) -> tuple[str, dict[str, Any]]:
    """The run's key and result; a run that diverges does not stop the others."""
    try:
        return run.key, train_and_score(run)
    except FloatingPointError as error:
        return run.key, {"failed": str(error)}


@contextmanager
def _workers(scheduler: str | None, n_jobs: int) -> Iterator[Parallel]:
    """Where the runs go; each comes back as soon as it is done."""
    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        # No more runs are handed out than are at work: a queue of them does not take Ctrl-C well.
        with _quiet_trackers(), parallel_config(backend="loky", n_jobs=n_jobs):
            yield Parallel(pre_dispatch="n_jobs", **options)
    else:
        with _dask_client(scheduler) as client, parallel_config(backend="dask", client=client):
            yield Parallel(pre_dispatch="all", **options)


@contextmanager
def _quiet_trackers() -> Iterator[None]:
    """Python's trackers warn of the semaphores of processes that Ctrl-C has ended, and remove them.

    They are processes too, so that what they may say goes through the environment.
    """
    before = os.environ.get("PYTHONWARNINGS")
    said = [before] if before else []
    os.environ["PYTHONWARNINGS"] = ",".join([*said, "ignore:resource_tracker:UserWarning"])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _dask_client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "backend dask needs Dask, which is not installed; "
            'python -m pip install "metalearn_edu[dask]" brings it'
        ) from None
    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    widest = max(client.nthreads().values(), default=1)
    if widest > 1:
        client.close()
        raise ValueError(
            f"a Dask worker has {widest} threads, but torch's random numbers are those of a "
            "process: start the workers with --nthreads 1, several on one machine if you like"
        )
    return client


# ---------------------------------------------------------------- files


def _path(folder: Path, key: str) -> Path:
    return folder / "runs" / f"{key}.json"


def finished(run: Run, folder: Path) -> dict[str, Any] | None:
    """What the run's file holds; None if there is none, or it is of other settings."""
    content = _content(_path(folder, run.key))
    if content is None:
        return None
    now = run.settings
    then = content["settings"] | {"recipe": now["recipe"] | content["settings"]["recipe"]}
    return content if then == now else None


def _content(path: Path) -> dict[str, Any] | None:
    """What a run's file holds; None if there is none, or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_table(runs: Sequence[Run], folder: Path) -> Study:
    """Write study.csv and study.npz from the finished runs among `runs`, in their order.

    A table that came without its runs, as the stored one of the course, stays until these runs
    have all of its rows.
    """
    contents = [content for run in runs if (content := finished(run, folder)) is not None]
    rows = tuple(Row(**row) for content in contents for row in content["rows"])
    right = [r for content in contents for r in content["right"]]
    study = Study(rows, np.array(right, dtype=np.uint16))
    if rows and not _without_runs(folder) - {_place(vars(row)) for row in rows}:
        save_study(study, folder)
    return study


Place = tuple[Any, ...]


def _place(row: Mapping[str, Any]) -> Place:
    """What tells a row of a study from the others."""
    return tuple(row[n] for n in ("algorithm", "data", "n_classes", "seed", "n_way", "n_shot"))


def _places(run: Run) -> list[Place]:
    """Of the rows that a run will make."""
    learner = asdict(run.recipe) | {"n_classes": _n_classes(run.recipe)}
    return [_place(learner | {"n_way": way, "n_shot": shot}) for way, shot in run.cells]


def _without_runs(folder: Path) -> set[Place]:
    """Of the rows in the folder's table that no run file there could make again."""
    try:
        rows = _read_rows(folder)
    except (FileNotFoundError, ValueError):
        return set()  # nothing to lose
    contents = [content for path in folder.glob("runs/*.json") if (content := _content(path))]
    of_runs = {_place(row) for content in contents for row in content["rows"]}
    return {_place(vars(row)) for row in rows} - of_runs


def save_study(study: Study, folder: Path) -> None:
    """Write study.csv and study.npz. Raises OSError."""
    text = io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in study.rows)
    with open_atomically(folder / "study.npz") as file:
        np.savez_compressed(file, right=study.right)
    with open_atomically(folder / "study.csv") as file:
        file.write(text.getvalue().encode())


@cache
def load_study(folder: Path = RESULTS) -> Study:
    """The study of a folder; default: the one that comes with the course.

    Raises:
        FileNotFoundError: there is none; the message says which command makes one.
        ValueError: the table and the right answers do not belong together, or are damaged.
    """
    rows = _read_rows(folder)
    study = Study(tuple(rows), load_arrays(folder / "study.npz")["right"].astype(int))
    stated = np.array([row.test_accuracy for row in rows])
    if len(study.right) != len(rows) or not np.allclose(study.accuracy.mean(1), stated, atol=1e-5):
        raise ValueError(
            f"study.csv and study.npz in {folder} are not of one study; "
            f"metalearn-edu study --output {folder} writes both again"
        )
    return study


def _read_rows(folder: Path) -> list[Row]:
    path = folder / "study.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no study.csv; metalearn-edu study --output {folder} makes one"
        )
    with open(path, encoding="utf-8", newline="") as file:
        try:
            return [_row(line) for line in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no table of a study: {error}") from None


_KINDS: dict[Any, Any] = {"int": int, "float": float, "str": str, "bool": "True".__eq__}


def _row(line: dict[str, str]) -> Row:
    """A Row from the words of one line of the table."""
    return Row(**{field.name: _KINDS[field.type](line[field.name]) for field in fields(Row)})
