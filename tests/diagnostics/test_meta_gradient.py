"""The check must name each typical mistake, and stay silent on honest code."""

import copy

import higher
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import grad as imported_grad
from torch.func import functional_call

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import (
    Report,
    check_meta_gradient,
)
from metalearn_edu.learners import MAML, EnhancedProtoNet, MAMLModel, PrototypicalNetwork
from tests.diagnostics.random_episodes import make_episodes

ALPHA = 0.3


TASK = make_episodes(n_tasks=1)[0]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def inner_loss(model, params):
    return F.cross_entropy(functional_call(model, params, (TASK.support_x,)), TASK.support_y)


def outer_loss(model, params):
    return F.cross_entropy(functional_call(model, params, (TASK.query_x,)), TASK.query_y)


def step(params, gradients, alpha=ALPHA):
    return {name: p - alpha * g for (name, p), g in zip(params.items(), gradients, strict=True)}


# ------------------------------------------------------------------ honest code: silence


def plain(model, n_steps=2):
    params = dict(model.named_parameters())
    for _ in range(n_steps):
        loss = inner_loss(model, params)
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = step(params, gradients)
    return outer_loss(model, params)


def with_higher(model, n_steps=2, copy_initial_weights=False):
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)
    with higher.innerloop_ctx(model, optimizer, copy_initial_weights=copy_initial_weights) as (
        fast,
        differentiable,
    ):
        for _ in range(n_steps):
            differentiable.step(F.cross_entropy(fast(TASK.support_x), TASK.support_y))
        return F.cross_entropy(fast(TASK.query_x), TASK.query_y)


def with_torch_func(model, n_steps=2):
    params = dict(model.named_parameters())
    for _ in range(n_steps):
        params = step(params, torch.func.grad(lambda p: inner_loss(model, p))(params).values())
    return outer_loss(model, params)


@pytest.mark.parametrize("honest", [plain, with_higher, with_torch_func])
@pytest.mark.parametrize("n_steps", [0, 1, 3])
def test_honest_second_order_code_passes(model, honest, n_steps):
    report = check_meta_gradient(lambda m: honest(m, n_steps), model, num_inner_steps=n_steps)
    report.require()
    assert report
    assert report.figures["relative error"] < 1e-7
    assert report.figures["cosine"] == pytest.approx(1)
    assert report.figures["norm ratio"] == pytest.approx(1)


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_honest_learners_pass_whole(engine):
    torch.manual_seed(0)
    episodes = make_episodes()
    maml = MAML(MAMLModel(4, 6, 3), inner_lr=ALPHA, num_inner_steps=2, engine=engine)
    check_meta_gradient(
        lambda m: m.loss(episodes), maml, num_inner_steps=2, n_directions=3
    ).require()
    check_meta_gradient(lambda m: m.loss(episodes), EnhancedProtoNet(4, 6, 3)).require()


def test_relu_and_pooling_give_no_false_alarm():
    """Blank images and zero biases put ReLU exactly on its kink."""
    torch.manual_seed(0)
    encoder = ConvNet(width=4, image_size=8, n_blocks=2)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    episodes = make_episodes(item=(1, 8, 8))
    episodes.support_x[:, 0], episodes.query_x[:, ::2] = 0, 0
    learner = PrototypicalNetwork(encoder)
    check_meta_gradient(lambda m: m.loss(episodes), learner, n_directions=3).require()


def test_a_step_size_of_zero_is_no_stale_loss(model):
    def loss(m):
        params = dict(m.named_parameters())
        for _ in range(2):
            inner = inner_loss(m, params)
            gradients = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            params = step(params, gradients, alpha=0.0)
        return outer_loss(m, params)

    check_meta_gradient(loss, model).require()


def test_a_loss_that_uses_dropout_is_repeatable(model):
    noisy = nn.Sequential(model, nn.Dropout(0.5))
    check_meta_gradient(lambda m: m(TASK.query_x).square().mean(), noisy).require()


# ------------------------------------------------------------------ mistakes: each by its name


def without_create_graph(model, grad=torch.autograd.grad):
    params = dict(model.named_parameters())
    gradients = grad(inner_loss(model, params), list(params.values()))
    return outer_loss(model, step(params, gradients))


def without_create_graph_imported(model):
    return without_create_graph(model, imported_grad)


def by_backward(model):
    params = dict(model.named_parameters())
    inner_loss(model, params).backward()
    return outer_loss(model, step(params, [p.grad for p in params.values()]))


def detached_gradient(model):
    params = dict(model.named_parameters())
    loss = inner_loss(model, params)
    gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    return outer_loss(model, step(params, [g.detach() for g in gradients]))


def detached_in_torch_func(model):
    params = dict(model.named_parameters())
    gradients = torch.func.grad(lambda p: inner_loss(model, p))(params).values()
    return outer_loss(model, step(params, [g.detach() for g in gradients]))


def detached_fast_parameters(model):
    params = dict(model.named_parameters())
    loss = inner_loss(model, params)
    gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    fast = {n: p.detach().requires_grad_() for n, p in step(params, gradients).items()}
    return outer_loss(model, fast)


def step_under_no_grad(model):
    params = dict(model.named_parameters())
    gradients = torch.autograd.grad(inner_loss(model, params), list(params.values()))
    with torch.no_grad():
        fast = step(params, gradients)
    return outer_loss(model, fast)


def all_under_no_grad(model):
    with torch.no_grad():
        return plain(model)


def returns_item(model):
    return plain(model).item()


def writes_data(model):
    gradients = torch.autograd.grad(
        inner_loss(model, dict(model.named_parameters())), list(model.parameters())
    )
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.data -= ALPHA * gradient
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def adds_in_place(model):
    loss = inner_loss(model, dict(model.named_parameters()))
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.add_(gradient, alpha=-ALPHA)
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def plain_optimizer(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)
    inner_loss(model, dict(model.named_parameters())).backward()
    optimizer.step()
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def replaces_parameters(model):
    gradients = torch.autograd.grad(
        F.cross_entropy(model(TASK.support_x), TASK.support_y), [model[0].weight]
    )
    model[0].weight = nn.Parameter(model[0].weight - ALPHA * gradients[0])
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def one_loss_for_all_steps(model):
    start = list(model.parameters())
    params = dict(model.named_parameters())
    loss = inner_loss(model, params)
    for _ in range(2):
        params = step(params, torch.autograd.grad(loss, start, create_graph=True))
    return outer_loss(model, params)


def loss_always_at_the_start(model):
    start = dict(model.named_parameters())
    params = start
    for _ in range(2):
        loss = inner_loss(model, start)
        gradients = torch.autograd.grad(loss, list(start.values()), create_graph=True)
        params = step(params, gradients)
    return outer_loss(model, params)


def start_gradient_in_torch_func(model):
    start = dict(model.named_parameters())
    params = start
    for _ in range(2):
        params = step(params, torch.func.grad(lambda p: inner_loss(model, p))(start).values())
    return outer_loss(model, params)


def one_loss_in_higher(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)
    with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (
        fast,
        differentiable,
    ):
        loss = F.cross_entropy(fast(TASK.support_x), TASK.support_y)
        for _ in range(2):
            differentiable.step(loss)
        return F.cross_entropy(fast(TASK.query_x), TASK.query_y)


def higher_with_copied_weights(model):
    return with_higher(model, copy_initial_weights=True)


def adapts_a_copy(model):
    fast = copy.deepcopy(model)
    optimizer = torch.optim.SGD(fast.parameters(), lr=ALPHA)
    F.cross_entropy(fast(TASK.support_x), TASK.support_y).backward()
    optimizer.step()
    return F.cross_entropy(fast(TASK.query_x), TASK.query_y)


def last_layer_detached(model):
    return F.cross_entropy(model[2](model[1](model[0](TASK.query_x)).detach()), TASK.query_y)


MISTAKES = [
    (without_create_graph, "first-order.*without create_graph=True"),
    (without_create_graph_imported, "first-order.*without create_graph=True"),
    (by_backward, r"first-order.*loss\.backward\(\)"),
    (detached_gradient, r"first-order.*\.detach\(\)"),
    (detached_in_torch_func, r"first-order.*\.detach\(\)"),
    (detached_fast_parameters, r"no gradient.*\.detach\(\)"),
    (step_under_no_grad, r"no gradient.*torch\.no_grad\(\)"),
    (all_under_no_grad, r"inner loop asked for a gradient.*torch\.no_grad\(\)"),
    (returns_item, r"plain float.*\.item\(\)"),
    (writes_data, "0.weight, 0.bias, 2.weight, 2.bias in place"),
    (adds_in_place, "in place"),
    (plain_optimizer, "0.weight, 0.bias, 2.weight, 2.bias in place"),
    (replaces_parameters, "0.weight in place"),
    (one_loss_for_all_steps, "stale inner loss"),
    (loss_always_at_the_start, "stale inner loss"),
    (start_gradient_in_torch_func, "stale inner loss"),
    (one_loss_in_higher, "stale inner loss"),
    (higher_with_copied_weights, "no gradient"),
    (adapts_a_copy, "no gradient reaches 0.weight, 0.bias.*deepcopy"),
    (last_layer_detached, r"no gradient reaches 0.weight, 0.bias, although.*\.detach\(\)"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=lambda v: getattr(v, "__name__", ""))
def test_each_mistake_gets_its_name(model, mistake, message):
    report = check_meta_gradient(mistake, model)
    assert not report
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        report.require()


@pytest.mark.parametrize("mistake", [without_create_graph, by_backward, detached_gradient])
def test_a_first_order_gradient_has_one_problem_only(model, mistake):
    assert len(check_meta_gradient(mistake, model).problems) == 1


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_fomaml_is_reported_as_first_order(engine):
    torch.manual_seed(0)
    episodes = make_episodes()
    learner = MAML(MAMLModel(4, 6, 3), inner_lr=ALPHA, first_order=True, engine=engine)
    report = check_meta_gradient(lambda m: m.loss(episodes), learner, n_directions=3)
    assert "first-order" in str(report)
    assert 0.01 < report.figures["relative error"] < 1


def test_first_order_is_right_when_the_inner_loss_is_linear():
    """The Hessian of a linear loss is 0, so there is nothing that FOMAML leaves out."""
    model = nn.Linear(4, 1).double()

    def loss(m):
        params = dict(m.named_parameters())
        inner = functional_call(m, params, (TASK.support_x,)).mean()
        fast = step(params, torch.autograd.grad(inner, list(params.values())))
        return functional_call(m, fast, (TASK.query_x,)).square().mean()

    check_meta_gradient(loss, model).require()


def test_an_inner_gradient_computed_once_shows_with_num_inner_steps(model):
    """Outside of the loop nothing is repeated, so that only the count can tell."""

    def loss(m):
        params = dict(m.named_parameters())
        gradient = torch.func.grad(lambda p: inner_loss(m, p))(params).values()
        for _ in range(3):
            params = step(params, gradient)
        return outer_loss(m, params)

    assert check_meta_gradient(loss, model)
    report = check_meta_gradient(loss, model, num_inner_steps=3)
    assert "3 inner steps need as many inner gradients, but only 1" in str(report)


def test_learned_step_sizes_that_get_no_gradient_are_named(model):
    class Rates(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.rate = model, nn.Parameter(torch.tensor(ALPHA))

        def forward(self):
            params = dict(self.model.named_parameters())
            inner = inner_loss(self.model, params)
            gradients = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            return outer_loss(self.model, step(params, gradients, self.rate.item()))

    report = check_meta_gradient(lambda m: m(), Rates())
    assert len(report.problems) == 1
    assert "no gradient reaches rate, although the loss depends on it" in str(report)


def test_a_function_that_ignores_its_argument_is_told(model):
    captured = nn.Linear(4, 3).double()
    report = check_meta_gradient(
        lambda m: F.cross_entropy(captured(TASK.query_x), TASK.query_y), model
    )
    assert "does not depend on 0.weight, 0.bias, 2.weight, 2.bias" in str(report)


def test_a_wrong_gradient_without_inner_loop_is_told():
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient / 2

    report = check_meta_gradient(
        lambda m: Halved.apply(m.weight).square().sum(), nn.Linear(3, 2, bias=False)
    )
    assert "the gradient of weight is wrong" in str(report)
    assert report.figures["norm ratio"] == pytest.approx(0.5)
    assert report.figures["cosine"] == pytest.approx(1)


def test_a_random_outer_loss_is_refused(model):
    generator = torch.Generator().manual_seed(0)

    def loss(m):
        return plain(m) * (1 + torch.rand((), generator=generator))

    assert "draws random numbers or keeps state" in str(check_meta_gradient(loss, model))
    report = check_meta_gradient(lambda m: plain(m) * float("nan"), model)
    assert "nan and then nan" in str(report)


def test_impossible_requests_raise(model):
    single = TASK.query_x.float()
    with pytest.raises(ValueError, match="float64"):
        check_meta_gradient(lambda m: m(single).sum(), model)
    with pytest.raises(ValueError, match="scalar"):
        check_meta_gradient(lambda m: m(TASK.query_x), model)
    with pytest.raises(ValueError, match="Flatten has no parameter"):
        check_meta_gradient(lambda m: m(TASK.query_x).sum(), nn.Flatten())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        check_meta_gradient(lambda m: m(TASK.query_x[:, :2]).sum(), model)


def test_the_check_leaves_model_and_random_state_alone(model):
    before = {name: p.clone() for name, p in model.named_parameters()}
    torch.manual_seed(5)
    check_meta_gradient(writes_data, model)
    assert torch.equal(torch.rand(3), torch.manual_seed(5) and torch.rand(3))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())


def test_a_report_reads_well():
    good, bad = Report("splits"), Report("splits", ["first", "second"], {"n": 2.0})
    assert good and good.ok and str(good) == "splits: no problem found"
    assert not bad and repr(bad) == "splits:\n- first\n- second"
    good.require()


# ---------------------------------------------------------------- what was checked, was checked


class Wrong(torch.autograd.Function):
    """The sum of a vector, with -5 times its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.sum()

    @staticmethod
    def backward(ctx, gradient):
        return -5 * gradient * torch.ones(3, dtype=torch.float64)


class Vector(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))


NOTHING_TO_CHECK_WITH = {
    "step": [0, float("nan"), float("inf"), -1e-5, "x", 1e-300, 1e-9, 0.1, 1e10],
    "tolerance": [float("nan"), -1e-9, float("inf"), 1e9, None],
    "n_directions": [0, -1, 1.5, True],
    "num_inner_steps": [-1, 0.5],
    "seed": [0.5, None],
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in NOTHING_TO_CHECK_WITH.items() for v in values]
)
def test_numbers_that_check_nothing_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        check_meta_gradient(lambda m: Wrong.apply(m.w), Vector(), **{name: value})


@pytest.mark.parametrize("step", [1e-8, 1e-6, 1e-5, 1e-4, 1e-3])
def test_a_wrong_gradient_is_found_at_every_step_that_is_allowed(step):
    report = check_meta_gradient(lambda m: Wrong.apply(m.w), Vector(), step=step)
    assert "the gradient of w is wrong" in str(report)
    assert report.figures["norm ratio"] == pytest.approx(5, rel=1e-3)


def test_slopes_below_the_rounding_of_the_loss_are_no_success():
    report = check_meta_gradient(lambda m: 1e12 + 1e-3 * Wrong.apply(m.w), Vector())
    assert not report and "check nothing: rounding alone may explain" in str(report)


def test_an_infinite_loss_is_no_success():
    report = check_meta_gradient(lambda m: m.w.sum() * float("inf"), Vector())
    assert not report and "not finite" in str(report)


def test_a_loss_that_is_not_finite_beside_the_point_is_no_success():
    """0 * log(0) on one side: the differences are NaN, and the gradient looks fine."""

    def loss(m):
        return m.w.sum() + (m.w[0] - 1).clamp(max=0).sqrt().nan_to_num(0) + _nan_below(m.w[0])

    report = check_meta_gradient(loss, Vector())
    assert not report and "the gradient of w is wrong" in str(report)


def _nan_below(x):
    return x * 0 if x.item() >= 1 else x * float("nan")


@pytest.mark.parametrize("model", [None, EnhancedProtoNet, lambda x: x])
def test_a_model_that_is_none_is_refused(model):
    with pytest.raises(ValueError, match="model, a module; got"):
        check_meta_gradient(lambda m: m.loss(None), model)
    with pytest.raises(ValueError, match="need outer_loss, a function"):
        check_meta_gradient(None, Vector())
