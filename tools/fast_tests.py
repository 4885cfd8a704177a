"""A part of pytest: `--fast` leaves out notebooks, browsers and each test that takes long.

They are listed in tests/slow.txt, one function per line; `make slow` measures them again. Time
is processor time, of the processes that a test starts too, so that a busy machine changes little.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import course

__all__ = ["SECONDS", "SLOW", "slow_tests"]

SLOW = course.ROOT / "tests" / "slow.txt"
SECONDS = 1.0
"""Seconds from which a test is slow, all its parameters together."""
NEVER_FAST = ("notebooks/", "tests/browser/")
ALWAYS = ("tests/test_lint.py", "tests/test_english.py")
"""Tests that every change needs, however long they take: lint, types and English."""


def slow_tests() -> frozenset[str]:
    """The names of the slow tests, without their parameters."""
    lines = SLOW.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def pytest_addoption(parser: Any) -> None:
    """Two options, used by course.py and by make."""
    parser.addoption("--fast", action="store_true", help="leave out what takes long")
    parser.addoption("--measure-slow", action="store_true", help="rewrite tests/slow.txt")


def pytest_ignore_collect(collection_path: Any, config: Any) -> bool | None:
    """With --fast, do not read files that are left out completely."""
    if not config.option.fast or not collection_path.is_relative_to(course.ROOT):
        return None
    name = collection_path.relative_to(course.ROOT).as_posix()
    return True if f"{name}/".startswith(NEVER_FAST) else None


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out the slow ones."""
    if not config.option.fast:
        return
    slow = slow_tests()
    left_out = [item for item in items if _name(item.nodeid) in slow]
    items[:] = [item for item in items if _name(item.nodeid) not in slow]
    config.hook.pytest_deselected(items=left_out)


def _name(nodeid: str) -> str:
    return nodeid.partition("[")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: Any) -> Iterator[None]:
    """Measure the test with what it needs before and after."""
    item.started = _seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    """Send the measured time along, from the process that ran the test to the one that reports."""
    if call.when == "teardown":
        item.user_properties.append(("processor_seconds", _seconds() - item.started))
    return (yield)


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


_measured: dict[str, float] = {}


def pytest_runtest_logreport(report: Any) -> None:
    """Add up what the parameters of a test took."""
    for name, seconds in report.user_properties:
        if name == "processor_seconds" and report.when == "teardown":
            test = _name(report.nodeid)
            _measured[test] = _measured.get(test, 0.0) + seconds


def pytest_sessionfinish(session: Any) -> None:
    """Write the list, if all tests were measured."""
    if session.config.option.measure_slow and not hasattr(session.config, "workerinput"):
        tests = {name: s for name, s in _measured.items() if name.startswith("tests/")}
        slow = sorted(n for n, s in tests.items() if s >= SECONDS and not n.startswith(ALWAYS))
        head = "# Tests that `python course.py test --fast` leaves out; made by `make slow`."
        SLOW.write_text("\n".join([head, *slow]) + "\n", encoding="utf-8")


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """With --fast, say what it left out and which tests were not fast."""
    if config.option.fast:
        terminalreporter.line(
            f"left out: the notebooks, the browser, and {len(slow_tests())} slow tests (tests/"
            "slow.txt); `python course.py test` runs all"
        )
        for test, seconds in sorted(_measured.items()):
            if seconds >= 2 * SECONDS and not test.startswith(ALWAYS):
                terminalreporter.line(f"slow: {test} took {seconds:.1f} s; see tests/slow.txt")
