from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from querist.errors import LearnerError
from querist.learners import SklearnMembers
from querist.pools import LabeledSet, TensorPool
from querist.protocols import SamplingPredictor
from querist.views import View, views_of

FEATURES = torch.rand(30, 4, generator=torch.Generator().manual_seed(5))


def labeled(targets: torch.Tensor) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(len(targets)), targets)


def test_classes_are_those_of_the_pool(job: Any) -> None:
    """Columns of classes without a label are 0 in every tree."""
    made = SklearnMembers(RandomForestClassifier(n_estimators=6), classes=5)
    made.fit(labeled(torch.tensor([1, 3, 1] * 10)), job())
    found = made.predict_proba_samples(FEATURES)
    assert found.shape == (6, 30, 5)
    assert float(found[:, :, [0, 2, 4]].abs().sum()) == 0
    torch.testing.assert_close(found.mean(0), made.predict_proba(FEATURES))
    assert isinstance(made, SamplingPredictor)
    assert View.PROBABILITY_SAMPLES in views_of(made)


def test_numbers_of_each_tree(job: Any) -> None:
    made = SklearnMembers(RandomForestRegressor(n_estimators=6), classes=None)
    made.fit(labeled(FEATURES.sum(1)), job())
    found = made.predict_samples(FEATURES)
    assert found.shape == (6, 30)
    torch.testing.assert_close(found.mean(0), made.predict(FEATURES))
    with pytest.raises(LearnerError, match="no class probabilities"):
        made.predict_proba_samples(FEATURES)
