"""Learners: a model plus how it is fitted and how it predicts."""

from querist.learners.build import LearnerContext, MakesLearner, build_learner
from querist.learners.command_learner import CommandLearner
from querist.learners.ensemble import Ensemble, StackedEnsemble
from querist.learners.hugging_face import hf_image_classifier, hf_sequence_classifier
from querist.learners.laplace import Laplace, LaplaceLearner
from querist.learners.mc_dropout import McDropout, McDropoutLearner
from querist.learners.one_by_one import OneByOne
from querist.learners.partial_fit import PartialFit, PartialFitLearner
from querist.learners.sklearn_learner import SklearnLearner, sklearn
from querist.learners.sklearn_members import SklearnMembers
from querist.learners.torch_learner import TorchLearner

__all__ = [
    "CommandLearner",
    "Ensemble",
    "Laplace",
    "LaplaceLearner",
    "LearnerContext",
    "MakesLearner",
    "McDropout",
    "McDropoutLearner",
    "OneByOne",
    "PartialFit",
    "PartialFitLearner",
    "SklearnLearner",
    "SklearnMembers",
    "StackedEnsemble",
    "TorchLearner",
    "build_learner",
    "hf_image_classifier",
    "hf_sequence_classifier",
    "sklearn",
]
