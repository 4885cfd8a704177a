import csv
import urllib.parse

import pytest
import torch
from torch import nn

from metalearn_edu.explorers.game import ALL_SCRIPTS, LetterGame, wilson_interval
from metalearn_edu.learners import PrototypicalNetwork
from metalearn_edu.tasks import FewShotDataset


@pytest.fixture(scope="module")
def letters():
    # Classes that nearest pixel cannot confuse: class c has one bright row, c.
    items = torch.zeros(24, 4, 1, 24, 24)
    for c in range(24):
        items[c, :, :, c] = 1.0
    items = (255 * items).flatten(0, 1).to(torch.uint8)
    groups = ["Big"] * 18 + ["Small"] * 6
    return FewShotDataset(items, torch.arange(24).repeat_interleave(4), class_groups=groups)


@pytest.fixture
def game(letters):
    return LetterGame({"nearest pixel": PrototypicalNetwork(nn.Flatten())}, letters)


def move(game, name, value):
    """What the browser does; menus and buttons send the place of what was chosen."""
    trait = "value" if name in ("n_way", "round") else "index"
    game.inputs[name].set_state({trait: value})


def question(game, round_=1, n_way=5, script=ALL_SCRIPTS):
    return game._round(script, n_way, round_)


def texts(fig):
    return [text.get_text() for text in fig.axes[0].texts]


@pytest.mark.parametrize("n_way", [2, 5, 10, 11, 20])
def test_a_round_shows_a_query_and_all_letters(game, n_way):
    fig = game.figure(round=2, n_way=n_way)
    images = [1 - torch.tensor(image.get_array()) for image in fig.axes[0].images]
    asked = question(game, 2, n_way)
    torch.testing.assert_close(images[0], asked.query[0])
    torch.testing.assert_close(torch.stack(images[1:]), asked.letters[:, 0])
    assert set(map(str, range(n_way))) <= set(texts(fig))


def test_the_letters_are_inside_the_picture(game):
    for n_way in (2, 20):
        ax = game.figure(n_way=n_way).axes[0]
        edges = torch.tensor([image.get_extent() for image in ax.images])
        assert edges.min() >= 0 and edges[:, :2].max() <= 72 * game.size[0]
        assert edges[:, 2:].max() < 72 * game.size[1] - 24  # room for the marks below


def test_the_truth_is_shown_after_the_answer_only(game):
    truth = question(game).truth
    assert not any("true" in text for text in texts(game.figure()))
    assert f"{truth}: true" in texts(game.figure(answer=(truth + 1) % 5))


def test_the_query_really_is_the_letter_that_counts_as_true(game):
    truths = []
    for round_ in range(1, 31):
        asked = question(game, round_)
        assert (asked.query == asked.letters[asked.truth]).all()
        truths.append(asked.truth)
    assert set(truths) == set(range(5))


def test_a_rival_that_knows_is_always_right(game):
    for round_ in (1, 2, 3):
        game.set(round=round_, answer=0)
    assert all(row["nearest pixel"] == row["truth"] for row in game.results())


def test_answers_are_counted_once(game):
    first, second = question(game, 1).truth, question(game, 2).truth
    assert game.score() == "No 5-way round answered yet."
    move(game, "answer", first)
    move(game, "answer", (first + 1) % 5)  # too late: the first answer counts
    move(game, "round", 2)
    move(game, "answer", (second + 1) % 5)
    assert game.score() == (
        "5-way, 2 rounds answered. Right: you 1 (50 %, 95 % interval 9 to 91 %), "
        "nearest pixel 2 (100 %, 95 % interval 34 to 100 %)."
    )
    assert game.score() in game.score_line.value


@pytest.mark.parametrize(
    "n_right, n, low, high", [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (18, 20, 0.699, 0.972)]
)
def test_wilson_interval_as_in_the_tables(n_right, n, low, high):
    assert wilson_interval(n_right, n) == pytest.approx((low, high), abs=5e-4)


def test_going_back_shows_the_answer_that_was_given(game):
    game.set(answer=3)
    game.episode_button.click()
    assert game.state["round"] == 2 and game.state["answer"] is None
    game.set(round=1)
    assert game.state["answer"] == 3


def test_a_new_number_of_letters_is_a_new_round(game):
    move(game, "answer", 1)
    move(game, "n_way", 7)
    assert game.state["answer"] is None and len(game.inputs["answer"].options) == 7
    assert game.answers == {(ALL_SCRIPTS, 5, 1): 1}  # new buttons are no one's answer
    assert game.score() == "No 7-way round answered yet."
    move(game, "answer", 6)
    assert game.answers[ALL_SCRIPTS, 7, 1] == 6
    move(game, "n_way", 5)
    assert game.state["answer"] == 1


def test_a_small_script_limits_the_number_of_letters(game):
    move(game, "n_way", 20)
    move(game, "script", 2)
    assert game.state["n_way"] == 6 and game.inputs["n_way"].max == 6
    assert set(question(game, 1, 6, "Small").names) == {f"class {c}" for c in range(18, 24)}
    with pytest.raises(ValueError, match="n_way must lie in 2 to 6, got 7"):
        game.set(script="Small", n_way=7)
    game.set(script="Big", n_way=18)
    game.reset()
    assert game.state["n_way"] == 5 and game.inputs["n_way"].max == 20


def test_start_again_forgets_all_answers(game):
    game.set(round=2, answer=1)
    game.reset_button.click()
    assert game.state["round"] == 1 and game.state["answer"] is None and game.answers == {}
    assert "No 5-way round answered yet." in game.score_line.value


def test_a_rival_can_join_late(game):
    game.set(answer=0)
    before = game.picture.value
    game.add_rival("ProtoNet", PrototypicalNetwork(nn.Flatten()))
    assert game.picture.value != before and "ProtoNet" in game.score()


def test_playing_leaves_the_rival_in_its_mode(game):
    rival = PrototypicalNetwork(nn.Flatten()).train()
    game.add_rival("ProtoNet", rival)
    game.set(answer=0)
    assert rival.training


def test_description_says_no_more_than_the_picture(game):
    assert game.text.value.endswith("Not answered yet.</div>")
    game.set(answer=4)
    truth = question(game).truth
    assert (
        f"The query is letter {truth}; you said 4, nearest pixel said {truth}." in game.text.value
    )


def test_results_are_written_as_csv(game, tmp_path):
    with pytest.raises(ValueError, match="no round was answered"):
        game.to_csv(tmp_path / "game.csv")
    assert "href" not in game.score_line.value
    game.set(round=2, answer=1)
    game.set(n_way=3, answer=2)
    game.to_csv(tmp_path / "game.csv")
    text = (tmp_path / "game.csv").read_bytes().decode()
    rows = list(csv.DictReader(text.splitlines()))
    assert [(r["n_way"], r["round"], r["you"]) for r in rows] == [("3", "2", "2"), ("5", "2", "1")]
    assert rows[1]["letter"] == question(game, 2).names[int(rows[1]["truth"])]
    linked = game.score_line.value.split("charset=utf-8,")[1].split('"')[0]
    assert urllib.parse.unquote(linked) == text


def test_the_same_seed_gives_the_same_game(letters):
    games = [LetterGame({}, letters, seed=s) for s in (1, 1, 2)]
    first, second, other = ([question(g, r).names for r in (1, 2, 3)] for g in games)
    assert first == second != other


def test_default_letters_are_the_meta_test_split_of_glyphs():
    game = LetterGame()
    assert game.dataset.name == "glyphs meta-test" and game.inputs["n_way"].max == 20


NAMES = [
    '=HYPERLINK("http://x","y")',
    "+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
    "lone \ud800",
    "$x_{",
    "a\x1b[2J",
]


@pytest.fixture(params=NAMES, ids=ascii)
def nasty(request, letters):
    names = [request.param, *letters.class_names[1:]]
    groups = [request.param] * letters.n_classes
    data = FewShotDataset(letters.items, letters.labels, names, groups)
    game = LetterGame({request.param: PrototypicalNetwork(nn.Flatten())}, data, seed=0)
    for round_ in range(1, 4):
        game.set(script=request.param, n_way=20, round=round_, answer=0)
    return game


def test_a_spreadsheet_computes_nothing_of_a_game(nasty, tmp_path):
    nasty.to_csv(tmp_path / "game.csv")
    rows = list(csv.reader((tmp_path / "game.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 4 and len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        assert cell.lstrip()[:1] not in tuple("=+-@")
    assert [row[3] for row in rows[1:]] == ["0"] * 3  # numbers stay numbers
    link = nasty.score_line.value.split('href="')[1].split('"')[0]
    assert urllib.parse.unquote_to_bytes(link.split(",", 1)[1]) == (
        (tmp_path / "game.csv").read_bytes()
    )


def test_names_in_a_game_are_text(nasty):
    assert nasty.still()
    for value in (
        nasty.text.value,
        nasty.score_line.value,
        *nasty.inputs["script"]._options_labels,
    ):
        assert value.isprintable()
    for text in nasty.figure(answer=0).axes[0].texts:
        assert text._preprocess_math(text.get_text())[1] is False


def test_a_table_that_cannot_be_written_leaves_the_old_one(game, tmp_path, monkeypatch):
    game.set(answer=0)
    (tmp_path / "game.csv").write_text("old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        game.to_csv(tmp_path / "game.csv")
    assert (tmp_path / "game.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
