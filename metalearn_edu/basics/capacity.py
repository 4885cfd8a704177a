"""How much memory there is, and a refusal of requests that would need more."""

from __future__ import annotations

import contextlib
import math
import os
from functools import cache
from pathlib import Path

__all__ = ["check_fits", "machine_bytes"]

GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check_fits(what: str, n_bytes: int) -> None:
    """Refuse what would need more memory than there is, before the system runs out of it.

    Raises:
        ValueError: `n_bytes` is more than this process can hold, as far as the system tells.
    """
    if n_bytes < 2**26:  # fits anywhere, and asking the system takes time
        return
    limit = min(machine_bytes(), _process_bytes())
    if n_bytes > limit:
        raise ValueError(
            f"{what} would take {min(n_bytes, 10**30) / 1e9:.3g} GB of memory, more than the "
            f"{limit / 1e9:.3g} GB that there are: ask for fewer or smaller ones at a time"
        )


@cache
def machine_bytes() -> float:
    """Memory of this machine, or of its container, in bytes; inf if the system does not tell."""
    found = [math.inf]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # "max" is not a number
        found.append(int(GROUP_LIMIT.read_text()))
    return min(found)


def _process_bytes() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if limit == resource.RLIM_INFINITY else limit
