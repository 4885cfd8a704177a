"""No row is lost or there twice, and files of others stay."""

import json
import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from PIL import Image

from metalearn_edu.basics.files import locked, save_json
from metalearn_edu.study import Grid, Run, load_study, run_study, train_and_score, workers
from metalearn_edu.study.folder import check_folder, finished, run_file
from metalearn_edu.study.grid import pictures_digest
from metalearn_edu.study.table import save_study
from tests.study.small_studies import SMALLEST, TINY, cells, command, files_of, small


def refuse(run):
    raise AssertionError(f"{run.key} was done already")


def test_finished_runs_are_not_repeated(tiny, monkeypatch):
    folder, table = tiny
    monkeypatch.setattr(workers, "_attempt", refuse)
    with parallel_config(backend="sequential"):
        again = run_study(Grid(**TINY), folder, n_jobs=1, progress=False)
    assert again.rows == table.rows


def test_rows_of_other_settings_do_not_mix_in(tiny, tmp_path):
    folder, table = tiny
    for path in (folder / "runs").iterdir():
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    other = Grid(**(TINY | {"algorithms": ("prototypical",), "share": 0.004}))
    changed = run_study(other, tmp_path, n_jobs=1, progress=False)
    assert cells(changed) == [c for c in cells(table) if c[0] == "prototypical"]
    assert all("--steps 4" in row.command for row in changed.rows)
    back = run_study(Grid(**TINY), tmp_path, n_jobs=1, progress=False)
    assert back.rows == table.rows  # the earlier runs were still there


def test_a_run_file_of_other_settings_or_cut_short_counts_as_not_done(tiny, tmp_path):
    folder, _ = tiny
    run = Grid(**TINY).runs()[0]
    content = json.loads(run_file(folder, run.key).read_text())
    path = run_file(tmp_path, run.key)
    path.parent.mkdir()
    for recorded, counts in (
        (content, True),
        # written before some setting existed, which has its usual value now
        (content | {"settings": content["settings"] | {"recipe": {"width": 32}}}, True),
        # or when every recipe had the settings of all algorithms
        (content | {"settings": content["settings"] | {"recipe": {"memory_size": 9}}}, True),
        (content | {"settings": content["settings"] | {"n_test_episodes": 9}}, False),
        (content | {"settings": content["settings"] | {"recipe": {"width": 64}}}, False),
    ):
        path.write_text(json.dumps(recorded))
        assert (finished(run, tmp_path) is not None) == counts
    path.write_text(json.dumps(content)[:-20])
    with pytest.warns(UserWarning, match="is ignored, because it is not a finished run"):
        assert finished(run, tmp_path) is None


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path, monkeypatch):
    grid = Grid(**TINY)

    def diverge(run: Run):
        if run.recipe.algorithm == "prototypical":
            raise FloatingPointError("the loss is nan")
        return train_and_score(run)

    monkeypatch.setattr(workers, "train_and_score", diverge)
    with (
        pytest.raises(FloatingPointError, match=r"1 of 3 runs failed; prototypical.*loss is nan"),
        parallel_config(backend="sequential"),
    ):
        run_study(grid, tmp_path, n_jobs=1, progress=False)
    assert {row.algorithm for row in load_study(tmp_path).rows} == {"maml"}


def test_a_table_without_its_runs_is_not_lost(tiny, tmp_path, monkeypatch):
    """Such as the stored study: it stays until all of it is there again."""
    folder, table = tiny
    save_study(table, tmp_path)
    smaller = Grid(**(TINY | {"algorithms": ("maml",)}))
    with pytest.raises(ValueError, match=r"study.csv has 4 rows that are not of this grid"):
        run_study(smaller, tmp_path, n_jobs=1, progress=False)

    monkeypatch.setattr(workers, "_attempt", lambda run: (run.key, {"failed": "no power"}))
    (tmp_path / "runs").mkdir()
    done = run_file(folder, Grid(**TINY).runs()[0].key)
    (tmp_path / "runs" / done.name).write_bytes(done.read_bytes())
    with pytest.raises(FloatingPointError), parallel_config(backend="sequential"):
        run_study(Grid(**TINY), tmp_path, n_jobs=1, progress=False)
    assert load_study(tmp_path).rows == table.rows

    for path in (folder / "runs").iterdir():
        (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    assert run_study(smaller, tmp_path, n_jobs=1, progress=False).rows  # now nothing can be lost
    assert len(load_study(tmp_path).rows) == 4


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("study.csv", b"patient,answer\nAnna,1\n", "it has no column algorithm"),
        ("study.csv", b"", "it has no column algorithm"),
        ("study.csv", b"\xff\xfe\x00\x00", "is not a table of a study"),
        ("study.csv", b'"' + b"x" * 200_000, "is not a table of a study"),
        ("study.npz", b"somebody's", "study.npz is damaged or is not a .npz file"),
        ("runs", b"a file", "is not a folder"),
    ],
)
def test_files_of_others_are_never_overwritten(tmp_path, name, content, says, capsys):
    (tmp_path / name).write_bytes(content)
    for act in (lambda: check_folder(tmp_path), lambda: small(tmp_path)):
        with pytest.raises(ValueError, match=says):
            act()
    for more in ([], ["--dry-run"]):
        status, _, err = command(capsys, "--output", tmp_path, "--small", *more)
        assert status != 0 and err.count("\n") == 1 and name in err
    assert files_of(tmp_path) == {Path(name): content}


def test_other_arrays_and_other_things_are_never_overwritten(tmp_path):
    np.savez(tmp_path / "study.npz", weights=np.zeros(3))
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=r"is not of a study: it has the arrays \['weights'\]"):
        small(tmp_path)
    assert files_of(tmp_path) == before
    (tmp_path / "study.npz").unlink()
    (tmp_path / "study.csv").mkdir()
    with pytest.raises(ValueError, match=r"study.csv is not a table of a study"):
        small(tmp_path)
    for folder in (Path(os.devnull), Path(os.devnull) / "a" / "study"):
        with pytest.raises(ValueError, match=rf"{os.devnull} is there but is not a folder"):
            small(folder)


def later(folder):
    """The table and the runs of a later version, which has one more column."""
    lines = (folder / "study.csv").read_text().splitlines()
    text = "".join(f"{line},{word}\n" for line, word in zip(lines, ["mood", "good"], strict=True))
    (folder / "study.csv").write_text(text)
    (path,) = (folder / "runs").iterdir()
    content = json.loads(path.read_text())
    content["rows"] = [row | {"mood": "good"} for row in content["rows"]]
    path.write_text(json.dumps(content))


def test_what_a_later_version_has_written_is_read_and_not_overwritten(smallest, tmp_path):
    shutil.copytree(smallest[0], tmp_path, dirs_exist_ok=True)
    later(tmp_path)
    before = files_of(tmp_path)
    assert load_study(tmp_path).rows == smallest[1].rows
    with pytest.raises(ValueError, match=r"study.csv is not a table .* it has the column mood"):
        small(tmp_path)
    assert files_of(tmp_path) == before
    (tmp_path / "study.csv").unlink()
    with pytest.raises(ValueError, match=r"maml.*json is of a later version .*column mood"):
        small(tmp_path)


FOREIGN = ["[1, 2]", "{}", "null", "[" * 100_000, '{"rows": 3}', "\xff", '{"settings": {}}']


def test_other_files_among_the_runs_are_named_and_stay(smallest, tmp_path):
    shutil.copytree(smallest[0], tmp_path, dirs_exist_ok=True)
    for number, text in enumerate(FOREIGN):
        (tmp_path / "runs" / f"notes{number}.json").write_bytes(text.encode("latin-1"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "runs" / "pipe.json")
    (tmp_path / "runs" / "folder.json").mkdir()
    before = files_of(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        assert small(tmp_path).rows == smallest[1].rows
    named = sorted(str(w.message).split(" is ignored")[0].rsplit("/", 1)[1] for w in said)
    pipe = ["pipe.json"] if hasattr(os, "mkfifo") else []
    assert named == ["folder.json", *(f"notes{n}.json" for n in range(len(FOREIGN))), *pipe]
    assert all(files_of(tmp_path)[name] == content for name, content in before.items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["rows"][0].update(n_way="3"), "n_way is '3'"),
        (lambda c: c["rows"][0].update(n_way=True), "n_way is True"),
        (lambda c: c["rows"][0].pop("seed"), "it has no column seed"),
        (lambda c: c.update(rows=[]), "0 rows and 1 lists"),
        (lambda c: c["right"][0].append(1), "right must be 6 numbers from 0 to"),
        (lambda c: c["right"][0].__setitem__(0, -1), "right must be 6 numbers from 0 to"),
        (lambda c: c["right"][0].__setitem__(0, 10**9), "right must be 6 numbers from 0 to"),
        (lambda c: c.update(seconds="long"), "it has no seconds"),
    ],
)
def test_a_run_that_was_changed_counts_as_not_done(smallest, tmp_path, change, says):
    shutil.copytree(smallest[0], tmp_path, dirs_exist_ok=True)
    (run,) = SMALLEST.runs()
    content = json.loads(run_file(tmp_path, run.key).read_text())
    change(content)
    run_file(tmp_path, run.key).write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=rf"json is ignored.*{says}"):
        assert finished(run, tmp_path) is None


def test_what_killed_studies_left_half_written_goes(smallest, tmp_path):
    shutil.copytree(smallest[0], tmp_path, dirs_exist_ok=True)
    ours = [tmp_path / f".study.npz.{'0' * 32}.part", tmp_path / f"runs/.a.json.{'a' * 32}.part"]
    others = [tmp_path / ".film.part", tmp_path / f"runs/.a.mp4.{'a' * 32}.part"]
    for part in [*ours, *others]:
        part.write_text("half")
        os.utime(part, (time.time() - 4000,) * 2)
    small(tmp_path)
    assert [part.exists() for part in [*ours, *others]] == [False, False, True, True]


def test_a_second_study_in_the_folder_says_so(tmp_path):
    with (
        locked(tmp_path / ".lock"),
        pytest.raises(OSError, match=r"another study is at work in .*choose another folder"),
    ):
        small(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", [None, 5, ["results"], b"results"])
def test_what_is_no_folder_is_refused_by_name(folder):
    for act in (load_study, small):
        with pytest.raises(ValueError, match="folder must be a path"):
            act(folder)


def pictures(folder, shade):
    for k in range(12):
        for i in range(8):
            image = np.full((28, 28), 255, np.uint8)
            image[2 * k : 2 * k + 3, i : i + 9] = shade
            (folder / f"class{k:02d}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"class{k:02d}" / f"{i}.png")


def test_pictures_that_have_changed_are_trained_on_again(tmp_path):
    pictures(tmp_path / "p", 0)
    one = {"data": (str(tmp_path / "p"),), "n_classes": (None,), "ways": (2,), "shots": (1,)}
    (run,) = Grid(**(TINY | {"algorithms": ("prototypical",)} | one)).runs()
    result = {"settings": run.settings, "seconds": 1.0, "rows": [], "right": []}
    save_json(run_file(tmp_path, run.key), result | {"digest": pictures_digest(one["data"][0])})
    assert finished(run, tmp_path)
    pictures(tmp_path / "p", 100)
    assert finished(run, tmp_path) is None
