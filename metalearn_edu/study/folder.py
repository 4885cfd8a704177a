"""The folder of a study: a file for each finished run, and the table made from these files.

Each finished run is one file, written whole or not at all, under a name that is a hash of all its
settings; the table is made from these files in the order of the grid. So a study that was stopped
continues where it was, no row occurs twice, and rows of other settings never get in. Files of other
programs are never overwritten, and only one study at a time writes to a folder.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..basics.files import locked, read_bounded
from ..runs.recipe import without_others
from .grid import Run, n_train_classes, pictures_digest
from .table import (
    LARGEST_FILE,
    LaterVersionError,
    Row,
    RowKey,
    Study,
    checked_row,
    read_right,
    read_rows,
    row_key,
    save_study,
)

__all__ = [
    "alone",
    "check_folder",
    "finished",
    "row_keys",
    "rows_without_runs",
    "run_file",
    "write_table",
]


def run_file(folder: Path, key: str) -> Path:
    """The path of the file of the run with this key."""
    return folder / "runs" / f"{key}.json"


def check_folder(folder: Path) -> None:
    """Refuse a folder in which a study cannot be written or would overwrite other files.

    Raises:
        ValueError: study.csv, study.npz or runs exists but does not come from this program, or
            comes from a later version.
    """
    for place in (*folder.parents, folder, folder / "runs"):
        if os.path.lexists(place) and not place.is_dir():
            raise ValueError(f"{place} is there but is not a folder; choose another for the study")
    if os.path.lexists(folder / "study.csv"):
        try:
            read_rows(folder, later=False)
        except OSError as error:
            raise ValueError(f"{folder / 'study.csv'} is not a table of a study: {error}") from None
    if os.path.lexists(folder / "study.npz"):
        read_right(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside the block, no other study writes to the folder."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock"))
        except TimeoutError:
            raise OSError(
                f"another study is at work in {folder}; wait until it is done, or choose another "
                "folder"
            ) from None
        yield


def finished(run: Run, folder: Path) -> dict[str, Any] | None:
    """The content of the run's file; None without one, or if settings or pictures differ."""
    content = _content(run_file(folder, run.key))
    if content is None:
        return None
    now = run.settings
    recipe = without_others(now["recipe"] | content["settings"]["recipe"])
    then = content["settings"] | {"recipe": recipe}
    same = then == now and content.get("digest", "") == pictures_digest(run.recipe.data)
    return content if same else None


def _content(path: Path) -> dict[str, Any] | None:
    """The content of a run's file; None if there is none, or, with a warning, if it is not one.

    Raises:
        ValueError: it comes from a later version, and would be lost.
    """
    try:
        content = json.loads(read_bounded(path, LARGEST_FILE))
        _check_content(content)
        return content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except LaterVersionError as error:
        raise ValueError(
            f"{path} is of a later version of this program ({error}); use that version, or choose "
            "another folder"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        text = f"{path} is ignored, because it is not a finished run of a study ({error})"
        warnings.warn(text, stacklevel=1)  # one place, so that the warning comes once
        return None


def _check_content(content: Any) -> None:
    """Refuse anything that is not the result of a run. Raises ValueError."""
    kinds = {"settings": dict, "seconds": int | float, "rows": list, "right": list}
    for name, kind in kinds.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise ValueError(f"it has no {name}")
    if not isinstance(content["settings"].get("recipe"), dict):
        raise ValueError("it has no recipe")
    rows, right = content["rows"], content["right"]
    if len(rows) != len(right):
        raise ValueError(f"it has {len(rows)} rows and {len(right)} lists of right answers")
    for row, answers in zip(rows, right, strict=True):
        known = checked_row(row)
        most = known.n_way * known.n_query
        if len(answers) != known.test_episodes or not all(
            isinstance(n, int) and 0 <= n <= most for n in answers
        ):
            raise ValueError(f"right must be {known.test_episodes} numbers from 0 to {most}")


def write_table(runs: Sequence[Run], folder: Path) -> Study:
    """Write study.csv and study.npz from the finished runs among `runs`, in their order.

    A table that came without its runs, such as the stored one of the course, stays until these runs
    have all of its rows.
    """
    contents = [content for run in runs if (content := finished(run, folder)) is not None]
    rows = tuple(Row(**row) for content in contents for row in content["rows"])
    right = [r for content in contents for r in content["right"]]
    study = Study(rows, np.array(right, dtype=np.uint16))
    if rows and not rows_without_runs(folder) - {row_key(vars(row)) for row in rows}:
        save_study(study, folder)
    return study


def row_keys(run: Run) -> list[RowKey]:
    """The keys of the rows that a run will give."""
    learner = asdict(run.recipe) | {"n_classes": n_train_classes(run.recipe)}
    return [
        row_key(learner | {"n_way": way, "n_shot": shot, "after_seconds": seconds})
        for seconds, (way, shot) in product(run.moments, run.cells)
    ]


def rows_without_runs(folder: Path) -> set[RowKey]:
    """The keys of rows in the folder's table that no run file there could give again."""
    if not (folder / "study.csv").is_file():
        return set()  # nothing to lose
    rows = read_rows(folder, later=False)
    contents = [content for path in folder.glob("runs/*.json") if (content := _content(path))]
    of_runs = {row_key(row) for content in contents for row in content["rows"]}
    return {row_key(vars(row)) for row in rows} - of_runs
