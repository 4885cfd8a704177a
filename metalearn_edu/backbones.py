"""The small networks that every method shares. Introduced in notebook 03.

What is unusual: normalisation is by group (Wu & He 2018) unless asked otherwise. It looks at one
item at a time, so that no item of a batch can tell another anything; batch normalisation in its
various modes is there by name, for lesson 02 and for comparisons with published settings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .basics.arguments import as_integer, as_number
from .basics.random import uniforms
from .tasks.augmented import N_NUMBERS, warp

__all__ = [
    "MLP",
    "Average",
    "ConvMaps",
    "ConvNet",
    "PairConv",
    "PairLinear",
    "Standardise",
    "Views",
]

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": lambda width: nn.GroupNorm(_n_groups(width), width),
    "batch": nn.BatchNorm2d,
    "batch_transductive": lambda width: nn.BatchNorm2d(width, track_running_stats=False),
    "none": lambda width: nn.Identity(),
}
"""Normalisation by name. "batch" keeps running statistics and uses them in eval mode (inductive);
"batch_transductive" normalises with whatever batch it sees, at test time too."""


class MLP(nn.Sequential):
    """Linear layers with ReLU between them; items of any shape are flattened first.

    Args:
        input_dim: numbers in one item.
        hidden_dims: width of each hidden layer; one int for a single layer.
        output_dim: width of the output.
    Raises:
        ValueError: a width that is no integer of at least 1.
    """

    def __init__(self, input_dim: int, hidden_dims: int | Sequence[int], output_dim: int) -> None:
        hidden = list(hidden_dims) if isinstance(hidden_dims, Sequence) else [hidden_dims]
        _check_counts(input_dim=input_dim, output_dim=output_dim)
        for width in hidden:
            as_integer("hidden_dims", width)
        widths = [input_dim, *hidden, output_dim]
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] * (i > 0) + [nn.Linear(fan_in, fan_out)]
        super().__init__(*layers)
        self.input_dim, self.output_dim = input_dim, output_dim

    def forward(self, x: Tensor) -> Tensor:
        """(B, *item) -> (B, output_dim)."""
        self.check_items(x)
        return super().forward(x)

    def check_items(self, x: Tensor) -> None:
        """Refuse items (B, *item) that do not hold input_dim numbers."""
        n_numbers = x.shape[1:].numel()
        if n_numbers != self.input_dim:
            raise ValueError(
                f"input_dim is {self.input_dim}, but an item of shape {tuple(x.shape[1:])} "
                f"holds {n_numbers} numbers"
            )


class Average(nn.Module):
    """The mean over all places of the maps: (B, C, H, W) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return x.mean(dim=(-2, -1))


class ConvNet(nn.Sequential):
    """Four blocks of 3x3 convolution, normalisation, ReLU; then a flat embedding.

    The standard small encoder of the field (Vinyals et al. 2016): with pooling, 28x28 becomes
    `width` numbers; with stride 2 it becomes 2x2, averaged to `width` (Finn et al. 2017).

    Args:
        in_channels: 1 for grey, 3 for colour.
        width: filters in each block; a list: of each block by itself.
        output_dim: adds a linear layer of that width (a classifier's head); None: the embedding.
        image_size: side of square images, or (height, width), pixels.
        downsample: "pool" (2x2 max) or "stride" (2): how a block halves the image.
        norm: "group", "batch", "batch_transductive" or "none"; see NORMS.
        n_blocks: how many blocks, where width is one number.
        n_halvings: how many blocks, from the first, halve the image; None: all.
    Raises:
        ValueError: a count below 1, an unknown name, or an image too small for the halvings.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int | Sequence[int] = 64,
        output_dim: int | None = None,
        *,
        image_size: int | tuple[int, int] = 28,
        downsample: str = "pool",
        norm: str = "group",
        n_blocks: int = 4,
        n_halvings: int | None = None,
    ) -> None:
        as_integer("n_blocks", n_blocks)
        widths = list(width) if isinstance(width, Sequence) else [width] * n_blocks
        n_halvings = len(widths) if n_halvings is None else as_integer("n_halvings", n_halvings, 0)
        for one in widths:
            as_integer("width", one)
        _check_counts(in_channels=in_channels)
        if output_dim is not None:
            _check_counts(output_dim=output_dim)
        if not widths or n_halvings > len(widths):
            raise ValueError(
                f"need one block or more, and at most one halving in each; got {len(widths)} "
                f"widths and n_halvings {n_halvings}"
            )
        _check_choice("downsample", downsample, ("pool", "stride"))
        _check_choice("norm", norm, tuple(NORMS))
        dim = _embedding_dim(widths[-1], downsample, n_halvings, image_size)
        hows = [downsample if i < n_halvings else "none" for i in range(len(widths))]
        plan = zip([in_channels, *widths[:-1]], widths, hows, strict=True)
        parts: dict[str, nn.Module] = {
            "blocks": nn.Sequential(*(_block(*block, norm) for block in plan)),
            "embed": Average() if downsample == "stride" else nn.Flatten(),
            "head": nn.Linear(dim, output_dim) if output_dim else nn.Identity(),
        }
        super().__init__(OrderedDict(parts))
        self.in_channels, self.image_size = in_channels, image_size
        self.embedding_dim, self.output_dim = dim, output_dim or dim

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, height, width of images) -> (B, embedding_dim or output_dim)."""
        self.check_items(x)
        return super().forward(x)

    def check_items(self, x: Tensor) -> None:
        """Refuse items (B, *item) that are not images of in_channels and image_size."""
        _check_images(x, self.in_channels, self.image_size)


class ConvMaps(nn.Module):
    """Four blocks like ConvNet's, the last two without pooling: an embedding that keeps places.

    The encoder of Relation Networks (Sung et al. 2018): 28x28 becomes 7x7 maps. (The paper leaves
    out the padding of the first two convolutions, which gives 5x5.)

    Args:
        in_channels: 1 for grey, 3 for colour.
        width: filters in each block.
        image_size: side of square images, or (height, width), pixels; at least 4.
        norm: see NORMS.
    Raises:
        ValueError: a count below 1, an unknown name, or an image too small.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 64,
        *,
        image_size: int | tuple[int, int] = 28,
        norm: str = "group",
    ) -> None:
        super().__init__()
        as_integer("in_channels", in_channels)
        as_integer("width", width)
        height, long = height_and_width(image_size, at_least=4)
        _check_choice("norm", norm, tuple(NORMS))
        self.in_channels, self.image_size = in_channels, image_size
        self.width = width
        self.side = (height // 4, long // 4) if isinstance(image_size, Sequence) else height // 4
        plan = [(in_channels, "pool"), (width, "pool"), (width, "none"), (width, "none")]
        self.blocks = nn.Sequential(*(_block(c, width, how, norm) for c, how in plan))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, height, width of images) -> (B, width, their quarters)."""
        _check_images(x, self.in_channels, self.image_size)
        return self.blocks(x)


class Standardise(nn.Module):
    """Shift and scale each number of an embedding: (z - shift) * scale, both learned.

    The embeddings of an untrained network with ReLU all point the same way (their cosines are
    above 0.9), so that nothing can be found by its direction. `fit` starts shift and scale from
    the embeddings of real items (data-dependent initialisation, Salimans & Kingma 2016).

    Args:
        dim: width of the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        as_integer("dim", dim)
        self.shift = nn.Parameter(torch.zeros(dim))
        self.scale = nn.Parameter(torch.ones(dim))

    @torch.no_grad()
    def fit(self, z: Tensor) -> None:
        """Give embeddings like z (B, dim) mean 0 and standard deviation 1; B at least 2.

        A number that hardly varies is not blown up: a tenth of the mean deviation is the least.
        """
        std = z.std(dim=0)
        self.shift.copy_(z.mean(dim=0))
        self.scale.copy_(1 / std.clamp(min=std.mean() / 10 + 1e-6))

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim) -> (B, dim)."""
        return (z - self.shift) * self.scale


class Views(nn.Module):
    """An encoder that looks several times at each item, warped a little, and takes the mean.

    The first view is the item itself, the others are fixed warps of it, the same for every item.
    In training mode it is the encoder alone.

    Args:
        encoder: maps images (B, C, H, W) to embeddings (B, d).
        n_views: how many, the first one included.
        amount: how far the views are warped, as in `Augmented`.
    """

    def __init__(self, encoder: nn.Module, n_views: int, amount: float = 0.5) -> None:
        super().__init__()
        self.encoder = encoder
        self.n_views = as_integer("n_views", n_views)
        self.amount = amount = as_number("amount", amount)
        draws = torch.from_numpy(2 * uniforms(0, 0, n_views, N_NUMBERS) - 1).float() * amount
        draws[0] = 0
        self.register_buffer("changes", draws, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, d)."""
        if self.training:
            return self.encoder(x)
        changes = self.get_buffer("changes")[:, None].expand(-1, len(x), -1)
        return torch.stack([self.encoder(warp(x, change)) for change in changes]).mean(dim=0)


class PairLinear(nn.Module):
    """A linear layer on two vectors side by side, for all pairs at once.

    W [a; b] = W_a a + W_b b: each part is multiplied once and the sum is broadcast, so that the
    pairs are never copied out. `a` and `b` broadcast against each other in all but the last axis.
    """

    def __init__(self, a_dim: int, b_dim: int, output_dim: int) -> None:
        super().__init__()
        _check_counts(a_dim=a_dim, b_dim=b_dim, output_dim=output_dim)
        whole = nn.Linear(a_dim + b_dim, output_dim)  # drawn whole, for the usual first scale
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
        _check_counts(a_channels=a_channels, b_channels=b_channels, width=width)
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


def height_and_width(
    image_size: int | Sequence[int], name: str = "image_size", *, at_least: int = 1
) -> tuple[int, int]:
    """(height, width) of an argument that is a side or both.

    Raises:
        ValueError: neither one integer nor two, or one below `at_least`.
    """
    if not isinstance(image_size, Sequence) or isinstance(image_size, str):
        side = as_integer(name, image_size, at_least)
        return side, side
    if len(image_size) != 2:
        raise ValueError(f"{name} must be a side or (height, width), got {image_size!r}")
    height, width = (as_integer(name, side, at_least) for side in image_size)
    return height, width


def _embedding_dim(width: int, downsample: str, n_blocks: int, image_size: Any) -> int:
    sides: tuple[int, ...] = height_and_width(image_size)
    for _ in range(n_blocks):
        sides = tuple(s // 2 if downsample == "pool" else (s + 1) // 2 for s in sides)
    if min(sides) < 1:
        raise ValueError(
            f"image_size {image_size} is too small for {n_blocks} halvings by "
            f"{downsample}; it must be at least {2**n_blocks}"
        )
    return width if downsample == "stride" else width * sides[0] * sides[1]


def _block(fan_in: int, fan_out: int, downsample: str, norm: str) -> nn.Sequential:
    stride = 2 if downsample == "stride" else 1
    conv = nn.Conv2d(fan_in, fan_out, kernel_size=3, stride=stride, padding=1)
    pool = nn.MaxPool2d(2) if downsample == "pool" else nn.Identity()
    return nn.Sequential(conv, NORMS[norm](fan_out), nn.ReLU(), pool)


def _check_images(x: Tensor, in_channels: int, image_size: int | tuple[int, int]) -> None:
    expected = (in_channels, *height_and_width(image_size))
    if tuple(x.shape[1:]) != expected:
        raise ValueError(f"this network expects items {expected}, got {tuple(x.shape[1:])}")


def _n_groups(width: int) -> int:
    """The largest number of groups up to 8 that divides the width."""
    return max(g for g in range(1, 9) if width % g == 0)


def _check_counts(**counts: Any) -> None:
    """Refuse a width that is no integer of at least 1."""
    for name, count in counts.items():
        as_integer(name, count)


def _check_choice(argument: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}; got {value!r}")
