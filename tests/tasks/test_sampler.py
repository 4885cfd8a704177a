import random
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from metalearn_edu.tasks import (
    Augmented,
    EpisodeSampler,
    FewShotDataset,
    OneShotTasks,
    Streams,
    TaskSource,
    create_task_batch,
)
from metalearn_edu.tasks.sampler import as_task_source
from tests.tasks.chi_square import assert_even


def numbered(sizes, groups=None) -> FewShotDataset:
    """Class c has sizes[c] items, shuffled; the value of an item is its row."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    rows = torch.arange(len(labels), dtype=torch.float64)[:, None]
    return FewShotDataset(rows, labels, class_groups=groups)


def pictures(n_classes=4, size=3) -> FewShotDataset:
    """Two images a class; every pixel differs, so that a turned image tells its turn."""
    pixels = torch.arange(n_classes * 2 * size * size) % 251
    items = pixels.to(torch.uint8).view(-1, 1, size, size)
    return FewShotDataset(items, torch.arange(n_classes).repeat_interleave(2))


def rows_of(batch) -> tuple[torch.Tensor, torch.Tensor]:
    return batch.support_x[..., 0].long(), batch.query_x[..., 0].long()


# ---------------------------------------------------------------- what an episode is


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    n_way=st.integers(2, 6),
    n_shot=st.integers(1, 4),
    n_query=st.integers(1, 4),
    n_groups=st.integers(1, 3),
    within_group=st.booleans(),
    seed=st.integers(-(2**70), 2**70),
    start=st.integers(0, 2**64),
)
def test_episodes_are_sound_or_refused(
    sizes, n_way, n_shot, n_query, n_groups, within_group, seed, start
):
    groups = [f"group {c % n_groups}" for c in range(len(sizes))]
    data = numbered(sizes, groups)
    large = [g for g, size in zip(groups, sizes, strict=True) if size >= n_shot + n_query]
    pools = [large.count(g) for g in set(groups)] if within_group else [len(large)]
    arguments = (data, n_way, n_shot, n_query)
    if max(pools) < n_way:
        with pytest.raises(ValueError, match=f"{max(pools)} classes qualify"):
            EpisodeSampler(*arguments, within_group=within_group)
        return
    batch = EpisodeSampler(*arguments, within_group=within_group).episodes(seed, start, 3)
    assert (batch.n_tasks, batch.n_way, batch.n_shot, batch.n_query) == (3, n_way, n_shot, n_query)
    support, query = rows_of(batch)
    for task in range(3):
        classes = batch.classes[task].tolist()
        assert len(set(classes)) == n_way
        rows = torch.cat([support[task], query[task]])
        assert len(rows.unique()) == n_way * (n_shot + n_query)  # disjoint, nothing twice
        labels = torch.cat([batch.support_y[task], batch.query_y[task]])
        assert torch.equal(batch.classes[task][labels], data.labels[rows])
        if within_group:
            assert len({groups[c] for c in classes}) == 1


@given(
    st.integers(0, 2**32), st.integers(0, 50), st.lists(st.integers(1, 6), min_size=1, max_size=5)
)
def test_an_episode_is_a_function_of_seed_and_index(seed, start, sizes):
    sampler = EpisodeSampler(numbered([5] * 8), 3, 1, 2)
    whole = sampler.episodes(seed, start, sum(sizes))
    ends = np.cumsum([0, *sizes])
    for first, end in reversed(list(pairwise(ends))):  # in whatever order
        part = sampler.episodes(seed, start + int(first), int(end - first))
        assert torch.equal(part.support_x, whole.support_x[first:end])
        assert torch.equal(part.query_x, whole.query_x[first:end])
        assert torch.equal(part.classes, whole.classes[first:end])


def test_episodes_of_a_seed_stay_as_they_are():
    # A change here changes every stored episode: the course's numbers would all be new.
    batch = EpisodeSampler(numbered([6] * 50), 5, 1, 2).episodes(0, 0, 2)
    assert batch.classes.tolist() == [[13, 43, 32, 15, 44], [28, 19, 21, 16, 47]]
    assert rows_of(batch)[0].tolist() == [[157, 215, 224, 280, 268], [235, 123, 89, 152, 44]]


def test_seeds_and_episodes_differ():
    sampler = EpisodeSampler(numbered([6] * 50), 5, 1, 2)
    drawn = torch.cat([sampler.episodes(seed, 0, 50).classes for seed in (0, 1, 2)])
    assert len(drawn.unique(dim=0)) == 150


def test_sample_is_a_function_of_the_generator():
    sampler = EpisodeSampler(numbered([6] * 50), 5, 1, 2)

    def draws(seed):
        generator = torch.Generator().manual_seed(seed)
        return [sampler.sample(4, generator).classes for _ in range(2)]

    first, second = draws(0)
    assert torch.equal(torch.stack(draws(0)), torch.stack([first, second]))
    assert not torch.equal(first, second)
    assert not torch.equal(first, draws(1)[0])


def test_seeded_draws_neither_read_nor_move_global_state():
    sampler = EpisodeSampler(numbered([6] * 50), 5, 1, 2)
    expected = sampler.episodes(0, 0, 4).classes
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(sampler.episodes(0, 0, 4).classes, expected)
    sampler.sample(4, torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.get_rng_state())


# ---------------------------------------------------------------- every draw is equally likely

N_EPISODES = 20_000


def test_classes_labels_and_items_are_even():
    data = numbered([4] * 7)
    batch = EpisodeSampler(data, 3, 1, 2).episodes(0, 0, N_EPISODES)
    for label in range(3):  # so which class gets which label is random, too
        assert_even(batch.classes[:, label].bincount(minlength=7))
    pairs = batch.classes[:, 0] * 7 + batch.classes[:, 2]
    assert_even(pairs.bincount(minlength=49).view(7, 7)[~torch.eye(7, dtype=torch.bool)])
    support, query = rows_of(batch)
    assert_even(support[:, 1].bincount(minlength=28))
    for place in (0, 1, 5):
        assert_even(query[:, place].bincount(minlength=28))
    # Which item of a class supports says nothing about which are asked.
    ranks = torch.empty(28, dtype=torch.int64)
    ranks[data.order] = torch.arange(28) % 4
    both = ranks[support[:, 0]] * 4 + ranks[query[:, 0]]
    assert_even(both.bincount(minlength=16).view(4, 4)[~torch.eye(4, dtype=torch.bool)])


def test_items_are_even_in_classes_of_unequal_size():
    sizes = [2, 3, 40, 5]
    data = numbered([*sizes, 1])
    batch = EpisodeSampler(data, 2, 1, 1).episodes(1, 0, N_EPISODES)
    assert_even(batch.classes.flatten().bincount(minlength=5)[:4])
    assert not (batch.classes == 4).any()  # the class of one item cannot take part
    for c, size in enumerate(sizes):
        rows = torch.cat([part.flatten() for part in rows_of(batch)])
        rows = rows[data.labels[rows] == c]
        assert_even(rows.bincount(minlength=len(data))[data.order[data.starts[c] :][:size]])


def test_groups_are_even_whatever_their_size():
    groups = ["a"] * 10 + ["b"] * 3 + ["c"] * 2 + ["d"]
    data = numbered([2] * 16, groups)
    batch = EpisodeSampler(data, 2, 1, 1, within_group=True).episodes(0, 0, N_EPISODES)
    chosen = np.array(groups)[batch.classes.numpy()]
    assert (chosen[:, 0] == chosen[:, 1]).all()
    assert_even([(chosen[:, 0] == group).sum() for group in "abc"])
    assert not (chosen == "d").any()  # too small for 2-way
    assert_even(batch.classes[chosen == "a"].bincount())


def test_rotations_are_even_and_in_any_company():
    batch = EpisodeSampler(pictures(4), 2, 1, 1, rotations=True).episodes(0, 0, N_EPISODES)
    assert_even(batch.classes.flatten().bincount(minlength=16))
    first, second = (batch.classes // 4).T
    assert abs((first == second).double().mean() - 3 / 15) < 0.02  # turns of one class may meet


# ---------------------------------------------------------------- rotations


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_class_4c_plus_r_is_class_c_turned_r_times(dtype):
    data = pictures()
    data = FewShotDataset(data.items.to(dtype), data.labels)
    batch = EpisodeSampler(data, 3, 1, 1, rotations=True).episodes(0, 0, 40)
    for task, classes in zip(batch, batch.classes.tolist(), strict=True):
        for label, number in enumerate(classes):
            originals = data.items_of(number // 4)
            turned = torch.rot90(originals, number % 4, dims=(-2, -1))
            both = torch.stack([task.support_x[label], task.query_x[label]])
            assert torch.equal(both, turned) or torch.equal(both.flip(0), turned)


def test_gathering_leaves_the_data_set_alone():
    data = pictures()
    before = data.items.clone()
    batch = EpisodeSampler(data, 3, 1, 1, rotations=True).episodes(0, 0, 40)
    batch.support_x.zero_()
    assert torch.equal(data.items, before)


def test_rotations_need_square_images():
    for items in (torch.randn(8, 5), torch.zeros(8, 1, 4, 5, dtype=torch.uint8)):
        data = FewShotDataset(items, torch.arange(4).repeat(2), name="toy")
        with pytest.raises(ValueError, match=r"rotations need square images .* items of toy"):
            EpisodeSampler(data, 2, 1, 1, rotations=True)


# ---------------------------------------------------------------- rows and files


@pytest.mark.parametrize(
    "tasks",
    [
        lambda data: EpisodeSampler(data, 3, 2, 3),
        lambda data: EpisodeSampler(data, 3, 2, 3, rotations=True),
        lambda data: Streams(data, 3, 4),
        lambda data: Augmented(EpisodeSampler(data, 3, 1, 2)),
        lambda data: OneShotTasks(data, 3, rotations=True),
    ],
    ids=["sampler", "rotations", "streams", "augmented", "one-shot"],
)
def test_an_episode_knows_the_rows_of_its_items(tasks):
    items = torch.arange(30 * 9).remainder(251).to(torch.uint8).view(30, 1, 3, 3)
    labels = torch.arange(5).repeat(6)
    files = [f"{row}.png" for row in range(30)]
    data = FewShotDataset(items, labels, files=files)
    source = tasks(data)
    batch = source.episodes(3, 0, 4)
    both = torch.cat([batch.support_rows, batch.query_rows], dim=1)
    y = torch.cat([batch.support_y, batch.query_y], dim=1)
    x = torch.cat([batch.support_x, batch.query_x], dim=1)
    turns = getattr(getattr(source, "sampler", source), "turns", 1)
    assert torch.equal(data.labels[both], batch.classes.gather(1, y) // turns)
    assert data.files_of(batch.query_rows)[2][1] == f"{int(batch.query_rows[2, 1])}.png"
    if isinstance(source, Augmented):
        x = torch.cat(
            [getattr(source.tasks.episodes(3, 0, 4), f"{side}_x") for side in ("support", "query")],
            dim=1,
        )
    stored = data.gather(both)
    if turns == 1:
        assert torch.equal(x, stored)
    else:
        assert torch.equal(x.flatten(2).sort(dim=2).values, stored.flatten(2).sort(dim=2).values)


# ---------------------------------------------------------------- what can be asked for


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (
            (5, 1, 5),
            {},
            "a 5-way episode of data needs 5 classes with at least 1 + 5 = 6 items each; "
            "4 classes qualify: at most 4-way, or 5-way with n_shot + n_query of at most 3",
        ),
        ((9, 1, 1), {}, "7 classes qualify: at most 7-way"),
        ((5, 5, 15), {}, "0 classes qualify: 5-way with n_shot + n_query of at most 3"),
        ((8, 5, 15), {}, "0 classes qualify: no such episode is possible"),
        (
            (4, 1, 5),
            {"within_group": True},
            "3 classes qualify in the largest group: at most 3-way, "
            "or 4-way with n_shot + n_query of at most 3",
        ),
    ],
)
def test_a_refusal_says_what_would_work(arguments, options, message):
    data = numbered([9, 9, 9, 9, 3, 3, 3], ["a", "a", "a", "b", "a", "b", "b"])
    with pytest.raises(ValueError) as error:
        EpisodeSampler(data, *arguments, **options)
    assert str(error.value).endswith(message)


def test_a_refusal_counts_the_rotations():
    with pytest.raises(ValueError, match="16 classes qualify, rotations included: at most 16-way"):
        EpisodeSampler(pictures(4), 17, 1, 1, rotations=True)


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=10), st.integers(2, 12), st.integers(2, 12)
)
def test_what_a_refusal_offers_is_the_most_there_is(sizes, n_way, need):
    data = numbered(sizes)
    assume(sum(size >= need for size in sizes) < n_way)
    with pytest.raises(ValueError) as error:
        EpisodeSampler(data, n_way, 1, need - 1)
    words = str(error.value).replace(",", "").replace("-way", " way").split()
    offered = [int(words[i + 2]) for i in range(len(words)) if words[i : i + 2] == ["at", "most"]]
    if "qualify: at most" in str(error.value):
        EpisodeSampler(data, offered[0], 1, need - 1)
        with pytest.raises(ValueError):
            EpisodeSampler(data, offered[0] + 1, 1, need - 1)
    if "n_shot + n_query of at most" in str(error.value):
        EpisodeSampler(data, n_way, 1, offered[-1] - 1)
        with pytest.raises(ValueError):
            EpisodeSampler(data, n_way, 1, offered[-1])


@pytest.mark.parametrize("name, place", [("n_way", 0), ("n_shot", 1), ("n_query", 2)])
@pytest.mark.parametrize("value", [0, -1, 2.0, "5", None, True])
def test_counts_are_integers(name, place, value):
    counts = [2, 1, 1]
    counts[place] = value
    least = 2 if name == "n_way" else 1
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least {least}, got "):
        EpisodeSampler(numbered([9] * 9), *counts)


@pytest.mark.parametrize("value", ["no", 1, None, float("nan")])
def test_options_are_true_or_false(value):
    for name in ("rotations", "within_group"):
        with pytest.raises(ValueError, match=f"{name} must be True or False, got"):
            EpisodeSampler(pictures(), 2, 1, 1, **{name: value})


def test_one_way_is_no_choice():
    with pytest.raises(ValueError, match="n_way must be an integer of at least 2, got 1"):
        EpisodeSampler(numbered([9] * 9), 1, 1, 1)


def test_huge_requests_are_refused_at_once():
    for counts in ((10**12, 1, 1), (2, 10**12, 1), (2, 1, 10**12)):
        with pytest.raises(ValueError, match="classes qualify"):
            EpisodeSampler(numbered([9] * 9), *counts)


def test_numpy_integers_and_arrays_are_welcome():
    X, y = np.random.default_rng(0).random((40, 3)), np.repeat(["a", "b", "c", "d"], 10)
    sampler = EpisodeSampler((X, y), np.int64(3), np.int32(1), np.uint8(4))
    assert type(sampler.n_way) is int
    batch = sampler.episodes(np.int64(0), np.int64(5), np.int64(2))
    assert (batch.n_way, batch.n_shot, batch.n_query) == (3, 1, 4)
    assert batch.support_x.dtype == torch.float32
    assert repr(sampler) == ("EpisodeSampler(data, 4 classes: 3-way 1-shot, 4 queries per class)")


def test_a_way_of_all_classes_and_all_items():
    batch = EpisodeSampler(numbered([3, 3]), 2, 1, 2).episodes(0, 0, 5)
    for support, query in zip(*rows_of(batch), strict=True):
        assert sorted([*support.tolist(), *query.tolist()]) == list(range(6))


def test_repr_names_the_options():
    sampler = EpisodeSampler(pictures(), 2, 1, 1, rotations=True, within_group=True)
    assert repr(sampler).endswith("1 queries per class, rotations, within one group)")
    assert isinstance(sampler, TaskSource)


@pytest.mark.parametrize("n_tasks", [10**9, 10**18, 10**400])
def test_a_batch_that_no_memory_holds_is_refused_at_once(n_tasks):
    for source in (EpisodeSampler(pictures(), 2, 1, 1), Streams(pictures(), 2, 2)):
        with pytest.raises(ValueError, match=r"that many tasks would take .* GB of memory"):
            source.episodes(0, 0, n_tasks)


def test_items_that_no_memory_holds_are_refused_before_they_are_gathered():
    items = torch.zeros(1, 1, dtype=torch.uint8).expand(4, 10**9)[:, None, None]
    sampler = EpisodeSampler(FewShotDataset(items, torch.tensor([0, 0, 1, 1])), 2, 1, 1)
    with pytest.raises(ValueError, match=r"the items of that many tasks would take .* GB"):
        sampler.episodes(0, 0, 1000)


def test_any_data_will_do():
    pairs = [(np.full((1, 2, 2), i, dtype=np.uint8), "ab"[i % 2]) for i in range(6)]
    batch = create_task_batch(pairs, 2, 1, 2, seed=0)
    shown = torch.cat([batch.support_x, batch.query_x], dim=1)[0, :, 0, 0, 0] * 255
    assert torch.equal(
        shown.round().long() % 2, torch.cat([batch.support_rows, batch.query_rows], dim=1)[0] % 2
    )
    assert Streams({"a": [[0.0], [1.0]], "b": [[2.0], [3.0]]}, 2, 2).episodes(0, 0, 1).n_way == 2


def test_a_generator_is_one_of_torch():
    for wrong in (np.random.default_rng(0), 3, "seed"):
        with pytest.raises(ValueError, match=r"generator must be a torch.Generator or None, got"):
            EpisodeSampler(numbered([6] * 9), 2, 1, 1).sample(2, wrong)


# ---------------------------------------------------------------- sources


class Own(TaskSource):
    """A source of a person, without a repr."""

    def __init__(self, tasks, weights, function=None):
        self.tasks, self.weights, self.function, self._cache = tasks, weights, function, object()

    def episodes(self, seed, start, n_tasks):
        return self.tasks.episodes(seed, start, n_tasks)


def test_a_source_without_a_repr_is_known_by_its_settings():
    tasks = EpisodeSampler(numbered([6] * 9), 2, 1, 1)
    first, again = (Own(tasks, [0.5, np.arange(3)], lambda: 0) for _ in range(2))
    assert first.fingerprint == again.fingerprint
    assert " at 0x" not in first.fingerprint and first.fingerprint.startswith("Own(function=")
    others = [
        Own(EpisodeSampler(numbered([7] * 9), 2, 1, 1), [0.5, np.arange(3)]),
        Own(tasks, [0.25, np.arange(3)]),
        Own(tasks, [0.5, np.arange(1, 4)]),
        Own(tasks, {"b", "a"}),
    ]
    assert len({source.fingerprint for source in [first, *others]}) == 5


def test_a_repr_with_an_address_makes_no_other_fingerprint():
    class Named(Own):
        def __repr__(self):
            return f"Named({self._cache!r})"

    first, again = (Named(None, 1) for _ in range(2))
    assert repr(first) != repr(again)
    assert first.fingerprint == again.fingerprint == "Named(<object object>)"


def test_other_groups_are_other_tasks_only_where_they_matter():
    one, two = (numbered([4] * 6, groups) for groups in (["a"] * 3 + ["b"] * 3, ["a", "b"] * 3))
    assert EpisodeSampler(one, 2, 1, 1).fingerprint == EpisodeSampler(two, 2, 1, 1).fingerprint
    within = [EpisodeSampler(d, 2, 1, 1, within_group=True).fingerprint for d in (one, two)]
    assert within[0] != within[1]


def test_what_is_no_source_is_refused_with_what_to_do():
    data = numbered([6] * 9)
    batch = EpisodeSampler(data, 2, 1, 1).episodes(0, 0, 2)
    for wrong, advice in (
        (batch, "got EpisodeBatch: tasks that are ready; .* learner.outer_loop takes a batch"),
        ([batch, batch], "got list: tasks that are ready"),
        (list(batch), "got list: tasks that are ready"),
        (data, r"got FewShotDataset: EpisodeSampler\(dataset, n_way, n_shot, n_query\)"),
        (EpisodeSampler, "EpisodeSampler itself; call it with its arguments"),
        (None, "got NoneType"),
    ):
        with pytest.raises(
            ValueError, match=f"tasks must be a source of fresh episodes, .*{advice}"
        ):
            as_task_source("tasks", wrong)


# ---------------------------------------------------------------- streams


def test_a_seed_of_any_integer_type_is_the_same_seed():
    streams = Streams(numbered([7] * 9), 4, 6)
    first, again = (streams.episodes(seed, 0, 3) for seed in (200, np.uint8(200)))
    assert torch.equal(first.order, again.order)


def test_a_stream_holds_each_class_equally_often_and_no_item_twice():
    data = numbered([7] * 9)
    x, y = Streams(data, 4, 6).episodes(3, 0, 20).stream()
    batch = Streams(data, 4, 6).episodes(3, 0, 20)
    assert x.shape == (20, 24, 1) and y.shape == (20, 24)
    for rows, labels, classes in zip(x[..., 0].long(), y, batch.classes, strict=True):
        assert labels.bincount().tolist() == [6] * 4
        assert len(rows.unique()) == 24
        assert torch.equal(data.labels[rows], classes[labels])


def test_a_stream_is_a_permutation_of_its_episode():
    batch = Streams(numbered([7] * 9), 4, 6).episodes(3, 0, 20)
    assert torch.equal(batch.order.sort(dim=1).values, torch.arange(24).expand(20, -1))
    assert len(batch.order.unique(dim=0)) == 20
    both = torch.cat([batch.support_x, batch.query_x], dim=1)
    x, _ = batch.stream()
    for task in range(20):
        assert torch.equal(x[task], both[task, batch.order[task]])


@given(st.integers(-(2**70), 2**70), st.integers(0, 50))
def test_a_stream_is_a_function_of_seed_and_index(seed, start):
    streams = Streams(numbered([5] * 8), 3, 4)
    whole, alone = streams.episodes(seed, start, 3), streams.episodes(seed, start + 2, 1)
    for first, second in zip(whole[2:].stream(), alone.stream(), strict=True):
        assert torch.equal(first, second)


def test_every_label_is_as_likely_at_every_place():
    _, y = Streams(numbered([4] * 7), 3, 4).episodes(0, 0, N_EPISODES).stream()
    for place in (0, 5, 11):
        assert_even(y[:, place].bincount(minlength=3))
    # The first two items of a class are neighbours in C(11, 3) / C(12, 4) = 1 / 3 of all orders.
    places = torch.stack([(row == 1).nonzero().flatten()[:2] for row in y[:3000]])
    assert abs((places[:, 1] - places[:, 0] == 1).double().mean() - 1 / 3) < 0.035


def test_the_order_says_nothing_about_the_items():
    """Which items come is drawn from other numbers than in which order they come."""
    data = numbered([4] * 7)
    batch = Streams(data, 3, 4).episodes(0, 0, N_EPISODES)
    same = EpisodeSampler(data, 3, 1, 3).episodes(0, 0, N_EPISODES)
    assert torch.equal(batch.support_x, same.support_x)
    together = batch.classes[:, 0] * 12 + batch.order[:, 0]
    assert_even(together.bincount(minlength=84))


@pytest.mark.parametrize("n_instances", [1, 0, 2.0])
def test_a_stream_needs_two_items_a_class(n_instances):
    with pytest.raises(ValueError, match="n_instances must be an integer of at least 2"):
        Streams(numbered([5] * 8), 3, n_instances)


def test_a_stream_that_the_data_cannot_give_is_refused():
    with pytest.raises(ValueError, match=r"needs 3 classes with at least 1 \+ 5 = 6 items"):
        Streams(numbered([5] * 8), 3, 6)


# ---------------------------------------------------------------- create_task_batch


def test_create_task_batch_is_the_sampler_in_one_call():
    X, y = np.random.default_rng(0).random((60, 3)), np.arange(60) % 6
    batch = create_task_batch((X, y), 5, 1, 2, n_tasks=3, seed=4)
    expected = EpisodeSampler((X, y), 5, 1, 2).episodes(4, 0, 3)
    assert torch.equal(batch.query_x, expected.query_x)
    assert create_task_batch((X, y), 5, 1, 2).n_tasks == 1


def test_create_task_batch_draws_afresh_without_a_seed():
    data = numbered([6] * 50)
    torch.manual_seed(0)
    drawn = [create_task_batch(data, 5, 1, 2).classes for _ in range(2)]
    assert not torch.equal(*drawn)
    torch.manual_seed(0)
    assert torch.equal(create_task_batch(data, 5, 1, 2).classes, drawn[0])
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    again = [create_task_batch(data, 5, 1, 2, generator=g).classes for g in generators]
    assert torch.equal(*again)


def test_create_task_batch_passes_the_options_on():
    data = FewShotDataset(pictures(4).items, pictures(4).labels, class_groups=["a", "a", "b", "b"])
    batch = create_task_batch(data, 8, 1, 1, n_tasks=9, seed=0, rotations=True, within_group=True)
    assert sorted(batch.classes[0].tolist()) in ([*range(8)], [*range(8, 16)])


def test_create_task_batch_refuses_nonsense():
    data = numbered([6] * 5)
    with pytest.raises(ValueError, match="give seed or generator, not both"):
        create_task_batch(data, 5, 1, 2, seed=0, generator=torch.Generator())
    with pytest.raises(ValueError, match="n_tasks must be an integer of at least 1, got 0"):
        create_task_batch(data, 5, 1, 2, n_tasks=0, seed=0)
    with pytest.raises(ValueError, match="at most 5-way"):
        create_task_batch(data, 6, 1, 2)


# ---------------------------------------------------------------- cost


def test_a_batch_costs_far_less_than_a_loop_over_items():
    items = torch.randint(0, 256, (1600 * 20, 1, 28, 28), dtype=torch.uint8)
    data = FewShotDataset(items, torch.arange(1600).repeat_interleave(20))
    sampler = EpisodeSampler(data, 5, 1, 15)
    choose = random.Random(0)

    def by_item(n_tasks=16):
        tasks = []
        for _ in range(n_tasks):
            pairs = [
                (items[20 * c + r].float() / 255, label)
                for label, c in enumerate(choose.sample(range(1600), 5))
                for r in choose.sample(range(20), 16)
            ]
            tasks.append(torch.utils.data.default_collate(pairs))
        return torch.utils.data.default_collate(tasks)

    def fastest(function, times):  # processor time: other programs do not count
        seconds = []
        for _ in range(times):
            started = time.process_time()
            function()
            seconds.append(time.process_time() - started)
        return min(seconds)

    vectorised = fastest(lambda: sampler.episodes(0, 0, 16), 20)
    assert vectorised * 5 < fastest(by_item, 3)


def test_cost_does_not_grow_with_the_size_of_classes():
    labels = torch.arange(2_000_000) % 10  # 200,000 items a class: no table of them is made
    sampler = EpisodeSampler(FewShotDataset(labels[:, None].float(), labels), 5, 1, 15)
    started = time.process_time()
    for i in range(10):
        sampler.episodes(0, 16 * i, 16)
    assert time.process_time() - started < 1
