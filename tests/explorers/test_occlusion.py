import pytest
import torch
from torch import nn

from metalearn_edu.explorers.occlusion import OcclusionExplorer, covered
from metalearn_edu.learners import RelationNetwork
from metalearn_edu.tasks import FewShotDataset
from tests.drawn_text import overlaps, texts


class Ink(nn.Module):
    """A relation that we know: minus 40 times the mean squared difference."""

    def forward(self, class_z, query_z):
        return -40 * (class_z - query_z).square().flatten(3).mean(dim=3)


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    prints = torch.rand(6, 1, 1, 28, 28, generator=generator)
    noise = 0.3 * torch.randn(6, 6, 1, 28, 28, generator=generator)
    items = (255 * (prints + noise).clamp(0, 1)).to(torch.uint8).flatten(0, 1)
    return FewShotDataset(items, torch.arange(6).repeat_interleave(6))


@pytest.fixture
def explorer(pictures):
    learner = RelationNetwork(
        encoder=nn.Identity(), relation=Ink(), aggregate="mean", objective="cross_entropy"
    )
    return OcclusionExplorer(learner, pictures)


def test_a_square_on_every_place():
    copies = covered(torch.ones(1, 28, 28))
    assert copies.shape == (49, 1, 28, 28)
    assert copies[0, 0, :6, :6].sum() == 0 and copies[0].sum() == 28 * 28 - 36  # in the corner
    middle = copies[3 * 7 + 2, 0]  # row 3, column 2
    assert middle[10:18, 6:14].sum() == 0 and middle.sum() == 28 * 28 - 64
    assert (copies.amin(dim=0) == 0).all()  # together they cover all


def test_the_picture_itself_stays_and_must_fit():
    picture = torch.ones(3, 14, 21)
    covered(picture)
    assert picture.min() == 1
    with pytest.raises(ValueError, match="a picture of 28 x 30 has no 7 x 7 equal places"):
        covered(torch.ones(1, 28, 30))


def test_logits_are_those_of_the_covered_query(explorer):
    view = explorer._view(3, 9)
    expected = covered(view.picture)[:, None] - view.support
    torch.testing.assert_close(view.logits, -40 * expected.square().flatten(2).mean(dim=2))
    torch.testing.assert_close(
        view.whole, -40 * (view.picture - view.support).square().flatten(1).mean(dim=1)
    )
    assert view.label == 2  # four queries of each class
    others = view.whole.clone()
    others[2] = -torch.inf
    assert view.rival == int(others.argmax()) != 2


@pytest.mark.parametrize("state", [{"row": 0, "column": 0}, {"row": 6, "column": 6, "query": 19}])
def test_draws_its_corners(explorer, state):
    state = {**explorer.state, **state}
    fig = explorer.figure(**state)
    assert overlaps(fig) == []
    assert min(t.get_fontsize() for t in texts(fig)) >= 11
    view, place = explorer._view(0, state["query"]), 7 * state["row"] + state["column"]
    words = explorer.describe(**state)
    assert (
        f"logit {view.whole[view.label]:.1f} whole, {view.logits[place, view.label]:.1f}" in words
    )
    n_right = int((view.logits.argmax(dim=1) == view.label).sum())
    assert f"on {n_right} of 49 places the answer is right" in words


def test_the_maps_show_the_changes_with_their_numbers(explorer):
    view, (ax,) = explorer._view(0, 0), explorer.figure().axes
    own = view.logits[:, view.label] - view.whole[view.label]
    maps = [image.get_array() for image in ax.images if image.get_array().shape == (7, 7)]
    torch.testing.assert_close(torch.tensor(maps[0].data).flatten(), own)
    numbers = [t for t in ax.texts if t.get_text().strip("\N{MINUS SIGN}").isdigit()]
    rival = view.logits[:, view.rival] - view.whole[view.rival]
    assert len(numbers) == sum(int((c.abs() >= 0.95).sum()) for c in (own, rival))


def test_the_widget_moves_and_refresh_sees_the_network_as_it_is(explorer):
    before = explorer.picture.value
    explorer.inputs["row"].value = 6
    assert explorer.picture.value != before
    view = explorer._view(0, 0)
    assert explorer._view(0, 0) is view
    explorer.refresh()
    assert explorer._view(0, 0) is not view
