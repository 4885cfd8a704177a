"""A study: what is measured, in which order, and that no row is lost or there twice."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from PIL import Image

from metalearn_edu import cli, evaluate_meta_learner
from metalearn_edu.basics.files import locked, save_json
from metalearn_edu.runs import ALGORITHMS, task_source, train_command, train_learner
from metalearn_edu.study import (
    Grid,
    Run,
    Study,
    all_runs,
    evidence,
    load_study,
    one_run,
    run_study,
    train_and_score,
    workers,
)
from metalearn_edu.study import table as tables
from metalearn_edu.study.folder import check_folder, finished, run_file
from metalearn_edu.study.grid import SMALL, pictures_digest, study_recipe
from metalearn_edu.study.table import save_study

TINY = {
    "algorithms": ("prototypical", "maml"),
    "data": ("glyphs",),
    "n_classes": (50,),
    "ways": (3, 5),
    "shots": (1, 2),
    "seeds": (0,),
    "share": 0.002,
    "n_val_episodes": 4,
    "n_test_episodes": 6,
}
TINY_OPTIONS = "--algorithms prototypical,maml --ways 3,5 --shots 1,2 --seeds 0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(Grid(**TINY), folder, n_jobs=1, progress=False)


def cells(study):
    return [(r.algorithm, r.data, r.n_classes, r.n_way, r.n_shot, r.seed) for r in study.rows]


# ---------------------------------------------------------------- the grid


def test_the_full_grid_has_a_row_for_each_combination():
    grid = Grid()
    runs = grid.runs()
    assert len(runs) == (3 + 3 * 2) * 2 * 3 * 3  # three learners take any way, three do not
    rows = Counter(
        (r.recipe.algorithm, r.recipe.data, r.recipe.n_classes, *cell, r.recipe.seed)
        for r in runs
        for cell in r.cells
    )
    every = product(ALGORITHMS, grid.data, grid.n_classes, grid.ways, grid.shots, grid.seeds)
    assert rows == Counter(every)
    assert len({run.key for run in runs}) == len(runs)
    seeds = [run.recipe.seed for run in runs]
    assert seeds == sorted(seeds)  # the whole grid of the first seed comes first


def test_learners_of_one_way_see_as_many_classes_in_a_step():
    for way in (5, 20):
        recipe = study_recipe("maml", "glyphs", way)
        assert recipe.train_way == way and recipe.train_way * recipe.n_tasks_per_batch == 20


def test_every_training_has_the_same_network():
    recipes = [run.recipe for run in Grid().runs()]
    assert {(r.width, r.downsample, r.norm, r.backbone) for r in recipes} == {
        (32, "stride", "group", "conv")
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"algorithms": ("mamml",)}, "prototypical, .*mamml"),
        ({"ways": ()}, "ways must be different and at least one"),
        ({"seeds": (0, 0)}, "seeds must be different"),
        ({"ways": (1,)}, "ways must be an integer of at least 2, got 1"),
        ({"shots": (0,)}, "shots must be an integer of at least 1, got 0"),
        ({"n_classes": (1,)}, "n_classes must be"),
        ({"seeds": (-1,)}, "seeds must be"),
        ({"n_test_episodes": 1}, "n_test_episodes"),
        ({"ways": (None,)}, "ways must be an integer"),
        ({"ways": 5}, "ways must be a tuple of values, got 5"),
        ({"algorithms": "maml"}, "algorithms must be a tuple of values, got 'maml'"),
        ({"shots": (1.5,)}, "shots must be an integer"),
        ({"shots": (10**25,)}, "shots must be an integer of at most"),
        ({"seeds": ([],)}, "seeds must be an integer"),
        ({"data": ("sinusoids",)}, "got 'sinusoids' .*no classes"),
        ({"data": ("nowhere",)}, "data must be glyphs, omniglot or a folder of images"),
        ({"share": float("nan")}, "share must be a finite number"),
        ({"share": "all"}, "share must be a finite number"),
        ({"share": 0.0}, "share must be a finite number above 0 and at most 1, got 0.0"),
    ],
)
def test_an_impossible_grid_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Grid(**(TINY | change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_classes": (9999,)}, "n_classes is 9999, but meta-train of glyphs has 890"),
        ({"ways": (5, 500)}, "500-way"),
        ({"shots": (20,)}, "20-shot|n_shot"),
        ({"data": ("sinusoids",)}, "no classes"),
        ({"data": ("nowhere",)}, "nowhere"),
    ],
)
def test_what_the_data_cannot_give_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Grid(**(TINY | change)).check()


def test_the_key_is_the_full_settings():
    run = Grid(**TINY).runs()[0]
    others = [
        replace(run, recipe=replace(run.recipe, meta_lr=0.5)),
        replace(run, recipe=replace(run.recipe, n_steps=99)),
        replace(run, cells=run.cells[:1]),
        replace(run, n_test_episodes=7),
    ]
    assert len({r.key for r in [run, *others]}) == 5
    assert run.key == Grid(**TINY).runs()[0].key


# ---------------------------------------------------------------- the table


def test_a_row_says_what_the_parts_of_the_course_say(tiny):
    """The same learner trained and scored by hand has the figures of the table."""
    _, table = tiny
    run = Grid(**TINY).runs()[0]
    learner, history = train_learner(run.recipe, progress=False)
    assert history.n_steps == run.recipe.n_steps == 2
    part = table.where(algorithm="prototypical", n_way=5, n_shot=2)
    (row,) = part.rows
    for split, n in (("val", 4), ("test", 6)):
        tasks = task_source(run.recipe, f"meta-{split}", n_way=5, n_shot=2, n_query=15)
        result = evaluate_meta_learner(learner, tasks, n_episodes=n)
        assert getattr(row, f"{split}_accuracy") == pytest.approx(result.mean, abs=1e-6)
        assert getattr(row, f"{split}_half_width") == pytest.approx(result.half_width, abs=1e-6)
    assert part.right[0].tolist() == (result.values * 75).round().int().tolist()
    assert row.n_parameters == sum(p.numel() for p in learner.parameters())
    assert row.n_classes == 50 and row.n_query == 15 and not row.transductive
    assert row.train_seconds > 0 and row.adapt_ms > 0 and row.threads == 1
    assert row.peak_memory_mb > 100 or np.isnan(row.peak_memory_mb)


def test_all_of_its_classes_is_a_number_in_the_table():
    run = Grid(**(TINY | {"n_classes": (None,), "ways": (3,), "shots": (1,)})).runs()[0]
    assert train_and_score(run)["rows"][0]["n_classes"] == 890


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
    with pytest.raises(ValueError, match="no table of a study"):
        load_study(tmp_path)
    with pytest.raises(FileNotFoundError, match="metalearn-edu study --output"):
        load_study(tmp_path / "nowhere")


def test_where_picks_rows_and_their_answers(tiny):
    _, table = tiny
    part = table.where(n_way=3)
    assert {row.n_way for row in part.rows} == {3} and part.values("n_shot") == [1, 2]
    assert part.accuracy.shape == (4, 6) and part.accuracy.max() <= 1
    assert part.accuracy[0].mean() == pytest.approx(part.rows[0].test_accuracy, abs=1e-6)


# ---------------------------------------------------------------- stopped and resumed


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
    with pytest.warns(UserWarning, match="is ignored, for it is no finished run"):
        assert finished(run, tmp_path) is None


def test_a_training_that_was_stopped_is_no_result(monkeypatch):
    run = Grid(**TINY).runs()[0]

    def stopped(recipe, **options):
        learner, history = train_learner(recipe, **options)
        history.interrupted = True
        return learner, history

    monkeypatch.setattr(one_run, "train_learner", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_and_score(run)


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


# ---------------------------------------------------------------- what is not of this study


def small(folder, **options):
    return run_study(SMALLEST, folder, n_jobs=1, progress=False, **options)


SMALLEST = Grid(**(TINY | {"algorithms": ("maml",), "ways": (3,), "shots": (1,)}))


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smallest")
    return folder, small(folder)


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("study.csv", b"patient,answer\nAnna,1\n", "it has no column algorithm"),
        ("study.csv", b"", "it has no column algorithm"),
        ("study.csv", b"\xff\xfe\x00\x00", "is no table of a study"),
        ("study.csv", b'"' + b"x" * 200_000, "is no table of a study"),
        ("study.npz", b"somebody's", "study.npz is damaged or is not a .npz file"),
        ("runs", b"a file", "is no folder"),
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
    with pytest.raises(ValueError, match=r"study.csv is no table of a study"):
        small(tmp_path)
    for folder in (Path(os.devnull), Path(os.devnull) / "a" / "study"):
        with pytest.raises(ValueError, match=rf"{os.devnull} is there and is no folder"):
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
    with pytest.raises(ValueError, match=r"study.csv is no table .* it has the column mood"):
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


@pytest.mark.parametrize("folder", [None, 5, ["results"], b"results"])
def test_what_is_no_folder_is_refused_by_name(folder):
    for act in (load_study, small):
        with pytest.raises(ValueError, match="folder must be a path"):
            act(folder)


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


# ---------------------------------------------------------------- workers


@pytest.mark.parametrize(
    ("n_jobs", "n_runs", "cores", "expected"),
    [(12, 2, 64, 2), (10**25, 162, 8, 8), (-1, 162, 8, 8), (-1, 3, 8, 3), (2, 162, 8, 2),
     (-1, 0, 8, 1)],
)  # fmt: skip
def test_no_more_workers_than_runs_and_cores(monkeypatch, n_jobs, n_runs, cores, expected):
    monkeypatch.setattr(workers, "effective_n_jobs", lambda n: cores)
    assert workers.n_workers(n_jobs, n_runs) == expected


def children(pid):
    asked = subprocess.run(  # -ww: else a long path is cut off where COLUMNS is set
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True
    )
    lines = [line.split(None, 1) for line in asked.stdout.decode().splitlines()]
    return [int(child) for child, words in lines if "popen_loky" in words]


needs_ps = pytest.mark.skipif(not shutil.which("ps") or sys.platform != "linux", reason="no ps")


def workers_of(process, number=2):
    end = time.monotonic() + 120
    while len(found := children(process.pid)) < number:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    return found


@needs_ps
def test_a_worker_that_is_killed_is_one_line(tmp_path):
    process = start(tmp_path, "--jobs", "2", "--quiet")
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode not in (0, 130) and "Traceback" not in err
    assert "a worker was ended from outside" in err and err.count("\n") == 1


@needs_ps
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_study_whenever_it_is_stopped(tmp_path, stop):
    """At a moment when they still import torch: Ctrl-C reaches all of a terminal's processes."""
    process = start(tmp_path, "--jobs", "2", "--quiet")
    workers = workers_of(process)
    time.sleep(0.5)  # by then they have been told what to do
    for pid in [*workers, process.pid] if stop == signal.SIGINT else [process.pid]:
        os.kill(pid, stop)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert "Traceback" not in err and err.count("\n") <= 1
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.1)


def start(folder, *options):
    """The study as a person starts it: small, in a process of its own."""
    code = "from metalearn_edu.cli import main; main()"
    words = ["study", "--small", "--output", str(folder), *TINY_OPTIONS.split(), *options]
    command = [sys.executable, "-c", code, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_for_runs(folder, number, process, patience=240):
    end = time.monotonic() + patience
    while len(list((folder / "runs").glob("*.json"))) < number:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)


SMALL_TINY = Grid(**(SMALL | {n: TINY[n] for n in ("algorithms", "ways", "shots", "seeds")}))


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(("stop", "jobs"), [(signal.SIGINT, "2"), (signal.SIGKILL, "2")])
def test_a_study_that_was_stopped_goes_on(tmp_path, stop, jobs):
    process = start(tmp_path, "--jobs", jobs)
    wait_for_runs(tmp_path, 1, process)
    os.killpg(process.pid, stop)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if stop == signal.SIGINT else -stop), err
    if stop == signal.SIGINT:
        assert "stopped; 3 runs" in err and "Traceback" not in err and "Warning" not in err
    runs = SMALL_TINY.runs()
    done = [run for run in runs if finished(run, tmp_path)]
    assert len(done) == len(list((tmp_path / "runs").glob("*.json"))) >= 1
    before = {run: run_file(tmp_path, run.key).stat().st_mtime_ns for run in done}

    process = start(tmp_path, "--jobs", jobs, "--quiet")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"3 runs, 8 rows: {len(done)} done" in out and "8 rows in" in out
    assert {run: run_file(tmp_path, run.key).stat().st_mtime_ns for run in done} == before
    every = product(("prototypical", "maml"), ("glyphs",), (50,), (3, 5), (1, 2), (0,))
    assert Counter(cells(load_study(tmp_path))) == Counter(every)


# ---------------------------------------------------------------- Dask


def test_dask_runs_arrive_once_though_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    grid = Grid(**(TINY | {"seeds": (0, 1), "share": 0.01}))
    one_each = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with distributed.LocalCluster(**one_each, dashboard_address=None) as cluster:
        workers = [worker.pid for worker in cluster.workers.values()]
        victim = _kill_one_in_mid_run(cluster, tmp_path)
        table = run_study(
            grid, tmp_path, backend="dask", scheduler=cluster.scheduler_address, progress=False
        )
        assert victim.result() in workers
    every = product(("prototypical", "maml"), ("glyphs",), (50,), (3, 5), (1, 2), (0, 1))
    assert Counter(cells(table)) == Counter(every)
    assert len(list((tmp_path / "runs").glob("*.json"))) == len(grid.runs())


def _kill_one_in_mid_run(cluster, folder):
    """Once a run has arrived, kill a worker that is busy with another; a future of its pid."""
    from concurrent.futures import ThreadPoolExecutor

    def kill():
        while not list((folder / "runs").glob("*.json")):
            time.sleep(0.01)
        while True:
            for state in list(cluster.scheduler.workers.values()):
                if state.processing:
                    pid = next(w.pid for w in cluster.workers.values()
                               if w.worker_address == state.address)  # fmt: skip
                    os.kill(pid, signal.SIGKILL)
                    return pid

    return ThreadPoolExecutor(1).submit(kill)


def test_a_worker_with_several_threads_is_refused(tmp_path):
    distributed = pytest.importorskip("distributed")
    wide = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    with (
        distributed.LocalCluster(**wide, dashboard_address=None) as cluster,
        pytest.raises(ValueError, match="--nthreads 1"),
    ):
        address = cluster.scheduler_address
        run_study(Grid(**TINY), tmp_path, backend="dask", scheduler=address, progress=False)


def test_dask_without_dask_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"metalearn_edu\[dask\]"):
        run_study(Grid(**TINY), tmp_path, backend="dask", scheduler="tcp://x:1", progress=False)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"backend": "dask"}, ValueError, "address of its scheduler"),
        ({"backend": "slurm"}, ValueError, "local or dask, got 'slurm'"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be at least 1, or -1"),
        ({"n_jobs": -2}, ValueError, "n_jobs must be at least 1, or -1"),
        ({"n_jobs": 1.5}, ValueError, "n_jobs must be an integer"),
        ({"n_jobs": float("nan")}, ValueError, "n_jobs must be an integer"),
    ],
)
def test_a_place_that_does_not_exist_is_refused(tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        run_study(Grid(**TINY), tmp_path, progress=False, **options)
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_does_not_answer_is_an_error_in_words(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")

    def silent(address, **options):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", silent)
    with pytest.raises(OSError, match="no Dask scheduler answers at tcp://nobody:1: timed out"):
        run_study(Grid(**TINY), tmp_path, backend="dask", scheduler="tcp://nobody:1")


# ---------------------------------------------------------------- the command


def command(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", *map(str, words)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_a_dry_run_says_what_is_done_and_does_nothing(capsys, tiny, tmp_path):
    options = ["--small", *TINY_OPTIONS.split(), "--dry-run"]
    status, out, _ = command(capsys, "--output", tmp_path / "new", *options)
    assert status == 0 and not (tmp_path / "new").exists()
    assert out == ("3 runs, 8 rows: 0 done, 3 to do, how long they take is not known yet\n")
    run = SMALL_TINY.runs()[0]
    content = {"settings": run.settings, "seconds": 600.0, "rows": [], "right": []}
    save_json(run_file(tmp_path, run.key), content)
    out = command(capsys, "--output", tmp_path, *options, "--jobs", 1)[1]
    assert out == "3 runs, 8 rows: 1 done, 2 to do, in about 20 minutes\n"


def test_a_dry_run_needs_no_network_and_writes_nothing(tmp_path):
    environment = os.environ | {"METALEARN_EDU_CACHE": str(tmp_path / "cache")}
    environment |= {"METALEARN_EDU_DATA": "", "HTTPS_PROXY": "http://127.0.0.1:9"}
    code = "from metalearn_edu.cli import main; main()"
    words = ["study", "--dry-run", "--output", str(tmp_path / "new")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True
    )
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.startswith(b"162 runs, 432 rows: 0 done, 162 to do")
    assert not list(tmp_path.iterdir())


def test_without_options_it_is_the_full_study(capsys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(all_runs, "state_of", lambda grid, *_: asked.append(grid) or "")
    command(capsys, "--output", tmp_path, "--dry-run")
    assert asked == [Grid()]
    words = ["--data", "glyphs", "--n-classes", "50,all", "--seeds", "3", "--dry-run"]
    command(capsys, "--output", tmp_path, *words)
    assert asked[1] == Grid(data=("glyphs",), n_classes=(50, None), seeds=(3,))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--output"),
        (["--output", "x", "--algorithms", "mamml"], "mamml"),
        (["--output", "x", "--ways", "5,many"], "--ways takes whole numbers"),
        (["--output", "x", "--ways", "1"], "ways must be an integer of at least 2, got 1"),
        (["--output", "x", "--n-classes", "50,50"], "n_classes must be different"),
        (["--output", "x", "--n-classes", "5000"], "has 890 classes"),
        (["--output", "x", "--data", "nowhere"], "nowhere"),
        (["--output", "x", "--small", "--jobs", "0"], "n_jobs must be at least 1"),
        (["--output", "x", "--small", "--backend", "slurm"], "slurm"),
        (["--output", "x", "--small", "--backend", "dask"], "address of its scheduler"),
        (["--output", "x", "--small", "--scheduler", "tcp://x:1"], "--backend dask"),
    ],
)
def test_nonsense_is_refused_in_one_line(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, _, err = command(capsys, *words)
    assert status == 2 and says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the stored study


def test_the_stored_study_is_what_the_command_would_make():
    if not (tables.RESULTS / "study.csv").is_file():
        pytest.skip(
            "no stored study yet: metalearn-edu study --output metalearn_edu/results makes one"
        )
    table = load_study()
    commands = {train_command(run.recipe) for run in Grid().runs()}
    assert {row.command for row in table.rows} == commands
    for data in table.values("data"):
        found = evidence(table, data)
        assert found.n_seeds == 3 and set(found.accuracy) == set(ALGORITHMS)
    assert not any(row.commit.endswith("-dirty") for row in table.rows)
