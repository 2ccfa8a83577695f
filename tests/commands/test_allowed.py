from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from querist.commands.allowed import check_command
from querist.config.load import build_experiment
from querist.errors import ConfigurationError, ForbiddenCommandError
from tests.shared.runs import BASE

VARIABLE = "QUERIST_ALLOWED_COMMANDS"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script, a program and a file that is neither."""
    here = tmp_path / "start"
    (here / "tools").mkdir(parents=True)
    for name in ("sim.py", "tools/mesh.sh", "experiment.yaml"):
        (here / name).write_text("")
    (here / "solve").write_text("#!/bin/sh\n")
    (here / "solve").chmod(0o755)
    (tmp_path / "outside.py").write_text("")
    (here / "link.py").symlink_to(tmp_path / "outside.py")
    monkeypatch.chdir(here)
    return here


def allowed(argv: list[str], **more: Any) -> bool:
    try:
        check_command(argv, **more)
    except ForbiddenCommandError:
        return False
    return True


NEVER = (["python", "-c", "1"], ["python", "-m", "http.server"], ["bash", "-c", "id"], ["python"],
         ["sh", "experiment.yaml"], ["python", "../outside.py"], ["python", "link.py"], ["rm", "x"],
         ["./experiment.yaml"], ["env", "python", "sim.py"], ["/bin/sh", "-c", "id"],
         ["/usr/bin/env", "rm"], ["python", "-i", "sim.py"], ["python3.11", "-c", "1"],
         ["/tmp/python", "sim.py"], ["python", "sim.sh"])  # fmt: skip


@pytest.mark.parametrize(
    "argv", [["python", "sim.py"], ["./solve"], ["bash", "tools/mesh.sh"], *NEVER]
)
def test_nothing_is_allowed_by_default(
    start: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ForbiddenCommandError, match=f"is not allowed: .* {VARIABLE}="):
        check_command(argv)


@pytest.mark.parametrize("argv", NEVER)
def test_the_folder_of_the_start_lets_nothing_else_in(
    start: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, ".")
    assert not allowed(argv)


def test_the_folder_of_the_start(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, ".")
    for argv in (["python", "sim.py"], ["python3", str(start / "sim.py"), "--x"], ["./solve"],
                 ["solve"], ["bash", "tools/mesh.sh"]):  # fmt: skip
        assert allowed(argv), argv
    assert not allowed(["bash", "sim.py"]), "a script of another language"


def test_entries_are_files_and_programs(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sim.py, true ,tools/mesh.sh,../outside.py")
    for argv in (["python", "sim.py"], ["python", "./tools/../sim.py"], ["true"],
                 ["sh", "tools/mesh.sh"], ["python", "../outside.py"]):  # fmt: skip
        assert allowed(argv), argv
    for argv in (["./solve"], ["/bin/true"], ["python", "-c", "1", "sim.py"], ["false"]):
        assert not allowed(argv), argv


def test_an_interpreter_alone_allows_no_script(
    start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "python,bash")
    for argv in (["python", "sim.py"], ["bash", "-c", "id"], ["python", "-c", "1"]):
        assert not allowed(argv), argv


def test_everything(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "*")
    for argv in NEVER:
        assert allowed(argv, environment={"LD_PRELOAD": "x"})


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "PATH", "HOME", "BASH_ENV", "ENV",
             "PERL5OPT", "NODE_OPTIONS", "QUERIST_ALLOWED_COMMANDS", "JAVA_TOOL_OPTIONS"]
)  # fmt: skip
def test_the_environment_loads_no_other_code(
    start: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(VARIABLE, ".")
    assert allowed(["python", "sim.py"], environment={"OMP_SCHEDULE": "x", "NOISE": "1"})
    assert not allowed(["python", "sim.py"], environment={name: "x"})


@pytest.mark.parametrize("argv", ["python sim.py", [], [""], ["a", 1], None, ["a\0b"], {"a": 1}])
def test_a_line_for_a_shell_is_refused(argv: Any) -> None:
    with pytest.raises(ConfigurationError, match="argv"):
        check_command(argv)


EVIL = {"argv": ["touch", "was_here"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies": {"label": {"name": "command", "options": EVIL}}},
        {"strategies": {"query": {"name": "command", "n": 1, "options": EVIL}}},
        {"strategies": {"metrology": {"name": "command", "options": EVIL}}},
        {"learner": {"name": "command", "options": {"train": EVIL}}},
        {"learner": {"name": "command",
                     "options": {"train": {"argv": ["python", "sim.py"]}, "predict": EVIL}}},
        {"data": {"pool": {"name": "scripts", "options": {"initial": EVIL}}}},
        {"stop": {"name": "command", "options": EVIL}},
        {"stop": {"name": "any_of",
                  "options": {"criteria": [{"name": "command", "options": EVIL}]}}},
    ],
)  # fmt: skip
def test_refused_when_the_configuration_is_read(
    start: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setenv(VARIABLE, ".")
    from querist.config.load import merge

    content = merge(BASE, changes)
    with pytest.raises(ConfigurationError, match="running 'touch' is not allowed"):
        build_experiment(content)


def test_nothing_was_executed(start: Path) -> None:
    """An audit hook in a fresh interpreter sees neither exec nor fork."""
    code = f"""
import os, sys
from querist.config.load import build_experiment
from querist.errors import ConfigurationError
from querist.registry import build, components
components()
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.split(".")[0] in
                 ("subprocess", "os") and event.split(".")[1] in
                 ("Popen", "exec", "fork", "forkpty", "posix_spawn", "spawn", "system") else None)
os.environ.pop("QUERIST_ALLOWED_COMMANDS", None)
base = {BASE!r}
evil = {{"argv": ["touch", "was_here"]}}
for kind in ("label", "query", "metrology", "stop", "learner"):
    options = {{"train": evil}} if kind == "learner" else evil
    component = {{"name": "command", "options": options}}
    content = dict(base)
    if kind in ("stop", "learner"):
        content[kind] = component
    else:
        content["strategies"] = {{**base["strategies"], kind: component}}
    for act in (lambda: build_experiment(content), lambda: build(kind, "command", options)):
        try:
            act()
        except ConfigurationError:
            continue
        raise SystemExit("it was not refused")
print(seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=start, check=False
    )
    assert done.stdout.strip() == "[]", done
    assert not (start / "was_here").exists()
