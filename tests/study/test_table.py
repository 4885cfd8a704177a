"""The table comes back as it was written, and what does not belong together is refused."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from metalearn_edu.runs import train_command
from metalearn_edu.study import Grid, Study, evidence, load_study
from metalearn_edu.study import table as tables
from metalearn_edu.study.table import save_study


def test_the_table_comes_back_from_its_files(tiny):
    folder, table = tiny
    again = load_study(folder)
    assert again.rows == table.rows and (again.right == table.right).all()
    with open(folder / "study.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 8
    assert not list(folder.rglob("*.part"))


def test_files_that_do_not_belong_together_are_refused(tiny, tmp_path):
    _, table = tiny
    save_study(table, tmp_path)
    save_study(Study(table.rows, table.right[::-1]), tmp_path / "other")
    (tmp_path / "study.npz").write_bytes((tmp_path / "other" / "study.npz").read_bytes())
    with pytest.raises(ValueError, match="not of one study"):
        load_study(tmp_path)
    (tmp_path / "study.csv").write_text("algorithm,accuracy\nmaml,high\n")
    with pytest.raises(ValueError, match="not a table of a study"):
        load_study(tmp_path)
    with pytest.raises(FileNotFoundError, match="metalearn-edu study --output"):
        load_study(tmp_path / "nowhere")


def test_where_picks_rows_and_their_answers(tiny):
    _, table = tiny
    part = table.where(n_way=3)
    assert {row.n_way for row in part.rows} == {3} and part.values("n_shot") == [1, 2]
    assert part.accuracy.shape == (4, 6) and part.accuracy.max() <= 1
    assert part.accuracy[0].mean() == pytest.approx(part.rows[0].test_accuracy, abs=1e-6)


def test_names_are_text_to_a_spreadsheet_and_come_back(smallest, tmp_path):
    names = ["=HYPERLINK(1)", "+a", "-b", "@c", "'quoted'", 'a,"b"\nc', " =x", "\udcff", "plain"]
    row, table = smallest[1].rows[0], smallest[1]
    rows = tuple(replace(row, data=name, command=f"{name} --data") for name in names)
    save_study(Study(rows, np.repeat(table.right, len(names), axis=0)), tmp_path)
    assert load_study(tmp_path).rows == rows
    with open(tmp_path / "study.csv", newline="", errors="surrogateescape") as file:
        texts = [cell for line in csv.reader(file) for cell in line if not cell[:1].isdigit()]
    assert not any(text.lstrip()[:1] in ("=", "+", "-", "@") for text in texts)


def test_a_new_study_in_the_same_folder_is_read_anew(smallest, tmp_path):
    table = smallest[1]
    save_study(table, tmp_path)
    first = load_study(tmp_path)
    assert load_study(str(tmp_path)) is first
    changed = Study((replace(table.rows[0], seed=7),), table.right)
    save_study(changed, tmp_path)
    assert load_study(tmp_path).rows[0].seed == 7


def test_a_table_that_is_empty_or_has_a_row_twice_is_refused(smallest, tmp_path):
    table = smallest[1]
    save_study(Study((), np.zeros((0, 6), int)), tmp_path)
    with pytest.raises(ValueError, match="has no rows"):
        load_study(tmp_path)
    save_study(Study(2 * table.rows, np.repeat(table.right, 2, axis=0)), tmp_path)
    with pytest.raises(ValueError, match="has a row twice"):
        load_study(tmp_path)
    with pytest.raises(ValueError, match=r"columns of a study are algorithm.*got 'n_ways'"):
        table.where(n_ways=5)
    with pytest.raises(ValueError, match="got 'n_ways'"):
        table.values("n_ways")


def test_where_the_stored_study_is_missing_nobody_is_sent_into_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        load_study(tmp_path)
    assert "install it again" in str(raised.value)
    assert f"--output {tmp_path}" not in str(raised.value)


def test_the_stored_study_is_what_the_command_would_make():
    if not (tables.RESULTS / "study.csv").is_file():
        pytest.skip(
            "no stored study yet: metalearn-edu study --output metalearn_edu/results makes one"
        )
    table = load_study()
    grid = Grid(tuple(dict.fromkeys(row.algorithm for row in table.rows)))
    commands = {train_command(run.recipe) for run in grid.runs()}
    assert {row.command for row in table.rows} == commands
    for data in table.values("data"):
        found = evidence(table, data)
        assert found.n_seeds == 3 and set(found.accuracy) == set(grid.algorithms)
    assert not any(row.commit.endswith("-dirty") for row in table.rows)
