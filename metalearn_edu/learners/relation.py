"""Relation Networks: learn the comparison too.

Sung, Yang, Zhang, Xiang, Torr & Hospedales (2018). Introduced in notebook 04.

    r[q, k] = g( f(support items of class k), f(query q) )    a score in (0, 1) for every pair

What is unusual: the network regresses. Each score is pulled towards 1 for the query's own class and
towards 0 for the others by a squared error, although the task is to classify; the scores of one
query need not sum to 1. With n_way classes a network that always says 1 / n_way has a loss of
(1 / n_way) (1 - 1 / n_way), 0.16 for five: read every loss against that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import MLP, NORMS, ConvMaps, height_and_width
from ..basics.arguments import as_choice, as_integer
from ..engine.losses import LossFunction, as_function
from .base import MetaLearner
from .classes import class_sums, embed_items
from .pairs import PairConv, PairLinear

__all__ = ["RelationNetwork", "SpatialRelation", "VectorRelation", "relation_mse"]


def relation_mse(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over pairs of (r - 1[own class])^2, from scores (B, n_way) and labels (B,) (eq. 2)."""
    return F.mse_loss(scores, F.one_hot(labels, scores.shape[-1]).to(scores.dtype))


OBJECTIVES: dict[str, LossFunction] = {"mse": relation_mse, "cross_entropy": F.cross_entropy}


class VectorRelation(nn.Module):
    """The relation module for embeddings that are vectors: one hidden layer on a pair."""

    def __init__(self, embedding_dim: int, hidden_dim: int) -> None:
        super().__init__()
        as_integer("embedding_dim", embedding_dim)
        as_integer("hidden_dim", hidden_dim)
        self.pair = PairLinear(embedding_dim, embedding_dim, hidden_dim)
        self.score = nn.Linear(hidden_dim, 1)

    def forward(self, class_z: Tensor, query_z: Tensor) -> Tensor:
        """(T, 1, n_way, d), (T, Q, 1, d) -> logits (T, Q, n_way)."""
        return self.score(F.relu(self.pair(class_z, query_z))).squeeze(-1)


class SpatialRelation(nn.Module):
    """The relation module for maps: it compares position by position before it sums.

    Two blocks of convolution, normalisation by group, ReLU and 2x2 pooling, then a hidden layer of
    8 units, as published.

    Args:
        width: channels of the embedded maps, and filters of the blocks.
        side: the side of square maps, or their (height, width); at least 4, for the two halvings.
    """

    def __init__(self, width: int, side: int | tuple[int, int]) -> None:
        super().__init__()
        as_integer("width", width)
        height, length = height_and_width(side, "side")
        if min(height, length) < 4:
            raise ValueError(
                f"maps of {height} x {length} cannot be halved twice; side must be >= 4"
            )
        self.pair = PairConv(width, width, width)
        self.block = nn.Sequential(
            NORMS["group"](width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            NORMS["group"](width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.score = MLP(width * (height // 4) * (length // 4), 8, 1)

    def forward(self, class_z: Tensor, query_z: Tensor) -> Tensor:
        """(T, 1, n_way, C, H, W), (T, Q, 1, C, H, W) -> logits (T, Q, n_way)."""
        pairs = self.pair(class_z, query_z)  # (T, Q, n_way, C, H, W)
        logits = self.score(self.block(pairs.flatten(0, 2)))  # (T * Q * n_way, 1)
        return logits.view(pairs.shape[:3])


class RelationNetwork(MetaLearner):
    """Classify by a learned comparison of the query with each class.

    Memory: the relation module works on T * Q * n_way pairs at once; a spatial one of 64 channels
    and 7 x 7 maps takes 12.5 kB per pair and layer in float32 (`outer_loop` and
    `evaluate_meta_learner` have a chunk_size).

    Args:
        input_dim, hidden_dim: the vector form, an MLP encoder and a hidden layer on pairs.
        encoder, relation: any other form: a module from items (B, *item) to embeddings (B, ...),
            and a module from class and query embeddings, which broadcast, to logits (T, Q, n_way).
        aggregate: "sum" of a class's support embeddings, as published, or their "mean". With the
            sum, n_shot must be the same in training and in use.
        objective: "mse" on sigmoid scores, as published, or "cross_entropy" on logits.
    Raises:
        ValueError: neither or both of the forms are given, an unknown name, or a width that is nott
            an integer of at least 1.
    """

    def __init__(
        self,
        input_dim: int | None = None,
        hidden_dim: int | None = None,
        *,
        encoder: nn.Module | None = None,
        relation: nn.Module | None = None,
        aggregate: str = "sum",
        objective: str = "mse",
    ) -> None:
        super().__init__()
        if aggregate not in ("sum", "mean"):
            raise ValueError(f"aggregate must be sum or mean, got {aggregate!r}")
        as_choice("objective", objective, OBJECTIVES)
        modules_given = encoder is not None or relation is not None
        if input_dim is not None and hidden_dim is not None and not modules_given:
            encoder = MLP(input_dim, hidden_dim, hidden_dim)
            relation = VectorRelation(hidden_dim, hidden_dim)
        elif encoder is None or relation is None or input_dim or hidden_dim:
            raise ValueError("give input_dim and hidden_dim, or else encoder and relation")
        self.encoder = as_function("encoder", encoder)
        self.relation = as_function("relation", relation)
        self.aggregate, self.objective = aggregate, objective
        self.loss_fn = OBJECTIVES[objective]

    @classmethod
    def convolutional(
        cls,
        in_channels: int = 1,
        width: int = 64,
        *,
        image_size: int | tuple[int, int] = 28,
        norm: str = "group",
        aggregate: str = "sum",
        objective: str = "mse",
    ) -> RelationNetwork:
        """The published form for images: maps of 64 channels and a spatial relation module."""
        encoder = ConvMaps(in_channels, width, image_size=image_size, norm=norm)
        relation = SpatialRelation(width, encoder.side)
        return cls(encoder=encoder, relation=relation, aggregate=aggregate, objective=objective)

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """One embedding per class, (T, n_way, *embedding): the sum or mean over its items."""
        z = embed_items(self.encoder, support_x)
        sums, counts = class_sums(z.flatten(2), support_y)
        classes = sums if self.aggregate == "sum" else sums / counts
        return classes.unflatten(2, z.shape[2:])

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        """Relation scores of all pairs: in (0, 1) for "mse", logits for "cross_entropy"."""
        query_z = embed_items(self.encoder, query_x)
        logits = self.relation(state[:, None], query_z[:, :, None])
        return torch.sigmoid(logits) if self.objective == "mse" else logits
