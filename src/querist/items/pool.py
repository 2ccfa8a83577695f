"""A pool that knows all its labels, as items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from querist.errors import DataError
from querist.items.digests import digests_of
from querist.pools.check import chunks_of
from querist.pools.combined import is_truthful
from querist.protocols import Pool, TruthfulPool
from querist.registry import build, register
from querist.values import Item


@register("items", "pool")
class PoolItems:
    """All samples of a pool that knows its labels, under their indices; a fixed set.

    Args:
        pool: a registered pool, or a class or function of an allowed package.
        options: what the pool is built with.

    Raises:
        DataError: what the name gives is no pool that knows its labels.
    """

    def __init__(self, pool: str, options: Mapping[str, Any] | None = None) -> None:
        made: Any = build("pool", pool, options or {})
        if not isinstance(made, Pool) or not is_truthful(made):
            raise DataError(
                f"items need labels, and pool {pool!r} does not know them: name one that has "
                "`targets`, or use the source `labeled_run`"
            )
        assert isinstance(made, TruthfulPool)
        self._pool = made

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        return self._pool.classes

    def items(self) -> Iterator[Item]:
        """Every sample, in the order of the pool."""
        for indices, features in chunks_of(self._pool):
            labels = self._pool.targets(indices).tolist()
            digests = digests_of(features)
            for index, label, digest in zip(indices.tolist(), labels, digests, strict=True):
                yield Item(str(index), digest, label)

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        """The features of items `(k, ...)`, in that order."""
        return self._pool.features(torch.tensor([int(name) for name in ids], dtype=torch.int64))
