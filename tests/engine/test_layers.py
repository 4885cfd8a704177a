"""Many tasks in one network, against one plain call of the network for each task."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metalearn_edu.backbones import MLP, ConvNet
from metalearn_edu.engine import layers
from metalearn_edu.engine.derivatives import like_its_gradient

T, B = 3, 2


class Custom(nn.Module):
    """A forward pass of its own, that no one can know."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(F.relu(self.conv(x)).mean((2, 3)))


def shared():
    """One activation object in two places, and a frozen layer."""
    act = nn.ReLU()
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), act, nn.Linear(5, 5), act, nn.Linear(5, 3))
    net[3].requires_grad_(False)
    return net


def tied():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    net[3].weight = net[1].weight
    return net


def hooked():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    net[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


def first_relu():
    """A ReLU that must not overwrite the images."""
    return nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, bias=False), nn.Tanh())


def conv(*parts):
    return nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(3))


def scales_of_both_signs():
    """The least, not the largest, of what is normalised is pooled where a scale is negative."""
    net = ConvNet(1, 4, 3, image_size=8, n_blocks=2)
    for block in net.blocks:
        block[1].weight.data[::2] *= -1
    return net


NETWORKS = {
    "pool": (lambda: ConvNet(1, 16, 3, image_size=8, n_blocks=2), True),
    "stride": (lambda: ConvNet(1, 6, 3, image_size=8, n_blocks=2, downsample="stride"), True),
    "no norm": (lambda: ConvNet(1, 4, 3, image_size=8, n_blocks=2, norm="none"), True),
    "batch": (
        lambda: ConvNet(1, 4, 3, image_size=8, n_blocks=2, norm="batch_transductive"),
        False,
    ),
    "MLP": (lambda: MLP(64, [6, 5], 3), True),
    "one object in two places": (shared, True),
    "first ReLU": (first_relu, True),
    "groups and dilation": (
        lambda: conv(
            nn.Conv2d(1, 4, 3, padding=2, dilation=2),
            nn.Conv2d(4, 6, (3, 2), stride=(2, 1), groups=2, bias=False),
            nn.AvgPool2d(2),
        ),
        True,
    ),
    "overlapping pools": (
        lambda: conv(nn.Conv2d(1, 3, 3), nn.GroupNorm(3, 3), nn.MaxPool2d(3, stride=2)),
        True,
    ),
    "scales of both signs": (scales_of_both_signs, True),
    "another first block": (
        lambda: conv(
            nn.Conv2d(1, 4, (3, 2), stride=(1, 2), padding=(2, 0), dilation=(2, 1), bias=False),
            nn.GroupNorm(2, 4),
            nn.MaxPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
        ),
        True,
    ),
    "a first block of large patches": (
        lambda: conv(nn.Conv2d(1, 4, 6, padding=3), nn.GroupNorm(2, 4), nn.MaxPool2d(2)),
        True,
    ),
    "ends in images": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()), False),
    "circular": (lambda: conv(nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular")), False),
    "custom": (Custom, False),
    "tied": (tied, False),
    "hooked": (hooked, False),
}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network, whether its layers are known, weights of T tasks and their images."""
    make, known = NETWORKS[request.param]
    torch.manual_seed(0)
    model = make()
    model(torch.zeros(2, 1, 8, 8))  # gives lazy layers their size
    model.double()
    params = {
        n: (p.detach() + 0.3 * draw(T, *p.shape, seed=i)).requires_grad_()
        for i, (n, p) in enumerate(model.named_parameters())
        if p.requires_grad
    }
    return model, known, params, draw(T, B, 1, 8, 8, seed=9).requires_grad_()


def one_by_one(model, params, x):
    own = [{n: p[t] for n, p in params.items()} for t in range(len(x))]
    return torch.stack(
        [functional_call(model, p, (items,)) for p, items in zip(own, x, strict=True)]
    )


def test_layers_are_known_or_left_to_vmap(case):
    model, known, _, x = case
    assert (layers._plan(model, x) is not None) is known


def test_scores_and_two_derivatives_are_those_of_plain_calls(case):
    """The score's gradient, and the gradient of a random sum of that gradient."""
    model, _, params, x = case
    before, results = x.detach().clone(), []
    for run in (layers.run, one_by_one):
        leaves = [x, *params.values()]
        scores = run(model, params, x)
        total = (scores.sin() * draw(*scores.shape, seed=5)).sum()
        first = torch.autograd.grad(total, leaves, create_graph=True)
        mixed = sum((g * draw(*g.shape, seed=i)).sum() for i, g in enumerate(first))
        second = torch.autograd.grad(mixed, leaves, materialize_grads=True)
        results.append([scores, *first, *second])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    assert torch.equal(x.detach(), before)


def test_networks_are_left_as_they_were(case):
    model, _, params, x = case
    before = copy.deepcopy(model.state_dict())
    layers.run(model, params, x)
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_channels_come_last_even_for_one_task_of_grey_images():
    """Where they do not, each layer of a single task is pooled several times as slowly."""
    z = F.conv2d(layers._fold(draw(1, 5, 1, 8, 8)), draw(4, 1, 3, 3))
    assert z.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "model", [MLP(192, [6, 5], 3), ConvNet(3, 8, 3, image_size=8, n_blocks=2)], ids=["MLP", "conv"]
)
def test_parameters_lie_in_memory_as_their_gradients_do(model):
    start = {n: like_its_gradient(p.detach()) for n, p in model.named_parameters()}
    assert all(torch.equal(start[n], p) for n, p in model.named_parameters())
    params = {n: p.expand(T, *p.shape).clone().requires_grad_() for n, p in start.items()}
    scores = layers.run(model, params, torch.rand(T, B, 3, 8, 8))
    for p, g in zip(
        params.values(), torch.autograd.grad(scores.sum(), params.values()), strict=True
    ):
        assert p.stride() == g.stride()


def test_a_coloured_first_block_in_single_precision():
    """27 numbers a patch; far from 0, where E[z^2] - E[z]^2 would have no digit left."""
    net = ConvNet(3, 8, 4, image_size=8, n_blocks=1)
    x = 100 + torch.rand(1, 5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    scores = layers.run(net, {n: p[None] for n, p in net.named_parameters()}, x)[0]
    expected = copy.deepcopy(net).double()(x[0].double())
    torch.testing.assert_close(scores.double(), expected, rtol=1e-3, atol=1e-3)
