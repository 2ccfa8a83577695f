"""Row 9: system calls fail at random, EIO and ENOSPC; it is never silent, and nothing is lost.

libfiu puts itself between the process and the C library, so that SQLite's own reads, writes and
syncs fail as ours do. The faults begin at a moment of the run that is drawn, after all that is to
be imported was: a run whose every 20th call fails does not get far.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shared.driven import Place
from tests.shared.killed import HERE, ITERATIONS, LABELS, REPOSITORY

PROBABILITY = 0.05
Driven = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """Does what is left of a run in a process of its own, in which calls fail."""
    if shutil.which("fiu-run") is None:
        assert not os.environ.get("CI"), "CI installs Debian's fiu-utils"
        pytest.skip("needs libfiu: apt install fiu-utils")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)]),
        "QUERIST_ALLOWED_PACKAGES": "interrupted,examples",
    }
    messages = tmp_path_factory.mktemp("messages") / "err"
    with messages.open("w") as stderr:
        process = subprocess.Popen(
            ["fiu-run", "-x", "-f", "", sys.executable, "-m", "tests.faults.failing_io"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            text=True,
        )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def drive(place: Place, *, here: bool = False, seed: int = 0, p: float = 0.0) -> Any:
        asked = {"folder": str(place.folder), "books": str(place.books), "here": here}
        stdin.write(json.dumps({**asked, "seed": seed, "probability": p}) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, messages.read_text()
        return json.loads(answer)

    try:
        yield drive
    finally:
        stdin.close()
        process.wait(30)


def place(folder: Path) -> Place:
    made = Place(folder, folder.with_suffix(".asked"))
    made.write()
    return made


def _ours(ended: dict[str, Any]) -> bool:
    """An error of ours in one line; what matplotlib says of its fonts is its own."""
    return "QueristError" in ended["kinds"] and "\n" not in ended["words"]


def test_system_calls_fail_at_random(
    driven: Driven, tmp_path: Path, tries: Any, tried: Any, survived: Any
) -> None:
    clean = place(tmp_path / "clean")
    assert driven(clean, here=True)["code"] == 0
    failed = 0
    for seed in range(tries(9, 10, 50)):
        tried(9)
        where = place(tmp_path / str(seed))
        # The recovery meets faults as well.
        for p in (PROBABILITY, PROBABILITY / 10):
            ended = driven(where, seed=seed, p=p)
            if ended["code"] == 0:
                break
            failed += 1
            assert _ours(ended) or "/matplotlib/" in ended["trace"], ended["trace"]
        else:
            ended = driven(where)
        assert ended["code"] == 0, ended["trace"]
        assert where.end() == clean.end()
        assert len(where.billed) == len(set(where.billed)) == ITERATIONS * LABELS
        survived(9)
    assert failed
