"""Making, opening and closing runs. In one process an open run is kept."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from querist.commands.command import LOCK as COMMAND_LOCK
from querist.commands.work import WORK
from querist.config.driver import check_run_id
from querist.config.experiment import Experiment
from querist.config.load import dump_yaml, load_experiment
from querist.errors import (
    ConfigurationError,
    DataError,
    RunError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    StorageError,
)
from querist.faults import crash_point
from querist.learners.build import build_learner
from querist.ledger import Ledger
from querist.ledger.leased import MADE
from querist.queues import LedgerQueue, RequestQueue
from querist.registry import check_options, find
from querist.runs.append_data import AppendData
from querist.runs.checkpoints import Checkpoints
from querist.runs.committee import check_committee, check_parent, check_voters
from querist.runs.data import RunData, build_component, prepare_data, record_start, reopen_data
from querist.runs.lock import LOCK_FILE, RunLock, lock_holder
from querist.runs.needs import check_needs, check_views
from querist.runs.records import ConsoleLog, DriverLog
from querist.runs.reference import RunReference
from querist.runs.run import Run
from querist.runs.schedules import check_schedules
from querist.runs.steering import CONTROL_FILE
from querist.runs.stop_set import STOP_SET, draw_stop_set, wanted_size
from querist.runs.strategies import (
    Strategies,
    bind_to_run,
    build_label_source,
    build_strategies,
    uses_test_set,
)
from querist.storage.atomic import TEMPORARY, create_folder, remove, write_file
from querist.tracking.spool import TrackingSpool
from querist.values import Phase

EXPERIMENT_FILE = "experiment.yaml"
LEDGER_FILE = "ledger.db"
LEDGER_VARIABLE = "QUERIST_LEDGER_URL"
"""The PostgreSQL database in which new runs keep their ledgers; unset = a file in each folder."""
_LEFT_BY_A_KILL = {
    LOCK_FILE,
    CONTROL_FILE,
    WORK,
    COMMAND_LOCK,
    f"{TEMPORARY}{EXPERIMENT_FILE}",
    *(f"{LEDGER_FILE}{ending}" for ending in ("", "-wal", "-shm", "-journal")),
}
_log = logging.getLogger(__name__)
_open: dict[Path, Run] = {}
_opening = threading.RLock()


def run_folder(run_id: str, root: Path) -> Path:
    """The folder of a run that exists.

    Raises:
        RunNotFoundError: there is none with this id.
        ConfigurationError: the id is malformed.
    """
    folder = root / checked_run_id(run_id)
    if not (folder / EXPERIMENT_FILE).is_file():
        known = [reference.run_id for reference in list_runs(root)]
        near = ", ".join(known[-5:]) or "none"
        raise RunNotFoundError(f"there is no run {run_id!r} in {root}: the newest are {near}")
    return folder


def checked_run_id(run_id: str) -> str:
    """The run id, if it is safe as a folder name."""
    try:
        return check_run_id(run_id)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def list_runs(root: Path) -> list[RunReference]:
    """The runs in a folder, oldest first."""
    files = root.glob(f"*/{EXPERIMENT_FILE}")
    return [
        RunReference(run_id=file.parent.name, root=root)
        for file in sorted(files, key=lambda f: f.stat().st_mtime)
    ]


def check_components(experiment: Experiment) -> None:
    """Refuse unknown components and options before anything expensive is made.

    Raises:
        ConfigurationError: the first one that is unknown, or a schedule that would break the run.
    """
    strategies = experiment.strategies
    named = [
        ("pool", experiment.data.pool),
        ("pool", experiment.data.initial.pool),
        ("pool", experiment.data.unlabeled),
        ("pool", experiment.data.validation),
        ("learner", experiment.learner),
        ("loop", experiment.training.loop),
        *(("query", q) for q in strategies.query),
        ("label", strategies.label),
        *(("metrology", m) for m in strategies.metrology),
        ("queue", strategies.queue),
        *(("stop", s) for s in experiment.stop),
        *(("schedule", s) for s in experiment.schedules),
        ("gate", experiment.gate),
    ]
    for step in (experiment.training.train_step_fn, experiment.training.validate_step_fn):
        if step is not None:
            find("step", step.name)
    for kind, component in named:
        if component is not None:
            check_options(kind, component.name, component.options)
    check_parent(experiment)
    check_schedules(experiment)


def create_run(experiment: Experiment, run_id: str | None = None) -> Run:
    """A new run: everything is checked, then its folder is made.

    Raises:
        RunExistsError: the id is taken.
        ConfigurationError, DataError, LearnerError: what is wrong with the experiment.
    """
    root = experiment.driver.root_log_dir.absolute()
    chosen = run_id or experiment.driver.run_id or secrets.token_hex(4)
    reference = RunReference(run_id=checked_run_id(chosen), root=root)
    folder = reference.folder
    check_free(folder)
    driver = experiment.driver.model_copy(update={"run_id": None})
    experiment = experiment.model_copy(update={"driver": driver})
    check_components(experiment)
    strategies = build_strategies(experiment)
    check_needs(experiment, strategies)
    data, labels = prepare_data(experiment)
    check_committee(reference, experiment, strategies.query, data, made=False)
    _check_test_set(data, strategies)
    if size := wanted_size(strategies.metrology):
        data.subsets[STOP_SET] = draw_stop_set(experiment, data, size)
    learner = build_learner(experiment, classes=data.pool.classes, sample=data.sample)
    check_views(learner, strategies.query)
    check_voters(reference, experiment, strategies.query, learner)
    create_folder(folder)
    lock = RunLock(folder)
    ledger = None
    try:
        if (folder / EXPERIMENT_FILE).exists():  # another process was faster
            raise RunExistsError(f"run {chosen} was just made by another process")
        ledger = _ledger_at(folder, experiment)
        ledger.create()
        crash_point("create.ledger")
        if isinstance(data, AppendData):
            data.begin(folder / WORK)
        record_start(data, labels, ledger)
        crash_point("create.recorded")
        # The run exists from here on: its experiment file is written last.
        write_file(folder / EXPERIMENT_FILE, experiment_text(experiment).encode())
        ledger.set_fact(MADE, "1")
        run = _assemble(reference, experiment, ledger, data, strategies, lock)
    except BaseException as error:
        if ledger is not None:
            ledger.close()
        lock.release()
        if not isinstance(error, RunExistsError | RunLockedError):  # then it is another's
            with suppress(StorageError):
                remove(folder)
        raise
    with _opening:
        _open[folder] = run
    return run


def check_free(folder: Path) -> None:
    """Refuse a folder that is a run, or anything else of somebody's; clear what a kill left.

    Raises:
        RunExistsError: it is there already.
        RunLockedError: another process is just making it.
    """
    if not folder.exists():
        return
    if folder in _open or (folder / EXPERIMENT_FILE).exists():
        if folder not in _open and (holder := lock_holder(folder)) is not None:
            raise RunLockedError(folder.name, holder)
        raise RunExistsError(
            f"run {folder.name} exists already: `querist resume {folder.name}` goes on with it, or "
            "choose another id"
        )
    there = {path.name for path in folder.iterdir()}
    # Whoever makes a run locks its folder first: a `work` without the lock is somebody's own.
    foreign = sorted(there - (_LEFT_BY_A_KILL if LOCK_FILE in there else _LEFT_BY_A_KILL - {WORK}))
    if foreign:
        raise RunExistsError(
            f"{folder} is there and is no run of Querist (it holds {foreign[0]!r}): choose another "
            "id or driver.root_log_dir"
        )
    # A process was killed while it made the run: nothing was asked or trained yet.
    lock = RunLock(folder, probe=True)
    try:
        for path in folder.iterdir():
            # Others wait for this very lock, and may have asked the run to stop when it begins.
            if path.name not in (LOCK_FILE, CONTROL_FILE):
                remove(path)
    finally:
        lock.release()


def _check_test_set(data: RunData | AppendData, strategies: Strategies) -> None:
    if data.test is None and any(map(uses_test_set, strategies.metrology)):
        raise DataError(
            "metrology needs held-out samples: set data.split.test, or give the pool a test set"
        )


def experiment_text(experiment: Experiment) -> str:
    """The configuration as resolved, with versions: enough to run it again."""
    packages = ("querist", "torch", "numpy", "scikit-learn", "prefect", "mlflow")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    body = dump_yaml(experiment.model_dump(mode="json"))
    return f"# python {platform.python_version()}, {versions}\n{body}"


def open_run(reference: RunReference) -> Run:
    """The run behind a reference; the same object as long as it is open in this process.

    Raises:
        RunNotFoundError: there is no such run.
        RunLockedError: another process is working on it.
    """
    with _opening:
        folder = run_folder(reference.run_id, reference.root.absolute())
        if folder in _open:
            return _open[folder]
        lock = RunLock(folder)
        ledger = None
        try:
            experiment = load_experiment(folder / EXPERIMENT_FILE)
            ledger = ledger_of(folder)
            older = ledger.open()
            if older is not None:
                _log.info("the ledger of %s was brought up from version %s", folder.name, older)
            ledger.set_fact(MADE, "1")  # a kill may have come between the file and the fact
            ledger.verify()
            data = reopen_data(experiment, ledger)
            strategies = build_strategies(experiment)
            reference = RunReference(run_id=reference.run_id, root=folder.parent)
            check_committee(reference, experiment, strategies.query, data, made=True)
            run = _assemble(reference, experiment, ledger, data, strategies, lock)
        except BaseException:
            if ledger is not None:
                ledger.close()
            lock.release()
            raise
        _open[folder] = run
        return run


def ledger_of(folder: Path) -> Ledger:
    """The ledger of a run: a file in its folder or its parent's, or the configured database.

    Raises:
        RunError: it is in a database, and none is configured.
    """
    if (folder / LEDGER_FILE).exists():
        return Ledger(folder / LEDGER_FILE, folder.name)
    if os.environ.get(LEDGER_VARIABLE):
        return _ledger_at(folder, None)
    experiment = load_experiment(folder / EXPERIMENT_FILE)
    shared = _parents_file(folder, experiment)
    if shared is not None and shared.exists():
        return _ledger_at(folder, experiment)
    raise RunError(
        f"run {folder.name} has no {LEDGER_FILE}: set {LEDGER_VARIABLE} to the database that it "
        "was made with, or bring the file back"
    )


def _ledger_at(folder: Path, experiment: Experiment | None) -> Ledger:
    """The ledger of a run, where a new one has it."""
    if url := os.environ.get(LEDGER_VARIABLE):
        return Ledger(url, folder.name)
    shared = None if experiment is None else _parents_file(folder, experiment)
    if shared is None:
        return Ledger(folder / LEDGER_FILE, folder.name)
    create_folder(shared.parent)
    return Ledger(shared, folder.name, shared=True)


def _parents_file(folder: Path, experiment: Experiment) -> Path | None:
    """The file that the learners of a parallel run share; None for a run that shares none."""
    driver = experiment.driver
    if driver.parent is None or not driver.share_labels:
        return None
    return folder.parent / driver.parent / LEDGER_FILE


def take_over(reference: RunReference) -> None:
    """Fence off whoever works on a run, so that it can be resumed: a process that hangs, say.

    When that process wakes up, its next write is refused.
    """
    folder = run_folder(reference.run_id, reference.root.absolute())
    lock = RunLock.taken_over(folder)
    ledger = ledger_of(folder)
    try:
        ledger.check_schema()
        ledger.take_lease(by_force=True)
    finally:
        ledger.close()
        lock.release()


def close_run(reference: RunReference) -> None:
    """Let go of a run that this process has open; does nothing otherwise."""
    with _opening:
        run = _open.pop(reference.folder.absolute(), None)
    if run is not None:
        run.ledger.close()
        run.console.close()
        run.lock.release()


def _assemble(
    reference: RunReference,
    experiment: Experiment,
    ledger: Ledger,
    data: RunData | AppendData,
    strategies: Strategies,
    lock: RunLock,
) -> Run:
    folder = reference.folder
    queue: RequestQueue = build_component("queue", experiment.strategies.queue)
    if isinstance(queue, LedgerQueue):
        queue.bind(ledger)
    checkpoints = Checkpoints(folder / "checkpoints")
    trained = (i for i, phase, _, _ in ledger.phase_rows() if phase is Phase.TRAIN)
    checkpoints.clear_rubbish(frozenset(trained))
    learner = build_learner(experiment, classes=data.pool.classes, sample=data.sample)
    label = experiment.strategies.label
    run = Run(
        reference=reference,
        experiment=experiment,
        ledger=ledger,
        data=data,
        learner=learner,
        strategies=strategies,
        label_source=None if label is None else build_label_source(label, strategies.label),
        queue=queue,
        checkpoints=checkpoints,
        spool=TrackingSpool(folder),
        log=DriverLog(folder),
        console=ConsoleLog(folder),
        lock=lock,
    )
    bind_to_run((data.pool.pool, learner, *strategies.all()), run)
    return run
