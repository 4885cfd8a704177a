import pytest
import torch

from metalearn_edu.explorers.vector_walk import (
    N_NEAR,
    NEARBY,
    RANDOM,
    WEIGHTS,
    VectorWalkExplorer,
    linear_probe,
    walk_directions,
    wave_numbers,
)
from metalearn_edu.learners import TaskConditionedNetwork


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    return TaskConditionedNetwork(1, 4, 8, 1, regression=True, conditioning="film")


@pytest.fixture
def explorer(learner):
    return VectorWalkExplorer(learner)


@pytest.fixture
def linear_world():
    """Vectors that are a linear function of a and b, and that function (2, 4)."""
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    slopes = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    return plane @ slopes + 0.5, plane, slopes


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def where(axes, label):
    return torch.tensor([values[0] for values in line(axes, label).get_data()])


def test_the_numbers_of_a_wave_are_found():
    x = torch.linspace(-5, 5, 60, dtype=torch.float64)[:, None]
    a, b = torch.tensor([[2.0, 0.5], [-1.0, 3.0], [0.0, 0.0]], dtype=torch.float64).T
    curves = a[:, None, None] * x.sin() - b[:, None, None] * x.cos()
    torch.testing.assert_close(wave_numbers(x, curves), torch.stack([a, b], dim=1))


def test_the_numbers_of_a_curve_are_those_of_the_nearest_wave():
    x = torch.linspace(-5, 5, 60, dtype=torch.float64)[:, None]
    curve = (x / 5) ** 3 + 1

    def distance(numbers):
        return (numbers[0] * x.sin() - numbers[1] * x.cos() - curve).square().sum()

    slope = torch.func.grad(distance)(wave_numbers(x, curve[None])[0])
    torch.testing.assert_close(slope, torch.zeros(2, dtype=torch.float64), atol=1e-8, rtol=0)


def test_a_probe_of_a_linear_world_is_exact(linear_world):
    vectors, plane, _ = linear_world
    probe = linear_probe(vectors, plane)
    torch.testing.assert_close(vectors @ probe[:-1] + probe[-1], plane)


def test_the_probe_reads_one_more_along_its_weights_and_no_step_is_shorter(linear_world):
    vectors, plane, _ = linear_world
    noisy = vectors + 0.3 * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))
    steps = walk_directions(noisy, plane, plane[0])[WEIGHTS]
    weights = linear_probe(noisy, plane)[:-1]
    torch.testing.assert_close(steps @ weights, torch.eye(2, dtype=torch.float64))
    # the shortest of all such steps lies in the span of the weights: nothing else is added to it
    others = torch.linalg.svd(weights.T).Vh[2:]  # (2, 4), directions that the probe does not see
    torch.testing.assert_close(steps @ others.T, torch.zeros(2, 2, dtype=torch.float64))


def test_nearby_tasks_give_the_slope_of_a_linear_world(linear_world):
    vectors, plane, slopes = linear_world
    steps = walk_directions(vectors, plane, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(steps[NEARBY], slopes)


def test_only_nearby_tasks_count(linear_world):
    vectors, plane, slopes = linear_world
    far = (plane - plane[3]).norm(dim=1).argsort()[N_NEAR:]
    vectors = vectors.clone()
    vectors[far] *= 7
    torch.testing.assert_close(walk_directions(vectors, plane, plane[3])[NEARBY], slopes)


def test_a_random_step_is_as_long_as_that_of_nearby_tasks(linear_world):
    vectors, plane, _ = linear_world
    steps = walk_directions(vectors, plane, plane[0], seed=1)
    torch.testing.assert_close(steps[RANDOM].norm(dim=1), steps[NEARBY].norm(dim=1))
    assert not torch.allclose(
        steps[RANDOM], walk_directions(vectors, plane, plane[0], seed=2)[RANDOM]
    )


@pytest.mark.parametrize("direction", [NEARBY, WEIGHTS, RANDOM])
@pytest.mark.parametrize(
    "state",
    [
        {"amplitude": 0.1, "phase": 0.0, "more_a": -2.0, "more_b": -2.0},
        {"amplitude": 5.0, "phase": 3.1, "more_a": 2.0, "more_b": 2.0},
    ],
)
def test_draws_over_its_range(explorer, direction, state):
    assert explorer.png(direction=direction, **state)[:4] == b"\x89PNG"
    assert direction in explorer.describe(**{**explorer.state, **state, "direction": direction})


def test_asking_for_nothing_moves_nothing(explorer):
    left, right = explorer.figure(more_a=0.0, more_b=0.0).axes
    for label in ("asked", "probe", "curve"):
        torch.testing.assert_close(where(left, label), where(left, "before"))
    before, moved = (torch.tensor(line(right, name).get_ydata()) for name in ("before", "moved"))
    torch.testing.assert_close(before, moved)
    assert "a +0.00, b +0.00. The vector moved by 0.00" in explorer.describe(
        **{**explorer.state, "more_a": 0.0}
    )


def test_curves_and_marks_are_what_the_network_says(explorer, learner):
    state = {"direction": WEIGHTS, "more_a": 1.5, "more_b": -0.5, "phase": 2.0}
    left, right = explorer.figure(**state).axes
    x = torch.linspace(-5, 5, 201)[:, None]
    # the points of seed 0, as in the other explorers of waves
    generator = torch.Generator().manual_seed(0)
    support = 10 * torch.rand(20, 1, generator=generator)[:10] - 5
    with torch.no_grad():
        e = learner.task_encoder(support[None], 3 * torch.sin(support - 2)[None])  # (1, 1, 4)
        move = torch.linalg.pinv(explorer.probe[:-1]).float().T @ torch.tensor([1.5, -0.5])
        curves = [learner.predict(v, x[None])[0] for v in (e, e + move)]
    for label, curve in zip(("before", "moved"), curves, strict=True):
        got = torch.tensor(line(right, label).get_ydata())
        torch.testing.assert_close(got, curve[:, 0], atol=1e-4, rtol=1e-4)
    start, end = (wave_numbers(x, curve[None])[0] for curve in curves)
    asked = torch.tensor([1.5, -0.5])
    options = {"check_dtype": False, "atol": 1e-3, "rtol": 1e-3}
    torch.testing.assert_close(where(left, "before"), start, **options)
    torch.testing.assert_close(where(left, "curve"), end, **options)
    torch.testing.assert_close(where(left, "asked"), start + asked, **options)
    torch.testing.assert_close(where(left, "probe"), start + asked, **options)


def test_the_learner_is_not_changed(explorer, learner):
    before = {name: p.clone() for name, p in learner.state_dict().items()}
    explorer.set(amplitude=5.0, more_b=2.0, direction=RANDOM)
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())


def test_moved_widget_redraws(explorer):
    before, text = explorer.picture.value, explorer.text.value
    explorer.inputs["more_a"].set_state({"value": 2.0})
    assert explorer.picture.value != before and explorer.text.value != text
    explorer.reset()
    assert explorer.picture.value == before


def test_refuses_a_classifier():
    with pytest.raises(ValueError, match="regression=False"):
        VectorWalkExplorer(TaskConditionedNetwork(1, 4, 8))
