from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from querist.errors import CommandError, StrategyError
from querist.strategies.stopping.command import StopCommand
from querist.testing import StopCriterionContract, history_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")
    TestContract.folder = tmp_path / "run" / "work"
    return TestContract.folder


def command(code: str, **options: Any) -> StopCommand:
    made = StopCommand(["python", "-c", code], **options)
    made.work_in(TestContract.folder)
    return made


LABELS = "import json, os; print(json.load(open(os.environ['QUERIST_HISTORY']))[-1]['labels'])"


class TestContract(StopCriterionContract):
    folder: Path

    def make(self) -> StopCommand:
        return command(LABELS, operator=">=", value=40)


def test_true_or_false() -> None:
    history = history_of([0.5, 0.6])
    assert command("print('true')").check(history).stop
    decision = command("print('false')").check(history)
    assert (decision.stop, decision.reason) == (False, "python says false after 20 labels")
    with pytest.raises(StrategyError, match="says true or false, python said 1"):
        command("print(1)").check(history)


def test_a_number_against_a_value(folder: Path) -> None:
    decision = command(LABELS, operator=">=", value=20).check(history_of([0.5, float("nan")]))
    assert (decision.stop, decision.reason) == (True, "python 20 >= 20 after 20 labels")
    written = json.loads((folder / "history.json").read_text())
    assert written[1]["metrics"] == {"f1": None}


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_nan_never_stops(operator: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        decision = command("print('nan')", operator=operator, value=1).check(history_of([0.5]))
    assert not decision.stop
    assert "iteration 0: python says NaN" in caplog.text


def test_asked_once_per_iteration(folder: Path) -> None:
    code = "open('asked', 'a').write('x'); print('false')"
    for _ in range(3):
        command(code).check(history_of([0.5]))
    assert (folder / "asked").read_text() == "x"
    command(code).check(history_of([0.5, 0.6]))
    assert (folder / "asked").read_text() == "xx"


def test_a_failure_is_not_remembered(folder: Path) -> None:
    folder.mkdir(parents=True)
    code = "import os; print('true') if os.path.exists('ready') else exit(1)"
    with pytest.raises(CommandError, match="exit code 1"):
        command(code).check(history_of([0.5]))
    (folder / "ready").write_text("")
    assert command(code).check(history_of([0.5])).stop
