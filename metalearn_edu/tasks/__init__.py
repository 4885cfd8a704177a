"""Where episodes come from."""

from .dataset import FewShotDataset, as_dataset
from .episodes import EpisodeBatch, Task
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
]
