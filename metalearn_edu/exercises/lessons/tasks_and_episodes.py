"""The exercises of notebook 01: labels, episodes, how many there are, and two samplers to mend."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor

from ..checker.draws import draw_int
from ..checker.exercise import Answer, Case, Exercise, Mistake
from ..checker.question import Option, Question

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


def _ranks(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return torch.unique(class_ids, return_inverse=True)[1]


def _ranks_in_chosen(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return torch.searchsorted(chosen.sort().values, class_ids)


def _class_numbers(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return class_ids


def _chosen_by_number(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return chosen[class_ids]


def _order_of_arrival(class_ids: Tensor, chosen: Tensor) -> Tensor:
    seen = list(dict.fromkeys(class_ids.tolist()))
    return torch.tensor([seen.index(c) for c in class_ids.tolist()])


def _table(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return (class_ids[:, None] == chosen).int()


def _over_items(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return (class_ids[:, None] == chosen).int().argmax(dim=0)


def _searched_unsorted(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return torch.searchsorted(chosen, class_ids)


def _one_by_one(class_ids: Tensor, chosen: Tensor) -> Tensor:
    labels = class_ids.clone()
    for label, c in enumerate(chosen):
        labels[labels == c] = label
    return labels


def _remainders(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return class_ids % len(chosen)


def _minus_smallest(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return class_ids - chosen.min()


def _places_of_items(class_ids: Tensor, chosen: Tensor) -> Tensor:
    return torch.arange(len(class_ids))


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
    mistakes=[
        Mistake(
            _ranks,
            "these are ranks among the sorted class numbers of the items (`torch.unique` sorts); "
            "the label is the place in `chosen`",
        ),
        Mistake(
            _ranks_in_chosen,
            "these are ranks among the sorted chosen classes; then the smallest class number "
            "always has the label 0. Do not sort `chosen`",
        ),
        Mistake(_class_numbers, "these are still the class numbers; labels run from 0 to n_way-1"),
        Mistake(
            _chosen_by_number,
            "`chosen[class_ids]` goes from labels to classes; the other way round is asked for",
        ),
        Mistake(
            _order_of_arrival,
            "this numbers the classes as they first come among the items; the order of `chosen` "
            "counts",
        ),
        Mistake(
            _table,
            "this table has a row for each item, with a 1 at the place of its class; what is that "
            "place? `argmax(dim=1)` tells",
        ),
        Mistake(
            _over_items,
            "this is one number for each chosen class; take the place along the classes, dim=1",
        ),
        Mistake(
            _searched_unsorted,
            "`torch.searchsorted` needs a sorted tensor, and `chosen` is in the order of the "
            "labels; compare with each chosen class",
        ),
        Mistake(
            _one_by_one,
            "a label that is written already may be the number of a class that comes later, and is "
            "then written over; compare with `class_ids`, which stays, and write into another "
            "tensor",
        ),
        Mistake(_remainders, "a remainder can be the same for two classes, and is not their place"),
        Mistake(
            _minus_smallest,
            "minus the smallest number works only if the numbers have no gaps and `chosen` is "
            "sorted",
        ),
        Mistake(
            _places_of_items,
            "this numbers the items; items of one class have one label, the place of the class",
        ),
    ],
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


Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def _labels_in_turns(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, query_x, query_y = split_items(items, n_shot)
    n_way = items.shape[1]
    turns = [
        torch.arange(n_way).repeat(y.shape[1] // n_way).repeat(len(y), 1)
        for y in (support_y, query_y)
    ]
    return support_x, turns[0], query_x, turns[1]


def _query_with_support(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, _, _ = split_items(items, n_shot)
    _, _, everything, labels = split_items(items, 0)
    return support_x, support_y, everything, labels


def _query_is_support(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, _, _ = split_items(items, n_shot)
    return support_x, support_y, support_x, support_y


def _cut_after_flattening(items: Tensor, n_shot: int) -> Parts:
    flat = items.flatten(1, 2)
    _, support_y, _, query_y = split_items(items, n_shot)
    n = support_y.shape[1]
    return flat[:, :n], support_y, flat[:, n:], query_y


def _last_are_support(items: Tensor, n_shot: int) -> Parts:
    n_query = items.shape[2] - n_shot
    query_x, query_y, support_x, support_y = split_items(items, n_query)
    return support_x, support_y, query_x, query_y


def _labels_of_one_task(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, query_x, query_y = split_items(items, n_shot)
    return support_x, support_y[0], query_x, query_y[0]


def _axes_kept(items: Tensor, n_shot: int) -> Parts:
    _, support_y, _, query_y = split_items(items, n_shot)
    return items[:, :, :n_shot], support_y, items[:, :, n_shot:], query_y


def _items_in_turns(items: Tensor, n_shot: int) -> Parts:
    _, support_y, _, query_y = split_items(items, n_shot)
    turned = items.transpose(1, 2)  # (T, n, n_way, *item)
    return (
        turned[:, :n_shot].flatten(1, 2),
        support_y,
        turned[:, n_shot:].flatten(1, 2),
        query_y,
    )


def _pixels_in_a_row(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, query_x, query_y = split_items(items, n_shot)
    return support_x.flatten(2), support_y, query_x.flatten(2), query_y


def _first_queries(items: Tensor, n_shot: int) -> Parts:
    return split_items(items[:, :, :-1], n_shot)


def _labels_go_on(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, query_x, query_y = split_items(items, n_shot)
    first = items.shape[1] * torch.arange(len(items))[:, None]
    return support_x, support_y + first, query_x, query_y + first


def _one_hot_labels(items: Tensor, n_shot: int) -> Parts:
    support_x, support_y, query_x, query_y = split_items(items, n_shot)
    eye = torch.eye(items.shape[1], dtype=torch.int64)
    return support_x, eye[support_y], query_x, eye[query_y]


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
    mistakes=[
        Mistake(
            _labels_in_turns,
            "these labels read 0, 1, .., 0, 1, .. (`repeat`), but the items come class by class: "
            "0, 0, .., 1, 1, .. (`repeat_interleave`)",
        ),
        Mistake(
            _query_with_support,
            "the query set holds the support items too; a learner would be asked for what it was "
            "shown",
        ),
        Mistake(_query_is_support, "the query set is the support set once more"),
        Mistake(
            _cut_after_flattening,
            "this cuts after the classes were joined, so that the first classes are all support; "
            "cut each class, then join",
        ),
        Mistake(
            _last_are_support,
            "these are the last n_shot items of each class as the support set; take the first",
        ),
        Mistake(
            _labels_of_one_task,
            "the labels lack the task axis: every one of the T tasks has its own row, "
            "`labels.repeat(T, 1)`",
        ),
        Mistake(
            _axes_kept,
            "the items still have a class axis and a shot axis; make one of them, "
            "`x.flatten(1, 2)`",
        ),
        Mistake(
            _items_in_turns,
            "these items come in turns, one of each class; class by class is asked for: all items "
            "of class 0 first",
        ),
        Mistake(
            _pixels_in_a_row,
            "the axes of an item became one, too; only the class axis and the shot axis do, "
            "`x.flatten(1, 2)`",
        ),
        Mistake(_first_queries, "the last query of each class is missing: `[:, :, n_shot:]`"),
        Mistake(_labels_go_on, "the labels begin with 0 in each task anew"),
        Mistake(
            _one_hot_labels, "these are one-hot rows; a label is one whole number for each item"
        ),
    ],
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


def _no_order(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    whole = count_episodes(n_classes, class_size, n_way, n_shot, n_query)
    return whole // math.factorial(n_way)


def _no_query(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    return math.perm(n_classes, n_way) * math.comb(class_size, n_shot) ** n_way


def _one_class(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    return math.perm(n_classes, n_way) * items


def _times_n_way(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    return n_way * _one_class(n_classes, class_size, n_way, n_shot, n_query)


def _overlap(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.comb(class_size, n_shot) * math.comb(class_size, n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _ordered_items(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.perm(class_size, n_shot + n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _one_set(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.comb(class_size, n_shot + n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _with_repeats(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.comb(class_size, n_shot) * math.comb(class_size - n_shot, n_query)
    return n_classes**n_way * items**n_way


def _no_support(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    return math.perm(n_classes, n_way) * math.comb(class_size - n_shot, n_query) ** n_way


def _no_classes(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    whole = count_episodes(n_classes, class_size, n_way, n_shot, n_query)
    return whole // math.perm(n_classes, n_way)


def _sums(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.comb(class_size, n_shot) + math.comb(class_size - n_shot, n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _any_class(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    support = math.comb(n_way * class_size, n_way * n_shot)
    queries = math.comb(n_way * (class_size - n_shot), n_way * n_query)
    return math.perm(n_classes, n_way) * support * queries


def _one_less(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    items = math.comb(class_size, n_shot) * math.comb(class_size - 1, n_query)
    return math.perm(n_classes, n_way) * items**n_way


def _in_floats(n_classes: int, class_size: int, n_way: int, n_shot: int, n_query: int) -> int:
    whole = count_episodes(n_classes, class_size, n_way, n_shot, n_query)
    return whole if whole < 2**53 else int(float(whole))


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
    mistakes=[
        Mistake(
            _no_order,
            "this forgets that labels count: A as 0 and B as 1 is another episode than A as 1 and "
            "B as 0; `math.perm`",
        ),
        Mistake(_no_query, "this counts the support sets only; the query items are chosen too"),
        Mistake(
            _one_class,
            "this chooses the items of one class; each of the n_way classes chooses on its own, "
            "so take the power n_way",
        ),
        Mistake(
            _times_n_way,
            "choices of several classes multiply: to the power n_way, not times n_way",
        ),
        Mistake(
            _overlap,
            "this lets an item be support and query at once; the query items come from the "
            "class_size - n_shot that are left",
        ),
        Mistake(
            _ordered_items,
            "this counts the orders of the items in a set, which make no other episode; "
            "`math.comb`",
        ),
        Mistake(
            _one_set,
            "this chooses which items take part, but not which of them are support and which query",
        ),
        Mistake(_with_repeats, "this lets one class have two labels at once; `math.perm`"),
        Mistake(_no_support, "this counts the query sets only; the support items are chosen too"),
        Mistake(_no_classes, "this counts the items only; the classes are dealt, too"),
        Mistake(_sums, "every support set goes with every query set, so multiply; do not add"),
        Mistake(
            _any_class,
            "this draws from all classes together, so that one class may get more items than "
            "another; each class chooses on its own, to the power n_way",
        ),
        Mistake(
            _in_floats,
            "a float keeps 16 digits and an int64 ends at 9 · 10¹⁸; Python's own whole numbers "
            "have no end, so stay with them: no `float`, `gamma`, `prod` of NumPy or torch",
        ),
        Mistake(_one_less, "class_size - n_shot items are left for the queries"),
    ],
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
    """Places (n_draws, n_items) of items in a class of class_size, each row drawn anew."""
    order = torch.rand(n_draws, class_size, generator=generator).argsort(dim=1)
    return order[:, :n_items]


def _first_items(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    places = torch.arange(n_items)
    return places.repeat(n_draws, 1)


def _shuffled_first(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    return torch.rand(n_draws, n_items, generator=generator).argsort(dim=1)


def _with_replacement(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    return torch.randint(class_size, (n_draws, n_items), generator=generator)


def _one_draw(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    return torch.randperm(class_size, generator=generator)[:n_items].repeat(n_draws, 1)


def _neighbours(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    starts = torch.randint(class_size, (n_draws, 1), generator=generator)
    return (starts + torch.arange(n_items)) % class_size


def _own_seed(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    return draw_items(class_size, n_items, n_draws, torch.Generator().manual_seed(0))


def _same_seed_again(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    own = torch.Generator().manual_seed(generator.initial_seed())
    return draw_items(class_size, n_items, n_draws, own)


def _rows_in_turns(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    first = draw_items(class_size, n_items, (n_draws + 1) // 2, generator)
    return first.repeat_interleave(2, dim=0)[:n_draws]


def _own_numbers(class_size: int, n_items: int, n_draws: int, generator: Generator) -> Tensor:
    return torch.rand(n_draws, class_size).argsort(dim=1)[:, :n_items]


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
REPEATS = "a number occurs twice in a row; whoever is chosen is not chosen again"
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
FOLLOWS = "a row tells something about the next one; each row is drawn anew"


def _a_table(
    answer: Answer, size: int, width: int, rows: int, generator: Generator
) -> tuple[str, Tensor]:
    """What is wrong with the kind of the result, and the result."""
    table = answer(size, width, rows, generator)
    if not isinstance(table, Tensor) or table.dtype != torch.int64:
        kind = getattr(table, "dtype", type(table).__name__)
        return f"the result is {kind}, expected a tensor of int64", torch.empty(0)
    if table.shape != (rows, width):
        return f"the result has shape {tuple(table.shape)}, expected {(rows, width)}", table
    if table.min() < 0 or table.max() >= size:
        return f"the result holds {table.max()}; numbers run from 0 to {size - 1}", table
    return "", table


def _seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def _is_a_draw(answer: Answer) -> str:
    """Whether rows without repeats come from the generator."""
    for size, width, rows in ((9, 4, 200), (3, 3, 50), (6, 2, 100), (5, 1, 40)):
        problem, table = _a_table(answer, size, width, rows, _seeded(0))
        if problem:
            return problem
        if not torch.equal(table, _a_table(answer, size, width, rows, _seeded(0))[1]):
            return SAME_NUMBERS
        if (table.sort(dim=1).values.diff(dim=1) == 0).any():
            return REPEATS
    return ""


def _rows_are_fair(answer: Answer) -> str:
    """Whether numbers, pairs and rows come equally often, at each call anew."""
    rows, generator = 6000, _seeded(torch.Generator().seed() % 2**40)
    for size, width in ((5, 3), (4, 4), (6, 5), (7, 1)):
        table = _a_table(answer, size, width, rows, generator)[1]
        found = _of_one_kind(table) if width > 1 else ""
        if found:
            return found
        if torch.equal(table, _a_table(answer, size, width, rows, generator)[1]):
            other = _a_table(answer, size, width, rows, _seeded(generator.initial_seed() + 1))[1]
            return NO_NEW_NUMBERS if torch.equal(table, other) else AGAIN
        found = _unfair(table, size)
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
    mistakes=[
        Mistake(_shuffled_first, FIRST_ITEMS),
        Mistake(_with_replacement, REPEATS),
        Mistake(_one_draw, SAME_ROWS),
        Mistake(_neighbours, UNFAIR),
        Mistake(_own_numbers, SAME_NUMBERS),
        Mistake(_own_seed, NO_NEW_NUMBERS),
        Mistake(_same_seed_again, AGAIN),
        Mistake(_rows_in_turns, FOLLOWS),
    ],
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
    return classes.sort(dim=1).values  # tidy


def _backwards(n_classes: int, n_way: int, n_tasks: int, generator: Generator) -> Tensor:
    return _sorted_classes(n_classes, n_way, n_tasks, generator).flip(1)


def _one_order(n_classes: int, n_way: int, n_tasks: int, generator: Generator) -> Tensor:
    return _sorted_classes(n_classes, n_way, n_tasks, generator).roll(1, dims=1)


def _turned(n_classes: int, n_way: int, n_tasks: int, generator: Generator) -> Tensor:
    """In order, but for where the row begins."""
    classes = _sorted_classes(n_classes, n_way, n_tasks, generator)
    start = torch.randint(n_way, (n_tasks, 1), generator=generator)
    return classes.gather(1, (start + torch.arange(n_way)) % n_way)


def _middle_sorted(n_classes: int, n_way: int, n_tasks: int, generator: Generator) -> Tensor:
    classes = deal_classes(n_classes, n_way, n_tasks, generator)
    classes[:, 1:-1] = classes[:, 1:-1].sort(dim=1).values
    return classes


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
        difficulty="medium",
        cases=[],
        draw=None,
        properties=[_is_a_draw, _rows_are_fair],
        mistakes=[
            Mistake(_backwards, ONE_ORDER),
            Mistake(_one_order, ONE_ORDER),
            Mistake(_turned, UNFAIR),
            Mistake(_middle_sorted, PLACES),
            Mistake(_shuffled_first, FIRST_ITEMS),
            Mistake(_with_replacement, REPEATS),
            Mistake(_one_draw, SAME_ROWS),
            Mistake(_own_numbers, SAME_NUMBERS),
            Mistake(_own_seed, NO_NEW_NUMBERS),
            Mistake(_same_seed_again, AGAIN),
            Mistake(_rows_in_turns, FOLLOWS),
        ],
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
        text="Nearest pixel is right in all cases on the episodes of `sampler_one`. Why?",
        options={
            "a": Option(
                "The queries are the support items.",
                "That would explain it, but look at the slices: `items[:n_shot]` and "
                "`items[n_shot:]` share nothing.",
            ),
            "b": Option(
                "The letters of this split are easy.",
                "With the package's sampler the same rule had about 45 % on the same letters.",
            ),
            "c": Option(
                "Every task has one class only, so there is nothing to tell apart.",
                "All items of a task come from one class and have the label 0; `n_way` is never "
                "used. The training loss would be exactly 0 from the first step.",
            ),
            "d": Option(
                "The labels are sorted.",
                "Sorted labels alone would not help nearest pixel, which looks at pixels. Which "
                "labels are there at all?",
            ),
        },
        right="c",
    ),
]
