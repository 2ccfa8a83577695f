"""Asking a run, from outside, to stop or to go on with other settings.

Whoever asks appends a line to `control.jsonl` in the run's folder; the run looks there when an
iteration is whole, and writes what it takes from it into its ledger. So it holds for a resumed run
as for one that was never stopped, and nobody but the run's own process writes its ledger.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from querist.config.experiment import Experiment
from querist.config.load import load_experiment
from querist.errors import ConfigurationError, RunError, RunNotFoundError
from querist.runs.schedules import check_changed, with_overrides
from querist.storage.atomic import create_folder, storage_errors
from querist.storage.store import store

if TYPE_CHECKING:
    from querist.ledger import Ledger
    from querist.runs.run import Run

GROUPS = ("training", "strategies", "stop")
EXPERIMENT_FILE = "experiment.yaml"
SUMMARY_FILE = "summary.json"
CONTROL_FILE = "control.jsonl"
TAKEN = "control_taken"
"""The fact that says how many lines the run has taken."""
STOP = "stop_asked"
"""The fact that says that somebody asked the run to stop."""
SETTINGS = "settings_from"
"""The facts that say which settings hold from which iteration on: `settings_from 7 #3`."""
STOPPED_BY_USER = "stopped by user"
_log = logging.getLogger(__name__)


def ask_to_stop(folder: Path, *, may_begin_later: bool = False) -> None:
    """Have a run stop when the iteration that it is in is whole.

    Args:
        folder: the run's.
        may_begin_later: it may be a learner that waits for its turn: it then stops after its first
            iteration.

    Raises:
        RunNotFoundError: there is no run, and none may begin later.
        RunError: the run has ended.
    """
    if may_begin_later and not (folder / EXPERIMENT_FILE).exists():
        create_folder(folder)
    else:
        _check_goes_on(folder)
    _append(folder, {"stop": True})


def ask_to_set(folder: Path, settings: Mapping[str, Any]) -> None:
    """Have a run go on with other settings from its next iteration on.

    Args:
        folder: the run's.
        settings: by group, merged over those in force.

    Raises:
        ConfigurationError: a setting that does not exist, or cannot change on the way.
        RunNotFoundError: there is no run.
        RunError: the run has ended.
    """
    _check_goes_on(folder)
    experiment = load_experiment(folder / EXPERIMENT_FILE)
    check_changed(experiment, steered(experiment, [settings]))
    _append(folder, {"set": settings})


def steered(experiment: Experiment, asked: list[Mapping[str, Any]]) -> Experiment:
    """The experiment with what was asked for merged in.

    Raises:
        ConfigurationError: a setting that does not exist, or cannot change on the way.
    """
    if not asked:
        return experiment
    for group, changes in ((group, part) for one in asked for group, part in one.items()):
        if group not in GROUPS:
            raise ConfigurationError(
                f"a run can change settings of {', '.join(GROUPS)} on the way, not {group!r}"
            )
        if not isinstance(changes, Mapping):
            raise ConfigurationError(
                f"what changes in {group} is a mapping of settings, not {changes!r:.80}: write "
                f"{group}.KEY=VALUE"
            )
    return with_overrides(experiment, [(one, False) for one in asked], "who asks for settings")


def settings_asked(ledger: Ledger) -> dict[int, list[Mapping[str, Any]]]:
    """What was asked for and taken, by the iteration from which on it holds."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for key, value in ledger.facts().items():
        if key.startswith(SETTINGS):
            since = int(key.removeprefix(SETTINGS).partition("#")[0])
            found.setdefault(since, []).append(json.loads(value))
    return dict(sorted(found.items()))


def take_requests(run: Run, iteration: int) -> bool:
    """Take what was asked for since, now that `iteration` is whole.

    Returns whether the run shall stop.
    """
    ledger = run.ledger
    path = run.reference.folder / CONTROL_FILE
    if path.exists():
        taken = int(ledger.fact(TAKEN) or 0)
        lines = _read(path)
        for number, line in enumerate(lines[taken:], taken):
            _take(run, iteration, number, line)
        if len(lines) > taken:
            ledger.set_fact(TAKEN, str(len(lines)))
            run.forget_settings()
    return ledger.fact(STOP) is not None


def _take(run: Run, iteration: int, number: int, line: Mapping[str, Any]) -> None:
    if line.get("stop"):
        run.ledger.set_fact(STOP, str(iteration))
        _log.info("iteration %d: somebody asked the run to stop", iteration)
        return
    settings = line.get("set")
    try:
        if not isinstance(settings, dict):
            raise ConfigurationError(f"nobody knows what {line!r:.80} asks for")
        check_changed(run.experiment, steered(run.experiment, [settings]))
    except ConfigurationError as error:
        _log.warning("iteration %d: what somebody asked for is refused, %s", iteration, error)
        return
    since = iteration + 1
    if run.ledger.done_phases(since):  # it began before the run was stopped
        since += 1
    run.ledger.set_fact(f"{SETTINGS} {since} #{number}", json.dumps(settings))
    _log.info("from iteration %d on: %s", since, json.dumps(settings))


def _read(path: Path) -> list[Mapping[str, Any]]:
    """The whole lines of the file; one that is no JSON object asks for nothing."""
    with storage_errors(path):
        content = path.read_bytes()
    lines: list[Mapping[str, Any]] = []
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        lines.append(found if isinstance(found, dict) else {})
    return lines


def _append(folder: Path, asked: Mapping[str, Any]) -> None:
    path = folder / CONTROL_FILE
    disk = store()
    with storage_errors(path), disk.open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = json.dumps({"time": time.time(), "process": os.getpid(), **asked})
        disk.write(file, line.encode() + b"\n")
        disk.sync(file)


def _check_goes_on(folder: Path) -> None:
    if not (folder / EXPERIMENT_FILE).is_file():
        raise RunNotFoundError(f"there is no run in {folder}: it may not have begun yet")
    if (folder / SUMMARY_FILE).exists():
        raise RunError(f"run {folder.name} has ended: nothing is left to stop or to change")
