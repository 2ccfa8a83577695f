"""What only MC dropout promises; the rest is in its contract."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from querist.config.learner import LearnerSettings
from querist.errors import ConfigurationError, LearnerError
from querist.learners import McDropout, McDropoutLearner, build_learner
from querist.pools import LabeledSet, TensorPool
from querist.protocols import SamplingPredictor

FEATURES = torch.rand(30, 4, generator=torch.Generator().manual_seed(5))
LABELED = LabeledSet(TensorPool(FEATURES), torch.arange(30), torch.arange(30) % 3)


def made(dropout: float = 0.5, samples: Any = 200, member: Any = None) -> McDropoutLearner:
    own = member or {
        "name": "examples.digits.model:DigitClassifier",
        "options": {"features": 4, "hidden": 32, "classes": 3, "dropout": dropout},
    }
    settings = LearnerSettings(
        learner={"name": "mc_dropout", "options": {"member": own, "samples": samples}},
        training={"threads": 1, "device": "cpu"},
    )
    learner = build_learner(settings, classes=3, sample=FEATURES[:1])
    assert isinstance(learner, McDropoutLearner)
    return learner


def test_the_masks_are_those_of_training(job: Any) -> None:
    learner = made(samples=2000)
    learner.fit(LABELED, job())
    module = learner._member.module.train()
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = torch.stack([module(FEATURES).softmax(1) for _ in range(2000)])
    ours = learner.predict_proba_samples(FEATURES)
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0, atol=0.02)
    torch.testing.assert_close(learner.predict_proba(FEATURES), ours.mean(0))


def test_masks_change_with_the_model_alone(job: Any) -> None:
    learner = made(samples=3)
    assert isinstance(learner, SamplingPredictor)
    first = learner.predict_proba_samples(FEATURES)
    assert torch.equal(first, learner.predict_proba_samples(FEATURES))
    weights = learner.state_files()["weights.safetensors"]
    learner.fit(
        LABELED, job(max_training_epochs=1, optimizer={"name": "SGD", "options": {"lr": 1e-12}})
    )
    assert not torch.allclose(first, learner.predict_proba_samples(FEATURES))
    seed = json.loads(learner.state_files()["mc_dropout.json"])["seed"]
    learner.fit(LABELED, job(iteration=1, max_fine_tuning_epochs=0))
    assert json.loads(learner.state_files()["mc_dropout.json"])["seed"] != seed
    learner.reset()
    assert learner.state_files()["weights.safetensors"] == weights
    assert torch.equal(first, learner.predict_proba_samples(FEATURES))


def test_models_that_do_not_fit() -> None:
    with pytest.raises(LearnerError, match="dropout layers above 0, and DigitClassifier has none"):
        made(dropout=0.0)
    tree = {"name": "sklearn", "options": {"estimator": "DecisionTreeClassifier"}}
    with pytest.raises(LearnerError, match=r"member of mc_dropout is a torch\.nn\.Module, and"):
        made(member=tree)
    for wrong in (0, True, 1.5, 10**6):
        with pytest.raises(ConfigurationError, match="samples of mc_dropout is 1 to 10000, not"):
            made(samples=wrong)
    with pytest.raises(ConfigurationError, match="did you mean 'mc_dropout'"):
        McDropout("mc_dropuot")
