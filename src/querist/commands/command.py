"""One external program of an experiment, and how it is run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from querist.commands.allowed import check_command, check_words
from querist.commands.answer import NoAnswerError, all_finite, as_number, read_answer
from querist.commands.environment import (
    base_environment,
    check_environment,
    check_share,
    interpreter,
    resources,
    share_of_cores,
    usable_cores,
    usable_gpus,
)
from querist.commands.flags import as_flags
from querist.commands.process import Ended, run_process
from querist.commands.work import known_folder, make
from querist.errors import CommandError, ConfigurationError, UnknownNameError

KEYS = ("argv", "options", "environment", "timeout_seconds", "cores", "gpus")
LOCK = "work.lock"
_PYTHON = ("python", "python3")
_MOST_SECONDS = 1e8


class Command:
    """A program with its arguments, checked when it is made; nothing runs before `run`.

    Args:
        argv: the program and its arguments, as a list. `python` is the Python that runs Querist;
            a word that names a file in the folder where Querist was started means that file.
        options: become flags behind `argv`: `n_labeled: 100` is `--n_labeled 100`.
        environment: added to the small environment that commands get.
        timeout_seconds: how long it may take; then it is killed. Default: for ever.
        cores: how many cores and threads it may use. Default: as many as Querist may.
        gpus: how many GPUs it sees. Default: those that Querist sees.

    Raises:
        ConfigurationError: one of them cannot be used on this machine.
        ForbiddenCommandError: the operator did not allow the program.
    """

    def __init__(
        self,
        argv: Any,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        cores: int | None = None,
        gpus: int | None = None,
    ) -> None:
        words = check_words(argv)
        self.environment = check_environment(environment or {})
        check_command(words, self.environment)
        self.argv = (*_located(words), *as_flags(options or {}))
        self.name = _name(words)
        self.timeout_seconds = _seconds(timeout_seconds)
        self.cores = check_share("cores", cores, least=1, usable=usable_cores())
        self.gpus = None if gpus is None else _gpus(gpus)

    @classmethod
    def of(cls, what: str, content: Any) -> Command:
        """A command out of a mapping `{argv: [...], ...}`.

        Raises:
            ConfigurationError: it is no such mapping, or has other keys.
        """
        if not isinstance(content, Mapping) or "argv" not in content:
            raise ConfigurationError(
                f"{what} is a mapping with argv, not {content!r:.80}: write "
                f"{what}: {{argv: [python, {what}.py]}}"
            )
        for key in content:
            if key not in KEYS:
                raise UnknownNameError(f"key of {what}", str(key), KEYS)
        return cls(**content)

    def run(
        self, folder: Path | None, *, iteration: int, environment: Mapping[str, Any] | None = None
    ) -> str | None:
        """Run it in a work folder; returns the last line of its output, None where it is too long.

        Args:
            folder: the run's work folder; it is made if it is not there.
            iteration: told to it as `QUERIST_ITERATION`.
            environment: what else it is told.

        Raises:
            CommandError: it failed, was killed, took too long, or cannot be started.
        """
        folder = make(known_folder(folder))
        told = {
            **base_environment(),
            **resources(self.cores, self.gpus),
            **self.environment,
            **{key: str(value) for key, value in (environment or {}).items()},
            "QUERIST_ITERATION": str(iteration),
            "QUERIST_RUN_ID": folder.parent.name,
            "QUERIST_WORK": str(folder),
        }
        ended = run_process(
            self.argv,
            name=self.name,
            folder=folder,
            lock=folder.parent / LOCK,
            environment=told,
            timeout_seconds=self.timeout_seconds,
            cores=() if self.cores is None else share_of_cores(self.cores, folder),
        )
        if (ended.how, ended.detail) != ("exit", "0"):
            raise CommandError(
                _what_went_wrong(self.name, ended), refused=ended.how in ("exit", "missing", "busy")
            )
        return ended.last_line

    def ask(
        self, folder: Path | None, *, iteration: int, environment: Mapping[str, Any] | None = None
    ) -> Any:
        """Run it, and read its last line as a number or JSON; numbers may be NaN or infinite.

        Raises:
            CommandError: as `run`, or the line is neither.
        """
        return self.read(self.run(folder, iteration=iteration, environment=environment))

    def read(self, line: str | None) -> Any:
        """A last line as a number or JSON.

        Raises:
            CommandError: it is neither, or too long.
        """
        if line is None:
            raise self.unusable("it is longer than 32 MB")
        if not line:
            raise self.unusable("it printed nothing")
        try:
            return read_answer(line)
        except NoAnswerError as error:
            raise self.unusable(str(error)) from None

    def number(self, answer: Any) -> float:
        """An answer as a number.

        Raises:
            CommandError: it is none.
        """
        try:
            return as_number(answer)
        except NoAnswerError as error:
            raise self.unusable(str(error)) from None

    def finite(self, answer: Any) -> Any:
        """An answer without NaN and infinity.

        Raises:
            CommandError: it has one.
        """
        if not all_finite(answer):
            raise self.unusable(f"{answer!r:.200} holds NaN or infinity")
        return answer

    def unusable(self, why: str) -> CommandError:
        """An error that says that the program ended well and said nothing of use."""
        return CommandError(
            f"{self.name} says its result on the last line of its output, as a number or JSON, and "
            f"{why}: print it there",
            refused=False,
        )


def _located(words: tuple[str, ...]) -> list[str]:
    """The words with files of the folder of the start by their whole path.

    Raises:
        ConfigurationError: the program, or the script of Python, is not there.
    """
    start = Path.cwd()
    program, *rest = words
    found = [str(start / w) if _is_file(start, w) else w for w in rest]
    if program in _PYTHON:
        if found and found[0].endswith(".py") and not os.path.isfile(found[0]):
            raise ConfigurationError(
                f"there is no script {rest[0]!r:.200} in {start}: start Querist in the folder that "
                "holds it, or correct argv"
            )
        return [interpreter(), *found]
    path = str(start / program) if _is_file(start, program) else shutil.which(program)
    if path is None or not os.access(path, os.X_OK):
        raise ConfigurationError(
            f"there is no program {program!r:.200} on the PATH or in {start} that may be executed: "
            "install it, or correct argv"
        )
    return [path, *found]


def _is_file(start: Path, word: str) -> bool:
    try:
        return bool(word) and not os.path.isabs(word) and (start / word).is_file()
    except OSError:  # too long for a name
        return False


def _name(words: tuple[str, ...]) -> str:
    """What people call it: the script, or the program."""
    script = words[1] if len(words) > 1 and _is_file(Path.cwd(), words[1]) else words[0]
    return os.path.basename(script)[:80]


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= _MOST_SECONDS:
        raise ConfigurationError(
            f"timeout_seconds of a command is a number above 0 and up to {_MOST_SECONDS:g}, not "
            f"{value!r:.80}: set it to one"
        )
    return float(value)


def _gpus(wanted: Any) -> int | None:
    return check_share("gpus", wanted, least=0, usable=usable_gpus() if wanted != 0 else ())


def _what_went_wrong(name: str, ended: Ended) -> str:
    words = {
        "exit": f"ended with exit code {ended.detail}",
        "signal": f"was ended by {_signal(ended.detail)}",
        "timeout": f"took longer than its timeout_seconds, {ended.detail}, and was killed",
        "stopped": "was stopped, since the step that it belongs to was",
        "busy": "cannot start: another command of this run is still working in its work folder",
        "missing": f"cannot be started: {ended.detail}",
        "lost": "was killed together with what looked after it",
    }[ended.how]
    said = "\n".join(ended.errors)
    heard = f"; the last lines of its stderr are:\n{said}" if said else "; its stderr is empty"
    return f"the command {name} {words}: see the log{heard}"


def _signal(number: str) -> str:
    names = {
        signal.SIGSEGV: "SIGSEGV, a segmentation fault",
        signal.SIGKILL: "SIGKILL, as the system kills what needs too much memory",
        signal.SIGABRT: "SIGABRT, which it sent itself",
        signal.SIGBUS: "SIGBUS, a bus error",
    }
    try:
        known = signal.Signals(int(number))
    except ValueError:
        return f"signal {number}"
    return names.get(known, known.name)
