"""Where episodes come from."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .augmented import Augmented
from .dataset import FewShotDataset, as_dataset
from .episodes import EpisodeBatch, Task
from .gaussian_processes import GaussianProcesses
from .linear_functions import LinearFunctions
from .sampler import EpisodeSampler, Streams, TaskSource, create_task_batch
from .sinusoids import Sinusoids

if TYPE_CHECKING:
    from .data.folder_check import check_image_folder
    from .data.glyphs import load_glyphs
    from .data.image_folder import Preparation, load_image_folder, load_picture, read_image_folder
    from .data.omniglot import load_omniglot
    from .data.one_shot import OneShotTasks, load_one_shot_runs, official_runs

__all__ = [
    "Augmented",
    "EpisodeBatch",
    "EpisodeSampler",
    "FewShotDataset",
    "GaussianProcesses",
    "LinearFunctions",
    "OneShotTasks",
    "Preparation",
    "Sinusoids",
    "Streams",
    "Task",
    "TaskSource",
    "as_dataset",
    "check_image_folder",
    "create_task_batch",
    "load_glyphs",
    "load_image_folder",
    "load_omniglot",
    "load_one_shot_runs",
    "load_picture",
    "official_runs",
    "read_image_folder",
]

# Loaded at first use: these bring in Matplotlib and Pillow.
_LATER = {
    "check_image_folder": ".data.folder_check",
    "load_glyphs": ".data.glyphs",
    "Preparation": ".data.image_folder",
    "load_image_folder": ".data.image_folder",
    "load_picture": ".data.image_folder",
    "read_image_folder": ".data.image_folder",
    "load_omniglot": ".data.omniglot",
    "OneShotTasks": ".data.one_shot",
    "load_one_shot_runs": ".data.one_shot",
    "official_runs": ".data.one_shot",
}

# Modules of `data` that used to be here; older scripts import them from here.
_ONCE_HERE = {"folder_check", "glyphs", "image_folder", "omniglot", "one_shot"}


def __getattr__(name: str) -> Any:
    if name in _ONCE_HERE:
        return import_module(f".data.{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATER[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
