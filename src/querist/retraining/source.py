"""What a registered model learns from, as its source has it now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from querist.config.retraining import Retraining
from querist.errors import DataError
from querist.ledger.models import Answer
from querist.lineage import Lineage
from querist.pools.labeled import LabeledSet
from querist.pools.tensor_pool import TensorPool
from querist.protocols import ItemSource
from querist.randomness import SETUP, derive_seed, seeded_globally
from querist.registry import build
from querist.values import Item, Task

LONGEST_ID = 500


@dataclass(frozen=True)
class Source:
    """A source of items, and everything that it has.

    Attributes:
        source: the component.
        items: what it has, by id.
    """

    source: ItemSource
    items: Mapping[str, Item]

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        return self.source.classes

    @property
    def task(self) -> Task:
        """What there is to learn."""
        return Task.REGRESSION if self.classes is None else Task.CLASSIFICATION

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        """The features of items `(k, ...)`, in that order.

        Raises:
            DataError: an item is gone, or features are not finite.
        """
        gone = next((i for i in ids if i not in self.items), None)
        if gone is not None:
            raise DataError(
                f"item {gone!r} was learned from before and is gone from data.source: bring it "
                "back; items may only be added"
            )
        features = self.source.features(ids)
        if features.is_floating_point() and not bool(torch.isfinite(features).all()):
            bad = ~torch.isfinite(features).reshape(len(features), -1).all(1)
            first = ids[int(bad.nonzero()[0])]
            raise DataError(
                f"features must be finite: {int(bad.sum())} items have NaN or infinity, the first "
                f"is {first!r}: repair or remove them"
            )
        return features

    def labeled(self, ids: Sequence[str], answers: Mapping[str, Answer]) -> LabeledSet:
        """Items with their labels, as a learner is trained and measured on them."""
        kind = torch.float32 if self.classes is None else torch.int64
        targets = torch.tensor([answers[i].value for i in ids], dtype=kind)
        pool = TensorPool(self.features(ids), targets, classes=self.classes)
        return LabeledSet(pool, torch.arange(len(ids)), targets)


def open_source(lineage: Lineage, settings: Retraining) -> Source:
    """The source of a retraining with all its items; read once as long as nothing is pulled anew.

    Raises:
        DataError: two items have one id, an id or label that cannot be, or content that was changed
            after it was split.
    """
    if "source" not in lineage.kept:
        source = _read(settings, lineage.reference.root)
        _check_contents(lineage, source)
        lineage.kept["source"] = source
    found: Source = lineage.kept["source"]
    return found


def _check_contents(lineage: Lineage, source: Source) -> None:
    """Refuse items that are not what they were: what is said of a test set by its digest is true.

    They may change while a retraining is interrupted, and before a version is compared anew.
    """
    for known in lineage.ledger.items():
        item = source.items.get(known.id)
        if item is not None and item.digest != known.digest:
            raise DataError(
                f"the content of item {known.id!r} is not what it was when it was split: give what "
                "is new an id of its own"
            )


def _read(settings: Retraining, root: Path) -> Source:
    component = settings.data.source
    # Pools that items come from usually draw from global generators.
    with seeded_globally(derive_seed(settings.seed, SETUP, "setup", "pool")):
        source: ItemSource = build("items", component.name, component.options)
        bind = getattr(source, "bind", None)
        if callable(bind):
            bind(root)
        items = _by_id(source.items())
    classes = source.classes
    for item in items.values():
        if item.label is not None:
            _check_label(item, classes)
    if classes is None:
        _check_alike(items.values())
    return Source(source, items)


def _by_id(items: Iterable[Item]) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for item in items:
        if not item.id or len(item.id) > LONGEST_ID or "\0" in item.id:
            raise DataError(
                f"an item's id has 1 to {LONGEST_ID} characters without NUL, unlike {item.id!r:.80}"
            )
        if item.id in found:
            raise DataError(f"two items of data.source have the id {item.id!r}: ids are unique")
        found[item.id] = item
    return found


def _check_label(item: Item, classes: int | None) -> None:
    value = item.label
    if classes is not None:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < classes:
            raise DataError(
                f"a label is a class 0 to {classes - 1}, not {value!r:.80} of item {item.id!r}: "
                "correct it"
            )
        return
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(_is_finite(number) for number in numbers):
        raise DataError(
            f"a label is a finite number or a list of them, not {value!r:.80} of item "
            f"{item.id!r}: correct it"
        )


def _is_finite(number: object) -> bool:
    """Whether it is a number that training can hold, which is in single precision."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return abs(number) <= torch.finfo(torch.float32).max  # NaN is not


def _check_alike(items: Iterable[Item]) -> None:
    """Refuse labels that are vectors of several lengths, or vectors and numbers."""
    first: Item | None = None
    for item in items:
        if item.label is None:
            continue
        first = first or item
        if _length(item) != _length(first):
            raise DataError(
                f"labels are all numbers, or all lists of one length, and those of items "
                f"{first.id!r} and {item.id!r} differ: correct one"
            )


def _length(item: Item) -> int | None:
    return len(item.label) if isinstance(item.label, list) else None


def answers_of(items: Iterable[Item]) -> dict[str, Answer]:
    """What is known of the labeled ones among items."""
    return {i.id: Answer(i.label, dict(i.metadata)) for i in items if i.label is not None}


def fingerprint_of(items: Iterable[Item]) -> str:
    """SHA-256 of labeled items: their ids, contents, labels and metadata."""
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.id):
        if item.label is not None:
            row = [item.id, item.digest, item.label, dict(item.metadata)]
            digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
