import dataclasses

import numpy as np
import pytest
import torch

from metalearn_edu import PrototypicalNetwork
from metalearn_edu.tasks import EpisodeBatch, Task
from metalearn_edu.tasks import episodes as episodes_module


def parts(n_tasks=3, n_way=2, n_shot=1, n_query=2, item=(4,)):
    """Arguments of a sound classification batch; every number in it is different."""
    support, query = (n_tasks, n_way * n_shot), (n_tasks, n_way * n_query)
    numbers = torch.arange(torch.Size((n_tasks, n_way * (n_shot + n_query), *item)).numel()).float()
    x = numbers.view(n_tasks, -1, *item)
    return {
        "support_x": x[:, : support[1]],
        "support_y": torch.arange(n_way).repeat_interleave(n_shot).expand(support),
        "query_x": x[:, support[1] :],
        "query_y": torch.arange(n_way).repeat_interleave(n_query).expand(query),
        "classes": torch.arange(n_way).expand(n_tasks, n_way) + 10,
    }


def regression_parts(n_tasks=2, n_support=5, n_query=7, out=3):
    return {
        "support_x": torch.randn(n_tasks, n_support, 1),
        "support_y": torch.randn(n_tasks, n_support, out),
        "query_x": torch.randn(n_tasks, n_query, 1),
        "query_y": torch.randn(n_tasks, n_query, out),
    }


def test_counts_of_a_classification_batch():
    batch = EpisodeBatch(**parts(n_tasks=3, n_way=5, n_shot=2, n_query=4))
    assert batch.is_classification
    assert (batch.n_tasks, batch.n_way, batch.n_shot, batch.n_query) == (3, 5, 2, 4)
    assert len(batch) == 3


def test_counts_of_a_regression_batch():
    batch = EpisodeBatch(**regression_parts())
    assert not batch.is_classification
    assert (batch.n_tasks, batch.n_way, batch.n_shot, batch.n_query) == (2, None, 5, 7)


def test_repr_says_what_a_person_asks():
    assert repr(EpisodeBatch(**parts(item=(1, 28, 28)))) == (
        "EpisodeBatch(3 tasks, 2-way 1-shot, 2 queries per class, item 1 x 28 x 28)"
    )
    assert repr(EpisodeBatch(**parts(n_tasks=1))).startswith("EpisodeBatch(1 task, ")
    assert repr(EpisodeBatch(**regression_parts())) == (
        "EpisodeBatch(2 tasks, regression, 5 support and 7 query points, item 1)"
    )


def test_iteration_gives_tasks_without_the_task_axis():
    given = parts()
    for i, task in enumerate(EpisodeBatch(**given)):
        assert isinstance(task, Task)
        for name, tensor in task._asdict().items():
            assert torch.equal(tensor, given[name][i])
    assert i == 2


@pytest.mark.parametrize("index", [1, -2, np.int64(1), torch.tensor(1)])
def test_one_task_by_any_kind_of_index(index):
    assert torch.equal(EpisodeBatch(**parts())[index].query_x, parts()["query_x"][1])


@pytest.mark.parametrize("index, error", [(3, IndexError), ("0", TypeError), ([0, 1], TypeError)])
def test_what_is_no_index_is_refused(index, error):
    with pytest.raises(error):
        EpisodeBatch(**parts())[index]


def test_a_slice_is_a_batch():
    batch = EpisodeBatch(**parts())[1:]
    assert isinstance(batch, EpisodeBatch)
    assert batch.n_tasks == 2
    assert torch.equal(batch.support_x, parts()["support_x"][1:])
    assert batch.classes is not None and batch.classes.shape == (2, 2)
    with pytest.raises(ValueError, match="takes none of the 3 tasks"):
        batch = EpisodeBatch(**parts())[3:]


def test_split_keeps_every_task_in_order_in_even_batches():
    batch = EpisodeBatch(**parts(n_tasks=7))
    chunks = list(batch.split(3))
    assert [len(chunk) for chunk in chunks] == [3, 2, 2]
    assert torch.equal(torch.cat([chunk.query_x for chunk in chunks]), batch.query_x)
    assert [len(chunk) for chunk in batch.split(None)] == [7]
    for bad in (0, -1, 2.5):
        with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1"):
            batch.split(bad)


def test_to_changes_the_dtype_of_floats_only():
    batch = EpisodeBatch(**parts()).to(dtype=torch.float64)
    assert batch.support_x.dtype == batch.query_x.dtype == torch.float64
    assert batch.support_y.dtype == batch.query_y.dtype == batch.classes.dtype == torch.int64
    targets = EpisodeBatch(**regression_parts()).to(dtype=torch.float64)
    assert targets.support_y.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_to_does_not_cut_items_to_integers(dtype):
    with pytest.raises(ValueError, match=f"dtype must be floating point, .* got {dtype}"):
        EpisodeBatch(**parts()).to(dtype=dtype)


def test_to_moves_every_tensor():
    order = torch.arange(6).repeat(3, 1)
    rows = {"support_rows": order[:, :2], "query_rows": order[:, 2:]}
    moved = EpisodeBatch(**parts(), order=order, **rows).to("meta")
    devices = {getattr(moved, field.name).device.type for field in dataclasses.fields(moved)}
    assert devices == {"meta"}
    assert EpisodeBatch(**regression_parts()).to("meta").classes is None


def test_what_was_checked_is_not_checked_again(monkeypatch):
    batch = EpisodeBatch(**parts())
    monkeypatch.setattr(episodes_module, "_check_shapes", lambda _: pytest.fail("checked again"))
    next(iter(batch[:2].to(dtype=torch.float64).split(1)))


def test_a_batch_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EpisodeBatch(**parts()).support_x = torch.zeros(1)


def longer(y):
    return torch.cat([y, y[:, :1]], dim=1)


SPOILT = {
    "an array": (
        lambda p: {"query_x": p["query_x"].numpy()},
        "query_x must be a tensor, got ndarray",
    ),
    "a list of labels": (lambda p: {"support_y": [[0, 1]] * 3}, "support_y must be a tensor, got"),
    "integer images": (
        lambda p: {"support_x": p["support_x"].to(torch.uint8)},
        "support_x must be floating point, got torch.uint8; use .float",
    ),
    "no task axis": (
        lambda p: {"support_x": p["support_x"][0], "support_y": p["support_y"][0]},
        r"support_x must be \(tasks, items, \*item\), got shape \(2, 4\); .*support_x\[None\]",
    ),
    "other number of items": (
        lambda p: {"query_y": longer(p["query_y"])},
        r"query_y \(3, 5\) does not fit query_x \(3, 4, 4\)",
    ),
    "no items": (
        lambda p: {"support_x": torch.zeros(3, 0, 4), "support_y": torch.zeros(3, 0).long()},
        "no axis may be empty",
    ),
    "empty items": (lambda p: {"support_x": torch.zeros(3, 2, 0)}, "no axis may be empty"),
    "32-bit labels": (
        lambda p: {"query_y": p["query_y"].int()},
        r"query_y must be int64 labels \(tasks, items\) or float targets",
    ),
    "Boolean labels": (lambda p: {"query_y": p["query_y"].bool()}, "must be int64 labels"),
    "float labels": (
        lambda p: {"support_y": p["support_y"].float()},
        r"\(tasks, items, out\), got torch.float32 \(3, 2\)",
    ),
    "one-hot labels": (
        lambda p: {"support_y": torch.eye(2).long().expand(3, 2, 2)},
        r"got torch.int64 \(3, 2, 2\)",
    ),
    "fewer query tasks": (
        lambda p: {"query_x": p["query_x"][:2], "query_y": p["query_y"][:2]},
        "support_x holds 3 tasks, query_x 2",
    ),
    "other items to answer": (
        lambda p: {"query_x": p["query_x"][..., :3]},
        r"of shape \(4,\), those of query_x torch.float32 of shape \(3,\); they must agree",
    ),
    "other precision": (
        lambda p: {"query_x": p["query_x"].double()},
        r"support_x are torch.float32 .* query_x torch.float64",
    ),
    "targets to answer labels": (
        lambda p: {"query_y": p["query_y"].float()[..., None]},
        "support_y are torch.int64 .* query_y torch.float32",
    ),
    "a negative label": (
        lambda p: {"support_y": p["support_y"] - 1},
        r"labels must be 0..n_way - 1 in every task, got -1 to 1",
    ),
    "a query label that was not taught": (
        lambda p: {"query_y": p["query_y"] + 1},
        "got 0 to 2 with 2 support items, whose largest label is 1; remap",
    ),
    "class ids": (lambda p: {"support_y": p["support_y"] * 3}, "got 0 to 3 with 2 support items"),
    "a huge class id": (lambda p: {"support_y": p["support_y"] * 10**15}, "remap the class ids"),
    "a class without support in one task": (
        lambda p: {"support_y": torch.tensor([[0, 1], [0, 1], [1, 1]])},
        r"task 2 has \[0, 2\]",
    ),
    "classes of another way": (
        lambda p: {"classes": torch.zeros(3, 5)},
        r"classes must be \(tasks, n_way\) = \(3, 2\), got \(3, 5\)",
    ),
    "classes in a list": (
        lambda p: {"classes": [[10, 11]] * 3},
        "classes must be a tensor, got list",
    ),
    "classes that are not integers": (
        lambda p: {"classes": p["classes"].float()},
        r"classes must be int64, got torch.float32; use .long\(\)",
    ),
    "an order in a list": (
        lambda p: {"order": [[0, 1, 2, 3, 4, 5]] * 3},
        "order must be a tensor, got list",
    ),
    "an order of floats": (
        lambda p: {"order": torch.arange(6.0).expand(3, 6)},
        "order must be int64, got torch.float32",
    ),
    "rows of other items": (
        lambda p: {"query_rows": torch.zeros(3, 2).long()},
        r"query_rows must be \(tasks, items\) = \(3, 4\), got \(3, 2\)",
    ),
    "rows that are not integers": (
        lambda p: {"support_rows": torch.zeros(3, 2)},
        "support_rows must be int64, got torch.float32",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_does_not_fit_is_refused_with_the_numbers(name):
    spoil, message = SPOILT[name]
    good = parts()
    with pytest.raises(ValueError, match=message):
        EpisodeBatch(**good | spoil(good))


def test_regression_targets_must_agree_in_width():
    good = regression_parts(out=3)
    with pytest.raises(ValueError, match=r"of shape \(3,\), those of query_y .* of shape \(2,\)"):
        EpisodeBatch(**good | {"query_y": good["query_y"][..., :2]})


# ---------------------------------------------------------------- unequal numbers of items


def unequal(**given):
    """Two 3-way tasks, unbalanced in different ways: 2 and 1 to 2 support items, 0 to 3 queries."""
    numbers = torch.arange(2 * 9 * 4, dtype=torch.float64).view(2, 9, 4).sin()
    labels = {
        "support_y": torch.tensor([[0, 1, 2, 2, 0], [2, 1, 1, 0, 1]]),
        "query_y": torch.tensor([[0, 0, 1, 2], [1, 1, 1, 1]]),
    }
    return EpisodeBatch(support_x=numbers[:, :5], query_x=numbers[:, 5:], **(labels | given))


def test_unequal_numbers_are_welcome_and_have_no_one_number():
    batch = unequal()
    assert (batch.n_tasks, batch.n_way) == (2, 3)
    with pytest.raises(
        ValueError, match=r"no one n_shot: .* 1 to 3 items; count them in support_y"
    ):
        batch.n_shot  # noqa: B018
    with pytest.raises(ValueError, match=r"no one n_query: .* 0 to 4 items; count them in query_y"):
        batch.n_query  # noqa: B018
    assert repr(batch) == (
        "EpisodeBatch(2 tasks, 3-way, 1 to 3 support items per class, 0 to 4 queries per class, "
        "item 4)"
    )


def test_a_number_that_divides_evenly_is_not_taken_for_a_balance():
    # Six queries of three classes, but 1, 2 and 3 of them.
    x, y = torch.zeros(1, 6, 4), torch.tensor([[0, 1, 1, 2, 2, 2]])
    batch = EpisodeBatch(x[:, :3], torch.tensor([[0, 1, 2]]), x, y)
    assert batch.n_shot == 1
    with pytest.raises(ValueError, match="1 to 3 items"):
        batch.n_query  # noqa: B018


def test_one_query_is_enough():
    x = torch.zeros(1, 3, 4)
    batch = EpisodeBatch(x, torch.tensor([[0, 1, 2]]), x[:, :1], torch.tensor([[1]]))
    assert repr(batch) == ("EpisodeBatch(1 task, 3-way 1-shot, 0 to 1 queries per class, item 4)")


def test_every_class_needs_a_support_item_in_every_task():
    with pytest.raises(ValueError, match=r"each of the 3 classes .*; task 1 has \[0, 4, 1\]"):
        unequal(support_y=torch.tensor([[0, 1, 2, 2, 0], [2, 1, 1, 1, 1]]))


def test_the_loss_of_unequal_tasks_is_the_mean_over_their_queries():
    batch, learner = unequal(), PrototypicalNetwork(torch.nn.Identity())
    losses = []
    for task in batch:
        means = [task.support_x[task.support_y == c].mean(dim=0) for c in range(3)]
        for query, label in zip(task.query_x, task.query_y, strict=True):
            scores = torch.stack([-(query - mean).square().sum() for mean in means])
            losses.append(scores.logsumexp(dim=0) - scores[label])
    assert len(losses) == 8
    torch.testing.assert_close(learner.loss(batch), torch.stack(losses).mean())


# ---------------------------------------------------------------- rows of the data set


def test_the_rows_go_along_with_their_tasks():
    rows = torch.arange(18).view(3, 6)
    batch = EpisodeBatch(**parts(), support_rows=rows[:, :2], query_rows=rows[:, 2:])
    assert batch[1:].query_rows.tolist() == rows[1:, 2:].tolist()
    assert [part.support_rows.tolist() for part in batch.split(2)] == [
        [[0, 1], [6, 7]],
        [[12, 13]],
    ]
    moved = batch.like(torch.nn.Linear(1, 1).double())
    assert moved.support_x.dtype == torch.float64
    assert torch.equal(moved.support_rows, batch.support_rows)


# ---------------------------------------------------------------- known once


def counted(monkeypatch, name):
    calls, function = [], getattr(episodes_module, name)
    monkeypatch.setattr(
        episodes_module, name, lambda *args: calls.append(args[0]) or function(*args)
    )
    return calls


def test_the_number_of_ways_is_counted_once_for_all_that_comes_of_a_batch(monkeypatch):
    batch = EpisodeBatch(**parts())
    assert batch.n_way == 2
    calls = counted(monkeypatch, "count_classes")
    others = [batch, batch[1:], *batch.split(1), batch.to(dtype=torch.float64)]
    assert [other.n_way for other in others] == [2] * len(others) and not calls
    assert EpisodeBatch(**regression_parts())[:1].n_way is None


def test_items_are_looked_through_once(monkeypatch):
    batch = EpisodeBatch(**parts())
    calls = counted(monkeypatch, "check_finite")
    batch.check_finite()
    batch.check_finite()
    for few in batch.like(torch.nn.Linear(1, 1)).split(1):
        few.check_finite()
    assert calls == ["support_x", "query_x"]
    EpisodeBatch(**regression_parts()).check_finite()
    assert calls[2:] == ["support_x", "support_y", "query_x"]


def test_numbers_that_another_precision_cannot_hold_are_found_after_the_move():
    given = parts()
    batch = EpisodeBatch(**given | {"query_x": given["query_x"] + 1e6})
    batch.check_finite()
    with pytest.raises(ValueError, match="query_x holds 48 NaN or infinite numbers"):
        batch.to(dtype=torch.float16).check_finite()


def test_a_module_without_floats_leaves_a_batch_where_it_is():
    batch = EpisodeBatch(**parts()).to(dtype=torch.float64)
    assert batch.like(torch.nn.Flatten()).support_x.dtype == torch.float64


# ---------------------------------------------------------------- in order


def test_a_stream_comes_in_the_order_given():
    order = torch.tensor([[5, 0, 3, 1, 4, 2], [0, 1, 2, 3, 4, 5], [2, 4, 0, 5, 1, 3]])
    batch = EpisodeBatch(**parts(), order=order)
    x, y = batch.stream()
    for task in range(3):
        items = [*batch.support_x[task], *batch.query_x[task]]
        labels = [*batch.support_y[task].tolist(), *batch.query_y[task].tolist()]
        for place, i in enumerate(order[task].tolist()):
            assert torch.equal(x[task, place], items[i])
            assert y[task, place] == labels[i]


def test_without_an_order_the_support_set_comes_first():
    for given in (parts(), regression_parts()):
        batch = EpisodeBatch(**given)
        x, y = batch.stream()
        assert torch.equal(x, torch.cat([given["support_x"], given["query_x"]], dim=1))
        assert torch.equal(y, torch.cat([given["support_y"], given["query_y"]], dim=1))


def test_the_order_goes_along_with_its_tasks():
    order = torch.stack([torch.arange(6).roll(k) for k in range(3)])
    batch = EpisodeBatch(**parts(), order=order)
    assert torch.equal(batch[1:].order, order[1:])
    assert [part.order.tolist() for part in batch.split(2)] == [
        order[:2].tolist(),
        [*order[2:].tolist()],
    ]
    moved = batch.to(dtype=torch.float64)
    assert moved.order.dtype == torch.int64 and moved.stream()[0].dtype == torch.float64


@pytest.mark.parametrize(
    "order",
    [
        torch.arange(6).expand(2, 6),
        torch.arange(5).expand(3, 5),
        torch.arange(6),
        torch.tensor([[0, 1, 2, 3, 4, 4]] * 3),
        torch.tensor([[1, 2, 3, 4, 5, 6]] * 3),
        torch.tensor([[-1, 0, 1, 2, 3, 4]] * 3),
    ],
    ids=["a task too few", "an item too few", "no task axis", "twice", "too high", "negative"],
)
def test_a_bad_order_is_refused(order):
    with pytest.raises(ValueError, match="order must name each of the 6 items of 3 tasks once"):
        EpisodeBatch(**parts(), order=order)
