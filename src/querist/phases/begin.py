"""The beginning of a run, or of its resumption."""

from __future__ import annotations

from dataclasses import dataclass

from querist.config.experiment import Experiment
from querist.errors import ConfigurationError
from querist.phases.decide import decide
from querist.phases.metrology import export_metrology
from querist.runs.open import EXPERIMENT_FILE, close_run, create_run, open_run
from querist.runs.reference import RunReference
from querist.runs.run import Run
from querist.runs.tracking import track_missing, track_start


@dataclass(frozen=True)
class Beginning:
    """Where a run starts from.

    Attributes:
        run: the run.
        iteration: the first iteration that is not whole.
        labels: labeled samples.
        stopped: whether the run had stopped before: only its conclusion may be left.
        concluded: whether nothing is left to do.
    """

    run: RunReference
    iteration: int
    labels: int
    stopped: bool
    concluded: bool


def begin(experiment: Experiment, run_id: str | None) -> Beginning:
    """Make a new run, or open the one with this id, and introduce it to the tracker."""
    run = create_or_open(experiment, run_id)
    iteration = run.ledger.next_iteration()
    concluded = run.ledger.fact("concluded") is not None
    if not concluded:
        track_start(run)
        track_missing(run)
        if run.ledger.metrology():
            export_metrology(run, durable=False)  # what a power cut may have taken
    return Beginning(
        run=run.reference,
        iteration=iteration,
        labels=len(run.labeled(iteration)),
        stopped=concluded or (iteration > 0 and decide(run, iteration - 1).stop),
        concluded=concluded,
    )


def create_or_open(experiment: Experiment, run_id: str | None) -> Run:
    """A new run, or the one with this id if it exists.

    Raises:
        ConfigurationError: the run was made with another configuration.
    """
    chosen = run_id or experiment.driver.run_id
    if chosen is not None:
        reference = RunReference(run_id=chosen, root=experiment.driver.root_log_dir.absolute())
        if (reference.folder / EXPERIMENT_FILE).exists():
            run = open_run(reference)
            if _comparable(run.experiment) != _comparable(experiment):
                close_run(reference)
                raise ConfigurationError(
                    f"run {chosen} was made with another configuration: choose another run id, or "
                    f"go on with it as it is by `querist resume {chosen}`"
                )
            return run
    return create_run(experiment, chosen)


def _comparable(experiment: Experiment) -> Experiment:
    """The experiment without where it is."""
    driver = experiment.driver.model_copy(update={"run_id": None, "root_log_dir": "."})
    return experiment.model_copy(update={"driver": driver})
