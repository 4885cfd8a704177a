"""Prototypical Networks: a class is the mean of its embedded support items.

Snell, Swersky & Zemel (2017). Introduced in notebook 03.

What is unusual: the distance is the SQUARED Euclidean one. It is a Bregman divergence, for which
the mean is the best single representative of a class, and it makes the classifier linear in the
embedding: -|z - c|^2 = 2 c.z - |c|^2 - |z|^2, where the last term is the same for every class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import MLP
from ..basics.arguments import as_choice, as_integer, as_number
from ..basics.random import uniforms
from ..engine.losses import as_function
from ..tasks import FewShotDataset
from ..tasks.augmented import N_NUMBERS, warp
from .base import MetaLearner
from .checks import as_items, as_tensor, check_shapes
from .classes import class_means, embed_vectors

__all__ = [
    "EnhancedProtoNet",
    "PrototypicalNetwork",
    "Views",
    "class_prototypes",
    "embed_dataset",
]


def class_prototypes(support_z: Tensor, support_y: Tensor) -> Tensor:
    """Mean embedding of each class.

    Args:
        support_z: (T, S, d) embeddings.
        support_y: (T, S) int64 labels 0..n_way-1, every class present.
    Returns:
        (T, n_way, d); row c is the prototype of label c.
    Raises:
        ValueError: support_y holds regression targets, or a class has no item in a task.
    Source: Snell et al. (2017), eq. 1.
    """
    support_z, support_y = as_items("support_z", support_z), as_tensor("support_y", support_y)
    check_shapes("support_z", support_z, "support_y", support_y)
    if support_z.ndim != 3:
        raise ValueError(f"support_z must be vectors (T, S, d), got {tuple(support_z.shape)}")
    return class_means(support_z, support_y)


def squared_euclidean(query_z: Tensor, prototypes: Tensor) -> Tensor:
    """(T, Q, n_way) squared distances from explicit differences.

    torch.cdist is not squared, and its fast path loses digits when points lie far from 0.
    """
    return (query_z[:, :, None] - prototypes[:, None]).square().sum(dim=-1)


def euclidean(query_z: Tensor, prototypes: Tensor) -> Tensor:
    """(T, Q, n_way) distances, the root of the squared ones; no kink at 0, thanks to 1e-12."""
    return (squared_euclidean(query_z, prototypes) + 1e-12).sqrt()


def cosine(query_z: Tensor, prototypes: Tensor) -> Tensor:
    """(T, Q, n_way) cosine distances, 1 - cos, in [0, 2]."""
    return 1 - F.normalize(query_z, dim=-1) @ F.normalize(prototypes, dim=-1).transpose(1, 2)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared_euclidean": squared_euclidean,
    "euclidean": euclidean,
    "cosine": cosine,
}


class PrototypicalNetwork(MetaLearner):
    """Classify by the nearest class mean in a learned space.

    Args:
        encoder: maps items (B, *item) to embeddings (B, d).
        distance: "squared_euclidean" (the paper's), "euclidean" or "cosine".
        temperature: scores are -distance / temperature; for the cosine, use about 0.1.
    Raises:
        ValueError: an unknown distance, or a temperature that is not a number above 0.
    """

    def __init__(
        self,
        encoder: nn.Module,
        distance: str = "squared_euclidean",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        as_number("temperature", temperature, above=0)
        as_choice("distance", distance, DISTANCES)
        self.encoder, self.distance = as_function("encoder", encoder), distance
        self.temperature = temperature  # may be a parameter, which is then learned

    def embed(self, x: Tensor) -> Tensor:
        """Items (T, B, *item) to embeddings (T, B, d)."""
        return embed_vectors(self.encoder, x)

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """The prototypes, (T, n_way, d)."""
        return class_means(self.embed(support_x), support_y)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        """Minus the distance of each query to each prototype, over the temperature (eq. 2)."""
        return -DISTANCES[self.distance](self.embed(query_x), state) / self.temperature


class EnhancedProtoNet(PrototypicalNetwork):
    """A Prototypical Network on an MLP: input_dim -> hidden_dim -> hidden_dim -> embedding_dim."""

    def __init__(self, input_dim: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__(MLP(input_dim, [hidden_dim, hidden_dim], embedding_dim))


class Views(nn.Module):
    """An encoder that takes the mean over several views of each item, each warped a little.

    The first view is the item itself, the others are fixed warps of it, the same for every item.
    In training mode, it is just the encoder.

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


@torch.no_grad()
def embed_dataset(
    encoder: nn.Module, dataset: FewShotDataset, *, chunk_size: int = 500
) -> FewShotDataset:
    """The same classes with every item replaced by its embedding. Introduced in notebook 03.

    An encoder that looks at one item at a time gives an item the same embedding in every episode,
    so that it is computed only once: `PrototypicalNetwork(nn.Identity())` on the result gives the
    same scores as the whole network on `dataset`, many times faster. The samplers draw the same
    episodes.

    Args:
        encoder: maps items (B, *item) to embeddings (B, d); used in eval mode.
        chunk_size: items embedded at once; bounds the memory.
    Returns:
        a data set of items (N, d) with the labels, names and groups of `dataset`.
    Raises:
        ValueError: an argument makes no sense, or an embedding is not finite.
    """
    if not isinstance(dataset, FewShotDataset):
        raise ValueError(f"dataset must be a FewShotDataset, got {type(dataset).__name__}")
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"encoder must be a module, got {type(encoder).__name__}")
    encoder = copy.deepcopy(encoder).eval()
    like = next(encoder.parameters(), torch.empty(0))
    chunks = torch.arange(len(dataset)).split(as_integer("chunk_size", chunk_size))
    z = [encoder(dataset.gather(rows).to(like.device, like.dtype)).cpu() for rows in chunks]
    names = dataset.class_names, dataset.class_groups
    return FewShotDataset(torch.cat(z), dataset.labels, *names, name=dataset.name)
