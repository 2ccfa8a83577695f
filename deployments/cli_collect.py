"""The command that goes on with a run for some iterations and lets go of it again."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from querist.deployments.console import AsJson, err, mistakes, out
from querist.deployments.embedded_server import ServerIfNeeded
from querist.errors import ConfigurationError

if TYPE_CHECKING:
    from querist.config import Experiment
    from querist.flows import Collection


def collect(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT.yaml", help="An experiment of one learner.")
    ],
    run_id: Annotated[
        str, typer.Option(help="The run: made unless it is there, and gone on with if it is.")
    ],
    iterations: Annotated[
        int, typer.Option(min=1, max=10**6, help="How many iterations to do now, at most.")
    ] = 1,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run for some iterations, then let go of it: the next call goes on from there."""
    started = time.monotonic()
    with mistakes(), ServerIfNeeded() as server:
        checked = _checked(experiment, run_id, overrides or [])
        from querist.deployments.execute import execute, own_host

        with own_host():
            from querist.deployments.terminal import Watch
            from querist.flows import Collection, label_collection

            try:
                with Watch(err if as_json else out).shown():
                    collection = execute(
                        lambda: label_collection(checked, run_id, iterations), server
                    )
            except KeyboardInterrupt:
                err.print("stopped; the same command goes on where the run stands", soft_wrap=True)
                raise typer.Exit(1) from None
    assert isinstance(collection, Collection)  # it is in the state that the flow returns
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps({**dataclasses.asdict(collection), "wall_seconds": seconds}))
    else:
        _show(collection, seconds)


def _checked(source: Path, run_id: str, overrides: list[str]) -> Experiment:
    """The experiment, its components known.

    Raises:
        ConfigurationError: what is wrong with it.
    """
    from querist.config.load import apply_overrides, build_experiment, read_yaml
    from querist.config.parallel import is_parallel
    from querist.runs.open import check_components, checked_run_id

    if not source.is_file():
        raise ConfigurationError(f"there is no file {source}")
    checked_run_id(run_id)
    content = apply_overrides(read_yaml(source), overrides)
    if "comparison" in content or is_parallel(content):
        raise ConfigurationError(
            f"labels are collected by a run of one learner, and {source} is of several: take one "
            "of them, or use `querist run`"
        )
    checked = build_experiment(content, str(source))
    check_components(checked)
    return checked


def _show(collection: Collection, seconds: float) -> None:
    """Print what came, what is pending, and whether the run goes on."""
    goes_on = f"ended: {collection.stop_reason}" if collection.concluded else "goes on"
    rows = [
        ("run", f"{collection.run_id} ({goes_on})"),
        ("labels", f"{collection.labels} ({collection.labels_new} new, {collection.pending} "
         "pending)"),
        ("iterations", f"{collection.iterations_of_run} ({collection.iterations} now)"),
        ("time", f"{seconds:.1f} s"),
        ("folder", collection.folder),
    ]  # fmt: skip
    out.print()
    for name, text in rows:
        out.print(f"{name:<10}  {text}", markup=False, soft_wrap=True)
