"""Phases, measurements, verdicts, and the commit with its SHA-256."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from querist.errors import RunError
from querist.ledger import Ledger
from querist.values import Check, Phase, Verdict

from .conftest import Place, answer, select, start

VERDICT = Verdict(True, "better", (Check("f1", None, 0.5, 0.0, True, "first"),))
TABLES = ("selections", "requests", "labels", "metrology", "phases", "verdicts", "commits")


def whole(ledger: Ledger, iteration: int, *, again: bool = False) -> None:
    """Everything that an iteration records."""
    sample = 10 * iteration + 5
    select(ledger, iteration, [sample, sample + 1])
    ledger.record_phase(iteration, Phase.TRAIN, 1.0, {"train_loss": 9.0 if again else 1.0})
    ledger.record_metrology(
        iteration, {"f1": 0.9 if again else 0.5, "r2": math.nan, "mse": math.inf}, 10, 1.0
    )
    for label in (sample, sample + 1):
        answer(ledger, label, iteration=iteration)
    ledger.record_verdict(iteration, Verdict(False, "worse") if again else VERDICT)
    ledger.commit_iteration(
        iteration, 99 if again else 10, {"again": again}, "digest", {"weights": "w" * 64}
    )


def test_recording_again_changes_nothing(place: Place, ledger: Ledger) -> None:
    def content() -> list[Any]:
        return [place.raw(f"SELECT * FROM {t} WHERE run = {ledger.db.run}") for t in TABLES]

    whole(ledger, 0)
    before = repr(content())
    whole(ledger, 0, again=True)
    assert repr(content()) == before
    assert ledger.next_iteration() == 1
    assert ledger.champion() == 0
    assert ledger.verdicts()[0]["checks"][0]["reason"] == "first"
    assert ledger.phase_outcome(0, Phase.TRAIN) == {"train_loss": 1.0}
    assert ledger.phase_outcome(0, Phase.LABEL) is None


def test_phases_come_in_their_order(ledger: Ledger) -> None:
    for iteration, phase in ((1, Phase.TRAIN), (0, Phase.LABEL), (0, Phase.TRAIN)):
        ledger.record_phase(iteration, phase, 1.0, {"words": "ü\0\ud800", "nan": math.nan})
    assert [row[:2] for row in ledger.phase_rows()] == [
        (0, Phase.TRAIN),
        (0, Phase.LABEL),
        (1, Phase.TRAIN),
    ]
    assert ledger.phase_rows(1)[0][3]["words"] == "ü\0\ud800"
    assert ledger.done_phases(0) == {Phase.TRAIN, Phase.LABEL}


def test_a_clock_that_was_set_back_makes_no_phase_negative(ledger: Ledger) -> None:
    ledger.record_phase(0, Phase.TRAIN, 1e12, {})
    assert ledger.phase_rows()[0][2] == 0.0


def test_metrology_with_nan(ledger: Ledger) -> None:
    ledger.record_metrology(0, {"r2": math.nan, "mse": math.inf, "low": -math.inf}, 10, 1.0)
    ledger.record_metrology(1, {"r2": 0.1 + 0.2}, 20, 1.0)
    found = ledger.metrology()
    assert math.isnan(found[0]["r2"])
    assert (found[0]["mse"], found[0]["low"]) == (math.inf, -math.inf)
    assert found[1] == {"r2": 0.1 + 0.2}
    assert ledger.metrology_labels() == {0: 10, 1: 20}


def test_metrics_keep_the_order_they_were_measured_in(ledger: Ledger) -> None:
    ledger.record_metrology(0, {"mse": 1.0, "r2": 2.0, "mae": 3.0}, 10, 1.0)
    assert list(ledger.metrology()[0]) == ["mse", "r2", "mae"]


def test_champion_is_the_one_promoted_last(ledger: Ledger) -> None:
    assert ledger.champion() is None
    for iteration, promote in enumerate([True, False, True, False]):
        ledger.record_verdict(iteration, Verdict(promote, "x"))
    assert ledger.champion() == 2


# Commits -----------------------------------------------------------------------------------------


def test_a_commit_row_names_everything(ledger: Ledger) -> None:
    start(ledger, [1, 2])
    whole(ledger, 0)
    (row,) = ledger.commit_rows()
    assert (row.labels, row.checkpoint) == (10, "digest")
    assert {"weights", "labels", "selection", "metrics", "verdict", "previous", "row"} == set(
        json.loads(row.digests)
    )


def test_both_databases_give_the_same_digests(tmp_path: Any, postgres_url: str) -> None:
    found = []
    for where in (tmp_path / "ledger.db", postgres_url):
        ledger = Ledger(where, "run")
        ledger.create()
        start(ledger, [1, 2])
        whole(ledger, 0)
        whole(ledger, 1)
        found.append([row.digests for row in ledger.commit_rows()])
        ledger.close()
    assert found[0] == found[1]


def test_what_is_as_it_was_committed(place: Place, ledger: Ledger, opened: Any) -> None:
    ledger.verify()
    start(ledger, [1, 2])
    whole(ledger, 0)
    whole(ledger, 1)
    answer(ledger, 5, 0, iteration=2)  # a contradiction that comes later belongs to its iteration
    ledger.decide_revision(ledger.revisions_for_review()[0], 0)
    ledger.verify()
    opened(place).verify()


TAMPERING = {
    "labels, a value": ("labels", 1, "UPDATE labels SET value = '0' WHERE sample = 15"),
    "labels, one less": ("labels", 1, "DELETE FROM labels WHERE sample = 15"),
    "labels, initial": ("labels", 0, "UPDATE labels SET value = '1' WHERE sample = 1"),
    "labels, unused": ("labels", 0, "UPDATE labels SET used = false WHERE sample = 5"),
    "labels, moved": ("labels", 0, "UPDATE labels SET iteration = 1 WHERE sample = 5"),
    "selection": ("selection", 1, "UPDATE selections SET sample = 99 WHERE sample = 15"),
    "selection, score": ("selection", 1, "UPDATE selections SET score = 2 WHERE sample = 15"),
    "metrics": ("metrics", 0, "UPDATE metrology SET value = 1.0 WHERE iteration = 0"),
    "metrics, NaN": ("metrics", 0, "UPDATE metrology SET value = 1 WHERE value IS NULL"),
    "verdict": ("verdict", 1, "DELETE FROM verdicts WHERE iteration = 1"),
    "previous": ("previous", 1, "UPDATE commits SET digests = '{}' WHERE iteration = 0"),
    "an added label": (
        "labels",
        0,
        "INSERT INTO labels (run, sample, source, source_version, annotator, revision, used, "
        "value, cost, iteration, arrived) "
        "SELECT run, 77, 'x', '', '', 0, true, '1', 0, 0, 0 FROM commits WHERE iteration = 0",
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(how: str, own_place: Place, own_ledger: Ledger) -> None:
    start(own_ledger, [1, 2])
    whole(own_ledger, 0)
    whole(own_ledger, 1)
    what, iteration, statement = TAMPERING[how]
    own_place.drop_triggers()
    own_place.raw(statement)
    with pytest.raises(
        RunError, match=f"the {what} of iteration {iteration} in .* does not have the SHA-256"
    ):
        own_ledger.verify()


def test_the_stop_set_is_in_the_outcome_and_no_metric(ledger: Ledger) -> None:
    ledger.record_metrology(0, {"kappa": 1.0}, 10, 1.0, stop_set="ab12")
    assert ledger.metrology() == {0: {"kappa": 1.0}}
    assert ledger.phase_outcome(0, Phase.METROLOGY) == {"kappa": 1.0, "stop_set": "ab12"}
