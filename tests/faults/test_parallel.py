"""Row 13: one of several learners crashes or hangs; the others finish, and a resume finishes it.

Of row 16: one parallel run, two processes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.config.load import merge

from ..conftest import Cli, Done, environment
from ..shared.killed import Outcome, outcome
from .served import HERE, processes, result, until

LEARNERS = ("a", "b", "c")
ITERATIONS = 3
STEPS = 12 * ITERATIONS
"""Of a learner's training: 6 epochs of 2 batches, then 4 epochs of 3."""
EXPERIMENT: dict[str, Any] = {
    "name": "trapped moons",
    "seed": 7,
    "data": {
        "pool": {"name": "examples.two_moons.data:moons_pool", "options": {"n": 300}},
        "initial": {"share": 0.1},
    },
    "learner": "trapped:Model",
    "training": {
        "loss": "bce_with_logits",
        "optimizer": {"name": "SGD", "options": {"lr": 0.2, "momentum": 0.9}},
        "max_training_epochs": 6,
        "max_fine_tuning_epochs": 4,
    },
    "strategies": {
        "query": [{"name": "distance_to_boundary", "n": 6}, {"name": "random", "n": 4}],
        "label": {
            "name": "callable", "options": {"function": "trapped:label", "repeatable": True},
        },
        "metrology": "f1",
    },
    "driver": {"max_active_learning_steps": ITERATIONS, "checkpoint_interval": 0},
    "tracking": {"enabled": False},
    "learners": [
        {"name": name, "learner": {"options": {"learner": name}}} for name in LEARNERS
    ],
    "parallel": {"hang_seconds": 3},
}  # fmt: skip
RUN = ("run", "several.yaml", "--json", "--run-id", "p")
AT_MOST = 5.0
"""Seconds until the second process has ended."""
PATIENCE = 60.0
ALONE = {"driver": {"share_labels": False}}
DIED = "failed: HostDiedError: the process that carried out the run "
WORDS = {
    "SIGKILL": "ended by SIGKILL",
    "SIGSEGV": "ended by SIGSEGV",
    "SIGSTOP": "said and did nothing for 3 s and was ended",
    "wait": "took longer than 4 s for a step and was ended",
}


@dataclass(frozen=True)
class Lab:
    """A place for one parallel run, `p`."""

    cli: Cli

    @property
    def folder(self) -> Path:
        return self.cli.root / "p"

    def folder_of(self, learner: str) -> Path:
        return self.cli.root / f"p-{learner}"

    @property
    def traps(self) -> Path:
        return self.cli.cwd / "traps"

    def write(self, **changes: Any) -> None:
        (self.cli.cwd / "several.yaml").write_text(yaml.safe_dump(merge(EXPERIMENT, changes)))

    def trap(self, fault: str, step: int, learner: str = "b") -> None:
        (self.traps / learner).write_text(json.dumps([step, fault]))

    def run(self) -> Done:
        return self.cli(*RUN)

    def resume(self) -> Done:
        return self.cli("resume", "p", "--json")

    def result(self) -> dict[str, Any]:
        """What the parallel run has written down, with the learners' reasons by name."""
        content: dict[str, Any] = json.loads((self.folder / "result.json").read_bytes())
        return content | {"reasons": {one["name"]: one["reason"] for one in content["learners"]}}

    def outcomes(self) -> dict[str, Outcome]:
        """Of learners with ledgers of their own."""
        return {name: outcome(self.folder_of(name)) for name in LEARNERS}

    def results(self) -> dict[str, dict[str, str]]:
        return {name: result(self.folder_of(name)) for name in LEARNERS}

    def summaries(self) -> dict[str, tuple[int, bytes]]:
        """What each learner that was concluded has written, and when."""
        files = {name: self.folder_of(name) / "summary.json" for name in LEARNERS}
        return {
            name: (file.stat().st_mtime_ns, file.read_bytes())
            for name, file in files.items()
            if file.exists()
        }

    def asked(self) -> list[str]:
        """What was billed."""
        return (self.cli.cwd / "asked").read_text().splitlines()

    def waits(self, learner: str) -> bool:
        """Whether a learner is in a trap that holds it."""
        return (self.traps / f"{learner}.waits").exists()

    def let_go(self) -> None:
        """Remove all traps."""
        for file in self.traps.iterdir():
            file.unlink()

    def is_left(self) -> bool:
        """Whether a process of it lives."""
        return bool(processes(str(self.traps)))


@pytest.fixture(scope="module")
def new_lab(
    prefect_server: Any, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Lab]:
    """Makes a place for a parallel run, always the same one: what a run commits to names it."""
    folder = tmp_path_factory.mktemp("parallel") / "here"

    def make(**changes: Any) -> Lab:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "traps").mkdir(parents=True)
        env = environment(
            PREFECT_HOME=str(prefect_home),
            PREFECT_API_URL=prefect_server.api_url,
            PYTHONPATH=os.pathsep.join([str(HERE), environment()["PYTHONPATH"]]),
            QUERIST_ALLOWED_PACKAGES="trapped,examples",
            TRAP=str(folder / "traps"),
            ASKED=str(folder / "asked"),
        )
        lab = Lab(Cli(folder, env))
        lab.write(**changes)
        return lab

    return make


@pytest.fixture(scope="module")
def whole(new_lab: Any) -> dict[str, Outcome]:
    """How learners with ledgers of their own end when nothing happens to them."""
    lab = new_lab(**ALONE)
    done = lab.run()
    assert done.code == 0, done
    assert json.loads(done.out)["verdict"] == "succeeded"
    assert set(lab.result()["reasons"].values()) == {f"max iterations: {ITERATIONS}"}
    return lab.outcomes()


def others_finished(reasons: dict[str, str], fault: str) -> bool:
    """Whether the learners ended as they should when `b` was trapped."""
    died = reasons["b"].startswith(DIED + WORDS[fault])
    return died and reasons["a"] == reasons["c"] == f"max iterations: {ITERATIONS}"


def test_the_others_finish_and_a_resume_finishes_it(
    new_lab: Any, whole: dict[str, Outcome], tries: Any, tried: Any, survived: Any
) -> None:
    chance = random.Random(13)
    for number in range(tries(13, 3, 20)):
        tried(13)
        fault = ("SIGKILL", "SIGSEGV", "SIGSTOP")[number % 3]
        lab = new_lab(**ALONE)
        lab.trap(fault, chance.randint(1, STEPS))
        done = lab.run()
        assert done.code == 0, done
        found = lab.result()
        assert json.loads(done.out)["verdict"] == found["verdict"] == "degraded"
        assert others_finished(found["reasons"], fault), found
        assert found["reason"] == f"2 of 3 learners finished; b {found['reasons']['b']}"
        assert not lab.is_left()
        before = lab.summaries()
        assert set(before) == {"a", "c"}
        done = lab.resume()
        assert done.code == 0, done
        assert json.loads(done.out)["verdict"] == lab.result()["verdict"] == "succeeded"
        after = lab.summaries()
        assert {name: after[name] for name in before} == before
        assert lab.outcomes() == whole
        survived(13)


def test_a_step_without_end(
    new_lab: Any, whole: dict[str, Outcome], tried: Any, survived: Any
) -> None:
    tried(13)
    lab = new_lab(**ALONE, parallel={"step_seconds": 4})
    lab.trap("wait", STEPS - 1)
    done = lab.run()
    assert done.code == 0, done
    assert others_finished(lab.result()["reasons"], "wait"), lab.result()
    assert not lab.is_left()
    assert lab.resume().code == 0
    assert lab.outcomes() == whole
    survived(13)


def test_learners_that_share_labels(new_lab: Any, tried: Any, survived: Any) -> None:
    tried(13)
    undisturbed = new_lab()
    assert undisturbed.run().code == 0
    results, asked = undisturbed.results(), undisturbed.asked()
    lab = new_lab()
    lab.trap("SIGSEGV", STEPS - 1)
    assert lab.run().code == 0
    assert others_finished(lab.result()["reasons"], "SIGSEGV"), lab.result()
    assert lab.resume().code == 0
    assert lab.results() == results
    assert sorted(lab.asked()) == sorted(asked)
    assert len(set(lab.asked())) == len(lab.asked()) < 3 * ITERATIONS * 10
    survived(13)


@pytest.mark.parametrize("rule", ["fail_fast", "quorum"])
def test_a_rule_that_is_broken(
    rule: str, new_lab: Any, whole: dict[str, Outcome], tried: Any, survived: Any
) -> None:
    tried(13)
    lab = new_lab(**ALONE, parallel={"on_failure": rule if rule == "fail_fast" else {rule: 3}})
    lab.trap("SIGSEGV", STEPS)
    if rule == "fail_fast":
        lab.trap("wait", 1, "a")
        lab.trap("wait", 1, "c")
    done = lab.run()
    assert done.code == 1, done
    found = lab.result()
    assert found["verdict"] == "failed"
    last = done.err.splitlines()[-1]
    assert last.startswith(f"error: parallel run p failed, {found['reason']}"), last
    assert last.endswith("`querist resume p` goes on with what did not finish"), last
    if rule == "fail_fast":
        stopped = "stopped: another learner failed"
        assert found["reasons"].pop("b").startswith(DIED + WORDS["SIGSEGV"])
        assert found["reasons"] == {"a": stopped, "c": stopped}
    else:
        assert others_finished(found["reasons"], "SIGSEGV")
    assert not lab.is_left()
    lab.let_go()
    assert lab.resume().code == 0
    assert lab.result()["verdict"] == "succeeded"
    assert lab.outcomes() == whole
    survived(13)


@contextmanager
def started(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    """The command that runs the learners; it is gone afterwards."""
    with lab.cli.start(*RUN) as process:
        try:
            yield process
        finally:
            process.kill()


def test_one_goes_on_and_the_other_ends(
    new_lab: Any, whole: dict[str, Outcome], tries: Any, tried: Any, survived: Any
) -> None:
    """Learners that are at work are nobody else's either."""
    for number in range(tries(16, 1, 5)):
        tried(16)
        lab = new_lab(**ALONE)
        lab.trap("wait", 1 + 7 * number)
        lab.trap("wait", 1 + 7 * number, "a")
        with started(lab) as first:
            until(partial(lab.waits, "a"), PATIENCE, "a has begun")
            until(partial(lab.waits, "b"), PATIENCE, "b has begun")
            for command in (RUN, ("resume", "p"), ("resume", "p-a"), ("resume", "p-b")):
                began = time.monotonic()
                words = lab.cli(*command).says_one_line(2)
                assert time.monotonic() - began < AT_MOST, command
                run_id = "p" if command == RUN else command[1]
                assert f"run {run_id} is being worked on by process " in words
            lab.let_go()
            out, err = first.communicate(timeout=PATIENCE)
        assert first.returncode == 0, err
        assert json.loads(out)["verdict"] == "succeeded"
        assert lab.outcomes() == whole
        survived(16)


def test_two_begin_at_once(
    new_lab: Any, whole: dict[str, Outcome], tried: Any, survived: Any
) -> None:
    tried(16)
    lab = new_lab(**ALONE)
    lab.trap("wait", 1)
    with started(lab) as one, started(lab) as other:
        until(partial(lab.waits, "b"), PATIENCE, "b has begun")
        until(lambda: {one.poll(), other.poll()} != {None}, PATIENCE, "one has ended")
        winner, loser = (one, other) if one.poll() is None else (other, one)
        words = Done(loser.returncode, *loser.communicate()).says_one_line(2)
        assert "error: run p is being worked on by process " in words
        lab.let_go()
        out, err = winner.communicate(timeout=PATIENCE)
    assert winner.returncode == 0, err
    assert json.loads(out)["verdict"] == "succeeded"
    assert lab.outcomes() == whole
    survived(16)
