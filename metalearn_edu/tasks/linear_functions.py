"""Linear functions with random weights and noise: a family whose best answer is known.

y = <w, x> + noise, with normal w, x and noise. Its exact posterior is ridge regression, and it has
been the test bed of in-context learning since Garg et al. (2022). Introduced in notebook 10.

With `n_functions` there are only that many different w, drawn once: a meta-learner can learn them
by heart, or learn what they have in common (Raventos et al. 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..basics.arguments import as_integer, as_number, if_given
from ..basics.random import normals, seed_apart, uniforms
from .episodes import EpisodeBatch
from .sampler import TaskSource

__all__ = ["LinearFunctions"]

INPUTS = ("normal", "uniform")


class LinearFunctions(TaskSource):
    """Regression tasks: find w from n_shot pairs (x, <w, x> + noise).

    Args:
        n_shot: support points per task.
        n_query: query points per task.
        input_dim: d, the numbers in x and in w.
        noise_std: standard deviation of the noise, of support and query targets alike.
        prior_mean: mean of every number of w; its standard deviation is 1.
        inputs: "normal", x ~ N(0, I), or "uniform", each number of x in [-1, 1).
        n_functions: draw w from a fixed list of this many; None: a new w for each task.
        functions_seed: of that list.
    Raises:
        ValueError: a count below 1, a negative noise, or unknown inputs.
    """

    def __init__(
        self,
        n_shot: int = 15,
        n_query: int = 10,
        input_dim: int = 8,
        *,
        noise_std: float = 0.5,
        prior_mean: float = 0.0,
        inputs: str = "normal",
        n_functions: int | None = None,
        functions_seed: int = 0,
    ) -> None:
        self.n_shot: int = as_integer("n_shot", n_shot)
        self.n_query: int = as_integer("n_query", n_query)
        self.input_dim = as_integer("input_dim", input_dim)
        self.noise_std = as_number("noise_std", noise_std, at_least=0)
        self.prior_mean = as_number("prior_mean", prior_mean)
        if inputs not in INPUTS:
            raise ValueError(f"inputs must be {' or '.join(INPUTS)}, got {inputs!r}")
        self.inputs = inputs
        self.n_functions = if_given(as_integer, "n_functions", n_functions)
        self.functions_seed = as_integer("functions_seed", functions_seed, None)

    def functions(self) -> Tensor:
        """The fixed list of w, (n_functions, d) float64.

        Raises:
            ValueError: there is none: each task has a new w.
        """
        if self.n_functions is None:
            raise ValueError("each task has a w of its own; n_functions=M makes a list of M")
        drawn = normals(self.functions_seed, 0, self.n_functions, self.input_dim)
        return self.prior_mean + torch.from_numpy(drawn)

    def weights(self, seed: int, start: int, n_tasks: int) -> Tensor:
        """w of episodes start .. start + n_tasks - 1, (T, d) float64."""
        if self.n_functions is None:
            drawn = normals(seed_apart(seed, 1), start, n_tasks, self.input_dim)
            return self.prior_mean + torch.from_numpy(drawn)
        place = uniforms(seed_apart(seed, 1), start, n_tasks, 1)[:, 0] * self.n_functions
        return self.functions()[torch.from_numpy(place).long()]

    def episodes(self, seed: int, start: int, n_tasks: int) -> EpisodeBatch:
        """Episodes start .. start + n_tasks - 1 of `seed`; items are (d,), targets (1,)."""
        n_items, d = self.n_shot + self.n_query, self.input_dim
        w = self.weights(seed, start, n_tasks)
        if self.inputs == "normal":
            x = torch.from_numpy(normals(seed_apart(seed, 2), start, n_tasks, n_items * d))
        else:
            x = 2 * torch.from_numpy(uniforms(seed_apart(seed, 2), start, n_tasks, n_items * d)) - 1
        x = x.unflatten(1, (n_items, d))
        noise = torch.from_numpy(normals(seed_apart(seed, 3), start, n_tasks, n_items))
        y = torch.einsum("tld,td->tl", x, w) + self.noise_std * noise
        x, y, k = x.float(), y[..., None].float(), self.n_shot
        return EpisodeBatch(x[:, :k], y[:, :k], x[:, k:], y[:, k:])

    def __repr__(self) -> str:
        which = "" if self.n_functions is None else f", {self.n_functions} functions"
        listed = "" if self.n_functions is None else f" of seed {self.functions_seed}"
        mean = f", mean {self.prior_mean}" if self.prior_mean else ""
        return (
            f"LinearFunctions({self.n_shot} support and {self.n_query} query points, "
            f"{self.input_dim} numbers, {self.inputs}, noise {self.noise_std}{mean}{which}{listed})"
        )
