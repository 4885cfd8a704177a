"""A run has the figures of a training and an evaluation by hand."""

import numpy as np
import pytest

from metalearn_edu import evaluate_meta_learner
from metalearn_edu.runs import task_source, train_learner
from metalearn_edu.study import Grid, one_run, train_and_score
from tests.study.small_studies import TINY


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


def test_a_training_that_was_stopped_is_no_result(monkeypatch):
    run = Grid(**TINY).runs()[0]

    def stopped(recipe, **options):
        learner, history = train_learner(recipe, **options)
        history.interrupted = True
        return learner, history

    monkeypatch.setattr(one_run, "train_learner", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_and_score(run)
