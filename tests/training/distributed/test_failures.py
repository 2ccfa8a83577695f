from __future__ import annotations

import signal
from pathlib import Path

import pytest

from querist.errors import ConfigurationError, LearnerError, StorageError, UnknownNameError
from querist.training.distributed.failures import (
    Failure,
    error_of,
    message_of,
    refusal,
    refuse,
    write_failures,
)

LOST = "RuntimeError: [pair.cc:534] Connection closed by peer [127.0.0.1]:6"


def said(folder: Path, *failures: Failure, tries: int = 1) -> str:
    for number, failure in enumerate(failures):
        write_failures(folder / f"failures-{number}.json", [failure])
    paths = folder.glob("failures-*.json")
    return str(error_of(paths, processes=2, tries=tries, otherwise="nobody knows"))


def test_the_cause_comes_before_what_it_caused(tmp_path: Path) -> None:
    lost = Failure(0, 1, LOST, None)
    stopped = Failure(2, -signal.SIGTERM, "", None)
    raised = Failure(3, 1, "ValueError: no", None)
    killed = Failure(1, -signal.SIGKILL, "", None)
    for failures, words in [
        ((lost, stopped, raised, killed), "process 1 of 2 ended by SIGKILL, as the system kills"),
        ((lost, stopped, raised), "process 3 of 2 ended with exit code 1, ValueError: no"),
        ((lost, stopped), "Connection closed by peer"),
        ((stopped,), "process 2 of 2 ended by SIGTERM"),
    ]:
        folder = tmp_path / str(len(failures))
        folder.mkdir()
        assert words in said(folder, *failures)


def test_the_log_is_named_and_its_end_told(tmp_path: Path) -> None:
    (tmp_path / "stderr.log").write_text("\n".join(f"line {n}" for n in range(50)))
    text = said(tmp_path, Failure(0, 1, "ValueError: no", str(tmp_path)), tries=4)
    assert "ended 4 times, at last with exit code 1" in text
    assert f"see {tmp_path / 'stderr.log'}; its last lines are:\nline 40\n" in text
    assert text.endswith("line 49")


def test_nobody_left_a_word(tmp_path: Path) -> None:
    assert said(tmp_path) == "nobody knows"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure(0, -signal.SIGSEGV, "", None), "by SIGSEGV, a segmentation fault"),
        (Failure(0, -signal.SIGUSR1, "", None), "by SIGUSR1"),
        (Failure(0, -200, "", None), "by signal 200"),
        (Failure(0, 3, "", None), "with exit code 3, which is all that is known"),
    ],
)
def test_ends_in_words(failure: Failure, words: str) -> None:
    assert failure.in_words == words


def test_messages_of_torch() -> None:
    assert message_of({"message": {"message": "ValueError:  a\nb", "extraInfo": {}}}) == (
        "ValueError: a b"
    )
    assert message_of({"message": "x"}) == "x"
    assert message_of({}) == ""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LearnerError("a"), LearnerError),
        (UnknownNameError("thing", "a", ["b"]), ConfigurationError),
        (StorageError("the disk is full"), LearnerError),
    ],
)
def test_an_error_is_left_for_the_other_process(
    tmp_path: Path, error: Exception, kind: type[Exception]
) -> None:
    path = tmp_path / "refusal.json"
    assert refusal(path) is None
    refuse(path, error)  # type: ignore[arg-type]
    found = refusal(path)
    assert type(found) is kind
    assert str(found) == str(error)
