"""Where a recipe's tasks come from: splits of the named data, and parts of folders of images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from ..basics.random import uniforms
from ..tasks import (
    Augmented,
    EpisodeSampler,
    FewShotDataset,
    GaussianProcesses,
    LinearFunctions,
    Preparation,
    Sinusoids,
    Streams,
    TaskSource,
    load_glyphs,
    load_omniglot,
    read_image_folder,
)
from ..tasks.data.folder_layout import class_folders, pictures
from .recipe import ALGORITHMS, FUNCTIONS, Recipe, is_folder
from .seen import listed, warn_of_leaks

__all__ = [
    "OWN_QUERIES",
    "PictureFolder",
    "Split",
    "folder_of",
    "load_split",
    "parts_seen",
    "recipe_data",
    "say_what_leaks",
    "stream_source",
    "task_source",
    "training_source",
]

Split = Literal["meta-train", "meta-val", "meta-test"]
Protocol = Literal["official", "vinyals", "background"]

OWN_QUERIES = 5
"""Query items per class when testing on a folder of images, which might not have many."""


# ---------------------------------------------------------------- data


def load_split(data: str, split: Split, protocol: Protocol = "official") -> FewShotDataset:
    """One split (meta-train, meta-val, meta-test) of a data set by name or folder."""
    return _load_split(Recipe("prototypical", data, protocol=protocol), split)


def _load_split(recipe: Recipe, split: Split) -> FewShotDataset:
    data, protocol = recipe.data, recipe.protocol
    if data == "glyphs":
        return load_glyphs(split)
    if data == "omniglot" and protocol == "background":
        return _background_split(split)
    if data == "omniglot":
        return load_omniglot(split, "vinyals" if protocol == "vinyals" else "official")
    folder = folder_of(recipe)
    if folder is None:
        raise ValueError(f"data {data} has no classes")
    if split not in folder.parts:
        raise ValueError(
            f"{data} has too few classes for a {split}; it has {', '.join(folder.parts)}"
        )
    return folder.parts[split]


def _background_split(split: Split) -> FewShotDataset:
    """The official split with no background alphabet held out."""
    if split == "meta-val":
        raise ValueError("protocol background has no meta-val: it meta-trains on those classes")
    return load_omniglot("background" if split == "meta-train" else "evaluation")


def recipe_data(recipe: Recipe, split: Split) -> FewShotDataset:
    """One split of the recipe's data; of meta-train the recipe's n_classes.

    Raises:
        ValueError: the split has fewer classes than n_classes.
    """
    dataset = _load_split(recipe, split)
    if split != "meta-train" or recipe.n_classes is None:
        return dataset
    n_classes, available = recipe.n_classes, dataset.n_classes
    if n_classes > available:
        raise ValueError(
            f"n_classes is {n_classes}, but meta-train of {recipe.data} has {available} classes"
        )
    order = uniforms(recipe.seed, 0, 1, available)[0].argsort()
    return dataset.subset(sorted(order[:n_classes]))


def parts_seen(recipe: Recipe) -> dict[str, FewShotDataset]:
    """The parts of the data that training uses, by name; functions have none."""
    if recipe.data in FUNCTIONS:
        return {}
    train = {"meta-train": recipe_data(recipe, "meta-train")}
    if _has_meta_val(recipe):
        train["meta-val"] = recipe_data(recipe, "meta-val")
    return train


def _has_meta_val(recipe: Recipe) -> bool:
    if folder := folder_of(recipe):
        return "meta-val" in folder.parts
    return recipe.protocol != "background"


# ---------------------------------------------------------------- folders of images


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder in parts with disjoint classes, and how they were prepared."""

    parts: dict[str, FewShotDataset]
    preparation: Preparation


def folder_of(recipe: Recipe) -> PictureFolder | None:
    """The pictures of the recipe's folder in parts; None where its data are not a folder.

    Raises:
        ValueError: it is not there, or cannot be split.
    """
    if not is_folder(recipe.data):
        return None
    folder = Path(recipe.data)
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {recipe.data}; data must be glyphs, omniglot, "
            f"{', '.join(FUNCTIONS)} or a folder of images"
        )
    ink = None if recipe.ink == "as-is" else recipe.ink
    wanted = (("size", recipe.size), ("channels", recipe.channels), ("ink", ink))
    return _read_folder(folder, wanted, recipe.n_shot + OWN_QUERIES, _state(folder))


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """A value that changes when a picture of the folder changes."""
    places = (place for places in class_folders(folder).values() for place in places)
    files = (file for place in places for file in pictures(place))
    states = ((str(file), file.stat()) for file in files)
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


@lru_cache(maxsize=1)  # making a recipe, training and writing its card all need the same pictures
def _read_folder(folder: Path, wanted: Any, need: int, _state: Any) -> PictureFolder:
    dataset, decided = read_image_folder(folder, **dict(wanted))
    parts = _split_folder(dataset, need)
    for split, part in parts.items():
        part.name = f"{part.name} ({split})"
    return PictureFolder(parts, decided)


def _split_folder(dataset: FewShotDataset, need: int) -> dict[str, FewShotDataset]:
    """Parts of disjoint classes; with few classes no meta-val, or no parts at all.

    Nine classes or more are split as usual, 6 : 2 : 2. If that leaves fewer than two classes with
    `need` pictures for meta-val or meta-test, classes with fewer pictures are left out, and at
    least two are held out for each; with four or five classes, two are held out for meta-test only.

    Raises:
        ValueError: fewer than four classes.
    """
    if dataset.n_classes >= 9:
        parts = dict(zip(get_args(Split), dataset.split(), strict=True))
        if all((parts[p].class_sizes >= need).sum() >= 2 for p in ("meta-val", "meta-test")):
            return parts
    large = (dataset.class_sizes >= need).nonzero().flatten().tolist()
    _refuse_few(dataset, len(large), need)
    _say_small(dataset, need)
    n_val, n_test = (max(2, round(0.2 * len(large))) if len(large) >= n else 0 for n in (6, 4))
    order = uniforms(0, 0, 1, len(large))[0].argsort()
    edges = {"meta-train": (0, len(large) - n_val - n_test)}
    edges["meta-val"] = (edges["meta-train"][1], len(large) - n_test)
    edges["meta-test"] = (edges["meta-val"][1], len(large))
    return {
        split: dataset.subset(sorted(large[i] for i in order[start:stop]))
        for split, (start, stop) in edges.items()
        if stop > start
    }


def _say_small(dataset: FewShotDataset, need: int) -> None:
    sizes = dataset.class_sizes.tolist()
    small = [
        f"{name} ({n})" for name, n in zip(dataset.class_names, sizes, strict=True) if n < need
    ]
    if small:
        text = f"left out, because an episode takes {need} pictures of a class: {listed(small)}"
        warnings.warn(text, stacklevel=2)


def _refuse_few(dataset: FewShotDataset, n_large: int, need: int) -> None:
    if n_large < 4:
        raise ValueError(
            f"{dataset.name} has {n_large} classes with at least {need} pictures each, as many as "
            f"n_shot {need - OWN_QUERIES} and {OWN_QUERIES} queries take; a training "
            "needs at least 4 classes in all (6 or more if the weights are to be chosen on "
            "meta-val); with fewer, take trained weights: metalearn-edu evaluate "
            "prototypical_glyphs --data FOLDER, or metalearn-edu predict prototypical_glyphs "
            "--support FOLDER PICTURE"
        )


def say_what_leaks(recipe: Recipe) -> None:
    """Warn if pictures of a recipe's folder are both held out and trained on; see `runs`."""
    if own := folder_of(recipe):
        warn_of_leaks(own.parts | {"meta-train": recipe_data(recipe, "meta-train")})


# ---------------------------------------------------------------- tasks


def task_source(
    recipe: Recipe,
    split: Split,
    *,
    n_way: int | None = None,
    n_shot: int | None = None,
    n_query: int | None = None,
    rotations: bool = False,
    within_group: bool = False,
    dataset: FewShotDataset | None = None,
) -> TaskSource:
    """Episodes of one split of the recipe's data; n_way and n_shot default to the recipe's.

    n_query defaults to 15, for a folder of images to 5. `dataset` is the split, if it is at hand.
    """
    n_shot = n_shot or recipe.n_shot
    n_query = n_query or (OWN_QUERIES if is_folder(recipe.data) else 15)
    if recipe.data in FUNCTIONS:
        return _functions(recipe, n_shot, n_query)
    return EpisodeSampler(
        dataset or recipe_data(recipe, split),
        n_way or recipe.n_way,
        n_shot,
        n_query,
        rotations=rotations,
        within_group=within_group,
    )


def _functions(recipe: Recipe, n_shot: int, n_query: int) -> TaskSource:
    """The same for every split: with n_functions, fresh points of the same functions."""
    if recipe.data == "sinusoids":
        return Sinusoids(n_shot, n_query)
    if recipe.data == "gaussian-processes":
        return GaussianProcesses(n_shot, n_query)
    return LinearFunctions(n_shot, n_query, recipe.n_inputs, n_functions=recipe.n_functions)


def stream_source(
    recipe: Recipe,
    split: Split,
    *,
    n_way: int | None = None,
    rotations: bool = False,
    dataset: FewShotDataset | None = None,
) -> Streams:
    """Streams of 10 items per class from one split of the recipe's data."""
    dataset = dataset or recipe_data(recipe, split)
    return Streams(dataset, n_way or recipe.n_way, rotations=rotations)


def training_source(recipe: Recipe, dataset: FewShotDataset | None = None) -> TaskSource:
    """What the recipe trains on: episodes, or streams of 10 items per class.

    `dataset` is its meta-train, if it is at hand.
    """
    turned: dict[str, Any] = {"rotations": recipe.rotations, "dataset": dataset}
    if ALGORITHMS[recipe.algorithm].streams:
        tasks: TaskSource = stream_source(recipe, "meta-train", **turned)
    else:
        turned |= {"n_way": recipe.train_way, "n_query": recipe.n_query}
        tasks = task_source(recipe, "meta-train", **turned)
    return Augmented(tasks, recipe.augment) if recipe.augment else tasks
