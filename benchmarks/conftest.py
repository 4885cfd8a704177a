"""The table of `make bench`, and what leaves parts of it out."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.peers import MISSING


def pytest_addoption(parser: Any) -> None:
    """--no-memory: times only."""
    parser.addoption("--no-memory", action="store_true", help="leave out the peaks of memory")


def pytest_configure(config: Any) -> None:
    """A place for the results."""
    config.results = []


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """One line for each contender of each race, and one for each aim."""
    write = terminalreporter.write_line
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    for info in config.results:
        write("")
        write(
            f"{info['workload']} (threads {info['threads']}, {info['rounds']} rounds, numbers "
            f"agree to {info['difference']:.0e})"
        )
        write(f"  {'':28}{'median ms':>12}{'speed':>8}{'CPU speed':>11}{'peak MB':>10}")
        for name, seconds in info["wall_seconds"].items():
            peak = (info.get("peak_megabytes") or {}).get(name)
            write(
                f"  {name:28}{1000 * seconds:12.2f}{info['speed'][name]:8.2f}"
                f"{info['processor_speed'][name]:11.2f}{'' if peak is None else f'{peak:.0f}':>10}"
            )
        for aim in info["aims"]:
            verdict = "met" if aim["measured"] >= aim["speed"] else "MISSED"
            write(
                f"  aim: {aim['contender']} at {aim['speed']} x the speed of {aim['peer']}: "
                f"{aim['measured']:.2f}, {verdict}"
            )
    write("")
    write(f"load average now: {load}. Speed: relative to the first line, median over rounds.")
    for name in MISSING:
        write(f"{name}: left out, it cannot be imported here.")
