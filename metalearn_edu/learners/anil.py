"""ANIL and BOIL: MAML in which only a part of the network moves in the inner loop.

Raghu, Raghu, Bengio & Vinyals (2020); Oh, Yoo, Kim & Yun (2021). Introduced in notebook 07.

    ANIL, "almost no inner loop":     head'  = head  -  alpha * grad_head L_support    body' = body
    BOIL, "body only inner loop":     body'  = body  -  alpha * grad_body L_support    head' = head
    outer loop of both:               body, head  <-  Adam on the mean over tasks of L_query

Both are settings of MAML, and the code is MAML's. The outer loop learns all of the network, and its
gradient runs back through the inner steps to the part that stayed, too. ANIL asks whether MAML's
success is one of features that fit every task; BOIL is its opposite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import nn

from ..engine import Names, as_model, part_around
from ..engine.losses import LossFunction
from .maml import MAML

__all__ = ["ANIL", "BOIL"]


class _OnePart(MAML):
    """MAML whose inner loop moves one part of the model, the "head" or the "body"."""

    _part = "head"

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float | Mapping[str, float] = 0.01,
        meta_lr: float = 0.001,
        num_inner_steps: int = 5,
        loss_fn: LossFunction = F.cross_entropy,
        *,
        head: Names | None = None,
        **options: Any,
    ) -> None:
        name = type(self).__name__
        if "inner_params" in options:
            raise ValueError(f"{name} chooses inner_params itself; head= says where the head is")
        if head is not None:
            model = as_model(model, options.get("batch_norm", "refuse"))
            options["inner_params"] = part_around(model, head, self._part)
        super().__init__(model, inner_lr, meta_lr, num_inner_steps, loss_fn, **options)
        if head is None:
            self._network.move_only(self._part, name, "name the head, as in head='classifier'")

    @property
    def moving(self) -> frozenset[str]:
        """Names of the parameters that move in the inner loop; empty before the head is found."""
        return self._network.moving if self._network.is_settled else frozenset()


class ANIL(_OnePart):
    """MAML whose inner loop moves the head alone: the body is the same for every task.

    Args:
        model: as for MAML.
        inner_lr, meta_lr, num_inner_steps, loss_fn: as for MAML.
        head: names of parameters, or of modules that hold them, or a function of a parameter's name
            and the parameter. Default: the linear layer that gives the scores, wherever it stands
            in the model; found at once in a plain sequence of layers, else in the first call.
        options: first_order, engine, num_test_steps, max_inner_grad_norm, zero_head,
            inner_optimizer and batch_norm, as for MAML.
    Raises:
        ValueError: as MAML does; no linear layer gives the scores, or it shares its weights with
            the body; the head has nothing that can move.
    """


class BOIL(_OnePart):
    """MAML whose inner loop moves all but the head: only the representation adapts.

    Args:
        model: as for MAML.
        inner_lr, meta_lr, num_inner_steps, loss_fn: as for MAML.
        head: as for ANIL; it stays as it is in the inner loop.
        options: as for ANIL, without zero_head: through a head of 0 no gradient reaches the body.
    Raises:
        ValueError: as ANIL does; zero_head; the model is nothing but a head.
    """

    _part = "body"

    def __init__(self, model: nn.Module, *settings: Any, **options: Any) -> None:
        if options.get("zero_head"):
            raise ValueError(
                "BOIL has no zero_head: its head stays as it is in the inner loop, and through a "
                "head of 0 no gradient would reach the body; leave it out, or take ANIL or MAML"
            )
        super().__init__(model, *settings, **options)
