import numpy as np
import pytest
import torch

from metalearn_edu.basics.arguments import as_choice, as_integer, as_number, if_given


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_integers_of_any_kind_become_plain_ones(value):
    assert type(as_integer("n_way", value)) is int
    assert as_integer("n_way", value) == 3


@pytest.mark.parametrize(
    "value", [0, -1, 2.0, True, np.float64(2), np.bool_(True), torch.tensor(True), "3", None, [3]]
)
def test_all_else_is_refused_with_name_and_value(value):
    with pytest.raises(ValueError, match="n_way must be an integer of at least 1, got ") as error:
        as_integer("n_way", value)
    assert repr(value) in str(error.value)


def test_without_a_bound_any_integer_passes():
    assert as_integer("seed", -(10**30), at_least=None) == -(10**30)
    with pytest.raises(ValueError, match=r"seed must be an integer, got 0\.5"):
        as_integer("seed", 0.5, at_least=None)


def test_an_integer_beyond_its_bound_is_refused_whatever_its_length():
    for value in (11, 10**300, 10**5000):
        with pytest.raises(
            ValueError, match="jobs must be an integer of at least 1 and of at most 10"
        ):
            as_integer("jobs", value, at_most=10)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int64(1), torch.tensor(0.5)])
def test_any_finite_number_is_a_number(value):
    assert as_number("step", value, above=0, at_most=1) == float(value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        None,
        "1",
        True,
        np.True_,
        torch.tensor(True),
        [1],
        {},
        torch.zeros(2),
    ],
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="step must be a finite number"):
        as_number("step", value)


def test_bounds_are_named():
    with pytest.raises(ValueError, match="step must be a finite number above 0 and at most 1, got"):
        as_number("step", 0.0, above=0, at_most=1)
    with pytest.raises(ValueError, match="step must be a finite number of at least 0, got -1"):
        as_number("step", -1, at_least=0)


@pytest.mark.parametrize("value", ["pool", None])
def test_one_of_the_choices_passes(value):
    assert as_choice("how", value, ("pool", "stride", None)) is value


@pytest.mark.parametrize("value", ["Pool", 1, None, ["pool"], np.array(["pool", "stride"])])
def test_what_is_no_choice_is_refused_with_all_of_them(value):
    with pytest.raises(ValueError, match=r"^how must be one of pool, stride; got "):
        as_choice("how", value, ("pool", "stride"))


def test_what_need_not_be_said_is_checked_where_it_is():
    assert if_given(as_integer, "n", None) is None
    assert if_given(as_integer, "n", np.int64(0), at_least=0) == 0
    with pytest.raises(ValueError, match="n must be an integer of at least 0, got -1"):
        if_given(as_integer, "n", -1, at_least=0)
