"""Drift between two samples: found when it is there, and seldom when it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import ks_2samp

from querist.config.retraining import DriftConfig
from querist.errors import ConfigurationError, DataError
from querist.items import drift as module
from querist.items.drift import Drift, check_drift, confidence_drift, measure_drift


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def found(reference: torch.Tensor, new: torch.Tensor, threshold: float = 0.01) -> Drift:
    return measure_drift(reference, new, threshold=threshold, significance=0.01)


# No drift -----------------------------------------------------------------------------------------


def test_false_alarms_are_as_rare_as_asked_for() -> None:
    """Over 200 seeds, at 5 %: 10 are expected, more than 20 happen once in 700 times."""
    alarms = 0
    for seed in range(200):
        values = normal(seed, 140, 20)
        alarms += measure_drift(
            values[:80], values[80:], threshold=0.01, significance=0.05
        ).drifted
    assert alarms <= 20


def test_a_sample_is_not_unlike_itself() -> None:
    values = normal(0, 60, 3, 2)
    same = found(values, values.clone())
    assert (same.statistic, same.p_value, same.drifted) == (0.0, 1.0, False)
    assert same.compared == 6


def test_values_that_come_often_are_no_drift() -> None:
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 3, (400, 16), generator=draw, dtype=torch.uint8)
    assert not found(pixels[:200], pixels[200:]).drifted


# Drift --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", [0, 7, 63])
def test_a_shift_of_one_feature_among_many_is_found(feature: int) -> None:
    reference, new = normal(2, 300, 8, 8), normal(3, 200, 8, 8)
    new.view(200, -1)[:, feature] += 1.0
    shifted = found(reference, new, threshold=0.2)
    assert shifted.drifted
    assert shifted.feature == feature
    assert shifted.p_value < 1e-6
    assert "reaches 0.2" in shifted.reason


def test_another_spread_is_found_too() -> None:
    assert found(normal(4, 400, 5), 3 * normal(5, 400, 5), threshold=0.15).drifted


def test_a_shift_below_the_threshold_is_none() -> None:
    reference, new = normal(6, 3000, 2), normal(7, 3000, 2) + 0.2
    small = found(reference, new, threshold=0.3)
    assert small.p_value < 1e-6
    assert not small.drifted
    assert "is below 0.3" in small.reason


def test_a_large_distance_of_few_items_may_be_chance() -> None:
    few = found(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]), threshold=0.5)
    assert few.statistic == 1.0
    assert not few.drifted
    assert few.reason == "distance 1.000 (feature 0, p 0.33) may be chance: p is not below 0.01"


# Constant features, and what is refused -----------------------------------------------------------


def test_features_that_never_vary_are_not_counted() -> None:
    values = normal(8, 120, 4)
    values[:, 1:] = 5.0
    assert found(values[:60], values[60:]).compared == 1


def test_nothing_varies() -> None:
    same = found(torch.ones(30, 4), torch.ones(20, 4))
    assert (same.drifted, same.feature, same.reason) == (False, None, "no feature varies")


def test_a_constant_that_became_another_one_has_drifted() -> None:
    changed = found(torch.zeros(30, 2), torch.tensor([0.0, 1.0]).expand(30, 2), threshold=1.0)
    assert (changed.drifted, changed.statistic, changed.feature) == (True, 1.0, 1)


@pytest.mark.parametrize("which", ["reference", "new"])
def test_nan_is_refused(which: str) -> None:
    samples = {"reference": normal(9, 10, 2), "new": normal(10, 10, 2)}
    samples[which][3, 1] = float("nan")
    with pytest.raises(DataError, match=f"the {which} sample holds NaN"):
        found(**samples)


@pytest.mark.parametrize("empty", [torch.empty(0, 2), torch.empty(3, 0), torch.tensor(1.0)])
def test_no_items_are_refused(empty: torch.Tensor) -> None:
    with pytest.raises(DataError, match="the new sample has none: wait"):
        found(normal(11, 10, 2), empty)


def test_items_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"new items are \(3,\), those of before \(2,\)"):
        found(normal(12, 10, 2), normal(13, 10, 3))


def test_infinities_are_values_like_others() -> None:
    reference = normal(14, 50, 1)
    assert found(reference, torch.full((50, 1), float("inf")), threshold=1.0).drifted


# Large samples ------------------------------------------------------------------------------------


def test_a_part_of_a_large_sample_is_compared_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    monkeypatch.setattr(module, "MAX_FEATURES", 6)
    reference, new = normal(15, 1000, 40), normal(16, 900, 40) + 1.0
    first, second = found(reference, new, threshold=0.2), found(reference, new, threshold=0.2)
    assert first == second
    assert (first.rows, first.compared, first.drifted) == ((100, 100), 6, True)
    assert first.feature is not None
    assert first.feature < 40


def test_many_features_have_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 10_000)
    assert found(normal(17, 2000, 4), normal(18, 2000, 4)).rows == (2000, 2000)
    assert found(normal(17, 2000, 16), normal(18, 700, 16)).rows == (625, 625)
    assert found(normal(17, 2000, 64), normal(18, 300, 64)).rows == (500, 300)


# Properties ---------------------------------------------------------------------------------------

values = st.floats(-1e6, 1e6, width=32)
shapes = st.tuples(st.integers(2, 12), st.just(3))
samples = arrays.arrays(np.float32, shapes, elements=values).map(torch.from_numpy)


@settings(max_examples=60, deadline=None)
@given(samples, samples)
def test_the_largest_distance_is_the_references(a: torch.Tensor, b: torch.Tensor) -> None:
    plain = [ks_2samp(a[:, i], b[:, i]).statistic for i in range(3)]
    result = found(a, b)
    assert result.statistic == pytest.approx(max(plain))
    assert 0.0 <= result.p_value <= 1.0
    if result.feature is not None:
        assert plain[result.feature] == pytest.approx(max(plain))


@settings(max_examples=60, deadline=None)
@given(samples, samples)
def test_order_and_direction_do_not_matter(a: torch.Tensor, b: torch.Tensor) -> None:
    there, back = found(a, b), found(b.flip(0), a.flip(0))
    assert there.statistic == pytest.approx(back.statistic)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.drifted == back.drifted


@settings(max_examples=60, deadline=None)
@given(samples, samples, st.floats(0.01, 1.0), st.floats(0.0, 0.5))
def test_a_higher_threshold_never_finds_more(
    a: torch.Tensor, b: torch.Tensor, threshold: float, more: float
) -> None:
    high = measure_drift(a, b, threshold=min(1.0, threshold + more), significance=0.3)
    low = measure_drift(a, b, threshold=threshold, significance=0.3)
    assert low.drifted or not high.drifted


# As configured ------------------------------------------------------------------------------------


def test_confidence_is_one_column() -> None:
    sure, unsure = normal(19, 200).sigmoid(), normal(20, 200).sigmoid() / 2
    assert confidence_drift(sure, unsure, threshold=0.2, significance=0.01).drifted
    with pytest.raises(DataError, match=r"one number an item, \(n,\), not \(200, 1\)"):
        confidence_drift(sure[:, None], unsure, threshold=0.2, significance=0.01)


def test_either_is_enough() -> None:
    config = DriftConfig(features=0.2, confidence=0.2)
    same = normal(21, 400, 3)
    report = check_drift(
        config,
        reference_features=same[:200],
        new_features=same[200:],
        reference_confidence=normal(22, 200).sigmoid(),
        new_confidence=normal(23, 200).sigmoid() / 2,
    )
    assert report.drifted
    assert report.features is not None
    assert report.confidence is not None
    assert (report.features.drifted, report.confidence.drifted) == (False, True)
    assert report.reason.startswith("features: distance ")
    assert "; confidence: distance " in report.reason


def test_only_what_is_asked_for_is_looked_at() -> None:
    report = check_drift(
        DriftConfig(features=0.2),
        reference_features=normal(24, 100, 3),
        new_features=normal(25, 100, 3) + 2,
        reference_confidence=torch.tensor([float("nan")]),
    )
    assert report.drifted
    assert report.confidence is None


def test_of_few_items_nothing_is_said() -> None:
    report = check_drift(
        DriftConfig(features=0.2, confidence=0.3, min_items=50),
        reference_features=normal(26, 500, 3),
        new_features=normal(27, 49, 3) + 9,
        reference_confidence=torch.rand(500, generator=torch.Generator().manual_seed(0)),
        new_confidence=torch.zeros(49),
    )
    assert not report.drifted
    assert report.reason == "49 new items, and with fewer than 50 nothing is said"
    assert (report.features, report.confidence) == (None, None)


def test_of_no_items_nothing_is_said_though_no_champion_was_asked() -> None:
    report = check_drift(
        DriftConfig(confidence=0.3, min_items=2),
        reference_features=normal(29, 60, 3),
        new_features=torch.empty(0, 3),
        reference_confidence=normal(30, 60).sigmoid(),
    )
    assert not report.drifted
    assert report.reason == "0 new items, and with fewer than 2 nothing is said"


@pytest.mark.parametrize(
    ("looks_at", "words"),
    [
        ("features", r"drift\.features needs items whose features are tensors"),
        ("confidence", r"drift\.confidence needs a champion that gives class probabilities"),
    ],
)
def test_what_is_not_there_cannot_be_looked_at(looks_at: str, words: str) -> None:
    config = DriftConfig.model_validate({looks_at: 0.2})
    with pytest.raises(ConfigurationError, match=words):
        check_drift(config, reference_features=normal(28, 100, 3), new_features=None)
