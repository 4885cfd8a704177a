"""course.py: what it installs and how, what it survives, and what it says.

Nothing is downloaded here: installations are recorded instead of run, environments are made
empty, and indexes are little web servers on this machine.
"""

import configparser
import errno
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
FILES = ("course.py", "pyproject.toml", "constraints.txt")
UNIX = pytest.mark.skipif(os.name == "nt", reason="links, signals and file modes are for Unix")


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
    for name in FILES:
        shutil.copyfile(course.ROOT / name, root / name)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "TMPDIR", "TEMP"):  # nobody's own is touched
        monkeypatch.setenv(name, str(tmp_path / "user" / name))
        (tmp_path / "user" / name).mkdir(parents=True)
    for name in course.CACHE_FOLDERS:  # set where course.py runs these tests
        monkeypatch.delenv(name, raising=False)
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


@UNIX
def test_a_reader_that_goes_away_gets_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-S", str(course.ROOT / "course.py"), "help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


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
    monkeypatch.setenv("JUPYTER_PATH", "/theirs")
    variables = copy.environment(MORE="yes")
    assert "PYTHONPATH" not in variables and "MPLBACKEND" not in variables
    assert Path(variables["METALEARN_EDU_CACHE"]).is_relative_to(copy.ROOT)
    assert variables["IPYTHONDIR"] == "/mine"
    ours, theirs = variables["JUPYTER_PATH"].split(os.pathsep)
    assert ours == str(copy.ROOT / "metalearn_edu" / "jupyter") and theirs == "/theirs"
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
    assert "making it again" in capsys.readouterr().out


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


def content(folder):
    """Every path below a folder and what is in the files."""
    return {path: path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}


def no_environment(folder):
    folder.mkdir()
    (folder / "my results.csv").write_text("days of work")


def old_environment(folder):
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")  # as 3.10 says of our question
    (folder / "bin" / "python").chmod(0o755)


def python_of_others(folder):
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys._base_executable)


def link(folder):
    no_environment(folder.parent / "elsewhere")
    folder.symlink_to("elsewhere")


FOREIGN = [no_environment, Path.touch, old_environment, python_of_others, link]


@UNIX
@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_course_py_did_not_make_is_never_touched(copy, make, capsys):
    make(copy.VENV)
    before = content(copy.ROOT)
    with pytest.raises(SystemExit, match=r"is there already, .* rename it") as stop:
        copy.prepare()
    assert "\n" not in str(stop.value)
    assert copy.main(["clean"]) == 0
    assert ".venv is not of course.py's making: it stays." in capsys.readouterr().out
    assert content(copy.ROOT) == before
    assert copy.run.commands == []


def test_a_filled_environment_of_a_persons_own_is_never_removed(copy):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(copy.VENV)], check=True)
    (copy.VENV / "a package of mine").touch()
    copy.prepare()
    for stamp in (copy.UNFINISHED, "Python 3.11 in /where/it/was\n0\n"):
        copy.STAMP.write_text(stamp)
        copy.prepare()
    assert copy.main(["clean"]) == 0
    assert copy.PYTHON.exists() and (copy.VENV / "a package of mine").exists()


@UNIX
@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_larger_disk(copy, there, monkeypatch, capsys):
    disk = copy.ROOT.parent / "disk"
    disk.mkdir()
    (disk / "mine").touch()
    if there:
        (disk / "venv").mkdir()
    copy.VENV.symlink_to(disk / "venv")
    monkeypatch.setattr(copy, "run", Recorder(interrupt=True))
    with pytest.raises(KeyboardInterrupt):
        copy.prepare()
    monkeypatch.setattr(copy, "run", Recorder())
    copy.prepare()
    assert "making it again" in capsys.readouterr().out
    assert (disk / "venv" / "bin" / "python").exists() and copy.is_ready()
    copy.run.commands.clear()
    copy.prepare()
    assert copy.run.commands == []
    assert copy.main(["clean"]) == 0
    assert copy.VENV.is_symlink() and list((disk / "venv").iterdir()) == []
    assert (disk / "mine").exists()
    assert copy.main(["clean"]) == 0
    assert "Nothing to remove" in capsys.readouterr().out
    copy.prepare()
    assert copy.is_ready()


@UNIX
def test_a_link_to_the_environment_of_another_folder_removes_nothing(copy):
    copy.prepare()
    elsewhere = copy.ROOT.parent / "another course"
    copy.VENV.rename(elsewhere)
    (elsewhere / "course-stamp").write_text("Python 3.11 in /another course\n0\n")
    (elsewhere / "a package of theirs").touch()
    copy.VENV.symlink_to(elsewhere)
    copy.prepare()
    assert copy.main(["clean"]) == 0
    assert (elsewhere / "a package of theirs").exists()


@UNIX
def test_a_link_that_leads_nowhere_gets_one_line(copy, capsys):
    copy.VENV.symlink_to(copy.ROOT.parent / "no disk" / "venv")
    assert copy.main(["build"]) == 1
    assert_one_line(capsys, "No such file or directory: ", "no disk/venv")
    copy.VENV.unlink()
    copy.VENV.symlink_to(copy.VENV.name)
    assert copy.main(["build"]) == 1
    assert_one_line(capsys, ".venv")


def test_a_removal_that_is_stopped_leaves_what_is_known_as_ours(copy, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    copy.prepare()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(copy, "remove", interrupt)
        copy.remove_environment()
    assert copy.is_ours() and not copy.is_ready()
    copy.prepare()
    assert copy.is_ready()


def test_the_stamp_is_the_last_that_goes(copy, monkeypatch):
    copy.prepare()
    removed = []
    monkeypatch.setattr(copy, "remove", removed.append)
    copy.remove_environment()
    assert removed[-1] == copy.STAMP and len(removed) > 3 and not copy.PYTHON.exists()


@UNIX
def test_clean_follows_no_link_and_keeps_what_is_not_ours(copy):
    outside = copy.ROOT.parent / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    (copy.CACHE / "jupyter").mkdir(parents=True)
    (copy.CACHE / "mine").touch()
    (copy.CACHE / "matplotlib").symlink_to(outside)
    (copy.ROOT / "__pycache__").symlink_to(outside)
    assert copy.main(["clean"]) == 0
    assert list(copy.CACHE.iterdir()) == [copy.CACHE / "mine"]
    assert (outside / "mine").exists()


@pytest.mark.parametrize(
    "stamp", [b"\xff\xfe", b"", "Python 3.9 in /caf\u00e9\n".encode("latin-1")]
)
def test_a_damaged_stamp_means_anew(copy, stamp):
    copy.prepare()
    copy.STAMP.write_bytes(stamp)
    copy.prepare()
    assert copy.is_ready() and len(copy.run.installs) == 2


def test_a_folder_whose_name_is_no_text_can_be_stamped(copy):
    copy.VENV.mkdir()
    copy.mark("Python 3.11 in /caf\udce9\n")
    assert copy.stamp() == "Python 3.11 in /caf\udce9\n"


# --- a folder that is closed, a full disk, no locks -------------------------------------------


def assert_one_line(capsys, *parts):
    err = capsys.readouterr().err
    assert err.startswith("course.py: ") and err.count("\n") == 1, err
    assert all(part in err for part in parts), err


@pytest.fixture
def closed(copy, monkeypatch):
    """The copy, set up, as a user sees it who may not write there."""
    copy.prepare()
    copy.caches.cache_clear()
    copy.run.commands.clear()
    open_to_us = copy.may_write
    monkeypatch.setattr(
        copy, "may_write", lambda path: not path.is_relative_to(copy.ROOT) and open_to_us(path)
    )
    return copy


def folders(module):
    variables = module.environment()
    return [Path(variables[name]) for name in module.CACHE_FOLDERS]


def test_caches_are_the_users_own_where_the_course_is_closed(closed, tmp_path, capsys):
    before = content(closed.ROOT)
    closed.prepare()
    own = tmp_path / "user" / ("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    assert len(folders(closed)) > 5
    assert all(folder.is_relative_to(own / "metalearn_edu_course") for folder in folders(closed))
    assert capsys.readouterr().out.count("caches and settings are in") == 1
    assert content(closed.ROOT) == before and closed.run.commands == []


@UNIX
def test_caches_are_in_a_closed_temporary_folder_where_there_is_no_home(
    closed, tmp_path, monkeypatch
):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.devnull + "/nonexistent")
    folder = tmp_path / "user" / "TMPDIR" / f"metalearn_edu_course-{os.getuid()}"
    assert all(path.is_relative_to(folder) for path in folders(closed))
    assert folder.stat().st_mode & 0o777 == 0o700


@UNIX
@pytest.mark.parametrize("trap", ["another's", "a link"])
def test_a_temporary_folder_that_is_not_the_users_own_is_not_used(
    closed, tmp_path, monkeypatch, trap
):
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    folder = tmp_path / "user" / "TMPDIR" / f"metalearn_edu_course-{os.getuid()}"
    if trap == "a link":
        (tmp_path / "trap").mkdir()
        folder.symlink_to(tmp_path / "trap")
    else:
        folder.mkdir()
        monkeypatch.setattr(closed, "user", lambda: os.getuid() + 1)
        folder.rename(folder.with_name(f"metalearn_edu_course-{os.getuid() + 1}"))
    with pytest.raises(SystemExit, match="Set XDG_CACHE_HOME"):
        closed.environment()
    assert closed.main(["clean"]) == 0
    assert len(list(folder.parent.iterdir())) == 1


def test_a_closed_folder_opens_with_any_python(closed, monkeypatch):
    closed.STAMP.write_text(closed.wanted_stamp().replace("Python 3.", "Python 3.9"))
    closed.prepare()
    assert closed.run.commands == []


@pytest.mark.parametrize("missing", ["environment", "update", "place"])
def test_a_closed_folder_that_is_not_ready_says_who_can_help(closed, missing):
    place, digest = closed.wanted_stamp().splitlines()
    if missing == "environment":
        shutil.rmtree(closed.VENV)
    else:
        stamp = {"update": f"{place}\n0\n", "place": f"Python 3.11 in /x\n{digest}\n"}
        closed.STAMP.write_text(stamp[missing])
    before = content(closed.ROOT)
    with pytest.raises(SystemExit, match=r"cannot write in .*course.py build --check") as stop:
        closed.prepare()
    assert "\n" not in str(stop.value)
    assert content(closed.ROOT) == before


def test_what_a_closed_folder_allows(closed, tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(closed, "hand_over", lambda command, variables: seen.append(command) or 0)
    assert closed.main(["lab"]) == closed.main(["test"]) == closed.main(["build", "--check"]) == 0
    assert "but not save them. To keep your work, copy" in capsys.readouterr().out
    (cache,) = [word for word in seen[1] if word.startswith("cache_dir=")]
    assert Path(cache.removeprefix("cache_dir=")).is_relative_to(tmp_path / "user")
    with pytest.raises(SystemExit, match=r"you cannot write in .*notebooks"):
        closed.main(["build", "03"])
    assert len(seen) == 3


def test_clean_removes_the_users_own_caches_too(closed):
    own = closed.caches()
    (own / "jupyter").mkdir()
    closed.main(["clean"])
    assert not own.exists() and own.parent.exists()


def test_where_we_may_write(copy):
    assert copy.may_write(copy.ROOT) and copy.may_write(copy.ROOT / "new" / "folder")
    assert not copy.may_write(copy.ROOT / "course.py" / "folder")
    assert {path.name for path in copy.ROOT.iterdir()} == set(FILES)


@UNIX
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_where_we_may_not_write(copy):
    copy.ROOT.chmod(0o555)
    assert not copy.may_write(copy.ROOT / ".cache")
    copy.ROOT.chmod(0o755)


def test_a_file_in_the_place_of_the_caches_gets_one_line(copy, capsys):
    copy.CACHE.write_text("mine")
    assert copy.main(["build"]) == 1
    assert_one_line(capsys, ".cache", "rename that")
    assert copy.CACHE.read_text() == "mine"


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_missing_file_of_the_course_gets_one_line(copy, name, capsys):
    (copy.ROOT / name).unlink()
    assert copy.main(["test"]) == 1
    assert_one_line(capsys, name, "from its repository")


@pytest.mark.parametrize(
    "number, advice",
    [
        (errno.ENOSPC, "Make room"),
        (errno.EROFS, "read-only"),
        (errno.EBUSY, "Close the programs"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
@pytest.mark.parametrize("where", ["mark", "silence_news", "make_folder", "wanted_stamp"])
def test_what_the_system_refuses_is_one_line(copy, monkeypatch, where, number, advice, capsys):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "a file")

    with monkeypatch.context() as patch:
        patch.setattr(copy, where, refuse)
        assert copy.main(["lab"]) == 1
    assert_one_line(capsys, "a file", advice)
    copy.prepare()
    assert copy.is_ready()


@UNIX
def test_what_a_lock_leads_to_stays_as_it_is(copy, tmp_path):
    (tmp_path / "mine").write_text("days of work")
    copy.CACHE.mkdir()
    (copy.CACHE / copy.LOCK).symlink_to(tmp_path / "mine")
    copy.prepare()
    assert (tmp_path / "mine").read_text() == "days of work"
    (copy.CACHE / copy.LOCK).unlink()
    os.mkfifo(copy.CACHE / copy.LOCK)  # whose other end nobody opens
    with copy.alone():
        assert copy.is_ready()


@UNIX
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_needs_no_waiting(copy, monkeypatch, number, capsys):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(number, "none")))
    copy.prepare()
    assert copy.is_ready()
    assert capsys.readouterr().out.count("No locks on this disk (none)") == 1


@UNIX
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES])
def test_a_held_lock_is_waited_for_with_a_line_each_minute(copy, monkeypatch, number, capsys):
    answers = [OSError(number, "held")] * 121 + [None]

    def flock(*_):
        answer = answers.pop(0)
        if answer:
            raise answer

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(copy.time, "sleep", lambda seconds: None)
    with copy.alone():
        assert answers == []
    assert capsys.readouterr().out.count("waiting for it") == 2


# --- pip's settings, damage, Ctrl-C, consoles --------------------------------------------------


def test_settings_that_cannot_hold_in_our_environment_do_not(copy, monkeypatch):
    settings = {"USER": "1", "TARGET": "/x", "PREFIX": "/x", "ROOT": "/x", "INDEX_URL": "/mine"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    seen = []
    monkeypatch.setattr(course.subprocess, "run", lambda *_, env, **__: seen.append(env) or done)
    done = subprocess.CompletedProcess([], 0)
    assert course.run(["pip"]) == 0
    assert [seen[0][f"PIP_{name}"] for name in settings] == ["false", "", "", "", "/mine"]
    assert course.environment()["PIP_USER"] == "1"  # the programs of the course see the person's


def test_settings_in_files_are_undone_in_our_own_environment_alone(copy):
    copy.prepare()
    file = copy.VENV / ("pip.ini" if os.name == "nt" else "pip.conf")
    parser = configparser.ConfigParser()
    parser.read(file)
    for section in ("global", "install"):
        assert parser[section]["user"] == "false" and parser[section]["target"] == ""
    file.unlink()
    copy.GUEST.touch()
    copy.STAMP.write_text(copy.UNFINISHED)
    copy.prepare()
    assert not file.exists()


def test_a_uv_that_does_not_start_leaves_it_to_pip(copy, monkeypatch, capsys):
    assert course.run([str(copy.ROOT)]) == 127
    assert "does not start" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["a package", "its Python"])
def test_a_damaged_environment_is_said(copy, damage):
    copy.prepare()
    if damage == "its Python":
        copy.PYTHON.unlink()
        copy.PYTHON.write_text("junk")
        copy.PYTHON.chmod(0o755)
    here = os.getcwd()
    with pytest.raises(SystemExit, match=r"is damaged.*course.py clean") as stop:
        copy.hand_over(["-m", "jupyter", "lab"], copy.environment())
    assert "\n" not in str(stop.value) and os.getcwd() == here


def stop_at(root, environment=None):
    command = [sys.executable, "-S", str(root / "course.py"), "build"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr == "\ncourse.py: stopped. Run the same command again to go on.\n"
    return done.returncode


def test_ctrl_c_while_python_reads_its_modules_is_one_line(copy):
    (copy.ROOT / "hashlib.py").write_text("raise KeyboardInterrupt")
    assert stop_at(copy.ROOT) == 130


@UNIX
def test_ctrl_c_during_the_installation_is_one_line(copy):
    uv = copy.ROOT / "uv"
    uv.write_text("#!/bin/sh\nkill -INT $PPID\nexec sleep 1\n")
    uv.chmod(0o755)
    path = os.pathsep.join([str(copy.ROOT), os.environ["PATH"]])
    assert stop_at(copy.ROOT, os.environ | {"PATH": path}) == 130
    assert not copy.is_ready() and copy.is_ours()
    copy.prepare()
    assert copy.is_ready()


def test_a_console_without_the_letters_of_a_name(copy):
    (copy.ROOT / "\u043a\u0443\u0440\u0441" / "__pycache__").mkdir(parents=True)
    command = [sys.executable, "-S", str(copy.ROOT / "course.py"), "clean"]
    variables = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=variables)
    assert done.returncode == 0 and b"\\u043a" in done.stdout, done.stderr


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
