"""Tasks are thin: named for people, async, and Prefect neither caches nor keeps their results."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.cache_policies import NO_CACHE

from querist import tasks
from querist.runs import RunReference
from querist.runs.host import hosted_by
from querist.tasks.train import start_training, training_ahead, training_started
from querist.values import Phase

NAMES = [*(phase.value for phase in Phase), "conclude"]


@pytest.mark.parametrize("name", NAMES)
def test_settings(name: str) -> None:
    task = getattr(tasks, name)
    assert task.name == name
    assert inspect.iscoroutinefunction(task.fn)
    assert task.cache_policy is NO_CACHE or task.cache_policy == NO_CACHE
    assert task.persist_result is False
    assert task.retries == 0
    assert task.description.endswith(".")
    assert "{" in task.task_run_name


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_a_reference_and_an_iteration(name: str) -> None:
    parameters = set(inspect.signature(getattr(tasks, name).fn).parameters)
    assert parameters in ({"run", "iteration"}, {"run"})


class SlowHost:
    """Answers after a while, and counts."""

    async def make(self, step: Any, *args: Any) -> Any:
        raise NotImplementedError

    async def release(self, run: RunReference) -> None:
        raise NotImplementedError

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.cancelled = 0

    async def call(self, run: RunReference, step: Any, *args: Any) -> Any:
        self.calls.append((step.__name__, *args))
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"iteration": args[0]}


@pytest.fixture
def host() -> Iterator[SlowHost]:
    host = SlowHost()
    with hosted_by(host):
        yield host


@pytest.fixture
def run(tmp_path: Path) -> RunReference:
    return RunReference(run_id="run", root=tmp_path)


def test_a_training_that_was_started_is_not_done_again(host: SlowHost, run: RunReference) -> None:
    async def main() -> None:
        async with training_ahead(run):
            start_training(run, 1)
            assert training_started(run, 1)
            assert not training_started(run, 2)
            assert await tasks.train.fn(run, 1) == {"iteration": 1}
            assert not training_started(run, 1)
            assert await tasks.train.fn(run, 2) == {"iteration": 2}

    asyncio.run(main())
    assert host.calls == [("train", 1), ("train", 2)]


def test_outside_nothing_is_started(host: SlowHost, run: RunReference) -> None:
    async def main() -> None:
        start_training(run, 1)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert host.calls == []


def test_a_training_that_nobody_takes_is_not_left_behind(host: SlowHost, run: RunReference) -> None:
    async def main() -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with training_ahead(run):
                start_training(run, 1)
                await asyncio.sleep(0.01)
                raise ZeroDivisionError
        assert len(asyncio.all_tasks()) == 1
        assert not training_started(run, 1)

    asyncio.run(main())
    assert host.cancelled == 1


def test_a_training_that_is_not_for_now_is_not_started(host: SlowHost, run: RunReference) -> None:
    async def main() -> None:
        async with training_ahead(run, until=2):
            start_training(run, 2)
            assert not training_started(run, 2)
            start_training(run, 1)
            assert await tasks.train.fn(run, 1) == {"iteration": 1}

    asyncio.run(main())
    assert host.calls == [("train", 1)]
