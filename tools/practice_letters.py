"""Measure how accuracy on new letters depends on the number of letters practised.

Run `python tools/practice_letters.py` from the folder of the course: 12 runs, each about 20 seconds
on one core. It writes metalearn_edu/results/practice_letters.csv, which lesson 00 shows: one row
per run, with the 5-way 1-shot accuracy (in %, 600 episodes) on the practised letters and on those
of meta-test.

All runs share one recipe, that of lesson 00 with 10-way practice, because ten letters give no
more. A smaller pool is part of the larger ones of the same seed. Nothing was chosen by looking at
these results.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "metalearn_edu" / "results" / "practice_letters.csv"
N_LETTERS, SEEDS = (10, 50, 200, 890), (0, 1, 2)


def rows() -> Iterator[dict[str, float]]:
    """Yield a row for each number of letters and seed, as soon as it is measured."""
    for n_letters in N_LETTERS:
        for seed in SEEDS:
            yield {"letters": n_letters, "seed": seed} | measure(n_letters, seed)


def measure(
    n_letters: int, seed: int, n_steps: int = 1300, n_episodes: int = 600
) -> dict[str, float]:
    """Train on n_letters of meta-train; the accuracies in % on these and on meta-test letters."""
    from metalearn_edu import (
        ConvNet,
        EpisodeSampler,
        PrototypicalNetwork,
        evaluate_meta_learner,
        load_glyphs,
        meta_train,
    )
    from metalearn_edu.explorers.practice import practice_pool

    torch.manual_seed(seed)  # seed of the pool, and of the weights
    pool = practice_pool(n_letters)
    learner = PrototypicalNetwork(ConvNet(width=32, downsample="stride"))
    practice = EpisodeSampler(pool, n_way=10, n_shot=1, n_query=3)
    meta_train(
        learner,
        practice,
        n_steps=n_steps,
        n_tasks_per_batch=1,
        meta_lr=0.006,
        schedule="cosine",
        seed=seed,
    )
    accuracies = {}
    for name, data in (("practised", pool), ("new", load_glyphs("meta-test"))):
        tasks = EpisodeSampler(data, n_way=5, n_shot=1, n_query=15)
        result = evaluate_meta_learner(learner, tasks, n_episodes=n_episodes)
        accuracies[name] = round(100 * result.mean, 2)
        accuracies[f"{name}_half"] = round(100 * (result.interval[1] - result.mean), 2)
    return accuracies


def main() -> None:
    """Measure all and write the table."""
    from tools.tables import write_table

    write_table(TABLE, rows())


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
