"""Any version of a registered model against its champion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from querist import tasks
from querist.config.compare import CompareConfig
from querist.config.driver import DriverConfig, RunId
from querist.flows.retraining import begin_delivery, end_delivery
from querist.flows.served import root_as_served
from querist.lineage import LineageReference
from querist.retraining.steps import let_go
from querist.runs.host import current_host
from querist.tasks.promote import tell_of

DEFAULT_ROOT = DriverConfig().root_log_dir


@flow(
    name="model_comparison",
    description="Compare a version with the champion, and promote it where that is wanted.",
    flow_run_name="{model} version {version}",
    persist_result=False,
)
async def model_comparison(
    model: RunId,
    version: Annotated[int, Field(ge=1)],
    compare: CompareConfig | None = None,
    promote: bool = False,
    root_log_dir: Path = DEFAULT_ROOT,
) -> State[dict[str, Any]]:
    """Compare a version of a registered model with the present champion.

    Both are measured on the version's test items. The verdict is recorded as evidence.

    Args:
        model: the registered model.
        version: the challenger.
        compare: what is compared. Default: as the version's own retraining says.
        promote: make the verdict come true: the version becomes champion, or is discarded.
        root_log_dir: folder that holds the model's folder.
    """
    reference = LineageReference(model=model, root=root_as_served(root_log_dir).absolute())
    try:
        done = await tasks.compare_version(reference, version, compare, promote)
        await end_delivery(await begin_delivery(reference))
    finally:
        await current_host().make(let_go, reference, False)
    if promote:
        tell_of(reference, done)
    words = "Update model" if done["action"] == "update_model" else "Discard"
    return Completed(name=words, message=done["reason"], data=done)
