"""Copies of the notebooks with every exercise solved, for people who teach the course.

Run it as `make instructor`, or `python -m tools.instructor [NN ...] [--output FOLDER] [--run]`.
Each function that a learner has to write, or to fix, is replaced by the course's own; the other
cells stay as they are, with their outputs. `--run` also runs the copies, and fails if a check does
not say "correct" or if any other text differs from the learner's notebook.
"""

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from metalearn_edu.exercises import Exercise, all_exercises
from tools import build_notebooks as build


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the copies; returns 0 only if all are well."""
    parser = argparse.ArgumentParser(prog="instructor", description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", metavar="NN", help="e.g. 05; all if none is named")
    parser.add_argument("--output", type=Path, default=build.ROOT / "instructor")
    parser.add_argument("--run", action="store_true", help="run the copies and compare")
    chosen = parser.parse_args(arguments)
    problems = []
    for source in build.find_sources(chosen.lessons):
        target = chosen.output / build.notebook_of(source).name
        target.parent.mkdir(parents=True, exist_ok=True)
        learner = nbformat.read(build.notebook_of(source), as_version=4)
        copy = solved(learner)
        if chosen.run:
            build.execute(copy, None)
            build.strip(copy)
            problems += [f"{source.stem}: {p}" for p in changes(learner, copy)]
        nbformat.write(copy, target)
        print(target, flush=True)
    print("\n".join(problems) if problems else "all is well")
    return 1 if problems else 0


def solved(notebook: NotebookNode) -> NotebookNode:
    """A copy with the course's own functions; changed cells have no outputs."""
    copy = nbformat.from_dict(notebook)
    for cell in build.code_cells(copy):
        source = solve(cell.source)
        if source != cell.source:
            cell.source, cell.outputs, cell.execution_count = source, [], None
    return copy


def solve(source: str) -> str:
    """The code of a cell, with the course's own function for each that a learner writes."""
    exercises = {e.stub: e for e in all_exercises().values() if isinstance(e, Exercise)}
    lines = source.split("\n")
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef) and node.name in exercises:
            key = exercises[node.name].key()
            lines[node.lineno - 1 : node.end_lineno] = key.rstrip("\n").split("\n")
    return "\n".join(lines)


def changes(learner: NotebookNode, copy: NotebookNode) -> list[str]:
    """Texts that differ, except a check or progress that now says "correct"."""
    problems = []
    pairs = zip(build.code_cells(learner), build.code_cells(copy), strict=True)
    for number, (a, b) in enumerate(pairs, start=1):
        if "nbval-ignore-output" in a.metadata.get("tags", []) or a.source.startswith("progress("):
            continue
        text = _text if a.source == b.source else _printed  # the hints below a verdict differ
        before, after = text(a), text(b)
        if after != before.replace("not attempted yet", "correct"):
            problems.append(f"code cell {number} prints {after[-300:]!r}, before {before[-300:]!r}")
    return problems


def _text(cell: NotebookNode) -> str:
    """All text of the outputs; of one output in a fixed order, because a stored one is sorted."""
    return "".join("".join(sorted(build.words(output))) for output in cell.outputs)


def _printed(cell: NotebookNode) -> str:
    return "".join(str(output.text) for output in cell.outputs if "text" in output)


if __name__ == "__main__":
    from course import NO_BARS, ONE_THREAD

    os.environ.update(ONE_THREAD | NO_BARS | {"METALEARN_EDU_PROGRESS": "off"})
    sys.exit(main())
