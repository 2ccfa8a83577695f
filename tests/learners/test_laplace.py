"""Against numerical references; what all learners keep is in the contract."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import hessian

from querist.config.learner import LearnerSettings
from querist.errors import ConfigurationError, LearnerError
from querist.learners import Laplace, LaplaceLearner, build_learner
from querist.pools import LabeledSet, TensorPool
from querist.protocols import SamplingPredictor

DRAWN = torch.Generator().manual_seed(5)
FEATURES = torch.randn(60, 2, generator=DRAWN)
CLASSES = (FEATURES @ torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])).argmax(1)
NUMBERS = FEATURES[:, 0] - 0.5 + 0.1 * torch.randn(60, generator=DRAWN)
ADAM = {"name": "Adam", "options": {"lr": 0.05}}


class Line(nn.Linear):
    """A linear model, whose Laplace approximation is exact linear algebra."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__(2, outputs)


def made(learner: Any, outputs: int | None = 3, prior: Any = 0.5, **more: Any) -> LaplaceLearner:
    """A Laplace learner around a line (3 classes, 2 classes by one logit for 1, numbers for -1)."""
    classes = {3: 3, 1: 2, None: None}[outputs]
    member = learner(lambda: Line(outputs or 1), classes, device="cpu", **more)
    return LaplaceLearner(member, sample=FEATURES[:1], prior=prior, samples=4000, seed=2)


def labeled(targets: torch.Tensor, n: int = 60) -> LabeledSet:
    return LabeledSet(TensorPool(FEATURES), torch.arange(n), targets[:n])


def covariance(module: nn.Module, prior: float, targets: torch.Tensor) -> torch.Tensor:
    """The inverse of the exact Hessian in (weights, bias) of each output, `(c, 3, c, 3)`."""
    flat = torch.cat([module.weight, module.bias[:, None]], 1).detach().double()

    def loss(both: torch.Tensor) -> torch.Tensor:
        outputs = FEATURES.double() @ both[:, :2].T + both[:, 2]
        if len(flat) == 1:
            likelihood = nn.functional.binary_cross_entropy_with_logits(
                outputs[:, 0], targets.double(), reduction="sum"
            )
        else:
            likelihood = nn.functional.cross_entropy(outputs, targets, reduction="sum")
        return likelihood + prior / 2 * both.square().sum()

    found = hessian(loss)(flat).reshape(flat.numel(), -1)
    return torch.linalg.inv(found).reshape(*flat.shape, *flat.shape)


@pytest.mark.parametrize("outputs", [3, 1])
def test_probabilities_are_those_of_the_exact_hessian(job: Any, learner: Any, outputs: int) -> None:
    targets = CLASSES if outputs == 3 else CLASSES % 2
    laplace = made(learner, outputs)
    laplace.fit(labeled(targets), job(optimizer=ADAM, max_training_epochs=20))
    module = laplace._member.module
    inputs = torch.cat([FEATURES, torch.ones(60, 1)], 1).double()
    own = covariance(module, 0.5, targets)
    variances = torch.einsum("nd,adae,ne->na", inputs, own, inputs)
    with torch.no_grad():
        logits = module(FEATURES).double()
    shrunk = logits / (1 + math.pi / 8 * variances).sqrt()
    if outputs == 3:
        expected = shrunk.softmax(1)
    else:
        expected = torch.cat([1 - shrunk.sigmoid(), shrunk.sigmoid()], 1)
    found = laplace.predict_proba(FEATURES)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

    # The draws' mean is what MacKay's formula approximates.
    drawn = laplace.predict_proba_samples(FEATURES)
    assert drawn.shape == (4000, 60, laplace.classes)
    torch.testing.assert_close(drawn.mean(0), expected, rtol=0, atol=0.1)


def test_draws_have_the_posteriors_covariance(job: Any, learner: Any) -> None:
    laplace = made(learner, None, prior=2.0)
    laplace.fit(labeled(NUMBERS), job(optimizer=ADAM, max_training_epochs=40))
    inputs = torch.cat([FEATURES, torch.ones(60, 1)], 1).double()
    exact = torch.linalg.inv(inputs.T @ inputs / laplace.noise + 2.0 * torch.eye(3).double())
    variance = ((inputs @ exact) * inputs).sum(1)
    torch.testing.assert_close(laplace.predict_variance(FEATURES), variance + laplace.noise)
    samples = laplace.predict_samples(FEATURES)
    assert samples.shape == (4000, 60)
    torch.testing.assert_close(samples.var(0), variance, rtol=0.15, atol=0)
    mean = laplace.predict(FEATURES).double()
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.01)
    assert laplace.noise == pytest.approx(0.01, rel=0.5)


def test_several_numbers_have_a_variance_each(job: Any, learner: Any) -> None:
    member = learner(lambda: nn.Linear(2, 2), None, device="cpu")
    laplace = LaplaceLearner(member, sample=FEATURES[:1], prior=None, samples=7, seed=2)
    laplace.fit(labeled(FEATURES * 2), job())
    assert laplace.predict_variance(FEATURES).shape == (60, 2)
    assert laplace.predict_samples(FEATURES).shape == (7, 60, 2)
    assert laplace.predict(FEATURES).shape == (60, 2)


def test_it_is_less_sure_far_from_its_labels(job: Any, learner: Any) -> None:
    laplace = made(learner)
    laplace.fit(labeled(CLASSES), job(optimizer=ADAM, max_training_epochs=60))
    far = FEATURES * 1000
    assert float(laplace._member.predict_proba(far).max(1).values.mean()) > 0.99
    assert float(laplace.predict_proba(far).max(1).values.mean()) < 0.97


def test_the_prior_may_be_the_most_likely_one(job: Any, learner: Any) -> None:
    laplace = made(learner, prior=None)
    assert laplace.prior == 1.0
    laplace.fit(labeled(CLASSES), job(optimizer=ADAM, max_training_epochs=20))
    values, norm = laplace._curvature.eigenvalues(), laplace._layer.squared_norm()
    gamma = float((values / (values + laplace.prior)).sum())
    assert laplace.prior == pytest.approx(gamma / norm, rel=1e-3)
    again = made(learner, prior=None)
    again.load_state_files(laplace.state_files())
    assert again.prior == laplace.prior


def test_the_module_is_trained_as_it_would_be_alone(job: Any, learner: Any) -> None:
    laplace, alone = made(learner), learner(Line, 3, device="cpu")
    laplace.fit(labeled(CLASSES), job())
    alone.fit(labeled(CLASSES), job())
    files = laplace.state_files()
    assert {name: files[name] for name in alone.state_files()} == alone.state_files()
    assert isinstance(laplace, SamplingPredictor)


def test_a_large_last_layer_is_factored(job: Any, learner: Any) -> None:
    def wide() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 400), nn.Tanh(), nn.Linear(400, 3))

    member = learner(wide, 3, device="cpu")
    laplace = LaplaceLearner(member, sample=FEATURES[:1], prior=1.0, samples=3, seed=2)
    laplace.fit(labeled(CLASSES), job())
    assert set(laplace._curvature.tensors()) == {
        "in_values", "in_vectors", "out_values", "out_vectors",
    }  # fmt: skip
    assert laplace.predict_proba(FEATURES).shape == (60, 3)
    assert laplace.predict_proba_samples(FEATURES).shape == (3, 60, 3)


def component(**options: Any) -> Any:
    member = {
        "name": "examples.digits.model:DigitClassifier",
        "options": {"features": 2, "classes": 3},
    }
    settings = LearnerSettings(
        learner={"name": "laplace", "options": {"member": member, **options}},
        training={"threads": 1, "device": "cpu"},
    )
    return build_learner(settings, classes=3, sample=FEATURES[:1])


def test_options() -> None:
    drawn = component(prior_precision="auto", samples=3).predict_proba_samples(FEATURES)
    assert drawn.shape == (3, 60, 3)
    for wrong in (0, -1.0, True, "much"):
        with pytest.raises(ConfigurationError, match="prior_precision is a number above 0 or auto"):
            component(prior_precision=wrong)
    with pytest.raises(ConfigurationError, match="samples of laplace is 1 to 10000, not 0"):
        component(samples=0)
    tree = {"name": "sklearn", "options": {"estimator": "DecisionTreeClassifier"}}
    with pytest.raises(LearnerError, match=r"the member of laplace is a torch\.nn\.Module"):
        component(member=tree)
    with pytest.raises(ConfigurationError, match="the member of laplace: .*not allowed"):
        Laplace("os:system")


def test_losses_without_a_known_curvature(learner: Any) -> None:
    with pytest.raises(LearnerError, match="not of the loss huber: set training.loss"):
        made(learner, None, loss="huber")


def test_questions_for_the_other_task(learner: Any) -> None:
    with pytest.raises(LearnerError, match="predict_variance is for numbers"):
        made(learner).predict_variance(FEATURES)
    for name in ("predict_proba", "predict_proba_samples"):
        with pytest.raises(LearnerError, match="no class probabilities"):
            getattr(made(learner, None), name)(FEATURES)
