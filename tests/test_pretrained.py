"""The weights that come with the course do what their cards say."""

import math

import pytest

from metalearn_edu import evaluate_meta_learner, load_one_shot_runs, score_one_shot_runs
from metalearn_edu.pretrained import FOLDER, list_pretrained, load_pretrained
from metalearn_edu.runs import as_recipe, task_source, train_command
from metalearn_edu.runs.recipe import FUNCTIONS

NAMES = list_pretrained()
LIMIT = 2_000_000  # bytes of one set of weights


def test_there_are_some():
    assert NAMES and all((FOLDER / name / "model.safetensors").is_file() for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_how_the_weights_were_made(name):
    learner, card = load_pretrained(name)
    recipe = as_recipe(card["recipe"])
    assert not learner.training
    assert (FOLDER / name / "model.safetensors").stat().st_size < LIMIT
    assert card["steps_taken"] == recipe.n_steps and not card["interrupted"]
    assert card["command"] == train_command(recipe)
    assert card["figures"], (
        f"{name} has no figure: --record puts one on a card before it is shipped"
    )
    assert {"mean", "half_width", "split", "tasks", "episodes", "seed"} <= card["figures"][0].keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_score_what_the_card_says(name, request):
    """Sixty other episodes than those of the card; their mean is within 4 standard errors.

    Of functions 300, for squared errors have long tails.
    """
    learner, card = load_pretrained(name)
    if card["recipe"]["data"] == "omniglot":
        request.getfixturevalue("omniglot_environment")
    recipe = as_recipe(card["recipe"])
    ways = {} if recipe.data in FUNCTIONS else {"n_way": 5, "n_shot": 1}
    n_episodes = 60 if ways else 300
    kind = "5-way 1-shot" if ways else f"({recipe.n_shot} support"
    figure = next(f for f in card["figures"] if "at" not in f and kind in f["tasks"])
    tasks = task_source(recipe, figure["split"], **ways)
    result = evaluate_meta_learner(learner, tasks, n_episodes=n_episodes, seed=figure["seed"] + 1)
    error = math.hypot(result.std / math.sqrt(n_episodes), figure["half_width"] / 1.96)
    assert abs(result.mean - figure["mean"]) < 4 * error


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_err_in_the_official_runs_as_the_card_says(name, omniglot_environment):
    """The runs are always the same: all that may differ is rounding, one question of 400."""
    learner, card = load_pretrained(name)
    figures = [f for f in card["figures"] if f.get("at") == "official one-shot runs"]
    for figure in figures:
        result = score_one_shot_runs(learner, load_one_shot_runs())
        assert abs(result.mean - figure["mean"]) < 0.004


def test_an_unknown_name_lists_those_that_are_there():
    with pytest.raises(ValueError, match=f"name must be one of .*{NAMES[0]}.*got 'resnet'"):
        load_pretrained("resnet")
