"""The exercises of notebook 08: references against loops, and wrong answers that must not pass."""

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import memory_augmented_networks as lesson
from metalearn_edu.learners.mann import address

EXERCISES = {
    "late": ("my_late_labels", lesson.late_labels, lesson.LATE_EXAMPLES),
    "read": ("my_read_weights", lesson.read_weights, lesson.READ_EXAMPLES),
    "write": ("my_write_step", lesson.write_step, lesson.WRITE_EXAMPLES),
    "leak": ("my_leaks", lesson.leaks, lesson.LEAK_EXAMPLES),
}


def one_hot(y, n_way):
    return F.one_hot(y, n_way).float()


def shifted_the_other_way(y, n_way):
    return torch.cat([one_hot(y, n_way)[1:], torch.zeros(1, n_way)])


def one_row_too_many(y, n_way):
    return torch.cat([torch.zeros(1, n_way), one_hot(y, n_way)])


def guesses_the_ways(y, n_way):
    return lesson.late_labels(y, int(y.max()) + 1)


def dot_product(key, memory, sharpness):
    return torch.softmax(sharpness * memory @ key, dim=0)


def only_the_key_normalised(key, memory, sharpness):
    return torch.softmax(sharpness * memory @ F.normalize(key, dim=0), dim=0)


def without_sharpness(key, memory, sharpness):
    return lesson.read_weights(key, memory, 1.0)


def sharpness_outside(key, memory, sharpness):
    weights = sharpness * lesson.read_weights(key, memory, 1.0)
    return weights / weights.sum()


def columns_normalised(key, memory, sharpness):
    return torch.softmax(sharpness * F.normalize(memory, dim=0) @ F.normalize(key, dim=0), dim=0)


def writing(*, most_used=False, reads="before", wipe="first", swapped=False, usage_of="all"):
    """write_step with one thing done wrongly."""

    def step(memory, usage, read_before, read_now, gate, row, decay):
        slot = usage.argmax() if most_used else usage.argmin()
        least = F.one_hot(slot, len(usage)).to(usage.dtype)
        share = 1 - gate if swapped else gate
        write = share * (read_before if reads == "before" else read_now) + (1 - share) * least
        added = write[:, None] * row
        if wipe == "first":
            memory = memory * (1 - least)[:, None] + added
        elif wipe == "after":
            memory = (memory + added) * (1 - least)[:, None]
        elif wipe == "by weight":
            memory = memory * (1 - write)[:, None] + added
        else:
            memory = memory + added
        now = {"all": read_now + write, "reads": read_now, "writes": write}[usage_of]
        return memory, decay * usage + now

    return step


def no_decay(memory, usage, read_before, read_now, gate, row, decay):
    return lesson.write_step(memory, usage, read_before, read_now, gate, row, 1.0)


def in_place(memory, usage, read_before, read_now, gate, row, decay):
    result = lesson.write_step(memory, usage, read_before, read_now, gate, row, decay)
    memory[usage.argmin()] = 0
    return result


def only_this_step(stream, x, y, t):
    other = y.clone()
    other[t] = (y[t] + 1) % 5
    return not torch.equal(stream(x, y)[t], stream(x, other)[t])


def only_steps_before(stream, x, y, t):
    other = y.clone()
    other[t] = (y[t] + 1) % 5
    return not torch.equal(stream(x, y)[:t], stream(x, other)[:t])


def all_steps(stream, x, y, t):
    other = y.clone()
    other[t] = (y[t] + 1) % 5
    return not torch.equal(stream(x, y), stream(x, other))


def changes_the_item(stream, x, y, t):
    other = x.clone()
    other[t] += 1
    return not torch.equal(stream(x, y)[: t + 1], stream(other, y)[: t + 1])


def changes_all_labels(stream, x, y, t):
    return not torch.equal(stream(x, y)[: t + 1], stream(x, (y + 1) % 5)[: t + 1])


WRONG = [
    ("late", one_hot),
    ("late", shifted_the_other_way),
    ("late", one_row_too_many),
    ("late", guesses_the_ways),
    ("late", lambda y, n: one_hot(y.roll(1), n)),
    ("late", lambda y, n: lesson.late_labels(y, n).long()),
    ("read", dot_product),
    ("read", only_the_key_normalised),
    ("read", without_sharpness),
    ("read", sharpness_outside),
    ("read", columns_normalised),
    ("write", writing(most_used=True)),
    ("write", writing(reads="now")),
    ("write", writing(wipe="never")),
    ("write", writing(wipe="after")),
    ("write", writing(wipe="by weight")),
    ("write", writing(swapped=True)),
    ("write", writing(usage_of="reads")),
    ("write", writing(usage_of="writes")),
    ("write", no_decay),
    ("leak", only_this_step),
    ("leak", only_steps_before),
    ("leak", all_steps),
    ("leak", changes_the_item),
    ("leak", changes_all_labels),
    ("leak", lambda stream, x, y, t: t == 2),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_reference_is_correct(name, capsys):
    _, reference, examples = EXERCISES[name]
    compare(reference, reference, examples)
    assert f"correct ({len(examples)} examples)" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXERCISES)
def test_stub_and_folded_solution_fit_the_reference(name, lesson, capsys):
    stub, reference, examples = EXERCISES[name]
    notebook = lesson("08")
    arguments = reference.__code__.co_varnames[: reference.__code__.co_argcount]
    assert notebook.stubs[stub] == list(arguments)
    compare(notebook.solutions[stub], reference, examples)
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_wrong_answers_do_not_pass(name, wrong, capsys):
    compare(wrong, *EXERCISES[name][1:], hint="think again")
    answer = capsys.readouterr().out
    assert "example" in answer and "correct" not in answer and "Hint: think again" in answer


def test_changing_the_arguments_is_noticed(capsys):
    compare(in_place, lesson.write_step, lesson.WRITE_EXAMPLES)
    assert "changes its arguments" in capsys.readouterr().out


def test_read_weights_are_those_of_the_package_and_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    key, memory = torch.randn(4, generator=generator), torch.randn(6, 4, generator=generator)
    got = lesson.read_weights(key, memory, 3.0)
    package = address(key[None, None], memory[None], torch.full((1, 1, 1), 3.0))[0, 0]
    torch.testing.assert_close(got, package)
    cosines = [float(key @ row) / float(key.norm() * row.norm()) for row in memory]
    terms = [2.718281828459045 ** (3 * c) for c in cosines]
    assert got.tolist() == pytest.approx([t / sum(terms) for t in terms], rel=1e-5)


def test_a_step_of_writing_on_paper():
    """Step 3 of the table in the lesson."""
    memory, usage = torch.ones(3, 2), torch.tensor([1.5, 1.0, 0.5])
    read = torch.tensor([1.0, 0.0, 0.0])
    memory, usage = lesson.write_step(memory, usage, read, read, 0.5, torch.tensor([2.0, 4.0]), 0.5)
    assert memory.tolist() == [[2.0, 3.0], [1.0, 1.0], [1.0, 2.0]]
    assert usage.tolist() == [2.25, 0.5, 0.75]


def test_late_labels_of_a_loop():
    y = torch.tensor([2, 0, 1])
    assert lesson.late_labels(y, 3).tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]
