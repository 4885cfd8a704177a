"""Where episodes come from."""

from .dataset import FewShotDataset, as_dataset
from .episodes import EpisodeBatch, Task
from .glyphs import load_glyphs
from .image_folder import load_image_folder
from .omniglot import load_omniglot
from .sampler import EpisodeSampler, TaskSource, create_task_batch
from .sinusoids import Sinusoids

__all__ = [
    "EpisodeBatch",
    "EpisodeSampler",
    "FewShotDataset",
    "Sinusoids",
    "Task",
    "TaskSource",
    "as_dataset",
    "create_task_batch",
    "load_glyphs",
    "load_image_folder",
    "load_omniglot",
]
