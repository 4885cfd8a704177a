"""One network for many tasks: what learners with an inner loop need, and how it is computed.

These are the public names; everything else is only for the engine itself.
"""

from .chunks import Params, with_gradient
from .derivatives import scaled_step
from .implicit import conjugate_gradients, curvature_around, with_pull_back
from .inner_steps import (
    Names,
    as_rates,
    clipped,
    inner_rule,
    moving_names,
    part_around,
    rates_of,
)
from .network import Change, Network, Support, as_model, for_each_task
from .with_higher import check_engine, inner_loop_of_higher

__all__ = [
    "Change",
    "Names",
    "Network",
    "Params",
    "Support",
    "as_model",
    "as_rates",
    "check_engine",
    "clipped",
    "conjugate_gradients",
    "curvature_around",
    "for_each_task",
    "inner_loop_of_higher",
    "inner_rule",
    "moving_names",
    "part_around",
    "rates_of",
    "scaled_step",
    "with_gradient",
    "with_pull_back",
]
