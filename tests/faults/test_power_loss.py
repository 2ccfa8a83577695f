"""Row 3: the power fails at every step of a run; what was acknowledged is there, and whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from querist import phases
from querist.config.load import load_experiment
from querist.ledger import Ledger
from querist.phases.begin import begin
from querist.phases.conclude import conclude
from querist.phases.finish import finish_iteration
from querist.phases.plan import pending_phases
from querist.runs import Run, close_run, open_run
from querist.runs.checkpoints import Checkpoints
from querist.storage.store import stored_by
from querist.values import Phase
from tests.shared.killed import EXPERIMENT, HERE, REPOSITORY, Outcome, outcome
from tests.shared.power import Disk, Loss, RecordingStore, Step

ITERATIONS = 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The label source's own books: they are not on the disk that fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERIST_ALLOWED_PACKAGES", "interrupted,examples")
        patch.syspath_prepend(str(HERE))
        yield patch


def experiment(folder: Path) -> Path:
    content = {**EXPERIMENT, "driver": {"max_active_learning_steps": ITERATIONS}}
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def drive(file: Path, recorder: RecordingStore | None = None) -> Run:
    os.chdir(file.parent)
    start = begin(load_experiment(file), "run")
    run = open_run(start.run)
    if recorder is not None:
        _acknowledge(run, recorder)
    step, stopped = start.iteration, start.stopped
    while not stopped:
        for phase in pending_phases(run, step):
            getattr(phases, phase.value)(run, step)
        stopped = finish_iteration(run, step).stop
        step += 1
    conclude(run)
    return run


def _acknowledge(run: Run, recorder: RecordingStore) -> None:
    """Note when a label is sold, and the moment from which on it counts as stored."""
    record = run.ledger.record_label

    def recording(label: Any, **more: Any) -> Any:
        recorder.note("sold", more["key"])
        recorded = record(label, **more)
        recorder.note("acknowledged", label.index)
        return recorded

    run.ledger.record_label = recording  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def recorded(
    shop: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Step], Outcome]:
    """Every step of a whole run, and how it ended."""
    folder = tmp_path_factory.mktemp("recorded")
    shop.setenv("ASKED", str(folder / "asked"))
    here = Path.cwd()
    recorder = RecordingStore(folder)
    try:
        with stored_by(recorder):
            run = drive(experiment(folder), recorder)
    finally:
        os.chdir(here)
    close_run(run.reference)
    return recorder.steps, outcome(run.reference.folder)


def check(folder: Path, acknowledged: set[int]) -> None:
    """I1 and I5, for what a power cut has left."""
    if not (folder / "experiment.yaml").exists():
        assert not acknowledged
        return
    ledger = Ledger(folder / "ledger.db")
    try:
        labeled = {sample for sample, _, _ in ledger.label_rows()}
        assert acknowledged <= labeled, "a label that was acknowledged is gone"
        trained = [i for i, phase, _, _ in ledger.phase_rows() if phase is Phase.TRAIN]
        if trained:
            newest = ledger.phase_outcome(max(trained), Phase.TRAIN)
            assert newest is not None
            Checkpoints(folder / "checkpoints").load(max(trained), newest["checkpoint"])
        ledger.verify()
        for row in ledger.commit_rows():
            assert {"selection", "labels", "metrics"} < set(json.loads(row.digests))
    finally:
        ledger.close()


def test_the_power_fails_at_every_step(
    recorded: tuple[list[Step], Outcome],
    tmp_path: Path,
    tries: Any,
    tried: Any,
    survived: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps, whole = recorded
    every = tries(3, 12, 1)  # which of the prefixes are gone on with, to the run's end
    disk, sold, acknowledged = Disk(), list[str](), set[int]()
    for number, step in enumerate(steps):
        disk.after(step)
        if step[0] == "sold":
            sold.append(step[1])
        if step[0] == "acknowledged":
            acknowledged.add(step[1])
        for loss in Loss:
            tried(3)
            folder = tmp_path / "disk"
            disk.lay_out(folder, loss)
            check(folder / "active_learning_logs" / "run", acknowledged)
            if number % every == 0:
                _go_on(folder, whole, monkeypatch, sold)
            survived(3)


def _go_on(folder: Path, whole: Outcome, patch: pytest.MonkeyPatch, sold: list[str]) -> None:
    """Resume what is left; the shop remembers what it has sold, and sells nothing twice."""
    books = folder / "asked"
    books.write_text("".join(f"{json.dumps(key)}\n" for key in sold))
    patch.setenv("ASKED", str(books))
    patch.chdir(folder)
    run = drive(experiment(folder))
    close_run(run.reference)
    assert outcome(run.reference.folder) == whole
    billed = books.read_text().splitlines()
    assert len(billed) == len(set(billed)) == 10 * ITERATIONS


# The real thing, as the kernel sees it ------------------------------------------------------------


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The system calls of a run that are about the disk, in order."""
    if shutil.which("strace") is None:
        assert not os.environ.get("CI"), "CI installs Debian's strace"
        pytest.skip("needs strace: apt install strace")
    folder = tmp_path_factory.mktemp("traced")
    file = experiment(folder)
    traced = folder / "calls"
    command = [
        "strace", "-f", "-y", "-qq", "-o", str(traced),
        "-e", "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2",
        sys.executable, "-c",
        "import sys, interrupted; interrupted.work(sys.argv[1], 'run', asked=sys.argv[2])",
        str(file), str(folder / "asked"),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (HERE, REPOSITORY, REPOSITORY / "src"))),
        "QUERIST_ALLOWED_PACKAGES": "interrupted,examples",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    if "ptrace" in done.stderr:
        pytest.skip(f"strace is not allowed here: {done.stderr:.200}")
    assert done.returncode == 0, done.stderr
    return [line.partition(" ")[2].strip() for line in traced.read_text().splitlines()]


def _at(calls: list[str], pattern: str) -> list[int]:
    """Which of the calls a pattern fits."""
    return [i for i, call in enumerate(calls) if re.match(pattern, call)]


def test_a_label_is_synced_before_the_next_one_is_bought(calls: list[str]) -> None:
    sales = _at(calls, r"write\(\d+<[^>]*/asked>")
    assert len(sales) == 10 * ITERATIONS
    for sale, following in pairwise(sales):
        between = calls[sale:following]
        written = _at(between, r"p?write(64)?\(\d+<[^>]*/ledger.db-wal>")
        synced = _at(between, r"f(data)?sync\(\d+<[^>]*/ledger.db-wal>")
        assert written, "a label was not stored before the next one was bought"
        assert synced
        assert synced[-1] > written[-1], "the last write of a label was not synced"


def test_a_checkpoint_is_synced_file_by_file_before_it_has_its_name(calls: list[str]) -> None:
    renames = [
        i for i, call in enumerate(calls)
        if call.startswith("rename") and re.search(r'/step_\d{4}"(, |\))', call) and ".tmp-" in call
    ]  # fmt: skip
    assert len(renames) == ITERATIONS
    for rename in renames:
        step = re.findall(r"step_\d{4}", calls[rename])[0]
        before = calls[:rename]
        written = {
            found[1] for call in before
            if (found := re.match(rf"write\(\d+<([^>]*\.tmp-{step}/[^>]*)>", call))
        }  # fmt: skip
        assert len(written) >= 3, "weights, training state and manifest"
        for path in written:
            assert any(re.match(rf"fsync\(\d+<{re.escape(path)}>", call) for call in before), path
        assert any(re.match(rf"fsync\(\d+<[^>]*\.tmp-{step}>", call) for call in before)
        after = calls[rename + 1 :]
        named = next(
            i for i, c in enumerate(after) if re.match(r"fsync\(\d+<[^>]*/checkpoints>", c)
        )
        recorded = next(i for i, c in enumerate(after) if "ledger.db-wal>" in c)
        assert named < recorded, "the training was recorded before its checkpoint was durable"
