"""The exercises of notebook 01: labels, episodes, how many there are, and two samplers to fix."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Answer, Case, Exercise, exercise_of
from ..checker.question import Question, question_of

LESSON = "01_tasks_and_episodes.txt"

__all__ = [
    "EXERCISES",
    "count_episodes",
    "deal_classes",
    "draw_items",
    "episode_labels",
    "split_items",
]


# --- labels ----------------------------------------------------------------------------------


def episode_labels(class_ids: Tensor, chosen: Tensor) -> Tensor:
    """Labels (S,) of items of the classes class_ids (S,): their places in chosen (n_way,)."""
    return (class_ids[:, None] == chosen).int().argmax(dim=1)


def _class_by_class(class_ids: Tensor, chosen: Tensor) -> Tensor:
    labels = torch.zeros_like(class_ids)
    for label, c in enumerate(chosen):
        labels[class_ids == c] = label
    return labels


def _draw_labels(generator: Generator) -> tuple[Tensor, Tensor]:
    n_way, n_items = draw_int(1, 8, generator), draw_int(1, 15, generator)
    n_classes = (10, 9000)[
        draw_int(0, 2, generator)
    ]  # numbers that could be labels, and numbers that could not
    chosen = torch.randperm(n_classes, generator=generator)[:n_way]
    return chosen[torch.randint(n_way, (n_items,), generator=generator)], chosen


LABELS = exercise_of(
    episode_labels,
    lesson=LESSON,
    cases=[
        Case((torch.tensor([7, 3, 7, 9]), torch.tensor([9, 3, 7])), torch.tensor([2, 1, 2, 0])),
        Case((torch.tensor([41, 853]), torch.tensor([853, 41])), torch.tensor([1, 0])),
        Case((torch.tensor([5, 5, 5]), torch.tensor([8, 5])), torch.tensor([1, 1, 1])),
        Case((torch.tensor([1, 0, 2]), torch.tensor([2, 0, 1])), torch.tensor([2, 1, 0])),
    ],
    draw=_draw_labels,
    ways=[_class_by_class],
)


# --- support and query sets ------------------------------------------------------------------


def split_items(items: Tensor, n_shot: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support and query sets, items and labels class by class, of items (T, n_way, n, *item)."""
    parts = []
    for x in (items[:, :, :n_shot], items[:, :, n_shot:]):
        labels = torch.arange(x.shape[1]).repeat_interleave(x.shape[2])  # 0, 0, .., 1, 1, ..
        parts += [x.flatten(1, 2), labels.repeat(len(x), 1)]
    support_x, support_y, query_x, query_y = parts
    return support_x, support_y, query_x, query_y


def _draw_split(generator: Generator) -> tuple[Tensor, int]:
    n_tasks, n_way, n_shot, n_query = (draw_int(1, 5, generator) for _ in range(4))
    item = [(2,), (1, 2, 2), ()][draw_int(0, 3, generator)]
    items = torch.rand(n_tasks, n_way + 1, n_shot + n_query, *item, generator=generator)
    return items, n_shot


SPLIT = exercise_of(
    split_items,
    lesson=LESSON,
    cases=[
        Case(
            (torch.arange(6.0).view(1, 2, 3, 1), 1),  # class c holds 3c, 3c + 1, 3c + 2
            (
                torch.tensor([[[0.0], [3.0]]]),
                torch.tensor([[0, 1]]),
                torch.tensor([[[1.0], [2.0], [4.0], [5.0]]]),
                torch.tensor([[0, 0, 1, 1]]),
            ),
        ),
        Case(
            (torch.arange(8.0).view(2, 2, 2), 1),
            (
                torch.tensor([[0.0, 2.0], [4.0, 6.0]]),
                torch.tensor([[0, 1], [0, 1]]),
                torch.tensor([[1.0, 3.0], [5.0, 7.0]]),
                torch.tensor([[0, 1], [0, 1]]),
            ),
        ),
    ],
    draw=_draw_split,
)


# --- how many --------------------------------------------------------------------------------


def count_episodes(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    """Number of different episodes of a pool of n_classes classes with class_size items each."""
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _draw_count(generator: Generator) -> tuple[int, int, int, int, int]:
    """Small pools, and some as large as Omniglot, whose counts do not fit into int64 or float."""
    n_way, n_shot, n_query = (draw_int(2, 5, generator) for _ in range(3))
    if draw_int(0, 2, generator):
        n_way, n_shot, n_query = 2 * n_way, 2 * n_shot, 3 * n_query
    n_classes, spare = n_way + draw_int(0, 4, generator), draw_int(1, 5, generator)
    return n_classes, n_shot + n_query + spare, n_way, n_shot, n_query


COUNT = exercise_of(
    count_episodes,
    lesson=LESSON,
    cases=[
        Case((3, 4, 2, 1, 2), 864),  # 3 * 2 ways to deal; 4 * 3 items for each of two classes
        Case((3, 2, 2, 1, 1), 24),  # 3 * 2; 2 * 1 for each
        Case((2, 3, 1, 1, 2), 6),  # 2; 3 * 1
        Case((3, 5, 1, 2, 1), 90),  # 3; 10 * 3
    ],
    draw=_draw_count,
)


# --- find the bug: always the first items ----------------------------------------------------


def draw_items(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    """Positions (n_draws, n_items) of items in a class of class_size; every row is a draw."""
    order = torch.rand(n_draws, class_size, generator=generator).argsort(dim=1)
    return order[:, :n_items]


def _first_items(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    places = torch.arange(n_items)
    return places.repeat(n_draws, 1)


# What the check says about a wrong sampler; the text with the mistakes begins with the same words.
SAME_NUMBERS = (
    "a generator in the same state gives other results; pass `generator=generator` to every "
    "function that draws"
)
NO_NEW_NUMBERS = (
    "a generator in another state gives the same results; draw from `generator` as it is, without "
    "a seed or a generator of your own"
)
AGAIN = (
    "called twice with the same generator, it gives the same results: each episode would repeat "
    "the one before; draw from `generator` itself, without a seed or a generator of your own"
)
SAME_ROWS = "all rows are the same; each needs its own random numbers"
REPEATS = "a number occurs twice in a row; do not choose a number again"
FIRST_ITEMS = (
    "only the first numbers are ever drawn, as many as a row is long; every item or class must "
    "have the same chance"
)
IN_ORDER = "every row is in increasing order, so the smallest number is always first"
ONE_ORDER = (
    "the numbers of every row are in the same order, such as the largest first; draw the order, too"
)
PLACES = (
    "some numbers are in some columns more often than in others; every number must have the same "
    "chance in every column"
)
UNFAIR = (
    "some pairs of numbers are in two columns more often than others; each row must be an ordered "
    "choice in which all numbers have the same chance"
)
FOLLOWS = "a row says something about the next one; draw every row on its own"


def _misfit(table: Tensor, size: int, shape: tuple[int, int]) -> str:
    """What is wrong with the kind of a result."""
    if not isinstance(table, Tensor) or table.dtype != torch.int64:
        kind = getattr(table, "dtype", type(table).__name__)
        return f"the result is {kind}, expected a tensor of int64"
    if table.shape != shape:
        return f"the result has shape {tuple(table.shape)}, expected {shape}"
    if table.min() < 0 or table.max() >= size:
        return f"the result holds {table.max()}; numbers run from 0 to {size - 1}"
    return ""


def _seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def _is_a_draw(answer: Answer) -> str:
    """Whether rows without repeats come from the generator."""
    for size, width, rows in ((9, 4, 200), (3, 3, 50), (6, 2, 100), (5, 1, 40)):
        table, again = (answer(size, width, rows, _seeded(0)) for _ in range(2))
        problem = _misfit(table, size, (rows, width))
        if problem:
            return problem
        if not torch.equal(table, again):
            return SAME_NUMBERS
        if (table.sort(dim=1).values.diff(dim=1) == 0).any():
            return REPEATS
    return ""


def _rows_are_fair(answer: Answer) -> str:
    """Whether numbers, pairs and rows come equally often, and differ from call to call."""
    rows, generator = 6000, _seeded(torch.Generator().seed() % 2**40)
    for size, width in ((5, 3), (4, 4), (6, 5), (7, 1)):
        table = answer(size, width, rows, generator)
        found = _of_one_kind(table) if width > 1 else ""
        if not found and torch.equal(table, answer(size, width, rows, generator)):
            other = answer(size, width, rows, _seeded(generator.initial_seed() + 1))
            found = NO_NEW_NUMBERS if torch.equal(table, other) else AGAIN
        found = found or _unfair(table, size)
        if found:
            return found
    return ""


def _of_one_kind(table: Tensor) -> str:
    """What all rows have in common but should not."""
    if (table == table[0]).all():
        return SAME_ROWS
    if table.max() < 3 and table.shape[1] == 3:
        return FIRST_ITEMS
    if (table.diff(dim=1) > 0).all():
        return IN_ORDER
    order = table.argsort(dim=1)
    return ONE_ORDER if (order == order[0]).all() else ""


def _unfair(table: Tensor, size: int) -> str:
    columns = list(table.T)
    if not all(_equally_often([column], size) for column in columns):
        return PLACES
    pairs = itertools.combinations(columns, 2)
    if not all(_equally_often(list(pair), size, unlike=True) for pair in pairs):
        return UNFAIR
    following = itertools.product(columns, repeat=2)
    if not all(_equally_often([a[:-1], b[1:]], size) for a, b in following):
        return FOLLOWS
    return ""


def _equally_often(columns: list[Tensor], size: int, unlike: bool = False) -> bool:
    """Whether all combinations of values come equally often, up to 7 standard deviations."""
    place, n = columns[0], len(columns[0])
    for column in columns[1:]:
        place = size * place + column
    share = torch.bincount(place, minlength=size ** len(columns)) / n
    fair = (1 - torch.eye(size)).flatten() if unlike else torch.ones_like(share)
    fair = fair / fair.sum()
    return bool(((share - fair).abs() <= 7 * (fair * (1 - fair) / n).sqrt()).all())


ITEMS = exercise_of(
    draw_items,
    lesson=LESSON,
    buggy=_first_items,
    cases=[],
    draw=None,
    properties=[_is_a_draw, _rows_are_fair],
)


# --- find the bug: labels in order -----------------------------------------------------------


def deal_classes(n_classes: int, n_way: int, n_tasks: int, generator: Generator) -> Tensor:
    """Classes (n_tasks, n_way) of each task; the class in column i has the label i."""
    return torch.rand(n_tasks, n_classes, generator=generator).argsort(dim=1)[:, :n_way]


def _sorted_classes(n_classes: int, n_way: int, n_tasks: int, generator: Generator) -> Tensor:
    classes = torch.rand(n_tasks, n_classes, generator=generator).argsort(dim=1)[:, :n_way]
    return classes.sort(dim=1).values


EXERCISES: list[Exercise | Question] = [
    LABELS,
    SPLIT,
    COUNT,
    ITEMS,
    exercise_of(
        deal_classes,
        lesson=LESSON,
        buggy=_sorted_classes,
        cases=[],
        draw=None,
        properties=[_is_a_draw, _rows_are_fair],
    ),
    question_of("batch_shapes", lesson=LESSON),
    question_of("always_right", lesson=LESSON),
]
