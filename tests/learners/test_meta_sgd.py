"""Meta-SGD against MAML, paper and pencil, closed forms, and a plain loop of autograd."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import check_meta_gradient
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD
from metalearn_edu.tasks import EpisodeBatch


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes(n_tasks=3, n_way=3, n_shot=2, n_query=4, item=(4,)):
    def labels(n):
        return torch.arange(n_way).repeat_interleave(n).repeat(n_tasks, 1)

    return EpisodeBatch(
        draw(n_tasks, n_way * n_shot, *item),
        labels(n_shot),
        draw(n_tasks, n_way * n_query, *item, seed=1),
        labels(n_query),
    )


class Nested(nn.Module):
    """A model whose parameter names have dots at two depths."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.Tanh()), nn.Linear(5, 5))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


def network():
    torch.manual_seed(0)
    return Nested().double()


def uneven(learner, seed=7):
    """The learner with step sizes that all differ, some of them negative."""
    with torch.no_grad():
        for i, rate in enumerate(learner.step_sizes):
            rate.copy_(0.2 * draw(*rate.shape, seed=seed + i))
    return learner


def close(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def inputs(batch):
    return batch.support_x, batch.support_y, batch.query_x


# ------------------------------------------------------------------ equal and frozen rates: MAML

OPTIONS = [
    {"num_inner_steps": 1},
    {"num_inner_steps": 3},
    {"num_inner_steps": 0},
    {"num_inner_steps": 2, "zero_head": True},
    {"num_inner_steps": 2, "first_order": True},
    {"num_inner_steps": 2, "max_inner_grad_norm": 0.1},
]
KINDS = {
    "network": (network, (4,)),
    "conv": (lambda: ConvNet(width=8, output_dim=3, image_size=8, n_blocks=2).double(), (1, 8, 8)),
}


def pair(kind, options, inner_lr=0.3):
    make, item = KINDS[kind]
    torch.manual_seed(0)
    model = make()
    maml = MAML(copy.deepcopy(model), inner_lr, **options)
    meta_sgd = MetaSGD(copy.deepcopy(model), inner_lr, **options)
    return maml, meta_sgd, episodes(item=item)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equal_rates_are_maml_bit_for_bit(kind, options):
    maml, meta_sgd, batch = pair(kind, options)
    assert torch.equal(meta_sgd(*inputs(batch)), maml(*inputs(batch)))
    losses = maml.loss(batch), meta_sgd.loss(batch)
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for first, second in zip(maml.model.parameters(), meta_sgd.model.parameters(), strict=True):
        assert first.requires_grad == second.requires_grad
        if first.requires_grad:
            assert torch.equal(first.grad, second.grad)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_frozen_rates_stay_maml_over_several_outer_steps(options):
    maml, meta_sgd, batch = pair("network", options)
    start = copy.deepcopy(maml.model.state_dict())
    meta_sgd.step_sizes.requires_grad_(False)
    for _ in range(4):
        assert maml.outer_loop(batch) == meta_sgd.outer_loop(batch)
    after, twin = maml.model.state_dict(), meta_sgd.model.state_dict()
    assert all(torch.equal(after[name], twin[name]) for name in after)
    assert not torch.equal(after["body.0.0.weight"], start["body.0.0.weight"])
    assert all(torch.equal(r, torch.full_like(r, 0.3)) for r in meta_sgd.rates.values())


# ------------------------------------------------------------------ paper, pencil, closed forms


@pytest.mark.parametrize("first_order", [False, True])
def test_a_case_for_pencil_and_paper(first_order):
    """One weight w = 1, squared error, one point each: support (2, 0), query (1, 1), alpha = 0.1.

    Support loss (2w)^2 has gradient 8w = 8, so w' = 1 - 0.8 = 0.2 and the query loss is 0.64 with
    gradient 2 (w' - 1) = -1.6 in w'. By alpha: -1.6 * -8 = 12.8, first order or not, since alpha
    multiplies the gradient and is not inside it. By w: -1.6 * (1 - 0.8), or -1.6 at first order.
    """
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    learner = MetaSGD(model, 0.1, loss_fn=F.mse_loss, first_order=first_order)
    parts = (torch.tensor([2.0, 0, 1, 1]).double()).view(4, 1, 1, 1)
    loss = learner.loss(EpisodeBatch(*parts))
    loss.backward()
    assert loss.item() == pytest.approx(0.64)
    assert learner.step_sizes[0].grad.item() == pytest.approx(12.8)
    assert model.weight.grad.item() == pytest.approx(-1.6 if first_order else -0.32)


def test_two_steps_on_paper():
    """Support loss w^2 / 2 shrinks w by (1 - alpha) a step, so w'' = (1 - alpha)^2 w.

    With w = 2, alpha = 0.5 and query loss (w'' - 1)^2 / 2: w'' = 0.5, its slope is -0.5, and
    dw''/dalpha = -2 (1 - alpha) w = -2. So the gradient by alpha is 1, by w it is -0.125.
    """
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 2.0)
    learner = MetaSGD(
        model, 0.5, num_inner_steps=2, loss_fn=lambda y, t: (y - t).square().mean() / 2
    )
    parts = (torch.tensor([1.0, 0, 1, 1]).double()).view(4, 1, 1, 1)
    loss = learner.loss(EpisodeBatch(*parts))
    loss.backward()
    assert loss.item() == pytest.approx(0.125)
    assert learner.step_sizes[0].grad.item() == pytest.approx(1.0)
    assert model.weight.grad.item() == pytest.approx(-0.125)


def support_gradients(model, params, x, y):
    loss = F.cross_entropy(functional_call(model, params, (x,)), y)
    return dict(
        zip(
            params,
            torch.autograd.grad(loss, list(params.values()), create_graph=True),
            strict=True,
        )
    )


def test_one_step_gradient_by_the_rates_is_minus_the_product_of_two_gradients():
    """dL_Q(theta') / dalpha = - grad L_Q(theta') * grad L_S(theta), element by element."""
    learner, batch = uneven(MetaSGD(network())), episodes()
    learner.loss(batch).backward()
    expected = {name: torch.zeros_like(rate) for name, rate in learner.rates.items()}
    for task in batch:
        start = {n: p.detach().requires_grad_() for n, p in learner.model.named_parameters()}
        inner = support_gradients(learner.model, start, task.support_x, task.support_y)
        fast = {n: (p - learner.rates[n] * inner[n]).detach() for n, p in start.items()}
        fast = {n: p.requires_grad_() for n, p in fast.items()}
        outer = support_gradients(learner.model, fast, task.query_x, task.query_y)
        for name in expected:
            expected[name] -= (outer[name] * inner[name]).detach() / len(batch)
    for name, rate in learner.rates.items():
        close(rate.grad, expected[name])
        assert rate.grad.abs().max() > 1e-6


@pytest.mark.parametrize("steps", [1, 3])
def test_gradients_match_central_differences(steps):
    learner, batch = uneven(MetaSGD(network(), num_inner_steps=steps)), episodes()
    report = check_meta_gradient(lambda learner: learner.loss(batch), learner, n_directions=3)
    assert report.ok, str(report)


def test_one_coordinate_at_a_time_by_differences():
    """The same without the package's own check, for three step sizes of each tensor."""
    learner, batch, h = uneven(MetaSGD(network(), num_inner_steps=2)), episodes(), 1e-5
    learner.loss(batch).backward()
    for rate in learner.step_sizes:
        for i in range(min(3, rate.numel())):
            ends = []
            for shift in (h, -2 * h):
                with torch.no_grad():
                    rate.view(-1)[i] += shift
                ends.append(learner.loss(batch).item())
            with torch.no_grad():
                rate.view(-1)[i] += h
            assert rate.grad.view(-1)[i].item() == pytest.approx(
                (ends[0] - ends[1]) / (2 * h), abs=1e-9
            )


# ------------------------------------------------------------------ several steps


def plain_loop(learner, task, steps, stale=False):
    params = dict(learner.model.named_parameters())
    gradient = None
    for _ in range(steps):
        if gradient is None or not stale:
            gradient = support_gradients(learner.model, params, task.support_x, task.support_y)
        params = {n: p - learner.rates[n] * gradient[n] for n, p in params.items()}
    return params


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_step_takes_the_gradient_of_its_own_point(steps):
    learner, task = uneven(MetaSGD(network(), num_inner_steps=steps)), episodes()[0]
    fast = learner.inner_loop(task.support_x, task.support_y)
    loop = plain_loop(learner, task, steps)
    for name in loop:
        close(fast[name], loop[name])
    stale = plain_loop(learner, task, steps, stale=True)
    gap = max((fast[n] - stale[n]).abs().max().item() for n in fast)
    assert gap == pytest.approx(0, abs=1e-12) if steps == 1 else gap > 1e-3


def test_more_steps_at_test_time():
    learner, batch = uneven(MetaSGD(network(), num_test_steps=3)), episodes()
    task = batch[0]
    one = learner(*inputs(batch))
    three = learner.eval()(*inputs(batch))
    loop = plain_loop(learner, task, 3)
    close(three[0], functional_call(learner.model, loop, (task.query_x,)))
    assert not torch.allclose(one, three)


# ------------------------------------------------------------------ names, state, no side effects


def test_names_with_dots_and_shapes():
    learner = MetaSGD(network(), 0.05)
    expected = {name: p.shape for name, p in learner.model.named_parameters()}
    assert {name: rate.shape for name, rate in learner.rates.items()} == expected
    assert "body.0.0.weight" in learner.rates
    assert all((rate == 0.05).all() for rate in learner.rates.values())
    n_weights = sum(p.numel() for p in learner.model.parameters())
    assert sum(p.numel() for p in learner.parameters()) == 2 * n_weights


def test_a_zero_head_for_other_classes_steps_by_the_mean_over_classes():
    learner = uneven(MetaSGD(network(), zero_head=True))
    batch = episodes(n_tasks=1, n_way=4)  # the model has 3 classes
    head = learner.learn_task(batch.support_x, batch.support_y)
    features = torch.tanh(learner.model.body(batch.support_x[0]))  # (S, 5)
    weight = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(features @ weight.T, batch.support_y[0])
    (gradient,) = torch.autograd.grad(loss, weight)
    close(head["head.weight"][0], -learner.rates["head.weight"].mean(dim=0) * gradient)


def test_the_state_dict_brings_the_rates_back():
    learner, batch = uneven(MetaSGD(network())), episodes()
    twin = MetaSGD(Nested().double())
    assert not torch.allclose(twin(*inputs(batch)), learner(*inputs(batch)))
    twin.load_state_dict(learner.state_dict())
    assert torch.equal(twin(*inputs(batch)), learner(*inputs(batch)))
    assert all(torch.equal(twin.rates[n], r) for n, r in learner.rates.items())


def test_frozen_parameters_have_no_rate_and_stay():
    model, task = network(), episodes()[0]
    model.body[0][0].weight.requires_grad_(False)
    learner = MetaSGD(model, 0.3)
    fast = learner.inner_loop(task.support_x, task.support_y)
    assert "body.0.0.weight" not in learner.rates and "body.0.0.weight" not in fast
    assert torch.isfinite(learner.loss(episodes()))


@pytest.mark.parametrize("grad", [True, False])
def test_adapting_changes_nothing(grad):
    learner, task = uneven(MetaSGD(network(), num_inner_steps=2)), episodes()[0]
    before = copy.deepcopy(learner.state_dict())
    with torch.set_grad_enabled(grad):
        fast = learner.inner_loop(task.support_x, task.support_y)
        predictor = learner.adapt(task.support_x, task.support_y)
        first = predictor(task.query_x)
        again = learner.adapt(task.support_x, task.support_y)(task.query_x)
    assert torch.equal(first, again)
    assert all(torch.equal(before[name], p) for name, p in learner.state_dict().items())
    assert all(p.grad is None for p in learner.parameters())
    assert first.requires_grad == grad
    for name, p in learner.model.named_parameters():
        assert fast[name].data_ptr() != p.data_ptr()
        assert not torch.equal(fast[name], p)


# ------------------------------------------------------------------ the outer loop


def test_the_outer_loop_moves_rates_and_weights():
    learner, batch = MetaSGD(network(), 0.3), episodes()
    before = copy.deepcopy(learner.state_dict())
    losses = [learner.outer_loop(batch) for _ in range(20)]
    assert losses[-1] < losses[0]
    for name, p in learner.state_dict().items():
        assert not torch.equal(before[name], p), name
    assert any((r != r.flatten()[0]).any() for r in learner.rates.values())  # no longer one number


def test_rates_become_negative_where_the_support_set_misleads():
    """Support targets s, query targets -s: the best step goes away from the support target."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    learner = MetaSGD(model, 0.2, meta_lr=0.05, loss_fn=lambda y, t: (y - t).square().mean() / 2)
    one, targets = torch.ones(4, 1, 1).double(), torch.tensor([-2.0, -1, 1, 2]).double()
    y = targets.view(4, 1, 1)
    batch = EpisodeBatch(one, y, one, -y)
    for _ in range(300):
        learner.outer_loop(batch)
    assert learner.step_sizes[0].item() == pytest.approx(-1, abs=1e-2)
    assert learner.loss(batch).item() < 1e-3


def test_start_and_rate_are_a_regression_of_query_on_support_targets():
    """One weight, one step: w' = (1 - alpha) w + alpha s, a line in s with slope alpha."""
    s, noise = draw(30, seed=3), draw(30, seed=4)
    q = 1.5 - 0.6 * s + 0.3 * noise
    slope = ((s - s.mean()) * (q - q.mean())).sum() / (s - s.mean()).square().sum()
    start = (q.mean() - slope * s.mean()) / (1 - slope)
    model = nn.Linear(1, 1, bias=False).double()
    learner = MetaSGD(model, 0.1, meta_lr=0.05, loss_fn=lambda y, t: (y - t).square().mean() / 2)
    one = torch.ones(30, 1, 1).double()
    batch = EpisodeBatch(one, s.view(30, 1, 1), one, q.view(30, 1, 1))
    for _ in range(400):
        learner.outer_loop(batch)
    assert learner.step_sizes[0].item() == pytest.approx(slope.item(), abs=1e-4)
    assert model.weight.item() == pytest.approx(start.item(), abs=1e-4)


def test_chunks_give_the_same_gradient():
    learner, batch = uneven(MetaSGD(network())), episodes(n_tasks=5)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.0)
    gradients = []
    for chunk_size in (None, 2):
        learner.outer_loop(batch, optimizer=optimizer, chunk_size=chunk_size)
        gradients.append([p.grad.clone() for p in learner.parameters()])
    for first, second in zip(*gradients, strict=True):
        close(first, second)


# ------------------------------------------------------------------ settings


def test_impossible_settings_are_refused():
    why = r"^engine must be torch\.func: the SGD of higher has one size for all$"
    with pytest.raises(ValueError, match=why):
        MetaSGD(network(), engine="higher")
    with pytest.raises(ValueError, match=r"inner_lr must be a finite .* at least 0, got -0\.1"):
        MetaSGD(network(), -0.1)
    with pytest.raises(ValueError, match="num_inner_steps"):
        MetaSGD(network(), num_inner_steps=-1)
    with pytest.raises(ValueError, match=r"loss_fn=F\.mse_loss"):
        one = torch.zeros(1, 2, 1)
        MetaSGD(MAMLModel(1, 4, 1)).loss(EpisodeBatch(one, one, one, one))


def test_one_inner_step_is_the_default():
    learner = MetaSGD(network())
    assert learner.num_inner_steps == 1 and learner.inner_lr == 0.01
