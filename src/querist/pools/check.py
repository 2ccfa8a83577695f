"""Checks of a pool before anything expensive: finite features, no sample in two subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import torch

from querist.errors import DataError
from querist.protocols import Pool

CHUNK = 65536


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
        if features.is_floating_point():
            finite = torch.isfinite(features).reshape(len(features), -1).all(1)
            if not bool(finite.all()):
                bad += int((~finite).sum())
                first = int(indices[~finite][0]) if first is None else first
        digest.update(f"{features.dtype}{tuple(features.shape[1:])}".encode())
        digest.update(features.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    if bad:
        raise DataError(
            f"features must be finite: {bad} of the {len(pool)} samples of {what} have NaN or "
            f"infinity, the first is sample {first}: repair or remove them"
        )
    return digest.hexdigest()


def content_hashes(pool: Pool, indices: torch.Tensor) -> list[bytes]:
    """One hash per sample's features."""
    found = []
    for part in indices.split(CHUNK):
        rows = pool.features(part)
        flat = rows.reshape(len(rows), -1).contiguous().view(torch.uint8).numpy()
        found += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in flat]
    return found


def check_disjoint(subsets: Mapping[str, tuple[Pool, torch.Tensor]]) -> None:
    """Refuse equal content in two subsets: a test sample must never be learned from.

    Raises:
        DataError: two subsets share a sample's content.
    """
    seen: dict[bytes, str] = {}
    for name, (pool, indices) in subsets.items():
        for index, key in zip(indices.tolist(), content_hashes(pool, indices), strict=True):
            if seen.setdefault(key, name) != name:
                raise DataError(
                    f"sample {index} of {name} has the same features as a sample of {seen[key]}: "
                    "remove duplicates, or what is tested would have been learned"
                )
