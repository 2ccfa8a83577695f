"""The commands that are about parallel learners, and about steering a run from outside."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from querist.deployments.console import (
    DEFAULT_ROOT,
    Root,
    RunIdArgument,
    err,
    mistakes,
    out,
)
from querist.deployments.embedded_server import EmbeddedServer, ServerIfNeeded
from querist.errors import ConfigurationError, RunExistsError, RunNotFoundError

if TYPE_CHECKING:
    from querist.config.parallel import ParallelExperiment

Learner = Annotated[
    str | None, typer.Option("--learner", help="Only this learner of a parallel run.")
]


def run_parallel(
    source: Path,
    content: Mapping[str, Any],
    run_id: str | None,
    server: EmbeddedServer | None,
    as_json: bool,
    started: float,
) -> None:
    """Run the parallel learners in a file."""
    from querist.config.parallel import build_parallel
    from querist.runs.lock import RunLock
    from querist.runs.open import check_components
    from querist.runs.parallel import check_free_for_parallel, is_parallel_run

    checked = build_parallel(content, str(source))
    chosen = run_id or checked.base.driver.run_id
    if chosen is not None:
        checked.check_id(chosen)
        folder = checked.base.driver.root_log_dir.absolute() / chosen
        check_free_for_parallel(folder)
        if is_parallel_run(folder):
            RunLock(folder, probe=True).release()
            raise RunExistsError(
                f"parallel run {chosen} exists already: `querist resume {chosen}` goes on with it, "
                "or choose another id"
            )
    for learner in checked.learners:
        check_components(checked.experiment(learner.name, "parent"))
    _drive(checked, run_id, server, as_json, started)


def resume_parallel(
    root: Path, run_id: str, take_over: bool, as_json: bool, started: float
) -> None:
    """Go on with the learners of a parallel run that did not finish."""
    from querist.runs import open as runs_open
    from querist.runs.lock import RunLock
    from querist.runs.open import EXPERIMENT_FILE
    from querist.runs.parallel import load_parallel
    from querist.runs.reference import RunReference

    folder = root / run_id
    experiment = load_parallel(folder)
    if take_over:
        for learner in learner_folders(folder):
            if (learner / EXPERIMENT_FILE).exists():
                runs_open.take_over(RunReference(run_id=learner.name, root=root))
        RunLock.taken_over(folder).release()
    RunLock(folder, probe=True).release()
    driver = experiment.base.driver.model_copy(update={"root_log_dir": root})
    base = experiment.base.model_copy(update={"driver": driver})
    with ServerIfNeeded() as server:
        here = experiment.model_copy(update={"base": base})
        _drive(here, run_id, server, as_json, started)


def _drive(
    experiment: ParallelExperiment,
    run_id: str | None,
    server: EmbeddedServer | None,
    as_json: bool,
    started: float,
) -> None:
    from querist.deployments.execute import execute, own_hosts

    config = experiment.parallel
    forks = 0
    if config.where == "processes" and not config.resources.gpus:
        forks = min(config.max_parallel or len(experiment.learners), len(experiment.learners))
    with own_hosts(forks):
        from querist.deployments.terminal import Watch, show_parallel
        from querist.flows import parallel_learners
        from querist.runs.outcomes import ParallelSummary

        chosen = run_id or experiment.base.driver.run_id or secrets.token_hex(4)
        try:
            with Watch(err if as_json else out).shown():
                found: Any = execute(lambda: parallel_learners(experiment, chosen), server)
        except KeyboardInterrupt as stopped:
            raise KeyboardInterrupt(chosen) from stopped  # by its name it can be resumed
    assert isinstance(found, ParallelSummary)
    if as_json:
        print(json.dumps(dataclasses.asdict(found), default=str))
    else:
        show_parallel(out, found, time.monotonic() - started)


def learner_folders(folder: Path) -> list[Path]:
    """The folders of a parallel run's learners, those that have not begun as well."""
    from querist.runs.parallel import load_parallel

    experiment = load_parallel(folder)
    return [
        folder.parent / experiment.run_id(learner.name, folder.name)
        for learner in experiment.learners
    ]


def show_parallel_status(root: Path, run_id: str, as_json: bool) -> None:
    """Tell where every learner of a parallel run is."""
    from querist.runs.open import EXPERIMENT_FILE
    from querist.runs.parallel import RESULT_FILE
    from querist.runs.reference import RunReference
    from querist.runs.status import read_status

    folders = learner_folders(root / run_id)
    begun = [folder for folder in folders if (folder / EXPERIMENT_FILE).exists()]
    found = [read_status(RunReference(run_id=folder.name, root=root)) for folder in begun]
    if as_json:
        print(json.dumps([dataclasses.asdict(status) for status in found]))
        return
    table = Table("run", "state", "iterations", "labels", "metrics", "why it stopped")
    for s in found:
        metrics = ", ".join(f"{k} {v:.3g}" for k, v in s.metrics.items())
        row = (s.run_id, s.state, f"{s.iterations} of {s.max_iterations}", str(s.labels))
        table.add_row(*map(escape, (*row, metrics, s.stop_reason or "")))
    for folder in folders:
        if folder not in begun:
            table.add_row(escape(folder.name), "not begun", "", "", "", "")
    out.print(table)
    result = root / run_id / RESULT_FILE
    if result.exists():
        verdict = json.loads(result.read_bytes())
        out.print(
            f"{run_id}: {verdict['verdict']} ({verdict['reason']})", markup=False, soft_wrap=True
        )


def stop(run_id: RunIdArgument, learner: Learner = None, root: Root = DEFAULT_ROOT) -> None:
    """Have a run, or learners of a parallel run, stop when their iterations are whole."""
    with mistakes():
        from querist.runs.steering import ask_to_stop

        folders = _folders(root, run_id, learner, waiting=True)
        for folder in folders:
            ask_to_stop(folder, may_begin_later=True)
        names = ", ".join(folder.name for folder in folders)
        out.print(f"asked to stop after the present iteration: {escape(names)}", soft_wrap=True)


def set_settings(
    run_id: RunIdArgument,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="Settings, such as training.batch_size=32."),
    ],
    learner: Learner = None,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Change settings of a run that goes on, from its next iteration on."""
    with mistakes():
        from querist.config.load import apply_overrides
        from querist.runs.steering import ask_to_set

        asked = apply_overrides({}, settings)
        folders = _folders(root, run_id, learner)
        for folder in folders:
            ask_to_set(folder, asked)
        names = ", ".join(folder.name for folder in folders)
        out.print(f"holds from the next iteration on: {escape(names)}", soft_wrap=True)


def _folders(root: Path, run_id: str, learner: str | None, *, waiting: bool = False) -> list[Path]:
    """The folder of a run, or those of a parallel run's learners that have not ended.

    Args:
        root: where runs are.
        run_id: the run.
        learner: only this one.
        waiting: those that wait for their turn as well.
    """
    from querist.phases.conclude import SUMMARY_FILE
    from querist.runs.open import EXPERIMENT_FILE, checked_run_id, run_folder
    from querist.runs.parallel import is_parallel_run

    folder = root / checked_run_id(run_id)
    if not is_parallel_run(folder):
        if learner is not None:
            raise ConfigurationError(
                f"run {run_id} is no parallel run, so it has no learner {learner!r}: leave "
                "--learner out"
            )
        return [run_folder(run_id, root)]
    known = learner_folders(folder)
    if learner is not None:
        known = [one for one in known if one.name == f"{run_id}-{learner}"]
    found = [
        one
        for one in known
        if (waiting or (one / EXPERIMENT_FILE).exists()) and not (one / SUMMARY_FILE).exists()
    ]
    if not found:
        which = "none" if learner is None else f"no learner {learner}"
        raise RunNotFoundError(
            f"parallel run {run_id} has {which} that goes on: `querist status {run_id}` lists them"
        )
    return found
