"""Layers on all pairs of two sets, without a copy of any pair. Introduced in notebook 04."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_integer

__all__ = ["PairConv", "PairLinear"]


class PairLinear(nn.Module):
    """A linear layer on two vectors side by side, for all pairs at once.

    W [a; b] = W_a a + W_b b: each part is multiplied once and the sum is broadcast, so that no
    pair is ever copied. `a` and `b` broadcast against each other in all but the last axis.
    """

    def __init__(self, a_dim: int, b_dim: int, output_dim: int) -> None:
        super().__init__()
        for name, width in (("a_dim", a_dim), ("b_dim", b_dim), ("output_dim", output_dim)):
            as_integer(name, width)
        whole = nn.Linear(a_dim + b_dim, output_dim)  # one draw, for the usual scale
        part_a, part_b = whole.weight.detach().split([a_dim, b_dim], dim=1)
        self.weight_a, self.weight_b = nn.Parameter(part_a.clone()), nn.Parameter(part_b.clone())
        self.bias = whole.bias

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(*, a_dim), (*, b_dim) -> (*, output_dim)."""
        return F.linear(a, self.weight_a, self.bias) + F.linear(b, self.weight_b)


class PairConv(nn.Module):
    """A 3x3 convolution of two sets of maps stacked as channels, for all pairs at once.

    The same sum as in PairLinear. Maps are (*, channels, H, W), padded by 1.
    """

    def __init__(self, a_channels: int, b_channels: int, width: int) -> None:
        super().__init__()
        counts = {"a_channels": a_channels, "b_channels": b_channels, "width": width}
        for name, count in counts.items():
            as_integer(name, count)
        whole = nn.Conv2d(a_channels + b_channels, width, kernel_size=3, padding=1)
        part_a, part_b = whole.weight.detach().split([a_channels, b_channels], dim=1)
        self.weight_a, self.weight_b = nn.Parameter(part_a.clone()), nn.Parameter(part_b.clone())
        self.bias = whole.bias

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(*, a_channels, H, W), (*, b_channels, H, W) -> (*, width, H, W)."""
        return self._part(a, self.weight_a, self.bias) + self._part(b, self.weight_b, None)

    def _part(self, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat = F.conv2d(maps.flatten(0, -4), weight, bias, padding=1)
        return flat.unflatten(0, maps.shape[:-3])
