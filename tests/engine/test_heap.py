"""Freed memory is kept on glibc, and nothing happens elsewhere."""

import ctypes
import math
import os
import platform
import subprocess
import sys

import pytest

from metalearn_edu.engine import heap as memory

FAULTS = """
import resource, torch
from metalearn_edu.memory import keep_pages
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
    assert memory.keep_pages.__wrapped__() is False


def test_what_no_machine_holds_is_refused_with_the_numbers():
    memory.check_fits("a small thing", 10**6)
    with pytest.raises(ValueError, match=r"^it would take 1e\+21 GB of memory, more than the "):
        memory.check_fits("it", 10**400)


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "GROUP_LIMIT", limit)
    monkeypatch.setattr(memory, "machine_bytes", memory.machine_bytes.__wrapped__)
    for text in ("max\n", "400000000\n"):
        limit.write_text(text)
        memory.check_fits("it", 3 * 10**8)
    limit.write_text("200000000\n")
    with pytest.raises(ValueError, match=r"would take 0\.3 GB of memory, more than the 0\.2 GB"):
        memory.check_fits("it", 3 * 10**8)


def test_the_limit_of_a_process_counts():
    resource = pytest.importorskip("resource")
    code = (
        "import resource; from metalearn_edu.memory import check_fits\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, 8 * 10**9)); check_fits('it', 10**10)"
    )
    assert resource.RLIMIT_AS >= 0
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "it would take 10 GB of memory, more than the 8 GB that there are" in done.stderr


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux alone says it for part of a life")
def test_the_peak_is_that_of_the_block():
    with memory.peak_memory() as large:
        block = bytearray(300_000_000)
        block[:: 2**12] = b"1" * len(block[:: 2**12])  # touched, so that it is really held
        del block
    with memory.peak_memory() as small:
        pass
    assert 290 < large.megabytes - small.megabytes < 310


def test_no_peak_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "no such folder")
    with memory.peak_memory() as peak:
        pass
    assert math.isnan(peak.megabytes)
