"""Runs: what to train, how, and the folder that a training leaves."""

from .own_images import evaluate_on_images, predict_pictures
from .recipe import ALGORITHMS, Recipe, load_run, make_recipe, train_learner, train_recipe

__all__ = [
    "ALGORITHMS",
    "Recipe",
    "evaluate_on_images",
    "load_run",
    "make_recipe",
    "predict_pictures",
    "train_learner",
    "train_recipe",
]
