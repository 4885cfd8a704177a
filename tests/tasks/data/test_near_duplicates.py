"""Found block by block, near duplicates are those that an explicit loop finds."""

import time

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from metalearn_edu.tasks.data import near_duplicates
from metalearn_edu.tasks.data.near_duplicates import first_alike


def by_hand(pictures, limit, flat):
    """All earlier ones are looked at, one by one, with NumPy's own correlation."""
    rows = [p.flatten().double().numpy() for p in pictures]
    found = {}
    for i, row in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            if min(row.std(), other.std()) < flat:
                continue
            if np.corrcoef(row, other)[0, 1] > limit:
                found[i] = j
                break
    return found


def smooth(n, generator):
    small = 255 * torch.rand(n, 1, 5, 5, generator=generator)
    return interpolate(small, size=(28, 28), mode="bicubic").clamp(0, 255)[:, 0]


@pytest.mark.parametrize("block", [7, 1000])
def test_as_an_explicit_loop(monkeypatch, block):
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    originals = smooth(12, generator)
    some = originals[torch.randint(12, (60,), generator=generator)]
    noise = 9 * torch.rand(60, 1, 1, generator=generator)
    pictures = (some + noise * torch.randn(60, 28, 28, generator=generator)).clamp(0, 255).byte()
    pictures[5] = pictures[20] = 77  # flat ones are like no other
    expected = by_hand(pictures, 0.995, 2.0)
    assert 10 < len(expected) < 55
    assert first_alike(pictures, 0.995, 2.0) == expected


def test_brighter_and_inverted():
    picture = smooth(1, torch.Generator().manual_seed(1))[0]
    pictures = torch.stack([picture, 0.5 * picture + 60, 255 - picture]).byte()
    assert first_alike(pictures, 0.995, 2.0) == {1: 0}


def test_all_are_the_same_and_none_is_there():
    pictures = smooth(1, torch.Generator().manual_seed(2)).byte().expand(50, -1, -1)
    assert first_alike(pictures, 0.995, 2.0) == dict.fromkeys(range(1, 50), 0)
    assert first_alike(pictures[:0], 0.995, 2.0) == {}
    assert first_alike(torch.full((3, 28, 28), 9, dtype=torch.uint8), 0.995, 2.0) == {}


def test_ten_thousand_take_seconds():
    pictures = torch.randint(256, (10_000, 28, 28), dtype=torch.uint8)
    start = time.process_time()
    first_alike(pictures, 0.995, 2.0)
    assert time.process_time() - start < 10  # of a core; comparing each pair took 22
