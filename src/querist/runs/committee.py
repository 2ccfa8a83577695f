"""The committee: models of a parallel run's other learners, which vote on what is to be labeled.

Their folders are only read, while their own processes work in them: a checkpoint counts that the
sibling's ledger has, and whose SHA-256 is the one there. The newest of them votes that is not newer
than the iteration that asks, so that who runs ahead votes as it was then. Which ones voted is
written down with the selection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from querist.config.experiment import Experiment
from querist.config.load import load_experiment
from querist.errors import CheckpointError, ConfigurationError, RunError
from querist.learners.restore import learner_from
from querist.protocols import Learner, Predictor, QueryStrategy
from querist.registry import find
from querist.runs.append_data import FINGERPRINT, AppendData
from querist.runs.checkpoints import checkpoints_in, read_checkpoint
from querist.runs.data import RunData, build_component
from querist.runs.reference import RunReference
from querist.values import Phase
from querist.views import View, views_of
from querist.votes import all_vote_alone, one_wants_committee

if TYPE_CHECKING:
    from querist.ledger import Ledger
    from querist.runs.run import Run

SAME = "give all learners the same data and task, or choose a query strategy that needs no votes"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Committee:
    """Who votes.

    Attributes:
        members: the models, in the order of the parallel run's learners, this one left out.
        iterations: by learner, after which iteration's training its model is.
    """

    members: tuple[Predictor, ...]
    iterations: Mapping[str, int]


def wants_committee(strategies: Sequence[tuple[str, QueryStrategy]]) -> bool:
    """Whether one of the query strategies asks for votes."""
    return one_wants_committee(strategy for _, strategy in strategies)


def votes_alone(experiment: Experiment, strategies: Sequence[tuple[str, QueryStrategy]]) -> bool:
    """Whether there are no other learners, and all who ask for votes do with one's own models."""
    return experiment.driver.parent is None and _all_alone(strategies)


def _all_alone(strategies: Sequence[tuple[str, QueryStrategy]]) -> bool:
    return all_vote_alone(strategy for _, strategy in strategies)


def check_parent(experiment: Experiment) -> None:
    """Refuse a query strategy that asks for other learners' votes in a run without any.

    Raises:
        ConfigurationError: which one.
    """
    for component in experiment.strategies.query:
        # The class says that it may ask; with its options, the instance whether it does.
        if not getattr(find("query", component.name), "wants_committee", False):
            continue
        if not all_vote_alone([build_component("query", component)]):
            _parent(experiment, component.name)


def check_voters(
    reference: RunReference,
    experiment: Experiment,
    strategies: Sequence[tuple[str, QueryStrategy]],
    learner: Learner,
) -> None:
    """Refuse a query strategy that asks for votes where one model is all there is.

    Raises:
        ConfigurationError: which one.
    """
    if {View.PROBABILITY_SAMPLES, View.NUMBER_SAMPLES} & views_of(learner):
        return
    for name, strategy in strategies:
        if not one_wants_committee([strategy]):
            continue
        if experiment.driver.parent is None or not _siblings(reference, experiment):
            raise ConfigurationError(
                f"{name} needs other learners or a learner of several models, and here is one "
                f"{type(learner).__name__}: run several side by side (`learners` in the file), "
                "take a learner such as ensemble, or choose a query strategy that needs no votes"
            )


def check_committee(
    reference: RunReference,
    experiment: Experiment,
    strategies: Sequence[tuple[str, QueryStrategy]],
    data: RunData | AppendData,
    *,
    made: bool,
) -> None:
    """Refuse other learners that cannot vote on these data, as far as that can be seen now.

    Args:
        reference: the run.
        experiment: the run's.
        strategies: its query strategies.
        data: its data.
        made: whether the run is there already. It may then have been taken out of its parallel run,
            to look at.

    Raises:
        ConfigurationError: there are no others, or one of them cannot vote.
    """
    if not wants_committee(strategies) or votes_alone(experiment, strategies):
        return
    folders = _siblings(reference, experiment, made=made)
    if not (made or folders or _all_alone(strategies)):
        raise ConfigurationError(
            f"a query strategy needs other learners, and parallel run {experiment.driver.parent} "
            "has a single one: add one, or choose a query strategy that needs none"
        )
    for name, folder in folders.items():
        with _passed_over(name), _ledger(folder) as ledger:
            if ledger is not None:
                _check_sibling(name, folder, ledger, data)


def committee_of(run: Run, iteration: int) -> Committee:
    """The models of the other learners that vote in `iteration`, as far as they are trained."""
    voters: dict[str, tuple[int, Learner]] = {}
    for name, folder in _siblings(run.reference, run.experiment).items():
        with _passed_over(name), _ledger(folder) as ledger:
            if ledger is None:
                continue
            experiment = _check_sibling(name, folder, ledger, run.data)
            found = _newest(name, folder / "checkpoints", ledger, iteration)
            if found is None:
                continue
            step, files, manifest = found
            _check_classes(name, manifest, run.data.pool.classes)
            voters[name] = step, learner_from(_placed(experiment, run), files, manifest)
    words = ", ".join(f"{name} (iteration {step})" for name, (step, _) in voters.items())
    _log.info("iteration %d: votes of %s", iteration, words or "no other learner yet")
    return Committee(
        members=tuple(learner for _, learner in voters.values()),
        iterations={name: step for name, (step, _) in voters.items()},
    )


def _parent(experiment: Experiment, strategy: str) -> str:
    parent = experiment.driver.parent
    if parent is None:
        raise ConfigurationError(
            f"{strategy} needs other learners: run several side by side (`learners` in the file), "
            "or choose a query strategy that needs none"
        )
    return parent


def _siblings(
    reference: RunReference, experiment: Experiment, *, made: bool = False
) -> dict[str, Path]:
    """The folders of the parallel run's other learners, by name; they need not be there yet."""
    from querist.runs.parallel import load_parallel  # it imports those who import this

    parent = _parent(experiment, "a query strategy")
    folder = reference.root / parent
    if not (folder / "parallel.yaml").is_file():
        if made:
            return {}
        raise ConfigurationError(
            f"a query strategy needs the other learners of parallel run {parent}, which is not in "
            f"{reference.root}: start them together, with a folder that all of them see"
        )
    parallel = load_parallel(folder)
    ids = {one.name: parallel.run_id(one.name, parent) for one in parallel.learners}
    return {n: reference.root / run for n, run in ids.items() if run != reference.run_id}


@contextmanager
def _passed_over(name: str) -> Iterator[None]:
    """A sibling whose run cannot be read does not vote; that is no reason to fail."""
    try:
        yield
    except RunError as error:
        _log.warning("learner %s does not vote: %s", name, error)


@contextmanager
def _ledger(folder: Path) -> Iterator[Ledger | None]:
    """A sibling's ledger, to read; None while its run is not made."""
    from querist.runs.open import EXPERIMENT_FILE, ledger_of  # it imports this

    if not (folder / EXPERIMENT_FILE).is_file():
        yield None
        return
    ledger = ledger_of(folder)
    try:
        ledger.check_schema()
        yield ledger
    finally:
        ledger.close()


def _check_sibling(
    name: str, folder: Path, ledger: Ledger, data: RunData | AppendData
) -> Experiment:
    """Refuse a sibling that cannot vote on these data; returns its experiment."""
    if ledger.fact(FINGERPRINT) != data.fingerprint:
        raise ConfigurationError(
            f"learner {name} cannot vote, its pool is another one (its fingerprint differs): {SAME}"
        )
    experiment = load_experiment(folder / "experiment.yaml")
    if not getattr(find("learner", experiment.learner.name), "portable", True):
        raise ConfigurationError(
            f"learner {name} cannot vote, its predictions are made by programs in its own run's "
            "folder: give it another model, or choose a query strategy that needs no votes"
        )
    return experiment


def _check_classes(name: str, manifest: Mapping[str, Any], classes: int | None) -> None:
    theirs = manifest["classes"]
    if theirs != classes:
        said = ["numbers" if n is None else f"{n} classes" for n in (theirs, classes)]
        raise ConfigurationError(
            f"learner {name} cannot vote, it predicts {said[0]} where this one predicts {said[1]}: "
            f"{SAME}"
        )


def _newest(
    name: str, folder: Path, ledger: Ledger, iteration: int
) -> tuple[int, dict[str, bytes], dict[str, Any]] | None:
    """A sibling's newest good checkpoint up to `iteration`; None where there is none yet."""
    there = checkpoints_in(folder) if folder.is_dir() else {}
    for step in reversed([step for step in there if step <= iteration]):
        trained = ledger.phase_outcome(step, Phase.TRAIN)
        if trained is None:  # it is being written
            continue
        try:
            return step, *read_checkpoint(there[step], trained.get("checkpoint"))
        except CheckpointError as error:
            _log.warning("learner %s: %s; the one before votes", name, error)
    if there and min(there) > iteration:
        _log.warning(
            "learner %s does not vote: it has no checkpoint up to iteration %d any more, "
            "driver.checkpoint_interval: 1 keeps them",
            name,
            iteration,
        )
    return None


def _placed(experiment: Experiment, run: Run) -> Experiment:
    """A sibling's experiment, to predict where this run's learner does."""
    here = run.experiment.training
    where = {"device": here.device, "threads": here.threads}
    training = experiment.training.model_copy(update=where)
    return experiment.model_copy(update={"training": training})
