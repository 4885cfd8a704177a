"""What a study measures: a grid of training runs, and the settings of each.

A run trains one learner once and scores it in cells: numbers of ways and shots. What is unusual:
all training runs take about the same computing time, whatever the algorithm. Introduced in notebook
11.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from ..basics.arguments import as_integer, as_number
from ..runs import ALGORITHMS, Recipe, load_split, make_recipe, task_source

__all__ = ["Grid", "Run", "n_query", "n_train_classes", "pictures_digest", "study_recipe"]

LARGEST_NUMBER = 2**31 - 1
"""Of ways, shots, classes, seeds and episodes."""

NETWORK: dict[str, Any] = {"width": 32, "downsample": "stride"}
"""The same small ConvNet for every algorithm (Relation Networks: ConvMaps of the same width)."""

SMALL: dict[str, Any] = {
    "data": ("glyphs",),
    "n_classes": (50,),
    "ways": (5,),
    "seeds": (0, 1),
    "share": 0.02,
    "n_val_episodes": 20,
    "n_test_episodes": 50,
}
"""A grid that takes a minute or two, to see that everything works; its figures mean nothing."""


@dataclass(frozen=True)
class Run:
    """One training run, and where its learner is scored.

    Attributes:
        recipe: what is trained, and how.
        cells: (n_way, n_shot) of the episodes that score it.
        n_val_episodes, n_test_episodes: how many there are in each cell, by split.
        seconds: of processor time, rising: the training goes on until the last of them and is
            scored at each; empty: it takes the steps of its recipe and is scored at their end.
    """

    recipe: Recipe
    cells: tuple[tuple[int, int], ...]
    n_val_episodes: int = 100
    n_test_episodes: int = 300
    seconds: tuple[float, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result, as values that fit into JSON."""
        settings = json.loads(json.dumps(asdict(self)))
        if not self.seconds:  # as in earlier versions, which had no such setting
            del settings["seconds"]
        return settings

    @property
    def moments(self) -> tuple[float, ...]:
        """When the learner is scored, as in `Row.after_seconds`."""
        return self.seconds or (0.0,)

    @property
    def n_rows(self) -> int:
        """How many rows of the table the run makes."""
        return len(self.cells) * len(self.moments)

    @property
    def key(self) -> str:
        """A file name for the run: readable, and different for different settings."""
        r = self.recipe
        usual = asdict(Recipe(r.algorithm))
        # A setting added by a later version has its usual value in all earlier runs.
        changed = {n: value for n, value in asdict(r).items() if value != usual[n]}
        text = json.dumps(self.settings | {"recipe": changed}, sort_keys=True)
        ways = "-".join(str(way) for way in sorted({way for way, _ in self.cells}))
        data = Path(r.data).name[:40]  # file names have a limited length
        name = f"{r.algorithm}_{data}_{r.n_classes or 'all'}_{ways}way_seed{r.seed}"
        return f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Grid:
    """A grid: every combination of these is measured; an impossible grid is refused.

    Attributes:
        algorithms: names in runs.ALGORITHMS.
        data: data sets, as a Recipe names them.
        n_classes: sizes of the meta-training set, before rotations; None: all its classes.
        ways, shots: of the episodes that score a learner. All train on 1 shot.
        seeds: of initial weights, episodes, and the choice of the n_classes classes.
        share: of the usual outer steps, for a quick try.
        n_val_episodes, n_test_episodes: how many score a learner in each cell.
        seconds: of processor time after which each training is scored, while it goes on; its step
            size is then constant, half of the usual one, which is the mean of a cosine's. Empty:
            each is scored once, after its usual steps.
    Raises:
        ValueError: a list is empty or has an entry twice, or an entry makes no sense.
    """

    algorithms: tuple[str, ...] = tuple(name for name, entry in ALGORITHMS.items() if entry.study)
    data: tuple[str, ...] = ("glyphs", "omniglot")
    n_classes: tuple[int | None, ...] = (50, 200, None)
    ways: tuple[int, ...] = (5, 20)
    shots: tuple[int, ...] = (1, 5)
    seeds: tuple[int, ...] = (0, 1, 2)
    share: float = 1.0
    n_val_episodes: int = 100
    n_test_episodes: int = 300
    seconds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._check_seconds()
        for name in ("algorithms", "data", "n_classes", "ways", "shots", "seeds"):
            values = getattr(self, name)
            if not isinstance(values, list | tuple):
                raise ValueError(f"{name} must be a tuple of values, got {values!r}")
            object.__setattr__(self, name, tuple(values))
            if not values or any(value in values[:i] for i, value in enumerate(values)):
                raise ValueError(f"{name} must be different and at least one, got {values}")
        if unknown := [name for name in self.algorithms if name not in list(ALGORITHMS)]:
            raise ValueError(f"algorithms must be of {', '.join(ALGORITHMS)}; got {unknown}")
        for data in self.data:
            _check_name(data)
        self._check_numbers()

    def _check_numbers(self) -> None:
        smallest = {"ways": 2, "shots": 1, "n_classes": 2, "seeds": 0}
        asked = [(name, value, n) for name, n in smallest.items() for value in getattr(self, name)]
        asked += [(n, getattr(self, n), 2) for n in ("n_val_episodes", "n_test_episodes")]
        for name, value, at_least in asked:
            if name != "n_classes" or value is not None:
                as_integer(name, value, at_least)
                as_integer(name, value, None, at_most=LARGEST_NUMBER)
        as_number("share", self.share, above=0, at_most=1)

    def _check_seconds(self) -> None:
        if not isinstance(self.seconds, list | tuple):
            raise ValueError(f"seconds must be a tuple of values, got {self.seconds!r}")
        seconds = tuple(as_number("seconds", value, above=0) for value in self.seconds)
        if any(later <= before for before, later in pairwise(seconds)):
            raise ValueError(f"seconds must rise, as 20, 40, 80 do; got {seconds}")
        object.__setattr__(self, "seconds", seconds)

    def runs(self) -> list[Run]:
        """The runs, seed by seed, so that the first seed of all cells is done early."""
        axes = product(self.seeds, self.data, self.n_classes, self.algorithms)
        return [run for axis in axes for run in self._runs(*axis)]

    def _runs(self, seed: int, data: str, n_classes: int | None, algorithm: str) -> Iterator[Run]:
        """One run for all ways if the learner accepts any number of ways, else one for each."""
        groups = [self.ways] if ALGORITHMS[algorithm].any_way else [(way,) for way in self.ways]
        for ways in groups:
            asked = {"n_classes": n_classes, "seed": seed}
            recipe = study_recipe(algorithm, data, ways[0], self.share, **asked)
            if self.seconds:
                recipe = replace(recipe, schedule="constant", meta_lr=recipe.meta_lr / 2)
            cells = tuple(product(ways, self.shots))
            yield Run(recipe, cells, self.n_val_episodes, self.n_test_episodes, self.seconds)

    def check(self) -> None:
        """Refuse a grid that the data cannot provide; loads each data set once.

        Raises:
            ValueError: too few classes or items for a cell.
            FileNotFoundError, OSError: the data are missing.
        """
        for data in self.data:
            available = load_split(data, "meta-train").n_classes
            largest = max((n for n in self.n_classes if n is not None), default=0)
            if largest > available:
                raise ValueError(
                    f"n_classes is {largest}, but meta-train of {data} has {available} classes"
                )
            for way, shot in product(self.ways, self.shots):
                for split in ("meta-val", "meta-test"):
                    task_source(
                        Recipe("maml", data), split, n_way=way, n_shot=shot, n_query=n_query(way)
                    )


def _check_name(data: Any) -> None:
    """Refuse unknown data, without reading any. Raises ValueError."""
    if data not in ("glyphs", "omniglot") and not (isinstance(data, str) and Path(data).is_dir()):
        raise ValueError(
            f"data must be glyphs, omniglot or a folder of images, got {data!r} (sinusoids have no "
            "classes to learn from)"
        )


def study_recipe(algorithm: str, data: str, n_way: int, share: float = 1.0, **over: Any) -> Recipe:
    """The recipe of a training run in a study.

    Args:
        n_way: of the episodes that the learner is for; ignored if it accepts any number of ways.
        share: of the usual outer steps.
        over: further settings of the Recipe: n_classes, seed, ...
    """
    entry = ALGORITHMS[algorithm]
    usual = {"n_steps": entry.images.get("n_steps", Recipe.n_steps), **NETWORK, **entry.study}
    settings: dict[str, Any] = usual | {"n_way": n_way} | over
    if entry.classes_per_step:
        settings["n_tasks_per_batch"] = max(1, entry.classes_per_step // n_way)
    settings["n_steps"] = math.ceil(share * settings["n_steps"])
    return make_recipe(algorithm, data, **settings)


def n_query(n_way: int) -> int:
    """Queries per class in the episodes that score: 15 up to 5-way, 5 from 15-way on."""
    return min(15, max(5, 75 // n_way))


def n_train_classes(recipe: Recipe) -> int:
    """Meta-training classes before rotations: the requested number, or all that the data have."""
    return recipe.n_classes or load_split(recipe.data, "meta-train").n_classes


def pictures_digest(data: str) -> str:
    """A text that changes when the pictures of a folder change; empty for other data."""
    if data in ("glyphs", "omniglot"):
        return ""
    splits = ("meta-train", "meta-val", "meta-test")
    return "-".join(load_split(data, split).digest for split in splits)  # type: ignore[arg-type]
