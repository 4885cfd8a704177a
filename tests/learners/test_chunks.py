"""The size of a chunk, against sizes counted by hand."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from metalearn_edu.learners import chunks
from metalearn_edu.learners.chunks import bytes_computed, tasks_at_once

X = torch.ones(30, 10)  # float32: 1,200 bytes


@pytest.mark.parametrize(
    "work, by_hand",
    [
        (lambda: X + 1, 1200),
        (lambda: X.double(), 2400),
        (lambda: (X + 1).exp(), 2 * 1200),  # what is given up again counts too
        (lambda: X.view(300)[:7].t(), 0),  # views are free
        (lambda: X.clone().add_(1), 1200),  # what is changed in place was counted before
        (lambda: X @ torch.ones(10, 4), 160 + 480),
        (lambda: vmap(lambda row: row + 1)(X), 1200),  # all rows, not one
        (lambda: None, 0),
    ],
)
def test_bytes_by_hand(work, by_hand):
    assert bytes_computed(work) == by_hand


def test_gradients_inside_the_work_count():
    layer = nn.Linear(10, 4)
    forward = bytes_computed(lambda: layer(X))
    assert forward == 480
    gradient = bytes_computed(lambda: grad(lambda w: (X @ w).sum())(torch.ones(10, 4)))
    assert gradient >= 160 + 480 + 160  # the weight, the product, the gradient of the weight


def test_as_many_tasks_as_their_bytes_allow(monkeypatch):
    monkeypatch.setattr(chunks, "WORK", 10_000)
    assert tasks_at_once(lambda: X + 1) == 8  # 10,000 / 1,200
    assert tasks_at_once(lambda: X.repeat(20, 1)) == 1  # 24,000 bytes: one at a time
    assert tasks_at_once(lambda: None) == 10_000
