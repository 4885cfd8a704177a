"""metalearn_edu: a hands-on course on learning to learn.

The one idea: a meta-learner turns a support set into a predictor. All that a lesson needs to say
so is importable from here; figures are in `metalearn_edu.plotting`, widgets in
`metalearn_edu.explorers`, the exercises' solutions in `metalearn_edu.exercises`.
"""

from typing import TYPE_CHECKING, Any

from . import tasks
from .backbones import MLP, ConvNet
from .diagnostics import (
    Report,
    check_episodes,
    check_meta_gradient,
    check_splits,
    check_transduction,
)
from .evaluation import (
    Comparison,
    Evaluation,
    compare_meta_learners,
    evaluate_meta_learner,
    evaluate_streams,
    first_instance_ceiling,
    instance_numbers,
    score_one_shot_runs,
)
from .learners import (
    MAML,
    MANN,
    EnhancedProtoNet,
    LSTMController,
    MAMLModel,
    MANNController,
    MetaLearner,
    MetaSGD,
    PrototypicalNetwork,
    RelationNetwork,
    TaskConditionedNetwork,
    TaskEncoder,
    class_prototypes,
    embed_dataset,
)
from .tasks import (
    Augmented,
    EpisodeBatch,
    EpisodeSampler,
    FewShotDataset,
    Sinusoids,
    Streams,
    Task,
    TaskSource,
    as_dataset,
    create_task_batch,
)
from .training import History, meta_train

if TYPE_CHECKING:
    from .tasks import (
        OneShotTasks,
        load_glyphs,
        load_image_folder,
        load_omniglot,
        load_one_shot_runs,
        official_runs,
    )

__version__ = "0.1.0"

__all__ = [
    "MAML",
    "MANN",
    "MLP",
    "Augmented",
    "Comparison",
    "ConvNet",
    "EnhancedProtoNet",
    "EpisodeBatch",
    "EpisodeSampler",
    "Evaluation",
    "FewShotDataset",
    "History",
    "LSTMController",
    "MAMLModel",
    "MANNController",
    "MetaLearner",
    "MetaSGD",
    "OneShotTasks",
    "PrototypicalNetwork",
    "RelationNetwork",
    "Report",
    "Sinusoids",
    "Streams",
    "Task",
    "TaskConditionedNetwork",
    "TaskEncoder",
    "TaskSource",
    "as_dataset",
    "check_episodes",
    "check_meta_gradient",
    "check_splits",
    "check_transduction",
    "class_prototypes",
    "compare_meta_learners",
    "create_task_batch",
    "embed_dataset",
    "evaluate_meta_learner",
    "evaluate_streams",
    "first_instance_ceiling",
    "instance_numbers",
    "load_glyphs",
    "load_image_folder",
    "load_omniglot",
    "load_one_shot_runs",
    "meta_train",
    "official_runs",
    "score_one_shot_runs",
]


def __getattr__(name: str) -> Any:
    # The loaders of `tasks` come at first use: they bring in Matplotlib and Pillow.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(tasks, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
