"""What several learners compute from a support set: embeddings, their sums and means by class."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..engine.losses import kind_of
from .checks import one_hot_of_every_class

__all__ = ["class_means", "class_sums", "embed_items", "embed_to_width", "embed_vectors"]


def class_sums(support_z: Tensor, support_y: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and number of each class's items, as one product with the one-hot labels.

    Args:
        support_z: (T, S, d) embeddings.
        support_y: (T, S) int64 labels 0..n_way-1, every class present in every task.
    Returns:
        sums (T, n_way, d) and counts (T, n_way, 1), in the dtype of the embeddings.
    Raises:
        ValueError: support_y holds regression targets, or a class is missing.
    """
    if support_y.is_floating_point():
        raise ValueError(f"classes need int64 labels, but support_y is {support_y.dtype}")
    one_hot = one_hot_of_every_class(support_y).to(support_z.dtype)  # (T, S, n_way)
    return one_hot.transpose(1, 2) @ support_z, one_hot.sum(dim=1)[..., None]


def class_means(support_z: Tensor, support_y: Tensor) -> Tensor:
    """Mean of each class's items, (T, n_way, d); arguments and errors as for `class_sums`."""
    sums, counts = class_sums(support_z, support_y)
    return sums / counts


def embed_items(encoder: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Items (T, B, *item) through an encoder of (T * B, *item): (T, B, *embedding)."""
    z = encoder(x.flatten(0, 1))
    if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != x.shape[0] * x.shape[1]:
        got = tuple(z.shape) if isinstance(z, Tensor) else kind_of(z)
        raise ValueError(
            f"an encoder must return one embedding per item, a tensor (B, d), got {got} for "
            f"{x.shape[0] * x.shape[1]} items"
        )
    return z.unflatten(0, x.shape[:2])


def embed_vectors(encoder: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Items as `embed_items` returns them, (T, B, d); anything but vectors is a ValueError."""
    z = embed_items(encoder, x)
    if z.ndim != 3:
        raise ValueError(
            f"the encoder must give vectors (B, d), but gives {tuple(z.shape[2:])} an item; "
            "end it with nn.Flatten()"
        )
    return z


def embed_to_width(
    encoder: Callable[[Tensor], Tensor], x: Tensor, width: int, name: str = "input_dim"
) -> Tensor:
    """Items as `embed_items` returns them, (T, B, width); another width is a ValueError."""
    z = embed_items(encoder, x)
    if z.shape[-1] != width:
        raise ValueError(
            f"{name} is {width}, but an item of shape {tuple(x.shape[2:])} comes "
            f"out of the item encoder with {z.shape[-1]} numbers"
        )
    return z
