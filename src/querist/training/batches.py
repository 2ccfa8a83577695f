"""Batches of a labeled set, epoch by epoch.

Tensors in memory are moved to the device once and batched by index; anything else goes through a
DataLoader. Both visit the samples in the order that the epoch's seed gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from querist.pools.labeled import LabeledSet


class Batches(Protocol):
    """Yields the batches of one epoch."""

    def epoch(self, seed: int | None) -> Iterator[Any]:
        """The batches, shuffled by `seed`, in order for None."""
        ...


class TensorBatches:
    """Batches of tensors that are on the device already."""

    def __init__(self, features: torch.Tensor, targets: torch.Tensor, batch_size: int) -> None:
        self._features = features
        self._targets = targets
        self._batch_size = batch_size

    def epoch(self, seed: int | None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches `(features, targets)` of one epoch."""
        features, targets = self._features, self._targets
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(len(features), generator=generator).to(features.device)
            features, targets = features[order], targets[order]
        return zip(features.split(self._batch_size), targets.split(self._batch_size), strict=True)


class LoaderBatches:
    """Batches of any map-style data set, through a DataLoader."""

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._device = device
        self._dtype = dtype

    def epoch(self, seed: int | None) -> Iterator[Any]:
        """The collated batches of one epoch, on the device."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        loader = DataLoader(
            self._dataset,
            batch_size=self._batch_size,
            shuffle=seed is not None,
            generator=generator,
        )
        return (to_device(batch, self._device, self._dtype) for batch in loader)


def to_device(batch: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A (nested) batch on the device, floating tensors as `dtype`."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, dtype if batch.is_floating_point() else batch.dtype)
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(part, device, dtype) for part in batch)
    if isinstance(batch, dict):
        return {key: to_device(part, device, dtype) for key, part in batch.items()}
    return batch


def batches_of(
    labeled: Any, batch_size: int, device: torch.device, dtype: torch.dtype
) -> TensorBatches | LoaderBatches:
    """Batches the fastest way that the labeled set allows."""
    if isinstance(labeled, LabeledSet) and getattr(labeled.pool, "in_memory", False):
        return TensorBatches(
            to_device(labeled.features(), device, dtype),
            to_device(labeled.targets, device, dtype),
            batch_size,
        )
    return LoaderBatches(labeled, batch_size, device, dtype)
