import pytest

from metalearn_edu.explorers.algorithms import SIZES, AlgorithmExplorer
from metalearn_edu.study import select_meta_learning_algorithm
from tests.made_up_study import CLASSES, PLANES, made_up, truth

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
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "ProtoNet",
        "MAML\n(zero head, 1 step)",
        "MANN\n(with metric loss)",
    ]
    got = [container.lines[0].get_xdata()[0] for container in right.containers]
    expected = [100 * truth(name, 800, 20, 5) for name in PLANES]
    assert got == pytest.approx(expected, abs=0.1)


def test_the_lines_pass_through_the_measured_accuracies(explorer):
    left = explorer.figure(n_way=20, n_shot=5, n_classes=200).axes[0]
    dotted = [line for line in left.lines if line.get_marker() not in ("", "None", None)]
    assert len(dotted) == len(PLANES)
    for line, name in zip(dotted, ("prototypical", "maml", "mann"), strict=True):
        assert list(line.get_xdata()) == list(CLASSES)
        expected = [100 * truth(name, n, 20, 5) for n in CLASSES]
        assert line.get_ydata() == pytest.approx(expected, abs=0.1)


def test_between_the_cells_there_are_lines_without_dots(explorer):
    left = explorer.figure(n_way=10, n_shot=5, n_classes=200).axes[0]
    assert all(line.get_marker() in ("", "None", None) for line in left.lines)
    assert "no dots" in left.get_title(loc="left")


def test_there_are_always_classes_for_the_ways(explorer):
    explorer.set(n_classes=20, n_way=5)
    explorer.inputs["n_way"].value = 36
    assert explorer.state["n_classes"] == 50
    explorer.inputs["n_classes"].value = SIZES[0]
    assert explorer.state["n_classes"] == 50
    explorer.reset()
