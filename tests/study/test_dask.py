"""The same on a Dask cluster."""

import os
import signal
import sys
import time
from collections import Counter
from itertools import product

import pytest

from metalearn_edu.study import Grid, run_study
from tests.study.small_studies import TINY, cells


def test_dask_runs_arrive_once_though_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    grid = Grid(**(TINY | {"seeds": (0, 1), "share": 0.01}))
    one_each = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with distributed.LocalCluster(**one_each, dashboard_address=None) as cluster:
        workers = [worker.pid for worker in cluster.workers.values()]
        victim = _kill_one_in_mid_run(cluster, tmp_path)
        table = run_study(
            grid, tmp_path, backend="dask", scheduler=cluster.scheduler_address, progress=False
        )
        assert victim.result() in workers
    every = product(("prototypical", "maml"), ("glyphs",), (50,), (3, 5), (1, 2), (0, 1))
    assert Counter(cells(table)) == Counter(every)
    assert len(list((tmp_path / "runs").glob("*.json"))) == len(grid.runs())


def _kill_one_in_mid_run(cluster, folder):
    """Once a run has arrived, kill a worker that is busy with another; a future of its pid."""
    from concurrent.futures import ThreadPoolExecutor

    def kill():
        while not list((folder / "runs").glob("*.json")):
            time.sleep(0.01)
        while True:
            for state in list(cluster.scheduler.workers.values()):
                if state.processing:
                    pid = next(w.pid for w in cluster.workers.values()
                               if w.worker_address == state.address)  # fmt: skip
                    os.kill(pid, signal.SIGKILL)
                    return pid

    return ThreadPoolExecutor(1).submit(kill)


def test_a_worker_with_several_threads_is_refused(tmp_path):
    distributed = pytest.importorskip("distributed")
    wide = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    with (
        distributed.LocalCluster(**wide, dashboard_address=None) as cluster,
        pytest.raises(ValueError, match="--nthreads 1"),
    ):
        address = cluster.scheduler_address
        run_study(Grid(**TINY), tmp_path, backend="dask", scheduler=address, progress=False)


def test_dask_without_dask_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"metalearn_edu\[dask\]"):
        run_study(Grid(**TINY), tmp_path, backend="dask", scheduler="tcp://x:1", progress=False)


def test_a_scheduler_that_does_not_answer_is_an_error_in_words(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def silent(address, **options):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", silent)
    with pytest.raises(OSError, match="no Dask scheduler answers at tcp://nobody:1: timed out"):
        run_study(Grid(**TINY), tmp_path, backend="dask", scheduler="tcp://nobody:1")
