"""The algorithms that `metalearn-edu train` knows, one entry each, with their own settings.

Nothing here loads PyTorch before a learner is built: the options of the command line come from
these settings, and `--help` must not wait.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .recipe import ALGORITHMS, FUNCTIONS, Algorithm, Recipe
from .settings import MANY, WIDE, amount, either, one_of, step_size, whole

if TYPE_CHECKING:
    from ..backbones import MLP, ConvNet
    from ..learners import MAML, MetaLearner

__all__ = ["ALGORITHMS"]

Shape = tuple[int, ...]

# `study` and `classes_per_step` were measured once, in processor time on one thread, on 200 classes
# of Glyphs, for 40 s a training: 47 ms a step for prototypical and ridge-head, 96 relation, 41 maml
# and meta-sgd in 5-way episodes (29 in 20-way), 20 ordinary-classifier, 26 task-conditioned, 151
# mann in 5-way streams (293 in 20-way: twice the time of the others). The step sizes are the best
# of two or three on meta-val. Many small steps did better in the same time than few large ones;
# mann needs larger ones.

WAVES = {"n_shot": 10, "n_query": 20, "n_tasks_per_batch": 25, "meta_lr": 5e-3, "n_steps": 3000}


# ---------------------------------------------------------------- what several share


@dataclass(frozen=True)
class InnerLoop(Recipe):
    """Of all that adapt by gradient descent."""

    inner_lr: float = step_size(0.4, "Step size of the inner loop.")
    num_inner_steps: int = whole(1, 0, 10_000, "Inner steps in training.", flag="inner-steps")
    num_test_steps: int = whole(3, 0, 10_000, "Inner steps in testing.", flag="test-steps")


@dataclass(frozen=True)
class FirstOrder(InnerLoop):
    """Of maml, meta-sgd, anil and boil."""

    first_order: bool = either(
        False, "first-order", "second-order", "Whether the outer gradient leaves out curvature."
    )


@dataclass(frozen=True)
class ZeroHead(InnerLoop):
    """Of maml, meta-sgd, anil and imaml."""

    zero_head: bool = either(
        False, "zero-head", "learned-head", "Where the last layer starts in each task."
    )


@dataclass(frozen=True)
class GradientBased(ZeroHead, FirstOrder):
    """Of maml, meta-sgd and anil."""


@dataclass(frozen=True)
class WithHidden(Recipe):
    """Of mann and task-conditioned."""

    hidden_dim: int = whole(128, 1, WIDE, "Hidden units.")


def _image_size(item_shape: Shape) -> Any:
    """Height and width as the backbones take them: one number if they are equal."""
    _, height, width = item_shape
    return width if height == width else (height, width)


def _image_model(recipe: Recipe, item_shape: Shape, output_dim: int | None) -> MLP | ConvNet:
    import torch

    from ..backbones import MLP, ConvNet

    if recipe.backbone == "mlp":
        return MLP(math.prod(item_shape), [recipe.width] * 2, output_dim or recipe.width)
    grows = recipe.backbone == "pyramid"
    network = ConvNet(
        item_shape[0],
        [k * recipe.width for k in (1, 2, 3, 4)] if grows else recipe.width,
        output_dim,
        image_size=_image_size(item_shape),
        downsample=recipe.downsample,
        norm=recipe.norm,
        n_halvings=3 if grows else None,
    )
    # Channels last in memory are a quarter faster with batch normalisation; the numbers are the
    # same.
    layout = torch.channels_last if grows else torch.contiguous_format
    return network.to(memory_format=layout)  # type: ignore[call-overload]


# ---------------------------------------------------------------- prototypical


@dataclass(frozen=True)
class Prototypical(Recipe):
    """Of prototypical."""

    test_views: int = whole(1, 1, 1000, "Views of an image, averaged in testing; see Views.")


def _prototypical(recipe: Prototypical, item_shape: Shape) -> MetaLearner:
    from ..learners import PrototypicalNetwork
    from ..learners.prototypical import Views

    encoder = _image_model(recipe, item_shape, None)
    views = recipe.test_views
    return PrototypicalNetwork(Views(encoder, views) if views > 1 else encoder)


ALGORITHMS["prototypical"] = Algorithm(
    "ProtoNet",
    "prototypical.PrototypicalNetwork",
    _prototypical,
    Prototypical,
    {"train_way": 60, "n_tasks_per_batch": 1, "width": 48, "n_steps": 3000},
    study={"n_steps": 850, "meta_lr": 4e-3},
)


# ---------------------------------------------------------------- relation


@dataclass(frozen=True)
class Relation(Recipe):
    """Of relation."""

    aggregate: str = one_of("mean", ("sum", "mean"), "How the shots of a class become one.")
    objective: str = one_of(
        "cross_entropy", ("mse", "cross_entropy"), "The loss; mse is the published one."
    )

    def look_at(self, given: Collection[str]) -> None:
        if "downsample" in given:
            text = "--downsample changes nothing for relation, which keeps maps"
            warnings.warn(text, stacklevel=2)
        if self.backbone == "pyramid":
            raise ValueError("backbone pyramid is not for relation, which has conv or mlp")


def _relation(recipe: Relation, item_shape: Shape) -> MetaLearner:
    from ..learners import RelationNetwork

    options: dict[str, Any] = {"aggregate": recipe.aggregate, "objective": recipe.objective}
    if recipe.backbone == "mlp":
        return RelationNetwork(math.prod(item_shape), recipe.width, **options)
    options |= {"image_size": _image_size(item_shape), "norm": recipe.norm}
    return RelationNetwork.convolutional(item_shape[0], recipe.width, **options)


ALGORITHMS["relation"] = Algorithm(
    "Relation Network",
    "relation.RelationNetwork",
    _relation,
    Relation,
    {"train_way": 20, "n_tasks_per_batch": 1, "n_steps": 3000},
    variant="cross-entropy",
    study={"n_steps": 410, "meta_lr": 4e-3},
)


# ---------------------------------------------------------------- maml and its kind


def _inner_loop(
    learner: type[MAML], recipe: InnerLoop, item_shape: Shape, **settings: Any
) -> MetaLearner:
    import torch.nn.functional as F

    from ..learners import MAMLModel

    regression = recipe.data in FUNCTIONS
    numbers = math.prod(item_shape)
    model = (
        MAMLModel(numbers, 40, 1) if regression else _image_model(recipe, item_shape, recipe.n_way)
    )
    return learner(
        model,
        recipe.inner_lr,
        recipe.meta_lr,
        recipe.num_inner_steps,
        F.mse_loss if regression else F.cross_entropy,
        num_test_steps=recipe.num_test_steps,
        **settings,
    )


def _gradient_based(learner: type[MAML], recipe: GradientBased, item_shape: Shape) -> MetaLearner:
    own = {"first_order": recipe.first_order, "zero_head": recipe.zero_head}
    return _inner_loop(learner, recipe, item_shape, **own)


def _maml(recipe: GradientBased, item_shape: Shape) -> MetaLearner:
    from ..learners import MAML

    return _gradient_based(MAML, recipe, item_shape)


def _meta_sgd(recipe: GradientBased, item_shape: Shape) -> MetaLearner:
    from ..learners import MetaSGD

    return _gradient_based(MetaSGD, recipe, item_shape)


def _anil(recipe: GradientBased, item_shape: Shape) -> MetaLearner:
    from ..learners import ANIL

    return _gradient_based(ANIL, recipe, item_shape)


def _boil(recipe: FirstOrder, item_shape: Shape) -> MetaLearner:
    from ..learners import BOIL

    return _inner_loop(BOIL, recipe, item_shape, first_order=recipe.first_order)


@dataclass(frozen=True)
class OfReptile(InnerLoop):
    """Of reptile."""

    inner_optimizer: str = one_of("sgd", ("sgd", "adam"), "Rule of the inner steps.")
    inner_batch_size: int | None = whole(
        None, 1, MANY, "Items of an inner step in training; default: all of the task."
    )
    with_queries: bool = either(
        True, "with-queries", "support-alone", "Train on a task's query items too."
    )
    outer_optimizer: str = one_of(
        "adam", ("adam", "sgd"), "Rule of the outer steps; sgd: interpolation, as published."
    )


def _reptile(recipe: OfReptile, item_shape: Shape) -> MetaLearner:
    from functools import partial

    from torch.optim import SGD, Adam

    from ..learners import Reptile

    rules = {"sgd": SGD, "adam": partial(Adam, betas=(0.0, 0.999))}  # without momentum: published
    return _inner_loop(
        Reptile,
        recipe,
        item_shape,
        inner_optimizer=rules[recipe.inner_optimizer],
        inner_batch_size=recipe.inner_batch_size,
        with_queries=recipe.with_queries,
        outer_optimizer=recipe.outer_optimizer,
    )


@dataclass(frozen=True)
class Imaml(ZeroHead):
    """Of imaml."""

    lam: float = step_size(2.0, "Lambda, the pull of the inner loop to its start.", flag="lambda")
    num_cg_steps: int = whole(
        5, 1, 10_000, "Steps of conjugate gradients for the outer gradient.", flag="cg-steps"
    )


def _imaml(recipe: Imaml, item_shape: Shape) -> MetaLearner:
    from ..learners import IMAML

    own = {"lam": recipe.lam, "num_cg_steps": recipe.num_cg_steps, "zero_head": recipe.zero_head}
    return _inner_loop(IMAML, recipe, item_shape, **own)


ONE_STEP_OF_THE_HEAD = {
    "downsample": "stride",
    "inner_lr": 2.0,
    "num_test_steps": 1,
    "zero_head": True,
    "n_steps": 5000,
}
FIVE_STEPS = WAVES | {"inner_lr": 0.01, "num_inner_steps": 5, "num_test_steps": 5}

IN_A_STUDY: dict[str, Any] = {
    "variant": "zero head, 1 step",
    "study": {"n_steps": 1000, "meta_lr": 4e-3},
    "classes_per_step": 20,
}

ALGORITHMS["maml"] = Algorithm(
    "MAML",
    "maml.MAML",
    _maml,
    GradientBased,
    ONE_STEP_OF_THE_HEAD,
    FIVE_STEPS,
    **IN_A_STUDY,
)
ALGORITHMS["meta-sgd"] = Algorithm(
    "Meta-SGD",
    "meta_sgd.MetaSGD",
    _meta_sgd,
    GradientBased,
    ONE_STEP_OF_THE_HEAD,
    FIVE_STEPS,
    **IN_A_STUDY,
)


LEARNED_HEAD = {"downsample": "stride", "n_steps": 3000}
ALGORITHMS["anil"] = Algorithm(
    "ANIL",
    "anil.ANIL",
    _anil,
    GradientBased,
    LEARNED_HEAD | {"inner_lr": 0.4, "num_inner_steps": 3, "num_test_steps": 3},
    FIVE_STEPS,
)
ALGORITHMS["boil"] = Algorithm(
    "BOIL",
    "anil.BOIL",
    _boil,
    FirstOrder,
    LEARNED_HEAD | {"inner_lr": 0.4, "num_inner_steps": 1, "num_test_steps": 1},
    FIVE_STEPS,
)
ALGORITHMS["reptile"] = Algorithm(
    "Reptile",
    "reptile.Reptile",
    _reptile,
    OfReptile,
    LEARNED_HEAD
    | {
        "inner_optimizer": "adam",
        "inner_lr": 1e-3,
        "inner_batch_size": 10,
        "num_inner_steps": 5,
        "num_test_steps": 50,
        "n_query": 9,
        "n_tasks_per_batch": 5,
    },
    WAVES | {"inner_lr": 0.02, "num_inner_steps": 10, "num_test_steps": 32},
)
ALGORITHMS["imaml"] = Algorithm(
    "iMAML",
    "imaml.IMAML",
    _imaml,
    Imaml,
    LEARNED_HEAD | {"inner_lr": 0.05, "num_inner_steps": 8, "num_test_steps": 8, "lam": 0.5},
    WAVES | {"inner_lr": 0.01, "num_inner_steps": 16, "num_test_steps": 16, "meta_lr": 2e-3},
)


# ---------------------------------------------------------------- task-conditioned


@dataclass(frozen=True)
class TaskConditioned(WithHidden):
    """Of task-conditioned."""

    conditioning: str = one_of("film", ("concat", "film"), "How the task's vector comes in.")
    task_embedding_dim: int = whole(64, 1, WIDE, "Width of the task's vector.")


def _task_conditioned(recipe: TaskConditioned, item_shape: Shape) -> MetaLearner:
    from ..learners import TaskConditionedNetwork

    regression = recipe.data in FUNCTIONS
    encoder = None if regression else _image_model(recipe, item_shape, None)
    return TaskConditionedNetwork(
        math.prod(item_shape) if encoder is None else encoder.output_dim,
        recipe.task_embedding_dim,
        recipe.hidden_dim,
        conditioning=recipe.conditioning,
        item_encoder=encoder,
        regression=regression,
    )


ALGORITHMS["task-conditioned"] = Algorithm(
    "Task-conditioned",
    "task_conditioned.TaskConditionedNetwork",
    _task_conditioned,
    TaskConditioned,
    {"train_way": 20, "n_tasks_per_batch": 2, "width": 48, "n_steps": 2000},
    WAVES | {"hidden_dim": 64, "task_embedding_dim": 16},
    study={"n_steps": 1500, "n_tasks_per_batch": 1, "meta_lr": 1e-3},
)


# ---------------------------------------------------------------- ordinary classifier


@dataclass(frozen=True)
class Ordinary(Recipe):
    """Of ordinary-classifier."""

    rule: str = one_of(
        "nearest_mean",
        ("nearest_mean", "cosine", "logistic", "ridge"),
        "How the embeddings of the shots tell classes apart.",
    )

    def settled(self, n_classes: int) -> Recipe:
        """With as many classes as its last layer has, so that a run is loaded without its data."""
        return replace(self, n_classes=n_classes)


def _ordinary_classifier(recipe: Ordinary, item_shape: Shape) -> MetaLearner:
    from ..learners import OrdinaryClassifier
    from .sources import recipe_data

    encoder = _image_model(recipe, item_shape, None)
    n_classes = recipe.n_classes or recipe_data(recipe, "meta-train").n_classes
    turns = 4 if recipe.rotations else 1
    return OrdinaryClassifier(encoder, encoder.output_dim, turns * n_classes, recipe.rule)


ALGORITHMS["ordinary-classifier"] = Algorithm(
    "Ordinary classifier",
    "ordinary_classifier.OrdinaryClassifier",
    _ordinary_classifier,
    Ordinary,
    {"train_way": 60, "n_query": 1, "n_tasks_per_batch": 1, "width": 48, "n_steps": 6000},
    variant="nearest mean",
    study={"n_steps": 2000, "meta_lr": 4e-3},
)


# ---------------------------------------------------------------- ridge head


@dataclass(frozen=True)
class Ridge(Recipe):
    """Of ridge-head."""

    strength: float = step_size(0.1, "Lambda of the ridge regression.")


def _ridge_head(recipe: Ridge, item_shape: Shape) -> MetaLearner:
    from ..learners import RidgeHead

    return RidgeHead(_image_model(recipe, item_shape, None), recipe.strength)


ALGORITHMS["ridge-head"] = Algorithm(
    "Ridge head",
    "ridge_head.RidgeHead",
    _ridge_head,
    Ridge,
    {"train_way": 60, "n_tasks_per_batch": 1, "width": 48, "n_steps": 3000},
    study={"n_steps": 850, "meta_lr": 8e-3},
)


# ---------------------------------------------------------------- in context

EVERY_SIZE = "Train on every size of the support set at once, from 0 items to all."
IN_CONTEXT = WAVES | {"n_query": 10, "n_tasks_per_batch": 44, "meta_lr": 2e-3, "every_size": True}
IN_CONTEXT_OF_IMAGES = {"width": 48, "n_steps": 3000, "n_tasks_per_batch": 8, "meta_lr": 1e-3}


@dataclass(frozen=True)
class InContext(Recipe):
    """Of conditional-neural-process and in-context-transformer."""

    every_size: bool = either(False, "every-size", "full-size", EVERY_SIZE)


def _sizes_in_context(recipe: InContext, item_shape: Shape) -> dict[str, Any]:
    """What both learners need to know about items and answers."""
    regression = recipe.data in FUNCTIONS
    encoder = None if regression else _image_model(recipe, item_shape, None)
    return {
        "input_dim": math.prod(item_shape) if encoder is None else encoder.output_dim,
        "output_dim": 1 if regression else recipe.n_way,
        "regression": regression,
        "item_encoder": encoder,
        "every_size": recipe.every_size,
    }


@dataclass(frozen=True)
class Cnp(WithHidden, InContext):
    """Of conditional-neural-process."""


def _conditional_neural_process(recipe: Cnp, item_shape: Shape) -> MetaLearner:
    from ..learners import ConditionalNeuralProcess

    sizes = _sizes_in_context(recipe, item_shape)
    return ConditionalNeuralProcess(hidden_dim=recipe.hidden_dim, **sizes)


ALGORITHMS["conditional-neural-process"] = Algorithm(
    "CNP",
    "conditional_neural_process.ConditionalNeuralProcess",
    _conditional_neural_process,
    Cnp,
    IN_CONTEXT_OF_IMAGES,
    IN_CONTEXT,
)


@dataclass(frozen=True)
class Transformer(InContext):
    """Of in-context-transformer."""

    token_width: int = whole(64, 1, WIDE, "Width of a token.")
    n_layers: int = whole(4, 1, 1000, "Blocks of attention.", flag="layers")
    n_heads: int = whole(4, 1, WIDE, "Heads of each.", flag="heads")


def _in_context_transformer(recipe: Transformer, item_shape: Shape) -> MetaLearner:
    from ..learners import InContextTransformer

    return InContextTransformer(
        width=recipe.token_width,
        n_layers=recipe.n_layers,
        n_heads=recipe.n_heads,
        **_sizes_in_context(recipe, item_shape),
    )


ALGORITHMS["in-context-transformer"] = Algorithm(
    "Transformer",
    "in_context_transformer.InContextTransformer",
    _in_context_transformer,
    Transformer,
    IN_CONTEXT_OF_IMAGES,
    IN_CONTEXT | {"n_steps": 5000},
)


# ---------------------------------------------------------------- mann

OF_MEMORY = {"unless": ("memory", "none")}


@dataclass(frozen=True)
class Mann(WithHidden):
    """Of mann."""

    memory: str = one_of("lrua", ("lrua", "none"), "none: the LSTM alone.")
    memory_size: int = whole(128, 1, WIDE, "Slots.", **OF_MEMORY)
    memory_dim: int = whole(40, 1, WIDE, "Width of a slot.", **OF_MEMORY)
    num_reads: int = whole(1, 1, WIDE, "Heads that read.", **OF_MEMORY)
    metric_weight: float = amount(1.0, "Of the second loss, for the encoder; 0: as published.")
    write_first: bool = either(
        True, "write-first", "read-first", "The order within a step.", **OF_MEMORY
    )

    @property
    def numbers_per_item(self) -> int:
        """A state of the memory at every item."""
        return self.memory_size * self.memory_dim if self.memory == "lrua" else 0


def _mann(recipe: Mann, item_shape: Shape) -> MetaLearner:
    from torch import nn

    from ..learners import MANN, LSTMController, MANNController
    from ..learners.mann import Standardise

    network = _image_model(recipe, item_shape, None)
    encoder = nn.Sequential(network, Standardise(network.output_dim))
    width = network.output_dim + recipe.n_way
    controller: MANNController | LSTMController = LSTMController(width, recipe.hidden_dim)
    if recipe.memory == "lrua":
        sizes = recipe.hidden_dim, recipe.memory_size, recipe.memory_dim
        controller = MANNController(
            width, *sizes, num_reads=recipe.num_reads, write_first=recipe.write_first
        )
    return MANN(encoder, controller, recipe.n_way, metric_weight=recipe.metric_weight)


ALGORITHMS["mann"] = Algorithm(
    "MANN",
    "mann.MANN",
    _mann,
    Mann,
    {"downsample": "stride", "width": 48, "memory_size": 64, "n_steps": 1200},
    without=("n_query",),  # mann's streams have 10 items per class
    streams=True,
    variant="with metric loss",
    study={"n_steps": 260, "meta_lr": 4e-3, "metric_weight": 3.0},
    classes_per_step=40,
)
