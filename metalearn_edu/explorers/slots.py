"""Fewer slots than items, and a ring beside least recently used access. Introduced in notebook 08.

`python tools/memory_slots.py` trains a memory with each number of slots and each rule of wiping;
`stored_runs` reads what came out.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from ..learners import MANNController
from ..learners.mann import MemoryState, least_used_slots
from ..tasks import FewShotDataset

__all__ = ["RULES", "SLOTS", "RingController", "Run", "point_classes", "stored_runs", "with_slots"]

SLOTS = (8, 16, 32, 64)
RULES: dict[str, dict[str, bool]] = {
    "LRUA": {"gated": True, "reads_count": True},
    "LRUA without a gate": {"gated": False, "reads_count": True},
    "LRUA, reads not counted": {"gated": True, "reads_count": False},
    "ring": {"gated": False, "reads_count": False},
}
"""Least recently used access whole, without either of its parts, and without both."""


class RingController(MANNController):
    """A memory that wipes its slots in turn, the oldest first: no usage by reading, no gate.

    It is least recently used access with two parts taken away, each of which can be put back.

    Args:
        gated: a share of the writing goes to the slots read before, as the gate says.
        reads_count: a slot that is read counts as used.
        options: of a MANNController.
    """

    def __init__(
        self, *sizes: int, gated: bool = False, reads_count: bool = False, **options: Any
    ) -> None:
        super().__init__(*sizes, **options)
        self.gated, self.reads_count = gated, reads_count

    def forward(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """One time step: (B, input_dim) to the output (B, output_dim) and the next state."""
        before = state
        if not self.gated:  # the gate mixes two places: let both be the slot that is wiped
            before = state._replace(read_weights=least_used_slots(state.usage, self.num_reads))
        output, after = super().forward(x, before)
        if not self.reads_count:
            written = after.write_weights.sum(dim=1)
            after = after._replace(usage=self.usage_decay * state.usage + written)
        return output, after


def with_slots(controller: MANNController, slots: int, rule: str = "LRUA") -> RingController:
    """A controller with the same weights, which do not depend on the number of slots.

    Args:
        controller: where the weights come from; nothing is shared with it.
        slots: of the new one, at least its heads.
        rule: one of RULES.
    """
    copy = RingController(
        controller.input_dim,
        controller.hidden_dim,
        slots,
        controller.memory_dim,
        num_reads=controller.num_reads,
        usage_decay=controller.usage_decay,
        write_first=controller.write_first,
        **RULES[rule],
    )
    copy.load_state_dict(controller.state_dict())
    return copy.to(next(controller.parameters()))


def point_classes(n_classes: int = 1000, dim: int = 32, spread: float = 0.5) -> FewShotDataset:
    """Classes that are easy to see: a point each, and ten items around it; always the same ones.

    Args:
        n_classes: their centres are standard normal.
        dim: numbers of an item.
        spread: standard deviation of each number around the centre.
    """
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(n_classes, 1, dim, generator=generator)
    points = centres + spread * torch.randn(n_classes, 10, dim, generator=generator)
    return FewShotDataset(points.flatten(0, 1), torch.arange(n_classes).repeat_interleave(10))


@dataclass(frozen=True)
class Run:
    """One training: its rule, slots and seed, and accuracies in % at an item of its class."""

    rule: str
    slots: int
    seed: int
    second: float
    tenth: float


@cache
def stored_runs() -> tuple[Run, ...]:
    """The table that `python tools/memory_slots.py` writes."""
    table = files("metalearn_edu.results") / "memory_slots.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return tuple(
        Run(r["rule"], int(r["slots"]), int(r["seed"]), float(r["second"]), float(r["tenth"]))
        for r in rows
    )
