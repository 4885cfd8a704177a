"""Omniglot: every way the drawings come in ends in the same bytes, and what goes wrong is said."""

import hashlib
import http.server
import io
import os
import shutil
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metalearn_edu.basics.files import load_arrays, save_arrays
from metalearn_edu.tasks import cache as cache_module
from metalearn_edu.tasks.data import archives, omniglot
from metalearn_edu.tasks.data.omniglot import (
    EVALUATION_ALPHABETS,
    META_TRAIN_ALPHABETS,
    META_VAL_ALPHABETS,
    download_omniglot,
    load_omniglot,
    shrink_drawing,
)

BACKGROUND = {"Greek": 2, "Korean": 1}  # a toy Omniglot: characters of each alphabet
EVALUATION = {"Tengwar": 2}


def png(seed):
    """A drawing of 105x105 pixels, ink black on white as in the official files."""
    ink = np.random.default_rng(seed).random((105, 105)) < 0.2
    buffer = io.BytesIO()
    Image.fromarray(~ink).save(buffer, "PNG")
    return buffer.getvalue()


def toy_files(alphabets):
    """Path in the archive -> bytes, for 20 drawings of each character."""
    names = [(a, c) for a, n in alphabets.items() for c in range(1, n + 1)]
    return {
        f"{alphabet}/character{c:02d}/{100 + c:04d}_{d:02d}.png": png([c, d, len(alphabet)])
        for alphabet, c in names
        for d in range(1, 21)
    }


def write_archive(path, alphabets, extra=()):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/", b"")
        for name, content in toy_files(alphabets).items():
            archive.writestr(f"{path.stem}/{name}", content)
        archive.writestr("__MACOSX/Greek/character01/._0101_01.png", b"")
        for name, content in extra:
            archive.writestr(name, content)
    return path


def write_lists(folder):
    """Vinyals lists of the toy data: one character for each part, four turns each."""
    parts = {
        "train.txt": ["Greek/character01", "Tengwar/character02"],
        "val.txt": ["Korean/character01"],
        "test.txt": ["Greek/character02", "Tengwar/character01"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, names in parts.items():
        turned = [f"{name}/rot{turn:03d}\n" for name in names for turn in (0, 90, 180, 270)]
        (folder / file).write_text("".join(turned))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A folder with toy archives and lists, as the official site has them."""
    folder = tmp_path_factory.mktemp("site")
    write_archive(folder / "images_background.zip", BACKGROUND)
    write_archive(folder / "images_evaluation.zip", EVALUATION)
    write_lists(folder / "splits" / "vinyals")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache, no data folder named, no proxy between us and the local server."""
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("METALEARN_EDU_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cache_module, "_kept_in_memory", {})
    return tmp_path / "cache"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; counts, and can stop in the middle of a file."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if not self.server.truncate:
            return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(folder):
        handler = partial(Handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.asked, server.truncate = [], False
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}/"
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def checksums(folder, pattern, algorithm="md5"):
    return {
        file.name: f"{algorithm}:{hashlib.new(algorithm, file.read_bytes()).hexdigest()}"
        for file in sorted(folder.glob(pattern))
    }


def source(server, folder, **changed):
    """Arguments that make `download_omniglot` take everything from the local server."""
    lists = folder / "splits" / "vinyals"
    usual = {
        "base_url": server.url,
        "archives": checksums(folder, "*.zip"),
        "splits_url": server.url + "splits/vinyals/",
        "splits": checksums(lists, "*.txt", "sha256"),
        "progress": False,
    }
    return usual | changed


def files_under(folder):
    return sorted(f.name for f in folder.rglob("*") if f.is_file())


# ---------------------------------------------------------------- the drawings


def test_shrink_counts_ink_exactly():
    """Against the definition: every pixel cut into 4x4 parts, every cell 15x15 of them."""
    ink = np.random.default_rng(0).random((105, 105)) < 0.3
    fine = np.kron(ink, np.ones((4, 4)))  # (420, 420)
    share = fine.reshape(28, 15, 28, 15).mean(axis=(1, 3))
    assert (shrink_drawing(ink) == np.round(255 * share)).all()
    assert (shrink_drawing(np.ones((105, 105), bool)) == 255).all()


def test_archives_and_stored_array_give_equal_bytes(omniglot_folder, tmp_path, serve):
    """The official small archives, fetched and read, against the rows of omniglot28.npz."""
    archives = checksums(omniglot_folder, "images_background_small*.zip")
    if not archives or not (omniglot_folder / "omniglot28.npz").exists():
        pytest.skip(f"no small archives and omniglot28.npz in {omniglot_folder}")
    server = serve(omniglot_folder)
    folder = download_omniglot(
        tmp_path / "fetched", **source(server, omniglot_folder, archives=archives)
    )
    ours = load_omniglot("background", path=folder, progress=False)
    stored = load_omniglot("background", path=omniglot_folder)
    assert ours.n_classes == 242  # 136 + 156, less the 24 Greek and 26 Latin that come twice
    names = [stored.class_names.index(name) for name in ours.class_names]
    assert torch.equal(ours.items, stored.subset(names).items)
    again = load_omniglot("meta-val", "vinyals", path=omniglot_folder / "omniglot28.npz")
    part = load_omniglot("meta-train", "vinyals", path=folder)
    assert not set(part.class_names) & set(again.class_names)


def test_real_splits(omniglot_folder):
    if not (omniglot_folder / "omniglot28.npz").exists():
        pytest.skip(f"no omniglot28.npz in {omniglot_folder}")
    load = partial(load_omniglot, path=omniglot_folder)
    official = {s: load(s) for s in ("meta-train", "meta-val", "meta-test")}
    assert [d.n_classes for d in official.values()] == [803, 161, 659]
    assert official["meta-train"].groups == list(META_TRAIN_ALPHABETS)
    assert official["meta-val"].groups == list(META_VAL_ALPHABETS)
    assert official["meta-test"].groups == list(EVALUATION_ALPHABETS)
    vinyals = {s: load(s, "vinyals") for s in ("meta-train", "meta-val", "meta-test")}
    assert [d.n_classes for d in vinyals.values()] == [1028, 172, 423]
    names = [name for d in vinyals.values() for name in d.class_names]
    assert len(set(names)) == 1623
    assert all(d.class_sizes.unique().tolist() == [20] for d in vinyals.values())
    assert all(d.item_shape == (1, 28, 28) for d in vinyals.values())
    assert 0.05 < official["meta-test"].items.double().mean() / 255 < 0.25  # ink is bright
    greek = official["meta-train"].select_groups(["Greek"])
    assert greek.class_names[6] == "Greek/character07"


# ---------------------------------------------------------------- ways to give it


def test_download_convert_and_read_again(toy, serve, own_cache, monkeypatch):
    server = serve(toy)
    here = source(server, toy)
    monkeypatch.setattr(
        omniglot, "download_omniglot", lambda folder, progress: download_omniglot(folder, **here)
    )
    first = load_omniglot(progress=False)
    assert first.class_names == [
        "Greek/character01",
        "Greek/character02",
        "Korean/character01",
        "Tengwar/character01",
        "Tengwar/character02",
    ]
    asked = len(server.asked)
    assert asked == 5  # two archives, three lists
    for archive in (own_cache / "omniglot").glob("*.zip"):
        archive.unlink()  # the converted array is enough
    assert torch.equal(load_omniglot(download=False).items, first.items)
    assert len(server.asked) == asked
    assert load_omniglot("meta-val", "vinyals").class_names == ["Korean/character01"]
    assert load_omniglot("evaluation").groups == ["Tengwar"]


def test_download_again_fetches_only_what_is_missing(toy, serve, tmp_path):
    server = serve(toy)
    download_omniglot(tmp_path / "d", **source(server, toy))
    (tmp_path / "d" / "images_evaluation.zip").write_bytes(b"damaged")
    server.asked.clear()
    download_omniglot(tmp_path / "d", **source(server, toy))
    assert server.asked == ["/images_evaluation.zip"]


def test_every_route_gives_the_same_bytes(toy, tmp_path, own_cache, monkeypatch):
    archives = load_omniglot(path=toy, progress=False)
    for name in ("images_background", "images_evaluation"):  # unpacked, as a person would
        with zipfile.ZipFile(toy / f"{name}.zip") as archive:
            archive.extractall(tmp_path / "unpacked")
    unpacked = load_omniglot(path=tmp_path / "unpacked", progress=False)
    (converted, _) = sorted(own_cache.glob("omniglot-*.npz"))
    shutil.copy(converted, tmp_path / "omniglot28.npz")
    monkeypatch.setenv("METALEARN_EDU_DATA", str(tmp_path / "omniglot28.npz"))
    from_file = load_omniglot()
    monkeypatch.setenv("METALEARN_EDU_DATA", str(tmp_path))
    from_folder = load_omniglot()
    for data in (unpacked, from_file, from_folder):
        assert data.class_names == archives.class_names
        assert data.class_groups == archives.class_groups
        assert torch.equal(data.items, archives.items)


def test_alphabets_of_one_set_unpacked(toy, tmp_path):
    with zipfile.ZipFile(toy / "images_background.zip") as archive:
        archive.extractall(tmp_path)
    data = load_omniglot("meta-train", path=tmp_path / "images_background", progress=False)
    assert data.groups == ["Greek"]


def test_converting_happens_once(toy, monkeypatch):
    first = load_omniglot(path=toy, progress=False)
    monkeypatch.setattr(omniglot, "_convert", None)  # now converting would fail
    assert torch.equal(load_omniglot(path=toy).items, first.items)


def test_a_changed_archive_is_converted_anew(tmp_path):
    write_archive(tmp_path / "images_background.zip", {"Greek": 1})
    assert load_omniglot(path=tmp_path, progress=False).n_classes == 1
    write_archive(tmp_path / "images_background.zip", {"Greek": 3})
    assert load_omniglot(path=tmp_path, progress=False).n_classes == 3


# ---------------------------------------------------------------- omniglot28.npz


@pytest.fixture
def arrays(toy, own_cache):
    """The arrays of a toy omniglot28.npz."""
    load_omniglot(path=toy, progress=False)
    (converted,) = own_cache.glob("omniglot-*.npz")
    return load_arrays(converted)


def save(folder, arrays):
    np.savez(folder / "omniglot28.npz", **arrays)
    return folder / "omniglot28.npz"


PER_DRAWING = ("images", "char_index", "drawer_index", "alphabet_index")
PER_CHARACTER = ("char_alphabet", "char_number", "char_vinyals", "char_file_id")


def test_drawings_in_another_order_keep_their_labels(toy, arrays, tmp_path):
    """In whatever order drawings, characters and alphabets are stored, the same data come out."""
    rng = np.random.default_rng(0)
    drawings, characters, alphabets = (
        rng.permutation(len(arrays[n])) for n in ("images", "char_number", "alphabet_names")
    )
    other = dict(arrays)
    for name in PER_DRAWING:
        other[name] = arrays[name][drawings]
    for name in PER_CHARACTER:
        other[name] = arrays[name][characters]
    for name in ("alphabet_names", "alphabet_set"):
        other[name] = arrays[name][alphabets]
    other["char_index"] = np.argsort(characters)[other["char_index"]]
    for name in ("char_alphabet", "alphabet_index"):
        other[name] = np.argsort(alphabets)[other[name]]
    file = save(tmp_path, other)
    for choice in ((None, "official"), ("background", "official"), ("meta-train", "vinyals")):
        expected, found = (load_omniglot(*choice, path=p, progress=False) for p in (toy, file))
        assert found.class_names == expected.class_names
        assert found.class_groups == expected.class_groups
        assert torch.equal(found.items, expected.items)
        assert torch.equal(found.labels, expected.labels)


def test_without_people_the_stored_order_is_theirs(toy, arrays, tmp_path):
    backwards = {n: a[::-1] if n in PER_DRAWING else a for n, a in arrays.items()}
    del backwards["drawer_index"]
    found = load_omniglot(path=save(tmp_path, backwards))
    expected = load_omniglot(path=toy, progress=False)
    assert found.class_names == expected.class_names
    turned = expected.items.unflatten(0, (-1, 20)).flip(1).flatten(0, 1)
    assert torch.equal(found.items, turned)


def test_the_whole_of_omniglot_is_known_drawing_by_drawing(arrays, tmp_path, monkeypatch):
    """Rows that were mixed up are told from Omniglot's own, whatever the other arrays say."""
    monkeypatch.setattr(omniglot, "CHARACTERS", len(arrays["char_number"]))
    known = {name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in omniglot.WHOLE}
    monkeypatch.setattr(omniglot, "WHOLE", known)
    assert load_omniglot(path=save(tmp_path, arrays)).n_classes == 5
    without = {name: a for name, a in arrays.items() if name != "char_vinyals"}
    assert load_omniglot("evaluation", path=save(tmp_path, without)).n_classes == 2
    for name, change in {
        "images": lambda images: images[::-1],
        "char_number": lambda numbers: numbers + 1,
        "char_vinyals": lambda parts: (parts + 1) % 3,
    }.items():
        other = save(tmp_path, arrays | {name: change(arrays[name])})
        says = f"all 5 characters, but {name} is not as in"
        with pytest.raises(ValueError, match=says):
            load_omniglot(path=other)


def test_the_real_omniglot_mixed_up_is_refused(omniglot_folder, tmp_path):
    if not (omniglot_folder / "omniglot28.npz").exists():
        pytest.skip(f"no omniglot28.npz in {omniglot_folder}")
    real = load_arrays(omniglot_folder / "omniglot28.npz")
    assert load_omniglot(path=save(tmp_path, real)).n_classes == 1623
    rows = np.random.default_rng(0).permutation(len(real["images"]))
    with pytest.raises(ValueError, match=r"images is not as in Omniglot"):
        load_omniglot(path=save(tmp_path, real | {"images": real["images"][rows]}))


def without_first(name):
    return lambda a: a | {name: a[name][1:]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a | {"images": a["images"][:, :14, :14]}, r"images is uint8 of shape .* 14, 14"),
        (lambda a: a | {"images": a["images"] / 255}, r"images is float64 .* where uint8"),
        (lambda a: a | {"images": a["images"].astype(np.int16)}, "images is int16"),
        (lambda a: a | {"images": a["images"][..., None]}, "images is uint8 of shape"),
        (lambda a: a | {"images": 255 - a["images"]}, "images must show bright ink on black"),
        (lambda a: a | {"images": 0 * a["images"]}, "images must show bright ink on black"),
        (
            lambda a: a | {"images": a["images"][:60]},
            r"char_index is .* where int of shape \(60,\)",
        ),
        (lambda a: a | {"images": np.uint8(3)}, r"images is uint8 of shape \(\)"),
        (without_first("char_index"), "char_index is"),
        (without_first("drawer_index"), "drawer_index is"),
        (without_first("char_vinyals"), "char_vinyals is"),
        (without_first("char_number"), "char_number is"),
        (lambda a: a | {"char_index": a["char_index"].astype(float)}, "char_index is float64"),
        (lambda a: a | {"char_index": a["char_index"] + 1}, r"char_index must lie in 0\.\.4"),
        (lambda a: a | {"char_index": a["char_index"] - 1}, r"char_index must lie in 0\.\.4"),
        (lambda a: a | {"char_index": 0 * a["char_index"]}, "each character 20 times"),
        (lambda a: a | {"drawer_index": 0 * a["drawer_index"]}, "another person in drawer_index"),
        (
            lambda a: a | {"drawer_index": a["drawer_index"] + 1},
            r"drawer_index must lie in 0\.\.19",
        ),
        (lambda a: a | {"char_alphabet": a["char_alphabet"] + 1}, "char_alphabet must lie in"),
        (lambda a: a | {"char_alphabet": 2 - a["char_alphabet"]}, "alphabet_index does not fit"),
        (lambda a: a | {"char_vinyals": a["char_vinyals"] + 9}, r"char_vinyals must lie in 0\.\.2"),
        (lambda a: a | {"char_number": 0 * a["char_number"]}, r"char_number must lie in 1\.\.99"),
        (lambda a: a | {"char_number": 0 * a["char_number"] + 1}, "is there twice"),
        (lambda a: a | {"alphabet_names": a["alphabet_names"][[0, 0, 2]]}, "is there twice"),
        (lambda a: a | {"alphabet_names": np.array(["a", "b", "c"])}, r"\['a', 'b', 'c'\], which"),
        (lambda a: a | {"alphabet_names": np.arange(3)}, "alphabet_names is int64"),
        (lambda a: {n: v[:0] for n, v in a.items()}, "it is empty"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(arrays, tmp_path, change, says):
    file = save(tmp_path, change(arrays))
    with pytest.raises(
        ValueError, match=rf"omniglot28\.npz is not omniglot28\.npz: .*{says}"
    ) as error:
        load_omniglot(path=file)
    assert "\n" not in str(error.value)


def test_an_array_file_that_would_fill_the_memory_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "omniglot28.npz", images=np.zeros(2**27 + 1, np.uint8))
    with pytest.raises(ValueError, match=r"is not omniglot28\.npz: .* bytes, more than"):
        load_omniglot(path=tmp_path)


def test_a_cached_file_of_other_arrays_is_converted_again(toy, arrays, own_cache, capsys):
    (converted,) = own_cache.glob("omniglot-*.npz")
    good = load_omniglot(path=toy)
    save_arrays(converted, arrays | {"images": arrays["images"][:, :14]})
    assert torch.equal(load_omniglot(path=toy, progress=False).items, good.items)
    assert "The cached file is rebuilt" in capsys.readouterr().out


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
@pytest.mark.parametrize(
    "name",
    [
        "omniglot28.npz",
        "images_background.zip",
        "Greek/character01/0101_01.png",
        "splits/vinyals/val.txt",
    ],
)
def test_a_pipe_in_the_folder_is_not_waited_for(toy, tmp_path, name):
    folder = tmp_path / "data"
    shutil.copytree(toy, folder)
    (folder / name).unlink(missing_ok=True)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / name)
    if name == "omniglot28.npz":  # then the archives are there
        assert load_omniglot(path=folder, progress=False).n_classes == 5
    else:
        with pytest.raises(OSError, match="is not a regular file"):
            load_omniglot(path=folder, progress=False)
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        load_omniglot(path=folder / name)


def unpack(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_huge_file_named_like_a_drawing_is_not_read(tmp_path):
    folder = unpack(tmp_path / "data", toy_files({"Greek": 1}))
    with open(folder / "Greek/character01/0101_07.png", "wb") as file:
        file.truncate(10**10)  # which takes no room on the disk
    with pytest.raises(ValueError, match=r"0101_07\.png has more than 100000 bytes"):
        load_omniglot(path=folder, progress=False)


def test_an_unpacked_folder_is_bounded_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_TOTAL", 5000)
    folder = unpack(tmp_path / "data", toy_files({"Greek": 1}))
    with pytest.raises(ValueError, match=r"data is refused: its drawings .* more than 5000 bytes"):
        load_omniglot(path=folder, progress=False)


def test_an_empty_archive_is_said(tmp_path):
    write_archive(tmp_path / "images_background.zip", {})
    with pytest.raises(ValueError, match="holds no drawing, such as images_background/Greek"):
        load_omniglot(path=tmp_path, progress=False)


def test_two_drawings_that_should_be_one_are_refused(toy, tmp_path):
    shutil.copy(toy / "images_background.zip", tmp_path / "images_background_small1.zip")
    shutil.copy(toy / "images_background.zip", tmp_path / "images_background_small2.zip")
    assert load_omniglot(path=tmp_path, progress=False).n_classes == 3
    write_archive(tmp_path / "images_background_small2.zip", {"Greek": 2, "Latin": 1, "Korean": 2})
    assert load_omniglot(path=tmp_path, progress=False).n_classes == 5
    unpack(tmp_path, {"Greek/character01/0101_07.png": png(1)})
    with pytest.raises(ValueError, match=r"0101_07\.png and .* differ, but should be one drawing"):
        load_omniglot(path=tmp_path, progress=False)


def test_every_character_is_by_the_same_twenty_people(tmp_path):
    files = toy_files({"Greek": 1})
    files["Greek/character01/0101_21.png"] = files.pop("Greek/character01/0101_07.png")
    with pytest.raises(ValueError, match=r"character01 has 20 of its 20 drawings, by \[1, .*21\]"):
        load_omniglot(path=unpack(tmp_path, files), progress=False)


def saved_as(mode, ink=0, paper=255):
    drawing = np.asarray(Image.open(io.BytesIO(png(3))))
    buffer = io.BytesIO()
    Image.fromarray(np.where(drawing, paper, ink).astype(np.uint8)).convert(mode).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_drawing_that_was_saved_anew_is_the_same(mode):
    expected = omniglot.read_drawing(png(3), "here")
    assert (omniglot.read_drawing(saved_as(mode, 20, 230), "here") == expected).all()


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (saved_as("RGBA"), "it is of mode RGBA, not black ink on white paper"),
        (saved_as("I;16"), "it is of mode I;16"),
        (saved_as("L", 255, 0), "more ink than paper"),
        (saved_as("L", 255, 255), "it has no ink"),
        (png(3)[:150], "cannot be read"),
        (png(3)[:40], "cannot be read"),
    ],
)
def test_what_is_no_black_ink_on_white_paper_is_refused(picture, says):
    with pytest.raises(ValueError, match=f"here cannot be read.*{says}|here {says}"):
        omniglot.read_drawing(picture, "here")


@pytest.mark.parametrize("path", [5, b"folder", ["a"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="path must be a path"):
        load_omniglot(path=path)


def test_truncated_download(toy, serve, tmp_path):
    server = serve(toy)
    server.truncate = True
    with pytest.raises(ConnectionError, match=r"images_background\.zip could not be fetched whole"):
        download_omniglot(tmp_path / "d", **source(server, toy))
    assert files_under(tmp_path / "d") == []
    server.truncate = False  # and running it again completes it
    download_omniglot(tmp_path / "d", **source(server, toy))
    assert load_omniglot(path=tmp_path / "d", progress=False).n_classes == 5


def test_wrong_checksum(toy, serve, tmp_path):
    wrong = {"images_background.zip": "md5:" + "0" * 32}
    with pytest.raises(ValueError, match=r"checksum is not md5:000.*not kept.*Run this again"):
        download_omniglot(tmp_path / "d", **source(serve(toy), toy, archives=wrong))
    assert files_under(tmp_path / "d") == []


def test_file_that_the_server_lacks(toy, serve, tmp_path):
    missing = {"images_other.zip": "md5:" + "0" * 32}
    with pytest.raises(ConnectionError, match=r"404.*three ways to give it"):
        download_omniglot(tmp_path / "d", **source(serve(toy), toy, archives=missing))
    assert files_under(tmp_path / "d") == []


def test_no_server(tmp_path):
    with pytest.raises(ConnectionError, match=r"could not be fetched whole.*three ways"):
        download_omniglot(tmp_path / "d", base_url="http://127.0.0.1:9/", progress=False)
    assert files_under(tmp_path / "d") == []


def test_unwritable_cache_for_a_download(toy, serve, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "file"))
    server = serve(toy)
    with pytest.raises(PermissionError, match="Set the environment variable METALEARN_EDU_CACHE"):
        download_omniglot(**source(server, toy))
    assert server.asked == []  # said before anything is fetched
    assert files_under(tmp_path) == ["file"]


def test_unwritable_cache_for_a_folder(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="Set the environment variable METALEARN_EDU_CACHE"):
        assert load_omniglot(path=toy, progress=False).n_classes == 5
    assert files_under(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "evil", ["../../evil.png", "/evil.png", "C:/evil.png", "a\\..\\..\\evil.png", "C:\\evil.png"]
)
def test_archive_with_a_path_that_escapes(evil, tmp_path, own_cache):
    folder = tmp_path / "data" / "inner"
    folder.mkdir(parents=True)
    write_archive(folder / "images_background.zip", {"Greek": 1}, extra=[(evil, png(0))])
    with pytest.raises(ValueError, match=r"is refused, and nothing was read.*official source"):
        load_omniglot(path=folder, progress=False)
    assert files_under(tmp_path) == ["images_background.zip"]


def test_archive_with_an_enormous_picture(tmp_path, own_cache):
    big = [("x/Greek/character02/0102_01.png", bytes(200_000))]
    write_archive(tmp_path / "images_background.zip", {"Greek": 1}, extra=big)
    with pytest.raises(ValueError, match="200000 bytes, a drawing at most 100000"):
        load_omniglot(path=tmp_path, progress=False)
    assert not own_cache.exists() or files_under(own_cache) == []


def test_damaged_archive(toy, tmp_path, own_cache):
    whole = (toy / "images_background.zip").read_bytes()
    (tmp_path / "images_background.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"images_background.zip is damaged.*delete it"):
        load_omniglot(path=tmp_path, progress=False)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "images_background.zip").write_bytes(bytes(flipped))
    with pytest.raises(ValueError, match=r"damaged|cannot be read"):
        load_omniglot(path=tmp_path, progress=False)
    assert not own_cache.exists() or files_under(own_cache) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no picture", "cannot be read"), (None, r"has \(28, 28\) pixels, not \(105, 105\)")],
)
def test_wrong_picture_is_named(content, message, tmp_path):
    if content is None:
        buffer = io.BytesIO()
        Image.new("1", (28, 28)).save(buffer, "PNG")
        content = buffer.getvalue()
    drawings = toy_files({"Greek": 1}) | {"Greek/character01/0101_07.png": content}
    for name, data in drawings.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"0101_07\.png.*{message}"):
        load_omniglot(path=tmp_path, progress=False)


def test_incomplete_character_is_named(tmp_path):
    for name, data in list(toy_files({"Greek": 1}).items())[:19]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match="Greek/character01 has 19 of its 20 drawings"):
        load_omniglot(path=tmp_path, progress=False)


def test_other_alphabets_are_refused(tmp_path):
    write_archive(tmp_path / "images_background.zip", {"Klingon": 1})
    with pytest.raises(ValueError, match=r"\['Klingon'\].*use load_image_folder"):
        load_omniglot(path=tmp_path, progress=False)


def test_damaged_npz_is_named(tmp_path):
    (tmp_path / "omniglot28.npz").write_bytes(b"PK\x03\x04 hello")
    with pytest.raises(ValueError, match=r"omniglot28.npz is damaged"):
        load_omniglot(path=tmp_path)
    np.savez(tmp_path / "omniglot28.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match=r"not omniglot28.npz: it lacks.*'char_index'"):
        load_omniglot(path=tmp_path / "omniglot28.npz")


def test_not_found_says_the_three_ways(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"download=True.*path=.*METALEARN_EDU_DATA"):
        load_omniglot("background", download=False)
    with pytest.raises(FileNotFoundError, match=r"path is .*nowhere, which does not exist"):
        load_omniglot(path=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("METALEARN_EDU_DATA", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match=r"METALEARN_EDU_DATA is .*holds no Omniglot"):
        load_omniglot()


def test_split_that_the_data_has_not(toy, tmp_path):
    shutil.copy(toy / "images_background.zip", tmp_path)
    with pytest.raises(ValueError, match=r"no character of split 'meta-test'; .*Greek, Korean"):
        load_omniglot("meta-test", path=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"has no Vinyals lists: put train.txt"):
        load_omniglot("meta-train", "vinyals", path=tmp_path, progress=False)


def test_wrong_arguments(toy):
    with pytest.raises(ValueError, match="protocol must be 'official' or 'vinyals', got 'lake'"):
        load_omniglot("meta-train", "lake", path=toy)
    with pytest.raises(ValueError, match=r"split must be one of .* got 'background'"):
        load_omniglot("background", "vinyals", path=toy)
    with pytest.raises(ValueError, match="got 'train'"):
        load_omniglot("train", path=toy)


def test_our_official_splits():
    assert (len(META_TRAIN_ALPHABETS), len(META_VAL_ALPHABETS)) == (25, 5)
    assert len(set(META_TRAIN_ALPHABETS + META_VAL_ALPHABETS + EVALUATION_ALPHABETS)) == 50
