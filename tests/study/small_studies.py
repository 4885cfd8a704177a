"""Studies of seconds, and the command that makes them, for the tests of all rooms of a study."""

import subprocess
import sys

import pytest

from metalearn_edu import cli
from metalearn_edu.study import Grid, run_study
from metalearn_edu.study.grid import SMALL

TINY = {
    "algorithms": ("prototypical", "maml"),
    "data": ("glyphs",),
    "n_classes": (50,),
    "ways": (3, 5),
    "shots": (1, 2),
    "seeds": (0,),
    "share": 0.002,
    "n_val_episodes": 4,
    "n_test_episodes": 6,
}
TINY_OPTIONS = "--algorithms prototypical,maml --ways 3,5 --shots 1,2 --seeds 0"
SMALLEST = Grid(**(TINY | {"algorithms": ("maml",), "ways": (3,), "shots": (1,)}))
SMALL_TINY = Grid(**(SMALL | {n: TINY[n] for n in ("algorithms", "ways", "shots", "seeds")}))


def cells(study):
    return [(r.algorithm, r.data, r.n_classes, r.n_way, r.n_shot, r.seed) for r in study.rows]


def small(folder, **options):
    return run_study(SMALLEST, folder, n_jobs=1, progress=False, **options)


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def start(folder, *options):
    """The study as a person starts it: small, in a process of its own."""
    code = "from metalearn_edu.cli import main; main()"
    words = ["study", "--small", "--output", str(folder), *TINY_OPTIONS.split(), *options]
    command = [sys.executable, "-c", code, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def command(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", *map(str, words)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err
