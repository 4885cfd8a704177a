"""The exercises of notebook 09 against the package and other right ways."""

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import task_representations as answers
from metalearn_edu.learners.task_conditioned import ConditionedMLP, TaskEncoder, pool_by_class


def pool_by_var(z):
    return torch.cat([z.mean(dim=0), (z.var(dim=0, correction=0) + 1e-6).sqrt()])


def film_by_linear(h, e, weight, bias):
    gamma, beta = F.linear(e, weight, bias).split(h.shape[1])
    return torch.relu(h + gamma * h + beta)


def pairs_by_columns(support_x, support_y, weight, bias):
    return F.relu(support_x * weight[:, 0] + support_y * weight[:, 1] + bias)


def effect_by_loop(encode, support_x, support_y):
    pairs = zip(encode(support_x, support_y), encode(support_x, 1 + support_y), strict=True)
    return max(abs(float(a) - float(b)) for a, b in pairs)


@pytest.mark.parametrize(
    ("right", "name"),
    [
        (pool_by_var, "mean_and_spread"),
        (film_by_linear, "film_layer"),
        (pairs_by_columns, "encode_pairs"),
        (effect_by_loop, "effect_of_targets"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_pooling_agrees_with_the_package():
    z = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2, 2, 1, 2, 2, 0, 2])
    torch.testing.assert_close(answers.class_vectors(z, y, 3), pool_by_class(z[None], y[None])[0])
    torch.testing.assert_close(
        answers.mean_and_spread(z[y == 2]), answers.class_vectors(z, y, 3)[2]
    )


def test_film_agrees_with_the_package():
    torch.manual_seed(0)
    network = ConditionedMLP(3, 4, 5, 2, "film")
    x, e = torch.randn(6, 3), torch.randn(4)
    gamma_1, beta_1, gamma_2, beta_2 = network.film.weight.chunk(4)
    bias_1, shift_1, bias_2, shift_2 = network.film.bias.chunk(4)
    h = network.first(x)
    h = answers.film_layer(h, e, torch.cat([gamma_1, beta_1]), torch.cat([bias_1, shift_1]))
    h = network.second(h)
    h = answers.film_layer(h, e, torch.cat([gamma_2, beta_2]), torch.cat([bias_2, shift_2]))
    torch.testing.assert_close(network(x, e), network.last(h))


def test_the_package_hears_targets():
    torch.manual_seed(0)
    encoder = TaskEncoder(1, 8, 4, target_dim=1)
    x, y = torch.randn(2, 1, 6, 1)
    with torch.no_grad():
        assert answers.effect_of_targets(encoder, x, y) > 1e-3
