"""Random numbers and labels, from which exercises make the arguments of a check."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

__all__ = ["draw_int", "draw_labels"]


def draw_int(low: int, high: int, generator: Generator) -> int:
    """A whole number from low to high - 1."""
    return int(torch.randint(low, high, (), generator=generator))


def draw_labels(n_way: int, n_more: int, generator: Generator) -> Tensor:
    """Labels (n_way + n_more,) in any order: each of n_way classes once, then n_more of any."""
    more = torch.randint(n_way, (n_more,), generator=generator)
    labels = torch.cat([torch.arange(n_way), more])
    return labels[torch.randperm(len(labels), generator=generator)]
