"""Glyphs: what is drawn, that it is the same everywhere, and what happens to the cached file."""

import hashlib
import math
import unicodedata
import warnings

import numpy as np
import pytest
import torch

from metalearn_edu.basics import files
from metalearn_edu.basics.files import load_arrays, save_arrays
from metalearn_edu.tasks import EpisodeSampler
from metalearn_edu.tasks import cache as cache_module
from metalearn_edu.tasks.data import glyphs
from metalearn_edu.tasks.data.glyphs import (
    GLYPH_SPLITS,
    Variation,
    draw,
    load_glyphs,
    printed_letter,
)

# sha256 of all drawings of seed 0, for each GLYPHS_VERSION, with the font of that checksum.
RECORDED = {
    1: "48ebb171f4264e2c89814a47d84efd2235fa1a9f2c34c1da7dfd4ae652b92298",
}
RECORDED_FONT = "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22"
# Share of ink in the 20 drawings of a few letters, for another font of the same family.
RECORDED_INK = {"A": 0.1554, "g": 0.1447, "Ω": 0.1917, "ب": 0.0747, "ო": 0.1529, "ⵣ": 0.1943}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(folder))


@pytest.fixture(scope="module")
def everything(folder):
    """All drawings of seed 0, made once for this file and left in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALEARN_EDU_CACHE", str(folder))
        return load_glyphs()


@pytest.fixture
def few_letters(monkeypatch):
    """The letters A and Beta only, so that making them anew takes no time."""
    bitmaps = torch.stack([printed_letter("A"), printed_letter("Β")])
    monkeypatch.setattr(
        glyphs, "_distinct_letters", lambda: (["A", "Β"], ["Latin", "Greek"], bitmaps)
    )


def test_same_seed_same_bytes(everything):
    if glyphs.font_checksum() == RECORDED_FONT:
        found = hashlib.sha256(everything.items.numpy().tobytes()).hexdigest()
        assert found == RECORDED[glyphs.GLYPHS_VERSION], (
            "the drawings changed: raise GLYPHS_VERSION and record the new checksum"
        )
        return
    text = "Matplotlib's font is not the recorded one: only a sample of the drawings is compared"
    warnings.warn(text, stacklevel=1)
    for letter, share in RECORDED_INK.items():
        drawings = draw(printed_letter(letter), character=letter)
        assert float(drawings.double().mean()) / 255 == pytest.approx(share, abs=0.02)


def test_classes_scripts_and_names(everything):
    assert everything.item_shape == (1, 28, 28)
    assert everything.items.dtype == torch.uint8
    assert everything.class_sizes.unique().tolist() == [20]
    assert everything.n_classes > 1000
    assert len(set(everything.class_names)) == everything.n_classes
    assert everything.groups == [s for scripts in GLYPH_SPLITS.values() for s in scripts]
    alpha = everything.class_names.index("GREEK SMALL LETTER ALPHA")
    assert everything.class_groups[alpha] == "Greek"
    for name in everything.class_names[::50]:
        assert not unicodedata.decomposition(unicodedata.lookup(name))


def test_splits_are_disjoint_and_complete(everything):
    parts = {split: load_glyphs(split) for split in GLYPH_SPLITS}
    names = [name for part in parts.values() for name in part.class_names]
    assert names == everything.class_names
    for split, part in parts.items():
        assert part.groups == list(GLYPH_SPLITS[split])
        assert part.n_classes >= 50
    alpha = parts["meta-train"].class_names.index("GREEK SMALL LETTER ALPHA")
    whole = everything.items_of(everything.class_names.index("GREEK SMALL LETTER ALPHA"))
    assert torch.equal(parts["meta-train"].items_of(alpha), whole)


def test_one_shape_is_one_class(everything):
    assert "LATIN CAPITAL LETTER A" in everything.class_names
    for copy in ("GREEK CAPITAL LETTER ALPHA", "CYRILLIC CAPITAL LETTER A", "LISU LETTER A"):
        assert copy not in everything.class_names
    assert "CANADIAN SYLLABICS FINAL MIDDLE DOT" not in everything.class_names  # a mark


def test_drawings_have_ink_and_clear_borders(everything):
    ink = everything.items[:, 0].double() / 255
    border = torch.cat([ink[:, 0], ink[:, -1], ink[:, :, 0], ink[:, :, -1]], dim=1)
    assert border.max() == 0
    area = ink.sum(dim=(1, 2))
    assert area.min() > 8  # pixels
    assert area.max() < 28 * 28 / 2
    assert (ink.amax(dim=(1, 2)) > 0.8).all()


def test_drawings_of_a_class_differ_and_have_its_shape(everything):
    drawings = everything.items.view(-1, 20, 784).double()
    assert (drawings[:, 0] != drawings[:, 1]).any(dim=1).all()
    assert len(everything.items.view(-1, 784).unique(dim=0)) == len(everything)


def test_as_hard_for_pixels_as_omniglot():
    """Nearest pixel, 5-way 1-shot: between 40 and 55 %; on Omniglot it is about 44 %."""
    for split in ("meta-val", "meta-test"):
        batch = EpisodeSampler(load_glyphs(split), 5, 1, 15).episodes(seed=1, start=0, n_tasks=600)
        distance = torch.cdist(batch.query_x.flatten(2), batch.support_x.flatten(2))
        answer = batch.support_y.gather(1, distance.argmin(dim=2))
        assert 0.40 < (answer == batch.query_y).double().mean() < 0.55


def test_thread_count_number_and_neighbours_change_nothing():
    bitmap = printed_letter("Ж")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = draw(bitmap, 20, seed=3, character="Ж")
        torch.set_num_threads(2)
        assert torch.equal(draw(bitmap, 20, seed=3, character="Ж"), alone)
        assert torch.equal(draw(bitmap, 7, seed=3, character="Ж"), alone[:7])
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(draw(bitmap, 20, seed=4, character="Ж"), alone)


def test_no_global_random_state():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what we look at
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    draw(printed_letter("a"), 2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_printed_letter():
    o, i = printed_letter("O"), printed_letter("I")
    assert o.shape == (64, 64)
    assert o[32, 32] == 0  # the hole of the O
    assert o.sum() > i.sum()
    assert i[:, 31:33].min() == 1  # the I is one stroke in the middle
    top, bottom = printed_letter("T").chunk(2)
    assert top.sum() > bottom.sum()  # upright
    for image in (o, i):  # centred, the longer side filled
        rows, columns = image.sum(dim=1), image.sum(dim=0)
        assert (rows[0] > 0) and (rows[-1] > 0)
        assert columns.flip(0) == pytest.approx(columns, abs=2)


def test_no_variation_gives_print():
    still = Variation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    bitmap = printed_letter("E")
    drawings = draw(bitmap, 3, variation=still)
    assert torch.equal(drawings[0], drawings[2])
    ink = drawings[0].double() / 255
    assert ink[:4].sum() == 0 and ink[13:15].sum() > 0  # smaller than the image, in its middle
    shrunk = float(bitmap.sum()) * (0.68 * 28 / 64) ** 2
    assert float(ink.sum()) == pytest.approx(shrunk, rel=0.2)


@pytest.mark.parametrize("character", ["", "AB", "\u4e2d", " "])
def test_printed_letter_refuses(character):
    with pytest.raises(ValueError, match="character"):
        printed_letter(character)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"split must be one of \['meta-train'.*got 'test'"):
        load_glyphs("test")
    with pytest.raises(ValueError, match=r"seed must be an integer of at least 0 .*, got -1"):
        load_glyphs(seed=-1)


def test_cached_once_and_read_again(few_letters, tmp_path, monkeypatch):
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "new" / "folder"))
    first = load_glyphs()
    (file,) = (tmp_path / "new" / "folder").iterdir()  # and no half-written file beside it
    assert f"v{glyphs.GLYPHS_VERSION}" in file.name and "seed0" in file.name
    monkeypatch.setattr(glyphs, "_distinct_letters", None)  # now making them would fail
    assert torch.equal(load_glyphs().items, first.items)


def test_cache_false_touches_no_file(few_letters, tmp_path, monkeypatch):
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path))
    load_glyphs(cache=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [1.5, math.nan, "1", True, 10**400])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        load_glyphs(seed=seed)


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((2, 20, 28, 28), np.float32)},
        {"images": np.zeros((3, 20, 28, 28), np.uint8)},
        {"images": np.zeros((2, 20, 14, 14), np.uint8)},
        {"names": np.arange(2)},
        {"scripts": np.array(["Latin"])},
        {"more": np.arange(2)},
    ],
)
def test_a_cached_file_of_other_arrays_is_rebuilt(
    few_letters, change, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path))
    good = load_glyphs()
    (file,) = tmp_path.iterdir()
    save_arrays(file, load_arrays(file) | change)
    assert torch.equal(load_glyphs().items, good.items)
    assert "The cached file is rebuilt" in capsys.readouterr().out
    assert load_glyphs().n_classes == good.n_classes and capsys.readouterr().out == ""


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_damaged_cache_is_rebuilt(few_letters, damage, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path))
    good = load_glyphs()
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    broken = {"flip": data, "cut": data[: len(data) // 2], "empty": b"", "text": b"hello"}
    file.write_bytes(bytes(broken[damage]))
    assert torch.equal(load_glyphs().items, good.items)
    said = capsys.readouterr().out
    assert "The cached file is rebuilt" in said and file.name in said
    load_glyphs()
    assert capsys.readouterr().out == ""


def test_unwritable_cache_keeps_them_in_memory(few_letters, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache_module, "_kept_in_memory", {})
    with pytest.warns(UserWarning, match="Set the environment variable METALEARN_EDU_CACHE"):
        first = load_glyphs()
    monkeypatch.setattr(glyphs, "_distinct_letters", None)  # now making them would fail
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(load_glyphs().items, first.items)
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_failed_write_leaves_nothing(few_letters, tmp_path, monkeypatch):
    def full(file, **_):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path))
    monkeypatch.setattr(cache_module, "_kept_in_memory", {})
    monkeypatch.setattr(files.np, "savez", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert load_glyphs().n_classes == 2
    assert list(tmp_path.iterdir()) == []
