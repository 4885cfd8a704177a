import html
import json
import math
import os
import sys

import pytest
import torch
from PIL import Image

from metalearn_edu.baselines import nearest_pixel
from metalearn_edu.explorers.base import Explorer
from metalearn_edu.explorers.canvas import NO_SAMPLE, DrawingPad, DrawYourOwn, draw_strokes
from metalearn_edu.runs.own_images import evaluate_on_images
from metalearn_edu.tasks import load_glyphs, load_image_folder

TEE = [[[0.2, 0.2], [0.8, 0.2]], [[0.5, 0.2], [0.5, 0.8]]]
ELL = [[[0.3, 0.1], [0.3, 0.9], [0.8, 0.9]]]
RING = [[[0.5 + 0.3 * math.cos(t / 5), 0.5 + 0.3 * math.sin(t / 5)] for t in range(33)]]


@pytest.fixture
def drawing():
    return DrawYourOwn()


def scribble(drawing, place, strokes):
    """What the browser does: choose a place, then send strokes."""
    drawing.inputs["place"].set_state({"index": 10 if place == "query" else int(place)})
    drawing.pad.set_state({"strokes": json.loads(json.dumps(strokes))})


def shear(strokes):
    """The same by another hand: smaller, aslant, elsewhere."""
    return [[[0.1 + 0.6 * x + 0.1 * y, 0.3 + 0.6 * y] for x, y in s] for s in strokes]


# ---------------------------------------------------------------- strokes


def test_no_strokes_are_no_ink():
    assert draw_strokes([]).shape == (1, 28, 28) and draw_strokes([]).sum() == 0


def test_a_dot_is_a_round_spot_in_the_middle():
    spot = draw_strokes([[[0.9, 0.1]]])[0]
    assert spot.sum() == pytest.approx(math.pi * (2.3 / 2) ** 2, rel=0.2)
    assert spot[12:16, 12:16].sum() == pytest.approx(float(spot.sum()))


def test_place_and_size_on_the_pad_do_not_matter():
    small = [[[0.1 + 0.2 * x, 0.7 + 0.2 * y] for x, y in stroke] for stroke in TEE]
    torch.testing.assert_close(draw_strokes(small), draw_strokes(TEE), atol=0.2, rtol=0)


def test_drawings_are_as_large_and_as_bold_as_glyphs():
    glyphs = load_glyphs("meta-train").items[::7, 0] > 127
    mine = draw_strokes(RING)[0] > 0.5

    def longer_side(ink):
        spans = [ink.any(dim).nonzero().flatten() for dim in (0, 1)]
        return max(int(span.max() - span.min()) + 1 for span in spans)

    typical = torch.tensor([longer_side(ink) for ink in glyphs[:400]]).float().median()
    assert abs(longer_side(mine) - typical) <= 1
    assert glyphs.float().mean() / 2 < mine.float().mean() < glyphs.float().mean() * 2


# ---------------------------------------------------------------- the explorer


def test_every_learner_knows_a_drawing_again(drawing):
    for place, strokes in enumerate((TEE, ELL, RING)):
        scribble(drawing, str(place), strokes)
        assert "gives an answer" in drawing.text.value
    for learner in drawing.learners:
        drawing.set(learner=learner)
        for place, strokes in enumerate((TEE, ELL, RING)):
            scribble(drawing, "query", shear(strokes))
            scores = drawing.scores(learner)
            assert sum(scores.values()) == pytest.approx(1)
            assert max(scores, key=scores.get) == str(place)
            assert f"{learner} takes the query for {place}" in drawing.text.value


def test_the_picture_follows_the_pen(drawing):
    before = drawing.picture.value
    scribble(drawing, "0", TEE[:1])
    middle = drawing.picture.value
    drawing.pad.set_state({"strokes": TEE})
    assert len({before, middle, drawing.picture.value}) == 3


def test_any_places_will_do(drawing):
    for place, strokes in {"4": TEE, "9": RING, "query": RING}.items():
        scribble(drawing, place, strokes)
    assert list(drawing.scores("prototypical_glyphs")) == ["4", "9"]
    assert "for 9 (4: 0 %" in drawing.text.value


def test_undo_and_clear(drawing):
    scribble(drawing, "0", TEE)
    drawing.undo()
    assert drawing.pad.strokes == TEE[:1]
    torch.testing.assert_close(drawing.drawings["0"], draw_strokes(TEE[:1]))
    drawing.undo()
    assert drawing.drawings == {} and "Nothing is drawn yet" in drawing.text.value
    drawing.undo()
    scribble(drawing, "0", TEE)
    drawing.clear()
    assert drawing.drawings == {} and drawing.pad.strokes == []


def test_buttons_without_anything_to_do_are_disabled(drawing):
    def enabled():
        return not drawing.undo_button.disabled, not drawing.clear_button.disabled

    assert enabled() == (False, False)
    scribble(drawing, "0", TEE)
    assert enabled() == (True, True)
    drawing.undo()
    drawing.undo()
    assert enabled() == (False, False)
    drawing.set(sample=next(iter(drawing._samples)))
    assert enabled() == (False, True)  # a sample has no strokes
    drawing.clear()
    assert enabled() == (False, False)
    scribble(drawing, "0", TEE)
    drawing.set(place="1")
    assert enabled() == (False, False)
    drawing.set(place="0")
    assert enabled() == (True, True)
    drawing.reset_button.click()
    assert enabled() == (False, False)


def test_a_stranger_is_taken_for_one_of_those_drawn(drawing):
    for place, strokes in {"0": TEE, "1": ELL, "query": RING}.items():
        scribble(drawing, place, strokes)
    for learner in drawing.learners:
        drawing.set(learner=learner)
        assert sum(drawing.scores(learner).values()) == pytest.approx(1)
        assert '"None of these" is not among its answers' in html.unescape(drawing.text.value)


def test_pad_picture_and_controls_fit_on_a_small_screen(drawing):
    """JupyterLab at 1280x800 has 679 pixels for a notebook; rows of controls are 32 high."""
    board, *rows = drawing.children[2:-3]  # after title and places; then message, text, question
    assert board.children == (drawing.pad, drawing.picture)
    width, height = (drawing.dpi * side for side in drawing.size)
    assert 242 + 12 + width <= 760 and height <= 242
    one_line = 32 * (2 + len(rows))  # title, places and rows of controls
    assert one_line + 242 + 28 + drawing.text_height + 44 <= 679
    widths = [int(button.layout.width[:-2]) + 4 for button in drawing.buttons.children]
    assert sum(widths) <= 760


def test_going_back_to_a_place_shows_what_was_drawn_there(drawing):
    scribble(drawing, "0", TEE)
    scribble(drawing, "1", ELL)
    drawing.set(place="0")
    assert drawing.pad.strokes == TEE
    drawing.set(place="2")
    assert drawing.pad.strokes == [] and set(drawing.drawings) == {"0", "1"}


def test_a_sample_can_be_picked_instead(drawing):
    first, second = list(drawing._samples)[:2]
    drawing.set(place="0", sample=first)
    drawing.set(place="1", sample=second)
    torch.testing.assert_close(drawing.drawings["0"], drawing._samples[first])
    torch.testing.assert_close(drawing.drawings["1"], drawing._samples[second])
    drawing.pad.set_state({"strokes": ELL})  # drawn over it
    assert drawing.state["sample"] == NO_SAMPLE
    torch.testing.assert_close(drawing.drawings["1"], draw_strokes(ELL))
    drawing.set(sample=first)
    assert drawing.pad.strokes == []


def test_samples_are_letters_that_no_learner_has_seen(drawing):
    names = {name.split(",")[0].upper() for name in drawing._samples}
    assert len(names) > 9 and not names & set(load_glyphs("meta-train").class_names)


def test_start_again_throws_all_away(drawing):
    scribble(drawing, "3", TEE)
    drawing.reset_button.click()
    assert drawing.drawings == {} and drawing.pad.strokes == [] and drawing.state["place"] == "0"
    drawing.set(place="3")
    assert drawing.pad.strokes == []


def test_saved_drawings_are_an_image_folder(drawing, tmp_path):
    for place, strokes in {"0": TEE, "1": ELL, "5": RING}.items():
        scribble(drawing, place, strokes)
    drawing.save(tmp_path / "mine")
    dataset = load_image_folder(tmp_path / "mine", ink="dark")
    assert dataset.class_names == ["character 0", "character 1", "character 5"]
    for label, place in enumerate("015"):
        saved = (255 * drawing.drawings[place]).round().to(torch.uint8)
        assert torch.equal(dataset.items[dataset.labels == label][0], saved)


def test_characters_drawn_anew_are_further_drawings(drawing, tmp_path):
    def sizes():
        return load_image_folder(tmp_path, ink="dark").class_sizes.tolist()

    for place, strokes in {"0": TEE, "1": ELL}.items():
        scribble(drawing, place, strokes)
    drawing.save(tmp_path)
    drawing.save(tmp_path)  # the same drawings are not written twice
    assert sizes() == [1, 1]
    scribble(drawing, "1", RING)
    drawing.save(tmp_path)
    assert sizes() == [1, 2]
    (tmp_path / "character 1" / "drawing 1.png").unlink()
    scribble(drawing, "1", TEE)
    drawing.save(tmp_path)  # takes the free name, and overwrites nothing
    assert sizes() == [1, 2]
    scribble(drawing, "0", ELL)
    drawing.save(tmp_path)
    result = evaluate_on_images(
        nearest_pixel(), load_image_folder(tmp_path, ink="dark"), n_query=1, n_episodes=20
    )
    assert result.learner.chance == 0.5 and result.left_out == {}


def test_loading_brings_the_drawings_back(drawing, tmp_path):
    for place, strokes in {"0": TEE, "1": ELL, "query": ELL}.items():
        scribble(drawing, place, strokes)
    drawing.folder.value = str(tmp_path / "mine")
    drawing.save_button.click()
    assert "Saved 2 characters" in drawing.message.value
    assert "has 2 drawings now" in drawing.message.value
    other = DrawYourOwn()
    other.load(tmp_path / "mine")
    for place in "01":
        torch.testing.assert_close(
            other.drawings[place], drawing.drawings[place], atol=1 / 400, rtol=0
        )
    assert "query" not in other.drawings
    query = drawing.drawings["query"]
    drawing.load_button.click()
    assert drawing.drawings["query"] is query  # it stays
    assert drawing.state["place"] == "query" and drawing.pad.strokes == ELL


def test_strokes_of_the_place_before_do_not_come_along(drawing):
    """Who chooses a place and draws at once draws on a pad that the browser has not emptied yet."""
    scribble(drawing, "0", TEE)
    scribble(drawing, "1", [*TEE, *ELL])
    torch.testing.assert_close(drawing.drawings["1"], draw_strokes(ELL))
    assert drawing.pad.strokes == ELL
    drawing.pad.set_state({"strokes": json.loads(json.dumps([*ELL, *RING]))})
    torch.testing.assert_close(drawing.drawings["1"], draw_strokes([*ELL, *RING]))
    scribble(drawing, "0", [*ELL, *RING, *RING])  # back, and a stroke more at once
    torch.testing.assert_close(drawing.drawings["0"], draw_strokes([*TEE, *RING]))


def test_the_menu_names_the_sample_of_a_place(drawing):
    name = drawing.inputs["sample"].options[3]
    drawing.set(place="4", sample=name)
    drawing.set(place="5")
    assert drawing.state["sample"] == NO_SAMPLE
    drawing.set(place="4")
    assert drawing.state["sample"] == name
    scribble(drawing, "4", TEE)
    assert drawing.state["sample"] == NO_SAMPLE
    torch.testing.assert_close(drawing.drawings["4"], draw_strokes(TEE))


def test_what_cannot_be_saved_or_loaded_is_said(drawing, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="at least two characters"):
        drawing.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        drawing.load(tmp_path / "nowhere")
    for c in range(11):
        (tmp_path / f"class {c}").mkdir()
        Image.new("L", (28, 28)).save(tmp_path / f"class {c}" / "1.png")
    with pytest.raises(ValueError, match="11 classes; there is room for 10"):
        drawing.load(tmp_path)
    monkeypatch.setattr(Explorer, "raise_errors", False)
    drawing.folder.value = str(tmp_path / "nowhere")
    drawing.load_button.click()
    assert "does not exist" in drawing.message.value
    drawing.folder.value = " "
    drawing.save_button.click()
    assert "needs a name" in drawing.message.value


def test_the_pad_asks_nobody_outside():
    source = DrawingPad._esm if isinstance(DrawingPad._esm, str) else DrawingPad()._esm
    assert "render" in source and "http" not in source and "import" not in source


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and links in folders")
def test_saving_among_damaged_files_and_on_a_full_disk(drawing, tmp_path, monkeypatch):
    for place, strokes in {"0": TEE, "1": ELL}.items():
        scribble(drawing, place, strokes)
    home = tmp_path / "character 0"
    home.mkdir()
    (home / "drawing 1.png").write_bytes(b"damaged")
    os.mkfifo(home / "drawing 2.png")
    (home / "drawing 3.png").symlink_to("nowhere")
    drawing.save(tmp_path)
    assert Image.open(home / "drawing 4.png").size == (28, 28)
    assert (home / "drawing 1.png").read_bytes() == b"damaged"
    scribble(drawing, "0", RING)
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        drawing.save(tmp_path)
    assert sorted(f.name for f in home.iterdir()) == [f"drawing {k}.png" for k in (1, 2, 3, 4)]
