"""The first step: what is there to learn, and is it enough?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from querist.config.retraining import DriftConfig, Retraining
from querist.errors import ConfigurationError, DataError
from querist.faults import crash_point
from querist.items.drift import check_drift
from querist.items.split import tag_of
from querist.ledger.models import Answer
from querist.lineage import Lineage, close_lineage, create_or_open, open_lineage
from querist.lineage.reference import LineageReference
from querist.registry import build, check_options
from querist.retraining.chosen import trained_items
from querist.retraining.model import learner_of
from querist.retraining.promote import supersede
from querist.retraining.source import Source, answers_of, fingerprint_of, open_source
from querist.runs.needs import check_measured, metrics_of
from querist.storage.plain import digest_of

MAX_WINDOW = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pulled:
    """What there is to learn.

    Attributes:
        lineage: the registered model.
        retraining: the number of the retraining that learns it; None when there is nothing to do.
        reason: why it goes on, or why not, in words.
        new_labels: labels that no finished retraining has learned from.
        items: items of the source.
        labeled: those that are labeled.
        champion: the version that is champion now; None while there is none.
    """

    lineage: LineageReference
    retraining: int | None
    reason: str
    new_labels: int
    items: int
    labeled: int
    champion: int | None


def check_retraining(settings: Retraining) -> None:
    """Refuse what can be known to be wrong before anything is read.

    Raises:
        ConfigurationError: an unknown component or option, or a gate that cannot be built.
    """
    check_options("items", settings.data.source.name, settings.data.source.options)
    if settings.learner is not None:
        check_options("learner", settings.learner.name, settings.learner.options)
    for component in settings.metrology:
        check_options("metrology", component.name, component.options)
    gate = build("gate", "compare", settings.compare.model_dump(mode="json"))
    strategies = [build("metrology", m.name, m.options) for m in settings.metrology]
    measured = metrics_of(strategies)
    if measured is not None:
        check_measured("compare", gate, measured)


def pull(settings: Retraining, window: str) -> Pulled:
    """Look at the source, and enter a retraining if there is enough to learn.

    Args:
        settings: the registered model, and what it learns from.
        window: a name for this opportunity to learn, such as the time of a schedule. What was
            learned in a window is not learned in the same one again.

    Raises:
        RunLockedError: another process retrains the model.
        ConfigurationError, DataError: what is wrong with the settings, or with the items.
    """
    reference = take_turn(settings, window)
    try:
        return pull_in_turn(reference, settings, window)
    except BaseException:
        close_lineage(reference, to_retrain=True)
        raise


def take_turn(settings: Retraining, window: str, holder: str = "") -> LineageReference:
    """Check the settings, and lock the registered model; made unless it is there.

    Raises:
        RunLockedError: another process retrains the model.
        ConfigurationError: what can be known to be wrong with the settings.
    """
    if len(window) > MAX_WINDOW:
        raise ConfigurationError(f"a window's name has at most {MAX_WINDOW} characters")
    check_retraining(settings)
    return create_or_open(settings, holder).reference


def pull_in_turn(reference: LineageReference, settings: Retraining, window: str) -> Pulled:
    """As `pull`, for a model that is locked already."""
    lineage = open_lineage(reference, to_retrain=True)
    lineage.kept.clear()
    source = open_source(lineage, settings)
    _check_none_is_withdrawn(lineage, source)
    fingerprint = digest_of([fingerprint_of(source.items.values()), _what_counts(settings)])
    key = digest_of([fingerprint, window])
    new = _new_answers(lineage, source, settings.data.train_subset)
    number = lineage.ledger.unfinished(fingerprint)
    done = lineage.ledger.retraining_with(key)
    if number is not None:
        reason = f"retraining {number} goes on"
    elif done is not None:
        reason = f"retraining {done} has learned this in this window"
    else:
        reason, enough = _enough(lineage, settings, source, new)
        if enough:
            changed = _changed(lineage.ledger.answers(), answers_of(source.items.values()))
            number = lineage.ledger.begin_retraining(
                key=key,
                window=window,
                fingerprint=fingerprint,
                settings=settings.model_dump(mode="json", exclude_unset=True),
                answers=changed,
            )
            crash_point("pull.recorded")
            supersede(lineage, number)
    _log.info("model %s: %s", settings.model, reason)
    return Pulled(
        lineage=lineage.reference,
        retraining=number,
        reason=reason,
        new_labels=len(new),
        items=len(source.items),
        labeled=len(answers_of(source.items.values())),
        champion=lineage.ledger.champion(),
    )


def _check_none_is_withdrawn(lineage: Lineage, source: Source) -> None:
    """Refuse a source that has taken back a label: models were trained and compared with it."""
    for name in lineage.ledger.answers():
        item = source.items.get(name)
        if item is not None and item.label is None:
            raise DataError(
                f"item {name!r} had a label and has none any more: a label may be corrected, not "
                "withdrawn; give it one, or start a new model"
            )


def _what_counts(settings: Retraining) -> dict[str, Any]:
    """The settings without those that change nothing about what is learned."""
    content = settings.model_dump(mode="json")
    for key in ("root_log_dir", "tracking", "busy", "collect", "when"):
        del content[key]
    return content


def _new_answers(lineage: Lineage, source: Source, train_subset: str) -> dict[str, Answer]:
    """Labels that no finished retraining has learned from: new ones, and corrected ones.

    Those of items that are held back by their tag are never learned from.
    """
    known = lineage.ledger.answers(through=lineage.ledger.last_finished())
    answers = answers_of(source.items.values())
    return {
        item: answer
        for item, answer in answers.items()
        if (item not in known or known[item].value != answer.value)
        and tag_of(answer.metadata) in (None, train_subset)
    }


def _changed(known: Mapping[str, Answer], found: Mapping[str, Answer]) -> dict[str, Answer]:
    return {item: answer for item, answer in found.items() if known.get(item) != answer}


def _enough(
    lineage: Lineage, settings: Retraining, source: Source, new: Mapping[str, Answer]
) -> tuple[str, bool]:
    """Whether there is enough to learn, and why, in words."""
    needed = settings.when.new_labels
    if len(new) >= needed:
        return f"{len(new)} new labels", True
    few = "no new label" if not new else f"{len(new)} new labels of {needed}"
    last = lineage.ledger.last_finished()
    if last and _what_counts(lineage.settings(last)) != _what_counts(settings):
        return f"{few}, but the settings are other ones than those of retraining {last}", True
    drift = settings.when.drift
    if drift is None or not new:
        return f"nothing to learn: {few}", False
    found = _drift(lineage, settings, drift, source)
    if found is None:
        return f"nothing to learn: {few}; without a champion nothing has drifted", False
    drifted, words = found
    return (f"{few}, and {words}", True) if drifted else (f"{few}: {words}", False)


def _drift(
    lineage: Lineage, settings: Retraining, drift: DriftConfig, source: Source
) -> tuple[bool, str] | None:
    """Whether new items are unlike what the champion was trained on; None without a champion."""
    champion = lineage.ledger.champion()
    if champion is None:
        return None
    trained_on = trained_items(lineage, champion)
    known = {item.id for item in lineage.ledger.items()}
    fresh = [
        item.id
        for item in source.items.values()
        if item.id not in known and tag_of(item.metadata) is None
    ]
    before, after = source.features(trained_on), source.features(fresh)
    confidences: dict[str, torch.Tensor] = {}
    if drift.confidence is not None and source.classes is not None:
        learner = learner_of(lineage, champion)
        for name, features in (("reference_confidence", before), ("new_confidence", after)):
            if len(features):
                confidences[name] = learner.predict_proba(features).max(1).values
    report = check_drift(drift, reference_features=before, new_features=after, **confidences)
    return report.drifted, report.reason
