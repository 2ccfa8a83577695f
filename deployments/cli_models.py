"""The commands that are about registered models: retrain, compare, roll back, look."""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from querist.deployments.console import DEFAULT_ROOT, AsJson, Root, err, mistakes, out
from querist.deployments.embedded_server import ServerIfNeeded

ModelArgument = Annotated[str, typer.Argument(help="The registered model, its folder's name.")]


def retrain(
    source: Annotated[Path, typer.Argument(metavar="RETRAINING.yaml", help="A retraining.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="A name for this opportunity to learn: the same is not learned twice."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn what was labeled since the last time, and promote the model if it is better."""
    started = time.monotonic()
    if not source.is_file():
        err.print(f"[red]error:[/red] there is no file {escape(str(source))}", soft_wrap=True)
        raise typer.Exit(2)
    with mistakes(), ServerIfNeeded() as server:
        from querist.config.load import apply_overrides, read_yaml
        from querist.config.retraining import build_retraining
        from querist.deployments.execute import execute, own_host
        from querist.retraining.pull import check_retraining

        settings = build_retraining(apply_overrides(read_yaml(source), overrides or []), source)
        check_retraining(settings)
        with own_host():
            from querist.deployments.terminal import Watch
            from querist.flows import retraining

            console = err if as_json else out
            with Watch(console).shown() if console.is_terminal else nullcontext():
                summary: Any = execute(lambda: retraining(settings, window), server)
    if as_json:
        print(json.dumps({**dataclasses.asdict(summary), "wall_seconds": _since(started)}))
        return
    lines = {
        "model": summary.model,
        "outcome": summary.outcome,
        "reason": summary.reason,
        "version": summary.version,
        "champion": summary.champion,
        "new labels": summary.new_labels,
        "folder": summary.folder,
        "seconds": f"{_since(started):.1f}",
    }
    for key, value in lines.items():
        if value is not None:
            out.print(f"{key:<12}{value}", markup=False, soft_wrap=True)


def _since(started: float) -> float:
    return time.monotonic() - started


def rollback(
    model: ModelArgument,
    to: Annotated[
        int | None, typer.Option(min=1, help="A version that was champion before.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "asked for on the command line",
    root: Root = DEFAULT_ROOT,
    as_json: AsJson = False,
) -> None:
    """Make the champion before champion again."""
    with mistakes():
        from querist.retraining.steps import go_back, let_go, untold
        from querist.tracking.deliver import deliver

        reference = _reference(model, root)
        try:
            done = go_back(reference, reason, to)
            reports = [deliver(folder) for folder in untold(reference)]
        finally:
            let_go(reference, False)
        _emit(reference, done)
        for error in (report.error for report in reports if report.error is not None):
            err.print(f"MLflow has not heard of it, {escape(error)}: `querist sync {model}`")
        if as_json:
            print(json.dumps(done))
            return
        out.print(
            f"champion of {model} is version {done['champion']} again, "
            f"{done['champion_before']} was it before",
            markup=False,
        )


def _reference(model: str, root: Path) -> Any:
    """Where the model is, if its name can be that of a folder."""
    from querist.lineage import LineageReference
    from querist.runs.open import checked_run_id

    return LineageReference(model=checked_run_id(model), root=root.absolute())


def _emit(reference: Any, done: dict[str, Any]) -> None:
    """Tell Prefect, where a server is configured: starting one for it would tell nobody."""
    from querist.deployments.embedded_server import has_configured_server

    if has_configured_server():
        from querist.tasks.events import drained
        from querist.tasks.promote import tell_of

        tell_of(reference, done)
        drained()


def models(
    model: Annotated[str | None, typer.Argument(help="Only this one, with its history.")] = None,
    root: Root = DEFAULT_ROOT,
    as_json: AsJson = False,
) -> None:
    """List the registered models, or tell one's versions and champions."""
    with mistakes():
        from querist.lineage import list_lineages

        names = list_lineages(root) if model is None else [model]
        found = [_read(name, root) for name in names]
        if as_json:
            print(json.dumps(found if model is None else found[0]))
        elif model is None:
            _list(found, root)
        else:
            _tell(found[0])


def _read(model: str, root: Path) -> dict[str, Any]:
    from querist.lineage import close_lineage, open_lineage

    reference = _reference(model, root)
    lineage = open_lineage(reference, to_retrain=False)
    try:
        versions = lineage.ledger.versions()
        return {
            "model": model,
            "champion": lineage.ledger.champion(),
            "folder": str(reference.folder),
            "versions": [
                {
                    "version": v.version,
                    "parent": v.parent,
                    "fingerprint": v.fingerprint,
                    "metrics": _metrics(lineage.ledger.step(v.version, "evaluate")),
                }
                for v in versions.values()
            ],
            "history": [dataclasses.asdict(event) for event in lineage.ledger.promotions()],
        }
    finally:
        close_lineage(reference, to_retrain=False)


def _metrics(evaluated: dict[str, Any] | None) -> dict[str, float]:
    """What was measured of a version; nothing before that."""
    return {} if evaluated is None else dict(evaluated["metrics"])


def _list(found: list[dict[str, Any]], root: Path) -> None:
    if not found:
        out.print(f"no registered models in {root}")
        return
    table = Table("model", "champion", "versions", "last")
    for model in found:
        last = model["history"][-1] if model["history"] else None
        words = "" if last is None else f"version {last['version']} {last['event']}"
        champion = model["champion"]
        table.add_row(
            escape(model["model"]), "" if champion is None else str(champion),
            str(len(model["versions"])), words,
        )  # fmt: skip
    out.print(table)


def _tell(model: dict[str, Any]) -> None:
    table = Table("version", "parent", "metrics", title=f"{escape(model['model'])}: versions")
    for version in model["versions"]:
        metrics = ", ".join(f"{k} {v:.4g}" for k, v in version["metrics"].items())
        mark = " (champion)" if version["version"] == model["champion"] else ""
        parent = "" if version["parent"] is None else str(version["parent"])
        table.add_row(f"{version['version']}{mark}", parent, escape(metrics))
    out.print(table)
    history = Table("when", "version", "event", "champion", "why", title="history")
    for event in model["history"]:
        when = datetime.fromtimestamp(event["made"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        champion = "" if event["champion"] is None else str(event["champion"])
        history.add_row(
            when, str(event["version"]), event["event"], champion, escape(event["reason"])
        )
    out.print(history)
