"""What the command `metalearn-edu study` says and refuses."""

import os
import subprocess
import sys

import pytest

from metalearn_edu.basics.files import save_json
from metalearn_edu.study import Grid, all_runs
from metalearn_edu.study.folder import run_file
from tests.study.small_studies import SMALL_TINY, TINY_OPTIONS, command


def test_a_dry_run_says_what_is_done_and_does_nothing(capsys, tiny, tmp_path):
    options = ["--small", *TINY_OPTIONS.split(), "--dry-run"]
    status, out, _ = command(capsys, "--output", tmp_path / "new", *options)
    assert status == 0 and not (tmp_path / "new").exists()
    assert out == ("3 runs, 8 rows: 0 done, 3 to do, how long they take is not known yet\n")
    run = SMALL_TINY.runs()[0]
    content = {"settings": run.settings, "seconds": 600.0, "rows": [], "right": []}
    save_json(run_file(tmp_path, run.key), content)
    out = command(capsys, "--output", tmp_path, *options, "--jobs", 1)[1]
    assert out == "3 runs, 8 rows: 1 done, 2 to do, in about 20 minutes\n"


def test_a_dry_run_needs_no_network_and_writes_nothing(tmp_path):
    environment = os.environ | {"METALEARN_EDU_CACHE": str(tmp_path / "cache")}
    environment |= {"METALEARN_EDU_DATA": "", "HTTPS_PROXY": "http://127.0.0.1:9"}
    code = "from metalearn_edu.cli import main; main()"
    words = ["study", "--dry-run", "--output", str(tmp_path / "new")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True
    )
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.startswith(b"198 runs, 576 rows: 0 done, 198 to do")
    assert not list(tmp_path.iterdir())


def test_without_options_it_is_the_full_study(capsys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(all_runs, "state_of", lambda grid, *_: asked.append(grid) or "")
    command(capsys, "--output", tmp_path, "--dry-run")
    assert asked == [Grid()]
    words = ["--data", "glyphs", "--n-classes", "50,all", "--seeds", "3", "--dry-run"]
    command(capsys, "--output", tmp_path, *words)
    assert asked[1] == Grid(data=("glyphs",), n_classes=(50, None), seeds=(3,))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--output"),
        (["--output", "x", "--algorithms", "mamml"], "mamml"),
        (["--output", "x", "--ways", "5,many"], "--ways takes whole numbers"),
        (["--output", "x", "--ways", "1"], "ways must be an integer of at least 2, got 1"),
        (["--output", "x", "--n-classes", "50,50"], "n_classes must be different"),
        (["--output", "x", "--n-classes", "5000"], "has 890 classes"),
        (["--output", "x", "--data", "nowhere"], "nowhere"),
        (["--output", "x", "--small", "--jobs", "0"], "n_jobs must be at least 1"),
        (["--output", "x", "--small", "--backend", "slurm"], "slurm"),
        (["--output", "x", "--small", "--backend", "dask"], "address of its scheduler"),
        (["--output", "x", "--small", "--scheduler", "tcp://x:1"], "--backend dask"),
    ],
)
def test_nonsense_is_refused_in_one_line(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, _, err = command(capsys, *words)
    assert status == 2 and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
