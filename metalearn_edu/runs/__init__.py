"""Runs: what to train and how, and the folder that a training run leaves.

Everything that needs PyTorch is loaded at first use, because the options of the command line do not
need it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .algorithms import ALGORITHMS
from .recipe import Algorithm, Recipe, as_recipe

if TYPE_CHECKING:
    from .command import make_recipe, train_command
    from .own_images import evaluate_on_images, predict_pictures
    from .sources import (
        load_split,
        recipe_data,
        stream_source,
        task_source,
        training_source,
    )
    from .train import build_learner, load_run, train_learner, train_recipe

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Recipe",
    "as_recipe",
    "build_learner",
    "evaluate_on_images",
    "load_run",
    "load_split",
    "make_recipe",
    "predict_pictures",
    "recipe_data",
    "stream_source",
    "task_source",
    "train_command",
    "train_learner",
    "train_recipe",
    "training_source",
]

_FILES = {
    "command": "make_recipe train_command",
    "own_images": "evaluate_on_images predict_pictures",
    "sources": "load_split recipe_data stream_source task_source training_source",
    "train": "build_learner load_run train_learner train_recipe",
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
