"""The algorithms, each in its own file."""

from .anil import ANIL, BOIL
from .base import MetaLearner
from .conditional_neural_process import ConditionalNeuralProcess
from .fine_tuned import FineTuned
from .imaml import IMAML
from .in_context import InContextLearner, gaussian_nll
from .in_context_transformer import InContextTransformer
from .linear_self_attention import LinearSelfAttention
from .maml import MAML, MAMLModel
from .mann import MANN, LSTMController, MANNController
from .meta_sgd import MetaSGD
from .ordinary_classifier import OrdinaryClassifier
from .prototypical import EnhancedProtoNet, PrototypicalNetwork, class_prototypes, embed_dataset
from .relation import RelationNetwork
from .reptile import Reptile
from .ridge_head import RidgeHead
from .task_conditioned import TaskConditionedNetwork, TaskEncoder

__all__ = [
    "ANIL",
    "BOIL",
    "IMAML",
    "MAML",
    "MANN",
    "ConditionalNeuralProcess",
    "EnhancedProtoNet",
    "FineTuned",
    "InContextLearner",
    "InContextTransformer",
    "LSTMController",
    "LinearSelfAttention",
    "MAMLModel",
    "MANNController",
    "MetaLearner",
    "MetaSGD",
    "OrdinaryClassifier",
    "PrototypicalNetwork",
    "RelationNetwork",
    "Reptile",
    "RidgeHead",
    "TaskConditionedNetwork",
    "TaskEncoder",
    "class_prototypes",
    "embed_dataset",
    "gaussian_nll",
]
