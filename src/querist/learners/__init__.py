"""Learners: a model plus how it is fitted and how it predicts."""

from querist.learners.build import build_learner
from querist.learners.command_learner import CommandLearner
from querist.learners.hugging_face import hf_image_classifier, hf_sequence_classifier
from querist.learners.sklearn_learner import SklearnLearner, sklearn
from querist.learners.torch_learner import TorchLearner

__all__ = [
    "CommandLearner",
    "SklearnLearner",
    "TorchLearner",
    "build_learner",
    "hf_image_classifier",
    "hf_sequence_classifier",
    "sklearn",
]
