"""The task that compares champion and challenger."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from querist.config.compare import CompareConfig
from querist.lineage import LineageReference
from querist.retraining.steps import carry_out, compare_versions, read_verdict
from querist.runs.host import current_host
from querist.tasks.settings import TASK_SETTINGS
from querist.verdicts import verdict_markdown, verdict_rows


@task(
    name="compare",
    description="Champion against challenger on the same items: promote, or discard?",
    task_run_name="compare · {model.model} {retraining}",
    **TASK_SETTINGS,
)
async def compare(model: LineageReference, retraining: int) -> dict[str, Any]:
    """Compare them; returns `winning_model`, `action` and `reason`."""
    done: dict[str, Any] = await current_host().make(carry_out, model, "compare", retraining)
    await show_verdict(model, done)
    return done


@task(
    name="compare versions",
    description="Any version against the champion, on the version's test items.",
    task_run_name="compare · {model.model} {version}",
    **TASK_SETTINGS,
)
async def compare_version(
    model: LineageReference, version: int, checks: CompareConfig | None, act: bool
) -> dict[str, Any]:
    """Compare them, and promote or discard where `act` is true; returns what `compare` does."""
    host = current_host()
    done: dict[str, Any] = await host.make(_compare, model, version, checks, act)
    await show_verdict(model, done)
    return done


def _compare(
    model: LineageReference, version: int, checks: CompareConfig | None, act: bool
) -> dict[str, Any]:
    return compare_versions(model, version, checks, act=act)


async def show_verdict(model: LineageReference, done: dict[str, Any]) -> None:
    """The verdict as a table and as text, among the artifacts of the flow run."""
    verdict = await current_host().make(read_verdict, model, done["comparison"])
    key = "".join(c if c.isalnum() else "-" for c in model.model.lower())
    about = f"{model.model}: version {done['challenger']} against {done['champion'] or 'none'}"
    await acreate_table_artifact(
        table=verdict_rows(verdict), key=f"verdict-table-{key}", description=about
    )
    await acreate_markdown_artifact(
        markdown=f"## {about}\n\n{verdict_markdown(verdict)}",
        key=f"verdict-{key}",
        description=about,
    )
