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
    """A table of each race, one of all aims, and what one should know to read them."""
    write = terminalreporter.write_line
    for info in config.results:
        for line in race_table(info):
            write(line)
    for line in aims_table(config.results):
        write(line)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    write("")
    write(f"Load average now: {load}, processors: {os.cpu_count()}. Speed is relative to the first")
    write("line of a race, the median over its rounds. Where others use the machine too, go by the")
    write("speed in CPU time, on one thread.")
    for name in MISSING:
        write(f"{name}: left out, it cannot be imported here; make bench PEERS={name} installs it.")


def race_table(info: dict[str, Any]) -> list[str]:
    """One line for each contender."""
    difference = info["difference"]
    agree = "no numbers to compare" if difference is None else f"numbers agree to {difference:.0e}"
    lines = [
        "",
        f"{info['workload']} (threads {info['threads']}, {info['rounds']} rounds, {agree})",
        f"  {'':28}{'median ms':>12}{'speed':>9}{'CPU speed':>11}{'peak MB':>10}",
    ]
    for name, seconds in info["wall_seconds"].items():
        peak = (info.get("peak_megabytes") or {}).get(name)
        lines.append(
            f"  {name:28}{1000 * seconds:12.2f}{info['speed'][name]:9.2f}"
            f"{info['processor_speed'][name]:11.2f}{'' if peak is None else f'{peak:.0f}':>10}"
        )
    return lines


def aims_table(results: list[dict[str, Any]]) -> list[str]:
    """One line for each aim of each race."""
    lines = [
        "",
        f"{'workload':40}{'threads':>8}  {'whose speed, relative to whom':52}"
        f"{'aim':>6}{'speed':>9}{'CPU speed':>11}",
    ]
    for info in results:
        for aim in info["aims"]:
            who = f"{aim['contender']} / {aim['peer']}"
            verdict = "met" if aim["measured"] >= aim["speed"] else "MISSED"
            lines.append(
                f"{info['workload']:40}{info['threads']:8}  {who:52}{aim['speed']:6.2f}"
                f"{aim['measured']:9.2f}{aim['by_processor']:11.2f}  {verdict}"
            )
    return lines
