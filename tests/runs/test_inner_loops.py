"""ANIL, BOIL, Reptile and iMAML by recipe: trained, stopped and resumed, loaded from the card."""

from dataclasses import asdict

import pytest
import torch

from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import ANIL, BOIL, IMAML, Reptile
from metalearn_edu.runs import as_recipe, load_run, make_recipe, task_source, train_recipe
from metalearn_edu.training import meta_train

KINDS = {"anil": ANIL, "boil": BOIL, "reptile": Reptile, "imaml": IMAML}
SMALL = {"n_steps": 2, "n_tasks_per_batch": 2, "num_inner_steps": 2, "num_test_steps": 2}


@pytest.mark.parametrize("algorithm", KINDS)
@pytest.mark.parametrize("data", ["glyphs", "sinusoids"])
@pytest.mark.filterwarnings("ignore:the inner loop ends before")
def test_a_run_leaves_a_card_from_which_the_learner_comes_back(algorithm, data, tmp_path):
    of_images = {"width": 8} if data == "glyphs" else {}
    recipe = make_recipe(algorithm, data=data, **SMALL, **of_images)
    history = train_recipe(recipe, tmp_path / "run", progress=False)
    learner, found, card = load_run(tmp_path / "run")
    assert type(learner) is KINDS[algorithm] and found == recipe == as_recipe(card["recipe"])
    assert history.n_steps == 2 and card["recipe"] == asdict(recipe) | {
        "size": card["recipe"]["size"]
    }
    found = evaluate_meta_learner(learner, task_source(recipe, "meta-test"), n_episodes=5)
    assert torch.isfinite(torch.tensor(found.mean))


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.filterwarnings("ignore:the inner loop ends before")
def test_a_stopped_run_gives_the_numbers_of_one_that_was_not(kind, tmp_path):
    recipe = make_recipe("anil", data="sinusoids")
    tasks = task_source(recipe, "meta-train")

    def trained(n_steps, **options):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        learner = kind(model, 0.01, 1e-2, 2, torch.nn.functional.mse_loss)
        settings = {"n_steps": n_steps, "n_tasks_per_batch": 3, "progress": False}
        meta_train(learner, tasks, **settings, **options)
        return [p.detach().clone() for p in learner.parameters()]

    whole = trained(4)
    trained(2, checkpoint=tmp_path)
    assert all(map(torch.equal, trained(4, checkpoint=tmp_path), whole))
