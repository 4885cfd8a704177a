"""Task representations: squeeze the support set into a vector and tell it to the network.

The idea of deep sets, conditional neural processes and CNAPs (Garnelo et al. 2018; Requeima et al.
2019). Introduced in notebook 09.

    e = encoder(support set)          a vector for the task; nothing is trained at test time
    y = network(x, e)                 one network for all tasks, told which one it is in

For regression the encoder pools pairs (x, y). For classification it pools class by class: e[k] says
what class k is like, and the network gives each query one score per class, network(x, e[k]). So
labels matter, columns follow the classes, and one network serves any n_way.

What is unusual: adapting to a task is one forward pass, and all that the learner knows about the
task has to fit through the vector e.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import MLP
from ..basics.arguments import as_integer
from ..engine.losses import as_function
from .base import MetaLearner
from .checks import check_kind
from .classes import class_means, embed_items, embed_to_width
from .pairs import PairLinear

__all__ = ["ConditionedMLP", "TaskConditionedNetwork", "TaskEncoder"]


SMALL = 1e-6
"""Added to a variance, so that its square root has a finite slope at 0."""


class TaskEncoder(nn.Module):
    """From a set of items to one vector: embed each, pool by mean and spread, transform.

    Args:
        input_dim: numbers in one item.
        hidden_dim: width of the item's embedding.
        task_embedding_dim: width of the task's.
        target_dim: numbers in one target, which is put beside its item; 0: only items.
    Raises:
        ValueError: a width that is nott an integer of at least 1 (target_dim: 0).
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, task_embedding_dim: int, *, target_dim: int = 0
    ) -> None:
        super().__init__()
        for name, width in (("input_dim", input_dim), ("hidden_dim", hidden_dim)):
            as_integer(name, width)
        as_integer("task_embedding_dim", task_embedding_dim)
        as_integer("target_dim", target_dim, 0)
        self.input_dim, self.target_dim = input_dim, target_dim
        self.task_embedding_dim = task_embedding_dim
        self.item = MLP(input_dim + target_dim, hidden_dim, hidden_dim)
        self.task = nn.Linear(2 * hidden_dim, task_embedding_dim)
        # One item has no spread: exactly 0 below. So an encoder that is trained on single items
        # leaves these weights at 0, and the spread of several items does not disturb it in use.
        nn.init.zeros_(self.task.weight[:, hidden_dim:])

    def forward(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """One vector per set, whatever the order of its items.

        Args:
            support_x: (T, S, input_dim).
            support_y: (T, S) labels: a set per class; (T, S, target_dim) targets: one per task.
        Returns:
            (T, n_way, task_embedding_dim), or (T, 1, task_embedding_dim) for targets.
        """
        if self.target_dim:
            support_x = torch.cat([support_x, support_y], dim=-1)
            support_y = torch.zeros_like(support_y[..., 0], dtype=torch.int64)
        z = embed_items(self.item, support_x)  # (T, S, hidden_dim)
        mean, spread = pool_by_class(z, support_y).chunk(2, dim=-1)
        return self.task(torch.cat([mean, spread - SMALL**0.5], dim=-1))


def pool_by_class(z: Tensor, y: Tensor) -> Tensor:
    """Mean and spread of each class's items: (T, n_way, 2 d) from z (T, S, d) and y (T, S).

    The spread is the standard deviation around the class mean, with n in the denominator and a
    small constant under the square root. For a class of one item it is 0.001 with a finite slope,
    where n - 1 would give NaN.
    """
    mean = class_means(z, y)
    own_mean = torch.take_along_dim(mean, y[..., None], dim=1)  # (T, S, d)
    variance = class_means((z - own_mean).square(), y)
    return torch.cat([mean, (variance + SMALL).sqrt()], dim=-1)


class ConditionedMLP(nn.Module):
    """A network of two hidden layers that is told about its task.

    Args:
        conditioning: "concat" puts the task's vector beside the input; "film" scales and shifts
            every hidden unit by amounts that depend on it, (1 + gamma) h + beta (Perez et al.
            2018). With gamma = beta = 0 FiLM leaves the network as it is without a task.
    Raises:
        ValueError: an unknown conditioning, or a width that is nott an integer of at least 1.
    """

    def __init__(
        self,
        input_dim: int,
        task_embedding_dim: int,
        hidden_dim: int,
        output_dim: int,
        conditioning: str = "concat",
    ) -> None:
        super().__init__()
        if conditioning not in ("concat", "film"):
            raise ValueError(f"conditioning must be concat or film, got {conditioning!r}")
        widths = {"input_dim": input_dim, "task_embedding_dim": task_embedding_dim}
        for name, width in (widths | {"hidden_dim": hidden_dim, "output_dim": output_dim}).items():
            as_integer(name, width)
        self.conditioning = conditioning
        if conditioning == "concat":
            self.first: nn.Module = PairLinear(input_dim, task_embedding_dim, hidden_dim)
        else:
            self.first = nn.Linear(input_dim, hidden_dim)
            self.film = nn.Linear(task_embedding_dim, 4 * hidden_dim)
        self.second = nn.Linear(hidden_dim, hidden_dim)
        self.last = nn.Linear(hidden_dim, output_dim)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """(*, input_dim) and (*, task_embedding_dim), which broadcast, to (*, output_dim)."""
        if self.conditioning == "concat":
            h = F.relu(self.first(x, e))
            return self.last(F.relu(self.second(h)))
        gamma_1, beta_1, gamma_2, beta_2 = self.film(e).chunk(4, dim=-1)
        h = F.relu((1 + gamma_1) * self.first(x) + beta_1)
        return self.last(F.relu((1 + gamma_2) * self.second(h) + beta_2))


class TaskConditionedNetwork(MetaLearner):
    """Adapt by telling one network a vector that describes the task.

    Args:
        input_dim: numbers in one item, after `item_encoder`.
        task_embedding_dim: width of the task's vector (classification: of each class's vector).
        hidden_dim: width of the hidden layers.
        output_dim: 1 for classification, one score for each class of any n_way; for regression
            the width of the targets.
        conditioning: "concat" or "film".
        item_encoder: a module from items (B, *item) to (B, input_dim), for support and query
            items alike; default: flatten them.
        regression: targets are numbers, and the loss is the squared error.
    Raises:
        ValueError: an unknown conditioning, a width that is nott an integer of at least 1, or
            classification with another output_dim than 1.
    """

    def __init__(
        self,
        input_dim: int,
        task_embedding_dim: int,
        hidden_dim: int,
        output_dim: int = 1,
        *,
        conditioning: str = "concat",
        item_encoder: nn.Module | None = None,
        regression: bool = False,
    ) -> None:
        super().__init__()
        as_integer("output_dim", output_dim)
        if not regression and output_dim != 1:
            raise ValueError(
                f"output_dim must be 1 for classification, one score for each class, whatever "
                f"n_way; got {output_dim} (regression=True predicts {output_dim} numbers)"
            )
        self.input_dim, self.output_dim, self.regression = input_dim, output_dim, regression
        self.item_encoder = (
            nn.Flatten() if item_encoder is None else as_function("item_encoder", item_encoder)
        )
        self.task_encoder = TaskEncoder(
            input_dim, hidden_dim, task_embedding_dim, target_dim=output_dim if regression else 0
        )
        self.network = ConditionedMLP(
            input_dim, task_embedding_dim, hidden_dim, output_dim, conditioning
        )
        if regression:
            self.loss_fn = F.mse_loss

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """The vector of each class (T, n_way, E); regression: of each task, (T, 1, E)."""
        self._check_targets(support_y)
        return self.task_encoder(self._embed(support_x), support_y)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way), or predictions (T, Q, out)."""
        out = self.network(self._embed(query_x)[:, :, None], state[:, None])  # (T, Q, n_way, out)
        return out.squeeze(2) if self.regression else out.squeeze(3)

    def _embed(self, x: Tensor) -> Tensor:
        return embed_to_width(self.item_encoder, x, self.input_dim)

    def _check_targets(self, support_y: Tensor) -> None:
        check_kind(support_y, regression=self.regression)
        if self.regression and support_y.shape[-1] != self.output_dim:
            raise ValueError(
                f"output_dim is {self.output_dim}, but support_y holds {support_y.shape[-1]} "
                "numbers a target"
            )
