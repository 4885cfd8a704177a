import math

import pytest
import torch

from metalearn_edu.explorers.task_space import N_NEAREST, TaskSpaceExplorer, task_plane
from metalearn_edu.learners import TaskConditionedNetwork


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    return TaskConditionedNetwork(1, 4, 8, 1, regression=True, conditioning="film")


@pytest.fixture
def explorer(learner):
    return TaskSpaceExplorer(learner)


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize(
    "state",
    [
        {"amplitude": 0.1, "phase": 0.0, "n_shot": 1},
        {"amplitude": 5.0, "phase": 3.1, "n_shot": 20, "points": 9},
        {"n_shot": 1, "points": 3},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    text = explorer.describe(**{**explorer.state, **state})
    assert "squared error" in text and "1 support points" not in text


def test_the_plane_says_all_about_a_wave():
    amplitude, phase, x = torch.tensor(3.0), torch.tensor(0.7), torch.linspace(-5, 5, 50)
    a, b = task_plane(amplitude, phase)
    torch.testing.assert_close(a * x.sin() - b * x.cos(), amplitude * torch.sin(x - phase))


def test_this_task_lies_where_it_is(explorer):
    left = explorer.figure(amplitude=2.0, phase=1.0).axes[0]
    x, y = (values[0] for values in line(left, "this task").get_data())
    assert (x, y) == pytest.approx((2 * math.cos(1), 2 * math.sin(1)))
    assert len(left.collections[0].get_offsets()) == 200


def test_the_curve_is_what_the_learner_says(explorer, learner):
    right = explorer.figure(n_shot=7, phase=2.0).axes[2]
    x, y = (torch.tensor(v)[:, None] for v in line(right, "support").get_data())
    assert len(x) == 7
    torch.testing.assert_close(y, 3 * torch.sin(x - 2))
    grid = torch.linspace(-5, 5, 201)[:, None]
    got = torch.tensor(line(right, "Task-conditioned").get_ydata())
    torch.testing.assert_close(got, learner.adapt(x, y)(grid)[:, 0].detach())


def test_rings_are_the_nearest_vectors_in_both_planes(explorer):
    view = explorer._view(explorer.state)
    x, y = (torch.tensor(v)[:, None] for v in line(explorer.figure().axes[2], "support").get_data())
    vector = explorer.learner.task_encoder(x[None], y[None])[0, 0].detach()
    order = sorted(range(200), key=lambda i: (explorer.vectors[i] - vector).norm().item())
    assert set(view.nearest.tolist()) == set(order[:N_NEAREST])
    tasks, vectors, _ = explorer.figure().axes
    for plane in (tasks, vectors):
        rings = torch.tensor(line(plane, "nearest vectors").get_xydata())
        places = torch.tensor(plane.collections[0].get_offsets().data)
        torch.testing.assert_close(rings, places[view.nearest], check_dtype=False)
    cross = torch.tensor(line(vectors, "this task").get_xydata())[0]
    torch.testing.assert_close(cross, explorer._project(vector), check_dtype=False)


def test_the_two_directions_keep_most_of_the_differences(explorer):
    places = explorer._project(explorer.vectors)
    centred = explorer.vectors - explorer.vectors.mean(dim=0)
    kept = places.var(dim=0).sum() / centred.var(dim=0).sum()
    largest = torch.linalg.svdvals(centred).square()
    torch.testing.assert_close(kept, largest[:2].sum() / largest.sum())


def test_the_learner_is_not_changed(explorer, learner):
    before = {name: p.clone() for name, p in learner.state_dict().items()}
    explorer.set(amplitude=5.0, n_shot=3)
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())


def test_moved_widget_redraws(explorer):
    before, text = explorer.picture.value, explorer.text.value
    explorer.inputs["phase"].set_state({"value": 2.0})
    assert explorer.picture.value != before and explorer.text.value != text
    explorer.reset()
    assert explorer.picture.value == before


@pytest.mark.parametrize("options", [{"regression": False}, {"task_embedding_dim": 1}])
def test_refuses_learners_without_a_plane_of_tasks(options):
    given = {"task_embedding_dim": 4, "regression": True} | options
    learner = TaskConditionedNetwork(1, hidden_dim=8, **given)
    with pytest.raises(ValueError, match="task_embedding_dim at least 2"):
        TaskSpaceExplorer(learner)
