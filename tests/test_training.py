import functools
import gc
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import course
from metalearn_edu import checkpoints
from metalearn_edu.evaluation import evaluate_meta_learner
from metalearn_edu.learners import MAML, EnhancedProtoNet, MAMLModel, PrototypicalNetwork
from metalearn_edu.tasks import EpisodeBatch, EpisodeSampler, FewShotDataset, Sinusoids, TaskSource
from metalearn_edu.training import VALIDATION_SEED, History, meta_train

BATCH = 4
"""Tasks per outer step in all tests."""


def make_tasks(first_class=0) -> EpisodeSampler:
    """2-way 1-shot episodes of 12 noisy classes in the plane."""
    generator = torch.Generator().manual_seed(first_class)
    centres = torch.randn(12, 1, 2, generator=generator)
    items = centres + 0.3 * torch.randn(12, 6, 2, generator=generator)
    labels = torch.arange(12).repeat_interleave(6)
    return EpisodeSampler((items.flatten(0, 1), labels), 2, 1, 3)


def make_learner(seed=0) -> EnhancedProtoNet:
    torch.manual_seed(seed)
    return EnhancedProtoNet(2, 8, 4)


def train(learner, n_steps, tasks=None, **options) -> History:
    options = {"n_tasks_per_batch": BATCH, "progress": False} | options
    return meta_train(learner, tasks or make_tasks(), n_steps=n_steps, **options)


def weights(learner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in learner.parameters()])


class Spied(TaskSource):
    """A task source that does something first, at given steps of training."""

    def __init__(self, inner: TaskSource, **at_step):
        self.inner, self.calls = inner, []
        self.at_step = {int(name.removeprefix("step_")): do for name, do in at_step.items()}
        self.n_way = inner.n_way

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        self.calls.append((seed, start, n_tasks))
        batch = self.inner.episodes(seed, start, n_tasks)
        do = self.at_step.get(start // n_tasks + 1, lambda batch: batch)
        return do(batch)

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def __repr__(self) -> str:
        return repr(self.inner)


def press_ctrl_c(batch=None):
    os.kill(os.getpid(), signal.SIGINT)
    return batch


def raise_keyboard_interrupt(batch):
    raise KeyboardInterrupt


# ---------------------------------------------------------------- what a run does


def test_training_makes_the_learner_better():
    learner, test = make_learner(), make_tasks(first_class=1)
    before = evaluate_meta_learner(learner, test, n_episodes=300)
    history = train(learner, 60, meta_lr=1e-2)
    after = evaluate_meta_learner(learner, test, n_episodes=300)
    assert after.mean > before.mean > before.chance
    assert sum(history.losses[-10:]) < sum(history.losses[:10])
    assert (history.n_steps, history.best_step, history.interrupted) == (60, None, False)
    assert history.seconds > 0


@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
def test_a_run_is_the_plain_loop_of_adam(max_grad_norm):
    # In float64: the last bias has no effect on distances, and Adam turns its rounding into steps.
    learner, plain = make_learner().double(), make_learner().double()
    history = train(learner, 6, seed=3, meta_lr=0.01, max_grad_norm=max_grad_norm)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
    for step in range(6):
        batch = make_tasks().episodes(3, step * BATCH, BATCH).to(dtype=torch.float64)
        scores = plain(batch.support_x, batch.support_y, batch.query_x)
        loss = F.cross_entropy(scores.flatten(0, 1), batch.query_y.flatten())
        optimizer.zero_grad()
        loss.backward()
        if max_grad_norm:
            norm = torch.cat([p.grad.flatten() for p in plain.parameters()]).norm()
            for p in plain.parameters():
                p.grad *= min(1, max_grad_norm / norm)
        optimizer.step()
        assert history.losses[step] == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(weights(learner), weights(plain), rtol=0, atol=1e-5)


def test_every_step_has_episodes_of_its_own():
    tasks = Spied(make_tasks())
    train(make_learner(), 3, tasks, seed=7)
    assert tasks.calls == [(7, 0, BATCH), (7, BATCH, BATCH), (7, 2 * BATCH, BATCH)]


def test_chunks_change_nothing_but_rounding():
    whole, chunked = make_learner().double(), make_learner().double()
    losses = train(whole, 5).losses
    assert train(chunked, 5, chunk_size=1).losses == pytest.approx(losses, rel=1e-12)
    torch.testing.assert_close(weights(chunked), weights(whole), rtol=0, atol=1e-9)


def test_any_learner_on_any_source():
    maml = MAML(MAMLModel(1, 8, 1), num_inner_steps=1, loss_fn=F.mse_loss)
    history = train(maml, 3, Sinusoids(5, 5), val_tasks=Sinusoids(5, 5), n_val_episodes=10)
    assert history.n_steps == 3 and len(history.val_scores) == 1
    half = make_learner().double()
    train(half, 2)  # float32 episodes are given to it as float64
    assert weights(half).dtype == torch.float64


# ---------------------------------------------------------------- the same numbers again


def dropout_learner() -> PrototypicalNetwork:
    torch.manual_seed(0)
    return PrototypicalNetwork(nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.5), nn.Linear(16, 4)))


@pytest.mark.parametrize("make", [make_learner, dropout_learner])
def test_a_run_is_a_function_of_its_seed(make):
    def run(seed):
        learner = make()
        torch.manual_seed(time.time_ns())  # whatever happened before
        return train(learner, 5, seed=seed).losses, weights(learner)

    losses, after = run(1)
    again, after_again = run(1)
    assert again == losses and torch.equal(after, after_again)
    assert run(2)[0] != losses


def test_torch_s_own_random_numbers_go_on_as_before():
    learner = dropout_learner()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(learner, 3)
    assert torch.equal(torch.rand(3), expected)


def test_validation_does_not_change_the_losses():
    options = {"val_every": 2, "n_val_episodes": 5}
    without = train(make_learner(), 6)
    assert train(make_learner(), 6, val_tasks=make_tasks(1), **options).losses == without.losses


# ---------------------------------------------------------------- schedule


def learning_rates(n_steps, **options) -> list[float]:
    seen, learner = [], make_learner()
    plain_outer_loop = learner.outer_loop

    def outer_loop(tasks, *, optimizer, **rest):
        seen.append(optimizer.param_groups[0]["lr"])
        return plain_outer_loop(tasks, optimizer=optimizer, **rest)

    learner.outer_loop = outer_loop
    train(learner, n_steps, **options)
    return seen


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [0.4, 0.4, 0.4, 0.4]),
        ("cosine", [0.4, 0.2 * (1 + 0.5**0.5), 0.2, 0.2 * (1 - 0.5**0.5)]),
        (lambda progress: 1 - progress, [0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_schedules(schedule, expected):
    assert learning_rates(4, meta_lr=0.4, schedule=schedule) == pytest.approx(expected)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -0.5, None, "x"])
def test_a_schedule_that_gives_no_factor_is_refused(factor):
    learner = make_learner()
    before = weights(learner)
    with pytest.raises(ValueError, match="the factor of schedule must be a finite number"):
        train(learner, 2, schedule=lambda progress: factor)
    assert torch.equal(weights(learner), before)


def test_meta_lr_is_the_learner_s_unless_given():
    assert learning_rates(1) == [EnhancedProtoNet.meta_lr]


# ---------------------------------------------------------------- validation


def test_the_best_weights_are_kept():
    learner, val_tasks = make_learner(), Spied(make_tasks(1))
    history = train(
        learner, 7, meta_lr=0.3, val_tasks=val_tasks, val_every=2, n_val_episodes=40
    )  # a step size at which the scores go up and down
    assert history.val_steps == [2, 4, 6, 7]
    best = history.val_steps[history.val_scores.index(max(history.val_scores))]
    assert history.best_step == best
    assert best != 7, "the test needs a run whose last weights are not the best"
    other = make_learner()
    train(other, best, meta_lr=0.3)
    assert torch.equal(weights(learner), weights(other))
    score = evaluate_meta_learner(learner, make_tasks(1), n_episodes=40, seed=VALIDATION_SEED)
    assert score.mean == max(history.val_scores)


def test_all_validations_are_on_the_same_episodes():
    val_tasks = Spied(make_tasks(1))
    train(make_learner(), 4, val_tasks=val_tasks, val_every=2, n_val_episodes=30)
    half = len(val_tasks.calls) // 2
    first, second = val_tasks.calls[:half], val_tasks.calls[half:]
    # one task to see how many fit in a chunk, then all of them, here in one
    assert first == second == [(VALIDATION_SEED, 0, 1), (VALIDATION_SEED, 0, 30)]


def sine_learner(seed=0) -> MAML:
    torch.manual_seed(seed)
    return MAML(MAMLModel(1, 8, 1), num_inner_steps=1, loss_fn=F.mse_loss)


def test_for_regression_the_least_error_is_the_best():
    history = train(
        sine_learner(),
        6,
        Sinusoids(5, 5),
        meta_lr=0.1,
        val_tasks=Sinusoids(5, 5),
        val_every=1,
        n_val_episodes=20,
    )
    assert history.val_scores[history.best_step - 1] == min(history.val_scores)


class SpoiledAt(Spied):
    """A source whose targets are NaN at those validations, counted from 1."""

    def __init__(self, inner, *numbers):
        super().__init__(inner)
        self.numbers, self.wanted = numbers, 0

    def episodes(self, seed, start, n_tasks):
        self.wanted += n_tasks == 2  # a validation draws one task first, to see how large it is
        batch = super().episodes(seed, start, n_tasks)
        return with_nan_targets(batch) if self.wanted in self.numbers else batch


def test_a_validation_that_is_not_a_number_is_never_the_best():
    options = {"val_every": 1, "n_val_episodes": 2}
    val_tasks = SpoiledAt(Sinusoids(5, 5), 1, 2)
    history = train(sine_learner(), 3, Sinusoids(5, 5), val_tasks=val_tasks, **options)
    assert [math.isfinite(score) for score in history.val_scores] == [False, False, True]
    assert history.best_step == 3


def test_a_last_validation_that_is_not_a_number_is_no_success():
    learner, best = sine_learner(), sine_learner()
    options = {"val_every": 1, "n_val_episodes": 2}
    val_tasks = SpoiledAt(Sinusoids(5, 5), 2)
    with pytest.raises(FloatingPointError, match="after step 2: its validation gives nan"):
        train(learner, 2, Sinusoids(5, 5), val_tasks=val_tasks, **options)
    train(best, 1, Sinusoids(5, 5))
    assert torch.equal(weights(learner), weights(best))


# ---------------------------------------------------------------- what is not finite


def with_nan_targets(batch):
    return EpisodeBatch(
        batch.support_x, batch.support_y, batch.query_x, batch.query_y * float("nan")
    )


def test_a_loss_that_is_not_a_number_names_the_step(tmp_path):
    learner, good = sine_learner(), sine_learner()
    tasks = Spied(Sinusoids(5, 5), step_5=with_nan_targets)
    with pytest.raises(FloatingPointError, match=r"stopped at step 5, .* the loss is nan; try a"):
        train(learner, 9, tasks, checkpoint=tmp_path, checkpoint_every=2)
    train(good, 4, Sinusoids(5, 5))
    assert torch.equal(weights(learner), weights(good))
    # The checkpoint before it is whole: with sound tasks the run goes on.
    assert train(sine_learner(), 9, Sinusoids(5, 5), checkpoint=tmp_path).n_steps == 9


def test_a_gradient_that_is_not_finite_stops_too():
    class Root(EnhancedProtoNet):
        def loss(self, episodes):
            return (super().loss(episodes) * 0).sqrt()  # 0, with an infinite slope

    learner = Root(2, 4, 4)
    before = weights(learner)
    with pytest.raises(FloatingPointError, match=r"step 1, .* the meta-gradient is nan"):
        train(learner, 3)
    assert torch.equal(weights(learner), before)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_a_step_that_leads_to_a_loss_without_a_number_is_taken_back(n_steps, tmp_path):
    """Adam's first step has the length of meta_lr: the weights are then finite and useless."""
    learner = sine_learner()
    before = weights(learner)
    with pytest.raises(FloatingPointError, match=r"after step 1: the loss is then (nan|inf)"):
        train(learner, n_steps, Sinusoids(5, 5), meta_lr=1e37, checkpoint=tmp_path)
    assert torch.equal(weights(learner), before)
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["history"]["losses"] == []  # nothing worse was saved


def test_a_step_beyond_the_numbers_of_the_weights_is_taken_back():
    learner = make_learner()
    before = weights(learner)
    with pytest.raises(FloatingPointError, match=r"step 1, .* the step is too long .*overflow"):
        train(learner, 1, meta_lr=1e300)
    assert torch.equal(weights(learner), before)


# ---------------------------------------------------------------- the modes of the learner


def modes(learner) -> list[bool]:
    return [module.training for module in learner.modules()]


@pytest.mark.parametrize("ending", ["end", "error", "ctrl-c"])
def test_a_trained_learner_is_in_eval_mode_and_after_an_error_every_module_in_its_own(ending):
    learner = dropout_learner().eval()
    learner.encoder[1].train()
    before, during = modes(learner), []
    learner.encoder[0].register_forward_pre_hook(lambda *_: during.append(all(modes(learner))))
    if ending == "error":
        with pytest.raises(FloatingPointError):
            train(learner, 3, Spied(make_tasks(), step_2=spoil_learner(learner)))
    else:
        stop = {"step_2": raise_keyboard_interrupt} if ending == "ctrl-c" else {}
        train(learner, 3, Spied(make_tasks(), **stop))
    assert modes(learner) == (before if ending == "error" else [False] * len(before))
    assert during[0]


def spoil_learner(learner):
    def spoil(batch):
        learner.loss_fn = lambda scores, labels: scores.sum() * float("nan")
        return batch

    return spoil


def test_a_trained_learner_adapts_as_a_trained_one():
    """A predictor does not care for the mode that the learner is in."""
    net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    learner = PrototypicalNetwork(net)
    train(learner, 3)
    assert not any(modes(learner))
    learner.train()
    state = {name: t.clone() for name, t in learner.state_dict().items()}
    task = make_tasks(1).episodes(0, 0, 1)[0]
    predictor = learner.adapt(task.support_x, task.support_y)
    together = predictor(task.query_x)
    assert torch.equal(predictor(task.query_x), together)
    alone = torch.cat([predictor(query[None]) for query in task.query_x])
    torch.testing.assert_close(alone, together)
    assert all(modes(learner))
    assert all(torch.equal(t, state[name]) for name, t in learner.state_dict().items())
    expected = learner.eval()(task.support_x[None], task.support_y[None], task.query_x[None])[0]
    assert torch.equal(expected, together)


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_finishes_the_step_and_returns_the_history():
    learner, other = make_learner(), make_learner()
    history = train(learner, 50, Spied(make_tasks(), step_3=press_ctrl_c))
    assert (history.n_steps, history.interrupted) == (3, True)
    assert train(other, 3).losses == history.losses
    assert torch.equal(weights(learner), weights(other))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_the_last_step_interrupts_nothing():
    history = train(make_learner(), 3, Spied(make_tasks(), step_3=press_ctrl_c))
    assert (history.n_steps, history.interrupted) == (3, False)


def test_ctrl_c_twice_ends_at_once():
    def press_twice(batch):
        press_ctrl_c()
        press_ctrl_c()
        time.sleep(1)  # not reached
        pytest.fail("the second Ctrl-C did not end the step")

    history = train(make_learner(), 50, Spied(make_tasks(), step_3=press_twice))
    assert (history.n_steps, history.interrupted) == (2, True)


def test_keyboard_interrupt_by_other_ways_returns_the_history(tmp_path):
    learner = make_learner()
    tasks = Spied(make_tasks(), step_4=raise_keyboard_interrupt)
    history = train(learner, 50, tasks, val_tasks=make_tasks(1), val_every=2, n_val_episodes=5)
    assert (history.n_steps, history.interrupted) == (3, True)
    best = make_learner()
    train(best, 2)
    assert torch.equal(weights(learner), weights(best))  # step 2 was validated


def test_somebody_else_s_handler_is_left_in_place():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        history = train(make_learner(), 4, Spied(make_tasks(), step_3=press_ctrl_c))
        assert (pressed, history.n_steps) == ([1], 4)
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_works_outside_the_main_thread():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(train(make_learner(), 3)))
    thread.start()
    thread.join()
    assert histories[0].losses == train(make_learner(), 3).losses


# ---------------------------------------------------------------- checkpoints

FULL = {"val_every": 3, "n_val_episodes": 20, "meta_lr": 0.3, "max_grad_norm": 1.0}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("stop_at", [1, 6, 8])
@pytest.mark.parametrize("make", [make_learner, dropout_learner])
def test_a_resumed_run_gives_the_same_numbers(tmp_path, schedule, stop_at, make):
    options = FULL | {"schedule": schedule, "val_tasks": make_tasks(1)}
    whole = make()
    expected = train(whole, 10, **options)
    stopped = Spied(make_tasks(), **{f"step_{stop_at}": press_ctrl_c})
    history = train(make(), 10, stopped, checkpoint=tmp_path, **options)
    assert (history.n_steps, history.interrupted) == (stop_at, True)
    resumed = make()  # a new process would have new weights
    with torch.no_grad():
        next(resumed.parameters()).zero_()
    history = train(resumed, 10, checkpoint=str(tmp_path), **options)
    assert history == expected  # losses, validations, the best step
    assert torch.equal(weights(resumed), weights(whole))
    assert train(make(), 10, checkpoint=tmp_path, **options) == expected  # nothing left to do


def test_a_run_at_constant_meta_lr_can_be_made_longer(tmp_path):
    whole, longer = make_learner(), make_learner()
    expected = train(whole, 9).losses
    train(longer, 4, checkpoint=tmp_path)
    assert train(longer, 9, checkpoint=tmp_path).losses == expected
    assert torch.equal(weights(longer), weights(whole))
    with pytest.raises(ValueError, match="has taken 9 steps already, more than n_steps=5"):
        train(make_learner(), 5, checkpoint=tmp_path)


OTHER_RUNS = {
    "seed: 0 there, 1 here": {"seed": 1},
    "n_tasks_per_batch: 4 there, 8 here": {"n_tasks_per_batch": 8},
    "meta_lr: 0.001 there, 0.01 here": {"meta_lr": 0.01},
    "max_grad_norm: None there, 5.0 here": {"max_grad_norm": 5},
    "n_steps: any there, 4 here; schedule: constant there, cosine here": {"schedule": "cosine"},
    "validation: None there, 9 episodes of Epi": {"val_tasks": make_tasks(), "n_val_episodes": 9},
    "tasks: .* 1-shot.* there, .* 2-shot": {"tasks": EpisodeSampler(make_tasks().dataset, 2, 2, 3)},
}


def other_data():
    dataset = make_tasks().dataset
    items = dataset.items.clone()
    items[0, 0] += 1e-3  # one number of one item
    return FewShotDataset(items, dataset.labels)


OTHER_DATA = {
    "tasks": {"tasks": EpisodeSampler(other_data(), 2, 1, 3)},
    "validation": {"val_tasks": EpisodeSampler(other_data(), 2, 1, 3)},
    "val_every": {"val_every": 3},
}


@pytest.mark.parametrize("what", OTHER_DATA)
def test_a_checkpoint_of_other_data_is_refused(tmp_path, what):
    options = {"val_tasks": make_tasks(), "n_val_episodes": 2, "val_every": 1}
    train(make_learner(), 2, checkpoint=tmp_path, **options)
    with pytest.raises(ValueError, match="is of another run"):
        train(make_learner(), 4, checkpoint=tmp_path, **options | OTHER_DATA[what])
    assert train(make_learner(), 4, checkpoint=tmp_path, **options).n_steps == 4


SMOOTHED = 0.1


def weighted(first):
    weight = torch.tensor([first, 1.0])
    return lambda scores, labels: F.cross_entropy(scores, labels, weight=weight)


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, scores, labels):
        return self.factor * F.cross_entropy(scores, labels)


LOSSES = {
    "default": lambda: F.cross_entropy,
    "module": nn.CrossEntropyLoss,
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "smoothed more": lambda: nn.CrossEntropyLoss(label_smoothing=0.2),
    "weighted": lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])),
    "weighted otherwise": lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])),
    "partial": lambda: functools.partial(F.cross_entropy, label_smoothing=0.1),
    "partial of more": lambda: functools.partial(F.cross_entropy, label_smoothing=0.2),
    "lambda": lambda: lambda s, y: F.cross_entropy(s, y, label_smoothing=0.1),
    "lambda of more": lambda: lambda s, y: F.cross_entropy(s, y, label_smoothing=0.2),
    "a global": lambda: lambda s, y: F.cross_entropy(s, y, label_smoothing=SMOOTHED),
    "a default": lambda: lambda s, y, e=0.1: F.cross_entropy(s, y, label_smoothing=e),
    "another default": lambda: lambda s, y, e=0.2: F.cross_entropy(s, y, label_smoothing=e),
    "a closure": lambda: weighted(1.0),
    "another closure": lambda: weighted(2.0),
    "an object": lambda: Scaled(1.0),
    "another object": lambda: Scaled(2.0),
}


def with_loss(make) -> EnhancedProtoNet:
    learner = make_learner()
    learner.loss_fn = make()
    return learner


@pytest.mark.parametrize("name", LOSSES)
def test_a_checkpoint_of_another_loss_is_refused(tmp_path, name):
    expected = train(with_loss(LOSSES[name]), 2, checkpoint=tmp_path).losses
    for other in LOSSES:
        if other != name:
            with pytest.raises(ValueError, match=r"is of another run .*loss: "):
                train(with_loss(LOSSES[other]), 4, checkpoint=tmp_path)
    again = train(with_loss(LOSSES[name]), 4, checkpoint=tmp_path)
    assert again.losses[:2] == expected and again.n_steps == 4


def test_a_loss_that_reads_another_global_is_another_loss(tmp_path, monkeypatch):
    train(with_loss(LOSSES["a global"]), 1, checkpoint=tmp_path)
    monkeypatch.setitem(globals(), "SMOOTHED", 0.3)
    with pytest.raises(ValueError, match="loss: "):
        train(with_loss(LOSSES["a global"]), 2, checkpoint=tmp_path)


class Learned(nn.Module):
    """A loss with a parameter, which the outer loop moves too."""

    def __init__(self, start):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(start))

    def forward(self, scores, labels):
        return F.cross_entropy(self.factor * scores, labels)


def test_what_a_loss_has_learned_is_resumed(tmp_path):
    whole = with_loss(lambda: Learned(1.0))
    expected = train(whole, 4, meta_lr=0.1).losses
    train(with_loss(lambda: Learned(1.0)), 2, meta_lr=0.1, checkpoint=tmp_path)
    resumed = with_loss(lambda: Learned(5.0))  # as other first weights
    assert train(resumed, 4, meta_lr=0.1, checkpoint=tmp_path).losses == expected
    assert resumed.loss_fn.factor.item() == whole.loss_fn.factor.item() != 1


SETTINGS = [
    ("rates", {"encoder": 0.1, "head": 0.2}, {"encoder": 0.1, "head": 0.3}),
    ("which", ("encoder.1.weight",), ("encoder.3.weight",)),
    ("limit", None, 1.0),
    ("scale", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])),
    ("rule", torch.relu, torch.tanh),
    ("dtype", torch.float32, torch.float64),
    ("number", np.float32(0.5), np.float32(0.25)),
    ("_private", 1, 2),
]


@pytest.mark.parametrize(("name", "one", "other"), SETTINGS, ids=lambda v: v if v is str else None)
def test_a_checkpoint_of_another_setting_of_any_kind_is_refused(tmp_path, name, one, other):
    def make(value):
        learner = make_learner()
        setattr(learner, name, value)
        return learner

    train(make(one), 1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"is of another run .*learner: "):
        train(make(other), 2, checkpoint=tmp_path)
    assert train(make(one), 2, checkpoint=tmp_path).n_steps == 2


def test_a_setting_deep_inside_counts(tmp_path):
    class Times(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return self.factor * x

    def make(factor):
        return PrototypicalNetwork(nn.Sequential(nn.Linear(2, 4), Times(factor)))

    train(make(1.0), 1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="layers: "):
        train(make(2.0), 2, checkpoint=tmp_path)


def test_another_schedule_function_is_another_run(tmp_path):
    train(make_learner(), 2, checkpoint=tmp_path, schedule=lambda progress: 1 - progress)
    with pytest.raises(ValueError, match="schedule: "):
        train(make_learner(), 2, checkpoint=tmp_path, schedule=lambda progress: 1 - progress / 2)


def test_a_learner_that_was_used_resumes(tmp_path):
    """What it worked out on the way is not a setting."""
    learner = sine_learner()
    train(learner, 2, Sinusoids(5, 5), checkpoint=tmp_path)
    evaluate_meta_learner(learner, Sinusoids(5, 5), n_episodes=2)
    learner.outer_loop(Sinusoids(5, 5).episodes(0, 0, 4), chunk_size=2)
    assert train(learner, 3, Sinusoids(5, 5), checkpoint=tmp_path).n_steps == 3


def change_history(folder, **fields):
    state = json.loads((folder / "state.json").read_text())
    state["history"] = {k: v for k, v in (state["history"] | fields).items() if v != "gone"}
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    "fields",
    [{"more": 1}, {"losses": "gone"}, {"losses": 3}, {"losses": ["x", "y"]}, {"best_step": "2"}],
)
def test_a_history_of_another_version_is_refused(tmp_path, fields):
    train(make_learner(), 2, checkpoint=tmp_path)
    change_history(tmp_path, **fields)
    with pytest.raises(ValueError, match="written by another version of the course") as error:
        train(make_learner(), 4, checkpoint=tmp_path)
    assert "\n" not in str(error.value)


def test_two_trainings_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "PATIENCE", 0)
    seen = []

    def train_there(batch):
        with pytest.raises(OSError, match=f"another training is running in {tmp_path}; wait for"):
            train(make_learner(), 2, checkpoint=tmp_path)
        seen.append(sorted(p.name for p in tmp_path.iterdir()))
        return batch

    assert train(make_learner(), 3, Spied(make_tasks(), step_2=train_there), checkpoint=tmp_path)
    assert seen == [[".lock", "state.json", "step-00000000.safetensors"]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step-00000003.safetensors"]


@pytest.mark.parametrize("message", OTHER_RUNS)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, message):
    train(make_learner(), 2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=f"is of another run .*{message}.*give another folder"):
        train(make_learner(), 4, checkpoint=tmp_path, **OTHER_RUNS[message])


def test_a_checkpoint_of_another_learner_is_refused(tmp_path):
    train(sine_learner(), 1, Sinusoids(5, 5), checkpoint=tmp_path)
    faster = sine_learner()
    faster.inner_lr = 0.5
    with pytest.raises(
        ValueError, match=r"learner: MAML\(inner_lr=0.01.* there, MAML\(inner_lr=0.5"
    ):
        train(faster, 1, Sinusoids(5, 5), checkpoint=tmp_path)
    larger = sine_learner()
    larger.more = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="is of a learner with other weights; give another folder"):
        train(larger, 1, Sinusoids(5, 5), checkpoint=tmp_path)


def test_a_checkpoint_of_another_activation_is_refused(tmp_path):
    """The weights would fit, but the network is another one."""
    learner = make_learner()
    train(learner, 2, checkpoint=tmp_path / "run")
    learner.encoder[2] = nn.Tanh()
    with pytest.raises(ValueError, match="layers"):
        train(learner, 4, checkpoint=tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_found_out_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    tasks = Spied(make_tasks())
    with pytest.raises(OSError, match=r"file cannot be written .* give another folder"):
        train(make_learner(), 2, tasks, checkpoint=tmp_path / "file")
    assert tasks.calls == []


def test_weights_that_two_layers_share_survive(tmp_path):
    def tied():
        torch.manual_seed(0)
        first, second = nn.Linear(2, 2), nn.Linear(2, 2)
        second.weight = first.weight
        return PrototypicalNetwork(nn.Sequential(first, nn.ReLU(), second))

    whole, resumed = tied(), tied()
    expected = train(whole, 4).losses
    train(tied(), 2, checkpoint=tmp_path)
    assert train(resumed, 4, checkpoint=tmp_path).losses == expected
    assert resumed.encoder[0].weight is resumed.encoder[2].weight


# ---------------------------------------------------------------- real processes

CHILD = """
import sys, time
from tests.test_training import EnhancedProtoNet, FULL, make_learner, make_tasks, train
plain = EnhancedProtoNet.outer_loop
def slow(*args, **options):
    time.sleep(0.02)
    print("step", flush=True)
    return plain(*args, **options)
EnhancedProtoNet.outer_loop = slow
history = train(make_learner(), 150, val_tasks=make_tasks(1), checkpoint=sys.argv[1],
                checkpoint_every=1, progress=True, **FULL)
print("returned", history.n_steps, history.interrupted)
"""


def child_at_step(folder, step: int) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=course.ROOT,
        env=environment | {"TQDM_MININTERVAL": "0"},
    )
    for _ in range(step):
        assert child.stdout.readline() == "step\n", child.stderr.read()
    return child


def test_a_killed_run_resumes_to_the_same_numbers(tmp_path):
    child = child_at_step(tmp_path, 8)
    child.kill()  # SIGKILL, in the middle of a step or of a save
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    whole, resumed = make_learner(), make_learner()
    options = FULL | {"val_tasks": make_tasks(1)}
    expected = train(whole, 150, **options)
    drawn = Spied(make_tasks())
    assert train(resumed, 150, drawn, checkpoint=tmp_path, **options) == expected
    assert 7 * BATCH <= drawn.calls[0][1] < 150 * BATCH  # it did not start afresh
    assert torch.equal(weights(resumed), weights(whole))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.json", "step-00000150.safetensors"]


def test_ctrl_c_in_a_terminal(tmp_path):
    child = child_at_step(tmp_path, 5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    last = out.splitlines()[-1].split()
    assert last[0] == "returned" and 5 <= int(last[1]) < 150 and last[2] == "True"
    assert "/150" in err and "loss=" in err  # the progress bar
    assert "Traceback" not in err


# ---------------------------------------------------------------- arguments, memory


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, got 0"),
        ({"n_steps": 1e3}, "n_steps must be an integer of at least 1, got 1000.0"),
        ({"n_tasks_per_batch": -1}, "n_tasks_per_batch must be"),
        ({"seed": 0.5}, "seed must be an integer, got 0.5"),
        ({"val_every": 0}, "val_every must be"),
        ({"n_val_episodes": 1}, "n_val_episodes must be an integer of at least 2, got 1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"chunk_size": 0}, "chunk_size must be"),
        ({"meta_lr": 0}, "meta_lr must be a finite number above 0, got 0"),
        ({"meta_lr": float("nan")}, "meta_lr must be a finite number above 0, got nan"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a finite number above 0, got 0"),
        ({"schedule": "linear"}, "schedule must be constant or cosine or a function, got 'linear'"),
        (
            {"tasks": make_tasks().episodes(0, 0, 4)},
            "tasks must be a source of fresh episodes, .*, got EpisodeBatch",
        ),
        ({"val_tasks": make_tasks().dataset}, "val_tasks must be a source .*, got FewShotDataset"),
        ({"tasks": (torch.rand(4, 2), torch.arange(4))}, "tasks must be a source .*, got tuple"),
        ({"meta_lr": "a"}, "meta_lr must be a finite number above 0, got 'a'"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm must be a finite number above 0, got inf"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm must be .* got nan"),
        ({"checkpoint": 3}, "checkpoint must be a path of a folder, got 3"),
    ],
)
def test_nonsense_is_refused(options, message):
    learner = make_learner()
    before = weights(learner)
    with pytest.raises(ValueError, match=message):
        train(learner, **{"n_steps": 3, **options})
    assert torch.equal(weights(learner), before)


@pytest.mark.parametrize("learner", [None, EnhancedProtoNet, nn.Linear(2, 2), "maml"])
def test_what_is_no_learner_is_refused(learner):
    with pytest.raises(ValueError, match="learner must be a MetaLearner, got"):
        train(learner, 2)


def test_a_learner_without_parameters_is_refused():
    with pytest.raises(ValueError, match="PrototypicalNetwork has no parameter to learn"):
        train(PrototypicalNetwork(nn.Flatten()), 2)


def test_memory_does_not_grow_with_the_steps():
    tensors, memory = [], []

    def measure(batch):
        gc.collect()
        tensors.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
        memory.append(tracemalloc.get_traced_memory()[0])
        return batch

    tasks = Spied(make_tasks(), step_20=measure, step_70=measure)
    tracemalloc.start()
    try:
        train(make_learner(), 70, tasks)
    finally:
        tracemalloc.stop()
    assert tensors[0] == tensors[1]
    assert memory[1] - memory[0] < 100_000  # bytes: the losses and the spy's own notes


class HeadFirst(nn.Module):
    """Which layer gives the scores is found in the first call."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(6, 3), nn.Linear(2, 6)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x.flatten(1)[:, :2])))


def test_a_learner_that_has_found_its_head_resumes(tmp_path):
    def make():
        torch.manual_seed(0)
        return MAML(HeadFirst(), 0.3, num_inner_steps=1, zero_head=True)

    whole, resumed = make(), make()
    train(whole, 4)
    train(resumed, 2, checkpoint=tmp_path)
    train(resumed, 4, checkpoint=tmp_path)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_schedule_is_a_name_or_a_function():
    for schedule in ([], 3, "linear"):
        with pytest.raises(ValueError, match="schedule must be constant or cosine or a function"):
            train(make_learner(), 2, schedule=schedule)
