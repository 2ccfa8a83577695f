"""Automations of ours on a Prefect server: made once, brought up to date, removed when unwanted.

Which flow runs are dead is said by one in `querist.deployments.zombies`. Here are those that people
ask for: tell somebody of a failure, retrain when labels have come, retrain on any event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from querist.tasks.events import LABELS_COLLECTED

NOTIFY = "querist: tell of failures"
_ENDS_BADLY = ("Failed", "Crashed", "TimedOut")
_SETS = ("after", "expect", "for_each")


def on_labels(full_name: str) -> str:
    """The name of the automation that runs a deployment when labels have come."""
    return f"querist: run {full_name} on labels"


def on_event(full_name: str, event: str) -> str:
    """The name of the automation that runs a deployment on an event."""
    return f"{_on_events(full_name)}{event}"


def _on_events(full_name: str) -> str:
    return f"querist: run {full_name} on event "


def run_on_labels(
    full_name: str, deployment: UUID, run_id: str, parameters: Mapping[str, Any] | None = None
) -> AutomationCore:
    """Runs a deployment whenever a run has collected labels.

    Args:
        full_name: the deployment's.
        deployment: the deployment.
        run_id: the run that collects them.
        parameters: in place of the deployment's own.
    """
    return AutomationCore(
        name=on_labels(full_name),
        description=f"Runs {full_name} when run {run_id} has collected labels.",
        trigger=_whenever(LABELS_COLLECTED, {"prefect.resource.id": f"querist.run.{run_id}"}),
        actions=[_run(deployment, parameters)],
    )


def run_on_event(full_name: str, deployment: UUID, event: str) -> AutomationCore:
    """Runs a deployment whenever an event comes, whatever it is about.

    Args:
        full_name: the deployment's.
        deployment: the deployment.
        event: its name; `.*` at its end stands for all that begin so.
    """
    return AutomationCore(
        name=on_event(full_name, event),
        description=f"Runs {full_name} on the event {event}.",
        trigger=_whenever(event, {}),
        actions=[_run(deployment, None)],
    )


def notify_of_failures(block_document: UUID, flows: Sequence[str]) -> AutomationCore:
    """Tells of flow runs of deployments that end badly, by a notification block.

    Args:
        block_document: the block, such as one for Slack or for mail.
        flows: the names of the flows.
    """
    return AutomationCore(
        name=NOTIFY,
        description="Tells of Querist's flow runs that have failed, crashed or timed out.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{end}" for end in _ENDS_BADLY},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=[  # an iteration or a learner fails with the flow run that it belongs to
                ResourceSpecification(
                    {"prefect.resource.role": "flow", "prefect.resource.name": list(flows)}
                ),
                ResourceSpecification(
                    {
                        "prefect.resource.role": "deployment",
                        "prefect.resource.id": "prefect.deployment.*",
                    }
                ),
            ],
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            SendNotification(
                block_document_id=block_document,
                subject="Querist: {{ flow.name }} {{ flow_run.state.name }}",
                body=(
                    "Flow run {{ flow_run.name }} of {{ flow.name }}: "
                    "{{ flow_run.state.name }}, {{ flow_run.state.message }}\n"
                    "{{ flow_run|ui_url }}\n"
                    "Nothing stored is lost: the same run goes on where it stands."
                ),
            )
        ],
    )


def _whenever(event: str, match: dict[str, str | list[str]]) -> EventTrigger:
    return EventTrigger(
        expect={event},
        match=ResourceSpecification(match),
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _run(deployment: UUID, parameters: Mapping[str, Any] | None) -> RunDeployment:
    given = None if parameters is None else dict(parameters)
    return RunDeployment(source="selected", deployment_id=deployment, parameters=given)


async def install(client: PrefectClient, wanted: AutomationCore) -> UUID:
    """Create an automation, or bring the one of this name up to date; returns its id.

    One that is as it should be is left alone: an update makes the server forget what it waits for.
    """
    found = await client.read_automations_by_name(wanted.name)
    if not found:
        return await client.create_automation(wanted)
    if content_of(found[0]) != content_of(wanted):
        await client.update_automation(found[0].id, wanted)
    for twin in found[1:]:
        await client.delete_automation(twin.id)
    return found[0].id


async def install_only(
    client: PrefectClient, full_name: str, wanted: Sequence[AutomationCore]
) -> None:
    """Install a deployment's automations, and remove those of before that are no longer wanted."""
    for automation in wanted:
        await install(client, automation)
    names = {automation.name for automation in wanted}
    for found in await client.read_automations():
        ours = found.name == on_labels(full_name) or found.name.startswith(_on_events(full_name))
        if ours and found.name not in names:
            await client.delete_automation(found.id)


def content_of(of: AutomationCore) -> Any:
    """An automation without what the server adds."""
    trigger = of.trigger.model_dump(mode="json", exclude={"id"})
    for key in _SETS:  # in any order
        trigger[key] = sorted(trigger[key])
    actions = [action.model_dump(mode="json") for action in of.actions]
    return of.enabled, of.description, trigger, actions
