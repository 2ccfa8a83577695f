"""What the tests of flows and of the command line share: one Prefect server, one small run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).parents[1]
MOONS = REPOSITORY / "examples" / "two_moons" / "experiment.yaml"
SMALL = (
    "training.max_training_epochs=12",
    "training.max_fine_tuning_epochs=4",
    "training.optimizer.options.lr=0.2",
    "training.fine_tuning_lr=0.1",
    "driver.checkpoint_interval=0",
)
# A shell starts background jobs with Ctrl-C ignored, and our children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy the machine is; timings are benchmarks, not assertions.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
CONFIGURES_PREFECT = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


@dataclass(frozen=True)
class Cli:
    """The `querist` command in a process of its own.

    Attributes:
        cwd: where it runs, and where its runs go.
        env: its environment.
    """

    cwd: Path
    env: dict[str, str]

    @property
    def root(self) -> Path:
        return self.cwd / "active_learning_logs"

    def start(self, *args: object, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from querist.deployments.cli import main; main()"]
        return subprocess.Popen(
            [*command, *map(str, args)],
            cwd=self.cwd,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *args: object, **env: str) -> Done:
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out, err)

    def moons(self, *overrides: str, experiment: Path = MOONS) -> list[str]:
        """The arguments of a small run of the two moons."""
        changes = [*SMALL, *overrides]
        return ["run", str(experiment), *(part for c in changes for part in ("--set", c))]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def says_one_line(self, code: int) -> str:
        """The one line of an error, where there is nothing else."""
        assert self.code == code, self
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0]


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in CONFIGURES_PREFECT}
    kept.pop("MLFLOW_TRACKING_URI", None)
    return {**kept, "PYTHONPATH": str(REPOSITORY), **more}


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests' Prefect server has its database."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_server(prefect_home: Path) -> Iterator[Any]:
    """One temporary Prefect server for all tests."""
    from querist.deployments.embedded_server import EmbeddedServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(prefect_home))
        for name in CONFIGURES_PREFECT:
            patch.delenv(name, raising=False)
        server = EmbeddedServer()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture
def cli(tmp_path: Path, prefect_server: Any, prefect_home: Path) -> Cli:
    """The command line, in an empty folder, with the tests' Prefect server."""
    return Cli(
        tmp_path,
        environment(PREFECT_HOME=str(prefect_home), PREFECT_API_URL=prefect_server.api_url),
    )


@dataclass(frozen=True)
class SmallRun:
    """A run that was done with a Prefect server of its own, which has ended."""

    done: Done
    cli: Cli
    home: Path
    run_id: str
    iterations: int

    @property
    def folder(self) -> Path:
        return self.cli.root / self.run_id

    @property
    def database(self) -> Path:
        return self.home / "prefect.db"

    def records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = json.loads((self.folder / "f1_metrology.json").read_text())
        return records


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Two moons, small, as a new user runs it: nothing is configured."""
    folder = tmp_path_factory.mktemp("small")
    home = folder / "prefect"
    cli = Cli(folder, environment(PREFECT_HOME=str(home)))
    arguments = cli.moons("driver.max_active_learning_steps=4", "driver.checkpoint_interval=2")
    done = cli(*arguments, "--run-id", "small")
    assert done.code == 0, done
    return SmallRun(done, cli, home, "small", 4)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file of a user's own package into the working folder."""

    def make(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return make
