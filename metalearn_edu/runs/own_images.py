"""How well a trained learner does on your own pictures, beside a baseline. Notebook 12.

On photographs, a learner that was meta-trained on drawings may be no better than comparing pixels,
which needs no training at all. So we always score that rule, too, on the same episodes.

Pictures must be prepared like those that the learner was trained on; a Preparation says how, and
the card of every run on a folder has one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..baselines import nearest_pixel
from ..evaluation import TEST_SEED, Comparison, Evaluation, evaluate_meta_learner
from ..learners import MetaLearner
from ..tasks import EpisodeSampler, FewShotDataset, Preparation, load_picture

__all__ = ["Answer", "OwnImages", "evaluate_on_images", "predict_pictures"]

MOST_WAYS = 5
TOO_EASY = 0.99  # accuracy of nearest pixel


@dataclass(frozen=True, repr=False)
class OwnImages:
    """A learner and nearest pixel on the same episodes of one data set."""

    learner: Evaluation
    nearest_pixel: Evaluation
    n_pictures: int  # pictures that the episodes are drawn from
    left_out: dict[str, int]  # classes with too few pictures, and how many each has

    @property
    def verdict(self) -> str:
        """What the figures say, in one sentence."""
        gain = Comparison(self.learner, self.nearest_pixel)
        points = (
            f"{100 * gain.difference.mean:+.1f} points +- {100 * gain.difference.half_width:.1f}"
        )
        if self.learner.interval[0] <= (self.learner.chance or 0):
            return "The learner is no better than guessing: it is of no use for these pictures."
        if gain.is_real and gain.difference.mean > 0:
            return f"The learner is better than nearest pixel ({points})."
        if self.nearest_pixel.mean > TOO_EASY:
            return (
                "Nearest pixel is nearly always right: these pictures are too easy to tell whether "
                "the learner helps."
            )
        return (
            f"The learner is no better than nearest pixel ({points}): what it has learned "
            "elsewhere does not help with these pictures."
        )

    def __str__(self) -> str:
        chance = f"{100 * (self.learner.chance or 0):.1f} %"
        rows = [("learner", _figure(self.learner)), ("nearest pixel", _figure(self.nearest_pixel))]
        lines = [f"{name:14} {figure:>16}" for name, figure in [*rows, ("chance", chance)]]
        lines.append(f"mean and 95 % interval of {self.learner.n_episodes} episodes;")
        lines.append(self.learner.tasks)
        lines.append(f"{self.n_pictures} pictures in all: of others the intervals say nothing")
        if self.left_out:
            small = ", ".join(f"{name} ({n})" for name, n in self.left_out.items())
            lines.append(f"left out, too few pictures: {small}")
        return "\n".join([*lines, self.verdict])

    __repr__ = __str__


def evaluate_on_images(
    learner: MetaLearner,
    dataset: FewShotDataset,
    *,
    n_way: int | None = None,
    n_shot: int = 1,
    n_query: int = 5,
    n_episodes: int = 600,
    seed: int = TEST_SEED,
) -> OwnImages:
    """Meta-test a learner on classes that it has not seen, beside nearest pixel.

    Args:
        learner: any learner trained on items of the same shape.
        dataset: for example from `load_image_folder`, or one part of its `split`.
        n_way: classes in an episode; None: as many as have enough pictures, at most 5.
        n_shot, n_query: support and query pictures per class.
        n_episodes, seed: as in `evaluate_meta_learner`.
    Raises:
        ValueError: fewer than two classes have enough pictures, or fewer than n_way.
    """
    need = n_shot + n_query
    sizes = dict(zip(dataset.class_names, dataset.class_sizes.tolist(), strict=True))
    left_out = {name: n for name, n in sizes.items() if n < need}
    n_way = n_way or max(2, min(MOST_WAYS, len(sizes) - len(left_out)))
    tasks = EpisodeSampler(dataset, n_way, n_shot, n_query)
    return OwnImages(
        evaluate_meta_learner(learner, tasks, n_episodes=n_episodes, seed=seed),
        evaluate_meta_learner(nearest_pixel(), tasks, n_episodes=n_episodes, seed=seed),
        sum(n for n in sizes.values() if n >= need),
        left_out,
    )


def _figure(result: Evaluation) -> str:
    return f"{100 * result.mean:.1f} % +- {100 * result.half_width:.1f}"


# ---------------------------------------------------------------- one picture


@dataclass(frozen=True)
class Answer:
    """What a learner says about one picture.

    Attributes:
        picture: its file.
        scores: by class, the largest first: softmax of the learner's scores. They add up to 1, but
            do not rely on them as probabilities. Empty if the picture cannot be read.
        same_as: a support picture that is the same, if there is one.
        error: why there is no answer; None if there is one.
    """

    picture: Path
    scores: dict[str, float]
    same_as: str | None = None
    error: str | None = None

    @property
    def class_name(self) -> str | None:
        """The class with the largest score; None if there is no answer."""
        return next(iter(self.scores), None)


def predict_pictures(
    learner: MetaLearner,
    support: FewShotDataset,
    pictures: Iterable[str | os.PathLike[str]],
    preparation: Preparation,
) -> list[Answer]:
    """Learn from a support set, and say which of its classes each picture shows.

    Args:
        learner: a trained learner in eval mode, as from `load_run`; it is left unchanged.
        support: the learner uses all of it; classes may differ in size. As from
            `read_image_folder`.
        pictures: files. A file that cannot be read gets an answer with an error.
        preparation: that of the support.
    Returns:
        one answer per picture, in order.
    Raises:
        ValueError: the learner is for another number of classes, or for items of another shape.
    """
    files = [Path(picture) for picture in pictures]
    tiles = [_tile(file, preparation) for file in files]
    rows = [tile for tile in tiles if isinstance(tile, torch.Tensor)]
    answered = iter(_softmax(learner, support, rows)) if rows else iter(())
    return [
        Answer(file, {}, error=tile)
        if isinstance(tile, str)
        else Answer(file, _ranked(support, next(answered)), _twin(support, tile))
        for file, tile in zip(files, tiles, strict=True)
    ]


def _tile(file: Path, preparation: Preparation) -> torch.Tensor | str:
    """A picture as the learner needs it, or why it cannot be read."""
    try:
        return load_picture(file, **vars(preparation))
    except (ValueError, OSError) as error:
        return str(error)


def _softmax(
    learner: MetaLearner, support: FewShotDataset, tiles: Sequence[torch.Tensor]
) -> torch.Tensor:
    """(Q, n_classes) shares of the scores of Q pictures, each alone in its own query set."""
    like = next(learner.parameters(), torch.empty(0))
    items = support.gather(torch.arange(len(support))).to(like)
    with torch.no_grad():
        predictor = learner.adapt(items, support.labels.to(like.device))
        scores = torch.stack([predictor(tile[None].to(like))[0] for tile in tiles])
    if scores.shape[1] != support.n_classes:
        raise ValueError(f"it scores {scores.shape[1]} classes, never fewer or more")
    return scores.cpu().double().softmax(dim=1)


def _ranked(support: FewShotDataset, shares: torch.Tensor) -> dict[str, float]:
    order = shares.argsort(descending=True, stable=True).tolist()
    return {support.class_names[label]: shares[label].item() for label in order}


def _twin(support: FewShotDataset, tile: torch.Tensor) -> str | None:
    """The support picture with the same pixels: its file, or its class if no file is known."""
    same = (
        (support.items == (255 * tile).round().byte())
        .flatten(1)
        .all(dim=1)
        .nonzero()
        .flatten()
        .tolist()
    )
    if not same:
        return None
    return support.files[same[0]] if support.files else support.class_names[support.labels[same[0]]]
