from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.errors import CommandError, ConfigurationError, InDoubtError, StrategyError
from querist.pools import TensorPool
from querist.requests import LabelRequest
from querist.strategies.label.command import LabelCommand
from querist.testing import LabelStrategyContract
from querist.values import Label, Task

READ = "import json, os; r = json.load(open(os.environ['QUERIST_REQUEST']))\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")
    _Contract.folder = tmp_path / "run" / "work"
    return _Contract.folder


def command(code: str, **options: Any) -> LabelCommand:
    made = LabelCommand(["python", "-c", READ + code], **options)
    made.work_in(_Contract.folder)
    return made


class _Contract(LabelStrategyContract):
    folder: Path


class TestContractOfClasses(_Contract):
    tasks = frozenset({Task.CLASSIFICATION})

    def make(self) -> LabelCommand:
        return command("print([round(f[0]) for f in r['features']])")


class TestContractOfNumbers(_Contract):
    tasks = frozenset({Task.REGRESSION})

    def make(self) -> LabelCommand:
        code = "print(json.dumps({i: f[0] for i, f in zip(r['indices'], r['features'])}))"
        return command(code, asks_by_key=True)


def request(*indices: int) -> LabelRequest:
    pool = TensorPool(torch.arange(10, dtype=torch.float32)[:, None] * torch.ones(1, 2))
    return LabelRequest(3, torch.tensor(indices), tuple(f"key {i}" for i in indices), pool)


def test_what_the_program_is_given(folder: Path) -> None:
    assert list(command("print(json.dumps([1, None]))", cost=2.0).label(request(7, 3))) == [
        Label(7, 1, "command", 2.0)
    ]
    assert json.loads((folder / "request.json").read_text()) == {
        "iteration": 3,
        "indices": [7, 3],
        "keys": ["key 7", "key 3"],
        "features": [[7.0, 7.0], [3.0, 3.0]],
    }


def test_one_number_for_one_sample() -> None:
    assert list(command("print(0.5)").label(request(7))) == [Label(7, 0.5, "command")]
    with pytest.raises(StrategyError, match="a list or a mapping by index for 2 samples"):
        list(command("print(0.5)").label(request(7, 3)))


def test_fewer_are_pending_and_more_are_refused() -> None:
    assert [label.index for label in command("print([1])").label(request(7, 3))] == [7]
    with pytest.raises(StrategyError, match="at most one value per sample, python said 2 for 1"):
        list(command("print([1, 2])").label(request(7)))


def test_values_are_labels() -> None:
    found = command("print(json.dumps([True, [1, 2]]))").label(request(7, 3))
    assert [label.value for label in found] == [1, [1.0, 2.0]]


def test_a_failure_is_asked_again_and_a_kill_is_in_doubt() -> None:
    with pytest.raises(CommandError, match="exit code 2"):
        list(command("exit(2)").label(request(7)))
    killed = "os.kill(os.getpid(), 9)"
    with pytest.raises(InDoubtError, match="SIGKILL"):
        list(command(killed).label(request(7)))
    with pytest.raises(CommandError, match="SIGKILL"):
        list(command(killed, asks_by_key=True).label(request(7)))
    with pytest.raises(InDoubtError, match="it printed nothing"):
        list(command("").label(request(7)))
    with pytest.raises(InDoubtError, match="NaN"):
        list(command("print('nan')").label(request(7)))


def test_options_are_checked() -> None:
    for option, value in (("at_once", 0), ("reports", 1), ("asks_by_key", "yes"), ("cost", -1)):
        with pytest.raises(ConfigurationError, match=option):
            command("", **{option: value})


def test_without_reports_only_scripts_know_the_samples() -> None:
    with pytest.raises(StrategyError, match="use the pool `scripts`"):
        list(command("", reports=False).label(request(7)))
