"""The algorithms, one file each."""

from .base import MetaLearner
from .maml import MAML, MAMLModel
from .mann import MANN, LSTMController, MANNController
from .meta_sgd import MetaSGD
from .prototypical import EnhancedProtoNet, PrototypicalNetwork, class_prototypes, embed_dataset
from .relation import RelationNetwork
from .task_conditioned import TaskConditionedNetwork, TaskEncoder

__all__ = [
    "MAML",
    "MANN",
    "EnhancedProtoNet",
    "LSTMController",
    "MAMLModel",
    "MANNController",
    "MetaLearner",
    "MetaSGD",
    "PrototypicalNetwork",
    "RelationNetwork",
    "TaskConditionedNetwork",
    "TaskEncoder",
    "class_prototypes",
    "embed_dataset",
]
