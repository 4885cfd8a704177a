"""Layers on pairs, against the same layers on what each pair is stacked to."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.learners.pairs import PairConv, PairLinear


def test_pair_linear_is_a_linear_layer_on_two_vectors_side_by_side():
    torch.manual_seed(0)
    pair = PairLinear(3, 5, 4)
    whole = nn.Linear(8, 4)
    with torch.no_grad():
        whole.weight.copy_(torch.cat([pair.weight_a, pair.weight_b], dim=1))
        whole.bias.copy_(pair.bias)
    a, b = torch.randn(2, 1, 6, 3), torch.randn(2, 7, 1, 5)  # all 7 x 6 pairs
    result = pair(a, b)
    assert result.shape == (2, 7, 6, 4)
    for q in range(7):
        for k in range(6):
            expected = whole(torch.cat([a[:, 0, k], b[:, q, 0]], dim=-1))
            torch.testing.assert_close(result[:, q, k], expected)


def test_pair_conv_is_a_convolution_of_stacked_channels():
    torch.manual_seed(0)
    pair = PairConv(3, 5, 4)
    weight = torch.cat([pair.weight_a, pair.weight_b], dim=1)
    a, b = torch.randn(2, 1, 6, 3, 5, 4), torch.randn(2, 7, 1, 5, 5, 4)
    result = pair(a, b)
    assert result.shape == (2, 7, 6, 4, 5, 4)
    for q in range(7):
        for k in range(6):
            stacked = torch.cat([a[:, 0, k], b[:, q, 0]], dim=1)
            expected = F.conv2d(stacked, weight, pair.bias, padding=1)
            torch.testing.assert_close(result[:, q, k], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("pair", "whole"),
    [
        (lambda: PairLinear(3, 5, 4), lambda: nn.Linear(8, 4)),
        (lambda: PairConv(3, 5, 4), lambda: nn.Conv2d(8, 4, kernel_size=3)),
    ],
)
def test_pair_layers_start_at_the_scale_of_the_whole_layer(pair, whole):
    torch.manual_seed(0)
    parts = pair()
    torch.manual_seed(0)
    expected = whole()
    assert torch.equal(torch.cat([parts.weight_a, parts.weight_b], dim=1), expected.weight)
    assert torch.equal(parts.bias, expected.bias)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan"), "3", True, None, []])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda n: PairLinear(n, 2, 3), "a_dim"),
        (lambda n: PairConv(2, 2, n), "width"),
    ],
)
def test_widths_are_counts(make, name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got"):
        make(wrong)
