import os

import pytest
from tqdm.notebook import tqdm as notebook_bar

from metalearn_edu.basics import progress
from metalearn_edu.basics.progress import progress_bar


@pytest.mark.parametrize("show", [True, False])
def test_a_bar_hands_its_items_through(show):
    assert list(progress_bar([3, 1, 2], show=show, desc="test")) == [3, 1, 2]


def test_a_hidden_bar_prints_nothing(capfd):
    bar = progress_bar(total=2, show=False)
    bar.update()
    bar.close()
    assert capfd.readouterr().err == ""


def test_tests_and_builds_can_hide_every_bar():
    # conftest.py sets TQDM_DISABLE before tqdm is imported.
    assert os.environ["TQDM_DISABLE"] == "1"
    assert progress_bar(range(3), show=True).disable


def test_the_notebook_bar_is_hidden_too(monkeypatch):
    # By itself it ignores the variable, and a dead "0%" would stay in the built notebook.
    monkeypatch.setattr(progress, "tqdm", notebook_bar)
    assert progress_bar(range(3), show=True).disable
