"""Drift as a reason to retrain: the champion's items against those that are new."""

from __future__ import annotations

from typing import Any

import pytest

from tests.shared.models import Place, blob


def when(**looks_at: float) -> dict[str, Any]:
    return {"when": {"new_labels": 1000, "drift": {**looks_at, "min_items": 20}}}


@pytest.mark.parametrize("looks_at", ["features", "confidence"])
def test_items_of_another_kind_are_a_reason(place: Place, looks_at: str) -> None:
    place.retrain("monday")
    place.add([{**blob(n, shift=9.0), "label": None} for n in range(100, 200)])
    place.add([blob(300)])
    done = place.retrain("tuesday", **when(**{looks_at: 0.3}))
    assert done.get("version") == 2, done


def test_items_of_the_same_kind_are_none(place: Place) -> None:
    place.retrain("monday")
    place.add([{**blob(n), "label": None} for n in range(100, 160)])
    place.add([blob(300)])
    done = place.retrain("tuesday", **when(features=0.5))
    assert done["event"] == "nothing new"
    assert "1 new labels of 1000: features: distance" in done["reason"]


@pytest.mark.parametrize("looks_at", ["features", "confidence"])
def test_a_corrected_label_brings_no_new_item(place: Place, looks_at: str) -> None:
    place.retrain("monday")
    place.correct({"i0003": 0})
    done = place.retrain("tuesday", **when(**{looks_at: 0.3}))
    assert done["event"] == "nothing new"
    assert "0 new items, and with fewer than 20 nothing is said" in done["reason"]
