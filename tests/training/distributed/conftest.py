from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared.ranked import ALLOWED


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ranks may build the models of the tests, and what fails leaves its logs with the tests."""
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", ALLOWED)
    folder: Path = tmp_path_factory.mktemp("jobs")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
