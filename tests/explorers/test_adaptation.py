import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.explorers import adaptation
from metalearn_edu.explorers.adaptation import (
    AdaptationExplorer,
    GlyphAdaptationExplorer,
    adaptation_path,
)
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD
from metalearn_edu.tasks import EpisodeSampler, FewShotDataset


@pytest.fixture
def explorer():
    torch.manual_seed(0)
    first, second = (MAML(MAMLModel(1, 8, 1), loss_fn=F.mse_loss) for _ in range(2))
    return AdaptationExplorer({"MAML": first, "from scratch": second})


@pytest.fixture(scope="module")
def letters():
    generator = torch.Generator().manual_seed(0)
    prints = torch.rand(7, 1, 1, 6, 6, generator=generator)
    noise = 0.2 * torch.randn(7, 12, 1, 6, 6, generator=generator)
    items = (255 * (prints + noise).clamp(0, 1)).to(torch.uint8).flatten(0, 1)
    return FewShotDataset(items, torch.arange(7).repeat_interleave(12))


@pytest.fixture
def glyphs(letters):
    torch.manual_seed(0)
    learner = MAML(MAMLModel(36, 16, 3), inner_lr=1.0, num_inner_steps=2)
    return GlyphAdaptationExplorer(learner, letters)


def line(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def curve(explorer, label, **state):
    return line(explorer.figure(**state).axes[0], label).get_ydata()


def frozen(learner):
    return {name: p.clone() for name, p in learner.state_dict().items()}


@pytest.mark.parametrize("kind", [MAML, MetaSGD])
def test_the_path_is_where_adapt_leads_at_each_step(kind):
    torch.manual_seed(0)
    learner = kind(MAMLModel(2, 8, 3), max_inner_grad_norm=0.5)
    before = frozen(learner)
    x, y, query = torch.randn(6, 2), torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(4, 2)
    path = adaptation_path(learner, x, y, query, inner_lr=learner.inner_lr, n_steps=3)
    assert path.shape == (4, 4, 3) and not path.requires_grad
    for steps in range(4):
        expected = learner.adapt(x, y, num_inner_steps=steps)(query)
        torch.testing.assert_close(path[steps], expected.detach())
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())


def test_a_path_that_begins_each_step_with_an_empty_head_is_refused():
    learner = MAML(MAMLModel(2, 8, 3), zero_head=True)
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="without zero_head"):
        adaptation_path(learner, x, torch.arange(3), x, inner_lr=0.1, n_steps=2)


@pytest.mark.parametrize(
    "state",
    [
        {"num_inner_steps": 0},
        {"num_inner_steps": 20, "inner_lr": 0.1, "n_shot": 1, "amplitude": 5.0, "phase": 3.1},
        {"num_inner_steps": 1, "n_shot": 20, "amplitude": 0.1, "phase": 0.0, "points": 9},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    text = explorer.describe(**{**explorer.state, **state})
    assert "MAML" in text and "from scratch" in text and "1 inner steps" not in text


@pytest.mark.parametrize("steps", [0, 1, 20])
@pytest.mark.parametrize("name", ["MAML", "from scratch"])
def test_the_curves_are_what_the_learners_say(explorer, name, steps):
    state = {"n_shot": 7, "phase": 2.0, "num_inner_steps": steps}
    x, y = line(explorer.figure(**state).axes[0], "support").get_data()
    assert len(x) == 7
    torch.testing.assert_close(torch.tensor(y), 3.0 * torch.sin(torch.tensor(x) - 2.0))
    support_x, support_y = torch.tensor(x)[:, None], torch.tensor(y)[:, None]
    predictor = explorer.learners[name].adapt(support_x, support_y, num_inner_steps=steps)
    expected = predictor(torch.linspace(-5, 5, 201)[:, None])[:, 0].detach()
    torch.testing.assert_close(torch.tensor(curve(explorer, name, **state)), expected)


def test_the_errors_by_step_are_those_of_the_curves(explorer):
    truth = curve(explorer, "truth")
    errors = 10 ** line(explorer.figure().axes[1], "MAML").get_ydata()
    assert len(errors) == 21
    for steps in (0, 5, 20):
        squares = (curve(explorer, "MAML", num_inner_steps=steps) - truth) ** 2
        assert errors[steps] == pytest.approx(squares.mean(), rel=1e-4)
    assert errors[0] > errors[5] > errors[20]
    assert f"MAML {errors[0]:.2f} -> {errors[5]:.2f}" in explorer.describe(**explorer.state)


def test_more_shots_keep_the_first_points(explorer):
    few, many = (curve(explorer, "support", n_shot=n) for n in (3, 9))
    assert (few == many[:3]).all()


def test_learners_are_not_changed(explorer):
    learner = explorer.learners["MAML"]
    before = frozen(learner)
    explorer.set(inner_lr=0.1, num_inner_steps=20)
    assert learner.inner_lr == 0.01
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())


def test_moved_widget_redraws_and_warns_of_large_steps(explorer):
    before = explorer.picture.value
    explorer.inputs["phase"].set_state({"value": 2.0})
    assert explorer.picture.value != before
    explorer.set(num_inner_steps=20, inner_lr=0.1, n_shot=1, amplitude=5.0)
    assert "leaves the plot" in explorer.text.value


def test_a_path_that_explodes_is_drawn_at_the_edge_and_said(explorer, monkeypatch):
    def explode(learner, support_x, support_y, query_x, *, inner_lr, n_steps):
        return torch.tensor(10.0) ** torch.arange(n_steps + 1)[:, None, None] ** 2 * query_x

    monkeypatch.setattr(adaptation, "adaptation_path", explode)
    explorer.set(num_inner_steps=20, amplitude=1.0)
    assert "MAML" in explorer.text.value and "diverges" in explorer.text.value
    exponents = line(explorer.figure(amplitude=1.0).axes[1], "MAML").get_ydata()
    assert exponents[-1] == 2 and all(math.isfinite(e) for e in exponents)


def test_refresh_shows_further_training(explorer):
    before = explorer.picture.value
    with torch.no_grad():
        explorer.learners["MAML"].model[1].bias.add_(1.0)
    explorer.refresh()
    assert explorer.picture.value != before


def test_needs_a_learner():
    with pytest.raises(ValueError, match="learners must hold at least one"):
        AdaptationExplorer({})


@pytest.mark.parametrize(("steps", "inner_lr", "n_shot"), [(0, 0.1, 1), (2, 1.0, 5), (10, 4.0, 2)])
def test_letters_are_answered_as_the_learner_would(glyphs, letters, steps, inner_lr, n_shot):
    state = {"num_inner_steps": steps, "inner_lr": inner_lr, "n_shot": n_shot, "episode": 4}
    left, right = glyphs.figure(**state).axes
    task = EpisodeSampler(letters, 3, n_shot, 5).episodes(glyphs.seed, 4, 1)[0]
    learner = MAML(glyphs.learner.model, inner_lr=inner_lr)
    scores = learner.adapt(task.support_x, task.support_y, num_inner_steps=steps)(task.query_x)
    answers = scores.argmax(dim=1)
    wrong = answers != task.query_y
    assert [text.get_text() for text in left.texts[:-1]] == [str(int(a)) for a in answers[wrong]]
    assert len(left.patches) == int(wrong.sum())
    accuracy = right.lines[-1].get_ydata()
    assert accuracy[steps] == pytest.approx(100 * (~wrong).double().mean())
    text = glyphs.describe(**state)
    assert f"{int((~wrong).sum())} of 15 queries right" in text
    loss = F.cross_entropy(scores, task.query_y).item()
    assert f"loss {loss:.2f} nats" in text


def test_the_letters_move_and_start_where_the_learner_was_trained(glyphs):
    assert glyphs.state == {"num_inner_steps": 2, "inner_lr": 1.0, "n_shot": 1, "episode": 0}
    pictures = {glyphs.picture.value}
    for name, value in (("episode", 3), ("num_inner_steps", 0), ("n_shot", 4), ("inner_lr", 0.1)):
        glyphs.inputs[name].value = value
        pictures.add(glyphs.picture.value)
    assert len(pictures) == 5
    glyphs.new_episode()
    assert glyphs.state["episode"] == 4


def test_steps_that_remember_are_refused():
    normed = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    x, y = torch.zeros(6, 4), torch.arange(3).repeat(2)
    for learner in (
        MAML(MAMLModel(4, 5, 3), inner_optimizer="momentum"),
        MAML(normed, batch_norm="inductive"),
    ):
        with pytest.raises(ValueError, match="what they remember would be lost"):
            adaptation.adaptation_path(learner, x, y, x, inner_lr=0.1, n_steps=2)
