"""The code and the lessons' sources are formatted, free of lint, and typed."""

import subprocess
import sys

import pytest

import course

COMMANDS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_findings(name):
    done = subprocess.run(
        [sys.executable, "-m", *COMMANDS[name]], cwd=course.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
