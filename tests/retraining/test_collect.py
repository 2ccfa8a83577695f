"""Labels that are bought before a retraining: those of its window, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from querist.errors import ConfigurationError
from querist.lineage import LineageReference, close_lineage
from querist.phases.begin import begin
from querist.phases.finish import finish_iteration
from querist.retraining.collect import iterations_wanted, label_run_is_busy
from querist.retraining.pull import take_turn
from querist.runs import RunReference, close_run, open_run
from tests.shared.models import Place, blob

EXPERIMENT = {
    "name": "labels",
    "data": {"pool": "digits", "split": {"test": 0.2}, "initial": {"count": 60}},
    "learner": {"name": "sklearn", "options": {"estimator": "GaussianNB"}},
    "strategies": {"query": {"name": "random", "n": 5}, "label": "oracle"},
    "driver": {"skip_metrology": True},
    "tracking": {"enabled": False},
}
COLLECT: dict[str, Any] = {
    "collect": {"run_id": "labels", "iterations": 3, "experiment": EXPERIMENT},
}


def iterate(place: Place, count: int) -> RunReference:
    """So many iterations of the label run."""
    settings = place.settings(**COLLECT)
    assert settings.collect is not None
    experiment = settings.collect.experiment
    driver = experiment.driver.model_copy(update={"root_log_dir": place.root})
    start = begin(experiment.model_copy(update={"driver": driver}), "labels")
    run = open_run(start.run)
    for iteration in range(start.iteration, start.iteration + count):
        finish_iteration(run, iteration)
    close_run(start.run)
    return start.run


def wanted(place: Place, window: str) -> int:
    settings = place.settings(**COLLECT)
    reference = take_turn(settings, window)
    try:
        return iterations_wanted(reference, settings, window)
    finally:
        close_lineage(reference, to_retrain=True)


def test_a_window_buys_what_is_left_of_its_plan(place: Place) -> None:
    assert wanted(place, "monday") == 3
    iterate(place, 2)
    assert wanted(place, "monday") == 1, "it was cut off after two"
    iterate(place, 1)
    assert wanted(place, "monday") == 0, "the same window again"
    assert wanted(place, "tuesday") == 3


def test_nothing_is_bought_while_a_retraining_is_left_in_the_middle(place: Place) -> None:
    place.retrain("monday", until="train")
    assert wanted(place, "tuesday") == 0
    place.retrain("tuesday")
    assert wanted(place, "tuesday") == 3


def test_without_collection_nothing_is_bought(place: Place) -> None:
    place.pull()
    assert iterations_wanted(place.reference, place.settings(), "w") == 0


def test_who_works_on_the_label_run_is_known(place: Place) -> None:
    reference = LineageReference(model="blobs", root=place.root)
    assert label_run_is_busy(reference, "labels") is None
    run = iterate(place, 1)
    assert label_run_is_busy(reference, "labels") is None
    open_run(run)
    assert "process" in str(label_run_is_busy(reference, "labels"))
    close_run(run)


def test_labels_are_bought_for_what_is_learned(place: Place) -> None:
    source = {"source": {"name": "labeled_run", "options": {"run_id": "others"}}}
    with pytest.raises(ConfigurationError, match="collect buys labels for run 'labels', and data"):
        place.settings(data=source, **COLLECT)
    shared = {"collect": {**COLLECT["collect"], "run_id": "blobs"}}
    with pytest.raises(ConfigurationError, match="would share the folder 'blobs'"):
        place.settings(**shared)


def test_a_version_that_was_never_judged_is_discarded_by_the_next(place: Place) -> None:
    place.retrain(until="train")
    place.add([blob(100)])
    assert place.retrain()["version"] == 2
    with place.look() as lineage:
        first, second = lineage.ledger.promotions()
    assert (first.event, first.version, first.champion) == ("discarded", 1, None)
    assert first.reason == "superseded by retraining 2 before it was judged"
    assert (second.event, second.version) == ("promoted", 2)
