"""What every learner must do, present and future: one suite, one line per learner in LEARNERS.

The mathematics of each method is tested in its own file. Here stands what follows from the one
idea, that a meta-learner turns a support set into a predictor.
"""

import copy
import functools
import gc
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from metalearn_edu import learners
from metalearn_edu.backbones import MLP, ConvNet
from metalearn_edu.diagnostics import check_meta_gradient, check_transduction
from metalearn_edu.learners import (
    ANIL,
    BOIL,
    IMAML,
    MAML,
    MANN,
    ConditionalNeuralProcess,
    EnhancedProtoNet,
    FineTuned,
    InContextTransformer,
    LinearSelfAttention,
    LSTMController,
    MAMLModel,
    MANNController,
    MetaLearner,
    MetaSGD,
    OrdinaryClassifier,
    PrototypicalNetwork,
    RelationNetwork,
    Reptile,
    RidgeHead,
    TaskConditionedNetwork,
)
from metalearn_edu.tasks import EpisodeBatch

N_WAY = 3
N_CLASSES = 7
"""Of the data set from which the episodes come."""


def same_learner(learner, permutation):
    """For learners that treat all labels alike: nothing needs to be relabelled inside them."""
    return learner


def relabel_maml(learner, permutation):
    """MAML starts each class from its own row of the head, so the rows must move with the labels.

    Without that, MAML is NOT indifferent to which class gets which label.
    """
    learner = copy.deepcopy(learner)
    *_, head = (m for m in learner.model.modules() if isinstance(m, nn.Linear))
    rows = permutation.argsort()
    with torch.no_grad():
        head.weight.copy_(head.weight[rows])
        head.bias.copy_(head.bias[rows])
    return learner


def relabel_meta_sgd(learner, permutation):
    """The step sizes of the head's rows move with the rows."""
    learner, rows = relabel_maml(learner, permutation), permutation.argsort()
    with torch.no_grad():
        for sizes in list(learner.rates.values())[-2:]:  # the head's weight and bias
            sizes.copy_(sizes[rows])
    return learner


def relabel_mann(learner, permutation):
    """MANN has weights of its own for each label, where labels come in and where they go out."""
    learner, rows = copy.deepcopy(learner), permutation.argsort()
    inputs = learner.controller.lstm.weight_ih
    labels = slice(learner.controller.input_dim - N_WAY, learner.controller.input_dim)
    with torch.no_grad():
        inputs[:, labels] = inputs[:, labels][:, rows]
        learner.head.weight.copy_(learner.head.weight[rows])
        learner.head.bias.copy_(learner.head.bias[rows])
    return learner


def relabel_transformer(learner, permutation):
    """It has weights of its own for each label, as MANN has."""
    learner, rows = copy.deepcopy(learner), permutation.argsort()
    with torch.no_grad():
        learner.read_y.weight.copy_(learner.read_y.weight[:, rows])
        learner.head.weight.copy_(learner.head.weight[rows])
        learner.head.bias.copy_(learner.head.bias[rows])
    return learner


def relabel_cnp(learner, permutation):
    """Labels come in beside the items, and go out as rows of the last layer."""
    learner, rows = copy.deepcopy(learner), permutation.argsort()
    first, last = learner.encoder[1].weight, learner.decoder[-1]
    with torch.no_grad():
        first[:, -N_WAY:] = first[:, -N_WAY:][:, rows]
        last.weight.copy_(last.weight[rows])
        last.bias.copy_(last.bias[rows])
    return learner


def transformer(input_dim=4, output_dim=N_WAY, regression=False, **options):
    small = {"n_layers": 2, "n_heads": 2, "regression": regression} | options
    return InContextTransformer(input_dim, output_dim, 8, **small)


@dataclass(frozen=True)
class Entry:
    """How the suite makes a learner for 3-way tasks, or for regression with one output.

    flat: parameters on which the loss does not depend, with a reason in the table.
    first_order: the meta-gradient leaves something out, on purpose.
    task_by_task: works on one task after the other, as its engine or its model wants it.
    transductive: queries inform each other, on purpose.
    """

    make: Callable[[], MetaLearner]
    item: tuple[int, ...] = (4,)
    regression: bool = False
    relabel: Callable = same_learner
    flat: tuple[str, ...] = ()
    first_order: bool = False
    task_by_task: bool = False
    transductive: bool = False


def conv(output_dim=None):
    return ConvNet(width=16, output_dim=output_dim, image_size=8, n_blocks=2)


def maml(learner=MAML, **options):
    return learner(MAMLModel(4, 6, N_WAY), inner_lr=0.3, num_inner_steps=2, **options)


def imaml(model, rate=0.08, lam=10.0, **options):
    """Solved to rounding in every task, so that the implicit gradient is the exact one."""
    exact = {"num_inner_steps": 100, "num_cg_steps": 12, "tolerance": 1e-12}
    return IMAML(model, rate, lam=lam, **exact, **options)


def ordinary(**options):
    return OrdinaryClassifier(MLP(4, 6, 5), 5, N_CLASSES, **options)


def tuned(encoder=None, width=5, **options):
    return FineTuned(encoder or MLP(4, 6, 5), width, **{"num_inner_steps": 2} | options)


def conditioned(**options):
    return TaskConditionedNetwork(4, 5, 6, **options)


def conditioned_images():
    return TaskConditionedNetwork(64, 5, 12, conditioning="film", item_encoder=conv())


class Own(nn.Module):
    """A network of a user's: items (4,), which it checks; `scores` is its subject."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 6), nn.Linear(6, N_WAY)

    def forward(self, x):
        if x.shape[1:] != (4,):
            raise ValueError(f"items must be (4,), got {tuple(x.shape[1:])}")
        return self.scores(x.unflatten(1, (2, 2)))

    def scores(self, x):
        return self.last(torch.tanh(self.first(x)).mean(1))


class Recurrent(Own):
    def __init__(self):
        super().__init__()
        self.first = nn.GRU(2, 6, num_layers=2, batch_first=True)

    def scores(self, x):
        return self.last(self.first(x)[0][:, -1])


class Attentive(Own):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        last = self.last
        self.attend = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        del self.last
        self.last = last  # where the suite looks for the head

    def scores(self, x):
        return self.last(self.attend(self.first(x)).mean(1))


class Shared(Own):
    """A part under two names, a layer tied to another, and two outputs."""

    def __init__(self):
        super().__init__()
        middle, tied = nn.Linear(6, 6), nn.Linear(6, 6)
        tied.weight = middle.weight
        self.body = nn.Sequential(self.first, nn.Tanh(), middle, nn.Tanh(), tied, nn.Tanh())
        last = self.last
        del self.last
        self.last = last

    def scores(self, x):
        z = self.body(x).mean(1)
        return {"hidden": z, "logits": self.last(z)}


def own(kind, learner=MAML, **options):
    return learner(kind(), 0.3, num_inner_steps=2, **options)


def batch_normed(form):
    """The bias before a batch norm would change nothing, so there is none."""
    body = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Tanh())
    net = nn.Sequential(Checked(), body, nn.Flatten(), nn.Linear(8 * 36, N_WAY))
    return MAML(net, 0.1, num_inner_steps=2, batch_norm=form)


def smooth(model):
    """The minimum of an inner problem may lie on a kink of ReLU, where no step ever ends."""
    for i, layer in enumerate(model):
        model[i] = nn.Tanh() if isinstance(layer, nn.ReLU) else layer
    return model


def smooth_conv():
    body = nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.Tanh(), nn.AvgPool2d(2)
    return nn.Sequential(Checked(), *body, nn.Flatten(), nn.Linear(8 * 9, N_WAY))


class Checked(nn.Module):
    def forward(self, x):
        if x.shape[1:] != (1, 8, 8):
            raise ValueError(f"items must be (1, 8, 8), got {tuple(x.shape[1:])}")
        return x


LAST_BIAS = ("encoder.3.bias",)  # shifting all embeddings changes no distance between them
CONDITIONED_BIAS = ("network.last.bias",)  # softmax does not see what all classes get alike
LEARNERS = {
    "ProtoNet": Entry(lambda: PrototypicalNetwork(MLP(4, 6, 5)), flat=LAST_BIAS),
    "ProtoNet, Euclidean": Entry(
        lambda: PrototypicalNetwork(MLP(4, 6, 5), distance="euclidean"), flat=LAST_BIAS
    ),
    "ProtoNet, cosine": Entry(
        lambda: PrototypicalNetwork(MLP(4, 6, 5), distance="cosine", temperature=0.1)
    ),
    "ProtoNet, convolutions": Entry(lambda: PrototypicalNetwork(conv()), item=(1, 8, 8)),
    "EnhancedProtoNet": Entry(lambda: EnhancedProtoNet(4, 6, 5), flat=("encoder.5.bias",)),
    "MAML": Entry(maml, relabel=relabel_maml),
    "MAML, clipped": Entry(lambda: maml(max_inner_grad_norm=0.1), relabel=relabel_maml),
    "MAML, higher": Entry(lambda: maml(engine="higher"), relabel=relabel_maml, task_by_task=True),
    "MAML, zero head": Entry(lambda: maml(zero_head=True)),
    "MAML, zero head, higher": Entry(
        lambda: maml(zero_head=True, engine="higher"), task_by_task=True
    ),
    "MAML, convolutions": Entry(
        lambda: MAML(conv(N_WAY), 0.3, num_inner_steps=1), item=(1, 8, 8), relabel=relabel_maml
    ),
    "MAML, recurrent": Entry(lambda: own(Recurrent), relabel=relabel_maml, task_by_task=True),
    "MAML, attention": Entry(lambda: own(Attentive), relabel=relabel_maml),
    "MAML, shared parts": Entry(lambda: own(Shared), relabel=relabel_maml),
    "MAML, inductive batch norm": Entry(
        lambda: batch_normed("inductive"), item=(1, 8, 8), relabel=relabel_maml
    ),
    "MAML, transductive batch norm": Entry(
        lambda: batch_normed("transductive"),
        item=(1, 8, 8),
        relabel=relabel_maml,
        transductive=True,
    ),
    "MAML, momentum": Entry(lambda: maml(inner_optimizer="momentum"), relabel=relabel_maml),
    "MAML, Adam": Entry(
        lambda: MAML(MAMLModel(4, 6, N_WAY), 0.05, num_inner_steps=2, inner_optimizer="adam"),
        relabel=relabel_maml,
    ),
    "MAML, head alone moves": Entry(lambda: maml(inner_params=["5"]), relabel=relabel_maml),
    "MAML, a rate by layer": Entry(
        lambda: MAML(MAMLModel(4, 6, N_WAY), {"1": 0.1, "3.weight": 0.2, "5": 0.4}),
        relabel=relabel_maml,
    ),
    "FOMAML": Entry(lambda: maml(first_order=True), relabel=relabel_maml, first_order=True),
    "MAML, regression": Entry(
        lambda: MAML(MAMLModel(1, 8, 1), num_inner_steps=2, loss_fn=F.mse_loss),
        item=(1,),
        regression=True,
    ),
    "ANIL": Entry(lambda: maml(learner=ANIL), relabel=relabel_maml),
    "ANIL, convolutions, zero head": Entry(
        lambda: ANIL(conv(N_WAY), 0.3, num_inner_steps=2, zero_head=True), item=(1, 8, 8)
    ),
    "ANIL, recurrent": Entry(lambda: own(Recurrent, ANIL), relabel=relabel_maml, task_by_task=True),
    "BOIL": Entry(lambda: maml(learner=BOIL), relabel=relabel_maml),
    "BOIL, shared parts": Entry(lambda: own(Shared, BOIL), relabel=relabel_maml),
    "BOIL, regression": Entry(
        lambda: BOIL(MAMLModel(1, 8, 1), num_inner_steps=2, loss_fn=F.mse_loss),
        item=(1,),
        regression=True,
    ),
    "Reptile": Entry(lambda: maml(learner=Reptile), relabel=relabel_maml, first_order=True),
    "Reptile, Adam, minibatches of all items": Entry(
        lambda: Reptile(
            MAMLModel(4, 6, N_WAY),
            0.05,
            num_inner_steps=3,
            inner_optimizer="adam",
            inner_batch_size=N_WAY,
            with_queries=True,
        ),
        relabel=relabel_maml,
        first_order=True,
    ),
    "Reptile, attention": Entry(
        lambda: own(Attentive, Reptile), relabel=relabel_maml, first_order=True
    ),
    "Reptile, regression": Entry(
        lambda: Reptile(MAMLModel(1, 8, 1), num_inner_steps=2, loss_fn=F.mse_loss),
        item=(1,),
        regression=True,
        first_order=True,
    ),
    "IMAML": Entry(lambda: imaml(MAMLModel(4, 6, N_WAY)), relabel=relabel_maml),
    "IMAML, zero head": Entry(
        lambda: imaml(MAMLModel(4, 6, N_WAY), rate=0.4, lam=1.0, zero_head=True)
    ),
    "IMAML, head alone moves": Entry(
        lambda: imaml(MAMLModel(4, 6, N_WAY), inner_params=["5"]), relabel=relabel_maml
    ),
    "IMAML, convolutions": Entry(
        lambda: imaml(smooth_conv()), item=(1, 8, 8), relabel=relabel_maml
    ),
    "IMAML, shared parts": Entry(lambda: imaml(Shared()), relabel=relabel_maml),
    "IMAML, regression": Entry(
        lambda: imaml(smooth(MAMLModel(1, 8, 1)), loss_fn=F.mse_loss),
        item=(1,),
        regression=True,
    ),
    "ConditionalNeuralProcess": Entry(
        lambda: ConditionalNeuralProcess(1, 1, 8), item=(1,), regression=True
    ),
    "ConditionalNeuralProcess, classes": Entry(
        lambda: ConditionalNeuralProcess(4, N_WAY, 8, regression=False), relabel=relabel_cnp
    ),
    "InContextTransformer": Entry(transformer, relabel=relabel_transformer),
    "InContextTransformer, convolutions": Entry(
        lambda: transformer(64, item_encoder=conv()), item=(1, 8, 8), relabel=relabel_transformer
    ),
    "InContextTransformer, regression": Entry(
        lambda: transformer(1, 1, True), item=(1,), regression=True
    ),
    "LinearSelfAttention": Entry(lambda: LinearSelfAttention(1), item=(1,), regression=True),
    "OrdinaryClassifier": Entry(ordinary),
    "OrdinaryClassifier, cosine": Entry(lambda: ordinary(rule="cosine")),
    "OrdinaryClassifier, logistic": Entry(lambda: ordinary(rule="logistic")),
    "OrdinaryClassifier, ridge": Entry(lambda: ordinary(rule="ridge")),
    "OrdinaryClassifier, convolutions": Entry(
        lambda: OrdinaryClassifier(conv(), 64, N_CLASSES), item=(1, 8, 8)
    ),
    "FineTuned": Entry(tuned),
    "FineTuned, head": Entry(lambda: tuned(moving="head")),
    "FineTuned, biases": Entry(lambda: tuned(moving="biases")),
    "FineTuned, FiLM": Entry(lambda: tuned(moving="film")),
    "FineTuned, LoRA": Entry(lambda: tuned(moving="lora", rank=2)),
    "FineTuned, convolutions, LoRA": Entry(
        lambda: tuned(conv(), 64, moving="lora", rank=2), item=(1, 8, 8)
    ),
    "FineTuned, convolutions, FiLM": Entry(
        lambda: tuned(conv(), 64, moving="film"), item=(1, 8, 8)
    ),
    "RidgeHead": Entry(lambda: RidgeHead(MLP(4, 6, 5))),
    "RidgeHead, convolutions": Entry(lambda: RidgeHead(conv()), item=(1, 8, 8)),
    "RelationNetwork": Entry(lambda: RelationNetwork(4, 6)),
    "RelationNetwork, mean": Entry(lambda: RelationNetwork(4, 6, aggregate="mean")),
    "RelationNetwork, logits": Entry(
        lambda: RelationNetwork(4, 6, objective="cross_entropy"), flat=("relation.score.bias",)
    ),
    "RelationNetwork, convolutions": Entry(
        lambda: RelationNetwork.convolutional(width=16, image_size=16), item=(1, 16, 16)
    ),
    "MetaSGD": Entry(
        lambda: MetaSGD(MAMLModel(4, 6, N_WAY), 0.3, num_inner_steps=2), relabel=relabel_meta_sgd
    ),
    "MetaSGD, convolutions": Entry(
        lambda: MetaSGD(conv(N_WAY), 0.3), item=(1, 8, 8), relabel=relabel_meta_sgd
    ),
    "MetaSGD, recurrent, momentum": Entry(
        lambda: own(Recurrent, MetaSGD, inner_optimizer="momentum"),
        relabel=relabel_meta_sgd,
        task_by_task=True,
    ),
    "MetaSGD, regression": Entry(
        lambda: MetaSGD(MAMLModel(1, 8, 1), loss_fn=F.mse_loss), item=(1,), regression=True
    ),
    "MANN": Entry(
        lambda: MANN(None, MANNController(4 + N_WAY, 6, 8, 5, num_reads=2), N_WAY),
        relabel=relabel_mann,
    ),
    "MANN, writing first, helped by a metric loss": Entry(
        lambda: MANN(
            None,
            MANNController(4 + N_WAY, 6, 8, 5, num_reads=2, write_first=True),
            N_WAY,
            metric_weight=1.0,
        ),
        relabel=relabel_mann,
    ),
    "MANN, LSTM alone": Entry(
        lambda: MANN(None, LSTMController(4 + N_WAY, 6), N_WAY), relabel=relabel_mann
    ),
    "MANN, convolutions": Entry(
        lambda: MANN(conv(), MANNController(64 + N_WAY, 6, 8, 5, num_reads=2), N_WAY),
        item=(1, 8, 8),
        relabel=relabel_mann,
    ),
    "TaskConditionedNetwork": Entry(conditioned, flat=CONDITIONED_BIAS),
    "TaskConditionedNetwork, FiLM": Entry(
        lambda: conditioned(conditioning="film"), flat=CONDITIONED_BIAS
    ),
    "TaskConditionedNetwork, convolutions": Entry(
        lambda: conditioned_images(),
        item=(1, 8, 8),
        flat=CONDITIONED_BIAS,
    ),
    "TaskConditionedNetwork, regression": Entry(
        lambda: TaskConditionedNetwork(1, 5, 6, 1, regression=True), item=(1,), regression=True
    ),
}

every_learner = pytest.mark.parametrize("entry", LEARNERS.values(), ids=LEARNERS.keys())
every_classifier = pytest.mark.parametrize(
    "entry",
    [e for e in LEARNERS.values() if not e.regression],
    ids=[name for name, e in LEARNERS.items() if not e.regression],
)


@functools.cache
def _made(entry, seed):
    torch.manual_seed(seed)
    return entry.make().double()


def fresh(entry, seed=0):
    """A float64 learner; every call gives an equal one."""
    return copy.deepcopy(_made(entry, seed))


def draw_episodes(entry, n_tasks=2, n_shot=2, n_query=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n_way = 1 if entry.regression else N_WAY

    def side(per_class):
        n = n_way * per_class
        x = torch.randn(n_tasks, n, *entry.item, generator=generator, dtype=torch.float64)
        if entry.regression:
            return x, torch.randn(n_tasks, n, 1, generator=generator, dtype=torch.float64)
        keys = torch.rand(n_tasks, n, generator=generator)
        return x, torch.arange(n_way).repeat(per_class)[keys.argsort(dim=1)]

    sides = *side(n_shot), *side(n_query)
    if entry.regression:
        return EpisodeBatch(*sides)
    classes = torch.rand(n_tasks, N_CLASSES, generator=generator).argsort(dim=1)[:, :N_WAY]
    return EpisodeBatch(*sides, classes)


def trained(learner):
    """The meta-parameters, by name."""
    return {name: p for name, p in learner.named_parameters() if p.requires_grad}


def score(learner, episodes):
    with torch.no_grad():
        return learner(episodes.support_x, episodes.support_y, episodes.query_x)


def close(first, second, atol=1e-9):
    torch.testing.assert_close(first, second, rtol=0, atol=atol)


counts = st.integers(1, 3)
seeds = st.integers(0, 2**31)


def with_episodes(test):
    """Run `test(entry, sizes)` on several sizes of episodes, the same ones in every run."""
    sizes = st.fixed_dictionaries(
        {"n_tasks": counts, "n_shot": counts, "n_query": counts, "seed": seeds}
    )
    rules = settings(
        max_examples=4,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return rules(given(sizes=sizes)(test))


# ------------------------------------------------------------------ none is left out


def all_learners():
    """Every public learner that a module of the package defines."""
    found = set()
    for info in pkgutil.iter_modules(learners.__path__, learners.__name__ + "."):
        members = vars(importlib.import_module(info.name)).values()
        found |= {m for m in members if inspect.isclass(m) and issubclass(m, MetaLearner)}
    return {c for c in found if not inspect.isabstract(c) and not c.__name__.startswith("_")}


def test_every_learner_is_registered():
    missing = all_learners() - {type(fresh(entry)) for entry in LEARNERS.values()}
    assert not missing, f"add a line to LEARNERS for {sorted(c.__name__ for c in missing)}"


def test_every_learner_is_public():
    assert {c.__name__ for c in all_learners()} <= set(learners.__all__)


# ------------------------------------------------------------------ properties


@every_learner
@with_episodes
def test_scores_have_the_promised_shape(entry, sizes):
    episodes = draw_episodes(entry, **sizes)
    out = 1 if entry.regression else N_WAY
    scores = score(fresh(entry), episodes)
    assert scores.shape == (*episodes.query_x.shape[:2], out)
    assert torch.isfinite(scores).all()


@every_learner
@with_episodes
def test_support_order_does_not_matter(entry, sizes):
    episodes, learner = draw_episodes(entry, **sizes), fresh(entry)
    generator = torch.Generator().manual_seed(sizes["seed"])
    keys = torch.rand(episodes.support_x.shape[:2], generator=generator)
    order = keys.argsort(dim=1)
    task = torch.arange(len(episodes))[:, None]
    shuffled = learner(
        episodes.support_x[task, order], episodes.support_y[task, order], episodes.query_x
    )
    close(shuffled.detach(), score(learner, episodes))


@every_classifier
@with_episodes
def test_relabelling_classes_permutes_columns(entry, sizes):
    episodes, learner = draw_episodes(entry, **sizes), fresh(entry)
    generator = torch.Generator().manual_seed(sizes["seed"])
    permutation = torch.randperm(N_WAY, generator=generator)  # label c becomes permutation[c]
    relabelled = entry.relabel(learner, permutation)(
        episodes.support_x, permutation[episodes.support_y], episodes.query_x
    )
    close(relabelled.detach()[..., permutation], score(learner, episodes))


@every_learner
@with_episodes
def test_tasks_do_not_influence_each_other(entry, sizes):
    episodes, learner = draw_episodes(entry, **sizes), fresh(entry)
    alone = [score(learner, episodes[t : t + 1]) for t in range(len(episodes))]
    close(torch.cat(alone), score(learner, episodes))


@every_learner
@pytest.mark.parametrize("train", [True, False])
def test_queries_do_not_influence_each_other(entry, train):
    report = check_transduction(fresh(entry).train(train), draw_episodes(entry))
    assert report.ok is not entry.transductive, str(report)


@every_learner
@with_episodes
def test_adapt_agrees_with_forward(entry, sizes):
    episodes, learner = draw_episodes(entry, **sizes), fresh(entry)
    predictors = [learner.adapt(t.support_x, t.support_y) for t in episodes]  # all, then use
    adapted = [p(task.query_x) for p, task in zip(predictors, episodes, strict=True)]
    close(torch.stack(adapted).detach(), score(learner, episodes))


@every_learner
def test_adapt_works_without_gradients_and_leaves_the_learner_unchanged(entry):
    episodes, learner = draw_episodes(entry), fresh(entry).eval()
    before, meta_parameters = copy.deepcopy(learner.state_dict()), set(trained(learner))
    task = episodes[0]
    with torch.no_grad():
        predictor = learner.adapt(task.support_x, task.support_y)
        first, second = predictor(task.query_x), predictor(task.query_x[:1])
    assert not first.requires_grad
    assert torch.allclose(second, first[:1], rtol=0, atol=1e-9) is not entry.transductive
    close(first, score(learner, episodes)[0])
    assert all(torch.equal(t, before[name]) for name, t in learner.state_dict().items())
    assert not any(module.training for module in learner.modules())
    assert all(p.grad is None for p in learner.parameters())
    assert set(trained(learner)) == meta_parameters


@every_learner
def test_the_meta_gradient_is_right_and_reaches_every_meta_parameter(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    report = check_meta_gradient(lambda m: m.loss(episodes), learner, n_directions=2)
    if entry.first_order:
        assert "first-order" in str(report)
    else:
        report.require()
    learner.loss(episodes).backward()
    still = [n for n, p in trained(learner).items() if p.grad is None or p.grad.norm() < 1e-12]
    assert tuple(still) == entry.flat


@every_learner
def test_the_loss_weighs_all_tasks_alike(entry):
    episodes, learner = draw_episodes(entry, n_tasks=3), fresh(entry)
    loss = learner.loss(episodes)
    assert loss.shape == ()
    alone = [learner.loss(episodes[t : t + 1]) for t in range(3)]
    close(torch.stack(alone).mean(), loss)


@every_learner
def test_float32_gives_float32_and_nearly_the_same(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    single = score(fresh(entry).float(), episodes.to(dtype=torch.float32))
    assert single.dtype == torch.float32
    close(single.double(), score(learner, episodes), atol=1e-3)


DEVICES = [
    pytest.param(name, marks=pytest.mark.skipif(not there, reason=f"no {name} device here"))
    for name, there in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    )
]


@every_learner
@pytest.mark.parametrize("device", DEVICES)
def test_other_devices_work(entry, device):
    episodes = draw_episodes(entry).to(dtype=torch.float32)
    learner = fresh(entry).float()
    expected = score(learner, episodes)
    learner.to(device)
    moved = score(learner, episodes.to(device))
    assert moved.device.type == device
    close(moved.cpu(), expected, atol=1e-3)
    learner.outer_loop(episodes.to(device))


@every_learner
def test_new_tensors_follow_the_device_of_the_inputs(entry):
    """A machine without a GPU can tell too: we make "meta" the default device.

    A tensor that forgets to say where it lives then lands there, and mixing it with ours fails.
    """
    episodes, learner = draw_episodes(entry), fresh(entry)
    expected = score(learner, episodes)
    with torch.device("meta"):
        close(score(learner, episodes), expected)
        learner.loss(episodes).backward()


@every_learner
def test_state_dict_round_trip(entry):
    episodes, learner, other = draw_episodes(entry), fresh(entry), fresh(entry, seed=1)
    assert not torch.allclose(score(other, episodes), score(learner, episodes))
    other.load_state_dict(learner.state_dict())
    assert torch.equal(score(other, episodes), score(learner, episodes))


# ------------------------------------------------------------------ the outer loop


@every_learner
def test_outer_loop_takes_one_step_of_adam(entry):
    """The first step of Adam, worked out by hand: lr * g / (|g| + eps)."""
    episodes, learner = draw_episodes(entry), fresh(entry)
    loss = learner.loss(episodes)
    meta_parameters = list(trained(learner).values())
    gradients = torch.autograd.grad(loss, meta_parameters)
    expected = [
        p.detach() - learner.meta_lr * g / (g.abs() + 1e-8)
        for p, g in zip(meta_parameters, gradients, strict=True)
    ]
    assert learner.outer_loop(episodes) == pytest.approx(loss.item())
    for parameter, value in zip(meta_parameters, expected, strict=True):
        close(parameter.detach(), value)


@every_learner
@pytest.mark.parametrize("chunk_size", [1, 2])
def test_chunks_give_the_same_gradient(entry, chunk_size):
    episodes = draw_episodes(entry, n_tasks=3)  # 2 leaves an unequal last chunk
    whole, chunked = fresh(entry), fresh(entry)
    losses = [
        learner.outer_loop(episodes, optimizer=_no_step(learner), chunk_size=size)
        for learner, size in ((whole, None), (chunked, chunk_size))
    ]
    assert losses[0] == pytest.approx(losses[1])
    pairs = zip(trained(whole).values(), trained(chunked).values(), strict=True)
    for first, second in pairs:
        close(first.grad, second.grad, atol=1e-12)


def _no_step(learner):
    return torch.optim.SGD(learner.parameters(), lr=0.0)


class CountOperations(TorchDispatchMode):
    """Counts the tensor operations that are run inside it."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@every_learner
def test_no_loop_over_tasks(entry):
    """As many operations for six tasks as for two: they are all done at once.

    The six are the two three times: IMAML steps until its tasks are solved.
    """
    counts, two = [], draw_episodes(entry)
    for times in (1, 3):
        sides = two.support_x, two.support_y, two.query_x, two.query_y, two.classes
        learner = fresh(entry)
        episodes = EpisodeBatch(*(t if t is None else torch.cat([t] * times) for t in sides))
        with CountOperations() as operations:
            learner.loss(episodes).backward()
        counts.append(operations.count)
    assert (counts[0] == counts[1]) is not entry.task_by_task


@every_learner
def test_outer_steps_leave_nothing_behind(entry):
    """As many tensors after eight outer steps as after four: memory does not grow."""
    learner, episodes = fresh(entry), draw_episodes(entry)
    counts = []
    for _ in range(2):
        for _ in range(4):
            learner.outer_loop(episodes)
        gc.collect()
        counts.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
    assert counts[0] == counts[1]


@every_learner
def test_max_grad_norm_bounds_the_meta_gradient(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    learner.outer_loop(episodes, optimizer=_no_step(learner), max_grad_norm=1e-3)
    norm = torch.stack([p.grad.norm() for p in trained(learner).values()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-2)


@every_learner
def test_outer_steps_lower_the_loss(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    learner.meta_lr = 0.01
    losses = [learner.outer_loop(episodes) for _ in range(10)]
    assert losses[-1] < losses[0]


@every_learner
def test_a_loss_that_is_not_finite_stops_before_the_step(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    before = copy.deepcopy(learner.state_dict())
    learner.loss_fn = lambda scores, targets: scores.sum() * float("nan")
    with pytest.raises(FloatingPointError, match="nan"):
        learner.outer_loop(episodes)
    assert all(torch.equal(t, before[name]) for name, t in learner.state_dict().items())


# ------------------------------------------------------------------ bad input is refused


def ask(learner, episodes, **changes):
    """Scores with some of the inputs replaced."""
    inputs = {name: getattr(episodes, name) for name in ("support_x", "support_y", "query_x")}
    return learner(**(inputs | changes))


@every_learner
def test_wrong_shapes_are_refused_with_numbers(entry):
    episodes, learner = draw_episodes(entry, n_tasks=2), fresh(entry)
    wide = torch.zeros(2, 6, 7, dtype=torch.float64)
    sizes = {(4,): "4.*7", (1,): "1.*7", (1, 8, 8): r"\(1, 8, 8\).*\(7,\)"}
    sizes[1, 16, 16] = r"\(1, 16, 16\).*\(7,\)"
    with pytest.raises(ValueError, match=sizes[entry.item]):
        ask(learner, episodes, support_x=wide[:, : episodes.support_x.shape[1]], query_x=wide)
    with pytest.raises(ValueError, match=r"query_x \(2, 6, 7\) does not fit support_x"):
        ask(learner, episodes, query_x=wide)
    with pytest.raises(ValueError, match=r"query_x \(1, .*does not fit support_x \(2, "):
        ask(learner, episodes, query_x=episodes.query_x[:1])
    with pytest.raises(ValueError, match=r"support_x.*support_y.*same T and S.*\(1, "):
        ask(learner, episodes, support_y=episodes.support_y[:1])
    with pytest.raises(ValueError, match=r"support_x.*support_y.*same T and S"):
        ask(learner, episodes, support_y=episodes.support_y[:, :1])
    with pytest.raises(ValueError, match="support_x holds no items"):
        ask(
            learner,
            episodes,
            support_x=episodes.support_x[:, :0],
            support_y=episodes.support_y[:, :0],
        )


@every_learner
def test_a_task_without_its_axis_is_refused(entry):
    task, learner = draw_episodes(entry)[0], fresh(entry)
    with pytest.raises(ValueError, match="support_x"):
        learner(task.support_x, task.support_y, task.query_x)


@every_classifier
def test_labels_out_of_range_are_refused(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    labels = episodes.support_y
    with pytest.raises(ValueError, match="support_y of task 0 has no item with label 1"):
        ask(learner, episodes, support_y=labels.where(labels != 1, 2))
    with pytest.raises(ValueError, match="support_y of task 0 has no item with label 0"):
        ask(learner, episodes, support_y=labels + 3)
    with pytest.raises(ValueError, match="support_y must hold labels from 0, got -1"):
        ask(learner, episodes, support_y=labels - 1)
    with pytest.raises(ValueError, match=r"support_y must be int64.*torch\.int32"):
        ask(learner, episodes, support_y=labels.int())
    with pytest.raises(ValueError, match=r"support_y must be int64.*\(2, 6, 1\)"):
        ask(learner, episodes, support_y=labels[..., None])


@every_classifier
def test_regression_targets_are_refused(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    with pytest.raises(ValueError, match="support_y"):
        ask(learner, episodes, support_y=torch.zeros(2, 6, 1, dtype=torch.float64))


@every_learner
def test_items_that_are_not_finite_are_refused(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    for name in ("support_x", "query_x"):
        spoiled = getattr(episodes, name).clone()
        spoiled[0, 0], spoiled[1, 1] = float("nan"), float("inf")
        n_bad = 2 * spoiled[0, 0].numel()
        with pytest.raises(ValueError, match=f"{name} holds {n_bad} NaN or infinite"):
            ask(learner, episodes, **{name: spoiled})


@every_learner
def test_adapt_refuses_the_same(entry):
    task, learner = draw_episodes(entry)[0], fresh(entry)
    with pytest.raises(ValueError, match="support_x holds"):
        learner.adapt(task.support_x * float("nan"), task.support_y)
    predictor = learner.adapt(task.support_x, task.support_y)
    with pytest.raises(ValueError, match="query_x"):
        predictor(task.query_x[0])
    with pytest.raises(ValueError, match="query_x holds"):
        predictor(task.query_x * float("nan"))


@every_learner
def test_bytes_and_empty_query_sets_are_refused(entry):
    episodes, learner = draw_episodes(entry), fresh(entry)
    for name in ("support_x", "query_x"):
        with pytest.raises(ValueError, match=rf"{name} holds torch.uint8.*{name}.float\(\) / 255"):
            ask(learner, episodes, **{name: getattr(episodes, name).to(torch.uint8)})
    with pytest.raises(ValueError, match=r"query_x holds no items: its shape is \(2, 0"):
        ask(learner, episodes, query_x=episodes.query_x[:, :0])
