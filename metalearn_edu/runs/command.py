"""From settings to a recipe, and from a recipe to the command that repeats its training."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from ..tasks import FewShotDataset
from .recipe import (
    ALGORITHMS,
    Recipe,
    every_setting,
    is_folder,
    require_algorithm,
    unused,
    without_others,
)
from .settings import settings_of
from .sources import OWN_QUERIES, folder_of, recipe_data

__all__ = ["check_settings", "make_recipe", "train_command"]

OF_THE_WAYS = ("n_shot", "n_query", "n_classes", "rotations", "size", "channels", "ink", "seed")
"""The settings that decide which numbers of ways suit a folder."""


def make_recipe(algorithm: str, data: str = "glyphs", **settings: Any) -> Recipe:
    """A recipe with the algorithm's own defaults, overridden by the settings that are not None.

    For a folder of images, we take the usual number of ways, or as many as its classes allow, and
    make its path absolute, so that the run works from anywhere.

    Raises:
        ValueError: an unknown algorithm or setting, a value that makes no sense, or a folder that
            cannot be split.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    recipe = _usual(algorithm, data, given)
    if folder := folder_of(recipe):
        recipe = replace(recipe, **(_fitting_ways(recipe, folder.parts) | given))
    if not ALGORITHMS[algorithm].any_way and "train_way" not in given:
        recipe = replace(recipe, train_way=recipe.n_way)
    return recipe


def _usual(algorithm: str, data: str, given: dict[str, Any]) -> Recipe:
    """The algorithm's own defaults and what is given, before we look at the data."""
    entry = require_algorithm(algorithm)
    defaults = entry.settings_for(data)
    if defaults is None:
        raise ValueError(f"algorithm {algorithm} needs classes; data {data} has none")
    _refuse_strange(algorithm, given)
    where = os.path.abspath(data) if is_folder(data) else data
    recipe = Recipe(algorithm, where, **{**defaults, **given})
    if recipe.size[0] != recipe.size[1] and "rotations" not in given:
        recipe = replace(recipe, rotations=False)  # a turned picture would have another shape
    return recipe


def _fitting_ways(recipe: Recipe, parts: dict[str, FewShotDataset]) -> dict[str, int]:
    """n_way and train_way, at most the recipe's, that the classes of its folder allow."""
    train = recipe_data(recipe, "meta-train").class_sizes
    sizes = [parts[split].class_sizes for split in ("meta-val", "meta-test") if split in parts]
    held_out = min(int((s >= recipe.n_shot + OWN_QUERIES).sum()) for s in sizes)
    turns = 4 if recipe.rotations else 1
    available = turns * int((train >= recipe.n_shot + recipe.n_query).sum())
    wanted = {"n_way": (recipe.n_way, held_out), "train_way": (recipe.train_way, available)}
    return {name: max(2, min(usual, most)) for name, (usual, most) in wanted.items()}


def _refuse_strange(algorithm: str, given: Iterable[str]) -> None:
    known = settings_of(ALGORITHMS[algorithm].recipe)
    if strange := [name for name in given if name not in known]:
        raise ValueError(
            f"{algorithm} has no setting {', '.join(strange)}; it has {', '.join(known)}"
        )


def check_settings(algorithm: str, data: str, settings: dict[str, Any]) -> None:
    """Refuse settings that have no meaning for this algorithm on these data.

    Raises:
        ValueError: names these settings and what they are for.
    """
    require_algorithm(algorithm)
    recipe = Recipe(**without_others(settings | {"algorithm": algorithm, "data": data}))
    ignored = {name: what for name, what in unused(recipe).items() if name in settings}
    if ignored:
        every = every_setting()
        why = "; ".join(f"--{every[n].option(n)} is for {what}" for n, what in ignored.items())
        kind = "a folder" if is_folder(data) else data
        raise ValueError(f"{why}: {algorithm} on {kind} has no use for it")
    recipe.look_at(settings)


def train_command(recipe: Recipe) -> str:
    """The command line that trains this recipe again; settings without a meaning are left out."""
    usual, ignored = _untold(recipe), unused(recipe)
    words = ["metalearn-edu train", recipe.algorithm, "--data", shlex.quote(recipe.data)]
    for name, setting in settings_of(recipe).items():
        value = getattr(recipe, name)
        if value != usual[name] and name not in ignored:
            words.append(setting.words(name, value))
    return " ".join([*words, "--output FOLDER"])


def _untold(recipe: Recipe) -> dict[str, Any]:
    """The values of the settings that a command does not mention, for this algorithm and data."""
    usual = asdict(_usual(recipe.algorithm, recipe.data, {"size": recipe.size}))
    shaping = {n: getattr(recipe, n) for n in OF_THE_WAYS if is_folder(recipe.data)}
    fitted = asdict(make_recipe(recipe.algorithm, recipe.data, **shaping))
    usual |= {name: value for name, value in fitted.items() if name not in OF_THE_WAYS}
    return usual | {"data": recipe.data, "size": Recipe(recipe.algorithm).size}
