from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError, LearnerError
from tests.shared.killed import REPOSITORY
from tests.shared.memory import Memory
from tests.shared.ranked import ALLOWED, SGD, job, labeled, learner, settings, trained

TWO = {"processes": 2, "batch_size": 8, "optimizer": SGD, "checkpoint_epochs": 2}
LAUNCHED = {"launcher": "ray", "max_restarts": 0}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A Ray of this machine with room for an actor and two workers."""
    found = pytest.importorskip("ray", reason="needs the extra `ray`")
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "src")))
    found.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": path, "QUERIST_ALLOWED_PACKAGES": ALLOWED}},
    )
    yield found
    found.shutdown()


class Steps:
    """What carries out a learner's steps on Ray."""

    def train(self, folder: Path) -> tuple[dict[str, bytes], list[int], list[int]]:
        made = settings(**TWO)  # nobody says that it is on Ray
        fitted, reports, memory = learner(made), [], Memory()
        fitted.work_in(folder / "work")
        fitted.fit(
            labeled(0, 64),
            job(made, on_epoch=lambda report: reports.append(report.epoch), partial=memory),
        )
        return fitted.state_files(), reports, memory.epochs


@pytest.mark.timeout(600)
def test_inside_an_actor_the_ranks_are_workers_of_ray(ray: Any, tmp_path: Path) -> None:
    one, _ = trained(**{**TWO, "processes": 1, "batch_size": 16})
    actor = ray.remote(Steps).options(num_cpus=1).remote()
    state, reports, kept = ray.get(actor.train.remote(tmp_path))
    ray.kill(actor)
    two = learner(settings(**TWO))
    two.load_state_files(state)
    for ours, theirs in zip(two.module.parameters(), one.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert reports == [1, 2, 3, 4]
    assert kept == [2]
    assert [p.name for p in (tmp_path / "ranks").iterdir()] == []


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("ray")
def test_workers_that_fail(tmp_path: Path) -> None:
    words = "training process 1 of 2 ended with .*ValueError: the sensor is on fi"
    with pytest.raises(LearnerError, match=words):
        trained("Raising", **TWO, distributed=LAUNCHED)


@pytest.mark.usefixtures("ray")
def test_no_room() -> None:
    with pytest.raises(LearnerError, match="with 1 CPUs each need 4, and the Ray cluster has 3 "):
        trained(**{**TWO, "processes": 4}, distributed=LAUNCHED)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"needs Ray Train: pip install 'querist\[ray\]'"):
        trained(**TWO, distributed=LAUNCHED)
