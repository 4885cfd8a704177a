"""The warm-up of notebook 00: its solution, and the examples it is compared on."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SHARE_EXAMPLES", "SHARE_HINT", "share_right"]


def share_right(answers: Tensor, truth: Tensor) -> float:
    """The share of the answers (Q,) that are the true labels (Q,), as a fraction in [0, 1]."""
    return (answers == truth).float().mean().item()


SHARE_EXAMPLES = [
    (torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 1, 2, 3, 4])),
    (torch.tensor([0, 1, 1, 4, 2]), torch.tensor([0, 1, 3, 4, 0])),
    (torch.tensor([1, 1, 1, 1]), torch.tensor([0, 0, 0, 0])),
]
SHARE_HINT = (
    "compare the two tensors element by element, make the truth values numbers, and take the mean: "
    "a fraction, 0.6 and not 60"
)
