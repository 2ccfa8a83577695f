from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from querist.errors import ConfigurationError
from querist.training.distributed.job_folder import JobFolder, Ranks
from querist.training.distributed.joining import JOBS, join
from tests.shared.killed import REPOSITORY
from tests.shared.ranked import SGD, job, labeled, learner, settings, trained


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_two_machines_are_one_with_the_double_batch(tmp_path: Path) -> None:
    one, _ = trained(batch_size=16, optimizer=SGD)
    meet = {"nodes": 2, "rendezvous": f"127.0.0.1:{free_port()}", "max_restarts": 0}
    made = settings(batch_size=8, optimizer=SGD, distributed=meet)
    (tmp_path / JOBS).mkdir()
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "src")))
    other = subprocess.Popen(
        [sys.executable, "-c", "from querist.deployments.cli import main; main()", "join",
         str(tmp_path), "--address", "127.0.0.1"],
        env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        two = learner(made)
        two.work_in(tmp_path / "work")
        report = two.fit(labeled(0, 64), job(made))
    finally:
        other.send_signal(signal.SIGINT)
        _, said = other.communicate(timeout=60)
    assert report.samples == 4 * 64
    for ours, theirs in zip(two.module.parameters(), one.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert other.returncode == 1
    assert "joining " in said
    assert "stopped; the same command joins again" in said


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="its job or run, and .*nothing is none: name"):
        join(tmp_path / "nothing")


def test_a_training_of_one_machine(tmp_path: Path) -> None:
    made = settings(processes=2)
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    folder.write(learner(made), made, labeled(0, 64), job(made), Ranks("cpu", "gloo", 1))
    with pytest.raises(ConfigurationError, match="more than 1, and .*job is of one machine: set"):
        join(folder.path)
