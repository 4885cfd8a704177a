from itertools import product

import numpy as np
import pytest

from metalearn_edu.explorers.algorithms import SIZES, AlgorithmExplorer
from metalearn_edu.study import evidence, select_meta_learning_algorithm
from metalearn_edu.study.estimates import best_map
from tests.made_up_study import PLANES, made_up, truth

STUDY = made_up(data=("glyphs", "omniglot"))


@pytest.fixture(scope="module")
def explorer():
    return AlgorithmExplorer(STUDY)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"n_way": 2, "n_shot": 20, "n_classes": 20},
        {"n_way": 50, "n_shot": 1, "n_classes": 1600, "data": "omniglot"},
    ],
)
def test_draws_and_says_what_the_selector_says(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    full = {**explorer.state, **state}
    images = full["n_classes"] * max(20, full["n_shot"] + 1)
    answer = select_meta_learning_algorithm(
        images,
        full["n_way"],
        full["n_shot"],
        n_classes=full["n_classes"],
        data=full["data"],
        study=STUDY,
    )
    assert explorer.describe(**full) == " ".join(answer.sentences())


def test_the_rows_stand_in_order_at_the_expected_accuracy(explorer):
    right = explorer.figure(n_way=20, n_shot=5, n_classes=800).axes[1]
    assert [label.get_text() for label in right.get_yticklabels()] == ["ProtoNet", "MAML", "MANN"]
    got = [container.lines[0].get_xdata()[0] for container in right.containers]
    expected = [100 * truth(name, 800, 20, 5) for name in PLANES]
    assert got == pytest.approx(expected, abs=0.1)


def test_the_map_shows_the_best_of_the_plane():
    sizes, ways = [30.0, 100.0, 1000.0], [3.0, 10.0, 40.0]
    best = best_map(evidence(STUDY, "glyphs"), sizes, ways, 2)
    assert best.shape == (3, 3) and len(np.unique(best)) == 2
    for (i, way), (j, size) in product(enumerate(ways), enumerate(sizes)):
        edge = min(max(size, 50), 800), min(max(way, 5), 20)  # of what was measured
        accuracies = [truth(name, *edge, 2) for name in PLANES]
        assert best[i, j] == int(np.argmax(accuracies))


def test_there_are_always_classes_for_the_ways(explorer):
    explorer.set(n_classes=20, n_way=5)
    explorer.inputs["n_way"].value = 36
    assert explorer.state["n_classes"] == 50
    explorer.inputs["n_classes"].value = SIZES[0]
    assert explorer.state["n_classes"] == 50
    explorer.reset()
