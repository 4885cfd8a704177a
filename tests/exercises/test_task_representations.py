"""The exercises of notebook 09: references against the package, and wrong answers."""

import inspect

import pytest
import torch
import torch.nn.functional as F

from metalearn_edu.exercises import compare
from metalearn_edu.exercises import task_representations as answers
from metalearn_edu.learners.task_conditioned import ConditionedMLP, pool_by_class

EXERCISES = {
    "pool": (answers.mean_and_spread, answers.POOL_EXAMPLES, answers.POOL_HINT),
    "film": (answers.film_layer, answers.FILM_EXAMPLES, answers.FILM_HINT),
    "class": (answers.class_vectors, answers.CLASS_EXAMPLES, answers.CLASS_HINT),
    "deaf": (answers.is_deaf, answers.DEAF_EXAMPLES, answers.DEAF_HINT),
}


def film_without_one(h, e, weight, bias):
    gamma, beta = (weight @ e + bias).chunk(2)
    return F.relu(gamma * h + beta)


def film_swapped(h, e, weight, bias):
    beta, gamma = (weight @ e + bias).chunk(2)
    return F.relu((1 + gamma) * h + beta)


def film_early_relu(h, e, weight, bias):
    gamma, beta = (weight @ e + bias).chunk(2)
    return (1 + gamma) * F.relu(h) + beta


def film_without_bias(h, e, weight, bias):
    gamma, beta = (weight @ e).chunk(2)
    return F.relu((1 + gamma) * h + beta)


def spread_around_the_common_mean(z, y, n_way):
    one_hot = F.one_hot(y, n_way).float()
    counts = one_hot.sum(0)[:, None]
    variance = one_hot.T @ (z - z.mean(0)).square() / counts
    return torch.cat([one_hot.T @ z / counts, (variance + 1e-6).sqrt()], 1)


def equal_shots(z, y, n_way):
    one_hot, n = F.one_hot(y, n_way).float(), len(z) / n_way
    mean = one_hot.T @ z / n
    variance = one_hot.T @ (z - mean[y]).square() / n
    return torch.cat([mean, (variance + 1e-6).sqrt()], 1)


def usual_std(z, y, n_way):
    parts = [z[y == label] for label in range(n_way)]
    return torch.stack([torch.cat([part.mean(0), part.std(0)]) for part in parts])


def deaf_by_order(encode, x, y):
    order = torch.arange(len(x)).flip(0)
    return torch.equal(encode(x, y), encode(x[order], y[order]))


WRONG = [
    ("pool", lambda z: torch.cat([z.mean(0), z.std(0)])),
    ("pool", lambda z: torch.cat([z.mean(0), z.std(0, correction=0)])),
    ("pool", lambda z: torch.cat([z.sum(0), (z.var(0, correction=0) + 1e-6).sqrt()])),
    ("pool", lambda z: torch.cat([z.mean(1), (z.var(1, correction=0) + 1e-6).sqrt()])),
    ("pool", lambda z: torch.cat([z.mean(0), z.var(0, correction=0) + 1e-6])),
    ("pool", lambda z: torch.cat([(z.var(0, correction=0) + 1e-6).sqrt(), z.mean(0)])),
    ("film", film_without_one),
    ("film", film_swapped),
    ("film", film_early_relu),
    ("film", film_without_bias),
    ("class", spread_around_the_common_mean),
    ("class", equal_shots),
    ("class", usual_std),
    ("class", lambda z, y, n_way: answers.mean_and_spread(z).expand(n_way, -1)),
    ("deaf", deaf_by_order),
    ("deaf", lambda encode, x, y: torch.equal(encode(x, y), encode(x, -y))),
    ("deaf", lambda encode, x, y: torch.equal(encode(x, y), encode(x + 1, y + 1))),
    ("deaf", lambda encode, x, y: torch.equal(encode(x, y), encode(x, y.flip(0)))),
    ("deaf", lambda encode, x, y: not torch.equal(encode(x, y), encode(x, y + 1))),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_reference_is_correct(name, capsys):
    reference, examples, hint = EXERCISES[name]
    compare(reference, reference, examples, hint=hint)
    assert f"correct ({len(examples)} examples)" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_wrong_answers_do_not_pass(name, wrong, capsys):
    reference, examples, hint = EXERCISES[name]
    compare(wrong, reference, examples, hint=hint)
    answer = capsys.readouterr().out
    assert "example" in answer and "correct" not in answer and f"Hint: {hint}" in answer


NAMES = {
    "my_mean_and_spread": "pool",
    "my_film_layer": "film",
    "my_class_vectors": "class",
    "my_is_deaf": "deaf",
}


def test_the_stubs_in_the_lesson_have_the_arguments_of_the_solutions(lesson):
    arguments = {
        name: list(inspect.signature(EXERCISES[key][0]).parameters) for name, key in NAMES.items()
    }
    assert lesson("09").stubs == arguments


@pytest.mark.parametrize("name", NAMES)
def test_the_folded_solution_passes(lesson, name, capsys):
    reference, examples, hint = EXERCISES[NAMES[name]]
    compare(lesson("09").solutions[name], reference, examples, hint=hint)
    assert "correct" in capsys.readouterr().out


def test_pooling_agrees_with_the_package():
    z = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2, 2, 1, 2, 2, 0, 2])
    torch.testing.assert_close(answers.class_vectors(z, y, 3), pool_by_class(z[None], y[None])[0])
    torch.testing.assert_close(
        answers.mean_and_spread(z[y == 2]), answers.class_vectors(z, y, 3)[2]
    )


def test_film_agrees_with_the_package():
    torch.manual_seed(0)
    network = ConditionedMLP(3, 4, 5, 2, "film")
    x, e = torch.randn(6, 3), torch.randn(4)
    gamma_1, beta_1, gamma_2, beta_2 = network.film.weight.chunk(4)
    bias_1, shift_1, bias_2, shift_2 = network.film.bias.chunk(4)
    h = network.first(x)
    h = answers.film_layer(h, e, torch.cat([gamma_1, beta_1]), torch.cat([bias_1, shift_1]))
    h = network.second(h)
    h = answers.film_layer(h, e, torch.cat([gamma_2, beta_2]), torch.cat([bias_2, shift_2]))
    torch.testing.assert_close(network(x, e), network.last(h))
