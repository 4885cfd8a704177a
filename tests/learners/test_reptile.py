"""Reptile: its step by hand, the two terms of its expansion, and which data it looks at."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.learners import MAML, MAMLModel, Reptile
from metalearn_edu.tasks import EpisodeBatch, Sinusoids
from metalearn_edu.training import meta_train
from tests.learners.users_models import MODELS, draw, episodes, weights


def close(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def outer_gradient(learner, batch):
    learner.zero_grad()
    learner.loss(batch).backward()
    return {n: p.grad for n, p in learner.model.named_parameters()}


def interpolated(learner, batch, epsilon):
    """The weights after one outer step of SGD of size epsilon."""
    learner.outer_loop(batch, optimizer=torch.optim.SGD(learner.parameters(), lr=epsilon))
    return weights(learner.model)


# ------------------------------------------------------------------ the step


def test_one_inner_step_and_epsilon_1_are_one_step_on_the_average_task():
    batch, model = episodes(n_tasks=3), two_layers()
    for p in model.parameters():
        p.grad = None
    sum(F.cross_entropy(model(t.support_x), t.support_y) / 3 for t in batch).backward()
    expected = {n: p.detach() - 0.3 * p.grad for n, p in model.named_parameters()}
    found = interpolated(Reptile(two_layers(), 0.3, num_inner_steps=1), batch, 1.0)
    for name, value in expected.items():
        close(found[name], value)


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_the_gradient_is_the_way_that_torch_optim_goes(rule):
    """theta - phi of each task, with PyTorch's own optimisers, which start afresh in each."""
    kinds = {"sgd": torch.optim.SGD, "adam": partial(torch.optim.Adam, betas=(0.0, 0.999))}
    kinds["momentum"] = partial(torch.optim.SGD, momentum=0.9)
    batch, ways = episodes(n_tasks=3), []
    for task in batch:
        model = two_layers()
        optimizer, before = kinds[rule](model.parameters(), lr=0.1), weights(model)
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(task.support_x), task.support_y).backward()
            optimizer.step()
        ways.append({n: before[n] - p.detach() for n, p in model.named_parameters()})
    learner = Reptile(two_layers(), 0.1, num_inner_steps=4, inner_optimizer=kinds[rule])
    for name, g in outer_gradient(learner, batch).items():
        close(g, sum(way[name] for way in ways) / 3)


def test_plain_sgd_goes_by_inner_lr_times_the_sum_of_the_gradients():
    task, model, total = episodes(n_tasks=1)[0], two_layers(), {}
    for _ in range(3):
        loss = F.cross_entropy(model(task.support_x), task.support_y)
        for (n, p), g in zip(
            model.named_parameters(), torch.autograd.grad(loss, [*model.parameters()]), strict=True
        ):
            total[n] = total.get(n, 0) + g
            p.data -= 0.3 * g
    found = outer_gradient(Reptile(two_layers(), 0.3, num_inner_steps=3), episodes(n_tasks=1))
    for name, g in found.items():
        close(g, 0.3 * total[name])


def test_epsilon_0_changes_nothing():
    learner = Reptile(two_layers(), 0.3, num_inner_steps=3)
    before = weights(learner.model)
    found = interpolated(learner, episodes(), 0.0)
    assert all(torch.equal(p, before[n]) for n, p in found.items())


@pytest.mark.parametrize("epsilon", [0.25, 1.0])
def test_sgd_outside_is_the_interpolation_of_the_paper(epsilon):
    learner = Reptile(two_layers(), 0.3, epsilon, 3, outer_optimizer="sgd")
    before, batch = weights(learner.model), episodes(n_tasks=3)
    ends = [learner.inner_loop(t.support_x, t.support_y) for t in batch]
    learner.outer_loop(batch)
    for name, p in learner.model.named_parameters():
        mean = sum(end[name] for end in ends).detach() / 3
        close(p.detach(), before[name] + epsilon * (mean - before[name]))


def test_the_trainer_takes_the_learners_own_outer_step(tmp_path):
    """And a stopped run goes on as if it had not been stopped."""
    source = Sinusoids(n_shot=10, n_query=10)

    def trained(n_steps, **options):
        torch.manual_seed(0)
        learner = Reptile(
            MAMLModel(1, 8, 1), 0.02, 0.5, 3, F.mse_loss, outer_optimizer="sgd", inner_batch_size=5
        )
        settings = {"n_steps": n_steps, "n_tasks_per_batch": 3, "progress": False}
        meta_train(learner, source, **settings, **options)
        return weights(learner.model)

    whole = trained(4)
    trained(2, checkpoint=tmp_path)
    resumed = trained(4, checkpoint=tmp_path)
    assert all(torch.equal(p, resumed[n]) for n, p in whole.items())

    torch.manual_seed(0)
    by_hand = Reptile(MAMLModel(1, 8, 1), 0.02, 0.5, 3, F.mse_loss, inner_batch_size=5)
    sgd = torch.optim.SGD(by_hand.parameters(), lr=0.5)
    for step in range(4):
        by_hand.outer_loop(source.episodes(0, 3 * step, 3), optimizer=sgd)
    for name, p in weights(by_hand.model).items():
        close(p, whole[name], 1e-6)


# ------------------------------------------------------------------ the expansion

D = 4


class Bowls(nn.Module):
    """w, whose loss on minibatch i is (w - c_i) A_i (w - c_i) / 2: the items are i."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(draw(D, seed=5))

    def forward(self, x):
        return self.w.expand(len(x), D) + 0 * x


def bowl(i):
    root = draw(D, D, seed=20 + i)
    return root @ root.mT / D + torch.eye(D, dtype=torch.float64), draw(D, seed=60 + i)


CURVATURES, CENTRES = (torch.stack(each) for each in zip(*map(bowl, range(3)), strict=True))


def bowl_loss(scores, targets):
    """The mean over items of the bowl that each item's target is the number of."""
    kinds = F.one_hot(targets[..., 0].long(), 3).to(scores.dtype)
    away = scores - kinds @ CENTRES
    a = torch.einsum("sk,kij->sij", kinds, CURVATURES)
    return 0.5 * torch.einsum("si,sij,sj->s", away, a, away).mean()


def orders_of_bowls():
    """Six tasks, one for each order in which the three bowls can come."""
    orders = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    y = orders[..., None].double()
    return EpisodeBatch(torch.zeros(6, 3, D).double(), y, torch.zeros(6, 1, D).double(), y[:, 2:])


def mean_gradients():
    """AvgGrad and AvgGradInner at the start, over all orders.

    E[g_1], and E[H_2 g_1], which is half the gradient of E[g_1 . g_2].
    """
    w = Bowls().w.detach()
    g = [a @ (w - c) for a, c in zip(CURVATURES, CENTRES, strict=True)]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    return sum(g) / 3, sum(CURVATURES[j] @ g[i] for i, j in pairs) / 6


def reptile_gradient(k):
    """theta - phi as a multiple of alpha, one bowl a step."""

    def at(alpha):
        learner = Reptile(Bowls(), alpha, num_inner_steps=k, loss_fn=bowl_loss, inner_batch_size=1)
        return outer_gradient(learner, orders_of_bowls())["w"] / alpha

    return at


@pytest.mark.parametrize("k", [1, 2, 3])
def test_reptile_has_the_published_coefficients(k):
    """(k, -k (k - 1) / 2 alpha) of AvgGrad and AvgGradInner: Nichol et al. (2018), section 5."""
    avg, inner = mean_gradients()
    at, alpha = reptile_gradient(k), 1e-5
    close(at(1e-9), k * avg, 1e-6)
    slope = (at(alpha) - at(alpha / 2)) / (alpha / 2)
    close(slope, -k * (k - 1) / 2 * inner, 1e-3)


@pytest.mark.parametrize(("first_order", "factor"), [(False, -2), (True, -1)])
def test_maml_and_first_order_maml_have_theirs(first_order, factor):
    """(1, -2 alpha) and (1, -alpha) for one inner step: k = 2 minibatches."""
    avg, inner = mean_gradients()
    batch = orders_of_bowls()
    two = EpisodeBatch(
        batch.support_x[:, :1], batch.support_y[:, :1], batch.query_x, batch.support_y[:, 1:2]
    )

    def at(alpha):
        learner = MAML(Bowls(), alpha, 0.1, 1, bowl_loss, first_order=first_order)
        return outer_gradient(learner, two)["w"]

    alpha = 1e-5
    close(at(1e-9), avg, 1e-6)
    close((at(alpha) - at(alpha / 2)) / (alpha / 2), factor * inner, 1e-3)


# ------------------------------------------------------------------ which data


def test_the_query_set_is_not_looked_at():
    batch = episodes()
    other = EpisodeBatch(batch.support_x, batch.support_y, 7 * batch.query_x, batch.query_y.flip(1))
    learner = Reptile(two_layers(), 0.3, num_inner_steps=3)
    first, second = (outer_gradient(learner, each) for each in (batch, other))
    assert all(torch.equal(g, second[n]) for n, g in first.items())
    assert learner.loss(batch).item() == learner.loss(other).item()


def test_with_queries_all_items_are_one_training_set():
    batch = episodes()
    x = torch.cat([batch.support_x, batch.query_x], 1)
    y = torch.cat([batch.support_y, batch.query_y], 1)
    both = EpisodeBatch(x, y, batch.query_x, batch.query_y)
    options = {"num_inner_steps": 3, "inner_batch_size": 4}
    first = outer_gradient(Reptile(two_layers(), 0.3, with_queries=True, **options), batch)
    second = outer_gradient(Reptile(two_layers(), 0.3, **options), both)
    for name, g in first.items():
        close(g, second[name])


def test_minibatches_take_one_item_of_each_class_in_turn():
    y = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2], [2, 2, 2, 0, 0, 0, 1, 1, 1]])
    x = draw(2, 9, 4)
    learner, seen = Reptile(two_layers(), 0.3, num_inner_steps=4, inner_batch_size=3), []
    slope = learner._slope
    learner._slope = lambda items, params: seen.append(items) or slope(items, params)
    learner.loss(EpisodeBatch(x, y, x, y))
    assert [each.y.tolist() for each in seen] == [[[0, 1, 2], [2, 0, 1]]] * 4
    first_task = [each.x[0] for each in seen]
    used = torch.cat(first_task[:3])
    close(used, x[0][torch.tensor([0, 3, 6, 1, 4, 7, 2, 5, 8])])
    close(first_task[3], first_task[0])  # and from the beginning


def test_the_value_is_the_loss_where_the_inner_loop_ends():
    batch = episodes()
    learner = Reptile(two_layers(), 0.3, num_inner_steps=3)
    end = Reptile(two_layers(), 0.3, num_inner_steps=3)(
        batch.support_x, batch.support_y, batch.support_x
    )
    value = F.cross_entropy(end.flatten(0, 1), batch.support_y.flatten())
    close(learner.loss(batch).detach(), value.detach())


# ------------------------------------------------------------------ networks, and what is refused


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.filterwarnings("ignore:torch.func.vmap cannot")
def test_networks_of_users_are_learned_in_all_parts(kind):
    torch.manual_seed(0)
    model, batch = MODELS[kind]().double(), episodes()
    learner, before = Reptile(model, 0.3, num_inner_steps=3, inner_batch_size=3), weights(model)
    ends = [learner.inner_loop(t.support_x, t.support_y) for t in batch]
    whole = Reptile(model, 0.3, num_inner_steps=3)
    for name, g in outer_gradient(whole, batch).items():
        close(g, before[name] - sum(end[name] for end in ends).detach() / 2)
    first = learner.outer_loop(batch)
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert min(learner.outer_loop(batch) for _ in range(20)) < first


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_inner_steps": 0}, "num_inner_steps of Reptile must be .*1"),
        ({"num_inner_steps": 1, "zero_head": True}, "num_inner_steps of Reptile must be .*2"),
        ({"inner_params": ["2"]}, "0.bias does not; let it move, or fix it"),
        ({"inner_lr": {"0": 0.1}}, "2.bias does not; let it move, or fix it"),
        ({"outer_optimizer": "rmsprop"}, "outer_optimizer must be one of adam, sgd"),
        ({"inner_batch_size": 0}, "inner_batch_size"),
        ({"first_order": True}, "first_order is not for Reptile"),
        ({"engine": "higher"}, "engine is not for Reptile"),
    ],
)
def test_what_reptile_could_not_learn_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Reptile(two_layers(), **options)


def test_a_loss_with_parameters_is_refused_until_they_are_fixed():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0).double())

        def forward(self, scores, targets):
            return self.scale * F.cross_entropy(scores, targets)

    loss = Weighted()
    with pytest.raises(ValueError, match="a parameter of loss_fn does not"):
        Reptile(two_layers(), loss_fn=loss)
    loss.requires_grad_(False)
    Reptile(two_layers(), loss_fn=loss).outer_loop(episodes())


def test_a_sum_over_items_in_chunks_is_the_mean_over_tasks_too():
    batch = episodes(n_tasks=3)
    found = []
    for size in (1, 3):
        learner = Reptile(two_layers(), 0.01, loss_fn=nn.CrossEntropyLoss(reduction="sum"))
        sgd = torch.optim.SGD(learner.parameters(), lr=1.0)
        learner.outer_loop(batch, optimizer=sgd, chunk_size=size)
        found.append(weights(learner.model))
    for name, p in found[0].items():
        close(p, found[1][name])
