"""A person's own pictures: what is read, what is refused, and what is said about it."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from metalearn_edu import check_image_folder, load_picture
from metalearn_edu.tasks.data.image_folder import load_image_folder


def save(path, picture=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture or Image.new("L", (28, 28), 200)).save(path, **options)
    return path


@pytest.fixture
def animals(tmp_path):
    """Two classes of unequal size, and things that are not pictures."""
    root = tmp_path / "animals"
    for k in range(3):
        save(root / "cat" / f"{k}.png", Image.new("L", (20 + k, 30), 10 * k))
    save(root / "dog" / "0.JPG", Image.new("RGB", (40, 40), (255, 0, 0)))
    save(root / "dog" / ".hidden.png")
    save(root / ".git" / "x.png")
    save(root / "__MACOSX" / "x.png")
    (root / "dog" / "notes.txt").write_text("no picture")
    (root / "readme.md").write_text("no picture")
    return root


def test_classes_sizes_and_names(animals):
    data = load_image_folder(animals)
    assert data.class_names == ["cat", "dog"]
    assert data.class_groups == ["animals", "animals"]
    assert data.class_sizes.tolist() == [3, 1]
    assert data.items.shape == (4, 1, 28, 28) and data.items.dtype == torch.uint8
    assert [int(x) for x in data.items[:3, 0, 14, 14]] == [0, 10, 20]


def test_colour_and_size(animals):
    data = load_image_folder(animals, channels=3, size=16)
    assert data.item_shape == (3, 16, 16)
    red = data.items_of(1)[0].mean(dim=(1, 2))
    assert red[0] > 0.95 and red[1:].max() < 0.05


def test_groups_from_one_more_level(tmp_path):
    for group, name in (("Greek", "alpha"), ("Greek", "beta"), ("Latin", "a")):
        save(tmp_path / group / name / "1.png")
    data = load_image_folder(tmp_path)
    assert data.class_names == ["Greek/alpha", "Greek/beta", "Latin/a"]
    assert data.class_groups == ["Greek", "Greek", "Latin"]


def test_shape_is_kept_and_the_border_continued(tmp_path):
    wide = np.full((40, 80), 240, np.uint8)
    wide[10:30, 30:50] = 0  # a square in the middle stays a square
    save(tmp_path / "a" / "1.png", Image.fromarray(wide))
    save(tmp_path / "b" / "1.png")
    picture = load_image_folder(tmp_path, size=40).items[0, 0]
    dark = picture < 120
    assert dark.any(dim=0).sum() == dark.any(dim=1).sum() == 10
    assert (picture[0] == 240).all() and (picture[-1] == 240).all()


def test_turned_as_the_camera_says(tmp_path):
    pixels = np.zeros((30, 30), np.uint8)
    pixels[:10] = 255  # bright on top as stored; the camera was held on its side
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a" / "1.jpg", Image.fromarray(pixels), exif=exif)
    save(tmp_path / "b" / "1.png")
    picture = load_image_folder(tmp_path, size=30).items[0, 0].double()
    assert picture[:, -8:].mean() > 200 and picture[:, :15].mean() < 30


def test_transparent_parts_are_white(tmp_path):
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[10:18, 10:18, 3] = 255  # an opaque black square on nothing
    save(tmp_path / "a" / "1.png", Image.fromarray(pixels))
    palette = Image.new("P", (28, 28), 0)
    save(tmp_path / "a" / "2.png", palette, transparency=0)
    save(tmp_path / "b" / "1.png")
    first, second = load_image_folder(tmp_path).items[:2, 0]
    assert first[0, 0] == 255 and first[14, 14] == 0
    assert (second == 255).all()


def test_sixteen_bits_and_other_modes(tmp_path):
    ramp = np.linspace(0, 65535, 28 * 28).reshape(28, 28).astype(np.uint16)
    save(tmp_path / "a" / "16.png", Image.fromarray(ramp))
    save(tmp_path / "a" / "bits.png", Image.new("1", (28, 28), 1))
    save(tmp_path / "a" / "cmyk.jpg", Image.new("CMYK", (28, 28)))
    save(tmp_path / "b" / "thin.png", Image.new("L", (1000, 1), 7))
    data = load_image_folder(tmp_path)
    assert data.class_sizes.tolist() == [3, 1]
    sixteen = data.items[0, 0].double()
    assert sixteen.min() == 0 and sixteen.max() == 255
    assert sixteen.mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("content", [b"", b"not a picture", "cut"])
def test_broken_picture_is_named(animals, content):
    broken = animals / "dog" / "broken.png"
    if content == "cut":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
        whole = save(broken, Image.fromarray(noise)).read_bytes()
        content = whole[: len(whole) // 2]
    broken.write_bytes(content)
    with pytest.warns(UserWarning, match=r"left out .*broken\.png"):
        data = load_image_folder(animals)
    assert data.class_sizes.tolist() == [3, 1]
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        load_image_folder(animals, on_error="raise")


def test_many_broken_pictures_are_counted(animals):
    for k in range(9):
        (animals / "dog" / f"bad{k}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"bad4.* and 4 more"):
        load_image_folder(animals)


def test_enormous_picture_is_left_out(animals, monkeypatch):
    save(animals / "dog" / "huge.png", Image.new("L", (300, 300)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    with pytest.warns(UserWarning, match=r"huge\.png"):
        assert len(load_image_folder(animals)) == 4


def test_empty_class(animals):
    (animals / "emu").mkdir()
    with pytest.warns(UserWarning, match=r"emu \(a class without pictures\)"):
        assert load_image_folder(animals).class_names == ["cat", "dog"]
    with pytest.raises(ValueError, match=r"emu .*add pictures, or remove the folder"):
        load_image_folder(animals, on_error="raise")


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_image_folder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file"):
        load_image_folder(save(tmp_path / "one.png"))


def test_no_class_folders(tmp_path):
    save(tmp_path / "1.png")
    with pytest.raises(ValueError, match=r"holds no class folders.*folder of its own"):
        load_image_folder(tmp_path)


def test_one_class_is_not_enough(tmp_path):
    save(tmp_path / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"at least two classes.*it has 1: \['cat'\]"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("deep", ["cat/more/1.png", "emu/a/b/1.png"])
def test_wrong_levels_are_named(animals, deep):
    save(animals / deep)
    with pytest.raises(ValueError, match="class/picture or group/class/picture"):
        load_image_folder(animals)


@pytest.mark.parametrize(("ink", "bright"), [("dark", True), ("light", False), ("auto", True)])
def test_ink_comes_out_bright(tmp_path, ink, bright):
    pixels = np.full((28, 28), 250, np.uint8)
    pixels[8:20, 12:16] = 5
    for name in ("a", "b"):
        save(tmp_path / name / "1.png", Image.fromarray(pixels))
    picture = load_image_folder(tmp_path, ink=ink).items[0, 0]
    assert bool(picture[14, 14] > picture[0, 0]) == bright


def test_auto_leaves_bright_ink_alone(tmp_path):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[8:20, 12:16] = 255
    for name in ("a", "b"):
        save(tmp_path / name / "1.png", Image.fromarray(pixels))
    auto, plain = (load_image_folder(tmp_path, ink=ink) for ink in ("auto", None))
    assert torch.equal(auto.items, plain.items)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"size": 0}, "size must be at least 1 pixel, got 0"),
        ({"channels": 2}, "channels must be 1 .grey. or 3 .colour., got 2"),
        ({"ink": "blue"}, "ink must be .*got 'blue'"),
        ({"on_error": "ignore"}, "on_error must be .*got 'ignore'"),
    ],
)
def test_wrong_arguments(animals, argument, message):
    with pytest.raises(ValueError, match=message):
        load_image_folder(animals, **argument)


def test_formats_that_are_not_read_are_counted_with_what_helps(animals):
    for name in ("cat/1.HEIC", "cat/2.heic", "dog/3.heif", "dog/4.psd", "dog/5.jxl", "dog/6.NEF"):
        (animals / name).write_bytes(b"\0\0\0\x18ftypheic")
    save(animals / "dog" / "without", format="PNG")
    with pytest.warns(UserWarning, match="skipped pictures that are not read") as said:
        assert len(load_image_folder(animals)) == 4
    (text,) = [str(warning.message) for warning in said]
    assert "2 .heic (pip install pillow-heif)" in text and "1 .psd (save as PNG or JPEG)" in text
    assert "1 without ending" in text and ".txt" not in text


def test_a_folder_of_heic_alone_is_told_so(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match=r"it has 0.*2 \.heic \(pip install pillow-heif\)"),
    ):
        load_image_folder(tmp_path)
    with pytest.raises(ValueError, match=r"without pictures.*2 \.heic \(pip install pillow-heif\)"):
        load_image_folder(tmp_path, on_error="raise")


def test_the_files_of_the_items(animals):
    data = load_image_folder(animals)
    assert data.files == tuple(
        str(animals / name) for name in ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.JPG")
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_to_nothing_and_hidden_ones(animals):
    (animals / "cat" / ".#lock.png").symlink_to("anna@laptop.4711:1")
    (animals / "cat" / "gone.png").symlink_to("nowhere.png")
    with pytest.warns(UserWarning, match=r"left out \S*gone\.png \(it is a link to nothing\)$"):
        assert len(load_image_folder(animals)) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
def test_names_reach_no_terminal_as_commands(tmp_path):
    for name in ("a\x1b[2Jb", "c\nd"):
        save(tmp_path / name / "1.png")
        (tmp_path / name / "bro\x1b]0;ken\x07.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out") as said:
        load_image_folder(tmp_path)
    text = str(said[0].message)
    assert "\x1b" not in text and "\n" not in text and r"\x1b[2Jb" in text
    with pytest.raises(ValueError, match="cannot be read") as error:
        load_image_folder(tmp_path, on_error="raise")
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("path", [None, 5, b"x", "a\0b"])
def test_what_is_no_path_is_refused(path):
    for read in (load_image_folder, load_picture, check_image_folder):
        with pytest.raises(ValueError, match="path must be a path"):
            read(path)
