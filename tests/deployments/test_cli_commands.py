"""What the command line lets programs be."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from querist.deployments import cli as module

from ..conftest import REPOSITORY, Cli

SCRIPTS = REPOSITORY / "tests" / "commands" / "scripts"


def test_the_scripts_of_the_folder_are_run(cli: Cli) -> None:
    shutil.copytree(SCRIPTS, cli.cwd, dirs_exist_ok=True)
    cli.env.pop("QUERIST_ALLOWED_COMMANDS", None)
    steps = ("--set", "driver.max_active_learning_steps=2", "--set", "tracking.enabled=false")
    done = cli("run", "experiment.yaml", "--run-id", "four", *steps)
    assert done.code == 0, done
    assert (cli.root / "four" / "work" / "data.csv").exists()


@pytest.mark.parametrize(
    ("change", "shown"),
    [("strategies.label.options.argv=[python, -c, 'open(\"was_here\", \"w\")']", "python -c"),
     ("strategies.label.options.argv=[touch, was_here]", "touch"),
     ("strategies.label.options.argv=[bash, experiment.yaml]", "bash experiment.yaml")],
)  # fmt: skip
def test_nothing_else_is(cli: Cli, change: str, shown: str) -> None:
    shutil.copytree(SCRIPTS, cli.cwd, dirs_exist_ok=True)
    cli.env.pop("QUERIST_ALLOWED_COMMANDS", None)
    done = cli("run", "experiment.yaml", "--run-id", "four", "--set", change)
    assert f"running '{shown}' is not allowed" in done.says_one_line(2)
    assert not (cli.root / "four").exists()
    assert not list(cli.cwd.rglob("was_here"))


@pytest.mark.parametrize(
    ("argv", "environment", "found"),
    [
        (["querist", "run", "x.yaml"], {}, "."),
        (["querist", "up"], {}, None),
        (["querist", "run", "x.yaml"], {"QUERIST_ROOT": "/runs"}, None),
        (["querist", "run", "x.yaml"], {"QUERIST_ALLOWED_COMMANDS": "sim.py"}, "sim.py"),
        (["querist", "run", "x.yaml"], {"QUERIST_ALLOWED_COMMANDS": ""}, ""),
    ],
)
def test_whose_list_it_is(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], environment: dict[str, Any], found: Any
) -> None:
    import os

    for name in ("QUERIST_ROOT", "QUERIST_ALLOWED_COMMANDS"):
        monkeypatch.setenv(name, "x")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", argv)
    module._own_commands()
    assert os.environ.get("QUERIST_ALLOWED_COMMANDS") == found
    os.environ.pop("QUERIST_ALLOWED_COMMANDS", None)
