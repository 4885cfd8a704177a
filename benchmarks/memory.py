"""How much memory one contender takes, in a process of its own: the allocator remembers others."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.race import Run

__all__ = ["peak_memory"]

STATUS = Path("/proc/self/status")
# Not ru_maxrss: on Linux a new process starts with the mark of the one that started it.


def peak_memory(workload: str, contender: str) -> float | None:
    """Megabytes that a unit of work takes at most, on one thread, beyond what is there after one.

    The first unit loads code and fills caches, which is not counted. None where the system does
    not tell (it needs Linux).
    """
    if not STATUS.exists():
        return None
    command = [sys.executable, "-m", "benchmarks.memory", workload, contender]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def _measure(run: Run) -> float:
    run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc gives back what the first unit left free
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    """A field of this process's status, in kB."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[field].split()[0])


if __name__ == "__main__":
    from benchmarks.workloads import WORKLOADS

    torch.set_num_threads(1)
    print(_measure(WORKLOADS[sys.argv[1]].contenders[sys.argv[2]]()))
