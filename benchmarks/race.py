"""One workload, several contenders, in turn: do they agree, and how long do they take?

Each contender lives in a process of its own, as it would for its users: settings of the process,
such as the pages that our package has the C library keep, are nobody else's. All wait but one.

pytest-benchmark times one function at a time; on a machine that others use too, the second would
meet another machine than the first. So the function that we give it is one ROUND, in which each
contender runs once and is timed by itself. Its own clock is the sum; ours go into `extra_info`,
and so into its JSON.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.workload import Run
from benchmarks.workloads import WORKLOADS
from metalearn_edu.engine.heap import peak_memory

__all__ = ["race"]

SECONDS = 15.0
"""About how long the rounds of one race take; at least MIN_ROUNDS of them all the same."""
MIN_ROUNDS, MAX_ROUNDS = 5, 50
TURN = 0.2
"""Seconds that a contender's turn in a round takes at least."""


def race(benchmark: Any, name: str, threads: int, memory: bool) -> None:
    """Check that the contenders of a workload agree, run them in turn, note their times.

    Raises:
        AssertionError: two contenders computed different numbers.
    """
    workload = WORKLOADS[name]
    with contextlib.ExitStack() as stack:
        ask = {c: stack.enter_context(process(name, c, threads)) for c in workload.contenders}
        start = time.perf_counter()
        results = [say("numbers") for say in ask.values()]  # and a warm-up
        one_round = max(time.perf_counter() - start, TURN * len(ask))
        difference = largest_difference(results)
        assert difference <= workload.tolerance, f"contenders differ by {difference:.1e}"
        wall: dict[str, list[float]] = {c: [] for c in ask}
        processor: dict[str, list[float]] = {c: [] for c in ask}

        def every_contender_once() -> None:
            for c, say in ask.items():
                seconds = say("seconds")
                wall[c].append(seconds[0])
                processor[c].append(seconds[1])

        rounds = max(MIN_ROUNDS, min(MAX_ROUNDS, int(SECONDS / one_round)))
        benchmark.pedantic(every_contender_once, rounds=rounds, iterations=1)
        peaks = {c: say("megabytes") for c, say in ask.items()} if memory else None
    first = next(iter(ask))
    benchmark.extra_info.update(
        workload=name,
        threads=threads,
        rounds=rounds,
        difference=difference if results[0] else None,
        wall_seconds={name: statistics.median(times) for name, times in wall.items()},
        processor_seconds={name: statistics.median(times) for name, times in processor.items()},
        speed={name: speed(times, wall[first]) for name, times in wall.items()},
        processor_speed={name: speed(t, processor[first]) for name, t in processor.items()},
        peak_megabytes=peaks,
        aims=[
            {
                **vars(aim),
                "measured": speed(wall[aim.contender], wall[aim.peer]),
                "by_processor": speed(processor[aim.contender], processor[aim.peer]),
            }
            for aim in workload.aims
        ],
    )


@contextlib.contextmanager
def process(workload: str, contender: str, threads: int) -> Iterator[Callable[[str], Any]]:
    """A process that holds one contender; says how to ask it for a MEASURE, by name."""
    context = get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=_serve, args=(there, workload, contender, threads), daemon=True)
    worker.start()
    there.close()  # or its end would not be noticed here

    def ask(what: str) -> Any:
        here.send(what)
        return here.recv()

    try:
        yield ask
    finally:
        here.close()
        worker.join()


def _serve(pipe: Connection, workload: str, contender: str, threads: int) -> None:
    torch.set_num_threads(threads)
    run = WORKLOADS[workload].contenders[contender]()
    with contextlib.suppress(EOFError):  # nobody asks any more
        while True:
            pipe.send(MEASURES[pipe.recv()](run))


def _numbers(run: Run) -> list[Any]:
    return [tensor.detach().numpy() for tensor in run()]


def _seconds(run: Run) -> tuple[float, float]:
    """By the clock, and of the processor: the mean of as many runs as TURN holds.

    One short run alone would tell how long it takes to wake up after the others' turns.
    """
    wall, processor, n_runs = time.perf_counter(), time.process_time(), 0
    while not n_runs or time.perf_counter() - wall < TURN:
        run()
        n_runs += 1
    return (time.perf_counter() - wall) / n_runs, (time.process_time() - processor) / n_runs


def _megabytes(run: Run) -> float | None:
    """What a unit of work holds at most, beyond what is held when none runs; None: not known."""
    with peak_memory() as idle:
        pass
    with peak_memory() as busy:
        run()
    more = busy.megabytes - idle.megabytes
    return None if math.isnan(more) else more


MEASURES = {"numbers": _numbers, "seconds": _seconds, "megabytes": _megabytes}


def speed(times: list[float], peer: list[float]) -> float:
    """How many times faster than `peer`: the median over the rounds, each taken by itself."""
    return statistics.median(p / t for p, t in zip(peer, times, strict=True))


def largest_difference(results: list[Sequence[Any]]) -> float:
    """Largest |a - b| / |a| between a tensor a of the first result and its like b in another."""
    first, *others = [[torch.from_numpy(a).double() for a in result] for result in results]
    pairs = [pair for other in others for pair in zip(first, other, strict=True)]
    return max((float((a - b).norm() / a.norm()) for a, b in pairs), default=0.0)
