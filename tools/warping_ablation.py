"""Measure what warped training images, and several looks at each test image, are worth.

Run `python tools/warping_ablation.py` from the folder of the course, where Omniglot is on the
computer: 15 runs, about 10 minutes of one core. It writes metalearn_edu/results/warping.csv, which
lesson 12 shows: a row for each run and number of looks, with the errors in % on 2,000 tasks like
Lake's (20 characters of one alphabet, one drawing of each, the questions by another person) and
half of their 95 % interval. Rows that the table has already are not measured again.

The network trains on 25 background alphabets of Omniglot and answers questions from the other 5;
evaluation alphabets are never touched. Recipe and amounts were fixed before the first run.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "metalearn_edu" / "results" / "warping.csv"
AMOUNTS = {1000: (0.0, 0.25, 1.0), 3000: (0.0, 1.0)}  # of warping, by outer steps
SEEDS, LOOKS = (0, 1, 2), (1, 9)


def runs() -> Iterator[tuple[int, float, int]]:
    """Steps, amount and seed of each training."""
    for n_steps, amounts in AMOUNTS.items():
        for seed in SEEDS:
            yield from ((n_steps, amount, seed) for amount in amounts)


def measure(n_steps: int, amount: float, seed: int) -> Iterator[dict[str, float]]:
    """Train one network, then score it with each number of looks: a row each."""
    from metalearn_edu.learners import embed_dataset
    from metalearn_edu.learners.prototypical import Views

    encoder = train(n_steps, amount, seed).encoder
    for n_looks in LOOKS:
        looks = Views(encoder, n_looks)
        found = score(embed_dataset(looks, omniglot("meta-val")))
        yield {"steps": n_steps, "amount": amount, "seed": seed, "looks": n_looks} | found


def train(n_steps: int, amount: float, seed: int):  # type: ignore[no-untyped-def]
    """The network of lesson 12's section 3 after n_steps, its images warped by an amount."""
    from metalearn_edu import Augmented, ConvNet, EpisodeSampler, PrototypicalNetwork, meta_train

    torch.manual_seed(seed)
    learner = PrototypicalNetwork(ConvNet(width=32, downsample="stride"))
    plain = EpisodeSampler(omniglot("meta-train"), 30, 1, 3, rotations=True)
    meta_train(
        learner,
        Augmented(plain, amount) if amount else plain,
        n_steps=n_steps,
        n_tasks_per_batch=1,
        meta_lr=4e-3,
        schedule="cosine",
        seed=seed,
        progress=False,
    )
    return learner


def score(embedded, n_tasks: int = 2000) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Errors in % by the nearest embedding, with half of the 95 % interval."""
    from metalearn_edu import OneShotTasks, PrototypicalNetwork, evaluate_meta_learner

    nearest = PrototypicalNetwork(torch.nn.Identity())
    result = evaluate_meta_learner(nearest, OneShotTasks(embedded), n_episodes=n_tasks)
    errors = 100 * (1 - result.mean), 100 * result.half_width
    return {name: round(x, 2) for name, x in zip(("errors", "half"), errors, strict=True)}


def omniglot(split: str):  # type: ignore[no-untyped-def]
    """A part of the background alphabets."""
    from metalearn_edu import load_omniglot

    return load_omniglot(split, download=False, progress=False)  # type: ignore[arg-type]


def stored() -> list[dict[str, float]]:
    """The rows of the table; none where there is no table."""
    if not TABLE.exists():
        return []
    rows = csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


def main() -> None:
    """Measure what the table lacks."""
    torch.set_num_threads(1)
    done = {(row["steps"], row["amount"], row["seed"]) for row in stored()}
    for run in runs():
        if run not in done:
            found = list(measure(*run))
            print(*found, sep="\n", flush=True)
            append(found)


def append(rows: list[dict[str, float]]) -> None:
    """Add rows at the end of the table, below a header."""
    is_new = not TABLE.exists()
    with TABLE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
