"""MAML's gradient against paper and pencil, closed forms, differences, and a second engine."""

import copy
import gc
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import check_meta_gradient
from metalearn_edu.engine import network as network_module
from metalearn_edu.engine.chunks import Sizes, bytes_computed
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD
from metalearn_edu.tasks import EpisodeBatch, Sinusoids

ENGINES = ("torch.func", "higher")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def episodes(n_tasks=3, n_way=3, n_shot=2, n_query=4, item=(4,), dtype=torch.float64):
    def labels(n):
        return torch.arange(n_way).repeat_interleave(n).repeat(n_tasks, 1)

    return EpisodeBatch(
        draw(n_tasks, n_way * n_shot, *item, dtype=dtype),
        labels(n_shot),
        draw(n_tasks, n_way * n_query, *item, seed=1, dtype=dtype),
        labels(n_query),
    )


def points(n_tasks=1, n_support=5, n_query=7, width=3):
    return EpisodeBatch(
        draw(n_tasks, n_support, width),
        draw(n_tasks, n_support, 1, seed=1),
        draw(n_tasks, n_query, width, seed=2),
        draw(n_tasks, n_query, 1, seed=3),
    )


def network(output_dim=3):
    torch.manual_seed(0)
    layers = (nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, output_dim))
    return nn.Sequential(*layers).double()


def meta_gradient(learner, batch):
    """The outer gradient as one vector; 0 where a parameter gets none."""
    learner.zero_grad()
    learner.loss(batch).backward()
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.requires_grad])


def close(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


# ------------------------------------------------------------------ by hand and in closed form


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("first_order", "expected"), [(False, -0.32), (True, -1.6)])
def test_a_case_for_pencil_and_paper(engine, first_order, expected):
    """One weight w = 1, squared error, one point each: support (2, 0), query (1, 1), alpha = 0.1.

    Support loss (2w)^2 has gradient 8w = 8, so w' = 1 - 0.8 = 0.2 and the query loss is 0.64 with
    gradient 2 (w' - 1) = -1.6 in w'. As w' = (1 - 0.8) w, the meta-gradient is -1.6 * 0.2 = -0.32.
    """
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    learner = MAML(
        model, 0.1, num_inner_steps=1, loss_fn=F.mse_loss, first_order=first_order, engine=engine
    )
    (support_x, support_y, query_x, query_y) = (
        torch.tensor([2.0, 0, 1, 1]).double().view(4, 1, 1, 1)
    )
    batch = EpisodeBatch(support_x, support_y, query_x, query_y)
    assert learner.inner_loop(support_x[0], support_y[0])["weight"].item() == pytest.approx(0.2)
    assert learner.loss(batch).item() == pytest.approx(0.64)
    assert meta_gradient(learner, batch).item() == pytest.approx(expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_steps", [0, 1, 4])
def test_linear_regression_has_the_closed_form_of_the_paper(engine, n_steps):
    """Meta-gradient (I - alpha H)^k grad L_query(w_k), with H = 2 X'X / n for squared error."""
    alpha, batch, model = 0.05, points(), nn.Linear(3, 1, bias=False).double()
    task, w = batch[0], model.weight.detach()[0].clone()
    hessian = 2 * task.support_x.T @ task.support_x / len(task.support_x)
    for _ in range(n_steps):
        residual = task.support_x @ w - task.support_y[:, 0]
        w = w - alpha * 2 * task.support_x.T @ residual / len(residual)
    residual = task.query_x @ w - task.query_y[:, 0]
    query_gradient = 2 * task.query_x.T @ residual / len(residual)
    shrink = torch.linalg.matrix_power(torch.eye(3).double() - alpha * hessian, n_steps)
    options = {"num_inner_steps": n_steps, "loss_fn": F.mse_loss, "engine": engine}
    close(meta_gradient(MAML(model, alpha, **options), batch), shrink @ query_gradient)
    close(meta_gradient(MAML(model, alpha, first_order=True, **options), batch), query_gradient)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gradient_matches_central_differences_in_every_coordinate(engine):
    learner = MAML(network(), 0.4, num_inner_steps=3, engine=engine)
    batch, found = episodes(), []
    gradient = meta_gradient(learner, batch)
    for parameter in learner.parameters():
        for i in range(parameter.numel()):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = copy.deepcopy(learner)
                name = next(n for n, p in learner.named_parameters() if p is parameter)
                with torch.no_grad():
                    moved.get_parameter(name).view(-1)[i] += shift
                ends.append(moved.loss(batch).item())
            found.append((ends[0] - ends[1]) / 2e-5)
    close(gradient, torch.tensor(found, dtype=torch.float64), tolerance=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{"inner_lr": 0.0}, {"num_inner_steps": 0}])
def test_without_adaptation_it_is_joint_training(engine, options):
    learner, batch = MAML(network(), **options, engine=engine), episodes()
    scores = learner.model(batch.query_x.flatten(0, 1))
    joint = torch.autograd.grad(
        F.cross_entropy(scores, batch.query_y.flatten()), list(learner.parameters())
    )
    close(meta_gradient(learner, batch), torch.cat([g.flatten() for g in joint]))


# ------------------------------------------------------------------ first order


@pytest.mark.parametrize("engine", ENGINES)
def test_fomaml_has_the_same_loss_and_another_gradient(engine):
    batch, options = episodes(), {"inner_lr": 0.4, "num_inner_steps": 3, "engine": engine}
    second, first = MAML(network(), **options), MAML(network(), first_order=True, **options)
    close(first.loss(batch), second.loss(batch))
    exact, approximate = meta_gradient(second, batch), meta_gradient(first, batch)
    error = (approximate - exact).norm() / exact.norm()
    assert 0.05 < error < 1
    assert torch.cosine_similarity(approximate, exact, dim=0) > 0.8


def test_fomaml_is_the_query_gradient_at_the_adapted_weights():
    learner, batch = MAML(network(), 0.4, num_inner_steps=3, first_order=True), episodes(n_tasks=1)
    task, adapted = batch[0], copy.deepcopy(learner.model)
    adapted.load_state_dict(learner.inner_loop(task.support_x, task.support_y))
    loss = F.cross_entropy(adapted(task.query_x), task.query_y)
    gradient = torch.autograd.grad(loss, list(adapted.parameters()))
    close(meta_gradient(learner, batch), torch.cat([g.flatten() for g in gradient]))


def test_fomaml_equals_maml_when_the_support_loss_is_linear():
    """No curvature, so nothing is left out. The product is linear in the scores of one layer."""

    def loss_fn(scores, targets):
        return (scores * targets).mean()

    options = {"inner_lr": 0.3, "num_inner_steps": 3, "loss_fn": loss_fn}
    batch, model = points(n_tasks=2), nn.Linear(3, 1).double()
    exact = meta_gradient(MAML(model, **options), batch)
    close(meta_gradient(MAML(model, first_order=True, **options), batch), exact)
    assert exact.norm() > 0.1


# ------------------------------------------------------------------ two engines


MODELS = {
    "network": (network, (4,)),
    "conv": (lambda: ConvNet(width=16, output_dim=3, image_size=8, n_blocks=2).double(), (1, 8, 8)),
}
OPTIONS = [
    {"num_inner_steps": 1},
    {"num_inner_steps": 3},
    {"num_inner_steps": 2, "first_order": True},
    {"num_inner_steps": 2, "max_inner_grad_norm": 0.2},
    {"num_inner_steps": 2, "max_inner_grad_norm": 0.2, "first_order": True},
    {"num_inner_steps": 2, "zero_head": True},
]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_engines_agree(kind, options, dtype):
    make, item = MODELS[kind]
    rounding = 1e-6 if kind == "network" else 1e-5  # more sums, more rounding
    tolerance = 1e-12 if dtype == torch.float64 else rounding
    torch.manual_seed(0)
    model, batch = make(), episodes(item=item, dtype=dtype)
    learners = [
        MAML(copy.deepcopy(model), 0.1, engine=engine, **options).to(dtype) for engine in ENGINES
    ]
    close(learners[0].loss(batch), learners[1].loss(batch), tolerance)
    first, second = (meta_gradient(learner, batch) for learner in learners)
    assert (first - second).norm() <= tolerance * first.norm()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_frozen_and_unused_parameters_stay_where_they_are(engine, first_order, clip):
    model = network()
    model[0].weight.requires_grad_(False)
    model[0].register_parameter("spare", nn.Parameter(torch.ones(2).double()))
    learner = MAML(model, 0.3, engine=engine, first_order=first_order, max_inner_grad_norm=clip)
    task = episodes()[0]
    fast = learner.inner_loop(task.support_x, task.support_y)
    close(fast["0.spare"].detach(), torch.ones(2).double())
    assert "0.weight" not in fast  # nothing moves it
    other = MAML(model, 0.3, first_order=first_order, max_inner_grad_norm=clip)
    close(learner.loss(episodes()), other.loss(episodes()))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_inner_loop_is_plain_gradient_descent(engine):
    """The same steps with torch.optim.SGD on a copy."""
    learner, task = MAML(network(), 0.3, num_inner_steps=4, engine=engine), episodes()[0]
    model = copy.deepcopy(learner.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(task.support_x), task.support_y).backward()
        optimizer.step()
    fast = learner.inner_loop(task.support_x, task.support_y)
    for name, parameter in model.named_parameters():
        close(fast[name].detach(), parameter.detach())


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("engine", ENGINES)
def test_num_test_steps_count_in_eval_mode_only(engine):
    options = {"num_inner_steps": 1, "num_test_steps": 3, "engine": engine}
    learner, batch = MAML(network(), 0.3, **options), episodes()
    inputs = (batch.support_x, batch.support_y, batch.query_x)

    def scores(n_steps):
        return MAML(network(), 0.3, num_inner_steps=n_steps)(*inputs).detach()

    close(learner(*inputs).detach(), scores(1))
    close(learner.eval()(*inputs).detach(), scores(3))
    task = batch[0]
    predictor = learner.adapt(task.support_x, task.support_y, num_inner_steps=2)
    close(predictor(task.query_x).detach(), scores(2)[0])
    assert learner.num_steps == 3 and learner.train().num_steps == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_clipping_shortens_the_step_and_keeps_its_direction(engine):
    task, start = episodes()[0], dict(network().named_parameters())

    def moved(limit):
        learner = MAML(network(), 0.5, num_inner_steps=1, max_inner_grad_norm=limit, engine=engine)
        fast = learner.inner_loop(task.support_x, task.support_y)
        return torch.cat([(fast[n] - p).flatten() for n, p in start.items()]).detach()

    free, clipped = moved(None), moved(0.01)
    assert clipped.norm().item() == pytest.approx(0.5 * 0.01, rel=1e-6)
    assert torch.cosine_similarity(free, clipped, dim=0).item() == pytest.approx(1)
    close(moved(1e6), free)


def test_a_step_lowers_the_support_loss_of_every_task():
    batch = episodes()
    losses = []
    for n_steps in (0, 1, 5):
        learner = MAML(network(), 0.3, num_inner_steps=n_steps)
        scores = learner(batch.support_x, batch.support_y, batch.support_x)
        losses.append(F.cross_entropy(scores.mT, batch.support_y, reduction="none").mean(dim=1))
    assert (losses[0] > losses[1]).all() and (losses[1] > losses[2]).all()


def test_zero_head_starts_from_equal_scores():
    learner, batch = MAML(network(), 0.3, num_inner_steps=2, zero_head=True), episodes()
    task = batch[0]
    no_steps = learner.adapt(task.support_x, task.support_y, num_inner_steps=0)
    assert torch.equal(no_steps(task.query_x), torch.zeros(12, 3).double())
    one_step = learner.inner_loop(task.support_x, task.support_y, num_inner_steps=1)
    close(one_step["0.weight"].detach(), learner.model[0].weight.detach())
    assert one_step["2.weight"].norm() > 0


@pytest.mark.parametrize("norm", ["batch", "batch_transductive"])
def test_running_statistics_are_refused_and_batch_statistics_are_a_choice(norm):
    model = ConvNet(width=4, output_dim=3, image_size=8, n_blocks=2, norm=norm)
    if norm == "batch":
        with pytest.raises(ValueError, match=r"layer 'blocks.0.1' .* keeps running statistics"):
            MAML(model)
    else:
        batch = episodes(item=(1, 8, 8), dtype=torch.float32)
        assert torch.isfinite(MAML(model).loss(batch))


def test_impossible_settings_are_refused():
    for inner_lr in (-0.1, float("nan")):
        with pytest.raises(
            ValueError, match=f"inner_lr must be a finite .* at least 0, got {inner_lr}"
        ):
            MAML(network(), inner_lr)
    with pytest.raises(ValueError, match=r"num_inner_steps .* at least 0, got -1"):
        MAML(network(), num_inner_steps=-1)
    with pytest.raises(ValueError, match=r"num_inner_steps .* integer .* got 2\.5"):
        MAML(network(), num_inner_steps=2.5)
    with pytest.raises(ValueError, match=r"num_test_steps .* at least 0, got -2"):
        MAML(network(), num_test_steps=-2)
    with pytest.raises(ValueError, match=r"engine must be torch\.func or higher, got 'jax'"):
        MAML(network(), engine="jax")
    with pytest.raises(ValueError, match=r"max_inner_grad_norm must be a finite .* above 0, got 0"):
        MAML(network(), max_inner_grad_norm=0)
    with pytest.raises(ValueError, match="zero_head needs a model with a linear layer"):
        MAML(nn.Conv2d(1, 1, 3), zero_head=True)


def test_a_model_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match=r"output_dim 5, but the tasks need 3 \(n_way\)"):
        MAML(MAMLModel(4, 8, 5).double()).loss(episodes())
    with pytest.raises(ValueError, match=r"output_dim 2, but the tasks need 1 \(targets\)"):
        MAML(MAMLModel(3, 8, 2).double(), loss_fn=F.mse_loss).loss(points())


def test_cross_entropy_on_regression_targets_is_refused():
    """It would be 0 whatever the prediction, and train on nothing."""
    with pytest.raises(ValueError, match=r"loss_fn=F\.mse_loss"):
        MAML(MAMLModel(3, 8, 1).double()).loss(points())


def test_the_default_network_is_the_one_of_the_sinusoids():
    layers = [m for m in MAMLModel(1, 40, 1) if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(1, 40), (40, 40), (40, 1)]
    assert sum(isinstance(m, nn.ReLU) for m in MAMLModel(1, 40, 1)) == 2


# ------------------------------------------------------------------ sinusoids: known anchors


class Fixed(nn.Module):
    """A function of x without anything to learn, times a parameter that MAML needs."""

    def __init__(self, function):
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * self.function(x)


@pytest.mark.parametrize(
    ("function", "expected"),
    [(torch.zeros_like, 4.2517), (lambda x: -1.6234 * torch.cos(x), 3.0057)],
    ids=["always zero", "best without seeing the task"],
)
def test_what_can_be_had_on_sinusoids_without_adapting(function, expected):
    learner = MAML(Fixed(function), num_inner_steps=0, loss_fn=F.mse_loss)
    result = evaluate_meta_learner(learner, Sinusoids(), n_episodes=20_000, chunk_size=5000)
    assert result.mean == pytest.approx(expected, abs=2 * result.half_width)
    assert result.half_width < 0.06


def test_the_anchors_follow_from_the_integrals():
    """E[A^2] E[sin^2] and the best multiple of cos x, by integrating over amplitude and phase."""
    amplitude = torch.linspace(0.1, 5, 101, dtype=torch.float64)[:, None, None]
    phase = torch.linspace(0, math.pi, 101, dtype=torch.float64)[:, None]
    x = torch.linspace(-5, 5, 201, dtype=torch.float64)

    def mean(values, grid, dim):
        return torch.trapezoid(values, dx=1 / (len(grid.flatten()) - 1), dim=dim)

    y = amplitude * torch.sin(x - phase)
    guess = mean(mean(y, amplitude, 0), phase, 0)  # the mean over tasks at each x
    torch.testing.assert_close(guess, -1.6234 * torch.cos(x), rtol=0, atol=1e-3)
    squares = [y.square(), (y - guess).square()]
    anchors = [mean(mean(mean(s, amplitude, 0), phase, 0), x, 0).item() for s in squares]
    assert anchors == pytest.approx([4.2517, 3.0057], abs=1e-3)


def test_a_model_that_takes_the_place_of_another_does_so_in_the_inner_loop():
    learner, batch = MAML(network(), 0.3), episodes()
    other = network()
    nn.init.zeros_(other[2].weight)
    learner.model = other
    assert learner.loss(batch) == MAML(other, 0.3).loss(batch)
    assert learner.loss(batch) != MAML(network(), 0.3).loss(batch)


# ------------------------------------------------------------------ chunks and memory


def test_chunks_are_chosen_by_size_and_give_the_same_gradient(monkeypatch):
    batch, whole, chosen = episodes(n_tasks=5), MAML(network(), 0.3), MAML(network(), 0.3)
    assert whole.tasks_at_once(batch) > 5  # small tasks go all at once
    one = batch.support_x[:1], batch.support_y[:1]
    inner = bytes_computed(lambda: whole.learn_task(*one))
    monkeypatch.setattr(network_module, "KEPT", 2 * inner)
    assert chosen.tasks_at_once(batch) == 2
    for learner in (whole, chosen):
        learner.outer_loop(batch, optimizer=torch.optim.SGD(learner.parameters(), lr=0.0))
    same_gradients(whole, chosen)


def same_gradients(first, second):
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        close(p.grad, q.grad)


@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"zero_head": True}])
@pytest.mark.parametrize("learner", [MAML, MetaSGD])
def test_queries_piece_by_piece_give_the_same_gradient(monkeypatch, learner, options):
    batch = episodes(n_tasks=5)
    whole, pieces = (learner(network(), 0.3, num_inner_steps=2, **options) for _ in range(2))
    first = whole.loss(batch)
    first.backward()
    calls, answer = [], pieces._network.scores
    monkeypatch.setattr(network_module, "PIECE", 1)
    monkeypatch.setattr(
        pieces._network, "scores", lambda s, x: calls.append(len(x)) or answer(s, x)
    )
    second = pieces.loss(batch)
    second.backward()
    close(first, second)
    same_gradients(whole, pieces)
    assert calls == [1] * 6  # one to see how much it computes
    report = check_meta_gradient(lambda m: m.loss(batch), pieces, n_directions=2)
    assert report.ok is not options.get("first_order", False), str(report)


class Scaled(nn.Module):
    """Cross-entropy of scores times a number that is learned."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, scores, labels):
        return F.cross_entropy(scores * self.scale, labels)


def test_what_a_loss_learns_has_its_gradient_whatever_the_pieces(monkeypatch):
    whole, pieces = (MAML(network(), 0.3, num_inner_steps=1, loss_fn=Scaled()) for _ in range(2))
    whole.loss(episodes()).backward()
    monkeypatch.setattr(network_module, "PIECE", 1)
    pieces.loss(episodes()).backward()
    same_gradients(whole, pieces)
    assert abs(pieces.loss_fn.scale.grad.item()) > 1e-3


def test_queries_piece_by_piece_are_checked_too(monkeypatch):
    monkeypatch.setattr(network_module, "PIECE", 1)
    batch = episodes(n_tasks=2)
    batch.query_x[1, 0] = math.nan
    with pytest.raises(ValueError, match="query_x holds"):
        MAML(network()).loss(batch)


def test_a_gpu_gets_larger_chunks():
    numbers = torch.ones(30)
    sizes = [
        Sizes().of(lambda task: numbers + 1, 1200, torch.empty(1, device=device))
        for device in ("cpu", "meta")
    ]
    assert sizes == [10, 160]


def test_chunk_size_overrides_the_choice(monkeypatch):
    learner, sizes = MAML(network()), []
    monkeypatch.setattr(learner, "tasks_at_once", lambda tasks: 1)
    plain = learner.loss
    monkeypatch.setattr(learner, "loss", lambda tasks: sizes.append(len(tasks)) or plain(tasks))
    learner.outer_loop(episodes(n_tasks=5), chunk_size=3)
    learner.outer_loop(episodes(n_tasks=2))
    assert sizes == [3, 2, 1, 1]


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the memory")
def test_memory_stays_flat_over_200_outer_steps():
    """Every step computes some 3 MB: keeping 1 % of that would show as 6 MB."""
    model = ConvNet(width=8, output_dim=3, image_size=16, n_blocks=2)
    learner, batch = (
        MAML(model, 0.1, num_inner_steps=2),
        episodes(4, item=(1, 16, 16)).to(dtype=torch.float32),
    )
    marks = []
    for n_steps in (20, 200):
        for _ in range(n_steps):
            learner.outer_loop(batch)
        gc.collect()
        n_tensors = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
        marks.append((n_tensors, resident_bytes()))
    assert bytes_computed(lambda: learner.loss(batch)) > 3e6
    assert marks[1][0] == marks[0][0]
    assert marks[1][1] - marks[0][1] < 6e6


def test_steps_and_rates_that_would_not_be_taken_are_refused():
    batch = episodes()
    for steps in (-1, 1.5, math.nan, "2"):
        with pytest.raises(ValueError, match="num_inner_steps must be an integer of at least 0"):
            MAML(network()).adapt(batch.support_x[0], batch.support_y[0], num_inner_steps=steps)
    rate = nn.Parameter(torch.tensor(0.1))
    with pytest.raises(ValueError, match=r"inner_lr requires a gradient.* MetaSGD learns its own"):
        MAML(network(), rate)
    with pytest.raises(ValueError, match=r"inner_lr\['0'\] requires a gradient"):
        MAML(network(), {"0": rate})
    for loss_fn in (None, "mse", nn.CrossEntropyLoss):
        with pytest.raises(ValueError, match="loss_fn must be a module or a function"):
            MAML(network(), loss_fn=loss_fn)
    with pytest.raises(ValueError, match="inner_params must be names, or a function"):
        MAML(network(), inner_params=3)


def test_step_sizes_stay_what_was_given():
    rates = {"": 0.3}
    learner, same = MAML(network(), rates), MAML(network(), 0.3)
    rates[""] = math.nan
    close(learner.loss(episodes()), same.loss(episodes()))
