"""Archives from outside: bounded before they are read, and each fault one line that names it."""

import io
import os
import re
import struct
import tracemalloc
import warnings
import zipfile

import pytest

from metalearn_edu.tasks.data import archives
from metalearn_edu.tasks.data.archives import LARGEST_FILE, open_archive

WANTED = re.compile(r"class\d\d\.png$")


def contents(path):
    with open_archive(path, WANTED) as files:
        return {name: read() for name, read in files.items()}


def archive(path, files, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in files:
            opened.writestr(name, content)
    return path


def patched(path, offset, value):
    """Bytes of the first file's two headers changed; `offset` is that in the one before it."""
    data = bytearray(path.read_bytes())
    for start, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        at = data.find(start) + offset + shift
        data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def test_only_the_wanted_files_are_there(tmp_path):
    path = archive(tmp_path / "a.zip", [("x/class01.png", b"one"), ("README", bytes(10**6))])
    assert contents(path) == {"x/class01.png": b"one"}


def test_a_path_that_ends_before_its_end_is_refused(tmp_path):
    path = archive(tmp_path / "a.zip", [("x/class01.png", b"one"), ("y/class02.png", b"two")])
    path.write_bytes(path.read_bytes().replace(b"y/class02", b"y\0class02"))
    with pytest.raises(ValueError, match=r"nothing was read from it: the path 'y\\x00class02"):
        contents(path)


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (6, b"\x01", "needs a password"),
        (6, b"\x41", "needs a password"),
        (8, b"\x5d", "packed by method 93"),  # Zstandard
        (8, b"\x09", "packed by method 9;"),  # deflate64
        (8, b"\x0c", "packed by method 12"),  # bzip2
        (22, struct.pack("<L", 4), "damaged or no archive"),  # a false size
        (14, b"\0\0\0\0", "damaged or no archive.*CRC"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, offset, value, says):
    path = archive(tmp_path / "a.zip", [("class01.png", b"a drawing")])
    with pytest.raises(ValueError, match=f"a.zip .*{says}"):
        contents(patched(path, offset, value))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(tmp_path, method):
    path = archive(tmp_path / "a.zip", [("class01.png", b"a drawing")], method)
    with pytest.raises(ValueError, match=r"packed by method \d+; pack it again"):
        contents(path)


def peak_of(function, says):
    """Bytes that `function` holds at most until it raises a ValueError."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=says):
            function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = archive(tmp_path / "a.zip", [("class01.png", bytes(50_000_000))])
    assert peak_of(lambda: contents(path), "50000000 bytes, a drawing at most 100000") < 10**6


def test_a_file_whose_size_is_a_lie_is_not_read_to_its_end(tmp_path):
    path = archive(tmp_path / "a.zip", [("class01.png", bytes(50_000_000))])
    patched(path, 22, struct.pack("<L", 1000))
    assert peak_of(lambda: contents(path), "damaged") < 10**6


def test_many_files_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_TOTAL", 5 * LARGEST_FILE)
    many = [(f"{i}/class01.png", bytes(LARGEST_FILE)) for i in range(5)]
    assert len(contents(archive(tmp_path / "a.zip", many))) == 5
    many.append(("6/class01.png", b"x"))
    with pytest.raises(ValueError, match="more than 500000 bytes"):
        contents(archive(tmp_path / "a.zip", many))


def test_an_archive_that_is_too_large_or_too_full_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip", [(str(i), b"") for i in range(10)])
    monkeypatch.setattr(archives, "MOST_FILES", 9)
    with pytest.raises(ValueError, match="it has 10 files, more than 9"):
        contents(path)
    monkeypatch.setattr(archives, "LARGEST_TOTAL", path.stat().st_size - 1)
    with pytest.raises(ValueError, match=r"a\.zip is refused: its drawings or itself"):
        contents(path)


def test_two_files_of_one_name_are_refused(tmp_path):
    path = archive(tmp_path / "a.zip", [("class01.png", b"one"), ("class01.png", b"two")])
    with pytest.raises(ValueError, match=r"'class01\.png' is there twice"):
        contents(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"PK\5\6" + bytes(17)])
def test_what_is_no_archive_is_said(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip is damaged or no archive"):
        contents(tmp_path / "a.zip")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "zero.zip").symlink_to("/dev/zero")
    for name in ("pipe.zip", "zero.zip"):
        with pytest.raises(OSError, match="is not a regular file"):
            contents(tmp_path / name)


def test_an_error_of_the_reader_stays_what_it_is(tmp_path):
    path = archive(tmp_path / "a.zip", [("class01.png", b"one")])
    with pytest.raises(KeyError, match="mine"), open_archive(path, WANTED):
        raise KeyError("mine")
    assert io.BytesIO(path.read_bytes()).read(2) == b"PK"
