"""Images warped a little: more drawings than people have drawn. Introduced in notebook 12.

Every image of an episode, in the support set and in the query set, goes through a random affine map
and a smooth random displacement, as if another hand had drawn it. The labels stay. In
meta-training, this acts like having more people who draw; at test time, `Views` averages a
network's answers for several versions of one image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..basics.arguments import as_integer, as_number
from ..basics.random import uniforms
from .episodes import EpisodeBatch
from .sampler import TaskSource, as_task_source

__all__ = ["Augmented", "warp"]

ROTATION, SHEAR, SCALE, SHIFT, ELASTIC = 15.0, 0.2, 0.2, 0.1, 0.06
"""Largest change at amount 1: degrees, ratio, log of ratio, and, with the image's side as 1,
shift and displacement of a control point."""

N_NUMBERS = 6 + 2 * 16
_SEED_OF_WARPS = 0x5DEECE66D  # so that these numbers are independent of those that drew the items


class Augmented(TaskSource):
    """The episodes of another source, every image of them warped at random.

    Args:
        tasks: a source of images, (T, items, C, H, W).
        amount: how far; 1 is what a hand might do: 15 degrees, 20 % of size and slant, a tenth of
            the side.
    Raises:
        ValueError: `tasks` is not a source, or `amount` is not a finite number above 0. Episodes
            whose items are not images are refused when they are drawn.
    """

    def __init__(self, tasks: TaskSource, amount: float = 1.0) -> None:
        self.tasks = as_task_source("tasks", tasks)
        self.amount = as_number("amount", amount, above=0)
        self.n_way, self.n_shot, self.n_query = tasks.n_way, tasks.n_shot, tasks.n_query

    @property
    def fingerprint(self) -> str:
        return f"Augmented {self.amount}: {self.tasks.fingerprint}"

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        seed = as_integer("seed", seed, None)
        batch = self.tasks.episodes(seed, start, n_tasks)
        if batch.support_x.ndim != 5:
            shape = tuple(batch.support_x.shape[2:])
            raise ValueError(
                f"Augmented warps images (C, H, W); items of {self.tasks!r} are {shape}"
            )
        items = torch.cat([batch.support_x, batch.query_x], dim=1)  # (T, S + Q, C, H, W)
        n_items = items.shape[1]
        numbers = uniforms(seed ^ _SEED_OF_WARPS, start, n_tasks, n_items * N_NUMBERS)
        drawn = torch.from_numpy(numbers.astype(np.float32)).view(-1, N_NUMBERS) * 2 - 1
        warped = warp(items.flatten(0, 1), drawn * self.amount).view_as(items)
        support, query = warped.split([batch.support_x.shape[1], batch.query_x.shape[1]], dim=1)
        return replace(batch, support_x=support, query_x=query)

    def __repr__(self) -> str:
        return f"Augmented({self.tasks!r}, amount {self.amount})"


def warp(images: Tensor, changes: Tensor) -> Tensor:
    """Images after an affine map and a smooth displacement; pixels from outside are 0.

    Args:
        images: (B, C, H, W) floats.
        changes: (B, 38) in units of the largest usual change: turn, shear, two scales, two shifts,
            and two displacements of each of 4 x 4 control points; 0 changes nothing.
    Returns:
        (B, C, H, W), bilinear between pixels.
    """
    changes = changes.to(images)
    turn = changes[:, 0] * torch.pi * ROTATION / 180
    cos, sin, one = turn.cos(), turn.sin(), torch.ones_like(turn)
    rotate = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    shear = torch.stack([one, changes[:, 1] * SHEAR, 0 * one, one], dim=1).view(-1, 2, 2)
    matrix = rotate @ shear @ torch.diag_embed(torch.exp(changes[:, 2:4] * SCALE))
    # Coordinates of an image run from -1 to 1: its side is 2.
    shift = changes[:, 4:6, None] * 2 * SHIFT
    grid = F.affine_grid(torch.cat([matrix, shift], dim=2), list(images.shape), False)
    bend = changes[:, 6:].view(-1, 2, 4, 4) * 2 * ELASTIC
    bend = F.interpolate(bend, images.shape[-2:], mode="bicubic", align_corners=True)
    return F.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)
