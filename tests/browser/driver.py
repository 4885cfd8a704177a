"""A JupyterLab of this environment and a browser that works in it: for tests and benchmark.

A lesson is opened, run and moved as a person would do it, with mouse and keyboard. What the page
knows of cells and kernel we ask JupyterLab's own objects for, not the looks of the page.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import nbformat

from tools import build_notebooks as build
from tools.instructor import solved

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Headless, offline, and at home in a container.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-dev-shm-usage", "--no-first-run", "--disable-sync"]
# Errors in the console that say nothing about the course, each with its reason.
HARMLESS = {
    "the resource monitor and others ask for extensions that are not installed": (
        r"Failed to load resource.* 404 .*(api/metrics|/lsp/status)"
    ),
}
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/kernels-settings": {"showStatusBarItem": False},
}
STATE = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const kernel = panel?.sessionContext?.session?.kernel;
    const cells = [...(panel?.content?.model?.cells ?? [])].filter((c) => c.type === "code");
    const errors = cells.filter((c) => !(c.getMetadata("tags") ?? []).includes("raises-exception"))
        .flatMap((c) => Array.from({length: c.outputs.length}, (_, i) => c.outputs.get(i).toJSON()))
        .filter((output) => output.output_type === "error")
        .map((output) => `${output.ename}: ${output.evalue}`);
    const waiting = cells.filter((c) => c.executionCount === null).length;
    return {status: kernel?.status ?? "none", cells: cells.length, waiting, errors};
}"""
CONTENT = "window.jupyterapp.shell.currentWidget.content"
PICTURES = """() => [...document.querySelectorAll(".jp-RenderedImage img")].map(
    (image) => [image.src, image.alt])"""
# Which messages to the kernel are not done yet. Widgets have a channel of their own, so that an
# answer on the main one says nothing about them.
LISTEN = """() => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const open = window.openMessages = new Set();
    kernel.anyMessage.connect((_, {msg, direction}) => {
        if (direction === "send" && msg.channel === "shell") open.add(msg.header.msg_id);
        if (msg.content.execution_state === "idle") open.delete(msg.parent_header.msg_id);
    });
}"""
# Twice, because a slider holds its newest value back while the kernel is busy. What the page has
# got it handles in order: when it has handled a new answer, it has handled all.
SETTLE = """async () => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    for (const _ of [1, 2]) {
        while (window.openMessages.size) await new Promise(requestAnimationFrame);
        await kernel.requestKernelInfo();
    }
    await new Promise(requestAnimationFrame);
}"""


def browser_path():
    """Where a Chromium lies on this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def why_not():
    """Why no browser can be driven here, or an empty string."""
    if find_spec("playwright") is None:
        return 'Playwright is not installed: pip install -e ".[test]"'
    if browser_path() is None:
        return "there is no Chromium: on Debian and Ubuntu, apt install chromium"
    return ""


def lessons():
    """The names of all lessons."""
    return [source.stem for source in build.find_sources()]


@contextmanager
def jupyterlab():
    """A server on solved copies of the notebooks; yields its address, token included."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        _copy_lessons(folder / "notebooks")
        variables = _settings(folder)
        options = ["--no-browser", "--port=0", f"--ServerApp.root_dir={folder / 'notebooks'}"]
        options += ["--LabApp.expose_app_in_browser=True", "--allow-root"]
        log = folder / "log.txt"
        with log.open("w") as stream:
            command = [sys.executable, "-m", "jupyterlab", *options]
            server = subprocess.Popen(command, env=variables, stdout=stream, stderr=stream)
            try:
                yield _address(folder, server, log)
            finally:
                server.terminate()
                try:
                    server.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    server.kill()


def _copy_lessons(folder):
    """The instructor's copies, as if no cell had been run: so we see what has.

    Beside each of them, `stored_NAME` is the learner's, as it is before anything is run.
    """
    folder.mkdir()
    for source in build.find_sources():
        shutil.copy(build.notebook_of(source), folder / f"stored_{source.stem}.ipynb")
        copy = solved(nbformat.read(build.notebook_of(source), as_version=4))
        for cell in build.code_cells(copy):
            cell.execution_count = None
        nbformat.write(copy, folder / f"{source.stem}.ipynb")


def _settings(folder):
    """The variables of a server that keeps to `folder` and asks for no news."""
    for name, values in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    places = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
    }
    paths = {name: str(folder / place) for name, place in places.items()}
    paths["JUPYTER_PATH"] = str(build.ROOT / "metalearn_edu" / "jupyter")  # as course.py does
    return {**os.environ, **paths, "METALEARN_EDU_PROGRESS": "off"}


def _address(folder, server, log, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        for path in (folder / "runtime").glob("jpserver-*.json"):
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:  # half written
                continue
            return f"{found['url']}lab/tree/{{name}}.ipynb?token={found['token']}"
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def chromium():
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Lesson:
    """A lesson open in JupyterLab.

    Args:
        browser: of Playwright.
        address: with a place for the lesson's name.
        name: of the lesson, without its ending.
        width: of the window in pixels.
    """

    def __init__(self, browser, address, name, *, width=1280):
        self.name, self.console = name, []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(60_000)
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.console.append(f"page error: {error}"))
        self.page.goto(address.format(name=name) + "&reset")
        self.wait(lambda state: state["cells"] and state["status"] == "idle", 120, "a kernel")
        self.page.evaluate(LISTEN)

    def _listen(self, message):
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(re.search(p, text) for p in HARMLESS.values()):
            self.console.append(text)

    def state(self):
        """Status of the kernel, number of code cells, how many wait, and the errors so far."""
        return self.page.evaluate(STATE)

    def notebook(self):
        """The notebook with its outputs as they are in the page now."""
        model = "window.jupyterapp.shell.currentWidget.content.model"
        return nbformat.reads(self.page.evaluate(f"() => JSON.stringify({model})"), as_version=4)

    def wait(self, condition, seconds, what):
        """Wait until a condition on `state` holds."""
        deadline = time.monotonic() + seconds
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, f"{self.name}: no {what} in {seconds} s: {state}"
            self.page.wait_for_timeout(200)
        return state

    def run_all(self, seconds=900):
        """Run All Cells, to the last or to the first error; returns the errors."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

        def over(state):
            return state["errors"] or (not state["waiting"] and state["status"] == "idle")

        return self.wait(over, seconds, "end of the run")["errors"]

    def pictures(self):
        """{source: text alternative} of each picture that stands in the output of a cell."""
        cells = self.page.evaluate(f"() => {CONTENT}.widgets.length")
        found = {}
        for number in range(cells):  # a cell is rendered when it comes near the window
            self.page.evaluate(f"() => {CONTENT}.scrollToItem({number})")
            self.page.wait_for_timeout(100)
            found |= dict(self.page.evaluate(PICTURES))
        return found

    def explorers(self):
        """The explorers in the page, from top to bottom."""
        found = self.page.locator(".jp-OutputArea-output:has(.widget-vbox .widget-html img)")
        return [InPage(self, found.nth(i)) for i in range(found.count())]

    def close(self):
        """Stop the kernel and close the page."""
        stop = "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
        self.page.evaluate(stop)
        self.page.close()


class InPage:
    """An explorer as the page shows it."""

    def __init__(self, lesson, box):
        self.lesson, self.page, self.box = lesson, lesson.page, box
        self.title = box.locator(".widget-html b").first.text_content()

    def picture(self):
        """The source of the picture."""
        return self.box.locator(".widget-html img").first.get_attribute("src")

    def message(self):
        """The line under the controls."""
        return " ".join(self.box.locator("[role=alert]").all_text_contents())

    def words(self):
        """What the picture and the score say in words."""
        return " ".join(self.box.locator("[role=status]").all_text_contents())

    def sliders(self):
        """All sliders by their description."""
        found = self.box.locator(".widget-hslider")
        return {
            found.nth(i).locator(".widget-label").text_content(): found.nth(i)
            for i in range(found.count())
        }

    def menus(self):
        """All menus by their description."""
        found = self.box.locator(".widget-dropdown")
        return {
            found.nth(i).locator(".widget-label").text_content(): found.nth(i).locator("select")
            for i in range(found.count())
        }

    def episode_button(self):
        """What stands on the button beside "Start again", or None where none can be pressed."""
        row = self.box.locator(".widget-hbox:has(> button:text-is('Start again')) > button")
        others = [button for button in row.all() if button.inner_text() != "Start again"]
        return others[0].inner_text() if others and others[0].is_enabled() else None

    def focus(self, slider):
        """Give a slider the keyboard."""
        slider.scroll_into_view_if_needed()
        slider.locator(".noUi-handle").focus()

    def press(self, *keys):
        """Press keys one after the other, as fast as they come."""
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, name):
        """Click the button with this text."""
        self.box.get_by_role("button", name=name, exact=True).click()

    def settled(self):
        """Wait until the kernel has done all that it was asked for; returns the picture."""
        self.page.evaluate(SETTLE)
        return self.picture()

    def changed(self, before, what):
        """Wait until all is still; returns the picture, which must not be `before`."""
        after = self.settled()
        assert after != before, f"{self.title}: {what} changed nothing"
        return after

    def check_no_error(self, what):
        """No line under the controls says that something went wrong; call it when all is still."""
        assert not self.message(), f"{self.title}: {what}: {self.message()}"
