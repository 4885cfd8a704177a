"""One at a time: the lock that a folder or file of ours is written under."""

import subprocess
import sys
from pathlib import Path

import pytest

from metalearn_edu.tasks.cache import locked

TAKE = """
import sys
from pathlib import Path
from metalearn_edu.tasks.cache import locked
with locked(Path(sys.argv[1])):
    print("taken")
"""


def take_elsewhere(path):
    done = subprocess.run([sys.executable, "-c", TAKE, path], capture_output=True, text=True)
    return done.stdout.strip()


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path):
    path = tmp_path / "run" / ".lock"
    with locked(path):
        assert take_elsewhere(path) == ""
        with pytest.raises(TimeoutError, match="held by another process"), locked(path):
            pass
    assert take_elsewhere(path) == "taken"


def test_an_error_in_the_block_frees_the_lock(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / ".lock"):
        raise KeyError
    assert take_elsewhere(tmp_path / ".lock") == "taken"


def test_where_nothing_can_be_written_the_block_runs_without(tmp_path):
    (tmp_path / "file").write_text("")
    with locked(Path(tmp_path / "file" / ".lock")):
        ran = True
    assert ran


def test_where_the_system_knows_no_locks_the_block_runs_without(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / ".lock"):
        ran = True
    assert ran
