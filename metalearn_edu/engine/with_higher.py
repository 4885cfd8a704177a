"""MAML's inner loop of one task on `higher`, which patches the model so that weights are tensors.

It is for comparison: it gives the same numbers as ours, one task after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .any_model import check_for_higher, plain_kernels
from .chunks import Params
from .inner_steps import Descent, InnerRule
from .losses import LossFunction, check_losses
from .network import Network, Support
from .outputs import tensor_of

__all__ = ["check_engine", "inner_loop_of_higher"]


def check_engine(engine: Any, rule: InnerRule) -> None:
    """Refuse an unknown engine, and a rule that it does not have."""
    if engine not in ("torch.func", "higher"):
        raise ValueError(f"engine must be torch.func or higher, got {engine!r}")
    if engine == "higher" and not isinstance(rule, Descent):
        raise ValueError(
            "engine must be torch.func for inner_optimizer='adam': the Adam of higher is another "
            "one (it adds eps before it corrects the bias)"
        )


def inner_loop_of_higher(
    network: Network, support: Support, loss_fn: LossFunction, steps: int, **settings: Any
) -> Params:
    """The moving parameters of T tasks after `steps` steps, (T, *shape) each.

    Args:
        settings: rates, rule, prepare and first_order, as for `_descend`.
    """
    start = network.start(support.width)
    tasks = []
    for x, y in zip(support.x, support.y, strict=True):

        def loss_of(model: nn.Module, x: Tensor = x, y: Tensor = y) -> Tensor:
            scores = tensor_of(model(x.clone()), network.model)
            loss = loss_fn(network.fitting(scores[None], x[None], support)[0], y)
            check_losses(loss[None])
            return loss

        tasks.append(_descend(network.model, start, loss_of, steps, **settings))
    return {name: torch.stack([task[name] for task in tasks]) for name in start}


def _descend(
    model: nn.Module,
    moved: Params,
    loss_of: Callable[[nn.Module], Tensor],
    steps: int,
    *,
    rates: dict[str, float],
    rule: InnerRule,
    prepare: Callable[[Params], Params],
    first_order: bool,
) -> Params:
    """What `moved` becomes in `steps` steps of gradient descent on `loss_of(model)`.

    Args:
        moved: the parameters that move, where they start, by name.
        rates: the step size of each.
        prepare: changes the gradients, (1, *shape) each, before a step.
    """
    import higher

    check_for_higher(model)
    own = dict(model.named_parameters())
    start = {**own, **moved}
    names = list(start)

    def prepared(gradient: list[Tensor | None]) -> list[Tensor | None]:
        pairs = zip(names, gradient, strict=True)
        known = {n: g[None] for n, g in pairs if g is not None and n in moved}
        known = prepare(known) if known else {}
        cut = {n: g[0].detach() if first_order else g[0] for n, g in known.items()}
        return [cut.get(name) for name in names]  # None: frozen or unused, stays in place

    keep_graph = torch.is_grad_enabled()
    groups = [{"params": [own[name]], "lr": rates[name]} for name in moved]
    optimizer = torch.optim.SGD(groups, momentum=getattr(rule, "momentum", 0.0))
    with (
        torch.enable_grad(),
        plain_kernels(model),
        higher.innerloop_ctx(
            model,
            optimizer,
            copy_initial_weights=False,  # True would cut the meta-gradient
            track_higher_grads=keep_graph,
        ) as (fast_model, differentiable_optimizer),
    ):
        fast_model.update_params(list(start.values()))
        for _ in range(steps):
            differentiable_optimizer.step(loss_of(fast_model), grad_callback=prepared)
        fast = dict(zip(names, fast_model.parameters(), strict=True))
    params = {name: fast[name] for name in moved}
    return params if keep_graph else {name: p.detach() for name, p in params.items()}
