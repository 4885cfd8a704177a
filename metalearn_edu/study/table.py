"""The table of a study: a row for each cell of each run, and the number of right answers behind it.

The right answers are stored for every meta-test episode, so that two learners can be compared on
the same episodes. On disk these are study.csv and study.npz of one folder.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..basics.files import as_path, load_arrays, open_atomically, read_bounded
from ..basics.names import for_table

__all__ = [
    "OVER_TIME",
    "LaterVersionError",
    "Row",
    "Study",
    "checked_row",
    "load_study",
    "read_right",
    "read_rows",
    "row_key",
    "save_study",
]

RESULTS = Path(__file__).parents[1] / "results"
"""The stored study of the course."""

OVER_TIME = RESULTS / "over_time"
"""A small one that scores each training several times while it goes on."""

LARGEST_FILE = 2**28
"""Bytes of a run's file, or of the table."""


@dataclass(frozen=True)
class Row:
    """One learner in one cell.

    Attributes:
        algorithm, data, n_classes, n_way, n_shot, seed: which; n_classes is always the number.
        val_accuracy, val_half_width, val_episodes: on meta-val: mean, half its 95 % interval.
        test_accuracy, test_half_width, test_episodes: on meta-test.
        n_query: queries per class in these episodes.
        transductive: whether queries inform each other, measured in the run's first cell.
        train_seconds: processor time of the training, data included, one thread.
        wall_seconds: wall-clock time of the same; longer if other programs share the machine.
        adapt_ms: processor time to learn one task's support set, milliseconds.
        n_parameters: numbers that the outer loop learns.
        peak_memory_mb: the most that the process held, Python and torch included, in 10^6 bytes;
            NaN if the system does not tell.
        threads, python, torch, package, commit: with which versions; commit is empty outside git.
        command: trains such a learner (and, unlike the study, keeps the best weights on meta-val).
        after_seconds: of processor time, at which a training that goes on was scored, within 1 %;
            0: it was scored at its end, after the steps of its recipe.
    """

    algorithm: str
    data: str
    n_classes: int
    n_way: int
    n_shot: int
    seed: int
    val_accuracy: float
    val_half_width: float
    val_episodes: int
    test_accuracy: float
    test_half_width: float
    test_episodes: int
    n_query: int
    transductive: bool
    train_seconds: float
    wall_seconds: float
    adapt_ms: float
    n_parameters: int
    peak_memory_mb: float
    threads: int
    python: str
    torch: str
    package: str
    commit: str
    command: str
    after_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Study:
    """A table of rows, and the right answers behind it.

    Attributes:
        rows: in the order of the grid.
        right: (n_rows, n_episodes) integers: queries answered correctly in each meta-test episode,
            of n_way * n_query. Rows of one data set and cell have the same episodes.
    """

    rows: tuple[Row, ...]
    right: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """(n_rows, n_episodes) fractions."""
        queries = np.array([row.n_way * row.n_query for row in self.rows])
        return self.right / queries[:, None]

    def where(self, **values: Any) -> Study:
        """The part of the study whose rows have these values, such as n_way=5."""
        for name in values:
            _check_column(name)
        return self._those([all(getattr(r, n) == v for n, v in values.items()) for r in self.rows])

    def with_seeds(self, seeds: Collection[int]) -> Study:
        """The part of the study that was trained with these seeds."""
        return self._those([row.seed in seeds for row in self.rows])

    def _those(self, keep: list[bool]) -> Study:
        return Study(tuple(r for r, k in zip(self.rows, keep, strict=True) if k), self.right[keep])

    def values(self, name: str) -> list[Any]:
        """The different values of a column, in order. Raises ValueError for an unknown column."""
        _check_column(name)
        return sorted({getattr(row, name) for row in self.rows})


def _check_column(name: str) -> None:
    if name not in (columns := [field.name for field in fields(Row)]):
        raise ValueError(f"the columns of a study are {', '.join(columns)}; got {name!r}")


RowKey = tuple[Any, ...]


def row_key(row: Mapping[str, Any]) -> RowKey:
    """The values that distinguish a row of a study from the others."""
    names = "algorithm", "data", "n_classes", "seed", "n_way", "n_shot"
    return *(row[n] for n in names), row.get("after_seconds", 0.0)


def save_study(study: Study, folder: Path) -> None:
    """Write study.csv and study.npz. Raises OSError."""
    text = io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    table.writeheader()
    table.writerows({n: _as_cell(v) for n, v in asdict(row).items()} for row in study.rows)
    with open_atomically(folder / "study.npz") as file:
        np.savez_compressed(file, right=study.right)
    with open_atomically(folder / "study.csv") as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def _as_cell(value: Any) -> Any:
    """A value in the form of the table; an apostrophe stops a spreadsheet from computing a text."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith("'") else for_table(value)


def load_study(folder: str | os.PathLike[str] = RESULTS) -> Study:
    """The study of a folder; default: the one that comes with the course.

    Raises:
        FileNotFoundError: there is none; the message says which command makes one.
        ValueError: the table and the right answers do not belong together, or are damaged.
    """
    place = as_path("folder", folder)
    return _load_study(place, _state(place))


def _state(folder: Path) -> tuple[tuple[int, ...], ...]:
    """Values that change when another study is written to the folder."""
    files = [folder / "study.csv", folder / "study.npz"]
    states = [file.stat() for file in files if file.is_file()]
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)


@lru_cache(maxsize=8)  # a single object, so that what is computed from it is kept
def _load_study(folder: Path, _state: tuple[tuple[int, ...], ...]) -> Study:
    rows = read_rows(folder)
    if not rows:
        raise ValueError(f"{folder / 'study.csv'} has no rows; {_advice(folder)}")
    study = Study(tuple(rows), read_right(folder))
    stated = np.array([row.test_accuracy for row in rows])
    if len({row_key(vars(row)) for row in rows}) < len(rows):
        raise ValueError(f"{folder / 'study.csv'} has a row twice; {_advice(folder)}")
    if len(study.right) != len(rows) or not np.allclose(study.accuracy.mean(1), stated, atol=1e-5):
        raise ValueError(
            f"study.csv and study.npz in {folder} are not of one study; {_advice(folder)}"
        )
    return study


def _advice(folder: Path) -> str:
    """How to get a study."""
    if folder == RESULTS:
        return (
            "the stored study is part of the package: install it again, or make one in a folder "
            "of your own with metalearn-edu study --output FOLDER, for load_study(FOLDER)"
        )
    return f"metalearn-edu study --output {folder} makes one"


def read_right(folder: Path) -> np.ndarray:
    """Right answers (n_rows, n_episodes). Raises ValueError, FileNotFoundError."""
    path = folder / "study.npz"
    try:
        arrays = load_arrays(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} holds no study.npz; {_advice(folder)}") from None
    except OSError as error:
        raise ValueError(f"{path} is not of a study: {error}") from None
    right = arrays.get("right")
    if set(arrays) != {"right"} or right is None or right.ndim != 2 or right.dtype.kind not in "iu":
        raise ValueError(f"{path} is not of a study: it has the arrays {sorted(arrays)}")
    return right.astype(int)


def read_rows(folder: Path, later: bool = True) -> list[Row]:
    """The rows of the table; `later`: accept a table with more columns, and leave them out."""
    path = folder / "study.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no study.csv; {_advice(folder)}")
    try:
        text = read_bounded(path, LARGEST_FILE).decode("utf-8-sig", "surrogateescape")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        _check_columns(lines.fieldnames or [], later)
        return [_row(line) for line in lines]
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a table of a study of this version: {error}") from None


_KINDS: dict[Any, Any] = {
    "int": int,
    "float": float,
    "str": lambda text: text.removeprefix("'"),
    "bool": {"True": True, "False": False}.__getitem__,
}


def _row(line: dict[str, str]) -> Row:
    """A Row from the words of one line of the table."""
    if None in line or None in line.values():
        raise ValueError("a line is longer or shorter than the first")
    known = [field for field in fields(Row) if field.name in line]
    return Row(**{field.name: _KINDS[field.type](line[field.name]) for field in known})


class LaterVersionError(ValueError):
    """There is more than this version knows."""


_TYPES: dict[Any, Any] = {"int": int, "float": int | float, "str": str, "bool": bool}


def checked_row(row: Any) -> Row:
    """A Row from the values in a run's file. Raises ValueError."""
    if not isinstance(row, dict):
        raise ValueError(f"a row is {row!r}")
    _check_columns(row, later=False)
    for field in fields(Row):
        value = row.get(field.name, field.default)
        is_bool = isinstance(value, bool)
        if not isinstance(value, _TYPES[field.type]) or is_bool != (field.type == "bool"):
            raise ValueError(f"{field.name} is {value!r}")
    return Row(**row)


def _check_columns(names: Iterable[str], later: bool) -> None:
    """Refuse a row that lacks a column, or, unless `later`, has columns that we do not know.

    Columns with a default are newer than the first tables and may be missing.
    """
    known, names = [field.name for field in fields(Row)], list(names)
    old = [field.name for field in fields(Row) if field.default is MISSING]
    if missing := [name for name in old if name not in names]:
        raise ValueError(f"it has no column {missing[0]}")
    more = [name for name in names if name not in known]
    if more and not later:
        raise LaterVersionError(f"it has the column {more[0]}")
