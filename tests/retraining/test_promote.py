from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ChampionChangedError, CheckpointError, RunError
from querist.ledger.models import DISCARDED, PROMOTED, ROLLED_BACK
from querist.lineage import open_lineage
from querist.retraining.promote import promote, roll_back
from querist.retraining.steps import STEPS, compare_versions, go_back
from tests.shared.models import Place

ALWAYS: dict[str, Any] = {"when": {"new_labels": 0}}
LAX = {"compare": {"checks": [{"metric": "accuracy"}], "wins": 0.0}}
STRICT = {"compare": {"checks": [{"metric": "accuracy", "min_delta": 0.9}], "wins": "all"}}


def versions(place: Place, count: int) -> None:
    """So many versions, each promoted."""
    for number in range(count):
        assert place.retrain(f"w{number}", **ALWAYS, **LAX)["event"] == PROMOTED


def test_the_first_is_promoted_and_what_is_not_better_is_discarded(place: Place) -> None:
    assert place.retrain(**STRICT)["champion"] == 1
    done = place.retrain("x", **ALWAYS, **STRICT)
    assert (done["event"], done["champion"], done["version"]) == (DISCARDED, 1, 2)
    assert "accuracy" in done["reason"]
    with place.look() as lineage:
        evidence = lineage.ledger.comparison(done["comparison"])
        assert (evidence["champion"], evidence["challenger"]) == (1, 2)
        assert not evidence["promote"]


def test_going_back_is_like_undoing(place: Place) -> None:
    versions(place, 3)
    with place.look() as lineage:
        assert roll_back(lineage, reason="too slow").champion == 2
        assert roll_back(lineage, reason="too slow").champion == 1
        with pytest.raises(RunError, match="model blobs has no champion before the present one"):
            roll_back(lineage, reason="too slow")
        events = [(e.event, e.version, e.champion_before) for e in lineage.ledger.promotions()]
    assert events[3:] == [(ROLLED_BACK, 2, 3), (ROLLED_BACK, 1, 2)]


def test_going_back_to_a_version(place: Place) -> None:
    versions(place, 3)
    assert go_back(place.reference, "why not", 1)["champion"] == 1
    with pytest.raises(RunError, match="model blobs has no champion before the present one"):
        go_back(place.reference, "why not", 3)


def test_a_version_that_never_was_champion_is_not_gone_back_to(place: Place) -> None:
    versions(place, 2)
    place.retrain("x", **ALWAYS, **STRICT)
    with pytest.raises(RunError, match="version 3 of blobs has not been champion before: go back"):
        go_back(place.reference, "why not", 3)


def test_a_champion_after_going_back_has_the_restored_one_before_it(place: Place) -> None:
    versions(place, 2)
    go_back(place.reference, "oops", None)
    assert place.retrain("x", **ALWAYS, **LAX)["champion_before"] == 1
    assert go_back(place.reference, "oops", None)["champion"] == 1


def test_damaged_weights_are_not_gone_back_to(place: Place) -> None:
    versions(place, 2)
    stored = next((place.root / "blobs" / "versions" / "0001" / "step_0001").glob("*.skops"))
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        go_back(place.reference, "why not", None)
    with place.look() as lineage:
        assert lineage.ledger.champion() == 2


def test_when_the_champion_changes_after_the_verdict_they_are_compared_again(place: Place) -> None:
    versions(place, 2)
    pulled = place.pull("x", **ALWAYS, **LAX)
    assert pulled.retraining is not None
    lineage = open_lineage(pulled.lineage, to_retrain=True)
    for name, step in STEPS.items():
        if name != "promote":
            step(lineage, pulled.retraining)
    roll_back(lineage, reason="meanwhile")
    done = promote(lineage, pulled.retraining)
    assert done["champion_before"] == 1
    assert lineage.ledger.comparison(done["comparison"])["champion"] == 1


def test_a_promotion_on_an_old_verdict_is_refused(place: Place) -> None:
    versions(place, 2)
    with place.look() as lineage:
        words = "version 2 of blobs was compared with version 1, and by now version 2 is champion"
        with pytest.raises(ChampionChangedError, match=words):
            lineage.ledger.record_promotion(
                PROMOTED, version=2, expected=1, champion=2, reason="an old verdict"
            )
        assert len(lineage.ledger.promotions()) == 2


def test_any_version_can_be_compared_with_the_champion(place: Place) -> None:
    versions(place, 2)
    looked = compare_versions(place.reference, 1, None, act=False)
    assert (looked["challenger"], looked["champion"]) == (1, 2)
    with place.look() as lineage:
        assert lineage.ledger.champion() == 2
    acted = compare_versions(place.reference, 1, place.settings(**STRICT).compare, act=True)
    assert (acted["event"], acted["champion"]) == (DISCARDED, 2)
