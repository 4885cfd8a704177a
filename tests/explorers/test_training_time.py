import itertools
import math

import pytest

from metalearn_edu.explorers.training_time import TrainingTimeExplorer
from tests.made_up_study import PLANES, made_up, over_time, truth

CELL = (5, 1)


def moments(cell, seconds):
    """What the made-up study scores after so many seconds, in percent."""
    return {name: 100 * (truth(name, 800, *cell) - 1 / seconds) for name in PLANES}


@pytest.fixture(scope="module")
def explorer():
    return TrainingTimeExplorer(over_time((10.0, 40.0)))


@pytest.mark.parametrize("cell", [CELL, (20, 5)])
@pytest.mark.parametrize("seconds", [10.0, 40.0])
def test_at_measured_times_it_shows_what_was_measured(explorer, cell, seconds):
    right = explorer.figure(cell=cell, seconds=seconds).axes[1]
    got = sorted(container.lines[0].get_xdata()[0] for container in right.containers)
    assert got == pytest.approx(sorted(moments(cell, seconds).values()), abs=0.2)
    assert ", measured:" in explorer.describe(cell=cell, seconds=seconds)


def test_between_them_logits_lie_on_a_straight_line(explorer):
    text = explorer.describe(cell=CELL, seconds=20.0)
    assert "interpolated between two measured times" in text
    start, end = (moments(CELL, t)["maml"] / 100 for t in (10, 40))
    odds = math.sqrt(start / (1 - start) * end / (1 - end))  # 20 is half-way from 10 to 40
    shown = float(text.split("MAML (zero head, 1 step) ")[1].split(" %")[0])
    assert shown == pytest.approx(100 * odds / (1 + odds), abs=0.2)


def test_the_slider_has_the_measured_times_and_some_between(explorer):
    stops = [value for _, value in explorer.inputs["seconds"].options]
    assert stops[0] == 10 and stops[-1] == 40 and stops == sorted(stops)
    factors = [after / before for before, after in itertools.pairwise(stops)]
    assert factors == pytest.approx([4 ** (1 / 4)] * 4)


def test_the_training_is_drawn_up_to_the_moment(explorer):
    early, late = (explorer.figure(seconds=t, cell=CELL).axes[0] for t in (10.0, 40.0))
    ends = [
        {line.get_xdata()[-1] for line in ax.lines if line.get_lw() == 2} for ax in (early, late)
    ]
    assert ends == [{10.0}, {40.0}]


def test_the_order_is_told():
    explorer = TrainingTimeExplorer(over_time((10.0, 40.0)))
    assert "The order is the same as at the start." in explorer.describe(seconds=40.0, cell=CELL)


def test_a_study_with_one_time_is_refused():
    with pytest.raises(ValueError, match="must have scored each training several times"):
        TrainingTimeExplorer(made_up())
