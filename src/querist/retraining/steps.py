"""The steps of a retraining by name, as hosts carry them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from querist.config.compare import CompareConfig
from querist.errors import RunError
from querist.lineage import Lineage, LineageReference, close_lineage, open_lineage
from querist.retraining.compare import compare, judge, outcome_of, show, stored_verdict
from querist.retraining.evaluate import evaluate
from querist.retraining.new_version import new_version
from querist.retraining.promote import promote, roll_back, settle
from querist.retraining.split import split
from querist.retraining.track import track_registry
from querist.retraining.train import train
from querist.values import Verdict

STEPS: Mapping[str, Callable[[Lineage, int], dict[str, Any]]] = {
    "split": split,
    "new_version": new_version,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "promote": promote,
}
"""In the order in which they are done, after `pull` has entered the retraining."""


def carry_out(reference: LineageReference, step: str, retraining: int) -> dict[str, Any]:
    """Do one step of a retraining that was pulled; one that is done gives what it gave."""
    return STEPS[step](open_lineage(reference, to_retrain=True), retraining)


def read_verdict(reference: LineageReference, number: int) -> Verdict:
    """A verdict as it was recorded."""
    return stored_verdict(open_lineage(reference, to_retrain=False), number)


def compare_versions(
    reference: LineageReference, challenger: int, config: CompareConfig | None, *, act: bool
) -> dict[str, Any]:
    """Compare a version with the present champion; needs no lock.

    Args:
        reference: the registered model.
        challenger: the version.
        config: what is compared; None = as the version's retraining says.
        act: whether the verdict is made true: the version is promoted or discarded.

    Raises:
        RunError: it shall be promoted or discarded, and is champion.
    """
    # With a memory of its own: a retraining of this process may have the same one open.
    lineage = replace(open_lineage(reference, to_retrain=False), kept={})
    settings = lineage.settings(challenger)
    if act and lineage.ledger.champion() == challenger:
        raise RunError(
            f"version {challenger} of {reference.model} is champion already: there is nothing to "
            "promote it over, roll back to replace it"
        )
    outcome = judge(lineage, challenger, settings, config or settings.compare)
    show(lineage, challenger, outcome)
    if act:
        event = settle(lineage, challenger, outcome)
        track_registry(lineage, challenger)
        if event.comparison not in (None, outcome["comparison"]):  # it was judged again
            verdict = stored_verdict(lineage, event.comparison)
            outcome = outcome_of(event.comparison, challenger, event.champion_before, verdict)
        outcome |= asdict(event)
    return outcome


def go_back(reference: LineageReference, reason: str, to: int | None) -> dict[str, Any]:
    """Make the champion before champion again; needs no lock."""
    return asdict(roll_back(open_lineage(reference, to_retrain=False), reason=reason, to=to))


def untold(reference: LineageReference) -> list[Path]:
    """The folders of versions of which the tracker has not heard everything, in order."""
    from querist.tracking.delivery import Delivery

    lineage = open_lineage(reference, to_retrain=False)
    folders = [lineage.version_folder(version) for version in lineage.ledger.versions()]
    return [f for f in folders if not Delivery(f).state().delivered]


def say_again(reference: LineageReference) -> None:
    """Have the tracker's registry be as the ledger says, whatever became of it."""
    lineage = open_lineage(reference, to_retrain=False)
    champion = lineage.ledger.champion()
    if champion is not None:
        track_registry(lineage, champion, again=True)


def let_go(reference: LineageReference, to_retrain: bool, holder: str | None = None) -> None:
    """Let go of the model, which was opened to retrain it or only to compare."""
    close_lineage(reference, to_retrain=to_retrain, holder=holder)
