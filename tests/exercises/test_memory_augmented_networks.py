"""The exercises of notebook 08 against the package, plain loops, and other right ways."""

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import check
from metalearn_edu.exercises.lessons import memory_augmented_networks as lesson
from metalearn_edu.learners import MANN, LSTMController, MANNController
from metalearn_edu.learners.mann import address, least_used_slots


def late_by_loop(y, n_way):
    rows = torch.zeros(len(y), n_way)
    for t in range(1, len(y)):
        rows[t, y[t - 1]] = 1
    return rows


def read_by_cosine(key, memory, sharpness):
    return (sharpness * F.cosine_similarity(memory, key[None])).softmax(dim=0)


def least_by_loop(usage, n_heads):
    left, rows = usage.clone(), usage.new_zeros(n_heads, len(usage))
    for head in range(n_heads):
        slot = left.argmin()  # the first of equals
        rows[head, slot], left[slot] = 1, float("inf")
    return rows


def write_by_where(memory, usage, read_before, read_now, gate, row, decay):
    slot = int(usage.argmin())
    write = gate * read_before + (1 - gate) * torch.eye(len(usage))[slot]
    kept = memory.index_fill(0, torch.tensor([slot]), 0.0)
    return kept + torch.outer(write, row), decay * usage + (read_now + write)


def inputs_by_pad(x, y, n_way):
    return torch.cat([x, F.pad(F.one_hot(y, n_way), (0, 0, 1, 0))[:, :-1].to(x.dtype)], dim=2)


def heard_by_loop(stream, x, y, t):
    other = torch.cat([y[:t], (y[t : t + 1] + 3) % 5, y[t + 1 :]])
    first, second = stream(x, y), stream(x, other)
    for step in range(len(y)):
        if not torch.equal(first[step], second[step]):
            return step
    return len(y)


def all_writing_so_far(memory, keys, writes, rows, sharpness):
    """Each step's memory as one product, without carrying anything on."""
    after = [memory + writes[:t].T @ rows[:t] for t in range(1, len(keys) + 1)]
    reads = [lesson.read_weights(k, m, sharpness) @ m for k, m in zip(keys, after, strict=True)]
    return torch.stack(reads), after[-1]


@pytest.mark.parametrize(
    ("right", "name"),
    [
        (late_by_loop, "late_labels"),
        (read_by_cosine, "read_weights"),
        (least_by_loop, "least_used"),
        (write_by_where, "write_step"),
        (inputs_by_pad, "stream_inputs"),
        (heard_by_loop, "heard_at"),
        (all_writing_so_far, "read_and_write"),
    ],
)
def test_other_right_ways_are_correct(right, name, capsys):
    check(right, name)
    assert capsys.readouterr().out == f"{right.__name__}: correct\n"


def test_two_mistakes_at_once_are_both_named(capsys):
    def swapped_and_kept(memory, usage, read_before, read_now, gate, row, decay):
        least = F.one_hot(usage.argmin(), len(usage)).float()
        write = (1 - gate) * read_before + gate * least
        return memory + write[:, None] * row, decay * usage + read_now + write

    check(swapped_and_kept, "write_step")
    out = capsys.readouterr().out
    assert "the gate is the wrong way round" in out and "And: nothing is wiped" in out


def test_read_weights_are_those_of_the_package_and_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    key, memory = torch.randn(4, generator=generator), torch.randn(6, 4, generator=generator)
    got = lesson.read_weights(key, memory, 3.0)
    package = address(key[None, None], memory[None], torch.full((1, 1, 1), 3.0))[0, 0]
    torch.testing.assert_close(got, package)
    cosines = [float(key @ row) / float(key.norm() * row.norm()) for row in memory]
    terms = [2.718281828459045 ** (3 * c) for c in cosines]
    assert got.tolist() == pytest.approx([t / sum(terms) for t in terms], rel=1e-5)


def test_least_used_slots_are_those_of_the_package():
    usage = torch.tensor([0.5, 0.1, 0.5, 0.1, 0.9])
    torch.testing.assert_close(lesson.least_used(usage, 3), least_used_slots(usage[None], 3)[0])


@pytest.mark.parametrize("controller", [LSTMController(7, 4), MANNController(7, 4, 6, 3)])
def test_the_package_hears_a_label_one_step_late(controller):
    learner = MANN(None, controller, n_way=5)
    x, y = torch.randn(6, 2), torch.tensor([0, 3, 0, 4, 1, 3])
    with torch.no_grad():
        heard = lesson.heard_at(lambda x, y: learner.stream(x[None], y[None])[0], x, y, 2)
    assert heard == 3
