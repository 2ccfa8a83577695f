from __future__ import annotations

import pytest

from tests.shared.ranked import ALLOWED


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", ALLOWED)
