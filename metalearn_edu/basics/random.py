"""Random numbers that are a function of (seed, episode), whatever was drawn before.

A stateful generator ties episode 500 to the 499 before it. Here each number is a hash of its
address (seed, episode, position), so that a fixed test suite is a seed and a range, training can
resume at any step, and a whole batch is drawn in a few array operations. The hash is SplitMix64
(Steele, Lea & Flood 2014): each episode has its own stream, started at a hashed address.
"""

import numpy as np

from .arguments import as_integer
from .capacity import check_fits

__all__ = ["draw_distinct", "normals", "seed_apart", "uniforms"]

PEAK_BYTES = 24
"""Held at once for each number while it is made."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, start: int, n_tasks: int, n_numbers: int) -> np.ndarray:
    """(n_tasks, n_numbers) float64 uniform in [0, 1); row i belongs to episode start + i.

    Raises:
        ValueError: `seed` is not an integer, `start` is negative, `n_tasks` is below 1, or the
            numbers do not fit into memory.
    """
    seed, start = as_integer("seed", seed, None), as_integer("start", start, 0)
    n_tasks = as_integer("n_tasks", n_tasks)
    check_fits("the random numbers of that many tasks", n_tasks * n_numbers * PEAK_BYTES)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64 on purpose
        episodes = np.uint64((start + 1) % 2**64) + np.arange(n_tasks, dtype=np.uint64)
        seed_hash = _mix(np.array([seed % 2**64], dtype=np.uint64) + GOLDEN)
        streams = _mix(seed_hash + episodes * GOLDEN)[:, None]
        bits = _mix(streams + np.arange(1, n_numbers + 1, dtype=np.uint64) * GOLDEN)
    return (bits >> np.uint64(11)) * 2.0**-53


def normals(seed: int, start: int, n_tasks: int, n_numbers: int) -> np.ndarray:
    """(n_tasks, n_numbers) float64 standard normal; rows and errors as of `uniforms`.

    Each is made of two uniform numbers (Box & Muller 1958).
    """
    u = uniforms(seed, start, n_tasks, 2 * n_numbers)
    radius = np.sqrt(-2 * np.log1p(-u[:, :n_numbers]))  # 1 - u is never 0
    return radius * np.cos(2 * np.pi * u[:, n_numbers:])


def seed_apart(seed: int, part: int) -> int:
    """A seed of its own for each kind of number of a task, so that the kinds are independent."""
    return 1_000_003 * as_integer("seed", seed, None) + part


def draw_distinct(numbers: np.ndarray, n: np.ndarray) -> np.ndarray:
    """k distinct integers from 0..n-1 in random order: every such list is equally likely.

    The set is drawn by Floyd's algorithm, whose cost does not depend on n: the i-th draw is from
    0..last, where last grows by one each time; a number that was drawn before is replaced by last.

    Args:
        numbers: (2 * k, *shape) independent uniforms in [0, 1).
        n: (*shape) integers, each at least k.
    Returns:
        (k, *shape) int64.
    Source: Bentley & Floyd (1987), "A sample of brilliance".
    """
    k = len(numbers) // 2
    last = n - k + np.arange(k).reshape(-1, *[1] * n.ndim)  # (k, *shape)
    drawn = (numbers[:k] * (last + 1)).astype(np.int64, order="C")
    for i in range(1, k):
        before = np.logical_or.reduce(drawn[:i] == drawn[i])
        np.copyto(drawn[i], last[i], where=before)
    return np.take_along_axis(drawn, np.argsort(numbers[k:], axis=0), axis=0)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
