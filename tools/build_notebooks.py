"""Build notebooks/NN_name.ipynb from notebooks/source/NN_name.py, or check that they agree.

Run it as `python course.py build [NN ...] [--check] [--no-time-limit]`. A build runs each lesson
from top to bottom in a fresh kernel with one thread, as the tests do, and writes it in one
canonical form: a second build gives the same bytes. It refuses outputs that would not survive a
change of machine. `--check` runs nothing: it compares the pairs and reads the stored outputs.
"""

import argparse
import ast
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "source"
MAX_SECONDS = 120.0
MAX_BYTES = 500_000
PNG = "image/png"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What must not be in a stored output, because the next run or another machine changes it.
CHANGING_TEXT = {
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}"),
    "the path of a kernel": re.compile(r"ipykernel_\d+"),
    "an absolute path": re.compile(
        r"(?<![\w.:/])/(?:home|Users|root|tmp|var|opt|usr|mnt|work|private)/\w|\b[A-Z]:\\\w"
    ),
    "a progress bar": re.compile(r"\d+%\|| it/s\b|HBox\(children=\(HTML"),
}
# What must not be in a lesson's code, with what to write instead.
UNSTABLE_CODE = {
    "`interact`: write an explorer class": re.compile(r"\binteract(?:ive|_manual)?\s*\("),
    "an Output widget: write an explorer class": re.compile(r"\bOutput\s*\("),
    "SVG figures: PNG is not compared, SVG is": re.compile(r"set_matplotlib_formats|svg", re.I),
    "figures below 72 dpi, whose text is below 11 pixels: leave out figure.dpi": re.compile(
        r"figure\.dpi\W+(?:[1-6]?\d|7[01])\b"
    ),
}


class LessonError(Exception):
    """A lesson that cannot be built; the text says which, where and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check the chosen lessons; returns 0 only if all are well."""
    parser = argparse.ArgumentParser(prog="course.py build", description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", metavar="NN", help="e.g. 05; all if none is named")
    parser.add_argument("--check", action="store_true", help="compare only, run nothing")
    parser.add_argument(
        "--no-time-limit", action="store_true", help=f"let a lesson run past {MAX_SECONDS:.0f} s"
    )
    chosen = parser.parse_args(arguments)
    try:
        sources = find_sources(chosen.lessons)
    except LessonError as error:
        parser.error(str(error))
    if chosen.check:
        return report({s.stem: lesson_problems(s) for s in sources}, orphans())
    return build_all(sources, None if chosen.no_time_limit else MAX_SECONDS)


def build_all(sources: Sequence[Path], max_seconds: float | None) -> int:
    """Build each lesson and say how long it took; the failures come again at the end."""
    failures = []
    for source in sources:
        print(f"{source.stem} ...", flush=True)
        started = time.monotonic()
        try:
            target = build(source, max_seconds)
        except LessonError as error:
            failures.append(source.stem)
            print(f"{source.stem}: NOT BUILT\n{error}", flush=True)
            continue
        seconds = time.monotonic() - started
        print(f"{source.stem}: {seconds:.1f} s, {target.stat().st_size / 1000:.0f} kB", flush=True)
    print(f"notebooks built: {len(sources) - len(failures)} of {len(sources)}")
    if failures:
        print(f"failed: {', '.join(failures)}")
    return 1 if failures else 0


def report(problems: dict[str, list[str]], strays: list[str]) -> int:
    """Print what a check found."""
    lines = [f"{name}: {line}" for name, found in problems.items() for line in found] + strays
    print("\n".join([*lines, f"notebooks checked: {len(problems)}, problems: {len(lines)}"]))
    return 1 if lines else 0


def find_sources(names: Sequence[str] = ()) -> list[Path]:
    """The source files of the lessons named by number or by name; of all, if none is named.

    Raises:
        LessonError: a name that fits no source, or several.
    """
    sources = sorted(SOURCES.glob("[0-9][0-9]_*.py"))
    if not names:
        return sources
    found = set()
    for name in names:
        stem = Path(name).stem
        fits = [s for s in sources if stem.zfill(2) in (s.stem, s.stem[:2])]
        if len(fits) != 1:
            known = ", ".join(s.stem for s in sources) or "none yet"
            raise LessonError(f"no single lesson fits {name!r}; the lessons are: {known}")
        found.add(fits[0])
    return sorted(found)


def notebook_of(source: Path) -> Path:
    """The path of the notebook of a source file."""
    return NOTEBOOKS / f"{source.stem}.ipynb"


def orphans() -> list[str]:
    """Numbered notebooks that have no source file."""
    sources = {s.stem for s in find_sources()}
    notebooks = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    return [
        f"{n.stem}: no source notebooks/source/{n.stem}.py"
        for n in notebooks
        if n.stem not in sources
    ]


# --- build -----------------------------------------------------------------------------------


def build(source: Path, max_seconds: float | None = MAX_SECONDS) -> Path:
    """Run a lesson and write its notebook; the old one stays if anything is wrong.

    Raises:
        LessonError: a cell fails, the time is up, or an output must not be stored.
    """
    notebook = read_source(source)
    execute(notebook, max_seconds)
    problems = widget_problems(notebook)
    strip(notebook)
    problems += notebook_problems(notebook)
    if problems:
        raise LessonError("\n".join(problems))
    target = notebook_of(source)
    part = target.with_suffix(".part")
    part.write_text(canonical_text(notebook), encoding="utf-8", newline="\n")
    part.replace(target)
    return target


def read_source(source: Path) -> NotebookNode:
    """The notebook that a source file describes, not run, with ids that do not change."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{source.stem}-{number:03d}"
        cell.metadata = nbformat.from_dict({"tags": t} if (t := cell.metadata.get("tags")) else {})
    return notebook


def execute(notebook: NotebookNode, max_seconds: float | None) -> None:
    """Run all cells in a fresh kernel in the notebooks' folder, on one thread.

    Raises:
        LessonError: with the cell and the reason.
    """
    deadline = time.monotonic() + (max_seconds or float("inf"))

    def seconds_left(cell: NotebookNode) -> float | None:
        return None if max_seconds is None else max(1.0, deadline - time.monotonic())

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        timeout_func=seconds_left,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    try:
        client.execute()
    except CellTimeoutError as error:
        raise LessonError(
            f"still running after {max_seconds:.0f} s. A lesson may take {MAX_SECONDS:.0f} s: "
            "train less, store a result, or try with --no-time-limit.\n"
            f"{str(error).strip()}"
        ) from None
    except (CellExecutionError, DeadKernelError) as error:
        raise LessonError(str(error)) from None
    if time.monotonic() > deadline:
        raise LessonError(f"took longer than the {max_seconds:.0f} s that a lesson may take")


def strip(notebook: NotebookNode) -> None:
    """Remove what differs from run to run, and widgets: their pictures and texts stay."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "metadata" in output:
                alt = alternative(output)
                output.metadata = nbformat.from_dict({PNG: {"alt": alt}} if alt else {})
            output.get("data", {}).pop(WIDGET_VIEW, None)


def canonical_text(notebook: NotebookNode) -> str:
    """The one text that a notebook is stored as."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


# --- check -----------------------------------------------------------------------------------


def lesson_problems(source: Path) -> list[str]:
    """What is wrong with a lesson's pair of files, in words; empty if nothing is."""
    target = notebook_of(source)
    if not target.exists():
        return ["not built yet"]
    text = target.read_text(encoding="utf-8")
    stored, fresh = nbformat.reads(text, as_version=4), read_source(source)
    problems = pair_problems(fresh, stored) or form_problems(fresh, stored, text)
    if problems:
        problems.append(f"rebuild it: python course.py build {source.stem[:2]}")
    if target.stat().st_size > MAX_BYTES:
        problems.append(f"{target.stat().st_size} bytes; the limit is {MAX_BYTES}")
    return problems + notebook_problems(stored)


def pair_problems(fresh: NotebookNode, stored: NotebookNode) -> list[str]:
    """Cells in which the source and the notebook differ."""
    if len(fresh.cells) != len(stored.cells):
        return [f"{len(fresh.cells)} cells in the source, {len(stored.cells)} in the notebook"]
    pairs = enumerate(zip(fresh.cells, stored.cells, strict=True))
    return [
        f"cell {number} differs from the source: {(b.source or a.source).splitlines()[:1]}"
        for number, (a, b) in pairs
        if (a.cell_type, a.source) != (b.cell_type, b.source)
    ]


def form_problems(fresh: NotebookNode, stored: NotebookNode, text: str) -> list[str]:
    """Whether the stored text is, byte for byte, what a build writes around these outputs."""
    for a, b in zip(code_cells(fresh), code_cells(stored), strict=True):
        a.outputs, a.execution_count = b.outputs, b.execution_count
    strip(fresh)
    same = canonical_text(fresh) == text
    return [] if same else ["ids, tags or metadata differ from what a build writes"]


def notebook_problems(notebook: NotebookNode) -> list[str]:
    """What must not be in a committed notebook, and what must."""
    problems = unrun_problems(notebook) + header_problems(notebook)
    problems += heading_problems(notebook) + picture_problems(notebook)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            problems += [f"cell {number}: {p}" for p in code_problems(cell.source)]
            problems += [f"cell {number}: {p}" for p in output_problems(cell.outputs)]
    if not any(PNG in o.get("data", {}) for c in code_cells(notebook) for o in c.outputs):
        problems.append("no figure: a lesson shows at least one (image/png)")
    return problems


def unrun_problems(notebook: NotebookNode) -> list[str]:
    """Strict nbval compares nothing in a cell that was not run, so every one must be."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    in_order = counts == list(range(1, len(counts) + 1))
    return [] if in_order else [f"not run from top to bottom; the cells' counts are {counts}"]


def header_problems(notebook: NotebookNode) -> list[str]:
    """The first cell has the title and the question, the minutes and what to know before."""
    first = notebook.cells[0] if notebook.cells else NotebookNode(cell_type="", source="")
    if first.cell_type != "markdown":
        return ["the first cell is not markdown"]
    parts = {
        "a title: '# ...'": r"^# \S",
        "a question: '...?'": r"\?",
        "the minutes: '45 minutes'": r"\d+\s*minutes",
        "the prerequisites: 'Prerequisites: ...'": r"(?i)prerequisites?",
    }
    missing = [part for part, pattern in parts.items() if not re.search(pattern, first.source)]
    return [f"the first cell lacks {part}" for part in missing]


def heading_problems(notebook: NotebookNode) -> list[str]:
    """One title, and below it no heading that leaves out a level."""
    problems, above = [], 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            text = re.sub(r"(?ms)^```.*?^```", "", cell.source)
            for signs, words in re.findall(r"(?m)^(#{1,6}) +(.+)$", text):
                level = len(signs)
                if level > above + 1:
                    problems.append(f"cell {number}: level {level} below {above}: {words!r}")
                if level == 1 and above:
                    problems.append(f"cell {number}: a second title: {words!r}")
                above = level
    return problems


def picture_problems(notebook: NotebookNode) -> list[str]:
    """Each picture has a text alternative, and no two have the same."""
    problems, seen = [], dict[str, int]()
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if PNG in output.get("data", {}):
                text = alternative(output).strip()
                if not text:
                    problems.append(f"cell {number}: no text alternative; see plotting.describe")
                elif text in seen:
                    problems.append(f"cell {number}: the same text alternative as {seen[text]}")
                seen.setdefault(text, number)
    return problems


def code_problems(code: str) -> list[str]:
    """What strict nbval cannot hold still."""
    problems = [name for name, pattern in UNSTABLE_CODE.items() if pattern.search(code)]
    if code.rstrip().endswith(";"):
        problems.append("a trailing `;`: nbval sees the output anyway; write `_ = ...`")
    return problems if code.strip() else ["an empty code cell"]


def output_problems(outputs: Sequence[NotebookNode]) -> list[str]:
    """Outputs that another run or another machine would give differently."""
    problems = []
    for output in outputs:
        if output.output_type == "error":
            problems.append(f"an error is stored: {output.ename}: {output.evalue}")
        if output.get("name") == "stderr":
            problems.append(f"text on stderr (a warning, a bar?): {str(output.text)[:200]!r}")
        if "image/svg+xml" in output.get("data", {}):
            problems.append("an SVG figure")
        for text in texts(output):
            found = {name: p.search(text) for name, p in CHANGING_TEXT.items()}
            problems += [f"{n} in an output: {near(text, m)!r}" for n, m in found.items() if m]
    return problems


def widget_problems(notebook: NotebookNode) -> list[str]:
    """Errors that hide in the state of an Output widget, where a run does not fail on them."""
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json")
    hidden = [
        output
        for model in (states or {}).get("state", {}).values()
        for output in model.get("state", {}).get("outputs", [])
        if output.get("output_type") == "error"
    ]
    return [f"an error inside a widget: {o.get('ename')}: {o.get('evalue')}" for o in hidden]


def functions_of(source: Path) -> set[str]:
    """Names of the functions and classes that a lesson defines at its top level."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def shared_helpers() -> dict[str, list[str]]:
    """Functions that several lessons define, with these lessons: they belong in the package."""
    sources = find_sources()
    counts = Counter(name for source in sources for name in functions_of(source))
    twice = [name for name, count in counts.items() if count > 1]
    return {name: [s.stem for s in sources if name in functions_of(s)] for name in twice}


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def alternative(output: NotebookNode) -> str:
    """The text alternative of an output's picture; empty if it has none."""
    return str(output.get("metadata", {}).get(PNG, {}).get("alt", ""))


def texts(output: NotebookNode) -> Iterator[str]:
    """All that is text in an output, that of its picture too."""
    yield alternative(output)
    yield from words(output)


def words(output: NotebookNode) -> Iterator[str]:
    """The text of an output itself: the same in each run, unlike the content of a picture."""
    if "text" in output:
        yield str(output.text)
    for kind, content in output.get("data", {}).items():
        if not kind.startswith("image/"):
            yield content if isinstance(content, str) else json.dumps(content)


def near(text: str, match: re.Match[str]) -> str:
    """A match with a few characters around it."""
    return text[max(0, match.start() - 20) : match.end() + 20]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from course import NO_BARS, ONE_THREAD

    os.environ.update(ONE_THREAD | NO_BARS | {"METALEARN_EDU_PROGRESS": "off"})
    os.environ.pop("MPLBACKEND", None)
    sys.exit(main())
