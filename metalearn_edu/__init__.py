"""metalearn_edu: a hands-on course on learning to learn.

The one idea: a meta-learner turns a support set into a predictor. Everything that a lesson needs
for this can be imported from here; figures are in `metalearn_edu.plotting`, widgets in
`metalearn_edu.explorers`, the exercises' solutions in `metalearn_edu.exercises`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        evaluate_likelihood,
        evaluate_meta_learner,
        score_one_shot_runs,
    )
    from .exact_posterior import ExactPosterior
    from .learners import (
        ANIL,
        BOIL,
        IMAML,
        MAML,
        MANN,
        ConditionalNeuralProcess,
        EnhancedProtoNet,
        FineTuned,
        InContextLearner,
        InContextTransformer,
        LinearSelfAttention,
        LSTMController,
        MAMLModel,
        MANNController,
        MetaLearner,
        MetaSGD,
        OrdinaryClassifier,
        PrototypicalNetwork,
        RelationNetwork,
        Reptile,
        RidgeHead,
        TaskConditionedNetwork,
        TaskEncoder,
        class_prototypes,
        embed_dataset,
        gaussian_nll,
    )
    from .streams import evaluate_streams, first_instance_ceiling, instance_numbers
    from .study import (
        Recommendation,
        judge_rule,
        rule_of_thumb,
        select_meta_learning_algorithm,
    )
    from .tasks import (
        Augmented,
        EpisodeBatch,
        EpisodeSampler,
        FewShotDataset,
        GaussianProcesses,
        LinearFunctions,
        OneShotTasks,
        Preparation,
        Sinusoids,
        Streams,
        Task,
        TaskSource,
        as_dataset,
        check_image_folder,
        create_task_batch,
        load_glyphs,
        load_image_folder,
        load_omniglot,
        load_one_shot_runs,
        load_picture,
        official_runs,
        read_image_folder,
    )
    from .training import History, meta_train

__version__ = "0.1.0"

__all__ = [
    "ANIL",
    "BOIL",
    "IMAML",
    "MAML",
    "MANN",
    "MLP",
    "Augmented",
    "Comparison",
    "ConditionalNeuralProcess",
    "ConvNet",
    "EnhancedProtoNet",
    "EpisodeBatch",
    "EpisodeSampler",
    "Evaluation",
    "ExactPosterior",
    "FewShotDataset",
    "FineTuned",
    "GaussianProcesses",
    "History",
    "InContextLearner",
    "InContextTransformer",
    "LSTMController",
    "LinearFunctions",
    "LinearSelfAttention",
    "MAMLModel",
    "MANNController",
    "MetaLearner",
    "MetaSGD",
    "OneShotTasks",
    "OrdinaryClassifier",
    "Preparation",
    "PrototypicalNetwork",
    "Recommendation",
    "RelationNetwork",
    "Report",
    "Reptile",
    "RidgeHead",
    "Sinusoids",
    "Streams",
    "Study",
    "Task",
    "TaskConditionedNetwork",
    "TaskEncoder",
    "TaskSource",
    "as_dataset",
    "check_episodes",
    "check_image_folder",
    "check_meta_gradient",
    "check_splits",
    "check_transduction",
    "class_prototypes",
    "compare_meta_learners",
    "create_task_batch",
    "embed_dataset",
    "evaluate_likelihood",
    "evaluate_meta_learner",
    "evaluate_streams",
    "first_instance_ceiling",
    "gaussian_nll",
    "instance_numbers",
    "judge_rule",
    "load_glyphs",
    "load_image_folder",
    "load_omniglot",
    "load_one_shot_runs",
    "load_picture",
    "load_study",
    "meta_train",
    "official_runs",
    "read_image_folder",
    "rule_of_thumb",
    "score_one_shot_runs",
    "select_meta_learning_algorithm",
]

_ROOMS = {
    "backbones": "ConvNet MLP",
    "diagnostics": "Report check_episodes check_meta_gradient check_splits check_transduction",
    "evaluation": (
        "Comparison Evaluation compare_meta_learners evaluate_likelihood evaluate_meta_learner "
        "score_one_shot_runs"
    ),
    "exact_posterior": "ExactPosterior",
    "learners": (
        "ANIL BOIL ConditionalNeuralProcess EnhancedProtoNet FineTuned IMAML InContextLearner "
        "InContextTransformer LSTMController LinearSelfAttention MAML MAMLModel MANN "
        "MANNController MetaLearner MetaSGD OrdinaryClassifier PrototypicalNetwork "
        "RelationNetwork Reptile RidgeHead TaskConditionedNetwork TaskEncoder class_prototypes "
        "embed_dataset gaussian_nll"
    ),
    "study": (
        "Recommendation Study judge_rule load_study rule_of_thumb select_meta_learning_algorithm"
    ),
    "streams": "evaluate_streams first_instance_ceiling instance_numbers",
    "training": "History meta_train",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}
"""The room of each name that is not in tasks."""

_PLAIN_ROOMS = {*(room.split(".")[0] for room in _ROOMS), "basics", "checkpoints", "tasks"}
"""The rooms that are attributes of the package without being imported first."""


def __getattr__(name: str) -> Any:
    # Everything loads at first use: PyTorch takes seconds, and Ctrl-C and `--help` need not wait.
    if name in _PLAIN_ROOMS:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ROOM_OF.get(name, 'tasks')}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
