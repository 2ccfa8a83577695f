"""Checks of a pool before anything expensive: finite features, no sample in two subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch

from querist.errors import DataError
from querist.protocols import Pool

CHUNK = 65536
SHORT = 256
"""Bytes of a sample up to which it is compared as it is, and not by a hash."""


def chunks_of(pool: Pool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Indices and features of a whole pool, chunk by chunk."""
    for indices in torch.arange(len(pool)).split(CHUNK):
        yield indices, pool.features(indices)


def check_pool(pool: Pool, what: str = "data.pool") -> str:
    """Refuse an empty pool or features that are not finite; returns the features' SHA-256.

    Raises:
        DataError: the pool is empty, or a sample has NaN or infinite features.
    """
    if len(pool) == 0:
        raise DataError(f"{what} is empty: a pool needs at least one sample")
    digest = hashlib.sha256()
    bad = 0
    first: int | None = None
    for indices, features in chunks_of(pool):
        if not isinstance(features, torch.Tensor) or len(features) != len(indices):
            raise DataError(
                f"features of {what} come as one tensor ({len(indices)}, ...) for {len(indices)} "
                f"samples, not {getattr(features, 'shape', '')} {type(features).__name__}"
            )
        if features.is_complex():
            raise DataError(
                f"features of {what} are real numbers, not {features.dtype}: give the parts apart"
            )
        if features.is_floating_point():
            finite = torch.isfinite(features).reshape(len(features), -1).all(1)
            if not bool(finite.all()):
                bad += int((~finite).sum())
                first = int(indices[~finite][0]) if first is None else first
        digest.update(f"{features.dtype}{tuple(features.shape[1:])}".encode())
        digest.update(features.contiguous().view(-1).view(torch.uint8).numpy().data)
    if bad:
        raise DataError(
            f"features must be finite: {bad} of the {len(pool)} samples of {what} have NaN or "
            f"infinity, the first is sample {first}: repair or remove them"
        )
    return digest.hexdigest()


def check_disjoint(subsets: Mapping[str, tuple[Pool, torch.Tensor]]) -> None:
    """Refuse equal content in two subsets: a test sample must never be learned from.

    The first subset, by far the largest, is only read past the others, chunk by chunk.

    Raises:
        DataError: two subsets share a sample's content.
    """
    (first, largest), *others = subsets.items()
    seen: dict[str, set[bytes]] = {}
    for name, subset in others:
        rows: set[bytes] = set()
        for _, part in _contents(*subset):
            rows.update(part)
        for before, earlier in seen.items():
            if shared := rows & earlier:
                raise _shared(subset, name, before, shared)
        seen[name] = rows
    for _, part in _contents(*largest) if seen else ():
        for name, rows in seen.items():
            if not rows.isdisjoint(part):
                raise _shared(subsets[name], name, first, rows.intersection(part))


def _contents(pool: Pool, indices: torch.Tensor) -> Iterator[tuple[list[int], list[bytes]]]:
    """Indices and what stands for their content, chunk by chunk: short rows for themselves."""
    for part in indices.split(CHUNK):
        rows = pool.features(part)
        flat = rows.reshape(len(rows), -1).contiguous().view(torch.uint8).numpy()
        found = [row.tobytes() for row in flat] if not flat.size else _as_bytes(flat)
        yield part.tolist(), found


def _as_bytes(flat: np.ndarray[Any, Any]) -> list[bytes]:
    if flat.shape[1] <= SHORT:
        # Not `S`, which drops trailing zeros.
        rows: list[bytes] = flat.view(f"V{flat.shape[1]}")[:, 0].tolist()
        return rows
    return [hashlib.blake2b(row, digest_size=16).digest() for row in flat]


def _shared(
    subset: tuple[Pool, torch.Tensor], name: str, other: str, contents: AbstractSet[bytes]
) -> DataError:
    index = next(
        index
        for indices, rows in _contents(*subset)
        for index, row in zip(indices, rows, strict=True)
        if row in contents
    )
    return DataError(
        f"sample {index} of {name} has the same features as a sample of {other}: remove "
        "duplicates, or what is tested would have been learned"
    )
