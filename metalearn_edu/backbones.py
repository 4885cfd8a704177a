"""The small networks that all methods share. Introduced in notebook 03.

What is unusual: the default is group normalisation (Wu & He 2018). It looks at one item at a time,
so no information passes between the items of a batch; batch normalisation is available in several
modes, for lesson 02 and for comparisons with published settings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from .basics.arguments import as_choice, as_integer

__all__ = ["MLP", "Average", "ConvMaps", "ConvNet", "height_and_width"]

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
        ValueError: a width that is nott an integer of at least 1.
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
    """The mean over all positions of the maps: (B, C, H, W) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return x.mean(dim=(-2, -1))


class ConvNet(nn.Sequential):
    """Four blocks of 3x3 convolution, normalisation, ReLU; then a flat embedding.

    The standard small encoder of the field (Vinyals et al. 2016): with pooling, 28x28 becomes
    `width` numbers; with stride 2 it becomes 2x2, averaged to `width` (Finn et al. 2017).

    Args:
        in_channels: 1 for grey, 3 for colour.
        width: filters in each block; a list: one width per block.
        output_dim: adds a linear layer of that width (a classifier's head); None: the embedding.
        image_size: side of square images, or (height, width), pixels.
        downsample: "pool" (2x2 max) or "stride" (2): how a block halves the image.
        norm: "group", "batch", "batch_transductive" or "none"; see NORMS.
        n_blocks: how many blocks, if width is one number.
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
                f"need at least one block, and at most one halving in each; got {len(widths)} "
                f"widths and n_halvings {n_halvings}"
            )
        as_choice("downsample", downsample, ("pool", "stride"))
        as_choice("norm", norm, NORMS)
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
    """Four blocks like ConvNet's, the last two without pooling: an embedding that keeps positions.

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
        as_choice("norm", norm, NORMS)
        self.in_channels, self.image_size = in_channels, image_size
        self.width = width
        self.side = (height // 4, long // 4) if isinstance(image_size, Sequence) else height // 4
        plan = [(in_channels, "pool"), (width, "pool"), (width, "none"), (width, "none")]
        self.blocks = nn.Sequential(*(_block(c, width, how, norm) for c, how in plan))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, height, width of images) -> (B, width, their quarters)."""
        _check_images(x, self.in_channels, self.image_size)
        return self.blocks(x)


def height_and_width(
    image_size: int | Sequence[int], name: str = "image_size", *, at_least: int = 1
) -> tuple[int, int]:
    """(height, width) from an argument that gives the side of a square or both numbers.

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
    """Refuse a width that is nott an integer of at least 1."""
    for name, count in counts.items():
        as_integer(name, count)
