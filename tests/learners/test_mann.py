"""Memory-augmented networks against a plain NumPy loop, conservation laws, and causality."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metalearn_edu.backbones import ConvNet
from metalearn_edu.learners import MANN, LSTMController, MANNController
from metalearn_edu.learners.mann import Standardise, address, least_used_slots
from metalearn_edu.streams import evaluate_streams, first_instance_ceiling, instance_numbers
from metalearn_edu.tasks import EpisodeBatch, FewShotDataset, Streams
from metalearn_edu.training import meta_train

N_WAY, LENGTH, D = 3, 9, 4


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def controller(input_dim=D + N_WAY, hidden=5, slots=6, dim=3, *, seed=0, **options):
    torch.manual_seed(seed)
    made = MANNController(input_dim, hidden, slots, dim, **{"num_reads": 2, **options}).double()
    with torch.no_grad():  # large enough that gates and keys differ from step to step
        made.heads.weight.mul_(4)
    return made


def mann(make=controller, **options):
    torch.manual_seed(1)
    return MANN(None, make(), N_WAY, **options).double()


def lstm():
    torch.manual_seed(0)
    return LSTMController(D + N_WAY, 5)


X = draw(2, LENGTH, D)
Y = draw(2, LENGTH, seed=1).argsort(dim=1) % N_WAY  # each label three times


def writes_first():
    return controller(write_first=True)


@pytest.fixture(params=[controller, writes_first, lstm], ids=["memory", "writes first", "LSTM"])
def learner(request):
    return mann(request.param)


def run(made, inputs):
    """The states of a controller before and after each of inputs (L, B, input_dim)."""
    states = [made.initial_state(inputs[0])]
    with torch.no_grad():
        for x in inputs:
            states.append(made(x, states[-1])[1])
    return states


# ---------------------------------------------------------------- one step, by hand


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def cosine(a, b):
    lengths = np.sqrt((a * a).sum() * (b * b).sum())
    return (a * b).sum() / lengths if lengths > 1e-13 else 0.0


def step_by_hand(made, x, state):
    """One step of one sequence, in NumPy with loops over heads and slots, from the weights."""
    w = {name: p.detach().numpy() for name, p in made.named_parameters()}
    z = w["lstm.weight_ih"] @ np.concatenate([x, state["reads"]]) + w["lstm.bias_ih"]
    z = z + w["lstm.weight_hh"] @ state["hidden"] + w["lstm.bias_hh"]
    into, forget, new, out = np.split(z, 4)
    cell = sigmoid(forget) * state["cell"] + sigmoid(into) * np.tanh(new)
    hidden = sigmoid(out) * np.tanh(cell)
    dim, slots = made.memory_dim, made.memory_size
    heads = (w["heads.weight"] @ hidden + w["heads.bias"]).reshape(made.num_reads, -1)
    in_order = np.argsort(state["usage"], kind="stable")
    memory = state["memory"].copy()
    for h in range(made.num_reads):
        memory[in_order[h]] = 0
    usage = made.usage_decay * state["usage"]
    reads, read_weights, write_weights, keys = [], [], [], []
    for h, numbers in enumerate(heads):
        gate = sigmoid(numbers[2 * dim + 1])
        write = gate * state["read_weights"][h]
        write[in_order[h]] += 1 - gate
        memory += np.outer(write, state["keys"][h] + np.tanh(numbers[dim : 2 * dim]))
        write_weights.append(write)
    seen = memory if made.write_first else state["memory"]
    for h, numbers in enumerate(heads):
        key, sharpness = np.tanh(numbers[:dim]), 1 + np.log1p(np.exp(numbers[2 * dim]))
        scores = np.array([sharpness * cosine(key, seen[i]) for i in range(slots)])
        read = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        reads.append(sum(read[i] * seen[i] for i in range(slots)))
        usage = usage + read + write_weights[h]
        read_weights.append(read), keys.append(key)
    return {
        "hidden": hidden,
        "cell": cell,
        "memory": memory,
        "usage": usage,
        "read_weights": np.stack(read_weights),
        "write_weights": np.stack(write_weights),
        "reads": np.concatenate(reads),
        "keys": np.stack(keys),
    }


@pytest.mark.parametrize("write_first", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_steps_are_those_of_a_loop(heads, write_first):
    made = controller(num_reads=heads, write_first=write_first)
    inputs = draw(7, 2, D + N_WAY)
    states = run(made, inputs)
    for sequence in range(2):
        state = {n: t[sequence].numpy() for n, t in states[0]._asdict().items()}
        for x, expected in zip(inputs[:, sequence].numpy(), states[1:], strict=True):
            state = step_by_hand(made, x, state)
            for name, tensor in expected._asdict().items():
                np.testing.assert_allclose(tensor[sequence].numpy(), state[name], atol=1e-12)


def test_the_output_is_what_the_controller_knows_and_what_it_read():
    made, x = controller(), draw(2, D + N_WAY)
    output, state = made(x, made.initial_state(x))
    assert output.shape == (2, made.output_dim)
    assert torch.equal(output, torch.cat([state.hidden, state.reads], dim=1))


# ---------------------------------------------------------------- reading


def test_address_on_paper():
    memory = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]]])
    key = torch.tensor([[[5.0, 0.0]]])
    terms = [math.exp(2 * c) for c in (1, 0, 0.6)]
    expected = [t / sum(terms) for t in terms]
    weights = address(key, memory, torch.full((1, 1, 1), 2.0))
    assert weights[0, 0].tolist() == pytest.approx(expected)


def test_the_address_follows_the_rows_and_not_their_lengths():
    key, memory, sharpness = draw(2, 2, 3), draw(2, 5, 3, seed=1), torch.full((2, 2, 1), 4.0)
    weights = address(key, memory, sharpness)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(address(key, memory[:, order], sharpness), weights[..., order])
    lengths = torch.tensor([0.1, 2.0, 5.0, 1.0, 30.0])[:, None]
    torch.testing.assert_close(address(7 * key, lengths * memory, sharpness), weights)


@pytest.mark.parametrize(("sharpness", "opposite", "right_angle"), [(1, 5.5, 2.1), (10, 100, 99.4)])
def test_one_read_weight_of_128_slots(sharpness, opposite, right_angle):
    eye = torch.eye(129, dtype=torch.float64)
    key, others = eye[:1], {"opposite": -eye[:1].expand(127, -1), "right": eye[1:128]}
    got = [
        100 * address(key[None], torch.cat([key, rows])[None], torch.full((1, 1, 1), sharpness))
        for rows in others.values()
    ]
    assert [round(w[0, 0, 0].item(), 1) for w in got] == pytest.approx(
        [opposite, right_angle], abs=0.06
    )


@pytest.mark.parametrize("first", [1.0, 1.5, 10.0, 40.0])
def test_first_sharpness_is_what_was_asked_for(first):
    made = controller(first_sharpness=first, num_reads=3)
    bias = made.heads.bias.view(3, -1)[:, -2]
    torch.testing.assert_close(
        1 + F.softplus(bias), torch.full_like(bias, first), atol=1e-5, rtol=0
    )


# ---------------------------------------------------------------- writing and usage


def test_every_head_reads_1_and_writes_1_and_usage_is_conserved():
    made = controller(usage_decay=0.8)
    states = run(made, draw(20, 3, D + N_WAY))
    for before, after in pairwise(states):
        for weights in (after.read_weights, after.write_weights):
            torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 2, dtype=torch.float64))
        total = 0.8 * before.usage.sum(dim=1) + 2 + 2
        torch.testing.assert_close(after.usage.sum(dim=1), total)


def test_a_slot_never_touched_comes_before_a_used_one():
    usage = torch.tensor([[0.3, 0.0, 2.0, 0.0], [5.0, 4.0, 3.0, 1e-9]])
    chosen = least_used_slots(usage, 2)
    assert chosen.tolist() == [[[0, 1, 0, 0], [0, 0, 0, 1]], [[0, 0, 0, 1], [0, 0, 1, 0]]]


def test_ties_go_to_the_first_slots_one_a_head():
    assert least_used_slots(torch.zeros(1, 4), 3)[0].argmax(dim=1).tolist() == [0, 1, 2]


def test_with_a_closed_gate_the_slots_are_filled_one_after_the_other():
    made = controller(num_reads=1, slots=5)
    with torch.no_grad():
        made.heads.weight[-1] = 0
        made.heads.bias[-1] = -40.0  # the gate
    states = run(made, draw(5, 1, D + N_WAY))
    first = [state.write_weights[0, 0].argmax().item() for state in states[1:]]
    # All slots were read a little at each step; those that were written before come last.
    assert sorted(first) == [0, 1, 2, 3, 4]
    for state, slot in zip(states[1:], first, strict=True):
        assert state.write_weights[0, 0, slot] == pytest.approx(1)


def test_a_wiped_slot_holds_the_new_row_alone():
    made = controller(num_reads=1)
    states = run(made, draw(12, 1, D + N_WAY))
    for before, after in pairwise(states):
        slot = before.usage[0].argmin()
        numbers = made.heads(after.hidden)[0].detach()
        row = before.keys[0, 0] + torch.tanh(numbers[made.memory_dim : 2 * made.memory_dim])
        expected = after.write_weights[0, 0, slot] * row
        torch.testing.assert_close(after.memory[0, slot], expected)


def test_gradients_reach_every_weight_through_the_memory():
    made = mann()
    made.stream(X, Y)[:, -1].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in made.parameters())


@pytest.mark.parametrize("slots", [6, 60])
def test_the_number_of_weights_does_not_depend_on_the_slots(slots):
    n = sum(p.numel() for p in controller(slots=slots).parameters())
    inputs, reads = D + N_WAY, 2 * 3
    assert n == 4 * 5 * (inputs + reads + 5 + 2) + 2 * (2 * 3 + 2) * (5 + 1)


# ---------------------------------------------------------------- streams


def test_the_label_arrives_one_step_late(learner):
    """The stream's scores are those of the controller fed with late labels, step by step."""
    known = F.one_hot(Y, N_WAY).double()
    state = learner.controller.initial_state(X[:, 0])
    for t in range(LENGTH):
        late = known[:, t - 1] if t else torch.zeros(2, N_WAY, dtype=torch.float64)
        output, state = learner.controller(torch.cat([X[:, t], late], dim=1), state)
        torch.testing.assert_close(learner.stream(X, Y)[:, t], learner.head(output))


@pytest.mark.parametrize("t", [0, 4, LENGTH - 2])
def test_causality(learner, t):
    scores, other = learner.stream(X, Y), Y.clone()
    other[:, t] = (Y[:, t] + 1) % N_WAY
    changed = learner.stream(X, other)
    assert torch.equal(changed[:, : t + 1], scores[:, : t + 1])
    assert (changed[:, t + 1 :] - scores[:, t + 1 :]).abs().amax(dim=(0, 2)).min() > 0
    later = X.clone()
    later[:, t + 1] += 1
    assert torch.equal(learner.stream(later, Y)[:, : t + 1], scores[:, : t + 1])
    assert not torch.equal(learner.stream(later, Y)[:, t + 1], scores[:, t + 1])


def test_the_last_label_reaches_no_score(learner):
    other = Y.clone()
    other[:, -1] = (Y[:, -1] + 1) % N_WAY
    assert torch.equal(learner.stream(X, other), learner.stream(X, Y))


def test_each_call_starts_afresh_and_sequences_do_not_meet(learner):
    scores = learner.stream(X, Y)
    assert torch.equal(learner.stream(X, Y), scores)
    torch.testing.assert_close(learner.stream(X[1:], Y[1:]), scores[1:])


def test_no_state_is_left_on_the_modules(learner):
    before = {name: set(vars(m)) for name, m in learner.named_modules()}
    learner.stream(X, Y)
    learner(X, Y, X)
    assert {name: set(vars(m)) for name, m in learner.named_modules()} == before
    assert not list(learner.buffers())


def test_only_after_writing_can_a_step_find_the_item_before():
    for write_first in (False, True):
        made = controller(num_reads=1, write_first=write_first)
        before, after = run(made, draw(6, 2, D + N_WAY))[-2:]
        seen = after.memory if write_first else before.memory
        torch.testing.assert_close(after.reads, (after.read_weights @ seen)[:, 0])


# ---------------------------------------------------------------- the course's face


def test_a_query_is_the_next_item_of_the_sorted_stream(learner):
    query, flat = draw(2, 1, D, seed=5), X * torch.arange(D, dtype=torch.float64).sin()
    order = flat.sum(dim=2).argsort(dim=1)
    x = torch.stack([X[t, order[t]] for t in range(2)])
    y = torch.stack([Y[t, order[t]] for t in range(2)])
    dummy = torch.zeros(2, 1, dtype=torch.int64)
    stream = learner.stream(torch.cat([x, query], dim=1), torch.cat([y, dummy], dim=1))
    torch.testing.assert_close(learner(X, Y, query), stream[:, -1:])


def test_queries_write_nothing(learner):
    state = learner.learn_task(X, Y)
    before = [tensor.clone() for tensor in state[0]]
    queries = draw(2, 5, D, seed=5)
    together = learner.predict(state, queries)
    assert all(torch.equal(a, b) for a, b in zip(before, state[0], strict=True))
    alone = [learner.predict(state, queries[:, q : q + 1]) for q in range(5)]
    torch.testing.assert_close(torch.cat(alone, dim=1), together)
    torch.testing.assert_close(learner.predict(state, queries.flip(1)).flip(1), together)


def test_support_order_does_not_matter_but_order_in_a_stream_does(learner):
    order = torch.randperm(LENGTH, generator=torch.Generator().manual_seed(0))
    queries = draw(2, 2, D, seed=5)
    torch.testing.assert_close(learner(X[:, order], Y[:, order], queries), learner(X, Y, queries))
    assert (learner.stream(X[:, order], Y[:, order])[:, -1] - learner.stream(X, Y)[:, -1]).any()


def test_loss_is_the_mean_over_the_stream_in_its_order(learner):
    order = torch.stack([torch.arange(LENGTH).roll(k) for k in (2, 5)])
    in_label_order = torch.arange(N_WAY).repeat_interleave(3).expand(2, -1)
    support, query = torch.arange(LENGTH)[::3], torch.arange(LENGTH).view(3, 3)[:, 1:].flatten()
    y = in_label_order
    batch = EpisodeBatch(X[:, support], y[:, support], X[:, query], y[:, query], order=order)
    total = 0.0
    both = torch.cat([support, query])
    for task in range(2):
        rows = both[order[task]]
        scores = learner.stream(X[task, rows][None], y[task, rows][None])[0]
        logs = scores - scores.exp().sum(dim=1, keepdim=True).log()
        total -= sum(logs[i, y[task, rows[i]]] for i in range(LENGTH)) / LENGTH / 2
    torch.testing.assert_close(learner.loss(batch), total)


def test_the_metric_loss_is_added_with_its_weight():
    plain, helped = mann(), mann(metric_weight=0.7)
    batch = EpisodeBatch(X[:, :3], torch.arange(3).repeat(2, 1), X[:, 3:], Y[:, 3:] * 0 + cycle())
    prototypes = X[:, :3]
    cosine = F.cosine_similarity(X[:, 3:, None], prototypes[:, None], dim=3)
    metric = F.cross_entropy((10 * cosine).flatten(0, 1), batch.query_y.flatten())
    torch.testing.assert_close(helped.loss(batch), plain.loss(batch) + 0.7 * metric)


def test_the_metric_loss_rises_when_all_items_point_one_way():
    """As directions are all that a memory finds by; distances would not change."""
    plain, helped = mann(), mann(metric_weight=1.0)
    y = torch.arange(N_WAY).repeat(2, 1)
    losses = []
    for shared in (0, 1, 10):
        x = torch.eye(N_WAY, D, dtype=torch.float64).repeat(2, 1, 1) + shared
        batch = EpisodeBatch(x, y, x, y)
        losses.append((helped.loss(batch) - plain.loss(batch)).item())
    assert losses[0] < 0.01 < losses[1] < losses[2]
    assert losses[2] == pytest.approx(math.log(N_WAY), abs=0.05)


def cycle():
    return torch.arange(LENGTH - 3) % N_WAY


# ---------------------------------------------------------------- what can be known


@pytest.mark.parametrize(("n_way", "percent"), [(2, 75), (5, 45.67), (15, 22.12), (20, 17.99)])
def test_first_instance_ceiling_is_reached_by_an_ideal_learner_and_by_none_better(n_way, percent):
    assert 100 * first_instance_ceiling(n_way) == pytest.approx(percent, abs=0.005)
    rng = np.random.default_rng(0)
    right = []
    for _ in range(4000):
        stream = rng.permutation(np.repeat(rng.permutation(n_way), 2))
        left = list(range(n_way))
        for label in dict.fromkeys(stream.tolist()):
            right.append(rng.choice(left) == label)
            left.remove(label)
    error = math.sqrt(0.25 / len(right))
    assert np.mean(right) == pytest.approx(first_instance_ceiling(n_way), abs=4 * error)


class LeakyMANN(MANN):
    """Hears the label of step t at step t."""

    def stream(self, x, y):
        known = F.one_hot(y, self.n_way).to(x.dtype)
        state, outputs = self.controller.initial_state(x[:, 0]), []
        for t in range(x.shape[1]):
            output, state = self.controller(torch.cat([x[:, t], known[:, t]], dim=1), state)
            outputs.append(output)
        return self.head(torch.stack(outputs, dim=1))


class NoMemory(nn.Module):
    """A feed-forward network: it sees the item and the label of the item before, and no more."""

    def __init__(self, input_dim, hidden_dim):
        super().__init__()
        self.input_dim, self.output_dim = input_dim, hidden_dim
        self.layer = nn.Linear(input_dim, hidden_dim)

    def initial_state(self, x):
        return ()

    def forward(self, x, state):
        return torch.relu(self.layer(x)), state


def clouds(n_way=3, n_instances=4):
    """Streams of classes that are easy to tell apart."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(60, 1, D, generator=generator)
    items = items + 0.1 * torch.randn(60, 6, D, generator=generator)
    labels = torch.arange(60).repeat_interleave(6)
    return Streams(FewShotDataset(items.flatten(0, 1), labels), n_way, n_instances)


def trained(kind, make, n_steps, meta_lr):
    torch.manual_seed(0)
    learner = kind(None, make(), 3)
    meta_train(learner, clouds(), n_steps=n_steps, meta_lr=meta_lr, progress=False)
    return evaluate_streams(learner, clouds(), n_episodes=400)


@pytest.mark.parametrize(
    ("make", "n_steps"),
    [
        (lambda: MANNController(D + 3, 16, 6, 5, num_reads=1), 45),
        (lambda: LSTMController(D + 3, 16), 110),
    ],
    ids=["memory", "LSTM"],
)
def test_a_trained_learner_stays_under_the_ceiling_and_learns(make, n_steps):
    results = trained(MANN, make, n_steps, 1e-2)
    first, last = results[1], results[4]
    assert first.mean < first_instance_ceiling(3) + 4 * first.half_width / 1.96
    assert last.mean > 0.4


def test_a_leak_breaks_the_ceiling():
    first = trained(LeakyMANN, lambda: LSTMController(D + 3, 16), 100, 2e-2)[1]
    assert first.mean > first_instance_ceiling(3) + 0.2


def test_without_a_memory_it_is_guessing():
    results = trained(MANN, lambda: NoMemory(D + 3, 16), 100, 1e-2)
    mean = sum(result.mean for result in results.values()) / 4
    assert abs(mean - 1 / 3) < 0.06  # never the label just heard: 4 / 11 at the most
    # At the first instance the label just heard is out: (1/3 + 1/2 + 1/2) / 3 = 44.4 %.
    assert results[1].mean < 4 / 9 + 0.05


def test_instance_numbers_count_each_class():
    y = torch.tensor([[2, 0, 2, 2, 0], [0, 1, 2, 0, 1]])
    assert instance_numbers(y).tolist() == [[1, 1, 2, 3, 2], [1, 1, 1, 2, 2]]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 1}, "memory_size must be at least num_reads = 2, .* got 1"),
        (
            {"first_sharpness": 0.99},
            "first_sharpness must be a finite number of at least 1, got 0.99",
        ),
        (
            {"first_sharpness": math.inf},
            "first_sharpness must be a finite number of at least 1, got inf",
        ),
        ({"usage_decay": 1.01}, "usage_decay must be .* of at least 0 and at most 1, got 1.01"),
        ({"usage_decay": math.nan}, "usage_decay must be .* of at least 0 and at most 1, got nan"),
        ({"hidden": 0}, "hidden_dim must be an integer of at least 1, got 0"),
        ({"num_reads": 1.0}, "num_reads must be an integer of at least 1, got 1.0"),
    ],
)
def test_a_controller_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        controller(**options)


def test_a_learner_that_cannot_be():
    with pytest.raises(ValueError, match=r"memory_size must be at least n_way = 7, .* got 6"):
        MANN(None, controller(), 7)
    with pytest.raises(ValueError, match=r"metric_weight must be .* of at least 0, got -0\.1"):
        MANN(None, controller(), N_WAY, metric_weight=-0.1)
    with pytest.raises(ValueError, match=r"metric_weight must be .* got nan"):
        MANN(None, controller(), N_WAY, metric_weight=math.nan)
    with pytest.raises(ValueError, match="n_way must be an integer of at least 2, got 1"):
        MANN(None, controller(), 1)


@pytest.mark.parametrize("number", [math.nan, math.inf, "x", None, True])
def test_numbers_that_are_none_are_refused(number):
    for name in ("usage_decay", "first_sharpness"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number"):
            controller(**{name: number})
    with pytest.raises(ValueError, match="metric_weight must be a finite number"):
        MANN(None, controller(), N_WAY, metric_weight=number)


def test_what_is_no_controller_is_refused():
    with pytest.raises(ValueError, match=r"controller must be a MANNController .* got NoneType"):
        MANN(None, None, N_WAY)


def test_streams_may_be_arrays(learner):
    assert torch.equal(learner.stream(X.numpy(), Y.numpy()), learner.stream(X, Y))
    with pytest.raises(ValueError, match="x must be a tensor or an array of numbers"):
        learner.stream(None, Y)
    with pytest.raises(ValueError, match="y must be a tensor or an array of numbers"):
        learner.stream(X, None)


def test_streams_that_cannot_be_read(learner):
    with pytest.raises(ValueError, match="labels must be 0 to n_way - 1 = 2, got 1 to 3"):
        learner.stream(X, Y + 1)
    with pytest.raises(ValueError, match=r"leaves 4 numbers for an item beside 3 .* has 5"):
        learner.stream(draw(2, LENGTH, D + 1), Y)
    with pytest.raises(ValueError, match="no regression here"):
        learner(X, draw(2, LENGTH, 1), X)
    holes = X.clone()
    holes[0, 1, 2] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        learner(holes, Y, X)
    with pytest.raises(ValueError, match="NaN"):
        learner(X, Y, holes)


# ---------------------------------------------------------------- Standardise


def test_standardise_does_nothing_before_it_is_fitted():
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Standardise(4)(z), z)


def test_fitted_embeddings_have_mean_0_and_deviation_1():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(50, 4, generator=generator) * torch.tensor([0.5, 2.0, 1.0, 3.0]) + 7
    layer = Standardise(4)
    layer.fit(z)
    torch.testing.assert_close(layer(z).mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(z).std(dim=0), torch.ones(4))
    new = torch.randn(3, 4, generator=generator)  # others are moved by the same numbers
    torch.testing.assert_close(layer(new), (new - z.mean(dim=0)) / z.std(dim=0))


def test_a_number_that_hardly_varies_is_not_blown_up():
    z = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    z = (z - z.mean(dim=0)) / z.std(dim=0) * torch.tensor([1.0, 1.0, 0.0])
    layer = Standardise(3)
    layer.fit(z)
    least = (2 / 3) / 10  # a tenth of the mean deviation
    torch.testing.assert_close(layer.scale[2].item(), 1 / (least + 1e-6), rtol=1e-3, atol=0)
    layer.fit(torch.zeros(5, 3))
    assert layer(torch.zeros(5, 3)).isfinite().all()


def test_shift_and_scale_are_learned_and_fit_leaves_no_graph():
    layer, z = Standardise(3), torch.randn(5, 3, requires_grad=True)
    layer.fit(z)
    assert z.grad_fn is None and layer.shift.grad_fn is None
    layer(z.detach()).square().sum().backward()
    assert layer.shift.grad.abs().sum() > 0 and layer.scale.grad.abs().sum() > 0


def test_cosines_of_an_untrained_encoder_are_near_1_until_standardised():
    torch.manual_seed(0)
    encoder, layer = ConvNet(width=8, downsample="stride"), Standardise(8)
    with torch.no_grad():
        z = encoder(torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    layer.fit(z)

    def cosine(z):
        unit = F.normalize(z, dim=1)
        return ((unit @ unit.T).sum() - len(z)) / (len(z) * (len(z) - 1))

    assert cosine(z) > 0.8 and abs(cosine(layer(z))) < 0.1


@pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan"), "3", True, None, []])
def test_the_width_of_standardise_is_a_count(wrong):
    with pytest.raises(ValueError, match="dim must be an integer of at least 1, got"):
        Standardise(wrong)
