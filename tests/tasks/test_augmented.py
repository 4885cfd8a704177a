"""Warped images: nothing changes at amount 0, labels stay, each image goes its own way."""

import numpy as np
import pytest
import torch

from metalearn_edu import Augmented, EpisodeSampler, FewShotDataset, Streams
from metalearn_edu.tasks import load_glyphs
from metalearn_edu.tasks.augmented import N_NUMBERS, ROTATION, SCALE, SHIFT, warp


def change(**given):
    """One row of `warp`'s changes, all 0 but the named places."""
    row = torch.zeros(1, N_NUMBERS, dtype=torch.float64)
    for place, value in given.items():
        row[0, int(place[1:])] = value
    return row


@pytest.fixture
def picture():
    """A smooth blob off the centre, (1, 1, 28, 28)."""
    y, x = torch.meshgrid(*[torch.arange(28.0, dtype=torch.float64)] * 2, indexing="ij")
    return torch.exp(-((y - 9) ** 2 + (x - 16) ** 2) / 8)[None, None]


def centre(image):
    """Row and column of the centre of gravity of (1, 1, H, W)."""
    weight = image[0, 0] / image.sum()
    places = torch.arange(28.0, dtype=image.dtype)
    return torch.stack([(weight.sum(1) * places).sum(), (weight.sum(0) * places).sum()])


def test_no_change_is_no_change(picture):
    assert torch.allclose(warp(picture, change()), picture, atol=1e-12)


def test_shift_is_a_share_of_the_side(picture):
    moved = centre(warp(picture, change(p4=0.5))) - centre(picture)  # what is right comes left
    assert moved.tolist() == pytest.approx([0, -0.5 * SHIFT * 28], abs=1e-3)


def test_turn_by_degrees(picture):
    angle = torch.tensor(ROTATION * torch.pi / 180, dtype=torch.float64)
    before = centre(picture) - 13.5
    after = centre(warp(picture, change(p0=1.0))) - 13.5
    assert after.norm().item() == pytest.approx(before.norm().item(), rel=0.01)
    cos = (before @ after) / (before.norm() * after.norm())
    assert torch.acos(cos).item() == pytest.approx(angle.item(), rel=0.02)


def test_size_changes_the_ink_by_the_square(picture):
    shrunk = warp(picture, change(p2=1.0, p3=1.0))
    expected = picture.sum() * torch.exp(torch.tensor(-2 * SCALE))
    assert shrunk.sum().item() == pytest.approx(expected.item(), rel=0.01)


def test_an_episode_keeps_its_labels_and_its_classes():
    tasks = EpisodeSampler(load_glyphs("meta-test"), 5, 2, 3)
    plain, warped = tasks.episodes(1, 4, 3), Augmented(tasks).episodes(1, 4, 3)
    assert torch.equal(plain.support_y, warped.support_y)
    assert torch.equal(plain.query_y, warped.query_y)
    assert torch.equal(plain.classes, warped.classes)
    assert plain.support_x.shape == warped.support_x.shape
    difference = (plain.query_x - warped.query_x).abs().flatten(2).amax(2)
    assert (difference > 0.1).all()
    assert warped.query_x.min() >= 0 and warped.query_x.max() <= 1 + 1e-6


def test_episode_depends_on_its_number_alone():
    tasks = Augmented(EpisodeSampler(load_glyphs("meta-test"), 5, 1, 1))
    assert torch.equal(tasks.episodes(3, 0, 4).support_x[2], tasks.episodes(3, 2, 1).support_x[0])
    assert not torch.equal(tasks.episodes(3, 2, 1).support_x, tasks.episodes(4, 2, 1).support_x)


def test_equal_images_come_out_different():
    dataset = load_glyphs("meta-test").subset([0, 1])
    items = dataset.items[:1].expand(40, -1, -1, -1)
    same = type(dataset)(items.contiguous(), torch.arange(2).repeat_interleave(20))
    warped = Augmented(EpisodeSampler(same, 2, 5, 5)).episodes(0, 0, 2).support_x.flatten(0, 1)
    apart = (warped[:, None] - warped[None]).abs().flatten(2).amax(2)
    assert (apart + torch.eye(len(apart)) > 0.05).all()


def test_streams_keep_their_order():
    streams = Streams(load_glyphs("meta-test"), 3)
    order = Augmented(streams).episodes(0, 0, 2).order
    assert torch.equal(order, streams.episodes(0, 0, 2).order)


def test_a_seed_of_any_integer_type_is_the_same_seed():
    tasks = Augmented(EpisodeSampler(load_glyphs("meta-test"), 5, 1, 1))
    first, again = (tasks.episodes(seed, 0, 1).query_x for seed in (200, np.uint8(200)))
    assert torch.equal(first, again)


def test_what_cannot_be_warped_is_refused():
    with pytest.raises(ValueError, match="tasks must be a source of fresh episodes"):
        Augmented(load_glyphs("meta-test"))
    vectors = FewShotDataset(torch.randn(8, 3), torch.arange(8) % 2)
    with pytest.raises(ValueError, match=r"images \(C, H, W\); items of .* are \(3,\)"):
        Augmented(EpisodeSampler(vectors, 2, 1, 1)).episodes(0, 0, 1)


@pytest.mark.parametrize("amount", [0, -1, float("inf"), float("nan"), "1", None, True, 10**400])
def test_nonsense_amounts(amount):
    with pytest.raises(ValueError, match="amount"):
        Augmented(EpisodeSampler(load_glyphs("meta-test"), 5, 1, 1), amount)
