"""Any PyTorch model in MAML, against torch.optim on a copy of it, one task after the other.

The meta-gradient is compared with differences of that loss, so that nothing is shared with ours.
"""

import copy
import pickle
import warnings
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.engine.any_model import OverTasks, wearing
from metalearn_edu.learners import MAML, MAMLModel, MetaSGD
from metalearn_edu.tasks import EpisodeBatch

T, S, N_WAY = 2, 6, 3
ITEM = (5, 4)  # five steps of four numbers


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes(item=ITEM, n_way=N_WAY, n_tasks=T):
    labels = torch.arange(n_way).repeat(n_tasks, 2)
    x = draw(n_tasks, 2 * n_way, *item), draw(n_tasks, 2 * n_way, *item, seed=1)
    return EpisodeBatch(x[0], labels, x[1], labels.clone())


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.body = kind(4, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, N_WAY)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(4, 5), nn.Linear(5, N_WAY)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, N_WAY)

    def forward(self, x):
        return self.head(self.attend(x, x, x)[0].mean(1))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(4, N_WAY)

    def forward(self, x):
        return self.head(self.body(x).mean(1))


class Careful(nn.Module):
    """Looks at the numbers before it takes them."""

    def __init__(self):
        super().__init__()
        self.net = MAMLModel(20, 6, N_WAY)

    def forward(self, x):
        if x.abs().mean() > 100:
            raise ValueError("unscaled images?")
        return self.net(x) * (2.0 if x.sum().item() > 0 else 1.0)


class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.Tanh())
        self.head = nn.Linear(6, N_WAY)
        self.net = nn.Sequential(self.features, self.head)

    def forward(self, x):
        return self.net(x)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(20, 20), nn.Linear(20, 20)
        self.decoder.weight = self.encoder.weight
        self.head = nn.Linear(20, N_WAY)

    def forward(self, x):
        return self.head(torch.tanh(self.decoder(torch.tanh(self.encoder(x.flatten(1))))))


class InAList(nn.Module):
    """Holds its weights in a list besides."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(0.3 * draw(20, 6)), nn.Parameter(0.3 * draw(6, 3))
        self.layers = [{"w": self.first}, {"w": self.second}]

    def forward(self, x):
        z = torch.tanh(x.flatten(1) @ self.layers[0]["w"])
        return z @ self.layers[1]["w"]


class Forgetful(nn.Module):
    """Writes on its buffers and on itself, and overwrites what it was given."""

    def __init__(self):
        super().__init__()
        self.net, self.calls, self.seen = MAMLModel(20, 6, N_WAY), 0, []
        self.register_buffer("mean", torch.zeros(20))
        self.register_buffer("scale", torch.ones(20))

    def forward(self, x):
        z = x.flatten(1)
        z -= 0.1
        self.mean.mul_(0.9).add_(z.mean(0))
        self.scale = self.scale * 1.5
        self.calls += 1
        self.seen.append(z)
        self.last = z
        return self.net(z + 0 * self.mean)


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


class Returns(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.net, self.how = MAMLModel(20, 6, N_WAY), how

    def forward(self, x):
        return self.how(self.net(x), x)


def hooked():
    net = MAMLModel(20, 6, N_WAY)
    net[1].register_forward_hook(lambda layer, inputs, output: output.tanh() + 1)
    return net


def patched():
    """A layer whose forward is replaced on the object."""
    net = MAMLModel(20, 6, N_WAY)
    plain = net[1].forward
    net[1].forward = lambda x: 2 * plain(x)
    return net


def partly_frozen():
    model = Recurrent(nn.GRU)
    model.body.weight_hh_l0.requires_grad_(False)
    return model


def normed(norm, dim=6):
    net = nn.Sequential(nn.Flatten(), nn.Linear(20, dim), nn.Tanh(), nn.Linear(dim, N_WAY))
    with torch.no_grad():  # or the old weight norm could not be copied
        norm(net[1])
    return net


def by_last_axis():
    """A linear layer on each of the five steps."""
    return nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(15, N_WAY))


def ends_by_last_axis():
    class MeanOverSteps(nn.Module):
        def forward(self, x):
            return x.mean(1)

    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, N_WAY), MeanOverSteps())


KINDS = {
    "RNN": (lambda: Recurrent(nn.RNN), True),
    "GRU, two layers": (lambda: Recurrent(nn.GRU, num_layers=2), True),
    "LSTM, both ways": (lambda: Recurrent(nn.LSTM, bidirectional=True), True),
    "LSTM cell": (Cell, None),  # some versions of PyTorch have a rule for it
    "attention": (Attention, False),
    "transformer": (Transformer, False),
    "careful": (Careful, True),
    "two names": (TwoNames, False),
    "tied": (Tied, False),
    "in a list": (InAList, False),
    "hooked": (hooked, False),
    "partly frozen": (partly_frozen, True),
    "weight norm": (lambda: normed(nn.utils.parametrizations.weight_norm), False),
    "old weight norm": (lambda: normed(nn.utils.weight_norm), False),
    "by the last axis": (by_last_axis, False),
    "ends by the last axis": (ends_by_last_axis, False),
    "tuple": (lambda: Returns(lambda z, x: (z, x)), False),
    "list": (lambda: Returns(lambda z, x: [z]), False),
    "logits": (lambda: Returns(lambda z, x: {"hidden": x, "logits": z}), False),
    "one entry": (lambda: Returns(lambda z, x: {"scores": z}), False),
    "object": (lambda: Returns(lambda z, x: Output(z, x)), False),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """A model in float64, and whether its tasks must run one after the other."""
    make, by_task = KINDS[request.param]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().double(), by_task


def scores_of(model, x):
    output = model(x)
    if isinstance(output, dict):
        return output.get("logits", output.get("scores"))
    return getattr(output, "logits", output[0] if isinstance(output, tuple | list) else output)


def loss_by_hand(model, batch, optimizer, n_steps=2):
    """The mean query loss after some steps of torch.optim on a copy for each task."""
    losses = []
    for task in batch:
        own = copy.deepcopy(model)
        steps = optimizer(own)
        for _ in range(n_steps):
            steps.zero_grad()
            F.cross_entropy(scores_of(own, task.support_x), task.support_y).backward()
            steps.step()
        with torch.no_grad():
            losses.append(F.cross_entropy(scores_of(own, task.query_x), task.query_y))
    return torch.stack(losses).mean().item()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.3)


def slope_by_hand(model, batch, optimizer, seed, h=1e-5):
    """The derivative of that loss along a random direction."""
    learned = [p for p in model.parameters() if p.requires_grad]
    along = [draw(*p.shape, seed=seed + i) for i, p in enumerate(learned)]
    ends = []
    for shift in (h, -h):
        with torch.no_grad():
            for p, d in zip(learned, along, strict=True):
                p.add_(d, alpha=shift)
            ends.append(loss_by_hand_with_grad(model, batch, optimizer))
            for p, d in zip(learned, along, strict=True):
                p.sub_(d, alpha=shift)
    return (ends[0] - ends[1]) / (2 * h), along


def loss_by_hand_with_grad(*args):
    with torch.enable_grad():
        return loss_by_hand(*args)


def quiet(learner):
    """The learner, after it has said what it has to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.loss(episodes()).backward()
    learner.zero_grad()
    return learner


def check_against_hand(learner, model, batch, optimizer, tolerance=1e-7):
    learner.loss(batch).backward()
    assert learner.loss(batch).item() == pytest.approx(
        loss_by_hand(model, batch, optimizer), abs=1e-10
    )
    for seed in (10, 20):
        slope, along = slope_by_hand(model, batch, optimizer, seed)
        learned = [p for p in learner.model.parameters() if p.requires_grad]
        ours = sum((p.grad * d).sum() for p, d in zip(learned, along, strict=True)).item()
        assert ours == pytest.approx(slope, rel=1e-5, abs=tolerance)
        assert abs(slope) > 1e-4


# ------------------------------------------------------------------ the same numbers


def test_loss_and_meta_gradient_are_those_of_plain_pytorch(kind):
    model, by_task = kind
    reference = copy.deepcopy(model)
    learner = quiet(MAML(model, 0.3, num_inner_steps=2))
    assert by_task is None or learner._network._models.one_by_one is by_task
    check_against_hand(learner, reference, episodes(), sgd)


def test_tasks_one_by_one_are_the_same_tasks(kind):
    model, _ = kind
    batch, losses, gradients = episodes(), [], []
    for one_by_one in (False, True):
        learner = quiet(MAML(copy.deepcopy(model), 0.3, num_inner_steps=2))
        learner._network._models.one_by_one |= one_by_one
        losses.append(learner.loss(batch))
        losses[-1].backward()
        gradients.append([p.grad for p in learner.parameters() if p.requires_grad])
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("learner", [MAML, partial(MAML, first_order=True), MetaSGD])
@pytest.mark.filterwarnings("ignore")
def test_training_evaluating_and_adapting_agree(kind, learner):
    model, _ = kind
    learner, batch = learner(model, 0.3, num_inner_steps=2), episodes()
    before = learner.outer_loop(batch)
    assert [learner.outer_loop(batch) for _ in range(5)][-1] < before
    learner.eval()
    with torch.no_grad():
        scores = learner(batch.support_x, batch.support_y, batch.query_x)
        adapted = learner.adapt(batch.support_x[1], batch.support_y[1])(batch.query_x[1])
    torch.testing.assert_close(adapted, scores[1], rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["RNN", "LSTM, both ways", "transformer", "careful", "two names",
                                  "tied", "tuple", "object", "partly frozen"])  # fmt: skip
def test_higher_says_the_same(name):
    torch.manual_seed(0)
    model = KINDS[name][0]().double()
    results = []
    for engine in ("torch.func", "higher"):
        learner = MAML(copy.deepcopy(model), 0.3, num_inner_steps=2, engine=engine)
        learner.loss(episodes()).backward()
        results.append([p.grad for p in learner.parameters() if p.requires_grad])
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_a_forward_that_was_put_on_a_layer_counts():
    """The layer's own forward, doubled: as a layer of twice the weights and bias."""
    model, batch = patched().double(), episodes()
    plain = MAML(copy.deepcopy(MAMLModel(20, 6, N_WAY)).double(), 0.3, num_inner_steps=0)
    plain.model.load_state_dict(model.state_dict())
    with torch.no_grad():
        plain.model[1].weight *= 2
        plain.model[1].bias *= 2
    learner = MAML(model, 0.3, num_inner_steps=0)
    torch.testing.assert_close(learner.loss(batch), plain.loss(batch), rtol=0, atol=1e-12)


def test_higher_refuses_what_it_would_leave_out():
    for make, message in {
        hooked: "layer '1' .* forward hooks",
        patched: "layer '1' .* a forward of its own object",
        InAList: "layer '' .* layers or parameters in a list",
    }.items():
        with pytest.raises(ValueError, match=f"{message}, which higher leaves out"):
            MAML(make().double(), engine="higher").loss(episodes())


class HeldElsewhere(nn.Module):
    """Calls its first layer by a function, or an object, that holds the layer's weight."""

    def __init__(self, hold):
        super().__init__()
        self.first, self.head = nn.Linear(20, 6), nn.Linear(6, N_WAY)
        self.call = hold(self.first.weight)

    def forward(self, x):
        return self.head(torch.tanh(self.call(x.flatten(1))))


@dataclass
class Scale:
    weight: torch.Tensor

    def __call__(self, x):
        return F.linear(x, self.weight)


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
@pytest.mark.parametrize("hold", [Scale, lambda w: partial(F.linear, weight=w),
                                  lambda w: lambda x: F.linear(x, w)])  # fmt: skip
def test_a_weight_that_cannot_be_exchanged_is_refused(hold, engine):
    model = HeldElsewhere(hold)
    with pytest.raises(ValueError, match=r"HeldElsewhere holds first\.weight in a function or an"):
        MAML(model, engine=engine).loss(episodes().to(dtype=torch.float32))


class Checkpointed(nn.Module):
    """Computes its body again when the gradient is asked for; task by task, if recurrent."""

    def __init__(self, body):
        super().__init__()
        self.body, self.head = body, nn.Linear(5, N_WAY)

    def forward(self, x):
        z = torch.utils.checkpoint.checkpoint(self.body, x, use_reentrant=False)
        return self.head(z[0][:, -1] if isinstance(z, tuple) else z)


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.GRU(4, 5, batch_first=True),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(20, 5)),
    ],
)
def test_activations_that_are_computed_again_are_refused(make, engine):
    learner = MAML(Checkpointed(make()).double(), engine=engine)
    with pytest.raises(ValueError, match="forward of Checkpointed saves no activations"):
        learner.loss(episodes())


def test_single_precision_works_for_attention_and_recurrence():
    for make in (Transformer, lambda: Recurrent(nn.LSTM, num_layers=2)):
        learner = quiet(MAML(make().double(), 0.3, num_inner_steps=2)).float()
        learner.outer_loop(episodes().to(dtype=torch.float32))


# ------------------------------------------------------------------ the model is lent


def contents(model):
    """Every object that the model's modules hold, and its numbers."""
    held = [dict(module.__dict__) for module in model.modules()]
    inner = [
        list(part.items())
        for attributes in held
        for part in attributes.values()
        if isinstance(part, dict)
    ]
    return held, inner, copy.deepcopy(model.state_dict())


def same(first, second):
    return (
        [{k: id(v) for k, v in a.items()} for a in first[0]]
        == [{k: id(v) for k, v in a.items()} for a in second[0]]
        and [[(k, id(v)) for k, v in a] for a in first[1]]
        == [[(k, id(v)) for k, v in a] for a in second[1]]
        and all(torch.equal(first[2][n], second[2][n]) for n in first[2])
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*KINDS, "forgetful", "zero head"])
def test_the_model_is_left_as_it_was(name):
    torch.manual_seed(0)
    make = {"forgetful": Forgetful, "zero head": TwoNames}.get(name) or KINDS[name][0]
    model, batch = make().double(), episodes()
    learner = MAML(model, 0.3, num_inner_steps=2, zero_head=name == "zero head")
    before = contents(model)
    x = batch.support_x.clone()
    learner(batch.support_x, batch.support_y, batch.query_x).sum().backward()
    assert learner.model is model and same(before, contents(model))
    assert torch.equal(batch.support_x, x)
    copy.deepcopy(model)


def test_what_a_forward_pass_writes_is_dropped_and_said_once():
    learner, batch = MAML(Forgetful().double(), 0.3, num_inner_steps=1), episodes()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            learner.outer_loop(batch)
    texts = [str(w.message) for w in said]
    assert sum("writes on its buffers (mean, scale)" in text for text in texts) == 1
    assert not learner.model.mean.any() and learner.model.calls == 0 and learner.model.seen == []


class Breaks(TwoNames):
    def forward(self, x):
        self.head.weight = nn.Parameter(torch.zeros_like(self.head.weight))
        raise RuntimeError("out of paper")


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_a_model_that_fails_is_whole_and_says_why_itself(engine):
    model = Breaks().double()
    learner, before = MAML(model, engine=engine), contents(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="out of paper") as caught:
            learner.loss(episodes())
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert engine == "higher" or same(before, contents(model))
    assert not learner._network._models.one_by_one or engine == "higher"


def test_a_shape_mistake_shows_the_models_own_message():
    with pytest.raises(RuntimeError, match=r"Expected size for first two|cannot be multiplied"):
        MAML(Returns(lambda z, x: z @ x).double()).loss(episodes())


def test_wearing_ends_even_if_the_model_changes_its_parts():
    model = TwoNames()
    before = contents(model)
    with wearing(model, {"head.weight": torch.zeros(3, 6)}):
        assert not model.net[1].weight.any()
        model.extra, model.head = nn.Linear(2, 2), None
    assert same(before, contents(model))


# ------------------------------------------------------------------ said once, kept, copied


def test_falling_back_is_said_once():
    learner, batch = MAML(Careful().double(), 0.3, num_inner_steps=2), episodes()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            learner.outer_loop(batch)
        copy.deepcopy(learner).loss(batch)
        pickle.loads(pickle.dumps(learner)).loss(batch)
    assert [str(w.message).split(" (")[0] for w in said] == ["torch.func.vmap cannot run the model"]
    assert "one after the other: the same numbers" in str(said[0].message)


def test_a_loss_that_looks_at_its_numbers_runs_task_by_task():
    def loss_fn(scores, labels):
        loss = F.cross_entropy(scores, labels)
        return loss if loss.item() < 1e9 else loss * 0

    plain = MAML(MAMLModel(20, 6, N_WAY).double(), 0.3, num_inner_steps=2)
    own = MAML(copy.deepcopy(plain.model), 0.3, num_inner_steps=2, loss_fn=loss_fn)
    with pytest.warns(UserWarning, match="vmap cannot run loss_fn"):
        loss = own.loss(episodes())
    torch.testing.assert_close(loss, plain.loss(episodes()), rtol=0, atol=1e-12)


def test_a_loss_for_each_item_is_refused():
    loss_fn = partial(F.cross_entropy, reduction="none")
    with pytest.raises(ValueError, match=r"one number for a task, got the shape \(6,\)"):
        MAML(MAMLModel(20, 6, N_WAY).double(), loss_fn=loss_fn).loss(episodes())


def test_running_out_of_memory_is_no_reason_to_go_on():
    def hungry(x):
        raise torch.OutOfMemoryError("none left")

    over_tasks = OverTasks("it")
    with pytest.raises(torch.OutOfMemoryError):
        over_tasks(hungry, torch.ones(2, 3))
    assert not over_tasks.one_by_one


def test_dropout_differs_from_task_to_task_and_is_off_in_eval():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(20, N_WAY)).double()
    learner, one = MAML(model, 0.3, num_inner_steps=1), episodes(n_tasks=1)
    twice = [t.repeat(2, *[1] * (t.ndim - 1)) for t in (one.support_x, one.support_y, one.query_x)]
    first, second = learner(*twice)
    assert not torch.allclose(first, second)
    first, second = learner.eval()(*twice)
    assert torch.equal(first, second)


# ------------------------------------------------------------------ at the door


def test_wrappers_are_taken_off():
    model = MAMLModel(20, 6, N_WAY).double()
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        learner = MAML(wrapped, 0.3)
        assert learner.model is model
        learner.outer_loop(episodes())


def test_what_cannot_run_with_other_weights_is_refused():
    scripted = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(20, 3)))
    for model, message in {
        scripted: "the model is scripted",
        nn.Sequential(nn.Flatten(), scripted): "layer '1' of the model is scripted",
        nn.Sequential(nn.DataParallel(nn.Linear(20, 3))): "DataParallel; give its .module",
        nn.Sequential(nn.Flatten(), nn.LazyLinear(3)): r"'1' .*no size yet; call the model once",
        nn.Flatten(): "no parameter that requires a gradient",
        nn.Linear(20, 3).requires_grad_(False): "no parameter that requires a gradient",
    }.items():
        for learner in (MAML, MetaSGD):
            with pytest.raises(ValueError, match=message):
                learner(model)
    with pytest.raises(ValueError, match=r"model must be a torch\.nn\.Module, got a function"):
        MAML(lambda x: x)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda z, x: {"a": z, "b": x}, "a mapping with 'a', 'b'"),
        (lambda z, x: ({"a": z}, x), "a tuple that begins with a dict"),
        (lambda z, x: (), "a tuple"),
        (lambda z, x: None, "a NoneType"),
        (
            lambda z, x: z[:, None].expand(-1, 7, -1),
            r"give scores \(6, (3|n_out)\).* got \(6, 7, 3\)",
        ),
        (lambda z, x: z[0], r"give scores \(6, (3|n_out)\).* got \(3,\)"),
        (lambda z, x: z[:, :2], r"give scores \(6, (3|n_out)\).* got \(6, 2\)"),
        (lambda z, x: torch.cat([z, z], 1), r"give scores \(6, (3|n_out)\).* got \(6, 6\)"),
        (lambda z, x: z[:4], r"give scores \(6, (3|n_out)\).* got \(4, 3\)"),
    ],
)
@pytest.mark.parametrize("n_steps", [0, 1])
@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_other_outputs_are_refused_with_what_came(how, message, n_steps, engine):
    learner = MAML(Returns(how).double(), num_inner_steps=n_steps, engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"forward of Returns must .*{message}"):
            learner.loss(episodes())
