import math

import pytest
import torch

from metalearn_edu.tasks import GaussianProcesses


def test_shapes_and_counts():
    batch = GaussianProcesses(5, 7).episodes(0, 0, 3)
    assert batch.support_x.shape == batch.support_y.shape == (3, 5, 1)
    assert batch.query_x.shape == batch.query_y.shape == (3, 7, 1)
    assert batch.query_x.dtype == torch.float32 and batch.query_x.abs().max() <= 2


def test_covariance_by_hand():
    tasks = GaussianProcesses(length=0.5)
    a, b = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.5]]])
    assert tasks.covariance(a, b).flatten().tolist() == pytest.approx([math.exp(-0.5)] * 2)


def test_values_have_the_covariance_of_the_family():
    """Products of two values, binned by the distance of their points, over 20,000 functions."""
    tasks = GaussianProcesses(1, 1, length=0.7, noise_std=0.3)
    batch = tasks.episodes(0, 0, 20_000)
    apart = (batch.support_x - batch.query_x).flatten().abs()
    product = (batch.support_y * batch.query_y).flatten()
    for low in (0.0, 0.5, 1.0, 2.0):
        here = (apart >= low) & (apart < low + 0.5)
        expected = (-(apart[here] ** 2) / (2 * 0.7**2)).exp().mean()
        error = product[here].std() / here.sum() ** 0.5
        assert abs(product[here].mean() - expected) < 4 * error
    assert batch.query_y.var().item() == pytest.approx(1 + 0.3**2, abs=0.05)


def test_an_episode_is_a_function_of_seed_and_index():
    tasks = GaussianProcesses(4, 4)
    batch, alone = tasks.episodes(2, 5, 10), tasks.episodes(2, 9, 1)
    assert torch.equal(batch.support_y[4], alone.support_y[0])
    assert not torch.equal(tasks.episodes(3, 9, 1).support_y, alone.support_y)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_query": 0}, "n_query must be an integer of at least 1, got 0"),
        ({"length": 0}, "length must be a finite number above 0, got 0"),
        ({"noise_std": -0.1}, "noise_std must be a finite number of at least 0, got -0.1"),
        ({"x_range": 3}, r"x_range must be a pair \(low, high\), got 3"),
        (
            {"x_range": (2.0, -2.0)},
            r"x_range must be \(low, high\) with low <= high, got 2.0, -2.0",
        ),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianProcesses(**arguments)
