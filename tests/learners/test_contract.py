"""Every learner keeps its contract."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from querist.config.training import TrainingConfig
from querist.learners import TorchLearner
from querist.protocols import Learner
from querist.testing import LearnerContract
from querist.training.loop import DefaultLoop
from querist.values import Task

MLP = "examples.digits.model:DigitClassifier"


def mlp(classes: int = 3, dropout: float = 0.2) -> dict[str, Any]:
    return {"name": MLP, "options": {"features": 4, "classes": classes, "dropout": dropout}}


def estimator(name: str, **parameters: Any) -> dict[str, Any]:
    return {"name": "sklearn", "options": {"estimator": name, "parameters": parameters}}


def partial_fit(name: str, **parameters: Any) -> dict[str, Any]:
    return {"name": "partial_fit", "options": {"estimator": name, "parameters": parameters}}


class TestModule(LearnerContract):
    learner = mlp()


LABELS = {"loss": "multilabel"}


class TestModuleForLabels(LearnerContract):
    learner, task, training = mlp(), Task.MULTILABEL, LABELS


class TestModuleForNumbers(LearnerContract):
    learner, task = mlp(classes=1), Task.REGRESSION


class WithSteps(nn.Module):
    """Brings its own steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def training_step(self, batch: Any) -> torch.Tensor:
        features, targets = batch
        return nn.functional.cross_entropy(self(features), targets, label_smoothing=0.05)

    def validate_step(self, batch: Any) -> torch.Tensor:
        return self.training_step(batch)


class TestModuleWithSteps(LearnerContract):
    def make(self) -> Learner:
        return self.learner_of(WithSteps)


def step(model: nn.Module, batch: Any) -> torch.Tensor:
    features, targets = batch
    return nn.functional.multi_margin_loss(model(features), targets)


class TestBareFunctions(LearnerContract):
    def make(self) -> Learner:
        torch.manual_seed(0)
        return TorchLearner(
            nn.Linear(4, 3),
            classes=3,
            sample=torch.zeros(1, 4),
            settings=TrainingConfig(threads=1, device="cpu"),
            loop=DefaultLoop(),
            train_step=step,
            validate_step=step,
        )


class TestLogisticRegression(LearnerContract):
    learner, learns_from_one_class = estimator("LogisticRegression"), False


class TestRandomForest(LearnerContract):
    learner = estimator("RandomForestClassifier", n_estimators=10)


class TestBagging(LearnerContract):
    learner = estimator("BaggingClassifier", n_estimators=8, max_features=0.75)


class TestNetworkOfScikitLearn(LearnerContract):
    learner = estimator("MLPClassifier", hidden_layer_sizes=[8], solver="lbfgs", max_iter=500)


class TestRidge(LearnerContract):
    learner, task = estimator("Ridge"), Task.REGRESSION


class TestRandomForestForNumbers(LearnerContract):
    learner, task = estimator("RandomForestRegressor", n_estimators=10), Task.REGRESSION


class TestHistogramBoosting(LearnerContract):
    learner = estimator("HistGradientBoostingClassifier", max_iter=5, min_samples_leaf=2)


class TestHistogramBoostingForNumbers(LearnerContract):
    learner = estimator("HistGradientBoostingRegressor", max_iter=20, min_samples_leaf=2)
    task = Task.REGRESSION


class TestPartialFitOfLinearModel(LearnerContract):
    learner = partial_fit("SGDClassifier", loss="log_loss")


class TestPartialFitOfNetwork(LearnerContract):
    learner = partial_fit("MLPClassifier", hidden_layer_sizes=[16], learning_rate_init=0.02)


class TestPartialFitOfNaiveBayes(LearnerContract):
    learner = partial_fit("MultinomialNB")


class TestPartialFitOfNumbers(LearnerContract):
    learner, task = partial_fit("SGDRegressor"), Task.REGRESSION


class TestPartialFitOfNetworkForNumbers(LearnerContract):
    learner = partial_fit("MLPRegressor", hidden_layer_sizes=[16], learning_rate_init=0.02)
    task = Task.REGRESSION


def ensemble(member: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "ensemble", "options": {"member": member, "n": 3, **more}}


class TestEnsemble(LearnerContract):
    learner = ensemble(mlp())


class TestEnsembleForLabels(LearnerContract):
    learner, task, training = ensemble(mlp()), Task.MULTILABEL, LABELS


class TestBootstrappedEnsembleForLabels(LearnerContract):
    learner = ensemble(mlp(), bootstrap=True)
    task, training = Task.MULTILABEL, LABELS


class TestEnsembleForNumbers(LearnerContract):
    learner, task = ensemble(mlp(classes=1)), Task.REGRESSION


class TestBootstrappedEnsemble(LearnerContract):
    learner = ensemble(mlp(), bootstrap=True)


class TestBootstrappedEnsembleForNumbers(LearnerContract):
    learner, task = ensemble(mlp(classes=1), bootstrap=True), Task.REGRESSION


class TestEnsembleOneByOne(LearnerContract):
    learner, training = ensemble(mlp(), bootstrap=True), {"clip_grad_norm": 1.0}


class TestEnsembleOneByOneForNumbers(LearnerContract):
    learner, training = ensemble(mlp(classes=1)), {"clip_grad_norm": 1.0}
    task = Task.REGRESSION


class TestEnsembleOneByOneForLabels(LearnerContract):
    learner = ensemble(mlp(), bootstrap=True)
    task, training = Task.MULTILABEL, {**LABELS, "clip_grad_norm": 1.0}


class TestEnsembleOfEstimators(LearnerContract):
    learner = ensemble(estimator("DecisionTreeClassifier"), bootstrap=True)


class TestEnsembleOfPartialFit(LearnerContract):
    learner = ensemble(partial_fit("SGDClassifier", loss="log_loss"))


def mc_dropout(classes: int = 3) -> dict[str, Any]:
    return {"name": "mc_dropout", "options": {"member": mlp(classes, 0.3), "samples": 5}}


def laplace(classes: int = 3, **more: Any) -> dict[str, Any]:
    return {"name": "laplace", "options": {"member": mlp(classes), "samples": 5, **more}}


class TestMcDropout(LearnerContract):
    learner = mc_dropout()


class TestMcDropoutForNumbers(LearnerContract):
    learner, task = mc_dropout(classes=1), Task.REGRESSION


class TestMcDropoutForLabels(LearnerContract):
    learner, task, training = mc_dropout(), Task.MULTILABEL, LABELS


class TestLaplace(LearnerContract):
    learner = laplace()


class TestLaplaceWithPriorOfItsOwn(LearnerContract):
    learner = laplace(prior_precision="auto")


class TestLaplaceForNumbers(LearnerContract):
    learner, task = laplace(classes=1, prior_precision="auto"), Task.REGRESSION
