"""`querist models` and `querist rollback` in this process; retraining itself: tests/flows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from querist.deployments import console
from querist.deployments.cli import app
from tests.shared.models import Place, place_in

from ..conftest import CONFIGURES_PREFECT

LAX: dict[str, Any] = {
    "when": {"new_labels": 0}, "compare": {"checks": [{"metric": "accuracy"}], "wins": 0.0},
}  # fmt: skip
STRICT: dict[str, Any] = {
    "when": {"new_labels": 0},
    "compare": {"checks": [{"metric": "accuracy", "min_delta": 0.9}], "wins": "all"},
}


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Prefect server is configured, and lines are long enough for the tables."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in CONFIGURES_PREFECT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(console.out, "_width", 250)
    monkeypatch.setattr(console.out, "_height", 50)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A model with two champions, and a version that was discarded."""
    for place in place_in(tmp_path):
        for window, settings in (("one", LAX), ("two", LAX), ("three", STRICT)):
            place.retrain(window, **settings)
        yield place


def call(*arguments: object, root: Path) -> Result:
    """Invoke a command, without a process of its own."""
    return CliRunner().invoke(app, [*map(str, arguments), "--root", str(root)])


def error_of(done: Result, code: int) -> str:
    assert done.exit_code == code, done
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def cells(text: str, first: str) -> list[list[str]]:
    """The rows of a table whose first cell begins so."""
    rows = [line.strip("│ ").split("│") for line in text.splitlines() if "│" in line]
    found = [[cell.strip() for cell in row] for row in rows]
    return [row for row in found if row[0].startswith(first)]


# models ------------------------------------------------------------------------------------------


def test_no_models(tmp_path: Path) -> None:
    done = call("models", root=tmp_path / "runs")
    assert (done.exit_code, done.stdout) == (0, f"no registered models in {tmp_path / 'runs'}\n")
    assert json.loads(call("models", "--json", root=tmp_path / "runs").stdout) == []
    assert not (tmp_path / "runs").exists()


def test_the_list(place: Place) -> None:
    done = call("models", root=place.root)
    assert done.exit_code == 0, done
    assert cells(done.stdout, "blobs") == [["blobs", "2", "3", "version 3 discarded"]]


def test_one_model_with_its_history(place: Place) -> None:
    done = call("models", "blobs", root=place.root)
    assert done.exit_code == 0, done
    for number, parent in (("1", ""), ("2 (champion)", "1"), ("3", "2")):
        [row] = cells(done.stdout, number)
        assert row[:2] == [number, parent]
        assert "accuracy 0." in row[2] or "accuracy 1" in row[2]
    events = [row[1:4] for row in cells(done.stdout, "20")]
    assert events == [["1", "promoted", "1"], ["2", "promoted", "2"], ["3", "discarded", "2"]]


def test_as_json(place: Place) -> None:
    [listed] = json.loads(call("models", "--json", root=place.root).stdout)
    told = json.loads(call("models", "blobs", "--json", root=place.root).stdout)
    assert told == listed
    assert (told["model"], told["champion"]) == ("blobs", 2)
    assert told["folder"] == str(place.root / "blobs")
    assert [v["parent"] for v in told["versions"]] == [None, 1, 2]
    assert all(set(v["metrics"]) == {"accuracy", "log_loss"} for v in told["versions"])
    assert [event["event"] for event in told["history"]] == ["promoted", "promoted", "discarded"]
    assert told["history"][1]["champion_before"] == 1


def test_a_version_that_is_not_measured_yet(place: Place) -> None:
    place.retrain("four", until="train", **LAX)
    told = json.loads(call("models", "blobs", "--json", root=place.root).stdout)
    assert (told["versions"][3]["metrics"], told["champion"]) == ({}, 2)
    assert call("models", "blobs", root=place.root).exit_code == 0


def test_a_model_that_has_no_version_yet(tmp_path: Path) -> None:
    for place in place_in(tmp_path):
        place.retrain(until="split")
        told = json.loads(call("models", "blobs", "--json", root=place.root).stdout)
        assert (told["champion"], told["versions"], told["history"]) == (None, [], [])
        assert cells(call("models", root=place.root).stdout, "blobs") == [["blobs", "", "0"]]


def test_looking_while_it_is_retrained(place: Place) -> None:
    place.pull("four", **LAX)
    assert call("models", "blobs", root=place.root).exit_code == 0
    assert place.reference.folder.exists()
    again = call("models", root=place.root)
    assert again.exit_code == 0, again


@pytest.mark.parametrize("command", ["models", "rollback"])
def test_a_model_that_is_not_there(place: Place, command: str) -> None:
    words = error_of(call(command, "blops", root=place.root), 2)
    assert f"there is no model 'blops' in {place.root}: the newest are blobs" in words
    words = error_of(call(command, "../blobs", root=place.root), 2)
    assert "a run id has 1 to 64 letters" in words


# rollback ----------------------------------------------------------------------------------------


def test_going_back(place: Place) -> None:
    done = call("rollback", "blobs", "--reason", "too slow [1]", root=place.root)
    assert done.exit_code == 0, done
    assert done.stdout == "champion of blobs is version 1 again, 2 was it before\n"
    told = call("models", "blobs", root=place.root).stdout
    assert "too slow [1]" in told
    words = error_of(call("rollback", "blobs", root=place.root), 1)
    assert "model blobs has no champion before the present one to go back to" in words


def test_going_back_as_json(place: Place) -> None:
    done = json.loads(call("rollback", "blobs", "--to", 1, "--json", root=place.root).stdout)
    assert (done["event"], done["version"], done["champion"]) == ("rolled-back", 1, 1)
    assert (done["champion_before"], done["comparison"]) == (2, None)
    assert done["reason"] == "asked for on the command line"


def test_a_version_that_never_was_champion(place: Place) -> None:
    words = error_of(call("rollback", "blobs", "--to", 3, root=place.root), 1)
    assert "version 3 of blobs has not been champion before: go back to one of 1" in words
    with place.look() as lineage:
        assert lineage.ledger.champion() == 2


def test_versions_are_counted_from_1(place: Place) -> None:
    assert call("rollback", "blobs", "--to", 0, root=place.root).exit_code == 2


# retrain -----------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["retrain", str(tmp_path / "nothing.yaml")])
    assert "there is no file " in error_of(done, 2)
