import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exact_posterior import posterior
from metalearn_edu.explorers.in_context import PLACES, InContextExplorer, points_by_hand
from metalearn_edu.learners import (
    MAML,
    ConditionalNeuralProcess,
    InContextTransformer,
    MAMLModel,
)
from metalearn_edu.tasks import GaussianProcesses


@pytest.fixture(scope="module")
def learners():
    torch.manual_seed(0)
    transformer = InContextTransformer(1, 1, 16, n_layers=2, n_heads=2)
    maml = MAML(MAMLModel(1, 8, 1), 0.01, loss_fn=F.mse_loss)
    return transformer, {"CNP": ConditionalNeuralProcess(1, 1, 16), "MAML": maml}


@pytest.fixture
def explorer(learners):
    return InContextExplorer(GaussianProcesses(), *learners)


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize(
    "state",
    [
        {"n_points": 1, "y_1": -2.5, "steps": 0},
        {"n_points": 5, "y_1": 2.5, "y_2": -2.5, "y_5": 2.5, "steps": 10},
        {"n_points": 2, "steps": 1},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    text = explorer.describe(**{**explorer.state, **state})
    assert "exact posterior" in text and "1 points" not in text and "1 inner steps" not in text


def test_points_are_where_the_sliders_say():
    state = {"n_points": 2, "y_1": 1.5, "y_2": -0.5, "y_3": 9.0}
    x, y = points_by_hand(state)
    assert x.flatten().tolist() == pytest.approx(PLACES[:2]) and y.tolist() == [[1.5], [-0.5]]


def test_curves_are_what_the_learners_say(explorer, learners):
    transformer, others = learners
    state = {**explorer.state, "n_points": 4, "steps": 3}
    x, y = points_by_hand(state)
    left, right = explorer.figure(**state).axes
    grid = torch.linspace(-2, 2, 121)[:, None]
    said = {
        "Transformer": (left, transformer.adapt(x, y)(grid)),
        "CNP": (right, others["CNP"].adapt(x, y)(grid)),
        "MAML": (right, others["MAML"].adapt(x, y, num_inner_steps=3)(grid)),
        "exact posterior": (right, posterior(GaussianProcesses(), x[None], y[None], grid[None])[0]),
    }
    for name, (axes, curve) in said.items():
        got = torch.as_tensor(line(axes, name).get_ydata()).flatten()
        torch.testing.assert_close(got, curve.detach().flatten(), atol=1e-5, rtol=1e-5)


def test_the_band_is_two_standard_deviations(explorer):
    left = explorer.figure(n_points=2).axes[0]
    x, y = points_by_hand({**explorer.state, "n_points": 2})
    mean, std = posterior(GaussianProcesses(), x[None], y[None], explorer.x[None])
    edge = left.collections[0].get_paths()[0].vertices[:, 1]
    assert edge.max() == pytest.approx((mean + 2 * std).max().item(), abs=1e-5)
    assert edge.min() == pytest.approx((mean - 2 * std).min().item(), abs=1e-5)


def test_steps_move_maml_alone_and_points_move_all(explorer):
    def curves(**state):
        left, right = explorer.figure(**state).axes
        lines = {line.get_label(): line.get_ydata() for ax in (left, right) for line in ax.lines}
        return {name: torch.as_tensor(y).flatten() for name, y in lines.items()}

    start, steps, points = curves(), curves(steps=9), curves(y_1=-2.0)
    for name in ("Transformer", "CNP", "exact posterior"):
        assert torch.equal(start[name], steps[name]) and not torch.equal(start[name], points[name])
    assert not torch.equal(start["MAML"], steps["MAML"])


def test_moved_widget_redraws(explorer):
    before, text = explorer.picture.value, explorer.text.value
    explorer.inputs["y_2"].set_state({"value": 2.0})
    assert explorer.picture.value != before and explorer.text.value != text
    explorer.reset()
    assert explorer.picture.value == before


def test_refuses_to_draw_no_other_learner(learners):
    with pytest.raises(ValueError, match="at least one learner, got none"):
        InContextExplorer(GaussianProcesses(), learners[0], {})
