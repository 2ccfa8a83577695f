from __future__ import annotations

import pytest

from querist.errors import ConfigurationError, DataError, RunLockedError, UnknownNameError
from querist.lineage import close_lineage, open_lineage
from tests.shared.models import Place, blob


def test_everything_is_new_at_first(place: Place) -> None:
    pulled = place.pull()
    assert (pulled.retraining, pulled.new_labels, pulled.items) == (1, 60, 60)
    assert pulled.champion is None
    assert pulled.reason == "60 new labels"


def test_nothing_new_is_nothing_to_do(place: Place) -> None:
    assert place.retrain()["event"] == "promoted"
    again = place.retrain("another window")
    assert again == {"event": "nothing new", "reason": "nothing to learn: no new label"}
    with place.look() as lineage:
        assert list(lineage.ledger.versions()) == [1]


def test_new_and_corrected_labels_count(place: Place) -> None:
    place.retrain()
    place.add([blob(100)])
    place.correct({"i0003": 0})
    assert place.pull().new_labels == 2


def test_too_few_new_labels(place: Place) -> None:
    place.retrain()
    place.add([blob(100)])
    few = place.retrain(when={"new_labels": 5})
    assert few["reason"] == "nothing to learn: 1 new labels of 5"
    place.add(blob(n) for n in range(101, 105))
    assert place.retrain(when={"new_labels": 5})["version"] == 2


def test_labels_that_were_too_few_still_count_later(place: Place) -> None:
    place.retrain()
    for number in range(100, 103):
        place.add([blob(number)])
        last = place.retrain(f"window {number}", when={"new_labels": 3})
    assert last["version"] == 2


def test_unlabeled_items_are_nothing_to_learn(place: Place) -> None:
    place.retrain()
    place.add([{**blob(100), "label": None}])
    assert place.retrain("x")["reason"] == "nothing to learn: no new label"


def test_other_settings_are_something_to_try(place: Place) -> None:
    place.retrain()
    parameters = {"estimator": "LogisticRegression", "parameters": {"C": 0.1}}
    pulled = place.pull(learner={"name": "sklearn", "options": parameters})
    words = "no new label, but the settings are other ones than those of retraining 1"
    assert (pulled.retraining, pulled.reason) == (2, words)


def test_where_runs_are_written_is_no_other_setting(place: Place) -> None:
    place.retrain()
    assert place.retrain(busy="skip", when={"new_labels": 2})["event"] == "nothing new"


def test_one_version_a_window(place: Place) -> None:
    always = {"when": {"new_labels": 0}}
    assert place.retrain("monday", **always)["version"] == 1
    same = place.retrain("monday", **always)
    assert same["reason"] == "retraining 1 has learned this in this window"
    assert place.retrain("tuesday", **always)["version"] == 2


def test_what_was_cut_off_goes_on(place: Place) -> None:
    place.retrain("monday", until="train")
    pulled = place.pull("tuesday")
    assert (pulled.retraining, pulled.reason) == (1, "retraining 1 goes on")


def test_what_was_cut_off_and_has_other_data_now_begins_anew(place: Place) -> None:
    place.retrain(until="train")
    place.add([blob(100)])
    assert place.retrain()["version"] == 2


def test_one_retraining_at_a_time(place: Place) -> None:
    place.pull()
    with pytest.raises(RunLockedError, match="another flow of this process"):
        place.pull()


def test_a_pull_that_fails_lets_go_of_the_model(place: Place) -> None:
    place.add([{**blob(200), "label": 7}])
    for _ in range(2):
        with pytest.raises(DataError, match="a label is a class 0 to 1, not 7 of item 'i0200'"):
            place.pull()


def test_items_that_share_an_id_are_refused(place: Place) -> None:
    place.add([blob(3)])
    with pytest.raises(DataError, match="the id 'i0003' is there already"):
        place.pull()


def test_mistakes_are_found_before_anything_is_made(place: Place) -> None:
    with pytest.raises(UnknownNameError, match="metrology component named 'accurracy'"):
        place.pull(metrology=["accurracy"])
    with pytest.raises(ConfigurationError, match="a window's name has at most 200 characters"):
        place.pull("w" * 201)
    with pytest.raises(ConfigurationError, match="compare needs the metric 'moons', which nothing"):
        place.pull(compare={"checks": [{"metric": "moons", "direction": "max"}], "wins": "all"})
    assert not place.root.exists()


def test_drift_needs_a_champion_to_differ_from(place: Place) -> None:
    place.retrain(until="train")
    place.add([{**blob(n, shift=9.0), "label": None} for n in range(100, 200)])
    place.add([blob(300)])
    quiet = {"when": {"new_labels": 1000, "drift": {"features": 0.3, "min_items": 20}}}
    assert "without a champion nothing has drifted" in place.retrain("x", **quiet)["reason"]


def test_the_model_stays_locked_between_its_steps(place: Place) -> None:
    pulled = place.pull()
    lineage = open_lineage(pulled.lineage, to_retrain=True)
    assert lineage.lock is not None
    close_lineage(pulled.lineage, to_retrain=True)
