"""Row 4, what test_prefect.py leaves: the conclusion, and the temporary Prefect server.

SIGTERM and Ctrl-C to `querist run` as a new user starts it, with nothing configured.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist.deployments.embedded_server import PARENT_VARIABLE
from tests.conftest import Cli
from tests.shared.killed import EXPERIMENT, ITERATIONS, LABELS, Outcome, outcome
from tests.shared.waiting import wait_for

HERE = Path(__file__).parent
SECONDS = 10.0


@pytest.fixture
def querist(cli: Cli, tmp_path: Path) -> Cli:
    """The command, in a folder with an experiment whose steps can be held."""
    label = {"name": "callable", "options": {"function": "held_to_the_end:label",
                                              "repeatable": True}}  # fmt: skip
    content = EXPERIMENT | {
        "learner": "held_to_the_end:Model",
        "strategies": EXPERIMENT["strategies"] | {"label": label},
        "tracking": {"enabled": True},
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    del cli.env["PREFECT_API_URL"]  # with a server of its own, in the home that has its tables
    cli.env.update(
        QUERIST_ALLOWED_PACKAGES="held,held_to_the_end",
        HELD=str(tmp_path / "held"),
        ASKED=str(tmp_path / "asked"),
        PYTHONPATH=os.pathsep.join([str(HERE), cli.env["PYTHONPATH"]]),
    )
    return cli


def left_by(process: int, folder: Path) -> list[str]:
    """What still lives of a command: its group, its Prefect server, its deliverer."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            line = (place / "cmdline").read_bytes()
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = (
            int(fields[2]) == process
            or f"{PARENT_VARIABLE}={process}".encode() in variables
            or str(folder).encode() in line
        )
        if ours and fields[0] != "Z":
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def undisturbed(querist: Cli) -> Outcome:
    done = querist("run", "experiment.yaml", "--run-id", "whole")
    assert done.code == 0, done
    (querist.cwd / "asked").unlink()
    return outcome(querist.root / "whole")


CASES = (("conclude", signal.SIGTERM), ("conclude", signal.SIGINT), ("train", signal.SIGTERM))


@pytest.mark.timeout(1800)
def test_a_command_with_its_own_server_is_stopped(
    querist: Cli, tries: Any, tried: Any, survived: Any
) -> None:
    whole = undisturbed(querist)
    for number in range(tries(4, 1, 10)):
        for step, way in CASES:
            tried(4)
            run_id = f"{step}-{way.name}-{number}".lower()
            _stop(querist, run_id, step, way)
            _resume(querist, run_id, whole)
            survived(4)


def _stop(querist: Cli, run_id: str, step: str, way: signal.Signals) -> None:
    """Stop the run in a step; nothing stays behind."""
    held = querist.cwd / "held"
    held.write_text(step)
    process = querist.start("run", "experiment.yaml", "--run-id", run_id)
    wait_for(held.with_suffix(".reached").exists, 90, f"it never came to {step}")
    started = time.monotonic()
    process.send_signal(way)
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - started
    assert seconds < SECONDS, err
    assert process.returncode == 1, err
    assert f"`querist resume {run_id}`" in err
    # Prefect's own server may complain of what it could not write any more; we must not.
    assert "src/querist/" not in err
    wait_for(
        lambda: not left_by(process.pid, querist.root),
        SECONDS - seconds,
        "something of it still lives",
    )
    held.unlink()
    held.with_suffix(".reached").unlink()


def _resume(querist: Cli, run_id: str, whole: Outcome) -> None:
    """Go on to the end, which is the same as that of a run that nobody stopped."""
    asked = querist.cwd / "asked"
    done = querist("resume", run_id)
    assert done.code == 0, done
    assert outcome(querist.root / run_id) == whole
    billed = asked.read_text().splitlines()
    assert len(billed) == len(set(billed)) == ITERATIONS * LABELS
    asked.unlink()
