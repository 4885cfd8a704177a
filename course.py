#!/usr/bin/env python3
"""Set up, open, test and build the course. Needs Python 3.11 or newer and nothing else.

    python course.py lab    [options of jupyter lab]   open the course in JupyterLab
    python course.py test   [options of pytest]        run every test and every notebook
    python course.py test   --fast                     run what takes less than two minutes
    python course.py build  [NN ...] [--check]         make the notebooks from notebooks/source
    python course.py clean                             remove the environment and the caches

The first run makes an environment in .venv and installs the course there; later runs find it
ready. Nothing is written outside this folder, except the download cache of pip or uv, and, in your
user's data folder, a small file that remembers which exercises you have done. Where you cannot
write in this folder, caches and settings are in your user's cache folder.

Set COURSE_TORCH_INDEX to the address of a package index to take PyTorch from there as well;
set it to nothing (COURSE_TORCH_INDEX=) to use no extra index.
"""

import sys


def stopped() -> int:
    """Confirm Ctrl-C, and ignore a second one; returns the exit code for it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("\ncourse.py: stopped. Run the same command again to go on.", file=sys.stderr)
    return 130


try:
    import contextlib
    import errno
    import functools
    import hashlib
    import http.client
    import importlib.util
    import io
    import itertools
    import os
    import shutil
    import stat
    import subprocess
    import threading
    import time
    import urllib.request
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO
except KeyboardInterrupt:  # most of the time until the first line appears goes into imports
    sys.exit(stopped())

if sys.version_info < (3, 11):  # noqa: UP036 - this line is read by the Pythons that are too old
    sys.exit(
        f"course.py: the course needs Python 3.11 or newer; {sys.executable} is Python "
        f"{sys.version.split()[0]}. Install a newer one from https://www.python.org/downloads/ "
        "and run course.py with it."
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
STAMP = VENV / "course-stamp"  # course.py installed into this environment
GUEST = VENV / "course-is-a-guest"  # ... which is a person's own
UNFINISHED = "unfinished"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
FIRST_LESSON = "notebooks/00_start_here.ipynb"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds that an index has to answer
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NO_BARS = {"TQDM_DISABLE": "1"}
CACHE_FOLDERS = {
    "HYPOTHESIS_STORAGE_DIRECTORY": "hypothesis",
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "METALEARN_EDU_CACHE": "metalearn_edu",
    "MPLCONFIGDIR": "matplotlib",
    "MYPY_CACHE_DIR": "mypy",
    "RUFF_CACHE_DIR": "ruff",
}
LOCK = "set-up.lock"
# Where Jupyter finds our templates and our extension, which gives pictures their text alternative.
JUPYTER_FOLDERS = {
    "JUPYTER_PATH": "metalearn_edu/jupyter",
    "JUPYTER_CONFIG_PATH": "metalearn_edu/jupyter/config",
}
CACHE_NAMES = {Path(folder).parts[0] for folder in CACHE_FOLDERS.values()}
CACHE_NAMES |= {LOCK, "pytest", "benchmarks.json"}  # the last is from `make bench`
# Settings of pip that mean another place than .venv, and how to undo them: variables, and for
# settings in files, .venv's own file, where empty means not set.
NOT_HERE = {"user": "false", "target": "", "prefix": "", "root": ""}
PIP_VARIABLES = {f"PIP_{name.upper()}": value for name, value in NOT_HERE.items()}
PIP_SECTION = "\n".join(f"{name} = {value}" for name, value in NOT_HERE.items())
PIP_SETTINGS = f"[global]\n{PIP_SECTION}\n[install]\n{PIP_SECTION}\n"
HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)
CLOSE = "Close the programs that use it (JupyterLab, a terminal in it), then run the command again."
CLOSED = "It belongs to another user, or is read-only." if os.name != "nt" else CLOSE
FULL = "Make room, about 2 GB, then run the same command again."
ADVICE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), CLOSED),
    **dict.fromkeys((errno.EBUSY, errno.ENOTEMPTY), CLOSE),
    **dict.fromkeys((errno.EDQUOT, errno.ENOSPC, errno.EFBIG), FULL),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "Something else is in its place: rename that."
    ),
    errno.ENOENT: "Take a file of the course from its repository again, make a link's folder.",
}


def main(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a path may have characters unknown to the console
        sys.stdout.reconfigure(errors="backslashreplace")
    commands = {"lab": lab, "test": test, "build": build, "clean": clean, "help": usage}
    name, *rest = arguments or ["help"]
    name = "help" if name in ("-h", "--help") else name
    if name not in commands:
        print(f"course.py: there is no command {name!r}.\n\n{__doc__}", file=sys.stderr)
        return 2
    try:
        return commands[name](rest)
    except BrokenPipeError:  # `| head` has closed the pipe; Python writes the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        print(f"course.py: {error}. {ADVICE.get(error.errno or 0, '')}".rstrip(), file=sys.stderr)
        return 1


def usage(_: list[str]) -> int:
    """Print the commands."""
    print(__doc__, flush=True)
    return 0


def lab(options: list[str]) -> int:
    """Open the first lesson in JupyterLab."""
    prepare()
    if not may_write(ROOT / "notebooks"):
        say(
            "You may run the lessons in this folder, but not save them. To keep your work, copy "
            f"{ROOT / 'notebooks'} into a folder of yours and add --ServerApp.root_dir=YOUR_FOLDER"
        )
    say("Opening JupyterLab. Stop it with Ctrl-C in this window.")
    root_user = hasattr(os, "geteuid") and os.geteuid() == 0
    allow = ["--allow-root"] if root_user else []  # as in most containers
    first = f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}"
    return hand_over(["-m", "jupyter", "lab", first, *allow, *options], environment())


def test(options: list[str]) -> int:
    """Run the unit tests, then every notebook, on all cores (at most 4)."""
    prepare()
    workers = str(min(usable_cores(), 4))
    say(f"Running the tests and the notebooks, {workers} at a time.")
    # One file is one unit of work: a notebook stays with its kernel, and the tests come first.
    share = ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    cache = ["-o", f"cache_dir={caches() / 'pytest'}"]
    command = ["-m", "pytest", *share, *cache, *options]
    return hand_over(command, environment(**ONE_THREAD, **NO_BARS))


def build(options: list[str]) -> int:
    """Make the notebooks from their sources, or check that they agree (--check)."""
    if "--check" not in options and not may_write(ROOT / "notebooks"):
        sys.exit(f"course.py: you cannot write in {ROOT / 'notebooks'}; build --check only reads.")
    prepare()
    command = [str(ROOT / "tools" / "build_notebooks.py"), *options]
    return hand_over(command, environment())


def clean(options: list[str]) -> int:
    """Remove the environment, the caches and what Python leaves behind."""
    if options:
        print(f"course.py: clean takes no options, got {' '.join(options)}", file=sys.stderr)
        return 2
    targets = leftovers()
    if is_ours():
        targets.append(VENV)
    elif not is_empty():
        say(f"{VENV.name} is not of course.py's making: it stays.")
    for path in targets:
        say(f"Removing {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
        remove_environment() if path == VENV else remove(path)
    with contextlib.suppress(OSError):  # not empty, or a link: not ours
        CACHE.rmdir()
    say("Clean." if targets else "Nothing to remove.")
    return 0


def leftovers() -> list[Path]:
    """Our caches, first this user's own, and what Python and its tools leave behind."""
    names = {"__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
    names |= {".hypothesis", "metalearn_edu.egg-info"}
    found = [path for path in own_folders() if is_own(path)]
    found += [CACHE / name for name in sorted(CACHE_NAMES)]
    for folder, subfolders, _ in os.walk(ROOT):
        found += [Path(folder, name) for name in subfolders if name in names]
        subfolders[:] = [n for n in subfolders if n not in names | {".git", VENV.name, CACHE.name}]
    return [path for path in found if os.path.lexists(path)]


def prepare() -> None:
    """Make the environment, or bring it up to date, unless it is ready."""
    if is_ready():
        return
    if not may_write(ROOT):
        sys.exit(
            f"course.py: you cannot write in {ROOT}, and its environment is missing, older than "
            "the course, or closed to you. Somebody who can write there must run `python course.py "
            "build --check` once; or copy the folder to a place of yours and run course.py there."
        )
    with alone():
        if not is_ready():  # another course.py may have done it while we waited
            set_up()


def is_ready() -> bool:
    """Whether the environment is there and up to date; in another's folder any Python will do."""
    made, wanted = stamp(), wanted_stamp()
    if made != wanted and not may_write(ROOT):
        made, wanted = made.partition(" in ")[2], wanted.partition(" in ")[2]
    return made == wanted and os.access(PYTHON, os.X_OK)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other course.py sets up this folder; the system releases a dead one's lock."""
    make_folder(CACHE)
    with (CACHE / LOCK).open("ab+", buffering=0) as file:  # changes nothing behind a link
        for half_seconds in itertools.count():
            if hold(file):
                break
            if half_seconds % 120 == 0:
                say("Another course.py is setting up this folder: waiting for it. Ctrl-C stops.")
            time.sleep(0.5)
        yield


def hold(file: BinaryIO) -> bool:
    """Take the lock on a file unless another process has it; closing the file gives it back."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        say(f"No locks on this disk ({error.strerror}): start no second course.py until this ends.")
    return True


def set_up() -> None:
    """Make the environment, or bring it up to date."""
    started = time.monotonic()
    find_environment()
    mark(f"{UNFINISHED} in {ROOT}\n")
    install()
    silence_news()
    mark(wanted_stamp())
    say(f"Ready after {time.monotonic() - started:.0f} s. Later runs start at once.")


def find_environment() -> None:
    """Provide an environment in .venv to install into; only remove what course.py made."""
    if is_ours() and not keepable():
        say("The environment in .venv is unfinished or from elsewhere: making it again.")
        remove_environment()
    if is_empty():
        make_environment()
    elif not keepable():
        sys.exit(
            f"course.py: {VENV} is there already, is not of course.py's making, and is no "
            "environment with Python 3.11 or newer. It was not touched: rename it, then run the "
            "same command again."
        )
    elif not is_ours():
        say("Installing into the environment of your own that is in .venv.")
        GUEST.touch()


def is_ours() -> bool:
    """Whether course.py made what is in .venv; behind a link, whether for this folder."""
    if not os.path.lexists(STAMP) or os.path.lexists(GUEST):
        return False
    return not VENV.is_symlink() or f" in {ROOT}\n" in stamp()


def is_empty() -> bool:
    """Whether .venv, or the folder that it links to, holds nothing that anybody could miss."""
    if not os.path.exists(VENV):
        return True
    return VENV.is_dir() and {path.name for path in VENV.iterdir()} <= {"pyvenv.cfg", STAMP.name}


def stamp() -> str:
    """What the environment was last made from; empty if course.py never touched it."""
    try:
        return STAMP.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def mark(text: str) -> None:
    """Write the stamp; the name of a folder can be invalid text."""
    STAMP.write_text(text, encoding="utf-8", errors="surrogateescape")


def place() -> str:
    """The Python and the folder that an environment belongs to; it cannot move to others."""
    return f"Python {sys.version_info[0]}.{sys.version_info[1]} in {ROOT}"


def wanted_stamp() -> str:
    """The stamp of an environment that needs no work."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
    return f"{place()}\n{digest}\n"


def keepable() -> bool:
    """Whether to install into the existing .venv: ours and complete, or a person's own."""
    if is_ours() and not stamp().startswith(place() + "\n"):
        return False
    # an environment in .venv, and not a link to a Python that belongs to others
    return agrees(
        "import os, sys; sys.exit(sys.version_info < (3, 11) or "
        f"not os.path.samefile(sys.prefix, {str(VENV)!r}))"
    )


def agrees(code: str) -> bool:
    """Whether the Python in .venv runs, and runs this code without an error."""
    command = [str(PYTHON), "-c", code]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def make_environment() -> None:
    """Make an empty virtual environment in .venv, marked as unfinished from the start."""
    if importlib.util.find_spec("venv") is None:
        stop_without_venv()
    say(f"Making an environment in .venv with Python {sys.version.split()[0]}.")
    make_folder(VENV)
    mark(f"{UNFINISHED} in {ROOT}\n")
    # Not sys.executable, which may be the one of the .venv that was just removed.
    python = getattr(sys, "_base_executable", None) or sys.executable
    command = [python, "-m", "venv", "--without-pip", os.path.realpath(VENV)]  # it takes no link
    # Quiet, because Ctrl-C would make it print a traceback; if it fails, again with output.
    if run(command, quiet=True) != 0 and run(command) != 0:
        sys.exit("course.py: Python could not make .venv; the lines above say why.")


def install() -> None:
    """Install the course and all that it needs, in the versions of constraints.txt."""
    index = torch_index()
    extra = ["--extra-index-url", index] if index else []
    what = [*extra, "--constraint", "constraints.txt", "--editable", ".[test]"]
    uv = shutil.which("uv")
    if uv:
        say("Installing with uv (about 1.6 GB on disk).")
        # every index may serve every package, as with pip; the pins decide
        best = ["--index-strategy", "unsafe-best-match"]
        more = ["pip", *([] if index else cpu_build())]
        if run([uv, "pip", "install", "--python", str(PYTHON), *best, *what, *more]) == 0:
            return
        say("uv could not install the course: its lines above say why. Using pip instead.")
    add_pip()
    say("Installing with pip (about 1.6 GB on disk, some minutes).")
    if run([str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *what]) != 0:
        sys.exit(
            "course.py: the installation failed; the lines above say why. The first run needs "
            "the internet (or your own package index) and about 2 GB of disk. Then run the same "
            "command again."
        )


def cpu_build() -> list[str]:
    """The pinned CPU build of PyTorch by name, or nothing, if pip should choose it.

    uv does not read pip's settings, where a machine may name its own source of CPU wheels.
    """
    if not wants_cpu_wheels() or os.environ.get("COURSE_TORCH_INDEX", CPU_WHEELS).strip() == "":
        return []
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [f"{pin}+cpu" for pin in pins if pin.startswith("torch==")]


def add_pip() -> None:
    """Give the environment its pip, from the copy that comes with Python, and our settings."""
    if is_ours():
        settings = VENV / ("pip.ini" if os.name == "nt" else "pip.conf")
        settings.write_text(PIP_SETTINGS, encoding="utf-8")
    if run([str(PYTHON), "-c", "import pip"], quiet=True) == 0:
        return
    if importlib.util.find_spec("ensurepip") is None:
        stop_without_venv()
    if run([str(PYTHON), "-m", "ensurepip", "--default-pip"], quiet=True) != 0:
        sys.exit("course.py: `python -m ensurepip` failed in .venv, so there is no pip to use.")


def stop_without_venv() -> None:
    """Say what to install if Python lacks its venv module or pip."""
    sys.exit(
        "course.py: this Python cannot make a full environment (venv or ensurepip is missing). "
        "On Debian and Ubuntu: sudo apt install "
        f"python{sys.version_info[0]}.{sys.version_info[1]}-venv. Then run the same command again."
    )


def torch_index() -> str | None:
    """The extra package index to take PyTorch from, or None.

    PyPI's PyTorch for Linux brings some 2.5 GB of NVIDIA libraries; without an NVIDIA GPU the
    CPU build is enough. Other systems get their CPU build from PyPI.
    """
    index = os.environ.get("COURSE_TORCH_INDEX")
    if index is None and not wants_cpu_wheels():
        return None
    index = CPU_WHEELS if index is None else index.strip()
    if not index:
        return None
    if answers(index):
        say(f"Taking PyTorch from {index}")
        return index
    say(
        f"{index} does not answer: going on without it. "
        "If PyTorch comes from PyPI instead, that is about 2.7 GB on Linux."
    )
    return None


def wants_cpu_wheels() -> bool:
    """Whether this is Linux without the driver of an NVIDIA GPU."""
    driver = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    return sys.platform == "linux" and not driver


def answers(index: str) -> bool:
    """Whether a web index lists torch within PATIENCE seconds; a folder is not checked."""
    if not index.startswith(("http://", "https://")):
        return True
    replies = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=PATIENCE) as reply:
                replies.append(reply.status)
        except (OSError, ValueError, http.client.HTTPException):
            pass

    # in a thread, because looking up a name has no time limit
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(replies)


def silence_news() -> None:
    """Keep JupyterLab from asking whether to fetch news: the course works offline."""
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    news = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}\n'
    (settings / "overrides.json").write_text(news, encoding="utf-8")


def environment(**more: str) -> dict[str, str]:
    """The variables that the course's programs see; caches and settings stay with the course."""
    others = (
        "PYTHONHOME",
        "PYTHONPATH",
        "MPLBACKEND",
    )  # would change what is imported or drawn
    variables = {name: value for name, value in os.environ.items() if name not in others}
    for name, folder in CACHE_FOLDERS.items():
        variables.setdefault(name, str(caches() / folder))
    variables["VIRTUAL_ENV"] = str(VENV)
    for name, folder in JUPYTER_FOLDERS.items():
        path = [str(ROOT / folder), variables.get(name)]
        variables[name] = os.pathsep.join(filter(None, path))
    variables["PATH"] = os.pathsep.join([str(PYTHON.parent), variables.get("PATH", os.defpath)])
    return variables | more


@functools.cache
def caches() -> Path:
    """The folder of caches and settings: .cache, or one of the user's own if that is closed."""
    if all(may_write(CACHE / folder) for folder in CACHE_FOLDERS.values()):
        return CACHE
    for folder in own_folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_own(folder) and may_write(folder):
            say(f"You cannot write in {CACHE}: caches and settings are in {folder}.")
            return folder
    sys.exit(
        f"course.py: you cannot write in {CACHE}, and there is no other folder for caches and "
        "settings. Set XDG_CACHE_HOME to a folder of yours (LOCALAPPDATA on Windows)."
    )


def own_folders() -> list[Path]:
    """The places for caches and settings outside the course, best first."""
    windows = os.name == "nt"
    usual = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    home = os.environ.get("LOCALAPPDATA" if windows else "XDG_CACHE_HOME") or usual
    temporary = os.environ.get("TEMP" if windows else "TMPDIR") or "/tmp"
    name = "metalearn_edu_course"
    folders = [Path(home, name), Path(temporary, f"{name}-{user()}")]
    return [folder for folder in folders if folder.is_absolute()]


def is_own(folder: Path) -> bool:
    """Whether a folder belongs to this user: settings are code, and /tmp is open to all."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == user()


def user() -> int:
    """The number of this user; on Windows, where files do not know theirs, 0 as for files."""
    return os.getuid() if hasattr(os, "getuid") else 0


def may_write(folder: Path) -> bool:
    """Whether we can make files in a folder, or the folder itself; on Windows, we must try."""
    while not os.path.exists(folder):
        folder = folder.parent
    probe = folder / f".course-{os.urandom(4).hex()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder unless it is there; for a link, the folder that it leads to."""
    Path(os.path.realpath(path)).mkdir(exist_ok=True)


def hand_over(arguments: list[str], variables: dict[str, str]) -> int:
    """Run the environment's Python to the end; it replaces this process if the system allows it."""
    command = [str(PYTHON), *arguments]
    module = arguments[1] if arguments[0] == "-m" else "sys"
    if not agrees(f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"):
        sys.exit(
            "course.py: the environment in .venv is damaged: its Python does not run or finds no "
            f"{module}. Run `python course.py clean`, then the same command again."
        )
    os.chdir(ROOT)
    make_folder(caches())  # IPython makes its folder in an existing one only
    if os.name == "posix":
        os.execve(command[0], command, variables)
    process = subprocess.Popen(command, env=variables)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the program got it too, and decides
            continue


def run(command: list[str], *, quiet: bool = False) -> int:
    """Run a program in the repository and return its exit code, or 127 if it does not start."""
    output = subprocess.DEVNULL if quiet else None
    variables = environment(**PIP_VARIABLES)
    try:
        done = subprocess.run(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
    except OSError as error:
        say(f"{command[0]} does not start: {error.strerror}.")
        return 127
    return done.returncode


def remove(path: Path) -> None:
    """Delete a file or a folder; for a link, only the link."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:  # rmtree names no folder
        raise OSError(error.errno, f"{error.strerror} when removing", str(path)) from error


def remove_environment() -> None:
    """Empty .venv: first its Python, so that it is not ready; last its stamp, so that it is ours.

    A link stays, because a person made it, and so does the root of a disk.
    """
    PYTHON.unlink(missing_ok=True)
    for path in sorted(VENV.iterdir(), key=STAMP.__eq__):
        remove(path)
    if not VENV.is_symlink():
        with contextlib.suppress(OSError):
            VENV.rmdir()


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def say(line: str) -> None:
    """Print one line of progress at once."""
    print(f"[course] {line}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(stopped())
