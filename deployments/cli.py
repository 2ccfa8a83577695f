"""The `querist` command line."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from querist.deployments.cli_collect import collect
from querist.deployments.cli_join import join
from querist.deployments.cli_labels import labels_app
from querist.deployments.cli_models import models, retrain, rollback
from querist.deployments.cli_parallel import set_settings, stop
from querist.deployments.cli_servers import automation, serve, up
from querist.deployments.console import (
    DEFAULT_ROOT,
    AsJson,
    Root,
    RunIdArgument,
    err,
    mistakes,
    one_line,
    out,
)
from querist.deployments.embedded_server import EmbeddedServer, ServerIfNeeded
from querist.errors import QueristError

app = typer.Typer(
    name="querist",
    help="Active learning as a durable workflow on Prefect, tracked in MLflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]


@app.command()
def run(
    experiment: Annotated[
        Path,
        typer.Argument(
            metavar="EXPERIMENT.yaml", help="An experiment, a comparison, or parallel learners."
        ),
    ],
    overrides: Overrides = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run's folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment, a comparison of several, or parallel learners."""
    started = time.monotonic()
    if not experiment.is_file():
        err.print(f"[red]error:[/red] there is no file {escape(str(experiment))}", soft_wrap=True)
        raise typer.Exit(2)
    # The server takes seconds to start: it starts while everything else is imported and checked.
    with mistakes(), ServerIfNeeded() as server:
        from querist.config.load import apply_overrides, build_experiment, read_yaml
        from querist.config.parallel import is_parallel
        from querist.deployments.cli_parallel import run_parallel
        from querist.runs.open import check_components, check_free, checked_run_id

        content = apply_overrides(read_yaml(experiment), overrides or [])
        if run_id is not None:
            checked_run_id(run_id)
        if "comparison" in content:
            _run_comparison(experiment, content, run_id, server, as_json, started)
            return
        if is_parallel(content):
            run_parallel(experiment, content, run_id, server, as_json, started)
            return
        checked = build_experiment(content, str(experiment))
        check_components(checked)
        chosen = run_id or checked.driver.run_id
        if chosen is not None:
            check_free(checked.driver.root_log_dir.absolute() / chosen)
        _drive(lambda flow: flow(checked, run_id), server, as_json, started, whole=True)


def _run_comparison(
    source: Path,
    content: dict[str, Any],
    run_id: str | None,
    server: EmbeddedServer | None,
    as_json: bool,
    started: float,
) -> None:
    from querist.config.comparison import build_comparison
    from querist.deployments.execute import execute, own_host
    from querist.runs.open import check_components

    checked = build_comparison(content, source)
    for variant in checked.variants:
        check_components(checked.experiment(variant, checked.seeds[0]))
    with own_host():
        from querist.deployments.terminal import Watch, show_comparison
        from querist.flows import comparison

        with Watch(err if as_json else out).shown():
            result = execute(lambda: comparison(checked, run_id), server)
    if as_json:
        print(json.dumps(dataclasses.asdict(result)))
    else:
        show_comparison(out, result, time.monotonic() - started)


@app.command()
def resume(
    run_id: RunIdArgument,
    root: Root = DEFAULT_ROOT,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Also from a process that hangs: it is fenced off."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped, wherever it was stopped."""
    started = time.monotonic()
    with mistakes():
        from querist.config.load import load_experiment
        from querist.deployments.cli_parallel import resume_parallel
        from querist.runs.open import EXPERIMENT_FILE, checked_run_id, run_folder
        from querist.runs.parallel import is_parallel_run

        if is_parallel_run(root / checked_run_id(run_id)):
            resume_parallel(root, run_id, take_over, as_json, started)
            return
        experiment = load_experiment(run_folder(run_id, root) / EXPERIMENT_FILE)
        driver = experiment.driver.model_copy(update={"root_log_dir": root})
        from querist.runs import open as runs_open
        from querist.runs.lock import RunLock
        from querist.runs.reference import RunReference

        if take_over:
            runs_open.take_over(RunReference(run_id=run_id, root=root))
        RunLock(run_folder(run_id, root), probe=True).release()
        with ServerIfNeeded() as server:
            _drive(
                lambda flow: flow(experiment.model_copy(update={"driver": driver}), run_id),
                server,
                as_json,
                started,
                whole=False,
            )


def _drive(
    call: Any, server: EmbeddedServer | None, as_json: bool, started: float, *, whole: bool
) -> None:
    """Run the active-learning flow and show what it did.

    Args:
        call: calls the flow that it is given.
        server: a temporary Prefect server, if one was started.
        as_json: print JSON.
        started: when the command started.
        whole: whether this command does all of the run.
    """
    from querist.deployments.execute import execute, own_host

    with own_host():
        from querist.deployments.terminal import Watch, show_summary
        from querist.flows import active_learning
        from querist.progress import watched_by

        seen: set[str] = set()
        watch = Watch(err if as_json else out)
        try:
            with watch.shown(), watched_by(lambda progress: seen.add(progress.run_id)):
                summary = execute(lambda: call(active_learning), server)
        except KeyboardInterrupt as stopped:
            raise KeyboardInterrupt(*seen) from stopped  # by its name it can be resumed
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps({**dataclasses.asdict(summary), "wall_seconds": seconds}))
    else:
        show_summary(out, summary, seconds, tracking=_tracking(Path(summary.folder)), whole=whole)


@app.command()
def runs(root: Root = DEFAULT_ROOT, as_json: AsJson = False) -> None:
    """List the runs, oldest first."""
    with mistakes():
        from querist.runs.open import list_runs
        from querist.runs.status import read_status

        found = []
        for reference in list_runs(root):
            try:
                found.append(read_status(reference))
            except QueristError as error:  # one that cannot be read must not hide the others
                err.print(f"{escape(reference.run_id)}: {escape(one_line(error))}", soft_wrap=True)
        if as_json:
            print(json.dumps([dataclasses.asdict(status) for status in found]))
            return
        if not found:
            out.print(f"no runs in {root}")
            return
        table = Table("run", "experiment", "state", "iterations", "labels", "metrics")
        for s in found:
            metrics = ", ".join(f"{k} {v:.3f}" for k, v in s.metrics.items())
            row = (s.run_id, s.name, s.state, f"{s.iterations} of {s.max_iterations}")
            table.add_row(*map(escape, (*row, str(s.labels), metrics)))
        out.print(table)


@app.command()
def status(run_id: RunIdArgument, root: Root = DEFAULT_ROOT, as_json: AsJson = False) -> None:
    """Tell where a run is: phases, labels, pending requests, tracking."""
    with mistakes():
        from querist.deployments.cli_parallel import show_parallel_status
        from querist.runs.open import checked_run_id, run_folder
        from querist.runs.parallel import is_parallel_run
        from querist.runs.reference import RunReference
        from querist.runs.status import read_status

        if is_parallel_run(root / checked_run_id(run_id)):
            show_parallel_status(root, run_id, as_json)
            return
        run_folder(run_id, root)
        found = read_status(RunReference(run_id=run_id, root=root))
        if as_json:
            print(json.dumps(dataclasses.asdict(found)))
            return
        from querist.training.watched import in_words

        for key, value in {
            **dataclasses.asdict(found),
            "training": in_words(found.training),
        }.items():
            if isinstance(value, dict):
                value = ", ".join(_pair(k, v) for k, v in value.items())
            elif isinstance(value, tuple):
                value = ", ".join(map(str, value))
            text = "" if value is None else value
            out.print(f"{key.replace('_', ' '):<16}  {text}", markup=False, soft_wrap=True)


def _pair(key: object, value: object) -> str:
    return f"{key} {value:.4g}" if isinstance(value, float) else f"{key} ({value})"


@app.command()
def sync(run_id: RunIdArgument, root: Root = DEFAULT_ROOT) -> None:
    """Deliver what a run left for MLflow while the tracker was down."""
    with mistakes():
        from querist.tracking.deliver import deliver

        reports = [deliver(folder) for folder in _spools(root, run_id)]
        for problem in (problem for report in reports for problem in report.problems):
            err.print(f"not delivered: {escape(problem)}", soft_wrap=True)
        for error in (report.error for report in reports if report.error is not None):
            err.print(f"[red]error:[/red] {escape(error)}", soft_wrap=True)
            raise typer.Exit(1)
        delivered, pending = (sum(r.delivered for r in reports), sum(r.pending for r in reports))
        out.print(f"{delivered} events delivered, {pending} pending")


def _spools(root: Path, run_id: str) -> list[Path]:
    """The folders whose spools are to be delivered for a run, parallel run or registered model."""
    from querist.deployments.cli_parallel import learner_folders
    from querist.lineage import LineageReference, is_lineage
    from querist.retraining.steps import let_go, say_again, untold
    from querist.runs.open import checked_run_id, run_folder
    from querist.runs.parallel import is_parallel_run

    folder = root / checked_run_id(run_id)
    if is_lineage(folder):
        reference = LineageReference(model=run_id, root=root.absolute())
        try:
            say_again(reference)
            return untold(reference)
        finally:
            let_go(reference, False)
    # The parallel run first: those of its learners are nested in it.
    if is_parallel_run(folder):
        return [folder, *learner_folders(folder)]
    return [run_folder(run_id, root)]


@app.command()
def components(
    kind: Annotated[str | None, typer.Argument(help="Only this kind.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what a configuration can name, with its options."""
    with mistakes():
        from querist.deployments.component_table import as_row, as_table
        from querist.registry import components as registered

        found = registered(kind)
        if as_json:
            print(json.dumps([as_row(c) for c in found]))
        else:
            out.print(as_table(found, kind))


app.command()(retrain)
app.command()(rollback)
app.command()(models)
app.command()(collect)
app.command()(join)
app.command()(stop)
app.command(name="set")(set_settings)
app.command()(up)
app.command()(serve)
app.command()(automation)


@app.command()
def schema() -> None:
    """Print the JSON schema of an experiment."""
    from querist.config import Experiment

    print(json.dumps(Experiment.model_json_schema(), indent=2))


app.add_typer(labels_app, name="labels")


def _tracking(folder: Path) -> str | None:
    from querist.tracking.spool import TrackingSpool

    for event in TrackingSpool(folder).events():
        if event.kind == "start":
            return str(event.payload["uri"])
    return None


def _import_path() -> None:
    """Let import paths find packages in the working directory, behind everything installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _prefect_logging() -> None:
    """All of Querist's log goes to the Prefect UI, and only warnings to the terminal of a person.

    Prefect reads these when it is imported, so they are set here and not where the flow starts.
    """
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "querist")
    level = "INFO" if sys.argv[1:2] == ["serve"] else "WARNING"
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", level)
    # The automation that finds dead flow runs waits for 90 s; Prefect's default is a beat in 180 s.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")


def _own_commands() -> None:
    """Whoever types a command may run the scripts of the folder they are in.

    What is served by `querist up` and `querist serve` comes from a form: there the operator lists
    what may be run.
    """
    if sys.argv[1:2] not in (["up"], ["serve"]) and "QUERIST_ROOT" not in os.environ:
        os.environ.setdefault("QUERIST_ALLOWED_COMMANDS", ".")


def main() -> None:
    """Entry point of the `querist` command."""
    # Imports make objects that stay: looking for garbage among them is a quarter of the start.
    # `execute` and the host turn the collector on again when work begins.
    gc.disable()
    _import_path()
    _prefect_logging()
    _own_commands()
    app()
