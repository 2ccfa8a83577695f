"""Flow runs whose process is gone, against a real Prefect server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from prefect import task
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Completed, Pending, Running, State

from querist import flows
from querist.deployments import zombies
from querist.deployments.automations import content_of
from querist.deployments.settings import HEARTBEAT_SETTING
from querist.deployments.zombies import (
    AUTOMATION,
    HEARTBEAT_SECONDS,
    REAP_SECONDS,
    SILENT_SECONDS,
    automation,
    install_automation,
    reap,
)

from ..conftest import Cli

T = TypeVar("T")
With = Callable[[Callable[[PrefectClient], Awaitable[Any]]], Any]
LONG_AGO = 3 * 3600.0


@pytest.fixture
def with_client(prefect_server: Any) -> With:
    """Gives a client of the tests' server to a coroutine; returns what that returns."""

    def run(work: Callable[[PrefectClient], Awaitable[T]]) -> T:
        async def main() -> T:
            async with PrefectClient(prefect_server.api_url) as client:
                return await work(client)

        return asyncio.run(main())

    return run


# The automation -----------------------------------------------------------------------------------


def test_it_waits_for_the_next_heartbeat_of_our_flows_only() -> None:
    wanted = automation()
    trigger: Any = wanted.trigger
    assert wanted.enabled
    assert trigger.posture == "Proactive"
    assert trigger.threshold == 1
    assert trigger.after == {"prefect.flow-run.heartbeat"}
    assert trigger.expect == {
        f"prefect.flow-run.{event}"
        for event in ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")
    }
    assert trigger.within == timedelta(seconds=90)
    assert trigger.for_each == {"prefect.resource.id"}
    assert trigger.match.root == {"prefect.resource.id": "prefect.flow-run.*"}
    ours = {found.name for found in vars(flows).values() if hasattr(found, "flow_run_name")}
    related = trigger.match_related.root
    assert related["prefect.resource.role"] == "flow"
    assert set(related["prefect.resource.name"]) >= ours >= {"active_learning", "comparison"}


def test_it_marks_as_crashed_and_says_what_to_do() -> None:
    (action,) = automation().actions
    assert action.type == "change-flow-run-state"
    assert action.state == "CRASHED"
    assert "`querist resume RUN_ID` goes on" in action.message
    assert len(action.message) < 300


def test_heartbeats_come_often_enough() -> None:
    """Two may be lost, and nobody is reaped whom the automation has not marked before."""
    assert {int(seconds) for seconds in HEARTBEAT_SETTING.values()} == {HEARTBEAT_SECONDS}
    assert 3 * HEARTBEAT_SECONDS <= SILENT_SECONDS < REAP_SECONDS


@pytest.fixture
def none_installed(with_client: With) -> None:
    async def remove(client: PrefectClient) -> None:
        for found in await client.read_automations_by_name(AUTOMATION):
            await client.delete_automation(found.id)

    with_client(remove)


def test_it_is_installed_once_and_left_alone(none_installed: None, with_client: With) -> None:
    """An update would make the server forget which flow runs it waits for."""
    updates: list[UUID] = []

    async def install(client: PrefectClient) -> Any:
        update = client.update_automation

        async def counted(of: UUID, to: Any) -> None:
            updates.append(of)
            await update(of, to)

        client.update_automation = counted  # type: ignore[method-assign]
        ids = [await install_automation(client) for _ in range(3)]
        return ids, await client.read_automations_by_name(AUTOMATION)

    ids, found = with_client(install)
    assert ids == [found[0].id] * 3
    assert len(found) == 1
    assert not updates


@pytest.mark.parametrize(
    "change", [{"enabled": False}, {"description": "older"}, {"within": 10}, {"message": "older"}]
)
def test_one_that_was_changed_is_brought_up_to_date(
    change: dict[str, Any], none_installed: None, with_client: With
) -> None:
    async def install(client: PrefectClient) -> Any:
        other = automation()
        for key, value in change.items():
            if key == "within":
                other.trigger.within = timedelta(seconds=value)  # type: ignore[union-attr]
            elif key == "message":
                other.actions[0].message = value  # type: ignore[union-attr]
            else:
                setattr(other, key, value)
        changed = await client.create_automation(other)
        twin = await client.create_automation(automation())
        assert await install_automation(client) in (changed, twin)
        return await client.read_automations_by_name(AUTOMATION)

    (found,) = with_client(install)
    assert content_of(found) == content_of(automation())


def test_the_command_installs_it(none_installed: None, cli: Cli, with_client: With) -> None:
    for _ in range(2):
        done = cli("automation")
        assert done.code == 0, done
        assert f"installed: {AUTOMATION}" in done.out
    found = with_client(lambda client: client.read_automations_by_name(AUTOMATION))
    assert len(found) == 1


def test_the_command_needs_a_server(cli: Cli, tmp_path: Path) -> None:
    cli.env.pop("PREFECT_API_URL")
    done = cli("automation", PREFECT_HOME=str(tmp_path))
    assert "no Prefect server is set: set PREFECT_API_URL" in done.says_one_line(2)


# Reaping ------------------------------------------------------------------------------------------


class Flows:
    """Flow runs on the tests' server, which were last heard of some time ago."""

    def __init__(self, client: PrefectClient, database: Path) -> None:
        self.client = client
        self.database = database

    async def deployment(self) -> UUID:
        flow = await self.client.create_flow_from_name("active_learning")
        return await self.client.create_deployment(flow, f"test-{uuid4()}")

    async def run(
        self, deployment: UUID, state: State[Any], since: float, run_id: str | None = None
    ) -> UUID:
        made = await self.client.create_flow_run_from_deployment(
            deployment, state=state, parameters={"run_id": run_id} if run_id else {}
        )
        self.age(made.id, since)
        return made.id

    async def child(self, parent: UUID) -> UUID:
        """As an iteration is: below a task run of its parent."""
        link = await self.client.create_task_run(_link, parent, str(uuid4()), state=Running())
        made = await self.client.create_flow_run(
            flows.iteration, parent_task_run_id=link.id, state=Running()
        )
        return made.id

    def age(self, flow_run: UUID, seconds: float) -> None:
        """Make its state as old as that."""
        time = datetime.now(UTC) - timedelta(seconds=seconds)
        with sqlite3.connect(self.database, timeout=30) as database:
            changed = database.execute(
                "update flow_run_state set timestamp = ? where flow_run_id in (?, ?)",
                (time.strftime("%Y-%m-%d %H:%M:%S.%f"), flow_run.hex, str(flow_run)),
            )
            assert changed.rowcount >= 1

    async def heartbeat(self, flow_run: UUID, ago: float) -> None:
        event = {
            "id": str(uuid4()),
            "occurred": (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{flow_run}"},
        }
        (await self.client._client.post("/events", json=[event])).raise_for_status()
        for _ in range(300):  # the server stores events some seconds later
            if await self.heard(flow_run) < LONG_AGO - 60:
                return
            await asyncio.sleep(0.1)
        pytest.fail("the heartbeat was not stored")

    async def heard(self, flow_run: UUID) -> float:
        return await zombies.silent_seconds(self.client, await self.read(flow_run))

    async def read(self, flow_run: UUID) -> FlowRun:
        return await self.client.read_flow_run(flow_run)

    async def state(self, flow_run: UUID) -> str:
        state = (await self.read(flow_run)).state
        assert state is not None
        return state.type.value


@task
def _link() -> None:
    """What a child flow run hangs on."""


@pytest.fixture
def with_flows(with_client: With, prefect_home: Path) -> Callable[..., Any]:
    return lambda work: with_client(lambda client: work(Flows(client, prefect_home / "prefect.db")))


def test_who_is_gone_is_marked_with_its_iterations(with_flows: Callable[..., Any]) -> None:
    async def work(on: Flows) -> None:
        deployment = await on.deployment()
        gone = [
            await on.run(deployment, Running(), LONG_AGO, "moons"),
            await on.run(deployment, Pending(), LONG_AGO),
            await on.run(deployment, Cancelling(), LONG_AGO),
        ]
        child = await on.child(gone[0])
        marked = await reap(on.client, deployment)
        assert {flow_run.id for flow_run in marked} == set(gone)
        for flow_run in (*gone, child):
            assert await on.state(flow_run) == "CRASHED"
        message = (await on.read(gone[0])).state.message
        assert "Not heard of for 108" in message
        assert "`querist resume moons` goes on" in message
        assert "`querist resume RUN_ID` goes on" in (await on.read(gone[1])).state.message
        assert "that it belongs to is gone" in (await on.read(child)).state.message
        assert await reap(on.client, deployment) == []

    with_flows(work)


def test_an_interrupted_reaping_is_made_up_for(
    with_flows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise ConnectionError("the server is away")

    async def work(on: Flows) -> None:
        deployment = await on.deployment()
        gone = await on.run(deployment, Running(), LONG_AGO)
        child = await on.child(gone)
        with monkeypatch.context() as patch:
            patch.setattr(zombies, "_mark", away)
            with pytest.raises(ConnectionError):
                await reap(on.client, deployment)
        assert [flow_run.id for flow_run in await reap(on.client, deployment)] == [gone]
        assert (await on.state(gone), await on.state(child)) == ("CRASHED", "CRASHED")

    with_flows(work)


def test_who_may_live_is_left_alone(with_flows: Callable[..., Any]) -> None:
    async def work(on: Flows) -> None:
        deployment, others = await on.deployment(), await on.deployment()
        beating = await on.run(deployment, Running(), LONG_AGO)
        child = await on.child(beating)
        await on.heartbeat(beating, REAP_SECONDS - 60)
        kept = {
            beating: "RUNNING",
            child: "RUNNING",
            await on.run(deployment, Running(), REAP_SECONDS - 60): "RUNNING",  # just begun
            await on.run(deployment, Completed(), LONG_AGO): "COMPLETED",
            await on.run(others, Running(), LONG_AGO): "RUNNING",  # may send no heartbeats
        }
        silent = await on.run(deployment, Running(), LONG_AGO)
        await on.heartbeat(silent, REAP_SECONDS + 10)
        scheduled = await on.client.create_flow_run_from_deployment(deployment)
        kept[scheduled.id] = "SCHEDULED"
        assert [flow_run.id for flow_run in await reap(on.client, deployment)] == [silent]
        for flow_run, state in kept.items():
            assert await on.state(flow_run) == state

    with_flows(work)
