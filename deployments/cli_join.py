"""The command with which another machine takes part in the trainings of a run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from querist.deployments.console import err, mistakes


def join(
    folder: Annotated[
        Path, typer.Argument(help="A run's folder, or that of one training as the log names it.")
    ],
    address: Annotated[
        str | None, typer.Option(help="Where the others reach this machine. Default: its name.")
    ] = None,
) -> None:
    """Train along with another machine: in one training, or in all of a run until Ctrl-C."""
    with mistakes():
        from querist.training.distributed.joining import join as take_part

        logging.basicConfig(level=logging.INFO, format="%(message)s")
        try:
            take_part(folder.absolute(), address)
        except KeyboardInterrupt:
            err.print("stopped; the same command joins again", soft_wrap=True)
            raise typer.Exit(1) from None
