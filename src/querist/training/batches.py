"""Batches of a labeled set, epoch by epoch.

Tensors in memory are moved to the device once and batched by index; anything else goes through a
DataLoader. Both visit the samples in the order that the epoch's seed gives, and several processes
share one order between them.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from querist.errors import LearnerError
from querist.pools.labeled import LabeledSet
from querist.randomness import derive_seed
from querist.training.group import Alone, Group
from querist.training.job import TrainingJob
from querist.training.nested import with_tensors

EVALUATION_BATCH = 1024
"""Samples of a validation batch at least: nothing is learned from it, so it may be large."""


class Batches(Protocol):
    """Yields the batches of one epoch."""

    def __len__(self) -> int:
        """How many an epoch has in this process."""
        ...

    @property
    def samples(self) -> int:
        """How many samples an epoch has in this process, repeats counted."""
        ...

    def epoch(self, seed: int | None) -> Iterator[Any]:
        """The batches, shuffled by `seed`, in order for None."""
        ...


@dataclass(frozen=True)
class Order:
    """In which order this process sees how many of `total` samples.

    Attributes:
        total: samples of all processes together.
        batch_size: samples of a batch.
        last_batch: what becomes of the last batch where the samples do not come out even.
        group: who shares the samples. Every process gets as many batches as the others.
    """

    total: int
    batch_size: int
    last_batch: Literal["keep", "drop", "fill"] = "keep"
    group: Group = field(default_factory=Alone)

    def __post_init__(self) -> None:
        if self.total and not self.seen:
            raise LearnerError(
                f"{self.total} samples make no batch of {self.batch_size} in each of "
                f"{self.group.size} processes, and training.last_batch is drop: lower "
                "training.batch_size, or keep the last batch"
            )

    @property
    def seen(self) -> int:
        """Samples of an epoch in all processes: some twice, or some left out."""
        size = self.group.size
        whole = self.batch_size * size
        if self.last_batch == "drop":
            return self.total // whole * whole
        to = whole if self.last_batch == "fill" else size
        return -(-self.total // to) * to

    @property
    def samples(self) -> int:
        """Samples of an epoch in this process."""
        return self.seen // self.group.size

    @property
    def batches(self) -> int:
        """Batches of an epoch in this process."""
        return -(-self.samples // self.batch_size)

    def indices(self, seed: int | None) -> torch.Tensor:
        """The samples `(samples,)` of this process, in their order."""
        if seed is None:
            order = torch.arange(self.total)
        else:
            order = torch.randperm(self.total, generator=torch.Generator().manual_seed(seed))
        if self.seen > self.total:
            order = order.repeat(-(-self.seen // self.total))
        # With interleaved shares, the batches of all processes are one large batch of the order.
        return order[: self.seen][self.group.rank :: self.group.size]


class TensorBatches:
    """Batches of tensors that are on the device already."""

    def __init__(self, features: torch.Tensor, targets: torch.Tensor, order: Order) -> None:
        self._features = features
        self._targets = targets
        self._order = order
        self._as_it_is = order.group.size == 1 and order.seen == order.total

    def __len__(self) -> int:
        return self._order.batches

    @property
    def samples(self) -> int:
        """How many samples an epoch has in this process."""
        return self._order.samples

    def epoch(self, seed: int | None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches `(features, targets)` of one epoch."""
        features, targets = self._features, self._targets
        if seed is not None or not self._as_it_is:
            order = self._order.indices(seed).to(features.device)
            features, targets = features[order], targets[order]
        size = self._order.batch_size
        return zip(features.split(size), targets.split(size), strict=True)


class LoaderBatches:
    """Batches of any map-style data set, through a DataLoader.

    With workers every sample has a seed of its own, so what augmentations do to it does not depend
    on how many workers there are.
    """

    def __init__(self, dataset: Dataset[Any], order: Order, job: TrainingJob) -> None:
        self._order = order
        self._device, self._dtype = job.device, job.dtype
        self._draws = _Draws()
        loader = job.settings.loader
        on_gpu = job.device.type == "cuda"
        pinned = on_gpu if loader.pin_memory == "auto" else loader.pin_memory and on_gpu
        workers: dict[str, Any] = {}
        if loader.workers:
            dataset = _SeededSamples(dataset)
            # Not forked: this process may hold threads and connections.
            workers = {
                "num_workers": loader.workers,
                "prefetch_factor": loader.prefetch,
                "persistent_workers": True,
                "multiprocessing_context": "forkserver",
            }
        self._seeded = bool(loader.workers)
        self._pinned = pinned
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=order.batch_size,
            sampler=self._draws,
            pin_memory=pinned,
            # Else it would draw a seed for its workers from the global generator.
            generator=torch.Generator().manual_seed(0),
            **workers,
        )

    def __len__(self) -> int:
        return self._order.batches

    @property
    def samples(self) -> int:
        """How many samples an epoch has in this process."""
        return self._order.samples

    def epoch(self, seed: int | None) -> Iterator[Any]:
        """The collated batches of one epoch, on the device."""
        indices = self._order.indices(seed).tolist()
        if self._seeded:
            # By the place in the order that all processes share, or they would augment alike.
            group = self._order.group
            places = range(group.rank, self._order.seen, group.size)
            self._draws.now = [
                (index, derive_seed(seed or 0, 0, "train", f"sample {place}"))
                for place, index in zip(places, indices, strict=True)
            ]
        else:
            self._draws.now = indices
        try:
            yield from (
                to_device(batch, self._device, self._dtype, non_blocking=self._pinned)
                for batch in self._loader
            )
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            if not isinstance(error, pickle.PicklingError) and "pickle" not in str(error):
                raise
            raise LearnerError(
                f"a data set that workers read must be picklable, this one is not ({error}): set "
                "training.loader.workers to 0"
            ) from error


class _Draws:
    """What a DataLoader reads next; a new list in every epoch, for the same workers."""

    def __init__(self) -> None:
        self.now: Sequence[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


class _SeededSamples(Dataset[Any]):
    """A data set whose samples are read with randomness seeded for each."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, drawn: tuple[int, int]) -> Any:
        index, seed = drawn
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        return self._dataset[index]


def to_device(
    batch: Any, device: torch.device, dtype: torch.dtype, *, non_blocking: bool = False
) -> Any:
    """A (nested) batch on the device, floating tensors as `dtype`."""

    def there(tensor: torch.Tensor) -> torch.Tensor:
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(device, kind, non_blocking=non_blocking)

    return with_tensors(batch, there)


def training_batches(labeled: Any, job: TrainingJob) -> Batches:
    """What is learned from, the fastest way that the labeled set allows."""
    settings = job.settings
    return _batches(
        labeled, Order(len(labeled), settings.batch_size, settings.last_batch, job.group), job
    )


def validation_batches(job: TrainingJob) -> Batches | None:
    """What is validated on; None where there is nothing.

    Several processes share it; none of them sees a sample that another has seen.
    """
    if job.validation is None:
        return None
    size = max(job.settings.batch_size, EVALUATION_BATCH)
    return _batches(job.validation, EvenlySplit(len(job.validation), size, "keep", job.group), job)


class EvenlySplit(Order):
    """Every sample once; the processes' shares may differ by one sample."""

    @property
    def seen(self) -> int:
        """All samples."""
        return self.total

    @property
    def samples(self) -> int:
        """Samples in this process."""
        return len(range(self.group.rank, self.total, self.group.size))


def _batches(labeled: Any, order: Order, job: TrainingJob) -> Batches:
    if isinstance(labeled, LabeledSet) and getattr(labeled.pool, "in_memory", False):
        return TensorBatches(
            to_device(labeled.features(), job.device, job.dtype),
            to_device(labeled.targets, job.device, job.dtype),
            order,
        )
    return LoaderBatches(labeled, order, job)
