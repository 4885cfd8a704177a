"""Freed memory is kept on glibc, and nothing happens elsewhere."""

import ctypes
import math
import os
import platform
import subprocess
import sys

import pytest

from metalearn_edu.engine import heap

FAULTS = """
import resource, torch
from metalearn_edu.engine.heap import keep_pages
print(keep_pages())
for _ in range(4):  # 64 MB in one block, which glibc alone gives back each time
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def kept_and_faults(setting):
    env = os.environ | {"METALEARN_EDU_KEEP_PAGES": setting}
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_pages_are_kept_between_steps():
    kept, faults = kept_and_faults("on")
    assert kept
    assert faults < 100


def test_can_be_left_off():
    assert not kept_and_faults("off")[0]


@pytest.mark.parametrize(
    "error", [TypeError("Windows"), AttributeError("no mallopt"), OSError("no library")]
)
def test_says_so_where_there_is_no_such_setting(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert heap.keep_pages.__wrapped__() is False


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux alone says it for part of a life")
def test_the_peak_is_that_of_the_block():
    with heap.peak_memory() as large:
        block = bytearray(300_000_000)
        block[:: 2**12] = b"1" * len(block[:: 2**12])  # touched, so that it is really held
        del block
    with heap.peak_memory() as small:
        pass
    assert 290 < large.megabytes - small.megabytes < 310


def test_no_peak_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(heap, "PROCESS", tmp_path / "no such folder")
    with heap.peak_memory() as peak:
        pass
    assert math.isnan(peak.megabytes)
