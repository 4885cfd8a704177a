import pytest
import torch
from torch import nn

from metalearn_edu.exercises.lessons.maml import half_squared_error, linear_meta_gradient
from metalearn_edu.explorers import starts
from metalearn_edu.explorers.starts import StartExplorer
from metalearn_edu.learners import MAML
from metalearn_edu.tasks import EpisodeBatch
from tests.drawn_text import texts

KINDS = list(starts.VALLEYS)


@pytest.fixture
def explorer():
    return StartExplorer()


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("valleys", KINDS)
def test_each_valley_is_steep_across_and_flat_along_its_floor(valleys):
    for angle, hessian in zip(starts.VALLEYS[valleys], starts.curvatures(valleys), strict=True):
        torch.testing.assert_close(
            torch.linalg.eigvalsh(hessian), point(starts.ALONG, starts.ACROSS)
        )
        turn = torch.tensor(angle, dtype=torch.float64).deg2rad()
        floor = torch.stack([turn.cos(), turn.sin()])
        torch.testing.assert_close(hessian @ floor, starts.ALONG * floor)


@pytest.mark.parametrize(("inner_lr", "steps"), [(0.1, 1), (0.25, 3), (0.6, 2), (0.3, 0)])
def test_the_meta_gradient_is_that_of_the_loss_and_of_the_exercise(inner_lr, steps):
    start, h = point(-1.5, 0.7), 1e-5
    how = ("three directions", inner_lr, steps)
    by_differences = point(
        *(
            (starts.query_loss(start + s, *how) - starts.query_loss(start - s, *how)) / (2 * h)
            for s in h * torch.eye(2, dtype=torch.float64)
        )
    )
    got = starts.meta_gradient(start, *how)
    torch.testing.assert_close(got, by_differences, rtol=1e-6, atol=1e-8)
    parts = []
    for hessian, optimum in zip(starts.curvatures(how[0]), starts.OPTIMA, strict=True):
        x = 2**0.5 * torch.linalg.cholesky(hessian, upper=True)  # X'X / 2 is the Hessian
        query = 2**0.5 * torch.eye(2, dtype=torch.float64)
        task = (x, x @ optimum, query, query @ optimum)
        parts.append(linear_meta_gradient(start, *task, inner_lr, steps))
    torch.testing.assert_close(got, torch.stack(parts).mean(dim=0))


@pytest.mark.parametrize("valleys", KINDS)
@pytest.mark.parametrize("inner_lr", [-0.1, 0.0, 0.1, 0.25, 0.6])
def test_no_start_is_better_than_the_best(valleys, inner_lr):
    best = starts.best_start(valleys, inner_lr, 2)
    least = starts.query_loss(best, valleys, inner_lr, 2)
    torch.testing.assert_close(
        starts.meta_gradient(best, valleys, inner_lr, 2), point(0, 0), atol=1e-9, rtol=0
    )
    for move in (point(0.1, 0), point(-0.1, 0), point(0, 0.1), point(0, -0.1)):
        assert starts.query_loss(best + move, valleys, inner_lr, 2) >= least - 1e-12


def test_without_a_step_the_best_start_is_the_mean_and_with_the_right_one_it_is_elsewhere():
    mean = starts.OPTIMA.mean(dim=0)
    torch.testing.assert_close(starts.best_start("three directions", 0.0, 1), mean)
    best = starts.best_start("three directions", 1 / starts.ACROSS, 1)
    torch.testing.assert_close(best, starts.CROSSING)
    assert starts.query_loss(best, "three directions", 0.25, 1) == pytest.approx(0, abs=1e-20)
    assert starts.query_loss(best, "three directions", 0.25, 0) > 1.9


@pytest.mark.parametrize("inner_lr", [0.0, 0.1, 0.25, 0.6])
def test_valleys_of_one_direction_keep_the_start_at_the_mean(inner_lr):
    got = starts.best_start("one direction", inner_lr, 1)
    torch.testing.assert_close(got, starts.OPTIMA.mean(dim=0))


@pytest.mark.parametrize(("inner_lr", "grows"), [(0.2, False), (0.45, False), (0.55, True)])
def test_beyond_two_over_the_curvature_the_steps_diverge(inner_lr, grows):
    points = starts.path(point(0, 2), "one direction", inner_lr, 5)
    distance = (points[:, 0] - starts.OPTIMA[0])[:, 1].abs()
    assert bool((distance[1:] > distance[:-1]).all()) is grows


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"inner_lr": -0.1, "num_inner_steps": 5},
        {"inner_lr": 0.7, "num_inner_steps": 5, "start_1": 2.5, "start_2": -2.5},
        {"inner_lr": 0.25, "num_inner_steps": 0, "valleys": "one direction"},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    fig = explorer.figure(**state)
    assert min(text.get_fontsize() for text in texts(fig)) >= 11
    words = explorer.describe(**{**explorer.state, **state})
    assert "your start" in words and "1 inner steps" not in words


def test_the_words_say_the_losses_and_what_leaves(explorer):
    state = {**explorer.state, "inner_lr": 0.25}
    words = explorer.describe(**state)
    assert "best start (0.00, -1.30) 1.99 -> 0.00" in words and "Leaving" not in words
    gone = explorer.describe(**{**state, "inner_lr": 0.7, "num_inner_steps": 5})
    assert "multiplies the distance across a valley by -1.8" in gone
    assert "Leaving the picture: task" in gone


def test_outer_steps_lead_to_the_best_start(explorer):
    explorer.set(inner_lr=0.25)
    for _ in range(5):
        explorer.train()
    assert (explorer.state["start_1"], explorer.state["start_2"]) == (0.0, -1.3)
    explorer.buttons.children[0].click()
    assert explorer.state["inner_lr"] == 0.25
    explorer.reset()
    assert explorer.state["start_2"] == 1.5


def test_the_package_learns_the_start_that_the_explorer_shows():
    """MAML on a linear layer, one task of the explorer: the same meta-gradient."""
    layer = nn.Linear(2, 1, bias=False).double()
    layer.weight.data.copy_(point(-1.5, 0.7)[None])
    support = [
        2**0.5 * torch.linalg.cholesky(h, upper=True) for h in starts.curvatures("three directions")
    ]
    x = torch.stack(support)
    y = torch.stack([x @ c for x, c in zip(support, starts.OPTIMA, strict=True)])[..., None]
    query_x = 2**0.5 * torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
    query_y = query_x @ starts.OPTIMA[..., None]
    learner = MAML(layer, inner_lr=0.1, num_inner_steps=2, loss_fn=half_squared_error)
    learner.loss(EpisodeBatch(x, y, query_x, query_y)).backward()
    expected = starts.meta_gradient(point(-1.5, 0.7), "three directions", 0.1, 2)
    torch.testing.assert_close(layer.weight.grad[0], expected)
