"""One index space over a pool, a separate initial pool, and samples made on the way."""

from __future__ import annotations

import torch

from querist.errors import DataError
from querist.protocols import Pool, TruthfulPool


def is_truthful(pool: Pool) -> bool:
    """Whether the pool knows its own labels."""
    return bool(getattr(pool, "truthful", True)) and isinstance(pool, TruthfulPool)


class CombinedPool:
    """Indices 0 .. n - 1 are the pool's, then the initial pool's, then samples that were made.

    Args:
        pool: the experiment's pool.
        initial: a separate pool that is labeled from the start.
    """

    def __init__(self, pool: Pool, initial: Pool | None = None) -> None:
        self.pool = pool
        self.initial = initial
        self._made: list[torch.Tensor] = []
        if initial is not None and initial.classes != pool.classes:
            raise DataError(
                f"data.pool and data.initial.pool must have the same classes, not {pool.classes} "
                f"and {initial.classes}"
            )
        if initial is not None and len(initial) and len(pool):
            shapes = [tuple(part.features(torch.tensor([0])).shape[1:]) for part in (pool, initial)]
            if shapes[0] != shapes[1]:
                raise DataError(
                    f"data.pool and data.initial.pool must have samples of one shape, not "
                    f"{shapes[0]} and {shapes[1]}"
                )

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        return self.pool.classes

    @property
    def truthful(self) -> bool:
        """Whether the experiment's pool knows its own labels."""
        return is_truthful(self.pool)

    @property
    def in_memory(self) -> bool:
        """Whether features are tensors at hand, not read one by one."""
        parts = [self.pool] if self.initial is None else [self.pool, self.initial]
        return all(getattr(part, "in_memory", False) for part in parts)

    @property
    def made_from(self) -> int:
        """The index of the first sample that was made."""
        return len(self.pool) + (0 if self.initial is None else len(self.initial))

    def __len__(self) -> int:
        return self.made_from + len(self._made)

    def add(self, sample: torch.Tensor) -> int:
        """Append one sample that a strategy or the pool made; returns its index.

        Raises:
            DataError: its features are not finite.
        """
        finite = torch.isfinite(sample)
        if not bool(finite.all()):
            raise DataError(
                f"features must be finite: {int((~finite).sum())} of the {sample.numel()} features "
                "of a sample that was made are NaN or infinite: check what makes samples"
            )
        self._made.append(sample)
        return len(self) - 1

    def forget_from(self, index: int) -> None:
        """Remove the made samples from `index` on: nobody chose them."""
        del self._made[index - self.made_from :]

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """The features of `indices`, `(k, ...)`, whichever part they are in."""
        in_pool = indices < len(self.pool)
        if bool(in_pool.all()):
            return self.pool.features(indices)
        made = indices >= self.made_from
        rows: list[torch.Tensor | None] = [None] * len(indices)
        for mask, read in (
            (in_pool, self.pool.features),
            (~in_pool & ~made, self._initial_features),
            (made, self._made_features),
        ):
            positions = mask.nonzero().flatten()
            if len(positions):
                for position, row in zip(positions.tolist(), read(indices[positions]), strict=True):
                    rows[position] = row
        return torch.stack([row for row in rows if row is not None])

    def _initial_features(self, indices: torch.Tensor) -> torch.Tensor:
        return self._initial().features(indices - len(self.pool))

    def _made_features(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._made[int(i) - self.made_from] for i in indices])

    def targets(self, indices: torch.Tensor) -> torch.Tensor:
        """The truth of `indices`, where it is known.

        Raises:
            DataError: a part of the samples has no known truth.
        """
        pool_size = len(self.pool)
        if bool((indices >= self.made_from).any()):
            raise DataError(
                "samples that were made on the way have no held-back truth: label them with a "
                "`callable` or another label strategy, not `oracle`"
            )
        in_pool = indices < pool_size
        if bool(in_pool.all()):
            return _truth(self.pool).targets(indices)
        if not bool(in_pool.any()):
            return _truth(self._initial()).targets(indices - pool_size)
        return torch.stack([self.targets(i[None])[0] for i in indices])

    def _initial(self) -> Pool:
        assert self.initial is not None
        return self.initial


def _truth(pool: Pool) -> TruthfulPool:
    if not isinstance(pool, TruthfulPool):
        raise DataError("this pool does not know its labels: give it a `targets` method")
    return pool
