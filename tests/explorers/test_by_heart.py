import numpy as np
import pytest
import torch

from metalearn_edu.explorers.by_heart import FRAMES, ByHeartExplorer, film_of
from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler, FewShotDataset


def fair(data, n_way, n_shot, n_query, n_tasks):
    return EpisodeSampler(data, n_way, n_shot, n_query).sample(n_tasks)


def in_order(data, n_way, n_shot, n_query, n_tasks):
    """The same episodes with labels in the order of the class numbers."""
    batch = fair(data, n_way, n_shot, n_query, n_tasks)
    rank = batch.classes.argsort(dim=1).argsort(dim=1)
    labels = (rank.gather(1, y) for y in (batch.support_y, batch.query_y))
    support_y, query_y = labels
    return EpisodeBatch(batch.support_x, support_y, batch.query_x, query_y)


def stripes(n_classes, start=0):
    """Class c has one bright row, start + c."""
    items = torch.zeros(n_classes, 4, 1, 28, 28)
    for c in range(n_classes):
        items[c, :, :, start + c] = 1.0
    return FewShotDataset(items.flatten(0, 1), torch.arange(n_classes).repeat_interleave(4))


@pytest.fixture(scope="module")
def films():
    letters, new = stripes(6), stripes(8, start=16)
    return {name: film_of(s, letters, new) for name, s in (("sorted", in_order), ("fair", fair))}


@pytest.fixture
def explorer(films):
    return ByHeartExplorer(films, looking=50.0)


def test_sorted_labels_are_learned_by_heart_and_fair_ones_are_not(films):
    # In 5-way episodes of 6 letters, letter i has the label i or i - 1: the best guess is right in
    # 1, 4/5, 3/5, 3/5, 4/5 and 1 of its episodes, on average 0.8.
    assert films["sorted"].practised[0] < 35
    assert films["sorted"].practised[-1] == pytest.approx(80, abs=6)
    assert films["fair"].practised[-1] == pytest.approx(20, abs=6)
    assert films["sorted"].new[-1] < 50


def test_the_first_and_the_last_letter_are_the_surest(films):
    answers = films["sorted"].answers
    assert answers.shape == (len(FRAMES), 6, 5)
    np.testing.assert_allclose(answers.sum(axis=2), 1, atol=1e-5)
    assert answers[-1, 0, 0] > 0.9 and answers[-1, 5, 4] > 0.9 > answers[-1, 2].max()


@pytest.mark.parametrize("sampler", ["sorted", "fair"])
@pytest.mark.parametrize("step", [0, 20, 160])
def test_the_curves_end_at_the_slider(explorer, sampler, step):
    left, right = explorer.figure(sampler=sampler, step=step).axes[:2]
    frame, film = FRAMES.index(step), explorer.films[sampler]
    np.testing.assert_array_equal(left.images[0].get_array(), film.answers[frame])
    curves = {line.get_label(): line.get_ydata() for line in right.lines}
    np.testing.assert_array_equal(curves["practised letters"], film.practised[: frame + 1])
    np.testing.assert_array_equal(curves["new letters"], film.new[: frame + 1])
    words = explorer.describe(sampler=sampler, step=step)
    assert f"{film.new[frame]:.0f} % on new letters" in words and "50 %" in words


def test_moved_controls_redraw(explorer):
    pictures = {explorer.picture.value}
    explorer.inputs["step"].set_state({"index": 3})
    pictures.add(explorer.picture.value)
    explorer.inputs["sampler"].set_state({"index": 1})
    pictures.add(explorer.picture.value)
    assert len(pictures) == 3 and "fair, after 20 steps" in explorer.text.value


def test_no_film_is_refused():
    with pytest.raises(ValueError, match="at least one film"):
        ByHeartExplorer({}, looking=50.0)
