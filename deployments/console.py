"""What all commands share: where they print, how they fail, and their common arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from querist.errors import (
    ConfigurationError,
    DataError,
    LabelError,
    LearnerError,
    QueristError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Root = Annotated[Path, typer.Option(help="Folder that holds the run folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
RunIdArgument = Annotated[str, typer.Argument(help="The run's id, its folder's name.")]
DEFAULT_ROOT = Path("active_learning_logs")

USER_MISTAKES = (
    ConfigurationError,
    DataError,
    LabelError,
    LearnerError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
)


@contextmanager
def mistakes() -> Iterator[None]:
    """Exit code 2 and one line for what the user can mend, 1 for any other error of ours."""
    try:
        yield
    except USER_MISTAKES as error:
        err.print(f"[red]error:[/red] {escape(one_line(error))}", soft_wrap=True)
        raise typer.Exit(2) from error
    except QueristError as error:
        err.print(f"[red]error:[/red] {escape(one_line(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
    except Exception as error:
        if not getattr(error, "in_the_log", False):
            raise
        # The log has said where in the user's code, with the traceback.
        words = f"{type(error).__name__}: {one_line(error)}"
        err.print(f"[red]error:[/red] {escape(words)}", soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as stopped:
        how = "".join(f": `querist resume {run_id}`" for run_id in stopped.args)
        err.print(
            f"stopped; `querist resume` goes on where the run stands{escape(how)}", soft_wrap=True
        )
        raise typer.Exit(1) from None


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks."""
    return " ".join(str(error).split())
