"""Names are text: nothing in them is obeyed by a terminal, Matplotlib or a spreadsheet."""

import pytest

from metalearn_edu.basics.names import for_figure, for_table, for_terminal
from metalearn_edu.plotting import figure_png, new_figure


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Größe 文字", "Größe 文字"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("two\nlines", "two\nlines"),
        ("a\u202eb", r"a\u202eb"),
        ("lone \ud800", r"lone \ud800"),
        ("back\rspace\b", r"back\rspace\x08"),
        (7, "7"),
    ],
)
def test_a_terminal_is_shown_letters_only(name, shown):
    assert for_terminal(name) == shown


@pytest.mark.parametrize("name", ["$x^{", "price $5 and $6", "a_b", "\ud800", r"\$1$", "50 %"])
def test_matplotlib_draws_every_name(name):
    fig = new_figure()
    text = fig.text(0, 0, for_figure(name))
    assert figure_png(fig)
    assert "$" not in for_figure(name).replace(r"\$", "")
    assert not text.get_text().startswith("$")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1"])
def test_a_spreadsheet_computes_nothing(name):
    assert for_table(name) == f"'{name}"


def test_a_harmless_cell_stays_as_it_is():
    assert for_table("a = b") == "a = b"
