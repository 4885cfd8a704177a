"""Find which of many small pictures are nearly the same, in seconds for 20,000 of them.

Two pictures are alike if the correlation of their greys is above a limit. With greys centred and of
length 1 that is a dot product x·y. Let x = (p, q), p its averages over squares of 4 x 4 pixels
(scaled to be a projection) and q the rest. Then x·y = p·p' + q·q' <= p·p' + |q||q'| by Cauchy and
Schwarz: the dot product of the short vectors u = (p, |q|), which have length 1 too. So we compare
pictures by u first, and exactly only if u does not decide. And because |u - u'|² = 2 - 2 u·u', two
similar pictures are close to each other along any axis: if we sort the pictures along one axis,
most of them need not be compared at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...basics.progress import progress_bar

__all__ = ["first_alike"]

BLOCK = 1000  # pictures compared at the same time; bounds the memory
CELL = 4  # pixels a side
SLACK = 1e-4  # more than the rounding error of single precision


def first_alike(
    pictures: Tensor, limit: float, flat: float, *, progress: bool = False
) -> dict[int, int]:
    """For each picture whose correlation with an earlier one is above `limit`: the first such one.

    Args:
        pictures: (N, H, W) uint8 with H and W multiples of 4.
        limit: of the correlation, below 1.
        flat: standard deviation of grey below which a picture counts as like no other.
        progress: show a progress bar.
    """
    if not len(pictures):
        return {}
    short, kept = _short_vectors(pictures, flat)
    place = _places(short)
    order = place.argsort()
    short, kept, place = short[order], kept[order], place[order]
    reach = math.sqrt(2 - 2 * limit) + SLACK
    first = torch.arange(len(pictures))  # itself if there is none
    starts = range(0, len(kept), BLOCK)
    for start in progress_bar(starts, desc="comparing", show=progress):
        mine = slice(start, start + BLOCK)
        end = int(torch.searchsorted(place, place[mine][-1] + reach, right=True))
        for other in range(start, end, BLOCK):
            theirs = slice(other, min(other + BLOCK, end))
            open_ = short[mine] @ short[theirs].T > limit - SLACK
            a, b = kept[mine][open_.any(dim=1)], kept[theirs][open_.any(dim=0)]
            _note(first, a, b, _unit(pictures[a]) @ _unit(pictures[b]).T > limit)
    later = (first < torch.arange(len(first))).nonzero().flatten()
    return dict(zip(later.tolist(), first[later].tolist(), strict=True))


def _note(first: Tensor, a: Tensor, b: Tensor, alike: Tensor) -> None:
    """For each pair, note the earlier picture as the later one's first, unless it has one."""
    rows, columns = alike.nonzero().T
    earlier, later = torch.minimum(a[rows], b[columns]), torch.maximum(a[rows], b[columns])
    first.scatter_reduce_(0, later, earlier, "amin")


def _short_vectors(pictures: Tensor, flat: float) -> tuple[Tensor, Tensor]:
    """(M, cells + 1) single-precision u of the pictures that are not flat, and which those are."""
    vectors, kept = [], []
    for start in range(0, len(pictures), BLOCK):
        block = pictures[start : start + BLOCK]
        x = _unit(block).unflatten(1, block.shape[1:])
        cells = x.unflatten(1, (-1, CELL)).unflatten(3, (-1, CELL)).sum(dim=(2, 4)) / CELL
        p = cells.flatten(1)
        rest = (1 - p.square().sum(dim=1)).clamp(min=0).sqrt()
        vectors.append(torch.cat([p, rest[:, None]], dim=1).float())
        kept.append(block.flatten(1).double().std(dim=1, correction=0) >= flat)
    keep = torch.cat(kept)
    return torch.cat(vectors)[keep], keep.nonzero().flatten()


def _unit(pictures: Tensor) -> Tensor:
    """(N, H * W) in double precision, centred and of length 1; NaN for pictures of one grey."""
    grey = pictures.flatten(1).double()
    centred = grey - grey.mean(dim=1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True)


def _places(short: Tensor) -> Tensor:
    """(M,) along the axis on which the short vectors lie furthest apart."""
    centred = (short - short.mean(dim=0)).double()
    axis = torch.linalg.eigh(centred.T @ centred)[1][:, -1]
    return centred @ axis
