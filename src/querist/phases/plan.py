"""Which phases an iteration still has before it."""

from __future__ import annotations

from querist.runs.run import Run
from querist.values import Phase


def wanted_phases(run: Run) -> list[Phase]:
    """The phases of every iteration, in order."""
    driver = run.experiment.driver
    skipped = {
        Phase.TRAIN: driver.skip_training,
        Phase.METROLOGY: driver.skip_metrology,
        Phase.LABEL: driver.skip_labeling,
    }
    return [phase for phase in Phase if not skipped.get(phase, False)]


def pending_phases(run: Run, iteration: int) -> list[Phase]:
    """The phases of `iteration` that are not done, in order."""
    done = run.ledger.done_phases(iteration)
    if Phase.LABEL not in done and not run.queue.durable:
        # The requests died with the process: the query phase hands the selection over again.
        done.discard(Phase.QUERY)
    return [phase for phase in wanted_phases(run) if phase not in done]
