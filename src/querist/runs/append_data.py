"""The data of a run whose training set is the user's own data set with `append`.

What a label strategy returns is appended to it as it is; the items are kept in the ledger, so that
the data set can be brought back to any iteration.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from querist.commands.work import work_in
from querist.config.experiment import Experiment
from querist.errors import ConfigurationError, DataError, LabelError, RunError
from querist.ledger import INITIAL, Ledger
from querist.pools.dataset_pool import DatasetPool
from querist.pools.labeled import LabeledSet
from querist.randomness import SETUP, derive_seed, seeded_globally
from querist.registry import build
from querist.storage.plain import from_bytes, from_plain, to_bytes
from querist.values import Label, Task

FINGERPRINT = "data_fingerprint"
FIRST_ITEMS = "first_items"
"""The fact that holds what the initial command of a pool said."""


class ItemPool:
    """Whatever query strategies put into their queue, by index."""

    holds_items = True
    in_memory = False
    truthful = False
    made_from = 0

    def __init__(self, dataset: Any) -> None:
        self.pool = dataset
        self.classes: int | None = getattr(dataset, "classes", None)
        self._items: list[Any] = []
        self._seen: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Any) -> int:
        """Append an item; returns its index."""
        self._items.append(item)
        self._seen.add(to_bytes(item))
        return len(self._items) - 1

    def forget_from(self, index: int) -> None:
        """Remove the items from `index` on."""
        for item in self._items[index:]:
            self._seen.discard(to_bytes(item))
        del self._items[index:]

    def item(self, index: int) -> Any:
        """The item with this index."""
        return self._items[index]

    def features(self, indices: torch.Tensor) -> Any:
        """The items themselves."""
        return [self._items[int(i)] for i in indices]

    def fresh(self, items: Sequence[Any]) -> list[Any]:
        """The items that were not chosen before, each once."""
        seen, found = set(self._seen), []
        for item in items:
            key = to_bytes(item)
            if key not in seen:
                seen.add(key)
                found.append(item)
        return found


class _FirstItems(torch.utils.data.Dataset[Any]):
    """The first items of a data set that grows."""

    def __init__(self, dataset: Any, length: int) -> None:
        self._dataset = dataset
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._dataset[index]


class AppendData:
    """Offers phases what `RunData` offers, over a data set with `append`."""

    def __init__(self, experiment: Experiment) -> None:
        data = experiment.data
        with seeded_globally(derive_seed(experiment.data_seed, SETUP, "setup", "pool")):
            self.train_datapool = build("pool", data.pool.name, data.pool.options)
            self.unlabeled_datapool = _maybe(data.unlabeled)
            self.val_datapool = _maybe(data.validation)
        self._in_files = bool(getattr(self.train_datapool, "in_files", False))
        self._initial_length = len(self.train_datapool)
        if self._initial_length == 0 and not self._in_files:
            raise DataError("data.pool is empty: its data set needs at least one labeled sample")
        self.pool = ItemPool(self.train_datapool)
        self.fingerprint = _fingerprint(self.train_datapool)
        nothing = torch.empty(0, dtype=torch.int64)
        self.queryable = nothing
        self.subsets = {INITIAL: nothing}
        self.validation = self._held_out_set()
        self.test = self.validation if isinstance(self.validation, LabeledSet) else None

    def begin(self, work: Path) -> None:
        """Let a pool whose samples are in files make the first ones, once in the life of a run.

        Such samples belong to their run alone: no other run may take their labels for its own.
        """
        if self._in_files:
            work_in(self.train_datapool, work)
            self.train_datapool.begin()
            self._initial_length = len(self.train_datapool)
            self.fingerprint = secrets.token_hex(32)

    def facts(self) -> dict[str, str]:
        """What a run that is opened again cannot find out by itself."""
        if not self._in_files:
            return {}
        first = [self.train_datapool[index] for index in range(self._initial_length)]
        return {FIRST_ITEMS: to_bytes(first).decode()}

    @property
    def task(self) -> Task:
        """What there is to learn."""
        return Task.REGRESSION if self.pool.classes is None else Task.CLASSIFICATION

    @property
    def sample(self) -> torch.Tensor | None:
        """Features of one sample `(1, ...)`, where an item is (features, target)."""
        if self._in_files:
            return None
        first = self.train_datapool[0]
        features = first[0] if isinstance(first, tuple | list) else None
        return None if features is None else torch.as_tensor(features)[None]

    def _held_out_set(self) -> Any:
        held = self.val_datapool
        if held is None:
            return None
        if len(held) and isinstance(held[0], tuple | list) and len(held[0]) == 2:
            pool = DatasetPool(held, classes=self.pool.classes)
            everything = torch.arange(len(held))
            return LabeledSet(pool, everything, pool.targets(everything))
        return _FirstItems(held, len(held))

    def truth_digest(self) -> str:
        """The items are the truth, and the fingerprint is of them."""
        return self.fingerprint

    def test_digest(self) -> str:
        """SHA-256 of the validation set's items."""
        return "" if self.val_datapool is None else _fingerprint(self.val_datapool)

    def labeled(self, ledger: Ledger, before_iteration: int | None = None) -> Any:
        """The data set as it was when `before_iteration` started training (None = now)."""
        count = len(ledger.label_rows(before_iteration))
        return _FirstItems(self.train_datapool, self._initial_length + count)

    def unlabeled(self, ledger: Ledger) -> torch.Tensor:
        """Nothing has an index before it was chosen."""
        return self.queryable

    def check_label(self, label: Label) -> None:
        """Anything may be appended."""

    def learned(self, label: Label) -> None:
        """Append what the label strategy returned.

        Raises:
            LabelError: the data set refused it.
        """
        try:
            self.train_datapool.append(from_plain(label.value))
        except Exception as error:
            raise LabelError(
                f"the data set refused the item {label.index}: {error}; it is in the ledger, "
                "correct the data set's append, then resume"
            ) from error

    def encode(self, item: Any) -> bytes:
        """An item for the ledger."""
        return to_bytes(item)

    def restore(self, ledger: Ledger) -> None:
        """Bring items and data set back to where the ledger is.

        Raises:
            RunError: the data set is not the one that the run was made with.
        """
        if self._in_files:
            first = ledger.fact(FIRST_ITEMS)
            self.train_datapool.begin_with(from_bytes((first or "[]").encode()))
            self._initial_length = len(self.train_datapool)
            self.fingerprint = ledger.fact(FINGERPRINT) or ""
        if self.fingerprint != ledger.fact(FINGERPRINT):
            raise RunError(
                "the data set is not the one that this run was made with (its fingerprint "
                "differs): bring the data back as they were, or start a new run"
            )
        for content in ledger.made_samples():
            self.pool.add(from_bytes(content))
        for sample, _, value in ledger.label_rows():
            self.learned(Label(sample, value))


def _maybe(component: Any) -> Any:
    return None if component is None else build("pool", component.name, component.options)


def _fingerprint(dataset: Any) -> str:
    """SHA-256 over the items; over their number where they cannot be written down."""
    digest = hashlib.sha256(json.dumps(len(dataset)).encode())
    try:
        for index in range(len(dataset)):
            digest.update(to_bytes(dataset[index]))
    except TypeError:
        return hashlib.sha256(f"{type(dataset).__name__} {len(dataset)}".encode()).hexdigest()
    return digest.hexdigest()


def check_append_style(experiment: Experiment) -> None:
    """Refuse settings that have no effect on a data set with `append`.

    Raises:
        ConfigurationError: which one.
    """
    for key in ("split", "initial"):
        if key in experiment.data.model_fields_set and getattr(experiment.data, key) != (
            type(experiment.data).model_fields[key].default
        ):
            raise ConfigurationError(
                f"data.{key} has no effect on a data set with `append`, which brings its labeled "
                "samples itself: remove it"
            )
    if experiment.training.loss == "multilabel":
        raise ConfigurationError(
            "training.loss multilabel needs a pool of features and targets, and data.pool is a "
            "data set with `append`: make it a pool"
        )
