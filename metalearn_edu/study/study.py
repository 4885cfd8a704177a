"""A study: many learners trained and scored under the same conditions, as one table.

A run trains one learner once and scores it in cells: numbers of ways and shots. The table has a
row for each cell of each run; beside it stand the right answers in every meta-test episode, so
that two learners can be compared on the same episodes. Introduced in notebook 11.

Each finished run is one file, written whole or not at all, under a name that is a hash of all its
settings; the table is put together from these files in the order of the grid. So a study that was
stopped goes on where it was, no row is there twice, and rows of other settings never mix in. Files
that are not of this program are never overwritten, and one study at a time writes to a folder.

What is unusual: every training has about the same computing time, whatever its algorithm, and the
last weights are scored, not the best on meta-val: no run sees meta-val or meta-test in training.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import multiprocessing.resource_tracker
import os
import platform
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.externals.loky.backend import resource_tracker as loky_tracker

from ..basics.arguments import as_integer, as_number
from ..basics.files import (
    as_path,
    load_arrays,
    locked,
    open_atomically,
    read_bounded,
    remove_leftovers,
    save_json,
)
from ..basics.names import for_table
from ..basics.progress import progress_bar
from ..engine.heap import peak_memory
from ..evaluation import evaluate_meta_learner
from ..learners import MetaLearner
from ..runs import (
    ALGORITHMS,
    Recipe,
    load_split,
    make_recipe,
    task_source,
    train_command,
    train_learner,
)
from ..runs.recipe import without_others

__all__ = ["Grid", "Row", "Run", "Study", "load_study", "run_study", "train_and_score"]

RESULTS = Path(__file__).parents[1] / "results"
"""The stored study of the course."""

LARGEST_NUMBER = 2**31 - 1
"""Of ways, shots, classes, seeds and episodes."""
LARGEST_FILE = 2**28
"""Bytes of a run's file, or of the table."""

NETWORK: dict[str, Any] = {"width": 32, "downsample": "stride"}
"""The same small ConvNet for every algorithm (Relation Networks keep their own maps, as wide)."""


def study_recipe(algorithm: str, data: str, n_way: int, share: float = 1.0, **over: Any) -> Recipe:
    """The recipe of a training in a study.

    Args:
        n_way: of the episodes that the learner is for; those that take any have no use for it.
        share: of the usual outer steps.
        over: further settings of the Recipe: n_classes, seed, ...
    """
    entry = ALGORITHMS[algorithm]
    usual = {"n_steps": entry.images.get("n_steps", Recipe.n_steps), **NETWORK, **entry.study}
    settings: dict[str, Any] = usual | {"n_way": n_way} | over
    if entry.classes_per_step:
        settings["n_tasks_per_batch"] = max(1, entry.classes_per_step // n_way)
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
        data = Path(r.data).name[:40]  # so that the system takes the name, whatever the folder's
        name = f"{r.algorithm}_{data}_{r.n_classes or 'all'}_{ways}way_seed{r.seed}"
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
            if not isinstance(values, list | tuple):
                raise ValueError(f"{name} must be a tuple of values, got {values!r}")
            object.__setattr__(self, name, tuple(values))
            if not values or any(value in values[:i] for i, value in enumerate(values)):
                raise ValueError(f"{name} must be different and at least one, got {values}")
        if unknown := [name for name in self.algorithms if name not in list(ALGORITHMS)]:
            raise ValueError(f"algorithms must be of {', '.join(ALGORITHMS)}; got {unknown}")
        for data in self.data:
            _check_name(data)
        self._check_numbers()

    def _check_numbers(self) -> None:
        smallest = {"ways": 2, "shots": 1, "n_classes": 2, "seeds": 0}
        asked = [(name, value, n) for name, n in smallest.items() for value in getattr(self, name)]
        asked += [(n, getattr(self, n), 2) for n in ("n_val_episodes", "n_test_episodes")]
        for name, value, at_least in asked:
            if name != "n_classes" or value is not None:
                as_integer(name, value, at_least)
                as_integer(name, value, None, at_most=LARGEST_NUMBER)
        as_number("share", self.share, above=0, at_most=1)

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


def _check_name(data: Any) -> None:
    """Refuse data that nobody has, without reading any. Raises ValueError."""
    if data not in ("glyphs", "omniglot") and not (isinstance(data, str) and Path(data).is_dir()):
        raise ValueError(
            f"data must be glyphs, omniglot or a folder of images, got {data!r} (sinusoids have no "
            "classes to learn from)"
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
        for name in values:
            _check_column(name)
        keep = [all(getattr(r, n) == v for n, v in values.items()) for r in self.rows]
        return Study(tuple(r for r, k in zip(self.rows, keep, strict=True) if k), self.right[keep])

    def values(self, name: str) -> list[Any]:
        """The different values of a column, in order. Raises ValueError for an unknown column."""
        _check_column(name)
        return sorted({getattr(row, name) for row in self.rows})


def _check_column(name: str) -> None:
    if name not in (columns := [field.name for field in fields(Row)]):
        raise ValueError(f"the columns of a study are {', '.join(columns)}; got {name!r}")


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
        "digest": _digest(run.recipe.data),
        "seconds": round(time.perf_counter() - begun, 1),
        "rows": [asdict(Row(**shared, **figures)) for figures, _ in cells],
        "right": [right for _, right in cells],
    }


def _digest(data: str) -> str:
    """What tells the pictures of a folder from others that are there later; of other data empty."""
    if data in ("glyphs", "omniglot"):
        return ""
    splits = ("meta-train", "meta-val", "meta-test")
    return "-".join(load_split(data, split).digest for split in splits)  # type: ignore[arg-type]


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
    from .. import __version__

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
    folder = as_path("folder", folder)
    check_folder(folder)
    grid.check()
    with _alone(folder):
        return _run(grid.runs(), folder, n_jobs, scheduler, progress)


def _run(
    runs: Sequence[Run], folder: Path, n_jobs: int, scheduler: str | None, progress: bool
) -> Study:
    todo = [run for run in runs if finished(run, folder) is None]
    if lost := _without_runs(folder) - {place for run in runs for place in _places(run)}:
        raise ValueError(
            f"{folder / 'study.csv'} has {len(lost)} rows that are not of this grid, and no runs "
            "to make them of again; choose another folder"
        )
    (folder / "runs").mkdir(parents=True, exist_ok=True)  # before hours of work, not after
    remove_leftovers(folder, "study.*")
    remove_leftovers(folder / "runs", "*.json")
    failures = []
    try:
        with (
            _workers(scheduler, n_workers(n_jobs, len(todo))) as work,
            progress_bar(total=len(runs), initial=len(runs) - len(todo), show=progress) as bar,
        ):
            for key, result in work(todo):
                if "failed" in result:
                    failures.append(f"{key}: {result['failed']}")
                else:
                    save_json(_path(folder, key), result)
                bar.update()
    except BrokenProcessPool:
        raise ChildProcessError(
            "a worker was ended from outside, perhaps for lack of memory; finished runs are kept, "
            "and the same command goes on. Fewer --jobs need less memory"
        ) from None
    finally:
        study = write_table(runs, folder)
    if failures:
        raise FloatingPointError(f"{len(failures)} of {len(runs)} runs failed; {failures[0]}")
    return study


def check_workers(n_jobs: int, backend: str, scheduler: str | None) -> None:
    """Refuse a number of jobs, a backend or a scheduler that make no sense. Raises ValueError."""
    if as_integer("n_jobs", n_jobs, None) < 1 and n_jobs != -1:
        raise ValueError(f"n_jobs must be at least 1, or -1 for all cores; got {n_jobs}")
    if backend not in ("local", "dask"):
        raise ValueError(f"backend must be local or dask, got {backend!r}")
    if backend == "dask" and not scheduler:
        raise ValueError("backend dask needs the address of its scheduler, as tcp://HOST:8786")
    if backend == "local" and scheduler:
        raise ValueError(f"scheduler {scheduler} is for --backend dask; the backend is local")


def n_workers(n_jobs: int, n_runs: int) -> int:
    """Processes that work at a time: no more than asked for, than runs, and than cores."""
    cores = effective_n_jobs(-1)
    return max(1, min(n_runs, cores, cores if n_jobs == -1 else n_jobs))


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
    minutes = sum(sum(guess) / len(guess) for guess in guesses) / 60 / n_workers(n_jobs, len(todo))
    return f"{text}, in about {max(1, round(minutes))} minutes"


def _attempt(run: Run) -> tuple[str, dict[str, Any]]:
    """The run's key and result; a run that diverges does not stop the others."""
    try:
        return run.key, train_and_score(run)
    except FloatingPointError as error:
        return run.key, {"failed": str(error)}


def _attempt_below(parent: int, run: Run) -> tuple[str, dict[str, Any]]:
    """The same in a process that ends with `parent`."""
    if os.getpid() != parent and os.name == "posix":  # Windows does not say whose parent is gone
        _end_with(parent)
    return _attempt(run)


@cache
def _end_with(parent: int) -> None:
    """Have this process end soon after its parent did: nobody would take what it works out."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


Work = Callable[[Sequence[Run]], Iterable[tuple[str, dict[str, Any]]]]


@contextmanager
def _workers(scheduler: str | None, n_jobs: int) -> Iterator[Work]:
    """Where the runs go; each comes back as soon as it is done."""
    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        # No more runs are handed out than are at work: a queue of them does not take Ctrl-C well.
        with _quiet_trackers(), parallel_config(backend="loky", n_jobs=n_jobs):
            parallel = Parallel(pre_dispatch="n_jobs", **options)
            yield lambda runs: _start(parallel, runs)
    else:
        with _dask_client(scheduler) as client, parallel_config(backend="dask", client=client):
            parallel = Parallel(pre_dispatch="all", **options)
            yield lambda runs: parallel(delayed(_attempt)(run) for run in runs)


def _start(parallel: Parallel, runs: Sequence[Run]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Start processes that Ctrl-C does not reach: this one ends them, and says so in one line."""
    tasks = (delayed(_attempt_below)(os.getpid(), run) for run in runs)
    if parallel.n_jobs == 1 or not hasattr(signal, "pthread_sigmask"):  # Windows has none
        return parallel(tasks)
    for tracker in (multiprocessing.resource_tracker, loky_tracker):
        tracker.ensure_running()  # which lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return parallel(tasks)  # processes begin with the signals that are held back here
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def check_folder(folder: Path) -> None:
    """Refuse a folder where a study cannot be written, or would overwrite what is not its own.

    Raises:
        ValueError: study.csv, study.npz or runs is there and not of this program, or of a later
            version of it.
    """
    for place in (*folder.parents, folder, folder / "runs"):
        if os.path.lexists(place) and not place.is_dir():
            raise ValueError(f"{place} is there and is no folder; choose another one for the study")
    if os.path.lexists(folder / "study.csv"):
        try:
            _read_rows(folder, later=False)
        except OSError as error:
            raise ValueError(f"{folder / 'study.csv'} is no table of a study: {error}") from None
    if os.path.lexists(folder / "study.npz"):
        _read_right(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other study writes to the folder as long as the block lasts."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock"))
        except TimeoutError:
            raise OSError(
                f"another study is at work in {folder}; wait until it is done, or choose another "
                "folder"
            ) from None
        yield


def finished(run: Run, folder: Path) -> dict[str, Any] | None:
    """What the run's file holds; None if there is none, or it is of other settings or pictures."""
    content = _content(_path(folder, run.key))
    if content is None:
        return None
    now = run.settings
    recipe = without_others(now["recipe"] | content["settings"]["recipe"])
    then = content["settings"] | {"recipe": recipe}
    same = then == now and content.get("digest", "") == _digest(run.recipe.data)
    return content if same else None


def _content(path: Path) -> dict[str, Any] | None:
    """What a run's file holds; None if there is none, or, with a warning, if it is something else.

    Raises:
        ValueError: it is of a later version, which would be lost.
    """
    try:
        content = json.loads(read_bounded(path, LARGEST_FILE))
        _check_content(content)
        return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _LaterVersionError as error:
        raise ValueError(
            f"{path} is of a later version of this program ({error}); use that version, or choose "
            "another folder"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        text = f"{path} is ignored, for it is no finished run of a study ({error})"
        warnings.warn(text, stacklevel=1)  # one place, so that it is said once
        return None


class _LaterVersionError(ValueError):
    """There is more than this version knows."""


def _check_content(content: Any) -> None:
    """Refuse what is not the result of a run. Raises ValueError."""
    kinds = {"settings": dict, "seconds": int | float, "rows": list, "right": list}
    for name, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise ValueError(f"it has no {name}")
    if not isinstance(content["settings"].get("recipe"), dict):
        raise ValueError("it has no recipe")
    rows, right = content["rows"], content["right"]
    if len(rows) != len(right):
        raise ValueError(f"it has {len(rows)} rows and {len(right)} lists of right answers")
    for row, answers in zip(rows, right, strict=True):
        known = _checked_row(row)
        most = known.n_way * known.n_query
        if len(answers) != known.test_episodes or not all(
            isinstance(n, int) and 0 <= n <= most for n in answers
        ):
            raise ValueError(f"right must be {known.test_episodes} numbers from 0 to {most}")


_TYPES: dict[Any, Any] = {"int": int, "float": int | float, "str": str, "bool": bool}


def _checked_row(row: Any) -> Row:
    """A Row from the values in a run's file. Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError(f"a row is {row!r}")
    _check_columns(row, later=False)
    for field in fields(Row):
        value = row[field.name]
        is_bool = isinstance(value, bool)
        if not isinstance(value, _TYPES[field.type]) or is_bool != (field.type == "bool"):
            raise ValueError(f"{field.name} is {value!r}")
    return Row(**row)


def _check_columns(names: Iterable[str], later: bool) -> None:
    """Refuse a row that lacks a column, or, unless `later`, has more than this version knows."""
    known, names = [field.name for field in fields(Row)], list(names)
    if missing := [name for name in known if name not in names]:
        raise ValueError(f"it has no column {missing[0]}")
    more = [name for name in names if name not in known]
    if more and not later:
        raise _LaterVersionError(f"it has the column {more[0]}")


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
    if not (folder / "study.csv").is_file():
        return set()  # nothing to lose
    rows = _read_rows(folder, later=False)
    contents = [content for path in folder.glob("runs/*.json") if (content := _content(path))]
    of_runs = {_place(row) for content in contents for row in content["rows"]}
    return {_place(vars(row)) for row in rows} - of_runs


def save_study(study: Study, folder: Path) -> None:
    """Write study.csv and study.npz. Raises OSError."""
    text = io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    table.writeheader()
    table.writerows({n: _as_cell(v) for n, v in asdict(row).items()} for row in study.rows)
    with open_atomically(folder / "study.npz") as file:
        np.savez_compressed(file, right=study.right)
    with open_atomically(folder / "study.csv") as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def _as_cell(value: Any) -> Any:
    """A value as the table has it; an apostrophe keeps a spreadsheet from computing a text."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith("'") else for_table(value)


def load_study(folder: str | os.PathLike[str] = RESULTS) -> Study:
    """The study of a folder; default: the one that comes with the course.

    Raises:
        FileNotFoundError: there is none; the message says which command makes one.
        ValueError: the table and the right answers do not belong together, or are damaged.
    """
    place = as_path("folder", folder)
    return _load_study(place, _state(place))


def _state(folder: Path) -> tuple[tuple[int, ...], ...]:
    """What changes when another study is written to the folder."""
    files = [folder / "study.csv", folder / "study.npz"]
    states = [file.stat() for file in files if file.is_file()]
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)


@lru_cache(maxsize=8)  # the same object each time, which what is worked out of it is kept for
def _load_study(folder: Path, _state: tuple[tuple[int, ...], ...]) -> Study:
    rows = _read_rows(folder)
    if not rows:
        raise ValueError(f"{folder / 'study.csv'} has no rows; {_advice(folder)}")
    study = Study(tuple(rows), _read_right(folder))
    stated = np.array([row.test_accuracy for row in rows])
    if len({_place(vars(row)) for row in rows}) < len(rows):
        raise ValueError(f"{folder / 'study.csv'} has a row twice; {_advice(folder)}")
    if len(study.right) != len(rows) or not np.allclose(study.accuracy.mean(1), stated, atol=1e-5):
        raise ValueError(
            f"study.csv and study.npz in {folder} are not of one study; {_advice(folder)}"
        )
    return study


def _advice(folder: Path) -> str:
    """How to get a study."""
    if folder == RESULTS:
        return (
            "the stored study is part of the package: install it again, or make one in a folder "
            "of your own with metalearn-edu study --output FOLDER, for load_study(FOLDER)"
        )
    return f"metalearn-edu study --output {folder} makes one"


def _read_right(folder: Path) -> np.ndarray:
    """Right answers (n_rows, n_episodes). Raises ValueError, FileNotFoundError."""
    path = folder / "study.npz"
    try:
        arrays = load_arrays(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no study.npz; {_advice(folder)}") from None
    except OSError as error:
        raise ValueError(f"{path} is not of a study: {error}") from None
    right = arrays.get("right")
    if set(arrays) != {"right"} or right is None or right.ndim != 2 or right.dtype.kind not in "iu":
        raise ValueError(f"{path} is not of a study: it has the arrays {sorted(arrays)}")
    return right.astype(int)


def _read_rows(folder: Path, later: bool = True) -> list[Row]:
    """The rows of the table; `later`: also of one with more columns, which are left out."""
    path = folder / "study.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no study.csv; {_advice(folder)}")
    try:
        text = read_bounded(path, LARGEST_FILE).decode("utf-8-sig", "surrogateescape")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        _check_columns(lines.fieldnames or [], later)
        return [_row(line) for line in lines]
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no table of a study of this version: {error}") from None


_KINDS: dict[Any, Any] = {
    "int": int,
    "float": float,
    "str": lambda text: text.removeprefix("'"),
    "bool": {"True": True, "False": False}.__getitem__,
}


def _row(line: dict[str, str]) -> Row:
    """A Row from the words of one line of the table."""
    if None in line or None in line.values():
        raise ValueError("a line is longer or shorter than the first")
    return Row(**{field.name: _KINDS[field.type](line[field.name]) for field in fields(Row)})
