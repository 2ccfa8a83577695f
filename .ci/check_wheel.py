"""Proves that what would be published is whole and does not clash with a user's own project.

The folders flows, tasks, strategies and deployments reach the package through symlinks, which a
build may drop, keep as links or copy twice. So: build the sdist from a copy of the tree, the wheel
from the sdist, compare the wheel with the tree, then import it beside a user's own `flows` and
`tasks`. Needs PyPI, as `python -m build` fetches setuptools.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LINKED = ("deployments", "flows", "strategies", "tasks")

# Runs in the user's folder, which comes first on sys.path; then the wheel, then the dependencies.
PROBE = """
import importlib, pathlib, sys
from importlib.metadata import distribution

target = pathlib.Path(sys.argv[1]).resolve()
import flows, tasks
for module in (flows, tasks):
    assert module.WHOSE == "the user's", f"{module.__name__} came from {module.__file__}"
for name in sys.argv[2:]:
    origin = pathlib.Path(importlib.import_module(name).__file__).resolve()
    assert target in origin.parents, f"{name} came from {origin}"
for entry in distribution("querist").entry_points:
    entry.load()
"""


def copy_tree(destination: Path) -> None:
    """Copies what git tracks or would track, links as links: a build leaves our tree clean."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, copy = REPOSITORY / name, destination / name
        if os.path.lexists(source):  # a file deleted but not yet committed is still listed
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def build(tree: Path, output: Path) -> Path:
    """The wheel, built from the sdist that was built from `tree`."""
    run(sys.executable, "-m", "build", "--outdir", output, tree)
    return next(output.glob("*.whl"))


NOT_IMPORTED = ("/__main__.py", "/migrations/env.py")
"""Files that are run, the second one by Alembic, and never imported."""


def package_files(tree: Path) -> set[str]:
    """Every file of the package, links followed, as it must be named in the wheel."""
    source = tree / "src"
    return {
        Path(folder, name).relative_to(source).as_posix()
        for folder, _, names in os.walk(source / "querist", followlinks=True)
        for name in names
    }


def compare(wheel: Path, tree: Path) -> list[str]:
    """What is wrong with the wheel's contents, a sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = package_files(tree)
    needed = {name for name in expected if name.endswith((".py", ".pyi"))} | {"querist/py.typed"}
    if left_out := sorted(expected - shipped - needed):
        print("in the tree and not in the wheel (no Python):", *left_out)
    problems = [f"missing from the wheel: {name}" for name in sorted(needed - shipped)]
    problems += [f"in the wheel and not in the tree: {name}" for name in sorted(shipped - expected)]
    problems += [
        f"nothing of {folder}/ is in the wheel: is src/querist/{folder} still a symlink?"
        for folder in LINKED
        if not any(name.startswith(f"querist/{folder}/") for name in shipped)
    ]
    return problems


def import_beside_a_users_project(wheel: Path, modules: list[str], scratch: Path) -> None:
    """Imports every module and entry point of the wheel where `flows` and `tasks` are others'."""
    target, project = scratch / "installed", scratch / "project"
    pip_install = (sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index")
    run(*pip_install, "--target", target, wheel)
    for name in ("flows", "tasks"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text('WHOSE = "the user\'s"\n')
    paths = {"PYTHONPATH": str(target), "PREFECT_HOME": str(scratch / "prefect")}
    run(sys.executable, "-c", PROBE, target, *modules, cwd=project, env=os.environ | paths)


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs a command; its output is shown only when it fails, and then this script ends."""
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(done.stdout or f"{arguments[0]} ended with {done.returncode}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="querist-wheel-") as folder:
        scratch = Path(folder)
        tree = scratch / "tree"
        copy_tree(tree)
        wheel = build(tree, scratch / "dist")
        if problems := compare(wheel, tree):
            sys.exit("\n".join(problems))
        modules = sorted(
            name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name in package_files(tree)
            if name.endswith(".py") and not name.endswith(NOT_IMPORTED)
        )
        import_beside_a_users_project(wheel, modules, scratch)
    print(f"{wheel.name} is whole: {len(modules)} modules, imported beside other flows and tasks")


if __name__ == "__main__":
    main()
