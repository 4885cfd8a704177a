"""Memory-augmented networks: learn by writing things down and looking them up.

Santoro, Bartunov, Botvinick, Wierstra & Lillicrap (2016). Introduced in notebook 08.

At each time step the network sees an item and the label of the item BEFORE, and predicts the
present label. To be right, it must keep each item until its label arrives, write the two down
together, and look them up when the class appears again. No weight changes within an episode.

    read     w_read(i) = softmax_i( sharpness * cos(key, M(i)) ),   r = sum_i w_read(i) M(i)
    usage    u <- decay * u + w_read + w_write
    write    w_write = gate * w_read[before] + (1 - gate) * w_least_used;   M(i) += w_write(i) row

What is unusual: the network does not freely learn where to write. Each head writes either to the
slots that it read last (to bring a memory up to date) or to one of the least used slots, which is
erased first. We differ from the paper in three things. The row written is the key of the previous
step plus a vector from the controller: the item's address, and with it the label that has just
arrived (the paper writes only the key, later implementations only the vector). The cosine is
multiplied by a learned sharpness, as in neural Turing machines, without which a read of 128 slots
is a blur. Each head has its own least used slot, so that it always writes a total of 1. Papers and
reimplementations differ in whether a step reads before or after it writes; see write_first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_integer, as_number
from ..engine.losses import as_function
from ..tasks import EpisodeBatch
from .base import MetaLearner
from .checks import as_items, as_tensor, check_shapes
from .classes import class_means, embed_items

__all__ = ["MANN", "LSTMController", "MANNController", "MemoryState", "Standardise"]

METRIC_SHARPNESS = 10.0
"""Factor on the cosines of the metric loss: the initial sharpness of a memory's heads."""


class MemoryState(NamedTuple):
    """What a MANNController carries from step to step; B sequences at once."""

    hidden: Tensor
    """(B, hidden_dim), output of the LSTM."""
    cell: Tensor
    """(B, hidden_dim), its cell."""
    memory: Tensor
    """(B, memory_size, memory_dim)."""
    usage: Tensor
    """(B, memory_size): how much each slot was read and written; older use counts less."""
    read_weights: Tensor
    """(B, num_reads, memory_size), each row summing to 1."""
    write_weights: Tensor
    """(B, num_reads, memory_size), each row summing to 1."""
    reads: Tensor
    """(B, num_reads * memory_dim): what was read."""
    keys: Tensor
    """(B, num_reads, memory_dim): the keys of the reads."""


class MANNController(nn.Module):
    """An LSTM with an external memory that is addressed by content.

    Args:
        input_dim: width of the input at each step.
        hidden_dim: units of the LSTM.
        memory_size: slots; at least num_reads. No weight depends on it.
        memory_dim: width of a slot.
        num_reads: heads, each of which reads once and writes once per step.
        usage_decay: how much of the usage remains after a step, 0 to 1.
        first_sharpness: of every head before training, at least 1. With 1, a read is a blur over
            all slots, so that nothing can be found, and the network learns nothing for a long time.
        write_first: read the memory as it is after the step's writing. Otherwise an item that comes
            right after the first of its class cannot find it, because the first is written in the
            same step. In streams of 5 classes with 10 items, that concerns one in five of all
            second instances.
    Raises:
        ValueError: a count below 1, fewer slots than heads, or another number out of its range.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int = 200,
        memory_size: int = 128,
        memory_dim: int = 40,
        *,
        num_reads: int = 4,
        usage_decay: float = 0.99,
        first_sharpness: float = 10.0,
        write_first: bool = False,
    ) -> None:
        super().__init__()
        counts = {"input_dim": input_dim, "hidden_dim": hidden_dim, "memory_size": memory_size}
        counts |= {"memory_dim": memory_dim, "num_reads": num_reads}
        for name, count in counts.items():
            as_integer(name, count)
        if memory_size < num_reads:
            raise ValueError(
                f"memory_size must be at least num_reads = {num_reads}, a slot for each head to "
                f"write to; got {memory_size}"
            )
        as_number("usage_decay", usage_decay, at_least=0, at_most=1)
        as_number("first_sharpness", first_sharpness, at_least=1)
        self.input_dim, self.hidden_dim = input_dim, hidden_dim
        self.memory_size, self.memory_dim = memory_size, memory_dim
        self.num_reads, self.usage_decay = num_reads, usage_decay
        self.write_first = write_first
        self.output_dim = hidden_dim + num_reads * memory_dim
        self.lstm = nn.LSTMCell(input_dim + num_reads * memory_dim, hidden_dim)
        # For each head: a key, a vector to write, a sharpness and a gate.
        self.heads = nn.Linear(hidden_dim, num_reads * (2 * memory_dim + 2))
        with torch.no_grad():  # softplus(b) = first_sharpness - 1
            self.heads.bias.view(num_reads, -1)[:, -2] = _softplus_inverse(first_sharpness - 1)

    def initial_state(self, x: Tensor) -> MemoryState:
        """An empty memory for the B sequences of x (B, input_dim), on its device, in its dtype."""
        n, heads, slots = len(x), self.num_reads, self.memory_size
        return MemoryState(
            hidden=x.new_zeros(n, self.hidden_dim),
            cell=x.new_zeros(n, self.hidden_dim),
            memory=x.new_full((n, slots, self.memory_dim), 1e-6),  # 0 has no direction
            usage=x.new_zeros(n, slots),
            read_weights=x.new_full((n, heads, slots), 1 / slots),
            write_weights=x.new_zeros(n, heads, slots),
            reads=x.new_zeros(n, heads * self.memory_dim),
            keys=x.new_zeros(n, heads, self.memory_dim),
        )

    def forward(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """One time step: (B, input_dim) to the output (B, output_dim) and the next state."""
        # The row to write: the address of the previous item, and what the controller adds to it.
        hidden, cell = self.lstm(torch.cat([x, state.reads], dim=1), (state.hidden, state.cell))
        heads = self.heads(hidden).unflatten(1, (self.num_reads, -1))
        key, vector, sharpness, gate = heads.split([self.memory_dim, self.memory_dim, 1, 1], dim=2)
        key, vector = torch.tanh(key), state.keys + torch.tanh(vector)
        least_used = least_used_slots(state.usage, self.num_reads)
        gate = torch.sigmoid(gate)
        write_weights = gate * state.read_weights + (1 - gate) * least_used
        wiped = state.memory * (1 - least_used.sum(dim=1))[..., None]
        memory = wiped + write_weights.transpose(1, 2) @ vector
        seen = memory if self.write_first else state.memory
        read_weights = address(key, seen, 1 + F.softplus(sharpness))
        reads = (read_weights @ seen).flatten(1)
        usage = self.usage_decay * state.usage + (read_weights + write_weights).sum(dim=1)
        output = torch.cat([hidden, reads], dim=1)
        return output, MemoryState(
            hidden, cell, memory, usage, read_weights, write_weights, reads, key
        )


def _softplus_inverse(y: float) -> float:
    return y + math.log(-math.expm1(-max(y, 1e-6)))


def address(key: Tensor, memory: Tensor, sharpness: Tensor) -> Tensor:
    """Read weights (B, heads, slots): softmax over the slots of sharpness * cosine (eq. 2, 3).

    Args:
        key: (B, heads, memory_dim).
        memory: (B, slots, memory_dim).
        sharpness: (B, heads, 1), above 0 (the beta of neural Turing machines).
    """
    return torch.softmax(sharpness * cosines(key, memory), dim=2)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of each row of a (B, M, d) with each row of b (B, N, d): (B, M, N)."""
    # We divide the products, not b, which saves a copy of the memory: 8 % of a step.
    lengths = b.norm(dim=2).clamp(min=1e-12)
    return F.normalize(a, dim=2) @ b.transpose(1, 2) / lengths[:, None]


def least_used_slots(usage: Tensor, n: int) -> Tensor:
    """The n least used slots, one per head, as 0 and 1: (B, n, slots) from (B, slots) (eq. 6).

    Among slots of equal usage we take the first, so that writing is the same on every machine.
    """
    slots = usage.detach().argsort(dim=1, stable=True)[:, :n]
    return F.one_hot(slots, usage.shape[1]).to(usage.dtype)


class LSTMState(NamedTuple):
    """What an LSTMController carries from step to step, both (B, hidden_dim)."""

    hidden: Tensor
    cell: Tensor


class LSTMController(nn.Module):
    """The same LSTM without a memory: the baseline that a memory has to beat."""

    def __init__(self, input_dim: int, hidden_dim: int = 200) -> None:
        super().__init__()
        as_integer("input_dim", input_dim)
        as_integer("hidden_dim", hidden_dim)
        self.input_dim, self.output_dim = input_dim, hidden_dim
        self.lstm = nn.LSTMCell(input_dim, hidden_dim)

    def initial_state(self, x: Tensor) -> LSTMState:
        """Zeros for the B sequences of x (B, input_dim)."""
        zeros = x.new_zeros(len(x), self.output_dim)
        return LSTMState(zeros, zeros)

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """One time step: (B, input_dim) to the output (B, hidden_dim) and the next state."""
        state = LSTMState(*self.lstm(x, state))
        return state.hidden, state


class Standardise(nn.Module):
    """Shift and scale each number of an embedding: (z - shift) * scale, both learned.

    The embeddings of an untrained network with ReLU all point in about the same direction (their
    cosines are above 0.9), so that nothing can be found by its direction. `fit` starts shift and
    scale from the embeddings of real items (data-dependent initialisation, Salimans & Kingma 2016).

    Args:
        dim: width of the embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        as_integer("dim", dim)
        self.shift = nn.Parameter(torch.zeros(dim))
        self.scale = nn.Parameter(torch.ones(dim))

    @torch.no_grad()
    def fit(self, z: Tensor) -> None:
        """Give embeddings like z (B, dim) mean 0 and standard deviation 1; B at least 2.

        Numbers that hardly vary are not inflated: we divide by at least a tenth of the mean
        deviation.
        """
        std = z.std(dim=0)
        self.shift.copy_(z.mean(dim=0))
        self.scale.copy_(1 / std.clamp(min=std.mean() / 10 + 1e-6))

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim) -> (B, dim)."""
        return (z - self.shift) * self.scale


State = MemoryState | LSTMState


class MANN(MetaLearner):
    """Read a stream of items and labels; answer from memory.

    It has two interfaces. `stream` is the published protocol: it names every item before the label
    arrives. `adapt` and calling the learner follow the course: they read the support set first, and
    then answer every query as the next item of that stream, from the same memory and without
    writing, so that queries cannot influence each other. A sequence has an order and a support set
    has none; we sort the support set by a fixed projection of the items, so that its order does not
    matter.

    Args:
        encoder: a module from items (B, *item) to vectors (B, d), or None for flat items, which are
            used as they are.
        controller: a MANNController or LSTMController of input_dim d + n_way.
        n_way: classes in a stream.
        metric_weight: adds this many times the loss of a prototypical network on the same items to
            the loss, to train the encoder. With meaningless embeddings, a memory finds nothing, and
            it learns nothing from what it does not find; with 0, the published loss, a
            convolutional encoder takes a long time to start learning. Items and prototypes are
            compared by their cosine, as the memory compares: with distances, which ignore what all
            embeddings share, they would soon all point in the same direction.
    Raises:
        ValueError: n_way below 2, a negative metric_weight, or a memory with fewer slots than
            classes.
    """

    reads_streams = True

    def __init__(
        self,
        encoder: nn.Module | None,
        controller: MANNController | LSTMController,
        n_way: int,
        *,
        metric_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_way = as_integer("n_way", n_way, 2)
        if not hasattr(controller, "input_dim") or not hasattr(controller, "output_dim"):
            kind = type(controller).__name__
            raise ValueError(
                f"controller must be a MANNController or an LSTMController, got {kind}"
            )
        slots = getattr(controller, "memory_size", n_way)
        if slots < n_way:
            raise ValueError(
                f"memory_size must be at least n_way = {n_way}, a slot for each class; got {slots}"
            )
        self.metric_weight = as_number("metric_weight", metric_weight, at_least=0)
        self.encoder = nn.Flatten() if encoder is None else as_function("encoder", encoder)
        self.controller = controller
        self.head = nn.Linear(controller.output_dim, n_way)

    def stream(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores of each item of a stream before its label is known.

        Args:
            x: (T, L, *item).
            y: (T, L) int64 labels; that of step t reaches the network at step t + 1.
        Returns:
            (T, L, n_way).
        """
        return self.head(torch.stack([output for output, _ in self.steps(x, y)], dim=1))

    def steps(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, State]]:
        """Read streams x (T, L, *item), y (T, L): output and state of the controller at each step.

        Yields:
            (T, output_dim), and the state after the step, T rows of each tensor.
        Raises:
            ValueError: x and y do not fit, labels are out of range, or items hold NaN.
        """
        x = self._moved(as_items("x", x))
        y = as_tensor("y", y).to(x.device)
        check_shapes("x", x, "y", y)
        z, known = self._embed(x), self._one_hot(y)
        before = F.pad(known, (0, 0, 1, 0))[:, :-1]  # labels come one step late
        inputs = torch.cat([z, before], dim=2).unbind(dim=1)
        state = self.controller.initial_state(inputs[0])
        for step in inputs:
            output, state = self.controller(step, state)
            yield output, state

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> tuple[State, Tensor]:
        """The controller's state after the support set, and the label that has yet to arrive."""
        task = torch.arange(len(support_x), device=support_x.device)[:, None]
        order = canonical_order(support_x)
        support_x, support_y = support_x[task, order], support_y[task, order]
        *_, (_, state) = self.steps(support_x, support_y)
        return state, self._one_hot(support_y[:, -1])

    def predict(self, state: tuple[State, Tensor], query_x: Tensor) -> Tensor:
        """Scores of each query as the next item of its task's stream.

        Every query gets a copy of its task's memory: T * Q * memory_size * memory_dim numbers.
        """
        z, (after, label) = self._embed(query_x), state
        n_query = z.shape[1]
        inputs = torch.cat([z, label[:, None].expand(-1, n_query, -1)], dim=2).flatten(0, 1)
        copies = type(after)(*(tensor.repeat_interleave(n_query, dim=0) for tensor in after))
        output, _ = self.controller(inputs, copies)
        return self.head(output).unflatten(0, (-1, n_query))

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """Mean loss over all steps of the episodes' streams, which `Streams` puts in order."""
        episodes = self._taken(episodes)
        x, y = episodes.stream()
        loss = self._score_loss(self.stream(x, y), y)
        if self.metric_weight:
            loss = loss + self.metric_weight * self._metric_loss(episodes)
        return loss

    def _loss_over(self, tasks: EpisodeBatch) -> str:
        kind = super()._loss_over(tasks)
        return kind if kind == "mean" or not self.metric_weight else "neither"  # the other is one

    def _metric_loss(self, episodes: EpisodeBatch) -> Tensor:
        """The loss of a prototypical network that compares as the memory does, by the cosine."""
        prototypes = class_means(self._embed(episodes.support_x), episodes.support_y)
        scores = METRIC_SHARPNESS * cosines(self._embed(episodes.query_x), prototypes)
        return F.cross_entropy(scores.flatten(0, 1), episodes.query_y.flatten())

    def _embed(self, x: Tensor) -> Tensor:
        z = embed_items(self.encoder, x)
        expected = self.controller.input_dim - self.n_way
        if z.shape[-1] != expected:
            raise ValueError(
                f"the controller's input_dim {self.controller.input_dim} leaves {expected} numbers "
                f"for an item beside {self.n_way} for its label; an item of shape "
                f"{tuple(x.shape[2:])} has {z.shape[-1]} after the encoder"
            )
        return z

    def _one_hot(self, y: Tensor) -> Tensor:
        if y.dtype != torch.int64:
            raise ValueError(
                f"support_y must be int64 class labels, got {y.dtype}: no regression here"
            )
        lowest, highest = int(y.min()), int(y.max())
        if lowest < 0 or highest >= self.n_way:
            raise ValueError(
                f"labels must be 0 to n_way - 1 = {self.n_way - 1}, got {lowest} to {highest}"
            )
        return F.one_hot(y, self.n_way).to(self.head.weight.dtype)


def canonical_order(x: Tensor) -> Tensor:
    """(T, S) positions that sort the items of x (T, S, *item) by a fixed projection."""
    flat = x.detach().flatten(2)
    waves = torch.arange(flat.shape[2], device=x.device, dtype=x.dtype).sin()
    return (flat @ waves).argsort(dim=1, stable=True)
