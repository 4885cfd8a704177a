import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from metalearn_edu.backbones import ConvNet
from metalearn_edu.explorers.step_sizes import (
    StepSizeExplorer,
    layer_names,
    plot_step_sizes,
    scaled,
)
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD


def spread(learner):
    """The learner with rates from -1/4 of 0.02 to 3/4 of it, so that a quarter is negative."""
    with torch.no_grad():
        for rate in learner.step_sizes:
            n = rate.numel()
            rate.copy_((0.02 * (torch.arange(n) / n - 0.25)).view_as(rate))
    return learner


@pytest.fixture
def explorer():
    torch.manual_seed(0)
    meta_sgd = spread(MetaSGD(MAMLModel(1, 8, 1), loss_fn=F.mse_loss))
    maml = MAML(MAMLModel(1, 8, 1), num_inner_steps=1, loss_fn=F.mse_loss)
    return StepSizeExplorer(meta_sgd, maml)


def curve(explorer, label, **state):
    right = explorer.figure(**state).axes[1]
    return next(line for line in right.lines if line.get_label() == label).get_ydata()


@pytest.mark.parametrize(
    "state",
    [
        {"num_inner_steps": 0},
        {"num_inner_steps": 5, "n_shot": 1, "amplitude": 5.0, "phase": 3.1},
        {"num_inner_steps": 1, "n_shot": 20, "amplitude": 0.1, "phase": 0.0, "points": 9},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    assert "step sizes from -0.005 to 0.015" in explorer.describe(**{**explorer.state, **state})


@pytest.mark.parametrize("name, learner", [("MAML", "maml"), ("Meta-SGD", "meta_sgd")])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_curves_are_what_the_learners_say(explorer, name, learner, steps):
    lines = explorer.figure(n_shot=7, phase=2.0).axes[1].lines
    x, y = next(line for line in lines if line.get_label() == "support").get_data()
    assert len(x) == 7
    torch.testing.assert_close(torch.tensor(y), 3.0 * torch.sin(torch.tensor(x) - 2.0))
    predictor = getattr(explorer, learner).adapt(
        torch.tensor(x)[:, None], torch.tensor(y)[:, None], num_inner_steps=steps
    )
    expected = predictor(torch.linspace(-5, 5, 201)[:, None])[:, 0].detach()
    got = curve(explorer, name, n_shot=7, phase=2.0, num_inner_steps=steps)
    torch.testing.assert_close(torch.tensor(got), expected)


def test_learners_are_not_changed(explorer):
    learners = (explorer.meta_sgd, explorer.maml)
    before = [{n: p.clone() for n, p in m.state_dict().items()} for m in learners]
    explorer.set(num_inner_steps=5, n_shot=3)
    for state, learner in zip(before, learners, strict=True):
        assert all(torch.equal(state[n], p) for n, p in learner.state_dict().items())


def test_moved_widget_redraws_and_names_what_left_the_picture(explorer):
    before = explorer.picture.value
    explorer.inputs["phase"].set_state({"value": 2.0})
    assert explorer.picture.value != before
    assert "Off the plot" not in explorer.text.value
    with torch.no_grad():
        for rate in explorer.meta_sgd.step_sizes:
            rate.fill_(3.0)
    explorer.set(num_inner_steps=3, amplitude=5.0)
    assert "Off the plot: Meta-SGD." in explorer.text.value
    assert "Meta-SGD diverges" in explorer.text.value


def test_every_tensor_gets_its_row_and_its_share_of_negative_rates():
    learner = spread(MetaSGD(MAMLModel(1, 40, 1)))
    ax = plot_step_sizes(learner, ax=Figure().add_subplot())
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows == [f"{layer} {p}" for layer in ("layer 1", "layer 2", "output") for p in PARTS]
    assert [text.get_text() for text in ax.texts] == ["25 %"] * 5 + ["100 %", "below 0"]
    for row, rate in enumerate(learner.step_sizes):
        dots, middle = ax.lines[2 * row : 2 * row + 2]
        values = set(rate.detach().flatten().tolist())
        assert {float(v) for v in dots.get_xdata()} <= values
        assert 0 < len(dots.get_xdata()) <= 200
        assert list(middle.get_xdata()) == pytest.approx(
            torch.quantile(rate.detach().flatten(), torch.tensor([0.25, 0.75])).tolist()
        )
        assert ((dots.get_ydata() - row) ** 2 <= 0.25**2).all()


PARTS = ("weight", "bias")


def test_layers_of_a_convolutional_network_are_numbered_in_order():
    names = layer_names(ConvNet(width=4, output_dim=3, image_size=8, n_blocks=2))
    assert list(names.values()) == [
        f"{layer} {part}"
        for layer in ("layer 1", "layer 2", "layer 3", "layer 4", "output")
        for part in PARTS
    ]
    assert names["head.bias"] == "output bias"


def test_scales_one_layer_of_a_copy(explorer):
    learner = explorer.meta_sgd
    before = [rate.detach().clone() for rate in learner.step_sizes]
    changed = scaled(learner, "layer 2", -0.5)
    names = list(layer_names(learner.model).values())
    for name, old, new, kept in zip(
        names, before, changed.step_sizes, learner.step_sizes, strict=True
    ):
        factor = -0.5 if name.startswith("layer 2") else 1
        assert torch.equal(new, factor * old) and torch.equal(kept, old)
    everything = scaled(learner, "all layers", 2.0)
    for old, new in zip(before, everything.step_sizes, strict=True):
        assert torch.equal(new, 2 * old)


def test_step_sizes_of_zero_leave_the_start(explorer):
    start = curve(explorer, "Meta-SGD", num_inner_steps=0)
    still = curve(explorer, "Meta-SGD", num_inner_steps=1, factor=0.0)
    assert (start == still).all()
    assert (start != curve(explorer, "Meta-SGD", num_inner_steps=1)).any()
    assert explorer.inputs["layer"].options == ("all layers", "layer 1", "layer 2", "output")


def test_says_what_was_changed(explorer):
    assert "times" not in explorer.text.value
    explorer.set(layer="output", factor=2.0)
    assert "Step sizes of output times 2." in explorer.text.value
