"""Settings and fixtures that all tests share."""

import os
from pathlib import Path

import matplotlib
import pytest
from hypothesis import settings

import course

matplotlib.use("Agg")  # no test opens a window
# The same examples in every run, and no time limit that a busy machine would miss.
settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")


@pytest.fixture(scope="session")
def omniglot_folder() -> Path:
    """The folder of real Omniglot files, or a skip that says how to give one."""
    named = os.environ.get("METALEARN_EDU_DATA")
    folder = Path(named) if named else course.ROOT.parent / "shared" / "data" / "omniglot"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set METALEARN_EDU_DATA to a folder of Omniglot files")
    return folder


@pytest.fixture
def omniglot_environment(omniglot_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """METALEARN_EDU_DATA names the real Omniglot."""
    monkeypatch.setenv("METALEARN_EDU_DATA", str(omniglot_folder))
