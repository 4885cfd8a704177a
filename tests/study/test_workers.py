"""Runs at a time, and what happens to them when one is stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from metalearn_edu.study import Grid, load_study, run_study, workers
from metalearn_edu.study.folder import finished, run_file
from tests.study.small_studies import SMALL_TINY, TINY, cells, start


@pytest.mark.parametrize(
    ("n_jobs", "n_runs", "cores", "expected"),
    [(12, 2, 64, 2), (10**25, 162, 8, 8), (-1, 162, 8, 8), (-1, 3, 8, 3), (2, 162, 8, 2),
     (-1, 0, 8, 1)],
)  # fmt: skip
def test_no_more_workers_than_runs_and_cores(monkeypatch, n_jobs, n_runs, cores, expected):
    monkeypatch.setattr(workers, "effective_n_jobs", lambda n: cores)
    assert workers.n_workers(n_jobs, n_runs) == expected


def children(pid):
    asked = subprocess.run(  # -ww: else a long path is cut off where COLUMNS is set
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True
    )
    lines = [line.split(None, 1) for line in asked.stdout.decode().splitlines()]
    return [int(child) for child, words in lines if "popen_loky" in words]


needs_ps = pytest.mark.skipif(not shutil.which("ps") or sys.platform != "linux", reason="no ps")


def workers_of(process, number=2):
    end = time.monotonic() + 120
    while len(found := children(process.pid)) < number:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    return found


@needs_ps
def test_a_worker_that_is_killed_is_one_line(tmp_path):
    process = start(tmp_path, "--jobs", "2", "--quiet")
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode not in (0, 130) and "Traceback" not in err
    assert "a worker was ended from outside" in err and err.count("\n") == 1


@needs_ps
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_study_whenever_it_is_stopped(tmp_path, stop):
    """At a moment when they still import torch: Ctrl-C reaches all of a terminal's processes."""
    process = start(tmp_path, "--jobs", "2", "--quiet")
    workers = workers_of(process)
    time.sleep(0.5)  # by then they have been told what to do
    for pid in [*workers, process.pid] if stop == signal.SIGINT else [process.pid]:
        os.kill(pid, stop)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert "Traceback" not in err and err.count("\n") <= 1
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.1)


def wait_for_runs(folder, number, process, patience=240):
    end = time.monotonic() + patience
    while len(list((folder / "runs").glob("*.json"))) < number:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(("stop", "jobs"), [(signal.SIGINT, "2"), (signal.SIGKILL, "2")])
def test_a_study_that_was_stopped_goes_on(tmp_path, stop, jobs):
    process = start(tmp_path, "--jobs", jobs)
    wait_for_runs(tmp_path, 1, process)
    os.killpg(process.pid, stop)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop), err
    if stop == signal.SIGINT:
        assert "stopped; 3 runs" in err and "Traceback" not in err and "Warning" not in err
    runs = SMALL_TINY.runs()
    done = [run for run in runs if finished(run, tmp_path)]
    assert len(done) == len(list((tmp_path / "runs").glob("*.json"))) >= 1
    before = {run: run_file(tmp_path, run.key).stat().st_mtime_ns for run in done}

    process = start(tmp_path, "--jobs", jobs, "--quiet")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"3 runs, 8 rows: {len(done)} done" in out and "8 rows in" in out
    assert {run: run_file(tmp_path, run.key).stat().st_mtime_ns for run in done} == before
    every = product(("prototypical", "maml"), ("glyphs",), (50,), (3, 5), (1, 2), (0,))
    assert Counter(cells(load_study(tmp_path))) == Counter(every)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"backend": "dask"}, ValueError, "address of its scheduler"),
        ({"backend": "slurm"}, ValueError, "local or dask, got 'slurm'"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be at least 1, or -1"),
        ({"n_jobs": -2}, ValueError, "n_jobs must be at least 1, or -1"),
        ({"n_jobs": 1.5}, ValueError, "n_jobs must be an integer"),
        ({"n_jobs": float("nan")}, ValueError, "n_jobs must be an integer"),
    ],
)
def test_a_place_that_does_not_exist_is_refused(tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        run_study(Grid(**TINY), tmp_path, progress=False, **options)
    assert not list(tmp_path.iterdir())
