#!/usr/bin/env python3
"""Set up, open, test and build the course. Needs Python 3.11 or newer and nothing else.

    python course.py lab    [options of jupyter lab]   open the course in JupyterLab
    python course.py test   [options of pytest]        run every test and every notebook
    python course.py build  [NN ...] [--check]         make the notebooks from notebooks/source
    python course.py clean                             remove the environment and the caches

The first run makes an environment in .venv and installs the course there; later runs find it
ready. Nothing is written outside this folder, except the download cache of pip or uv, and, in your
user's data folder, a small file that remembers which exercises you have done.

Set COURSE_TORCH_INDEX to the address of a package index to take PyTorch from there as well;
set it to nothing (COURSE_TORCH_INDEX=) to use no extra index.
"""

import contextlib
import hashlib
import http.client
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

if sys.version_info < (3, 11):  # noqa: UP036 - this line is read by the Pythons that are too old
    sys.exit(
        f"course.py: the course needs Python 3.11 or newer; {sys.executable} is Python "
        f"{sys.version.split()[0]}. Install a newer one from https://www.python.org/downloads/ "
        "and run course.py with it."
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
STAMP = VENV / "course-stamp"
UNFINISHED = "unfinished"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
FIRST_LESSON = "notebooks/00_start_here.ipynb"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds that an index has to answer
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NO_BARS = {"TQDM_DISABLE": "1"}
CACHE_FOLDERS = {
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "METALEARN_EDU_CACHE": "metalearn_edu",
    "MPLCONFIGDIR": "matplotlib",
}


def main(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    commands = {"lab": lab, "test": test, "build": build, "clean": clean}
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if name not in commands:
        print(f"course.py: there is no command {name!r}.\n\n{__doc__}", file=sys.stderr)
        return 2
    return commands[name](rest)


def lab(options: list[str]) -> int:
    """Open the first lesson in JupyterLab."""
    prepare()
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
    return hand_over(["-m", "pytest", *share, *options], environment(**ONE_THREAD, **NO_BARS))


def build(options: list[str]) -> int:
    """Make the notebooks from their sources, or check that they agree (--check)."""
    prepare()
    command = [str(ROOT / "tools" / "build_notebooks.py"), *options]
    return hand_over(command, environment())


def clean(options: list[str]) -> int:
    """Remove the environment, the caches and what Python leaves behind."""
    if options:
        print(f"course.py: clean takes no options, got {' '.join(options)}", file=sys.stderr)
        return 2
    names = {"__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
    names |= {".hypothesis", "metalearn_edu.egg-info"}
    targets = [path for path in (VENV, CACHE) if path.exists()]
    for folder, subfolders, _ in os.walk(ROOT):
        targets += [Path(folder, name) for name in subfolders if name in names]
        subfolders[:] = [n for n in subfolders if n not in names | {".git", VENV.name, CACHE.name}]
    for path in targets:
        say(f"Removing {path.relative_to(ROOT)}")
        remove(path)
    say("Clean." if targets else "Nothing to remove.")
    return 0


def prepare() -> None:
    """Make the environment, or bring it up to date, unless it is ready already."""
    if is_ready():
        return
    with alone():
        if not is_ready():  # while we waited another course.py may have done it
            set_up()


def is_ready() -> bool:
    """Whether the environment is there and up to date."""
    return stamp() == wanted_stamp() and PYTHON.exists()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other course.py sets up this folder; the system ends the hold of a dead one."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "set-up.lock").open("w") as file:
        if not hold(file):
            say("Another course.py is setting up this folder: waiting for it.")
            while not hold(file):
                time.sleep(0.5)
        yield


def hold(file: TextIO) -> bool:
    """Take the lock on a file unless another process has it; closing the file gives it back."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def set_up() -> None:
    """Make the environment, or bring it up to date."""
    started = time.monotonic()
    if VENV.exists() and not keepable():
        say("The environment in .venv is unfinished or from elsewhere: making it anew.")
        remove(VENV)
    if not VENV.exists():
        make_environment()
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    install()
    silence_news()
    STAMP.write_text(wanted_stamp(), encoding="utf-8")
    say(f"Ready after {time.monotonic() - started:.0f} s. Later runs start at once.")


def stamp() -> str:
    """What the environment was last made from; empty if course.py never touched it."""
    try:
        return STAMP.read_text(encoding="utf-8")
    except OSError:
        return ""


def place() -> str:
    """The Python and the folder that an environment belongs to; it cannot move to others."""
    return f"Python {sys.version_info[0]}.{sys.version_info[1]} in {ROOT}"


def wanted_stamp() -> str:
    """The stamp of an environment that needs no work."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
    return f"{place()}\n{digest}\n"


def keepable() -> bool:
    """Whether to install into the .venv that is there: ours and whole, or a person's own."""
    ours = stamp()
    if ours and not ours.startswith(place() + "\n"):
        return False
    version = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([PYTHON, "-c", version], capture_output=True).returncode == 0
    except OSError:
        return False


def make_environment() -> None:
    """An empty virtual environment in .venv, marked unfinished from its first moment."""
    if importlib.util.find_spec("venv") is None:
        stop_without_venv()
    say(f"Making an environment in .venv with Python {sys.version.split()[0]}.")
    VENV.mkdir()
    STAMP.write_text(UNFINISHED, encoding="utf-8")
    # Not sys.executable, which may be the one of the .venv that was just removed.
    python = getattr(sys, "_base_executable", None) or sys.executable
    if run([python, "-m", "venv", "--without-pip", str(VENV)]) != 0:
        sys.exit("course.py: Python could not make .venv; the lines above say why.")


def install() -> None:
    """Install the course and all it needs, at the versions in constraints.txt."""
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
    """The pinned CPU build of PyTorch by name, where uv shall take that or leave it to pip.

    uv does not read pip's settings, where a machine may name its own source of CPU wheels.
    """
    if not wants_cpu_wheels() or os.environ.get("COURSE_TORCH_INDEX", CPU_WHEELS).strip() == "":
        return []
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [f"{pin}+cpu" for pin in pins if pin.startswith("torch==")]


def add_pip() -> None:
    """Give the environment its pip, from the copy that comes with Python."""
    if run([str(PYTHON), "-c", "import pip"], quiet=True) == 0:
        return
    if importlib.util.find_spec("ensurepip") is None:
        stop_without_venv()
    if run([str(PYTHON), "-m", "ensurepip", "--default-pip"], quiet=True) != 0:
        sys.exit("course.py: `python -m ensurepip` failed in .venv, so there is no pip to use.")


def stop_without_venv() -> None:
    """Say what to install where Python came without its venv module or without pip."""
    sys.exit(
        "course.py: this Python cannot make a full environment (venv or ensurepip is missing). "
        "On Debian and Ubuntu: sudo apt install "
        f"python{sys.version_info[0]}.{sys.version_info[1]}-venv. Then run the same command again."
    )


def torch_index() -> str | None:
    """The extra package index to take PyTorch from, or None.

    PyPI's PyTorch for Linux brings some 2.5 GB of NVIDIA libraries; without an NVIDIA GPU the
    CPU build does. Other systems get their CPU build from PyPI.
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
    """Whether a web index lists torch within PATIENCE seconds; a folder is taken at its word."""
    if not index.startswith(("http://", "https://")):
        return True
    replies = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=PATIENCE) as reply:
                replies.append(reply.status)
        except (OSError, ValueError, http.client.HTTPException):
            pass

    # in a thread, because the look-up of a name has no time limit of its own
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
    """The variables that the course's programs see; caches and settings stay in this folder."""
    others = ("PYTHONHOME", "PYTHONPATH", "MPLBACKEND")  # would change what is imported or drawn
    variables = {name: value for name, value in os.environ.items() if name not in others}
    for name, folder in CACHE_FOLDERS.items():
        variables.setdefault(name, str(CACHE / folder))
    variables["VIRTUAL_ENV"] = str(VENV)
    variables["PATH"] = os.pathsep.join([str(PYTHON.parent), variables.get("PATH", os.defpath)])
    return variables | more


def hand_over(arguments: list[str], variables: dict[str, str]) -> int:
    """Run the environment's Python to the end; it takes our place where the system allows it."""
    command = [str(PYTHON), *arguments]
    os.chdir(ROOT)
    CACHE.mkdir(exist_ok=True)  # IPython makes its folder in an existing one only
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], command, variables)
    process = subprocess.Popen(command, env=variables)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the program got it too, and decides
            continue


def run(command: list[str], *, quiet: bool = False) -> int:
    """Run a program in the repository and return its exit code."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        command, cwd=ROOT, env=environment(), stdout=output, stderr=output
    ).returncode


def remove(folder: Path) -> None:
    """Delete a folder, or say what is in the way."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        sys.exit(
            f"course.py: cannot remove {folder}: {error}. Close the programs that use it "
            "(JupyterLab, a terminal in it), then run the same command again."
        )


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
        sys.exit("\ncourse.py: stopped. Run the same command again to go on.")
