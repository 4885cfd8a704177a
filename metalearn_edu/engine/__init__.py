"""One network for many tasks: what learners with an inner loop need, and how it is computed.

The public names; everything else is for the engine alone.
"""

from .chunks import Params
from .derivatives import scaled_step
from .inner_steps import Names, as_rates, clipped, inner_rule, moving_names, rates_of
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
    "for_each_task",
    "inner_loop_of_higher",
    "inner_rule",
    "moving_names",
    "rates_of",
    "scaled_step",
]
