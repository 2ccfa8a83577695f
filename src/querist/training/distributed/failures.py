"""What went wrong in a training process, as one error that a person can read."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from querist import errors
from querist.errors import ConfigurationError, DataError, LearnerError, QueristError
from querist.storage.atomic import write_file

_KINDS = (ConfigurationError, DataError, LearnerError)
_KEPT_LINES = 10
_LONGEST_LINE = 300
_LOST_PEERS = ("closed by peer", "reset by peer", "connection refused", "broken pipe", "timed out")
"""What a process says whose partner has died, in lower case."""


def refuse(path: Path, error: QueristError) -> None:
    """Leave an error that trying again would not change."""
    content = {"kind": type(error).__name__, "message": str(error)}
    write_file(path, json.dumps(content).encode(), durable=False)


def refusal(path: Path) -> QueristError | None:
    """The error that was left, if one was."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    found = getattr(errors, content["kind"], LearnerError)
    kind = next((kind for kind in _KINDS if issubclass(found, kind)), LearnerError)
    return kind(content["message"])


@dataclass(frozen=True)
class Failure:
    """How one process ended.

    Attributes:
        rank: which one.
        exit_code: its exit code; below 0 it is the number of a signal.
        message: what it raised, in one line; empty where it could not say.
        logs: the folder of its logs; None where there is none.
    """

    rank: int
    exit_code: int
    message: str
    logs: str | None

    @property
    def is_cause(self) -> int:
        """The higher, the more likely the others failed because of this one."""
        if self.exit_code < 0:
            return 0 if -self.exit_code == signal.SIGTERM else 4  # torchrun sends that one
        if any(words in self.message.lower() for words in _LOST_PEERS):
            return 1
        return 3 if self.message else 2

    @property
    def in_words(self) -> str:
        """How it ended."""
        if self.exit_code >= 0:
            said = self.message or "which is all that is known"
            return f"with exit code {self.exit_code}, {said}"
        names = {
            signal.SIGKILL: "SIGKILL, as the system kills what needs too much memory",
            signal.SIGSEGV: "SIGSEGV, a segmentation fault",
            signal.SIGBUS: "SIGBUS, as where shared memory is full",
        }
        try:
            known = signal.Signals(-self.exit_code)
        except ValueError:
            return f"by signal {-self.exit_code}"
        return f"by {names.get(known, known.name)}"


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Leave how processes ended."""
    write_file(path, json.dumps([asdict(f) for f in failures]).encode(), durable=False)


def message_of(content: Mapping[str, Any]) -> str:
    """The message in torch's error file, in one line."""
    message = content.get("message", "")
    if isinstance(message, Mapping):
        message = message.get("message", "")
    return " ".join(str(message).split())[:500]


def error_of(paths: Iterable[Path], processes: int, tries: int, otherwise: str) -> LearnerError:
    """The error of a training whose processes failed.

    Args:
        paths: what `write_failures` left, on all machines.
        processes: how many there were.
        tries: how often they were started.
        otherwise: what is said where nobody left anything.
    """
    found = [Failure(**content) for path in paths for content in json.loads(path.read_bytes())]
    if not found:
        return LearnerError(otherwise)
    cause = max(found, key=lambda failure: failure.is_cause)
    times = "" if tries == 1 else f" {tries} times, at last"
    where, said = "", ""
    if cause.logs is not None:
        log = Path(cause.logs) / "stderr.log"
        where = f": see {log}"
        lines = _last_lines(log)
        said = f"; its last lines are:\n{lines}" if lines else ", which is empty"
    return LearnerError(
        f"training process {cause.rank} of {processes} ended{times} {cause.in_words}{where}{said}"
    )


def _last_lines(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()[-_KEPT_LINES:]
    except OSError:
        return ""
    return "\n".join(line[:_LONGEST_LINE] for line in lines)
