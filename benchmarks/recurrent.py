"""Workload 6: a memory-augmented network on streams of 50, beside the bare arithmetic of its parts.

A step of the network reads what the step before wrote, so that nothing can be done for all steps
at once. The peer has no such ties: PyTorch's own LSTM on the whole sequence, and then, step by
step, the products, norms and sorts of a memory of the same sizes, on numbers that do not matter.
It learns nothing, and has no result to compare.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.workload import Aim, Run, Workload
from metalearn_edu import MANN, EpisodeBatch, MANNController

__all__ = ["WORKLOADS"]

N_STREAMS, N_WAY, N_INSTANCES, ITEM = 16, 5, 10, 400
HIDDEN, SLOTS, WIDTH, HEADS = 200, 128, 40, 4
LENGTH = N_WAY * N_INSTANCES


def streams() -> EpisodeBatch:
    """Random items of 20 x 20 numbers, as in the paper, in random order."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(N_STREAMS, LENGTH, ITEM, generator=generator)
    y = torch.arange(N_WAY).repeat(N_STREAMS, N_INSTANCES)  # 0 .. 4, once for the support set
    order = torch.rand(N_STREAMS, LENGTH, generator=generator).argsort(dim=1)
    parts = [part.split([N_WAY, LENGTH - N_WAY], dim=1) for part in (x, y)]
    (support_x, query_x), (support_y, query_y) = parts
    return EpisodeBatch(support_x, support_y, query_x, query_y, order=order)


def network() -> Run:
    """`MANN.loss` and its gradient."""
    torch.manual_seed(0)
    controller = MANNController(ITEM + N_WAY, HIDDEN, SLOTS, WIDTH, num_reads=HEADS)
    learner, tasks = MANN(None, controller, N_WAY), streams()

    def run() -> list[Tensor]:
        learner.zero_grad()
        learner.loss(tasks).backward()
        return []

    return run


def arithmetic() -> Run:
    """The same sizes, forward and backward, with nothing that waits for the step before."""
    torch.manual_seed(0)
    x = torch.rand(LENGTH, N_STREAMS, ITEM + N_WAY + HEADS * WIDTH)
    lstm = nn.LSTM(x.shape[2], HIDDEN)
    heads = nn.Linear(HIDDEN, HEADS * (2 * WIDTH + 2))
    head = nn.Linear(HIDDEN + HEADS * WIDTH, N_WAY)
    memory = torch.rand(N_STREAMS, SLOTS, WIDTH, requires_grad=True)
    weights = torch.rand(N_STREAMS, HEADS, SLOTS, requires_grad=True)

    def one_step(hidden: Tensor) -> tuple[Tensor, Tensor]:
        numbers = heads(hidden).unflatten(1, (HEADS, -1))
        key, vector, rest = numbers.split([WIDTH, WIDTH, 2], dim=2)
        key, vector, rest = torch.tanh(key), torch.tanh(vector), torch.sigmoid(rest)
        free = F.one_hot(memory[:, :, 0].detach().topk(HEADS, dim=1).indices, SLOTS).float()
        write = rest[:, :, :1] * weights + (1 - rest[:, :, :1]) * free
        written = memory * (1 - free.sum(dim=1))[..., None] + write.transpose(1, 2) @ vector
        cosine = F.normalize(key, dim=2) @ F.normalize(memory, dim=2).transpose(1, 2)
        read = torch.softmax(rest[:, :, 1:] * cosine, dim=2)
        return torch.cat([hidden, (read @ memory).flatten(1)], dim=1), written

    def run() -> list[Tensor]:
        for module in (lstm, heads, head):
            module.zero_grad()
        hidden, _ = lstm(x)
        outputs, written = zip(*(one_step(h) for h in hidden), strict=True)
        scores = head(torch.stack(outputs))
        torch.autograd.backward([scores, *written], [scores.detach(), *written])
        return []

    return run


WORKLOADS = {
    "6-mann-50steps-16streams": Workload(
        {"LSTM and bare arithmetic": arithmetic, "MANN": network},
        (Aim("MANN", "LSTM and bare arithmetic", 0.5),),
    )
}
