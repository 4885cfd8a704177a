"""Everything needed to train a learner again: what `metalearn-edu train` does, as data.

A recipe names an algorithm, a data set and the settings that matter. `train_recipe` follows it
and leaves a run folder with the weights (safetensors) and a card (JSON) that says how they were
made; `load_run` builds the learner again from such a folder.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from .arguments import as_integer
from .backbones import MLP, ConvNet, Standardise, Views
from .checkpoints import save_json, save_weights
from .learners import (
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
from .tasks import (
    Augmented,
    EpisodeSampler,
    FewShotDataset,
    Sinusoids,
    Streams,
    TaskSource,
    load_glyphs,
    load_image_folder,
    load_omniglot,
)
from .tasks.random import uniforms
from .training import History, meta_train

__all__ = [
    "ALGORITHMS",
    "OWN_QUERIES",
    "Recipe",
    "build_learner",
    "load_run",
    "load_split",
    "make_recipe",
    "recipe_data",
    "record_figures",
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


def _square_side(item_shape: tuple[int, ...]) -> int:
    _, height, side = item_shape
    if height != side:
        raise ValueError(f"the conv backbone needs square images, got {height} x {side}")
    return side


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
        image_size=_square_side(item_shape),
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
    channels, side = item_shape[0], _square_side(item_shape)
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
    """

    name: str
    learner: type[MetaLearner]
    build: Callable[[Recipe, tuple[int, ...]], MetaLearner]
    images: dict[str, Any]
    sinusoids: dict[str, Any] | None = None

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

ALGORITHMS: dict[str, Algorithm] = {
    "prototypical": Algorithm(
        "ProtoNet",
        PrototypicalNetwork,
        _prototypical,
        {"train_way": 60, "n_tasks_per_batch": 1, "width": 48, "n_steps": 3000},
    ),
    "relation": Algorithm(
        "Relation Network",
        RelationNetwork,
        _relation,
        {"train_way": 20, "n_tasks_per_batch": 1, "n_steps": 3000},
    ),
    "maml": Algorithm(
        "MAML", MAML, partial(_gradient_based, MAML), ONE_STEP_OF_THE_HEAD, WAVES_INNER
    ),
    "meta-sgd": Algorithm(
        "Meta-SGD", MetaSGD, partial(_gradient_based, MetaSGD), ONE_STEP_OF_THE_HEAD, WAVES_INNER
    ),
    "task-conditioned": Algorithm(
        "Task-conditioned",
        TaskConditionedNetwork,
        _task_conditioned,
        {"train_way": 20, "n_tasks_per_batch": 2, "width": 48, "n_steps": 2000},
        WAVES | {"hidden_dim": 64, "task_embedding_dim": 16},
    ),
    "mann": Algorithm(
        "MANN",
        MANN,
        _mann,
        {"downsample": "stride", "width": 48, "memory_size": 64, "n_steps": 1200},
    ),
}
"""The algorithms that `metalearn-edu train` knows, by name."""


def make_recipe(algorithm: str, data: str = "glyphs", **settings: Any) -> Recipe:
    """A recipe with the algorithm's own defaults, overridden by the settings that are not None.

    Of a folder of images the usual ways are taken, or as many as its classes allow.

    Raises:
        ValueError: an unknown algorithm, or a folder that cannot be split.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {algorithm!r}")
    entry = ALGORITHMS[algorithm]
    defaults = entry.sinusoids if data == "sinusoids" else entry.images
    if defaults is None:
        raise ValueError(f"algorithm {algorithm} needs classes; data sinusoids has none")
    given = {name: value for name, value in settings.items() if value is not None}
    recipe = replace(Recipe(algorithm, data), **(defaults | given))
    if _is_folder(data):
        recipe = replace(recipe, **(_fitting_ways(recipe) | given))
    if not entry.any_way and "train_way" not in given:
        recipe = replace(recipe, train_way=recipe.n_way)
    return recipe


def _fitting_ways(recipe: Recipe) -> dict[str, int]:
    """n_way and train_way, at most the recipe's, that the classes of its folder allow."""
    train, val, test = (recipe_data(recipe, split).class_sizes for split in get_args(Split))
    held_out = min(int((sizes >= recipe.n_shot + OWN_QUERIES).sum()) for sizes in (val, test))
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


def train_command(recipe: Recipe) -> str:
    """The command line that trains this recipe again."""
    usual = asdict(make_recipe(recipe.algorithm, recipe.data))
    words = ["metalearn-edu train", recipe.algorithm, "--data", shlex.quote(recipe.data)]
    for name, value in asdict(recipe).items():
        flag = FLAGS.get(name, name.replace("_", "-"))
        if value != usual[name]:
            words.append(f"--{flag[value]}" if isinstance(flag, tuple) else f"--{flag} {value}")
    return " ".join([*words, "--output FOLDER"])


def load_split(data: str, split: Split, protocol: Protocol = "official") -> FewShotDataset:
    """One split (meta-train, meta-val, meta-test) of a data set by name or folder."""
    if data == "glyphs":
        return load_glyphs(split)
    if data == "omniglot" and protocol == "background":
        return _background_split(split)
    if data == "omniglot":
        return load_omniglot(split, "vinyals" if protocol == "vinyals" else "official")
    if _is_folder(data):
        return _folder_parts(Path(data), _fingerprint(Path(data)))[split]
    raise ValueError(
        f"data must be glyphs, omniglot, sinusoids or a folder of images; got {data!r}"
    )


def _is_folder(data: str) -> bool:
    return data not in ("glyphs", "omniglot", "sinusoids") and Path(data).is_dir()


def _fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file of the folder does."""
    files = ((file, file.stat()) for file in sorted(folder.rglob("*")))
    return tuple((str(file), state.st_size, state.st_mtime_ns) for file, state in files)


@lru_cache(maxsize=1)  # a training asks for a folder's parts several times
def _folder_parts(folder: Path, _state: Any) -> dict[str, FewShotDataset]:
    parts = load_image_folder(folder).split()
    for part, split in zip(parts, get_args(Split), strict=True):
        part.name = f"{part.name} ({split})"
    return dict(zip(get_args(Split), parts, strict=True))


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
    dataset = load_split(recipe.data, split, recipe.protocol)
    if split != "meta-train" or recipe.n_classes is None:
        return dataset
    n_classes, available = as_integer("n_classes", recipe.n_classes, 2), dataset.n_classes
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
) -> TaskSource:
    """Episodes of one split of the recipe's data; n_way and n_shot default to the recipe's.

    n_query defaults to 15, for a folder of images to 5.
    """
    n_shot = n_shot or recipe.n_shot
    n_query = n_query or (OWN_QUERIES if _is_folder(recipe.data) else 15)
    if recipe.data == "sinusoids":
        return Sinusoids(n_shot, n_query)
    return EpisodeSampler(
        recipe_data(recipe, split),
        n_way or recipe.n_way,
        n_shot,
        n_query,
        rotations=rotations,
        within_group=within_group,
    )


def stream_source(
    recipe: Recipe, split: Split, *, n_way: int | None = None, rotations: bool = False
) -> Streams:
    """Streams of 10 items a class from one split of the recipe's data."""
    return Streams(recipe_data(recipe, split), n_way or recipe.n_way, rotations=rotations)


def training_source(recipe: Recipe) -> TaskSource:
    """What the recipe trains on: episodes, or streams of 10 items a class for mann."""
    if recipe.algorithm == "mann":
        tasks: TaskSource = stream_source(recipe, "meta-train", rotations=recipe.rotations)
    else:
        tasks = task_source(
            recipe,
            "meta-train",
            n_way=recipe.train_way,
            n_query=recipe.n_query,
            rotations=recipe.rotations,
        )
    return Augmented(tasks, recipe.augment) if recipe.augment else tasks


def train_learner(recipe: Recipe, **options: Any) -> tuple[MetaLearner, History]:
    """A learner trained as the recipe says, and the history of its training.

    Args:
        options: of `meta_train`: val_tasks, checkpoint, progress, ...
    Raises:
        ValueError: the recipe asks for something impossible.
    """
    tasks = training_source(recipe)
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
    """Train as the recipe says and leave weights and card in `folder`.

    A run that was stopped goes on from its last checkpoint when called again.

    Raises:
        ValueError: the recipe asks for something impossible, or `folder` holds another run.
    """
    val = None if recipe.protocol == "background" else task_source(recipe, "meta-val")
    learner, history = train_learner(
        recipe, val_tasks=val, checkpoint=folder / "checkpoint", progress=progress
    )
    _save_run(folder, recipe, learner, _item_shape(training_source(recipe)), history)
    return history


def build_learner(recipe: Recipe, item_shape: tuple[int, ...]) -> MetaLearner:
    """A learner as the recipe says, its first weights drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return ALGORITHMS[recipe.algorithm].build(recipe, item_shape)


def load_run(folder: Path) -> tuple[MetaLearner, Recipe, dict[str, Any]]:
    """(learner, recipe, card) of a run folder.

    Raises:
        ValueError: the folder holds no finished run, or its files are damaged.
    """
    card_path = folder / "card.json"
    if not card_path.is_file():
        raise ValueError(
            f"{folder} holds no trained run (no card.json); "
            f"metalearn-edu train ALGORITHM --output {folder} makes one"
        )
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        recipe = Recipe(**card["recipe"])
        learner = build_learner(recipe, tuple(card["item_shape"]))
        learner.load_state_dict(load_file(folder / "model.safetensors"))
    except Exception as error:
        raise ValueError(f"run {folder} is damaged: {error}; train it again") from error
    return learner, recipe, card


def record_figures(folder: Path, figures: list[dict[str, Any]]) -> None:
    """Add measured figures, with their settings, to the card of a run; equal ones are replaced."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    what = ("split", "tasks", "episodes", "seed", "at")
    known = {tuple(f.get(k) for k in what): f for f in [*card.get("figures", []), *figures]}
    save_json(folder / "card.json", card | {"figures": [*known.values()]})


def _item_shape(tasks: TaskSource) -> tuple[int, ...]:
    return tuple(tasks.episodes(0, 0, 1).support_x.shape[2:])


def _save_run(
    folder: Path,
    recipe: Recipe,
    learner: MetaLearner,
    item_shape: tuple[int, ...],
    history: History,
) -> None:
    best = history.val_steps.index(history.best_step) if history.best_step else None
    card = {
        "recipe": asdict(recipe),
        "item_shape": item_shape,
        "command": train_command(recipe),
        "steps_taken": history.n_steps,
        "best_step": history.best_step,
        "meta_val_score": None if best is None else history.val_scores[best],
        "interrupted": history.interrupted,
        "seconds": round(history.seconds, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    save_weights(folder / "model.safetensors", learner.state_dict())
    save_json(folder / "card.json", card)
