"""Breaks what durability rests on, one thing at a time, and sees that the tests notice.

Each mutation is made in a copy of the tree, never in the tree itself. The exit code is 1 when one
of them goes unnoticed. Words on the command line choose the mutations whose names hold them.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "*_cache", "__pycache__", ".hypothesis", "active_learning_logs", "*.egg-info"
)


@dataclass(frozen=True)
class Mutation:
    """One thing that is broken.

    Attributes:
        what: in words.
        file: where.
        changes: texts that are replaced, and by what.
        tests: what must notice.
    """

    what: str
    file: str
    changes: dict[str, str]
    tests: tuple[str, ...]


STORAGE = "src/querist/storage/atomic.py"
POWER = "tests/faults/test_power_loss.py"
ORDER = (POWER, "-k", "every_step or file_by_file")
SAVE = "    checkpoint = save_checkpoint(run, iteration)\n"
RECORD = "    run.ledger.record_phase(iteration, Phase.TRAIN, started, outcome)\n"
EARLY = RECORD.replace("outcome", '{"labels": labels, "checkpoint": None}')
MUTATIONS = (
    Mutation(
        "the fsync of a file is removed",
        STORAGE,
        {"            disk.sync(file)\n": "            pass\n"},
        ORDER,
    ),
    Mutation(
        "the fsync of a new checkpoint's folder is removed",
        STORAGE,
        {"            disk.sync_folder(beside)\n": ""},
        ORDER,
    ),
    Mutation(
        "the fsync of the folder above it is removed",
        STORAGE,
        {"        disk.sync_folder(folder.parent)\n": ""},
        ORDER,
    ),
    Mutation(
        "the store does not call fsync",
        "src/querist/storage/store.py",
        {"        os.fsync(file.fileno())\n": "        file.fileno()\n"},
        (POWER, "-k", "file_by_file"),
    ),
    Mutation(
        "blob and row are swapped",
        "src/querist/phases/train.py",
        {RECORD: "", SAVE: EARLY + SAVE},
        ORDER,
    ),
    Mutation(
        "NORMAL instead of FULL",
        "src/querist/ledger/database.py",
        {'True: "FULL"': 'True: "NORMAL"'},
        (POWER, "-k", "every_step or next_one"),
    ),
    Mutation(
        "the hash of a checkpoint's files is not checked",
        "src/querist/runs/checkpoints.py",
        {"if sha256(files[name]) != expected:": "if False:"},
        ("tests/faults/test_checkpoints.py",),
    ),
    Mutation(
        "the hash of a manifest is not checked",
        "src/querist/runs/checkpoints.py",
        {"if digest is not None and sha256(content) != digest:": "if False:"},
        ("tests/faults/test_checkpoints.py",),
    ),
    Mutation(
        "a request in doubt is asked again",
        "src/querist/phases/label.py",
        {"elif self.source.by_key:": "elif True:"},
        ("tests/flows/test_resume.py", "-k", "never_asked_again"),
    ),
    Mutation(
        "the lease is not checked",
        "src/querist/ledger/database.py",
        {"                    self._check_lease(connection, run)\n": "                    pass\n"},
        ("tests/ledger", "tests/faults/test_two_writers.py"),
    ),
)


def apply(mutation: Mutation, tree: Path) -> None:
    """Change the file in `tree`."""
    file = tree / mutation.file
    text = file.read_text()
    for before, after in mutation.changes.items():
        if text.count(before) != 1:
            sys.exit(f"{mutation.file} has changed, mend .ci/mutations.py: {mutation.what}")
        text = text.replace(before, after)
    ast.parse(text)  # a file that cannot be read would be noticed by any test
    file.write_text(text)


def fail(tests: tuple[str, ...], mutation: Mutation | None = None) -> bool:
    """Whether tests fail on a copy of the tree that has the mutation."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "querist"
        shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFT_OUT)
        if mutation is not None:
            apply(mutation, tree)
        path = os.pathsep.join([str(tree / "src"), str(tree)])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *tests],
            cwd=tree, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode not in (0, 1):
        sys.exit(f"the tests could not be run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def main() -> int:
    chosen = [m for m in MUTATIONS if not sys.argv[1:] or any(w in m.what for w in sys.argv[1:])]
    for tests in dict.fromkeys(mutation.tests for mutation in chosen):
        if fail(tests):
            sys.exit(f"with nothing broken, these fail already: {' '.join(tests)}")
    missed = 0
    for mutation in chosen:
        seen = fail(mutation.tests, mutation)
        missed += not seen
        print(f"{'noticed' if seen else 'NOT NOTICED':<12} {mutation.what}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
