"""From a pool of classes to episodes, many at once. Introduced in notebook 01.

One episode: choose n_way classes, give them the labels 0..n_way-1 in random order, choose
n_shot + n_query distinct items of each, and split them. Here T episodes are drawn by sorting
random numbers, once over the classes and once over the items, and one gather brings the items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .dataset import FewShotDataset, as_dataset, scale
from .episodes import EpisodeBatch
from .random import uniforms

__all__ = ["EpisodeSampler", "TaskSource", "create_task_batch"]


class TaskSource(ABC):
    """Anything that tasks come from. Episode i of a seed is a function of (seed, i) alone."""

    n_way: int | None = None
    n_shot: int
    n_query: int

    @abstractmethod
    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        """Episodes start .. start + n_tasks - 1 of `seed`."""

    def sample(self, n_tasks: int, generator: torch.Generator | None = None) -> EpisodeBatch:
        """Fresh episodes of a seed that `generator` draws (None: torch's default generator)."""
        seed = int(torch.randint(2**62, (), generator=generator))
        return self.episodes(seed, 0, n_tasks)


class EpisodeSampler(TaskSource):
    """N-way K-shot episodes from a data set. Introduced in notebook 01.

    Support and query items come class by class: labels 0, 0, .., 1, 1, ...; which class gets which
    label is random. Every item of a class is equally likely, in the support as in the query set.

    Args:
        dataset: a FewShotDataset, or a pair (X, y) of arrays or tensors.
        n_way: classes in an episode, at least 2.
        n_shot: support items per class, at least 1.
        n_query: query items per class, at least 1.
        rotations: count each class four times, turned by 0, 90, 180 and 270 degrees
            (Santoro et al. 2016); the turned images are made when they are gathered.
        within_group: take all classes of an episode from one group (one script or alphabet).
    Raises:
        ValueError: the data set cannot give such an episode; the message says the largest it can.
    """

    def __init__(
        self,
        dataset: FewShotDataset | tuple[Any, Any],
        n_way: int,
        n_shot: int,
        n_query: int = 15,
        *,
        rotations: bool = False,
        within_group: bool = False,
    ) -> None:
        self.dataset = as_dataset(dataset)
        self.n_way, self.n_shot, self.n_query = n_way, n_shot, n_query
        self.turns, self.within_group = 4 if rotations else 1, within_group
        _check_counts(n_way, n_shot, n_query)
        if rotations:
            _check_square(self.dataset)
        self.pools = self._class_pools()
        self._check_feasible()

    def _class_pools(self) -> np.ndarray:
        """(n_pools, n_classes * turns) bool: the classes that may meet in one episode."""
        large = (self.dataset.class_sizes >= self.n_shot + self.n_query).numpy()
        groups = np.array(self.dataset.class_groups)
        names = self.dataset.groups if self.within_group else []
        member = np.array([groups == g for g in names]) if names else np.ones((1, len(groups)))
        # Class c turned r times has the number c * turns + r.
        return np.repeat(member.astype(bool) & large, self.turns, axis=1)

    def _check_feasible(self) -> None:
        widths = self.pools.sum(axis=1)
        if widths.max() >= self.n_way:
            self.pools = self.pools[widths >= self.n_way]
            return
        need = self.n_shot + self.n_query
        where = " in any one group" if self.within_group else ""
        turned = " (rotations included)" if self.turns > 1 else ""
        raise ValueError(
            f"a {self.n_way}-way episode needs {self.n_way} classes with at least {self.n_shot} + "
            f"{self.n_query} = {need} items each{where}; {widths.max()} classes qualify{turned}: "
            f"{_largest(int(widths.max()))}, or lower n_shot + n_query: {self._largest_need()}"
        )

    def _largest_need(self) -> str:
        """What n_shot + n_query could be for the requested n_way."""
        sizes = np.repeat(self.dataset.class_sizes.numpy(), self.turns)
        groups = np.repeat(np.array(self.dataset.class_groups), self.turns)
        pools = [sizes[groups == g] for g in self.dataset.groups] if self.within_group else [sizes]
        best = [np.sort(p)[-self.n_way] for p in pools if len(p) >= self.n_way]
        if not best or max(best) < 2:
            return f"no n_shot + n_query allows {self.n_way}-way"
        return f"{self.n_way}-way allows n_shot + n_query up to {max(best)}"

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        """Episodes start .. start + n_tasks - 1 of `seed`."""
        n_pool, n_items = self.pools.shape[1], int(self.dataset.class_sizes.max())
        numbers = uniforms(seed, start, n_tasks, 1 + n_pool + self.n_way * n_items)
        pool = (numbers[:, 0] * len(self.pools)).astype(int)  # (T,)
        class_keys = np.where(self.pools[pool], numbers[:, 1 : 1 + n_pool], np.inf)
        classes = _smallest(class_keys, self.n_way)  # (T, n_way)
        item_keys = numbers[:, 1 + n_pool :].reshape(n_tasks, self.n_way, n_items)
        return self._gather(classes, item_keys)

    def _gather(self, classes: np.ndarray, item_keys: np.ndarray) -> EpisodeBatch:
        data, turn = self.dataset, torch.from_numpy(classes % self.turns)
        original = torch.from_numpy(classes // self.turns)
        exists = np.arange(item_keys.shape[-1]) < data.class_sizes[original].numpy()[..., None]
        chosen = _smallest(np.where(exists, item_keys, np.inf), self.n_shot + self.n_query)
        rows = data.order[data.starts[original][..., None] + torch.from_numpy(chosen)]
        items = data.items[rows]  # (T, n_way, n_shot + n_query, *item)
        items = scale(_turn(items, turn) if self.turns > 1 else items)
        support_x, query_x = items[:, :, : self.n_shot], items[:, :, self.n_shot :]
        return EpisodeBatch(
            support_x.flatten(1, 2),
            self._labels(len(classes), self.n_shot),
            query_x.flatten(1, 2),
            self._labels(len(classes), self.n_query),
            classes=original if self.turns == 1 else torch.from_numpy(classes),
        )

    def _labels(self, n_tasks: int, per_class: int) -> Tensor:
        return torch.arange(self.n_way).repeat_interleave(per_class).repeat(n_tasks, 1)

    def __repr__(self) -> str:
        extra = ", rotations" * (self.turns > 1) + ", within one group" * self.within_group
        return (
            f"EpisodeSampler({self.dataset.name}: {self.n_way}-way {self.n_shot}-shot, "
            f"{self.n_query} queries per class{extra})"
        )


def create_task_batch(
    dataset: FewShotDataset | tuple[Any, Any],
    n_way: int,
    n_shot: int,
    n_query: int,
    *,
    n_tasks: int = 1,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    rotations: bool = False,
    within_group: bool = False,
) -> EpisodeBatch:
    """Draw a batch of N-way K-shot episodes in one call. Introduced in notebook 01.

    Args:
        dataset: a FewShotDataset, or a pair (X, y) of arrays or tensors.
        n_way, n_shot, n_query: classes, support and query items per class of each episode.
        n_tasks: episodes in the batch.
        seed: episodes 0 .. n_tasks - 1 of this seed: the same at every call.
        generator: draw the seed from this generator instead.
        rotations, within_group: see EpisodeSampler.
    Raises:
        ValueError: the data set cannot give such an episode, or both seed and generator are given.
    """
    if seed is not None and generator is not None:
        raise ValueError("give seed or generator, not both")
    sampler = EpisodeSampler(
        dataset, n_way, n_shot, n_query, rotations=rotations, within_group=within_group
    )
    if seed is not None:
        return sampler.episodes(seed, 0, n_tasks)
    return sampler.sample(n_tasks, generator)


def _smallest(keys: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k smallest keys along the last axis, smallest first: a random draw of k."""
    if k < keys.shape[-1]:
        chosen = np.argpartition(keys, k - 1, axis=-1)[..., :k]
    else:
        chosen = np.broadcast_to(np.arange(k), keys.shape)
    order = np.argsort(np.take_along_axis(keys, chosen, axis=-1), axis=-1)
    return np.take_along_axis(chosen, order, axis=-1)


def _turn(items: Tensor, turns: Tensor) -> Tensor:
    """Turn images (T, n_way, items, C, H, W), class by class, by turns (T, n_way), in place."""
    for quarter in (1, 2, 3):
        chosen = turns == quarter
        items[chosen] = torch.rot90(items[chosen], quarter, dims=(-2, -1))
    return items


def _largest(n_classes: int) -> str:
    return f"at most {n_classes}-way" if n_classes >= 2 else "no episode of that size is possible"


def _check_counts(n_way: int, n_shot: int, n_query: int) -> None:
    for name, value, least in (("n_way", n_way, 2), ("n_shot", n_shot, 1), ("n_query", n_query, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _check_square(dataset: FewShotDataset) -> None:
    shape = dataset.item_shape
    if len(shape) != 3 or shape[-1] != shape[-2]:
        raise ValueError(f"rotations need square images (C, H, W); items of {dataset.name} {shape}")
