"""How well a trained learner does on pictures of your own, told honestly. Notebook 12.

A learner that was meta-trained on drawings may be no better on photographs than comparing pixels,
which needs no training at all. So that rule is always scored beside it, on the same episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .baselines import nearest_pixel
from .evaluation import TEST_SEED, Comparison, Evaluation, evaluate_meta_learner
from .learners import MetaLearner
from .tasks import EpisodeSampler, FewShotDataset

__all__ = ["OwnImages", "evaluate_on_images"]

MOST_WAYS = 5
TOO_EASY = 0.99  # accuracy of nearest pixel


@dataclass(frozen=True, repr=False)
class OwnImages:
    """A learner and nearest pixel on the same episodes of one data set."""

    learner: Evaluation
    nearest_pixel: Evaluation
    n_pictures: int  # that the episodes are drawn from
    left_out: dict[str, int]  # classes with too few pictures, and how many they have

    @property
    def verdict(self) -> str:
        """What the figures say, in a sentence."""
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
        learner: any, trained on items of the same shape.
        dataset: such as `load_image_folder` gives, or one part of its `split`.
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
