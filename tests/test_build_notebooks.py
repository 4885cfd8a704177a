"""The notebook builder on toy lessons: same bytes twice, and no bad lesson gets through."""

import base64
import io
import os
import subprocess
import sys

import nbformat
import pytest
from PIL import Image

from course import JUPYTER_FOLDERS, ROOT
from tools import build_notebooks as build

HEADER = "# %% [markdown]\n# # Toy\n#\n# Is it built? 5 minutes. Prerequisites: none.\n\n"
FIGURE = """
# %%
import base64
from IPython.display import Image
Image(base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
), alt="a dot")
"""
HIDDEN_ERROR = """
# %%
import ipywidgets
from IPython.display import display
hidden = getattr(ipywidgets, "Out" + "put")()
display(hidden)
with hidden:
    raise ValueError("nobody sees me")
"""


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """Writes one toy lesson into a folder of its own and returns the path of its source."""
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(build, "SOURCES", tmp_path / "source")
    build.SOURCES.mkdir()

    def write(*cells, name="07_toy", header=HEADER, figure=FIGURE):
        source = build.SOURCES / f"{name}.py"
        source.write_text(header + figure + "".join(cells), encoding="utf-8")
        return source

    return write


def test_two_builds_give_the_same_bytes_without_widgets(lesson):
    printing = '\n# %% tags=["nbval-ignore-output"]\nprint("a")\nprint("b")\n'
    source = lesson(printing, "\n# %%\nimport ipywidgets\nipywidgets.IntSlider(value=3)\n")
    first = build.build(source).read_bytes()
    assert build.build(source).read_bytes() == first
    assert build.lesson_problems(source) == []
    stored = nbformat.reads(first.decode(), as_version=4)
    assert [cell.id for cell in stored.cells] == [f"07_toy-00{n}" for n in range(4)]
    assert stored.cells[2].metadata == {"tags": ["nbval-ignore-output"]}
    assert stored.metadata == build.METADATA
    assert build.WIDGET_VIEW not in first.decode() and b"IntSlider(value=3)" in first
    assert [path.name for path in build.NOTEBOOKS.iterdir() if path.is_file()] == ["07_toy.ipynb"]


FIGURE_IN_WORDS = """
# %%
import matplotlib.pyplot as plt
from metalearn_edu.plotting import describe, use_course_style
use_course_style()
_ = plt.plot([1, 2], [3, 7])
plt.show()
fig, ax = plt.subplots()
_ = ax.set_title("shown as the last value of a cell")
describe(ax, "Nothing but a title.")
plt.close(fig)
fig
"""


def test_figures_keep_their_text_alternative(lesson):
    source = lesson(FIGURE_IN_WORDS)
    stored = nbformat.reads(build.build(source).read_text("utf-8"), as_version=4)
    assert build.lesson_problems(source) == []
    outputs = [o for o in stored.cells[2].outputs if build.PNG in o.get("data", {})]
    texts = [build.alternative(output) for output in outputs]
    assert "A line goes from 3 at 1 to 7 at 2." in texts[0]
    assert set(texts[1:]) == {"Nothing but a title."}
    assert all(o.data["text/plain"].startswith("<Figure size") for o in outputs)
    png = Image.open(io.BytesIO(base64.b64decode(outputs[0].data[build.PNG])))
    assert png.mode == "P" and png.size[0] > 300
    page = html_of(stored)
    assert all(f'alt="{text}"' in page for text in texts)


def html_of(notebook):
    """The notebook as the course's Jupyter exports it."""
    variables = os.environ | {name: str(ROOT / path) for name, path in JUPYTER_FOLDERS.items()}
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--stdin", "--stdout"]
    text = nbformat.writes(notebook)
    done = subprocess.run(command, input=text, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_would_not_last_is_refused(lesson):
    cells = {
        "object()": "a memory address",
        "print('/home/ada/course')": "an absolute path",
        "import warnings; warnings.warn('old')": "text on stderr",
        "print('100%|####| 3/3')": "a progress bar",
        "print('fine');": "a trailing `;`",
    }
    with pytest.raises(build.LessonError) as refusal:
        build.build(lesson(*(f"\n# %%\n{cell}\n" for cell in cells)))
    for number, reason in enumerate(cells.values(), 2):
        assert f"cell {number}: {reason}" in str(refusal.value)
    assert not (build.NOTEBOOKS / "07_toy.ipynb").exists()


def test_an_error_inside_a_widget_is_found(lesson):
    with pytest.raises(build.LessonError, match="an error inside a widget: ValueError: nobody"):
        build.build(lesson(HIDDEN_ERROR))


def test_a_lesson_past_its_time_is_stopped(lesson):
    source = lesson("\n# %%\nimport time\ntime.sleep(60)\n")
    with pytest.raises(build.LessonError, match="still running after 3 s"):
        build.build(source, max_seconds=3)


def test_a_failed_build_keeps_the_old_notebook_and_fails(lesson, capsys):
    source = stored_lesson(lesson)
    before = build.notebook_of(source).read_bytes()
    lesson("\n# %%\nraise RuntimeError('now broken')\n")
    assert build.main(["7"]) == 1
    assert build.notebook_of(source).read_bytes() == before
    shown = capsys.readouterr().out
    assert "now broken" in shown and "failed: 07_toy" in shown


# --- the check, which runs nothing -----------------------------------------------------------


def stored_lesson(lesson, change=lambda notebook: None):
    """A lesson with a notebook as a build would leave it, then changed."""
    source = lesson("\n# %%\nprint('a')\n")
    notebook = build.read_source(source)
    for count, cell in enumerate(build.code_cells(notebook), 1):
        cell.execution_count = count
    picture = nbformat.v4.new_output("display_data", {build.PNG: "", "text/plain": "a"})
    picture.metadata = {build.PNG: {"alt": "a dot"}}
    build.code_cells(notebook)[0].outputs = [picture]
    change(notebook)
    build.notebook_of(source).write_text(build.canonical_text(notebook), encoding="utf-8")
    return source


def test_a_sound_pair_has_no_problems(lesson):
    assert build.lesson_problems(stored_lesson(lesson)) == []


def set_code(notebook):
    notebook.cells[2].source = "print('b')"


def drop_cell(notebook):
    del notebook.cells[2]


def unrun(notebook):
    notebook.cells[2].execution_count = None


def other_id(notebook):
    notebook.cells[2].id = "abc"


def hide_cell(notebook):
    notebook.cells[2].metadata["tags"] = ["hide"]


def no_figure(notebook):
    notebook.cells[1].outputs = []


def no_alternative(notebook):
    notebook.cells[1].outputs[0].metadata = {}


def the_same_alternative(notebook):
    notebook.cells[2].outputs = notebook.cells[1].outputs


def second_title(notebook):
    notebook.cells[0].source += "\n# Another"


def skip_a_level(notebook):
    notebook.cells[0].source += "\n```\n##### code\n```\n## Two\n#### Four"


def store_error(notebook):
    error = nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[])
    notebook.cells[2].outputs = [error]


def grow(notebook):
    text = nbformat.v4.new_output("stream", name="stdout", text="a" * build.MAX_BYTES)
    notebook.cells[2].outputs = [text]


@pytest.mark.parametrize(
    "change, reason",
    [
        (set_code, "cell 2 differs from the source"),
        (drop_cell, "3 cells in the source, 2 in the notebook"),
        (unrun, "not run from top to bottom"),
        (other_id, "ids, tags or metadata"),
        (hide_cell, "ids, tags or metadata"),
        (no_figure, "no figure"),
        (no_alternative, "cell 1: no text alternative"),
        (the_same_alternative, "cell 2: the same text alternative as 1"),
        (second_title, "cell 0: a second title: 'Another'"),
        (skip_a_level, "cell 0: level 4 below 2: 'Four'"),
        (store_error, "an error is stored"),
        (grow, "the limit is 500000"),
    ],
)
def test_check_finds(lesson, change, reason):
    problems = build.lesson_problems(stored_lesson(lesson, change))
    assert any(reason in problem for problem in problems), problems


@pytest.mark.parametrize(
    "header, reason",
    [
        ("# %%\n1\n", "the first cell is not markdown"),
        (HEADER.replace("5 minutes", "soon"), "the minutes"),
        (HEADER.replace("Prerequisites", "Needs"), "the prerequisites"),
        (HEADER.replace("?", "."), "a question"),
    ],
)
def test_check_reads_the_first_cell(lesson, header, reason):
    problems = build.notebook_problems(build.read_source(lesson(header=header)))
    assert any(reason in problem for problem in problems), problems


@pytest.mark.parametrize(
    "code, allowed",
    [
        ("interact(f, n=3)", False),
        ("out = widgets.Output()", False),
        ("%config InlineBackend.figure_formats = ['svg']", False),
        ("", False),
        ('plt.rcParams["figure.dpi"] = 64', False),
        ('plt.rcParams["figure.dpi"] = 110', True),
        ("text = 'a; b'", True),
        ("interaction = 3", True),
    ],
)
def test_check_reads_the_code(code, allowed):
    assert (build.code_problems(code) == []) is allowed


@pytest.mark.parametrize("text", ["0x7f3a5c2d1e80", "/tmp/ipykernel_123/4.py", r"C:\Users\ada"])
def test_text_that_changes_is_found(text):
    output = nbformat.v4.new_output("stream", name="stdout", text=f"see {text}")
    assert build.output_problems([output])


@pytest.mark.parametrize("text", ["0xFF", "n_way/home", "../shared/opt/x", "https://a.org/home/b"])
def test_text_that_lasts_is_kept(text):
    output = nbformat.v4.new_output("stream", name="stdout", text=f"see {text}")
    assert build.output_problems([output]) == []


def test_missing_notebooks_and_missing_sources_are_named(lesson, capsys):
    lesson(name="01_unbuilt")
    (build.NOTEBOOKS / "02_orphan.ipynb").touch()
    (build.NOTEBOOKS / "my own.ipynb").touch()
    assert build.main(["--check"]) == 1
    shown = capsys.readouterr().out
    assert "01_unbuilt: not built yet" in shown
    assert "02_orphan: no source" in shown
    assert "my own" not in shown


def test_a_function_in_two_lessons_is_named(lesson):
    lesson("\n# %%\ndef helper(): ...\ndef mine(): ...\n", name="01_a")
    lesson("\n# %%\ndef helper(): ...\n", name="02_b")
    assert build.shared_helpers() == {"helper": ["01_a", "02_b"]}


def test_lessons_are_named_by_number_or_name(lesson, capsys):
    paths = [lesson(name=name) for name in ("00_start", "05_maml", "11_which")]
    assert build.find_sources() == paths
    assert build.find_sources(["5", "0"]) == [paths[0], paths[1]]
    assert build.find_sources(["notebooks/11_which.ipynb"]) == [paths[2]]
    with pytest.raises(SystemExit) as stop:
        build.main(["12"])
    assert stop.value.code == 2
    assert "00_start, 05_maml, 11_which" in capsys.readouterr().err
