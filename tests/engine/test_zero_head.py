"""The head that starts at 0 is the layer that gives the scores; and then any number of ways."""

import copy
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.engine.zero_head import find_head, last_layer
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD
from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler

N_WAY = 3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes(n_way=N_WAY, n_tasks=2, item=(6,)):
    labels = torch.arange(n_way).repeat(n_tasks, 2)
    x = draw(n_tasks, 2 * n_way, *item), draw(n_tasks, 2 * n_way, *item, seed=1)
    return EpisodeBatch(x[0], labels, x[1], labels)


def close(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


class Net(nn.Module):
    """Body and head, in any order of registration."""

    def __init__(self, names=("body", "head"), after=lambda z: z, bias=True):
        super().__init__()
        parts = {"body": nn.Linear(6, N_WAY), "head": nn.Linear(N_WAY, N_WAY, bias=bias)}
        for name in names:
            setattr(self, name, parts[name])
        self.after = after

    def forward(self, x):
        return self.after(self.head(torch.relu(self.body(x.flatten(1)))))


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.classify = nn.ModuleDict({"out": nn.Sequential(nn.Linear(5, N_WAY), nn.Identity())})
        self.body = nn.Linear(6, 5)

    def forward(self, x):
        return self.classify["out"](torch.tanh(self.body(x)))


class Twice(nn.Module):
    """The scores, and something else from a layer that is called later."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.head, self.other = nn.Linear(6, N_WAY), nn.Linear(6, N_WAY)

    def forward(self, x):
        z = torch.tanh(self.body(x))
        return self.head(z), self.other(z)


class Scaled(Net):
    def __init__(self):
        super().__init__(("head", "body"))
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return self.scale * super().forward(x)


FOUND = {
    "head last": (Net, "head"),
    "head first": (lambda: Net(("head", "body")), "head"),
    "no bias": (lambda: Net(("head", "body"), bias=False), "head"),
    "nested": (Nested, "classify.out.0"),
    "softmax": (lambda: Net(("head", "body"), lambda z: z.log_softmax(1)), "head"),
    "another shape": (lambda: Net(("head", "body"), lambda z: z.unsqueeze(2).squeeze(2)), "head"),
    "scaled": (Scaled, "head"),
    "two outputs": (Twice, "head"),
    "softmax in a sequence": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3), nn.LogSoftmax(1)),
        "2",
    ),
    "sequence": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), "2"),
}


@pytest.fixture(params=FOUND)
def case(request):
    make, name = FOUND[request.param]
    torch.manual_seed(0)
    return make().double(), name


def test_the_head_is_the_layer_that_gives_the_scores(case):
    model, name = case
    learner, batch = MAML(model, 0.3, num_inner_steps=2, zero_head=True), episodes()
    body = {n: p.clone() for n, p in model.named_parameters() if not n.startswith(f"{name}.")}
    task = batch[0]
    scores = learner.adapt(task.support_x, task.support_y, num_inner_steps=0)(task.query_x)
    close(scores, scores[:1, :1].expand_as(scores))
    assert {n.rpartition(".")[0] for n in learner.head} == {name}
    assert not any(p.requires_grad for p in learner.head.values())
    fast = learner.inner_loop(task.support_x, task.support_y, num_inner_steps=1)
    for n in body:
        close(fast[n], body[n])  # the first step moves the head alone
    losses = [learner.outer_loop(batch) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert any(not torch.equal(p, body[n]) for n, p in model.named_parameters() if n in body)


def test_an_optimizer_made_before_the_first_call_leaves_the_head_alone():
    for kind in (torch.optim.Adam, torch.optim.SGD, torch.optim.AdamW):
        model = Net(("head", "body")).double()
        learner = MAML(model, 0.3, zero_head=True)
        optimizer = kind(learner.parameters(), lr=0.1, weight_decay=0.1)
        head = model.head.weight.clone()
        for _ in range(3):
            learner.outer_loop(episodes(), optimizer=optimizer)
        assert torch.equal(model.head.weight, head) and model.head.weight.grad is None


def test_copies_and_stored_weights_know_the_head():
    torch.manual_seed(0)
    learner, batch = MAML(Net(("head", "body")).double(), 0.3, zero_head=True), episodes()
    twins = [copy.deepcopy(learner)]
    loss = learner.loss(batch)
    twins += [copy.deepcopy(learner), MAML(Net(("body", "head")).double(), 0.3, zero_head=True)]
    twins[2].load_state_dict(learner.state_dict())
    for twin in twins:
        close(twin.loss(batch), loss)
        assert set(twin.head) == set(learner.head)
        assert all(p is twin.model.get_parameter(n) for n, p in twin.head.items())
    plain = MAML(nn.Sequential(nn.Linear(6, 3)).double(), zero_head=True)
    close(pickle.loads(pickle.dumps(plain)).loss(batch), plain.loss(batch))


def test_only_the_head_changes_and_modes_stay():
    model = Net(("head", "body")).double()
    model.body.eval()
    learner = MAML(model, 0.3, zero_head=True)
    learner.loss(episodes())
    assert model.training and model.head.training and not model.body.training
    assert model.body.weight.requires_grad and not model.head._forward_hooks


def test_looking_for_the_head_draws_no_random_numbers():
    model = Net(("head", "body"), lambda z: F.dropout(z, 0.5, training=False)).double()
    model.drop = nn.Dropout(0.5)
    state = torch.get_rng_state()
    assert find_head(model, episodes().support_x[0]) == "head"
    assert torch.equal(torch.get_rng_state(), state)


class TwoHeads(Twice):
    def forward(self, x):
        return self.head(x) + self.other(x)


class SharedHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class SameLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.weight = nn.Linear(6, N_WAY), nn.Parameter(torch.ones(N_WAY, N_WAY))

    def forward(self, x):
        return torch.relu(self.body(x)) @ self.weight + torch.arange(N_WAY)


def conv_head():
    layers = (
        nn.Unflatten(1, (1, 6)),
        nn.Linear(6, 4),
        nn.Conv1d(1, N_WAY, 1),
        nn.AdaptiveAvgPool1d(1),
    )
    return nn.Sequential(*layers, nn.Flatten())  # fmt: skip


@pytest.mark.parametrize(
    ("make", "n_way", "message"),
    [
        (TwoHeads, 3, "needs one nn.Linear that gives the scores.*none of head, other"),
        (SharedHead, 6, "layer 'b' gives the scores, but its weights are used elsewhere"),
        (SameLayer, 6, "zero_head"),
        (Functional, 3, "needs one nn.Linear that gives the scores.*none of body"),
        (conv_head, 3, "needs one nn.Linear that gives the scores.*none of 1"),
        (lambda: Net(after=torch.relu), 3, "needs one nn.Linear"),  # 0 would stay 0 for ever
        (lambda: Net(after=lambda z: z + torch.arange(3)), 3, "needs one nn.Linear"),
    ],
)
def test_no_such_layer_is_refused(make, n_way, message):
    learner = MAML(make().double(), zero_head=True)
    with pytest.raises(ValueError, match=message):
        learner.loss(episodes(n_way))


def test_a_model_without_a_linear_layer_is_refused_at_the_door():
    with pytest.raises(ValueError, match="zero_head needs a model with a linear layer"):
        MAML(nn.Sequential(nn.Conv1d(1, 3, 6), nn.Flatten()), zero_head=True)


def test_sequences_are_known_without_an_item():
    assert last_layer(ConvNet(output_dim=5)) == "head"
    assert last_layer(MAMLModel(4, 5, 3)) == "5"
    assert last_layer(nn.Sequential(nn.Linear(4, 3), nn.ReLU())) is None
    assert last_layer(Net()) is None
    twice = nn.Linear(3, 3)
    assert last_layer(nn.Sequential(twice, nn.ReLU(), twice)) is None


# ------------------------------------------------------------------ another number of ways


@pytest.mark.parametrize("n_way", [2, 3, 6, 20])
@pytest.mark.parametrize("make", [lambda: MAMLModel(6, 4, 5), lambda: Net(("head", "body"))])
@pytest.mark.parametrize("options", [{}, {"engine": "higher"}, {"inner_optimizer": "adam"}])
@pytest.mark.parametrize("train", [True, False])
def test_a_zero_head_takes_any_number_of_ways(n_way, make, options, train):
    """As a model built for that number, with the same body."""
    torch.manual_seed(0)
    model = make().double()
    other, last = copy.deepcopy(model), "5" if isinstance(model, MAMLModel) else "head"
    setattr(other, last, nn.Linear(other.get_submodule(last).in_features, n_way).double())
    if hasattr(other, "output_dim"):
        other.output_dim = n_way
    batch, scores = episodes(n_way), []
    for net in (model, other):
        learner = MAML(net, 0.3, num_inner_steps=3, zero_head=True, **options).train(train)
        scores.append(learner(batch.support_x, batch.support_y, batch.query_x))
        adapted = learner.adapt(batch.support_x[0], batch.support_y[0])(batch.query_x[0])
        close(adapted, scores[-1][0])
    assert scores[0].shape == (2, 2 * n_way, n_way)
    close(*scores)


def test_meta_sgd_takes_the_mean_rate_of_the_classes():
    model = MAMLModel(6, 4, 5).double()
    learner = MetaSGD(model, 0.3, num_inner_steps=2, zero_head=True)
    with torch.no_grad():
        for i, rate in enumerate(learner.step_sizes):
            rate.add_(0.1 * draw(*rate.shape, seed=i))
    equal = copy.deepcopy(learner)
    with torch.no_grad():
        for name in learner.head:
            equal.rates[name].copy_(learner.rates[name].mean(0).expand_as(learner.rates[name]))
    same, other = episodes(5), episodes(3)
    learner.outer_loop(other, optimizer=torch.optim.SGD(learner.parameters(), 0.0))
    inputs = [(b.support_x, b.support_y, b.query_x) for b in (same, other)]
    assert not torch.allclose(learner(*inputs[0]), equal(*inputs[0]))
    close(learner(*inputs[1]), equal(*inputs[1]))


def sampler(n_way):
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    return EpisodeSampler((x, torch.arange(6).repeat(10)), n_way, 1, 2)


class Plain(nn.Module):
    """Five scores, and no word about it."""

    def __init__(self):
        super().__init__()
        self.net = MAMLModel(6, 4, 5)

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize("make", [lambda: MAMLModel(6, 4, 5), Plain])
@pytest.mark.parametrize("engine", ["torch.func", "higher"])
@pytest.mark.parametrize("n_steps", [0, 2])
def test_fewer_ways_in_use_are_the_first_outputs(make, engine, n_steps):
    """As a model whose last layer has these rows only."""
    torch.manual_seed(0)
    model, batch = make().double(), episodes(3)
    narrow = MAMLModel(6, 4, 3).double()
    rows = model if isinstance(model, MAMLModel) else model.net
    narrow.load_state_dict(
        {n: p[:3] if n.startswith("5.") else p for n, p in rows.state_dict().items()}
    )
    scores = []
    for net in (model, narrow):
        learner = MAML(net, 0.3, num_inner_steps=n_steps, engine=engine).eval()
        scores.append(learner(batch.support_x, batch.support_y, batch.query_x))
        adapted = learner.adapt(batch.support_x[0], batch.support_y[0])(batch.query_x[0])
        close(adapted, scores[-1][0])
    close(*scores)
    assert evaluate_meta_learner(MAML(make(), 0.1), sampler(3), n_episodes=2).n_episodes == 2


@pytest.mark.parametrize("make", [lambda: MAMLModel(6, 4, 5), Plain])
def test_more_ways_and_other_ways_in_training_are_refused_with_a_way_out(make):
    with pytest.raises(ValueError, match=r"zero_head=True|give scores \(\d+, 6\)"):
        MAML(make().double()).eval().loss(episodes(6))
    with pytest.raises(ValueError, match=r"zero_head=True|give scores \(\d+, 3\)"):
        MAML(make().double()).loss(episodes(3))


# ------------------------------------------------------------------ losses that cannot be meant


def points(shape):
    return EpisodeBatch(draw(2, 5, 6), draw(*shape), draw(2, 5, 6, seed=2), draw(*shape, seed=3))


def test_losses_as_modules_are_the_functions():
    for module, function in ((nn.MSELoss(), F.mse_loss), (nn.L1Loss(), F.l1_loss)):
        losses = []
        for loss_fn in (module, function):
            torch.manual_seed(0)
            learner = MAML(MAMLModel(6, 4, 1).double(), 0.1, loss_fn=loss_fn)
            losses.append(learner.learn_task(*(points((2, 5, 1)).support_x, draw(2, 5, 1))))
        for name in losses[0]:
            assert torch.equal(losses[0][name], losses[1][name])
    with pytest.raises(ValueError, match=r"cross-entropy means nothing.*loss_fn=F\.mse_loss"):
        MAML(MAMLModel(6, 4, 1).double(), loss_fn=nn.CrossEntropyLoss()).loss(points((2, 5, 1)))
    for loss_fn in (F.mse_loss, nn.MSELoss(), nn.HuberLoss()):
        with pytest.raises(ValueError, match=r"class labels.*loss_fn=F\.cross_entropy"):
            MAML(MAMLModel(6, 4, 3).double(), loss_fn=loss_fn).loss(episodes())


class Flat(nn.Module):
    """One number an item without an axis of its own, which squared error would broadcast."""

    def __init__(self):
        super().__init__()
        self.net = MAMLModel(6, 4, 1)

    def forward(self, x):
        return self.net(x)[:, 0]


@pytest.mark.parametrize("n_steps", [0, 1])
def test_nothing_is_broadcast_in_regression(n_steps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner = MAML(Flat().double(), num_inner_steps=n_steps, loss_fn=F.mse_loss)
        with pytest.raises(ValueError, match=r"forward of Flat must give scores .* got \(5,\)"):
            learner.loss(points((2, 5, 1)))
        learner = MAML(MAMLModel(6, 4, 1).double(), num_inner_steps=n_steps, loss_fn=F.mse_loss)
        with pytest.raises(ValueError, match=r"targets must be \(T, S, out\), got .*\(2, 5\)"):
            learner.learn_task(draw(2, 5, 6), draw(2, 5))
        with pytest.raises(ValueError, match=r"give scores \(5, 2\) .* got \(5, 5\)"):
            MAML(Plain().double(), num_inner_steps=n_steps, loss_fn=F.mse_loss).loss(
                points((2, 5, 2))
            )


def test_a_loss_of_ones_own_may_want_more_outputs_than_targets():
    def gaussian(scores, targets):
        mean, log_variance = scores[:, :1], scores[:, 1:]
        return (log_variance + (targets - mean).square() / log_variance.exp()).mean()

    model = nn.Sequential(nn.Linear(6, 2)).double()
    assert MAML(model, 0.01, loss_fn=gaussian).outer_loop(points((2, 5, 1))) > 0
