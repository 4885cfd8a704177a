"""Answers from evidence, against a study made up for the purpose."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from metalearn_edu import MAML, PrototypicalNetwork
from metalearn_edu.study import Study, judge_rule, select_meta_learning_algorithm
from tests.made_up_study import PLANES, made_up, truth

STUDY = made_up()


def ask(*arguments, study=STUDY, **options):
    return select_meta_learning_algorithm(*arguments, study=study, **options)


@pytest.mark.parametrize(
    ("dataset_size", "n_way", "n_shot", "distance"),
    [
        (1000, 5, 1, "Measured at exactly"),
        (16_000, 20, 5, "Measured at exactly"),
        (2000, 10, 2, "Interpolated: classes 100 lies between 50 and 200; n_way 10 lies between"),
        (400, 5, 1, "Not measured there: classes 20 is 1/2.5 of the smallest measured, 50."),
        (
            160_000,
            40,
            10,
            "classes 8000 is 10 times the largest measured, 800; n_way 40 is 2 times",
        ),
    ],
)
def test_the_forecast_lies_on_the_plane(dataset_size, n_way, n_shot, distance):
    answer = ask(dataset_size, n_way, n_shot)
    everyone = [answer.best, answer.runner_up, *answer.others]
    assert {c.algorithm for c in everyone} == set(PLANES)
    for c in everyone:
        expected = truth(c.algorithm, dataset_size // 20, n_way, n_shot)
        assert c.accuracy == pytest.approx(expected, abs=2e-3)
        assert c.low < c.accuracy < c.high
    # beyond the grid the best is the best at its edge
    edge = min(max(dataset_size // 20, 50), 800), min(max(n_way, 5), 20), min(n_shot, 5)
    assert answer.best.algorithm == max(PLANES, key=lambda name: truth(name, *edge))
    assert distance in answer.distance and answer.distance in str(answer)
    places = {"exactly": "measured", "lies between": "between", "measured": "beyond"}
    assert answer.place == next(place for word, place in places.items() if word in distance)
    if answer.place == "beyond":
        assert not answer.is_real and "nobody has compared them there" in str(answer)


def test_beyond_the_grid_the_interval_reaches_the_edge():
    inside, beyond = ask(16_000, 5, 1), ask(160_000, 5, 1)
    assert beyond.best.algorithm == inside.best.algorithm == "maml"
    assert beyond.best.low < truth("maml", 800, 5, 1) < truth("maml", 8000, 5, 1)
    assert beyond.half_width > inside.half_width
    assert beyond.best.high - beyond.best.low > inside.best.high - inside.best.low


def test_one_measured_value_says_nothing_of_others():
    one_size = STUDY.where(n_classes=200)
    assert ask(4000, 10, 2, study=one_size).best.algorithm == ask(4000, 10, 2).best.algorithm
    with pytest.raises(ValueError, match=r"measured n_classes 200 alone in glyphs, .* of 50;"):
        ask(1000, 5, 1, study=one_size)


def test_the_difference_is_paired():
    """Luck of episode and seed is common to both here, so that their difference is sure."""
    answer = ask(1000, 5, 1, study=made_up(seed_spread=0.02))
    gap = truth("prototypical", 50, 5, 1) - truth("maml", 50, 5, 1)
    assert (answer.best.algorithm, answer.runner_up.algorithm) == ("prototypical", "maml")
    assert answer.difference == pytest.approx(gap, abs=1e-3)
    assert answer.is_real and answer.half_width < 1e-3
    assert answer.best.high - answer.best.low > 0.05
    assert "a real difference" in str(answer)


def test_a_difference_that_hangs_on_the_seed_is_not_real():
    rows = [r for r in STUDY.rows if r.algorithm != "mann"]
    right = STUDY.right[[r.algorithm != "mann" for r in STUDY.rows]].copy()
    for i, row in enumerate(rows):
        if row.algorithm == "maml":
            right[i] += (row.seed - 1) * 0.1 * row.n_way * row.n_query
    answer = ask(1000, 5, 1, study=Study(tuple(rows), right))
    assert not answer.is_real and "no real difference" in str(answer)


def test_one_seed_is_said():
    answer = ask(1000, 5, 1, study=made_up(seeds=(4,)))
    assert answer.n_seeds == 1 and "With one seed" in str(answer)
    assert "3 seeds" in str(ask(1000, 5, 1))


def test_several_data_sets_give_an_interval_that_spans_theirs():
    both = made_up(data=("glyphs", "omniglot"))
    alone = [ask(1000, 5, 1, study=both, data=name) for name in ("glyphs", "omniglot")]
    together = ask(1000, 5, 1, study=both)
    assert together.data == ("glyphs", "omniglot")
    assert together.best.low == min(a.best.low for a in alone)
    assert together.best.high == max(a.best.high for a in alone)
    middle = np.mean([a.best.accuracy for a in alone])
    assert together.best.accuracy == pytest.approx(middle)
    assert together.difference == pytest.approx(np.mean([a.difference for a in alone]))
    halves = [a.half_width for a in alone]
    assert together.half_width == pytest.approx(math.hypot(*halves) / 2)


def test_data_sets_that_disagree_make_no_real_difference():
    both = made_up(data=("glyphs", "omniglot"))
    right = both.right.copy()
    for i, row in enumerate(both.rows):
        if row.data == "omniglot" and row.algorithm == "maml":
            right[i] += 0.03 * row.n_way * row.n_query  # better there than prototypical
    mixed = Study(both.rows, right)
    alone = [ask(1000, 5, 1, study=mixed, data=name) for name in ("glyphs", "omniglot")]
    assert [a.best.algorithm for a in alone] == ["prototypical", "maml"]
    assert all(a.is_real for a in alone)
    assert not ask(1000, 5, 1, study=mixed).is_real


def test_the_distance_is_that_from_the_data_set_that_has_least():
    both = made_up(data=("glyphs", "omniglot"))
    keep = [r.data == "glyphs" or r.n_classes < 800 for r in both.rows]
    rows = tuple(r for r, k in zip(both.rows, keep, strict=True) if k)
    small = Study(rows, both.right[keep])
    assert ask(16_000, 5, 1, study=both).place == "measured"
    answer = ask(16_000, 5, 1, study=small)
    assert answer.place == "beyond"
    assert answer.distance.startswith("In omniglot: not measured there: classes 800 is 4 times")
    assert ask(16_000, 5, 1, study=small, data="glyphs").place == "measured"


def test_the_learner_is_ready_to_train():
    answer = ask(1000, 20, 1)
    assert answer.learner is PrototypicalNetwork
    assert isinstance(answer.build(), PrototypicalNetwork)
    fast = ask(40_000, 5, 1)
    assert fast.learner is MAML and fast.recipe.n_way == 5
    assert fast.build((3, 32, 32)).model.output_dim == 5
    assert fast.recipe.n_classes is None  # of the person's own data all are used


def test_constraints_leave_out():
    assert ask(16_000, 5, 1).best.algorithm == "maml"
    for limit in ({"max_adaptation_ms": 19.9}, {"max_memory_mb": 1999}):
        answer = ask(16_000, 5, 1, **limit)
        assert answer.best.algorithm == "prototypical" and answer.others == ()
    alone = ask(16_000, 5, 1, max_adaptation_ms=3)
    assert alone.runner_up is None and not alone.is_real
    assert "No other algorithm meets the constraints" in str(alone)
    with pytest.raises(ValueError, match=r"fastest, prototypical, needs 2\.0 ms"):
        ask(16_000, 5, 1, max_adaptation_ms=1)
    # 10-way: half-way in the logarithm between 2 and 8 ms
    assert ask(1000, 10, 1).best.adaptation_ms == pytest.approx(4)


def test_inductive_leaves_out_what_was_seen_to_be_transductive():
    rows = [replace(r, transductive=r.algorithm == "prototypical") for r in STUDY.rows]
    mixed = Study(tuple(rows), STUDY.right)
    assert ask(1000, 5, 1, study=mixed).best.algorithm == "prototypical"
    assert ask(1000, 5, 1, study=mixed, inductive=True).best.algorithm == "maml"


def test_it_shows_itself_in_a_notebook():
    answer = ask(1000, 5, 1)
    page = answer._repr_html_()
    assert page.count("<tr>") == 1 + 3 and "ProtoNet" in page
    assert f"{100 * answer.best.accuracy:.1f}" in page


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((1000, 1, 1), {}, "n_way must be an integer of at least 2, got 1"),
        ((1000, 5, 0), {}, "n_shot must be an integer of at least 1, got 0"),
        ((0, 5, 1), {}, "dataset_size must be"),
        ((1000.5, 5, 1), {}, "dataset_size must be an integer"),
        ((60, 5, 1), {}, "need at least 5 classes, but dataset_size 60 is 3 .* 100 images"),
        ((1000, 5, 20), {}, "20-shot tasks need at least 21 images per class"),
        ((1000, 5, 5), {"n_classes": 200}, "1000 images in 200 classes are 5 each"),
        ((1000, 5, 1), {"n_classes": 0}, "n_classes must be"),
        ((1000, 5, 1), {"data": "mnist"}, "data must be one of glyphs; got 'mnist'"),
        (
            (1000, 5, 1),
            {"max_adaptation_ms": 0},
            "max_adaptation_ms must be a finite number above 0, got 0",
        ),
        (
            (1000, 5, 1),
            {"max_memory_mb": math.nan},
            "max_memory_mb must be a finite number above 0",
        ),
    ],
)
def test_nonsense_is_refused(arguments, options, says):
    with pytest.raises(ValueError, match=says):
        ask(*arguments, **options)


def test_classes_may_be_given_themselves():
    assert ask(400, 5, 1, n_classes=200).best == ask(4000, 5, 1).best


def test_the_stored_study_is_the_default(monkeypatch):
    monkeypatch.setattr(import_module("metalearn_edu.study.evidence"), "load_study", lambda: STUDY)
    assert select_meta_learning_algorithm(1000, 5, 1) == ask(1000, 5, 1)
    assert judge_rule() == judge_rule(study=STUDY)
