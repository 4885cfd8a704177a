import pytest
import torch

from metalearn_edu.tasks import LinearFunctions


def test_shapes_and_counts():
    batch = LinearFunctions(15, 7, 8).episodes(0, 0, 3)
    assert batch.support_x.shape == (3, 15, 8) and batch.support_y.shape == (3, 15, 1)
    assert batch.query_x.shape == (3, 7, 8) and batch.query_x.dtype == torch.float32


def test_targets_without_noise_are_the_weighted_sum_by_hand():
    tasks = LinearFunctions(2, 3, 2, noise_std=0.0)
    w = tasks.weights(4, 10, 5).tolist()
    for (a, b), task in zip(w, tasks.episodes(4, 10, 5), strict=True):
        for x, y in zip(task.query_x.tolist(), task.query_y.flatten().tolist(), strict=True):
            assert y == pytest.approx(a * x[0] + b * x[1], abs=1e-5)


def test_weights_items_and_noise_are_independent_standard_normals():
    tasks = LinearFunctions(3, 2, 2, prior_mean=1.5)
    batch, w = tasks.episodes(0, 0, 20_000), tasks.weights(0, 0, 20_000)
    x = torch.cat([batch.support_x, batch.query_x], dim=1).double()
    y = torch.cat([batch.support_y, batch.query_y], dim=1).double()[..., 0]
    noise = y - torch.einsum("tld,td->tl", x, w)
    numbers = torch.cat([w - 1.5, x.flatten(1), noise / 0.5], dim=1)  # (T, 17)
    bound = 4.5 / 20_000**0.5
    assert numbers.mean(dim=0).abs().max() < bound
    assert (numbers.T.cov() - torch.eye(17)).abs().max() < 1.5 * bound
    assert abs((numbers**4).mean() - 3) < 0.1  # as of a normal law; of a uniform one 1.8


def test_uniform_items_lie_in_their_box():
    x = LinearFunctions(5, 5, 3, inputs="uniform").episodes(0, 0, 2000).support_x
    assert x.abs().max() <= 1 and x.min() < -0.99 and x.max() > 0.99
    assert x.var().item() == pytest.approx(1 / 3, abs=0.01)


def test_a_fixed_list_is_drawn_from_evenly_and_stays():
    tasks = LinearFunctions(2, 2, 3, n_functions=4)
    w, listed = tasks.weights(7, 0, 4000), tasks.functions()
    which = (w[:, None] == listed).all(dim=-1)  # (T, 4)
    assert (which.sum(dim=1) == 1).all()
    assert (which.sum(dim=0) - 1000).abs().max() < 5 * (4000 * 0.25 * 0.75) ** 0.5
    longer = LinearFunctions(2, 2, 3, n_functions=9).functions()
    assert torch.equal(longer[:4], listed)
    other = LinearFunctions(2, 2, 3, n_functions=4, functions_seed=1).functions()
    assert not torch.equal(other, listed)


def test_an_episode_is_a_function_of_seed_and_index():
    tasks = LinearFunctions(4, 4, 3)
    batch, alone = tasks.episodes(2, 5, 10), tasks.episodes(2, 9, 1)
    assert torch.equal(batch.support_y[4], alone.support_y[0])
    assert not torch.equal(tasks.episodes(3, 9, 1).support_y, alone.support_y)


def test_a_fingerprint_tells_sources_apart():
    options = [{}, {"n_functions": 4}, {"n_functions": 4, "functions_seed": 1}, {"noise_std": 0.1}]
    options += [{"inputs": "uniform"}, {"prior_mean": 1.0}]
    assert len({LinearFunctions(**one).fingerprint for one in options}) == len(options)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_shot": 0}, "n_shot must be an integer of at least 1, got 0"),
        ({"input_dim": 2.5}, "input_dim must be an integer of at least 1, got 2.5"),
        ({"noise_std": -1}, "noise_std must be a finite number of at least 0, got -1"),
        ({"inputs": "box"}, "inputs must be normal or uniform, got 'box'"),
        ({"n_functions": 0}, "n_functions must be an integer of at least 1, got 0"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearFunctions(**arguments)


def test_no_list_no_functions():
    with pytest.raises(ValueError, match="n_functions=M makes a list of M"):
        LinearFunctions().functions()
