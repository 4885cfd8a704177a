"""A transformer that learns in its context: examples go in, answers come out, no weight changes.

Every item is a token. A context item is (x, y); a query is x, with a learned "what is y?" for y.
There are no positions, so the order of the context cannot matter. In each layer, every token looks
at the context, and a query also looks at itself:

    token i may see token j     if j is in the context, or j = i

So queries never see each other, and a batch may hold tasks with contexts of every size: only the
mask differs. Introduced in notebook 10.

It is the prior-data fitted network of Muller et al. (2022), with a mean and a standard deviation
instead of their bins; Garg et al. (2022) train a causal one with positions. For classes, y is a
one-hot label and the answer a score for each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_integer
from .in_context import InContextLearner

__all__ = ["InContextTransformer"]


class AttentionBlock(nn.Module):
    """Attention to the tokens that the mask allows, then a small network on each token.

    Normalisation comes before each half, and the output of the half is added to its input (Xiong et
    al. 2020).
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, may_see: Tensor) -> Tensor:
        """Tokens (T, L, width), and a mask (T, 1, L, L) of who sees whom, to (T, L, width)."""
        qkv = self.query_key_value(self.norm_1(tokens))
        q, k, v = qkv.unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # (T, H, L, *)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=may_see)
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        return tokens + self.think(self.norm_2(tokens))


class InContextTransformer(InContextLearner):
    """Regression or classification in one pass over the context and the queries.

    Args:
        input_dim: numbers in one item, after `item_encoder`.
        output_dim: n_way for classification, the width of the targets for regression.
        width: numbers in a token; a multiple of n_heads.
        n_layers: blocks of attention.
        n_heads: heads of each block.
        regression: targets are numbers; the answer is a mean and a standard deviation.
        min_std: the floor of the standard deviation, in units of the targets.
        item_encoder: a module from items (B, *item) to (B, input_dim); default: flatten them.
        every_size: train on every size of the context at once.
    Raises:
        ValueError: a width that is nott an integer of at least 1 or not a multiple of n_heads, or a
            floor that is not above 0.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        width: int = 64,
        *,
        n_layers: int = 4,
        n_heads: int = 4,
        regression: bool = True,
        min_std: float = 0.05,
        item_encoder: nn.Module | None = None,
        every_size: bool = False,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            regression=regression,
            min_std=min_std,
            item_encoder=item_encoder,
            every_size=every_size,
        )
        for name, count in (("n_layers", n_layers), ("width", width)):
            as_integer(name, count)
        if width % as_integer("n_heads", n_heads):
            raise ValueError(f"width must be a multiple of n_heads = {n_heads}, got {width}")
        self.read_x = nn.Linear(input_dim, width)
        self.read_y = nn.Linear(output_dim, width, bias=False)
        self.what_is_y = nn.Parameter(torch.randn(width) / width**0.5)
        self.blocks = nn.ModuleList(AttentionBlock(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.n_said)

    def answers(self, x: Tensor, y: Tensor, is_context: Tensor) -> Tensor:
        """Scores, or means and standard deviations; see `InContextLearner.answers`."""
        tokens = self.tokens(x, y, is_context)
        may_see = self.may_see(is_context)
        for block in self.blocks:
            tokens = block(tokens, may_see)
        return self.with_std(self.head(self.norm(tokens)))

    def tokens(self, x: Tensor, y: Tensor, is_context: Tensor) -> Tensor:
        """(T, L, width): x and y for the context, x and a question for the others."""
        second = torch.where(is_context[..., None], self.read_y(y), self.what_is_y)
        return self.read_x(self.embed(x)) + second

    @staticmethod
    def may_see(is_context: Tensor) -> Tensor:
        """(T, 1, L, L): whether token i, along the rows, may see token j."""
        itself = torch.eye(is_context.shape[1], dtype=torch.bool, device=is_context.device)
        return (is_context[:, None, :] | itself)[:, None]
