"""Train as a recipe says, and load the learner of a finished run.

`train_recipe` leaves a run folder with the weights (safetensors) and a card (JSON) that says how
they were made; `load_run` builds the learner again from such a folder.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..basics.capacity import check_fits
from ..learners import MetaLearner
from ..learners.mann import Standardise
from ..tasks import FewShotDataset, TaskSource
from ..training import History, meta_train
from .command import train_command
from .folder import claimed, damaged, load_weights, read_card, save_run
from .recipe import ALGORITHMS, FUNCTIONS, Recipe, as_recipe
from .seen import picture_hashes
from .settings import WIDE, settings_of
from .sources import folder_of, parts_seen, say_what_leaks, task_source, training_source

__all__ = ["build_learner", "load_run", "train_learner", "train_recipe"]

USUAL_WIDTH = 500  # weights up to this number fit any machine
WAVE_NUMBERS = 40  # numbers that a network on sinusoids holds for each point


def train_learner(
    recipe: Recipe, *, tasks: TaskSource | None = None, **options: Any
) -> tuple[MetaLearner, History]:
    """A learner trained as the recipe says, and its training history.

    Args:
        tasks: the recipe's `training_source`, if it is at hand.
        options: of `meta_train`: val_tasks, checkpoint, progress, ...
    Raises:
        ValueError: the recipe asks for something impossible.
    """
    tasks = tasks or training_source(recipe)
    learner = build_learner(recipe, _item_shape(tasks))
    _fit_standardise(learner, tasks, recipe.seed)
    history = meta_train(
        learner,
        tasks,
        n_steps=recipe.n_steps,
        n_tasks_per_batch=recipe.n_tasks_per_batch,
        seed=recipe.seed,
        schedule=recipe.schedule,
        meta_lr=recipe.meta_lr,
        max_grad_norm=10.0,
        **options,
    )
    return learner, history


def train_recipe(recipe: Recipe, folder: Path, *, progress: bool = True) -> History:
    """Train as the recipe says and leave weights and card in `folder`; see `runs`.

    Called again, a run that was stopped continues from its last checkpoint. The data are loaded
    once.

    Raises:
        ValueError: the recipe asks for something impossible, or `folder` holds another run or
            something else, or the pictures have changed since.
        TimeoutError: another training run is using `folder`.
        FloatingPointError: the training diverged; there is not a finished run then.
    """
    folder = Path(folder)
    seen = parts_seen(recipe)
    if "meta-train" in seen:
        recipe = recipe.settled(seen["meta-train"].n_classes)
    _check_memory(recipe, seen.get("meta-train"))
    tasks, val = training_source(recipe, seen.get("meta-train")), None
    if recipe.data in FUNCTIONS or "meta-val" in seen:
        val = task_source(recipe, "meta-val", dataset=seen.get("meta-val"))
    data, command = _described(recipe, seen), train_command(recipe)
    say_what_leaks(recipe)
    with claimed(folder, asdict(recipe), data):
        learner, history = train_learner(
            recipe, tasks=tasks, val_tasks=val, checkpoint=folder / "checkpoint", progress=progress
        )
        card = _card(recipe, command, _item_shape(tasks), history) | {"data": data}
        save_run(folder, card, learner.state_dict(), picture_hashes(seen) if seen else None)
    return history


def _described(recipe: Recipe, seen: dict[str, FewShotDataset]) -> dict[str, Any]:
    """A description of the training data, for the card."""
    folder = folder_of(recipe)
    parts = seen if folder is None else folder.parts | seen
    digests = {"digests": {split: part.digest for split, part in parts.items()}}
    if folder is None:
        return {"kind": recipe.data, **digests}
    return {
        "kind": "folder",
        "path": recipe.data,
        "prepared": json.loads(json.dumps(vars(folder.preparation))),
        "classes": {split: part.class_names for split, part in parts.items()},
        **digests,
    }


def _check_memory(recipe: Recipe, dataset: FewShotDataset | None) -> None:
    """Refuse a batch of tasks whose items alone do not fit the memory of this machine."""
    per_class = 10 if ALGORITHMS[recipe.algorithm].streams else recipe.n_shot + recipe.n_query
    ways, numbers = (
        (1, WAVE_NUMBERS) if dataset is None else (recipe.train_way, math.prod(dataset.item_shape))
    )
    numbers += recipe.numbers_per_item
    size = 4 * recipe.n_tasks_per_batch * ways * per_class * numbers
    check_fits(f"a batch of {recipe.n_tasks_per_batch} tasks", size)


def build_learner(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
    """A learner as the recipe says, its first weights drawn from the recipe's seed.

    Raises:
        ValueError: settings that do not go together, or more weights than the memory holds.
    """
    build = ALGORITHMS[recipe.algorithm].build
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if _largest_width(recipe) > USUAL_WIDTH:
            with torch.device("meta"):  # a meta tensor, which holds no numbers
                sizes = [weights.numel() for weights in build(recipe, item_shape).parameters()]
            check_fits("a learner of this width, in training,", 16 * sum(sizes))
            torch.manual_seed(recipe.seed)
        return build(recipe, item_shape)


def _largest_width(recipe: Recipe) -> int:
    """The settings that can decide how many weights there are."""
    wide = [name for name, setting in settings_of(recipe).items() if setting.most == WIDE]
    return max(getattr(recipe, name) for name in wide)


def _fit_standardise(learner: MetaLearner, tasks: TaskSource, seed: int) -> None:
    """Start a Standardise layer, if the learner has one, from 20 batches of items of `seed`."""
    for layers in (m for m in learner.modules() if isinstance(m, nn.Sequential)):
        if isinstance(layers[-1], Standardise):
            items = tasks.episodes(seed, 0, 20).stream()[0].flatten(0, 1)
            with torch.no_grad():
                layers[-1].fit(layers[:-1](items))


def _item_shape(tasks: TaskSource) -> tuple[int, ...]:
    return tuple(tasks.episodes(0, 0, 1).support_x.shape[2:])


def _card(
    recipe: Recipe, command: str, item_shape: tuple[int, ...], history: History
) -> dict[str, Any]:
    best = history.val_steps.index(history.best_step) if history.best_step else None
    return {
        "recipe": asdict(recipe),
        "item_shape": item_shape,
        "command": command,
        "steps_taken": history.n_steps,
        "best_step": history.best_step,
        "meta_val_score": None if best is None else history.val_scores[best],
        "interrupted": history.interrupted,
        "seconds": round(history.seconds, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


# ---------------------------------------------------------------- finished runs


def load_run(folder: Path) -> tuple[MetaLearner, Recipe, dict[str, Any]]:
    """(learner in eval mode, recipe, card) of a run folder.

    Raises:
        ValueError: the folder holds no finished run, or its files are damaged.
    """
    folder = Path(folder)
    card = read_card(folder)
    weights = load_weights(folder, card)
    try:
        recipe = as_recipe(card["recipe"])
        learner = build_learner(recipe, tuple(card["item_shape"]))
        learner.load_state_dict(weights)
    except (ValueError, TypeError, RuntimeError) as error:
        raise damaged(folder, str(error)[:400]) from error
    return learner.eval(), recipe, card
