"""What a finished run can be scored on: fresh tasks and unseen pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..evaluation import (
    Evaluation,
    evaluate_meta_learner,
    score_one_shot_runs,
)
from ..learners import MetaLearner
from ..streams import evaluate_streams
from ..tasks import (
    FewShotDataset,
    OneShotTasks,
    Preparation,
    load_one_shot_runs,
    read_image_folder,
)
from .folder import DamagedRunError
from .recipe import ALGORITHMS, FUNCTIONS, Recipe
from .seen import refuse_seen
from .sources import Split, recipe_data, say_what_leaks, stream_source, task_source

__all__ = [
    "as_figure",
    "preparation_of",
    "read_own_pictures",
    "refuse_changed",
    "score",
    "tasks_to_score",
    "trained_way_said",
]

EARLIER = (
    "this run is of an earlier version, whose card does not say on which pictures it was trained: "
    "if some of these were among them, the score says nothing; train it again"
)


def preparation_of(recipe: Recipe, card: Mapping[str, Any]) -> dict[str, Any]:
    """How `read_image_folder` must read pictures for a run: like those that it was trained on.

    Drawings such as the glyphs have bright ink on dark, so for a run on these, ink is "auto".

    Raises:
        ValueError: the run was trained on functions.
        DamagedRunError: its card makes no sense.
    """
    if recipe.data in FUNCTIONS:
        raise ValueError(
            f"the run was trained on {recipe.data}; pictures need one trained on images"
        )
    channels, *size = card["item_shape"]
    if prepared := (card.get("data") or {}).get("prepared"):
        try:
            return vars(Preparation(**prepared))
        except (TypeError, ValueError) as error:
            raise DamagedRunError(f"the card says that pictures were {prepared}: {error}") from None
    # An earlier version read all folders unchanged, and did not write that on the card.
    ink = "auto" if recipe.data in ("glyphs", "omniglot") else None
    return {"size": tuple(size), "channels": channels, "ink": ink}


def refuse_changed(card: Mapping[str, Any], split: Split, dataset: FewShotDataset) -> None:
    """Refuse a split of a run's folder that has changed since the run was trained.

    Raises:
        ValueError: its pictures or its classes have changed.
    """
    data = card.get("data")
    if data is None and card["recipe"]["data"] not in ("glyphs", "omniglot"):
        warnings.warn(EARLIER, stacklevel=2)
        return
    data = data or {}
    then = (data.get("digests") or {}).get(split)
    if data.get("kind") == "folder" and then != dataset.digest:
        raise ValueError(
            f"the pictures of {data.get('path')} have changed since the run was trained, so that "
            f"its {split} classes are no longer the same; train a new run, or give new pictures "
            "with --data"
        )


def read_own_pictures(
    run: Path, recipe: Recipe, card: Mapping[str, Any], folder: Path
) -> FewShotDataset:
    """Other pictures, prepared as in training; refused if the run has seen them.

    Raises:
        ValueError: it has seen some, or was trained on functions; or the folder cannot be read.
        DamagedRunError: the run has no record of what it has seen.
    """
    preparation = preparation_of(recipe, card)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report has named what is left out
        dataset, _ = read_image_folder(folder, **preparation)
    if "data" in card:
        refuse_seen(run, card, dataset)
    elif recipe.data not in ("glyphs", "omniglot"):
        _refuse_old(recipe, folder)
    return dataset


def _refuse_old(recipe: Recipe, folder: Path) -> None:
    """For a run of an earlier version, we know only the folder's name."""
    if Path(recipe.data).resolve() == folder.resolve():
        raise ValueError(f"the run was trained on {folder}; leave out --data to use its meta-test")
    warnings.warn(EARLIER, stacklevel=3)


# ---------------------------------------------------------------- fresh tasks


def tasks_to_score(
    way: str,
    recipe: Recipe,
    card: Mapping[str, Any],
    split: Split,
    archive: Path | None,
    counts: Mapping[str, Any],
) -> Any:
    """The tasks that a run is scored on.

    Args:
        way: in the words of the command line: "--one-shot", "--two-people", "--streams", "on
            functions"; "": episodes of the run's own data.
        archive: of the official one-shot runs; None: rebuild them from Omniglot.
        counts: n_way, n_shot, n_query and within_group, as `task_source` takes them.
    Raises:
        ValueError: the run's data have no such tasks, or have changed since the training.
    """
    if way == "--one-shot":
        return load_one_shot_runs(archive)
    if way == "on functions":
        return task_source(recipe, split, **counts)
    if recipe.data in FUNCTIONS:
        raise ValueError(f"the run was trained on {recipe.data}; {way} needs one trained on images")
    dataset = recipe_data(recipe, split)
    refuse_changed(card, split, dataset)
    if split != "meta-train":
        say_what_leaks(recipe)
    if way == "--streams":
        return stream_source(recipe, split, n_way=counts["n_way"], dataset=dataset)
    if way == "--two-people":
        return OneShotTasks(dataset, counts["n_way"] or 20)
    return task_source(recipe, split, dataset=dataset, **counts)


def score(
    way: str, learner: MetaLearner, tasks: Any, *, n_episodes: int, seed: int
) -> dict[str, Evaluation]:
    """The learner's scores on such tasks, by what was measured; "" if it is a single figure."""
    if way == "--one-shot":
        return {"official one-shot runs": score_one_shot_runs(learner, tasks)}
    if way == "--streams":
        by_instance = evaluate_streams(learner, tasks, n_episodes=n_episodes, seed=seed)
        return {f"instance {k}": result for k, result in by_instance.items()}
    return {"": evaluate_meta_learner(learner, tasks, n_episodes=n_episodes, seed=seed)}


@contextmanager
def trained_way_said(recipe: Recipe, n_way: int | None) -> Iterator[None]:
    """Errors of a learner with a fixed number of classes begin with that number."""
    try:
        yield
    except ValueError as error:
        if n_way is None or ALGORITHMS[recipe.algorithm].any_way:
            raise
        other = "" if n_way == recipe.n_way else f", not {n_way}-way"
        raise ValueError(
            f"the run was trained for {recipe.n_way}-way episodes{other}: {error}"
        ) from None


def as_figure(name: str, result: Evaluation, split: str) -> dict[str, Any]:
    """A measured figure and its settings, in the form of the card."""
    figure: dict[str, Any] = {
        "mean": result.mean,
        "half_width": result.half_width,
        "std": result.std,
    }
    settings = {"split": split, "tasks": result.tasks, "episodes": result.n_episodes}
    figure |= {"metric": result.metric} | settings | {"seed": result.seed}
    return figure | ({"at": name} if name else {})
