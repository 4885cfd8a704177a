import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metalearn_edu.tasks import FewShotDataset, as_dataset


def images(n_items: int) -> torch.Tensor:
    return torch.arange(n_items * 4, dtype=torch.uint8).view(n_items, 1, 2, 2)


def small(**names) -> FewShotDataset:
    """Three classes of 1, 2 and 3 items, not in order."""
    return FewShotDataset(images(6), torch.tensor([2, 1, 2, 0, 1, 2]), **names)


def test_what_a_data_set_knows():
    data = small(class_names=["a", "b", "c"], class_groups=["x", "y", "x"], name="toy")
    assert (data.n_classes, len(data), data.item_shape) == (3, 6, (1, 2, 2))
    assert data.class_sizes.tolist() == [1, 2, 3]
    assert data.class_names == ["a", "b", "c"]
    assert data.groups == ["x", "y"]
    assert repr(data) == (
        "FewShotDataset(toy: 3 classes in 2 groups, 1 to 3 items each, item 1 x 2 x 2)"
    )


def test_defaults_of_the_names():
    data = small(name="50 % {odd}")
    assert data.class_names == ["class 0", "class 1", "class 2"]
    assert data.groups == ["50 % {odd}"]
    assert "3 classes in 1 group," in repr(data)


def test_images_stay_bytes_and_are_scaled_when_taken():
    data = small()
    assert data.items.dtype == torch.uint8
    assert data.items_of(2).shape == (3, 1, 2, 2)
    torch.testing.assert_close(data.items_of(2), images(6)[[0, 2, 5]] / 255)
    rows = torch.tensor([[5, 0], [3, 3]])
    torch.testing.assert_close(data.gather(rows), images(6)[rows] / 255)
    white = FewShotDataset(torch.full((2, 1, 1, 1), 255).byte(), torch.tensor([0, 1]))
    assert white.items_of(0).item() == 1.0


def test_float_items_are_used_as_they_are():
    items = torch.randn(4, 3, dtype=torch.float64)
    data = FewShotDataset(items, torch.tensor([0, 1, 0, 1]))
    assert torch.equal(data.items_of(1), items[[1, 3]])


def test_subset_renumbers_in_the_given_order():
    data = small(class_names=["a", "b", "c"], class_groups=["x", "y", "z"])
    part = data.subset(np.array([2, 0]))
    assert (part.class_names, part.class_groups) == (["c", "a"], ["z", "x"])
    assert torch.equal(part.items_of(0), data.items_of(2))
    assert torch.equal(part.items_of(1), data.items_of(0))
    for classes, message in (
        ([], "at least one"),
        ([1, 1], r"distinct and at least one, got \[1, 1\]"),
        ([3], r"classes must lie in 0\.\.2, got \[3\]"),
        ([-1], r"classes must lie in 0\.\.2, got \[-1\]"),
        ([10**30], r"classes must lie in 0\.\.2"),
        ([0.5], "each of classes must be an integer, got 0.5"),
        ([1.0], "each of classes must be an integer, got 1.0"),
        (["a"], "each of classes must be an integer, got 'a'"),
        ([True], "each of classes must be an integer, got True"),
        (torch.tensor([True, False, True]), "each of classes must be an integer, got True"),
        (np.array([0.0, 1.0]), "each of classes must be an integer, got 0.0"),
        ([float("nan")], "each of classes must be an integer, got nan"),
        ("abc", "classes must be a list, got 'abc'"),
        ({0: 1}, "classes must be a list, got"),
        (2, "classes must be a list, got 2"),
        (None, "classes must be a list, got None"),
    ):
        with pytest.raises(ValueError, match=message):
            data.subset(classes)


def test_select_groups_takes_one_name_or_several():
    data = small(class_groups=["x", "y", "x"])
    assert data.select_groups(["x"]).class_sizes.tolist() == [1, 3]
    assert data.select_groups("y").class_sizes.tolist() == [2]
    with pytest.raises(ValueError, match=r"groups \['w'\] are not in data; it has \['x', 'y'\]"):
        data.select_groups(["x", "w"])
    assert data.select_groups(group for group in ("y", "x")).n_classes == 3
    for groups, message in (
        ([], r"no group is chosen of data; it has \['x', 'y'\]"),
        ([["x"]], r"groups \[\['x'\]\] are not in data"),
        (["x", 3], r"groups \[3\] are not in data"),
        (None, "groups must be a list, got None"),
        (3, "groups must be a list, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            data.select_groups(groups)


@given(st.integers(4, 60), st.integers(-5, 5))
def test_split_gives_every_class_to_exactly_one_part(n_classes, seed):
    data = FewShotDataset(torch.randn(n_classes, 2), torch.arange(n_classes))
    parts = data.split((0.5, 0.25, 0.25), seed)
    names = [name for part in parts for name in part.class_names]
    assert sorted(names) == sorted(data.class_names)
    for part, share in zip(parts, (0.5, 0.25, 0.25), strict=True):
        assert abs(part.n_classes - share * n_classes) <= 1
    again = data.split((0.5, 0.25, 0.25), seed)
    assert [p.class_names for p in parts] == [p.class_names for p in again]


def test_split_depends_on_the_seed_and_refuses_what_cannot_be():
    data = FewShotDataset(torch.randn(30, 2), torch.arange(30))
    assert data.split(seed=0)[0].class_names != data.split(seed=1)[0].class_names
    assert [part.n_classes for part in data.split()] == [18, 6, 6]
    inf, nan = float("inf"), float("nan")
    for shares in ((), (0.5, 0.4), (1.5, -0.5), (nan, 1.0), (inf, -inf), ("0.5", "0.5"), (True,)):
        with pytest.raises(ValueError, match="shares must be above 0 and sum to 1"):
            data.split(shares)
    for shares in (0.5, "0.5", None):
        with pytest.raises(ValueError, match="shares must be a list, got"):
            data.split(shares)
    with pytest.raises(ValueError, match=r"seed must be an integer, got 0\.5"):
        data.split(seed=0.5)
    parts = data.split(share for share in (0.5, 0.5))
    assert [part.class_names for part in parts] == [
        part.class_names for part in data.split((0.5, 0.5))
    ]
    three = data.subset([0, 1, 2]).split()
    assert [part.n_classes for part in three] == [1, 1, 1]
    assert [part.n_classes for part in data.subset([0, 1, 2, 3]).split((0.98, 0.02))] == [3, 1]
    with pytest.raises(ValueError, match="2 classes are too few for shares"):
        data.subset([0, 1]).split()


def test_a_data_set_can_be_sent_to_another_process():
    copy = pickle.loads(pickle.dumps(small(name="toy")))
    assert repr(copy) == repr(small(name="toy"))
    assert torch.equal(copy.items_of(1), small().items_of(1))


SPOILT = {
    "arrays": (lambda x, y: (x.numpy(), y), "items must be a tensor, got ndarray; .*from_arrays"),
    "labels as a list": (
        lambda x, y: (x, y.tolist()),
        "labels must be an integer tensor, got list",
    ),
    "float labels": (lambda x, y: (x, y.float()), "must be an integer tensor, got torch.float32"),
    "a label too few": (lambda x, y: (x, y[1:]), r"6 items, labels \(5,\)"),
    "a column of labels": (lambda x, y: (x, y[:, None]), r"6 items, labels \(6, 1\)"),
    "nothing": (lambda x, y: (x[:0], y[:0]), r"no empty axis, got \(0, 1, 2, 2\)"),
    "empty items": (lambda x, y: (x[..., :0], y), "no empty axis"),
    "single numbers": (lambda x, y: (x[:, 0, 0, 0].float(), y), r"got \(6,\); single numbers are"),
    "no channel axis": (lambda x, y: (x[:, 0], y), r"must be \(N, C, H, W\), got \(6, 2, 2\)"),
    "integers": (lambda x, y: (x.int(), y), "uint8 images or floating point, got torch.int32"),
    "eight bits of floats": (lambda x, y: (x.to(torch.float8_e4m3fn), y), "float8_e4m3fn; .float"),
    "no values": (lambda x, y: (x.to("meta"), y), "a dense tensor, got one without values"),
    "sparse": (lambda x, y: (x.flatten(1).float().to_sparse(), y), "of layout torch.sparse_coo"),
    "a gap": (
        lambda x, y: (x, y * 2),
        r"the 3 different labels must be 0\.\.2, got 0 to 4 without 1; .*from_arrays remaps",
    ),
    "a negative label": (lambda x, y: (x, y - 1), "got -1 to 1 without 0"),
    "a huge label": (lambda x, y: (x, y * 10**15), "got 0 to 2000000000000000 without 1"),
    "NaN": (
        lambda x, y: (x.float().index_fill(0, torch.tensor([1, 4]), float("nan")), y),
        "items hold NaN or infinity in 2 rows, first row 1",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_no_data_set_is_refused(name):
    spoil, message = SPOILT[name]
    with pytest.raises(ValueError, match=message):
        FewShotDataset(*spoil(images(6), torch.tensor([2, 1, 2, 0, 1, 2])))


@pytest.mark.parametrize("argument", ["class_names", "class_groups"])
def test_a_name_for_every_class(argument):
    with pytest.raises(ValueError, match=f"{argument} has 2 entries for 3 classes"):
        small(**{argument: ["a", "b"]})


# ---------------------------------------------------------------- from_arrays

FEATURES = np.arange(12).reshape(6, 2)


@pytest.mark.parametrize(
    "X",
    [
        FEATURES,
        FEATURES.astype(np.float64),
        FEATURES.astype(np.float16),
        FEATURES.astype(np.uint16),
        FEATURES.astype(np.uint8),  # two axes: features, not images
        FEATURES.astype(">i4"),
        FEATURES.astype(object),
        FEATURES.tolist(),
        list(torch.from_numpy(FEATURES)),
        torch.from_numpy(FEATURES),
        torch.from_numpy(FEATURES).double().requires_grad_(),
        torch.from_numpy(FEATURES).to(torch.bfloat16),
        FEATURES[::-1][::-1],
        np.broadcast_to(FEATURES, (6, 2)),  # not writable
    ],
    ids=lambda X: f"{type(X).__name__}-{getattr(X, 'dtype', '')}",
)
@pytest.mark.filterwarnings("error")
def test_features_of_any_kind_become_float32(X):
    data = FewShotDataset.from_arrays(X, [0, 1, 2, 0, 1, 2])
    assert data.items.dtype == torch.float32
    assert not data.items.requires_grad
    assert torch.equal(data.items, torch.from_numpy(FEATURES).float())


def test_bool_features_become_zero_and_one():
    data = FewShotDataset.from_arrays(FEATURES > 5, [0, 1, 2, 0, 1, 2])
    assert data.items.unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    "y, names",
    [
        ([3, 9, 3, 7, 9, 7], ["3", "7", "9"]),
        ([-5, 10**12, -5, 0, 10**12, 0], ["-5", "0", "1000000000000"]),
        (np.array(["ka", "ta", "ka", "na", "ta", "na"]), ["ka", "na", "ta"]),
        (np.array(["ka", "ta", "ka", "na", "ta", "na"], dtype=object), ["ka", "na", "ta"]),
        (np.array([1, 5, 1, 2, 5, 2], dtype=np.uint8), ["1", "2", "5"]),
        ([0.5, 2.0, 0.5, 1.0, 2.0, 1.0], ["0.5", "1.0", "2.0"]),
        (torch.tensor([3, 9, 3, 7, 9, 7]), ["3", "7", "9"]),
        ([torch.tensor(3), 9, torch.tensor(3), 7, 9, 7], ["3", "7", "9"]),
    ],
)
def test_labels_of_any_kind_become_class_names(y, names):
    data = FewShotDataset.from_arrays(FEATURES, y)
    assert data.class_names == names
    assert data.labels.tolist() == [0, 2, 0, 1, 2, 1]


def test_bool_labels_are_two_classes():
    data = FewShotDataset.from_arrays(FEATURES, FEATURES[:, 0] > 4)
    assert data.class_names == ["False", "True"]


def test_names_can_be_given():
    data = FewShotDataset.from_arrays(
        FEATURES, [3, 9, 3, 7, 9, 7], class_names=["three", "seven", 9], name="digits"
    )
    assert data.class_names == ["three", "seven", "9"]
    assert data.name == "digits"


@pytest.mark.parametrize(
    "shape, stored",
    [
        ((6, 8, 8), (1, 8, 8)),  # grey
        ((6, 3, 8, 8), (3, 8, 8)),
        ((6, 8, 8, 3), (3, 8, 8)),  # as PIL and Matplotlib have them
        ((6, 8, 8, 1), (1, 8, 8)),
        ((6, 3, 8, 3), (3, 8, 3)),  # both readings fit: channels first
        ((6, 8, 8, 8), (8, 8, 8)),
    ],
)
def test_bytes_are_images(shape, stored):
    X = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    data = FewShotDataset.from_arrays(X, [0, 1, 2, 0, 1, 2])
    assert (data.items.dtype, data.item_shape) == (torch.uint8, stored)
    channels_last = data.items.movedim(1, -1).numpy()
    assert np.array_equal(channels_last.ravel(), X.ravel()) or np.array_equal(data.items, X)


def test_the_data_are_copied():
    X = np.zeros((6, 2), dtype=np.float32)
    data, of_tensor = (
        FewShotDataset.from_arrays(a, [0, 1, 2, 0, 1, 2]) for a in (X, torch.from_numpy(X))
    )
    X += 1
    assert data.items.sum() == of_tensor.items.sum() == 0


@pytest.mark.parametrize(
    "X, y, message",
    [
        (FEATURES, [0, 1], "X has 6 items, y 2 labels"),
        (FEATURES, [[0], [1], [2], [0], [1], [2]], r"y must be \(N,\), .*, got shape \(6, 1\)"),
        (FEATURES, np.eye(6), r"got shape \(6, 6\)"),
        (FEATURES, 3, r"got shape \(\)"),
        (FEATURES, [0, 1, np.nan, 0, np.nan, 1], "y holds NaN in 2 places, first 2"),
        (FEATURES, [0, 1, None, 0, "a", 1], "the labels in y must be of one type"),
        ([[1, 2], [3]], [0, 1], "X must hold numbers, in items of one shape"),
        ([torch.zeros(2), torch.zeros(3)], [0, 1], "X must hold numbers, in items of one shape"),
        ([["1.5"], ["2"]], [0, 1], "X must hold numbers, .*: got <U3"),
        ([[None], [2]], [0, 1], "items hold NaN or infinity in 1 rows, first row 0"),
        (np.zeros((2, 2), "datetime64[s]"), [0, 1], "X must hold numbers"),
        (np.zeros((2, 2), complex), [0, 1], "X must hold numbers"),
        (torch.zeros(2, 2, dtype=torch.complex64), [0, 1], "real numbers, .* got torch.complex64"),
        ([], [], r"no empty axis, got \(0,\)"),
        (np.zeros(4), [0, 1, 0, 1], r"single numbers are items of shape \(N, 1\)"),
        (3.0, [0], r"item by item, got torch.float32 \(\)"),
        ([[np.inf], [0.0]], [0, 1], "NaN or infinity in 1 rows, first row 0"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        FewShotDataset.from_arrays(X, y)


def test_as_dataset_takes_a_data_set_or_a_pair():
    data = small()
    assert as_dataset(data) is data
    assert as_dataset((FEATURES, [0, 1, 2, 0, 1, 2])).n_classes == 3
    for wrong in (FEATURES, (FEATURES,), None):
        with pytest.raises(ValueError, match=r"FewShotDataset or a pair \(X, y\), got"):
            as_dataset(wrong)


def test_a_digest_tells_other_items_labels_and_names():
    items = torch.arange(2 * 4, dtype=torch.uint8).view(2, 1, 2, 2)
    same = FewShotDataset(items.clone(), torch.tensor([0, 1]), files=["a.png", "b.png"])
    first = FewShotDataset(items, torch.tensor([0, 1]))
    others = [
        FewShotDataset(items + 1, torch.tensor([0, 1])),
        FewShotDataset(items, torch.tensor([1, 0])),
        FewShotDataset(items, torch.tensor([0, 1]), ["x", "y"]),
        FewShotDataset(items.float(), torch.tensor([0, 1])),
        FewShotDataset(items.view(2, 1, 1, 4), torch.tensor([0, 1])),
    ]
    assert first.digest == same.digest
    assert len({data.digest for data in [first, *others]}) == 6


def test_files_stay_with_their_items():
    items = torch.zeros(4, 3)
    names = ["a0", "b0", "a1", "c0"]
    data = FewShotDataset(items, torch.tensor([0, 1, 0, 2]), files=names)
    assert data.files == tuple(names)
    assert data.subset([2, 0]).files == ("a0", "a1", "c0")
    with pytest.raises(ValueError, match="files has 1 entries for 4 items"):
        FewShotDataset(items, torch.tensor([0, 1, 0, 2]), files=["a0"])
    for files, message in (
        ("abcd", "files must be a list, got 'abcd'"),
        ([1, 2, 3, 4], "files must be paths, got 1"),
        (3, "files must be a list, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            FewShotDataset(items, torch.tensor([0, 1, 0, 2]), files=files)


def test_files_of_rows_are_nested_like_them():
    data = FewShotDataset(
        torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]), files=[Path("a"), "b", "c", "d"]
    )
    assert data.files_of(torch.tensor([[3, 0], [1, 1]])) == [["d", "a"], ["b", "b"]]
    assert data.files_of([2]) == ["c"]
    assert data.files_of(2) == data.files_of(torch.tensor(2)) == data.files_of(np.int64(2)) == "c"
    with pytest.raises(ValueError, match="toy does not know its files"):
        small(name="toy").files_of([0])


@pytest.mark.parametrize(
    "rows", [[4], [-1], [0.5], [True], torch.tensor([1.0]), "a", None, [[0], [1, 2]], 10**30]
)
def test_rows_that_do_not_exist_are_refused(rows):
    data = FewShotDataset(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]), files=list("abcd"))
    for asked in (data.files_of, data.gather):
        with pytest.raises(ValueError, match=r"rows must be integers in 0\.\.3, got"):
            asked(rows)


def test_one_row_is_one_item():
    assert torch.equal(small().gather(torch.tensor(3)), images(6)[3] / 255)
    assert torch.equal(small().gather([[3, 0]]), images(6)[[3, 0]][None] / 255)


@pytest.mark.parametrize("class_index", [3, -1, 0.5, "a", None, True])
def test_a_class_that_does_not_exist_is_refused(class_index):
    with pytest.raises(ValueError, match=r"class_index must be an integer .* at most 2, got"):
        small().items_of(class_index)


@pytest.mark.parametrize("names", ["abc", {"a", "b", "c"}, {0: "a", 1: "b", 2: "c"}, 3])
def test_names_come_in_order(names):
    with pytest.raises(ValueError, match="class_names must be"):
        small(class_names=names)


def test_rows_that_are_not_there_are_not_taken():
    data = FewShotDataset(images(6), torch.tensor([2, 1, 2, 0, 1, 2]))
    assert torch.equal(data.take([[5], [0]])[:, 0], data.items[[5, 0]])
    for rows in (-1, 6, [0.5], [True], None, "0"):
        with pytest.raises(ValueError, match=r"rows must be integers in 0\.\.5"):
            data.take(rows)


def test_labels_that_come_as_bytes_have_names_of_text():
    for labels in ([b"bee", b"ant"] * 3, np.array([b"bee", b"ant"] * 3)):
        data = FewShotDataset.from_arrays(np.zeros((6, 2)), labels)
        assert data.class_names == ["ant", "bee"] and data.labels.tolist() == [1, 0] * 3
    pairs = [(np.zeros(2), b"bee"), (np.ones(2), b"ant")]
    assert FewShotDataset.from_pairs(pairs).class_names == ["ant", "bee"]


def test_a_column_of_labels_is_told_from_one_hot_ones():
    with pytest.raises(ValueError, match=r"got shape \(6, 1\); give y\[:, 0\]$"):
        FewShotDataset.from_arrays(np.zeros((6, 2)), np.arange(6)[:, None])


@pytest.mark.parametrize(
    ("shape", "item"),
    [
        ((32, 32, 13), (13, 32, 32)),  # a satellite's
        ((32, 32, 2), (2, 32, 32)),
        ((13, 32, 32), (13, 32, 32)),
        ((2, 8, 12), (2, 8, 12)),
        ((4, 4, 2), (4, 4, 2)),
    ],
)
def test_bytes_of_many_channels(shape, item):
    X = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    data = FewShotDataset.from_arrays(X, [0, 1])
    assert data.item_shape == item
    expected = X if shape == item else X.transpose(0, 3, 1, 2)
    assert np.array_equal(data.items.numpy(), expected)
