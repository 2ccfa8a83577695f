"""Which items a version is trained on, and which it is compared on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from querist.config.learner import VersionSettings
from querist.items.filters import compile_filter
from querist.items.split import tagged
from querist.ledger.models import Answer
from querist.lineage import Lineage
from querist.storage.plain import digest_of

Answers = Mapping[str, Answer]


def trained_items(lineage: Lineage, version: int) -> list[str]:
    """The items that a version was trained on, by id."""
    settings = lineage.version_settings(version)
    return train_items(lineage, settings, lineage.ledger.answers(through=version))


def train_items(lineage: Lineage, settings: VersionSettings, answers: Answers) -> list[str]:
    """The items that a version with these settings is trained on, by id."""
    return chosen(lineage, settings.train_subset, settings.train_filter, answers)


def test_items(lineage: Lineage, settings: VersionSettings, answers: Answers) -> list[str]:
    """The items that a version with these settings is compared on, by id."""
    return chosen(lineage, settings.test_subset, settings.test_filter, answers)


def chosen(
    lineage: Lineage, subset: str, wanted: Mapping[str, Any] | None, answers: Answers
) -> list[str]:
    """The labeled items of a subset whose metadata match, by id."""
    matches = None if wanted is None else compile_filter(wanted)
    return [
        known.id
        for known in lineage.ledger.items()
        if known.subset == subset
        and known.id in answers
        and (matches is None or matches(tagged(answers[known.id].metadata, subset)))
    ]


def data_digest(lineage: Lineage, ids: list[str], answers: Answers) -> str:
    """SHA-256 of items: which ones they are, their contents and their labels."""
    contents = {known.id: known.digest for known in lineage.ledger.items()}
    return digest_of([[i, contents[i], answers[i].value] for i in sorted(ids)])
