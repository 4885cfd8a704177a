"""The exercises of notebook 03: references against loops, and wrong answers that must not pass."""

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import prototypical_networks as lesson
from metalearn_edu.learners import PrototypicalNetwork, class_prototypes

EXERCISES = {
    "mean": (lesson.mean_by_matmul, lesson.MEAN_EXAMPLES),
    "linear": (lesson.linear_scores, lesson.LINEAR_EXAMPLES),
    "attention": (lesson.attention_probabilities, lesson.ATTENTION_EXAMPLES),
    "remap": (lesson.remap_labels, lesson.REMAP_EXAMPLES),
}


def mean_over_features(z, y, n_way):
    return F.one_hot(y, n_way).float().T @ z.mean(dim=1, keepdim=True).expand_as(z)


def sorted_items(z, y, n_way):
    return z.reshape(n_way, -1, z.shape[-1]).mean(dim=1)


def equal_shots(z, y, n_way):
    return F.one_hot(y, n_way).float().T @ z / (len(z) / n_way)


def attention_without_one_hot(q, z, y, n_way):
    return -(q[:, None] - z).square().sum(-1) @ F.one_hot(y, n_way).float()


WRONG = [
    ("mean", lambda z, y, n_way: F.one_hot(y, n_way).float().T @ z),
    ("mean", mean_over_features),
    ("mean", sorted_items),
    ("mean", equal_shots),
    ("linear", lambda q, c: 2 * q @ c.T + c.square().sum(1)),
    ("linear", lambda q, c: q @ c.T - c.square().sum(1)),
    ("linear", lambda q, c: -(q[:, None] - c).square().sum(-1)),
    ("attention", attention_without_one_hot),
    (
        "attention",
        lambda q, z, y, n: (-torch.cdist(q, z)).softmax(-1) @ F.one_hot(y, n).float(),
    ),
    (
        "attention",
        lambda q, z, y, n: (-torch.cdist(q, z).square()).softmax(0) @ F.one_hot(y, n).float(),
    ),
    (
        "attention",
        lambda q, z, y, n: PrototypicalNetwork(torch.nn.Identity()).adapt(z, y)(q).softmax(-1),
    ),
    ("remap", lambda s, q: (s.unique(), s, q)),
    ("remap", lambda s, q: (s.unique(), *(t.unique(return_inverse=True)[1] for t in (s, q)))),
    ("remap", lambda s, q: (s, torch.arange(len(s)), q)),
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


def test_mean_agrees_with_the_package():
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2] * 4)
    torch.testing.assert_close(
        lesson.mean_by_matmul(z, y, 3), class_prototypes(z[None], y[None])[0]
    )


def test_linear_scores_miss_only_what_all_classes_share():
    q, c = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    missing = lesson.linear_scores(q, c) + torch.cdist(q, c).square()
    torch.testing.assert_close(missing, q.square().sum(1)[:, None].expand(7, 7))


def test_attention_sums_to_one_and_is_the_prototypes_for_one_shot():
    q, z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2))
    p = lesson.attention_probabilities(q, z, torch.arange(4), 4)
    torch.testing.assert_close(p.sum(1), torch.ones(4))
    torch.testing.assert_close(p, (-torch.cdist(q, z).square()).softmax(1))


def test_remap_keeps_the_meaning():
    support_y, query_y = torch.tensor([40, 3, 3, 11]), torch.tensor([11, 40])
    classes, support, query = lesson.remap_labels(support_y, query_y)
    assert torch.equal(classes[support], support_y) and torch.equal(classes[query], query_y)
    assert support.max() < len(classes)
