from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from querist.commands import Command
from querist.commands.environment import usable_cores
from querist.errors import CommandError, ConfigurationError, UnknownNameError


def python(code: str, **more: Any) -> Command:
    return Command(["python", "-c", code], **more)


def test_the_last_line_is_the_answer(work: Path) -> None:
    command = python("print('a'); print(); print('{\"mse\": 1}'); print()")
    assert command.ask(work, iteration=0) == {"mse": 1}
    assert python("import sys; sys.stdout.write('7')").ask(work, iteration=0) == 7


def test_it_runs_in_its_folder_and_is_told_what_it_needs(work: Path) -> None:
    code = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))"
    command = python(code, environment={"MINE": 3})
    cwd, told = command.ask(work, iteration=4, environment={"QUERIST_N": 2})
    assert Path(cwd) == work
    assert (told["QUERIST_ITERATION"], told["QUERIST_RUN_ID"]) == ("4", "run-7")
    assert (told["QUERIST_WORK"], told["QUERIST_N"], told["MINE"]) == (str(work), "2", "3")


def test_credentials_stay_here(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "canary")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary")
    assert "canary" not in str(python("import os; print(dict(os.environ))").run(work, iteration=0))


def test_scripts_of_the_folder_of_the_start(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sim.py").write_text("import sys; print(sys.argv[1:], sys.executable)")
    monkeypatch.chdir(tmp_path)
    command = Command(["python", "sim.py", "sim.py"], {"n_labeled": 100})
    monkeypatch.chdir("/")
    found = str(command.run(work, iteration=0))
    assert found == f"{[str(tmp_path / 'sim.py'), '--n_labeled', '100']} {sys.executable}"
    assert command.name == "sim.py"
    with pytest.raises(ConfigurationError, match="there is no script 'sim.py' in /"):
        Command(["python", "sim.py"])


def test_no_shell_looks_at_the_words(work: Path) -> None:
    words = ["$HOME", "`id`", "; rm -rf x", "*", "a b"]
    command = Command(["python", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *words])
    assert command.ask(work, iteration=0) == words


def test_output_goes_to_the_log(work: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "querist.commands"):
        python("import sys; print('out'); print('err', file=sys.stderr)").run(work, iteration=0)
    assert {record.getMessage() for record in caplog.records} == {"python: out", "python: err"}


@pytest.mark.parametrize(
    ("code", "says", "refused"),
    [
        ("import sys; print('why', file=sys.stderr); sys.exit(3)",
         "ended with exit code 3.*stderr are:\nwhy", True),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
         "SIGSEGV, a segmentation fault", False),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", False),
        ("import os, signal; os.kill(os.getpid(), 40)", "signal 40", False),
    ],
)  # fmt: skip
def test_a_failure_is_one_clear_error(work: Path, code: str, says: str, refused: bool) -> None:
    with pytest.raises(CommandError, match=f"(?s)the command python .*{says}") as caught:
        python(code).run(work, iteration=0)
    assert caught.value.refused is refused


@pytest.mark.parametrize(
    ("code", "says"),
    [("pass", "it printed nothing"), ("print('done')", "'done' is neither a number nor JSON")],
)
def test_an_answer_that_is_none(work: Path, code: str, says: str) -> None:
    with pytest.raises(CommandError, match=f"says its result on the last line .* {says}: print"):
        python(code).ask(work, iteration=0)


def test_nan_only_where_it_is_looked_at(work: Path) -> None:
    command = python("print('nan')")
    answer = command.ask(work, iteration=0)
    assert command.number(answer) != command.number(answer)
    with pytest.raises(CommandError, match="holds NaN or infinity"):
        command.finite(answer)


def test_cores_bind(work: Path) -> None:
    code = (
        "import os; print(len(os.sched_getaffinity(0)) * 10 + int(os.environ['OMP_NUM_THREADS']))"
    )
    assert python(code, cores=1).ask(work, iteration=0) == 11
    with pytest.raises(ConfigurationError, match="cores of a command is at most"):
        python("", cores=len(usable_cores()) + 1)


def test_gpus_are_checked(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    code = "import os, json; print(json.dumps(os.environ['CUDA_VISIBLE_DEVICES']))"
    assert python(code, gpus=1).ask(work, iteration=0) == "4"
    with pytest.raises(ConfigurationError, match="gpus of a command is at most .* 2, not 3"):
        python("", gpus=3)


@pytest.mark.parametrize("seconds", [0, -1, True, "5", float("nan"), float("inf")])
def test_timeouts_are_checked(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout_seconds of a command"):
        python("", timeout_seconds=seconds)


def test_what_cannot_be_started_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="there is no program 'no-such-thing'"):
        Command(["no-such-thing"])


def test_a_program_that_is_gone_when_it_is_wanted(work: Path, tmp_path: Path) -> None:
    program = tmp_path / "solve"
    program.write_text("#!/bin/sh\necho 1\n")
    program.chmod(0o755)
    command = Command([str(program)])
    assert command.ask(work, iteration=0) == 1
    os.remove(program)
    with pytest.raises(CommandError, match="cannot be started: No such file"):
        command.run(work, iteration=0)


def test_commands_out_of_mappings() -> None:
    assert Command.of("train", {"argv": ["true"]}).name == "true"
    with pytest.raises(ConfigurationError, match="train is a mapping with argv"):
        Command.of("train", ["true"])
    with pytest.raises(UnknownNameError, match="did you mean 'options'"):
        Command.of("train", {"argv": ["true"], "option": {}})


def test_without_a_folder_nothing_runs() -> None:
    with pytest.raises(ConfigurationError, match="belongs to none: call its work_in"):
        python("").run(None, iteration=0)


def test_a_long_answer_is_whole(work: Path) -> None:
    assert len(python("print(list(range(200_000)))").ask(work, iteration=0)) == 200_000
    assert (
        json.dumps(python("print('[' + '1,' * 3_000_000 + '1]')").ask(work, iteration=0)[:1])
        == "[1]"
    )
