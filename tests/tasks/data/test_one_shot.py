"""Lake's one-shot task: what is in the archive is what comes out, and what is wrong is named."""

import http.server
import io
import os
import threading
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from metalearn_edu import OneShotTasks, load_one_shot_runs, official_runs, score_one_shot_runs
from metalearn_edu.baselines import ModifiedHausdorff, nearest_pixel
from metalearn_edu.tasks import FewShotDataset, load_glyphs
from metalearn_edu.tasks.data import one_shot
from metalearn_edu.tasks.data.one_shot import OFFICIAL_RUNS


def png(ink):
    """A file of 105x105 pixels, black ink on white paper, from a (28, 28) uint8 drawing."""
    buffer = io.BytesIO()
    picture = Image.fromarray(255 - ink).resize((105, 105)).point(lambda v: 255 * (v > 127))
    picture.convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def run_files(number):
    """Path -> bytes of one run: drawing 0 of 20 glyphs to learn from, drawing 1 to be asked."""
    glyphs = load_glyphs("meta-test")
    drawings = (255 * torch.stack([glyphs.items_of(20 * number + c)[:2] for c in range(20)])).byte()
    questions = np.random.default_rng(number).permutation(20)
    run = f"run{number:02d}"
    files = {
        f"{run}/training/class{c + 1:02d}.png": png(drawings[c, 0, 0].numpy()) for c in range(20)
    }
    pairs = []
    for item, c in enumerate(questions, 1):
        files[f"{run}/test/item{item:02d}.png"] = png(drawings[c, 1, 0].numpy())
        pairs.append(f"{run}/test/item{item:02d}.png {run}/training/class{c + 1:02d}.png")
    files[f"{run}/class_labels.txt"] = ("\n".join(pairs) + "\n").encode()
    return files


@pytest.fixture(scope="module")
def files():
    return run_files(1) | run_files(2)


def write(path, files, top="all_runs/"):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
            folder, _, file = name.rpartition("/")
            archive.writestr(f"__MACOSX/{top}{folder}/._{file}", b"")
    return path


def load(path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*official task has 20")
        return load_one_shot_runs(path)


@pytest.mark.parametrize("top", ["all_runs/", "", "one-shot/all_runs/"])
def test_archive_with_or_without_a_leading_folder(tmp_path, files, top):
    runs = load(write(tmp_path / "all_runs.zip", files, top))
    assert runs.support_x.shape == runs.query_x.shape == (2, 20, 1, 28, 28)
    assert (runs.n_way, runs.n_shot, runs.n_query) == (20, 1, 1)
    assert runs.query_y[0].tolist() == np.random.default_rng(1).permutation(20).tolist()


def test_folder_and_folder_around_it_give_the_same(tmp_path, files):
    archive = write(tmp_path / "all_runs.zip", files)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
    expected = load(archive)
    for place in (tmp_path, tmp_path / "unpacked", tmp_path / "unpacked" / "all_runs"):
        runs = load(place)
        assert torch.equal(runs.support_x, expected.support_x)
        assert torch.equal(runs.query_y, expected.query_y)


def test_images_are_the_inked_share_of_each_cell(tmp_path):
    ink = np.zeros((105, 105), bool)
    ink[:15, :15] = True  # four cells of 3.75 pixels
    ink[30, 30] = True  # a pixel that lies in cell 8, a quarter of whose side ends at 33.75
    buffer = io.BytesIO()
    Image.fromarray(~ink).save(buffer, "PNG")
    names = run_files(1)
    names["run01/training/class07.png"] = buffer.getvalue()
    image = load(write(tmp_path / "all_runs.zip", names)).support_x[0, 6, 0]
    assert (image[:4, :4] == 1).all()
    assert image[8, 8].item() == pytest.approx(round(255 * 16 / 225) / 255)
    assert (image > 0).sum() == 17


def test_errors_are_counted_run_by_run(tmp_path, files):
    runs = load(write(tmp_path / "all_runs.zip", files))
    distance = (runs.query_x[:, :, None] - runs.support_x[:, None]).square().sum((-3, -2, -1))
    wrong = [
        sum(int(distance[r, q].argmin()) != int(runs.query_y[r, q]) for q in range(20)) / 20
        for r in range(2)
    ]
    result = score_one_shot_runs(nearest_pixel(), runs)
    assert result.values.tolist() == pytest.approx(wrong)
    assert result.mean == pytest.approx(sum(wrong) / 2)
    assert result.chance == pytest.approx(0.95)
    assert "errors" in str(result)


@pytest.mark.parametrize(
    "change, error, named",
    [
        (lambda f: f.pop("run02/test/item05.png"), FileNotFoundError, "run02/test/item05.png"),
        (lambda f: f.pop("run01/class_labels.txt"), FileNotFoundError, "run01/class_labels.txt"),
        (
            lambda f: f.update({"run01/training/class21.png": b""}),
            ValueError,
            "does not name run01/training/class21.png",
        ),
        (
            lambda f: f.update({"run02/training/class03.png": b"no picture"}),
            ValueError,
            "run02/training/class03.png",
        ),
        (
            lambda f: f.update({"run01/class_labels.txt": swap(f["run01/class_labels.txt"])}),
            ValueError,
            "run02/test",
        ),
        (
            lambda f: f.update({"run01/class_labels.txt": repeat(f["run01/class_labels.txt"])}),
            ValueError,
            "2 times",
        ),
        (
            lambda f: f.update({"run01/class_labels.txt": b"run01/test/item01.png\n"}),
            ValueError,
            "line 1",
        ),
        (
            lambda f: [f.pop(name) for name in [*f] if name.startswith("run01")],
            ValueError,
            "lacks run01",
        ),
        (
            lambda f: (
                [f.pop(name) for name in [*f] if "item20" in name or "class20" in name]
                + [f.update({"run01/class_labels.txt": shorten(f, "run01")})]
            ),
            ValueError,
            "19",
        ),
        (lambda f: f.clear(), ValueError, "holds no runs"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, files, change, error, named):
    broken = dict(files)
    change(broken)
    with pytest.raises(error, match=named):
        load(write(tmp_path / "all_runs.zip", broken))


def swap(labels):
    return labels.replace(b"run01/test/item01", b"run02/test/item01")


def repeat(labels):
    first, second, *rest = labels.decode().splitlines()
    return "\n".join([first, first.split()[0] + " " + second.split()[1], *rest]).encode()


def shorten(files, run):
    lines = files[f"{run}/class_labels.txt"].decode().splitlines()
    kept = [x for x in lines if "item20" not in x]
    spare = next(x.split()[1] for x in lines if "item20" in x)
    return "\n".join(x.replace(f"{run}/training/class20.png", spare) for x in kept).encode()


def test_a_list_or_picture_that_is_too_large_is_not_read(tmp_path, files):
    for name in ("run01/class_labels.txt", "run02/test/item05.png"):
        large = files | {name: b" " * 200_000}
        with pytest.raises(ValueError, match=rf"{name}.*200000 bytes, a drawing at most 100000"):
            load(write(tmp_path / "all_runs.zip", large))
        with zipfile.ZipFile(tmp_path / "all_runs.zip") as opened:
            opened.extractall(tmp_path / name.replace("/", "_"))
        with pytest.raises(ValueError, match=rf"{name} has more than 100000 bytes"):
            load(tmp_path / name.replace("/", "_"))


def test_a_run_that_is_there_twice_is_refused(tmp_path, files):
    twice = {f"all_runs/{n}": c for n, c in files.items()} | {
        f"copy/{n}": c for n, c in files.items()
    }
    with pytest.raises(ValueError, match=r"run01/.* is there twice, the second time as copy/run01"):
        load(write(tmp_path / "all_runs.zip", twice, top=""))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_a_pipe_is_not_waited_for(tmp_path, files):
    os.mkfifo(tmp_path / "all_runs.zip")
    for place in (tmp_path, tmp_path / "all_runs.zip"):
        with pytest.raises(OSError, match="is not a regular file"):
            load(place)


def test_truncated_archive_and_missing_path(tmp_path, files):
    archive = write(tmp_path / "all_runs.zip", files)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"all_runs\.zip is damaged"):
        load(archive)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zip"):
        load(tmp_path / "nowhere.zip")


def test_another_number_of_runs_is_said(tmp_path, files):
    with pytest.warns(UserWarning, match="2 runs; the official task has 20"):
        load_one_shot_runs(write(tmp_path / "all_runs.zip", files))


def test_archive_where_the_environment_says(tmp_path, files, monkeypatch):
    write(tmp_path / "all_runs.zip", files)
    monkeypatch.setenv("METALEARN_EDU_DATA", str(tmp_path))
    assert load(None).n_tasks == 2


def test_archive_is_fetched_once_into_the_cache(tmp_path, files, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    write(site / "all_runs.zip", files)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/all_runs.zip"
    monkeypatch.setattr(one_shot, "ARCHIVE_URL", url)
    monkeypatch.delenv("METALEARN_EDU_DATA", raising=False)
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "cache"))
    fetched = load(None)
    server.shutdown()
    server.server_close()
    assert torch.equal(load(None).support_x, fetched.support_x)  # from the cache, without a server
    assert fetched.n_tasks == 2


def test_without_network_and_data_it_says_what_would_help(tmp_path, monkeypatch):
    monkeypatch.delenv("METALEARN_EDU_DATA", raising=False)
    monkeypatch.setenv("METALEARN_EDU_CACHE", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="METALEARN_EDU_DATA"):
        load_one_shot_runs(download=False)


def toy_omniglot():
    """Drawing d of character c of alphabet a is an image of the one value 16 a + 8 (c % 2) + d."""
    alphabets = list(OFFICIAL_RUNS)
    names = [(a, c) for a in range(10) for c in range(1, 47)]
    values = [16 * a + 8 * (c % 2) + d for a, c in names for d in range(20)]
    items = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 28, 28)
    return FewShotDataset(
        items.contiguous(),
        torch.arange(len(names)).repeat_interleave(20),
        [f"{alphabets[a]}/character{c:02d}" for a, c in names],
        [alphabets[a] for a, _ in names],
    )


def test_official_runs_take_the_listed_characters_and_people():
    runs = official_runs(toy_omniglot())
    assert runs.n_tasks == 20 and runs.n_way == 20
    support, query = (
        (255 * x[:, :, 0, 0, 0]).round().long() for x in (runs.support_x, runs.query_x)
    )
    # Glagolitic is alphabet 2; run 5: character 1 (odd) by person 6, and by person 4.
    assert (support[4, 0], query[4, 0]) == (32 + 8 + 5, 32 + 8 + 3)
    # Run 6: character 2 (even) by person 3, and by person 2.
    assert (support[5, 1], query[5, 1]) == (32 + 2, 32 + 1)


def test_every_official_run_has_20_characters_and_two_people():
    assert len(OFFICIAL_RUNS) == 10
    for characters, people in OFFICIAL_RUNS.values():
        assert len(set(characters)) == 20
        assert len(people) == 2 and all(learn != ask for learn, ask in people)


def test_official_runs_need_all_characters():
    with pytest.raises(ValueError, match="Atlantean/character01"):
        official_runs(load_glyphs("meta-test"))


def test_one_person_draws_the_support_set_and_another_the_queries():
    tasks = OneShotTasks(toy_omniglot()).episodes(0, 0, 50)
    support, query = (
        (255 * x[..., 0, 0, 0]).round().long() for x in (tasks.support_x, tasks.query_x)
    )
    alphabets = tasks.classes // 46
    assert (alphabets == alphabets[:, :1]).all() and len(alphabets.unique()) == 10
    # The value less 16 a + 8 (c % 2) is the person; take the class numbers to know c.
    odd = 8 * ((tasks.classes % 46 + 1) % 2)
    learn, ask = (side - 16 * alphabets - odd for side in (support, query))
    assert (learn == learn[:, :1]).all() and (ask == ask[:, :1]).all()
    assert (learn[:, 0] != ask[:, 0]).all()
    assert len(learn[:, 0].unique()) > 10


def test_one_shot_tasks_refuse_classes_by_different_people():
    uneven = FewShotDataset(torch.rand(5, 3), torch.tensor([0, 0, 1, 1, 1]))
    with pytest.raises(ValueError, match="2 to 3 items"):
        OneShotTasks(uneven, 2)
    with pytest.raises(ValueError, match="dataset must be a FewShotDataset"):
        OneShotTasks(None)


def test_hausdorff_distance_by_hand():
    a, b = torch.zeros(2, 1, 28, 28)
    a[0, 10, 10] = a[0, 10, 12] = 1  # about their centre: (0, -1), (0, 1)
    b[0, 5, 5] = b[0, 5, 9] = 1  # (0, -2), (0, 2)
    b[0, 5, 7] = 1  # (0, 0)
    # From a: each point is 1 from its nearest, mean 1. From b: 1, 1 and 1 (0 to either), mean 1.
    assert ModifiedHausdorff()._distances(a[None], b[None]).item() == pytest.approx(1.0)
    b[0, 5, 7] = 0
    b[0, 5, 6] = b[0, 5, 8] = 1  # (0, -2), (0, -1), (0, 1), (0, 2): from a mean 0, from b 1/2
    assert ModifiedHausdorff()._distances(a[None], b[None]).item() == pytest.approx(0.5)


def test_hausdorff_does_not_see_where_a_drawing_lies():
    glyphs = load_glyphs("meta-test")
    drawings = torch.stack([glyphs.items_of(c)[0] for c in range(5)])[None]
    moved = drawings.roll((1, -2), dims=(-2, -1))
    scores = ModifiedHausdorff()(drawings, torch.arange(5)[None], moved)
    assert scores[0].argmax(dim=1).tolist() == [0, 1, 2, 3, 4]
    assert scores[0].diagonal().abs().max() < 0.2
