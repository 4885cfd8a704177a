"""Rules of the inner loop against torch.optim, by hand, on one task; which parameters move."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import check_meta_gradient
from metalearn_edu.engine import network as network_module
from metalearn_edu.engine.inner_steps import inner_rule
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD
from metalearn_edu.tasks import EpisodeBatch


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes(n_tasks=3, n_way=3, item=(4,)):
    labels = torch.arange(n_way).repeat(n_tasks, 2)
    x = draw(n_tasks, 2 * n_way, *item), draw(n_tasks, 2 * n_way, *item, seed=1)
    return EpisodeBatch(x[0], labels, x[1], labels)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def close(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


class Custom(nn.Module):
    """The same network, which no fast way knows."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)


ADAM, MOMENTUM = partial(torch.optim.Adam, lr=0.1), partial(torch.optim.SGD, lr=0.3, momentum=0.9)
RULES = {
    "sgd": ("sgd", 0.3, partial(torch.optim.SGD, lr=0.3)),
    "SGD": (torch.optim.SGD, 0.3, partial(torch.optim.SGD, lr=0.3)),
    "momentum": ("momentum", 0.3, MOMENTUM),
    "half": (partial(torch.optim.SGD, momentum=0.5), 0.3, partial(MOMENTUM, momentum=0.5)),
    "adam": ("adam", 0.1, ADAM),
    "Adam": (torch.optim.Adam, 0.1, ADAM),
    "other Adam": (
        partial(torch.optim.Adam, betas=(0.5, 0.7), eps=0.01),
        0.1,
        partial(ADAM, betas=(0.5, 0.7), eps=0.01),
    ),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def by_hand(model, task, optimizer, n_steps):
    """Parameters after steps of torch.optim on a copy."""
    own = copy.deepcopy(model)
    steps = optimizer(own)
    for _ in range(n_steps):
        steps.zero_grad()
        F.cross_entropy(own(task.support_x), task.support_y).backward()
        steps.step()
    return {name: p.detach() for name, p in own.named_parameters()}


@every_rule
@pytest.mark.parametrize("make", [network, Custom])
@pytest.mark.parametrize("learner", [MAML, MetaSGD])
def test_the_inner_loop_is_that_of_torch_optim(rule, make, learner):
    which, rate, optimizer = rule
    ours, task = learner(make(), rate, num_inner_steps=4, inner_optimizer=which), episodes()[1]
    for _ in range(2):  # the second task starts afresh
        fast = ours.inner_loop(task.support_x, task.support_y)
        expected = by_hand(ours.model, task, lambda own: optimizer(own.parameters()), 4)
        for name, p in expected.items():
            close(fast[name].detach(), p)


@every_rule
@pytest.mark.parametrize("learner", [MAML, MetaSGD])
def test_the_meta_gradient_matches_central_differences(rule, learner):
    which, rate, _ = rule
    ours, batch = learner(network(), rate, num_inner_steps=3, inner_optimizer=which), episodes()
    check_meta_gradient(lambda m: m.loss(batch), ours, n_directions=3).require()


@pytest.mark.parametrize("which", ["momentum", "adam"])
def test_first_order_takes_the_directions_for_constants(which):
    """So the meta-gradient is the query gradient at the adapted weights."""
    learner = MAML(network(), 0.1, num_inner_steps=3, first_order=True, inner_optimizer=which)
    task, own = episodes()[0], copy.deepcopy(learner.model)
    own.load_state_dict(learner.inner_loop(task.support_x, task.support_y))
    F.cross_entropy(own(task.query_x), task.query_y).backward()
    learner.loss(episodes()[:1]).backward()
    for p, q in zip(learner.model.parameters(), own.parameters(), strict=True):
        close(p.grad, q.grad)


def test_adam_survives_units_that_are_off():
    """Their gradient is 0 in every step, where the root has an infinite derivative."""
    model = MAMLModel(4, 5, 3).double()
    with torch.no_grad():
        model[1].bias[:2] = -100
    learner = MAML(model, 0.1, num_inner_steps=3, inner_optimizer="adam")
    learner.loss(episodes()).backward()
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters())
    check_meta_gradient(lambda m: m.loss(episodes()), learner, n_directions=2).require()


@pytest.mark.parametrize("which", ["sgd", "momentum"])
@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"max_inner_grad_norm": 0.1},
                                     {"zero_head": True}, {"inner_params": ["2"]}])  # fmt: skip
def test_higher_says_the_same(which, options):
    gradients = []
    for engine in ("torch.func", "higher"):
        rates = {"0": 0.2, "2": 0.4, "2.bias": 0.3}
        learner = MAML(network(), rates, num_inner_steps=3, inner_optimizer=which,
                       engine=engine, **options)  # fmt: skip
        learner.loss(episodes()).backward()
        gradients.append([p.grad for p in learner.parameters() if p.requires_grad])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_other_rules_are_refused():
    for bad in ("rmsprop", torch.optim.RMSprop, torch.optim.AdamW, None, 3,
                partial(torch.optim.SGD, nesterov=True), partial(torch.optim.Adam, amsgrad=True),
                torch.optim.SGD([torch.zeros(1)], lr=1)):  # fmt: skip
        with pytest.raises(ValueError, match="inner_optimizer must be one of sgd, momentum, adam"):
            MAML(network(), inner_optimizer=bad)
    for bad in (partial(torch.optim.SGD, momentum=math.nan),
                partial(torch.optim.Adam, eps=0.0)):  # fmt: skip
        with pytest.raises(ValueError, match="must be a finite number"):
            inner_rule(bad)
    for betas in ((1.0, 0.9), (0.9,), 0.9, (0.9, math.nan)):
        with pytest.raises(ValueError, match="betas"):
            inner_rule(partial(torch.optim.Adam, betas=betas))
    with pytest.raises(ValueError, match=r"engine must be torch\.func for inner_optimizer='adam'"):
        MAML(network(), inner_optimizer="adam", engine="higher")


# ------------------------------------------------------------------ what moves, and how far

HEAD = {"2.weight", "2.bias"}
WAYS_TO_SAY = {
    "module": ["2"],
    "names": ("2.weight", "2.bias"),
    "one name": "2",
    "function": lambda name, p: name.startswith("2."),
    "by shape": lambda name, p: len(p) == 3,
}


@pytest.mark.parametrize("which", WAYS_TO_SAY.values(), ids=WAYS_TO_SAY)
@pytest.mark.parametrize("learner", [MAML, MetaSGD, partial(MAML, engine="higher")])
def test_only_the_chosen_move_inside_and_all_outside(which, learner):
    ours, task = learner(network(), 0.3, num_inner_steps=3, inner_params=which), episodes()[0]
    fast = ours.inner_loop(task.support_x, task.support_y)
    expected = by_hand(ours.model, task, lambda m: torch.optim.SGD(m[2].parameters(), 0.3), 3)
    assert set(fast) == HEAD
    for name in HEAD:
        close(fast[name].detach(), expected[name])
    before = copy.deepcopy(ours.model.state_dict())
    ours.outer_loop(episodes())
    assert all(not torch.equal(p, before[n]) for n, p in ours.model.state_dict().items())
    if isinstance(ours, MetaSGD):
        assert set(ours.rates) == HEAD


@pytest.mark.parametrize("make", [network, Custom])
@pytest.mark.parametrize("options", [{"num_inner_steps": 3}, {"inner_optimizer": "momentum"}])
@pytest.mark.parametrize("piece", [None, 1])
def test_what_does_not_move_has_the_right_meta_gradient(monkeypatch, make, options, piece):
    if piece:  # as with large networks, whose queries go piece by piece
        monkeypatch.setattr(network_module, "PIECE", piece)
    last = "2" if make is network else "net.2"
    for which in (["0" if make is network else "net.0"], [last]):
        learner, batch = MAML(make(), 0.3, inner_params=which, **options), episodes()
        report = check_meta_gradient(lambda m, b=batch: m.loss(b), learner, n_directions=3)
        report.require()


def test_a_rate_for_each_layer():
    rates = {"0.weight": 0.5, "2": 0.1, "2.bias": 0.0, "": 0.2}
    learner, task = MAML(network(), rates, num_inner_steps=3), episodes()[0]
    layers = {"0.weight": 0.5, "0.bias": 0.2, "2.weight": 0.1, "2.bias": 0.0}

    def optimizer(own):
        groups = [{"params": [own.get_parameter(n)], "lr": lr} for n, lr in layers.items()]
        return torch.optim.SGD(groups)

    fast = learner.inner_loop(task.support_x, task.support_y)
    for name, p in by_hand(learner.model, task, optimizer, 3).items():
        close(fast[name].detach(), p)
    check_meta_gradient(lambda m: m.loss(episodes()), learner, n_directions=3).require()
    started = MetaSGD(network(), rates).rates
    assert all((started[name] == rate).all() for name, rate in layers.items())


def test_what_has_no_rate_does_not_move():
    learner = MAML(network(), {"2": 0.3})
    task = episodes()[0]
    assert set(learner.inner_loop(task.support_x, task.support_y)) == HEAD


def test_a_part_is_known_by_all_its_names():
    model = Custom()
    model.other = nn.ModuleList([model.net[2]])
    task = episodes()[0]
    for which in ("other", "net.2", "other.0"):
        fast = MAML(model, inner_params=[which]).inner_loop(task.support_x, task.support_y)
        assert set(fast) == {"net.2.weight", "net.2.bias"}


@pytest.mark.parametrize("which", ["head", ["2", "1"], ["2.weigh"], [""], [None]])
def test_names_that_fit_nothing_are_refused_with_those_there_are(which):
    if which == [""]:
        assert MAML(network(), inner_params=which).inner_names == {"0.weight", "0.bias", *HEAD}
        return
    with pytest.raises(ValueError, match=r"inner_params names .*there are 0\.weight, 0\.bias"):
        MAML(network(), inner_params=which)
    with pytest.raises(ValueError, match=r"inner_lr names 'head'.*there are 0\.weight"):
        MAML(network(), {"head": 0.1})


def test_choices_that_leave_nothing_to_do_are_refused():
    with pytest.raises(ValueError, match="inner_params chooses no parameter"):
        MAML(network(), inner_params=lambda name, p: False)
    with pytest.raises(ValueError, match="inner_params chooses no parameter"):
        MAML(network(), inner_params=[])
    with pytest.raises(ValueError, match=r"no step size for 0\.bias, which inner_params chooses"):
        MAML(network(), {"2": 0.1}, inner_params=["0", "2"])
    with pytest.raises(ValueError, match="nothing can adapt"):
        MAML(network(), {})
    with pytest.raises(ValueError, match=r"zero_head: 2\.weight starts at 0 and must be free"):
        MAML(network(), zero_head=True, inner_params=["0"])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, "fast", None, True])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match=r"^inner_lr must be a finite number"):
        MAML(network(), bad)
    with pytest.raises(ValueError, match=r"^inner_lr\['2'\] must be a finite number"):
        MAML(network(), {"0": 0.1, "2": bad})
    with pytest.raises(ValueError, match=r"^meta_lr must be a finite number"):
        MAML(network(), meta_lr=bad)
    if bad is not None:
        with pytest.raises(ValueError, match=r"^max_inner_grad_norm must be a finite number"):
            MAML(network(), max_inner_grad_norm=bad)


def test_convolutions_with_a_head_alone_that_moves():
    torch.manual_seed(0)
    net = ConvNet(width=4, output_dim=3, image_size=8, n_blocks=2).double()
    learner, batch = MAML(net, 0.3, inner_params=["head"]), episodes(item=(1, 8, 8))
    check_meta_gradient(lambda m: m.loss(batch), learner, n_directions=2).require()
