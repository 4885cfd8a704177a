"""Conditional neural processes: the mean of one vector per example (Garnelo et al. 2018).

    r_i = encoder(x_i, y_i)             each example by itself
    r = mean of r_i                     the task, as one vector
    mean, std = decoder(x, r)           an answer for any x, and how sure we are of it

Introduced in notebook 10. It is the task-conditioned network of notebook 09, which also says how
sure it is. As in the paper, the standard deviation has a floor of 0.1. For classes, y is a one-hot
label and the answer a score for each.

We differ from the paper in three ways: an empty context has r = 0, so that the network can answer
before any example; targets are only the items outside the context, as for every learner here; and
all classes share one vector r, where the paper has one for each class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..backbones import MLP
from ..basics.arguments import as_integer
from .classes import embed_items
from .in_context import InContextLearner

__all__ = ["ConditionalNeuralProcess"]


class ConditionalNeuralProcess(InContextLearner):
    """Regression, with a standard deviation, or classification, from a mean over the examples.

    Args:
        input_dim: numbers in one item, after `item_encoder`.
        output_dim: the width of the targets for regression, n_way for classification.
        hidden_dim: width of all layers and of the task's vector r.
        regression: targets are numbers; the answer is a mean and a standard deviation.
        item_encoder: a module from items (B, *item) to (B, input_dim); default: flatten them.
        min_std: the floor of the standard deviation, in units of the targets.
        every_size: train on every size of the context at once.
    Raises:
        ValueError: a width that is nott an integer of at least 1, or a floor that is not above 0.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        hidden_dim: int = 128,
        *,
        regression: bool = True,
        item_encoder: nn.Module | None = None,
        min_std: float = 0.1,
        every_size: bool = False,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            regression=regression,
            min_std=min_std,
            item_encoder=item_encoder,
            every_size=every_size,
        )
        hidden = [as_integer("hidden_dim", hidden_dim)] * 2
        self.encoder = MLP(input_dim + output_dim, hidden, hidden_dim)
        self.decoder = MLP(input_dim + hidden_dim, hidden, self.n_said)

    def answers(self, x: Tensor, y: Tensor, is_context: Tensor) -> Tensor:
        """Means and standard deviations, or scores; see `InContextLearner.answers`."""
        x = self.embed(x)
        r = embed_items(self.encoder, torch.cat([x, y], dim=-1))  # (T, L, hidden_dim)
        mask = is_context[..., None]
        r = (r * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        said = embed_items(self.decoder, torch.cat([x, r.expand(-1, x.shape[1], -1)], dim=-1))
        return self.with_std(said, scale=1 - self.min_std)
