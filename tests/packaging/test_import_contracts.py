"""The import contracts can fail: each rule, broken once in a copy of the tree, is named."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

FORBIDDEN = [
    pytest.param(
        "strategies/query/margin.py",
        "import prefect",
        "the library and the strategies never import prefect",
        id="a strategy imports prefect",
    ),
    pytest.param(
        "strategies/query/margin.py",
        "import querist.ledger",
        "strategies know tensors, arrays and a generator",
        id="a strategy imports the ledger",
    ),
    pytest.param(
        "src/querist/values.py",
        "import querist.tasks",
        "deployments > flows > tasks > strategies > the library",
        id="the library imports tasks",
    ),
    pytest.param(
        "tasks/__init__.py",
        "import querist.flows",
        "deployments > flows > tasks > strategies > the library",
        id="tasks import flows",
    ),
    pytest.param(
        "flows/__init__.py",
        "import mlflow",
        "one file imports mlflow",
        id="a flow imports mlflow",
    ),
    pytest.param(
        "src/querist/not_listed.py",
        "",
        "deployments > flows > tasks > strategies > the library",
        id="a module that no layer lists",
    ),
    pytest.param(
        "flows/__init__.py",
        "import strategies",
        "our folders are imported by their querist names",
        id="a folder imported without querist",
    ),
]


@pytest.fixture
def tree(tmp_path):
    """A copy of what the contracts read: the package, the folders behind its links, the rules."""
    for name in ("src", "strategies", "tasks", "flows", "deployments"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / name, tmp_path / name, symlinks=True, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree):
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=tree,
        env={"PYTHONPATH": str(tree / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def broken(done):
    """The names of the contracts that were reported as broken."""
    return {line.split(" BROKEN")[0] for line in done.stdout.splitlines() if " BROKEN" in line}


def test_the_tree_keeps_every_contract(tree):
    done = lint_imports(tree)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("path", "line", "contract"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(tree, path, line, contract):
    with (tree / path).open("a") as file:
        file.write(f"\n{line}\n")

    done = lint_imports(tree)

    assert done.returncode != 0
    assert contract in broken(done), done.stdout + done.stderr
