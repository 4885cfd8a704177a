"""An algorithm is one file, one entry in runs/algorithms.py and one line in the contract suite."""

import json
import shlex
import sys
from dataclasses import dataclass

import pytest

from metalearn_edu import cli, learners, plotting
from metalearn_edu.runs import ALGORITHMS, Algorithm, Recipe, load_run, make_recipe
from metalearn_edu.runs.settings import amount, either, one_of, whole
from metalearn_edu.study import Grid

FILE = '''
"""Nearest mean of the pixels, sharpened."""

import torch
from torch import nn

from .base import MetaLearner


class Nearest(MetaLearner):
    def __init__(self, sharpness, smooth, pool):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness))
        self.smooth, self.pool = smooth, pool

    def learn_task(self, support_x, support_y):
        z, n_way = support_x.flatten(2), int(support_y.max()) + 1
        shares = nn.functional.one_hot(support_y, n_way).to(z.dtype)
        return (shares / shares.sum(1, keepdim=True)).mT @ z

    def predict(self, state, query_x):
        return -self.sharpness * torch.cdist(query_x.flatten(2), state)
'''


@dataclass(frozen=True)
class NearestRecipe(Recipe):
    """Of nearest."""

    sharpness: float = amount(1.0, "Of the scores.")
    smooth: bool = either(False, "smooth", "raw", "Whether pictures are smoothed.")
    pool: str = one_of("mean", ("mean", "max"), "How drawings become one.", flag="pooling")
    blur: int = whole(1, 1, 9, "Pixels.", unless=("smooth", False))


def build(recipe, item_shape):
    from metalearn_edu.learners.nearest import Nearest

    return Nearest(recipe.sharpness, recipe.smooth, recipe.pool)


@pytest.fixture
def nearest(tmp_path, monkeypatch):
    """All that somebody adds: the file of the learner, and the entry."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "nearest.py").write_text(FILE)
    monkeypatch.setattr(learners, "__path__", [*learners.__path__, str(tmp_path / "new")])
    usual = {"train_way": 5, "n_tasks_per_batch": 2, "sharpness": 2.0}
    entry = Algorithm("Nearest", "nearest.Nearest", build, NearestRecipe, usual)
    monkeypatch.setitem(ALGORITHMS, "nearest", entry)
    yield entry
    sys.modules.pop("metalearn_edu.learners.nearest", None)
    vars(learners).pop("nearest", None)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_its_options_are_in_the_help(capsys, nearest, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    out = run(capsys, "train", "--help")[1]
    assert "mann or nearest." in out and "Of nearest" in out
    for words in ("--sharpness", "Of the scores.", "--smooth", "--raw", "--pooling", "<mean|max>"):
        assert words in out
    line = next(line for line in out.splitlines() if "--sharpness" in line)
    assert "[x>=0]" in line and "[default: 2.0]" in line


def test_it_is_trained_evaluated_and_trained_again_by_its_command(capsys, nearest, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    words = ["--steps", 3, "--sharpness", 0.5, "--smooth", "--pooling", "max", "--blur", 3]
    status, out, err = run(capsys, "train", "nearest", *words, "--quiet", "--output", first)
    assert status == 0 and "trained for 3 steps" in out, err
    learner, recipe, card = load_run(first)
    assert type(learner) is nearest.learner and type(recipe) is NearestRecipe
    assert (recipe.sharpness, recipe.smooth, recipe.pool, recipe.blur) == (0.5, True, "max", 3)
    assert (learner.smooth, learner.pool, card["recipe"]["pool"]) == (True, "max", "max")
    status, out, _ = run(capsys, "evaluate", first, "--episodes", 20, "--n-way", 3, "--json")
    assert status == 0 and json.loads(out)["mean"] > 0.4  # of 3 classes
    assert "--sharpness 0.5 --smooth --pooling max --blur 3" in card["command"]
    command = shlex.split(card["command"].replace("FOLDER", str(again)))
    assert run(capsys, *command[1:], "--quiet")[0] == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, again)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nearest --sharpness -1", "sharpness"),
        ("nearest --pooling sum", "pooling"),
        (
            "nearest --inner-lr 1",
            "--inner-lr is for maml or meta-sgd or anil or boil or reptile or imaml: nearest",
        ),
        ("maml --sharpness 1", "--sharpness is for nearest: maml on glyphs has no use for it"),
        ("nearest --blur 3", "--blur is for smooth other than False"),
        ("nearest --data sinusoids", "algorithm nearest needs classes"),
    ],
)
def test_its_settings_are_checked_as_all_are(capsys, nearest, tmp_path, words, says):
    status, _, err = run(capsys, "train", *words.split(), "--output", tmp_path / "x")
    assert status == 2 and says in err and err.count("\n") == 1


def test_study_and_figures_take_it_without_an_entry_of_theirs(nearest):
    (training, *_) = Grid(("nearest",), ("glyphs",), ways=(5,), share=0.5).runs()
    assert training.recipe.n_steps == 1000 and training.recipe.sharpness == 2.0
    assert plotting.look(nearest.name, 3) == plotting.class_look(3)


def test_it_is_gone_afterwards(capsys):
    assert "nearest" not in ALGORITHMS and "--sharpness" not in run(capsys, "train", "--help")[1]
    with pytest.raises(ValueError, match="algorithm must be one of prototypical"):
        make_recipe("nearest")
