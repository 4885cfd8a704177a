"""The lessons without running them: each notebook is what its source says, run and stable.

That the cells still print what is stored is nbval's part: `pytest notebooks`.
"""

import pytest

from tools import build_notebooks as build

SOURCES = build.find_sources()


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_notebook_is_sound(source):
    assert build.lesson_problems(source) == []


def test_every_notebook_has_a_source():
    assert build.orphans() == []


def test_no_function_is_defined_in_two_lessons():
    assert build.shared_helpers() == {}
