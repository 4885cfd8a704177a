import itertools

import numpy as np
import pytest

from metalearn_edu.basics.random import GOLDEN, _mix, draw_distinct, normals, uniforms
from tests.tasks.chi_square import assert_even, unevenness

N = 2**19  # numbers in each statistical test


def counts_of(cells: np.ndarray, n_cells: int) -> np.ndarray:
    return np.bincount(cells.ravel(), minlength=n_cells)


def pair_counts(first: np.ndarray, second: np.ndarray, bins: int = 24) -> np.ndarray:
    """How often two series of uniforms fall together into each cell of a bins x bins table."""
    return counts_of((first * bins).astype(int) * bins + (second * bins).astype(int), bins**2)


def test_the_hash_is_splitmix64():
    # The published first outputs of SplitMix64 from the state 1234567.
    states = np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * GOLDEN
    assert _mix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_the_test_itself_sees_what_is_not_even():
    even = np.full(64, 1000) + np.random.default_rng(0).normal(0, 1000**0.5, 64)
    assert abs(unevenness(even)) < 4
    assert unevenness(np.r_[even, 1400]) > 4
    assert unevenness(np.full(64, 1000)) < -4  # no luck at all is as suspicious


def test_values_of_a_seed_stay_as_they_are():
    # A change here changes every stored episode: the course's numbers would all be new.
    expected = [
        [0.3727004975297106, 0.4495074553391727, 0.06712997443468238],
        [0.3982339245300254, 0.9961471765038655, 0.20350192008358103],
    ]
    np.testing.assert_array_equal(uniforms(7, 3, 2, 3), expected)


def test_a_row_is_a_function_of_seed_and_episode():
    whole = uniforms(5, 0, 40, 30)
    np.testing.assert_array_equal(uniforms(5, 17, 1, 30)[0], whole[17])
    np.testing.assert_array_equal(uniforms(5, 10, 20, 7), whole[10:30, :7])
    assert len(np.unique(np.r_[whole.ravel(), uniforms(6, 0, 40, 30).ravel()])) == 2400


@pytest.mark.parametrize("seed", [-1, -(2**70), 0, 2**64 + 1, 10**30, np.int64(3), np.uint8(200)])
def test_any_integer_is_a_seed(seed):
    numbers = uniforms(seed, 0, 2, 1000)
    assert numbers.shape == (2, 1000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 4 / (12 * 2000) ** 0.5


def test_episode_numbers_may_be_huge():
    start = 2**63 - 1
    np.testing.assert_array_equal(uniforms(0, start, 3, 4)[1:], uniforms(0, start + 1, 2, 4))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("seed", (1.5, 0, 1, 1)),
        ("seed", (None, 0, 1, 1)),
        ("start", (0, -1, 1, 1)),
        ("n_tasks", (0, 0, 0, 1)),
        ("n_tasks", (0, 0, 2.0, 1)),
        ("seed", (float("nan"), 0, 1, 1)),
        ("seed", ("1", 0, 1, 1)),
        ("start", (0, float("inf"), 1, 1)),
    ],
)
def test_nonsense_is_refused_by_name(name, arguments):
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        uniforms(*arguments)


def test_more_numbers_than_memory_are_refused_at_once():
    for n_tasks, n_numbers in ((10**12, 100), (1, 10**20), (10**400, 1)):
        with pytest.raises(ValueError, match="the random numbers of that many tasks would take"):
            uniforms(0, 0, n_tasks, n_numbers)


@pytest.mark.parametrize("shape", [(N, 1), (1, N), (N // 512, 512)])
def test_numbers_are_uniform(shape):
    numbers = uniforms(1, 0, *shape)
    assert_even(counts_of((numbers * 1024).astype(int), 1024))
    low_bits = (numbers * 2**53).astype(np.int64) % 1024
    assert_even(counts_of(low_bits, 1024))


@pytest.mark.parametrize("lag", [1, 2, 3, 64])
def test_neighbours_are_independent(lag):
    numbers = uniforms(2, 0, 1024, 512)
    assert_even(pair_counts(numbers[:, lag:], numbers[:, :-lag]))  # positions of an episode
    assert_even(pair_counts(numbers[lag:], numbers[:-lag]))  # episodes of a seed
    other = uniforms(2 + lag, 0, 1024, 512)
    assert_even(pair_counts(numbers, other))  # seeds
    assert_even(pair_counts(numbers[lag:], other[:-lag]))  # seed + 1 is not episode + 1


def test_sums_over_seeds_have_the_spread_of_independent_numbers():
    means = np.array([uniforms(seed, 0, 1, 1000).mean() for seed in range(1000)])
    z = (means - 0.5) * (12 * 1000) ** 0.5
    assert abs(z.mean()) < 4 / 1000**0.5
    assert abs(z.var() - 1) < 4 * (2 / 1000) ** 0.5


@pytest.mark.parametrize("n, k", [(4, 1), (4, 3), (4, 4), (6, 2)])
def test_every_ordered_draw_is_equally_likely(n, k):
    drawn = draw_distinct(uniforms(3, 0, 30_000, 2 * k).T, np.full(30_000, n))
    places = {draw: i for i, draw in enumerate(itertools.permutations(range(n), k))}
    cells = np.array([places[tuple(column)] for column in drawn.T.tolist()])
    assert_even(counts_of(cells, len(places)))


def test_draws_are_distinct_and_below_their_own_n():
    n = np.random.default_rng(0).integers(9, 10**6, size=(50, 40))
    n[0] = 9  # all there is
    drawn = draw_distinct(uniforms(4, 0, 2000, 18).T.reshape(18, 50, 40), n)
    assert drawn.shape == (9, 50, 40)
    assert (drawn >= 0).all() and (drawn < n).all()
    assert (np.diff(np.sort(drawn, axis=0), axis=0) > 0).all()
    share = drawn / n  # of a large n, evenly spread
    assert_even(counts_of((share[:, n > 10**5] * 100).astype(int), 100))


def test_normals_have_the_moments_and_the_tails_of_the_normal_law():
    x = normals(3, 0, 2**10, 2**9)  # N numbers
    for power, expected, spread in ((1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs((x**power).mean() - expected) < 4.5 * spread / N**0.5
    share = 0.0455003  # outside two standard deviations
    assert abs((abs(x) > 2).mean() - share) < 4.5 * (share / N) ** 0.5
    assert abs((x[:, :-1] * x[:, 1:]).mean()) < 4.5 / N**0.5  # neighbours are independent
    assert np.isfinite(x).all() and np.array_equal(normals(3, 5, 1, 2**9)[0], x[5])
