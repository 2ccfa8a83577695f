from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from querist.errors import ConfigurationError, UnknownNameError
from querist.faults import crash_at, crash_point


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that the process sent itself, in place of its death."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append(number))
    yield sent
    crash_at(None)


def passes(words: str, times: int = 3) -> None:
    crash_at(words)
    for _ in range(times):
        crash_point("train.step")
        crash_point("train.epoch")


@pytest.mark.parametrize(
    ("words", "rank", "restarts", "dies"),
    [
        ("train.step:2", None, None, True),
        ("train.step:4", None, None, False),
        ("train.step:2:rank1", None, None, False),
        ("train.step:2:rank1", "0", "0", False),
        ("train.step:2:rank1", "1", "0", True),
        ("train.step:2:rank1", "1", None, True),
        ("train.step:2:rank1", "1", "1", False),
        ("train.step:rank1", "1", "0", True),
        ("train.step:rank1", "11", "0", False),
    ],
)
def test_who_dies(
    words: str,
    rank: str | None,
    restarts: str | None,
    dies: bool,
    killed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("RANK", rank), ("TORCHELASTIC_RESTART_COUNT", restarts)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    passes(words)
    assert killed == ([signal.SIGKILL] if dies else [])


@pytest.mark.parametrize("words", ["train.step:0", "train.step:1:2", "train.step:rank1:rank2"])
def test_words_of_another_form(words: str) -> None:
    with pytest.raises(ConfigurationError, match="has the form POINT"):
        crash_at(words)


def test_a_point_that_is_not_there() -> None:
    with pytest.raises(UnknownNameError, match="'train.step'"):
        crash_at("train.stepp")
