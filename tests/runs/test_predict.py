"""`metalearn-edu predict`: learning from a folder of pictures, and answering for others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from metalearn_edu import Preparation, cli, load_image_folder, read_image_folder
from metalearn_edu.pretrained import load_pretrained
from metalearn_edu.runs.own_images import predict_pictures


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return int(stop.value.code or 0), captured.out, captured.err


def draw(file: Path, shape: int, seed: int) -> Path:
    """Dark strokes on white paper."""
    file.parent.mkdir(parents=True, exist_ok=True)
    points = np.random.default_rng(shape).integers(6, 50, (4, 2))
    moved = points + np.random.default_rng((shape, seed)).integers(-2, 3, (4, 2))
    picture = Image.new("L", (56, 56), 255)
    ImageDraw.Draw(picture).line([tuple(map(int, p)) for p in moved], fill=0, width=4)
    picture.save(file)
    return file


@pytest.fixture
def support(tmp_path):
    """Three classes of 3, 1 and 5 pictures."""
    for name, shape, n in (("cat", 0, 3), ("dog", 1, 1), ("owl", 2, 5)):
        for i in range(n):
            draw(tmp_path / "support" / name / f"{i}.png", shape, i)
    return tmp_path / "support"


def test_each_picture_gets_the_class_that_it_shows(capsys, tmp_path, support):
    files = [draw(tmp_path / f"new{shape}.png", shape, 99) for shape in range(3)]
    ask = ["predict", "prototypical_glyphs", "--support", support]
    status, out, err = run(capsys, *ask, *files, "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [a["class"] for a in answers] == ["cat", "dog", "owl"]
    assert [a["picture"] for a in answers] == [str(file) for file in files]
    for answer in answers:
        assert sum(answer["scores"].values()) == pytest.approx(1)
        assert list(answer["scores"].values()) == sorted(answer["scores"].values(), reverse=True)
    status, out, _ = run(capsys, *ask, *files)
    assert "new0.png: cat " in out and " %" in out and "softmax of the learner's scores" in out


def test_the_scores_are_the_softmax_of_the_learner(tmp_path, support):
    file = draw(tmp_path / "new.png", 1, 7)
    learner, _ = load_pretrained("prototypical_glyphs")
    examples = load_image_folder(support, ink="dark")
    (answer,) = predict_pictures(learner, examples, [file], Preparation((28, 28), 1, "dark"))
    alone = draw(tmp_path / "others" / "a" / "x.png", 1, 7)
    draw(alone.parent.parent / "b" / "y.png", 2, 7)
    query = load_image_folder(alone.parent.parent, ink="dark").items_of(0)
    items = torch.cat([examples.items_of(c) for c in range(3)])
    labels = torch.tensor([0] * 3 + [1] + [2] * 5)
    expected = learner.adapt(items, labels)(query)[0].double().softmax(0).tolist()
    assert answer.scores == pytest.approx(dict(zip(["cat", "dog", "owl"], expected, strict=True)))
    assert not learner.training


def test_an_answer_does_not_depend_on_the_other_pictures(tmp_path, support):
    files = [draw(tmp_path / f"new{shape}.png", shape, 5) for shape in range(3)]
    learner, _ = load_pretrained("relation_glyphs")
    examples, decided = read_image_folder(support, ink="auto")
    assert decided.ink == "dark"
    together = predict_pictures(learner, examples, files, decided)
    alone = [predict_pictures(learner, examples, [file], decided)[0] for file in files]
    assert together == alone


def test_a_picture_of_the_support_is_said_to_be_one(capsys, tmp_path, support):
    copy = tmp_path / "copy.png"
    copy.write_bytes((support / "owl" / "2.png").read_bytes())
    ask = ["predict", "prototypical_glyphs", "--support", support, copy]
    assert "owl" in json.loads(run(capsys, *ask, "--json")[1])["same_as"]
    assert "also in the support" in run(capsys, *ask)[1]


def test_broken_pictures_are_said_after_the_others_are_answered(capsys, tmp_path, support):
    broken = tmp_path / "broken\x1b[2J.png"
    broken.write_bytes(b"no picture")
    good = draw(tmp_path / "good.png", 2, 8)
    ask = ["predict", "prototypical_glyphs", "--support", support, broken, good]
    status, out, _ = run(capsys, *ask)
    assert status == 1 and "cannot be read" in out and "good.png: owl" in out
    assert "\x1b" not in out
    answers = [json.loads(line) for line in run(capsys, *ask, "--json")[1].splitlines()]
    assert [a["class"] for a in answers] == [None, "owl"] and answers[0]["error"]


def test_a_folder_stands_for_its_pictures(capsys, tmp_path, support):
    for shape in (1, 0):
        draw(tmp_path / "new" / f"{shape}.png", shape, 6)
    (tmp_path / "new" / "notes.txt").write_text("x")
    ask = ["predict", "prototypical_glyphs", "--support", support, tmp_path / "new", "--json"]
    answers = [json.loads(line) for line in run(capsys, *ask)[1].splitlines()]
    assert [a["class"] for a in answers] == ["cat", "dog"]


@pytest.mark.parametrize("what", ["nowhere.png", "empty"])
def test_what_is_no_picture_is_refused(capsys, tmp_path, support, what):
    (tmp_path / "empty").mkdir()
    ask = ["predict", "prototypical_glyphs", "--support", support, tmp_path / what]
    status, out, err = run(capsys, *ask)
    assert (status, out) == (2, "") and what in err and err.count("\n") == 1


@pytest.mark.parametrize("folder", ["nowhere", "file", "one class"])
def test_a_support_that_is_none_is_refused(capsys, tmp_path, folder):
    picture = draw(tmp_path / "new.png", 0, 0)
    (tmp_path / "file").write_text("")
    draw(tmp_path / "one class" / "a" / "0.png", 0, 0)
    ask = ["predict", "prototypical_glyphs", "--support", tmp_path / folder, picture]
    status, out, err = run(capsys, *ask)
    assert (status, out) == (2, "") and folder in err and err.count("\n") == 1


def test_a_learner_of_another_number_of_classes_says_what_fits(capsys, tmp_path):
    for shape in range(7):
        draw(tmp_path / "support" / f"c{shape}" / "0.png", shape, 0)
    picture = draw(tmp_path / "new.png", 0, 1)
    ask = ["predict", "mann_glyphs", "--support", tmp_path / "support", picture]
    status, _, err = run(capsys, *ask)
    assert status == 2 and "7 classes" in err and "prototypical_glyphs" in err
    assert err.count("\n") == 1


def test_a_learner_that_scores_more_classes_than_there_are_says_so(capsys, tmp_path, support):
    picture = draw(tmp_path / "new.png", 0, 1)
    status, out, err = run(capsys, "predict", "mann_glyphs", "--support", support, picture)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "3 classes" in err and "it scores 5 classes" in err and "prototypical_glyphs" in err


def test_every_shipped_learner_answers(capsys, tmp_path):
    for shape in range(5):
        draw(tmp_path / "support" / f"c{shape}" / "0.png", shape, 0)
    picture = draw(tmp_path / "new.png", 3, 1)
    for name in ("mann", "relation", "task_conditioned", "prototypical"):
        ask = ["predict", f"{name}_glyphs", "--support", tmp_path / "support", picture, "--json"]
        answer = json.loads(run(capsys, *ask)[1])
        assert set(answer["scores"]) == {f"c{k}" for k in range(5)}
