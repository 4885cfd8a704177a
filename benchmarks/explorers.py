"""From a pressed key to the new picture, in a Chromium: the explorers of each lesson.

The clock is the page's own: it starts when a slider hears the key, and stops when the new picture
is decoded, ready for the next frame. A key that changes nothing is not counted.
"""

from __future__ import annotations

import os
import statistics
from typing import Any

import pytest

from tests.browser import driver
from tests.browser.conftest import open_lesson  # noqa: F401 - a fixture

N_KEYS = 12  # for each slider
FIGURE, INNER_LOOP = 150, 300  # aims for the median, in milliseconds
WITH_INNER_LOOP = {
    "Three starts, any sine wave",
    "One start, any five letters",
    "A step size for every weight",
}
WATCH = """(box) => {
    const shown = () => box.querySelector(".widget-html img");
    const before = shown().src;
    let start;
    box.addEventListener("keydown", () => start = performance.now(), {capture: true, once: true});
    window.latency = null;
    window.watch?.disconnect(); // of a key that changed nothing
    window.watch = new MutationObserver(async () => {
        const picture = shown();
        if (!picture || picture.src === before) return;
        window.watch.disconnect();
        await picture.decode();
        window.latency = performance.now() - start;
    });
    window.watch.observe(box, {subtree: true, childList: true});
}"""


@pytest.mark.parametrize("name", driver.lessons())
def test_latency(
    open_lesson: Any,  # noqa: F811
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line for each explorer; no line says that a slow one has failed."""
    lesson = open_lesson(name)
    assert lesson.run_all() == []
    for explorer in {found.title: found for found in lesson.explorers()}.values():
        with capsys.disabled():
            print("\n" + summary(explorer.title, latencies(explorer)), end="", flush=True)
    lesson.close()


def latencies(explorer: driver.InPage) -> list[float]:
    """Milliseconds from key to picture, over all sliders."""
    found = []
    for slider in explorer.sliders().values():
        explorer.focus(slider)
        explorer.press("Home")
        for _ in range(N_KEYS):
            explorer.settled()
            explorer.box.evaluate(WATCH)
            explorer.press("ArrowRight")
            explorer.settled()
            found.append(explorer.page.evaluate("() => window.latency"))
    return [value for value in found if value is not None]


def summary(title: str, values: list[float]) -> str:
    """Median, 95th percentile and aim of an explorer in words."""
    if len(values) < 2:
        return f"  {title}: it has no sliders"
    aim = INNER_LOOP if title in WITH_INNER_LOOP else FIGURE
    median, slow = statistics.median(values), statistics.quantiles(values, n=20)[-1]
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"  {title}: median {median:.0f} ms, 95th percentile {slow:.0f} ms of {len(values)} keys; "
        f"aim {aim} ms: {'met' if median <= aim else 'MISSED'}{load}"
    )
