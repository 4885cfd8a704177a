"""The shared networks: shapes, independence of items, and refusals."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import (
    MLP,
    NORMS,
    ConvMaps,
    ConvNet,
)


def widths(network):
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


def n_parameters(network):
    return sum(p.numel() for p in network.parameters())


def images(n=5, channels=1, size=28, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [([], [(12, 3)]), (8, [(12, 8), (8, 3)]), ([8, 6], [(12, 8), (8, 6), (6, 3)])],
)
def test_mlp_has_the_widths_asked_for(hidden, expected):
    assert widths(MLP(12, hidden, 3)) == expected


def test_mlp_is_the_formula_written_out():
    network = MLP(12, [8], 3)
    first, second = (m for m in network.modules() if isinstance(m, nn.Linear))
    x = images(5, 3, 2).flatten(1)
    by_hand = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(network(x), by_hand)


def test_mlp_flattens_items_of_any_shape():
    network, x = MLP(12, 8, 3), images(5, 3, 2)
    assert torch.equal(network(x), network(x.flatten(1)))
    assert network(x[:0]).shape == (0, 3)


def test_mlp_refuses_what_cannot_work():
    with pytest.raises(
        ValueError, match=r"input_dim is 12, but an item of shape \(3, 5\) holds 15"
    ):
        MLP(12, 8, 3)(torch.zeros(2, 3, 5))
    for bad in ((0, 8, 3), (12, 0, 3), (12, [8, 0], 3), (12, 8, 0)):
        with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
            MLP(*bad)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("size", "downsample", "embedding"),
    [
        (28, "pool", 64),
        (28, "stride", 64),
        (84, "pool", 1600),
        (84, "stride", 64),
        (16, "pool", 64),
    ],
)
def test_convnet_has_the_published_embedding(size, downsample, embedding, norm):
    network = ConvNet(image_size=size, downsample=downsample, norm=norm)
    assert network.embedding_dim == network.output_dim == embedding
    assert network(images(2, size=size)).shape == (2, embedding)


def test_convnet_has_the_published_number_of_parameters():
    """Four 3x3 convolutions with bias, and scale and shift of each norm: 1-64-64-64-64."""
    expected = (9 * 64 + 64) + 3 * (9 * 64 * 64 + 64) + 4 * 2 * 64
    assert n_parameters(ConvNet()) == expected
    assert n_parameters(ConvNet(output_dim=5)) == expected + 64 * 5 + 5
    assert n_parameters(ConvNet(norm="none")) == expected - 4 * 2 * 64


def test_convnet_takes_colour_and_gives_a_head():
    network = ConvNet(3, 8, output_dim=5, image_size=20)
    assert network.output_dim == 5
    assert network(images(2, 3, 20)).shape == (2, 5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("train", [True, False])
def test_which_norms_let_items_of_a_batch_inform_each_other(norm, train):
    torch.manual_seed(0)
    network = ConvNet(width=8, norm=norm).train(train)
    together = network(images())[:1]
    alone = network(images()[:1])
    informs = norm == "batch_transductive" or (norm == "batch" and train)
    assert torch.allclose(together, alone, atol=1e-5) is not informs


@pytest.mark.parametrize("width", [1, 6, 7, 11, 64])
def test_group_norm_works_for_every_width(width):
    assert ConvNet(width=width)(images(2)).shape == (2, width)


def test_convnet_refuses_what_cannot_work():
    with pytest.raises(ValueError, match=r"image_size 15 is too small for 4 halvings.*at least 16"):
        ConvNet(image_size=15)
    with pytest.raises(ValueError, match=r"downsample must be one of pool, stride; got 'mean'"):
        ConvNet(downsample="mean")
    with pytest.raises(ValueError, match=r"norm must be one of group, .*; got 'layer'"):
        ConvNet(norm="layer")
    with pytest.raises(ValueError, match=r"expects items \(1, 28, 28\), got \(3, 28, 28\)"):
        ConvNet()(images(channels=3))
    for name in ("in_channels", "width", "output_dim", "n_blocks"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got 0"):
            ConvNet(**{name: 0})


@pytest.mark.parametrize(("size", "side"), [(28, 7), (84, 21), (16, 4), (33, 8), (4, 1)])
def test_conv_maps_keep_places(size, side):
    network = ConvMaps(width=8, image_size=size)
    assert (network.width, network.side) == (8, side)
    assert network(images(2, size=size)).shape == (2, 8, side, side)


def test_conv_maps_have_the_weights_of_conv_net():
    """Four blocks of one kind: only the last two poolings are missing, and they have no weights."""
    assert n_parameters(ConvMaps()) == n_parameters(ConvNet())
    pools = [isinstance(block[3], nn.MaxPool2d) for block in ConvMaps().blocks]
    assert pools == [True, True, False, False]


def test_moving_an_image_by_four_pixels_moves_its_maps_by_one_place():
    torch.manual_seed(0)
    network = ConvMaps(width=8, image_size=64, norm="none")
    image = F.pad(images(1, size=16), (20, 28, 20, 28))  # all edges are far away
    moved = network(image.roll((4, 8), dims=(2, 3)))
    inside = (..., slice(5, 13), slice(5, 13))  # the padding shows at the edges
    expected = network(image).roll((1, 2), dims=(2, 3))
    torch.testing.assert_close(moved[inside], expected[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_which_norms_let_maps_inform_each_other(norm):
    torch.manual_seed(0)
    network = ConvMaps(width=8, norm=norm)
    alone = torch.allclose(network(images())[:1], network(images()[:1]), atol=1e-5)
    assert alone is (norm in ("group", "none"))


def test_conv_maps_refuse_what_cannot_work():
    with pytest.raises(ValueError, match="image_size must be an integer of at least 4, got 3"):
        ConvMaps(image_size=3)
    with pytest.raises(ValueError, match=r"norm must be one of group, .*; got 'layer'"):
        ConvMaps(norm="layer")
    with pytest.raises(ValueError, match=r"expects items \(1, 28, 28\), got \(3, 28, 28\)"):
        ConvMaps()(images(channels=3))
    for name in ("in_channels", "width"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got 0"):
            ConvMaps(**{name: 0})


def test_networks_draw_from_the_seed_alone():
    def build(seed):
        torch.manual_seed(seed)
        return ConvNet(width=4).state_dict()

    first, second, other = build(0), build(0), build(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["blocks.0.0.weight"], other["blocks.0.0.weight"])


def test_widths_of_their_own_and_blocks_that_keep_places():
    net = ConvNet(1, [4, 8, 12], n_halvings=2)
    assert [block[0].out_channels for block in net.blocks] == [4, 8, 12]
    assert net.embedding_dim == 12 * 7 * 7  # 28 is halved twice
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 12 * 7 * 7)
    same = ConvNet(1, [8] * 4), ConvNet(1, 8)
    assert repr(same[0]) == repr(same[1])
    with pytest.raises(ValueError, match="width must be an integer of at least 1, got 0"):
        ConvNet(1, [4, 0])


# ------------------------------------------------------------------ pictures that are not square


def tall(n=3, channels=1, size=(16, 24)):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("downsample", "size", "embedding"),
    [("pool", (16, 24), 8), ("pool", (32, 84), 8 * 2 * 5), ("stride", (9, 40), 8)],
)
def test_height_and_width_may_differ(downsample, size, embedding):
    network = ConvNet(width=8, image_size=size, downsample=downsample)
    assert network.embedding_dim == embedding
    assert network(tall(size=size)).shape == (3, embedding)
    wrong = rf"expects items \(1, {size[0]}, {size[1]}\), got \(1, {size[1]}, {size[0]}\)"
    with pytest.raises(ValueError, match=wrong):
        network(tall(size=size[::-1]))


def test_a_square_may_be_given_as_a_pair():
    torch.manual_seed(0)
    one = ConvNet(width=8, image_size=16)
    torch.manual_seed(0)
    pair = ConvNet(width=8, image_size=(16, 16))
    assert torch.equal(one(images(size=16)), pair(images(size=16)))


def test_maps_of_tall_pictures_keep_their_places():
    network = ConvMaps(width=8, image_size=(16, 24))
    assert network.side == (4, 6)
    assert network(tall()).shape == (3, 8, 4, 6)


@pytest.mark.parametrize("network", [ConvNet, ConvMaps])
@pytest.mark.parametrize("size", [(16,), (16, 16, 3), (16, 2.5), "16", 28.5, (16, -1), True])
def test_impossible_sizes_are_refused_in_one_line(network, size):
    with pytest.raises(ValueError, match=r"^image_size [^\n]*$"):
        network(image_size=size)


def test_the_shorter_side_counts():
    with pytest.raises(ValueError, match=r"image_size \(8, 64\) is too small .*at least 16"):
        ConvNet(image_size=(8, 64))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan"), "3", True, None, []])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda n: MLP(n, 8, 3), "input_dim"),
        (lambda n: MLP(4, [n], 3), "hidden_dims"),
        (lambda n: ConvNet(width=[8, n]), "width"),
    ],
)
def test_widths_are_counts(make, name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got"):
        make(wrong)


def test_halvings_need_blocks():
    for options in ({"width": []}, {"n_halvings": 5}, {"n_halvings": 10**30}):
        with pytest.raises(ValueError, match="at least one block, and at most one halving in each"):
            ConvNet(**options)
