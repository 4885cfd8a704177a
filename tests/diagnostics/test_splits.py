"""Splits that share classes or items are told apart from those that do not."""

import pytest
import torch

from metalearn_edu.diagnostics import (
    check_splits,
)
from metalearn_edu.tasks import FewShotDataset


def split(names, name="data", seed=0):
    generator = torch.Generator().manual_seed(seed)
    items = torch.rand(2 * len(names), 3, generator=generator)
    labels = torch.arange(len(names)).repeat_interleave(2)
    return FewShotDataset(items, labels, names, ["Latin"] * len(names), name)


def test_splits_apart_pass():
    report = check_splits(split(["a", "b"], "train"), split(["c"], "test", seed=1))
    assert report
    assert report.figures["shared classes: train, test"] == 0


def test_shared_classes_are_named():
    report = check_splits(
        train=split(["a", "b"]), val=split(["c"], seed=1), test=split(["b"], seed=2)
    )
    assert report.problems == ["train and test share 1 classes: b (Latin)"]
    assert report.figures["shared classes: train, test"] == 1
    assert "data (1) and data (2)" in str(check_splits(split(["a"]), split(["a"])))


def test_equal_items_under_other_names_are_found():
    report = check_splits(split(["a", "b"], "train"), split(["c", "d"], "test"))
    assert report.problems == ["train and test hold 4 equal items under other names"]


def test_one_split_cannot_be_compared():
    with pytest.raises(ValueError, match="at least two splits"):
        check_splits(split(["a"]))


def test_splits_that_are_none_or_of_one_name_are_refused():
    one = FewShotDataset(torch.rand(4, 2), torch.arange(4), name="train")
    with pytest.raises(ValueError, match="split 2 must be a FewShotDataset, got NoneType"):
        check_splits(one, None)
    with pytest.raises(ValueError, match="split test must be a FewShotDataset, got Tensor"):
        check_splits(one, test=one.items)
    with pytest.raises(ValueError, match="two splits are called 'train'"):
        check_splits(one, train=one)


def test_equal_pictures_are_found_in_bytes_and_in_floats():
    images = torch.randint(0, 256, (4, 1, 3, 3), dtype=torch.uint8)
    first = FewShotDataset(images, torch.arange(4), list("abcd"), name="train")
    second = FewShotDataset(
        first.gather(torch.arange(4)), torch.arange(4), list("efgh"), name="test"
    )
    report = check_splits(first, second)
    assert "hold 4 equal items under other names" in str(report)
