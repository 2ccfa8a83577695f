from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.context import MetrologyContext
from querist.errors import CommandError
from querist.strategies.metrology.command import MetrologyCommand
from querist.testing import MetrologyStrategyContract
from querist.values import Task

READ = "import os, numpy as np; p = np.load(os.environ['QUERIST_PREDICTIONS'])\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")
    TestContract.folder = tmp_path / "run" / "work"


def command(code: str, **options: Any) -> MetrologyCommand:
    made = MetrologyCommand(["python", "-c", code], **options)
    made.work_in(TestContract.folder)
    return made


class TestContract(MetrologyStrategyContract):
    folder: Path

    def make(self) -> MetrologyCommand:
        code = f"{READ}print(np.mean((p['predictions'] - p['targets']) ** 2.0))"
        return command(code, predictions=True)


NOTHING = torch.empty(0)
BARE = MetrologyContext(Task.REGRESSION, None, NOTHING, NOTHING, None, 3, 2)


def test_a_number_or_a_mapping() -> None:
    assert command("print(0.5)").compute(BARE).values == {"mse": 0.5}
    assert command("print(0.5)", metric="error").compute(BARE).values == {"error": 0.5}
    assert command('print(\'{"a": 1, "b": 2}\')').compute(BARE).values == {"a": 1.0, "b": 2.0}
    assert not command("print(0.5)").needs_test_set


def test_what_is_no_number_is_refused() -> None:
    for said in ('"x"', "true", "null", "[1]", '{"a": "x"}'):
        with pytest.raises(CommandError, match="is no number"):
            command(f"print('{said}')").compute(BARE)
    with pytest.raises(CommandError, match="a mapping without a metric"):
        command("print('{}')").compute(BARE)


def test_nan_is_recorded_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        values = command("print('nan')").compute(BARE).values
    assert math.isnan(values["mse"])
    assert "iteration 2: python says mse is nan" in caplog.text
