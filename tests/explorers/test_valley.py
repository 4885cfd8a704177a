import math

import pytest
import torch

from metalearn_edu.explorers.valley import ValleyExplorer, best_steps, left_over, valley
from tests.drawn_text import overlaps, texts


@pytest.fixture
def explorer():
    return ValleyExplorer()


def test_the_valley_has_its_curvatures_and_its_floor():
    torch.testing.assert_close(valley(0, 8), torch.diag(torch.tensor([1.0, 8.0])).double())
    torch.testing.assert_close(valley(90, 8), torch.diag(torch.tensor([8.0, 1.0])).double())
    turned = valley(30, 8)
    torch.testing.assert_close(torch.linalg.eigvalsh(turned), torch.tensor([1.0, 8.0]).double())
    floor = torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]).double()
    torch.testing.assert_close(turned @ floor, floor, rtol=0, atol=1e-6)


def test_a_diagonal_is_enough_where_the_axes_agree():
    for angle in (0, 90):
        curvature = valley(angle, 8)
        steps = best_steps(curvature)
        assert left_over(steps["diagonal"], curvature) == pytest.approx(0, abs=1e-12)
        assert left_over(steps["one number"], curvature) > 0.5


def test_at_45_degrees_a_diagonal_is_no_better_than_one_number():
    steps = best_steps(valley(45, 8))
    torch.testing.assert_close(steps["diagonal"], steps["one number"])


@pytest.mark.parametrize("angle", [0, 20, 45, 70])
def test_a_full_matrix_always_arrives(angle):
    curvature = valley(angle, 8)
    assert left_over(best_steps(curvature)["full matrix"], curvature) < 1e-12


@pytest.mark.parametrize("kind", ["one number", "diagonal"])
def test_no_other_step_of_the_kind_leaves_less(kind):
    curvature = valley(25, 6)
    step = best_steps(curvature)[kind]
    best = left_over(step, curvature)
    for h in (0.9, 1.1):
        assert left_over(h * step, curvature) > best
    if kind == "diagonal":
        for row in range(2):
            other = step.clone()
            other[row, row] *= 1.1
            assert left_over(other, curvature) > best


def test_what_is_left_is_the_mean_over_starts():
    curvature = valley(25, 6)
    step = best_steps(curvature)["diagonal"]
    turns = torch.arange(360).double().deg2rad()
    starts = torch.stack([turns.cos(), turns.sin()])
    ends = starts - step @ curvature @ starts
    rms = ends.square().sum(dim=0).mean().sqrt().item()
    assert left_over(step, curvature) == pytest.approx(rms)


def test_the_paths_are_gradient_steps(explorer):
    state = {"angle": 20, "ratio": 5, "start": 90, "n_steps": 2}
    curvature = valley(20, 5)
    for kind, path in explorer._paths(**state).items():
        w = torch.tensor([0.0, 2.0]).double().requires_grad_()
        for point in path[1:]:
            (gradient,) = torch.autograd.grad(w @ curvature @ w / 2, w)
            w = (w - best_steps(curvature)[kind] @ gradient).detach().requires_grad_()
            torch.testing.assert_close(point, w.detach(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "state",
    [{}, {"angle": 45, "ratio": 20, "start": 350, "n_steps": 5}, {"ratio": 1, "angle": 90}],
)
def test_draws_its_range_with_texts_apart(explorer, state):
    fig = explorer.figure(**state)
    assert overlaps(fig) == []
    assert min(t.get_fontsize() for t in texts(fig)) >= 11
    lines = {line.get_label() for line in fig.axes[0].lines}
    assert {"one number", "diagonal", "full matrix"} <= lines


def test_says_what_is_left(explorer):
    words = explorer.describe(**{**explorer.state, "angle": 0})
    assert "diagonal 0 %, full matrix 0 %" in words
    words = explorer.describe(**{**explorer.state, "angle": 45})
    one = 100 * left_over(best_steps(valley(45, 8))["one number"], valley(45, 8))
    assert f"one number {one:.0f} %, diagonal {one:.0f} %, full matrix 0 %" in words


def test_the_widget_moves(explorer):
    before = explorer.picture.value
    explorer.inputs["angle"].value = 45
    assert explorer.picture.value != before and "Valley at 45 degrees" in explorer.text.value
