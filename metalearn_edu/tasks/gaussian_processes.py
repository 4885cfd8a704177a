"""Smooth random functions, drawn from a Gaussian process, with noise. Introduced in notebook 10.

Values at any points are jointly normal, with covariance exp(-(x - x')^2 / (2 length^2)): points
close together have nearly the same value, points far apart are independent. Its exact posterior is
a formula (Rasmussen & Williams 2006, algorithm 2.1), which no learner can beat on average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..basics.arguments import as_integer, as_number, as_range
from ..basics.random import normals, seed_apart, uniforms
from .episodes import EpisodeBatch
from .sampler import TaskSource

__all__ = ["GaussianProcesses"]

JITTER = 1e-9
"""Added to the variances, so that rounding cannot make them negative; far below the noise."""


class GaussianProcesses(TaskSource):
    """Regression tasks: fit a smooth random function from n_shot noisy points.

    Args:
        n_shot: support points per task.
        n_query: query points per task.
        length: how far apart points must be for their values to differ, in units of x.
        noise_std: standard deviation of the noise, of support and query targets alike; the
            functions themselves have variance 1.
        x_range: x is uniform between these.
    Raises:
        ValueError: a count below 1, a length that is not above 0, a negative noise, or a range
            whose ends are not in order.
    """

    def __init__(
        self,
        n_shot: int = 10,
        n_query: int = 10,
        *,
        length: float = 0.5,
        noise_std: float = 0.1,
        x_range: tuple[float, float] = (-2.0, 2.0),
    ) -> None:
        self.n_shot: int = as_integer("n_shot", n_shot)
        self.n_query: int = as_integer("n_query", n_query)
        self.length = as_number("length", length, above=0)
        self.noise_std = as_number("noise_std", noise_std, at_least=0)
        self.x_range = as_range("x_range", x_range)

    def covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """(T, A, B) of the function's values at a (T, A, 1) and b (T, B, 1), without noise."""
        return (-((a - b.transpose(1, 2)) ** 2) / (2 * self.length**2)).exp()

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        """Episodes start .. start + n_tasks - 1 of `seed`; items and targets are (1,)."""
        n_items, (low, high) = self.n_shot + self.n_query, self.x_range
        unit = uniforms(seed_apart(seed, 1), start, n_tasks, n_items)
        x = low + (high - low) * torch.from_numpy(unit)
        z = torch.from_numpy(normals(seed_apart(seed, 2), start, n_tasks, n_items))
        x, z = x[..., None], z[..., None]
        variance = (self.noise_std**2 + JITTER) * torch.eye(n_items, dtype=x.dtype)
        y = torch.linalg.cholesky(self.covariance(x, x) + variance) @ z
        x, y, k = x.float(), y.float(), self.n_shot
        return EpisodeBatch(x[:, :k], y[:, :k], x[:, k:], y[:, k:])

    def __repr__(self) -> str:
        low, high = self.x_range
        return (
            f"GaussianProcesses({self.n_shot} support and {self.n_query} query points, "
            f"length {self.length}, noise {self.noise_std}, x {low} to {high})"
        )
