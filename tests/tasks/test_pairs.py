"""Data in the forms in which people have them become the same data set."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)

from metalearn_edu.tasks import FewShotDataset, as_dataset

N = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3)).astype(np.uint8)
LABELS = [3, 9, 3, 7, 9, 7, 3, 9, 3, 7, 9, 7]
FIRST = torch.from_numpy(PIXELS).movedim(-1, 1)  # (N, C, H, W)
PICTURES = [Image.fromarray(pixels) for pixels in PIXELS]


class Folder(Dataset):
    """As torchvision's ImageFolder: labels by number, names, files."""

    def __init__(self, names=("ant", "bee", "cow"), files=True, transform=None):
        self.classes = list(names)
        self.class_to_idx = {name: i for i, name in enumerate(names)}
        self.target_transform = transform
        if files:
            self.samples = [(f"{names[i % 3]}/{i}.png", i % 3) for i in range(N)]

    def __len__(self):
        return N

    def __getitem__(self, i):
        label = i % 3
        return PICTURES[i], self.target_transform(label) if self.target_transform else label


class Features(dict):
    """As Hugging Face's: names of labels by column."""


class ClassLabel:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def __init__(self):
        self.names = list(self.names)


class Hub:
    """As a data set of Hugging Face: rows by number, columns by name, names in `features`."""

    def __init__(self, labels=LABELS):
        self.columns = {"img": PICTURES, "fine_label": labels, "coarse_label": [0] * N}
        self.features = Features(img=None, fine_label=ClassLabel(), coarse_label=ClassLabel())

    def __len__(self):
        return N

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: column[key] for name, column in self.columns.items()}


FORMS = {
    "arrays": (PIXELS, LABELS),
    "a list [X, y]": [PIXELS, LABELS],
    "tensors": (FIRST, torch.tensor(LABELS)),
    "TensorDataset": TensorDataset(FIRST, torch.tensor(LABELS)),
    "pairs of pictures": list(zip(PICTURES, LABELS, strict=True)),
    "pairs of arrays": [[x, np.int64(y)] for x, y in zip(PIXELS, LABELS, strict=True)],
    "labels as arrays of one": [(x, np.array([y])) for x, y in zip(PIXELS, LABELS, strict=True)],
    "a tuple of pairs": tuple(zip(FIRST, torch.tensor(LABELS), strict=True)),
    "rows": [{"image": x, "label": y, "id": 7} for x, y in zip(PICTURES, LABELS, strict=True)],
    "columns": {"pixel_values": list(FIRST), "y": LABELS},
    "columns of pictures": {"x": PICTURES, "target": np.array(LABELS)},
    "lists of pictures": (PICTURES, LABELS),
    "parts": ConcatDataset(
        [
            TensorDataset(FIRST[:5], torch.tensor(LABELS[:5])),
            Subset(TensorDataset(FIRST, torch.tensor(LABELS)), range(5, N)),
        ]
    ),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_every_form_gives_the_same_data_set(data):
    read = as_dataset(data)
    assert read.items.dtype == torch.uint8
    assert torch.equal(read.items, FIRST)
    assert read.class_names == ["3", "7", "9"]
    assert read.labels.tolist() == [{3: 0, 7: 1, 9: 2}[label] for label in LABELS]


def test_items_by_class_keep_the_order_of_the_mapping():
    data = as_dataset({"zebra": FIRST[:5], "ant": list(FIRST[5:7].numpy()), 7: PICTURES[7:]})
    assert data.class_names == ["zebra", "ant", "7"]
    assert data.labels.tolist() == [0] * 5 + [1] * 2 + [2] * 5
    assert torch.equal(data.items, FIRST)


def test_two_pairs_are_told_from_two_arrays():
    x = torch.arange(8.0).view(2, 4)
    pairs = as_dataset([(x[0], 5), (x[1], 2)])
    assert (pairs.labels.tolist(), pairs.class_names) == ([1, 0], ["2", "5"])
    assert torch.equal(pairs.items, x)
    for arrays in ([list(x), [5, 2]], ([[0, 1, 2, 3], [4, 5, 6, 7]], [5, 2]), [x, (5, 2)]):
        assert torch.equal(as_dataset(arrays).items, x)
        assert as_dataset(arrays).labels.tolist() == [1, 0]
    one_feature = as_dataset(([torch.tensor([1.0]), torch.tensor([2.0])], [0, 1]))
    assert one_feature.items.tolist() == [[1.0], [2.0]]
    with pytest.raises(ValueError, match="single numbers are items of shape"):
        as_dataset([[1.0, 2.0], [0, 1]])  # could be both, and is neither


# ---------------------------------------------------------------- names and files


def test_names_are_those_of_the_numbers():
    data = as_dataset(Folder(("cow", "ant", "bee")))
    assert data.class_names == ["cow", "ant", "bee"]
    assert data.labels.tolist() == [i % 3 for i in range(N)]
    assert data.files[4] == "ant/4.png"


def test_names_and_files_stay_right_in_a_part_of_the_data():
    data = as_dataset(Subset(Subset(Folder(), [5, 3, 2, 1, 8]), torch.tensor([0, 2, 4])))
    assert data.class_names == ["cow"]  # entries 5, 2 and 8
    assert data.files == ("cow/5.png", "cow/2.png", "cow/8.png")
    part, _ = random_split(Folder(), [7, 5], torch.Generator().manual_seed(0))
    data = as_dataset(part)
    for i, label in zip(part.indices, data.labels, strict=True):
        assert data.class_names[label] == ("ant", "bee", "cow")[i % 3]
    assert torch.equal(data.items, FIRST[part.indices])


def test_numbers_that_mean_other_classes_elsewhere_are_told_apart():
    both = ConcatDataset(
        [Folder(("ant", "bee", "cow")), Subset(Folder(("bee", "owl", "ant")), [0])]
    )
    data = as_dataset(both)
    assert data.class_names == ["ant", "bee", "cow"]
    assert data.class_names[data.labels[-1]] == "bee"
    assert data.files[-1] == "bee/0.png"
    with pytest.raises(ValueError, match="labels in the data must be of one type"):
        as_dataset(ConcatDataset([Folder(), TensorDataset(FIRST, torch.tensor(LABELS))]))


def test_labels_that_were_changed_have_no_such_names():
    assert as_dataset(Folder(transform=lambda label: 2 - label)).class_names == ["0", "1", "2"]


def test_a_label_without_a_name_is_refused():
    data = Hub([*LABELS[:-1], -1])
    with pytest.raises(
        ValueError, match=r"label of entry 11 is -1, but only \[0, 1, .* have names"
    ):
        as_dataset(data)


def test_a_data_set_of_hugging_face():
    data = as_dataset(Hub())
    assert data.class_names == ["three", "seven", "nine"]
    assert torch.equal(data.items, FIRST)
    coarse = FewShotDataset.from_pairs(Hub(), item_key="img", label_key="coarse_label")
    assert coarse.class_names == ["zero"]


def test_names_of_a_person_come_first():
    data = FewShotDataset.from_pairs(
        Folder(), class_names=["a", "b", "c"], name="insects", files=[f"{i}" for i in range(N)]
    )
    assert (data.class_names, data.name, data.files[3]) == (["a", "b", "c"], "insects", "3")


def test_several_names_of_one_class():
    data = Folder((("ant", "emmet"), ("bee",), ("cow",)), files=False)
    data.class_to_idx = {"ant": 0, "emmet": 0, "bee": 1, "cow": 2}
    assert as_dataset(data).class_names == ["ant", "bee", "cow"]
    del data.class_to_idx
    assert as_dataset(data).class_names == ["ant, emmet", "bee", "cow"]


# ---------------------------------------------------------------- pictures


def test_pictures_of_every_mode_keep_what_they_show():
    grey = Image.fromarray(PIXELS[0][..., 0])
    colours = Image.fromarray(PIXELS[0])
    for picture, expected in (
        (grey, PIXELS[0][..., 0][None]),
        (colours, PIXELS[0].transpose(2, 0, 1)),
        (colours.quantize(30), np.asarray(colours.quantize(30).convert("RGB")).transpose(2, 0, 1)),
        (colours.convert("CMYK"), PIXELS[0].transpose(2, 0, 1)),
        (colours.convert("RGBA"), np.asarray(colours.convert("RGBA")).transpose(2, 0, 1)),
        (grey.point(lambda v: 255 * (v > 99), "1"), 255 * (PIXELS[0][..., 0][None] > 99)),
    ):
        data = as_dataset([(picture, 0), (picture, 1)])
        assert data.items.dtype == torch.uint8
        assert np.array_equal(data.items[0].numpy(), expected)


def test_deep_greys_are_kept_as_numbers():
    deep = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000
    data = as_dataset([(Image.fromarray(deep), "a"), (Image.fromarray(deep), "b")])
    assert data.items.dtype == torch.float32
    assert np.array_equal(data.items[1, 0].numpy(), deep)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_channels_last_of_floats(dtype):
    X = PIXELS.repeat(2, axis=1).repeat(2, axis=2).astype(dtype)
    data = as_dataset((X, LABELS))
    assert data.item_shape == (3, 12, 10) and data.items.is_contiguous()
    assert np.array_equal(data.items.numpy(), X.transpose(0, 3, 1, 2))
    kept = FewShotDataset.from_arrays(X, LABELS, channels="first")
    assert np.array_equal(kept.items.numpy(), X)


def test_maps_of_many_channels_stay_as_they_are():
    maps = np.random.default_rng(0).random((N, 64, 3, 3))
    assert as_dataset((maps, LABELS)).item_shape == (64, 3, 3)
    assert FewShotDataset.from_arrays(maps, LABELS, channels="last").item_shape == (3, 64, 3)
    for wrong, message in ((maps[:, 0], "is for items of four axes"), (maps, "'first', 'last'")):
        with pytest.raises(ValueError, match=message):
            FewShotDataset.from_arrays(wrong, LABELS, channels="last" if wrong.ndim < 4 else "C")


# ---------------------------------------------------------------- what does not fit


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(FIRST, LABELS, strict=True)


class Broken(Folder):
    def __getitem__(self, i):
        if i == 7:
            raise OSError("bee/7.png\nis cut off")
        return super().__getitem__(i)


class NoLength(Dataset):
    def __getitem__(self, i):
        return FIRST[i], LABELS[i]


X, Y = FIRST.float() / 255, torch.tensor(LABELS)
ROW = {"image": FIRST[0], "label": 1}
UNFIT = {
    "a stream": (Stream(), r"must have a length .* got Stream; .* give list\(data\)"),
    "no length": (NoLength(), r"NoLength\) must have a length"),
    "a loader": (DataLoader(Folder()), "gives batches, not pairs; give its .dataset"),
    "an entry that cannot be read": (
        Broken(),
        "entry 7 of Broken cannot be read: OSError: bee/7.png is cut off$",
    ),
    "three tensors": (TensorDataset(X, Y, Y), "entry 0 .* must be a pair .* got a tuple of 3"),
    "no pairs": ([(X[0], 0), (X[1], 1), X[2]], r"entry 2 .* got a Tensor of shape \(3, 6, 5\)"),
    "nothing": ([], "or a pair .* got list"),
    "an empty data set": (TensorDataset(X[:0], Y[:0]), r"\(TensorDataset\) are empty"),
    "an empty mapping": ({}, "is empty"),
    "an empty class": ({"a": X, "b": []}, "class 'b' has no items"),
    "splits": ({"train": Folder(), "test": Folder()}, r"names of splits, .* data\['train'\]"),
    "splits of arrays": ({"train": X, "val": X}, "names of splits"),
    "data sets by other names": (
        {"one": Folder(), "two": Folder()},
        "items of class 'one' must be",
    ),
    "a row without a label": (
        [ROW, ROW, {"image": X[0]}],
        r"row 2 .* have no 'label'; the keys are \['image'\]",
    ),
    "no known key": ([{"pic": X[0], "kind": 1}] * 3, r"no item under image, .*\['pic', 'kind'\]"),
    "two labels": ([ROW | {"target": 1}] * 3, r"more than one label \(label, target\)"),
    "one-hot rows": (list(zip(X, torch.eye(N), strict=True)), r"entry 0 .* give label.argmax\(\)"),
    "one-hot labels": ((X, torch.eye(N)), r"got shape \(12, 12\); .* give y.argmax\(1\)"),
    "a one-hot column": ({"x": X, "y": np.eye(N)}, "the column 'y' must hold one label per item"),
    "segmentation": ({"image": X, "label": X}, "'label' must hold one label per item"),
    "no label": ([(X[0], 1), (X[1], None), (X[2], 1)], "the label of entry 1 .* got None"),
    "NaN among labels": ([(X[0], 1.0), (X[1], float("nan")), (X[2], 1.0)], "NaN .* first 1"),
    "infinite labels": ((X, [float("inf")] * N), "y holds infinity in 12 places, first 0"),
    "all None": ((X, [None] * N), "y holds no labels, but None for each item"),
    "numbers and texts": ((X, [0] * 11 + ["1"]), "item 0 is a number, that of item 11 str"),
    "numbers and bools": ((X, [0] * 11 + [True]), "item 0 is a number, that of item 11 bool"),
    "masked labels": ((X, np.ma.masked_equal(LABELS, 9)), "some are masked"),
    "masked items": ((np.ma.masked_less(X.numpy(), 0.5), Y), "some numbers are masked"),
    "labels of several lengths": ((X, [[1], [1, 2]] * 6), "y must hold one label per item"),
    "swapped": ((Y, X), "are X and y swapped"),
    "swapped lists": ((LABELS, list(X)), "are X and y swapped"),
    "swapped pairs": (list(zip(LABELS, X, strict=True)), "the label of entry 0 must be one number"),
    "shapes": (
        [(X[0], 0), (X[1], 1), (X[2, :, 1:], 1)],
        r"in items of one shape: item 0 is \(3, 6, 5\), item 2 \(3, 5, 5\)",
    ),
    "pictures of several modes": (
        [(PICTURES[0], 0), (PICTURES[1].convert("L"), 1), (PICTURES[2], 1)],
        r"item 0 is \(3, 6, 5\), item 1 \(1, 6, 5\)",
    ),
    "bytes and floats": (
        [(FIRST[0], 0), (X[1], 1), (X[2], 1)],
        "item 0 is torch.uint8, item 1 torch.float32",
    ),
    "files": (
        [("a.png", "a"), ("b.png", "b"), ("c.png", "b")],
        "item 0 is a str .'a.png'.; load_im",
    ),
    "undecoded": ([({"bytes": b""}, 0)] * 3, r"item 0 is a dict with the keys \['bytes'\]"),
    "numbers beyond float32": ((np.full((N, 2), 1e300), Y), "infinity in 12 rows, first row 0"),
    "sparse": ((torch.eye(N).to_sparse(), Y), "to_dense"),
    "a path": ("pets", "got str"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_refused_in_one_line(name):
    data, message = UNFIT[name]
    with pytest.raises(ValueError, match=message) as error:
        as_dataset(data)
    assert "\n" not in str(error.value)


def test_a_column_is_chosen_by_its_key():
    columns = {"image": FIRST, "label": LABELS, "target": [0, 1] * 6}
    assert FewShotDataset.from_pairs(columns, label_key="target").n_classes == 2
    with pytest.raises(ValueError, match="have no 'kind'; the keys are"):
        FewShotDataset.from_pairs(columns, label_key="kind")


def test_letters_may_be_called_x_and_y():
    data = as_dataset({"x": X[:4], "y": X[4:8], "z": X[8:]})
    assert data.class_names == ["x", "y", "z"]


def test_labels_beyond_64_bits_stay_apart():
    labels = [2**63, 2**63 + 1, -1] * 4
    assert as_dataset((X, labels)).class_names == ["-1", str(2**63), str(2**63 + 1)]


def test_texts_are_sorted_letter_by_letter_and_numbers_by_value():
    assert as_dataset((X, ["10", "2"] * 6)).class_names == ["10", "2"]
    assert as_dataset((X, [10, 2] * 6)).class_names == ["2", "10"]


def test_labels_that_a_kind_of_subset_gives_anew_keep_no_old_names():
    class Renumbered(Subset):
        def __getitem__(self, i):
            item, label = super().__getitem__(i)
            return item, 1 - label

        def __getitems__(self, indices):
            return [self[i] for i in indices]

    assert as_dataset(Subset(Folder(), [0, 1])).class_names == ["ant", "bee"]
    assert as_dataset(Renumbered(Folder(), [0, 1])).class_names == ["0", "1"]
