import pytest
import torch

from metalearn_edu.exercises.lessons.what_maml_learns import implicit_gradient
from metalearn_edu.explorers import three_gradients as three
from metalearn_edu.explorers.starts import OPTIMA, curvatures, path
from metalearn_edu.explorers.three_gradients import GradientsExplorer
from tests.drawn_text import texts

START = torch.tensor([-1.5, 0.7], dtype=torch.float64)


@pytest.fixture
def explorer():
    return GradientsExplorer()


def loss(start, pull, inner_lr, n_steps):
    """The mean query loss after the steps."""
    rest = path(start, three.VALLEYS, inner_lr, n_steps, pull)[-1] - OPTIMA
    return rest.square().sum(dim=1).mean().item() / 2


@pytest.mark.parametrize(("pull", "inner_lr", "n_steps"), [(0, 0.1, 3), (1, 0.2, 1), (3, 0.05, 9)])
def test_the_exact_gradient_is_the_slope_of_the_loss(pull, inner_lr, n_steps):
    h = 1e-5
    slopes = [
        (loss(START + e, pull, inner_lr, n_steps) - loss(START - e, pull, inner_lr, n_steps))
        / (2 * h)
        for e in h * torch.eye(2, dtype=torch.float64)
    ]
    got = three.gradients(START, pull, inner_lr, n_steps)["exact"][-1]
    torch.testing.assert_close(got, torch.tensor(slopes, dtype=torch.float64), rtol=1e-6, atol=1e-8)


def test_each_inner_step_goes_down_the_support_loss_with_its_pull():
    points = path(START, three.VALLEYS, 0.1, 3, 2.0)
    for task, hessian in enumerate(curvatures(three.VALLEYS)):
        phi = START
        for point in points[1:, task]:
            w = phi.clone().requires_grad_()
            off = w - OPTIMA[task]
            inner = off @ hessian @ off / 2 + 2.0 / 2 * (w - START).square().sum()
            phi = phi - 0.1 * torch.autograd.grad(inner, w)[0]
            torch.testing.assert_close(point, phi)


def test_the_implicit_gradient_is_that_of_the_exercise():
    pull, ends = 1.5, path(START, three.VALLEYS, 0.1, 4, 1.5)[-1]
    parts = [
        implicit_gradient(hessian.float(), (end - optimum).float(), pull)
        for hessian, end, optimum in zip(curvatures(three.VALLEYS), ends, OPTIMA, strict=True)
    ]
    got = three.gradients(START, pull, 0.1, 4)["implicit"][-1]
    torch.testing.assert_close(got.float(), torch.stack(parts).mean(dim=0))


def test_first_order_is_the_mean_query_slope():
    ends = path(START, three.VALLEYS, 0.1, 4, 1.5)[-1]
    got = three.gradients(START, 1.5, 0.1, 4)["first order"][-1]
    torch.testing.assert_close(got, (ends - OPTIMA).mean(dim=0))


def test_with_many_steps_implicit_becomes_exact_and_first_order_does_not():
    wrong = three.errors(START, 1.0, 0.2, 60)
    assert wrong["implicit"][-1] < 1e-4 < 0.1 < wrong["first order"][-1]
    assert wrong["implicit"][1] > 0.1


def test_a_stronger_pull_makes_implicit_right_sooner():
    late, soon = (three.errors(START, pull, 0.1, 15)["implicit"][-1] for pull in (0.5, 4.0))
    assert soon < late / 10


@pytest.mark.parametrize("how", [(1.0, 0.1, 0), (1.0, 0.0, 7)])
def test_where_nothing_moves_first_order_is_exact(how):
    assert three.errors(START, *how)["first order"][-1] == 0


def test_without_a_pull_the_minimum_does_not_depend_on_the_start():
    assert three.settled(0.0).abs().max() == 0
    assert three.errors(START, 0.0, 0.1, 5)["implicit"][-1] == pytest.approx(1)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"num_inner_steps": 0},
        {"pull": 0.0, "inner_lr": 0.0, "num_inner_steps": 30},
        {"pull": 5.0, "inner_lr": 0.5, "num_inner_steps": 30, "start_1": 2.5, "start_2": -2.5},
    ],
)
def test_draws_over_its_range(explorer, state):
    assert explorer.png(**state)[:4] == b"\x89PNG"
    assert min(text.get_fontsize() for text in texts(explorer.figure(**state))) >= 11
    words = explorer.describe(**{**explorer.state, **state})
    assert "implicit" in words and "1 inner steps" not in words and "nan" not in words


def test_the_words_say_arrows_and_errors(explorer):
    words = explorer.describe(**{**explorer.state, "num_inner_steps": 1})
    assert words.startswith("1 inner step of 0.10, lambda 1.0.") and "overshoot" not in words
    found = {name: -g[-1] for name, g in three.gradients(*_arguments(explorer.state)).items()}
    second = explorer.describe(**explorer.state)
    for name, (x, y) in found.items():
        assert f"{name} ({x:.2f}, {y:.2f})" in second
    far = explorer.describe(**{**explorer.state, "pull": 5.0, "inner_lr": 0.5})
    assert "overshoot more and more" in far


def _arguments(state):
    start = torch.tensor([state["start_1"], state["start_2"]], dtype=torch.float64)
    return start, state["pull"], state["inner_lr"], state["num_inner_steps"]


def test_moves_and_goes_back(explorer):
    explorer.set(pull=3.0, num_inner_steps=20)
    assert (explorer.state["pull"], explorer.state["num_inner_steps"]) == (3.0, 20)
    explorer.reset()
    assert (explorer.state["pull"], explorer.state["num_inner_steps"]) == (1.0, 2)
