"""What the base class does for every learner: attributes, what comes in, the loss, the steps."""

import copy
import functools
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.engine.losses import is_cross_entropy
from metalearn_edu.learners import (
    MAML,
    MANN,
    EnhancedProtoNet,
    LSTMController,
    MAMLModel,
    MetaLearner,
    MetaSGD,
    PrototypicalNetwork,
    RelationNetwork,
    TaskConditionedNetwork,
)
from metalearn_edu.learners.modes import eval_mode, kept_modes
from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler

N_WAY = 3


def draw(n_tasks=4, n_shot=2, n_query=3, seed=0) -> EpisodeBatch:
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn(30, 4, generator=generator)
    sampler = EpisodeSampler((items, torch.arange(6).repeat(5)), N_WAY, n_shot, n_query)
    return sampler.episodes(seed, 0, n_tasks)


MAKERS = {
    "ProtoNet": lambda: EnhancedProtoNet(4, 6, 5),
    "Relation": lambda: RelationNetwork(4, 6, objective="cross_entropy"),
    "MANN": lambda: MANN(None, LSTMController(4 + N_WAY, 6), N_WAY),
    "MANN with a metric loss": lambda: MANN(
        None, LSTMController(4 + N_WAY, 6), N_WAY, metric_weight=0.5
    ),
    "TaskConditioned": lambda: TaskConditionedNetwork(4, 5, 6),
    "MAML": lambda: MAML(MAMLModel(4, 6, N_WAY), 0.1, num_inner_steps=1),
    "MetaSGD": lambda: MetaSGD(MAMLModel(4, 6, N_WAY), 0.1),
}

every_learner = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def fresh(make) -> MetaLearner:
    torch.manual_seed(0)
    return make()


def inputs(episodes):
    return episodes.support_x, episodes.support_y, episodes.query_x


# ---------------------------------------------------------------- no attribute is lost

WEIGHT = torch.tensor([1.0, 2.0, 4.0])

PAIRS = {
    "smoothed": (
        nn.CrossEntropyLoss(label_smoothing=0.3),
        lambda s, y: F.cross_entropy(s, y, label_smoothing=0.3),
    ),
    "weighted": (
        nn.CrossEntropyLoss(weight=WEIGHT),
        lambda s, y: F.cross_entropy(s, y, weight=WEIGHT),
    ),
    "sum": (
        nn.CrossEntropyLoss(reduction="sum"),
        lambda s, y: F.cross_entropy(s, y, reduction="sum"),
    ),
    "likelihood": (nn.NLLLoss(), F.nll_loss),
}


@every_learner
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_a_loss_that_is_a_module_is_the_one_that_is_minimised(make, pair):
    module, function = (fresh(make) for _ in range(2))
    module.loss_fn, function.loss_fn = pair
    assert module.loss_fn is pair[0]
    torch.testing.assert_close(module.loss(draw()), function.loss(draw()))
    assert module.loss(draw()).item() != pytest.approx(fresh(make).loss(draw()).item())
    assert module.outer_loop(draw()) == pytest.approx(function.outer_loop(draw()))
    for one, other in zip(module.parameters(), function.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@every_learner
def test_a_loss_goes_from_function_to_module_and_back(make):
    learner, keys = fresh(make), fresh(make).state_dict().keys()
    default = learner.loss(draw()).item()
    learner.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.3)
    assert learner.loss(draw()).item() != pytest.approx(default)
    learner.loss_fn = F.cross_entropy
    assert learner.loss(draw()).item() == pytest.approx(default)
    learner.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.3)
    del learner.loss_fn
    assert learner.loss(draw()).item() == pytest.approx(default)
    assert learner.state_dict().keys() == keys  # a loss without tensors adds nothing


def test_a_loss_as_module_is_part_of_the_learner():
    learner = EnhancedProtoNet(4, 6, 5)
    learner.loss_fn = nn.CrossEntropyLoss(weight=WEIGHT)
    assert torch.equal(learner.state_dict()["loss_fn.weight"], WEIGHT)
    learner.double()
    assert learner.loss_fn.weight.dtype == torch.float64
    for twin in (copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))):
        assert isinstance(twin.loss_fn, nn.CrossEntropyLoss)
        assert twin.loss_fn is not learner.loss_fn


def test_one_learner_s_loss_is_no_other_s():
    one, other = EnhancedProtoNet(4, 6, 5), EnhancedProtoNet(4, 6, 5)
    one.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.3)
    assert other.loss_fn is F.cross_entropy is EnhancedProtoNet.loss_fn is MetaLearner.loss_fn


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, scores, labels):
        return F.cross_entropy(self.factor * scores, labels)


def test_the_parameters_of_a_loss_are_learned_from_the_step_on_which_it_came():
    learner = fresh(MAKERS["ProtoNet"])
    learner.outer_loop(draw())
    learner.loss_fn = Temperature()
    learner.outer_loop(draw())
    assert abs(learner.loss_fn.factor.item() - 1) == pytest.approx(learner.meta_lr, rel=1e-3)


class Mine(PrototypicalNetwork):
    """A learner of a user's, with attributes of the class of all kinds."""

    loss_fn = staticmethod(F.mse_loss)
    part = None
    limit = 3.0

    def extra(self):
        return "method"

    @property
    def double_limit(self):
        return 2 * self.limit

    @double_limit.setter
    def double_limit(self, value):
        self.limit = value

    @property
    def fixed(self):
        return 1


def test_a_user_s_class_attributes_hide_nothing():
    learner, other = Mine(nn.Linear(4, 3)), Mine(nn.Linear(4, 3))
    assert learner.loss_fn is F.mse_loss
    for name in ("loss_fn", "part", "limit", "extra", "new"):
        module = nn.Linear(1, 1)
        setattr(learner, name, module)
        assert getattr(learner, name) is module is dict(learner.named_children())[name]
    assert other.loss_fn is F.mse_loss and other.part is None and other.limit == 3.0
    assert other.extra() == "method" and Mine.part is None
    del learner.extra, learner.limit
    assert learner.extra() == "method" and learner.limit == 3.0


def test_a_property_sets_itself_or_refuses():
    learner, module = Mine(nn.Linear(4, 3)), nn.Linear(1, 1)
    learner.double_limit = module
    assert learner.limit is module
    with pytest.raises(AttributeError, match="fixed"):
        learner.fixed = module


def test_which_losses_are_cross_entropy():
    yes = [
        F.cross_entropy,
        nn.CrossEntropyLoss(),
        functools.partial(F.cross_entropy, weight=WEIGHT),
    ]
    assert all(map(is_cross_entropy, yes))
    assert not any(map(is_cross_entropy, [F.mse_loss, nn.MSELoss(), nn.NLLLoss(), None]))


# ---------------------------------------------------------------- what a loss returns


@every_learner
@pytest.mark.parametrize(
    ("loss_fn", "got"),
    [
        (nn.CrossEntropyLoss(reduction="none"), r"got \(\d+,\)"),
        (lambda s, y: 3.0, "got float"),
        (lambda s, y: None, "got NoneType"),
    ],
)
def test_a_loss_that_is_not_one_number_is_refused(make, loss_fn, got):
    learner = fresh(make)
    learner.loss_fn = loss_fn
    if isinstance(learner, MAML):
        return  # its inner loop has a word to say first
    before = copy.deepcopy(learner.state_dict())
    with pytest.raises(ValueError, match=f"loss_fn must return one number, .*{got}"):
        learner.outer_loop(draw())
    assert all(torch.equal(t, before[name]) for name, t in learner.state_dict().items())


@pytest.mark.parametrize("loss_fn", [None, 3, nn.CrossEntropyLoss])
def test_what_is_no_loss_is_refused(loss_fn):
    learner = fresh(MAKERS["ProtoNet"])
    learner.loss_fn = loss_fn
    with pytest.raises(ValueError, match="loss_fn must be a module or a function, got"):
        learner.loss(draw())


def test_a_loss_without_a_gradient_is_refused():
    learner = fresh(MAKERS["ProtoNet"])
    with torch.no_grad(), pytest.raises(ValueError, match="the loss has no gradient"):
        learner.outer_loop(draw())
    learner.requires_grad_(False)
    with pytest.raises(ValueError, match="EnhancedProtoNet has no parameter to learn"):
        learner.outer_loop(draw())


@every_learner
@pytest.mark.parametrize("loss_fn", [F.mse_loss, nn.HuberLoss(), nn.BCEWithLogitsLoss()])
def test_a_distance_from_labels_is_refused(make, loss_fn):
    """One query a class: scores (3, 3) and labels (3,) would broadcast without a word."""
    learner = fresh(make)
    learner.loss_fn = loss_fn
    with pytest.raises(ValueError, match="class labels, from which scores have no distance"):
        learner.loss(draw(n_tasks=1, n_query=1))


def test_a_loss_module_outlives_its_process(tmp_path):
    learner = fresh(MAKERS["ProtoNet"])
    learner.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.5)
    torch.save(learner, tmp_path / "learner.pt")
    code = (
        "import sys, torch\n"
        "learner = torch.load(sys.argv[1], weights_only=False)\n"
        "print(learner.loss_fn.label_smoothing)"
    )
    command = [sys.executable, "-c", code, tmp_path / "learner.pt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "0.5\n", done.stderr


# ---------------------------------------------------------------- predictors


@every_learner
def test_a_predictor_stays_what_it_is_when_the_learner_is_trained_on(make):
    learner, batch = fresh(make), draw()
    predictor = learner.adapt(batch.support_x[0], batch.support_y[0])
    before = predictor(batch.query_x[0])
    for _ in range(2):
        learner.outer_loop(batch)
    weights = copy.deepcopy(learner.state_dict())
    assert torch.equal(predictor(batch.query_x[0]), before)
    assert all(torch.equal(t, weights[name]) for name, t in learner.state_dict().items())
    again = learner.adapt(batch.support_x[0], batch.support_y[0])(batch.query_x[0])
    assert not torch.equal(again, before)


@pytest.mark.parametrize("options", [{"num_test_steps": 0}, {"inner_params": ["5"]}])
def test_so_do_predictors_that_share_weights_with_their_learner(options):
    learner, batch = fresh(lambda: MAML(MAMLModel(4, 6, N_WAY), 0.1, **options)), draw()
    predictor = learner.adapt(batch.support_x[0], batch.support_y[0])
    before = predictor(batch.query_x[0])
    learner.outer_loop(batch)
    assert torch.equal(predictor(batch.query_x[0]), before)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.GRU(2, 5, batch_first=True), nn.Linear(5, N_WAY)

    def forward(self, x):
        return self.head(self.body(x.unflatten(1, (2, 2)))[0][:, -1])


@pytest.mark.filterwarnings("ignore")
def test_several_threads_may_adapt_one_learner():
    learner, batch = fresh(lambda: MAML(Recurrent(), 0.3)), draw(n_tasks=8)

    def answers(t):
        return learner.adapt(batch.support_x[t], batch.support_y[t])(batch.query_x[t])

    one_by_one = [answers(t) for t in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answers, range(8)))
    assert all(map(torch.equal, together, one_by_one))
    assert all(part.training for part in learner.modules())


# ---------------------------------------------------------------- chunks


def gradients(learner):
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


@every_learner
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_chunks_do_not_change_what_is_minimised(make, reduction, chunk_size):
    whole, chunked = (fresh(make).double() for _ in range(2))
    if reduction == "sum" and getattr(whole, "metric_weight", 0):
        return  # refused: see below
    for learner in (whole, chunked):
        learner.loss_fn = lambda s, y: F.cross_entropy(s, y, reduction=reduction)
    losses = [
        learner.outer_loop(draw(), optimizer=torch.optim.SGD(learner.parameters(), 0.0), **chunks)
        for learner, chunks in ((whole, {"chunk_size": 4}), (chunked, {"chunk_size": chunk_size}))
    ]
    assert losses[0] == pytest.approx(losses[1])
    torch.testing.assert_close(gradients(chunked), gradients(whole))


def test_a_loss_that_is_neither_sum_nor_mean_is_not_taken_in_chunks():
    learner = fresh(MAKERS["ProtoNet"])
    learner.loss_fn = lambda scores, labels: scores.flatten().logsumexp(dim=0)
    assert learner.outer_loop(draw(), chunk_size=4) > 0
    with pytest.raises(ValueError, match="neither a mean over items nor their sum"):
        learner.outer_loop(draw(), chunk_size=2)


WEIGHTS = torch.tensor([1.0, 5.0, 10.0])


@pytest.mark.parametrize(
    "loss_fn",
    [nn.CrossEntropyLoss(weight=WEIGHTS), functools.partial(F.cross_entropy, weight=WEIGHTS)],
)
def test_a_weighted_mean_is_taken_in_chunks_of_tasks_with_equal_labels_alone(loss_fn):
    whole, chunked = (fresh(MAKERS["ProtoNet"]) for _ in range(2))
    whole.loss_fn = chunked.loss_fn = loss_fn
    assert whole.outer_loop(draw()) == pytest.approx(chunked.outer_loop(draw(), chunk_size=1))
    torch.testing.assert_close(gradients(chunked), gradients(whole))
    unlike = draw()
    unlike.query_y[2] = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    with pytest.raises(ValueError, match="neither a mean over items nor their sum"):
        whole.outer_loop(unlike, chunk_size=1)
    maml = fresh(MAKERS["MAML"])
    maml.loss_fn = loss_fn
    expected = maml.loss(unlike)
    maml._network._queries_at_once = lambda tasks: 1
    torch.testing.assert_close(maml.loss(unlike), expected)


def test_the_root_of_a_mean_is_not_taken_in_chunks():
    learner = fresh(lambda: TaskConditionedNetwork(4, 5, 6, regression=True))
    learner.loss_fn = lambda scores, targets: F.mse_loss(scores, targets).sqrt()
    x, y = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)), torch.ones(3, 5, 1)
    with pytest.raises(ValueError, match="neither a mean over items nor their sum"):
        learner.outer_loop(EpisodeBatch(x[0], y, x[1], y * torch.rand(3, 1, 1)), chunk_size=1)


def test_what_is_no_optimizer_is_refused():
    for optimizer in (0.1, "adam", torch.optim.Adam):
        with pytest.raises(ValueError, match=r"optimizer must be of torch\.optim, got"):
            fresh(MAKERS["ProtoNet"]).outer_loop(draw(), optimizer=optimizer)


def test_a_sum_beside_a_metric_loss_is_not_taken_in_chunks():
    learner = fresh(MAKERS["MANN with a metric loss"])
    learner.loss_fn = nn.CrossEntropyLoss(reduction="sum")
    with pytest.raises(ValueError, match="neither a mean over items nor their sum"):
        learner.outer_loop(draw(), chunk_size=2)


# ---------------------------------------------------------------- the step


@every_learner
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_grad_norm": float("nan")}, "max_grad_norm must be a finite number above 0, got nan"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm must be a finite number above 0, got inf"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a finite number above 0, got 0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be a finite number above 0, got -1.0"),
        ({"max_grad_norm": "1"}, "max_grad_norm must be a finite number above 0, got '1'"),
        ({"chunk_size": 0}, "chunk_size must be an integer of at least 1, got 0"),
        ({"chunk_size": 1.5}, "chunk_size must be an integer of at least 1, got 1.5"),
        ({"chunk_size": True}, "chunk_size must be an integer of at least 1, got True"),
    ],
)
def test_numbers_that_make_no_step_are_refused(make, options, message):
    learner = fresh(make)
    before = copy.deepcopy(learner.state_dict())
    with pytest.raises(ValueError, match=message):
        learner.outer_loop(draw(), **options)
    assert all(torch.equal(t, before[name]) for name, t in learner.state_dict().items())


@pytest.mark.parametrize("meta_lr", [float("nan"), float("inf"), -1.0, "a", None])
def test_a_meta_lr_that_makes_no_sense_is_refused(meta_lr):
    learner = fresh(MAKERS["ProtoNet"])
    learner.meta_lr = meta_lr
    with pytest.raises(ValueError, match="meta_lr must be a finite number of at least 0, got"):
        learner.outer_loop(draw())


def test_a_meta_lr_that_is_changed_later_counts():
    learner = fresh(MAKERS["ProtoNet"])
    learner.outer_loop(draw())
    learner.meta_lr = 0.0
    before = copy.deepcopy(learner.state_dict())
    learner.outer_loop(draw())
    assert all(torch.equal(t, before[name]) for name, t in learner.state_dict().items())


def test_a_schedule_of_one_s_own_is_left_alone():
    learner = fresh(MAKERS["ProtoNet"])
    learner.outer_loop(draw())
    learner.meta_optimizer.param_groups[0]["lr"] = 0.5
    learner.outer_loop(draw())
    assert learner.meta_optimizer.param_groups[0]["lr"] == 0.5


def test_a_step_to_infinity_is_said():
    learner = fresh(MAKERS["ProtoNet"])
    optimizer = torch.optim.SGD(learner.parameters(), lr=3e38)
    learner.loss_fn = lambda s, y: 1e6 * F.cross_entropy(s, y)
    with pytest.raises(FloatingPointError, match=r"\d+ numbers of encoder.* not finite after"):
        learner.outer_loop(draw(), optimizer=optimizer)


@pytest.mark.parametrize("tasks", [None, [], draw()[0], {"x": 1}])
def test_what_is_no_batch_is_refused(tasks):
    learner = fresh(MAKERS["ProtoNet"])
    for use in (learner.loss, learner.outer_loop):
        with pytest.raises(ValueError, match="tasks must be an EpisodeBatch, got"):
            use(tasks)


# ---------------------------------------------------------------- what comes in


@every_learner
def test_arrays_lists_and_other_precisions_are_welcome(make):
    learner, episodes = fresh(make), draw()
    x, y, q = inputs(episodes)
    expected = learner(x, y, q)
    for change in (torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist):
        torch.testing.assert_close(learner(change(x), y, change(q)), expected)
    torch.testing.assert_close(learner(x.numpy()[:, ::-1], y.numpy()[:, ::-1], q), expected)
    half = learner(x.half(), y, q.half())
    torch.testing.assert_close(half, learner(x.half().float(), y, q.half().float()))
    adapted = learner.adapt(x[0].double().numpy(), y[0].tolist())(q[0].double())
    torch.testing.assert_close(adapted, expected[0])
    assert adapted.dtype == torch.float32
    torch.testing.assert_close(
        learner.loss(episodes.to(dtype=torch.float64)), learner.loss(episodes)
    )


WRONG = [None, "x", {"a": 1}, object(), [[1.0], [1.0, 2.0]], np.array(["x"]), [None]]


@every_learner
@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: type(value).__name__)
def test_what_holds_no_numbers_is_refused_by_name(make, wrong):
    learner, right = (
        fresh(make),
        dict(zip(("support_x", "support_y", "query_x"), inputs(draw()), strict=True)),
    )
    for name in right:
        with pytest.raises(ValueError, match=f"{name} must be a tensor or an array of numbers"):
            learner(**right | {name: wrong})
    first = {name: value[0] for name, value in right.items()}
    for name in ("support_x", "support_y"):
        with pytest.raises(ValueError, match=f"{name} must be a tensor or an array of numbers"):
            learner.adapt(**{n: first[n] for n in ("support_x", "support_y")} | {name: wrong})
    predictor = learner.adapt(first["support_x"], first["support_y"])
    with pytest.raises(ValueError, match="query_x must be a tensor or an array of numbers"):
        predictor(wrong)


@every_learner
@pytest.mark.parametrize("wrong", [torch.tensor(1.0), torch.ones(3), torch.ones(2, 3).bool()])
def test_shapes_and_kinds_that_cannot_be_are_refused_by_name(make, wrong):
    learner, right = (
        fresh(make),
        dict(zip(("support_x", "support_y", "query_x"), inputs(draw()), strict=True)),
    )
    for name in right:
        with pytest.raises(ValueError, match=name):
            learner(**right | {name: wrong})


@every_learner
def test_huge_labels_are_refused_before_memory_is_asked_for(make):
    x, y, q = inputs(draw())
    y = y.clone()
    y[0, 0] = 10**12
    with pytest.raises(
        ValueError, match=r"label 3; labels must run from 0 to n_way - 1 = 1000000000"
    ):
        fresh(make)(x, y.where(y != 0, 0), q)


def test_targets_that_are_not_finite_are_refused():
    learner = TaskConditionedNetwork(1, 4, 4, regression=True)
    x = torch.ones(1, 3, 1)
    with pytest.raises(ValueError, match="support_y holds 3 NaN or infinite"):
        learner(x, x * float("nan"), x)


def test_numbers_too_large_for_the_learner_are_refused():
    learner = fresh(MAKERS["ProtoNet"])
    x, y, q = inputs(draw())
    with pytest.raises(ValueError, match="support_x holds 96 NaN or infinite"):
        learner(x.double() * 1e300, y, q)


@every_learner
def test_inference_mode_gives_the_same_answers(make):
    learner, (x, y, q) = fresh(make), inputs(draw())
    expected = learner(x, y, q).detach()
    predictor = learner.adapt(x[0], y[0])
    with torch.inference_mode():
        torch.testing.assert_close(learner(x, y, q), expected)
        torch.testing.assert_close(predictor(q[0]), expected[0])
        torch.testing.assert_close(learner.adapt(x[0] + 0, y[0] + 0)(q[0] + 0), expected[0])
        made_there = x + 0
    torch.testing.assert_close(learner(made_there, y, q).detach(), expected)


def test_a_learner_made_in_inference_mode_says_what_it_cannot():
    with torch.inference_mode():
        maml, protonet = fresh(MAKERS["MAML"]), fresh(MAKERS["ProtoNet"])
        assert protonet(*inputs(draw())).isfinite().all()
        with pytest.raises(ValueError, match=r"made under torch.inference_mode\(\)"):
            maml(*inputs(draw()))
    with pytest.raises(ValueError, match=r"made under torch.inference_mode\(\)"):
        protonet.outer_loop(draw())


# ---------------------------------------------------------------- modes


def modes(module) -> list[bool]:
    return [part.training for part in module.modules()]


def test_modes_come_back_also_after_an_error():
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout().eval()))
    before = modes(module)
    with pytest.raises(KeyError), kept_modes(module):
        module.eval()
        raise KeyError
    assert modes(module) == before
    with pytest.raises(KeyError), eval_mode(module):
        assert not any(modes(module))
        raise KeyError
    assert modes(module) == before


@pytest.mark.parametrize("train", [True, False])
def test_a_predictor_is_in_eval_mode_and_changes_nothing(train):
    body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    learner = PrototypicalNetwork(body).train(train)
    body[3].eval()
    before, state = modes(learner), copy.deepcopy(learner.state_dict())
    x, y, q = (part[0] for part in inputs(draw()))
    predictor = learner.adapt(x, y)
    answers = predictor(q)
    assert torch.equal(predictor(q), answers)
    torch.testing.assert_close(torch.cat([predictor(one[None]) for one in q]), answers)
    with pytest.raises(ValueError, match="query_x"):
        predictor(q[:, :2])
    assert modes(learner) == before
    assert all(torch.equal(t, state[name]) for name, t in learner.state_dict().items())


def test_a_predictor_of_maml_takes_the_test_steps():
    learner = MAML(MAMLModel(4, 6, N_WAY), 0.1, num_inner_steps=1, num_test_steps=4).train()
    x, y, q = (part[0] for part in inputs(draw()))
    expected = learner.adapt(x, y, num_inner_steps=4)(q)
    torch.testing.assert_close(learner.adapt(x, y)(q), expected)
    assert not torch.allclose(learner.adapt(x, y, num_inner_steps=1)(q), expected)
    assert learner.training and learner.num_steps == 1


# ---------------------------------------------------------------- encoders


@pytest.mark.parametrize("encoder", [None, 3, nn.Identity, "conv"])
def test_what_is_no_encoder_is_refused(encoder):
    with pytest.raises(ValueError, match="encoder must be a module or a function, got"):
        PrototypicalNetwork(encoder)


@pytest.mark.parametrize("returned", [lambda x: (x, x), lambda x: x[:1], lambda x: x.sum(dim=1)])
def test_an_encoder_that_gives_no_embedding_an_item_is_refused(returned):
    with pytest.raises(ValueError, match="an encoder must return one embedding per item"):
        PrototypicalNetwork(returned)(*inputs(draw()))


def test_a_step_of_the_outer_loop_is_taken_in_training_mode():
    """As after `meta_train`, which leaves eval mode; a frozen part stays frozen."""
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    learner = PrototypicalNetwork(encoder).eval()
    x, y = torch.rand(1, 4, 4), torch.tensor([[0, 0, 1, 1]])
    learner.outer_loop(EpisodeBatch(x, y, x.clone(), y.clone()))
    assert encoder[1].num_batches_tracked == 2 and not learner.training  # support and queries
    learner.train()
    encoder[2].eval()
    learner.outer_loop(EpisodeBatch(x, y, x.clone(), y.clone()))
    assert (encoder[1].num_batches_tracked, encoder[2].num_batches_tracked) == (4, 2)


@every_learner
def test_a_forward_of_one_s_own_and_hooks_count_in_loss_and_evaluation(make):
    """Both ask for the scores of a whole batch, and what a call gives is what they must see."""
    episodes = draw()
    plain = fresh(make)
    halved = type("Halved", (type(plain),), {"forward": lambda *a: type(plain).forward(*a) / 2})
    own, hooked = copy.deepcopy(plain), copy.deepcopy(plain)
    own.__class__ = halved
    hooked.register_forward_hook(lambda module, inputs, scores: scores / 2)
    expected = plain.answer(episodes) / 2
    targets = episodes.query_y.flatten()
    for learner in (own, hooked):
        torch.testing.assert_close(learner.answer(episodes), expected)
        if not learner.reads_streams:  # whose loss is that of streams, not of queries
            loss = F.cross_entropy(expected.flatten(0, 1), targets)
            torch.testing.assert_close(learner.loss(episodes), loss)
