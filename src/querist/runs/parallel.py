"""A parallel run on disk: what its learners are, how each ended, and which one is best."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from querist.comparison import Curve
from querist.config.load import dump_yaml, explain, read_yaml
from querist.config.parallel import ParallelExperiment
from querist.errors import ConfigurationError, RunExistsError
from querist.figures import comparison as draw_curves
from querist.runs.lock import LOCK_FILE, RunLock
from querist.runs.open import (
    EXPERIMENT_FILE,
    LEDGER_FILE,
    checked_run_id,
    ledger_of,
)
from querist.runs.outcomes import LearnerOutcome, ParallelSummary, judge, select_best
from querist.runs.records import read_metrology
from querist.runs.reference import RunReference
from querist.runs.tracking import (
    FINAL_MODEL,
    append_file,
    code_version,
    flat_parameters,
    track_end,
    tracking_address,
)
from querist.storage.atomic import TEMPORARY, create_folder, write_file
from querist.tracking.spool import TrackingSpool

PARALLEL_FILE = "parallel.yaml"
RESULT_FILE = "result.json"
CHALLENGER = "challenger"
CURVES = Path("figures") / "learning_curves.png"
_OURS = {
    LOCK_FILE, f"{TEMPORARY}{PARALLEL_FILE}",
    *(f"{LEDGER_FILE}{ending}" for ending in ("", "-wal", "-shm", "-journal")),
}  # fmt: skip


def is_parallel_run(folder: Path) -> bool:
    """Whether a folder is that of a parallel run."""
    return (folder / PARALLEL_FILE).is_file()


def load_parallel(folder: Path) -> ParallelExperiment:
    """What the parallel run in `folder` was made with.

    Raises:
        ConfigurationError: the file is damaged.
    """
    try:
        return ParallelExperiment.model_validate(read_yaml(folder / PARALLEL_FILE))
    except ValidationError as error:
        words = explain(error, ParallelExperiment)
        raise ConfigurationError(f"{folder / PARALLEL_FILE}: {words}") from error


class ParallelRun:
    """An open parallel run. One process has it open at a time.

    Args:
        experiment: its learners.
        run_id: a name for its folder, or the parallel run to go on with. Default: 8 random hex
            characters.

    Raises:
        RunExistsError: the folder is something else.
        RunLockedError: another process works on it.
        ConfigurationError: it was made with another configuration.
    """

    def __init__(self, experiment: ParallelExperiment, run_id: str | None = None) -> None:
        chosen = run_id or experiment.base.driver.run_id or secrets.token_hex(4)
        root = experiment.base.driver.root_log_dir.absolute()
        self.reference = RunReference(run_id=checked_run_id(chosen), root=root)
        self.experiment = experiment
        experiment.check_id(chosen)
        check_free_for_parallel(self.folder)
        create_folder(self.folder)
        self._lock = RunLock(self.folder)
        try:
            self._make_or_compare()
        except BaseException:
            self.close()
            raise
        self.spool = TrackingSpool(self.folder)

    @property
    def folder(self) -> Path:
        """Where everything is."""
        return self.reference.folder

    @property
    def learners(self) -> tuple[str, ...]:
        """The learners' names."""
        return tuple(learner.name for learner in self.experiment.learners)

    def run_of(self, learner: str) -> RunReference:
        """The run of one learner."""
        run_id = self.experiment.run_id(learner, self.reference.run_id)
        return RunReference(run_id=run_id, root=self.reference.root)

    def close(self) -> None:
        """Let other processes work on it."""
        self._lock.release()

    def _make_or_compare(self) -> None:
        file = self.folder / PARALLEL_FILE
        if not file.exists():
            written = _without_place(self.experiment).model_dump(mode="json")
            text = f"# querist {version('querist')}\n{dump_yaml(written)}"
            write_file(file, text.encode())
        elif _without_place(load_parallel(self.folder)) != _without_place(self.experiment):
            raise ConfigurationError(
                f"parallel run {self.folder.name} was made with another configuration: choose "
                f"another run id, or go on with it as it is by `querist resume {self.folder.name}`"
            )

    # The tracker -------------------------------------------------------------------------------

    def track_start(self) -> None:
        """Introduce the parallel run, in which its learners' runs are nested."""
        base = self.experiment.base
        if not base.tracking.enabled or self.spool.status in ("RUNNING", "FINISHED"):
            return
        uri, artifact_root = tracking_address(base.tracking, self.reference.root)
        self.spool.append(
            "start",
            uri=uri,
            artifact_root=artifact_root,
            experiment=base.tracking.experiment or base.name,
            run_name=f"{base.name} {self.reference.run_id}",
            params={
                **flat_parameters(base.model_dump(mode="json")),
                **flat_parameters(self.experiment.parallel.model_dump(mode="json"), "parallel"),
                "learners": ", ".join(self.learners),
            },
            tags={
                "querist.run_id": self.reference.run_id,
                "querist.version": version("querist"),
                "querist.code": code_version(),
            },
        )
        self._track_file(PARALLEL_FILE)

    def _track_file(self, path: str, below: str | None = None) -> None:
        if self.spool.status is not None:
            append_file(self.spool, path, below)

    def track_end(self, status: str) -> None:
        """Tell the tracker how the parallel run ended: FINISHED, FAILED or KILLED."""
        track_end(self.folder, status)

    # The end -----------------------------------------------------------------------------------

    def outcome(self, learner: str, reason: str) -> LearnerOutcome:
        """How a learner stands, from its ledger, with why it ended."""
        run = self.run_of(learner)
        if not (run.folder / EXPERIMENT_FILE).exists():
            return LearnerOutcome(learner, run.run_id, reason)
        ledger = ledger_of(run.folder)
        try:
            shared, saved = ledger.labels_shared()
            initial = int(ledger.fact("initial_labels") or 0)
            came = ledger.labels_spent()[0]
            return LearnerOutcome(
                name=learner,
                run_id=run.run_id,
                reason=reason,
                iterations=ledger.next_iteration(),
                labels=initial + came,
                labels_bought=came - shared,
                labels_shared=shared,
                cost_saved=saved,
                curve=self._curve(run.folder),
            )
        finally:
            ledger.close()

    def _curve(self, folder: Path) -> Curve:
        records = read_metrology(folder)
        metric = self._metric(records)
        return tuple(
            (int(r["num_train_samples"]), math.nan if r[metric] is None else float(r[metric]))
            for r in records
            if metric is not None and metric in r
        )

    def _metric(self, records: Sequence[Mapping[str, Any]]) -> str | None:
        """What curves show: what the selector looks at, else F1, else what comes first."""
        selector = self.experiment.parallel.selector
        if selector is not None:
            return selector.metric
        names = [k for k in (records[0] if records else {}) if k not in _NO_METRICS]
        return "f1" if "f1" in names else next(iter(names), None)

    def conclude(self, outcomes: Sequence[LearnerOutcome]) -> ParallelSummary:
        """Judge by the rule, choose the best learner, draw the curves, write it all down."""
        verdict, reason = judge(self.experiment, outcomes)
        metric = next(
            (m for o in outcomes if (m := self._metric(read_metrology(self._folder_of(o))))), None
        )
        selector = self.experiment.parallel.selector
        best, why = (None, "") if selector is None else select_best(selector, outcomes)
        summary = ParallelSummary(
            run_id=self.reference.run_id,
            folder=str(self.folder),
            verdict=verdict,
            reason=reason,
            metric=metric,
            learners=tuple(outcomes),
            best=best,
            best_reason=why,
        )
        content = json.dumps(asdict(summary), indent=1, default=str)
        write_file(self.folder / RESULT_FILE, content.encode())
        self._track_file(RESULT_FILE)
        if metric is not None and self._draw(metric, outcomes):
            self._track_file(str(CURVES), "figures")
        if self.spool.status is not None:
            tags = {
                "querist.verdict": f"{verdict}: {reason}",
                **({"querist.best_learner": f"{best}: {why}"} if best else {}),
                **{f"querist.learner.{o.name}": o.reason for o in outcomes},
            }
            self.spool.append("tags", once=f"tags {sorted(tags.items())}", values=tags)
        if best is not None:
            self._challenge(best)
        self.track_end("FAILED" if verdict == "failed" else "FINISHED")
        return summary

    def _challenge(self, best: str) -> None:
        """Have the best learner's final model wait for promotion, where that is wanted."""
        selector = self.experiment.parallel.selector
        spool = TrackingSpool(self.run_of(best).folder)
        if selector is None or selector.challenger_of is None or spool.status is None:
            return
        name = selector.challenger_of
        spool.append(
            "alias", once=f"challenger of {name}", model=FINAL_MODEL, name=name, alias=CHALLENGER
        )
        spool.close()

    def _folder_of(self, outcome: LearnerOutcome) -> Path:
        return self.reference.root / outcome.run_id

    def _draw(self, metric: str, outcomes: Sequence[LearnerOutcome]) -> bool:
        curves = {
            outcome.name: [([n for n, _ in finite], [value for _, value in finite])]
            for outcome in outcomes
            if (finite := _ascending(outcome.curve))
        }
        if not curves:
            return False
        create_folder((self.folder / CURVES).parent)
        draw_curves(
            curves, self.folder / CURVES, metric, spread="none", title=self.experiment.base.name
        )
        return True


_NO_METRICS = ("step", "num_train_samples")


def _ascending(curve: Curve) -> list[tuple[int, float]]:
    """A curve as it can be drawn: the last value at each number of labels."""
    at = {labels: value for labels, value in curve if math.isfinite(value)}
    return sorted(at.items())


def _without_place(experiment: ParallelExperiment) -> ParallelExperiment:
    """The experiment without where it is."""
    driver = experiment.base.driver.model_copy(
        update={"run_id": None, "root_log_dir": Path("active_learning_logs")}
    )
    base = experiment.base.model_copy(update={"driver": driver})
    return experiment.model_copy(update={"base": base})


def check_free_for_parallel(folder: Path) -> None:
    """Refuse a folder that is something else than a parallel run.

    Raises:
        RunExistsError: it is a run, or anything else of somebody's.
    """
    if not folder.exists() or is_parallel_run(folder):
        return
    foreign = sorted({path.name for path in folder.iterdir()} - _OURS)
    if foreign:
        raise RunExistsError(
            f"{folder} is there and is no parallel run (it holds {foreign[0]!r}): choose another "
            "id or driver.root_log_dir"
        )
