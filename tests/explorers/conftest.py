import matplotlib as mpl
import pytest

from metalearn_edu.explorers.base import Explorer

SMALLEST = 11  # pixels on the screen


@pytest.fixture(autouse=True)
def raise_errors(monkeypatch):
    """What a moved control causes fails the test, as a Python call would."""
    monkeypatch.setattr(Explorer, "raise_errors", True)


@pytest.fixture(autouse=True)
def legible(monkeypatch):
    """Every picture that a test draws has text of at least 11 pixels."""
    figure = Explorer.figure

    def checked(self, **state):
        fig = figure(self, **state)
        texts = [t for t in fig.findobj(mpl.text.Text) if t.get_visible() and t.get_text().strip()]
        small = {t.get_text() for t in texts if t.get_fontsize() * self.dpi / 72 < SMALLEST}
        assert not small, f"{type(self).__name__}: text below {SMALLEST} pixels: {small}"
        return fig

    monkeypatch.setattr(Explorer, "figure", checked)
