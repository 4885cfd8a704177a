"""One training scored after several processor times, and tables from before there were any."""

import csv
import json
from dataclasses import replace
from itertools import product

import pytest

from metalearn_edu.basics.files import save_json
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.runs import task_source, train_learner
from metalearn_edu.study import Grid, Study, evidence, load_study, one_run, run_study
from metalearn_edu.study.evidence import by_moment
from metalearn_edu.study.figures import plot_study_times
from metalearn_edu.study.folder import finished, row_keys, run_file
from metalearn_edu.study.table import row_key, save_study
from metalearn_edu.training import History
from tests.drawn_text import overlaps
from tests.made_up_study import made_up, over_time, truth
from tests.study.small_studies import SMALLEST, TINY, command, small

TIMED = Grid(**(TINY | {"algorithms": ("prototypical",), "shots": (1,), "seconds": (1.0, 3.0)}))


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timed")
    return folder, run_study(TIMED, folder, n_jobs=1, progress=False)


# ---------------------------------------------------------------- a run by the clock


def test_a_row_by_the_clock_is_that_of_a_training_of_as_many_steps(timed):
    _, table = timed
    times = [row.after_seconds for row in table.rows]
    assert times == [1.0, 1.0, 3.0, 3.0]  # two ways at each
    (run,) = TIMED.runs()
    for row, right in zip(table.rows, table.right, strict=True):
        words = row.command.split()
        assert "--schedule constant" in row.command
        recipe = replace(run.recipe, n_steps=int(words[words.index("--steps") + 1]))
        learner, _ = train_learner(recipe, progress=False)
        tasks = task_source(recipe, "meta-test", n_way=row.n_way, n_shot=1, n_query=row.n_query)
        again = evaluate_meta_learner(learner, tasks, n_episodes=6).values
        assert right.tolist() == (again * row.n_way * row.n_query).round().int().tolist()
        assert row.train_seconds >= 0.99 * row.after_seconds - 0.005
    steps = {row.command for row in table.rows}
    assert len(steps) == 2


@pytest.mark.parametrize("per_step", [0.02, 0.31, 7.0])
def test_it_stops_at_the_step_that_is_nearest_from_below(monkeypatch, per_step):
    clock, asked = [0.0], [0]

    def train(recipe, **options):
        clock[0] += per_step * (recipe.n_steps - asked[0])
        asked[0] = recipe.n_steps
        return one_run.torch.nn.Identity(), History()

    monkeypatch.setattr(one_run, "train_learner", train)
    monkeypatch.setattr(one_run.time, "process_time", lambda: clock[0])
    (run,) = replace(TIMED, seconds=(100.0, 200.0, 400.0)).runs()
    moments = list(one_run._moments(run))
    assert [seconds for seconds, _ in moments] == [100, 200, 400]
    for seconds, trained in moments:
        assert trained.seconds == pytest.approx(trained.recipe.n_steps * per_step)
        assert 0.99 * seconds <= trained.seconds < seconds + per_step


def test_a_timed_run_that_was_stopped_is_no_result(monkeypatch):
    def stopped(recipe, **options):
        return one_run.torch.nn.Identity(), History(interrupted=True)

    monkeypatch.setattr(one_run, "train_learner", stopped)
    with pytest.raises(KeyboardInterrupt):
        list(one_run._moments(*TIMED.runs()))


def test_a_finished_timed_run_is_not_repeated(timed, monkeypatch):
    folder, table = timed
    monkeypatch.setattr(one_run, "train_learner", None)
    assert run_study(TIMED, folder, n_jobs=1, progress=False).rows == table.rows
    (run,) = TIMED.runs()
    assert finished(run, folder) and not finished(replace(run, seconds=(1.0,)), folder)
    assert set(row_keys(run)) == {row_key(vars(row)) for row in table.rows}


# ---------------------------------------------------------------- the grid


def test_by_the_clock_the_step_size_is_constant_and_half_as_large():
    usual, timed_run = Grid(**TINY).runs()[0], TIMED.runs()[0]
    assert (usual.recipe.schedule, usual.seconds) == ("cosine", ())
    assert timed_run.recipe.schedule == "constant" and timed_run.seconds == (1.0, 3.0)
    assert timed_run.recipe.meta_lr == usual.recipe.meta_lr / 2
    assert timed_run.n_rows == 2 * 2 and usual.n_rows == 2 * 2


def test_a_run_without_times_has_the_key_of_earlier_versions():
    keys = [run.key for run in Grid(**TINY).runs()]
    assert keys[0] == "prototypical_glyphs_50_3-5way_seed0_687a838b6d63"
    assert keys[1] == "maml_glyphs_50_3way_seed0_70dfc8f60dd8"


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (20, "seconds must be a tuple of values, got 20"),
        ((20, 10), r"seconds must rise, as 20, 40, 80 do; got \(20.0, 10.0\)"),
        ((20, 20), "seconds must rise"),
        ((0,), "seconds must be a finite number above 0"),
        ((float("inf"),), "seconds must be a finite number above 0"),
        (("long",), "seconds must be"),
    ],
)
def test_impossible_times_are_refused(seconds, says):
    with pytest.raises(ValueError, match=says):
        Grid(**(TINY | {"seconds": seconds}))


def test_the_command_takes_seconds(capsys, tmp_path):
    words = ["--output", tmp_path / "x", "--small", "--seconds", "1,2.5", "--dry-run"]
    status, out, _ = command(capsys, *words)
    grid = Grid(**(TINY | {"seeds": (0, 1), "shots": (1, 5), "ways": (5,)}))
    assert status == 0 and len(grid.runs()) and ": 0 done" in out
    status, _, err = command(capsys, *words[:4], "soon")
    assert status == 2 and "--seconds takes numbers with commas between, got 'soon'" in err


# ---------------------------------------------------------------- the table


def test_tables_and_runs_from_before_are_read(smallest, tmp_path):
    _, table = smallest
    save_study(table, tmp_path)
    lines = list(csv.reader((tmp_path / "study.csv").read_text().splitlines()))
    assert lines[0][-1] == "after_seconds"
    with open(tmp_path / "study.csv", "w", newline="") as file:
        csv.writer(file).writerows(line[:-1] for line in lines)
    assert load_study(tmp_path).rows == table.rows
    assert table.rows[0].after_seconds == 0


def test_runs_from_before_are_not_done_again(smallest, tmp_path):
    (run,) = SMALLEST.runs()
    content = json.loads(run_file(smallest[0], run.key).read_text())
    assert content["rows"][0].pop("after_seconds") == 0
    assert content["settings"]["recipe"].pop("schedule") == "cosine"
    assert "seconds" not in content["settings"]
    save_json(run_file(tmp_path, run.key), content)
    assert finished(run, tmp_path) and small(tmp_path).rows == smallest[1].rows


def test_a_study_of_several_times_asks_which():
    study = over_time((10.0, 40.0))
    with pytest.raises(ValueError, match=r"after 10, 40 seconds; choose one, as .*=40"):
        evidence(study, "glyphs")
    for seconds in (10.0, 40.0):
        found = evidence(study.where(after_seconds=seconds), "glyphs")
        expected = truth("maml", 50, 5, 1) - 1 / seconds
        assert found.accuracy["maml"][0, 0, 0].mean() == pytest.approx(expected, abs=1e-3)
    moments = by_moment(study)
    assert list(moments) == [10.0, 40.0] and [s.data for s in moments[10.0]] == ["glyphs"]
    with pytest.raises(ValueError, match="must have scored each training several times"):
        by_moment(made_up())


def test_the_same_row_at_another_time_is_another_row(tmp_path):
    study = over_time((10.0, 40.0))
    accuracy = study.accuracy.mean(axis=1)
    rows = [replace(r, test_accuracy=a) for r, a in zip(study.rows, accuracy, strict=True)]
    save_study(Study(tuple(rows), study.right), tmp_path / "both")
    assert load_study(tmp_path / "both").values("after_seconds") == [10, 40]
    same = [replace(row, after_seconds=10.0) for row in rows]
    save_study(Study(tuple(same), study.right), tmp_path / "twice")
    with pytest.raises(ValueError, match="has a row twice"):
        load_study(tmp_path / "twice")


def test_accuracy_over_time_is_drawn():
    fig = plot_study_times(over_time((10.0, 20.0, 40.0)).where(n_way=5))
    assert [ax.get_title(loc="left")[-25:] for ax in fig.axes] == [
        f"5-way {shot}-shot, 800 classes" for shot in (1, 5)
    ]
    of_maml = next(c for c in fig.axes[1].containers if c.get_label().startswith("MAML"))
    heights = [100 * (truth("maml", 800, 5, 5) - 1 / t) for t in (10, 20, 40)]
    assert of_maml.lines[0].get_ydata() == pytest.approx(heights, abs=0.2)
    assert overlaps(fig) == []


def test_every_moment_of_every_cell_has_a_key():
    (run,) = TIMED.runs()
    expected = {(1.0, 3), (1.0, 5), (3.0, 3), (3.0, 5)}
    assert {(key[-1], key[-3]) for key in row_keys(run)} == expected
    assert len(list(product(run.moments, run.cells))) == run.n_rows
