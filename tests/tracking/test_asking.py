"""The deliverer says when an answer is due; the run's process reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from querist.tracking.asking import Asking, asked
from querist.tracking.progress import LOCK_FILE


def test_an_answer_that_is_due_has_a_number(tmp_path: Path) -> None:
    assert asked(tmp_path) is None
    (tmp_path / LOCK_FILE).write_text("7")  # a deliverer was killed while it waited
    asking = Asking(tmp_path)
    assert asked(tmp_path) is None
    with asking.request():
        assert asked(tmp_path) == 1
        with asking.request():
            assert asked(tmp_path) == 1
    assert asked(tmp_path) is None
    with pytest.raises(ZeroDivisionError), asking.request():
        1 / (asked(tmp_path) - 2)  # type: ignore[operator]
    assert asked(tmp_path) == 2
    with asking.request():
        assert asked(tmp_path) == 2
    assert asked(tmp_path) is None


def test_a_request_behind_one_that_got_no_answer_is_as_silent(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    asking.ask()
    with asking.request():
        assert asked(tmp_path) == 1
    assert asked(tmp_path) is None


def test_a_folder_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    asking = Asking(tmp_path / "gone")
    with asking.request():
        assert asked(tmp_path / "gone") is None
