"""Measure how the number of slots, and the rule of wiping them, decide what a memory keeps.

Run `python tools/memory_slots.py` from the folder of the course: 30 runs, each of about 10 seconds
of one core. It writes metalearn_edu/results/memory_slots.csv, which lesson 08 shows: a row for each
run, with the accuracy (in %, 400 meta-test streams) at the second and at the tenth item of a class.

All runs share the recipe of lesson 08 on points, and write first: 130 outer steps of 16 streams of
5 classes and 10 items each. The seed is that of the weights and of the training streams. Nothing
was chosen by looking at these results.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "metalearn_edu" / "results" / "memory_slots.csv"
SEEDS = (0, 1, 2)


def rows() -> Iterator[dict[str, Any]]:
    """A row for each rule, number of slots and seed, as soon as it is measured."""
    from metalearn_edu.explorers.slots import RULES, SLOTS

    for seed in SEEDS:
        for slots in SLOTS:
            for rule in RULES if slots == min(SLOTS) else ("LRUA", "ring"):
                yield {"rule": rule, "slots": slots, "seed": seed} | measure(rule, slots, seed)


def measure(
    rule: str, slots: int, seed: int, n_steps: int = 130, n_episodes: int = 400
) -> dict[str, float]:
    """Train a memory; its accuracies in %, each with half of its 95 % interval."""
    from metalearn_edu import meta_train
    from metalearn_edu.explorers.slots import RULES, RingController, point_classes
    from metalearn_edu.learners import MANN
    from metalearn_edu.streams import evaluate_streams
    from metalearn_edu.tasks import Streams

    train, test = point_classes().split((0.8, 0.2))
    torch.manual_seed(seed)
    controller = RingController(37, 128, slots, 40, num_reads=1, write_first=True, **RULES[rule])
    learner = MANN(None, controller, n_way=5)
    meta_train(learner, Streams(train), n_steps=n_steps, meta_lr=2e-3, seed=seed, progress=False)
    results = evaluate_streams(learner, Streams(test), n_episodes=n_episodes)
    accuracies = {}
    for name, number in (("second", 2), ("tenth", 10)):
        accuracies[name] = round(100 * results[number].mean, 2)
        accuracies[f"{name}_half"] = round(100 * results[number].half_width, 2)
    return accuracies


def main() -> None:
    """Measure all and write the table."""
    from tools.tables import write_table

    write_table(TABLE, rows())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
