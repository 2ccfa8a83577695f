"""A pool held in memory as tensors or (memory-mapped) arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from querist.errors import DataError

LONG = 32
"""Mean length from which runs of consecutive indices are copied as they lie."""


class TensorPool:
    """Features, and optionally their truth, in memory.

    Args:
        features: `(n, ...)`, a tensor or an array (a `numpy.memmap` stays on disk).
        targets: `(n,)` integer classes, or `(n,)` or `(n, d)` floats; None when nobody knows.
        classes: number of classes; default: the highest class + 1, None for float targets.
        held_out: other pools of the same kind to measure on, by subset: `test`, `validation`.

    Raises:
        DataError: lengths differ, or targets are not what `classes` says.
    """

    in_memory = True

    def __init__(
        self,
        features: torch.Tensor | np.ndarray[Any, Any],
        targets: torch.Tensor | np.ndarray[Any, Any] | None = None,
        *,
        classes: int | None = None,
        held_out: Mapping[str, TensorPool] | None = None,
    ) -> None:
        if isinstance(features, np.ndarray) and features.dtype.kind not in "biuf":
            raise DataError(
                f"features are numbers, not {features.dtype}: encode text and objects as numbers"
            )
        if isinstance(features, np.ndarray):
            _check_type(features.dtype)
        self._features = features
        self._targets = None if targets is None else _as_targets(targets)
        self.held_out = dict(held_out or {})
        if self._targets is not None and len(self._targets) != len(features):
            raise DataError(
                f"a pool needs one target per sample, not {len(self._targets)} targets for "
                f"{len(features)} samples"
            )
        if classes is None and self._targets is not None and not self._targets.is_floating_point():
            classes = int(self._targets.max()) + 1 if len(self._targets) else 0
        self._classes = classes
        self._check_classes()

    def _check_classes(self) -> None:
        if self._classes is None or self._targets is None or not len(self._targets):
            return
        if self._targets.ndim != 1:
            raise DataError(
                f"targets of classes are one integer per sample (n,), not "
                f"{tuple(self._targets.shape)}: flatten them"
            )
        low, high = int(self._targets.min()), int(self._targets.max())
        if self._targets.is_floating_point() or low < 0 or high >= self._classes:
            raise DataError(
                f"targets of {self._classes} classes are integers 0 to {self._classes - 1}, "
                f"not {self._targets.dtype} from {low} to {high}"
            )

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression."""
        return self._classes

    @property
    def truthful(self) -> bool:
        """Whether the truth is known."""
        return self._targets is not None

    def __len__(self) -> int:
        return len(self._features)

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """The features of `indices`, `(k, ...)`."""
        if isinstance(self._features, torch.Tensor) and not self._features.is_cpu:
            return self._features[indices]
        runs = _runs(indices, len(self._features))
        if runs is not None:
            return _copied(self._features, runs, len(indices))
        if isinstance(self._features, torch.Tensor):
            return self._features[indices]
        return torch.from_numpy(np.ascontiguousarray(self._features[indices.numpy()]))

    def targets(self, indices: torch.Tensor) -> torch.Tensor:
        """The truth of `indices`, `(k,)` or `(k, d)`."""
        if self._targets is None:
            raise DataError(
                "this pool does not know its labels: use a label strategy other than `oracle`, "
                "and data.initial.pool for the initial labels"
            )
        found = self._targets[indices]
        check_targets(found, indices)
        return found


def _runs(indices: torch.Tensor, size: int) -> list[tuple[int, int]] | None:
    """Where runs of consecutive indices begin and end; None where they are short, or outside."""
    if len(indices) < LONG:
        return None
    breaks = (indices.diff() != 1).nonzero().flatten()
    if len(breaks) * LONG > len(indices):
        return None
    firsts = indices[torch.cat([breaks.new_zeros(1), breaks + 1])].tolist()
    lasts = indices[torch.cat([breaks, breaks.new_full((1,), len(indices) - 1)])].tolist()
    if min(firsts) < 0 or max(lasts) >= size:
        return None
    return [(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]


def _copied(
    features: torch.Tensor | np.ndarray[Any, Any], runs: list[tuple[int, int]], n: int
) -> torch.Tensor:
    """The runs one after the other, as plain copies of memory: a file is read in order."""
    shape = (n, *features.shape[1:])
    if isinstance(features, torch.Tensor):
        target: Any = features.new_empty(shape)
    else:
        target = np.empty(shape, features.dtype)
    at = 0
    for begin, end in runs:
        target[at : at + end - begin] = features[begin:end]
        at += end - begin
    return target if isinstance(features, torch.Tensor) else torch.from_numpy(target)


def check_targets(targets: torch.Tensor, indices: torch.Tensor) -> None:
    """Refuse a truth that is NaN or infinite.

    Raises:
        DataError: names the first of the samples, and says how many there are.
    """
    if targets.is_floating_point() and not bool(torch.isfinite(targets).all()):
        good = torch.isfinite(targets).reshape(len(targets), -1).all(1)
        raise DataError(
            f"targets must be finite: {int((~good).sum())} of the {len(targets)} that are asked "
            f"for are NaN or infinite, the first is of sample {int(indices[~good][0])}: repair or "
            "remove them"
        )


def _check_type(kind: np.dtype[Any]) -> None:
    try:
        torch.from_numpy(np.empty(0, kind))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"features have a type that torch knows, not {kind}: convert them to float32"
        ) from error


def _as_targets(targets: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
    tensor = targets if isinstance(targets, torch.Tensor) else torch.from_numpy(np.array(targets))
    return tensor if tensor.is_floating_point() else tensor.to(torch.int64)
