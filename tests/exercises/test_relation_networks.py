"""The exercises of notebook 04 against the package, loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import relation_networks as lesson
from metalearn_edu.learners.relation import VectorRelation, relation_mse


def unit_by_unit(class_z, query_z, weight, bias, score):
    d, logits = class_z.shape[1], 0
    for row, b, s in zip(weight, bias, score, strict=True):
        logits = logits + s * F.relu(class_z @ row[:d] + (query_z @ row[d:])[:, None] + b)
    return logits


def by_gather(scores, labels):
    own = scores.gather(1, labels[:, None])
    return (scores.square().sum() - own.square().sum() + (own - 1).square().sum()) / scores.numel()


@pytest.mark.parametrize(
    ("right", "name"),
    [(unit_by_unit, "relation_logits"), (by_gather, "squared_error")],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_logits_are_those_of_the_package():
    generator = torch.Generator().manual_seed(0)
    c, q = (torch.randn(n, 3, generator=generator) for n in (4, 5))
    relation = VectorRelation(3, 6)
    with torch.no_grad():
        relation.score.bias.zero_()
        package = relation(c[None, None], q[None, :, None])[0]
        weight = torch.cat([relation.pair.weight_a, relation.pair.weight_b], dim=1)
        arguments = weight, relation.pair.bias, relation.score.weight[0]
        torch.testing.assert_close(lesson.relation_logits(c, q, *arguments), package)


def test_the_squared_error_is_the_packages_and_knows_the_constant_answer():
    scores, labels = torch.rand(6, 20), torch.arange(6)
    assert lesson.squared_error(scores, labels) == relation_mse(scores, labels)
    constant = lesson.squared_error(torch.full((6, 20), 1 / 20), labels)
    assert constant.item() == pytest.approx((1 - 1 / 20) / 20)


@pytest.mark.parametrize(("n_way", "floor"), [(5, 0.905), (20, 2.078)])
def test_the_bug_has_the_floor_that_the_lesson_names(n_way, floor):
    certain = 1000 * (2 * torch.eye(n_way) - 1)  # sigmoid scores of 1 and 0
    buggy = lesson.ENTROPY.buggy(certain, torch.arange(n_way)).item()
    assert (
        buggy == pytest.approx(math.log(1 + (n_way - 1) / math.e)) == pytest.approx(floor, abs=1e-3)
    )
    assert lesson.entropy_of_logits(certain, torch.arange(n_way)) == 0
