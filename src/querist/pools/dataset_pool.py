"""A pool over any map-style data set: something with `__len__` and `__getitem__`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from querist.errors import DataError
from querist.pools.tensor_pool import _as_targets, check_targets


class MapDataset(Protocol):
    """What torch calls a map-style data set: items are `features` or `(features, target)`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class DatasetPool:
    """Reads samples one by one from a map-style data set (files, databases, transforms).

    Args:
        dataset: items are `features` or `(features, target)`; features stack to one shape.
        classes: number of classes, or (as torchvision's data sets have it) their names; None for
            regression.
        truthful: whether items carry their target; default: looked up at the first item.
    """

    def __init__(
        self,
        dataset: MapDataset,
        *,
        classes: int | Sequence[str] | None = None,
        truthful: bool | None = None,
    ) -> None:
        self.dataset = dataset
        self._classes = len(classes) if isinstance(classes, Sequence) else classes
        if truthful is None:
            truthful = len(dataset) > 0 and isinstance(dataset[0], tuple | list)
        self.truthful = truthful

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        return self._classes

    def __len__(self) -> int:
        return len(self.dataset)

    def _item(self, index: int) -> tuple[Any, Any]:
        item = self.dataset[index]
        return (item[0], item[1]) if isinstance(item, tuple | list) else (item, None)

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """The features of `indices`, `(k, ...)`."""
        items = [torch.as_tensor(self._item(int(i))[0]) for i in indices]
        try:
            return torch.stack(items) if items else torch.empty(0)
        except RuntimeError as error:
            raise DataError(f"all samples of a pool have one shape: {error}") from error

    def targets(self, indices: torch.Tensor) -> torch.Tensor:
        """The truth of `indices`, `(k,)` or `(k, d)`."""
        if not self.truthful:
            raise DataError(
                "this data set does not know its labels: use a label strategy other than `oracle`"
            )
        items = [torch.as_tensor(self._item(int(i))[1]) for i in indices]
        try:
            found = _as_targets(torch.stack(items) if items else torch.empty(0, dtype=torch.int64))
        except RuntimeError as error:
            raise DataError(f"all targets of a pool have one shape: {error}") from error
        check_targets(found, indices)
        return found
