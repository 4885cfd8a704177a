"""ANIL and BOIL are MAML in which one part moves: which part, and what the outer gradient holds."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import check_meta_gradient
from metalearn_edu.learners import ANIL, BOIL, MAML, MAMLModel
from metalearn_edu.tasks import EpisodeBatch
from tests.learners.users_models import MODELS, draw, episodes, weights

PARTS = pytest.mark.parametrize(("learner", "moves_head"), [(ANIL, True), (BOIL, False)])


class HeadFirst(nn.Module):
    """The head is registered first, and has another name."""

    def __init__(self):
        super().__init__()
        self.scores_of, self.features = nn.Linear(6, 3), nn.Linear(4, 6)

    def forward(self, x):
        return self.scores_of(torch.tanh(self.features(x)))


class Tied(nn.Module):
    """The head's weight is that of a layer of the body."""

    def __init__(self):
        super().__init__()
        self.start = nn.Linear(4, 3)
        self.body, self.out = nn.Linear(3, 3), nn.Linear(3, 3)
        self.out.weight = self.body.weight

    def forward(self, x):
        return self.out(torch.tanh(self.body(torch.tanh(self.start(x)))))


class Cosine(nn.Module):
    """A head that is no nn.Linear: cosine to a vector of each class."""

    def __init__(self):
        super().__init__()
        self.body, self.classes = nn.Linear(4, 6), nn.Parameter(draw(3, 6, seed=9))

    def forward(self, x):
        return 5 * F.normalize(self.body(x), dim=1) @ F.normalize(self.classes, dim=1).mT


HEADS = {
    "recurrent": "last.",
    "attention": "last.",
    "tied parts": "last.",
    "MLP": "5.",
    "ConvNet": "head.",
    "head first": "scores_of.",
}
OTHERS = {
    "MLP": (lambda: MAMLModel(4, 6, 3), (4,)),
    "ConvNet": (lambda: ConvNet(width=16, output_dim=3, image_size=8, n_blocks=2), (1, 8, 8)),
    "head first": (HeadFirst, (4,)),
}


@pytest.fixture(params=HEADS)
def case(request):
    """A model, its episodes, and what the names of its head begin with."""
    torch.manual_seed(0)
    make, item = OTHERS.get(request.param) or (MODELS[request.param], (4,))
    return make().double(), episodes(item), HEADS[request.param]


@PARTS
@pytest.mark.filterwarnings("ignore:torch.func.vmap cannot")
def test_one_part_moves_and_the_other_is_bitwise_the_same(case, learner, moves_head):
    model, batch, head = case
    learner, before = learner(model, 0.3, num_inner_steps=3), weights(model)
    fast = learner.inner_loop(batch.support_x[0], batch.support_y[0])
    assert {n.startswith(head) for n in fast} == {moves_head}
    assert set(fast) == learner.moving
    assert all(not torch.equal(p, before[n]) for n, p in fast.items())
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert learner.moving == {n for n in before if n.startswith(head) is moves_head}


@PARTS
@pytest.mark.filterwarnings("ignore:torch.func.vmap cannot")
def test_all_of_the_model_learns_in_the_outer_loop(case, learner, moves_head):
    model, batch, _ = case
    learner, before = learner(model, 0.3, num_inner_steps=2), weights(model)
    learner.outer_loop(batch)
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters())


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def outer_gradient(learner, batch):
    learner.loss(batch).backward()
    return {n: p.grad for n, p in learner.model.named_parameters()}


@PARTS
def test_the_part_that_stays_has_the_second_order_gradient_by_hand(learner, moves_head):
    """One task and one step, written out in plain autograd."""
    batch, model = episodes((4,), n_tasks=1), two_layers()
    own = dict(model.named_parameters())
    moving = [n for n in own if n.startswith("2") is moves_head]

    def loss(params, x, y):
        z = torch.tanh(x @ params["0.weight"].mT + params["0.bias"])
        return F.cross_entropy(z @ params["2.weight"].mT + params["2.bias"], y)

    task = batch[0]
    support = loss(own, task.support_x, task.support_y)
    steps = torch.autograd.grad(support, [own[n] for n in moving], create_graph=True)
    moved = {n: own[n] - 0.3 * g for n, g in zip(moving, steps, strict=True)}
    query = loss(own | moved, task.query_x, task.query_y)
    expected = torch.autograd.grad(query, list(own.values()))
    found = outer_gradient(learner(model, 0.3, num_inner_steps=1), batch)
    for (name, g), e in zip(found.items(), expected, strict=True):
        torch.testing.assert_close(g, e, rtol=0, atol=1e-12, msg=name)


@PARTS
def test_without_second_order_the_part_that_stays_gets_another_gradient(learner, moves_head):
    batch = episodes((4,))
    second = outer_gradient(learner(two_layers(), 0.3, num_inner_steps=2), batch)
    first = outer_gradient(learner(two_layers(), 0.3, num_inner_steps=2, first_order=True), batch)
    stays = [n for n in second if n.startswith("2") is not moves_head]
    assert all((second[n] - first[n]).norm() > 1e-3 * second[n].norm() for n in stays)


@PARTS
def test_higher_gives_the_same(learner, moves_head):
    batch = episodes((4,))
    ours, theirs = (
        outer_gradient(learner(two_layers(), 0.3, num_inner_steps=3, engine=engine), batch)
        for engine in ("torch.func", "higher")
    )
    for name, g in ours.items():
        torch.testing.assert_close(g, theirs[name], rtol=0, atol=1e-12)


@PARTS
def test_they_are_settings_of_maml(learner, moves_head):
    which = lambda name, _: name.startswith("2") is moves_head  # noqa: E731
    batch = episodes((4,))
    named = outer_gradient(learner(two_layers(), 0.3, num_inner_steps=2), batch)
    given = outer_gradient(MAML(two_layers(), 0.3, num_inner_steps=2, inner_params=which), batch)
    assert all(torch.equal(g, given[n]) for n, g in named.items())


def test_one_step_from_a_zero_head_is_the_same_for_maml_and_anil():
    """Through a head of 0 no gradient reaches the body, so MAML's first step moves the head alone.

    So it is in the outer gradient: the step of the body is 0 wherever the body is.
    """
    batch = episodes((4,))
    for steps, same in ((1, True), (2, False)):
        options = {"num_inner_steps": steps, "zero_head": True}
        maml, anil = (kind(two_layers(), 0.3, **options) for kind in (MAML, ANIL))
        by_maml, by_anil = (outer_gradient(each, batch)["0.weight"] for each in (maml, anil))
        x = batch.support_x, batch.support_y, batch.query_x
        assert torch.allclose(maml(*x), anil(*x), rtol=0, atol=1e-12) is same
        assert torch.allclose(by_maml, by_anil, rtol=0, atol=1e-12) is same


def test_a_head_that_is_no_linear_layer_is_named():
    batch = episodes((4,))
    with pytest.raises(ValueError, match=r"ANIL needs one nn.Linear .*name the head, as in head="):
        ANIL(Cosine().double(), 0.3).loss(batch)
    anil, boil = (kind(Cosine().double(), 0.3, head="classes") for kind in (ANIL, BOIL))
    assert anil.moving == {"classes"} and boil.moving == {"body.weight", "body.bias"}
    for each in (anil, boil):
        check_meta_gradient(lambda m: m.loss(batch), each, n_directions=2).require()
    chosen = ANIL(Cosine(), head=lambda name, _: name == "classes")
    assert chosen.moving == {"classes"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ANIL(nn.Conv2d(1, 2, 3)), "ANIL needs a model with a linear layer"),
        (lambda: BOIL(nn.Linear(4, 3)), "BOIL moves the body of the model, in which no parameter"),
        (lambda: BOIL(MAMLModel(4, 6, 3), zero_head=True), "BOIL has no zero_head"),
        (lambda: BOIL(MAMLModel(4, 6, 3), head=["1", "3", "5"]), "no parameter to the body"),
        (lambda: ANIL(MAMLModel(4, 6, 3), head="classifier"), "head names 'classifier', which no"),
        (lambda: ANIL(MAMLModel(4, 6, 3), head=[]), "no parameter to the head"),
        (lambda: ANIL(MAMLModel(4, 6, 3), head=5), "head must be names"),
        (lambda: ANIL(MAMLModel(4, 6, 3), {"1": 0.1}), "no step size for 5.bias, which ANIL moves"),
        (lambda: ANIL(MAMLModel(4, 6, 3), inner_params=["5"]), "head= says where the head is"),
        (lambda: ANIL(Tied(), head="out"), "head shares a weight with body.weight"),
        (lambda: BOIL(Tied(), head="out"), "head shares a weight with body.weight"),
        (lambda: ANIL(Tied().double()).loss(episodes((4,))), "weights are used elsewhere"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_frozen_head_has_nothing_to_adapt_but_boil_may_have_one():
    frozen = two_layers()
    frozen[2].requires_grad_(False)
    with pytest.raises(ValueError, match="ANIL moves the head of the model, in which no parameter"):
        ANIL(frozen)
    assert BOIL(frozen).moving == {"0.weight", "0.bias"}
    assert BOIL(frozen, head="2").moving == {"0.weight", "0.bias"}


@PARTS
def test_a_resumed_run_or_a_copy_knows_its_head(learner, moves_head):
    batch = episodes((4,))
    learner = learner(HeadFirst().double(), 0.3, num_inner_steps=1)
    assert learner.moving == frozenset()  # looked for in the first call
    learner.loss(batch)
    other = copy.deepcopy(learner)
    assert other.moving == learner.moving != frozenset()
    assert other.loss(batch) == learner.loss(batch)


def test_regression_works():
    model = MAMLModel(1, 8, 1).double()
    x, y = draw(2, 5, 1), draw(2, 5, 1, seed=1)
    batch = EpisodeBatch(x, y, draw(2, 5, 1, seed=2), draw(2, 5, 1, seed=3))
    for kind in (ANIL, BOIL):
        learner = kind(model, num_inner_steps=2, loss_fn=F.mse_loss)
        check_meta_gradient(lambda m: m.loss(batch), learner, n_directions=2).require()
