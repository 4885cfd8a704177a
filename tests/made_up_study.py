"""A study whose truth is known: accuracies on a plane, with luck of seeds and of episodes."""

import math
from dataclasses import fields, replace
from itertools import product

import numpy as np

from metalearn_edu.study import Row, Study

CLASSES, WAYS, SHOTS = (50, 200, 800), (5, 20), (1, 5)
# The logit of an algorithm's accuracy: at 50 classes, 5-way 1-shot, and its slopes in the logarithm
# of classes, ways and shots. All grid points and all points between lie on this plane.
PLANES = {
    "prototypical": (1.0, 0.2, -0.5, 0.5),
    "maml": (0.9, 0.4, -0.9, 0.5),
    "mann": (-1.0, 0.0, -0.3, 0.2),
}
COST = {"prototypical": 2.0, "maml": 20.0, "mann": 8.0}


def truth(algorithm, n_classes, n_way, n_shot):
    start, *slopes = PLANES[algorithm]
    logs = math.log(n_classes / 50), math.log(n_way / 5), math.log(n_shot)
    logit = start + sum(s * x for s, x in zip(slopes, logs, strict=True))
    return 1 / (1 + math.exp(-logit))


def made_up(seeds=(0, 1, 2), seed_spread=0.0, episode_spread=0.05, data=("glyphs",)):
    """A study in which luck of seeds and of episodes is the same for all algorithms."""
    rng = np.random.default_rng(0)
    rows, right = [], []
    zeros = {f.name: {"int": 0, "float": 0.0, "str": "", "bool": False}[f.type]
             for f in fields(Row)}  # fmt: skip
    luck_of_seed = {s: seed_spread * (s - np.mean(seeds)) for s in seeds}
    cells = list(product(WAYS, SHOTS))
    luck = {(d, *c): _centred(rng.normal(0, episode_spread, 200)) for d in data for c in cells}
    for d, n, cell, algorithm, seed in product(data, CLASSES, cells, PLANES, seeds):
        accuracy = truth(algorithm, n, *cell) - 0.05 * (d == "omniglot")
        n_query = 2000 // cell[0]  # many, so that whole numbers of right answers do not matter
        values = (accuracy + luck[d, *cell] + luck_of_seed[seed]) * n_query * cell[0]
        named = {"algorithm": algorithm, "data": d, "n_classes": n, "seed": seed}
        named |= {"n_way": cell[0], "n_shot": cell[1], "n_query": n_query}
        named |= {"adapt_ms": COST[algorithm] * cell[0] / 5, "train_seconds": 40.0}
        rows.append(Row(**(zeros | named | {"peak_memory_mb": 100 * COST[algorithm]})))
        right.append(values.round())
    return Study(tuple(rows), np.array(right))


def _centred(noise):
    return noise - noise.mean()


def over_time(times):
    """The same, with each training scored at several times: 1 / time below the truth."""
    study = made_up()
    rows = tuple(replace(row, after_seconds=t) for t in times for row in study.rows)
    queries = np.array([row.n_way * row.n_query for row in study.rows])[:, None]
    return Study(
        rows, np.concatenate([(study.right - queries / t).round().astype(int) for t in times])
    )
