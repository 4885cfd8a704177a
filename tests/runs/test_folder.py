"""Run folders: what a run knows of its data, whose files it leaves alone, what it refuses."""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from metalearn_edu import EpisodeSampler, cli, evaluate_meta_learner, load_image_folder
from metalearn_edu.pretrained import FOLDER
from metalearn_edu.runs import (
    ALGORITHMS,
    Recipe,
    load_run,
    make_recipe,
    recipe_data,
    sources,
    train,
    train_recipe,
)
from metalearn_edu.runs.command import check_settings
from metalearn_edu.runs.folder import claimed, record_figures
from metalearn_edu.runs.recipe import algorithms_with, every_setting

QUICK = ["--width", "4", "--downsample", "stride", "--steps", "2", "--quiet"]


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return int(stop.value.code or 0), captured.out, captured.err


def drawings(root: Path, names, n=8, seed=0, paper=255, ink=0, size=(28, 28)) -> Path:
    """Strokes on paper, a shape for each class, a little different each time."""
    for c, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        shape = np.random.default_rng(1000 * seed + c).integers(3, 25, (4, 2))
        for i in range(n):
            picture = Image.new("L", size, paper)
            moved = shape + np.random.default_rng((seed, c, i)).integers(-2, 3, (4, 2))
            ImageDraw.Draw(picture).line([tuple(map(int, p)) for p in moved], fill=ink, width=3)
            picture.save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(run folder, folder of pictures) of a ProtoNet of two steps on fifteen classes."""
    root = tmp_path_factory.mktemp("trained")
    pictures = drawings(root / "mine", [f"m{k:02d}" for k in range(15)])
    recipe = make_recipe(
        "prototypical", str(pictures), width=4, downsample="stride", n_steps=2, train_way=5
    )
    train_recipe(recipe, root / "run", progress=False)
    return root / "run", pictures


@pytest.fixture
def both(trained, tmp_path):
    """Copies of the run and of its pictures, to be changed; the card names the copy."""
    for source, name in zip(trained, ("run", "mine"), strict=True):
        shutil.copytree(source, tmp_path / name)
    card = json.loads((tmp_path / "run/card.json").read_text())
    card["recipe"]["data"] = card["data"]["path"] = str(tmp_path / "mine")
    (tmp_path / "run/card.json").write_text(json.dumps(card))
    return tmp_path / "run", tmp_path / "mine"


# ---------------------------------------------------------------- the card knows the data


def test_the_card_says_what_the_data_were(trained):
    folder, pictures = trained
    data = json.loads((folder / "card.json").read_text())["data"]
    assert data["kind"] == "folder" and data["path"] == str(pictures)
    assert data["prepared"] == {"size": [28, 28], "channels": 1, "ink": "light", "greys": {}}
    names = [name for part in data["classes"].values() for name in part]
    assert sorted(names) == sorted(f.name for f in pictures.iterdir())
    assert [len(part) for part in data["classes"].values()] == [9, 3, 3]


@pytest.mark.parametrize("ink", [0, 255], ids=["dark ink", "bright ink"])
def test_pictures_are_prepared_as_in_training(capsys, tmp_path, trained, ink):
    """As they are, whatever their paper: so were those that the run was trained on."""
    others = drawings(tmp_path / "others", [f"o{k}" for k in range(6)], 8, 7, 255 - ink, ink)
    learner, _, _ = load_run(trained[0])
    tasks = EpisodeSampler(load_image_folder(others), 5, 1, 5)
    expected = evaluate_meta_learner(learner, tasks, n_episodes=50)
    ask = ["evaluate", trained[0], "--data", others, "--episodes", 50, "--json"]
    status, out, _ = run(capsys, *ask)
    ours, pixels = (json.loads(line) for line in out.splitlines())
    assert status == 0 and (ours["at"], pixels["at"]) == ("learner", "nearest pixel")
    assert ours["mean"] == pytest.approx(expected.mean, abs=1e-9)


def test_ink_that_was_decided_in_training_holds_for_other_pictures(capsys, tmp_path):
    """Trained on dark ink, inverted; pictures of bright ink are inverted, too, for the run did."""
    mine = drawings(tmp_path / "mine", "abcdefghij")
    words = ["--data", mine, "--output", tmp_path / "run", "--ink", "auto", *QUICK]
    assert run(capsys, "train", "prototypical", *words)[0] == 0
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert (card["recipe"]["ink"], card["data"]["prepared"]["ink"]) == ("auto", "dark")
    bright = drawings(tmp_path / "bright", "vwxyz", 8, 3, paper=0, ink=255)
    learner, _, _ = load_run(tmp_path / "run")
    tasks = EpisodeSampler(load_image_folder(bright, ink="dark"), 5, 1, 5)
    expected = evaluate_meta_learner(learner, tasks, n_episodes=20)
    words = ["--data", bright, "--episodes", 20, "--json"]
    out = run(capsys, "evaluate", tmp_path / "run", *words)[1]
    assert json.loads(out.splitlines()[0])["mean"] == pytest.approx(expected.mean, abs=1e-9)


def other_spelling(mine, tmp_path):
    return mine.parent / "." / mine.name / ".." / mine.name


def link(mine, tmp_path):
    (tmp_path / "link").symlink_to(mine)
    return tmp_path / "link"


def copy(mine, tmp_path):
    return shutil.copytree(mine, tmp_path / "copy")


def renamed(mine, tmp_path):
    for i, folder in enumerate(sorted(shutil.copytree(mine, tmp_path / "new").iterdir())):
        folder.rename(folder.with_name(f"x{i}"))
    return tmp_path / "new"


def superset(mine, tmp_path):
    everything = shutil.copytree(mine, tmp_path / "all")
    return drawings(everything, "pqrst", seed=9)


def one_picture_among_others(mine, tmp_path):
    others = drawings(tmp_path / "others", "pqrst", seed=9)
    classes = json.loads((mine.parent / "run/card.json").read_text())["data"]["classes"]
    shutil.copy(mine / classes["meta-val"][0] / "3.png", others / "q" / "odd.png")
    return others


@pytest.mark.parametrize(
    "spelling", [other_spelling, link, copy, renamed, superset, one_picture_among_others]
)
def test_pictures_that_were_trained_on_are_not_scored_as_new(capsys, trained, tmp_path, spelling):
    folder, mine = trained
    data = spelling(mine, tmp_path)
    status, out, err = run(capsys, "evaluate", folder, "--data", data, "--episodes", 4, "--json")
    assert (status, out) == (2, "") and err.count("\n") == 1
    n = 1 if spelling is one_picture_among_others else 12 * 8
    assert f"{n} of the " in err and "were trained on" in err and ("m0" in err or "m1" in err)


def photographs(root: Path, names, n=7) -> Path:
    """Smooth colours that differ in every picture, as JPEG of quality 95."""
    for c, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng((c, i)).integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC)
            picture.save(root / name / f"{i}.jpg", quality=95)
    return root


@pytest.fixture(scope="module")
def of_photographs(tmp_path_factory):
    """(run folder, folder of photographs) of a ProtoNet of one step on six classes in colour."""
    root = tmp_path_factory.mktemp("photographs")
    pictures = photographs(root / "mine", "abcdef")
    recipe = make_recipe(
        "prototypical",
        str(pictures),
        channels=3,
        size=(32, 32),
        width=4,
        downsample="stride",
        n_steps=1,
    )
    train_recipe(recipe, root / "run", progress=False)
    return root / "run", pictures


def saved_anew(source: Path, target: Path, change, suffix=".jpg", **options) -> Path:
    for file in source.rglob("*.jpg"):
        new = (target / file.relative_to(source)).with_suffix(suffix)
        new.parent.mkdir(parents=True, exist_ok=True)
        change(Image.open(file)).save(new, **options)
    return target


TURNED = Image.Transpose.ROTATE_90
COPIES = {
    "jpeg": (lambda picture: picture, {"quality": 40}),
    "webp": (lambda picture: picture, {"suffix": ".webp", "quality": 60}),
    "smaller": (lambda picture: picture.resize((64, 48)), {"quality": 90}),
    "turned": (lambda picture: picture.transpose(TURNED), {"quality": 90}),
}


@pytest.mark.parametrize("how", COPIES)
def test_pictures_that_were_saved_anew_are_still_those_of_the_training(
    capsys, of_photographs, tmp_path, how
):
    folder, mine = of_photographs
    change, options = COPIES[how]
    copies = saved_anew(mine, tmp_path / "copies", change, **options)
    for k, name in enumerate("abcdef"):
        (copies / name).rename(copies / f"new name {k}")
    words = ["--data", copies, "--episodes", 4, "--json"]
    status, out, err = run(capsys, "evaluate", folder, *words)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "28 of the 42 pictures are nearly those that were trained on" in err


def test_one_picture_that_was_saved_anew_is_said(capsys, of_photographs, tmp_path):
    folder, mine = of_photographs
    others = saved_anew(mine, tmp_path / "others", lambda p: p.transpose(Image.Transpose.TRANSPOSE))
    for k, name in enumerate("abcdef"):
        (others / name).rename(others / f"mirrored {k}")
    words = ["evaluate", folder, "--data", others, "--episodes", 4]
    assert run(capsys, *words)[::2] == (0, "")
    trained = json.loads((folder / "card.json").read_text())["data"]["classes"]["meta-train"][0]
    Image.open(mine / trained / "0.jpg").save(others / "mirrored 0/odd.jpg", quality=40)
    status, _, err = run(capsys, *words)
    assert status == 0 and "1 of the 43 pictures are nearly those" in err
    assert f"mirrored 0, in training {trained}" in err and err.count("\n") == 1


def test_pictures_of_a_camera_that_does_not_move_are_not_taken_for_copies(capsys, tmp_path):
    """All are nearly the same there, so likeness tells nothing; it is said, no more."""
    scene = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)

    def taken(root, names):
        for c, name in enumerate(names):
            (root / name).mkdir(parents=True)
            for i in range(7):
                pixels = scene.copy()
                pixels[3 * (c % 6), 10 * (c // 6) + i] ^= 64
                Image.fromarray(pixels).save(root / name / f"{i}.png")
        return root

    words = ["--data", taken(tmp_path / "mine", "abcdef"), *QUICK, "--output", tmp_path / "run"]
    status, _, err = run(capsys, "train", "prototypical", *words)
    assert status == 0 and "nearly those that were trained on" in err
    others = taken(tmp_path / "others", [*"abcdefuvwxyz"])
    for name in "abcdef":
        shutil.rmtree(others / name)
    words = ["--data", others, "--episodes", 4]
    status, out, err = run(capsys, "evaluate", tmp_path / "run", *words)
    assert status == 0 and "42 of the 42 pictures are nearly those" in err and "learner" in out


def test_new_pictures_of_classes_that_were_trained_on_are_said(capsys, trained, tmp_path):
    folder, _ = trained
    classes = json.loads((folder / "card.json").read_text())["data"]["classes"]
    name = classes["meta-train"][0]
    data = drawings(tmp_path / "new", [name, classes["meta-test"][0], "q"], seed=9)
    status, _, err = run(capsys, "evaluate", folder, "--data", data, "--episodes", 4)
    assert status == 0 and f"classes of these names were trained on ({name})" in err


def test_a_class_that_lies_there_twice_is_said_not_to_be_held_out(capsys, tmp_path):
    mine = drawings(tmp_path / "mine", [f"c{k}" for k in range(6)])
    for k in range(6):
        shutil.copytree(mine / f"c{k}", mine / f"copy of c{k}")
    words = ["--data", mine, *QUICK, "--output", tmp_path / "run"]
    for command in (["train", "prototypical", *words], ["evaluate", tmp_path / "run"]):
        status, _, err = run(capsys, *command)
        assert status == 0 and "meta-val is not held out" in err and "copy of c" in err


def test_classes_that_were_held_out_can_be_scored_from_anywhere(capsys, trained, tmp_path):
    folder, mine = trained
    held_out = json.loads((folder / "card.json").read_text())["data"]["classes"]["meta-test"]
    for name in held_out:
        shutil.copytree(mine / name, tmp_path / "held out" / name)
    words = ["--data", tmp_path / "held out", "--episodes", 4]
    assert run(capsys, "evaluate", folder, *words)[0] == 0
    assert run(capsys, "evaluate", folder, "--episodes", 4)[0] == 0


def test_a_run_of_an_earlier_version_says_what_it_does_not_know(capsys, both, tmp_path):
    folder, mine = both
    card = json.loads((folder / "card.json").read_text())
    for name in ("data", "files"):
        del card[name]
    for name in ("size", "channels", "ink"):
        del card["recipe"][name]
    (folder / "card.json").write_text(json.dumps(card))
    others = drawings(tmp_path / "others", "pqrst", seed=9)
    status, _, err = run(capsys, "evaluate", folder, "--data", others, "--episodes", 4)
    assert status == 0 and "earlier version" in err and err.count("\n") == 1
    status, _, err = run(capsys, "evaluate", folder, "--data", mine, "--episodes", 4)
    assert status == 2 and "the run was trained on" in err
    status, _, err = run(capsys, "evaluate", folder, "--episodes", 4)
    assert status == 0 and "earlier version" in err and err.count("\n") == 1


@pytest.mark.parametrize("how", ["missing", "damaged", "of another run"])
def test_a_run_that_does_not_know_what_it_has_seen_scores_no_pictures(capsys, both, how):
    folder, mine = both
    (folder / "seen.npz").unlink()
    if how == "damaged":
        (folder / "seen.npz").write_bytes(b"nothing")
    if how == "of another run":
        np.savez(folder / "seen.npz", hashes=np.zeros(0), labels=np.zeros(0), names=np.zeros(0))
    status, _, err = run(capsys, "evaluate", folder, "--data", mine, "--episodes", 4)
    assert status == 1 and "seen.npz" in err


# ---------------------------------------------------------------- pictures that change


def one_more(mine):
    shutil.copy(mine / "m00/0.png", mine / "m00/more.png")
    drawings(mine, ["m00"], n=1, seed=77)


def another_class(mine):
    drawings(mine, ["zz"], seed=5)


def others_of_the_same_names(mine):
    drawings(mine, [f.name for f in sorted(mine.iterdir())], seed=5)


@pytest.mark.parametrize("change", [one_more, another_class, others_of_the_same_names])
def test_changed_pictures_are_noticed(capsys, both, change):
    folder, mine = both
    change(mine)
    before = (folder / "model.safetensors").read_bytes()
    recipe = json.loads((folder / "card.json").read_text())["recipe"]
    words = ["--data", mine, "--width", 4, "--steps", 2, "--train-way", recipe["train_way"]]
    words += ["--downsample", "stride", "--quiet", "--output", folder]
    for checkpoint in ("there", "removed"):
        if checkpoint == "removed":
            shutil.rmtree(folder / "checkpoint")
        status, out, err = run(capsys, "train", "prototypical", *words)
        assert status == 2 and "have changed since" in err and "trained for" not in out
    assert (folder / "model.safetensors").read_bytes() == before
    if change is not one_more:  # its classes of meta-test are what they were
        status, _, err = run(capsys, "evaluate", folder, "--episodes", 4)
        assert status == 2 and "have changed since" in err


@pytest.mark.parametrize("checkpoint", ["there", "removed"])
def test_ink_that_is_decided_otherwise_is_another_folder(capsys, tmp_path, checkpoint):
    mine, folder = drawings(tmp_path / "mine", "abcdefghij"), tmp_path / "run"
    words = ["--data", mine, "--ink", "auto", *QUICK, "--output", folder]
    assert run(capsys, "train", "prototypical", *words)[0] == 0
    before = {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}
    drawings(mine, "abcdefghij", seed=3, paper=0, ink=255)
    if checkpoint == "removed":
        shutil.rmtree(folder / "checkpoint")
    status, _, err = run(capsys, "train", "prototypical", *words)
    assert status == 2 and "have changed since" in err and err.count("\n") == 1
    assert {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()} == before


def test_a_folder_that_goes_while_it_is_trained_on_does_no_harm(tmp_path, monkeypatch):
    mine = drawings(tmp_path / "mine", "abcdefghij")
    recipe = make_recipe("prototypical", str(mine), width=4, downsample="stride", n_steps=1)
    real = train.meta_train

    def lose_it(*args, **options):
        shutil.rmtree(mine)
        return real(*args, **options)

    monkeypatch.setattr(train, "meta_train", lose_it)
    train_recipe(recipe, tmp_path / "run", progress=False)
    assert str(mine) in load_run(tmp_path / "run")[2]["command"]


def test_a_folder_that_has_moved_is_named(capsys, both):
    folder, mine = both
    mine.rename(mine.with_name("elsewhere"))
    status, _, err = run(capsys, "evaluate", folder, "--episodes", 4)
    assert status == 2 and str(mine) in err and err.count("\n") == 1


def test_the_same_command_on_the_same_pictures_goes_on(capsys, both):
    folder, mine = both
    shutil.rmtree(folder / "checkpoint")  # of the folder that was copied
    words = ["--data", mine, "--train-way", 5, *QUICK, "--output", folder]
    before = (folder / "model.safetensors").read_bytes()
    for _ in range(2):
        assert run(capsys, "train", "prototypical", *words)[0] == 0
        assert (folder / "model.safetensors").read_bytes() == before


def test_the_data_are_loaded_once(tmp_path, monkeypatch):
    loads = []
    real = sources.read_image_folder
    monkeypatch.setattr(
        sources, "read_image_folder", lambda *a, **k: loads.append(a) or real(*a, **k)
    )
    mine = drawings(tmp_path / "mine", "abcdefghij")
    recipe = make_recipe("prototypical", str(mine), width=4, downsample="stride", n_steps=1)
    train_recipe(recipe, tmp_path / "run", progress=False)
    assert len(loads) == 1
    splits = []
    glyphs = sources.load_glyphs
    monkeypatch.setattr(sources, "load_glyphs", lambda s: splits.append(s) or glyphs(s))
    recipe = make_recipe("prototypical", width=4, downsample="stride", n_steps=1, train_way=5)
    train_recipe(recipe, tmp_path / "of glyphs", progress=False)
    assert splits == ["meta-train", "meta-val"]


# ---------------------------------------------------------------- size, colour and ink


def test_size_and_channels_reach_the_network(capsys, tmp_path):
    for colour in ["red", "green", "blue", "cyan", "gold", "grey", "pink", "navy"]:
        (tmp_path / "hues" / colour).mkdir(parents=True)
        for i in range(7):
            Image.new("RGB", (40 + i, 40), colour).save(tmp_path / "hues" / colour / f"{i}.png")
    words = ["--data", tmp_path / "hues", "--size", 32, "--channels", 3, *QUICK]
    status, out, _ = run(capsys, "train", "prototypical", *words, "--output", tmp_path / "run")
    assert status == 0 and "pictures read as colour, 32 x 32" in out
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert card["item_shape"] == [3, 32, 32] and card["recipe"]["size"] == [32, 32]
    assert "--size 32x32 --channels 3" in card["command"]
    status, out, _ = run(capsys, "evaluate", tmp_path / "run", "--episodes", 4)
    assert status == 0 and "item" not in out


def test_the_output_says_how_pictures_are_read(capsys, tmp_path):
    mine = drawings(tmp_path / "mine", "abcdefghij")
    words = ["--data", mine, *QUICK, "--output", tmp_path / "run"]
    _, out, _ = run(capsys, "train", "prototypical", *words)
    assert "pictures read as grey, 28 x 28; --size, --channels and --ink change it" in out


@pytest.mark.parametrize("size", ["0", "-3", "3x", "x", "a", "1x2x3", "nan", "1e3", "9" * 30])
def test_a_size_that_is_none_is_refused(capsys, tmp_path, size):
    mine = drawings(tmp_path / "mine", "abcdefghij", n=7)
    words = ["--data", mine, *QUICK, "--output", tmp_path / "run", f"--size={size}"]
    status, _, err = run(capsys, "train", "prototypical", *words)
    assert status == 2 and "size" in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_pictures_that_are_not_square_are_not_turned():
    assert make_recipe("prototypical", size=(32, 48)).rotations is False
    assert make_recipe("prototypical", size=(32, 32)).rotations is True


# ---------------------------------------------------------------- few classes


@pytest.mark.parametrize(
    ("n", "sizes"),
    [(4, (2, 0, 2)), (5, (3, 0, 2)), (6, (2, 2, 2)), (7, (3, 2, 2)), (8, (4, 2, 2))],
)
def test_few_classes_are_split_so_that_two_can_be_tested_on(tmp_path, n, sizes):
    mine = drawings(tmp_path / "mine", [f"c{k}" for k in range(n)], n=7)
    recipe = make_recipe("prototypical", str(mine), width=4, downsample="stride", n_steps=1)
    parts = sources.folder_of(recipe).parts
    found = [parts[s].class_names if s in parts else [] for s in ("meta-train", "meta-val",
             "meta-test")]  # fmt: skip
    assert tuple(map(len, found)) == sizes
    assert sorted(name for part in found for name in part) == [f"c{k}" for k in range(n)]
    history = train_recipe(recipe, tmp_path / "run", progress=False)
    assert len(history.val_scores) == (sizes[1] > 0)


@pytest.mark.parametrize("n", [2, 3])
def test_too_few_classes_are_refused_with_what_works_instead(capsys, tmp_path, n):
    mine = drawings(tmp_path / "mine", [f"c{k}" for k in range(n)], n=7)
    words = ["--data", mine, *QUICK, "--output", tmp_path / "run"]
    status, _, err = run(capsys, "train", "prototypical", *words)
    assert status == 2 and "at least 4 classes in all" in err and err.count("\n") == 1
    assert "evaluate prototypical_glyphs --data" in err and "predict prototypical_glyphs" in err
    assert not (tmp_path / "run").exists()
    status, out, _ = run(capsys, "evaluate", "prototypical_glyphs", "--data", mine,
                         "--episodes", 4)  # fmt: skip
    assert status == 0 and f"{n}-way" in out


def test_nine_classes_and_more_are_split_as_ever(tmp_path):
    for n in (9, 12, 15):
        mine = drawings(tmp_path / str(n), [f"c{k:02d}" for k in range(n)], n=7)
        recipe = Recipe("prototypical", str(mine))
        expected = load_image_folder(mine).split()
        for split, part in zip(("meta-train", "meta-val", "meta-test"), expected, strict=True):
            assert recipe_data(recipe, split).class_names == part.class_names


def test_classes_with_too_few_pictures_are_counted_out_by_name(capsys, tmp_path):
    """Nine folders, of which seven can be used."""
    mine = drawings(tmp_path / "mine", [f"c{k}" for k in range(9)], n=7)
    small = load_image_folder(mine).split()[1].class_names
    for name in small:
        for file in sorted((mine / name).iterdir())[3:]:
            file.unlink()
    words = ["--data", mine, *QUICK, "--output", tmp_path / "run"]
    status, out, err = run(capsys, "train", "prototypical", *words)
    assert status == 0 and all(f"{name} (3)" in err for name in small)
    assert len(small) == 2 and "meta-train 3, meta-val 2, meta-test 2" in out


# ---------------------------------------------------------------- settings without a meaning


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("prototypical --memory-size 5", "--memory-size is for mann"),
        ("prototypical --size 32", "--size is for a folder of images"),
        ("prototypical --ink dark", "--ink is for a folder"),
        ("prototypical --protocol vinyals", "--protocol is for omniglot"),
        ("maml --data sinusoids --no-rotations", "rotations is for images"),
        ("maml --data sinusoids --n-way 5", "--n-way is for images"),
        ("maml --data sinusoids --width 5", "--width is for images"),
        ("maml --test-views 2", "--test-views is for prototypical"),
        ("relation --inner-lr 1", "--inner-lr is for maml or meta-sgd or anil"),
        ("relation --backbone pyramid", "pyramid is not for relation"),
        ("relation --backbone mlp --norm group", "--norm is for backbone other than mlp"),
        ("mann --memory none --memory-dim 5", "--memory-dim is for memory other than none"),
        ("mann --n-query 5", "--n-query is for episodes"),
        ("task-conditioned --data sinusoids --augment 1", "--augment is for images"),
    ],
)
def test_train_refuses_what_it_would_ignore(capsys, tmp_path, words, named):
    status, _, err = run(capsys, "train", *words.split(), "--output", tmp_path / "x")
    assert status == 2 and named in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.filterwarnings("ignore:--downsample")
def test_every_setting_has_a_meaning_somewhere():
    kinds = ("glyphs", "omniglot", "sinusoids", "linear-functions", ".")
    where = [(a, d) for a in ALGORITHMS for d in kinds]
    for name in set(every_setting()) - {"data"}:
        value = getattr(ALGORITHMS[algorithms_with(name)[0]].recipe, name)
        used = []
        for algorithm, data in where:
            try:
                check_settings(algorithm, data, {name: value})
                used.append((algorithm, data))
            except ValueError:
                pass
        assert used, name


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--streams", "streams need a MANN"),
        ("--one-shot --n-way 5", "--n-way"),
        ("--one-shot --streams", "do not go together"),
        ("--two-people --n-shot 5", "--n-shot"),
        ("--data . --record", "--record"),
        ("--data . --split meta-val", "--split"),
        ("--data . --within-group", "--within-group"),
        ("--data . --streams", "do not go together"),
        ("--episodes 99999999999999999999999999", "--episodes"),
        ("--seed 99999999999999999999999999", "--seed"),
        ("--threads 1000000000", "--threads"),
    ],
)
def test_evaluate_refuses_what_it_would_ignore(capsys, words, named):
    status, out, err = run(capsys, "evaluate", "prototypical_glyphs", *words.split())
    assert (status, out) == (2, "") and named in err and err.count("\n") == 1


@pytest.mark.parametrize("option", ["--n-way 5", "--split meta-val", "--within-group"])
def test_waves_have_no_classes_to_choose(capsys, tmp_path, option):
    train_recipe(make_recipe("task-conditioned", "sinusoids", n_steps=1), tmp_path, progress=False)
    status, _, err = run(capsys, "evaluate", tmp_path, *option.split())
    assert status == 2 and option.split()[0] in err


def test_the_cards_that_come_with_the_package_stay_as_they_are(capsys, tmp_path):
    before = {card: card.read_bytes() for card in FOLDER.glob("*/card.json")}
    (tmp_path / "link").symlink_to(FOLDER / "relation_glyphs")
    for name in ("relation_glyphs", FOLDER / "relation_glyphs", tmp_path / "link"):
        words = ["evaluate", name, "--episodes", 4, "--record"]
        status, out, err = run(capsys, *words)
        assert (status, out) == (2, "") and err.count("\n") == 1
        assert "comes with the package" in err and "copy the folder" in err
    with pytest.raises(ValueError, match="comes with the package"):
        record_figures(FOLDER / "relation_glyphs", [])
    assert {card: card.read_bytes() for card in FOLDER.glob("*/card.json")} == before
    shutil.copytree(FOLDER / "relation_glyphs", tmp_path / "mine")
    words = ["evaluate", tmp_path / "mine", "--episodes", 4, "--record", "--json"]
    figure = json.loads(run(capsys, *words)[1])
    assert json.loads((tmp_path / "mine/card.json").read_text())["figures"][-1] == figure


# ---------------------------------------------------------------- numbers


NUMBERS = ["nan", "inf", "-inf", "-1", "0", "1e300", "9" * 40, "0x5", "", " "]


@pytest.mark.parametrize("option", ["--meta-lr", "--inner-lr", "--n-way", "--steps", "--width",
                                    "--n-shot", "--tasks-per-batch"])  # fmt: skip
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_no_training_can_have_are_refused(capsys, tmp_path, option, number):
    words = [f"{option}={number}", "--quiet", "--output", tmp_path / "x"]
    status, _, err = run(capsys, "train", "maml", *words)
    assert status == 2 and err.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (f"maml --width {2**20}", 2),
        ("maml --backbone mlp --width 500000", 2),
        (f"maml --data sinusoids --n-shot {10**9}", 2),
        (f"maml --tasks-per-batch {10**9}", 2),
        (f"mann --memory-size {2**20} --memory-dim {2**20}", 2),
        (f"task-conditioned --hidden-dim {2**20} --task-embedding-dim {2**20}", 2),
        ("prototypical --test-views 1000000000000", 2),
        (f"prototypical --seed {2**70}", 2),
    ],
)
def test_what_does_not_fit_the_memory_is_refused_at_the_door(capsys, tmp_path, words, status):
    found, _, err = run(capsys, "train", *words.split(), "--output", tmp_path / "x", "--quiet")
    assert found == status and err.count("\n") == 1 and list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is not ours

WAVES = ["task-conditioned", "--data", "sinusoids", "--steps", 1, "--tasks-per-batch", 1, "--quiet"]


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": b"weights of another program"},
        {"card.json": b'{"mine": true}'},
        {"card.json": b"[1]", "model.safetensors": b"x"},
        {"seen.npz": b"pictures"},
        {"card.json": b"not even JSON"},
    ],
    ids=lambda files: "+".join(files),
)
def test_files_of_something_else_stay(capsys, tmp_path, files):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    status, _, err = run(capsys, "train", *WAVES, "--output", folder)
    assert status == 2 and str(folder) in err
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == files


def test_a_finished_run_of_other_settings_stays(capsys, tmp_path):
    folder = tmp_path / "run"
    assert run(capsys, "train", *WAVES, "--output", folder)[0] == 0
    shutil.rmtree(folder / "checkpoint")
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    for other in (["--seed", 1], ["--n-shot", 3], ["--hidden-dim", 8]):
        status, _, err = run(capsys, "train", *WAVES, *other, "--output", folder)
        assert status == 2 and "another run" in err
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    assert run(capsys, "train", *WAVES, "--output", folder)[0] == 0  # its own is made again


def test_no_training_writes_into_the_package_or_on_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(FOLDER / "mann_glyphs")
    for output in (FOLDER / "mann_glyphs", FOLDER / "new", tmp_path / "link", tmp_path / "file"):
        status, _, err = run(capsys, "train", *WAVES, "--output", output)
        assert status == 2 and output.name in err
    assert (tmp_path / "file").read_text() == "mine" and not (FOLDER / "new").exists()


def test_a_second_training_in_the_same_folder_says_so(capsys, tmp_path):
    folder = tmp_path / "run"
    recipe = make_recipe("task-conditioned", "sinusoids", n_steps=1, n_tasks_per_batch=1)
    held, done = threading.Event(), threading.Event()

    def first():
        with claimed(folder, {}, {}):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    held.wait(60)
    try:
        with pytest.raises(TimeoutError, match="another training is running"):
            train_recipe(recipe, folder, progress=False)
        status, _, err = run(capsys, "train", *WAVES, "--output", folder)
        assert status == 1 and "another training is running" in err
    finally:
        done.set()
        thread.join()
    assert run(capsys, "train", *WAVES, "--output", folder)[0] == 0


def test_what_a_killed_training_left_half_written_goes(capsys, tmp_path):
    folder = tmp_path / "run"
    assert run(capsys, "train", *WAVES, "--output", folder)[0] == 0
    for name in ("model.safetensors", "card.json", "seen.npz"):
        (folder / f".{name}.{'0123456789abcdef' * 2}.part").write_bytes(b"half")
    (folder / ".notes.part").write_text("mine")
    (folder / "card.json").unlink()  # killed between weights and card
    assert run(capsys, "train", *WAVES, "--output", folder)[0] == 0
    names = {f.name for f in folder.iterdir()}
    assert names == {"card.json", "checkpoint", "model.safetensors", ".notes.part"}


def test_a_training_that_fails_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "meta_train", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_recipe(make_recipe("task-conditioned", "sinusoids"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_training_that_diverges_looks_unfinished(capsys, tmp_path):
    words = ["train", "task-conditioned", "--data", "sinusoids", "--steps", 40, "--quiet"]
    words += ["--tasks-per-batch", 1, "--meta-lr", 1e6, "--output", tmp_path / "run"]
    status, out, err = run(capsys, *words)
    if status == 0:  # it may come through; then its weights are numbers
        weights = load_file(tmp_path / "run/model.safetensors").values()
        assert all(torch.isfinite(w).all() for w in weights)
    else:
        assert status == 1 and "meta_lr" in err and "trained for" not in out
        assert not (tmp_path / "run/card.json").exists()


# ---------------------------------------------------------------- damaged files


def flipped(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def pipe(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def missing(folder):
    (folder / "model.safetensors").unlink()


def of_another_shape(folder):
    weights = {n: w[:1].clone() for n, w in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    change_card(folder, files=None)


def change_card(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


@pytest.mark.parametrize("damage", [flipped, pipe, missing, of_another_shape])
def test_weights_that_are_not_those_of_the_card_are_refused(capsys, both, damage):
    damage(both[0])
    status, _, err = run(capsys, "evaluate", both[0], "--episodes", 4)
    assert status == 1 and "damaged" in err and err.count("\n") == 1


def test_old_cards_without_checksums_are_read(both):
    change_card(both[0], files=None, of_a_later_version={"x": 1})
    assert not load_run(both[0])[0].training


RECIPES = [
    {"algorithm": "prototypical", "data": 5},
    {"algorithm": "prototypical", "data": ""},
    {"algorithm": "none"},
    {"algorithm": ["maml"]},
    {},
    {"algorithm": "prototypical", "of_a_later_version": 1},
    {"algorithm": "prototypical", "width": "64"},
    {"algorithm": "prototypical", "width": 2**20},
    {"algorithm": "prototypical", "width": 10**30},
    {"algorithm": "prototypical", "n_way": None},
    {"algorithm": "prototypical", "meta_lr": float("nan")},
    {"algorithm": "prototypical", "backbone": {}},
    {"algorithm": "prototypical", "size": [28]},
    {"algorithm": "prototypical", "channels": True},
]
CARDS = [
    b"",
    b"[]",
    b"5",
    b"null",
    b"\xff\xfe{}",
    b"[" * 100_000,
    b'{"recipe": 5}',
    b'{"recipe": {}, "item_shape": []}',
    b'{"recipe": {}, "item_shape": [1, 28]}',
    b'{"recipe": {}, "item_shape": [1, 28, 1e9]}',
    b'{"recipe": {"algorithm": "prototypical"}, "item_shape": [1, 28, 28], "figures": 5}',
    b'{"recipe": {"algorithm": "prototypical"}, "item_shape": [1, 28, 28], "data": [1]}',
    *[json.dumps({"recipe": r, "item_shape": [1, 28, 28]}).encode() for r in RECIPES],
]


@pytest.mark.parametrize("content", CARDS, ids=range(len(CARDS)))
def test_a_damaged_card_is_said_in_one_line(capsys, both, content):
    (both[0] / "card.json").write_bytes(content)
    for words in (["evaluate", both[0]], ["predict", both[0], "--support", both[1], __file__]):
        status, out, err = run(capsys, *words)
        assert (status, out) == (1, "") and "damaged" in err and err.count("\n") == 1


def test_figures_that_are_null_can_be_added_to(capsys, both):
    change_card(both[0], figures=None)
    assert run(capsys, "evaluate", both[0], "--episodes", 4, "--record")[0] == 0
    assert len(json.loads((both[0] / "card.json").read_text())["figures"]) == 1
    assert run(capsys, "evaluate", both[0], "--episodes", 4)[0] == 0


def test_figures_that_are_recorded_at_once_are_all_kept(both):
    figures = [{"split": "meta-test", "seed": seed} for seed in range(12)]
    threads = [
        threading.Thread(target=record_figures, args=(both[0], [figure])) for figure in figures
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads((both[0] / "card.json").read_text())["figures"]
    assert sorted(figure["seed"] for figure in kept) == list(range(12))
    assert {f.name for f in both[0].iterdir()} == {"card.json", "checkpoint", "model.safetensors",
                                                   "seen.npz"}  # fmt: skip


def test_a_card_as_large_as_a_disk_is_not_read(capsys, both):
    with open(both[0] / "card.json", "r+b") as file:
        file.truncate(2**33)
    status, _, err = run(capsys, "evaluate", both[0])
    assert status == 1 and "bytes" in err


# ---------------------------------------------------------------- stopped


def test_a_stopped_training_says_how_to_go_on_and_evaluate_that_it_was(
    capsys, tmp_path, monkeypatch
):
    from metalearn_edu import training

    step = training._Run.step

    def stop_after_two(self):
        step(self)
        if self.history.n_steps == 2:
            raise KeyboardInterrupt

    words = ["train", "task-conditioned", "--data", "sinusoids", "--steps", 5, "--quiet"]
    words += ["--tasks-per-batch", 1, "--output", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "step", stop_after_two)
        status, out, err = run(capsys, *words)
    assert status == 130 and "stopped by hand after 2 steps" in out
    assert "the same command continues" in err
    status, _, err = run(capsys, "evaluate", tmp_path / "run", "--episodes", 4)
    assert status == 0 and "was stopped after 2 of 5 steps" in err
    assert run(capsys, *words)[0] == 0
    assert run(capsys, "evaluate", tmp_path / "run", "--episodes", 4)[2] == ""
