import pytest
import torch
from torch import nn

from metalearn_edu.explorers.game import LetterGame
from metalearn_edu.learners import PrototypicalNetwork
from metalearn_edu.tasks import EpisodeSampler, FewShotDataset, Sinusoids


@pytest.fixture
def tasks():
    # Six classes that nearest pixel cannot confuse: class c has one bright row, c.
    items = torch.zeros(6, 4, 1, 8, 8)
    for c in range(6):
        items[c, :, :, c] = 1.0
    items = (255 * items).flatten(0, 1).to(torch.uint8)
    return EpisodeSampler(FewShotDataset(items, torch.arange(6).repeat_interleave(4)), 5, 1, 3)


@pytest.fixture
def game(tasks):
    return LetterGame(tasks, {"nearest pixel": PrototypicalNetwork(nn.Flatten())}, n_rounds=4)


def move(game, name, value):
    """What the browser does; the buttons of the answer send the place of their label."""
    trait = "index" if name == "answer" else "value"
    game.inputs[name].set_state({trait: value})


def titles(fig):
    return [ax.get_title() for ax in fig.axes]


def test_a_round_shows_a_query_and_five_letters(game):
    fig = game.figure(round=2)
    assert titles(fig)[1:] == [f"letter {label}" for label in range(5)]
    query = game.episodes.query_x[1, game.chosen[1], 0]
    assert (fig.axes[0].images[0].get_array() == 1 - query.numpy()).all()


def test_the_truth_is_shown_after_the_answer_only(game):
    truth = game.truth[0]
    wrong = (truth + 1) % 5
    assert not any("true" in title for title in titles(game.figure(round=1)))
    axes = game.figure(round=1, answer=wrong).axes
    assert axes[1 + truth].get_title() == f"letter {truth}: true"
    assert axes[1 + truth].get_xlabel().split("\n")[0] == "nearest pixel"
    assert axes[1 + wrong].get_xlabel().split("\n")[0] == "you"


def test_the_query_really_is_the_letter_that_counts_as_true(game):
    for i, truth in enumerate(game.truth):
        query = game.episodes.query_x[i, game.chosen[i]]
        assert (query == game.episodes.support_x[i, truth]).all()
    assert len(set(game.truth)) > 1


def test_a_rival_that_knows_is_always_right(game):
    assert game.rivals["nearest pixel"] == game.truth


def test_answers_are_counted_once(game):
    truth = game.truth
    assert game.score() == "No round answered yet."
    move(game, "answer", 1 + truth[0])
    move(game, "answer", 1 + (truth[0] + 1) % 5)  # too late: the first answer counts
    move(game, "round", 2)
    move(game, "answer", 1 + (truth[1] + 1) % 5)
    assert game.score() == "Rounds answered: 2. Right in them: you 1, nearest pixel 2."
    assert game.score() in game.score_line.value


def test_going_back_shows_the_answer_that_was_given(game):
    game.set(answer=3)
    game.next_button.click()
    assert game.state == {"round": 2, "answer": None}
    game.set(round=1)
    assert game.state == {"round": 1, "answer": 3}


def test_next_stops_at_the_last_round(game):
    game.set(round=4)
    game.next_button.click()
    assert game.state["round"] == 4


def test_start_again_forgets_all_answers(game):
    game.set(round=2, answer=1)
    game.reset_button.click()
    assert game.state == {"round": 1, "answer": None} and game.answers == {}
    assert game.score_line.value == "No round answered yet."


def test_a_rival_can_join_late(game):
    game.set(answer=0)
    before = game.picture.value
    game.add_rival("ProtoNet", PrototypicalNetwork(nn.Flatten()))
    assert game.picture.value != before and "ProtoNet" in game.score()


def test_playing_leaves_the_rival_in_its_mode(game):
    rival = PrototypicalNetwork(nn.Flatten()).train()
    game.add_rival("ProtoNet", rival)
    assert rival.training


def test_description_says_no_more_than_the_picture(game):
    assert game.describe(round=1, answer=None).endswith("Not answered yet.")
    told = game.describe(round=1, answer=4)
    assert f"The query is letter {game.truth[0]}; you said 4, nearest pixel said" in told


def test_the_same_seed_gives_the_same_game(tasks):
    first, second, other = (LetterGame(tasks, seed=s) for s in (1, 1, 2))
    assert first.truth == second.truth != other.truth


def test_tasks_must_be_one_shot_classification(tasks):
    with pytest.raises(ValueError, match="1-shot classification"):
        LetterGame(Sinusoids(1, 1))
    with pytest.raises(ValueError, match="2-shot"):
        LetterGame(EpisodeSampler(tasks.dataset, 5, 2, 2))
