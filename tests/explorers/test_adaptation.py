import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.explorers.adaptation import AdaptationExplorer
from metalearn_edu.learners import MAML, MAMLModel


@pytest.fixture
def explorer():
    torch.manual_seed(0)
    first, second = (MAML(MAMLModel(1, 8, 1), loss_fn=F.mse_loss) for _ in range(2))
    return AdaptationExplorer({"MAML": first, "from scratch": second})


def curve(explorer, label, **state):
    lines = explorer.figure(**state).axes[0].lines
    return next(line for line in lines if label in line.get_label()).get_ydata()


@pytest.mark.parametrize(
    "state",
    [
        {"num_inner_steps": 0},
        {"num_inner_steps": 20, "inner_lr": 0.1, "n_shot": 1, "amplitude": 5.0, "phase": 3.1},
        {"num_inner_steps": 1, "n_shot": 20, "amplitude": 0.1, "phase": 0.0, "points": 9},
        {"start": "from scratch"},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    assert "squared error" in explorer.describe(**{**explorer.state, **state})


def test_no_step_changes_nothing_and_steps_come_nearer(explorer):
    start = curve(explorer, "start", num_inner_steps=0)
    assert (curve(explorer, "after", num_inner_steps=0) == start).all()
    truth = curve(explorer, "truth")
    errors = [
        ((curve(explorer, "after", num_inner_steps=n) - truth) ** 2).mean() for n in (0, 5, 20)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_the_curve_is_what_the_learner_says(explorer):
    learner = explorer.learners["MAML"]
    lines = explorer.figure(n_shot=7, phase=2.0).axes[0].lines
    x, y = next(line for line in lines if line.get_label() == "support").get_data()
    assert len(x) == 7
    torch.testing.assert_close(torch.tensor(y), 3.0 * torch.sin(torch.tensor(x) - 2.0))
    support_x, support_y = torch.tensor(x)[:, None], torch.tensor(y)[:, None]
    grid = torch.linspace(-5, 5, 201)[:, None]
    expected = learner.adapt(support_x, support_y, num_inner_steps=5)(grid)[:, 0]
    got = curve(explorer, "after", n_shot=7, phase=2.0)
    torch.testing.assert_close(torch.tensor(got), expected.detach())


def test_more_shots_keep_the_first_points(explorer):
    few, many = (curve(explorer, "support", n_shot=n) for n in (3, 9))
    assert (few == many[:3]).all()


def test_learners_are_not_changed(explorer):
    learner = explorer.learners["MAML"]
    before = {name: p.clone() for name, p in learner.state_dict().items()}
    explorer.set(inner_lr=0.1, num_inner_steps=20)
    assert learner.inner_lr == 0.01
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())


def test_moved_widget_redraws_and_warns_of_large_steps(explorer):
    before = explorer.picture.value
    explorer.inputs["phase"].set_state({"value": 2.0})
    assert explorer.picture.value != before
    explorer.set(num_inner_steps=20, inner_lr=0.1, n_shot=1, amplitude=5.0)
    assert "leaves the picture" in explorer.text.value


def test_needs_a_learner():
    with pytest.raises(ValueError, match="learners must hold at least one"):
        AdaptationExplorer({})
