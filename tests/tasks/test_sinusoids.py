import math

import numpy as np
import pytest
import torch

from metalearn_edu.tasks import Sinusoids, TaskSource
from tests.tasks.chi_square import assert_even


def test_shapes_and_counts():
    tasks = Sinusoids(n_shot=np.int64(5), n_query=7)
    batch = tasks.episodes(0, 0, 3)
    assert isinstance(tasks, TaskSource)
    assert (tasks.n_way, batch.n_shot, batch.n_query) == (None, 5, 7)
    assert batch.support_x.shape == batch.support_y.shape == (3, 5, 1)
    assert batch.query_x.shape == batch.query_y.shape == (3, 7, 1)
    assert batch.query_x.dtype == torch.float32


def test_targets_are_the_sine_of_the_task_parameters():
    tasks = Sinusoids()
    batch, (amplitude, phase) = tasks.episodes(3, 10, 20), tasks.task_parameters(3, 10, 20)
    for i, task in enumerate(batch):
        for x, y in ((task.support_x, task.support_y), (task.query_x, task.query_y)):
            by_hand = [amplitude[i].item() * math.sin(v - phase[i].item()) for v in x.flatten()]
            torch.testing.assert_close(y.flatten(), torch.tensor(by_hand), atol=1e-5, rtol=0)


def test_amplitude_phase_and_points_are_uniform_in_their_ranges():
    tasks = Sinusoids()
    amplitude, phase = tasks.task_parameters(0, 0, 20_000)
    x = tasks.episodes(0, 0, 2000).query_x
    for values, (low, high) in (
        (amplitude, (0.1, 5.0)),
        (phase, (0.0, math.pi)),
        (x, (-5.0, 5.0)),
    ):
        assert values.min() >= low and values.max() <= high
        assert_even(torch.histc(values, 50, low, high).numpy())


def test_variance_of_the_targets_is_that_of_the_family():
    # Mean over x of sin(x - phase)^2 by phase, times E[A^2] = (5^3 - 0.1^3) / (3 * 4.9).
    phases, x = torch.linspace(0, math.pi, 2001), torch.linspace(-5, 5, 2001)
    expected = (125 - 0.001) / 14.7 * torch.sin(x[None] - phases[:, None]).square().mean().item()
    y = Sinusoids(1, 50).episodes(1, 0, 4000).query_y
    # The squares of one task go together: 4,000 tasks count, not 200,000 points.
    by_task = y.square().mean(dim=(1, 2))
    assert abs(by_task.mean() - expected) < 4 * by_task.std() / 4000**0.5


def test_an_episode_is_a_function_of_seed_and_index():
    tasks = Sinusoids()
    batch, alone = tasks.episodes(2, 5, 10), tasks.episodes(2, 9, 1)
    assert torch.equal(batch.support_x[4], alone.support_x[0])
    assert torch.equal(batch.query_y[4], alone.query_y[0])
    assert not torch.equal(tasks.episodes(3, 9, 1).support_x, alone.support_x)


def test_other_ranges_and_how_they_are_told_apart():
    tasks = Sinusoids(1, 1, amplitude=(2, 2), phase=(-1, 0), x_range=(0, 1))
    amplitude, phase = tasks.task_parameters(0, 0, 50)
    assert (amplitude == 2).all() and (phase <= 0).all()
    assert repr(tasks) == (
        "Sinusoids(1 support and 1 query points, amplitude 2 to 2, phase -1 to 0, x 0 to 1)"
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_shot": 0}, "n_shot must be an integer of at least 1, got 0"),
        ({"n_query": 2.5}, "n_query must be an integer of at least 1, got 2.5"),
        ({"amplitude": (5, 0.1)}, r"amplitude must be \(low, high\) with low <= high, got 5, 0.1"),
        ({"phase": (0, math.inf)}, "phase must be"),
        ({"x_range": (math.nan, 1)}, "x_range must be"),
        ({"x_range": (-1e300, 1e300)}, "x_range must be a finite number of at least -1e.30"),
        ({"phase": 3}, r"phase must be a pair \(low, high\), got 3"),
        ({"phase": (0, 1, 2)}, r"phase must be a pair \(low, high\), got \(0, 1, 2\)"),
        ({"phase": ("a", "b")}, "phase must be a finite number .*, got 'a'"),
        ({"phase": (False, True)}, "phase must be a finite number .*, got False"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sinusoids(**arguments)


def test_tasks_too_large_for_the_memory_are_refused_at_once():
    for n_shot in (10**12, 10**300):
        with pytest.raises(ValueError, match="GB of memory, more than the"):
            Sinusoids(n_shot).episodes(0, 0, 1)


def test_a_fingerprint_tells_ranges_that_look_alike():
    one, two = Sinusoids(x_range=(0, 1)), Sinusoids(x_range=(0, 1.0001))
    assert repr(one) == repr(two)
    assert one.fingerprint != two.fingerprint
