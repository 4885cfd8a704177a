"""The prose of the course reads as English: nothing that tools/english.txt lists."""

import pytest

from tools import english


def test_no_findings():
    assert [line for path in english.files() for line in english.findings(path)] == []


def test_the_package_and_its_pages_are_read():
    names = {path.relative_to(english.ROOT).as_posix() for path in english.files()}
    assert {"README.md", "course.py", "metalearn_edu/learners/maml.py"} <= names


CODE = '''
"""A docstring
that begins anew."""
anew = transposed  # whoever
# reads it, in place
# of the other
message = (
    "one is asked "
    f"for {message}"
)
'''
FOUND = ["anew", "Whoever", "in place of", "is asked for"]


def test_comments_docstrings_and_messages_are_read_across_lines(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(CODE)
    lines = english.findings(path)
    assert len(lines) == 4
    assert all(any(word.lower() in line for line in lines) for word in FOUND)
    assert f"{path}:2: " in lines[0] and lines[0].endswith("again, from scratch")


def test_paragraphs_know_their_line(tmp_path):
    path = tmp_path / "text.md"
    path.write_text("One.\n\nTwo items a\nclass.\n")
    (line,) = english.findings(path)
    assert line.startswith(f"{path}:3: ")
    assert english.main([str(path)]) == 1


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("the gradient by w", "with respect to"),
        ("ValueError: a width that is no integer", "is not a"),
        ("rows and columns are exchanged", "are swapped"),
        ("the network is surer of it", "more confident"),
        ("We shall test with 5 ways.", "will"),
        ("the curve is out of the picture", "off the plot"),
        ("what the paper says of the loss", "about"),
        ("an interval knows nothing of the protocol", "about"),
        ("as far from itself as can be", "as far as possible"),
        ("it would wait for ever", "forever"),
        ("it can over-fit to its tasks", "overfit"),
        ("right in half of the cases", "half of the time"),
        ("training asks for just that", "requires exactly that"),
        ("We train. Of large networks, the gradient is taken at once.", "the X of Y is"),
    ],
)
def test_kinds_that_recur(tmp_path, written, instead):
    path = tmp_path / "text.md"
    path.write_text(written)
    (line,) = english.findings(path)
    assert instead in line


@pytest.mark.parametrize(
    "good",
    [
        "Adam divides each gradient by its usual size",
        "multiply the slope by (1 - inner_lr)",
        "divide the query gradient by the number of query rows",
        "there is no table in the folder, and the file is no longer there",
        "there are no classes",
        "make sure that it is right",
        "what the paper says of course",
        "Of five trial runs without the limit, one never recovered.",
        "as far as it can be",
        "a recipe names an algorithm",
        "one of a class",
        "for each task of a class",
        "text, for those who cannot see it",
        "so many that it is slow",
        "for one class, 5 items",
    ],
)
def test_good_english_passes(tmp_path, good):
    path = tmp_path / "text.md"
    path.write_text(good)
    assert english.findings(path) == []


def test_a_line_of_the_list_without_an_arrow_is_named(tmp_path, monkeypatch):
    (tmp_path / "english.txt").write_text("# fine\n\nanew again\n")
    monkeypatch.setattr(english, "PATTERNS", tmp_path / "english.txt")
    with pytest.raises(ValueError, match="line 3: no ' -> ' in 'anew again'"):
        english.patterns()
