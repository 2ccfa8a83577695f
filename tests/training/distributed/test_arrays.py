from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from querist.errors import LearnerError
from querist.pools import LabeledSet, TensorPool
from querist.training.distributed import arrays
from querist.training.distributed.arrays import read_labeled, write_labeled


class OnDisk(TensorPool):
    """Its features are read as they are needed; it counts how many at once."""

    in_memory = False
    largest = 0

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(indices))
        return super().features(indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_what_is_written_is_read(tmp_path: Path, dtype: torch.dtype, shape: Any) -> None:
    features = (torch.rand(9, *shape) * 100).to(dtype)
    indices = torch.tensor([8, 0, 3, 3])
    targets = torch.tensor([[1.5], [2.0], [0.0], [4.0]])
    about = write_labeled(tmp_path, "labeled", LabeledSet(TensorPool(features), indices, targets))
    found = read_labeled(tmp_path, "labeled", about)
    assert found.features().dtype == dtype
    assert torch.equal(found.features(), features[indices])
    assert torch.equal(found.targets, targets)
    assert found.pool.in_memory  # type: ignore[attr-defined]


def test_a_set_on_disk_is_written_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 4 * 2 * 4)
    pool = OnDisk(torch.rand(10, 2))
    labeled = LabeledSet(pool, torch.arange(10), torch.arange(10))
    found = read_labeled(tmp_path, "x", write_labeled(tmp_path, "x", labeled))
    assert pool.largest == 4
    assert torch.equal(found.features(), labeled.features())
    assert not found.pool.in_memory  # type: ignore[attr-defined]


def test_features_that_are_no_tensors(tmp_path: Path) -> None:
    class Lists(TensorPool):
        def features(self, indices: torch.Tensor) -> Any:
            return [[1.0]] * len(indices)

    labeled = LabeledSet(Lists(torch.zeros(2, 1)), torch.arange(2), torch.arange(2))
    with pytest.raises(LearnerError, match="the pool gives features as a list: set training.proc"):
        write_labeled(tmp_path, "labeled", labeled)
