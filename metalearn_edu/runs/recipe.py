"""Everything needed to train a learner again: what `metalearn-edu train` does, as data.

A recipe names an algorithm, a data set and the settings that matter. Settings of all algorithms are
the fields of Recipe; each algorithm's own settings are the fields of a subclass, in algorithms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .settings import (
    LARGEST_SEED,
    MANY,
    WIDE,
    Setting,
    amount,
    either,
    one_of,
    other,
    settings_of,
    step_size,
    whole,
)

if TYPE_CHECKING:
    from ..learners import MetaLearner

__all__ = [
    "ALGORITHMS",
    "FUNCTIONS",
    "SHARED",
    "Algorithm",
    "Recipe",
    "algorithms_with",
    "as_recipe",
    "every_setting",
    "is_folder",
    "require_algorithm",
    "unused",
    "without_others",
]

FUNCTIONS = ("sinusoids", "gaussian-processes", "linear-functions")
"""Data that are functions of numbers and have no classes."""
NAMED = ("glyphs", "omniglot", *FUNCTIONS)
"""Data with a name; all others are folders."""


# ---------------------------------------------------------------- checks of pictures


def _data(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{name} must be a name or the path of a folder, got {value!r}")
    return value


def _size(_: str, value: Any) -> tuple[int, int]:
    from ..tasks import Preparation

    return Preparation(value, 1, "light").size


def _channels(_: str, value: Any) -> int:
    from ..tasks import Preparation

    return Preparation((28, 28), value, "light").channels


def _as_size(text: str) -> tuple[int, ...]:
    """Height and width of `--size`."""
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise ValueError(f"--size takes pixels, such as 84, or 32x48 (height, width); got {text!r}")
    return tuple(sides * 2)[:2]


def _shown_size(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


# ---------------------------------------------------------------- the recipe

TASKS = {"panel": "Tasks"}
TRAINING = {"panel": "Training"}
OF_IMAGES = TASKS | {"of": "images"}
NETWORK = {"panel": "Network", "of": "images"}
OF_CONV = NETWORK | {"unless": ("backbone", "mlp")}
OF_FOLDERS = {"panel": "Pictures of a folder", "of": "a folder of images"}


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run, each with its purpose beside it.

    `Recipe("maml", ...)` is of MAML's own class, which has MAML's own settings too. A default here
    is the value for cards that lack the setting, not the best for an algorithm: see `make_recipe`.

    Attributes:
        algorithm: a name in ALGORITHMS.
        data: "glyphs", "omniglot", one of FUNCTIONS, or the path of a folder of images.
    Raises:
        ValueError: a value that no training can have.
    """

    algorithm: str
    data: str = other(
        "glyphs",
        str,
        _data,
        f"glyphs, omniglot, {', '.join(FUNCTIONS)}, or a folder of images.",
        **TASKS,
    )
    protocol: str = one_of(
        "official",
        ("official", "vinyals", "background"),
        "Omniglot's split. background meta-trains on all its 30 background alphabets, for settings "
        "that were chosen before: there is no meta-val.",
        **TASKS | {"of": "omniglot"},
    )
    n_way: int = whole(
        5,
        2,
        WIDE,
        "Classes per episode that the learner is for, also in meta-val episodes.",
        **OF_IMAGES,
    )
    n_shot: int = whole(1, 1, MANY, "Support items per class.", **TASKS)
    train_way: int = whole(
        5,
        2,
        WIDE,
        "Classes per meta-training episode; more than n_way for methods without a fixed head.",
        **OF_IMAGES,
    )
    n_query: int = whole(5, 1, MANY, "Query items per class in meta-training.", **TASKS)
    rotations: bool = either(
        True,
        "rotations",
        "no-rotations",
        "Count turned images as further classes in meta-training.",
        **OF_IMAGES,
    )
    augment: float = amount(
        0.0,
        "Warp each image of meta-training at random; 1: as much as hands do, 0: not at all.",
        **OF_IMAGES,
    )
    n_classes: int | None = whole(
        None,
        2,
        None,
        "Meta-train with this many classes (before rotations), drawn by the seed, those of a "
        "smaller number among those of a larger; default: all.",
        **OF_IMAGES,
    )
    n_functions: int | None = whole(
        None,
        1,
        MANY,
        "Draw tasks from this many functions; default: a new function for each task.",
        **TASKS | {"of": "linear-functions"},
    )
    n_inputs: int = whole(8, 1, WIDE, "Numbers in an item.", **TASKS | {"of": "linear-functions"})
    n_steps: int = whole(2000, 1, MANY, "Outer steps.", flag="steps", **TRAINING)
    n_tasks_per_batch: int = whole(
        16, 1, MANY, "Tasks per outer step.", flag="tasks-per-batch", **TRAINING
    )
    meta_lr: float = step_size(2e-3, "Step size of the outer loop, at its start.", **TRAINING)
    schedule: str = one_of(
        "cosine",
        ("cosine", "constant"),
        "How that step size changes: it falls to 0 like a cosine, or stays constant.",
        **TRAINING,
    )
    seed: int = whole(0, 0, LARGEST_SEED, "Seed of initial weights and episodes.", **TRAINING)
    backbone: str = one_of(
        "conv",
        ("conv", "pyramid", "mlp"),
        "Network: conv, a ConvNet; pyramid, one of 1, 2, 3 and 4 times the width, whose last block "
        "keeps places; mlp.",
        **NETWORK,
    )
    width: int = whole(64, 1, WIDE, "Filters, or hidden units of mlp.", **NETWORK)
    downsample: str = one_of("pool", ("pool", "stride"), "How maps get smaller.", **OF_CONV)
    norm: str = one_of(
        "group",
        ("group", "batch", "batch_transductive", "none"),
        "Normalisation; batch_transductive lets queries mix.",
        **OF_CONV,
    )
    size: tuple[int, int] = other(
        (28, 28),
        str,
        _size,
        "Pixels of an item, as 84 or 32x48 (height, width).",
        read=_as_size,
        show=_shown_size,
        **OF_FOLDERS,
    )
    channels: int = other(1, int, _channels, "1 reads pictures as grey, 3 in colour.", **OF_FOLDERS)
    ink: str = one_of(
        "as-is",
        ("as-is", "dark", "light", "auto"),
        "dark inverts; auto: if most borders are bright.",
        **OF_FOLDERS,
    )

    def __new__(cls, algorithm: Any = None, *_: Any, **__: Any) -> Recipe:
        """Of the algorithm's own class."""
        known = cls is Recipe and algorithm in [*ALGORITHMS]
        return super().__new__(ALGORITHMS[algorithm].recipe if known else cls)

    def __post_init__(self) -> None:
        if type(self) is not require_algorithm(self.algorithm).recipe:
            raise ValueError(
                f"algorithm {self.algorithm} has other settings; make_recipe makes a recipe of it"
            )
        for name, setting in settings_of(self).items():
            object.__setattr__(self, name, setting.check(name, getattr(self, name)))

    @property
    def numbers_per_item(self) -> int:
        """Numbers that training holds for each item, besides the item itself."""
        return 0

    def settled(self, n_classes: int) -> Recipe:
        """The recipe as its card has it, once the number of meta-training classes is known."""
        return self

    def look_at(self, given: Collection[str]) -> None:
        """Refuse settings that the algorithm would ignore.

        Args:
            given: the settings that somebody chose.
        Raises:
            ValueError: settings that do not go together.
        """


def is_folder(data: str) -> bool:
    """Whether the name is that of a folder of images, which need not exist any more."""
    return data not in NAMED


# ---------------------------------------------------------------- algorithms


@dataclass(frozen=True)
class Algorithm:
    """How to build a learner, and the settings that it uses if none are given.

    Attributes:
        name: as in figures.
        place: of its class, such as "prototypical.PrototypicalNetwork" in metalearn_edu.learners.
        build: (recipe, item_shape) -> learner.
        recipe: the class of its recipes, with its own settings.
        images, sinusoids: the settings by kind of data; None: not for that kind. Those of sinusoids
            apply to the other functions too, except for their numbers of points.
        without: the settings for images that it does not use.
        streams: it is trained on streams of items, not on episodes.
        variant: what its settings in a study change about the published method, in a few words;
            whatever shows a study adds it to the name.
        look: color and marker in figures, if plotting's LOOK has none for its name; {}: those of
            the next class.
        study: what differs from `images` in a study, such as n_steps that take about 40 s.
        classes_per_step: in a study, n_way times n_tasks_per_batch, so that a step costs about the
            same: 4 tasks of 5-way, 1 of 20-way; None: as in `images`.
    """

    name: str
    place: str
    build: Callable[[Any, tuple[int, ...]], MetaLearner]
    recipe: type[Recipe]
    images: Mapping[str, Any] = field(default_factory=dict)
    sinusoids: Mapping[str, Any] | None = None
    without: tuple[str, ...] = ()
    streams: bool = False
    variant: str = ""
    look: Mapping[str, str] = field(default_factory=dict)
    study: Mapping[str, Any] = field(default_factory=dict)
    classes_per_step: int | None = None

    def settings_for(self, data: str) -> Mapping[str, Any] | None:
        """The settings that suit data with this name; None: it is not for such data."""
        if data not in FUNCTIONS:
            return self.images
        return None if self.sinusoids is None else {**self.sinusoids, **POINTS.get(data, {})}

    @property
    def learner(self) -> type[MetaLearner]:
        """Its class, imported here: PyTorch takes seconds."""
        module, _, name = self.place.rpartition(".")
        return getattr(import_module(f"metalearn_edu.learners.{module}"), name)

    @property
    def name_in_study(self) -> str:
        """Its name, with the variant of the method that a study has."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    @property
    def any_way(self) -> bool:
        """Whether a trained learner accepts any number of ways, not only that of its recipe."""
        return "train_way" in self.images


POINTS = {
    "gaussian-processes": {"n_shot": 20, "n_query": 10},
    "linear-functions": {"n_shot": 15, "n_query": 5},
}
"""The number of points in a task, if that differs from sinusoids."""

ALGORITHMS: dict[str, Algorithm] = {}
"""The algorithms that `metalearn-edu train` knows, by name; algorithms.py fills it."""


def require_algorithm(name: Any) -> Algorithm:
    """The entry of an algorithm. Raises ValueError."""
    if name not in [*ALGORITHMS]:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}; got {name!r}")
    return ALGORITHMS[name]


SHARED: dict[str, Setting] = settings_of(Recipe)
"""The settings that every algorithm has."""


def every_setting() -> dict[str, Setting]:
    """The settings of all algorithms, shared ones first."""
    own = [settings_of(entry.recipe) for entry in ALGORITHMS.values()]
    return SHARED | {name: setting for them in own for name, setting in them.items()}


def algorithms_with(name: str) -> list[str]:
    """The algorithms that have a setting."""
    return [each for each, entry in ALGORITHMS.items() if name in settings_of(entry.recipe)]


def unused(recipe: Recipe) -> dict[str, str]:
    """The settings on which a training by this recipe does not depend, and what each is for."""
    own = settings_of(recipe)
    every = every_setting()
    found = {name: " or ".join(algorithms_with(name)) for name in every if name not in own}
    found |= {name: s.of for name, s in own.items() if not _has(recipe.data, s.of)}
    for name in ALGORITHMS[recipe.algorithm].without:
        found.setdefault(name, "episodes, not for streams")
    for name, setting in own.items():
        if setting.unless and getattr(recipe, setting.unless[0]) == setting.unless[1]:
            found.setdefault(name, "{} other than {}".format(*setting.unless))
    return found


def _has(data: str, of: str) -> bool:
    """Whether data are what a setting is for."""
    kinds = {
        "": True,
        "images": data not in FUNCTIONS,
        "linear-functions": data == "linear-functions",
        "a folder of images": is_folder(data),
        "omniglot": data == "omniglot",
    }
    return kinds[of]


# ---------------------------------------------------------------- cards


def as_recipe(settings: Mapping[str, Any]) -> Recipe:
    """The recipe of a card: `as_recipe(card["recipe"])`; `dataclasses.asdict` is the way back.

    Cards of earlier versions have the settings of all algorithms; those of other algorithms are
    ignored.

    Raises:
        ValueError: a value that no training can have.
        TypeError: an unknown setting, or no algorithm.
    """
    return Recipe(**without_others(settings))


def without_others(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a card without those that only other algorithms have."""
    try:
        own = settings_of(ALGORITHMS[settings["algorithm"]].recipe)
    except (KeyError, TypeError):
        return dict(settings)
    others = every_setting().keys() - own.keys()
    return {name: value for name, value in settings.items() if name not in others}
