"""What a study says, in its place; weights between the cells."""

from itertools import product

import pytest

from metalearn_edu.study import Study, evidence
from metalearn_edu.study.evidence import axis_weights
from tests.made_up_study import made_up, truth

STUDY = made_up()


@pytest.mark.parametrize(
    ("value", "weights"),
    [
        (50, [1, 0, 0]),
        (200, [0, 1, 0]),
        (100, [0.5, 0.5, 0]),  # half-way in the logarithm
        (400, [0, 0.5, 0.5]),
        (25, [1.5, -0.5, 0]),
        (3200, [0, -1, 2]),
    ],
)
def test_weights_are_linear_in_the_logarithm(value, weights):
    assert axis_weights([50, 200, 800], value) == pytest.approx(weights)
    assert axis_weights([7], value) == pytest.approx([1])


def test_a_seed_that_lacks_a_cell_is_left_out():
    keep = [not (r.seed == 2 and r.algorithm == "mann" and r.n_way == 20) for r in STUDY.rows]
    rows = tuple(r for r, k in zip(STUDY.rows, keep, strict=True) if k)
    assert evidence(Study(rows, STUDY.right[keep]), "glyphs").n_seeds == 2
    few = [r.n_way == 5 or r.algorithm == "maml" for r in STUDY.rows]
    rows = tuple(r for r, k in zip(STUDY.rows, few, strict=True) if k)
    with pytest.raises(ValueError, match="no seed of the study has every cell of glyphs"):
        evidence(Study(rows, STUDY.right[few]), "glyphs")


def test_evidence_stands_in_its_place():
    found = evidence(STUDY, "glyphs")
    assert found.levels == ([50, 200, 800], [5, 20], [1, 5])
    assert found.accuracy["maml"].shape == (3, 2, 2, 3, 200)
    for (i, n), (j, way), (k, shot) in product(*map(enumerate, found.levels)):
        mean = found.accuracy["maml"][i, j, k].mean()
        assert mean == pytest.approx(truth("maml", n, way, shot), abs=2e-4)
