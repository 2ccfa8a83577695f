from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def everything_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", "*")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "run-7" / "work"
