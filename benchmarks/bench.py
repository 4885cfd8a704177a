"""Every workload becomes a race, once for each number of threads."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.race import race
from benchmarks.workloads import WORKLOADS

CASES = [
    pytest.param(name, threads, id=f"{name}-{threads}thread{'s' * (threads > 1)}")
    for name, workload in WORKLOADS.items()
    for threads in workload.threads
]


@pytest.mark.parametrize(("name", "threads"), CASES)
def test_race(name: str, threads: int, benchmark: Any, pytestconfig: Any) -> None:
    """The contenders' numbers agree; times, speeds and memory go into the table and the JSON."""
    wanted = WORKLOADS[name].memory and threads == 1 and not pytestconfig.getoption("--no-memory")
    race(benchmark, name, threads, wanted)
    pytestconfig.results.append(benchmark.extra_info)
