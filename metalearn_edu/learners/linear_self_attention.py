"""One layer of self-attention without softmax: a gradient step in another form.

With tokens e_i = (x_i, y_i) for the N examples and (x, 0) for the query, such a layer answers

    (1 / N) sum_i <v, e_i> <e_i, W (x, 0)>

which is quadratic in the examples. With v picking y, and W keeping x, it is

    (1 / N) sum_i y_i <x_i, x>

and this is the prediction after one step of gradient descent from w = 0, with step size 1 for the
loss sum_i (<w, x_i> - y_i)^2 / (2 N) (von Oswald et al. 2023). Trained on linear functions with w ~
N(0, I), the layer finds these weights up to their scale, and no other weights do better (Mahankali
et al. 2023). Introduced in notebook 10.

What is unusual: the key and query matrices, and the value and output matrices, occur only as
products, so each pair is one matrix here; and the query does not look at itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_integer
from .base import MetaLearner

__all__ = ["LinearSelfAttention"]


class LinearSelfAttention(MetaLearner):
    """One layer of linear self-attention, for regression with one target.

    Args:
        input_dim: d, the numbers in one item.
    Raises:
        ValueError: input_dim is not an integer of at least 1.
    """

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.input_dim = as_integer("input_dim", input_dim)
        d = input_dim
        self.value = nn.Parameter(torch.randn(d + 1) / (d + 1) ** 0.5)
        self.key_query = nn.Parameter(torch.randn(d + 1, d) / (d + 1))
        self.loss_fn = F.mse_loss

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """Weights (T, d) for the query's numbers: all that the layer takes from the examples."""
        x = self._flat(support_x)
        if not support_y.is_floating_point() or support_y.shape[2:] != (1,):
            raise ValueError(
                f"support_y must hold one number a target, float (T, S, 1), got {support_y.dtype} "
                f"{tuple(support_y.shape)}"
            )
        e = torch.cat([x, support_y], dim=-1)  # (T, S, d + 1)
        return ((e @ self.value)[..., None] * (e @ self.key_query)).mean(dim=1)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        """Predictions (T, Q, 1)."""
        return self._flat(query_x) @ state[..., None]

    def form(self) -> Tensor:
        """The layer as one form (d + 1, d + 1, d) in (e, e, x), symmetric in its first two.

        Two layers that give equal answers on every task have the same form, whatever their weights.
        """
        product = torch.einsum("a,bc->abc", self.value, self.key_query)
        return (product + product.transpose(0, 1)) / 2

    def set_to_gradient_descent(self, inner_lr: float) -> None:
        """Weights with which the layer is one step of gradient descent from w = 0.

        Args:
            inner_lr: the step size for the loss sum_i (<w, x_i> - y_i)^2 / (2 N).
        """
        d = self.input_dim
        with torch.no_grad():
            self.value.copy_(F.one_hot(torch.tensor(d), d + 1))
            self.key_query.copy_(inner_lr * torch.eye(d + 1, d))

    def _flat(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        if x.shape[-1] != self.input_dim:
            raise ValueError(
                f"input_dim is {self.input_dim}, but an item holds {x.shape[-1]} numbers"
            )
        return x
