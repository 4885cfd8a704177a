"""An honest table: a learner beside nearest pixel on the same episodes."""

import pytest
import torch
from torch import nn

from metalearn_edu import FewShotDataset, PrototypicalNetwork
from metalearn_edu.baselines import nearest_pixel
from metalearn_edu.runs.own_images import evaluate_on_images


class Noise(nn.Module):
    """Embeddings that have nothing to do with the item: the learner guesses."""

    def forward(self, x):
        return torch.randn(len(x), 4, generator=torch.Generator().manual_seed(int(x.sum() * 1e3)))


class FirstPixel(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :1]


def pictures(n_per_class=(12, 12, 12, 3), noise=1.0):
    """The first pixel tells the class, the others are noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(n_per_class)).repeat_interleave(torch.tensor(n_per_class))
    items = noise * torch.rand(len(labels), 1, 8, 8, generator=generator)
    items[:, 0, 0, 0] = labels
    return FewShotDataset(items, labels, name="pictures")


def test_small_classes_are_left_out_and_the_way_fits():
    result = evaluate_on_images(PrototypicalNetwork(FirstPixel()), pictures(), n_episodes=20)
    assert result.left_out == {"class 3": 3}
    assert "3-way 1-shot" in result.learner.tasks
    assert result.learner.mean == 1
    assert "class 3 (3)" in str(result)
    assert "better than nearest pixel (+" in result.verdict


def test_a_learner_that_guesses_is_called_that():
    result = evaluate_on_images(PrototypicalNetwork(Noise()), pictures(), n_episodes=40)
    assert "no better than guessing" in result.verdict


def test_a_learner_no_better_than_pixels_is_called_that():
    result = evaluate_on_images(nearest_pixel(), pictures(noise=0.5), n_episodes=40)
    assert "no better than nearest pixel" in result.verdict
    assert torch.equal(result.learner.values, result.nearest_pixel.values)


def test_pictures_that_anyone_can_tell_apart_say_nothing_of_the_learner():
    result = evaluate_on_images(nearest_pixel(), pictures(noise=0.0), n_episodes=40)
    assert result.nearest_pixel.mean == 1
    assert "too easy" in result.verdict and "does not help" not in result.verdict


def test_the_table_has_both_and_chance():
    text = str(evaluate_on_images(nearest_pixel(), pictures(noise=0.5), n_episodes=40))
    for words in ("learner", "nearest pixel", "chance", "33.3 %", "40 episodes", "36 pictures"):
        assert words in text


def test_too_few_classes_are_refused():
    with pytest.raises(ValueError, match=r"2-way episode of .* needs 2 classes"):
        evaluate_on_images(nearest_pixel(), pictures((12, 3, 3)), n_episodes=20)
    with pytest.raises(ValueError, match="5-way"):
        evaluate_on_images(nearest_pixel(), pictures(), n_way=5, n_episodes=20)
