import pytest

from metalearn_edu.exercises import check


def in_a_loop(a, t):
    return sum(int(x == y) for x, y in zip(a, t, strict=True)) / len(a)


def as_a_tensor(a, t):
    return (a == t).float().mean()


def in_double(a, t):
    return (a == t).double().mean().numpy()


def half_counted(a, t):
    return (a == t).float().mean().item() / 2


@pytest.mark.parametrize("right", [in_a_loop, as_a_tensor, in_double])
def test_other_right_ways_are_correct(right, capsys):
    check(right, "share_right")
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_a_mistake_that_nobody_thought_of_is_described(capsys):
    check(half_counted, "share_right")
    assert "Hint: the result is half of what is expected" in capsys.readouterr().out
