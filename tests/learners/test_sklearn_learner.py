from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from querist.errors import ConfigurationError, LearnerError, UnknownNameError
from querist.learners import SklearnLearner, sklearn
from querist.pools import LabeledSet, TensorPool

FEATURES = torch.rand(60, 2, 2, generator=torch.Generator().manual_seed(5))
CLASSES = (FEATURES[:, 0, 0] * 3).long()
NUMBERS = FEATURES.sum((1, 2))

CLASSIFIERS = [
    "AdaBoostClassifier", "BaggingClassifier", "DecisionTreeClassifier", "ExtraTreesClassifier",
    "GaussianNB", "GaussianProcessClassifier", "GradientBoostingClassifier",
    "HistGradientBoostingClassifier", "KNeighborsClassifier", "LinearDiscriminantAnalysis",
    "LogisticRegression", "MLPClassifier", "RandomForestClassifier",
]  # fmt: skip
REGRESSORS = [
    "BayesianRidge", "ElasticNet", "GaussianProcessRegressor", "GradientBoostingRegressor",
    "KNeighborsRegressor", "LinearRegression", "MLPRegressor", "RandomForestRegressor", "Ridge",
    "SVR",
]  # fmt: skip


def labeled(targets: torch.Tensor, n: int = 60) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(n), targets[:n])


def small(name: str) -> Any:
    parameters = (
        {"n_estimators": 5} if "Forest" in name or "Boost" in name or "Trees" in name else {}
    )
    if "Hist" in name or "MLP" in name:
        parameters = {"max_iter": 5}
    return sklearn(name, parameters)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
@pytest.mark.filterwarnings("ignore")
def test_estimators_learn_and_come_back_bit_by_bit(job: Any, name: str) -> None:
    classes = 3 if name in CLASSIFIERS else None
    data = labeled(CLASSES if classes else NUMBERS)

    def trained() -> SklearnLearner:
        made = SklearnLearner(small(name), classes=classes, threads=1)
        report = made.fit(data, job())
        assert report.train_loss is not None
        return made

    made = trained()
    files = made.state_files()
    other = SklearnLearner(small(name), classes=classes, threads=1)
    other.load_state_files(files)
    assert torch.equal(made.predict(FEATURES), other.predict(FEATURES))
    if classes:
        proba = other.predict_proba(FEATURES)
        assert proba.shape == (60, 3)
        assert torch.allclose(proba.sum(1), torch.ones(60, dtype=proba.dtype))
        assert torch.equal(proba, made.predict_proba(FEATURES))
    assert trained().state_files() == files, "the same training gave other bytes"


def test_classes_without_a_label_so_far_have_probability_0(job: Any) -> None:
    made = SklearnLearner(LogisticRegression(), classes=5)
    targets = torch.tensor([1, 3] * 30)
    made.fit(labeled(targets), job())
    proba = made.predict_proba(FEATURES)
    assert proba.shape == (60, 5)
    assert proba[:, [0, 2, 4]].abs().sum() == 0
    assert set(made.predict(FEATURES).tolist()) <= {1, 3}


def test_random_states_come_from_the_runs_seed(job: Any) -> None:
    def trained(**more: Any) -> torch.Tensor:
        made = SklearnLearner(RandomForestClassifier(n_estimators=5), classes=3)
        made.fit(labeled(CLASSES), job(**more))
        return made.predict_proba(FEATURES)

    assert torch.equal(trained(seed=1), trained(seed=1))
    assert not torch.equal(trained(seed=1), trained(seed=2))
    assert not torch.equal(trained(seed=1), trained(seed=1, iteration=1))


def test_a_random_state_that_is_set_stays(job: Any) -> None:
    made = SklearnLearner(RandomForestClassifier(n_estimators=2, random_state=77), classes=3)
    made.fit(labeled(CLASSES), job())
    assert made._fitted.random_state == 77


def test_random_states_inside_a_pipeline_are_seeded_too(job: Any) -> None:
    def trained() -> torch.Tensor:
        made = SklearnLearner(
            make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=5)), classes=3
        )
        made.fit(labeled(CLASSES), job())
        return made.predict_proba(FEATURES)

    assert torch.equal(trained(), trained())


def test_the_template_is_never_fitted(job: Any) -> None:
    estimator = LogisticRegression()
    made = SklearnLearner(estimator, classes=3)
    made.fit(labeled(CLASSES), job())
    assert not hasattr(estimator, "coef_")
    made.reset()
    assert made.state_files() == {}
    with pytest.raises(LearnerError, match="only after it was fitted"):
        made.predict_proba(FEATURES)


def test_a_state_that_was_never_fitted(job: Any) -> None:
    made = SklearnLearner(LogisticRegression(), classes=3)
    made.fit(labeled(CLASSES), job())
    made.load_state_files({})
    with pytest.raises(LearnerError, match="skip_training"):
        made.predict(FEATURES)


def test_estimators_that_do_not_fit() -> None:
    with pytest.raises(LearnerError, match="LogisticRegression is a classifier, .* are numbers"):
        SklearnLearner(LogisticRegression(), classes=None)
    with pytest.raises(LearnerError, match="Ridge is a regressor, .* are 3 classes"):
        SklearnLearner(Ridge(), classes=3)
    with pytest.raises(LearnerError, match="LinearSVC gives no class probabilities"):
        SklearnLearner(sklearn("LinearSVC"), classes=3)
    with pytest.raises(LearnerError, match="no class probabilities"):
        SklearnLearner(Ridge(), classes=None).predict_proba(FEATURES)


def test_names_and_parameters() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'LogisticRegression'"):
        sklearn("LogisticRegresion")
    with pytest.raises(ConfigurationError, match="refused its parameters"):
        sklearn("LogisticRegression", {"c": 1})
    with pytest.raises(ConfigurationError, match="'C' parameter"):
        sklearn("LogisticRegression", {"C": -1})
    with pytest.raises(ConfigurationError, match="VotingClassifier refused"):
        sklearn("VotingClassifier")


def test_too_few_labels_for_the_estimator(job: Any) -> None:
    made = SklearnLearner(sklearn("KNeighborsClassifier"), classes=3)
    with pytest.raises(LearnerError, match="KNeighborsClassifier cannot learn from the 3 labels"):
        made.fit(labeled(CLASSES, 3), job())
    one_class = SklearnLearner(LogisticRegression(), classes=3)
    with pytest.raises(LearnerError, match="cannot learn from the 60 labels"):
        one_class.fit(labeled(torch.zeros(60, dtype=torch.int64)), job())


def test_a_checkpoint_brings_no_types_of_its_own(job: Any) -> None:
    import skops.io

    from querist.values import Label

    content = skops.io.dumps(Label(1, 2))
    made = SklearnLearner(LogisticRegression(), classes=3)
    with pytest.raises(
        LearnerError, match=r"may not bring types of its own: querist\.values\.Label"
    ):
        made.load_state_files({"estimator.skops": content})
