"""Where the runs of a study are done: in processes of this machine, or on a Dask cluster.

The processes of this machine end with the process that started them, and Ctrl-C reaches only that
process.
"""

from __future__ import annotations

import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.externals.loky.backend import resource_tracker as loky_tracker

from ..basics.arguments import as_integer
from .grid import Run
from .one_run import train_and_score

__all__ = ["Result", "Work", "check_workers", "n_workers", "workers"]

Result = tuple[str, dict[str, Any]]
"""A run's key, and the content of its file; {"failed": why} for a run that diverged."""

Work = Callable[[Sequence[Run]], Iterable[Result]]


def check_workers(n_jobs: int, backend: str, scheduler: str | None) -> None:
    """Refuse a senseless number of jobs, backend or scheduler. Raises ValueError."""
    if as_integer("n_jobs", n_jobs, None) < 1 and n_jobs != -1:
        raise ValueError(f"n_jobs must be at least 1, or -1 for all cores; got {n_jobs}")
    if backend not in ("local", "dask"):
        raise ValueError(f"backend must be local or dask, got {backend!r}")
    if backend == "dask" and not scheduler:
        raise ValueError("backend dask needs the address of its scheduler, as tcp://HOST:8786")
    if backend == "local" and scheduler:
        raise ValueError(f"scheduler {scheduler} is for --backend dask; the backend is local")


def n_workers(n_jobs: int, n_runs: int) -> int:
    """Processes that work at the same time: at most as many as requested, as runs, and as cores."""
    cores = effective_n_jobs(-1)
    return max(1, min(n_runs, cores, cores if n_jobs == -1 else n_jobs))


@contextmanager
def workers(scheduler: str | None, n_jobs: int) -> Iterator[Work]:
    """Where the runs are done; each result comes back as soon as it is ready."""
    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        # We hand out no more runs than there are workers, because a queue of runs handles Ctrl-C
        # badly.
        with _quiet_trackers(), parallel_config(backend="loky", n_jobs=n_jobs):
            parallel = Parallel(pre_dispatch="n_jobs", **options)
            yield lambda runs: _start(parallel, runs)
    else:
        with _dask_client(scheduler) as client, parallel_config(backend="dask", client=client):
            parallel = Parallel(pre_dispatch="all", **options)
            yield lambda runs: parallel(delayed(_attempt)(run) for run in runs)


def _start(parallel: Parallel, runs: Sequence[Run]) -> Iterable[Result]:
    """Start processes that Ctrl-C does not reach; this process ends them and prints one line."""
    tasks = (delayed(_attempt_below)(os.getpid(), run) for run in runs)
    if parallel.n_jobs == 1 or not hasattr(signal, "pthread_sigmask"):  # Windows has none
        return parallel(tasks)
    for tracker in (multiprocessing.resource_tracker, loky_tracker):
        tracker.ensure_running()  # which lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return parallel(tasks)  # new processes inherit the signals that are blocked here
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _attempt(run: Run) -> Result:
    """The run's key and result; a run that diverges does not stop the others."""
    try:
        return run.key, train_and_score(run)
    except FloatingPointError as error:
        return run.key, {"failed": str(error)}


def _attempt_below(parent: int, run: Run) -> Result:
    """The same, in a process that ends with `parent`."""
    if os.getpid() != parent and os.name == "posix":  # Windows cannot tell
        _end_with(parent)
    return _attempt(run)


@cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent has ended, because nobody would use its results."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
