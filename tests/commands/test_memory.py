from __future__ import annotations

from pathlib import Path

import pytest

from querist.commands.memory import remembered


def test_asked_once(work: Path) -> None:
    answers = iter([True, 2])
    for _ in range(2):
        assert remembered(work, ["a", 1], lambda: next(answers)) is True
    assert remembered(work, ["a", 2], lambda: next(answers)) == 2


def test_an_error_is_no_answer(work: Path) -> None:
    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        remembered(work, "a", fail)
    assert remembered(work, "a", lambda: 3) == 3
