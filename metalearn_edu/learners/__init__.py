"""The algorithms, one file each."""

from .base import MetaLearner
from .maml import MAML, MAMLModel
from .prototypical import EnhancedProtoNet, PrototypicalNetwork, class_prototypes, embed_dataset

__all__ = [
    "MAML",
    "EnhancedProtoNet",
    "MAMLModel",
    "MetaLearner",
    "PrototypicalNetwork",
    "class_prototypes",
    "embed_dataset",
]
