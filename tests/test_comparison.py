"""Means, spread and savings against values worked out by hand."""

from __future__ import annotations

import pytest

from querist.comparison import (
    Saving,
    labels_to_reach,
    mean_curve,
    savings,
    summarize_variant,
)

OURS = [[(50, 0.4), (60, 0.7), (70, 0.9)], [(50, 0.6), (60, 0.7), (70, 0.7)]]
RANDOM = [
    [(50, 0.4), (60, 0.5), (70, 0.6), (80, 0.8)],
    [(50, 0.4), (60, 0.5), (70, 0.8), (80, 0.8)],
]


def test_summary() -> None:
    found = summarize_variant("ours", OURS)
    assert found.name == "ours"
    assert found.last == pytest.approx(0.8)
    assert found.last_spread == pytest.approx(0.1414213562)  # 0.2 / sqrt(2)
    assert found.average == pytest.approx(2 / 3)
    assert found.average_spread == pytest.approx(0.0)
    assert found.curves[1] == ((50, 0.6), (60, 0.7), (70, 0.7))


def test_one_seed_has_no_spread() -> None:
    found = summarize_variant("ours", OURS[:1])
    assert (found.last_spread, found.average_spread) == (0.0, 0.0)


def test_mean_curve_has_the_labels_that_all_curves_have() -> None:
    assert mean_curve(OURS) == pytest.approx({50: 0.5, 60: 0.7, 70: 0.8})
    assert mean_curve([OURS[0], OURS[1][:2]]) == pytest.approx({50: 0.5, 60: 0.7})
    assert mean_curve([]) == {}


def test_labels_to_reach() -> None:
    curve = {50: 0.5, 60: 0.7, 70: 0.8}
    assert labels_to_reach(curve, 0.7, higher=True) == 60
    assert labels_to_reach(curve, 0.71, higher=True) == 70
    assert labels_to_reach(curve, 0.81, higher=True) is None
    assert labels_to_reach({50: 0.5, 60: 0.2}, 0.3, higher=False) == 60


def test_savings() -> None:
    # Both reach 0.8 and start below 0.5: the levels are 0.6875, 0.725, 0.7625, 0.8 over 0.5.
    ours, random = summarize_variant("ours", OURS), summarize_variant("random", RANDOM)
    found = savings(ours, random, higher=True)
    assert [s.level for s in found] == pytest.approx([0.6875, 0.725, 0.7625, 0.8])
    assert [(s.needed, s.baseline_needed) for s in found] == [
        (60, 70),
        (70, 80),
        (70, 80),
        (70, 80),
    ]
    assert [s.saved for s in found] == [10, 10, 10, 10]
    assert found[0].variant == "ours"


def test_savings_where_lower_is_better() -> None:
    ours = summarize_variant("ours", [[(10, 4.0), (20, 1.0)]])
    random = summarize_variant("random", [[(10, 4.0), (20, 3.0), (30, 1.0)]])
    found = savings(ours, random, higher=False, levels=1)
    assert found == [Saving("ours", 1.0, 20, 30)]


def test_a_single_point_is_no_curve() -> None:
    point = summarize_variant("all labels", [[(1000, 0.9)]])
    assert savings(point, summarize_variant("random", RANDOM), higher=True) == []


def test_a_cost_is_a_negative_saving() -> None:
    assert Saving("ours", 0.5, 80, 60).saved == -20
