"""What a race is about: units of work that do the same, and how fast we want them to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Aim", "Run", "Workload"]

Run = Callable[[], Sequence[Tensor]]
"""One unit of work; returns the numbers in which all contenders must agree, or none."""


@dataclass(frozen=True)
class Aim:
    """`contender` takes at most 1 / speed of the time of `peer`."""

    contender: str
    peer: str
    speed: float


@dataclass(frozen=True)
class Workload:
    """What is raced.

    Attributes:
        contenders: by name, a function that builds a Run; the first is what speeds are relative to.
        aims: what we want to see.
        tolerance: largest relative difference (Euclidean norm) from the first one's numbers.
        threads: the numbers of threads to run with.
        memory: whether to measure each contender's peak of memory too.
    """

    contenders: Mapping[str, Callable[[], Run]]
    aims: tuple[Aim, ...] = ()
    tolerance: float = 1e-3
    threads: tuple[int, ...] = (1, 2)
    memory: bool = True
