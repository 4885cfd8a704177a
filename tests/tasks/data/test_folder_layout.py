"""Folders that hold parts of a data set are not classes; honest classes stay as they are."""

import warnings

import pytest
from PIL import Image

from metalearn_edu import check_image_folder, load_image_folder
from metalearn_edu.tasks.data.folder_layout import parts_said, same_in_groups


def folder(root, *classes, n=1):
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.new("L", (28, 28), 40 * k + i).save(root / name / f"{i}.png")
    return root


def loaded(root, **options):
    """The data set, and what was said about the folder."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        dataset = load_image_folder(root, **options)
    return dataset, " ".join(str(warning.message) for warning in said)


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val", "test"),
        ("Training", "TEST"),
        ("train", "valid"),
        ("validation", "testing"),
        ("dev", "eval"),
        ("train_images", "test_images"),
        ("trainset", "testset"),
        ("train2017", "val2017"),
        ("meta-train", "meta-test"),
        ("support", "query"),
        ("01_train", "02_test"),
        ("trainA", "testA"),
        ("seg_train", "seg_test"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("dataset_train", "dataset_val"),
        ("trainval", "test"),
        ("trn", "tst"),
    ],
)
def test_parts_with_the_same_classes_hold_each_class_once(tmp_path, parts):
    folder(tmp_path, *(f"{part}/{name}" for part in parts for name in ("cat", "dog", "owl")), n=2)
    dataset, said = loaded(tmp_path)
    assert dataset.class_names == ["cat", "dog", "owl"]
    assert dataset.class_sizes.tolist() == [2 * len(parts)] * 3
    assert set(dataset.class_groups) == {tmp_path.name}
    for row, label in enumerate(dataset.labels.tolist()):
        assert f"/{dataset.class_names[label]}/" in dataset.files[row]
    assert all(part in said for part in parts) and "for one part alone give" in said
    report = check_image_folder(tmp_path, n_query=1)
    assert report.class_sizes == dict.fromkeys(["cat", "dog", "owl"], 2 * len(parts))
    assert [f.kind for f in report.findings if f.kind == "layout"] == ["layout"]
    assert not report.is_fine and all(part in str(report) for part in parts)
    assert [part.class_names for part in dataset.split()] != []


def test_train_and_test_within_each_class(tmp_path):
    folder(tmp_path, "cat/train", "cat/test", "dog/train", "dog/test")
    dataset, said = loaded(tmp_path)
    assert dataset.class_names == ["cat", "dog"] and dataset.class_sizes.tolist() == [2, 2]
    assert "train" in said and "test" in said


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("ds/train/cat", "ds/train/dog", "ds/test/cat", "ds/test/dog"), ("ds/cat", "ds/dog")),
        (
            ("train/Greek/a", "train/Latin/a", "test/Greek/a", "test/Latin/b"),
            ("Greek/a", "Latin/a", "Latin/b"),
        ),
    ],
)
def test_parts_do_not_count_as_levels(tmp_path, folders, classes):
    dataset, said = loaded(folder(tmp_path, *folders))
    assert dataset.class_names == list(classes) and len(dataset) == 4
    assert dataset.class_groups == [name.split("/")[0] for name in classes]
    assert "test and train are parts of a data set" in said
    stray = tmp_path / folders[0].split("/")[0] / "notes.txt"
    stray.write_text("")
    found = check_image_folder(tmp_path, n_query=1).of_kind("other")
    assert [finding.file for finding in found] == [stray]


def test_another_folder_beside_the_parts_with_the_same_classes_is_said(tmp_path):
    folder(
        tmp_path, *(f"{part}/{c}" for part in ("train", "test", "extra") for c in ("cat", "dog"))
    )
    dataset, said = loaded(tmp_path)
    assert dataset.class_names == ["cat", "dog", "extra/cat", "extra/dog"]
    assert "test and train are parts" in said and "same names (cat, dog)" in said


def test_pictures_beside_the_class_folders_are_said(tmp_path):
    folder(tmp_path, "cat", "dog")
    Image.new("L", (28, 28)).save(tmp_path / "stray.png")
    dataset, said = loaded(tmp_path)
    assert len(dataset) == 2
    assert "skipped pictures that are in no class folder: stray.png" in said


def test_parts_with_other_classes_in_each(tmp_path):
    folder(tmp_path, "train/cat", "train/dog", "test/owl")
    dataset, said = loaded(tmp_path)
    assert dataset.class_names == ["cat", "dog", "owl"] and "parts of a data set" in said


def test_a_copy_in_the_other_part_is_in_the_same_class(tmp_path):
    folder(tmp_path, "train/cat", "train/dog")
    folder(tmp_path, "test/cat", "test/dog")
    found = check_image_folder(tmp_path, n_query=1).of_kind("duplicate")
    assert [f.what for f in found] == [
        "the same file as cat/0.png, in its class",
        "the same file as dog/0.png, in its class",
    ]


def test_parts_without_classes_are_refused(tmp_path):
    folder(tmp_path, "train", "test")
    for read in (load_image_folder, check_image_folder):
        with pytest.raises(ValueError, match=r"test and train, which are parts .*into one folder"):
            read(tmp_path)


@pytest.mark.parametrize(
    "classes",
    [
        ("Greek/alpha", "Greek/beta", "Greek/gamma", "Latin/a", "Latin/b", "Latin/alpha"),
        ("Greek/alpha", "Greek/beta", "Latin/alpha", "Latin/b", "Latin/c", "Latin/d", "Latin/beta"),
        ("Bengali/character01", "Bengali/character02", "Thai/character01", "Thai/character02"),
        ("train", "plane", "car"),
        ("vehicles/train", "vehicles/plane", "animals/cat"),
        ("train/steam", "train/diesel", "plane/jet", "plane/glider"),
        ("restaurant", "contest"),
        ("trainer", "tester"),
        ("latest", "protest"),
        ("crash test", "steam train"),
        ("a", "A", "b", "B"),
    ],
)
def test_honest_classes_are_taken_as_they_are(tmp_path, classes):
    dataset, said = loaded(folder(tmp_path, *classes))
    assert dataset.class_names == sorted(classes) and said == ""
    assert not check_image_folder(tmp_path, n_query=1).of_kind("layout")


@pytest.mark.parametrize(
    "groups", [("fold1", "fold2"), ("2020", "2021", "2022"), ("camera A", "camera B")]
)
def test_groups_with_the_same_classes_are_said(tmp_path, groups):
    folder(tmp_path, *(f"{group}/{name}" for group in groups for name in ("cat", "Dog", "owl")))
    dataset, said = loaded(tmp_path)
    assert dataset.n_classes == 3 * len(groups)
    assert f"{len(groups)} groups hold classes of the same names (cat, dog, owl)" in said
    assert len(check_image_folder(tmp_path, n_query=1).of_kind("layout")) == 1


def test_what_is_said_of_layouts_by_names_alone(tmp_path):
    assert same_in_groups(["a/cat", "a/dog", "b/cat", "b/dog"])
    assert not same_in_groups(["a/cat", "b/cat"])  # one name in two groups
    assert not same_in_groups(["cat", "dog"])
    assert parts_said(folder(tmp_path, "train/cat", "train/dog")) == ""  # one part: given rightly
