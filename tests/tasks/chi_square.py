"""How far counts are from even: shared by the tests of random draws."""

import numpy as np


def unevenness(counts: np.ndarray) -> float:
    """Pearson's chi-square of equally likely cells, as a standard normal deviate.

    About N(0, 1) if the cells are equally likely; large if they are not, and very negative if the
    counts are more even than chance allows. Wilson & Hilferty (1931).
    """
    counts = np.asarray(counts, dtype=float).ravel()
    expected, freedom = counts.mean(), counts.size - 1
    assert expected >= 5, "too few counts for the approximation"
    chi_square = ((counts - expected) ** 2 / expected).sum()
    spread = 2 / (9 * freedom)
    return float(((chi_square / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5)


def assert_even(counts: np.ndarray) -> None:
    """The counts are what equally likely cells give: within 4 standard deviations."""
    assert abs(unevenness(counts)) < 4
