"""Learners as a stream of states: back-pressure, changes on the way, and leaving early."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import Cli
from .test_parallel_learners import several

SCRIPT = """
import asyncio, json, sys
from pathlib import Path
from querist.config.load import read_yaml
from querist.config.parallel import build_parallel
from querist.flows import Learners

learners = Learners(build_parallel(read_yaml(Path("several.yaml")), "several.yaml"), "p")


def at(name):
    log = Path("active_learning_logs") / f"p-{name}" / "driver_log.json"
    return json.loads(log.read_text().splitlines()[-1])["iteration"]

ACTIONS
"""


def act(cli: Cli, content: dict[str, Any], actions: str) -> Any:
    """Run a script that takes the states; what it prints last is what it found."""
    (cli.cwd / "several.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("ACTIONS", actions)],
        cwd=cli.cwd, env=cli.env, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("where", ["processes", "threads"])
def test_every_state_comes_and_learners_wait_for_it_to_be_taken(cli: Cli, where: str) -> None:
    content = several({"name": "a"}, {"name": "b"}, parallel={"where": where})
    found = act(
        cli,
        content,
        """
async def main():
    seen, ahead = [], []
    async for state in learners.stream():
        await asyncio.sleep(0.5)
        ahead.append(at(state.learner) - state.iteration)
        if state.iteration == 0:
            learners.set(state.learner, training={"batch_size": 4 if state.learner == "a" else 8})
        seen.append((state.learner, state.iteration, len(state.history), state.reason,
                     state.settings["training"]["batch_size"], sorted(state.metrics)))
    print(json.dumps({"seen": seen, "ahead": ahead, "verdict": learners.summary.verdict}))

asyncio.run(main())
""",
    )
    assert found["verdict"] == "succeeded"
    assert found["ahead"] == [0] * 6  # nobody has begun the next iteration
    for name, size in (("a", 4), ("b", 8)):
        mine = [state for state in found["seen"] if state[0] == name]
        assert [state[1:3] for state in mine] == [[0, 1], [1, 2], [2, 3]]
        assert [state[3] for state in mine] == ["", "", "max iterations: 3"]
        assert [state[4] for state in mine] == [16, size, size]
        assert all("f1" in state[5] for state in mine)


def test_one_is_stopped_and_who_leaves_the_loop_stops_the_rest(cli: Cli) -> None:
    content = several({"name": "a"}, {"name": "b"})
    content["driver"]["max_active_learning_steps"] = 50
    found = act(
        cli,
        content,
        """
async def main():
    async for state in learners.stream():
        if state.learner == "a":
            learners.stop("a")
        elif state.iteration == 3:
            break
    while learners.summary is None:
        await asyncio.sleep(0.1)
    print(json.dumps({o.name: [o.reason, o.iterations] for o in learners.summary.learners}))

asyncio.run(main())
""",
    )
    assert found["a"] == ["stopped by user", 1]
    assert found["b"][0] == "stopped by user"
    assert 4 <= found["b"][1] <= 5


def test_a_name_that_is_none_is_refused(cli: Cli, tmp_path: Path) -> None:
    found = act(
        cli,
        several({"name": "a"}),
        """
try:
    learners.stop("aa")
except LookupError as error:
    print(json.dumps(str(error)))
""",
    )
    assert "'aa'" in found
    assert "a" in found
