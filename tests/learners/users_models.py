"""Networks as users bring them, from items (4,) to 3 scores."""

import torch
from torch import nn

from metalearn_edu.tasks import EpisodeBatch

N_WAY = 3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes(item=(4,), n_tasks=2, n_shot=2):
    """Of 3 classes, whose items are in another order in each task."""
    generator = torch.Generator().manual_seed(0)
    keys = [torch.rand(n_tasks, N_WAY * n, generator=generator) for n in (n_shot, 2)]
    labels = [torch.arange(N_WAY).repeat(k.shape[1] // N_WAY)[k.argsort(1)] for k in keys]
    x = [draw(*y.shape, *item, seed=i) for i, y in enumerate(labels)]
    return EpisodeBatch(x[0], labels[0], x[1], labels[1])


def weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.read = nn.Linear(5, N_WAY), nn.GRU(2, 5, batch_first=True)

    def forward(self, x):
        return self.last(self.read(x.unflatten(1, (2, 2)))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 6), nn.Linear(6, N_WAY)
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        z = self.first(x.unflatten(1, (2, 2)))
        return {"logits": self.last(torch.tanh(z + self.attend(z, z, z)[0]).mean(1))}


class TiedParts(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, N_WAY)
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        second.weight = first.weight
        self.body = nn.Sequential(first, nn.Tanh(), second, nn.Tanh())
        self.alias = self.body

    def forward(self, x):
        return self.last(self.alias(x)), x


MODELS = {"recurrent": Recurrent, "attention": Attentive, "tied parts": TiedParts}
