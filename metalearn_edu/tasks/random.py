"""Random numbers that are a function of (seed, episode), whatever was drawn before.

A stateful generator ties episode 500 to the 499 before it. Here each number is a hash of its
address (seed, episode, position), so that a fixed test suite is a seed and a range, training can
resume at any step, and a whole batch is drawn in a few array operations. The hash is SplitMix64
(Steele, Lea & Flood 2014): each episode has its own stream, started at a hashed address.
"""

import numpy as np

__all__ = ["uniforms"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, start: int, n_tasks: int, n_numbers: int) -> np.ndarray:
    """(n_tasks, n_numbers) float64 uniform in [0, 1); row i belongs to episode start + i.

    Raises:
        ValueError: `start` is negative or `n_tasks` is below 1.
    """
    if start < 0 or n_tasks < 1:
        raise ValueError(f"need start >= 0 and n_tasks >= 1, got start={start}, n_tasks={n_tasks}")
    episodes = np.arange(start, start + n_tasks, dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64 on purpose
        seed_hash = _mix(np.array([seed % 2**64], dtype=np.uint64) + GOLDEN)
        streams = _mix(seed_hash + (episodes + np.uint64(1)) * GOLDEN)[:, None]
        bits = _mix(streams + np.arange(1, n_numbers + 1, dtype=np.uint64) * GOLDEN)
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
