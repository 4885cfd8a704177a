"""Recipes: what a setting may be, and the ways from a recipe to a card and a command, and back."""

import copy
import json
import pickle
import shlex
import signal
from dataclasses import asdict, replace
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies
from PIL import Image

from metalearn_edu import OrdinaryClassifier, cli, recipes, runs
from metalearn_edu.pretrained import FOLDER
from metalearn_edu.runs import ALGORITHMS, Recipe, as_recipe, make_recipe, train, train_command
from metalearn_edu.runs.recipe import every_setting, unused
from metalearn_edu.runs.settings import settings_of

KINDS = ["glyphs", "omniglot", "sinusoids", "a folder"]


@pytest.fixture(scope="module")
def ten_classes(tmp_path_factory):
    root = tmp_path_factory.mktemp("ten") / "ten classes"
    for c in range(10):
        (root / f"c{c}").mkdir(parents=True)
        for i in range(9):
            pixels = np.random.default_rng((c, i)).integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"c{c}" / f"{i}.png")
    return root


# ---------------------------------------------------------------- any recipe

FITTING = {  # what ten classes of nine pictures can give
    "n_way": strategies.integers(2, 5),
    "n_shot": strategies.integers(1, 2),
    "n_query": strategies.integers(1, 5),
    "n_classes": strategies.none() | strategies.integers(2, 6),
    "size": strategies.sampled_from([(28, 28), (32, 32), (32, 48), (17, 90)]),
    "channels": strategies.sampled_from([1, 3]),
}


def values_of(name, setting):
    """Any value that a setting may have."""
    if name in FITTING:
        return FITTING[name]
    if setting.kind is bool:
        return strategies.booleans()
    if get_origin(setting.kind) is Literal:
        return strategies.sampled_from(get_args(setting.kind))
    if setting.kind is int:
        return strategies.integers(setting.least, setting.most)
    assert setting.kind is float, f"say in FITTING which values {name} may have"
    return strategies.floats(0, 1e6, exclude_min=setting.least is None)


@strategies.composite
def choices(draw):
    """(algorithm, kind of data, some settings) that go together."""
    algorithm = draw(strategies.sampled_from([*ALGORITHMS]))
    kind = draw(strategies.sampled_from(KINDS))
    assume(kind != "sinusoids" or ALGORITHMS[algorithm].sinusoids is not None)
    known = settings_of(ALGORITHMS[algorithm].recipe)
    optional = {n: values_of(n, setting) for n, setting in known.items() if n != "data"}
    chosen = draw(strategies.fixed_dictionaries({}, optional=optional))
    assume((algorithm, chosen.get("backbone")) != ("relation", "pyramid"))
    return algorithm, kind, chosen


@given(choices())
def test_the_card_of_a_recipe_is_the_recipe(chosen):
    algorithm, kind, values = chosen
    recipe = Recipe(algorithm, kind, **values)
    card = json.loads(json.dumps(asdict(recipe)))
    assert as_recipe(card) == recipe
    # A card of an earlier version has the settings of all algorithms.
    others = {name: 5 for name in every_setting() if name not in card}
    assert others and as_recipe(card | others) == recipe
    assert copy.deepcopy(recipe) == pickle.loads(pickle.dumps(recipe)) == recipe


@settings(max_examples=200)
@given(choices())
def test_the_command_of_a_recipe_makes_the_recipe(ten_classes, chosen):
    algorithm, kind, values = chosen
    if kind != "a folder":
        values.pop("size", None)  # which decides whether pictures are turned
    recipe = make_recipe(algorithm, str(ten_classes) if kind == "a folder" else kind, **values)
    words = shlex.split(train_command(recipe))
    made = []

    def caught(recipe, *_, **__):
        made.append(recipe)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train_recipe", caught)
        with pytest.raises(SystemExit):
            cli.main(words[1:])
    assert train_command(made[0]) == train_command(recipe)
    differing = {n for n in settings_of(recipe) if getattr(made[0], n) != getattr(recipe, n)}
    assert differing <= set(unused(recipe))


# ---------------------------------------------------------------- one class an algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_recipe_is_of_its_algorithms_class_and_has_its_settings_alone(algorithm):
    recipe = Recipe(algorithm)
    assert type(recipe) is ALGORITHMS[algorithm].recipe and isinstance(recipe, Recipe)
    own = settings_of(recipe).keys() - settings_of(Recipe).keys()
    assert own and not hasattr(recipe, "no_such_setting")
    for name in every_setting().keys() - settings_of(recipe).keys():
        assert not hasattr(recipe, name)
        with pytest.raises(ValueError, match=f"{algorithm} has no setting {name}; it has data"):
            make_recipe(algorithm, **{name: 1})


def test_another_algorithm_needs_a_recipe_of_its_own():
    assert replace(Recipe("maml"), algorithm="meta-sgd").inner_lr == 0.4
    with pytest.raises(ValueError, match="mann has other settings; make_recipe"):
        replace(Recipe("maml"), algorithm="mann")


def test_the_learner_of_an_entry_is_the_class_that_is_built():
    for algorithm, entry in ALGORITHMS.items():
        learner = runs.build_learner(make_recipe(algorithm, width=4), (1, 28, 28))
        assert type(learner) is entry.learner


def test_a_setting_that_several_algorithms_have_is_the_same_in_all():
    for algorithm, entry in ALGORITHMS.items():
        for name, setting in settings_of(entry.recipe).items():
            assert setting is every_setting()[name], f"{name} is written again for {algorithm}"


def test_names_of_settings_and_options_are_different():
    every = every_setting()
    options = [s.option(n) for n, s in every.items()] + [s.off for s in every.values() if s.off]
    assert len(set(options)) == len(options)
    assert all(setting.help.endswith(".") for setting in every.values())


# ---------------------------------------------------------------- the ordinary classifier


def test_an_ordinary_classifier_is_loaded_without_its_data_and_goes_on(tmp_path, monkeypatch):
    """Its last layer has an output for each class of meta-training, which the card tells."""
    recipe = make_recipe("ordinary-classifier", width=4, n_steps=2, train_way=5)
    train.train_recipe(recipe, tmp_path, progress=False)
    train.train_recipe(recipe, tmp_path, progress=False)  # finished: the same run, not another
    monkeypatch.setattr("metalearn_edu.runs.sources.load_glyphs", None)
    learner, loaded, card = train.load_run(tmp_path)
    assert loaded == replace(recipe, n_classes=890) and "--n-classes 890" in card["command"]
    assert learner.n_classes == 4 * 890 and not learner.training


def test_an_ordinary_classifier_that_was_stopped_goes_on_with_the_same_numbers(
    tmp_path, monkeypatch
):
    recipe = make_recipe("ordinary-classifier", width=4, n_steps=4, train_way=5)
    train.train_recipe(recipe, tmp_path / "whole", progress=False)
    step = OrdinaryClassifier.outer_loop

    def stopped(*args, **options):
        signal.raise_signal(signal.SIGINT)
        return step(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(OrdinaryClassifier, "outer_loop", stopped)
        history = train.train_recipe(recipe, tmp_path / "again", progress=False)
    assert history.interrupted and history.n_steps == 1
    history = train.train_recipe(recipe, tmp_path / "again", progress=False)
    assert not history.interrupted and history.n_steps == 4
    weights = [(tmp_path / f / "model.safetensors").read_bytes() for f in ("whole", "again")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("turned", "outputs"), [(True, 80), (False, 20)])
def test_an_ordinary_classifier_has_an_output_for_each_class(turned, outputs):
    recipe = make_recipe("ordinary-classifier", n_classes=20, rotations=turned, width=4)
    assert runs.build_learner(recipe, (1, 28, 28)).n_classes == outputs


# ---------------------------------------------------------------- scripts from before


def test_the_earlier_name_of_the_room_has_its_names():
    for name in runs.__all__:
        assert getattr(recipes, name) is getattr(runs, name)
    learner, recipe, card = recipes.load_run(FOLDER / "mann_glyphs")
    assert type(learner).__name__ == "MANN" and recipe.memory_size == 64
    assert "inner_lr" in card["recipe"]  # it is of an earlier version


def test_a_name_that_the_room_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'train_recipes'"):
        runs.train_recipes  # noqa: B018
