"""The best possible answers: exact posteriors of task families whose distribution we chose.

A meta-learner sees many tasks of a family and then a few examples of a new one. If we know the
family's distribution, Bayes' rule says what the examples tell us, and no learner has a lower mean
squared error or negative log-likelihood on average. So in a figure, no learner can beat the line of
`ExactPosterior`. Introduced in notebook 10.

    linear functions      ridge regression, with the noise's variance as its strength
    M fixed functions     their mean, weighted by how well each explains the examples
    Gaussian processes    Gaussian process regression (Rasmussen & Williams 2006, algorithm 2.1)
    sine waves            no point: the mean wave; one: all waves through it; more: the wave itself

Everything is computed in float64 and returned in the dtype of the queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .learners import MetaLearner
from .tasks import GaussianProcesses, LinearFunctions, Sinusoids, TaskSource

__all__ = ["ExactPosterior", "posterior"]

SMALLEST = 1e-9
"""The least standard deviation of noise, for divisions; far below that of any task."""
N_WAVES = 512  # of the waves through a point, on each side of their crest


class ExactPosterior(MetaLearner):
    """Answers with the posterior mean of a task family; nothing is trained.

    Args:
        tasks: the family, LinearFunctions, GaussianProcesses or Sinusoids. Its numbers of points do
            not matter.
    Raises:
        ValueError: a family whose posterior we do not have.
    """

    def __init__(self, tasks: TaskSource) -> None:
        super().__init__()
        _rule(tasks)
        self.tasks = tasks

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor]:
        """The examples, unchanged."""
        if not support_y.is_floating_point():
            raise ValueError(f"support_y must hold regression targets, got {support_y.dtype}")
        return support_x, support_y

    def predict(self, state: tuple[Tensor, Tensor], query_x: Tensor) -> Tensor:
        """Posterior means (T, Q, 1)."""
        return posterior(self.tasks, *state, query_x)[0]

    def distribution(
        self, support_x: Tensor, support_y: Tensor, query_x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each query's target, noise included, both (T, Q, 1).

        For waves and fixed functions, the posterior is not normal: these are its first two moments,
        and their normal likelihood is not the best one.

        Raises:
            ValueError: as calling the learner does.
        """
        support_x, support_y = self._support(support_x, support_y)
        query_x = self._queries(support_x, query_x)
        return posterior(self.tasks, *self.learn_task(support_x, support_y), query_x)


def posterior(tasks: TaskSource, x: Tensor, y: Tensor, query_x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (T, Q, 1) of the targets at query_x (T, Q, d).

    Args:
        tasks: LinearFunctions, GaussianProcesses or Sinusoids.
        x, y: the examples, (T, S, d) and (T, S, 1); S may be 0, which asks for the prior.
    Raises:
        ValueError: another family, items of another width than the family's, or a point through
            which no wave goes.
    """
    width = tasks.input_dim if isinstance(tasks, LinearFunctions) else 1
    if x.shape[2:] != (width,) or y.shape[2:] != (1,):
        raise ValueError(
            f"{type(tasks).__name__} have items ({width},) and targets (1,), got "
            f"{tuple(x.shape[2:])} and {tuple(y.shape[2:])}"
        )
    mean, variance = _rule(tasks)(tasks, x.double(), y.double(), query_x.double())
    return mean.to(query_x.dtype), variance.clamp(min=0).sqrt().to(query_x.dtype)


# ---------------------------------------------------------------- linear functions


def linear_posterior(
    tasks: LinearFunctions, x: Tensor, y: Tensor, query_x: Tensor
) -> tuple[Tensor, Tensor]:
    """Ridge regression: mean and variance (T, Q, 1).

    w has mean m and covariance (X'X / noise + I)^-1, noise being a variance.
    """
    if tasks.n_functions is not None:
        return fixed_functions_posterior(tasks, x, y, query_x)
    noise = max(tasks.noise_std, SMALLEST) ** 2
    identity = torch.eye(tasks.input_dim, dtype=x.dtype, device=x.device)
    precision = x.transpose(1, 2) @ x + noise * identity  # (T, d, d), times 1 / noise
    prior = torch.full_like(identity[:, :1], tasks.prior_mean)
    w = torch.linalg.solve(precision, x.transpose(1, 2) @ y + noise * prior)  # (T, d, 1)
    spread = torch.linalg.solve(precision, query_x.transpose(1, 2))  # (T, d, Q)
    variance = noise * (query_x * spread.transpose(1, 2)).sum(dim=-1, keepdim=True)
    return query_x @ w, tasks.noise_std**2 + variance


def fixed_functions_posterior(
    tasks: LinearFunctions, x: Tensor, y: Tensor, query_x: Tensor
) -> tuple[Tensor, Tensor]:
    """If w is one of a list: the list's mean, with weights softmax(-residual^2 / (2 noise))."""
    listed = tasks.functions().to(x)  # (M, d)
    residual = ((y - x @ listed.T) ** 2).sum(dim=1, keepdim=True)  # (T, 1, M)
    weights = (-residual / (2 * max(tasks.noise_std, SMALLEST) ** 2)).softmax(dim=-1)
    said = query_x @ listed.T  # (T, Q, M)
    mean = (weights * said).sum(dim=-1, keepdim=True)
    variance = (weights * (said - mean) ** 2).sum(dim=-1, keepdim=True)
    return mean, tasks.noise_std**2 + variance


# ---------------------------------------------------------------- Gaussian processes


def gaussian_process_posterior(
    tasks: GaussianProcesses, x: Tensor, y: Tensor, query_x: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and variance (T, Q, 1) of Gaussian process regression."""
    noise = max(tasks.noise_std, 1e-4) ** 2  # equal points would make it singular
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    among = tasks.covariance(x, x) + noise * identity  # (T, S, S)
    across = tasks.covariance(x, query_x)  # (T, S, Q)
    solved = torch.linalg.solve(among, torch.cat([y, across], dim=-1))  # (T, S, 1 + Q)
    mean = across.transpose(1, 2) @ solved[..., :1]
    known = (across * solved[..., 1:]).sum(dim=1)[..., None]
    return mean, 1 - known + tasks.noise_std**2


# ---------------------------------------------------------------- sine waves


def wave_posterior(
    tasks: Sinusoids, x: Tensor, y: Tensor, query_x: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and variance (T, Q, 1): points have no noise, so two of them determine the wave.

    Two points at the same position, or half a wave apart, say no more than one; then we take the
    smallest wave through them.
    """
    if x.shape[1] == 0:
        return mean_wave(tasks, query_x)
    if x.shape[1] == 1:
        return waves_through_a_point(tasks, x, y, query_x)
    # y = a sin x - b cos x with a = A cos(phase), b = A sin(phase): linear, so two points do.
    solution = torch.linalg.pinv(_sines(x), rtol=1e-6) @ y  # (T, 2, 1)
    mean = _sines(query_x) @ solution
    return mean, torch.zeros_like(mean)


def _sines(x: Tensor) -> Tensor:
    """(T, L, 1) -> (T, L, 2)."""
    return torch.cat([x.sin(), -x.cos()], dim=-1)


def mean_wave(tasks: Sinusoids, query_x: Tensor) -> tuple[Tensor, Tensor]:
    """Before any point: E[A] E[sin(x - phase)], with uniform amplitude and phase."""
    (low, high), (first, last) = tasks.amplitude, tasks.phase
    width = max(last - first, SMALLEST)
    sine = ((query_x - last).cos() - (query_x - first).cos()) / width
    twice = (2 * (query_x - first)).sin() - (2 * (query_x - last)).sin()
    square = 0.5 - twice / (4 * width)
    mean = (low + high) / 2 * sine
    return mean, (low**2 + low * high + high**2) / 3 * square - mean**2


def waves_through_a_point(
    tasks: Sinusoids, x: Tensor, y: Tensor, query_x: Tensor
) -> tuple[Tensor, Tensor]:
    """All waves through one point (x, y), each weighted by its density.

    With angle = x - phase, amplitude = y / sin(angle), and the density of y given the phase is
    proportional to 1 / |sin(angle)|. Let |sin(angle)| = sin(theta): then weights are even in
    v = log tan(theta / 2), since dv = d theta / sin(theta). So we take even steps of v between the
    smallest and the largest amplitude, on both sides of the crest.
    """
    (low, high), (first, last) = tasks.amplitude, tasks.phase
    size = y.abs().clamp(1e-12, max(high, 1e-12))  # (T, 1, 1)
    ends = [(size / max(a, 1e-12)).clamp(max=1).asin() for a in (high, low)]
    v_low, v_high = ((end / 2).tan().log() for end in ends)
    share = (torch.arange(N_WAVES, dtype=x.dtype, device=x.device) + 0.5) / N_WAVES
    theta = 2 * (v_low + (v_high - v_low) * share).exp().atan()  # (T, 1, N)
    rising = torch.where(y < 0, -theta, theta)
    angle = torch.cat([rising, math.pi - rising], dim=-1)  # (T, 1, 2 N)
    amplitude = (size / theta.sin()).repeat(1, 1, 2)
    phase = first + (x - angle - first).remainder(2 * math.pi)
    weights = (phase <= last + 1e-9).to(x.dtype)
    total = weights.sum(dim=-1, keepdim=True)
    if (total == 0).any():
        task = int((total == 0).flatten().nonzero()[0])
        at = f"({x[task].item():.3g}, {y[task].item():.3g})"
        raise ValueError(f"no wave of {tasks} passes through {at}, the point of task {task}")
    weights = weights / total
    said = amplitude * (query_x - phase).sin()  # (T, Q, 2 N)
    mean = (weights * said).sum(dim=-1, keepdim=True)
    return mean, (weights * (said - mean) ** 2).sum(dim=-1, keepdim=True)


# ---------------------------------------------------------------- the rule of each family

Rule = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

RULES: dict[type[TaskSource], Rule] = {
    LinearFunctions: linear_posterior,
    GaussianProcesses: gaussian_process_posterior,
    Sinusoids: wave_posterior,
}


def _rule(tasks: TaskSource) -> Rule:
    """The posterior of a family; a subclass has none here, because its distribution may differ."""
    if type(tasks) not in RULES:
        raise ValueError(
            "tasks must be LinearFunctions, GaussianProcesses or Sinusoids, whose posterior "
            f"is known; got {type(tasks).__name__}"
        )
    return RULES[type(tasks)]
