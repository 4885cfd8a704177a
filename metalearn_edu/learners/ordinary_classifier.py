"""An ordinary classifier: is its embedding all that few shots need?

Chen et al. (2019), Tian et al. (2020), Chen et al. (2021).

    training    one softmax over ALL meta-training classes, as if there were no episodes
    in use      that last layer is dropped; a rule that learns nothing new about embeddings tells
                the classes of a task apart by the embeddings of its few shots

What is unusual: nothing in training knows of tasks. A batch of episodes is a batch of pictures to
it, support and query items alike, and the label of a picture is the number of its class in the data
set (`EpisodeBatch.classes`), the same in every batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from ..basics.arguments import as_choice, as_integer, as_number
from ..engine.losses import as_function
from ..tasks import EpisodeBatch
from .base import MetaLearner
from .checks import one_hot_of_every_class
from .classes import class_means, embed_to_width
from .prototypical import cosine, squared_euclidean
from .ridge_head import ridge_weights, with_ones

__all__ = ["OrdinaryClassifier", "logistic_weights"]

TEMPERATURE = 0.1
"""Of cosine scores, which lie between -1 and 1."""


class OrdinaryClassifier(MetaLearner):
    """An encoder trained by ordinary classification, and a rule on its embeddings for each task.

    Rules: "nearest_mean", the class whose mean is nearest (squared Euclidean distance, as in a
    Prototypical Network); "cosine", the class whose mean points in the most similar direction;
    "logistic" and "ridge", a linear layer fitted to the support set, on embeddings of length 1.

    Args:
        encoder: maps items (B, *item) to embeddings (B, embedding_dim).
        embedding_dim: numbers in an embedding.
        n_classes: classes of meta-training; turned ones count (`rotations` of EpisodeSampler).
        rule: which of them; `with_rule` gives the same network another.
        strength: of the penalty on the weights of "logistic" and "ridge".
    Raises:
        ValueError: an unknown rule, or a number out of bounds.
    """

    def __init__(
        self,
        encoder: nn.Module,
        embedding_dim: int,
        n_classes: int,
        rule: str = "nearest_mean",
        strength: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = as_function("encoder", encoder)
        self.embedding_dim = as_integer("embedding_dim", embedding_dim)
        self.n_classes = as_integer("n_classes", n_classes, 2)
        self._rule = as_choice("rule", rule, RULES)
        self.strength = as_number("strength", strength, above=0)
        self.head = nn.Linear(embedding_dim, n_classes)

    @property
    def rule(self) -> str:
        """The name of the rule; it stays, because predictors that are in use depend on it."""
        return self._rule

    def with_rule(self, rule: str, strength: float | None = None) -> OrdinaryClassifier:
        """A learner with the same encoder and last layer (not copies) and another rule."""
        strength = self.strength if strength is None else strength
        other = OrdinaryClassifier(self.encoder, self.embedding_dim, self.n_classes, rule, strength)
        other.head, other.training = self.head, self.training
        return other

    def embed(self, x: Tensor) -> Tensor:
        """Items (T, B, *item) to embeddings (T, B, embedding_dim)."""
        return embed_to_width(self.encoder, x, self.embedding_dim, "embedding_dim")

    # -------------------------------------------------------------- training, without tasks

    def loss(self, episodes: EpisodeBatch) -> Tensor:
        """`loss_fn` of all items among all n_classes, a scalar.

        Raises:
            ValueError: the batch does not say which classes of the data set its items are of, or
                there are more than n_classes.
        """
        episodes = self._taken(episodes)
        numbers = self._class_numbers(episodes)
        return self._score_loss(self.head(self.embed(episodes.stream()[0])), numbers)

    def _class_numbers(self, episodes: EpisodeBatch) -> Tensor:
        """(T, S + Q): the data set's class of each item of the stream."""
        classes = episodes.classes
        if classes is None:
            raise ValueError(
                "an ordinary classifier learns the classes of the data set: the batch must have "
                "`classes`, as those of EpisodeSampler do"
            )
        if int(classes.min()) < 0 or int(classes.max()) >= self.n_classes:
            raise ValueError(
                f"n_classes is {self.n_classes}, but the batch has classes {int(classes.min())} to "
                f"{int(classes.max())} of its data set; with rotations there are 4 for each class"
            )
        return classes.gather(1, episodes.stream()[1])

    # -------------------------------------------------------------- use

    def learn_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """What the rule keeps: the class means (T, n_way, d), or weights (T, d + 1, n_way)."""
        return RULES[self.rule][0](self.embed(support_x), support_y, self.strength)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        """Scores (T, Q, n_way) by the rule."""
        return RULES[self.rule][1](self.embed(query_x), state)


# ------------------------------------------------------------------ the rules


def logistic_weights(z: Tensor, one_hot: Tensor, strength: float) -> Tensor:
    """The W with the least cross-entropy(z W, labels) + strength / 2 * |W|^2 of each task.

    By Nesterov's accelerated gradient, whose number of steps for nine digits is known beforehand:
    the second derivatives lie between `strength` and |z|^2 / 2 + strength.

    Args:
        z: (T, S, d).
        one_hot: (T, S, n_way).
        strength: above 0.
    Returns:
        (T, d, n_way).
    Source: Nesterov (2004), section 2.2.
    """
    steepest = z.square().sum(dim=-1).amax(dim=1)[:, None, None] / 2 + strength  # (T, 1, 1)
    root = (strength / steepest).sqrt()
    momentum = (1 - root) / (1 + root)
    before = ahead = z.new_zeros(len(z), z.shape[-1], one_hot.shape[-1])
    for _ in range(math.ceil(20 / root.min().item())):
        slope = z.mT @ ((z @ ahead).softmax(dim=-1) - one_hot) / z.shape[1] + strength * ahead
        now = ahead - slope / steepest
        before, ahead = now, now + momentum * (now - before)
    return before


def _means(z: Tensor, y: Tensor, _: float) -> Tensor:
    return class_means(z, y)


def _logistic(z: Tensor, y: Tensor, strength: float) -> Tensor:
    return logistic_weights(_length_1(z), one_hot_of_every_class(y).to(z.dtype), strength)


def _ridge(z: Tensor, y: Tensor, strength: float) -> Tensor:
    return ridge_weights(_length_1(z), one_hot_of_every_class(y).to(z.dtype), strength)


def _length_1(z: Tensor) -> Tensor:
    """Embeddings (T, B, d), each divided by its length, with a column of ones."""
    return with_ones(F.normalize(z, dim=-1))


RULES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "nearest_mean": (_means, lambda z, means: -squared_euclidean(z, means)),
    "cosine": (_means, lambda z, means: -cosine(z, means) / TEMPERATURE),
    "logistic": (_logistic, lambda z, weights: _length_1(z) @ weights),
    "ridge": (_ridge, lambda z, weights: _length_1(z) @ weights),
}
"""By name: from embeddings and labels of the support set to what is kept, and from embeddings of
queries and that to scores."""
