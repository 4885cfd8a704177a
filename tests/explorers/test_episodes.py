import pytest
import torch

from metalearn_edu import FewShotDataset
from metalearn_edu.explorers.episodes import ALL_SCRIPTS, EpisodeExplorer


@pytest.fixture(scope="module")
def letters():
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(256, (12 * 13, 1, 6, 6), generator=generator, dtype=torch.uint8)
    groups = ["Big"] * 9 + ["Small"] * 3
    labels = torch.arange(12).repeat_interleave(13)
    names = [f"LETTER {i}" for i in range(12)]
    return FewShotDataset(items, labels, names, groups, name="letters")


@pytest.fixture
def explorer(letters):
    return EpisodeExplorer(letters)


@pytest.mark.parametrize("n_way, n_shot, n_query", [(2, 1, 1), (10, 5, 8), (5, 1, 5)])
@pytest.mark.parametrize("rotations", [False, True])
def test_draws_support_beside_query(explorer, n_way, n_shot, n_query, rotations):
    state = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query, "rotations": rotations}
    support, query = explorer.figure(**state).axes
    assert f"{n_shot} per class" in support.get_title(loc="left")
    assert f"{n_query} per class" in query.get_title(loc="left")
    assert len(support.get_yticks()) == n_way


def test_one_script_gives_only_its_letters(explorer):
    text = explorer.describe(**{**explorer.state, "script": "Small", "n_way": 3})
    assert all(f"is letter {i}" in text for i in (9, 10, 11))


def test_a_wish_that_cannot_be_granted_is_explained(explorer):
    state = {**explorer.state, "script": "Small", "n_way": 5}
    (text,) = explorer.figure(**state).texts
    assert "needs 5 classes" in text.get_text() and "at most 3-way" in text.get_text()
    assert explorer.describe(**state) == f"No such episode: {text.get_text()}"


def test_turned_letters_say_their_angle(explorer):
    texts = [
        explorer.describe(**{**explorer.state, "rotations": True, "seed": seed})
        for seed in range(5)
    ]
    assert any("90°" in text for text in texts)
    assert "°" not in explorer.describe(**explorer.state)


def test_a_moved_slider_draws_another_episode(explorer):
    before = explorer.picture.value
    explorer.set(seed=1)
    assert explorer.picture.value != before and "5-way 1-shot" in explorer.text.value


def test_default_is_the_meta_test_split_of_glyphs():
    explorer = EpisodeExplorer()
    assert explorer.dataset.name == "glyphs meta-test"
    assert explorer.describe(**{**explorer.state, "script": "Lisu", "n_way": 6}).startswith(
        "No such"
    )
    assert explorer.state["script"] == ALL_SCRIPTS
