"""The commands that have to do with servers: `querist up`, `serve` and `automation`."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Annotated

import typer

from querist.deployments.console import DEFAULT_ROOT, Root, mistakes, out
from querist.deployments.serving import Serving
from querist.errors import ConfigurationError

Limit = Annotated[int, typer.Option(min=1, help="Flow runs at once.")]
Poll = Annotated[float, typer.Option(min=0.5, help="Seconds between looks for new ones.")]
CronOption = Annotated[
    str | None, typer.Option(help='Run the files by a cron expression, such as "0 6 * * 1".')
]
Every = Annotated[float | None, typer.Option(min=1, help="Run the files every so many seconds.")]
RRuleOption = Annotated[
    str | None, typer.Option(help="Run the files by a recurrence rule, as calendars have it.")
]
Timezone = Annotated[
    str | None, typer.Option(help="In which the schedule is meant, such as Europe/Berlin.")
]
Paused = Annotated[
    bool, typer.Option("--paused", help="The schedule waits until it is switched on in the UI.")
]
OnLabels = Annotated[
    bool, typer.Option("--on-labels", help="Retrain whenever labels have been collected.")
]
OnEvent = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Retrain on this event of Prefect's; may be repeated."),
]
Notify = Annotated[
    str | None,
    typer.Option(metavar="BLOCK", help="Notification block (id, or type/name) told of failures."),
]
WHAT = "An experiment, a comparison, parallel learners, or a retraining"


def up(
    root: Root = DEFAULT_ROOT,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Prefect's.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    limit: Limit = 4,
    poll: Poll = 5.0,
    allow_other_machines: Annotated[
        bool, typer.Option(help="Needed for an address that other machines reach.")
    ] = False,
    serve: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help=f"{WHAT} to serve; may be repeated."),
    ] = None,
    cron: CronOption = None,
    every: Every = None,
    rrule: RRuleOption = None,
    timezone: Timezone = None,
    paused: Paused = False,
    on_labels: OnLabels = False,
    on_event: OnEvent = None,
    notify: Notify = None,
) -> None:
    """Start Prefect, MLflow and a runner for flow runs from the Prefect UI, until Ctrl-C."""
    with mistakes():
        from querist.deployments.settings import Place
        from querist.deployments.up import up as keep_up

        gc.enable()
        serving = Serving(
            files=tuple(serve or ()), cron=cron, every=every, rrule=rrule, timezone=timezone,
            paused=paused, on_labels=on_labels, on_event=tuple(on_event or ()), notify=notify,
        )  # fmt: skip
        serving.check()
        names = []
        if serving.files:
            from querist.deployments.serve import offers_and_schedule

            names = [offer.full_name for offer in offers_and_schedule(serving)[0]]
        keep_up(
            Place(root.absolute(), host, prefect_port, mlflow_port),
            limit=limit,
            poll_seconds=poll,
            exposed=allow_other_machines,
            say=lambda line: out.print(line, markup=False, soft_wrap=True),
            serving=serving,
            names=names,
        )


def serve(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help=f"{WHAT}.")
    ] = None,
    limit: Limit = 4,
    poll: Poll = 5.0,
    cron: CronOption = None,
    every: Every = None,
    rrule: RRuleOption = None,
    timezone: Timezone = None,
    paused: Paused = False,
    on_labels: OnLabels = False,
    on_event: OnEvent = None,
    notify: Notify = None,
    ready: Annotated[
        int | None, typer.Option(hidden=True, help="Descriptor told when flow runs are taken.")
    ] = None,
) -> None:
    """Serve all flows, and files as deployments, to the Prefect server that is set."""
    with mistakes():
        _need_a_server()
        from querist.deployments import serve as served

        gc.enable()
        serving = Serving(
            files=tuple(files or ()), cron=cron, every=every, rrule=rrule, timezone=timezone,
            paused=paused, on_labels=on_labels, on_event=tuple(on_event or ()), notify=notify,
        )  # fmt: skip
        asyncio.run(
            served.serve(
                serving,
                limit=limit,
                poll_seconds=poll,
                ready=ready,
                say=lambda line: out.print(line, markup=False, soft_wrap=True),
            )
        )


def automation() -> None:
    """Install the automation that marks dead flow runs on the Prefect server that is set."""
    with mistakes():
        _need_a_server()
        from prefect import get_client

        from querist.deployments.zombies import AUTOMATION, install_automation

        async def install() -> None:
            async with get_client() as client:
                await install_automation(client)

        asyncio.run(install())
        out.print(f"installed: {AUTOMATION}", markup=False)


def _need_a_server() -> None:
    from querist.deployments.embedded_server import has_configured_server

    if not has_configured_server():
        raise ConfigurationError("no Prefect server is set: set PREFECT_API_URL")
