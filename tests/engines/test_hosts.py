"""What every engine promises, on each of them: a real local Ray and Dask among them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from querist.commands.environment import NOT_FOR_STEPS
from querist.config.parallel import ParallelConfig
from querist.engines import open_engine
from querist.engines.gpus import VISIBLE
from querist.errors import ConfigurationError, RunNotFoundError
from querist.progress import Progress, tell, watched_by
from querist.runs.host import Host, HostDiedError
from querist.runs.reference import RunReference

ALONE = ["processes", "ray", "dask"]
"""Engines whose learners have a process of their own."""


# Steps, which a process elsewhere finds by their names -------------------------------------------


def whereabouts() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def doubled(number: int) -> int:
    logging.getLogger("querist.test").warning("doubling %d", number)
    tell(Progress("run", "name", number, 9, None, 1))
    return 2 * number


def refuse() -> None:
    raise ConfigurationError("no")


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def secrets() -> list[str]:
    return [name for name in NOT_FOR_STEPS if os.environ.get(name)]


def linger(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def gpus_seen() -> str | None:
    return os.environ.get(VISIBLE)


def use(where: str, act: Callable[[Any], Awaitable[Any]], learners: int = 2, **more: Any) -> Any:
    """Open an engine and act with it."""

    async def main() -> Any:
        async with open_engine(ParallelConfig(where=where, **more), learners) as engine:  # type: ignore[arg-type]
            return await act(engine)

    return asyncio.run(main())


@pytest.mark.parametrize("where", ["threads", *ALONE])
def test_steps_are_carried_out(
    where: str, caplog: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test for all of it: to start an engine takes seconds."""
    seen: list[int] = []
    for name in NOT_FOR_STEPS:
        monkeypatch.setenv(name, "canary")

    async def act(engine: Any) -> None:
        async with engine.host("a") as one, engine.host("b") as other:
            with watched_by(lambda progress: seen.append(progress.iteration)):
                assert await asyncio.gather(one.make(doubled, 3), other.make(doubled, 4)) == [6, 8]
            with pytest.raises(ConfigurationError, match="^no$"):
                await one.make(refuse)
            assert await one.make(doubled, 5) == 10  # it goes on after an error
            nowhere = RunReference(run_id="x", root=tmp_path)
            with pytest.raises(RunNotFoundError, match="no run 'x'"):
                await one.call(nowhere, doubled)
            await one.release(nowhere)
            mine, theirs = await one.make(whereabouts), await other.make(whereabouts)
            if where in ALONE:
                assert await one.make(secrets) == []
                assert len({mine[0], theirs[0], os.getpid()}) == 3
                assert (await one.make(whereabouts))[0] == mine[0]
            else:
                assert mine[0] == theirs[0] == os.getpid()

    with caplog.at_level(logging.WARNING, logger="querist.test"):
        use(where, act)
    assert sorted(seen)[:2] == [3, 4]
    assert {"doubling 3", "doubling 4"} <= set(caplog.messages)


@pytest.mark.parametrize("where", ALONE)
def test_one_that_dies_takes_no_other_along(where: str) -> None:
    async def act(engine: Any) -> None:
        async with engine.host("a") as one, engine.host("b") as other:
            waiting = asyncio.ensure_future(other.make(linger, 2.0))
            with pytest.raises(HostDiedError, match="querist resume"):
                await one.make(die, signal.SIGKILL)
            assert await waiting == 2.0
        if where == "processes":
            async with engine.host("c") as another:
                assert await another.make(doubled, 1) == 2

    use(where, act)


def test_a_segmentation_fault_is_named() -> None:
    async def act(engine: Any) -> None:
        async with engine.host("a") as one:
            with pytest.raises(HostDiedError, match="ended by SIGSEGV"):
                await one.make(die, signal.SIGSEGV)

    use("processes", act)


def test_one_that_hangs_is_ended() -> None:
    async def act(engine: Any) -> None:
        async with engine.host("a") as one:
            began = time.monotonic()
            with pytest.raises(HostDiedError, match="said and did nothing for 2 s"):
                await one.make(die, signal.SIGSTOP)
            assert time.monotonic() - began < 10

    use("processes", act, hang_seconds=2)


def test_one_that_waits_does_not_hang() -> None:
    async def act(engine: Any) -> None:
        async with engine.host("a") as one:
            assert await one.make(linger, 4.0) == 4.0

    use("processes", act, hang_seconds=2)


def test_a_step_may_take_so_long_and_no_longer() -> None:
    async def act(engine: Any) -> None:
        async with engine.host("a") as one:
            with pytest.raises(HostDiedError, match="took longer than 1 s for a step"):
                await one.make(linger, 30.0)

    use("processes", act, step_seconds=1)


@pytest.mark.parametrize("where", ALONE)
def test_who_cancels_a_step_ends_it(where: str) -> None:
    async def act(engine: Any) -> Any:
        host: Host
        async with engine.host("a") as host:
            waiting = asyncio.ensure_future(host.make(linger, 60.0))
            await asyncio.sleep(1)
            waiting.cancel()
            cancelled = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return cancelled

    cancelled = use(where, act)
    assert time.monotonic() - cancelled < 20


def test_each_process_sees_its_own_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "4,7")

    async def act(engine: Any) -> list[Any]:
        async with engine.host("a") as one, engine.host("b") as other:
            return await asyncio.gather(one.make(gpus_seen), other.make(gpus_seen))

    found = use("processes", act, resources={"gpus": 1})
    assert sorted(found) == ["4", "7"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("processes", "this process may use 0"),
        ("ray", "the Ray cluster has 0"),
        ("dask", "no GPUs"),
    ],
)
def test_gpus_that_are_not_there(where: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")

    async def act(engine: Any) -> None:
        raise AssertionError("it must not begin")

    with pytest.raises(ConfigurationError, match=message):
        use(where, act, resources={"gpus": 1})
