import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from metalearn_edu.plotting.words import alt_text
from metalearn_edu.study.project import Prediction, ProjectReport, plot_project

PREDICTION = Prediction(question="Which?", low=0.5, high=0.65, against="worse")


def report(**changes):
    """Three seeds of 200 episodes around 60 %, another network around 70 %: all as it should be."""
    generator = np.random.default_rng(0)
    luck = np.array([[-0.01], [0.0], [0.01]]) + generator.normal(0, 0.02, (3, 200))
    sound = {
        "prediction": PREDICTION,
        "accuracy": 0.6 + luck - luck.mean(),
        "other": np.full(200, 0.7),
        "claim": "worse",
        "tried": ["a", "b"],
        "chosen_on": "meta-val",
        "minutes": 9.0,
    }
    return ProjectReport(**(sound | changes))


def test_figures_by_hand():
    # Seeds 0.5 and 0.7: standard error 0.1 with one degree of freedom, whose factor is 12.706.
    found = report(accuracy=[[0.5, 0.5], [0.7, 0.7]], other=[0.4, 0.4])
    assert found.measured.value == pytest.approx(0.6)
    assert found.measured.half_width == pytest.approx(12.706 * 0.1, rel=1e-3)
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.half_width == pytest.approx(12.706 * 0.1, rel=1e-3)
    assert found.verdict == "cannot tell"


def test_the_difference_is_paired_by_episode():
    hard = np.tile([0.0, 1.0], 100)
    found = report(accuracy=0.8 * np.stack([hard] * 3), other=hard)
    assert found.measured.half_width > 0.05
    # Differences 0 and -0.2, half of each: the seeds agree, 200 episodes with deviation 0.1.
    error = 0.1 * math.sqrt(200 / 199) / math.sqrt(200)
    assert found.difference.half_width == pytest.approx(1.972 * error, rel=1e-3)
    assert found.verdict == "worse"


@pytest.mark.parametrize(
    ("other", "verdict"), [(0.5, "better"), (0.6, "cannot tell"), (0.7, "worse")]
)
def test_what_may_be_claimed(other, verdict):
    assert report(other=np.full(200, other), claim=verdict).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "surprise", "words"),
    [
        (0.5, 0.65, 0, "right"),
        (0.65, 0.7, -0.05, "5.0 points below"),
        (0.4, 0.58, 0.02, "2.0 points above"),
    ],
)
def test_a_prediction_is_held_against_the_mean(low, high, surprise, words):
    found = report(prediction=replace(PREDICTION, low=low, high=high))
    assert found.surprise == pytest.approx(surprise, abs=1e-12) and words in str(found)


def test_a_sound_report_meets_no_objection():
    assert report().objections == []
    assert "none that figures alone can show" in str(report())


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"accuracy": np.full((2, 200), 0.6)}, "2 seeds show little"),
        ({"accuracy": np.full((3, 50), 0.6), "other": np.full(50, 0.7)}, "50 episodes are few"),
        ({"minutes": 12.5}, "12.5 minutes of training, where 10 were allowed"),
        ({"minutes": 0.2}, "12 seconds of training: a trial run"),
        ({"chosen_on": "meta-test"}, "chosen on meta-test"),
        ({"chosen_on": "meta-train"}, "chosen on meta-train"),
        ({"prediction": replace(PREDICTION, low=0.3)}, "35 points wide"),
        ({"claim": "better"}, "the claim is 'better', but -10.0 points"),
        ({"claim": "cannot tell"}, "allows 'worse'"),
    ],
)
def test_each_objection_alone(changes, objection):
    (found,) = report(**changes).objections
    assert objection in found and found in str(report(**changes))


def test_one_setting_needs_no_choice():
    assert report(tried=["a"], chosen_on="meta-train").objections == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": np.zeros(200)}, r"got \(200,\) and \(200,\)"),
        ({"other": np.zeros(100)}, r"got \(3, 200\) and \(100,\)"),
        ({"accuracy": np.zeros((3, 1)), "other": np.zeros(1)}, "2 episodes or more"),
        ({"claim": "best"}, "claim must be one of better, worse, cannot tell"),
        ({"chosen_on": "test"}, "chosen_on must be one of meta-train"),
        ({"tried": []}, "tried must list"),
        ({"tried": "width 32"}, "tried must list"),
        ({"minutes": 0}, "minutes must be"),
    ],
)
def test_what_is_no_report_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        report(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 0.7}, "low below high"),
        ({"low": 94, "high": 97}, "fractions"),
        ({"against": "equal"}, "against must be one of"),
    ],
)
def test_what_is_no_prediction_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PREDICTION, **changes)


def test_tensors_will_do():
    found = report(accuracy=torch.full((3, 200), 0.6), other=torch.full((200,), 0.6))
    assert found.difference.value == pytest.approx(0) and found.verdict == "cannot tell"
    assert "60.0 % on the same episodes" in str(found)


def test_the_picture_shows_the_figures_of_the_report():
    found = report()
    fig = plot_project(found)
    ax = fig.axes[0]
    seeds = ax.lines[0].get_xdata()
    assert list(seeds) == pytest.approx(100 * found.accuracy.mean(axis=1))
    assert "worse" in ax.get_title() and "-10.0 points" in ax.get_title()
    assert "Predicted 50.0 to 65.0 %" in alt_text(fig) and "70.0 %" in alt_text(fig)
    plt.close(fig)
