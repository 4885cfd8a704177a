"""All runs of a study: do those that are not done yet, and count them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from ..basics.files import as_path, remove_leftovers, save_json
from ..basics.progress import progress_bar
from .folder import (
    alone,
    check_folder,
    finished,
    row_keys,
    rows_without_runs,
    run_file,
    write_table,
)
from .grid import Grid, Run
from .table import Study
from .workers import Result, check_workers, n_workers, workers

__all__ = ["run_study", "state_of"]


def run_study(
    grid: Grid,
    folder: Path,
    *,
    n_jobs: int = -1,
    backend: str = "local",
    scheduler: str | None = None,
    progress: bool = True,
) -> Study:
    """Do the runs of the grid that are not done, then write and return the complete table.

    Args:
        grid: what to measure.
        folder: holds a file for each finished run in `runs`, and study.csv and study.npz.
        n_jobs: runs at a time on this machine, one thread each; -1: as many as it has cores.
        backend: "local" processes, or the workers of a "dask" cluster.
        scheduler: address of Dask's scheduler, such as tcp://10.0.0.1:8786.
        progress: show a progress bar.
    Raises:
        ValueError: an impossible grid, backend or n_jobs, Dask is not installed, or the folder has
            the table of another study.
        FloatingPointError: some runs diverged; all others are finished and stored.
        OSError: the folder cannot be written, the data are missing, or no scheduler answers.
    """
    check_workers(n_jobs, backend, scheduler)
    folder = as_path("folder", folder)
    check_folder(folder)
    grid.check()
    with alone(folder):
        return _run(grid.runs(), folder, n_jobs, scheduler, progress)


def _run(
    runs: Sequence[Run], folder: Path, n_jobs: int, scheduler: str | None, progress: bool
) -> Study:
    """What `run_study` does once it has locked the folder."""
    todo = [run for run in runs if finished(run, folder) is None]
    _refuse_to_lose_rows(runs, folder)
    (folder / "runs").mkdir(parents=True, exist_ok=True)  # check before hours of work, not after
    remove_leftovers(folder, "study.*")
    remove_leftovers(folder / "runs", "*.json")
    try:
        with (
            workers(scheduler, n_workers(n_jobs, len(todo))) as work,
            progress_bar(total=len(runs), initial=len(runs) - len(todo), show=progress) as bar,
        ):
            failures = _stored(work(todo), folder, bar)
    except BrokenProcessPool:
        raise ChildProcessError(
            "a worker was ended from outside, perhaps for lack of memory; finished runs are kept, "
            "and the same command continues. Fewer --jobs need less memory"
        ) from None
    finally:
        study = write_table(runs, folder)
    if failures:
        raise FloatingPointError(f"{len(failures)} of {len(runs)} runs failed; {failures[0]}")
    return study


def _stored(results: Iterable[Result], folder: Path, bar: Any) -> list[str]:
    """Write each run's file as soon as the run is done; return the messages of failed runs."""
    failures = []
    for key, result in results:
        if "failed" in result:
            failures.append(f"{key}: {result['failed']}")
        else:
            save_json(run_file(folder, key), result)
        bar.update()
    return failures


def _refuse_to_lose_rows(runs: Sequence[Run], folder: Path) -> None:
    """Raises ValueError: the table has rows that neither these runs nor files there would give."""
    if lost := rows_without_runs(folder) - {key for run in runs for key in row_keys(run)}:
        raise ValueError(
            f"{folder / 'study.csv'} has {len(lost)} rows that are not of this grid, and no runs "
            "to make them of again; choose another folder"
        )


def state_of(grid: Grid, folder: Path, n_jobs: int = -1) -> str:
    """How many runs of the grid are done in `folder`, and about how long the rest will take."""
    runs = grid.runs()
    contents = {run: finished(run, folder) for run in runs}
    seconds = [(r.recipe.algorithm, c["seconds"]) for r, c in contents.items() if c is not None]
    todo = [run.recipe.algorithm for run in runs if contents[run] is None]
    n_rows = sum(run.n_rows for run in runs)
    text = f"{len(runs)} runs, {n_rows} rows: {len(seconds)} done, {len(todo)} to do"
    if not todo or not seconds:
        return text + (", how long they take is not known yet" if todo else "")
    of_all = [s for _, s in seconds]
    guesses = [[s for name, s in seconds if name == algorithm] or of_all for algorithm in todo]
    minutes = sum(sum(guess) / len(guess) for guess in guesses) / 60 / n_workers(n_jobs, len(todo))
    return f"{text}, in about {max(1, round(minutes))} minutes"
