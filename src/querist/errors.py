"""The errors that Querist raises.

QueristError
├── ConfigurationError (ValueError)    a setting is wrong, found when the configuration is read
│   ├── UnknownNameError (LookupError) a component, metric or key that nobody registered
│   ├── ForbiddenImportError           an import path outside the operator's allow-list
│   └── ForbiddenCommandError          a program outside the operator's allow-list
├── DataError (ValueError)             features, targets or splits that cannot be used
├── LabelError (ValueError)            a label that cannot belong to its sample
│   └── InDoubtError                   a label source cannot know whether a label was bought
├── LearnerError (ValueError)          a model whose outputs do not fit the experiment
├── StrategyError (ValueError)         a strategy that broke its contract
├── CommandError (RuntimeError)        a program that failed, or said nothing of use
└── RunError (RuntimeError)            something about one run on disk
    ├── RunNotFoundError (LookupError)
    ├── RunExistsError                 the run id is taken
    ├── RunLockedError                 another process is working on the run
    │   └── LeaseLostError             another process has taken the run over from this one
    ├── BudgetError                    a request that the label budget does not cover
    ├── ChampionChangedError           a verdict against a model that is champion no more
    ├── CheckpointError                a checkpoint that is missing or damaged
    └── StorageError (OSError)         the disk refused a write

Each message is one sentence: the rule, the value that broke it, what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class QueristError(Exception):
    """The base of every error that Querist raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[QueristError], args: tuple[Any, ...], state: dict[str, Any]) -> QueristError:
    """An error that came from another process, without calling its constructor again."""
    maker = OSError if issubclass(kind, OSError) else Exception
    error = maker.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(QueristError, ValueError):
    """A setting is wrong."""


class UnknownNameError(ConfigurationError, LookupError):
    """A name that nobody registered; the message suggests the nearest known ones."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(repr(n) for n in near)}?"
            if near
            else f"known are: {', '.join(names) or 'none'}"
        )
        super().__init__(f"there is no {what} named {name[:200]!r}: {hint}")


class ForbiddenImportError(ConfigurationError):
    """An import path whose package the operator did not allow."""


class ForbiddenCommandError(ConfigurationError):
    """A program that the operator did not allow."""


class DataError(QueristError, ValueError):
    """Features, targets or splits that cannot be used."""


class LabelError(QueristError, ValueError):
    """A label that cannot belong to its sample."""


class InDoubtError(LabelError):
    """Raised by a label source that cannot know whether it bought what it was asked for."""


class LearnerError(QueristError, ValueError):
    """A model that does not fit the experiment."""


class StrategyError(QueristError, ValueError):
    """A strategy that broke its contract."""


class CommandError(QueristError, RuntimeError):
    """A program that failed, was killed, took too long, or said nothing of use.

    `refused` tells that it did no work as far as can be known: it was not started, or said itself
    by its exit code that it failed.
    """

    def __init__(self, message: str, *, refused: bool) -> None:
        self.refused = refused
        super().__init__(message)


class RunError(QueristError, RuntimeError):
    """Something about one run on disk."""


class RunNotFoundError(RunError, LookupError):
    """No run with this id."""


class RunExistsError(RunError):
    """The run id is taken."""


class RunLockedError(RunError):
    """Another process is working on the run; `holder` says which."""

    def __init__(self, run_id: str, holder: str) -> None:
        self.holder = holder
        super().__init__(
            f"run {run_id} is being worked on by {holder}: wait for it, or stop that process"
        )


class LeaseLostError(RunLockedError):
    """Another process has taken the run over; this one must not write any more."""

    def __init__(self, run_id: str, holder: str) -> None:
        self.holder = holder
        RunError.__init__(
            self,
            f"run {run_id} was taken over by {holder}: this process stops, what it had recorded "
            "before is stored",
        )


class BudgetError(RunError):
    """A request that the label budget does not cover; nobody was asked."""


class ChampionChangedError(RunError):
    """The verdict was against another champion than the present one; nothing was promoted."""


class CheckpointError(RunError):
    """A checkpoint that is missing or damaged."""


class StorageError(RunError, OSError):
    """The disk refused a write; what was stored before is intact."""
