"""Operations with derivatives of our own, against differences."""

import pytest
import torch

from metalearn_edu.engine import derivatives

T = 3


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("large", [1, 10**9])
def test_the_scaled_step_against_differences(monkeypatch, large):
    monkeypatch.setattr(derivatives, "LARGE", large)
    start, rate, g = draw(4, 1), draw(4, 3, seed=1), draw(T, 4, 3, seed=2)
    inputs = [part.requires_grad_() for part in (start, rate, g)]

    def step(start, rate, g):
        return derivatives.scaled_step(start.expand(T, 4, 3), rate, g)

    assert torch.autograd.gradcheck(step, inputs)
    by_hand = start - rate * g
    torch.testing.assert_close(step(*inputs), by_hand, rtol=1e-14, atol=1e-14)
