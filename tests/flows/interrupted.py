"""Kills its own process where an environment variable says so. On the tests' import path.

KILL_AT="module:attribute|words that the arguments contain|count|before or after"
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.two_moons.model import MoonClassifier

VARIABLE = "KILL_AT"


class Model(MoonClassifier):
    """Its import is what makes the process mortal."""


def label(point: Any) -> int:
    """Ask somebody who keeps a list of what was asked."""
    with open(os.environ["ASKED"], "a") as file:
        file.write(f"{point.tolist()}\n")
    return int(point[1] < 0.25)


def die() -> None:
    """The command, and the process that carries out its run."""
    if os.environ.get("KILL_GROUP"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def arm(where: str) -> None:
    """Replace the function by one that kills."""
    path, words, count, when = where.split("|")
    module, _, attributes = path.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = attributes.split(".")
    for part in owners:
        owner = getattr(owner, part)
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def mortal(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += words in f"{args} {options}"
        due = calls == int(count)
        if due and when == "before":
            die()
        result = function(*args, **options)
        if due:
            die()
        return result

    setattr(owner, name, mortal)


def work(experiment_file: str, run_id: str, kill_at: str, asked: str) -> None:
    """All of a run without Prefect, killed at some point."""
    from querist import phases
    from querist.config.load import load_experiment
    from querist.phases import begin, conclude
    from querist.phases.finish import finish_iteration
    from querist.phases.plan import pending_phases
    from querist.runs import open_run

    os.environ.update(ASKED=asked)
    os.chdir(Path(experiment_file).parent)
    if kill_at:
        arm(kill_at)
    start = begin.begin(load_experiment(Path(experiment_file)), run_id)
    run = open_run(start.run)
    step, stopped = start.iteration, start.stopped
    while not stopped:
        for phase in pending_phases(run, step):
            getattr(phases, phase.value)(run, step)
        stopped = finish_iteration(run, step).stop
        step += 1
    conclude(run)
    sys.exit(0)


if os.environ.get(VARIABLE):
    arm(os.environ[VARIABLE])
