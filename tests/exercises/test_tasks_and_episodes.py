import math
from inspect import signature

import pytest
import torch

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import tasks_and_episodes as answers


def place_by_rank(class_ids, chosen):
    return torch.unique(class_ids, return_inverse=True)[1]


def class_numbers(class_ids, chosen):
    return class_ids


def place_of_the_class_number(class_ids, chosen):
    return chosen.argsort()[class_ids.clamp(max=len(chosen) - 1)]


def labels_in_turns(items, n_shot):
    sx, _, qx, _ = answers.split_items(items, n_shot)
    n_tasks, n_way = items.shape[:2]
    labels = [torch.arange(n_way).repeat(x.shape[1] // n_way) for x in (sx, qx)]
    return sx, labels[0].repeat(n_tasks, 1), qx, labels[1].repeat(n_tasks, 1)


def query_holds_the_support(items, n_shot):
    sx, sy, _, _ = answers.split_items(items, n_shot)
    labels = torch.arange(items.shape[1]).repeat_interleave(items.shape[2])
    return sx, sy, items.flatten(1, 2), labels.repeat(len(items), 1)


def cuts_after_flattening(items, n_shot):
    flat = items.flatten(1, 2)
    _, sy, _, qy = answers.split_items(items, n_shot)
    return flat[:, : sy.shape[1]], sy, flat[:, sy.shape[1] :], qy


def classes_without_order(n_classes, class_size, n_way, n_shot, n_query):
    whole = answers.count_episodes(n_classes, class_size, n_way, n_shot, n_query)
    return whole // math.factorial(n_way)


def query_forgotten(n_classes, class_size, n_way, n_shot, n_query):
    return math.perm(n_classes, n_way) * math.comb(class_size, n_shot) ** n_way


def items_of_one_class_only(n_classes, class_size, n_way, n_shot, n_query):
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    return math.perm(n_classes, n_way) * items


EXERCISES = {
    "episode_labels": (
        answers.LABEL_EXAMPLES,
        answers.LABEL_HINT,
        [place_by_rank, class_numbers, place_of_the_class_number],
    ),
    "split_items": (
        answers.SPLIT_EXAMPLES,
        answers.SPLIT_HINT,
        [labels_in_turns, query_holds_the_support, cuts_after_flattening],
    ),
    "count_episodes": (
        answers.COUNT_EXAMPLES,
        answers.COUNT_HINT,
        [classes_without_order, query_forgotten, items_of_one_class_only],
    ),
}
WRONG = [(name, wrong) for name, (_, _, wrongs) in EXERCISES.items() for wrong in wrongs]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct(name, capsys):
    examples, hint, _ = EXERCISES[name]
    solution = getattr(answers, name)
    compare(solution, solution, examples, hint=hint)
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize("name, wrong", WRONG, ids=[wrong.__name__ for _, wrong in WRONG])
def test_a_typical_mistake_is_found_and_gets_the_hint(name, wrong, capsys):
    examples, hint, _ = EXERCISES[name]
    compare(wrong, getattr(answers, name), examples, hint=hint)
    out = capsys.readouterr().out
    assert "differs" in out and hint in out


def test_labels_are_places_in_chosen():
    labels = answers.episode_labels(torch.tensor([7, 3, 7, 9]), torch.tensor([9, 3, 7]))
    assert labels.tolist() == [2, 1, 2, 0] and labels.dtype == torch.int64


def test_split_by_hand():
    items = torch.arange(12.0).reshape(1, 3, 4, 1)  # class c holds 4c .. 4c + 3
    support_x, support_y, query_x, query_y = answers.split_items(items, 2)
    assert support_x.flatten().tolist() == [0, 1, 4, 5, 8, 9]
    assert support_y.tolist() == [[0, 0, 1, 1, 2, 2]] == query_y.tolist()
    assert query_x.flatten().tolist() == [2, 3, 6, 7, 10, 11]


def test_count_by_hand():
    assert answers.count_episodes(3, 4, 2, 1, 2) == 6 * 12**2


def test_stubs_in_the_lesson_have_the_arguments_of_the_solutions(lesson):
    assert lesson("01").stubs == {
        name: list(signature(getattr(answers, name)).parameters) for name in EXERCISES
    }


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_in_the_lesson_is_correct(name, lesson, capsys):
    examples, hint, _ = EXERCISES[name]
    compare(lesson("01").solutions[name], getattr(answers, name), examples, hint=hint)
    assert "correct" in capsys.readouterr().out
