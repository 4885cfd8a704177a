from dataclasses import replace

import pytest
import torch
from matplotlib.colors import to_rgb
from torch import nn

from metalearn_edu.explorers.prototypes import (
    PrototypeExplorer,
    TaskView,
    plot_regions,
    principal_plane,
)
from metalearn_edu.learners import PrototypicalNetwork
from metalearn_edu.plotting import class_look, new_figure
from metalearn_edu.tasks import EpisodeSampler, FewShotDataset


@pytest.fixture(scope="module")
def embedded():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(9, 1, 6, generator=generator)
    items = centres + 0.8 * torch.randn(9, 20, 6, generator=generator)
    return FewShotDataset(items.flatten(0, 1), torch.arange(9).repeat_interleave(20))


def test_three_points_lie_in_their_plane():
    points = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mean, axes = principal_plane(points)
    torch.testing.assert_close(axes.T @ axes, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(mean + (points - mean) @ axes @ axes.T, points)


def test_plane_holds_the_largest_spread():
    points = torch.randn(200, 4, generator=torch.Generator().manual_seed(2))
    points *= torch.tensor([0.1, 5.0, 0.1, 2.0])
    _, axes = principal_plane(points)
    wanted = torch.tensor([[0.0, 0], [1, 0], [0, 0], [0, 1]])
    torch.testing.assert_close(axes, wanted, atol=0.05, rtol=0)


@pytest.mark.parametrize("shape", [(2, 6), (5, 1), (6,)])
def test_plane_refuses_too_few_points(shape):
    with pytest.raises(ValueError, match="N >= 3 and d >= 2"):
        principal_plane(torch.zeros(shape))


def test_regions_take_the_colour_of_the_winner():
    ax = new_figure().add_subplot()
    corners = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    plot_regions(lambda z: -50 * torch.cdist(z, corners), (-2, 2), (-1, 1), n_points=41, ax=ax)
    image = torch.tensor(ax.images[0].get_array())
    for column, label in ((0, 0), (-1, 1)):  # far from the border the colour is full
        full = 0.45 + 0.55 * torch.tensor(to_rgb(class_look(label)["color"]))
        torch.testing.assert_close(image[20, column], full, check_dtype=False)
    torch.testing.assert_close(image[20, 20], torch.ones(3), check_dtype=False)  # chance is white
    border = ax.collections[0].get_paths()[0].vertices
    assert abs(border[:, 0]).max() < 1e-6


def test_one_winner_everywhere_has_no_border():
    ax = new_figure().add_subplot()
    plot_regions(lambda z: torch.tensor([[1.0, 0.0]]).expand(len(z), 2), (0, 1), (0, 1), ax=ax)
    assert not ax.collections


@pytest.mark.parametrize("n_way", [3, 8])
@pytest.mark.parametrize("n_shot", [1, 10])
@pytest.mark.parametrize("distance", ["squared_euclidean", "euclidean", "cosine"])
def test_draws_its_whole_range(embedded, n_way, n_shot, distance):
    explorer = PrototypeExplorer(embedded)
    state = {"n_way": n_way, "n_shot": n_shot, "distance": distance, "episode": 19}
    state["temperature"] = 0.3
    ax = explorer.figure(**state).axes[0]
    drawn = {line.get_label(): line for line in ax.lines}
    n_wrong = len(drawn["wrong"].get_xdata())
    assert f"{10 * n_way - n_wrong} of {10 * n_way} queries right" in explorer.describe(**state)
    assert all(len(drawn[str(label)].get_xdata()) == 10 for label in range(n_way))


def test_three_classes_are_shown_as_they_are(embedded):
    # The plane holds all three prototypes, so that a query's region is its true answer.
    explorer = PrototypeExplorer(embedded)
    state = {"n_way": 3, "n_shot": 2, "distance": "squared_euclidean", "temperature": 1}
    _, view = explorer._view(**state, episode=4)
    flat = torch.cdist(view.place(view.query_z), view.place(view.prototypes)).argmin(dim=1)
    assert torch.equal(flat == view.query_y, view.right)


def test_distance_changes_how_sure_but_not_who_wins(embedded):
    explorer = PrototypeExplorer(embedded)
    state = {"n_way": 5, "n_shot": 1, "episode": 0, "temperature": 1}
    squared, plain = (
        explorer._view(distance=d, **state)[1] for d in ("squared_euclidean", "euclidean")
    )
    assert torch.equal(squared.right, plain.right)
    assert squared.top > plain.top


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_temperature_changes_how_sure_but_not_who_wins(embedded, distance):
    explorer = PrototypeExplorer(embedded)
    state = {"n_way": 5, "n_shot": 1, "distance": distance, "episode": 0}
    cold, warm = (explorer._view(temperature=t, **state)[1] for t in (0.05, 10))
    assert torch.equal(cold.right, warm.right)
    assert cold.top > warm.top


def test_the_limits_fill_the_axes(embedded):
    ax = PrototypeExplorer(embedded).figure().axes[0]
    wide, high = ax.get_position(original=True).size * ax.figure.get_size_inches()
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    assert (x1 - x0) / (y1 - y0) == pytest.approx(wide / high, rel=0.01)


def test_a_plane_is_turned_to_another_one(embedded):
    batch = EpisodeSampler(embedded, 5, 1, 10).episodes(0, 0, 1)
    view = TaskView.of(PrototypicalNetwork(nn.Identity()), batch)
    angle = torch.tensor(2.0)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    turned = replace(view, axes=view.axes @ turn @ torch.diag(torch.tensor([1.0, -1.0])))
    back = turned.turned_to(view)
    torch.testing.assert_close(back.axes, view.axes, atol=1e-4, rtol=0)


def test_the_widget_moves(embedded):
    explorer = PrototypeExplorer(embedded, n_way=4)
    before = explorer.picture.value
    explorer.set(n_shot=5)
    assert explorer.picture.value != before
    assert "4-way 5-shot, squared Euclidean distance" in explorer.text.value
