import pytest
import torch

from metalearn_edu.exercises import compare
from metalearn_edu.exercises.start_here import SHARE_EXAMPLES, SHARE_HINT, share_right


def answer(capsys, yours):
    compare(yours, share_right, SHARE_EXAMPLES, hint=SHARE_HINT)
    return capsys.readouterr().out


def test_by_hand():
    assert [share_right(*example) for example in SHARE_EXAMPLES] == pytest.approx([1, 0.6, 0])


def test_other_right_ways_are_correct(capsys):
    loop = lambda a, t: sum(int(x == y) for x, y in zip(a, t, strict=True)) / len(a)  # noqa: E731
    assert "correct" in answer(capsys, loop)
    assert "correct" in answer(capsys, lambda a, t: (a == t).float().mean())


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda a, t: (a == t).sum(), "is 5, expected 1"),
        (lambda a, t: 100 * share_right(a, t), "is 100, expected 1"),
        (lambda a, t: (a == t).float(), "is of type Tensor, expected the number 1"),
        (lambda a, t: torch.equal(a, t), "is of type bool, expected the number 1"),
        (lambda a, t: (a != t).float().mean().item(), "is 0, expected 1"),
        (lambda a, t: (a == t).mean(), "could not infer output dtype"),
    ],
)
def test_wrong_answers_are_told_apart(capsys, wrong, message):
    out = answer(capsys, wrong)
    assert message in out and f"Hint: {SHARE_HINT}" in out
