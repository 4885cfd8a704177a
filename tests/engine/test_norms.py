"""Batch norm in an inner loop, in its two named forms, against formulas written out."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import check_meta_gradient, check_transduction
from metalearn_edu.engine.norms import SupportNorm, converted
from metalearn_edu.learners import MAML, MetaSGD
from metalearn_edu.tasks import EpisodeBatch


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes(item=(1, 8, 8), n_tasks=2, n_way=3):
    labels = torch.arange(n_way).repeat(n_tasks, 2)
    x = draw(n_tasks, 2 * n_way, *item), draw(n_tasks, 2 * n_way, *item, seed=1)
    return EpisodeBatch(x[0], labels, x[1] + 0.5, labels)


def images(norm=nn.BatchNorm2d, **options):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), norm(4, **options), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3)
    ).double()


class Vectors(nn.Module):
    """One batch norm that is called twice, the second time with steps folded into the batch."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x):
        z = torch.tanh(self.norm(self.first(x)))
        steps = torch.stack([z, 2 * z, z - 1])  # (3, B, 4): the items are not the first axis
        steps = self.norm(steps.flatten(0, 1)).unflatten(0, (3, len(x)))
        return self.head(steps.mean(0))


KINDS = {
    "images": (images, (1, 8, 8)),
    "no scale": (lambda: images(affine=False), (1, 8, 8)),
    "vectors": (lambda: Vectors().double(), (4,)),
    "ConvNet": (
        lambda: ConvNet(1, 4, 3, image_size=8, n_blocks=2, norm="batch").double(),
        (1, 8, 8),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("learner", [MAML, MetaSGD])
def test_queries_inform_each_other_in_one_form_only(kind, train, learner):
    make, item = kind
    for form in ("inductive", "transductive"):
        torch.manual_seed(0)
        ours = learner(make(), 0.3, num_inner_steps=2, batch_norm=form).train(train)
        assert check_transduction(ours, episodes(item)).ok is (form == "inductive")


@every_kind
@pytest.mark.parametrize("form", ["inductive", "transductive"])
def test_the_meta_gradient_is_right(kind, form):
    make, item = kind
    learner = MAML(make(), 0.3, num_inner_steps=2, batch_norm=form)
    check_meta_gradient(lambda m: m.loss(episodes(item)), learner, n_directions=2).require()


def normalised(z, by):
    """Each channel of z with the mean and variance of `by`."""
    mean, var = by.mean((0, 2, 3), keepdim=True), by.var((0, 2, 3), correction=0, keepdim=True)
    return (z - mean) / (var + 1e-5).sqrt()


@pytest.mark.parametrize("form", ["inductive", "transductive"])
def test_scores_are_the_formula_under_the_fast_weights(form):
    learner = MAML(images(), 0.3, num_inner_steps=2, batch_norm=form)
    batch = episodes()
    fast = learner.learn_task(batch.support_x, batch.support_y)
    for t, task in enumerate(batch):
        own = {name: p[t] for name, p in fast.items() if not name.startswith("..")}
        query, support = (
            F.conv2d(x, own["0.weight"], own["0.bias"]) for x in (task.query_x, task.support_x)
        )
        z = normalised(query, support if form == "inductive" else query)
        z = z * own["1.weight"].view(1, -1, 1, 1) + own["1.bias"].view(1, -1, 1, 1)
        scores = torch.tanh(z).flatten(1) @ own["4.weight"].T + own["4.bias"]
        torch.testing.assert_close(learner.predict(fast, batch.query_x)[t], scores)


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_the_inner_loop_is_plain_training(engine):
    """Batch norm on the support set, with torch.optim on a copy."""
    learner = MAML(images(), 0.3, num_inner_steps=3, batch_norm="inductive", engine=engine)
    task, own = episodes()[0], images()
    optimizer = torch.optim.SGD(own.parameters(), lr=0.3)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(own(task.support_x), task.support_y).backward()
        optimizer.step()
    fast = learner.inner_loop(task.support_x, task.support_y)
    assert set(fast) == {name for name, _ in own.named_parameters()}
    for name, p in own.named_parameters():
        torch.testing.assert_close(fast[name].detach(), p.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", ["inductive", "transductive"])
def test_the_callers_model_stays_and_the_copy_is_named(form):
    model = images()
    before = copy.deepcopy(model.state_dict())
    learner = MAML(model, 0.3, batch_norm=form)
    learner.outer_loop(episodes())
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert isinstance(model[1], nn.BatchNorm2d) and learner.model is not model
    assert [n for n in learner.model.state_dict() if "running" in n] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin = copy.deepcopy(learner)
        twin.load_state_dict(learner.state_dict())
        twin.outer_loop(episodes())


def test_a_model_without_such_layers_is_not_copied():
    for model in (images(nn.InstanceNorm2d), images(lambda n: nn.GroupNorm(2, n))):
        for form in ("refuse", "inductive", "transductive"):
            assert MAML(model, batch_norm=form).model is model


def test_adapt_keeps_the_statistics_of_its_own_support_set():
    batch = episodes()
    learner = MAML(images(), 0.3, num_inner_steps=1, batch_norm="inductive").eval()
    with torch.no_grad():
        predictors = [learner.adapt(task.support_x, task.support_y) for task in batch]
        together = learner(batch.support_x, batch.support_y, batch.query_x)
        for predictor, task, scores in zip(predictors, batch, together, strict=True):
            one = torch.cat([predictor(task.query_x[i : i + 1]) for i in range(6)])
            torch.testing.assert_close(one, scores)


@pytest.mark.parametrize("form", ["inductive", "transductive"])
def test_instance_norm_takes_each_item_by_itself(form):
    model = images(nn.InstanceNorm2d, track_running_stats=True)
    with pytest.raises(ValueError, match=r"InstanceNorm2d.*batch_norm='inductive'"):
        MAML(model)
    learner = MAML(model, 0.3, batch_norm=form)
    check_transduction(learner, episodes()).require()
    assert torch.equal(converted(model, form)(draw(2, 1, 8, 8)), images(nn.InstanceNorm2d)(
        draw(2, 1, 8, 8)))  # fmt: skip


class OwnNorm(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input) * 2


def test_what_cannot_be_converted_is_refused():
    with pytest.raises(ValueError, match=r"layer '1' of the model \(BatchNorm2d\) .*batch_norm="):
        MAML(images())
    for form in ("inductive", "transductive"):
        with pytest.raises(ValueError, match=r"\(OwnNorm\) .*PyTorch's own layers only"):
            MAML(images(OwnNorm), batch_norm=form)
    with pytest.raises(ValueError, match=r"batch_norm must be one of refuse, .*; got 'group'"):
        MAML(images(), batch_norm="group")
    with pytest.raises(ValueError, match="needs several numbers a channel"):
        SupportNorm(4)(torch.zeros(1, 4))


@pytest.mark.parametrize("form", ["inductive", "transductive"])
def test_a_part_under_two_names_is_converted_once(form):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, net = nn.BatchNorm2d(4), images()
            net[1] = self.norm
            self.net = net

        def forward(self, x):
            return self.net(x)

    learner = MAML(Twice().double(), 0.3, batch_norm=form)
    assert learner.model.norm is learner.model.net[1]
    check_meta_gradient(lambda m: m.loss(episodes()), learner, n_directions=1).require()
