"""The third step: a new version, cloned from its base, before it is trained."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from querist.config.learner import VersionSettings
from querist.config.load import dump_yaml, explain, merge
from querist.config.retraining import Retraining
from querist.errors import ConfigurationError, DataError
from querist.faults import crash_point
from querist.lineage import Lineage
from querist.lineage.lineage import SETTINGS_FILE
from querist.randomness import derive_seed
from querist.retraining.chosen import data_digest, test_items, train_items, trained_items
from querist.retraining.model import Base, find_base
from querist.storage.atomic import create_folder, write_file

_log = logging.getLogger(__name__)


def new_version(lineage: Lineage, retraining: int) -> dict[str, Any]:
    """Clone the base as the start of a new version; returns both, and what it will learn from.

    Raises:
        ConfigurationError: the first version needs a learner, or a merged setting is wrong.
        DataError: there is nothing to train on, or nothing to test on.
    """
    done = lineage.ledger.step(retraining, "new_version")
    if done is not None:
        return done
    started = time.time()
    settings = lineage.settings(retraining)
    base = find_base(lineage, settings)
    version = version_settings(settings, base, retraining)
    answers = lineage.ledger.answers(through=retraining)
    train, test = train_items(lineage, version, answers), test_items(lineage, version, answers)
    for what, found in (("train", train), ("test", test)):
        if not found:
            raise DataError(
                f"no labeled item is in subset {getattr(version, f'{what}_subset')!r} and matches "
                f"data.{what}_filter: there must be something to {what} on"
            )
    _check_not_learned(lineage, base.parent, test)
    folder = lineage.version_folder(retraining)
    create_folder(folder)
    write_file(folder / SETTINGS_FILE, dump_yaml(version.model_dump(mode="json")).encode())
    crash_point("version.settings")
    outcome = {
        "version": retraining,
        "base": base.words,
        "parent": base.parent,
        "base_run": base.run_id,
        "settings": version.model_dump(mode="json"),
        "fingerprint": data_digest(lineage, train, answers),
        "trained_on": len(train),
        "compared_on": len(test),
    }
    lineage.ledger.record_step(retraining, "new_version", outcome, started)
    _log.info("version %d starts from %s, with %d items", retraining, base.words, len(train))
    return outcome


def _check_not_learned(lineage: Lineage, parent: int | None, test: list[str]) -> None:
    """Refuse a base that, or whose own bases, have learned from what the version is tested on."""
    tested = set(test)
    while parent is not None:
        learned = len(tested & set(trained_items(lineage, parent)))
        if learned:
            raise DataError(
                f"version {parent}, from which this one starts, has learned from {learned} of the "
                f"{len(test)} test items: leave the subsets as they are, or set base.start to "
                "scratch"
            )
        parent = lineage.ledger.version(parent).parent


def version_settings(settings: Retraining, base: Base, number: int) -> VersionSettings:
    """What the new version is: what is set goes over what its base has.

    The base's own settings stay as they are. Without a filter the base's is inherited, never
    everything.
    """
    given: dict[str, Any] = {
        "training": settings.training.model_dump(mode="json", exclude_unset=True)
    }
    if settings.learner is not None:
        given["learner"] = settings.learner.model_dump(mode="json")
    elif "learner" not in base.settings:
        raise ConfigurationError(
            f"the first version of {settings.model} needs a learner: name one, or a base.run_id"
        )
    data = settings.data
    subsets = {"train_subset": data.train_subset, "test_subset": data.test_subset}
    filters = {
        key: getattr(data, key) or base.settings.get(key) for key in ("train_filter", "test_filter")
    }
    training = _over(base.settings.get("training") or {}, given["training"])
    content = {
        "seed": derive_seed(settings.seed, number, "train", "version"),
        "learner": given.get("learner") or base.settings["learner"],
        "training": training,
        **subsets,
        **filters,
    }
    try:
        return VersionSettings.model_validate(content)
    except ValidationError as error:
        words = explain(error, VersionSettings)
        raise ConfigurationError(
            f"what is set for {settings.model} does not go with {base.words}: {words}"
        ) from error


def _over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings over the base's; a component is one setting, with its options."""
    components = {k: v for k, v in given.items() if isinstance(v, dict) and "name" in v}
    return {**merge(base, given), **components}
