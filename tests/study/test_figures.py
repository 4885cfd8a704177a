import matplotlib.pyplot as plt
import pytest

from metalearn_edu.study.figures import accuracy_axis, plot_study, plot_study_cost
from tests.drawn_text import overlaps
from tests.made_up_study import CLASSES, COST, made_up, truth


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_study_is_drawn_cell_by_cell():
    fig = plot_study(made_up(data=("glyphs", "omniglot")))
    assert len(fig.axes) == 2 * 4  # data sets, cells of n_way and n_shot
    assert [ax.get_title(loc="left") for ax in fig.axes[:2]] == ["5-way 1-shot", "5-way 5-shot"]
    of_maml = next(c for c in fig.axes[2].containers if c.get_label().startswith("MAML"))
    heights = of_maml.lines[0].get_ydata()
    assert heights == pytest.approx([100 * truth("maml", n, 20, 1) for n in CLASSES], abs=0.1)
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {
        "ProtoNet", "MAML (zero head, 1 step)", "MANN (with metric loss)", "chance"
    }  # fmt: skip
    assert overlaps(fig) == []


def test_the_cost_of_a_study_stands_below_its_accuracy():
    fig = plot_study_cost(made_up(), 20, 5)
    of_maml = next(c for c in fig.axes[0].containers if c.get_label().startswith("MAML"))
    (x,), (y,) = of_maml.lines[0].get_data()
    assert x == pytest.approx(4 * COST["maml"]) and y == pytest.approx(
        100 * truth("maml", 800, 20, 5), abs=0.1
    )
    assert overlaps(fig) == []
    assert "1 seed (its luck not counted)" in (
        plot_study_cost(made_up(seeds=(1,))).legends[0].get_title().get_text()
    )


def test_the_axis_of_accuracy_is_that_of_the_logit():
    ax = plt.figure().add_subplot()
    accuracy_axis(ax)
    heights = [ax.transData.transform((0, p))[1] for p in (20, 50, 80)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1])  # odds 1/4, 1, 4
    high = [ax.transData.transform((0, p))[1] for p in (80, 200 / 3, 94.117647)]  # odds 4, 2, 16
    assert high[2] - high[0] == pytest.approx(2 * (high[0] - high[1]))
    assert [text.get_text() for text in ax.get_yticklabels()][-3:] == ["90", "95", "98"]
