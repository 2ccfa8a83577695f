from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared.models import Place, place_in


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Sixty items, nothing learned yet."""
    yield from place_in(tmp_path)
