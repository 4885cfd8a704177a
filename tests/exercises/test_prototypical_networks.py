"""The exercises of notebook 03 against the package, loops and what must hold."""

import pytest
import torch

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import prototypical_networks as lesson
from metalearn_edu.learners import class_prototypes


def in_a_loop(support_z, support_y, n_way):
    return torch.stack([support_z[support_y == c].mean(dim=0) for c in range(n_way)])


def by_matmul(query_z, prototypes):
    scores = 2 * query_z @ prototypes.T - prototypes.square().sum(dim=1)
    return scores.log_softmax(dim=1)


def squared_cdist(query_z, prototypes):
    return (-(torch.cdist(query_z, prototypes) ** 2)).softmax(dim=-1).log()


def by_index(support_y, query_y):
    ids = sorted(set(support_y.tolist()))
    places = (torch.tensor([ids.index(y) for y in ys.tolist()]) for ys in (support_y, query_y))
    return torch.tensor(ids), *places


@pytest.mark.parametrize(
    ("right", "name"),
    [
        (in_a_loop, "class_means"),
        (by_matmul, "log_probabilities"),
        (squared_cdist, "log_probabilities"),
        (by_index, "remap_labels"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_means_agree_with_the_package():
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2] * 4)
    torch.testing.assert_close(lesson.class_means(z, y, 3), class_prototypes(z[None], y[None])[0])


def test_the_linear_layer_misses_only_what_all_classes_share():
    z, c = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight, bias = lesson.linear_layer(c, torch.arange(7), 7)
    missing = z @ weight.T + bias + torch.cdist(z, c).square()
    torch.testing.assert_close(missing, z.square().sum(1)[:, None].expand(7, 7))


def test_attention_sums_to_one_and_is_the_prototypes_for_one_shot():
    q, z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2))
    p = lesson.attention_probabilities(q, z, torch.arange(4), 4)
    torch.testing.assert_close(p.sum(1), torch.ones(4))
    torch.testing.assert_close(p, lesson.log_probabilities(q, z).exp())


def test_remap_keeps_the_meaning():
    support_y, query_y = torch.tensor([40, 3, 3, 11]), torch.tensor([11, 40])
    classes, support, query = lesson.remap_labels(support_y, query_y)
    assert torch.equal(classes[support], support_y) and torch.equal(classes[query], query_y)
    assert support.max() < len(classes)
