import itertools

import numpy as np
import pytest
import torch
from torch import nn

from metalearn_edu import EpisodeSampler, PrototypicalNetwork, evaluate_meta_learner
from metalearn_edu.explorers.bootstrap import (
    REDRAWS,
    BootstrapExplorer,
    draw_classes,
    farther_shares,
    pool_accuracy,
)
from metalearn_edu.tasks import FewShotDataset

GROUPS = ["a"] * 6 + ["b"] * 7


@pytest.fixture(scope="module")
def embedded():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(13, 1, 4, generator=generator)
    items = centres + 0.8 * torch.randn(13, 20, 4, generator=generator)
    labels = torch.arange(13).repeat_interleave(20)
    return FewShotDataset(items.flatten(0, 1), labels, class_groups=GROUPS)


@pytest.fixture(scope="module")
def measured(embedded):
    tasks = EpisodeSampler(embedded, 5, 1)
    return evaluate_meta_learner(PrototypicalNetwork(nn.Identity()), tasks, n_episodes=2000)


@pytest.fixture(scope="module")
def shares(embedded):
    return farther_shares(embedded, n_pairs=380, rng=np.random.default_rng(0))


def test_shares_by_hand():
    # Query 0 has the support item 1, at distance 1: of class 1, 0.5 is nearer and 3 is farther.
    items = torch.tensor([[0.0], [1.0], [0.5], [3.0]])
    data = FewShotDataset(items, torch.tensor([0, 0, 1, 1]))
    shares = farther_shares(data, n_pairs=2, rng=np.random.default_rng(0))
    assert shares.shape == (2, 2, 2)
    assert shares[0, 0, 1] == 0.5  # query 0
    assert shares[0, 1, 1] == 0.5  # query 1: 0.5 is nearer than 0, and 3 is farther
    assert shares[1, 0, 0] == 0.0  # query 0.5, support item 3: all of class 0 is nearer


def test_every_class_needs_two_items():
    data = FewShotDataset(torch.zeros(3, 1), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="at least 2 items"):
        farther_shares(data, rng=np.random.default_rng(0))


@pytest.mark.parametrize("counts", [[1, 1, 1, 1, 1, 1], [3, 0, 1, 2, 1, 2]])
def test_pool_accuracy_is_the_sum_over_all_sets_of_classes(counts):
    shares = np.random.default_rng(1).random((6, 3, 6))
    right = ways = 0.0
    for chosen in itertools.combinations(range(6), 5):
        weight = np.prod([counts[c] for c in chosen])
        for c in chosen:
            others = [k for k in chosen if k != c]
            right += weight * shares[c][:, others].prod(axis=1).mean()
            ways += weight
    assert pool_accuracy(shares, np.array([counts])) == pytest.approx([right / ways])


def test_pool_accuracy_is_that_of_very_many_episodes(shares, measured):
    exact = pool_accuracy(shares, np.ones((1, 13), int)).item()
    assert exact == pytest.approx(measured.mean, abs=2 * measured.half_width)


def test_a_pool_of_some_classes_is_scored_as_if_there_were_no_others(embedded, shares):
    only_b = FewShotDataset(embedded.items[120:], embedded.labels[120:] - 6)
    alone = farther_shares(only_b, n_pairs=380, rng=np.random.default_rng(0))
    counts = np.array([[0] * 6 + [1] * 7])
    expected = pool_accuracy(alone, np.ones((1, 7), int)).item()
    assert pool_accuracy(shares, counts).item() == pytest.approx(expected, abs=0.02)


def test_a_pool_needs_five_classes(shares):
    with pytest.raises(ValueError, match="needs 5 different classes, got 4"):
        pool_accuracy(shares, np.array([[9] * 4 + [0] * 9]))


def test_classes_and_groups_are_drawn_with_replacement():
    groups, rng = np.array([0, 0, 1, 1, 1]), np.random.default_rng(0)
    assert (draw_classes(groups, "episodes", 3, rng) == 1).all()
    classes = draw_classes(groups, "classes", 500, rng)
    assert (classes.sum(axis=1) == 5).all() and 0.5 < classes.std() < 1.3
    whole = draw_classes(groups, "groups", 500, rng)
    assert set(map(tuple, whole.tolist())) == {(2, 2, 0, 0, 0), (1,) * 5, (0, 0, 2, 2, 2)}


def test_only_new_episodes_give_the_formula(embedded, measured):
    explorer = BootstrapExplorer({"net": (embedded, measured)})
    for n_episodes in (1, 600):
        view = explorer._view("net", "episodes", n_episodes, REDRAWS)
        assert view.formula == pytest.approx(196 * measured.std / n_episodes**0.5)
        low, high = explorer.range(n_episodes=n_episodes, n_redraws=REDRAWS)
        assert (high - low) / 2 == pytest.approx(view.formula, rel=0.25)


def test_more_episodes_do_not_average_out_the_letters(embedded, measured):
    explorer = BootstrapExplorer({"net": (embedded, measured)}, unit="classes", n_redraws=REDRAWS)
    few, many = (np.diff(explorer.range(n_episodes=n)).item() for n in (600, 6000))
    assert many > 0.8 * few
    assert many / 2 > 5 * explorer._view("net", "classes", 6000, REDRAWS).formula


def test_repetitions_stay_when_more_follow(embedded, measured):
    explorer = BootstrapExplorer({"net": (embedded, measured)}, unit="classes")
    few, many = (explorer._view("net", "classes", 100, n).results for n in (5, 50))
    assert np.array_equal(few, many[:5])


@pytest.mark.parametrize("unit", ["episodes", "classes", "groups"])
@pytest.mark.parametrize("n_redraws", [1, 19, 20, REDRAWS])
def test_draws_and_describes_its_whole_range(embedded, measured, unit, n_redraws):
    explorer = BootstrapExplorer({"net": (embedded, measured)})
    state = {"unit": unit, "n_episodes": 10, "n_redraws": n_redraws}
    left, right = explorer.figure(**state).axes
    counts = [bar.get_height() for bar in left.patches]
    assert sum(count > 0 for count in counts) == int(left.get_title(loc="left").split()[1])
    assert len(right.lines[0].get_xdata()) == n_redraws
    words = explorer.describe(**{**explorer.state, **state})
    assert ("95 % of them" in words) == (n_redraws >= 20)
    assert f"net: {n_redraws} repetitions" in words


def test_a_range_needs_twenty_repetitions(embedded, measured):
    explorer = BootstrapExplorer({"net": (embedded, measured)}, n_redraws=19)
    with pytest.raises(ValueError, match="n_redraws must be at least 20, got 19"):
        explorer.range()


def test_the_button_draws_one_more(embedded, measured):
    explorer = BootstrapExplorer({"net": (embedded, measured)}, unit="classes", n_redraws=1)
    before = explorer.picture.value
    explorer.new_episode()
    assert explorer.state["n_redraws"] == 2
    assert explorer.picture.value != before
