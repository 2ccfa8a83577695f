"""Row 25 for registered models: whoever judges at once, no version is promoted wrongly."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from querist.config.compare import CompareConfig
from querist.errors import DataError, RunError
from querist.ledger.models import ModelLedger
from querist.lineage import Lineage, LineageReference, close_lineage, open_lineage
from querist.retraining.compare import judge
from querist.retraining.promote import roll_back, settle
from querist.retraining.steps import compare_versions, let_go
from tests.shared import postgres as servers
from tests.shared.lineages import MODEL, PATIENCE, check_history

postgres, url = servers.postgres, servers.url
VERSIONS = 5
EVERYTHING = CompareConfig.model_validate({"checks": [{"metric": "f1"}], "wins": 0.0})
"""What any challenger wins whose numbers are numbers."""
BROKEN = {"learner": {"name": "retrained:Nowhere", "options": {"hidden": 4}}}


@pytest.fixture
def retrain(own_process: Any, tmp_path: Path) -> Callable[..., int]:
    """Retrains the model in this process; returns the version."""
    module = import_module("retrained")
    numbers = iter(range(1000))

    def make(until: str = "promote", **changes: Any) -> int:
        number = next(numbers)
        if not number:
            module.grow(tmp_path, 100)
        settings = module.settings_of(tmp_path, **{"seed": number, **changes})
        pulled = module.retrain(settings, f"window {number}", until)
        assert pulled.retraining is not None, pulled.reason
        return int(pulled.retraining)

    return make


@pytest.fixture
def reference(tmp_path: Path) -> LineageReference:
    return LineageReference(model=MODEL, root=tmp_path / "models")


@pytest.fixture
def challengers(retrain: Any) -> list[int]:
    """Versions of which the first is champion and the others wait for their verdict."""
    found = [retrain()]
    for number in range(2, VERSIONS + 1):
        epochs = {"training": {"max_fine_tuning_epochs": 3 * number}}
        found.append(retrain("evaluate", **epochs))
    return found


def check(reference: LineageReference, url: str) -> list[str]:
    """The history is what it must be; returns its events."""
    ledger = ModelLedger(url or reference.folder / "ledger.db", MODEL)
    try:
        check_history(ledger)
        return [event.event for event in ledger.promotions()]
    finally:
        ledger.close()


def at_once(context: Any, folder: Path, versions: list[int], url: str) -> list[dict[str, Any]]:
    """Put versions to the gate at once, 0 = roll back; returns what each process said."""
    meet = context.Barrier(len(versions))
    started = []
    for version in versions:
        ours, theirs = context.Pipe()
        arguments = (str(folder), version, url, meet, theirs)
        work = import_module("retrained").put_to_the_gate
        process: Any = context.Process(target=work, args=arguments)
        process.start()
        theirs.close()
        started.append((process, ours))
    said = []
    for process, ours in started:
        process.join(PATIENCE)
        assert process.exitcode == 0
        said.append(ours.recv())
    return said


def test_gates_at_once(
    url: str,
    challengers: list[int],
    reference: LineageReference,
    own_process: Any,
    tmp_path: Path,
    tries: Any,
    tried: Any,
    survived: Any,
) -> None:
    chance = random.Random(20261125)
    for i in range(tries(25, 12, 50)):  # with each of the two databases
        tried(25)
        before = len(check(reference, url))
        # Two challengers, one challenger twice, or a challenger and somebody who rolls back.
        first, second = chance.sample(challengers, 2)
        versions = [[first, second], [first, first], [first, 0]][i % 3]
        said = at_once(own_process, tmp_path, versions, url)
        events = check(reference, url)
        acted = {done["sequence"] for done in said if "refused" not in done}
        assert acted <= set(range(before + 1, len(events) + 1)), "each has an event of its own time"
        assert len(events) - before == len(acted)
        for done in said:
            if done.get("event") == "promoted":
                assert done["action"] == "update_model"
                assert done["champion"] == done["winning_model"] == done["version"]
            elif done.get("event") == "discarded":
                assert done["action"] == "discard"
        survived(25)


def test_a_verdict_is_written_by_two_at_once(
    retrain: Any, own_process: Any, tmp_path: Path, tried: Any, survived: Any
) -> None:
    tried(25)
    version = retrain()
    meet = own_process.Barrier(2)
    arguments = (str(tmp_path), version, 10, meet)
    work = import_module("retrained").show_again
    both = [own_process.Process(target=work, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(PATIENCE)
    assert [process.exitcode for process in both] == [0, 0]
    survived(25)


@pytest.fixture
def lineage(challengers: list[int], reference: LineageReference) -> Iterator[Lineage]:
    yield open_lineage(reference, to_retrain=False)
    close_lineage(reference, to_retrain=False)


def test_the_champion_changes_between_verdict_and_promotion(
    url: str, lineage: Lineage, reference: LineageReference, tried: Any, survived: Any
) -> None:
    settings = {v: lineage.settings(v) for v in range(1, VERSIONS + 1)}

    def verdict(version: int) -> dict[str, Any]:
        return judge(lineage, version, settings[version], EVERYTHING)

    tried(25, 4)
    second, third = verdict(2), verdict(3)  # both against version 1, and both win
    assert (second["champion"], third["champion"]) == (1, 1)
    assert settle(lineage, 2, second).champion_before == 1
    assert settle(lineage, 3, third).champion_before == 2, "it was compared again"
    survived(25)
    fourth = verdict(4)
    roll_back(lineage, reason="meanwhile")
    event = settle(lineage, 4, fourth)
    assert (event.champion_before, event.champion) == (2, 4)
    survived(25)
    fifth, again = verdict(5), verdict(5)  # the same one twice
    event = settle(lineage, 5, fifth)
    assert event.event == "promoted"
    assert settle(lineage, 5, again) == event, "it is promoted once, and not discarded afterwards"
    assert lineage.ledger.champion() == 5
    survived(25)
    with pytest.raises(RunError, match="version 5 of moons is champion already: there is nothing"):
        compare_versions(reference, 5, EVERYTHING, act=True)
    assert check(reference, url).count("promoted") == 5
    survived(25)


def test_a_model_that_says_nan_never_wins(
    url: str, retrain: Any, reference: LineageReference, tried: Any, survived: Any
) -> None:
    tried(25, 4)
    assert retrain(**BROKEN) == 1  # with no baseline
    assert check(reference, url) == ["discarded"]
    survived(25)
    # Without a champion the next one starts from first weights, and is the first.
    learner = import_module("retrained").RETRAINING["learner"]
    assert retrain(learner=learner) == 2
    assert check(reference, url) == ["discarded", "promoted"]
    survived(25)
    assert retrain(**BROKEN, base={"start": "scratch"}) == 3
    assert check(reference, url) == ["discarded", "promoted", "discarded"]
    survived(25)
    try:
        for config in (EVERYTHING, CompareConfig(wins="any"), None):
            done = compare_versions(reference, 3, config, act=True)
            assert (done["event"], done["champion"]) == ("discarded", 2), done
    finally:
        let_go(reference, to_retrain=False)
    assert check(reference, url)[3:] == ["discarded"] * 3
    survived(25)


def test_a_changed_test_set_promotes_nobody(
    url: str,
    challengers: list[int],
    reference: LineageReference,
    tmp_path: Path,
    tried: Any,
    survived: Any,
) -> None:
    tried(25, 2)
    items = tmp_path / "items" / "items.jsonl"
    whole = items.read_text()
    first, *rest = whole.splitlines()
    try:
        # Labels that are corrected count from the next retraining on, for both sides.
        other = json.loads(first)
        other["label"] = 1 - other["label"]
        items.write_text("\n".join([json.dumps(other), *rest]))
        compare_versions(reference, 2, EVERYTHING, act=False)
        ledger = open_lineage(reference, to_retrain=False).ledger
        assert ledger.comparison(1)["test_digest"] == ledger.comparison(2)["test_digest"]
        survived(25)
        # Content that changes under its id is another test set, whatever its digest was.
        changed = {**json.loads(first), "features": [9.0, 9.0]}
        items.write_text("\n".join([json.dumps(changed), *rest]))
        with pytest.raises(DataError, match="the content of item 'item 0' is not what it was when"):
            compare_versions(reference, 2, EVERYTHING, act=True)
    finally:
        let_go(reference, to_retrain=False)
    # The challengers that waited for their gate were discarded, each when the next one was begun.
    assert check(reference, url).count("promoted") == 1
    survived(25)
