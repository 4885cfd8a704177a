import pytest
import torch

from metalearn_edu.baselines import ModifiedHausdorff, nearest_pixel


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "x", None, True])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold must be a finite number, got"):
        ModifiedHausdorff(threshold)


@pytest.mark.parametrize("item", [(3, 5, 5), (25,), (5, 5)])
def test_drawings_have_one_channel(item):
    """Of a colour picture the first channel alone would be looked at."""
    x = torch.rand(1, 2, *item)
    with pytest.raises(ValueError, match=r"must be pictures of one channel, \(1, H, W\), got"):
        ModifiedHausdorff()(x, torch.tensor([[0, 1]]), x)


def test_a_rule_without_parameters_takes_items_as_they_are():
    x = torch.rand(1, 2, 1, 5, 5)
    for rule in (ModifiedHausdorff(), nearest_pixel()):
        scores = rule(x.double().numpy(), [[0, 1]], x)
        assert scores.dtype == torch.float64
        assert scores.argmax(dim=2).tolist() == [[0, 1]]
