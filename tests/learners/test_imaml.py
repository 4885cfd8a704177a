"""Implicit MAML beside closed forms, the unrolled gradient, and what it costs in memory."""

import copy
import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metalearn_edu.diagnostics import check_meta_gradient
from metalearn_edu.learners import IMAML, MAML
from metalearn_edu.tasks import EpisodeBatch
from tests.learners.users_models import MODELS, draw, episodes, weights

D = 5
SOLVED = {"num_inner_steps": 2000, "tolerance": 1e-12}


def close(first, second, tolerance=1e-10):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def linear_tasks(n_tasks=3, n_items=8):
    """Linear regression: both losses are quadratics of the weights."""
    x, queries = draw(n_tasks, n_items, D), draw(n_tasks, n_items, D, seed=1)
    y, answers = draw(n_tasks, n_items, 1, seed=2), draw(n_tasks, n_items, 1, seed=3)
    return EpisodeBatch(x, y, queries, answers)


def linear(lam=1.0, **options):
    torch.manual_seed(0)
    model = nn.Linear(D, 1, bias=False).double()
    return IMAML(model, 1.5 / (lam + 8), loss_fn=F.mse_loss, lam=lam, **SOLVED | options)


def meta_gradient(learner, batch):
    learner.zero_grad()
    learner.loss(batch).backward()
    return torch.cat([p.grad.flatten() for p in learner.model.parameters()])


def by_hand(task, theta, lam):
    """Solution and (I + H / lam)^-1 grad L_Q of a task of linear regression."""
    x, y, n = task.support_x, task.support_y[:, 0], len(task.support_x)
    h, eye = 2 * x.mT @ x / n, torch.eye(D).double()
    phi = torch.linalg.solve(h + lam * eye, 2 * x.mT @ y / n + lam * theta)
    away = task.query_x @ phi - task.query_y[:, 0]
    by_phi = 2 * task.query_x.mT @ away / len(away)
    return phi, torch.linalg.solve(eye + h / lam, by_phi)


# ------------------------------------------------------------------ closed forms


@pytest.mark.parametrize("lam", [0.1, 1.0, 10.0])
def test_on_quadratics_the_gradient_is_that_of_the_theorem(lam):
    learner, batch = linear(lam, num_cg_steps=D), linear_tasks()
    theta = learner.model.weight[0].detach()
    expected = [by_hand(task, theta, lam) for task in batch]
    for task, (phi, _) in zip(batch, expected, strict=True):
        found = learner.inner_loop(task.support_x, task.support_y)["weight"][0].detach()
        close(found, phi)
    close(meta_gradient(learner, batch), sum(g for _, g in expected) / len(batch))


def test_conjugate_gradients_are_exact_after_d_steps_and_not_before():
    batch = linear_tasks()
    theta = linear().model.weight[0].detach()
    exact = sum(by_hand(task, theta, 1.0)[1] for task in batch) / len(batch)
    errors = [
        (meta_gradient(linear(num_cg_steps=steps), batch) - exact).norm().item()
        for steps in range(1, D + 1)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 1e-10 < 1e-4 < errors[-2]


def unrolled(model, batch, lam, lr, steps):
    """The gradient back through `steps` regularised steps, in plain autograd, task by task."""
    own, total = dict(model.named_parameters()), 0
    for task in batch:
        fast = dict(own)
        for _ in range(steps):
            scores = torch.func.functional_call(model, fast, (task.support_x,))
            pull = sum(((fast[n] - own[n]) ** 2).sum() for n in own)
            loss = F.cross_entropy(scores, task.support_y) + lam / 2 * pull
            g = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {n: fast[n] - lr * s for n, s in zip(own, g, strict=True)}
        scores = torch.func.functional_call(model, fast, (task.query_x,))
        loss = F.cross_entropy(scores, task.query_y)
        found = torch.autograd.grad(loss, list(own.values()))
        total = total + torch.cat([g.flatten() for g in found]) / len(batch)
    return total


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def solved(model, **options):
    exact = {"inner_lr": 0.6, "lam": 1.0, "num_cg_steps": 60} | SOLVED
    return IMAML(model, **exact | options)


def test_the_unrolled_gradient_comes_to_it_as_its_steps_grow():
    batch = episodes()
    implicit = meta_gradient(solved(two_layers()), batch)
    errors = [
        (unrolled(two_layers(), batch, 1.0, 0.6, steps) - implicit).norm().item()
        for steps in (1, 5, 15, 60)
    ]
    assert all(later < earlier / 2 for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 1e-10


def test_as_lam_grows_it_is_the_gradient_of_the_start():
    batch, model = episodes(), two_layers()
    for task in batch:
        (F.cross_entropy(model(task.query_x), task.query_y) / len(batch)).backward()
    start = torch.cat([p.grad.flatten() for p in model.parameters()])
    errors = []
    for lam in (10.0, 100.0, 1000.0, 1e6):
        learner = IMAML(two_layers(), 1 / lam, lam=lam, num_cg_steps=30, **SOLVED)
        errors.append((meta_gradient(learner, batch) - start).norm().item())
    assert errors[0] > 1e-2 and errors[-1] < 1e-6
    assert errors[2] == pytest.approx(errors[1] / 10, rel=0.1)  # as 1 / lam


# ------------------------------------------------------------------ whatever it depends on


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.filterwarnings("ignore:torch.func.vmap cannot")
def test_networks_of_users_get_the_right_gradient_in_all_parts(kind):
    torch.manual_seed(0)
    model, batch = MODELS[kind]().double(), episodes()
    learner, before = solved(model, num_cg_steps=30, lam=4.0, inner_lr=0.2), weights(model)
    check_meta_gradient(lambda m: m.loss(batch), learner, n_directions=1).require()
    learner.outer_loop(batch)
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters())


class Softened(nn.Module):
    """Cross-entropy with a temperature that the outer loop learns."""

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(1.5).double())

    def forward(self, scores, targets):
        return F.cross_entropy(scores / self.temperature, targets)


def test_what_does_not_move_but_shapes_the_inner_problem_gets_its_part():
    """A body that stays, and a parameter of the loss: both by the implicit function theorem."""
    batch, learner = episodes(), solved(two_layers(), inner_params=["2"], loss_fn=Softened())
    report = check_meta_gradient(lambda m: m.loss(batch), learner, n_directions=3)
    report.require()
    cut = copy.deepcopy(learner)
    cut._network.unmoved = dict  # control: without that part the gradient is another
    assert not check_meta_gradient(lambda m: m.loss(batch), cut, n_directions=3).ok


def test_an_inner_loss_without_curvature_has_nothing_to_solve():
    def slope(scores, targets):
        return (scores * F.one_hot(targets, 3)).mean()

    model = nn.Linear(4, 3).double()
    learner, batch = IMAML(model, 0.3, loss_fn=slope, lam=1.0, **SOLVED), episodes()
    x, y = batch.query_x.flatten(0, 1), batch.query_y.flatten()
    slope(model(x), y).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])
    close(meta_gradient(learner, batch), expected)


# ------------------------------------------------------------------ how far it came


def test_it_says_once_that_the_inner_loop_ended_too_early():
    learner, batch = solved(two_layers(), num_inner_steps=2, tolerance=1e-3), episodes()
    with pytest.warns(UserWarning, match=r"ends before its minimum: .* a larger lam"):
        learner.loss(batch).backward()
    assert 1e-3 < learner.residual < 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.loss(batch).backward()  # no second time
        enough = solved(two_layers(), num_inner_steps=100, tolerance=1e-6)
        enough.loss(batch).backward()
        few = solved(two_layers(), num_inner_steps=2)
        few.loss(batch)  # no gradient is taken, so nothing can be wrong with it
        few.adapt(batch.support_x[0], batch.support_y[0])
    assert enough.residual <= 1e-6


def test_the_residual_is_the_norm_of_the_inner_gradient_beside_that_at_the_start():
    learner, batch = linear(lam=1.0, num_inner_steps=3), linear_tasks()
    theta = learner.model.weight[0].detach()

    def norm(task, phi):
        x, y = task.support_x, task.support_y[:, 0]
        return (2 * x.mT @ (x @ phi - y) / len(y) + 1.0 * (phi - theta)).norm().item()

    with pytest.warns(UserWarning, match="ends before its minimum"):
        learner.loss(batch).backward()
    ends = [learner.inner_loop(t.support_x, t.support_y)["weight"][0].detach() for t in batch]
    shares = [norm(t, phi) / norm(t, theta) for t, phi in zip(batch, ends, strict=True)]
    assert learner.residual == pytest.approx(max(shares), rel=1e-9)


def test_more_steps_bring_the_gradient_to_the_exact_one():
    """The implicit gradient before convergence is wrong, and the error falls with the steps."""
    batch, exact = episodes(), meta_gradient(solved(two_layers()), episodes())
    errors = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for steps in (1, 4, 16):
            early = solved(two_layers(), num_inner_steps=steps)
            errors.append((meta_gradient(early, batch) - exact).norm().item())
    assert errors[0] > 3 * errors[1] > 30 * errors[2] > 0


def test_a_task_stops_when_it_is_solved_whatever_the_others_do():
    batch = episodes(n_tasks=4)
    learner = solved(two_layers(), tolerance=1e-2)
    together = learner.learn_task(batch.support_x, batch.support_y)
    for i, task in enumerate(batch):
        for name, p in learner.inner_loop(task.support_x, task.support_y).items():
            close(together[name][i].detach(), p.detach(), 1e-14)


def test_a_task_that_is_solved_at_the_start_stays_there():
    learner = linear(num_cg_steps=D)
    x = draw(1, 6, D)
    y = (x @ learner.model.weight.mT).detach()
    close(learner.inner_loop(x[0], y[0])["weight"].detach(), learner.model.weight.detach(), 1e-14)
    learner.loss(EpisodeBatch(x, y, draw(1, 6, D, seed=1), draw(1, 6, 1, seed=2))).backward()
    assert learner.residual == 0
    assert torch.isfinite(learner.model.weight.grad).all()


def test_it_says_that_the_support_loss_curves_down():
    """-2 w^2 with lam = 1: no minimum, and conjugate gradients must not trust it."""

    def hill(scores, targets):
        return -2 * (scores - targets).square().mean()

    model = nn.Linear(1, 1, bias=False).double()
    learner = IMAML(model, 1e-3, num_inner_steps=3, loss_fn=hill, lam=1.0)
    x, y = torch.ones(1, 2, 1).double(), torch.zeros(1, 2, 1).double()
    with pytest.warns(UserWarning) as said:
        learner.loss(EpisodeBatch(x, y, x, y)).backward()
    texts = [str(each.message) for each in said]
    assert any("curves down by more than lam = 1" in text for text in texts)
    assert torch.isfinite(model.weight.grad).all()


# ------------------------------------------------------------------ memory


class Peak(TorchDispatchMode):
    """The most bytes of tensors that are alive at once, of those made inside the block."""

    def __enter__(self):
        self.alive, self.bytes = {}, 0
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor):
                storage = t.untyped_storage()
                self.alive[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {k: (w, n) for k, (w, n) in self.alive.items() if not w.expired()}
        self.bytes = max(self.bytes, sum(n for _, n in self.alive.values()))
        return result


def peak(kind, steps, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    model.append(nn.Linear(64, 3))
    learner = kind(model.double(), 0.05, num_inner_steps=steps, **options)
    batch = episodes()
    learner.loss(batch)  # counts what is counted once
    with Peak() as found:
        learner.loss(batch).backward()
    return found.bytes


@pytest.mark.filterwarnings("ignore:the inner loop ends before")
def test_memory_does_not_grow_with_the_inner_steps_as_that_of_maml_does():
    implicit = [peak(IMAML, steps, tolerance=0) for steps in (1, 50)]
    back = [peak(MAML, steps) for steps in (1, 50)]
    print(f"bytes at 1 and 50 inner steps: IMAML {implicit}, MAML {back}")
    assert implicit[1] <= 1.05 * implicit[0]
    assert back[1] > 10 * back[0]


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lam": 0}, "lam must be"),
        ({"lam": -1}, "lam must be"),
        ({"num_cg_steps": 0}, "num_cg_steps"),
        ({"tolerance": -1e-3}, "tolerance"),
        ({"first_order": True}, "first_order is not for IMAML"),
        ({"engine": "higher"}, "engine is not for IMAML"),
    ],
)
def test_settings_without_a_meaning_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        IMAML(two_layers(), **options)


def test_a_second_derivative_is_refused():
    learner = solved(two_layers())
    loss = learner.loss(episodes())
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(loss, list(learner.parameters()), create_graph=True)
