"""How many iterations of labels a retraining buys first: those of its window, and no more.

What was planned for a window is written down before anybody is asked, so that a retraining that was
cut off, or a window that comes twice, buys what is left of the plan.
"""

from __future__ import annotations

from querist.config.retraining import Retraining
from querist.lineage import LineageReference, open_lineage
from querist.runs.lock import lock_holder
from querist.runs.open import EXPERIMENT_FILE, ledger_of
from querist.storage.plain import digest_of


def iterations_wanted(reference: LineageReference, settings: Retraining, window: str) -> int:
    """Iterations that the label run shall do now; 0 while a retraining that was cut off is left.

    Args:
        reference: the registered model, which is locked.
        settings: names the run, and its iterations a window.
        window: the window.
    """
    lineage = open_lineage(reference, to_retrain=True)
    if settings.collect is None or lineage.ledger.was_cut_off():
        return 0
    present = _iterations(reference, settings.collect.run_id)
    fact = f"collected {digest_of(window)[:32]}"
    planned = lineage.ledger.fact(fact)
    if planned is None:
        planned = str(present + settings.collect.iterations)
        lineage.ledger.set_fact(fact, planned)
    return max(0, int(planned) - present)


def _iterations(reference: LineageReference, run_id: str) -> int:
    """Committed iterations of a run; none where it is not made yet."""
    folder = reference.root / run_id
    if not (folder / EXPERIMENT_FILE).exists():
        return 0
    ledger = ledger_of(folder)
    try:
        return ledger.next_iteration()
    finally:
        ledger.close()


def label_run_is_busy(reference: LineageReference, run_id: str) -> str | None:
    """Who works on the label run, in words; None when nobody does."""
    folder = reference.root / run_id
    return lock_holder(folder) if (folder / EXPERIMENT_FILE).exists() else None
