"""`querist labels`: what a person has to say of labels that no machine can decide on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from querist.deployments.console import DEFAULT_ROOT, AsJson, Root, RunIdArgument, mistakes, out
from querist.errors import ConfigurationError

if TYPE_CHECKING:
    from querist.phases.settle import Unsettled
    from querist.runs import Run

labels_app = typer.Typer(help="Labels in doubt, refused or contradicted.", no_args_is_help=True)


@labels_app.command("list")
def list_unsettled(
    run_id: RunIdArgument, root: Root = DEFAULT_ROOT, as_json: AsJson = False
) -> None:
    """List what waits for a person: in doubt, refused, contradicted."""
    with mistakes():
        from querist.phases.settle import unsettled
        from querist.runs.open import ledger_of, run_folder

        folder = run_folder(run_id, root)
        ledger = ledger_of(folder)
        try:
            ledger.check_schema()
            found = unsettled(ledger)
        finally:
            ledger.close()
        if as_json:
            print(json.dumps(dataclasses.asdict(found)))
        else:
            _show(found)


def _show(found: Unsettled) -> None:
    table = Table("sample", "state", "iteration", "what is known")
    for request in found.requests:
        reason = request.reason or "the process that asked ended before it was answered"
        table.add_row(str(request.sample), request.state, str(request.iteration), escape(reason))
    for revision in found.revisions:
        words = (
            f"{revision.annotator or revision.source.name}: {revision.used}, then {revision.value}"
        )
        table.add_row(str(revision.sample), "contradicted", "", escape(words))
    for answer in found.quarantined:
        words = f"{answer.annotator} said {answer.value}: {answer.reason}"
        table.add_row(escape(answer.sample), "refused answer", "", escape(words))
    if table.row_count:
        out.print(table)
    else:
        out.print("nothing waits for a person")


@labels_app.command("settle")
def settle(
    run_id: RunIdArgument,
    samples: Annotated[list[int] | None, typer.Argument(help="The samples to settle.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All samples that are in doubt or refused.")
    ] = False,
    value: Annotated[
        str | None, typer.Option(help="The label itself, as JSON: a class, a number, a list.")
    ] = None,
    not_bought: Annotated[
        bool, typer.Option("--not-bought", help="Nothing was sold: they are asked for again.")
    ] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="Paid for and lost: never asked for again.")
    ] = False,
    annotator: Annotated[str, typer.Option(help="With --value: who said so.")] = "",
    cost: Annotated[float, typer.Option(help="With --value: what it cost.")] = 1.0,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Say what became of labels that no machine asks for again."""
    with mistakes():
        if (value is not None) + not_bought + lost != 1:
            raise ConfigurationError("say one of --value, --not-bought and --lost")
        if bool(samples) == everything:
            raise ConfigurationError("name the samples, or say --all")
        if value is not None and (everything or len(samples or ()) != 1):
            raise ConfigurationError("--value is of one sample: name that one")
        with _opened(run_id, root) as run:
            from querist.phases import settle as settling

            if value is not None:
                assert samples is not None
                said = _parsed(value)
                settling.settle_value(run, samples[0], said, annotator=annotator, cost=cost)
                out.print(f"sample {samples[0]} is labeled {value}", markup=False)
                if run.ledger.fact("concluded") is not None:
                    out.print("the run is concluded: no model of it will learn this label")
                return
            outcome = settling.Outcome.LOST if lost else settling.Outcome.NOT_BOUGHT
            waiting = settling.unsettled(run.ledger).requests
            chosen = [request.sample for request in waiting] if everything else samples or []
            settling.settle_outcome(run, frozenset(chosen), outcome)
            out.print(f"{len(set(chosen))} labels are settled: {outcome}")


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        raise ConfigurationError(
            f"a label is JSON, a class, a number or a list of numbers, not {value!r:.80}"
        ) from None


@contextmanager
def _opened(run_id: str, root: Any) -> Iterator[Run]:
    """The run, locked as for any other work on it."""
    from querist.runs import RunReference, close_run, open_run
    from querist.runs.open import run_folder

    run_folder(run_id, root)
    reference = RunReference(run_id=run_id, root=root)
    try:
        yield open_run(reference)
    finally:
        close_run(reference)
