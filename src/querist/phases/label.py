"""The label phase: labels are asked for, and each is durable before the next one is drawn."""

from __future__ import annotations

import logging
import time

import torch

from querist.errors import LabelError
from querist.ledger import OpenRequest
from querist.requests import LabelRequest
from querist.runs.run import Run
from querist.values import Phase

_log = logging.getLogger(__name__)


def label(run: Run, iteration: int) -> int:
    """Ask for the labels of everything that was selected and has none; returns how many came."""
    if Phase.LABEL in run.ledger.done_phases(iteration):
        return 0
    strategy = run.strategies.label
    name = run.experiment.strategies.label
    assert strategy is not None, "checked when the configuration was read"
    assert name is not None
    started = time.time()
    run.log.write(iteration, Phase.LABEL, "start")
    run.tell(iteration, Phase.LABEL, labels=len(run.labeled(iteration)))
    waiting: dict[int, OpenRequest] = {}
    while not run.queue.empty():
        request = run.queue.get()
        waiting[request.sample] = request
    asked_for = frozenset(waiting)
    if waiting:
        question = LabelRequest(
            iteration=iteration,
            indices=torch.tensor(list(waiting), dtype=torch.int64),
            keys=tuple(r.key for r in waiting.values()),
            pool=run.data.pool,
        )
        try:
            for answer in strategy.label(question):
                if answer.index not in asked_for:
                    raise LabelError(
                        f"label strategy {name.name!r} labeled sample {answer.index}, which it was "
                        "not asked for"
                    )
                run.data.check_label(answer)
                if run.ledger.record_label(answer, source=name.name, iteration=iteration):
                    run.data.learned(answer)
                answered = waiting.pop(answer.index, None)
                if answered is not None:  # another annotator may have answered before
                    run.queue.acknowledge(answered)
        finally:
            # What has no label yet is asked for again, after an error as in the next iteration.
            run.queue.put(list(waiting.values()))
    came = len(asked_for) - len(waiting)
    run.ledger.record_phase(
        iteration, Phase.LABEL, started, {"labels": came, "pending": len(waiting)}
    )
    seconds = time.time() - started
    run.log.write(iteration, Phase.LABEL, "end", seconds, labels=came, pending=len(waiting))
    if waiting:
        _log.info("iteration %d: %d labels are pending", iteration, len(waiting))
    return came
