"""How good is a learner that reads streams? Introduced in notebook 08.

The learner must name every item before its label arrives, so accuracy depends on how often the
class has been seen: we report it for the 1st, 2nd, ... appearance of a class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .basics.arguments import as_integer
from .evaluation import TEST_SEED, Evaluation, Scored, score_in_chunks, share_answered
from .learners.base import MetaLearner
from .learners.checks import as_tensor
from .tasks import EpisodeBatch, Streams

__all__ = ["evaluate_streams", "first_instance_ceiling", "instance_numbers"]


def evaluate_streams(
    learner: MetaLearner,
    tasks: Streams,
    *,
    n_episodes: int = 600,
    seed: int = TEST_SEED,
    chunk_size: int | None = None,
) -> dict[int, Evaluation]:
    """Accuracy at the 1st, 2nd, ... appearance of a class in a stream. Introduced in notebook 08.

    The published protocol for memory-augmented networks (Santoro et al. 2016): the learner names
    every item before its label arrives.

    Args:
        learner: a learner that reads streams, such as a MANN.
        tasks: streams; we use the streams of `seed`, from 0 on.
        chunk_size: streams scored at once, as in `evaluate_meta_learner`.
    Returns:
        an Evaluation by instance number, from 1; its values are means over the classes of a stream.
    Raises:
        FloatingPointError: no finite score at all; see `evaluate_meta_learner`.
        ValueError: the learner does not read streams, or another argument makes no sense.
    """
    if not isinstance(tasks, Streams):
        raise ValueError(f"tasks must be Streams, got {type(tasks).__name__}")
    if not getattr(learner, "reads_streams", False):
        raise ValueError(f"streams need a MANN, which reads them; got {type(learner).__name__}")
    seed = as_integer("seed", seed, None)
    values, lost = score_in_chunks(
        _correct_by_instance, learner, tasks, n_episodes, seed, chunk_size
    )
    chance = 1 / tasks.n_way
    return {
        k + 1: Evaluation(values[:, k], "accuracy", chance, seed, repr(tasks), False, lost)
        for k in range(tasks.n_instances)
    }


def instance_numbers(y: Tensor) -> Tensor:
    """The position of each item of a stream among those of its class: (T, L) from labels (T, L).

    Raises:
        ValueError: y holds no integers, or is not (T, L).
    """
    y = as_tensor("y", y)
    if y.ndim != 2 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"y must be integer labels (T, L), got {y.dtype} {tuple(y.shape)}")
    return (y[:, :, None] == y[:, None, :]).tril().sum(dim=2)


def first_instance_ceiling(n_way: int) -> float:
    """The best accuracy at first appearances without knowing labels in advance.

    A learner can at most rule out the labels that it has seen; the j-th new class is then one of
    n_way - j + 1, so that the mean is (1 / n_way) (1 + 1/2 + ... + 1 / n_way): 45.67 % for five
    classes. A figure above it means that labels leak.

    Raises:
        ValueError: n_way is not an integer from 1 to a million.
    """
    n_way = as_integer("n_way", n_way, at_most=10**6)
    return sum(1 / j for j in range(1, n_way + 1)) / n_way


def _correct_by_instance(learner: Any, episodes: EpisodeBatch) -> Scored:
    """Share (T, n_instances) of right answers at the 1st, 2nd, ... item of a class."""
    x, y = episodes.like(learner).stream()
    scores = learner.stream(x, y)
    right, y = (scores.argmax(dim=2) == y).cpu().numpy(), y.cpu()
    which = F.one_hot(instance_numbers(y) - 1).numpy()  # (T, L, n_instances)
    shares = np.einsum("tl,tli->ti", right.astype(float), which) / which.sum(axis=1)
    return shares, share_answered(scores)
