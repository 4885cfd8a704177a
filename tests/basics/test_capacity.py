"""What no machine holds is refused before it is tried."""

import subprocess
import sys

import pytest

from metalearn_edu.basics import capacity


def test_what_no_machine_holds_is_refused_with_the_numbers():
    capacity.check_fits("a small thing", 10**6)
    with pytest.raises(ValueError, match=r"^it would take 1e\+21 GB of memory, more than the "):
        capacity.check_fits("it", 10**400)


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(capacity, "GROUP_LIMIT", limit)
    monkeypatch.setattr(capacity, "machine_bytes", capacity.machine_bytes.__wrapped__)
    for text in ("max\n", "400000000\n"):
        limit.write_text(text)
        capacity.check_fits("it", 3 * 10**8)
    limit.write_text("200000000\n")
    with pytest.raises(ValueError, match=r"would take 0\.3 GB of memory, more than the 0\.2 GB"):
        capacity.check_fits("it", 3 * 10**8)


def test_the_limit_of_a_process_counts():
    resource = pytest.importorskip("resource")
    code = (
        "import resource; from metalearn_edu.basics.capacity import check_fits\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, 8 * 10**9)); check_fits('it', 10**10)"
    )
    assert resource.RLIMIT_AS >= 0
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "it would take 10 GB of memory, more than the 8 GB that there are" in done.stderr
