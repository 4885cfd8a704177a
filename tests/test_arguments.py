import numpy as np
import pytest
import torch

from metalearn_edu.arguments import as_integer


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_integers_of_any_kind_become_plain_ones(value):
    assert type(as_integer("n_way", value)) is int
    assert as_integer("n_way", value) == 3


@pytest.mark.parametrize("value", [0, -1, 2.0, True, np.float64(2), np.bool_(True), "3", None, [3]])
def test_all_else_is_refused_with_name_and_value(value):
    with pytest.raises(ValueError, match="n_way must be an integer of at least 1, got ") as error:
        as_integer("n_way", value)
    assert repr(value) in str(error.value)


def test_without_a_bound_any_integer_passes():
    assert as_integer("seed", -(10**30), at_least=None) == -(10**30)
    with pytest.raises(ValueError, match=r"seed must be an integer, got 0\.5"):
        as_integer("seed", 0.5, at_least=None)
