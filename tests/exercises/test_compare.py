from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metalearn_edu.exercises import compare

X = torch.arange(6.0).reshape(3, 2)


def mean(x):
    return x.mean(dim=0)


def answer(capsys, yours, reference=mean, examples=((X,), (X + 1,)), **options):
    compare(yours, reference, list(examples), **options)
    return capsys.readouterr().out


def test_a_stub_is_not_attempted_yet(capsys):
    def stub(x):
        raise NotImplementedError

    assert answer(capsys, stub, hint="average") == "stub: not attempted yet\n"


def test_a_right_function_is_correct(capsys):
    def right(x):
        return x.sum(dim=0) / len(x)

    assert answer(capsys, right, hint="average") == "right: correct (2 examples)\n"


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda x: None, "is None; is there a return"),
        (lambda x: x.mean(dim=1), "has shape (3,), expected (2,)"),
        (lambda x: x.mean(dim=0).tolist(), "is of type list, expected a tensor of (2,)"),
        (lambda x: x.mean(dim=0).double(), "holds torch.float64, expected torch.float32"),
        (lambda x: x.sum(dim=0), "is 6 at [0], expected 2 (2 of 2 values differ)"),
        (lambda x: x.mean(0) * float("nan"), "is nan at [0], expected 2"),
    ],
)
def test_what_differs_is_named_with_the_hint(capsys, wrong, message):
    out = answer(capsys, wrong, hint="average over rows")
    assert "example 1 differs: the result " + message in out
    assert "Its arguments: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]" in out
    assert out.endswith("Hint: average over rows\n")


def test_the_first_example_that_differs_is_named(capsys):
    out = answer(capsys, lambda x: torch.tensor([2.0, 3.0]))
    assert "example 2 differs" in out and "Hint" not in out


def test_an_error_is_one_line_that_says_where(capsys):
    def broken(x):
        y = x + 1
        return y.nothing

    out = answer(capsys, broken, hint="read the message")
    assert "example 1 stops with AttributeError: 'Tensor' object has no attribute" in out
    assert "return y.nothing" in out and "Traceback" not in out
    assert out.endswith("Hint: read the message\n")


def test_an_error_inside_torch_names_the_line_of_the_learner(capsys):
    def broken(x):
        return torch.nn.functional.one_hot(x, 3)

    assert "of the cell: return torch.nn.functional.one_hot(x, 3)" in answer(capsys, broken)


def test_a_wrong_number_of_arguments_is_one_line(capsys):
    assert "stops with TypeError" in answer(capsys, lambda: 1)


def test_arguments_must_stay_as_they_are(capsys):
    def in_place(x):
        x += 1
        return x.mean(dim=0) - 1

    before = X.clone()
    assert "changes its arguments" in answer(capsys, in_place)
    assert (before == X).all()


@pytest.mark.parametrize(
    "right, wrong, message",
    [
        (3, 4, "is 4, expected 3"),
        (0.5, 0.25, "is 0.25, expected 0.5"),
        (0.5, "half", "is of type str, expected the number 0.5"),
        (True, False, "is False, expected True"),
        ("a", "b", "is 'b', expected 'a'"),
        ((1, 2), (1, 3), "value 1 of the result is 3, expected 2"),
        ([1, 2], [1], "has 1 values, expected 2"),
        ((1, 2), 1, "is of type int, expected 2 values"),
        ({"a": 1}, {"a": 2}, "'a' of the result is 2, expected 1"),
        ({"a": 1}, {"b": 1}, "has the keys ['b'], expected ['a']"),
        (np.ones(2), np.zeros(2), "is 0 at [0], expected 1"),
        (np.ones(2), [1, 1], "is of type list, expected a numpy array of (2,)"),
        (SimpleNamespace(a=1), SimpleNamespace(a=2), "'a' of the result is 2, expected 1"),
        ({1, 2}, {1}, "is {1}, expected {1, 2}"),
        (torch.float32, torch.float64, "is torch.float64, expected torch.float32"),
        (torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), "'weight' of the result is "),
        (SimpleNamespace(a=1), 1, "is of type int, expected SimpleNamespace"),
    ],
)
def test_results_of_many_kinds(capsys, right, wrong, message):
    assert message in answer(capsys, lambda: wrong, lambda: right, [()])
    assert "correct" in answer(capsys, lambda: right, lambda: right, [()])


def test_numbers_may_come_as_tensors(capsys):
    assert "correct" in answer(capsys, lambda: torch.tensor(0.5), lambda: 0.5, [()])
    assert "correct" in answer(capsys, lambda: np.float64(0.5), lambda: 0.5, [()])


def test_both_functions_draw_the_same_random_numbers(capsys):
    generator = torch.Generator().manual_seed(3)
    drawn = answer(
        capsys,
        lambda g: torch.rand(2) + torch.rand(2, generator=g),
        lambda g: torch.rand(2) + torch.rand(2, generator=g),
        [(generator,)],
    )
    assert "correct" in drawn


@pytest.mark.parametrize("examples", [[], [X]])
def test_examples_must_be_tuples(examples):
    with pytest.raises(ValueError, match="one or more tuples"):
        compare(mean, mean, examples)
