from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from querist.errors import ConfigurationError, StrategyError
from querist.phases.query import check_selection
from querist.pools import TensorPool
from querist.pools.combined import CombinedPool
from querist.runs.append_data import ItemPool
from querist.strategies.query.generated import ACQUISITIONS, Generated
from querist.testing import (
    DrawnNumbers,
    DrawnSoftmax,
    FixedNumbers,
    FixedProbabilities,
    LinearNumbers,
    LinearSoftmax,
    query_context,
)
from querist.testing.suite import global_randomness_untouched
from querist.values import Selection, Task
from querist.views import View

WEIGHTS = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(3)).double()


def context_for(acquisition: str, **more: Any) -> Any:
    task = Task.REGRESSION if acquisition == "predictive_variance" else Task.CLASSIFICATION
    learner = DrawnNumbers(WEIGHTS[:, :, 0]) if task is Task.REGRESSION else DrawnSoftmax(WEIGHTS)
    return query_context(learner=learner, **more)


def small(acquisition: str = "margin", **options: Any) -> Generated:
    return Generated(acquisition, **{"starts": 32, "steps": 8, **options})


def made(selection: Selection) -> torch.Tensor:
    assert isinstance(selection.samples, torch.Tensor)
    return selection.samples


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_samples_are_in_the_box_and_differ(acquisition: str) -> None:
    context = context_for(acquisition)
    with global_randomness_untouched():
        selection = small(acquisition).sample(context, 6)
    samples, known = made(selection), context.labeled.features()
    assert selection.indices == ()
    assert samples.shape == (6, 4)
    assert samples.dtype == known.dtype
    assert bool((samples >= known.amin(0)).all())
    assert bool((samples <= known.amax(0)).all())
    assert len(samples.unique(dim=0)) == 6
    assert list(selection.scores) == sorted(selection.scores, reverse=True)
    assert all(map(math.isfinite, selection.scores))
    check_selection("generated", selection, context.unlabeled, 6)


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_scores_are_those_of_the_pool_strategy(acquisition: str) -> None:
    context = context_for(acquisition)
    selection = small(acquisition).sample(context, 3)
    view, score = ACQUISITIONS[acquisition]
    samples = made(selection)
    said = query_context(
        features=samples, learner=context.learner, labeled=(), targets=torch.zeros(3).long()
    ).gather(view)
    torch.testing.assert_close(score(said).double(), torch.tensor(selection.scores).double())


def test_the_same_seed_makes_the_same_samples_in_any_chunks() -> None:
    one, again, other, parts = (
        small().sample(context_for("margin", seed=seed, chunk_size=size), 4)
        for seed, size in ((0, 1000), (0, 1000), (1, 1000), (0, 7))
    )
    assert torch.equal(made(one), made(again))
    assert one.scores == again.scores
    assert not torch.equal(made(one), made(other))
    torch.testing.assert_close(made(one), made(parts))


def test_finds_what_a_fine_grid_finds() -> None:
    def predict(rows: torch.Tensor) -> torch.Tensor:
        first = torch.sigmoid(4 * (rows[:, 0] - 0.3) + 2 * rows[:, 1].square()).double()
        return torch.stack([first, 1 - first], dim=1)

    learner = FixedProbabilities(predict)
    features = torch.tensor([[-1.0, -1.0], [1.0, 2.0], [0.0, 0.0]])
    context = query_context(features=features, targets=torch.tensor([0, 1, 0]), learner=learner,
                            labeled=(0, 1))  # fmt: skip
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 201), np.linspace(-1, 2, 301)), -1)
    proba = predict(torch.from_numpy(grid.reshape(-1, 2))).numpy()
    best = (-np.abs(proba[:, 0] - proba[:, 1])).max()
    selection = Generated().sample(context, 5)
    assert selection.scores[0] >= best - 1e-3
    assert min(selection.scores) > -0.2


def test_a_batch_is_spread() -> None:
    """One narrow hill: without room for two on it, the second goes elsewhere."""
    top = torch.tensor([0.5, 0.5])

    class Unsure(FixedNumbers):
        def predict_variance(self, features: torch.Tensor) -> torch.Tensor:
            return torch.exp(-20 * (features - top).square().sum(1))

    context = query_context(
        features=torch.rand(9, 2, generator=torch.Generator().manual_seed(0)),
        targets=torch.zeros(9),
        learner=Unsure(lambda rows: rows.sum(1)),
        labeled=(0,),
    )
    for diversity in (0.05, 0.3):
        strategy = Generated("predictive_variance", low=0, high=1, diversity=diversity)
        samples = made(strategy.sample(context, 4))
        nearest = torch.pdist(samples).min() / math.sqrt(2)
        assert float(nearest) > diversity / 2
        assert float((samples - top).norm(dim=1).min()) < 0.01


def test_no_sample_is_made_twice() -> None:
    """Where the best corner is labeled, or was made before and waits for its label."""

    class Unsure(LinearNumbers):
        def predict_variance(self, features: torch.Tensor) -> torch.Tensor:
            return features.sum(1).exp()

    corners = torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.5, 1.0], [1.0, 1.0]])
    context = query_context(
        features=corners, targets=torch.zeros(4), learner=Unsure(torch.ones(2)), labeled=(0, 1, 2)
    )
    strategy = small("predictive_variance", steps=60)
    assert made(strategy.sample(context, 1)).tolist() == [[1.0, 1.0]]
    known = query_context(
        features=corners, targets=torch.zeros(4), learner=context.learner, labeled=(0, 1, 2, 3)
    )
    waiting = CombinedPool(TensorPool(corners[:3], torch.zeros(3)))
    waiting.add(corners[3])
    for other in (known, replace(context, pool=waiting, unlabeled=torch.empty(0).long())):
        (sample,) = made(strategy.sample(other, 1))
        assert sample.tolist() != [1.0, 1.0]
        assert float(sample.sum()) > 1.9


def test_a_flat_function_still_gives_different_samples() -> None:
    learner = FixedProbabilities(lambda rows: torch.full((len(rows), 2), 0.5))
    context = query_context(learner=learner, targets=torch.arange(40) % 2)
    assert len(made(small().sample(context, 5)).unique(dim=0)) == 5


def test_samples_have_the_shape_of_the_pools() -> None:
    features = torch.rand(9, 2, 3, generator=torch.Generator().manual_seed(0))
    learner = LinearSoftmax(torch.randn(6, 3).double())
    context = query_context(features=features, learner=learner, labeled=(0, 1))
    assert made(small().sample(context, 2)).shape == (2, 2, 3)
    low, high = [0.0] * 6, [1.0, 2, 3, 4, 5, 6]
    rows = made(small(low=low, high=high).sample(context, 3)).reshape(3, 6)
    assert bool((rows <= torch.tensor(high)).all())


def test_none_are_made_when_none_are_wanted() -> None:
    assert small().sample(context_for("margin"), 0) == Selection((), ())
    nothing = context_for("margin", unlabeled=torch.empty(0, dtype=torch.int64))
    assert len(small().sample(nothing, 3)) == 3
    with pytest.raises(StrategyError, match="chooses 0 samples or more, not -1"):
        small().sample(context_for("margin"), -1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(StrategyError, match="needs the learner's probability samples"):
        small("bald").sample(query_context(), 2)
    with pytest.raises(StrategyError, match="there are none: set low and high"):
        small().sample(query_context(labeled=()), 2)
    with pytest.raises(StrategyError, match="low has one number for all.*2 are not 4: write 4"):
        small(low=[0, 0], high=1).sample(query_context(), 2)
    with pytest.raises(StrategyError, match="not of 4 of which 0 vary"):
        small().sample(query_context(labeled=(0,)), 2)
    whole = query_context(features=torch.arange(40)[:, None], learner=LinearSoftmax(WEIGHTS[0][:1]))
    with pytest.raises(StrategyError, match="features that are floats, and this pool's are torch"):
        small().sample(whole, 2)
    spoiled = FixedProbabilities(lambda rows: torch.full((len(rows), 2), math.nan))
    with pytest.raises(StrategyError, match="NaN or infinite"):
        small().sample(query_context(learner=spoiled), 2)
    pool: Any = ItemPool([])
    for item in "abcde":
        pool.add(item)
    with pytest.raises(StrategyError, match="makes features that are floats"):
        small().sample(replace(query_context(), pool=pool), 2)
    with pytest.raises(StrategyError, match="needs the learner's probabilities"):
        small().sample(query_context(learner=LinearNumbers(torch.ones(4))), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"acquisition": "margim"}, "margin"),
        ({"low": 0}, "low and high are given together"),
        ({"low": 1, "high": 0}, "low is at most high, and 1 of feature 0 is above 0"),
        ({"low": [0, 5], "high": [1, 4]}, "and 5 of feature 1 is above 4"),
        ({"low": [0, 0], "high": [1, 1, 1]}, "not 2 and 3"),
        ({"low": [], "high": 1}, "low has a number for each feature, not none"),
        ({"low": "a", "high": 1}, "low is a finite number"),
        ({"low": 0, "high": math.inf}, "high is a finite number"),
        ({"starts": 0}, "starts"),
        ({"steps": -1}, "steps"),
        ({"diversity": 0}, "diversity"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Generated(**options)


def test_says_what_it_needs() -> None:
    assert Generated().needs == (View.PROBABILITIES,)
    assert Generated("predictive_variance").needs == (View.VARIANCES,)
