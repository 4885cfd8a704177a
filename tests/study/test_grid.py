"""What is measured, and in which order."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from metalearn_edu.runs.recipe import ALGORITHMS
from metalearn_edu.study import Grid
from metalearn_edu.study.grid import study_recipe
from tests.study.small_studies import TINY


def test_the_full_grid_has_a_row_for_each_combination():
    grid = Grid()
    runs = grid.runs()
    assert len(runs) == (5 + 3 * 2) * 2 * 3 * 3  # five learners take any way, three do not
    rows = Counter(
        (r.recipe.algorithm, r.recipe.data, r.recipe.n_classes, *cell, r.recipe.seed)
        for r in runs
        for cell in r.cells
    )
    studied = [name for name, entry in ALGORITHMS.items() if entry.study]
    every = product(studied, grid.data, grid.n_classes, grid.ways, grid.shots, grid.seeds)
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
