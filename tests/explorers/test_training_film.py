import math

import pytest
import torch
from torch import nn

from metalearn_edu.backbones import MLP
from metalearn_edu.explorers.training_film import TEMPERATURES, TrainingFilm, filming
from metalearn_edu.learners import PrototypicalNetwork
from metalearn_edu.tasks import EpisodeSampler, FewShotDataset
from metalearn_edu.training import meta_train


@pytest.fixture(scope="module")
def dataset():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(8, 1, 6, generator=generator)
    items = centres + 0.5 * torch.randn(8, 20, 6, generator=generator)
    return FewShotDataset(items.flatten(0, 1), torch.arange(8).repeat_interleave(20))


def trained(dataset, film):
    torch.manual_seed(0)
    learner = PrototypicalNetwork(MLP(6, [8], 4))
    tasks, settings = EpisodeSampler(dataset, 5, 1, 5), {"n_tasks_per_batch": 2, "meta_lr": 0.01}
    frames = {}
    if film:
        with filming(learner, dataset, (0, 2, 6)) as frames:
            meta_train(learner, tasks, n_steps=6, progress=False, **settings)
    else:
        meta_train(learner, tasks, n_steps=6, progress=False, **settings)
    return learner, frames


def test_filming_keeps_the_chosen_steps_and_leaves_the_training_as_it_is(dataset):
    (filmed, frames), (plain, _) = trained(dataset, True), trained(dataset, False)
    assert list(frames) == [0, 2, 6]
    for name, weight in plain.state_dict().items():
        assert torch.equal(filmed.state_dict()[name], weight)
    with torch.no_grad():
        last = filmed.encoder(dataset.items)
    torch.testing.assert_close(frames[6].items, last)
    assert not torch.equal(frames[0].items, frames[2].items)
    assert "outer_loop" not in vars(filmed)


def test_filming_ends_when_the_training_fails(dataset):
    learner = PrototypicalNetwork(nn.Identity())
    with pytest.raises(RuntimeError, match="stopped"), filming(learner, dataset, (0,)):
        raise RuntimeError("stopped")
    assert "outer_loop" not in vars(learner)


@pytest.fixture(scope="module")
def film(dataset):
    frames = {}
    for step, size in ((0, 0.2), (50, 2.0)):
        labels = dataset.labels
        frames[step] = FewShotDataset(size * dataset.items, labels)
    return TrainingFilm(frames)


def test_a_film_needs_two_frames(dataset):
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        TrainingFilm({0: dataset})


def test_embeddings_ten_times_as_large_move_the_valley_a_hundredfold(film):
    losses = film.losses[1]
    small, large = (losses[f].argmin().item() for f in (0, 1))
    assert TEMPERATURES[small] < 0.3 and TEMPERATURES[large] >= 5


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("n_shot", [1, 5])
@pytest.mark.parametrize("temperature", [TEMPERATURES[0], TEMPERATURES[-1]])
def test_draws_and_describes_its_whole_range(film, frame, n_shot, temperature):
    state = {"frame": frame, "n_shot": n_shot, "temperature": temperature, "episode": 19}
    plane, loss = film.figure(**state).axes
    words = film.describe(**state)
    n_right = plane.get_title(loc="left").split(": ")[1]
    assert words.startswith(f"After {50 * frame} outer steps, {n_shot}-shot")
    assert n_right.replace("right", "queries right") in words
    assert loss.get_ylim()[1] > math.log(5)


def test_temperature_changes_neither_winners_nor_borders(film):
    one, other = (film._view(1, t, 1, 0)[1] for t in (0.03, 30))
    assert torch.equal(one.right, other.right) and one.top > other.top
    torch.testing.assert_close(one.axes, other.axes)


def test_nothing_flips_from_frame_to_frame(film):
    # The frames differ in size only, so that the same prototypes must lie in the same directions.
    first, last = (film._view(f, 1.0, 5, 3)[1] for f in (0, 1))
    near, far = (view.place(view.prototypes) for view in (first, last))
    torch.testing.assert_close(10 * near, far, atol=1e-3, rtol=1e-3)


def test_the_button_shows_the_next_frame(film):
    before = film.picture.value
    film.new_episode()
    assert film.state["frame"] == 1 and film.picture.value != before
    film.reset()
