import pytest
import torch
from torch import nn

from metalearn_edu.explorers.game import LetterGame
from metalearn_edu.explorers.practice import PracticeExplorer, practice_pool, stored_runs
from metalearn_edu.learners import PrototypicalNetwork
from metalearn_edu.tasks import load_glyphs


@pytest.fixture(scope="module")
def explorer():
    return PracticeExplorer()


def mean(kind, letters):
    values = [getattr(run, kind) for run in stored_runs() if run.letters == letters]
    return sum(values) / len(values)


def curve(fig, label):
    return next(line for line in fig.axes[0].lines if line.get_label() == label).get_ydata()


def test_the_table_is_whole():
    found = [(run.letters, run.seed) for run in stored_runs()]
    assert found == [(n, seed) for n in (10, 50, 200, 890) for seed in (0, 1, 2)]


def test_more_letters_help_with_new_letters_and_the_practised_ones_are_always_known():
    """What lesson 00 says of the table, for every seed."""
    for seed in (0, 1, 2):
        runs = [run for run in stored_runs() if run.seed == seed]
        new = [run.new for run in runs]
        assert new == sorted(new) and new[0] < 55 and new[-1] > 85
        assert min(run.practised for run in runs) > 85


@pytest.mark.parametrize("n_shown, letters", list(enumerate((10, 50, 200, 890), 1)))
def test_the_curves_end_at_the_slider(explorer, n_shown, letters):
    fig = explorer.figure(letters=letters)
    for kind in ("practised", "new"):
        y = curve(fig, f"{kind} letters")
        assert len(y) == n_shown and y[-1] == pytest.approx(mean(kind, letters))
    assert f"{mean('new', letters):.0f} % on new letters" in explorer.describe(letters=letters)
    assert fig.axes[1].get_title() == f"the {letters} letters practised"


def test_a_moved_slider_redraws(explorer):
    before = explorer.picture.value
    explorer.inputs["letters"].set_state({"index": 2})
    assert explorer.picture.value != before and "200 letters" in explorer.text.value
    explorer.reset()


def test_the_score_of_the_game_is_beside_the_curves(explorer):
    assert "not played yet" in explorer.describe(letters=10)
    game = LetterGame({"nearest pixel": PrototypicalNetwork(nn.Flatten())})
    with_you = PracticeExplorer(game)
    for round_ in (1, 2):
        game.set(round=round_, answer=game._round("all scripts", 5, round_).truth)
    assert "right in 2 of 2 rounds: 34 to 100 %" in with_you.describe(letters=10)
    legend = with_you.figure(letters=50).axes[0].get_legend()
    assert "you, 2 rounds" in [text.get_text() for text in legend.get_texts()]


def test_pools_lie_in_each_other():
    small, large = (
        practice_pool(n, torch.Generator().manual_seed(1)).class_names for n in (10, 50)
    )
    assert small == large[:10] and set(large) <= set(load_glyphs("meta-train").class_names)
    with pytest.raises(ValueError, match=r"n_letters must lie in 1\.\.890, got 891"):
        practice_pool(891)
