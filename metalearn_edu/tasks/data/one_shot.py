"""Lake's one-shot task: 20 characters of one alphabet, one drawing of each to learn from.

Lake, Salakhutdinov & Tenenbaum (2015). Introduced in notebook 12. A run shows 20 characters of one
alphabet drawn by one person; the questions are drawings of the same characters by another person.
It is harder than the usual 20-way episode, in which the characters come from many alphabets. There
are 20 official runs, two for each of ten evaluation alphabets, with 400 questions in all; people
get 4.5 % of them wrong.

The official runs come from `all_runs.zip`, or are rebuilt from Omniglot, which holds the
same drawings. `OneShotTasks` draws any number of further ones from any alphabets.
"""

from __future__ import annotations

import os
import re
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...basics.files import as_path, read_bounded
from ...basics.random import draw_distinct
from ..cache import cache_folder
from ..dataset import FewShotDataset, as_dataset, scale
from ..episodes import EpisodeBatch
from ..sampler import EpisodeSampler
from .archives import LARGEST_FILE, Files, open_archive
from .downloads import fetch
from .omniglot import OFFICIAL_URL, THREE_WAYS, load_omniglot, read_drawing

__all__ = ["OFFICIAL_RUNS", "OneShotTasks", "load_one_shot_runs", "official_runs"]

N_RUNS = N_CHARACTERS = 20
ARCHIVE = "all_runs.zip"
ARCHIVE_URL = OFFICIAL_URL + "one-shot-classification/" + ARCHIVE

# Alphabet: its 20 characters, then for both runs: (drawer of training, drawer of test images).
# Found by comparing the pictures of the runs with Omniglot's, github.com/jvlmdr/omniglot-eval.
OFFICIAL_RUNS = {
    "Atlantean": (
        (1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 14, 16, 19, 20, 21, 22, 23, 24, 25, 26),
        ((5, 8), (3, 2)),
    ),
    "Ge_ez": (
        (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 15, 16, 17, 18, 20, 21, 23, 24, 25),
        ((3, 7), (4, 2)),
    ),
    "Glagolitic": (
        (1, 2, 3, 5, 6, 7, 14, 17, 18, 19, 20, 21, 26, 28, 31, 34, 36, 37, 40, 43),
        ((6, 4), (3, 2)),
    ),
    "Gurmukhi": (
        (3, 6, 7, 8, 9, 13, 14, 15, 16, 17, 31, 22, 25, 26, 29, 32, 33, 38, 43, 44),
        ((5, 2), (8, 3)),
    ),
    "Kannada": (
        (1, 3, 5, 8, 11, 12, 13, 14, 19, 20, 21, 23, 25, 26, 27, 28, 33, 35, 40, 41),
        ((2, 1), (8, 3)),
    ),
    "Malayalam": (
        (2, 4, 5, 9, 13, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 29, 30, 37, 43, 46),
        ((3, 7), (4, 2)),
    ),
    "Manipuri": (
        (3, 4, 6, 8, 9, 11, 12, 13, 15, 17, 19, 21, 22, 25, 29, 33, 35, 36, 37, 39),
        ((8, 4), (7, 3)),
    ),
    "Old_Church_Slavonic_(Cyrillic)": (
        (2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 23, 24, 25, 30, 33, 41, 44, 45),
        ((4, 8), (1, 2)),
    ),
    "Tengwar": (
        (1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 16, 18, 19, 20, 21, 22, 23, 24, 25),
        ((1, 4), (8, 7)),
    ),
    "Tibetan": (
        (1, 2, 3, 5, 6, 7, 8, 9, 11, 13, 14, 15, 21, 22, 24, 33, 35, 36, 38, 41),
        ((1, 3), (8, 5)),
    ),
}


class OneShotTasks(EpisodeSampler):
    """Tasks like the official ones: n_way characters of one alphabet, two people, one drawing each.

    Args:
        dataset: items of each class in the order of the people who drew them, the same people
            within an alphabet, as `load_omniglot` gives them.
        n_way: characters in a task; alphabets with fewer are left out.
        rotations: see EpisodeSampler.
    Raises:
        ValueError: no alphabet has that many characters, or the classes differ in size.
    """

    def __init__(
        self, dataset: FewShotDataset, n_way: int = N_CHARACTERS, *, rotations: bool = False
    ) -> None:
        dataset = as_dataset(dataset)
        sizes = sorted(set(dataset.class_sizes.tolist()))
        if len(sizes) > 1:
            raise ValueError(
                f"{dataset.name} has classes of {sizes[0]} to {sizes[-1]} items; every character "
                "must be drawn by the same people"
            )
        super().__init__(dataset, n_way, 1, 1, rotations=rotations, within_group=True)

    def _draw_items(self, numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """(2, T, n_way): in each task one person draws the support set and another the queries."""
        people = draw_distinct(numbers[:4], sizes[:, 0])  # (2, T)
        return np.repeat(people[..., None], self.n_way, axis=2)

    def __repr__(self) -> str:
        n_groups = len(self._sizes)
        return f"OneShotTasks({self.dataset.name}, {n_groups} alphabets: {self.n_way}-way 1-shot)"


# ---------------------------------------------------------------- the official runs


def load_one_shot_runs(
    path: str | os.PathLike[str] | None = None, *, download: bool = True
) -> EpisodeBatch:
    """The official runs as 20 tasks, 20-way 1-shot, one query per class. Introduced in notebook 12.

    We look for them at `path`; without it, where METALEARN_EDU_DATA says and then in the cache
    folder, where `download` puts the archive. If there is Omniglot but no archive, we rebuild the
    runs from its drawings, which are the same.

    Args:
        path: `all_runs.zip`; or a folder that holds it, or the unpacked folders run01, run02, ...;
            or what `load_omniglot` takes.
        download: fetch the archive if it is not in the cache folder yet. No checksum of it has been
            published; we check its contents down to the last label instead.
    Returns:
        Support and query items (20, 20, 1, 28, 28), ink bright, made from the 105x105 drawings
        like all our Omniglot; label k - 1 is `training/classK.png`.
    Raises:
        FileNotFoundError: there is no such file or folder, or a run lacks a file; it is named.
        ValueError: labels that do not match the files, a wrong number of files, runs with gaps
            between them, an unreadable image, a damaged archive; the file is named.
        OSError: the download failed.
    Warns:
        UserWarning: there are not 20 runs.
    """
    if path is not None:
        return _runs_at(as_path("path", path)) or official_runs(
            load_omniglot("evaluation", path=path)
        )
    places = os.environ.get("METALEARN_EDU_DATA"), cache_folder() / "omniglot"
    for place in (as_path("METALEARN_EDU_DATA", place) for place in places if place):
        if place.exists() and (runs := _runs_at(place)) is not None:
            return runs
    try:
        return official_runs(load_omniglot("evaluation", download=False))
    except FileNotFoundError:
        if not download:
            raise
    fetch(ARCHIVE_URL, None, cache_folder() / "omniglot", True, THREE_WAYS)
    return load_one_shot_runs(cache_folder() / "omniglot")


def official_runs(omniglot: FewShotDataset) -> EpisodeBatch:
    """The official runs from Omniglot's evaluation set.

    Raises:
        ValueError: a character of the runs is not in `omniglot`.
    """
    place = {name: c for c, name in enumerate(omniglot.class_names)}
    support: list[Tensor] = []
    query: list[Tensor] = []
    for alphabet, (characters, runs) in OFFICIAL_RUNS.items():
        names = [f"{alphabet}/character{number:02d}" for number in characters]
        if missing := [name for name in names if name not in place]:
            raise ValueError(f"{omniglot.name} has no {missing[0]}, which the official runs need")
        first = omniglot.starts[[place[name] for name in names]]  # the first drawing of each
        for people in runs:
            for side, person in zip((support, query), people, strict=True):
                side.append(omniglot.gather(omniglot.order[first + person - 1]))
    labels = torch.arange(N_CHARACTERS).expand(len(support), -1)
    return EpisodeBatch(torch.stack(support), labels, torch.stack(query), labels.clone())


_MEMBER = re.compile(r"(?:^|/)run(\d\d)/((?:training/class|test/item)\d\d\.png|class_labels\.txt)$")
_UNPACKED = ("training/class[0-9][0-9].png", "test/item[0-9][0-9].png", "class_labels.txt")


def _runs_at(place: Path) -> EpisodeBatch | None:
    """The runs of an archive or folder; None if it exists but holds none."""
    if not place.exists():
        raise FileNotFoundError(f"{place} does not exist; give {ARCHIVE}, or a folder that has it")
    if (place / ARCHIVE).exists():
        place = place / ARCHIVE
    if place.suffix == ".npz":
        return None
    if place.is_dir():
        return _assemble(_unpacked(place), place)
    with open_archive(place, _MEMBER) as files:
        runs = _assemble(_by_run(files), place)
    if runs is None:
        raise ValueError(f"{place} holds no runs: it has no file such as run01/class_labels.txt")
    return runs


def _by_run(files: Files) -> Files:
    """The files of the runs by their path inside the run; ValueError if a path occurs twice."""
    found: Files = {}
    for name, read in files.items():
        if match := _MEMBER.search(name):
            path = match[0].lstrip("/")
            if path in found:
                raise ValueError(f"{path} is there twice, the second time as {name}")
            found[path] = read
    return found


def _unpacked(folder: Path) -> Files:
    files = [
        file
        for run in ("run[0-9][0-9]", "all_runs/run[0-9][0-9]")
        for kind in _UNPACKED
        for file in sorted(folder.glob(f"{run}/{kind}"))
    ]
    return _by_run({file.as_posix(): partial(read_bounded, file, LARGEST_FILE) for file in files})


def _assemble(files: Files, place: Path) -> EpisodeBatch | None:
    runs = sorted({name.split("/")[0] for name in files})
    if not runs:
        return None
    expected = [f"run{k:02d}" for k in range(1, len(runs) + 1)]
    if runs != expected:
        missing = next(run for run in expected if run not in runs)
        raise ValueError(f"{place} has {len(runs)} runs up to {runs[-1]}, but lacks {missing}")
    if len(runs) != N_RUNS:
        text = f"{place} has {len(runs)} runs; the official task has {N_RUNS}"
        warnings.warn(text, stacklevel=4)
    pairs = [_labels(files, run, place) for run in runs]
    support, query = ([[pair[side] for pair in run] for run in pairs] for side in (1, 0))
    classes = [sorted(names) for names in support]
    answers = [[c.index(name) for name in run] for c, run in zip(classes, support, strict=True)]
    labels = torch.arange(N_CHARACTERS).expand(len(runs), -1).clone()
    images = [
        torch.stack([torch.stack([_image(files, name, place) for name in run]) for run in side])
        for side in (classes, query)
    ]
    return EpisodeBatch(images[0], labels, images[1], torch.tensor(answers))


def _labels(files: Files, run: str, place: Path) -> list[list[str]]:
    """The test and the training image of each question of a run, in the order of the list."""
    source = f"{run}/class_labels.txt in {place}"
    if f"{run}/class_labels.txt" not in files:
        raise FileNotFoundError(f"{source} is missing")
    lines = files[f"{run}/class_labels.txt"]().decode("utf-8", "replace").split("\n")
    pairs = [line.split() for line in lines if line.strip()]
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2:
            raise ValueError(f"line {number} of {source} must name two images: {pair}")
    for side, kind in enumerate(("test/item", "training/class")):
        _check_names([pair[side] for pair in pairs], f"{run}/{kind}", files, source)
    return pairs


def _check_names(named: list[str], kind: str, files: Files, source: str) -> None:
    """Check that the list names each image of its kind once, and that all 20 are there."""
    for name in named:
        if not name.startswith(kind):
            raise ValueError(f"{source} names {name!r} where a {kind}NN.png must be")
        if name not in files:
            raise FileNotFoundError(f"{source} names {name}, which is missing")
        if named.count(name) > 1:
            raise ValueError(f"{source} names {name} {named.count(name)} times, not once")
    there = [name for name in files if name.startswith(kind)]
    if unnamed := sorted(set(there) - set(named)):
        raise ValueError(f"{source} does not name {unnamed[0]}, which is there")
    if len(named) != N_CHARACTERS:
        raise ValueError(f"{source} names {len(named)} {kind} images, not {N_CHARACTERS}")


def _image(files: Files, name: str, place: Path) -> Tensor:
    """(1, 28, 28) floats, ink bright."""
    ink = read_drawing(files[name](), f"{name} in {place}")
    return scale(torch.from_numpy(ink)[None, None])[0]
