"""The exercises of notebook 01: labels, episodes, how many there are, and two samplers to fix."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.edits import mistakes_of
from ..checker.exercise import Answer, Case, Exercise
from ..checker.question import Option, Question

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
    n_classes = (10, 9000)[draw_int(0, 2, generator)]  # numbers that are labels, and far from it
    chosen = torch.randperm(n_classes, generator=generator)[:n_way]
    return chosen[torch.randint(n_way, (n_items,), generator=generator)], chosen


LABELS = Exercise(
    solution=episode_labels,
    lesson=1,
    aim="turn class numbers into the labels of an episode",
    minutes=5,
    difficulty="easy",
    cases=[
        Case((torch.tensor([7, 3, 7, 9]), torch.tensor([9, 3, 7])), torch.tensor([2, 1, 2, 0])),
        Case((torch.tensor([41, 853]), torch.tensor([853, 41])), torch.tensor([1, 0])),
        Case((torch.tensor([5, 5, 5]), torch.tensor([8, 5])), torch.tensor([1, 1, 1])),
        Case((torch.tensor([1, 0, 2]), torch.tensor([2, 0, 1])), torch.tensor([2, 1, 0])),
    ],
    draw=_draw_labels,
    mistakes=mistakes_of(episode_labels, _class_by_class, lesson=LESSON),
    ways=[_class_by_class],
    hints=[
        "For each item, ask at which place of `chosen` its class stands. A comparison of every "
        "item with every chosen class gives a table of true and false.",
        "`class_ids[:, None] == chosen` is `(S, n_way)`, with one `True` in each row.",
        "`.int().argmax(dim=1)` gives the place of the one in each row.",
    ],
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


SPLIT = Exercise(
    solution=split_items,
    lesson=1,
    aim="cut drawn items into a support and a query set",
    minutes=10,
    difficulty="medium",
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
    mistakes=mistakes_of(split_items, lesson=LESSON),
    hints=[
        "Slice the third axis into two pieces. In each piece, let the class axis and the item axis "
        "become one: `x.flatten(1, 2)`.",
        "`torch.arange(3).repeat_interleave(2)` is 0, 0, 1, 1, 2, 2. The same labels serve every "
        "task.",
        "Do the same twice, in a loop over `items[:, :, :n_shot]` and `items[:, :, n_shot:]`.",
    ],
)


# --- how many --------------------------------------------------------------------------------


def count_episodes(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    """Number of different episodes of a pool of n_classes classes with class_size items each."""
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _draw_count(generator: Generator) -> tuple[int, int, int, int, int]:
    """Small pools, and some as large as Omniglot, whose counts fit into no int64 and no float."""
    n_way, n_shot, n_query = (draw_int(2, 5, generator) for _ in range(3))
    if draw_int(0, 2, generator):
        n_way, n_shot, n_query = 2 * n_way, 2 * n_shot, 3 * n_query
    n_classes, spare = n_way + draw_int(0, 4, generator), draw_int(1, 5, generator)
    return n_classes, n_shot + n_query + spare, n_way, n_shot, n_query


COUNT = Exercise(
    solution=count_episodes,
    lesson=1,
    aim="see how many episodes a small pool gives",
    minutes=10,
    difficulty="medium",
    cases=[
        Case((3, 4, 2, 1, 2), 864),  # 3 * 2 ways to deal; 4 * 3 items for each of two classes
        Case((3, 2, 2, 1, 1), 24),  # 3 * 2; 2 * 1 for each
        Case((2, 3, 1, 1, 2), 6),  # 2; 3 * 1
        Case((3, 5, 1, 2, 1), 90),  # 3; 10 * 3
    ],
    draw=_draw_count,
    mistakes=mistakes_of(count_episodes, lesson=LESSON),
    hints=[
        "Labels matter, so an ordered choice of `n_way` classes: `math.perm(n_classes, n_way)`. "
        "For the small pool, 3 · 2 = 6.",
        "Choose the support items of one class, then its query items from those that are left: "
        "`math.comb(4, 1) * math.comb(3, 2)` = 4 · 3 = 12. Each class does this on its own.",
        "For the small pool: 6 · 12² = 864.",
    ],
)


# --- find the bug: always the first items ----------------------------------------------------


def draw_items(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    """Positions (n_draws, n_items) of items in a class of class_size; every row is a draw."""
    order = torch.rand(n_draws, class_size, generator=generator).argsort(dim=1)
    return order[:, :n_items]


def _first_items(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    places = torch.arange(n_items)
    return places.repeat(n_draws, 1)


# What the check says of a wrong sampler; the text with the mistakes has the first words of it.
SAME_NUMBERS = (
    "from a generator in the same state come other results; give `generator=generator` to every "
    "function that draws"
)
NO_NEW_NUMBERS = (
    "from a generator in another state come the same results; draw from `generator` as it comes, "
    "without a seed or a generator of your own"
)
AGAIN = (
    "called twice with the same generator, it gives the same results: each episode would be the "
    "one before; draw from `generator` itself, without a seed or a generator of your own"
)
SAME_ROWS = "all rows are the same; each needs random numbers of its own"
REPEATS = "a number occurs twice in a row; what is chosen must not be chosen again"
FIRST_ITEMS = (
    "only the first numbers are ever drawn, as many as a row is long; every one of the class must "
    "have the same chance"
)
IN_ORDER = "every row is in increasing order, so the smallest number is always first"
ONE_ORDER = (
    "the numbers of every row stand in the same order, such as the largest first; the order must "
    "be drawn, too"
)
PLACES = (
    "some numbers stand in some columns more often than in others; every number must have the "
    "same chance in every column"
)
UNFAIR = (
    "some pairs of numbers stand in two columns more often than others; each row must be an "
    "ordered choice in which all have the same chance"
)
FOLLOWS = "a row tells something about the next one; every row must be a draw of its own"


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
    """Whether numbers, pairs and rows come equally often, at each call anew."""
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
    """What all rows have in common that they should not."""
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
    """Whether all values side by side come equally often, up to 7 standard deviations."""
    place, n = columns[0], len(columns[0])
    for column in columns[1:]:
        place = size * place + column
    share = torch.bincount(place, minlength=size ** len(columns)) / n
    fair = (1 - torch.eye(size)).flatten() if unlike else torch.ones_like(share)
    fair = fair / fair.sum()
    return bool(((share - fair).abs() <= 7 * (fair * (1 - fair) / n).sqrt()).all())


ITEMS = Exercise(
    solution=draw_items,
    buggy=_first_items,
    lesson=1,
    aim="find why items never change",
    minutes=5,
    difficulty="easy",
    cases=[],
    draw=None,
    properties=[_is_a_draw, _rows_are_fair],
    mistakes=mistakes_of(draw_items, lesson=LESSON),
    hints=[
        "Which items can `torch.arange(n_items)` never name?",
        "Random numbers that are sorted give a random order: `torch.rand(...).argsort(dim=1)`. "
        "Take the first columns of it.",
        "The table of random numbers is `(n_draws, class_size)`.",
    ],
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
    Exercise(
        solution=deal_classes,
        buggy=_sorted_classes,
        lesson=1,
        aim="find why a learner can do without the support set",
        minutes=5,
        difficulty="easy",
        cases=[],
        draw=None,
        properties=[_is_a_draw, _rows_are_fair],
        mistakes=mistakes_of(deal_classes, lesson=LESSON),
        hints=[
            "In which column can class 0 stand? And the last class?",
            "The order of the classes deals the labels. Which line destroys a random order?",
        ],
    ),
    Question(
        name="batch_shapes",
        lesson=1,
        aim="read the shapes of an episode batch",
        minutes=2,
        difficulty="easy",
        text="Four tasks, 5-way 1-shot, 15 queries per class, images of 1 x 28 x 28. What are the "
        "shapes of `support_x` and `query_x`?",
        options={
            "a": Option(
                "(4, 5, 1, 28, 28) and (4, 15, 1, 28, 28)",
                "`n_query` counts queries per class, and there are five classes.",
            ),
            "b": Option(
                "(4, 5, 1, 28, 28) and (4, 75, 1, 28, 28)",
                "S = 5 · 1 support items and Q = 5 · 15 queries in each of the four tasks.",
            ),
            "c": Option(
                "(20, 1, 28, 28) and (300, 1, 28, 28)",
                "The numbers of items are right, but the tasks must stay apart: T is the first "
                "axis.",
            ),
            "d": Option(
                "(4, 5, 1, 1, 28, 28) and (4, 5, 15, 1, 28, 28)",
                "Classes and items share one axis; the labels say which item has which class.",
            ),
        },
        right="b",
    ),
    Question(
        name="always_right",
        lesson=1,
        aim="find a bug from its symptom",
        minutes=3,
        difficulty="easy",
        text="Nearest pixel is right every time on the episodes of `sampler_one`. Why?",
        options={
            "a": Option(
                "The queries are the support items.",
                "That would explain it, but look at the slices: `items[:n_shot]` and "
                "`items[n_shot:]` share nothing.",
            ),
            "b": Option(
                "The letters of this split are easy.",
                "With the package's sampler the same rule had about 52 % on the same letters.",
            ),
            "c": Option(
                "Every task holds a single class.",
                "All items of a task come from one class and have the label 0, so there is nothing "
                "to tell apart; `n_way` is never used.",
            ),
            "d": Option(
                "The labels come in sorted order.",
                "Sorted labels alone would not help nearest pixel, which looks at pixels. Which "
                "labels are there at all?",
            ),
        },
        right="c",
    ),
]
