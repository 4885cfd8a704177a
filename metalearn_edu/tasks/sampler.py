"""From a pool of classes to episodes, many at once. Introduced in notebook 01.

One episode: choose n_way classes, give them the labels 0..n_way-1 in random order, choose n_shot +
n_query distinct items of each, and split them. Here we draw T episodes side by side: one draw over
the classes, one over the items, and then a single gather fetches the items.
"""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..basics.arguments import as_integer
from ..basics.capacity import check_fits
from ..basics.random import draw_distinct, uniforms
from .dataset import FewShotDataset, as_dataset, scale
from .episodes import EpisodeBatch

__all__ = ["EpisodeSampler", "Streams", "TaskSource", "as_task_source", "create_task_batch"]


class TaskSource(ABC):
    """Anything that tasks come from. Episode i of a seed depends only on (seed, i)."""

    n_way: int | None = None
    n_shot: int | None = None
    n_query: int | None = None

    @property
    def fingerprint(self) -> str:
        """A text that differs for other tasks, so that a run resumes only on the same tasks.

        By default it is the repr of the source, or, for a class without its own repr, the name and
        the public attributes. If the tasks depend on anything else, say so in a `__repr__` or in
        your own fingerprint.
        """
        if type(self).__repr__ is not object.__repr__:
            return _settled(repr(self))
        public = {name: value for name, value in vars(self).items() if name[0] != "_"}
        settings = ", ".join(f"{name}={_settled(value)}" for name, value in sorted(public.items()))
        return f"{type(self).__qualname__}({settings})"

    @abstractmethod
    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        """Episodes start .. start + n_tasks - 1 of `seed`."""

    def sample(self, n_tasks: int, generator: torch.Generator | None = None) -> EpisodeBatch:
        """Fresh episodes, whose seed `generator` draws (None: torch's default generator).

        Raises:
            ValueError: `generator` is not a torch.Generator, or there cannot be that many tasks.
        """
        if not isinstance(generator, torch.Generator | None):
            raise ValueError(
                f"generator must be a torch.Generator or None, got {type(generator).__name__}"
            )
        device = None if generator is None else generator.device
        seed = int(torch.randint(2**62, (), generator=generator, device=device))
        return self.episodes(seed, 0, n_tasks)


def as_task_source(name: str, tasks: Any) -> TaskSource:
    """`tasks` itself; a ValueError if it is not a source of fresh episodes."""
    if isinstance(tasks, TaskSource):
        return tasks
    advice = ""
    if isinstance(tasks, EpisodeBatch) or _holds_batches(tasks):
        advice = ": tasks that are ready; a source draws new ones, learner.outer_loop takes a batch"
    elif isinstance(tasks, FewShotDataset):
        advice = ": EpisodeSampler(dataset, n_way, n_shot, n_query) draws episodes from it"
    elif isinstance(tasks, type):
        advice = f": {tasks.__name__} itself; call it with its arguments"
    raise ValueError(
        f"{name} must be a source of fresh episodes, such as EpisodeSampler or Sinusoids, "
        f"got {type(tasks).__name__}{advice}"
    )


def _holds_batches(tasks: Any) -> bool:
    return isinstance(tasks, list | tuple) and any(
        isinstance(task, EpisodeBatch | tuple) for task in tasks
    )


def _settled(value: Any) -> str:
    """A value as text that is the same in every process: without addresses in memory."""
    if isinstance(value, TaskSource):
        return value.fingerprint
    if isinstance(value, FewShotDataset):
        return f"data {value.digest}"
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.shape} {_digest(value.tobytes())}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_settled, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_settled, value))}]"
    text = value if isinstance(value, str) else repr(value)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class EpisodeSampler(TaskSource):
    """N-way K-shot episodes from a data set. Introduced in notebook 01.

    Support and query items come class by class: labels 0, 0, .., 1, 1, ...; which class gets which
    label is random. Every item of a class is equally likely, in the support as in the query set.
    Classes with fewer than n_shot + n_query items are left out.

    Args:
        dataset: a FewShotDataset, a pair (X, y), or whatever else `as_dataset` takes.
        n_way: classes in an episode, at least 2.
        n_shot: support items per class, at least 1.
        n_query: query items per class, at least 1.
        rotations: count each class four times, turned by 0, 90, 180 and 270 degrees
            (Santoro et al. 2016); the turned images are made when they are gathered. Class c
            turned by r * 90 degrees, counter-clockwise, is number 4 * c + r in
            `EpisodeBatch.classes`.
        within_group: take all classes of an episode from one group (one script or alphabet); each
            group that is large enough is equally likely.
    Raises:
        ValueError: the data set cannot give such an episode; the message says the largest possible
            one.
    """

    def __init__(
        self,
        dataset: FewShotDataset | Any,
        n_way: int,
        n_shot: int,
        n_query: int = 15,
        *,
        rotations: bool = False,
        within_group: bool = False,
    ) -> None:
        self.dataset = as_dataset(dataset)
        self.n_way: int = as_integer("n_way", n_way, 2)
        self.n_shot: int = as_integer("n_shot", n_shot)
        self.n_query: int = as_integer("n_query", n_query)
        for name, flag in (("rotations", rotations), ("within_group", within_group)):
            if not isinstance(flag, bool | np.bool_):
                raise ValueError(f"{name} must be True or False, got {flag!r}")
        self.turns, self.within_group = 4 if rotations else 1, bool(within_group)
        if rotations:
            _check_square(self.dataset)
        pools = self._pools(self.n_shot + self.n_query)
        large = [pool for pool in pools if len(pool) >= self.n_way]
        if not large:
            raise ValueError(self._refusal(max(map(len, pools))))
        counts = self.n_shot, self.n_query
        self._labels = [torch.arange(self.n_way).repeat_interleave(n) for n in counts]
        # One flat table for pools of unequal size, like the one of FewShotDataset for its classes.
        self._members = np.concatenate(large)
        self._sizes = np.array([len(pool) for pool in large])
        self._starts = np.cumsum(self._sizes) - self._sizes

    @property
    def fingerprint(self) -> str:
        groups = _digest(repr(self.dataset.class_groups).encode()) if self.within_group else ""
        return f"{self!r} of data {self.dataset.digest}{groups and f' in groups {groups}'}"

    def _pools(self, need: int) -> list[np.ndarray]:
        """The classes with `need` items for one episode: all, or those of a group."""
        large = self.dataset.class_sizes.numpy() >= need
        groups = np.array(self.dataset.class_groups)
        together = [groups == g for g in self.dataset.groups] if self.within_group else [True]
        pools = [np.flatnonzero(large & member) for member in together]
        return [(p[:, None] * self.turns + np.arange(self.turns)).ravel() for p in pools]

    def _refusal(self, n_qualify: int) -> str:
        need, way = self.n_shot + self.n_query, self.n_way
        sizes = set(self.dataset.class_sizes.tolist())
        most = max((s for s in sizes if max(map(len, self._pools(s))) >= way), default=0)
        where = " in the largest group" if self.within_group else ""
        turned = ", rotations included" if self.turns > 1 else ""
        allowed = [f"at most {n_qualify}-way"] if n_qualify >= 2 else []
        allowed += [f"{way}-way with n_shot + n_query of at most {most}"] if most >= 2 else []
        return (
            f"a {way}-way episode of {self.dataset.name} needs {way} classes with at least "
            f"{self.n_shot} + {self.n_query} = {need} items each; {n_qualify} classes qualify"
            f"{where}{turned}: {', or '.join(allowed) or 'no such episode is possible'}"
        )

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        way, need = self.n_way, self.n_shot + self.n_query
        numbers = uniforms(seed, start, n_tasks, 1 + 2 * way + 2 * need * way).T
        of_pools, of_classes, of_items = np.split(numbers, [1, 1 + 2 * way])
        pool = (of_pools[0] * len(self._sizes)).astype(np.int64)  # (T,)
        places = draw_distinct(of_classes, self._sizes[pool])  # (n_way, T)
        classes = self._members[self._starts[pool] + places].T  # (T, n_way)
        sizes = self.dataset.class_sizes.numpy()[classes // self.turns]
        chosen = self._draw_items(of_items, sizes)
        check_fits("the items of that many tasks", chosen.size * self._bytes_of_item())
        return self._gather(torch.from_numpy(classes), torch.from_numpy(chosen))

    def _bytes_of_item(self) -> int:
        """Bytes held at the same time for each gathered item."""
        stored = self.dataset.items.dtype
        scaled = 4 if stored == torch.uint8 else 0
        return math.prod(self.dataset.item_shape) * (stored.itemsize + scaled)

    def _draw_items(self, numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Which items (n_shot + n_query, T, n_way) of classes of `sizes` (T, n_way)."""
        numbers = numbers.reshape(-1, self.n_way, len(sizes)).swapaxes(1, 2)
        return draw_distinct(numbers, sizes)

    def _gather(self, classes: Tensor, chosen: Tensor) -> EpisodeBatch:
        """Episodes of `classes` (T, n_way) with item `chosen` (n_shot + n_query, T, n_way)."""
        rows = self.dataset.order[self.dataset.starts[classes // self.turns] + chosen]
        sides = rows.movedim(0, 2).split([self.n_shot, self.n_query], dim=2)
        support_rows, query_rows = (side.flatten(1) for side in sides)
        support_x, query_x = self._items(support_rows, query_rows, classes)
        support_y, query_y = (y.expand(len(classes), -1).clone() for y in self._labels)
        batch = EpisodeBatch(
            support_x,
            support_y,
            query_x,
            query_y,
            classes,
            support_rows=support_rows,
            query_rows=query_rows,
        )
        return batch.to(support_x.device)

    def _items(
        self, support_rows: Tensor, query_rows: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Support and query items (T, n_way * per_class, *item) of rows (T, n_way * per_class).

        All are gathered and scaled in one block; the two results are views of it.
        """
        sides = support_rows, query_rows
        items = self.dataset.take(torch.cat([side.flatten() for side in sides]))
        if self.turns > 1:
            turns = classes % self.turns  # (T, n_way)
            items = _turn(items, torch.cat([turns[:, y].flatten() for y in self._labels]))
        support, query = scale(items).split([side.numel() for side in sides])
        shape = len(classes), -1, *self.dataset.item_shape
        return support.view(shape), query.view(shape)

    def __repr__(self) -> str:
        data = f"{self.dataset.name}, {self.dataset.n_classes} classes"
        extra = ", rotations" * (self.turns > 1) + ", within one group" * self.within_group
        return (
            f"{type(self).__name__}({data}: {self.n_way}-way {self.n_shot}-shot, "
            f"{self.n_query} queries per class{extra})"
        )


class Streams(TaskSource):
    """Episodes whose items come as one stream, in random order. Introduced in notebook 08.

    Each class appears n_instances times; `EpisodeBatch.stream` gives the items in order
    (Santoro et al. 2016: 5 classes, 10 instances, so a stream of 50).

    Args:
        dataset: a FewShotDataset, a pair (X, y), or whatever else `as_dataset` takes.
        n_way: classes in a stream, at least 2.
        n_instances: items of each class, at least 2.
        rotations, within_group: see EpisodeSampler.
    Raises:
        ValueError: the data set cannot give such a stream.
    """

    def __init__(
        self,
        dataset: FewShotDataset | Any,
        n_way: int = 5,
        n_instances: int = 10,
        *,
        rotations: bool = False,
        within_group: bool = False,
    ) -> None:
        self.n_instances = as_integer("n_instances", n_instances, 2)
        self.sampler = EpisodeSampler(
            dataset, n_way, 1, self.n_instances - 1, rotations=rotations, within_group=within_group
        )
        self.n_way: int = self.sampler.n_way
        self.n_shot, self.n_query = 1, self.n_instances - 1

    @property
    def fingerprint(self) -> str:
        return f"Streams of {self.n_instances}: {self.sampler.fingerprint}"

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        seed = as_integer("seed", seed, None)
        batch = self.sampler.episodes(seed, start, n_tasks)
        # ~seed: numbers independent of those that drew the items.
        numbers = uniforms(~seed, start, n_tasks, self.n_way * self.n_instances)
        order = torch.from_numpy(numbers.argsort(axis=1)).to(batch.support_x.device)
        return replace(batch, order=order)

    def __repr__(self) -> str:
        return f"Streams of {self.n_instances} instances per class, {self.sampler!r}"


def create_task_batch(
    dataset: FewShotDataset | Any,
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
        dataset: a FewShotDataset, a pair (X, y), or whatever else `as_dataset` takes.
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


def _turn(images: Tensor, turns: Tensor) -> Tensor:
    """Images (B, C, H, W) turned by turns (B,) * 90 degrees, counter-clockwise."""
    turns = turns.to(images.device)
    order = turns.argsort()
    quarters = images.index_select(0, order).split(turns.bincount(minlength=4).tolist())
    turned = [quarter.rot90(k, dims=(-2, -1)) for k, quarter in enumerate(quarters)]
    return torch.cat(turned).index_select(0, order.argsort())


def _check_square(dataset: FewShotDataset) -> None:
    shape = dataset.item_shape
    if len(shape) != 3 or shape[-1] != shape[-2]:
        raise ValueError(f"rotations need square images (C, H, W); items of {dataset.name} {shape}")
