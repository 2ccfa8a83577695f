"""Flow runs whose process is gone: Prefect believes that they run until somebody says otherwise.

Two things say it. An automation of the server marks a run as Crashed when its heartbeats stop; and
`reap` does so for what the automation cannot know, for it begins to count at a heartbeat: runs that
died before their first one, and runs that died while the server was down.

Crashed is a hint for people. Who may write a run is decided by the run's own lock, and what is
stored by its ledger: a run that is marked by mistake goes on undisturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.states import Crashed

from querist.deployments.automations import install

HEARTBEAT_SECONDS = 30
"""Between two heartbeats of a flow run; Prefect allows no less."""
SILENT_SECONDS = 90
"""Without a heartbeat for so long, the automation marks a run."""
REAP_SECONDS = 120
"""Without a heartbeat or a new state for so long, `reap` marks a run."""
AUTOMATION = "querist: crash flow runs without heartbeats"
FLOWS = (
    "active_learning", "comparison", "iteration", "label_collection", "model_comparison",
    "parallel_learners", "retraining",
)  # fmt: skip
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_UNFINISHED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


def automation() -> AutomationCore:
    """Marks flow runs of ours as Crashed that do not send the next heartbeat in time.

    Only ours: other flows on the server may send theirs more slowly.
    """
    return AutomationCore(
        name=AUTOMATION,
        description=(
            f"A flow run of Querist that sends no heartbeat for {SILENT_SECONDS} s is marked as "
            "Crashed. Its data are safe: `querist resume`, or a new flow run with the same run_id, "
            "goes on where it stands."
        ),
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{end}" for end in _ENDS)},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=(
                    f"No heartbeat for {SILENT_SECONDS} s: its process is gone, or cannot reach "
                    "the server. Nothing stored is lost: `querist resume RUN_ID` goes on with the "
                    "run, and so does a flow run with the same run_id."
                ),
            )
        ],
    )


async def install_automation(client: PrefectClient) -> UUID:
    """Create the automation, or bring the one of this name up to date; returns its id."""
    return await install(client, automation())


async def reap(client: PrefectClient, deployment: UUID) -> list[FlowRun]:
    """Mark a deployment's flow runs that nobody carries out as Crashed; returns them.

    Nobody does when neither a heartbeat nor a change of state came for 120 s, which is four
    heartbeats: all that serve this deployment send them (see `querist.deployments.serve`).
    """
    unfinished = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]), state=_unfinished()
        )
    )
    silent = {flow_run.id: await silent_seconds(client, flow_run) for flow_run in unfinished}
    dead = [flow_run for flow_run in unfinished if silent[flow_run.id] > REAP_SECONDS]
    if dead:  # their iterations first: should we be interrupted, they are found again
        await _mark_children(client, [flow_run.id for flow_run in dead])
    for flow_run in dead:
        await _mark(client, flow_run, silent[flow_run.id])
    return dead


async def silent_seconds(client: PrefectClient, flow_run: FlowRun) -> float:
    """Seconds since a flow run was last heard of, by a heartbeat or a change of state."""
    now = datetime.now(UTC)
    heard = [flow_run.state.timestamp] if flow_run.state is not None else []
    page = await client.read_events(
        EventFilter(
            event=EventNameFilter(name=[_HEARTBEAT]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{flow_run.id}"]),
            occurred=EventOccurredFilter(since=now - timedelta(seconds=2 * REAP_SECONDS)),
        ),
        limit=1,  # the newest come first
    )
    heard += [event.occurred for event in page.events]
    return min(((now - time).total_seconds() for time in heard), default=float("inf"))


async def _mark_children(client: PrefectClient, parents: Sequence[UUID]) -> None:
    """A flow run's iterations and learners end with it; learners that a deployment runs do not."""
    children = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(parents)),
            state=_unfinished(),
        )
    )
    gone = [child.id for child in children if child.deployment_id is None]
    if gone:
        await _mark_children(client, gone)
    for child in gone:
        await client.set_flow_run_state(
            child, Crashed(message="The flow run that it belongs to is gone."), force=True
        )


def _unfinished() -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_UNFINISHED)))


async def _mark(client: PrefectClient, flow_run: FlowRun, silent: float) -> None:
    run_id = flow_run.parameters.get("run_id")
    which = f"querist resume {run_id}" if run_id else "querist resume RUN_ID"
    await client.set_flow_run_state(
        flow_run.id,
        Crashed(
            message=(
                f"Not heard of for {silent:.0f} s: its process is gone. Nothing stored is lost: "
                f"`{which}` goes on with the run, and so does a flow run with the same run_id."
            )
        ),
        force=True,
    )
