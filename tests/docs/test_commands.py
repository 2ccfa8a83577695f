"""What the pages show is run: their commands in order, one folder a page, with a real Prefect.

Runs are made small on the way (`smaller`), since a page shows what a person would run.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from querist.config.comparison import build_comparison
from querist.config.load import build_experiment, merge, read_yaml
from querist.config.parallel import build_parallel, is_parallel
from querist.config.retraining import build_retraining, is_retraining
from querist.deployments.cli import app
from querist.retraining.pull import check_retraining
from querist.runs.open import check_components, close_run, create_run

from ..conftest import MOONS, REPOSITORY, environment
from .blocks import PAGES, Block, all_blocks, blocks_of

SHELL = ("bash", "console")
RETRAINING = REPOSITORY / "tests" / "docs" / "retraining.yaml"
"""What a page's parts of retrainings are merged over."""
SKIPPED = {
    "make moons": "the whole main job; `querist run` of it is run, smaller",
    "make test": "these are the tests",
    "make compare": "fifteen runs; another comparison is run",
    "make bench": "minutes; tests/benchmarks has it, smaller",
    "make": "lists the commands",
    ". .venv/bin/activate": "the tests have their environment on the path already",
    "pip install -e .": "installs; the entry points are there all the same",
    "prefect server start": "a server",
    "mlflow ui *": "a server",
    "querist run digits.yaml --run-id second *": "the comparison after it runs the same",
    "querist resume RUN_ID": "RUN_ID stands for any run; resume is run elsewhere",
    "querist sync RUN_ID": "RUN_ID stands for any run",
    "export PREFECT_*": "for a server of one's own",
    "querist labels *": "labels in doubt come from a crash; tests/deployments has it",
    "pip install 'querist?postgres?'": "the tests have its driver already",
    "export QUERIST_LEDGER_URL=*": "needs a database; tests/faults has it",
    "make bench-durability": "minutes",
    "make faults*": "the matrix of faults has its own stage in CI",
    "make mutations": "the better part of an hour",
    "make debian": "installs Debian packages",
    "docker *": "needs docker",
    "make parallel": "the whole example; another parallel run is run, smaller",
    "pip install 'querist?ray?'": "the tests have it already",
    "pip install 'querist?dask?'": "the tests have it already",
    "pip install 'querist?transformers?'": "the tests have it already",
    "querist set *": "needs a run that goes on; tests/runs has it",
    "querist stop *": "needs a run that goes on; tests/runs has it",
    "querist rollback *": "needs two champions; tests/retraining has it",
    "make retrain": "starts servers; tests/examples and tests/browser have what it does",
}
"""Commands that are not run here, and why."""

TRACKED = ("querist run digits.yaml --run-id first",)
"""Runs whose tracking a page looks at later; the others go without, it takes seconds each."""


READING = ("runs", "status", "models", "components", "schema")
"""Commands that only read; they are run in this process, which has torch already."""


def why_skipped(command: str) -> str | None:
    return next((why for p, why in SKIPPED.items() if fnmatch.fnmatchcase(command, p)), None)


def smaller(command: str, cwd: Path) -> str:
    """The command, with what makes its run take seconds."""
    parts = shlex.split(command)
    if parts[:2] in (["querist", "retrain"], ["querist", "collect"]):
        return shlex.join([*parts, "--set", "tracking.enabled=false"])
    if parts[:2] != ["querist", "run"]:
        return command
    content = yaml.safe_load((cwd / parts[2]).read_text())
    changes = {"driver.max_active_learning_steps": 2, "tracking.enabled": "false"}
    if command in TRACKED:
        del changes["tracking.enabled"]
    if "training" in content:
        changes |= {"training.max_training_epochs": 1}
    if "comparison" in content:
        variants = content["comparison"]["variants"]
        changes = {f"comparison.variants.{v}.{k}": x for v in variants for k, x in changes.items()}
        changes["comparison.seeds"] = "[0]"
    return shlex.join([*parts, *(x for k, v in changes.items() for x in ("--set", f"{k}={v}"))])


class Shell:
    """Carries out a page's commands one after the other, as one shell would."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.cwd = folder
        self.env = env

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self.cwd, env=self.env, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    def do(self, command: str, *, code: int = 0) -> str:
        """Run a command of a page; returns what it said."""
        words = shlex.split(command)
        if words[0] == "cd":
            self.cwd = self.cwd / words[1]
        elif words[0] == "export":
            self.env |= dict(word.split("=", 1) for word in words[1:])
        elif words[0] == "querist" and words[1] in READING:
            with contextlib.chdir(self.cwd):
                allowed = {k: v for k, v in self.env.items() if k.startswith("QUERIST_ALLOWED_")}
                result = CliRunner().invoke(app, words[1:], env=allowed)
            assert result.exit_code == code, f"{command}: {result.output}"
            return result.output
        else:
            done = self.run(smaller(command, self.cwd))
            said = done.stdout + done.stderr
            assert done.returncode == code, f"{command}: exit code {done.returncode}\n{said}"
            return said
        return ""


@pytest.fixture
def shell(tmp_path: Path, prefect_server: Any, prefect_home: Path) -> Shell:
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    prefect = {"PREFECT_HOME": str(prefect_home), "PREFECT_API_URL": prefect_server.api_url}
    return Shell(tmp_path, environment(PATH=path, **prefect))


def write_file(block: Block, folder: Path) -> None:
    path = folder / block.marks["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)


def install(block: Block, folder: Path) -> None:
    """What `pip install -e .` would make of a pyproject's entry points."""
    groups = tomllib.loads(block.text).get("project", {}).get("entry-points", {})
    lines = [f"[{g}]\n" + "\n".join(f"{n} = {p}" for n, p in e.items()) for g, e in groups.items()]
    info = folder / "mine-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.timeout(900)
def test_the_commands_work(page: Path, shell: Shell) -> None:
    for block in blocks_of(page):
        if "file" in block.marks:
            write_file(block, shell.cwd)
        elif block.language == "toml":
            install(block, shell.cwd)
        elif "run" in block.marks:
            (shell.cwd / "block.py").write_text(block.text)
            shell.do("python block.py")
        elif block.language in SHELL:
            for command in block.commands():
                if why_skipped(command) is None:
                    said = shell.do(command, code=int(block.marks.get("fails", 0)))
                    assert "Traceback" not in said, f"{block.place}: {command}\n{said}"


def test_what_is_skipped_is_shown_somewhere() -> None:
    shown = [command for block in all_blocks(*SHELL) for command in block.commands()]
    optional = {"make compare", "make bench", "make", "docker *"}
    unused = [p for p in SKIPPED if p not in optional and not fnmatch.filter(shown, p)]
    assert unused == []


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.place)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")


@pytest.mark.parametrize(
    "block",
    [b for b in all_blocks("python", "yaml") if {"same as", "part of"} & set(b.marks)],
    ids=lambda block: block.place,
)
def test_what_is_shown_of_a_file_is_in_it(block: Block) -> None:
    whole, part = block.marks.get("same as"), block.marks.get("part of")
    content = (REPOSITORY / (whole or part or "")).read_text()
    if whole:
        assert block.text == content
    else:
        assert set(block.text.splitlines()) <= set(content.splitlines())


# YAML --------------------------------------------------------------------------------------------


@pytest.fixture
def files_of_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """The files that the block's page writes, as if in the working folder."""
    page = next(p for p in PAGES if p.name == request.getfixturevalue("block").page)
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    tops = set()
    for other in blocks_of(page):
        if "file" in other.marks:
            write_file(other, tmp_path)
            tops.add(Path(other.marks["file"]).parts[0].partition(".")[0])
        if other.marks.get("prepares", "\0") in request.getfixturevalue("block").text:
            for command in other.commands():
                subprocess.run([sys.executable, *command.split()[1:]], cwd=tmp_path, check=True)
    monkeypatch.setenv("QUERIST_ALLOWED_PACKAGES", ",".join(tops))
    monkeypatch.setenv("QUERIST_ALLOWED_COMMANDS", ".")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [m for m in sys.modules if m.partition(".")[0] in tops]:
        del sys.modules[name]


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=lambda block: block.place)
def test_yaml_is_an_experiment(
    block: Block, files_of_page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole experiments as they are, parts of them merged into the two moons."""
    path = files_of_page / "block.yaml"
    path.write_text(block.text)
    content = read_yaml(path)
    if "of a retraining" in block.marks:
        content = merge(read_yaml(RETRAINING), content)
    if is_retraining(content):
        check_retraining(build_retraining(content, files_of_page / "file.yaml"))
        return
    if "comparison" in content:
        comparison = build_comparison(content, path)
        for variant in comparison.variants:
            check_components(comparison.experiment(variant, comparison.seeds[0]))
        return
    if not {"name", "data", "learner", "strategies"} <= set(content):
        base = read_yaml(MOONS)
        if "initial" in content.get("data", {}):
            del base["data"]["initial"]  # exactly one way to begin
        content = merge(base, content)
    if is_parallel(content):
        several = build_parallel(content, block.place)
        for learner in several.learners:
            check_components(several.experiment(learner.name, "parent"))
        return
    content = merge(content, {"driver": {"root_log_dir": str(files_of_page / "runs")}})
    if "spread" in block.text:
        from importlib import import_module

        import_module("mine.strategies")  # as its entry point would
    run = create_run(build_experiment(content, block.place))
    close_run(run.reference)


# Links -------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name) if name else page
        assert to.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(to), f"{page.name} links to {target}"
