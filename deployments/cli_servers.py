"""The commands that have to do with servers: `querist up` and `querist automation`."""

from __future__ import annotations

import asyncio
import gc
from typing import Annotated

import typer

from querist.deployments.console import DEFAULT_ROOT, Root, mistakes, out
from querist.errors import ConfigurationError


def up(
    root: Root = DEFAULT_ROOT,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Prefect's.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    limit: Annotated[int, typer.Option(min=1, help="Flow runs at once.")] = 4,
    poll: Annotated[float, typer.Option(min=0.5, help="Seconds between looks for new ones.")] = 5.0,
    allow_other_machines: Annotated[
        bool, typer.Option(help="Needed for an address that other machines reach.")
    ] = False,
) -> None:
    """Start Prefect, MLflow and a runner for flow runs from the Prefect UI, until Ctrl-C."""
    with mistakes():
        from querist.deployments.settings import Place
        from querist.deployments.up import up as keep_up

        gc.enable()
        keep_up(
            Place(root.absolute(), host, prefect_port, mlflow_port),
            limit=limit,
            poll_seconds=poll,
            exposed=allow_other_machines,
            say=lambda line: out.print(line, markup=False, soft_wrap=True),
        )


def automation() -> None:
    """Install the automation that marks dead flow runs on the Prefect server that is set."""
    with mistakes():
        from querist.deployments.embedded_server import has_configured_server

        if not has_configured_server():
            raise ConfigurationError("no Prefect server is set: set PREFECT_API_URL")
        from prefect import get_client

        from querist.deployments.zombies import AUTOMATION, install_automation

        async def install() -> None:
            async with get_client() as client:
                await install_automation(client)

        asyncio.run(install())
        out.print(f"installed: {AUTOMATION}", markup=False)
