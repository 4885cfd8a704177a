import pytest
import torch
from torch import nn

from metalearn_edu.explorers.relations import RelationExplorer, plot_relations
from metalearn_edu.learners import RelationNetwork
from metalearn_edu.plotting import new_figure
from metalearn_edu.tasks import FewShotDataset


class Nearness(nn.Module):
    """A relation that we know: minus the mean squared difference, times 10."""

    def forward(self, class_z, query_z):
        return -10 * (class_z - query_z).square().flatten(3).mean(dim=3)


def network(**options):
    return RelationNetwork(encoder=nn.Identity(), relation=Nearness(), **options)


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    prints = torch.rand(9, 1, 1, 8, 8, generator=generator)
    noise = 0.5 * torch.randn(9, 14, 1, 8, 8, generator=generator)
    items = (255 * (prints + noise).clamp(0, 1)).to(torch.uint8).flatten(0, 1)
    return FewShotDataset(items, torch.arange(9).repeat_interleave(14))


@pytest.fixture
def explorer(pictures):
    return RelationExplorer(network(aggregate="mean", objective="cross_entropy"), pictures)


def cells(ax):
    return [text.get_text() for text in ax.texts]


def test_the_table_writes_frames_and_marks_every_row():
    scores = torch.tensor([[1.25, -20.4], [-0.04, 0.3], [-1.0, -2.0]])
    ax = new_figure().add_subplot()
    classes, queries = torch.zeros(2, 1, 4, 4), torch.ones(3, 1, 4, 4)
    labels = torch.tensor([0, 1, 1])
    plot_relations(scores, labels, classes=classes, queries=queries, chosen=2, ax=ax)
    # own class and answer are one, are two, and the chosen query has all
    assert cells(ax) == ["1.2", "0.3", "−1.0", "−2.0"]
    own = [(round(p.get_x() + 0.46), round(p.get_y() + 0.46)) for p in ax.patches[:3]]
    assert own == [(0, 0), (1, 1), (1, 2)]
    assert ax.patches[3].get_y() == 1.5  # around the row of query 2
    given = [round(x - 0.36) for x in ax.lines[0].get_xdata()]
    assert given == [0, 1, 0]
    grid, left, top = (image.get_array() for image in ax.images)
    torch.testing.assert_close(torch.tensor(grid), scores)
    assert left.max() == 0 and top.min() == 1  # ink is dark, paper is white


@pytest.mark.parametrize("n_way", [3, 8])
@pytest.mark.parametrize(("n_shot", "aggregate"), [(1, "mean"), (6, "sum"), (10, "mean")])
def test_draws_its_whole_range(explorer, n_way, n_shot, aggregate):
    state = {"n_way": n_way, "n_shot": n_shot, "aggregate": aggregate, "episode": 19, "query": 9}
    table, pairs, bars = explorer.figure(**state).axes
    assert n_way + 9 <= len(cells(table)) <= n_way + 18
    assert len(bars.patches) == n_way
    assert pairs.get_ylim() == bars.get_ylim()  # each bar stands beside its pair
    shown = pairs.images[1].get_array()
    assert shown.shape == (8 * n_way, 8 * min(n_shot, 4))
    assert ("4 of" in pairs.get_title(loc="left")) is (n_shot > 4)
    assert table.get_title(loc="left").split()[0] in explorer.describe(**state)


def test_scores_are_those_of_the_learner(explorer):
    state = {"n_way": 4, "n_shot": 3, "aggregate": "mean", "episode": 2, "query": 5}
    view = explorer._view(**state)
    classes = view.support.mean(dim=1)
    expected = -10 * (view.queries[:, None] - classes).square().flatten(2).mean(dim=2)
    torch.testing.assert_close(view.scores, expected)
    bars = explorer.figure(**state).axes[2].patches
    assert [b.get_width() for b in bars] == pytest.approx(expected[5].tolist())
    given, label = int(expected[5].argmax()), int(view.labels[5])
    assert f"Query 5 is given class {given}" in explorer.describe(**state)
    assert (": right." in explorer.describe(**state)) is (given == label)


@pytest.mark.parametrize("n_way", [3, 5, 8])
def test_queries_come_from_every_class(explorer, n_way):
    view = explorer._view(n_way=n_way, n_shot=1, aggregate="mean", episode=0, query=0)
    assert view.labels.unique().tolist() == list(range(n_way))


def test_sum_and_mean_differ_from_two_shots_on(explorer):
    def scores(n_shot, aggregate):
        state = {"n_way": 4, "n_shot": n_shot, "episode": 1, "query": 0}
        return explorer._view(aggregate=aggregate, **state).scores

    assert torch.equal(scores(1, "mean"), scores(1, "sum"))
    assert (scores(2, "mean") - scores(2, "sum")).abs().max() > 1


@pytest.mark.parametrize(
    ("objective", "label"),
    [("mse", "relation score"), ("cross_entropy", "score (logit)")],
)
def test_says_what_the_scores_are(pictures, objective, label):
    explorer = RelationExplorer(network(objective=objective), pictures)
    assert explorer.state["aggregate"] == "sum"  # as the learner was trained
    bars = explorer.figure().axes[2]
    assert bars.get_xlabel() == label


def test_the_widget_moves_and_the_learner_stays(explorer):
    before = explorer.picture.value
    explorer.set(n_shot=5, aggregate="sum")
    assert explorer.picture.value != before
    assert "5-way 5-shot, sum of the support items" in explorer.text.value
    assert explorer.learner.aggregate == "mean"
    middle = explorer.picture.value
    explorer.inputs["query"].value = 7
    assert explorer.picture.value != middle


def test_refresh_sees_the_encoder_as_it_is_now(pictures):
    learner = network(aggregate="mean")
    learner.encoder = nn.Conv2d(1, 1, 1)
    explorer = RelationExplorer(learner, pictures)
    before = explorer._view(**explorer.state).scores
    with torch.no_grad():
        learner.encoder.weight.mul_(2)
    assert torch.equal(explorer._view(**explorer.state).scores, before)
    explorer.refresh()
    assert not torch.equal(explorer._view(**explorer.state).scores, before)
