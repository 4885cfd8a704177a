"""Queries that inform each other are found, and nothing else."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import (
    check_transduction,
)
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import MAML, MAMLModel, PrototypicalNetwork
from metalearn_edu.tasks import EpisodeBatch, Sinusoids
from tests.diagnostics.random_episodes import image_sampler, make_episodes


def convnet(norm, train=False):
    torch.manual_seed(0)
    encoder = ConvNet(width=4, image_size=8, n_blocks=2, norm=norm)
    return PrototypicalNetwork(encoder).train(train)


IMAGES = make_episodes(item=(1, 8, 8))


@pytest.mark.parametrize(
    ("norm", "train", "transductive"),
    [("group", True, False), ("batch", False, False), ("batch", True, True)]
    + [("batch_transductive", mode, True) for mode in (True, False)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_statistics_are_transductive(norm, train, transductive, dtype):
    learner = convnet(norm, train).to(dtype)
    state = {name: t.clone() for name, t in learner.state_dict().items()}
    report = check_transduction(learner, IMAGES.to(dtype=dtype))
    assert report.ok is not transductive
    assert all(torch.equal(t, state[name]) for name, t in learner.state_dict().items())
    if transductive:
        assert "queries inform each other: accuracy" in report.problems[0]
        assert "encoder.blocks.0.1" in report.problems[0]
        assert "tasks inform each other" in report.problems[1]


def test_both_accuracies_are_reported():
    """A function that sorts its queries knows what nobody knows about a single one."""

    def balanced(support_x, support_y, query_x):
        place = query_x[..., 0].argsort(dim=1).argsort(dim=1)
        return F.one_hot(place * 2 // query_x.shape[1], 2).double()

    x = torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)
    y = torch.tensor([[0, 1]])
    report = check_transduction(balanced, EpisodeBatch(x, y, x + 5, y))
    assert report.figures["accuracy, all queries at once"] == 1.0
    assert report.figures["accuracy, one by one"] == 0.5
    assert "100.0% with all queries at once, 50.0% one by one" in str(report)


def test_tasks_that_inform_each_other_are_told_apart_from_queries():
    def centred(support_x, support_y, query_x):
        return query_x - support_x.mean(dim=(0, 1))

    assert "tasks inform" in (text := str(check_transduction(centred, make_episodes(item=(3,)))))
    assert "queries inform" not in text


def test_a_learner_that_cannot_score_one_query_is_transductive():
    learner = PrototypicalNetwork(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))).double()
    report = check_transduction(learner, make_episodes())
    assert "cannot be scored alone" in str(report)


def test_random_scores_cannot_be_compared():
    learner = PrototypicalNetwork(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))).double()
    assert "two equal calls" in str(check_transduction(learner, make_episodes()))
    assert check_transduction(learner.eval(), make_episodes())


def test_regression_reports_squared_errors():
    episodes = Sinusoids(5, 4).episodes(0, 0, 2).to(dtype=torch.float64)
    learner = MAML(MAMLModel(1, 8, 1), loss_fn=F.mse_loss).double()
    report = check_transduction(learner, episodes)
    assert report
    assert report.figures["squared error, one by one"] == pytest.approx(
        report.figures["squared error, all queries at once"]
    )


@pytest.mark.parametrize("norm", ["group", "batch", "batch_transductive"])
def test_evaluation_reports_transduction_and_the_same_scores(norm):
    options = {"n_episodes": 6, "seed": 3}
    plain = evaluate_meta_learner(convnet(norm), image_sampler(), **options)
    checked = evaluate_meta_learner(
        convnet(norm), image_sampler(), check_transduction=True, **options
    )
    assert plain.transductive is None
    assert checked.transductive is (norm == "batch_transductive")
    assert torch.equal(plain.values, checked.values)
    word = "transductive" if norm == "batch_transductive" else "inductive"
    assert f", {word};" in str(checked)
    assert "ductive" not in str(plain)


def test_evaluation_calls_a_learner_transductive_that_needs_two_queries():
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    learner = PrototypicalNetwork(nn.Sequential(nn.Flatten(), nn.Linear(64, 3), norm))
    result = evaluate_meta_learner(learner, image_sampler(), n_episodes=2, check_transduction=True)
    assert result.transductive is True


def test_one_query_a_task_shows_nothing_of_transduction():
    x = torch.ones(2, 1, 1)
    single = EpisodeBatch(x, x, x, x)
    with pytest.raises(ValueError, match="one query per task"):
        check_transduction(lambda *inputs: inputs[2], single)


@pytest.mark.parametrize(
    ("learner", "episodes"), [(None, make_episodes()), (lambda *x: x[0], None)]
)
def test_transduction_of_nothing_is_refused(learner, episodes):
    with pytest.raises(ValueError, match="need learner, a function, and episodes"):
        check_transduction(learner, episodes)
