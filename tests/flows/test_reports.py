"""The progress artifact, on a real Prefect server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from querist import progress as progress_module
from querist.deployments.embedded_server import prefect_api
from querist.flows import reports
from querist.flows.reports import ProgressReport, summary_markdown
from querist.phases.conclude import Summary
from querist.progress import Progress, tell
from querist.training.watched import Spent
from querist.values import Phase

TRAINING = Progress("r", "moons", 2, 4, Phase.TRAIN, labels=9, epoch=1, epochs=10)
Sent = list[tuple[float, str]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What the server is told, as it is told."""
    told: Sent = []
    send = ProgressReport._send

    async def watched(self: ProgressReport, percent: float, words: str) -> None:
        told.append((round(percent, 2), words))
        await send(self, percent, words)

    monkeypatch.setattr(ProgressReport, "_send", watched)
    return told


@pytest.fixture
def run(prefect_server: Any) -> Iterator[Callable[[Callable[[], Awaitable[Any]]], Any]]:
    """Calls with the tests' Prefect server."""
    from prefect import flow

    @flow(name="reports", validate_parameters=False, persist_result=False)
    async def around(call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()

    with prefect_api(prefect_server):
        yield lambda call: asyncio.run(around(call))


@pytest.fixture
def all_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(reports, "SECONDS_BETWEEN_UPDATES", 0.0)


async def in_a_step(report: ProgressReport, *told: Progress, wait: bool = True) -> None:
    """As a step says it, in a thread of its own; back when all that follows is done."""

    def say() -> None:
        for one in told:
            tell(one)

    thread = threading.Thread(target=say)
    thread.start()
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)  # what the thread has asked for begins
    if wait and report._pending is not None:
        await report._pending


async def artifact(report: ProgressReport) -> tuple[float, str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId

    async with get_client() as client:
        (found,) = await client.read_artifacts(
            artifact_filter=ArtifactFilter(id=ArtifactFilterId(any_=[report._artifact]))
        )
    return float(str(found.data)), str(found.description)


@pytest.mark.usefixtures("all_long")
def test_it_moves_within_a_long_training(run: Any, sent: Sent) -> None:
    async def go() -> tuple[float, str]:
        async with ProgressReport("moons", "r", 4) as report:
            at = replace(TRAINING, epoch=5, loss=0.5, validation_loss=0.25, samples_per_second=9e4)
            await in_a_step(report, at)
            seen = await artifact(report)
            report.update(2)
        assert await artifact(report) == (100.0, "moons: iterations done")
        return seen

    percent, words = run(go)
    assert percent == pytest.approx(100 * (2 + 0.9 * 0.5) / 4)
    assert words == (
        "moons: iteration 3 of 4, epoch 5 of 10, loss 0.5, validation loss 0.25, 90,000 samples/s"
    )
    assert [percent for percent, _ in sent] == sorted(percent for percent, _ in sent)


@pytest.mark.usefixtures("all_long")
def test_it_is_about_its_own_run_and_never_goes_back(run: Any, sent: Sent) -> None:
    async def go() -> None:
        async with ProgressReport("moons", "r", 4) as report:
            await in_a_step(report, replace(TRAINING, run_id="another", epoch=9))
            assert len(sent) == 1
            report.update(2)
            await in_a_step(
                report, replace(TRAINING, epoch=1)
            )  # trained again, its checkpoint was lost
            assert await artifact(report) == (75.0, sent[-1][1])

    run(go)


def test_short_trainings_are_not_told(run: Any, sent: Sent) -> None:
    async def go() -> None:
        async with ProgressReport("moons", "r", 4) as report:
            for iteration in range(4):
                await in_a_step(
                    report,
                    *(replace(TRAINING, iteration=iteration, epoch=e) for e in range(11)),
                    replace(TRAINING, iteration=iteration, phase=Phase.METROLOGY),
                )

    run(go)
    assert sent == [(0.0, "moons: iterations done"), (100.0, "moons: iterations done")]


def test_ten_thousand_epochs_are_two_reports(
    run: Any, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one at once; the rate allows the second one, which is the newest, at the end."""
    monkeypatch.setattr(progress_module, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(reports, "SECONDS_BETWEEN_UPDATES", 3600.0)

    async def go() -> None:
        async with ProgressReport("moons", "r", 1) as report:
            await in_a_step(
                report,
                *(replace(TRAINING, iteration=0, epoch=e, epochs=10_000) for e in range(10_001)),
                wait=False,
            )

    run(go)
    assert len(sent) == 3
    assert sent[-1] == (100.0, "moons: training done")


@pytest.mark.usefixtures("all_long")
def test_what_comes_too_soon_is_shown_when_its_time_comes(
    run: Any, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SECONDS_BETWEEN_UPDATES", 0.5)

    async def go() -> None:
        async with ProgressReport("moons", "r", 4) as report:
            await in_a_step(report, *(replace(TRAINING, epoch=e) for e in range(1, 11)))
            assert sent[-1][1].startswith("moons: iteration 3 of 4, epoch 10 of 10")
            assert len(sent) <= 4

    run(go)


@pytest.mark.parametrize("long", [True, False])
def test_where_only_long_trainings_have_an_artifact(
    run: Any, sent: Sent, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    monkeypatch.setattr(progress_module, "LONG_SECONDS", 0.0 if long else 3600.0)
    name = "digits version 3"
    told = replace(TRAINING, run_id=name, iteration=0, iterations=1, epoch=5, loss=0.5)

    async def go() -> None:
        async with ProgressReport(name, name, 1, always=False) as report:
            await in_a_step(report, told)
        assert (report._artifact is not None) == long

    run(go)
    assert sent == (
        [(45.0, "digits version 3: epoch 5 of 10, loss 0.5"), (100.0, f"{name}: training done")]
        if long
        else []
    )


def test_the_summary_says_where_the_time_of_training_went() -> None:
    summary = Summary("r", "/r", "max iterations: 4", 4, 90, 40, "f1", 0.5, 0.75, 3, {})
    assert "training" not in summary_markdown("moons", summary)
    spent = Spent(10.0, {"forward": 5.0, "optimizer": 5.0}, 9, 12.0, 10**6)
    assert (
        "- time of training: forward 50 %, optimizer 50 %; 12 samples/s; 1 MB on the device"
        in summary_markdown("moons", replace(summary, training=spent)).splitlines()
    )
