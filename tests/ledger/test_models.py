"""The ledger of a registered model, on both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from querist.errors import ChampionChangedError, LeaseLostError, RunError, RunExistsError
from querist.ledger.models import (
    DISCARDED,
    PROMOTED,
    ROLLED_BACK,
    Answer,
    KnownItem,
    ModelLedger,
    Promotion,
    Version,
)
from querist.values import Verdict

from .conftest import Place

Opened = Callable[[Place], ModelLedger]
REFUSED = (sqlite3.IntegrityError, psycopg.Error)
STEPS = ("split", "new_version", "train", "evaluate", "compare", "promote")


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Ledgers of models that are closed after the test."""
    made: list[ModelLedger] = []

    def at(place: Place) -> ModelLedger:
        made.append(ModelLedger(place.where, place.run_id))
        return made[-1]

    yield at
    for ledger in made:
        ledger.close()


@pytest.fixture
def model(place: Place, opened: Opened) -> ModelLedger:
    """A new ledger of a model, whose lease is held."""
    ledger = opened(place)
    ledger.create()
    return ledger


def begin(ledger: ModelLedger, key: str, fingerprint: str = "f", **answers: Any) -> int:
    known = {name: Answer(value, {}) for name, value in answers.items()}
    return ledger.begin_retraining(
        key=key, window="monday", fingerprint=fingerprint, settings={"model": "m"}, answers=known
    )


def version(number: int, parent: int | None = None) -> Version:
    return Version(number, parent, "f", {"seed": number}, "c" * 64)


def promote(ledger: ModelLedger, number: int, expected: int | None) -> Promotion:
    return ledger.record_promotion(
        PROMOTED, version=number, expected=expected, champion=number, reason="it is better"
    )


# What there is to learn --------------------------------------------------------------------------


def test_the_newest_answer_counts_and_the_older_ones_are_kept(model: ModelLedger) -> None:
    begin(model, "1", a=0, b=[0.5, 1.0], c=2.5)
    begin(model, "2", a=1)
    found = {name: answer.value for name, answer in model.answers().items()}
    assert found == {"a": 1, "b": [0.5, 1.0], "c": 2.5}
    assert model.answers(through=1)["a"].value == 0
    assert model.answers(through=0) == {}


def test_metadata_come_back_as_they_were(model: ModelLedger) -> None:
    metadata = {"site": "ünïcode \u2603", "nested": {"x": [1, None, True]}}
    model.begin_retraining(
        key="1", window="w", fingerprint="f", settings={}, answers={"a": Answer(0, metadata)}
    )
    assert model.answers()["a"] == Answer(0, metadata)


def test_an_item_keeps_its_subset(model: ModelLedger) -> None:
    begin(model, "1")
    model.record_split(1, [KnownItem("b", "d", "train"), KnownItem("a", "e", "test")], {}, 1.0)
    model.record_split(1, [KnownItem("b", "d", "test"), KnownItem("c", "g", "test")], {}, 1.0)
    assert [(item.id, item.subset) for item in model.items()] == [
        ("a", "test"), ("b", "train"), ("c", "test"),
    ]  # fmt: skip


def test_models_of_one_database_see_nothing_of_each_other(
    own_place: Place, opened: Opened
) -> None:
    one, other = opened(own_place), opened(Place(own_place.where, "other"))
    for ledger in (one, other):
        ledger.create()
    assert begin(one, "1", a=0) == begin(other, "1", b=1) == 1
    promote(one, 1, None)
    assert (one.champion(), other.champion()) == (1, None)
    assert (list(one.answers()), list(other.answers())) == (["a"], ["b"])
    number = one.record_comparison(
        challenger=1, champion=None, verdict=Verdict(True, "first"), about={}
    )
    with pytest.raises(RunError, match=f"model other has no verdict {number}"):
        other.comparison(number)


# Retrainings -------------------------------------------------------------------------------------


def test_one_key_is_one_retraining(model: ModelLedger) -> None:
    assert begin(model, "k", a=0) == 1
    words = f"model {model.db.run_id} has learned this in window 'monday' before: nothing is done"
    with pytest.raises(RunError, match=words):
        begin(model, "k", a=1, b=1)
    assert model.retraining_with("k") == 1
    assert model.retraining_with("other") is None
    assert {name: a.value for name, a in model.answers().items()} == {"a": 0}, "nothing is written"
    assert begin(model, "other") == 2


def test_a_retraining_says_what_it_was_begun_with(model: ModelLedger) -> None:
    begin(model, "k")
    row = model.retraining(1)
    assert (row.key, row.window, row.fingerprint) == ("k", "monday", "f")
    with pytest.raises(RunError, match=f"model {model.db.run_id} has no retraining 2"):
        model.retraining(2)


def test_what_is_unfinished(model: ModelLedger) -> None:
    assert model.unfinished("f") is None
    begin(model, "1", "f")
    assert model.unfinished("f") == 1
    assert model.unfinished("other") is None
    for step in STEPS[:-1]:
        model.record_step(1, step, {}, 1.0)
        assert (model.unfinished("f"), model.last_finished()) == (1, 0)
    model.record_step(1, STEPS[-1], {}, 1.0)
    assert (model.unfinished("f"), model.last_finished()) == (None, 1)


def test_only_the_newest_is_gone_on_with(model: ModelLedger) -> None:
    begin(model, "1", "f")
    begin(model, "2", "g")
    assert model.unfinished("f") is None
    assert model.unfinished("g") == 2


def test_a_step_is_done_once(model: ModelLedger) -> None:
    begin(model, "1")
    assert model.step(1, "train") is None
    model.record_step(1, "train", {"epochs": 3}, 1.0)
    model.record_step(1, "train", {"epochs": 4}, 2.0)
    assert model.step(1, "train") == {"epochs": 3}


def test_who_lost_the_lease_does_not_write(
    place: Place, model: ModelLedger, opened: Opened
) -> None:
    opened(place).take_lease(by_force=True)
    with pytest.raises(LeaseLostError):
        begin(model, "1")
    with pytest.raises(LeaseLostError):
        model.record_version(version(1), {}, 1.0)


def test_a_model_that_has_begun_is_not_made_again(
    place: Place, model: ModelLedger, opened: Opened
) -> None:
    begin(model, "1")
    model.close()
    with pytest.raises(RunExistsError, match=f"has a run {place.run_id} already"):
        opened(place).create()


# Versions ----------------------------------------------------------------------------------------


def test_versions(model: ModelLedger) -> None:
    with pytest.raises(RunError, match="has no version 1: the newest are none"):
        model.version(1)
    for number in (1, 2):
        begin(model, str(number))
        model.record_version(version(number, number - 1 or None), {"epochs": number}, 1.0)
    assert model.versions() == {1: version(1), 2: version(2, 1)}
    assert model.version(2).parent == 1
    assert model.step(2, "train") == {"epochs": 2}, "its training is done"
    with pytest.raises(RunError, match="has no version 7: the newest are 1, 2"):
        model.version(7)


def test_a_version_is_recorded_once(model: ModelLedger) -> None:
    begin(model, "1")
    model.record_version(version(1), {"epochs": 1}, 1.0)
    model.record_version(Version(1, None, "other", {}, "d" * 64), {"epochs": 2}, 1.0)
    assert model.version(1) == version(1)
    assert model.step(1, "train") == {"epochs": 1}


def test_a_verdict_is_kept_with_its_evidence(model: ModelLedger) -> None:
    made = [
        model.record_comparison(
            challenger=2, champion=champion, verdict=Verdict(False, "no better"),
            about={"test_digest": "t"},
        )
        for champion in (None, 1)
    ]  # fmt: skip
    assert made[0] < made[1]
    found = model.comparison(made[1])
    assert (found["challenger"], found["champion"], found["promote"]) == (2, 1, False)
    assert (found["reason"], found["test_digest"], found["checks"]) == ("no better", "t", [])
    with pytest.raises(RunError, match=f"has no verdict {made[1] + 1}"):
        model.comparison(made[1] + 1)


# Champions ---------------------------------------------------------------------------------------


def test_the_history_of_champions(model: ModelLedger) -> None:
    assert (model.champion(), model.promotions()) == (None, [])
    made = [promote(model, 1, None), promote(model, 2, 1)]
    made.append(
        model.record_promotion(DISCARDED, version=3, expected=2, champion=2, reason="no better")
    )
    made.append(
        model.record_promotion(ROLLED_BACK, version=1, expected=2, champion=1, reason="too slow")
    )
    assert model.promotions() == made
    assert [event.sequence for event in made] == [1, 2, 3, 4]
    assert [event.champion_before for event in made] == [None, 1, 2, 2]
    assert model.champion() == 1


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (None, "version 3 of .* was compared with no version, and by now version 2 is champion"),
        (1, "version 3 of .* was compared with version 1, and by now version 2 is champion: comp"),
    ],
)
def test_a_champion_that_changed_meanwhile(
    model: ModelLedger, expected: int | None, words: str
) -> None:
    promote(model, 1, None)
    promote(model, 2, 1)
    with pytest.raises(ChampionChangedError, match=words):
        promote(model, 3, expected)
    assert (model.champion(), len(model.promotions())) == (2, 2)


def test_a_first_champion_needs_to_be_the_first(model: ModelLedger) -> None:
    with pytest.raises(ChampionChangedError, match="with version 1, and by now no version is cham"):
        promote(model, 2, 1)


def test_a_discarded_first_version_leaves_no_champion(model: ModelLedger) -> None:
    model.record_promotion(DISCARDED, version=1, expected=None, champion=None, reason="NaN")
    assert model.champion() is None
    assert promote(model, 2, None).sequence == 2


def test_verdicts_and_promotions_need_no_lease(
    place: Place, model: ModelLedger, opened: Opened
) -> None:
    other = opened(place)
    promote(other, 1, None)
    promote(model, 2, 1)
    assert other.champion() == 2


def race(where: Path | str, run_id: str, number: int, together: Any, ended: Any) -> None:
    """Want to be champion in place of nobody, at the same time as another process."""
    ledger = ModelLedger(where, run_id)
    together.wait()
    try:
        promote(ledger, number, None)
        ended.put((number, "promoted"))
    except ChampionChangedError:
        ended.put((number, "too late"))


def test_of_two_at_once_one_is_promoted(
    place: Place, model: ModelLedger, own_process: Any
) -> None:
    together, ended = own_process.Barrier(2), own_process.Queue()
    both = [
        own_process.Process(target=race, args=(place.where, place.run_id, n, together, ended))
        for n in (1, 2)
    ]
    for process in both:
        process.start()
    outcomes = dict(ended.get(timeout=60) for _ in both)
    for process in both:
        process.join()
        assert process.exitcode == 0
    [event] = model.promotions()
    assert outcomes == {event.version: "promoted", 3 - event.version: "too late"}


def keep_trying(where: Path | str, run_id: str, first: int, together: Any) -> None:
    """Promote several versions, each against whoever is champion."""
    ledger = ModelLedger(where, run_id)
    together.wait()
    for number in range(first, first + 10):
        while True:
            try:
                promote(ledger, number, ledger.champion())
                break
            except ChampionChangedError:
                continue


def test_no_event_is_lost_and_none_is_written_over(
    place: Place, model: ModelLedger, own_process: Any
) -> None:
    together = own_process.Barrier(2)
    both = [
        own_process.Process(target=keep_trying, args=(place.where, place.run_id, n, together))
        for n in (1, 101)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    events = model.promotions()
    assert [event.sequence for event in events] == list(range(1, 21))
    assert sorted(e.version for e in events) == [*range(1, 11), *range(101, 111)]
    champions = [None, *(event.champion for event in events)]
    assert [event.champion_before for event in events] == champions[:-1]


# Nothing is changed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    ["items", "answers", "retrainings", "steps", "versions", "comparisons", "promotions"],
)
@pytest.mark.parametrize("statement", ["UPDATE {} SET run = run", "DELETE FROM {}"])
def test_rows_are_only_ever_added(
    place: Place, model: ModelLedger, table: str, statement: str
) -> None:
    begin(model, "1", a=0)
    model.record_split(1, [KnownItem("a", "d", "train")], {}, 1.0)
    model.record_version(version(1), {}, 1.0)
    model.record_comparison(challenger=1, champion=None, verdict=Verdict(True, "x"), about={})
    promote(model, 1, None)
    where = f"WHERE run = {model.db.run}"
    [before] = place.raw(f"SELECT count(*) FROM {table} {where}")
    assert before > (0,)
    with pytest.raises(REFUSED, match="rows of the ledger are only ever added"):
        place.raw(f"{statement.format(table)} {where}")
    assert place.raw(f"SELECT count(*) FROM {table} {where}") == [before]
