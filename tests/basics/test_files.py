"""Files of ours: written whole, by one process at a time, and read within bounds."""

import errno
import os
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metalearn_edu.basics.files import (
    as_path,
    load_arrays,
    locked,
    open_atomically,
    read_bounded,
    remove_leftovers,
    save_arrays,
)
from metalearn_edu.tasks.cache import cache_folder, cached_arrays

TAKE = """
import sys
from pathlib import Path
from metalearn_edu.basics.files import locked
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


def test_a_home_is_meant_where_a_shell_would_mean_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(path).replace("~", str(tmp_path)))
    assert as_path("folder", "~/data") == as_path("folder", Path("~/data")) == tmp_path / "data"
    monkeypatch.setenv("METALEARN_EDU_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache"


def test_where_the_system_knows_no_locks_the_block_runs_without(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / ".lock"):
        ran = True
    assert ran


def test_a_lock_leaves_no_file_behind_and_waiting_ends(tmp_path):
    with locked(tmp_path / ".lock"):
        started = time.monotonic()
        with pytest.raises(TimeoutError), locked(tmp_path / ".lock", patience=0.2):
            pass
        assert 0.2 <= time.monotonic() - started < 5
    assert not list(tmp_path.iterdir())


COUNT = """
import sys
from pathlib import Path
from metalearn_edu.basics.files import locked
file = Path(sys.argv[1])
for _ in range(100):
    with locked(file.with_name(".lock"), patience=30):
        file.write_text(str(int(file.read_text()) + 1))
"""


def test_nothing_is_lost_between_processes_that_take_turns(tmp_path):
    (tmp_path / "count").write_text("0")
    start = [sys.executable, "-c", COUNT, tmp_path / "count"]
    processes = [subprocess.Popen(start) for _ in range(3)]
    assert [process.wait(100) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "300"


# ---------------------------------------------------------------- writing


def write(path, content=b"new"):
    with open_atomically(path) as file:
        file.write(content)


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o604)
    with open_atomically(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"half" and path.stat().st_mode & 0o777 == 0o604
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_said_with_the_file_that_it_has_no_room_for(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(OSError, match=r"No space left.*card\.json"),
        open_atomically(tmp_path / "card.json"),
    ):
        raise full
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("file")
    write(tmp_path / "link")
    write(tmp_path / "link", b"newer")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"newer"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", None), "device"])
def test_what_is_no_file_is_neither_replaced_nor_waited_for(make, tmp_path):
    path = tmp_path / "thing"
    path.symlink_to(os.devnull) if make == "device" else make(path)
    before = path.stat().st_mode
    with pytest.raises(OSError, match="is not a regular file, so it is not written"):
        write(path)
    for read in (load_arrays, lambda path: read_bounded(path, 10)):
        with pytest.raises(OSError, match="is not a regular file"):
            read(path)
    assert path.stat().st_mode == before and [p.name for p in tmp_path.iterdir()] == ["thing"]


HANG = """
import sys, time
from pathlib import Path
from metalearn_edu.basics.files import open_atomically
with open_atomically(Path(sys.argv[1])) as file:
    print("writing", flush=True)
    time.sleep(60)
"""


def age(folder):
    for part in folder.glob(".*.part"):
        os.utime(part, (time.time() - 10,) * 2)


def test_what_a_killed_process_left_goes_and_what_another_writes_stays(tmp_path):
    path = tmp_path / "a[1]*.npz"
    start = [sys.executable, "-c", HANG, path]
    killed, alive = (subprocess.Popen(start, stdout=subprocess.PIPE) for _ in range(2))
    for process in (killed, alive):
        process.stdout.readline()
    others = [tmp_path / f".b.npz.{'0' * 32}.part", tmp_path / ".a[1]*.npz.mine.part"]
    for other in others:
        other.write_text("of another file")
    assert len(list(tmp_path.iterdir())) == 4
    killed.kill()
    killed.wait()
    write(path)  # the remains may be those of somebody who has just begun
    assert len(list(tmp_path.iterdir())) == 5
    age(tmp_path)
    write(path)
    assert len(list(tmp_path.iterdir())) == 4
    alive.kill()
    alive.wait()
    write(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


# ---------------------------------------------------------------- arrays


def test_arrays_come_back(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": np.arange(3), "y": np.array(["a", "b"])})
    arrays = load_arrays(tmp_path / "a.npz")
    assert arrays["x"].tolist() == [0, 1, 2] and arrays["y"].tolist() == ["a", "b"]


def test_more_than_is_allowed_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(50_000_000, np.uint8))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb.npz .*it has 50000128 bytes, more than 1000000"):
        load_arrays(path, at_most=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def npz(path, content, **changed):
    """An archive with one entry, in whose header bytes are then changed: (where, to what)."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)
    data = bytearray(path.read_bytes())
    for offset, value in changed.values():
        for start, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
            data[data.find(start) + offset + shift] = value
    path.write_bytes(data)


def header(shape, kind="|u1"):
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        (header((3,)) + b"abc", {"password": (6, 1)}),
        (header((3,)) + b"abc", {"zstandard": (8, 93)}),
        (header((3,)) + b"abc", {"deflate64": (8, 9)}),
        (header((3,)) + b"abc", {"bzip2": (8, 12)}),
        (header((10**15,)) + b"abc", {}),
        (header((10**40,)) + b"abc", {}),
        (header((-3,)) + b"abc", {}),
        (header((3,), "|O") + b"abc", {}),
        (b"\x93NUMPY\x01\x00\x76\x00{'descr': " + b"[" * 109, {}),
        (b"no array", {}),
        (b"", {}),
    ],
)
def test_a_damaged_or_strange_archive_is_one_error_that_names_it(tmp_path, content, changed):
    npz(tmp_path / "a.npz", content, **changed)
    with pytest.raises(ValueError, match=r"a\.npz is damaged or is not a .npz file \(.+\)"):
        load_arrays(tmp_path / "a.npz")


def test_a_cached_file_of_other_arrays_is_made_again(tmp_path, capsys):
    def check(arrays):
        if set(arrays) != {"x"}:
            raise ValueError(f"it has {sorted(arrays)}")

    path = tmp_path / "a.npz"
    save_arrays(path, {"y": np.arange(3)})
    for said in (f"The cached file is rebuilt: {path}: it has ['y'].\n", ""):
        arrays = cached_arrays(path, lambda: {"x": np.arange(2)}, check=check)
        assert arrays["x"].tolist() == [0, 1] and capsys.readouterr().out == said


@pytest.mark.parametrize("value", [None, 3, b"folder", ["a"], "a\0b"])
def test_what_is_no_path_is_refused_by_name(value):
    with pytest.raises(ValueError, match="folder must be a path"):
        as_path("folder", value)


def test_paths_and_words_are_paths():
    assert as_path("folder", "a/b") == as_path("folder", Path("a/b")) == Path("a", "b")


def test_left_over_parts_of_the_named_files_alone_are_removed(tmp_path):
    part = f"{'0123456789abcdef' * 2}.part"
    ours = [f".model.json.{part}", f".card.json.{part}"]
    theirs = [f".notes.txt.{part}", "card.json.part", ".card.json.ab.part", "film.part"]
    for name in [*ours, *theirs]:
        (tmp_path / name).write_text("half")
    (tmp_path / f".kept.json.{part}").mkdir()
    remove_leftovers(tmp_path, "*.json")  # they were written just now, perhaps by somebody else
    assert len(list(tmp_path.iterdir())) == 7
    remove_leftovers(tmp_path, "*.json", alone=True)
    assert {f.name for f in tmp_path.iterdir()} == {*theirs, f".kept.json.{part}"}
    remove_leftovers(tmp_path / "missing", "*.json", alone=True)
