"""A folder of ordinary pictures with all that goes wrong in one: each trouble by its name."""

import os
import shutil
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from metalearn_edu import check_image_folder, load_image_folder
from metalearn_edu.plotting import figure_png, new_figure
from metalearn_edu.tasks.data import folder_check
from metalearn_edu.tasks.data.figures import plot_findings


def photograph(seed, size=(96, 64)):
    """A smooth colour picture."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """Three classes of eight photographs, two of their files broken, and a class of three."""
    root = tmp_path / "photographs"
    for c, (name, n) in enumerate({"bird": 8, "cat": 8, "dog": 8, "eel": 3}.items()):
        (root / name).mkdir(parents=True)
        for i in range(n):
            photograph([c, i]).save(root / name / f"{i}.jpg")
    whole = (root / "bird" / "0.jpg").read_bytes()
    (root / "bird" / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    (root / "cat" / "text.png").write_text("no picture")
    return root


def test_broken_files_and_small_classes_by_name(folder):
    report = check_image_folder(folder)
    assert {f.file.name for f in report.of_kind("broken")} == {"cut.jpg", "text.png"}
    assert report.class_sizes == {"bird": 8, "cat": 8, "dog": 8, "eel": 3}
    assert report.too_small == {"eel": 3}
    assert report.usable == ["bird", "cat", "dog"]
    assert not report.is_fine
    text = str(report)
    for words in ("bird/cut.jpg", "cat/text.png", "eel: 3", "up to 3-way"):
        assert words in text
    assert "0x" not in text  # no memory addresses


def test_the_report_counts_what_the_loader_takes(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = load_image_folder(folder)
    sizes = dict(zip(dataset.class_names, dataset.class_sizes.tolist(), strict=True))
    assert check_image_folder(folder).class_sizes == sizes


def test_a_clean_folder_is_fine(folder):
    (folder / "bird" / "cut.jpg").unlink()
    (folder / "cat" / "text.png").unlink()
    shutil.rmtree(folder / "eel")
    report = check_image_folder(folder)
    assert report.is_fine and "all is well" in str(report)
    assert not check_image_folder(folder, n_query=8).is_fine
    assert "not usable" in str(check_image_folder(folder, n_query=8))


def test_the_same_picture_twice(folder):
    shutil.copy(folder / "cat" / "1.jpg", folder / "dog" / "copy.jpg")
    photograph([2, 3]).resize((48, 32)).save(folder / "dog" / "smaller.png")
    found = {f.file.name: f.what for f in check_image_folder(folder).of_kind("duplicate")}
    assert found == {
        "copy.jpg": "the same file as cat/1.jpg, in another class",
        "smaller.png": "nearly the same as dog/3.jpg, in its class",
    }


def test_odd_and_other_files(folder):
    Image.new("RGB", (80, 80), "red").save(folder / "cat" / "blank.png")
    Image.new("RGB", (80, 80), "blue").save(folder / "cat" / "blank2.png")
    photograph(1, (9, 9)).save(folder / "cat" / "tiny.png")
    photograph(2, (400, 50)).save(folder / "cat" / "long.png")
    (folder / "cat" / "notes.txt").write_text("mine")
    (folder / "cat" / "phone.heic").write_bytes(b"")
    photograph(3).save(folder / "stray.jpg")
    (folder / "cat" / ".DS_Store").write_bytes(b"")
    (folder / "fox").mkdir()
    report = check_image_folder(folder)
    odd = {f.file.name: f.what for f in report.of_kind("odd")}
    assert odd.keys() == {"blank.png", "blank2.png", "tiny.png", "long.png"}
    assert "one colour" in odd["blank.png"] and "9 x 9" in odd["tiny.png"]
    other = {f.file.name: f.what for f in report.of_kind("other")}
    assert other == {
        "notes.txt": "files ending in .txt are not read",
        "phone.heic": "files ending in .heic are not read",
        "stray.jpg": "it lies in no class folder",
    }
    assert report.too_small == {"eel": 3, "fox": 0}
    assert report.of_kind("duplicate") == []  # two blank pictures are not compared


def test_ordinary_photographs_of_every_mode_are_read(folder):
    place = folder / "dog"
    photo = photograph(7)
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    photo.save(place / "turned.jpg", exif=exif)
    photograph(8).convert("RGBA").save(place / "rgba.png")
    photograph(9).quantize(16).save(place / "palette.gif")
    photograph(10).convert("CMYK").save(place / "cmyk.jpg")
    photograph(11).convert("LA").save(place / "la.png")
    sixteen = np.asarray(photograph(12).convert("L")).astype(np.uint16) * 257
    Image.fromarray(sixteen).save(place / "sixteen.png")
    photograph(13).convert("1").save(place / "one.png")
    Image.fromarray(np.asarray(photograph(14).convert("F"))).save(place / "floats.tif")
    photograph(15, (4000, 3000)).save(place / "large.jpg")
    Image.new("L", (10_000, 9_000), 7).save(place / "huge.png")  # Pillow would warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_image_folder(folder)
    assert {f.file.name for f in report.of_kind("broken")} == {"cut.jpg", "text.png"}
    assert report.class_sizes["dog"] == 18


def test_a_picture_too_large_to_open_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # refused from twice as many on
    photograph(1, (100, 100)).save(folder / "dog" / "bomb.png")
    broken = {f.file.name: f.what for f in check_image_folder(folder).of_kind("broken")}
    assert "pixels" in broken["bomb.png"]


def test_the_suspicious_files_are_drawn(folder):
    shutil.copy(folder / "cat" / "1.jpg", folder / "dog" / "copy.jpg")
    fig = plot_findings(check_image_folder(folder), fig=new_figure())
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert [text.split("\n")[0] for text in texts] == [
        "bird/cut.jpg",
        "cat/text.png",
        "dog/copy.jpg",
        "eel",
    ]
    assert texts[2].endswith("the same file as cat/1.jpg, in another class")
    assert texts[3].endswith("3 pictures, an episode takes 6")
    assert figure_png(fig)[:4] == b"\x89PNG"
    few = plot_findings(check_image_folder(folder), n_shown=1, fig=new_figure())
    assert len(few.axes[0].texts) == 1
    assert "1 of 4" in few.axes[0].get_title(loc="left")


def test_the_worst_comes_first(folder):
    """Many odd pictures do not hide a broken file."""
    for i in range(12):
        photograph(i, (400, 50)).save(folder / "bird" / f"a{i}.png")
    report = check_image_folder(folder)
    kinds = [finding.kind for finding in report.findings]
    assert kinds == ["broken"] * 2 + ["small"] + ["odd"] * 12
    fig = plot_findings(report, fig=new_figure())
    assert [t.get_text().split("\n")[0] for t in fig.axes[0].texts][:3] == [
        "bird/cut.jpg",
        "cat/text.png",
        "eel",
    ]


def test_nothing_suspicious_is_said(folder):
    (folder / "bird" / "cut.jpg").unlink()
    (folder / "cat" / "text.png").unlink()
    shutil.rmtree(folder / "eel")
    fig = plot_findings(check_image_folder(folder), fig=new_figure())
    assert fig.axes[0].texts[0].get_text() == "nothing suspicious"


def test_no_folder_and_no_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no class folders"):
        check_image_folder(tmp_path)
    with pytest.raises(ValueError, match="n_query"):
        check_image_folder(tmp_path, n_query=0)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and links in folders")
def test_whatever_lies_in_a_folder_it_is_read_to_the_end(folder):
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / ".#lock.png").symlink_to("anna@laptop.4711:1")
    (folder / "cat" / "gone.png").symlink_to("nowhere.png")
    (folder / "cat" / "loop.png").symlink_to("loop.png")
    (folder / "cat" / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n")
    report = check_image_folder(folder)
    broken = {f.file.name: f.what for f in report.of_kind("broken")}
    assert broken["pipe.png"] == "it is not an ordinary file"
    assert broken["gone.png"] == "it is a link to nothing"
    assert "symbolic links" in broken["loop.png"] and "PostScript" in broken["eps.png"]
    assert broken["text.png"] == "its contents are no picture"
    assert ".#lock.png" not in str(report)
    assert figure_png(plot_findings(report, fig=new_figure()))


def test_deep_pictures_are_told_of(folder):
    ramp = np.tile(np.linspace(0, 4095, 60), (60, 1))
    Image.fromarray(ramp.astype("u2")).save(folder / "cat" / "deep.png")
    Image.fromarray(np.full((60, 60), 5, "u2")).save(folder / "cat" / "dark.png")
    Image.fromarray(np.full((60, 60), np.nan, "f4")).save(folder / "cat" / "nan.tif")
    pages = [photograph(k) for k in range(2)]
    pages[0].save(folder / "cat" / "pages.tif", save_all=True, append_images=pages[1:])
    report = check_image_folder(folder)
    assert "deep pictures: greys of 0 to 4095 (integers) are scaled to 0 to 255" in str(report)
    odd = {f.file.name for f in report.of_kind("odd")}
    assert odd == {"dark.png", "pages.tif"}
    assert any(f.file.name == "nan.tif" for f in report.of_kind("broken"))


def test_what_is_not_read_is_counted(folder):
    for k in range(3):
        (folder / "cat" / f"{k}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    text = str(check_image_folder(folder))
    assert "pictures that are not read: 3 .heic (pip install pillow-heif)" in text


def test_names_are_text_in_the_report_and_the_figure(folder):
    for name in ("price $x_$.png", "a\x1b[2J.png", "new\nline $^{$.png", "l" * 200 + ".png"):
        (folder / "dog" / name).write_bytes(b"junk")
    report = check_image_folder(folder)
    text = str(report)
    assert "\x1b" not in text and r"a\x1b[2J.png" in text and r"new\nline" in text
    kinds = {finding.kind for finding in report.findings}
    assert len(text.splitlines()) == 2 + len(kinds) + len(report.findings)  # a line each
    fig = plot_findings(report, n_shown=20, fig=new_figure())
    assert figure_png(fig)
    assert r"dog/price \$x_\$.png" in [t.get_text().split("\n")[0] for t in fig.axes[0].texts]


def test_files_that_vanish_after_the_check(folder):
    shutil.copy(folder / "cat" / "1.jpg", folder / "dog" / "copy.jpg")
    report = check_image_folder(folder)
    shutil.rmtree(folder)
    assert figure_png(plot_findings(report, fig=new_figure()))


def test_more_pictures_than_are_compared_are_said(folder, monkeypatch):
    monkeypatch.setattr(folder_check, "MOST_COMPARED", 10)
    shutil.copy(folder / "cat" / "1.jpg", folder / "dog" / "copy.jpg")
    photograph([2, 3]).resize((48, 32)).save(folder / "dog" / "smaller.png")
    report = check_image_folder(folder)
    assert [f.file.name for f in report.of_kind("duplicate")] == ["copy.jpg"]
    assert "more than 10 pictures: only the same files were looked for" in str(report)
