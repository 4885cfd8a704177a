"""Everything needed to train a learner again: what `metalearn-edu train` does, as data.

A recipe names an algorithm, a data set and the settings that matter. `train_recipe` follows it
and leaves a run folder with the weights (safetensors) and a card (JSON) that says how they were
made; `load_run` builds the learner again from such a folder.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from ..backbones import MLP, ConvNet
from ..basics.arguments import as_integer, as_number
from ..basics.capacity import check_fits
from ..basics.random import uniforms
from ..learners import (
    MAML,
    MANN,
    LSTMController,
    MAMLModel,
    MANNController,
    MetaLearner,
    MetaSGD,
    PrototypicalNetwork,
    RelationNetwork,
    TaskConditionedNetwork,
)
from ..learners.mann import Standardise
from ..learners.prototypical import Views
from ..tasks import (
    Augmented,
    EpisodeSampler,
    FewShotDataset,
    Preparation,
    Sinusoids,
    Streams,
    TaskSource,
    load_glyphs,
    load_omniglot,
    read_image_folder,
)
from ..tasks.data.folder_layout import class_folders, pictures
from ..training import History, meta_train
from .folder import (
    DamagedRunError,
    claimed,
    damaged,
    listed,
    load_weights,
    picture_hashes,
    read_card,
    record_figures,
    save_run,
    warn_of_leaks,
)

__all__ = [
    "ALGORITHMS",
    "EARLIER",
    "OWN_QUERIES",
    "Recipe",
    "build_learner",
    "check_settings",
    "load_run",
    "load_split",
    "make_recipe",
    "preparation_of",
    "recipe_data",
    "record_figures",
    "refuse_changed",
    "say_what_leaks",
    "stream_source",
    "task_source",
    "train_command",
    "train_learner",
    "train_recipe",
    "training_source",
]


Split = Literal["meta-train", "meta-val", "meta-test"]
Protocol = Literal["official", "vinyals", "background"]

OWN_QUERIES = 5
"""Query items a class in testing on a folder of images, which may not have many."""

WIDTHS = ("n_way", "width", "hidden_dim", "task_embedding_dim", "memory_dim", "num_reads")
USUAL_WIDTH = 500  # up to which weights fit any machine
WAVE_NUMBERS = 40  # that a network on sinusoids has of each point
MANY, WIDE, LARGEST_SEED = 10**9, 2**20, 2**63 - 1


def _whole(at_least: int, at_most: int) -> Callable[[str, Any], int]:
    return lambda name, value: as_integer(name, value, at_least, at_most=at_most)


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
        return value

    return check


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{name} must be a name or the path of a folder, got {value!r}")
    return value


def _true_or_false(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def _step_size(name: str, value: Any) -> float:
    return as_number(name, value, above=0, at_most=1e6)


def _amount(name: str, value: Any) -> float:
    return as_number(name, value, at_least=0, at_most=1e6)


def _classes(name: str, value: Any) -> int | None:
    return None if value is None else as_integer(name, value, 2)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "data": _text,
    "protocol": _one_of(*get_args(Protocol)),
    "n_way": _whole(2, WIDE),
    "n_shot": _whole(1, MANY),
    "train_way": _whole(2, WIDE),
    "n_query": _whole(1, MANY),
    "rotations": _true_or_false,
    "augment": _amount,
    "n_classes": _classes,
    "n_steps": _whole(1, MANY),
    "n_tasks_per_batch": _whole(1, MANY),
    "meta_lr": _step_size,
    "seed": _whole(0, LARGEST_SEED),
    "backbone": _one_of("conv", "pyramid", "mlp"),
    "width": _whole(1, WIDE),
    "downsample": _one_of("pool", "stride"),
    "norm": _one_of("group", "batch", "batch_transductive", "none"),
    "inner_lr": _step_size,
    "num_inner_steps": _whole(0, 10_000),
    "num_test_steps": _whole(0, 10_000),
    "first_order": _true_or_false,
    "zero_head": _true_or_false,
    "test_views": _whole(1, 1000),
    "aggregate": _one_of("sum", "mean"),
    "objective": _one_of("mse", "cross_entropy"),
    "conditioning": _one_of("concat", "film"),
    "task_embedding_dim": _whole(1, WIDE),
    "hidden_dim": _whole(1, WIDE),
    "memory": _one_of("lrua", "none"),
    "memory_size": _whole(1, WIDE),
    "memory_dim": _whole(1, WIDE),
    "num_reads": _whole(1, WIDE),
    "metric_weight": _amount,
    "write_first": _true_or_false,
    "size": lambda _, value: Preparation(value, 1, "light").size,
    "channels": lambda _, value: Preparation((28, 28), value, "light").channels,
    "ink": _one_of("as-is", "dark", "light", "auto"),
}
"""What each setting of a recipe may be; a check gives the value back, in its own type."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    Attributes:
        algorithm: a name in ALGORITHMS.
        data: "glyphs", "omniglot", "sinusoids", or the path of a folder of images.
        protocol: Omniglot's split, "official" or "vinyals"; "background" meta-trains on all 30
            background alphabets of the official one, for settings that were chosen before: there is
            no meta-val.
        n_way, n_shot: of the episodes that the learner is for; validation uses them.
        train_way: classes per meta-training episode; only methods without a fixed head may
            train with more ways than n_way.
        n_query: query items per class in meta-training.
        rotations: count turned images as further classes in meta-training.
        augment: how far each image of meta-training is warped, see Augmented; 0: not at all.
        n_classes: meta-train with so many classes (before rotations), drawn at random by `seed`;
            those of a smaller number are among those of a larger. None: all.
        n_steps, n_tasks_per_batch, meta_lr, seed: of the outer loop (cosine schedule).
        backbone, width, downsample, norm: "conv", a ConvNet; "pyramid", one with 1, 2, 3 and 4
            times `width` filters whose last block keeps places; "mlp" with `width` hidden units.
        inner_lr, num_inner_steps, num_test_steps, first_order, zero_head: of gradient-based
            methods.
        test_views: of prototypical: how often an image is looked at after training; see Views.
        aggregate, objective: of relation; see RelationNetwork.
        conditioning, task_embedding_dim: of task-conditioned; see TaskConditionedNetwork.
        hidden_dim: of mann and task-conditioned.
        memory: of mann: "lrua", or "none" for the LSTM alone.
        memory_size, memory_dim, num_reads: of mann; see MANNController.
        metric_weight, write_first: of mann; see MANN and MANNController.
        size, channels, ink: of a folder of images: how its pictures are read; see Preparation.
    Raises:
        ValueError: a value that no training can have.
    """

    algorithm: str
    data: str = "glyphs"
    protocol: Protocol = "official"
    n_way: int = 5
    n_shot: int = 1
    train_way: int = 5
    n_query: int = 5
    rotations: bool = True
    augment: float = 0.0
    n_classes: int | None = None
    n_steps: int = 2000
    n_tasks_per_batch: int = 16
    meta_lr: float = 2e-3
    seed: int = 0
    backbone: str = "conv"
    width: int = 64
    downsample: str = "pool"
    norm: str = "group"
    inner_lr: float = 0.4
    num_inner_steps: int = 1
    num_test_steps: int = 3
    first_order: bool = False
    zero_head: bool = False
    test_views: int = 1
    aggregate: str = "mean"
    objective: str = "cross_entropy"
    conditioning: str = "film"
    task_embedding_dim: int = 64
    hidden_dim: int = 128
    memory: str = "lrua"
    memory_size: int = 128
    memory_dim: int = 40
    num_reads: int = 1
    metric_weight: float = 1.0
    write_first: bool = True
    size: tuple[int, int] = (28, 28)
    channels: int = 1
    ink: str = "as-is"

    def __post_init__(self) -> None:
        _one_of(*ALGORITHMS)("algorithm", self.algorithm)
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))


def _image_size(item_shape: tuple[int, ...]) -> Any:
    """Height and width as the backbones take them: one number where they are equal."""
    _, height, width = item_shape
    return width if height == width else (height, width)


def _image_model(
    recipe: Recipe, item_shape: tuple[int, ...], output_dim: int | None
) -> MLP | ConvNet:
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
    # Channels last in memory: a quarter faster with batch normalisation, and the same numbers.
    layout = torch.channels_last if grows else torch.contiguous_format
    return network.to(memory_format=layout)  # type: ignore[call-overload]


def _prototypical(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
    encoder: nn.Module = _image_model(recipe, item_shape, None)
    if recipe.test_views > 1:
        encoder = Views(encoder, recipe.test_views)
    return PrototypicalNetwork(encoder)


def _relation(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
    options: dict[str, Any] = {"aggregate": recipe.aggregate, "objective": recipe.objective}
    if recipe.backbone == "mlp":
        return RelationNetwork(math.prod(item_shape), recipe.width, **options)
    channels, side = item_shape[0], _image_size(item_shape)
    return RelationNetwork.convolutional(
        channels, recipe.width, image_size=side, norm=recipe.norm, **options
    )


def _gradient_based(
    learner: type[MAML], recipe: Recipe, item_shape: tuple[int, ...]
) -> MetaLearner:
    regression = recipe.data == "sinusoids"
    model = MAMLModel(1, 40, 1) if regression else _image_model(recipe, item_shape, recipe.n_way)
    return learner(
        model,
        recipe.inner_lr,
        recipe.meta_lr,
        recipe.num_inner_steps,
        F.mse_loss if regression else F.cross_entropy,
        first_order=recipe.first_order,
        num_test_steps=recipe.num_test_steps,
        zero_head=recipe.zero_head,
    )


def _task_conditioned(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
    regression = recipe.data == "sinusoids"
    encoder = None if regression else _image_model(recipe, item_shape, None)
    return TaskConditionedNetwork(
        1 if encoder is None else encoder.output_dim,
        recipe.task_embedding_dim,
        recipe.hidden_dim,
        conditioning=recipe.conditioning,
        item_encoder=encoder,
        regression=regression,
    )


def _mann(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
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


def _fit_standardise(learner: MetaLearner, tasks: TaskSource, seed: int) -> None:
    """Start a Standardise layer, where the learner has one, from 20 batches of items of `seed`."""
    for layers in (m for m in learner.modules() if isinstance(m, nn.Sequential)):
        if isinstance(layers[-1], Standardise):
            items = tasks.episodes(seed, 0, 20).stream()[0].flatten(0, 1)
            with torch.no_grad():
                layers[-1].fit(layers[:-1](items))


@dataclass(frozen=True)
class Algorithm:
    """How to build a learner, and the settings that suit it where none are given.

    name: as figures call it.
    learner: its class.
    images, sinusoids: the settings by kind of data; None: not for that kind.
    own: the settings of a recipe that it alone, or few, have a use for.
    without: the settings of images that it has no use for.
    """

    name: str
    learner: type[MetaLearner]
    build: Callable[[Recipe, tuple[int, ...]], MetaLearner]
    images: dict[str, Any]
    sinusoids: dict[str, Any] | None = None
    own: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def any_way(self) -> bool:
        """Whether a trained learner takes any number of ways, not only that of its recipe."""
        return "train_way" in self.images


WAVES = {"n_shot": 10, "n_query": 20, "n_tasks_per_batch": 25, "meta_lr": 5e-3, "n_steps": 3000}
WAVES_INNER = WAVES | {"inner_lr": 0.01, "num_inner_steps": 5, "num_test_steps": 5}
ONE_STEP_OF_THE_HEAD = {
    "downsample": "stride",
    "inner_lr": 2.0,
    "num_test_steps": 1,
    "zero_head": True,
    "n_steps": 5000,
}
INNER = ("inner_lr", "num_inner_steps", "num_test_steps", "first_order", "zero_head")

ALGORITHMS: dict[str, Algorithm] = {
    "prototypical": Algorithm(
        "ProtoNet",
        PrototypicalNetwork,
        _prototypical,
        {"train_way": 60, "n_tasks_per_batch": 1, "width": 48, "n_steps": 3000},
        own=("test_views",),
    ),
    "relation": Algorithm(
        "Relation Network",
        RelationNetwork,
        _relation,
        {"train_way": 20, "n_tasks_per_batch": 1, "n_steps": 3000},
        own=("aggregate", "objective"),
    ),
    "maml": Algorithm(
        "MAML", MAML, partial(_gradient_based, MAML), ONE_STEP_OF_THE_HEAD, WAVES_INNER, INNER
    ),
    "meta-sgd": Algorithm(
        "Meta-SGD",
        MetaSGD,
        partial(_gradient_based, MetaSGD),
        ONE_STEP_OF_THE_HEAD,
        WAVES_INNER,
        INNER,
    ),
    "task-conditioned": Algorithm(
        "Task-conditioned",
        TaskConditionedNetwork,
        _task_conditioned,
        {"train_way": 20, "n_tasks_per_batch": 2, "width": 48, "n_steps": 2000},
        WAVES | {"hidden_dim": 64, "task_embedding_dim": 16},
        own=("conditioning", "task_embedding_dim", "hidden_dim"),
    ),
    "mann": Algorithm(
        "MANN",
        MANN,
        _mann,
        {"downsample": "stride", "width": 48, "memory_size": 64, "n_steps": 1200},
        own=(
            "hidden_dim",
            "memory",
            "memory_size",
            "memory_dim",
            "num_reads",
            "write_first",
            "metric_weight",
        ),
        without=("n_query",),  # its streams have 10 items a class
    ),
}
"""The algorithms that `metalearn-edu train` knows, by name."""


# ---------------------------------------------------------------- which settings mean something

OF_IMAGES = (
    "n_way",
    "train_way",
    "rotations",
    "augment",
    "n_classes",
    "backbone",
    "width",
    "downsample",
    "norm",
)
OF_FOLDERS = ("size", "channels", "ink")
OF_OMNIGLOT = ("protocol",)
UNUSED_WITH = {
    ("backbone", "mlp"): ("downsample", "norm"),
    ("memory", "none"): ("memory_size", "memory_dim", "num_reads", "write_first"),
}
"""The settings that have no meaning beside a value of another."""


def check_settings(algorithm: str, data: str, settings: dict[str, Any]) -> None:
    """Refuse settings that mean nothing for this algorithm on these data.

    Raises:
        ValueError: it names them, and what they are for.
    """
    recipe = Recipe(algorithm, data, **settings)
    unused = {name: what for name, what in _unused(recipe).items() if name in settings}
    if unused:
        why = "; ".join(f"--{_option(name)} is for {what}" for name, what in unused.items())
        kind = "a folder" if _is_folder(data) else data
        raise ValueError(f"{why}: {algorithm} on {kind} has no use for it")
    if algorithm == "relation" and "downsample" in settings:
        warnings.warn("--downsample changes nothing for relation, which keeps maps", stacklevel=2)
    if algorithm == "relation" and recipe.backbone == "pyramid":
        raise ValueError("backbone pyramid is not for relation, which has conv or mlp")


def _unused(recipe: Recipe) -> dict[str, str]:
    """The settings on which a training by this recipe does not depend, and what each is for."""
    entry = ALGORITHMS[recipe.algorithm]
    every = {name for other in ALGORITHMS.values() for name in other.own}
    owners = {n: [name for name, other in ALGORITHMS.items() if n in other.own] for n in every}
    found = {n: " or ".join(names) for n, names in owners.items() if n not in entry.own}
    for what, names, has_it in (
        ("images", OF_IMAGES, recipe.data != "sinusoids"),
        ("a folder of images", OF_FOLDERS, _is_folder(recipe.data)),
        ("omniglot", OF_OMNIGLOT, recipe.data == "omniglot"),
        ("episodes, not for streams", entry.without, False),
        *(
            (f"{setting} other than {value}", names, getattr(recipe, setting) != value)
            for (setting, value), names in UNUSED_WITH.items()
        ),
    ):
        found |= {} if has_it else {name: what for name in names if name not in found}
    return found


# ---------------------------------------------------------------- recipes and commands


def make_recipe(algorithm: str, data: str = "glyphs", **settings: Any) -> Recipe:
    """A recipe with the algorithm's own defaults, overridden by the settings that are not None.

    Of a folder of images the usual ways are taken, or as many as its classes allow, and its path
    is made absolute, so that the run is found again from anywhere.

    Raises:
        ValueError: an unknown algorithm, a value that makes no sense, or a folder that cannot be
            split.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    recipe = _usual(algorithm, data, given)
    if folder := folder_of(recipe):
        recipe = replace(recipe, **(_fitting_ways(recipe, folder.parts) | given))
    if not ALGORITHMS[algorithm].any_way and "train_way" not in given:
        recipe = replace(recipe, train_way=recipe.n_way)
    return recipe


def _usual(algorithm: str, data: str, given: dict[str, Any]) -> Recipe:
    """The algorithm's own defaults and what is given, before the data have been looked at."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {algorithm!r}")
    entry = ALGORITHMS[algorithm]
    defaults = entry.sinusoids if data == "sinusoids" else entry.images
    if defaults is None:
        raise ValueError(f"algorithm {algorithm} needs classes; data sinusoids has none")
    where = os.path.abspath(data) if _is_folder(data) else data
    recipe = Recipe(algorithm, where, **(defaults | given))
    if recipe.size[0] != recipe.size[1] and "rotations" not in given:
        recipe = replace(recipe, rotations=False)  # a turned picture has another shape
    return recipe


def _fitting_ways(recipe: Recipe, parts: dict[str, FewShotDataset]) -> dict[str, int]:
    """n_way and train_way, at most the recipe's, that the classes of its folder allow."""
    train = recipe_data(recipe, "meta-train").class_sizes
    sizes = [parts[split].class_sizes for split in ("meta-val", "meta-test") if split in parts]
    held_out = min(int((s >= recipe.n_shot + OWN_QUERIES).sum()) for s in sizes)
    turns = 4 if recipe.rotations else 1
    available = turns * int((train >= recipe.n_shot + recipe.n_query).sum())
    wanted = {"n_way": (recipe.n_way, held_out), "train_way": (recipe.train_way, available)}
    return {name: max(2, min(usual, most)) for name, (usual, most) in wanted.items()}


FLAGS = {
    "n_steps": "steps",
    "n_tasks_per_batch": "tasks-per-batch",
    "num_inner_steps": "inner-steps",
    "num_test_steps": "test-steps",
    "rotations": ("no-rotations", "rotations"),
    "first_order": ("second-order", "first-order"),
    "zero_head": ("learned-head", "zero-head"),
    "write_first": ("read-first", "write-first"),
}
"""Options of `metalearn-edu train` that are not spelt like their field; pairs are (off, on)."""


OF_THE_WAYS = ("n_shot", "n_query", "n_classes", "rotations", "size", "channels", "ink", "seed")
"""The settings on which the ways depend that suit a folder."""


def _option(name: str) -> str:
    """How `metalearn-edu train` spells a setting."""
    flag = FLAGS.get(name, name.replace("_", "-"))
    return flag if isinstance(flag, str) else flag[1]


def train_command(recipe: Recipe) -> str:
    """The command line that trains this recipe again; settings without a meaning are left out."""
    usual = asdict(_usual(recipe.algorithm, recipe.data, {"size": recipe.size}))
    shaping = {n: getattr(recipe, n) for n in OF_THE_WAYS if _is_folder(recipe.data)}
    fitted = asdict(make_recipe(recipe.algorithm, recipe.data, **shaping))
    usual |= {name: value for name, value in fitted.items() if name not in OF_THE_WAYS}
    usual["size"] = Recipe(recipe.algorithm).size
    words = ["metalearn-edu train", recipe.algorithm, "--data", shlex.quote(recipe.data)]
    unused = _unused(recipe)
    for name, value in asdict(recipe).items():
        flag = FLAGS.get(name, name.replace("_", "-"))
        shown = "x".join(map(str, value)) if name == "size" else value
        if value != usual[name] and name not in unused:
            words.append(f"--{flag[value]}" if isinstance(flag, tuple) else f"--{flag} {shown}")
    return " ".join([*words, "--output FOLDER"])


# ---------------------------------------------------------------- data


def load_split(data: str, split: Split, protocol: Protocol = "official") -> FewShotDataset:
    """One split (meta-train, meta-val, meta-test) of a data set by name or folder."""
    return _load_split(Recipe("prototypical", data, protocol=protocol), split)


def _load_split(recipe: Recipe, split: Split) -> FewShotDataset:
    data, protocol = recipe.data, recipe.protocol
    if data == "glyphs":
        return load_glyphs(split)
    if data == "omniglot" and protocol == "background":
        return _background_split(split)
    if data == "omniglot":
        return load_omniglot(split, "vinyals" if protocol == "vinyals" else "official")
    folder = folder_of(recipe)
    if folder is None:
        raise ValueError("data sinusoids has no classes")
    if split not in folder.parts:
        raise ValueError(
            f"{data} has too few classes for a {split}; it has {', '.join(folder.parts)}"
        )
    return folder.parts[split]


def _is_folder(data: str) -> bool:
    """Whether data are a folder of images, by its name; it need not be there any more."""
    return data not in ("glyphs", "omniglot", "sinusoids")


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder in parts of disjoint classes, and how they were prepared."""

    parts: dict[str, FewShotDataset]
    preparation: Preparation


def folder_of(recipe: Recipe) -> PictureFolder | None:
    """The pictures of the recipe's folder in parts; None where its data are no folder.

    Raises:
        ValueError: it is not there, or cannot be split.
    """
    if not _is_folder(recipe.data):
        return None
    folder = Path(recipe.data)
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {recipe.data}; data must be glyphs, omniglot, sinusoids or a "
            "folder of images"
        )
    ink = None if recipe.ink == "as-is" else recipe.ink
    wanted = (("size", recipe.size), ("channels", recipe.channels), ("ink", ink))
    return _read_folder(folder, wanted, recipe.n_shot + OWN_QUERIES, _state(folder))


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a picture of the folder does."""
    places = (place for places in class_folders(folder).values() for place in places)
    files = (file for place in places for file in pictures(place))
    states = ((str(file), file.stat()) for file in files)
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


@lru_cache(maxsize=1)  # making a recipe, training and writing its card ask for the same pictures
def _read_folder(folder: Path, wanted: Any, need: int, _state: Any) -> PictureFolder:
    dataset, decided = read_image_folder(folder, **dict(wanted))
    parts = _split_folder(dataset, need)
    for split, part in parts.items():
        part.name = f"{part.name} ({split})"
    return PictureFolder(parts, decided)


def _split_folder(dataset: FewShotDataset, need: int) -> dict[str, FewShotDataset]:
    """Parts of disjoint classes; of few classes no meta-val, or no parts at all.

    Nine classes or more are split as always, 6 : 2 : 2. Where that leaves fewer than two classes
    with `need` pictures to choose or to test on, those with fewer are left out and at least two are
    held out for each; where there are four or five, two for meta-test alone.

    Raises:
        ValueError: fewer than four classes.
    """
    if dataset.n_classes >= 9:
        parts = dict(zip(get_args(Split), dataset.split(), strict=True))
        if all((parts[p].class_sizes >= need).sum() >= 2 for p in ("meta-val", "meta-test")):
            return parts
    large = (dataset.class_sizes >= need).nonzero().flatten().tolist()
    _refuse_few(dataset, len(large), need)
    _say_small(dataset, need)
    n_val, n_test = (max(2, round(0.2 * len(large))) if len(large) >= n else 0 for n in (6, 4))
    order = uniforms(0, 0, 1, len(large))[0].argsort()
    edges = {"meta-train": (0, len(large) - n_val - n_test)}
    edges["meta-val"] = (edges["meta-train"][1], len(large) - n_test)
    edges["meta-test"] = (edges["meta-val"][1], len(large))
    return {
        split: dataset.subset(sorted(large[i] for i in order[start:stop]))
        for split, (start, stop) in edges.items()
        if stop > start
    }


def _say_small(dataset: FewShotDataset, need: int) -> None:
    sizes = dataset.class_sizes.tolist()
    small = [
        f"{name} ({n})" for name, n in zip(dataset.class_names, sizes, strict=True) if n < need
    ]
    if small:
        text = f"left out, for an episode takes {need} pictures of a class: {listed(small)}"
        warnings.warn(text, stacklevel=2)


def _refuse_few(dataset: FewShotDataset, n_large: int, need: int) -> None:
    if n_large < 4:
        raise ValueError(
            f"{dataset.name} has {n_large} classes with at least {need} pictures each, as many as "
            f"n_shot {need - OWN_QUERIES} and {OWN_QUERIES} queries take; a training "
            "needs at least 4 classes in all (6 or more if the weights are to be chosen on "
            "meta-val); with fewer, take trained weights: metalearn-edu evaluate "
            "prototypical_glyphs --data FOLDER, or metalearn-edu predict prototypical_glyphs "
            "--support FOLDER PICTURE"
        )


def _background_split(split: Split) -> FewShotDataset:
    """The official split with nothing held out of the background alphabets."""
    if split == "meta-val":
        raise ValueError("protocol background has no meta-val: it meta-trains on those classes")
    return load_omniglot("background" if split == "meta-train" else "evaluation")


def recipe_data(recipe: Recipe, split: Split) -> FewShotDataset:
    """One split of the recipe's data; of meta-train the recipe's n_classes.

    Raises:
        ValueError: the split has fewer classes than n_classes.
    """
    dataset = _load_split(recipe, split)
    if split != "meta-train" or recipe.n_classes is None:
        return dataset
    n_classes, available = recipe.n_classes, dataset.n_classes
    if n_classes > available:
        raise ValueError(
            f"n_classes is {n_classes}, but meta-train of {recipe.data} has {available} classes"
        )
    order = uniforms(recipe.seed, 0, 1, available)[0].argsort()
    return dataset.subset(sorted(order[:n_classes]))


def task_source(
    recipe: Recipe,
    split: Split,
    *,
    n_way: int | None = None,
    n_shot: int | None = None,
    n_query: int | None = None,
    rotations: bool = False,
    within_group: bool = False,
    dataset: FewShotDataset | None = None,
) -> TaskSource:
    """Episodes of one split of the recipe's data; n_way and n_shot default to the recipe's.

    n_query defaults to 15, for a folder of images to 5. `dataset` is the split, if it is at hand.
    """
    n_shot = n_shot or recipe.n_shot
    n_query = n_query or (OWN_QUERIES if _is_folder(recipe.data) else 15)
    if recipe.data == "sinusoids":
        return Sinusoids(n_shot, n_query)
    return EpisodeSampler(
        dataset or recipe_data(recipe, split),
        n_way or recipe.n_way,
        n_shot,
        n_query,
        rotations=rotations,
        within_group=within_group,
    )


def stream_source(
    recipe: Recipe,
    split: Split,
    *,
    n_way: int | None = None,
    rotations: bool = False,
    dataset: FewShotDataset | None = None,
) -> Streams:
    """Streams of 10 items a class from one split of the recipe's data."""
    dataset = dataset or recipe_data(recipe, split)
    return Streams(dataset, n_way or recipe.n_way, rotations=rotations)


def training_source(recipe: Recipe, dataset: FewShotDataset | None = None) -> TaskSource:
    """What the recipe trains on: episodes, or streams of 10 items a class for mann.

    `dataset` is its meta-train, if it is at hand.
    """
    turned: dict[str, Any] = {"rotations": recipe.rotations, "dataset": dataset}
    if recipe.algorithm == "mann":
        tasks: TaskSource = stream_source(recipe, "meta-train", **turned)
    else:
        turned |= {"n_way": recipe.train_way, "n_query": recipe.n_query}
        tasks = task_source(recipe, "meta-train", **turned)
    return Augmented(tasks, recipe.augment) if recipe.augment else tasks


# ---------------------------------------------------------------- training


def train_learner(
    recipe: Recipe, *, tasks: TaskSource | None = None, **options: Any
) -> tuple[MetaLearner, History]:
    """A learner trained as the recipe says, and the history of its training.

    Args:
        tasks: the recipe's `training_source`, if it is at hand.
        options: of `meta_train`: val_tasks, checkpoint, progress, ...
    Raises:
        ValueError: the recipe asks for something impossible.
    """
    tasks = tasks or training_source(recipe)
    learner = build_learner(recipe, _item_shape(tasks))
    _fit_standardise(learner, tasks, recipe.seed)
    history = meta_train(
        learner,
        tasks,
        n_steps=recipe.n_steps,
        n_tasks_per_batch=recipe.n_tasks_per_batch,
        seed=recipe.seed,
        schedule="cosine",
        meta_lr=recipe.meta_lr,
        max_grad_norm=10.0,
        **options,
    )
    return learner, history


def train_recipe(recipe: Recipe, folder: Path, *, progress: bool = True) -> History:
    """Train as the recipe says and leave weights and card in `folder`; see `runs`.

    A run that was stopped goes on from its last checkpoint when called again. The data are loaded
    once.

    Raises:
        ValueError: the recipe asks for something impossible, or `folder` holds another run, or
            something that is not a run's; or the pictures have changed since.
        TimeoutError: another training is running in `folder`.
        FloatingPointError: the training diverged; there is no finished run then.
    """
    folder = Path(folder)
    seen = _parts_seen(recipe)
    _check_memory(recipe, seen.get("meta-train"))
    tasks, val = training_source(recipe, seen.get("meta-train")), None
    if recipe.data == "sinusoids" or "meta-val" in seen:
        val = task_source(recipe, "meta-val", dataset=seen.get("meta-val"))
    data, command = _described(recipe, seen), train_command(recipe)
    say_what_leaks(recipe)
    with claimed(folder, asdict(recipe), data):
        learner, history = train_learner(
            recipe, tasks=tasks, val_tasks=val, checkpoint=folder / "checkpoint", progress=progress
        )
        card = _card(recipe, command, _item_shape(tasks), history) | {"data": data}
        save_run(folder, card, learner.state_dict(), picture_hashes(seen) if seen else None)
    return history


def _parts_seen(recipe: Recipe) -> dict[str, FewShotDataset]:
    """The parts of the data that a training looks at, by name; of sinusoids there are none."""
    if recipe.data == "sinusoids":
        return {}
    train = {"meta-train": recipe_data(recipe, "meta-train")}
    if _has_meta_val(recipe):
        train["meta-val"] = recipe_data(recipe, "meta-val")
    return train


def _has_meta_val(recipe: Recipe) -> bool:
    if folder := folder_of(recipe):
        return "meta-val" in folder.parts
    return recipe.protocol != "background"


def _described(recipe: Recipe, seen: dict[str, FewShotDataset]) -> dict[str, Any]:
    """What the data of a training are, for its card."""
    folder = folder_of(recipe)
    parts = seen if folder is None else folder.parts | seen
    digests = {"digests": {split: part.digest for split, part in parts.items()}}
    if folder is None:
        return {"kind": recipe.data, **digests}
    return {
        "kind": "folder",
        "path": recipe.data,
        "prepared": json.loads(json.dumps(vars(folder.preparation))),
        "classes": {split: part.class_names for split, part in parts.items()},
        **digests,
    }


def _check_memory(recipe: Recipe, dataset: FewShotDataset | None) -> None:
    """Refuse a batch of tasks whose items alone do not fit the memory of this machine."""
    of_streams = recipe.algorithm == "mann"
    per_class = 10 if of_streams else recipe.n_shot + recipe.n_query
    ways, numbers = (
        (1, WAVE_NUMBERS) if dataset is None else (recipe.train_way, math.prod(dataset.item_shape))
    )
    if of_streams and recipe.memory == "lrua":
        numbers += recipe.memory_size * recipe.memory_dim  # a state of the memory at every item
    size = 4 * recipe.n_tasks_per_batch * ways * per_class * numbers
    check_fits(f"a batch of {recipe.n_tasks_per_batch} tasks", size)


def build_learner(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
    """A learner as the recipe says, its first weights drawn from the recipe's seed.

    Raises:
        ValueError: settings that do not go together, or more weights than the memory holds.
    """
    build = ALGORITHMS[recipe.algorithm].build
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if max(getattr(recipe, name) for name in WIDTHS) > USUAL_WIDTH:
            with torch.device("meta"):  # which holds no numbers
                sizes = [weights.numel() for weights in build(recipe, item_shape).parameters()]
            check_fits("a learner of this width, in training,", 16 * sum(sizes))
            torch.manual_seed(recipe.seed)
        return build(recipe, item_shape)


def _item_shape(tasks: TaskSource) -> tuple[int, ...]:
    return tuple(tasks.episodes(0, 0, 1).support_x.shape[2:])


# ---------------------------------------------------------------- finished runs


def load_run(folder: Path) -> tuple[MetaLearner, Recipe, dict[str, Any]]:
    """(learner in eval mode, recipe, card) of a run folder.

    Raises:
        ValueError: the folder holds no finished run, or its files are damaged.
    """
    folder = Path(folder)
    card = read_card(folder)
    weights = load_weights(folder, card)
    try:
        recipe = Recipe(**card["recipe"])
        learner = build_learner(recipe, tuple(card["item_shape"]))
        learner.load_state_dict(weights)
    except (ValueError, TypeError, RuntimeError) as error:
        raise damaged(folder, str(error)[:400]) from error
    return learner.eval(), recipe, card


def preparation_of(recipe: Recipe, card: dict[str, Any]) -> dict[str, Any]:
    """How pictures must be read for a run, for `read_image_folder`: as those it was trained on.

    Drawings such as the glyphs have bright ink on dark, so that for a run on these ink is "auto".

    Raises:
        ValueError: the run was trained on sinusoids.
        DamagedRunError: its card says nothing that makes sense.
    """
    if recipe.data == "sinusoids":
        raise ValueError("the run was trained on sinusoids; pictures need one trained on images")
    channels, *size = card["item_shape"]
    if prepared := (card.get("data") or {}).get("prepared"):
        try:
            return vars(Preparation(**prepared))
        except (TypeError, ValueError) as error:
            raise DamagedRunError(f"the card says that pictures were {prepared}: {error}") from None
    # An earlier version read all folders as they are, and wrote nothing of it on the card.
    ink = "auto" if recipe.data in ("glyphs", "omniglot") else None
    return {"size": tuple(size), "channels": channels, "ink": ink}


EARLIER = (
    "this run is of an earlier version, whose card does not say on which pictures it was trained: "
    "if some of these were among them, the score says nothing; train it again"
)


def say_what_leaks(recipe: Recipe) -> None:
    """Warn of pictures of a recipe's folder that are held out and trained on; see `runs`."""
    if own := folder_of(recipe):
        warn_of_leaks(own.parts | {"meta-train": recipe_data(recipe, "meta-train")})


def refuse_changed(card: dict[str, Any], split: Split, dataset: FewShotDataset) -> None:
    """Refuse a split of a run's folder that is not what it was when the run was trained.

    Raises:
        ValueError: its pictures or its classes have changed.
    """
    data = card.get("data")
    if data is None and card["recipe"]["data"] not in ("glyphs", "omniglot"):
        warnings.warn(EARLIER, stacklevel=2)
        return
    data = data or {}
    then = (data.get("digests") or {}).get(split)
    if data.get("kind") == "folder" and then != dataset.digest:
        raise ValueError(
            f"the pictures of {data.get('path')} have changed since the run was trained, so that "
            f"its {split} classes are not those of then; train a new run, or give new pictures "
            "with --data"
        )


def _card(
    recipe: Recipe, command: str, item_shape: tuple[int, ...], history: History
) -> dict[str, Any]:
    best = history.val_steps.index(history.best_step) if history.best_step else None
    return {
        "recipe": asdict(recipe),
        "item_shape": item_shape,
        "command": command,
        "steps_taken": history.n_steps,
        "best_step": history.best_step,
        "meta_val_score": None if best is None else history.val_scores[best],
        "interrupted": history.interrupted,
        "seconds": round(history.seconds, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
