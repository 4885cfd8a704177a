"""course.py: what it installs and how, what it survives, and what it says.

Nothing is downloaded here: installations are recorded instead of run, environments are made
empty, and indexes are little web servers on this machine.
"""

import http.server
import importlib.util
import os
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import course

UV = "/somewhere/uv"


class Recorder:
    """Stands in for course.run: makes environments for real, records the installations."""

    def __init__(self, failing=(), interrupt=False):
        self.commands, self.failing, self.interrupt = [], failing, interrupt

    def __call__(self, command, *, quiet=False):
        if "venv" in command:
            return subprocess.run(command).returncode
        self.commands.append(command)
        if self.interrupt:
            raise KeyboardInterrupt
        return int(any(name in command for name in self.failing))

    @property
    def installs(self):
        return [command for command in self.commands if "install" in command]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """course.py in a folder of its own, with a space in its name; no uv, no index."""
    root = tmp_path / "my course"
    root.mkdir()
    for name in ("course.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(course.ROOT / name, root)
    spec = importlib.util.spec_from_file_location("course_copy", root / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "run", Recorder())
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setenv("COURSE_TORCH_INDEX", "")
    return module


@pytest.fixture
def index():
    """The address of a package index on this machine that has torch and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cpu"
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent_index():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def use_uv(copy, monkeypatch, **options):
    monkeypatch.setattr(copy.shutil, "which", lambda name: UV if name == "uv" else None)
    monkeypatch.setattr(copy, "run", Recorder(**options))


# --- the command line ------------------------------------------------------------------------


def call(*arguments):
    # -S: without installed packages, as on a fresh machine
    command = [sys.executable, "-S", str(course.ROOT / "course.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_help_needs_no_package(arguments):
    done = call(*arguments)
    assert done.returncode == 0
    assert all(f"python course.py {name}" in done.stdout for name in ("lab", "test", "build"))


def test_unknown_command_shows_the_usage():
    done = call("tset")
    assert done.returncode == 2
    assert "there is no command 'tset'" in done.stderr
    assert "python course.py test" in done.stderr


def test_old_python_gets_one_line(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(course.ROOT / "course.py"))
    assert "needs Python 3.11 or newer" in str(stop.value)
    assert "\n" not in str(stop.value)


def test_lab_passes_its_options_on(copy, monkeypatch):
    seen = []
    monkeypatch.setattr(copy, "prepare", lambda: None)
    monkeypatch.setattr(copy, "hand_over", lambda command, variables: seen.append(command) or 0)
    assert copy.main(["lab", "--no-browser", "--port", "9999"]) == 0
    assert seen[0][:3] == ["-m", "jupyter", "lab"]
    assert seen[0][3].endswith("/lab/tree/notebooks/00_start_here.ipynb")
    assert seen[0][-3:] == ["--no-browser", "--port", "9999"]


def test_tests_run_one_notebook_a_worker_on_one_thread(copy, monkeypatch):
    seen = []
    monkeypatch.setattr(copy, "prepare", lambda: None)
    monkeypatch.setattr(copy, "hand_over", lambda *call: seen.append(call) or 5)
    assert copy.main(["test", "-k", "maml"]) == 5
    command, variables = seen[0]
    assert command[command.index("--dist") + 1] == "loadfile"
    assert command[-2:] == ["-k", "maml"]
    assert variables["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_that_of_the_program(code):
    script = (
        "import sys, course; course.PYTHON = course.Path(sys.executable)\n"
        f"sys.exit(course.hand_over(['-c', 'raise SystemExit({code})'], course.environment()))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=course.ROOT).returncode == code


def test_programs_see_only_the_courses_settings(copy, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.delenv("METALEARN_EDU_CACHE", raising=False)
    monkeypatch.setenv("IPYTHONDIR", "/mine")
    variables = copy.environment(MORE="yes")
    assert "PYTHONPATH" not in variables and "MPLBACKEND" not in variables
    assert Path(variables["METALEARN_EDU_CACHE"]).is_relative_to(copy.ROOT)
    assert variables["IPYTHONDIR"] == "/mine"
    assert variables["MORE"] == "yes"
    assert variables["PATH"].startswith(str(copy.PYTHON.parent))


# --- installing ------------------------------------------------------------------------------


def test_first_run_installs_the_pinned_course_and_the_second_does_nothing(copy, capsys):
    copy.prepare()
    (install,) = copy.run.installs
    assert install[1:4] == ["-m", "pip", "install"]
    assert install[install.index("--constraint") + 1] == "constraints.txt"
    assert install[install.index("--editable") + 1] == ".[test]"
    assert "Ready" in capsys.readouterr().out
    copy.run.commands.clear()
    copy.prepare()
    assert copy.run.commands == []
    assert capsys.readouterr().out == ""


def test_two_at_once_install_once(copy, capsys):
    copy.prepare()
    copy.STAMP.write_text(copy.UNFINISHED)
    commands = copy.run.commands[:]
    with copy.alone():  # as another course.py in the midst of its work
        waiting = threading.Thread(target=copy.prepare, daemon=True)
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive() and copy.PYTHON.exists()
        copy.STAMP.write_text(copy.wanted_stamp())
    waiting.join(10)
    assert not waiting.is_alive() and copy.run.commands == commands
    assert "waiting for it" in capsys.readouterr().out


def test_uv_is_used_where_it_is(copy, monkeypatch):
    use_uv(copy, monkeypatch)
    copy.prepare()
    (install,) = copy.run.commands
    assert install[:3] == [UV, "pip", "install"]
    assert install[install.index("--constraint") + 1] == "constraints.txt"


def test_pip_takes_over_where_uv_fails(copy, monkeypatch, capsys):
    use_uv(copy, monkeypatch, failing=[UV])
    copy.prepare()
    first, second = copy.run.installs
    assert first[0] == UV and second[1:3] == ["-m", "pip"]
    assert "constraints.txt" in second
    assert "uv could not install the course" in capsys.readouterr().out


@pytest.mark.parametrize(
    "index, linux_cpu, asked", [("", True, False), (None, True, True), (None, False, False)]
)
def test_uv_must_find_the_cpu_build_where_no_index_gives_it(
    copy, monkeypatch, index, linux_cpu, asked
):
    use_uv(copy, monkeypatch)
    monkeypatch.setattr(copy, "answers", lambda address: False)
    monkeypatch.setattr(copy, "wants_cpu_wheels", lambda: linux_cpu)
    monkeypatch.delenv("COURSE_TORCH_INDEX")
    if index is not None:
        monkeypatch.setenv("COURSE_TORCH_INDEX", index)
    copy.prepare()
    (install,) = copy.run.commands
    assert any(word.startswith("torch==") and word.endswith("+cpu") for word in install) is asked


def test_a_failed_installation_is_said_and_tried_again(copy, monkeypatch):
    monkeypatch.setattr(copy, "run", Recorder(failing=["install"]))
    with pytest.raises(SystemExit, match="the installation failed"):
        copy.prepare()
    monkeypatch.setattr(copy, "run", Recorder())
    copy.prepare()
    assert len(copy.run.installs) == 1


def test_python_without_venv_gets_one_line(copy, monkeypatch):
    monkeypatch.setattr(copy, "run", Recorder(failing=["import pip"]))
    monkeypatch.setattr(copy.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv") as stop:
        copy.prepare()
    assert "\n" not in str(stop.value)


# --- what is found in .venv ------------------------------------------------------------------


def test_an_interrupted_installation_is_made_anew(copy, monkeypatch, capsys):
    monkeypatch.setattr(copy, "run", Recorder(interrupt=True))
    with pytest.raises(KeyboardInterrupt):
        copy.prepare()
    (copy.VENV / "half a package").touch()
    monkeypatch.setattr(copy, "run", Recorder())
    copy.prepare()
    assert not (copy.VENV / "half a package").exists()
    assert "making it anew" in capsys.readouterr().out


@pytest.mark.parametrize("leftover", ["empty", "no python"])
def test_a_broken_environment_is_made_anew(copy, leftover):
    copy.VENV.mkdir()
    if leftover == "no python":
        (copy.VENV / "pyvenv.cfg").touch()
    copy.prepare()
    assert copy.PYTHON.exists()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_new_requirements_are_installed_into_the_same_environment(copy, name):
    copy.prepare()
    (copy.VENV / "a package of mine").touch()
    with (copy.ROOT / name).open("a") as file:
        file.write("\n# changed\n")
    copy.prepare()
    assert len(copy.run.installs) == 2
    assert (copy.VENV / "a package of mine").exists()


def test_an_environment_of_another_place_is_made_anew(copy):
    copy.prepare()
    copy.STAMP.write_text("Python 3.11 in /where/it/was\n0\n")
    copy.prepare()
    assert len(copy.run.installs) == 2
    assert copy.stamp() == copy.wanted_stamp()


def test_a_persons_own_environment_is_kept_and_filled(copy):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(copy.VENV)], check=True)
    (copy.VENV / "a package of mine").touch()
    copy.prepare()
    assert len(copy.run.installs) == 1
    assert (copy.VENV / "a package of mine").exists()


def test_clean_removes_what_was_made_and_nothing_else(copy, capsys):
    copy.prepare()
    keep = [copy.ROOT / "course.py", copy.ROOT / "notebooks" / "00_start_here.ipynb"]
    keep[1].parent.mkdir()
    keep[1].touch()
    for folder in (".cache/metalearn_edu", "tests/__pycache__", "metalearn_edu.egg-info"):
        (copy.ROOT / folder).mkdir(parents=True)
    assert copy.main(["clean"]) == 0
    left = {str(path.relative_to(copy.ROOT)) for path in copy.ROOT.iterdir()}
    assert left == {"course.py", "pyproject.toml", "constraints.txt", "notebooks", "tests"}
    assert all(path.exists() for path in keep)
    assert not list((copy.ROOT / "tests").iterdir())
    assert copy.main(["clean"]) == 0
    assert "Nothing to remove" in capsys.readouterr().out
    assert copy.main(["clean", "everything"]) == 2


# --- where PyTorch comes from ----------------------------------------------------------------


def test_an_index_that_answers_is_used(copy, monkeypatch, index):
    monkeypatch.setenv("COURSE_TORCH_INDEX", index)
    copy.prepare()
    (install,) = copy.run.installs
    assert install[install.index("--extra-index-url") + 1] == index


@pytest.mark.parametrize("address", ["{index}/nothing/here", "http://no such host", "http://a:b"])
def test_an_index_without_torch_is_skipped(copy, monkeypatch, index, address, capsys):
    monkeypatch.setenv("COURSE_TORCH_INDEX", address.format(index=index))
    assert copy.torch_index() is None
    assert "does not answer" in capsys.readouterr().out


def test_a_silent_index_costs_three_seconds_at_most(copy, monkeypatch, silent_index):
    assert copy.PATIENCE <= 3
    monkeypatch.setattr(copy, "PATIENCE", 0.3)
    monkeypatch.setenv("COURSE_TORCH_INDEX", silent_index)
    started = time.monotonic()
    assert copy.torch_index() is None
    assert time.monotonic() - started < 0.3 + 1.0  # the second is for a busy machine


def test_a_slow_look_up_of_the_name_costs_no_more(copy, monkeypatch):
    monkeypatch.setattr(copy, "PATIENCE", 0.2)

    def slow(*_, **__):
        time.sleep(2)
        raise OSError

    monkeypatch.setattr(copy.urllib.request, "urlopen", slow)
    started = time.monotonic()
    assert not copy.answers("https://slow.example")
    assert time.monotonic() - started < 1.5


def test_a_folder_of_wheels_is_taken_at_its_word(copy, monkeypatch):
    monkeypatch.setenv("COURSE_TORCH_INDEX", " file:///wheels ")
    assert copy.torch_index() == "file:///wheels"


@pytest.mark.parametrize(
    "platform, driver, expected",
    [("linux", None, "CPU"), ("linux", "/usr/bin/nvidia-smi", None), ("win32", None, None)],
)
def test_only_linux_without_a_gpu_takes_cpu_wheels(copy, monkeypatch, platform, driver, expected):
    if driver is None and os.path.exists("/proc/driver/nvidia/version"):
        pytest.skip("this machine has an NVIDIA GPU")
    monkeypatch.delenv("COURSE_TORCH_INDEX")
    monkeypatch.setattr(copy.sys, "platform", platform)
    monkeypatch.setattr(copy.shutil, "which", lambda name: driver)
    monkeypatch.setattr(copy, "answers", lambda address: True)
    assert copy.torch_index() == (copy.CPU_WHEELS if expected else None)
