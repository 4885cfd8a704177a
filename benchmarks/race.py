"""One workload, several contenders, in turn: do they agree, and how long do they take?

pytest-benchmark times one function at a time; on a machine that others use too, the second would
meet another machine than the first. So the function that we give it is one ROUND, in which each
contender runs once and is timed by itself. Its own clock is the sum; ours go into `extra_info`,
and so into its JSON.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Aim", "Workload", "race"]

Run = Callable[[], Sequence[Tensor]]
"""One unit of work; returns the numbers in which all contenders must agree, or none."""

SECONDS = 15.0
"""About how long the rounds of one race take; at least MIN_ROUNDS of them all the same."""
MIN_ROUNDS, MAX_ROUNDS = 5, 50


@dataclass(frozen=True)
class Aim:
    """`contender` takes at most 1 / speed of the time of `peer`."""

    contender: str
    peer: str
    speed: float


@dataclass(frozen=True)
class Workload:
    """What is raced.

    Attributes:
        contenders: by name, a function that builds a Run; the first is what speeds are relative to.
        aims: what we want to see.
        tolerance: largest relative difference (Euclidean norm) from the first one's numbers.
        threads: the numbers of threads to run with.
        memory: whether to measure each contender's peak of memory too.
    """

    contenders: Mapping[str, Callable[[], Run]]
    aims: tuple[Aim, ...] = ()
    tolerance: float = 1e-3
    threads: tuple[int, ...] = (1, 2)
    memory: bool = True


def race(benchmark: Any, workload: Workload, threads: int) -> None:
    """Check that the contenders of `workload` agree, run them in turn, note their times.

    Raises:
        AssertionError: two contenders computed different numbers.
    """
    torch.set_num_threads(threads)
    runs = {name: make() for name, make in workload.contenders.items()}
    start = time.perf_counter()
    results = [run() for run in runs.values()]  # and a warm-up
    difference = largest_difference(results)
    one_round = time.perf_counter() - start
    assert difference <= workload.tolerance, f"contenders differ by {difference:.1e}"
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}

    def every_contender_once() -> None:
        for name, run in runs.items():
            start_wall, start_processor = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - start_wall)
            processor[name].append(time.process_time() - start_processor)

    rounds = max(MIN_ROUNDS, min(MAX_ROUNDS, int(SECONDS / one_round)))
    benchmark.pedantic(every_contender_once, rounds=rounds, iterations=1)
    first = next(iter(runs))
    benchmark.extra_info.update(
        threads=threads,
        rounds=rounds,
        difference=difference if results[0] else None,
        wall_seconds={name: statistics.median(times) for name, times in wall.items()},
        processor_seconds={name: statistics.median(times) for name, times in processor.items()},
        speed={name: speed(times, wall[first]) for name, times in wall.items()},
        processor_speed={name: speed(t, processor[first]) for name, t in processor.items()},
        aims=[
            {
                **vars(aim),
                "measured": speed(wall[aim.contender], wall[aim.peer]),
                "by_processor": speed(processor[aim.contender], processor[aim.peer]),
            }
            for aim in workload.aims
        ],
    )


def speed(times: list[float], peer: list[float]) -> float:
    """How many times faster than `peer`: the median over the rounds, each taken by itself."""
    return statistics.median(p / t for p, t in zip(peer, times, strict=True))


def largest_difference(results: list[Sequence[Tensor]]) -> float:
    """Largest |a - b| / |a| between a tensor a of the first result and its like b in another."""
    first, *others = [[tensor.double() for tensor in result] for result in results]
    pairs = [pair for other in others for pair in zip(first, other, strict=True)]
    return max((float((a - b).norm() / a.norm()) for a, b in pairs), default=0.0)
