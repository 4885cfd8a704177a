import pytest
import torch
from torch import nn

from metalearn_edu.explorers.reranking import RerankExplorer, reranked
from metalearn_edu.learners import PrototypicalNetwork
from metalearn_edu.tasks import FewShotDataset
from tests.drawn_text import overlaps, texts


def pixels(keep=64):
    """The first pixels as an embedding: the fewer, the worse the distance."""

    class First(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :keep]

    return PrototypicalNetwork(First())


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    prints = torch.rand(24, 1, 1, 8, 8, generator=generator)
    noise = 0.4 * torch.randn(24, 8, 1, 8, 8, generator=generator)
    items = (255 * (prints + noise).clamp(0, 1)).to(torch.uint8).flatten(0, 1)
    return FewShotDataset(items, torch.arange(24).repeat_interleave(8))


@pytest.fixture(scope="module")
def explorer(pictures):
    proposers = {"few pixels": (pixels(4), pictures), "all pixels": (pixels(), pictures)}
    return RerankExplorer(pictures, (pixels(), pictures), proposers)


@pytest.fixture
def scores():
    return torch.randn(2, 30, 7, generator=torch.Generator().manual_seed(1))


def test_the_best_of_a_short_list():
    first, second = torch.tensor([[3.0, 2, 1], [1, 2, 3]]), torch.tensor([[0.0, 5, 9], [9, 0, 5]])
    assert reranked(first, second, 1).tolist() == [0, 2]
    assert reranked(first, second, 2).tolist() == [1, 2]
    assert reranked(first, second, 3).tolist() == [2, 0]


def test_a_list_of_one_is_the_first_and_the_whole_list_the_second(scores):
    first, second = scores
    assert torch.equal(reranked(first, second, 1), first.argmax(dim=1))
    assert torch.equal(reranked(first, second, 7), second.argmax(dim=1))
    assert torch.equal(reranked(first, first, 3), first.argmax(dim=1))


def test_refuses_other_shapes_and_lists_that_do_not_exist(scores):
    with pytest.raises(ValueError, match=r"\(30, 7\) and second \(30, 6\)"):
        reranked(scores[0], scores[1][:, :6], 2)
    for n_kept in (0, 8):
        with pytest.raises(ValueError, match=rf"n_kept must lie in 1\.\.7, got {n_kept}"):
            reranked(*scores, n_kept)


def test_needs_a_proposer(pictures):
    with pytest.raises(ValueError, match="proposers is empty"):
        RerankExplorer(pictures, (pixels(), pictures), {})


def test_the_shares_are_those_of_the_answers(explorer):
    scores = explorer._score("few pixels")
    right, listed = scores.shares()
    first, second, labels = (t.flatten(0, 1) for t in (scores.first, scores.second, scores.labels))
    assert right[0] == (first.argmax(1) == labels).double().mean() == listed[0]
    assert right[-1] == (second.argmax(1) == labels).double().mean()
    assert listed[-1] == 1 and (listed.diff() >= 0).all() and (right <= listed).all()
    assert right[0] < 0.8 * right[-1]  # four pixels are worse than all


def test_a_proposer_that_is_the_comparison_gains_nothing(explorer):
    right, _ = explorer._score("all pixels").shares()
    assert (right == right[0]).all()


@pytest.mark.parametrize("state", [{"n_kept": 1}, {"n_kept": 20, "query": 19, "episode": 19}])
def test_draws_its_whole_range(explorer, state):
    left, right = explorer.figure(**state).axes
    logits = [t for t in left.texts if t.get_text() != "query"]
    assert len(logits) == (state["n_kept"] if state["n_kept"] > 1 else 0)
    assert len(left.images) == 21
    words = explorer.describe(**{**explorer.state, **state})
    assert right.get_title(loc="left").split()[0] in words
    assert ("no pair" in words) is (state["n_kept"] == 1)


def test_the_chosen_query_is_described(explorer):
    state = {**explorer.state, "query": 3, "episode": 2}
    first, second, label = explorer._of_query(**state)
    assert label == 3
    rank = 1 + sorted(first.tolist(), reverse=True).index(first[label].item())
    assert f"own class at place {rank} of the distance" in explorer.describe(**state)
    given = reranked(first[None], second[None], 2)
    verdict = "right" if int(given) == label else "wrong"
    assert explorer.describe(**state).endswith(f"the answer is {verdict}.")


def test_texts_are_large_and_lie_apart(explorer):
    fig = explorer.figure(n_kept=20)
    assert overlaps(fig) == []
    assert min(t.get_fontsize() for t in texts(fig)) >= 11


def test_the_widget_moves(explorer):
    before = explorer.picture.value
    explorer.inputs["n_kept"].value = 9
    assert explorer.picture.value != before and "9 pairs" in explorer.text.value
    explorer.reset()
    assert explorer.picture.value == before


def test_refresh_scores_again(pictures):
    learner = pixels()
    explorer = RerankExplorer(pictures, (learner, pictures), {"pixels": (learner, pictures)})
    before = explorer._score("pixels")
    assert explorer._score("pixels") is before
    explorer.refresh()
    assert explorer._score("pixels") is not before
