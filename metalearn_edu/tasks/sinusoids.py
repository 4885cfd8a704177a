"""Sine waves of random amplitude and phase: the regression family of the MAML paper.

y = A sin(x - phase), with A, phase and x uniform (Finn, Abbeel & Levine 2017, section 5.1).
Introduced in notebook 05.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..basics.arguments import as_integer, as_range
from ..basics.random import uniforms
from .episodes import EpisodeBatch
from .sampler import TaskSource

__all__ = ["Sinusoids"]

LARGEST = 1e30
"""All ranges must end within it, far from the limits of float32."""


class Sinusoids(TaskSource):
    """Regression tasks: fit a sine wave from n_shot points.

    Args:
        n_shot: support points per task.
        n_query: query points per task.
        amplitude: range of A.
        phase: range of the phase, radians.
        x_range: range of x.
    Raises:
        ValueError: a count below 1, or a range whose ends are not finite and in order.
    """

    def __init__(
        self,
        n_shot: int = 10,
        n_query: int = 10,
        *,
        amplitude: tuple[float, float] = (0.1, 5.0),
        phase: tuple[float, float] = (0.0, math.pi),
        x_range: tuple[float, float] = (-5.0, 5.0),
    ) -> None:
        self.n_shot: int = as_integer("n_shot", n_shot)
        self.n_query: int = as_integer("n_query", n_query)
        self.amplitude = as_range("amplitude", amplitude, within=LARGEST)
        self.phase = as_range("phase", phase, within=LARGEST)
        self.x_range = as_range("x_range", x_range, within=LARGEST)

    @property
    def fingerprint(self) -> str:
        ranges = self.amplitude, self.phase, self.x_range  # the repr rounds them
        return f"{type(self).__qualname__}{(self.n_shot, self.n_query, *ranges)}"

    def task_parameters(self, seed: int, start: int, n_tasks: int) -> tuple[Tensor, Tensor]:
        """Amplitude and phase (radians) of episodes start .. start + n_tasks - 1, each (T,)."""
        amplitude, phase, _ = self._draw(seed, start, n_tasks)
        return amplitude[:, 0], phase[:, 0]

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        """Episodes start .. start + n_tasks - 1 of `seed`; items and targets are (1,)."""
        amplitude, phase, x = self._draw(seed, start, n_tasks)
        y = amplitude * torch.sin(x - phase)
        x, y = x[..., None], y[..., None]  # (T, S + Q, 1)
        k = self.n_shot
        return EpisodeBatch(x[:, :k], y[:, :k], x[:, k:], y[:, k:])

    def _draw(self, seed: int, start: int, n_tasks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Amplitudes (T, 1), phases (T, 1) and points (T, n_shot + n_query), float32."""
        numbers = uniforms(seed, start, n_tasks, 2 + self.n_shot + self.n_query)
        columns = (numbers[:, :1], numbers[:, 1:2], numbers[:, 2:])
        ranges = (self.amplitude, self.phase, self.x_range)
        amplitude, phase, x = map(_scale, columns, ranges)
        return amplitude, phase, x

    def __repr__(self) -> str:
        ranges = {"amplitude": self.amplitude, "phase": self.phase, "x": self.x_range}
        limits = ", ".join(
            f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in ranges.items()
        )
        return f"Sinusoids({self.n_shot} support and {self.n_query} query points, {limits})"


def _scale(unit: np.ndarray, limits: tuple[float, float]) -> Tensor:
    low, high = limits
    return torch.from_numpy(low + (high - low) * unit).float()
