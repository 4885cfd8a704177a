"""Meta-SGD: learn the step sizes too.

Li, Zhou, Chen & Li (2017). Introduced in notebook 06.

    inner loop:  theta'  = theta - alpha * grad L_support(theta)    alpha: one number per parameter
    outer loop:  theta, alpha  <- Adam on the mean over tasks of L_query(theta')

What is unusual: alpha may become negative, so it learns the direction of the step as well as its
length. Everything else is MAML, and the code is MAML's: only the step differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Params, rates_of, scaled_step
from ..engine.losses import LossFunction
from .maml import MAML

__all__ = ["MetaSGD"]


class MetaSGD(MAML):
    """MAML in which every parameter has its own step size, learned in the outer loop.

    With several inner steps, each step uses the same sizes and the gradient at its own point.

    Args:
        model: as for MAML.
        inner_lr: the value that all step sizes start from, or a mapping from names, as for MAML.
        meta_lr: step size of the outer loop's Adam, for parameters and step sizes alike.
        num_inner_steps: inner steps in training; the paper takes 1.
        loss_fn: loss of inner and outer loop.
        options: first_order, num_test_steps, max_inner_grad_norm, zero_head, inner_params,
            inner_optimizer and batch_norm, as for MAML. The step sizes multiply the direction of
            the rule. With a zero head and another n_way than the model's, every class takes the
            mean over classes of the learned step sizes.
    Raises:
        ValueError: as MAML does.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float | Mapping[str, float] = 0.01,
        meta_lr: float = 0.001,
        num_inner_steps: int = 1,
        loss_fn: LossFunction = F.cross_entropy,
        **options: Any,
    ) -> None:
        if options.get("engine", "torch.func") != "torch.func":
            raise ValueError("engine must be torch.func: the SGD of higher has one size for all")
        super().__init__(model, inner_lr, meta_lr, num_inner_steps, loss_fn, **options)
        start, rates = self._network.start(), rates_of(self.model, self.inner_lr)
        self.names = tuple(start)  # a name may hold dots, which a ParameterDict would refuse
        self.step_sizes = nn.ParameterList(torch.full_like(p, rates[n]) for n, p in start.items())

    @property
    def rates(self) -> dict[str, Tensor]:
        """The step sizes by parameter name, each of its parameter's shape."""
        return dict(zip(self.names, self.step_sizes, strict=True))

    def _step(self, params: Params, direction: Params) -> Params:
        """One step of gradient descent, element by element (eq. 2)."""
        rates = self.rates
        return {
            n: scaled_step(p, _of_shape(rates[n], p[0]), direction[n]) for n, p in params.items()
        }


def _of_shape(rate: Tensor, p: Tensor) -> Tensor:
    """The step sizes of a parameter; for a head with other classes, their mean over classes."""
    return rate if rate.shape == p.shape else rate.mean(dim=0).expand_as(p)
