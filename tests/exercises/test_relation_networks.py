"""The exercises of notebook 04: references against loops, and wrong answers that must not pass."""

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import relation_networks as lesson
from metalearn_edu.learners.relation import VectorRelation, relation_mse

EXERCISES = {
    "pairs": (lesson.all_pairs, lesson.PAIR_EXAMPLES),
    "relation": (lesson.relation_logits, lesson.RELATION_EXAMPLES),
    "loss": (lesson.squared_error, lesson.LOSS_EXAMPLES),
    "classes": (lesson.class_scores, lesson.CLASS_EXAMPLES),
}


def query_first(c, q):
    return torch.cat([q[:, None].expand(-1, len(c), -1), c.expand(len(q), -1, -1)], dim=2)


def classes_down_the_rows(c, q):
    return lesson.all_pairs(c, q).transpose(0, 1)


def side_by_side_in_order(c, q):
    return torch.cat([c[: len(q)], q[: len(c)]], dim=1)


def without_relu(c, q, weight, bias, score):
    d = c.shape[1]
    return (c @ weight[:, :d].T + bias + (q @ weight[:, d:].T)[:, None]) @ score


def bias_twice(c, q, weight, bias, score):
    d = c.shape[1]
    return F.relu(c @ weight[:, :d].T + bias + (q @ weight[:, d:].T + bias)[:, None]) @ score


def halves_swapped(c, q, weight, bias, score):
    d = c.shape[1]
    return F.relu(c @ weight[:, d:].T + bias + (q @ weight[:, :d].T)[:, None]) @ score


def relu_of_each_part(c, q, weight, bias, score):
    d = c.shape[1]
    parts = F.relu(c @ weight[:, :d].T + bias), F.relu(q @ weight[:, d:].T)
    return (parts[0] + parts[1][:, None]) @ score


def transposed_logits(c, q, weight, bias, score):
    return lesson.relation_logits(c, q, weight, bias, score).T


def own_pair_only(scores, labels):
    return (scores.gather(1, labels[:, None]) - 1).square().mean()


WRONG = [
    ("pairs", query_first),
    ("pairs", classes_down_the_rows),
    ("pairs", side_by_side_in_order),
    ("pairs", lambda c, q: c + q[:, None]),
    ("relation", without_relu),
    ("relation", bias_twice),
    ("relation", halves_swapped),
    ("relation", relu_of_each_part),
    ("relation", transposed_logits),
    ("loss", own_pair_only),
    ("loss", F.cross_entropy),
    ("loss", lambda s, y: (s - F.one_hot(y, s.shape[1])).square().sum(dim=1).mean()),
    ("loss", lambda s, y: (s - F.one_hot(y, s.shape[1])).abs().mean()),
    ("classes", lambda s, y, n: s @ F.one_hot(y, n).float()),
    ("classes", lambda s, y, n: s.reshape(len(s), n, -1).mean(dim=2)),
    ("classes", lambda s, y, n: s @ F.one_hot(y, n).float() * n / len(y)),
    ("classes", lambda s, y, n: s[:, :n]),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_reference_is_correct(name, capsys):
    reference, examples = EXERCISES[name]
    compare(reference, reference, examples)
    assert f"correct ({len(examples)} examples)" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_wrong_answers_do_not_pass(name, wrong, capsys):
    compare(wrong, *EXERCISES[name], hint="think again")
    answer = capsys.readouterr().out
    assert "example" in answer and "correct" not in answer and "Hint: think again" in answer


def test_pairs_are_those_of_a_loop():
    c, q = torch.randn(4, 3), torch.randn(2, 3)
    pairs = lesson.all_pairs(c, q)
    for row in range(2):
        for column in range(4):
            assert torch.equal(pairs[row, column], torch.cat([c[column], q[row]]))


def test_logits_are_those_of_the_pairs_and_of_the_package():
    generator = torch.Generator().manual_seed(0)
    c, q = (torch.randn(n, 3, generator=generator) for n in (4, 5))
    relation = VectorRelation(3, 6)
    with torch.no_grad():
        relation.score.bias.zero_()
        package = relation(c[None, None], q[None, :, None])[0]
        weight = torch.cat([relation.pair.weight_a, relation.pair.weight_b], dim=1)
        arguments = weight, relation.pair.bias, relation.score.weight[0]
        pairs = F.relu(lesson.all_pairs(c, q) @ weight.T + relation.pair.bias)
        mine = lesson.relation_logits(c, q, *arguments)
    torch.testing.assert_close(mine, package)
    torch.testing.assert_close(mine, pairs @ arguments[2])


def test_loss_agrees_with_the_package_and_knows_the_constant_answer():
    scores, labels = lesson.LOSS_EXAMPLES[0]
    assert lesson.squared_error(scores, labels) == relation_mse(scores, labels)
    assert lesson.squared_error(*lesson.LOSS_EXAMPLES[1]).item() == pytest.approx(0.16)


def test_class_scores_are_the_means_of_a_loop():
    scores, labels, n_way = lesson.CLASS_EXAMPLES[2]
    for label in range(n_way):
        mean = scores[:, labels == label].mean(dim=1)
        torch.testing.assert_close(lesson.class_scores(scores, labels, n_way)[:, label], mean)
