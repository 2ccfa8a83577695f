"""`querist labels`, on a run that died with labels on their way."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from typer.testing import CliRunner

from querist.deployments.cli import app
from tests.shared.killed import HERE, ITERATIONS, LABELS, ONE_BY_ONE, Lab, lab, own_process

__all__ = ["lab", "own_process"]


@pytest.fixture
def doubtful(lab: Lab, cli: Any) -> Any:
    """The command line in a folder with a run that has a label in doubt; and which sample."""
    lab.write(strategies={"label": ONE_BY_ONE})
    assert lab("label.bought:4") == -signal.SIGKILL
    cli.env["QUERIST_ALLOWED_PACKAGES"] = "interrupted,examples"
    cli.env["PYTHONPATH"] += f":{HERE}"
    listed = json.loads(cli("labels", "list", "run", "--json").out)
    (request,) = listed["requests"]
    return cli, request["sample"]


def test_status_and_list_say_what_is_in_doubt(doubtful: Any) -> None:
    cli, sample = doubtful
    status = json.loads(cli("status", "run", "--json").out)
    assert list(status["in_doubt"]) == [str(sample)]
    shown = cli("labels", "list", "run")
    assert shown.code == 0
    assert str(sample) in shown.out
    assert "asked" in shown.out
    assert f"in doubt          {sample} (the process that asked" in cli("status", "run").out


def test_the_label_itself(doubtful: Any, lab: Lab) -> None:
    cli, sample = doubtful
    settled = cli("labels", "settle", "run", sample, "--value", "1")
    assert settled.code == 0, settled
    assert f"sample {sample} is labeled 1" in settled.out
    assert "nothing waits for a person" in cli("labels", "list", "run").out
    assert lab() == 0
    assert len(lab.asked) == len(set(lab.asked)) == ITERATIONS * LABELS
    assert json.loads(cli("status", "run", "--json").out)["labels_bought"] == ITERATIONS * LABELS


def test_lost(doubtful: Any, lab: Lab) -> None:
    cli, _ = doubtful
    settled = cli("labels", "settle", "run", "--all", "--lost")
    assert settled.code == 0, settled
    assert "1 labels are settled: lost" in settled.out
    assert lab() == 0
    assert len(lab.asked) == len(set(lab.asked)) == ITERATIONS * LABELS
    assert (
        json.loads(cli("status", "run", "--json").out)["labels_bought"] == ITERATIONS * LABELS - 1
    )
    assert "nothing waits" in cli("labels", "list", "run").out


MISTAKES = {
    (): "say one of --value, --not-bought and --lost",
    ("5", "--lost", "--not-bought"): "say one of --value",
    ("--lost",): "name the samples, or say --all",
    ("--all", "5", "--lost"): "name the samples, or say --all",
    ("--all", "--value", "1"): "--value is of one sample",
    ("5", "--value", "cat"): "a label is JSON, a class, a number or a list",
    ("299", "--lost"): "nothing is in doubt about sample 299: the samples to settle are",
    ("SAMPLE", "--value", "7"): "a label is a class 0 to 1, not 7",
}


def test_what_cannot_be_settled(doubtful: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli, sample = doubtful
    monkeypatch.chdir(cli.cwd)
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,examples")
    for arguments, words in MISTAKES.items():
        given = [str(sample) if word == "SAMPLE" else word for word in arguments]
        done = CliRunner().invoke(app, ["labels", "settle", "run", *given])
        assert done.exit_code == 2, done.output
        assert words in " ".join(done.output.split())
