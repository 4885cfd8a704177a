"""The checks must name each typical mistake, and stay silent on honest code."""

import copy

import higher
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import grad as imported_grad
from torch.func import functional_call

from metalearn_edu.backbones import ConvNet
from metalearn_edu.diagnostics import (
    Report,
    check_episodes,
    check_meta_gradient,
    check_splits,
    check_transduction,
)
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import MAML, EnhancedProtoNet, MAMLModel, PrototypicalNetwork
from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler, FewShotDataset, Sinusoids

ALPHA = 0.3


def make_episodes(n_tasks=2, n_way=3, n_shot=2, n_query=3, item=(4,), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def items(n):
        return torch.randn(n_tasks, n_way * n, *item, generator=generator, dtype=dtype)

    def labels(n):
        return torch.arange(n_way).repeat_interleave(n).repeat(n_tasks, 1)

    return EpisodeBatch(items(n_shot), labels(n_shot), items(n_query), labels(n_query))


TASK = make_episodes(n_tasks=1)[0]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def inner_loss(model, params):
    return F.cross_entropy(functional_call(model, params, (TASK.support_x,)), TASK.support_y)


def outer_loss(model, params):
    return F.cross_entropy(functional_call(model, params, (TASK.query_x,)), TASK.query_y)


def step(params, gradients, alpha=ALPHA):
    return {name: p - alpha * g for (name, p), g in zip(params.items(), gradients, strict=True)}


# ------------------------------------------------------------------ honest code: silence


def plain(model, n_steps=2):
    params = dict(model.named_parameters())
    for _ in range(n_steps):
        loss = inner_loss(model, params)
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = step(params, gradients)
    return outer_loss(model, params)


def with_higher(model, n_steps=2, copy_initial_weights=False):
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)
    with higher.innerloop_ctx(model, optimizer, copy_initial_weights=copy_initial_weights) as (
        fast,
        differentiable,
    ):
        for _ in range(n_steps):
            differentiable.step(F.cross_entropy(fast(TASK.support_x), TASK.support_y))
        return F.cross_entropy(fast(TASK.query_x), TASK.query_y)


def with_torch_func(model, n_steps=2):
    params = dict(model.named_parameters())
    for _ in range(n_steps):
        params = step(params, torch.func.grad(lambda p: inner_loss(model, p))(params).values())
    return outer_loss(model, params)


@pytest.mark.parametrize("honest", [plain, with_higher, with_torch_func])
@pytest.mark.parametrize("n_steps", [0, 1, 3])
def test_honest_second_order_code_passes(model, honest, n_steps):
    report = check_meta_gradient(lambda m: honest(m, n_steps), model, num_inner_steps=n_steps)
    report.require()
    assert report
    assert report.figures["relative error"] < 1e-7
    assert report.figures["cosine"] == pytest.approx(1)
    assert report.figures["norm ratio"] == pytest.approx(1)


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_honest_learners_pass_whole(engine):
    torch.manual_seed(0)
    episodes = make_episodes()
    maml = MAML(MAMLModel(4, 6, 3), inner_lr=ALPHA, num_inner_steps=2, engine=engine)
    check_meta_gradient(
        lambda m: m.loss(episodes), maml, num_inner_steps=2, n_directions=3
    ).require()
    check_meta_gradient(lambda m: m.loss(episodes), EnhancedProtoNet(4, 6, 3)).require()


def test_relu_and_pooling_give_no_false_alarm():
    """Blank images and zero biases put ReLU exactly on its kink."""
    torch.manual_seed(0)
    encoder = ConvNet(width=4, image_size=8, n_blocks=2)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    episodes = make_episodes(item=(1, 8, 8))
    episodes.support_x[:, 0], episodes.query_x[:, ::2] = 0, 0
    learner = PrototypicalNetwork(encoder)
    check_meta_gradient(lambda m: m.loss(episodes), learner, n_directions=3).require()


def test_a_step_size_of_zero_is_no_stale_loss(model):
    def loss(m):
        params = dict(m.named_parameters())
        for _ in range(2):
            inner = inner_loss(m, params)
            gradients = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            params = step(params, gradients, alpha=0.0)
        return outer_loss(m, params)

    check_meta_gradient(loss, model).require()


def test_a_loss_that_uses_dropout_is_repeatable(model):
    noisy = nn.Sequential(model, nn.Dropout(0.5))
    check_meta_gradient(lambda m: m(TASK.query_x).square().mean(), noisy).require()


# ------------------------------------------------------------------ mistakes: each by its name


def without_create_graph(model, grad=torch.autograd.grad):
    params = dict(model.named_parameters())
    gradients = grad(inner_loss(model, params), list(params.values()))
    return outer_loss(model, step(params, gradients))


def without_create_graph_imported(model):
    return without_create_graph(model, imported_grad)


def by_backward(model):
    params = dict(model.named_parameters())
    inner_loss(model, params).backward()
    return outer_loss(model, step(params, [p.grad for p in params.values()]))


def detached_gradient(model):
    params = dict(model.named_parameters())
    loss = inner_loss(model, params)
    gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    return outer_loss(model, step(params, [g.detach() for g in gradients]))


def detached_in_torch_func(model):
    params = dict(model.named_parameters())
    gradients = torch.func.grad(lambda p: inner_loss(model, p))(params).values()
    return outer_loss(model, step(params, [g.detach() for g in gradients]))


def detached_fast_parameters(model):
    params = dict(model.named_parameters())
    loss = inner_loss(model, params)
    gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    fast = {n: p.detach().requires_grad_() for n, p in step(params, gradients).items()}
    return outer_loss(model, fast)


def step_under_no_grad(model):
    params = dict(model.named_parameters())
    gradients = torch.autograd.grad(inner_loss(model, params), list(params.values()))
    with torch.no_grad():
        fast = step(params, gradients)
    return outer_loss(model, fast)


def all_under_no_grad(model):
    with torch.no_grad():
        return plain(model)


def returns_item(model):
    return plain(model).item()


def writes_data(model):
    gradients = torch.autograd.grad(
        inner_loss(model, dict(model.named_parameters())), list(model.parameters())
    )
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.data -= ALPHA * gradient
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def adds_in_place(model):
    loss = inner_loss(model, dict(model.named_parameters()))
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.add_(gradient, alpha=-ALPHA)
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def plain_optimizer(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)
    inner_loss(model, dict(model.named_parameters())).backward()
    optimizer.step()
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def replaces_parameters(model):
    gradients = torch.autograd.grad(
        F.cross_entropy(model(TASK.support_x), TASK.support_y), [model[0].weight]
    )
    model[0].weight = nn.Parameter(model[0].weight - ALPHA * gradients[0])
    return F.cross_entropy(model(TASK.query_x), TASK.query_y)


def one_loss_for_all_steps(model):
    start = list(model.parameters())
    params = dict(model.named_parameters())
    loss = inner_loss(model, params)
    for _ in range(2):
        params = step(params, torch.autograd.grad(loss, start, create_graph=True))
    return outer_loss(model, params)


def loss_always_at_the_start(model):
    start = dict(model.named_parameters())
    params = start
    for _ in range(2):
        loss = inner_loss(model, start)
        gradients = torch.autograd.grad(loss, list(start.values()), create_graph=True)
        params = step(params, gradients)
    return outer_loss(model, params)


def start_gradient_in_torch_func(model):
    start = dict(model.named_parameters())
    params = start
    for _ in range(2):
        params = step(params, torch.func.grad(lambda p: inner_loss(model, p))(start).values())
    return outer_loss(model, params)


def one_loss_in_higher(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=ALPHA)
    with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (
        fast,
        differentiable,
    ):
        loss = F.cross_entropy(fast(TASK.support_x), TASK.support_y)
        for _ in range(2):
            differentiable.step(loss)
        return F.cross_entropy(fast(TASK.query_x), TASK.query_y)


def higher_with_copied_weights(model):
    return with_higher(model, copy_initial_weights=True)


def adapts_a_copy(model):
    fast = copy.deepcopy(model)
    optimizer = torch.optim.SGD(fast.parameters(), lr=ALPHA)
    F.cross_entropy(fast(TASK.support_x), TASK.support_y).backward()
    optimizer.step()
    return F.cross_entropy(fast(TASK.query_x), TASK.query_y)


def last_layer_detached(model):
    return F.cross_entropy(model[2](model[1](model[0](TASK.query_x)).detach()), TASK.query_y)


MISTAKES = [
    (without_create_graph, "first-order.*without create_graph=True"),
    (without_create_graph_imported, "first-order.*without create_graph=True"),
    (by_backward, r"first-order.*loss\.backward\(\)"),
    (detached_gradient, r"first-order.*\.detach\(\)"),
    (detached_in_torch_func, r"first-order.*\.detach\(\)"),
    (detached_fast_parameters, r"no gradient.*\.detach\(\)"),
    (step_under_no_grad, r"no gradient.*torch\.no_grad\(\)"),
    (all_under_no_grad, r"inner loop asked for a gradient.*torch\.no_grad\(\)"),
    (returns_item, r"plain float.*\.item\(\)"),
    (writes_data, "0.weight, 0.bias, 2.weight, 2.bias in place"),
    (adds_in_place, "in place"),
    (plain_optimizer, "0.weight, 0.bias, 2.weight, 2.bias in place"),
    (replaces_parameters, "0.weight in place"),
    (one_loss_for_all_steps, "stale inner loss"),
    (loss_always_at_the_start, "stale inner loss"),
    (start_gradient_in_torch_func, "stale inner loss"),
    (one_loss_in_higher, "stale inner loss"),
    (higher_with_copied_weights, "no gradient"),
    (adapts_a_copy, "no gradient reaches 0.weight, 0.bias.*deepcopy"),
    (last_layer_detached, r"no gradient reaches 0.weight, 0.bias, although.*\.detach\(\)"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=lambda v: getattr(v, "__name__", ""))
def test_each_mistake_gets_its_name(model, mistake, message):
    report = check_meta_gradient(mistake, model)
    assert not report
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        report.require()


@pytest.mark.parametrize("mistake", [without_create_graph, by_backward, detached_gradient])
def test_a_first_order_gradient_has_one_problem_only(model, mistake):
    assert len(check_meta_gradient(mistake, model).problems) == 1


@pytest.mark.parametrize("engine", ["torch.func", "higher"])
def test_fomaml_is_reported_as_first_order(engine):
    torch.manual_seed(0)
    episodes = make_episodes()
    learner = MAML(MAMLModel(4, 6, 3), inner_lr=ALPHA, first_order=True, engine=engine)
    report = check_meta_gradient(lambda m: m.loss(episodes), learner, n_directions=3)
    assert "first-order" in str(report)
    assert 0.01 < report.figures["relative error"] < 1


def test_first_order_is_right_when_the_inner_loss_is_linear():
    """The Hessian of a linear loss is 0, so there is nothing that FOMAML leaves out."""
    model = nn.Linear(4, 1).double()

    def loss(m):
        params = dict(m.named_parameters())
        inner = functional_call(m, params, (TASK.support_x,)).mean()
        fast = step(params, torch.autograd.grad(inner, list(params.values())))
        return functional_call(m, fast, (TASK.query_x,)).square().mean()

    check_meta_gradient(loss, model).require()


def test_an_inner_gradient_computed_once_shows_with_num_inner_steps(model):
    """Outside of the loop nothing is repeated, so that only the count can tell."""

    def loss(m):
        params = dict(m.named_parameters())
        gradient = torch.func.grad(lambda p: inner_loss(m, p))(params).values()
        for _ in range(3):
            params = step(params, gradient)
        return outer_loss(m, params)

    assert check_meta_gradient(loss, model)
    report = check_meta_gradient(loss, model, num_inner_steps=3)
    assert "3 inner steps need as many inner gradients, but only 1" in str(report)


def test_learned_step_sizes_that_get_no_gradient_are_named(model):
    class Rates(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.rate = model, nn.Parameter(torch.tensor(ALPHA))

        def forward(self):
            params = dict(self.model.named_parameters())
            inner = inner_loss(self.model, params)
            gradients = torch.autograd.grad(inner, list(params.values()), create_graph=True)
            return outer_loss(self.model, step(params, gradients, self.rate.item()))

    report = check_meta_gradient(lambda m: m(), Rates())
    assert len(report.problems) == 1
    assert "no gradient reaches rate, although the loss depends on it" in str(report)


def test_a_function_that_ignores_its_argument_is_told(model):
    captured = nn.Linear(4, 3).double()
    report = check_meta_gradient(
        lambda m: F.cross_entropy(captured(TASK.query_x), TASK.query_y), model
    )
    assert "does not depend on 0.weight, 0.bias, 2.weight, 2.bias" in str(report)


def test_a_wrong_gradient_without_inner_loop_is_told():
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient / 2

    report = check_meta_gradient(
        lambda m: Halved.apply(m.weight).square().sum(), nn.Linear(3, 2, bias=False)
    )
    assert "the gradient of weight is wrong" in str(report)
    assert report.figures["norm ratio"] == pytest.approx(0.5)
    assert report.figures["cosine"] == pytest.approx(1)


def test_a_random_outer_loss_is_refused(model):
    generator = torch.Generator().manual_seed(0)

    def loss(m):
        return plain(m) * (1 + torch.rand((), generator=generator))

    assert "draws random numbers or keeps state" in str(check_meta_gradient(loss, model))
    report = check_meta_gradient(lambda m: plain(m) * float("nan"), model)
    assert "nan and then nan" in str(report)


def test_impossible_requests_raise(model):
    single = TASK.query_x.float()
    with pytest.raises(ValueError, match="float64"):
        check_meta_gradient(lambda m: m(single).sum(), model)
    with pytest.raises(ValueError, match="scalar"):
        check_meta_gradient(lambda m: m(TASK.query_x), model)
    with pytest.raises(ValueError, match="Flatten has no parameter"):
        check_meta_gradient(lambda m: m(TASK.query_x).sum(), nn.Flatten())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        check_meta_gradient(lambda m: m(TASK.query_x[:, :2]).sum(), model)


def test_the_check_leaves_model_and_random_state_alone(model):
    before = {name: p.clone() for name, p in model.named_parameters()}
    torch.manual_seed(5)
    check_meta_gradient(writes_data, model)
    assert torch.equal(torch.rand(3), torch.manual_seed(5) and torch.rand(3))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())


def test_a_report_reads_well():
    good, bad = Report("splits"), Report("splits", ["first", "second"], {"n": 2.0})
    assert good and good.ok and str(good) == "splits: no problem found"
    assert not bad and repr(bad) == "splits:\n- first\n- second"
    good.require()


# ------------------------------------------------------------------ transduction


def convnet(norm, train=False):
    torch.manual_seed(0)
    encoder = ConvNet(width=4, image_size=8, n_blocks=2, norm=norm)
    return PrototypicalNetwork(encoder).train(train)


IMAGES = make_episodes(item=(1, 8, 8))


@pytest.mark.parametrize(
    ("norm", "train", "transductive"),
    [("group", True, False), ("batch", False, False), ("batch", True, True)]
    + [("batch_transductive", mode, True) for mode in (True, False)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_statistics_are_transductive(norm, train, transductive, dtype):
    learner = convnet(norm, train).to(dtype)
    state = {name: t.clone() for name, t in learner.state_dict().items()}
    report = check_transduction(learner, IMAGES.to(dtype=dtype))
    assert report.ok is not transductive
    assert all(torch.equal(t, state[name]) for name, t in learner.state_dict().items())
    if transductive:
        assert "queries inform each other: accuracy" in report.problems[0]
        assert "encoder.blocks.0.1" in report.problems[0]
        assert "tasks inform each other" in report.problems[1]


def test_both_accuracies_are_reported():
    """A function that sorts its queries knows what nobody knows about a single one."""

    def balanced(support_x, support_y, query_x):
        place = query_x[..., 0].argsort(dim=1).argsort(dim=1)
        return F.one_hot(place * 2 // query_x.shape[1], 2).double()

    x = torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)
    y = torch.tensor([[0, 1]])
    report = check_transduction(balanced, EpisodeBatch(x, y, x + 5, y))
    assert report.figures["accuracy, all queries at once"] == 1.0
    assert report.figures["accuracy, one by one"] == 0.5
    assert "100.0% with all queries at once, 50.0% one by one" in str(report)


def test_tasks_that_inform_each_other_are_told_apart_from_queries():
    def centred(support_x, support_y, query_x):
        return query_x - support_x.mean(dim=(0, 1))

    assert "tasks inform" in (text := str(check_transduction(centred, make_episodes(item=(3,)))))
    assert "queries inform" not in text


def test_a_learner_that_cannot_score_one_query_is_transductive():
    learner = PrototypicalNetwork(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))).double()
    report = check_transduction(learner, make_episodes())
    assert "cannot be scored alone" in str(report)


def test_random_scores_cannot_be_compared():
    learner = PrototypicalNetwork(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))).double()
    assert "two equal calls" in str(check_transduction(learner, make_episodes()))
    assert check_transduction(learner.eval(), make_episodes())


def test_regression_reports_squared_errors():
    episodes = Sinusoids(5, 4).episodes(0, 0, 2).to(dtype=torch.float64)
    learner = MAML(MAMLModel(1, 8, 1), loss_fn=F.mse_loss).double()
    report = check_transduction(learner, episodes)
    assert report
    assert report.figures["squared error, one by one"] == pytest.approx(
        report.figures["squared error, all queries at once"]
    )


def image_sampler():
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(0, 256, (60, 1, 8, 8), generator=generator).to(torch.uint8)
    return EpisodeSampler(FewShotDataset(items, torch.arange(6).repeat(10)), 3, 2, 4)


@pytest.mark.parametrize("norm", ["group", "batch", "batch_transductive"])
def test_evaluation_reports_transduction_and_the_same_scores(norm):
    options = {"n_episodes": 6, "seed": 3}
    plain = evaluate_meta_learner(convnet(norm), image_sampler(), **options)
    checked = evaluate_meta_learner(
        convnet(norm), image_sampler(), check_transduction=True, **options
    )
    assert plain.transductive is None
    assert checked.transductive is (norm == "batch_transductive")
    assert torch.equal(plain.values, checked.values)
    word = "transductive" if norm == "batch_transductive" else "inductive"
    assert f", {word};" in str(checked)
    assert "ductive" not in str(plain)


def test_evaluation_calls_a_learner_transductive_that_needs_two_queries():
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    learner = PrototypicalNetwork(nn.Sequential(nn.Flatten(), nn.Linear(64, 3), norm))
    result = evaluate_meta_learner(learner, image_sampler(), n_episodes=2, check_transduction=True)
    assert result.transductive is True


# ------------------------------------------------------------------ episodes


def parts(**changes):
    episodes = make_episodes()
    names = ("support_x", "support_y", "query_x", "query_y")
    return [changes.get(name, getattr(episodes, name).clone()) for name in names]


def test_sound_episodes_pass_in_every_form():
    episodes = make_episodes(n_tasks=3)
    assert check_episodes(episodes).figures == {"tasks": 3}
    assert check_episodes(*parts())
    assert check_episodes(parts())
    assert check_episodes(episodes[0])
    assert check_episodes(*episodes[0])
    assert check_episodes(Sinusoids().episodes(0, 0, 4))
    assert check_episodes(Sinusoids().episodes(0, 0, 4)[1])
    assert check_episodes(image_sampler().episodes(0, 0, 50))


def test_labels_that_were_not_remapped():
    values = torch.tensor([3, 7, 9])
    support_x, support_y, query_x, query_y = parts()
    report = check_episodes(support_x, values[support_y], query_x, values[query_y])
    assert str(report) == "episodes:\n- labels of task 0 are [3, 7, 9], not 0..2: remap them"


def test_one_class_tasks():
    support_x, support_y, query_x, query_y = parts()
    report = check_episodes(support_x, support_y * 0, query_x, query_y * 0)
    assert len(report.problems) == 1
    assert "one class only" in str(report)


def test_labels_without_support_and_unequal_counts():
    support_x, support_y, query_x, query_y = parts()
    query_y[1, 0], support_y[1, 0] = 5, 1
    text = str(check_episodes(support_x, support_y, query_x, query_y))
    assert "task 1 asks for labels [5] without support items" in text
    assert "support set of task 1 has [1, 3, 2] items per class" in text
    assert "query set of task 1 has [2, 3, 3, 1] items per class" in text


def test_support_items_among_the_queries():
    support_x, support_y, query_x, query_y = parts()
    query_x[1, 4] = support_x[1, 2]
    report = check_episodes(support_x, support_y, query_x, query_y)
    assert len(report.problems) == 1
    assert "1 support items are among the queries of their task (first in task 1)" in str(report)


def test_repeated_items_and_repeated_tasks():
    support_x, support_y, query_x, query_y = parts()
    support_x[0, 1] = support_x[0, 0]
    text = str(check_episodes(support_x, support_y, query_x, query_y))
    assert "1 items stand twice in the support set of their task (first in task 0)" in text
    support_x, support_y, query_x, query_y = parts()
    support_x[1], query_x[1] = support_x[0], query_x[0]
    text = str(check_episodes(support_x, support_y, query_x, query_y))
    assert "1 of 2 tasks repeat another task item by item" in text


def test_classes_repeated_or_always_in_order():
    classes = torch.tensor([[4, 2, 9], [1, 5, 1]])
    text = str(check_episodes(make_episodes(), classes=classes))
    assert "1 tasks use one class under two labels (first task 1, classes [1, 5, 1])" in text
    episodes = make_episodes(n_tasks=8)
    ordered = torch.arange(3).repeat(8, 1)
    assert "labels follow the order" in str(check_episodes(episodes, classes=ordered))
    assert check_episodes(episodes[:2], classes=ordered[:2])  # by chance in 1 of 36 cases
    shuffled = torch.stack([torch.randperm(9)[:3] for _ in range(8)])
    assert check_episodes(episodes, classes=shuffled)


def test_non_finite_items():
    support_x, support_y, query_x, query_y = parts()
    query_x[0, 0, 0] = float("nan")
    assert "NaN" in str(check_episodes(support_x, support_y, query_x, query_y))


def test_tensors_that_do_not_belong_together_are_refused():
    support_x, support_y, query_x, query_y = parts()
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        check_episodes(support_x, support_y[:, :5], query_x, query_y)
    with pytest.raises(ValueError, match="support_x"):
        check_episodes(support_x, support_y, query_x[:1], query_y[:1])
    with pytest.raises(ValueError, match="four tensors"):
        check_episodes(support_x, support_y)


# ------------------------------------------------------------------ splits


def split(names, name="data", seed=0):
    generator = torch.Generator().manual_seed(seed)
    items = torch.rand(2 * len(names), 3, generator=generator)
    labels = torch.arange(len(names)).repeat_interleave(2)
    return FewShotDataset(items, labels, names, ["Latin"] * len(names), name)


def test_splits_apart_pass():
    report = check_splits(split(["a", "b"], "train"), split(["c"], "test", seed=1))
    assert report
    assert report.figures["shared classes: train, test"] == 0


def test_shared_classes_are_named():
    report = check_splits(
        train=split(["a", "b"]), val=split(["c"], seed=1), test=split(["b"], seed=2)
    )
    assert report.problems == ["train and test share 1 classes: b (Latin)"]
    assert report.figures["shared classes: train, test"] == 1
    assert "data (1) and data (2)" in str(check_splits(split(["a"]), split(["a"])))


def test_equal_items_under_other_names_are_found():
    report = check_splits(split(["a", "b"], "train"), split(["c", "d"], "test"))
    assert report.problems == ["train and test hold 4 equal items under other names"]


def test_one_split_cannot_be_compared():
    with pytest.raises(ValueError, match="at least two splits"):
        check_splits(split(["a"]))


# ---------------------------------------------------------------- what was checked, was checked


class Wrong(torch.autograd.Function):
    """The sum of a vector, with -5 times its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.sum()

    @staticmethod
    def backward(ctx, gradient):
        return -5 * gradient * torch.ones(3, dtype=torch.float64)


class Vector(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))


NOTHING_TO_CHECK_WITH = {
    "step": [0, float("nan"), float("inf"), -1e-5, "x", 1e-300, 1e-9, 0.1, 1e10],
    "tolerance": [float("nan"), -1e-9, float("inf"), 1e9, None],
    "n_directions": [0, -1, 1.5, True],
    "num_inner_steps": [-1, 0.5],
    "seed": [0.5, None],
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in NOTHING_TO_CHECK_WITH.items() for v in values]
)
def test_numbers_that_check_nothing_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        check_meta_gradient(lambda m: Wrong.apply(m.w), Vector(), **{name: value})


@pytest.mark.parametrize("step", [1e-8, 1e-6, 1e-5, 1e-4, 1e-3])
def test_a_wrong_gradient_is_found_at_every_step_that_is_allowed(step):
    report = check_meta_gradient(lambda m: Wrong.apply(m.w), Vector(), step=step)
    assert "the gradient of w is wrong" in str(report)
    assert report.figures["norm ratio"] == pytest.approx(5, rel=1e-3)


def test_slopes_below_the_rounding_of_the_loss_are_no_success():
    report = check_meta_gradient(lambda m: 1e12 + 1e-3 * Wrong.apply(m.w), Vector())
    assert not report and "check nothing: rounding alone may explain" in str(report)


def test_an_infinite_loss_is_no_success():
    report = check_meta_gradient(lambda m: m.w.sum() * float("inf"), Vector())
    assert not report and "not finite" in str(report)


def test_a_loss_that_is_not_finite_beside_the_point_is_no_success():
    """0 * log(0) on one side: the differences are NaN, and the gradient looks fine."""

    def loss(m):
        return m.w.sum() + (m.w[0] - 1).clamp(max=0).sqrt().nan_to_num(0) + _nan_below(m.w[0])

    report = check_meta_gradient(loss, Vector())
    assert not report and "the gradient of w is wrong" in str(report)


def _nan_below(x):
    return x * 0 if x.item() >= 1 else x * float("nan")


@pytest.mark.parametrize("model", [None, EnhancedProtoNet, lambda x: x])
def test_a_model_that_is_none_is_refused(model):
    with pytest.raises(ValueError, match="model, a module; got"):
        check_meta_gradient(lambda m: m.loss(None), model)
    with pytest.raises(ValueError, match="need outer_loss, a function"):
        check_meta_gradient(None, Vector())


def test_one_query_a_task_shows_nothing_of_transduction():
    x = torch.ones(2, 1, 1)
    single = EpisodeBatch(x, x, x, x)
    with pytest.raises(ValueError, match="one query per task"):
        check_transduction(lambda *inputs: inputs[2], single)


@pytest.mark.parametrize(
    ("learner", "episodes"), [(None, make_episodes()), (lambda *x: x[0], None)]
)
def test_transduction_of_nothing_is_refused(learner, episodes):
    with pytest.raises(ValueError, match="need learner, a function, and episodes"):
        check_transduction(learner, episodes)


NO_EPISODES = [
    (None,),
    ([],),
    (
        (
            torch.zeros(0, 3, 2),
            torch.zeros(0, 3).long(),
            torch.zeros(0, 3, 2),
            torch.zeros(0, 3).long(),
        ),
    ),
    (
        (
            torch.zeros(1, 0, 2),
            torch.zeros(1, 0).long(),
            torch.zeros(1, 0, 2),
            torch.zeros(1, 0).long(),
        ),
    ),
    (torch.tensor(1.0), torch.tensor(1), torch.tensor(1.0), torch.tensor(1)),
    (torch.zeros(3), torch.arange(3), torch.zeros(3), torch.arange(3)),
    (torch.zeros(1, 3, 2), [0, 1, 2], torch.zeros(1, 3, 2), torch.arange(3)[None]),
]


@pytest.mark.parametrize("arguments", NO_EPISODES)
def test_episodes_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="need"):
        check_episodes(*arguments)


@pytest.mark.parametrize("classes", [[[0, 1, 2]], torch.arange(3), torch.zeros(5, 3).long()])
def test_classes_of_other_episodes_are_refused(classes):
    with pytest.raises(ValueError, match="classes must be a tensor"):
        check_episodes(make_episodes(), classes=classes)


def test_equal_items_are_found_whatever_the_sign_of_their_zeros_and_their_precision():
    x = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    q = torch.tensor([[[-0.0, 1.0], [4.0, 5.0]]])
    y = torch.tensor([[0, 1]])
    for dtype in (torch.float32, torch.bfloat16):
        assert "1 support items are among the queries" in str(
            check_episodes(x.to(dtype), y, q.to(dtype), y)
        )


def test_targets_that_are_not_numbers_are_found():
    x = torch.rand(1, 3, 1)
    report = check_episodes(x, x * float("nan"), x + 1, x)
    assert "targets hold NaN" in str(report)
    assert "query_y" in str(check_episodes(x, x, x + 1, torch.zeros(1, 3).long()))


def test_splits_that_are_none_or_of_one_name_are_refused():
    one = FewShotDataset(torch.rand(4, 2), torch.arange(4), name="train")
    with pytest.raises(ValueError, match="split 2 must be a FewShotDataset, got NoneType"):
        check_splits(one, None)
    with pytest.raises(ValueError, match="split test must be a FewShotDataset, got Tensor"):
        check_splits(one, test=one.items)
    with pytest.raises(ValueError, match="two splits are called 'train'"):
        check_splits(one, train=one)


def test_equal_pictures_are_found_in_bytes_and_in_floats():
    images = torch.randint(0, 256, (4, 1, 3, 3), dtype=torch.uint8)
    first = FewShotDataset(images, torch.arange(4), list("abcd"), name="train")
    second = FewShotDataset(
        first.gather(torch.arange(4)), torch.arange(4), list("efgh"), name="test"
    )
    report = check_splits(first, second)
    assert "hold 4 equal items under other names" in str(report)
