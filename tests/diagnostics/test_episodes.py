"""Each fault of an episode is named, and sound ones pass."""

import pytest
import torch

from metalearn_edu.diagnostics import (
    check_episodes,
)
from metalearn_edu.tasks import Sinusoids
from tests.diagnostics.random_episodes import image_sampler, make_episodes


def parts(**changes):
    episodes = make_episodes()
    names = ("support_x", "support_y", "query_x", "query_y")
    return [changes.get(name, getattr(episodes, name).clone()) for name in names]


def test_sound_episodes_pass_in_every_form():
    episodes = make_episodes(n_tasks=3)
    assert check_episodes(episodes).figures == {"tasks": 3}
    assert check_episodes(*parts())
    assert check_episodes(parts())
    assert check_episodes(episodes[0])
    assert check_episodes(*episodes[0])
    assert check_episodes(Sinusoids().episodes(0, 0, 4))
    assert check_episodes(Sinusoids().episodes(0, 0, 4)[1])
    assert check_episodes(image_sampler().episodes(0, 0, 50))


def test_labels_that_were_not_remapped():
    values = torch.tensor([3, 7, 9])
    support_x, support_y, query_x, query_y = parts()
    report = check_episodes(support_x, values[support_y], query_x, values[query_y])
    assert str(report) == "episodes:\n- labels of task 0 are [3, 7, 9], not 0..2: remap them"


def test_one_class_tasks():
    support_x, support_y, query_x, query_y = parts()
    report = check_episodes(support_x, support_y * 0, query_x, query_y * 0)
    assert len(report.problems) == 1
    assert "one class only" in str(report)


def test_labels_without_support_and_unequal_counts():
    support_x, support_y, query_x, query_y = parts()
    query_y[1, 0], support_y[1, 0] = 5, 1
    text = str(check_episodes(support_x, support_y, query_x, query_y))
    assert "task 1 asks for labels [5] without support items" in text
    assert "support set of task 1 has [1, 3, 2] items per class" in text
    assert "query set of task 1 has [2, 3, 3, 1] items per class" in text


def test_support_items_among_the_queries():
    support_x, support_y, query_x, query_y = parts()
    query_x[1, 4] = support_x[1, 2]
    report = check_episodes(support_x, support_y, query_x, query_y)
    assert len(report.problems) == 1
    assert "1 support items are among the queries of their task (first in task 1)" in str(report)


def test_repeated_items_and_repeated_tasks():
    support_x, support_y, query_x, query_y = parts()
    support_x[0, 1] = support_x[0, 0]
    text = str(check_episodes(support_x, support_y, query_x, query_y))
    assert "1 items stand twice in the support set of their task (first in task 0)" in text
    support_x, support_y, query_x, query_y = parts()
    support_x[1], query_x[1] = support_x[0], query_x[0]
    text = str(check_episodes(support_x, support_y, query_x, query_y))
    assert "1 of 2 tasks repeat another task item by item" in text


def test_classes_repeated_or_always_in_order():
    classes = torch.tensor([[4, 2, 9], [1, 5, 1]])
    text = str(check_episodes(make_episodes(), classes=classes))
    assert "1 tasks use one class under two labels (first task 1, classes [1, 5, 1])" in text
    episodes = make_episodes(n_tasks=8)
    ordered = torch.arange(3).repeat(8, 1)
    assert "labels follow the order" in str(check_episodes(episodes, classes=ordered))
    assert check_episodes(episodes[:2], classes=ordered[:2])  # by chance in 1 of 36 cases
    shuffled = torch.stack([torch.randperm(9)[:3] for _ in range(8)])
    assert check_episodes(episodes, classes=shuffled)


def test_non_finite_items():
    support_x, support_y, query_x, query_y = parts()
    query_x[0, 0, 0] = float("nan")
    assert "NaN" in str(check_episodes(support_x, support_y, query_x, query_y))


def test_tensors_that_do_not_belong_together_are_refused():
    support_x, support_y, query_x, query_y = parts()
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        check_episodes(support_x, support_y[:, :5], query_x, query_y)
    with pytest.raises(ValueError, match="support_x"):
        check_episodes(support_x, support_y, query_x[:1], query_y[:1])
    with pytest.raises(ValueError, match="four tensors"):
        check_episodes(support_x, support_y)


NO_EPISODES = [
    (None,),
    ([],),
    (
        (
            torch.zeros(0, 3, 2),
            torch.zeros(0, 3).long(),
            torch.zeros(0, 3, 2),
            torch.zeros(0, 3).long(),
        ),
    ),
    (
        (
            torch.zeros(1, 0, 2),
            torch.zeros(1, 0).long(),
            torch.zeros(1, 0, 2),
            torch.zeros(1, 0).long(),
        ),
    ),
    (torch.tensor(1.0), torch.tensor(1), torch.tensor(1.0), torch.tensor(1)),
    (torch.zeros(3), torch.arange(3), torch.zeros(3), torch.arange(3)),
    (torch.zeros(1, 3, 2), [0, 1, 2], torch.zeros(1, 3, 2), torch.arange(3)[None]),
]


@pytest.mark.parametrize("arguments", NO_EPISODES)
def test_episodes_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="need"):
        check_episodes(*arguments)


@pytest.mark.parametrize("classes", [[[0, 1, 2]], torch.arange(3), torch.zeros(5, 3).long()])
def test_classes_of_other_episodes_are_refused(classes):
    with pytest.raises(ValueError, match="classes must be a tensor"):
        check_episodes(make_episodes(), classes=classes)


def test_equal_items_are_found_whatever_the_sign_of_their_zeros_and_their_precision():
    x = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    q = torch.tensor([[[-0.0, 1.0], [4.0, 5.0]]])
    y = torch.tensor([[0, 1]])
    for dtype in (torch.float32, torch.bfloat16):
        assert "1 support items are among the queries" in str(
            check_episodes(x.to(dtype), y, q.to(dtype), y)
        )


def test_targets_that_are_not_numbers_are_found():
    x = torch.rand(1, 3, 1)
    report = check_episodes(x, x * float("nan"), x + 1, x)
    assert "targets hold NaN" in str(report)
    assert "query_y" in str(check_episodes(x, x, x + 1, torch.zeros(1, 3).long()))
