"""The size of a chunk against sizes counted by hand; a loss in pieces against the whole."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from metalearn_edu import EpisodeBatch
from metalearn_edu.engine.chunks import bytes_computed, loss_in_pieces, tasks_at_once

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


def test_as_many_tasks_as_their_bytes_allow():
    assert tasks_at_once(lambda: X + 1, 10_000) == 8  # 10,000 / 1,200
    assert tasks_at_once(lambda: X.repeat(20, 1), 10_000) == 1  # 24,000 bytes: one at a time
    assert tasks_at_once(lambda: None, 10_000) == 10_000


# ------------------------------------------------------------------ a loss piece by piece


def five_tasks():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 4, 3, generator=generator, dtype=torch.float64)
    y = torch.rand(5, 4, 2, generator=generator, dtype=torch.float64)
    return EpisodeBatch(x, y, x + 1, y)


def squares(params, tasks):
    return ((tasks.query_x @ params["w"]).tanh() - tasks.query_y).square().mean()


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_pieces_give_the_loss_and_the_gradient_of_the_whole(size):
    start = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    tasks = five_tasks()

    def through(loss_of):
        params = {"w": start.expand(5, 3, 2).exp(), "unused": start.expand(5, 3, 2)}
        loss = loss_of(params)
        return loss.detach(), *torch.autograd.grad(3 * loss, start)

    whole = through(lambda params: squares(params, tasks))
    pieces = through(lambda params: loss_in_pieces(squares, params, tasks, size))
    torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=0)


def test_pieces_refuse_to_be_differentiated_twice():
    w = torch.rand(5, 3, 2, dtype=torch.float64, requires_grad=True)
    loss = loss_in_pieces(squares, {"w": w}, five_tasks(), 2)
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(loss, w, create_graph=True)
