"""Fine-tuning: some gradient steps from a network that somebody trained, on all or few numbers.

The steps are MAML's inner loop; there need be no outer one. A last layer for the classes of the
task starts at 0, and with it move:

    head      nothing else
    biases    the biases                                            (Ben Zaken et al. 2022)
    film      a scale and a shift after each normalisation          (Perez et al. 2018)
    lora      W + B A instead of each matrix W, B (out, rank) from 0, A (rank, in)  (Hu et al. 2021)
    all       every weight

What is unusual: FiLM and LoRA need no layers of their own here. What they do to the network is the
same as to change its weights, so the few numbers move, and the weights follow from them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import MLP, ConvNet
from ..basics.arguments import as_choice, as_integer
from ..engine import Change, Params
from ..engine.losses import as_function
from .classes import embed_to_width
from .maml import MAML
from .modes import eval_mode

__all__ = ["FiLM", "FineTuned", "LowRank"]

MOVING = ("head", "biases", "film", "lora", "all")

NORMS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)
UNITS: tuple[type[nn.Module], ...] = (nn.Linear, nn.modules.conv._ConvNd)


class FineTuned(MAML):
    """A given encoder and a new last layer, tuned on each support set.

    It is inductive, takes any number of ways, and leaves the encoder as it is. The outer loop may
    train it: it is MAML then, and with "lora" it learns the matrices A too.

    Args:
        encoder: maps items (B, *item) to embeddings (B, embedding_dim).
        embedding_dim: numbers in an embedding.
        moving: "head", "biases", "film", "lora" or "all".
        inner_lr: step size; what suits "all" need not suit few numbers.
        num_inner_steps: gradient steps. The first moves the last layer alone, which is at 0 then.
        rank: of "lora".
        options: meta_lr, loss_fn, first_order, num_test_steps, max_inner_grad_norm,
            inner_optimizer and batch_norm, as for MAML.
    Raises:
        ValueError: an unknown `moving`, a number out of bounds, an encoder without such numbers, or
            as MAML does.
    """

    def __init__(
        self,
        encoder: nn.Module,
        embedding_dim: int,
        moving: str = "all",
        inner_lr: float = 0.1,
        num_inner_steps: int = 20,
        *,
        rank: int = 4,
        **options: Any,
    ) -> None:
        as_choice("moving", moving, MOVING)
        encoder = as_function("encoder", encoder)
        head = nn.Linear(as_integer("embedding_dim", embedding_dim), 1)
        head.to(next(encoder.parameters(), head.weight))  # its device and dtype
        model = nn.Sequential(OrderedDict(encoder=encoder, head=head))
        which = ["head", *(_biases(encoder) if moving == "biases" else [])]
        super().__init__(
            model,
            inner_lr,
            num_inner_steps=num_inner_steps,
            zero_head=True,
            inner_params=None if moving == "all" else which,
            **options,
        )
        self._moving, self.embedding_dim, self._fits = moving, embedding_dim, False
        self.change: Change | None = None
        if moving == "lora":
            self.change = LowRank(self.model, as_integer("rank", rank))
        elif moving == "film":
            self.change = FiLM(self.model)
        self._network.change = self.change

    @property
    def moving(self) -> str:
        """What moves; for something else, build another learner on the same encoder."""
        return self._moving

    def n_moving(self, n_way: int) -> int:
        """How many numbers move in a task of n_way classes, those of the last layer included."""
        start = self._network.start()
        in_encoder = [p.numel() for n, p in start.items() if n.startswith("encoder.")]
        return sum(in_encoder) + as_integer("n_way", n_way, 2) * (self.embedding_dim + 1)

    def learn_task(
        self, support_x: Tensor, support_y: Tensor, num_inner_steps: int | None = None
    ) -> Params:
        """The numbers that have moved, of T tasks, each with a leading task axis."""
        encoder = self.model.get_submodule("encoder")
        if isinstance(encoder, MLP | ConvNet):
            encoder.check_items(support_x.flatten(0, 1))
        if not self._fits:
            with torch.no_grad(), eval_mode(self):
                embed_to_width(encoder, support_x[:1], self.embedding_dim, "embedding_dim")
            self._fits = True
        return super().learn_task(support_x, support_y, num_inner_steps)

    def weights(self, support_x: Tensor, support_y: Tensor) -> Params:
        """All weights of the network after tuning it on ONE task: (S, *item), (S,).

        For `torch.func.functional_call(learner.model, weights, (x,))`.
        """
        moved = self.inner_loop(support_x, support_y)
        if self.change is not None:
            of_one_task = {name: p[None] for name, p in moved.items()}
            moved = {n: p[0] for n, p in self.change.weights(self.model, of_one_task).items()}
        return dict(self.model.named_parameters()) | moved


def _biases(encoder: nn.Module) -> list[str]:
    names = [name for name, _ in encoder.named_parameters()]
    found = [f"encoder.{name}" for name in names if "bias" in name.rpartition(".")[2]]
    if not found:
        raise ValueError(f"moving is biases, but the encoder has none; it has {_listed(names)}")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) or "no parameter"


# ------------------------------------------------------------------ few numbers for many


class LowRank(nn.Module):
    """LoRA: each matrix W (out, in) of the encoder becomes W + B A.

    A convolution's kernel (out, channels, height, width) counts as a matrix with
    in = channels * height * width. B starts at 0, so that nothing changes at first.

    Args:
        model: with an `encoder`.
        rank: rows of A and columns of B: rank * (in + out) numbers a matrix.
    """

    def __init__(self, model: nn.Module, rank: int) -> None:
        super().__init__()
        matrices = {n: p for n, p in _of_encoder(model).items() if p.ndim > 1}
        if not matrices:
            names = [*_of_encoder(model)]
            raise ValueError(
                f"moving is lora, but the encoder has no matrix; it has {_listed(names)}"
            )
        self.names = tuple(matrices)
        self.down = nn.ParameterList(_small(p, rank) for p in matrices.values())

    def start(self, model: nn.Module) -> Params:
        """A as it is and B at 0, by the name of their matrix."""
        own, params = _of_encoder(model), {}
        for name, down in zip(self.names, self.down, strict=True):
            params[f"{name}..A"] = down
            params[f"{name}..B"] = own[name].new_zeros(len(own[name]), len(down)).requires_grad_()
        return params

    def weights(self, model: nn.Module, params: Params) -> Params:
        """W + B A of T tasks."""
        own, params = _of_encoder(model), dict(params)
        for name in self.names:
            change = params.pop(f"{name}..B") @ params.pop(f"{name}..A")  # (T, out, in)
            params[name] = params.get(name, own[name]) + change.view(-1, *own[name].shape)
        return params


def _small(weight: Tensor, rank: int) -> nn.Parameter:
    """Rows (rank, in) of about length 1."""
    n_in = weight[0].numel()
    rows = torch.randn(rank, n_in, dtype=weight.dtype, device=weight.device)
    return nn.Parameter(rows / n_in**0.5)


class FiLM:
    """Each unit's output h becomes (1 + gamma) h + beta, where gamma and beta start at 0.

    It comes after each normalisation with a scale of its own; in an encoder without any, after each
    linear layer and convolution. A layer without a bias is scaled only.

    Args:
        model: with an `encoder`.
    """

    def __init__(self, model: nn.Module) -> None:
        names = {id(p): name for name, p in model.named_parameters()}
        self.layers: dict[str, tuple[torch.Size, str | None]] = {}
        for layer in _film_layers(model.get_submodule("encoder")):
            weight = layer.get_parameter("weight")
            bias = names.get(id(layer._parameters.get("bias")))  # of the layer, or there is none
            shape = weight.shape if isinstance(layer, NORMS) else weight.shape[:1]
            self.layers[names[id(weight)]] = shape, bias
        if not self.layers:
            raise ValueError(
                "moving is film, but the encoder has no normalisation with a scale, no linear "
                "layer and no convolution"
            )

    def start(self, model: nn.Module) -> Params:
        """gamma and beta at 0, by the name of the weight and the bias that they change."""
        own, params = _of_encoder(model), {}
        for weight, (shape, bias) in self.layers.items():
            params[f"{weight}..gamma"] = own[weight].new_zeros(shape).requires_grad_()
            if bias is not None:
                params[f"{bias}..beta"] = torch.zeros_like(own[bias]).requires_grad_()
        return params

    def weights(self, model: nn.Module, params: Params) -> Params:
        """(1 + gamma) w and (1 + gamma) b + beta of T tasks."""
        own, params = _of_encoder(model), dict(params)
        for weight, (_, bias) in self.layers.items():
            scale = 1 + params.pop(f"{weight}..gamma")
            if bias is not None:
                shift = params.pop(f"{bias}..beta")
                params[bias] = scale * params.get(bias, own[bias]) + shift
            wide = scale.view(*scale.shape, *[1] * (own[weight].ndim + 1 - scale.ndim))
            params[weight] = wide * params.get(weight, own[weight])
        return params


def _film_layers(encoder: nn.Module) -> list[nn.Module]:
    scaled = [layer for layer in encoder.modules() if layer._parameters.get("weight") is not None]
    after_norms = [layer for layer in scaled if isinstance(layer, NORMS)]
    return after_norms or [layer for layer in scaled if isinstance(layer, UNITS)]


def _of_encoder(model: nn.Module) -> Params:
    """The encoder's own parameters, by their names in the model."""
    return {n: p for n, p in model.named_parameters() if n.startswith("encoder.")}
