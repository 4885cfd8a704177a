"""Many comparisons at once, against closed forms and corrections by hand."""

import math
from itertools import product

import numpy as np
import pytest

from metalearn_edu.study import compare_in_every_cell, load_study, real_ones
from metalearn_edu.study.comparisons import Comparison
from metalearn_edu.study.estimates import Estimate, student, tail
from tests.made_up_study import CLASSES, PLANES, SHOTS, WAYS, made_up, truth


def at(p_values):
    """Comparisons with these p-values, of 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2)."""
    inside = [1 - p for p in p_values]
    ts = [math.sqrt(2 * q * q / (1 - q * q)) for q in inside]
    return [Comparison("glyphs", 50, 5, 1, "a", "b", Estimate(t, 1.0, 2)) for t in ts]


@pytest.mark.parametrize("t", [0.0, 0.5, 1.96, 4.303, 20.0])
def test_the_tail_has_its_closed_forms(t):
    assert tail(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-6)
    assert tail(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-6)
    assert tail(t, 1e9) == pytest.approx(math.erfc(t / math.sqrt(2)), abs=1e-4)


def test_the_limits_of_other_shares_have_theirs():
    q = 1 - 0.05 / 24
    assert student(2, q) == pytest.approx(math.sqrt(2) * q / math.sqrt(1 - q * q), rel=1e-4)
    assert student(1, 0.5) == pytest.approx(1, abs=1e-4)
    assert tail(student(5.5, 0.9), 5.5) == pytest.approx(0.1, abs=1e-6)


def test_a_value_without_error_is_sure():
    assert Estimate(0.1, 0.0, math.inf).p_value == 0 and Estimate(0.0, 0.0, 3).p_value == 1
    assert Estimate(-0.1, 0.1, 2).p_value == pytest.approx(1 - 1 / math.sqrt(3), abs=1e-6)


def test_corrections_by_hand():
    found = at([0.005, 0.049, 0.011, 0.02, 0.9])
    # limits of Bonferroni 0.01 each; of Holm 0.01, 0.0125, 0.0167: the third, 0.02, fails
    assert real_ones(found) == [True, True, True, True, False]
    assert real_ones(found, "Bonferroni") == [True, False, False, False, False]
    assert real_ones(found, "Holm") == [True, False, True, False, False]
    assert real_ones(found, "Holm", 0.09) == [True, False, True, True, False]
    assert real_ones([], "Holm") == []


def test_of_equals_a_correction_calls_none_real_19_times_out_of_20():
    rng, wrong = np.random.default_rng(0), {"none": 0, "Bonferroni": 0, "Holm": 0}
    for _ in range(400):
        found = at(rng.uniform(0, 1, 24))
        for correction in wrong:
            wrong[correction] += any(real_ones(found, correction))
    assert wrong["Bonferroni"] <= wrong["Holm"] <= 400 * 0.09 < 400 * 0.6 < wrong["none"]


def test_every_cell_is_compared():
    study = made_up(data=("glyphs", "omniglot"))
    found = compare_in_every_cell(study, "mann", "maml")
    cells = [(c.data, c.n_classes, c.n_way, c.n_shot) for c in found]
    assert cells == list(product(("glyphs", "omniglot"), CLASSES, WAYS, SHOTS))
    for c in found:
        cell = c.n_classes, c.n_way, c.n_shot
        assert c.gap.value == pytest.approx(truth("mann", *cell) - truth("maml", *cell), abs=1e-3)
    for c in compare_in_every_cell(study):
        ranked = sorted(PLANES, key=lambda a: -truth(a, c.n_classes, c.n_way, c.n_shot))
        assert [c.first, c.second] == ranked[:2] and c.gap.value > 0


def test_it_is_the_difference_that_the_interval_is_of():
    for c in compare_in_every_cell(load_study()):
        within = abs(c.gap.value) > c.gap.half_width
        assert within == real_ones([c])[0]


def test_nonsense_is_refused():
    study = made_up()
    with pytest.raises(ValueError, match="must both be names, or neither; got maml, None"):
        compare_in_every_cell(study, "maml")
    with pytest.raises(ValueError, match="algorithm must be one of prototypical, maml, mann"):
        compare_in_every_cell(study, "maml", "relation")
    with pytest.raises(ValueError, match="correction must be one of none, Bonferroni, Holm"):
        real_ones([], "Tukey")
