import pytest

from metalearn_edu.explorers.base import Explorer


@pytest.fixture(autouse=True)
def raise_errors(monkeypatch):
    """What a moved control causes fails the test, as a Python call would."""
    monkeypatch.setattr(Explorer, "raise_errors", True)
