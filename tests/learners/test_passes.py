from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from querist.learners import passes
from querist.learners.passes import in_chunks


@pytest.mark.parametrize("rows", [0, 1])
def test_chunks_are_put_together(learner: Any, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(passes, "CHUNK", 4)
    made = learner(lambda: nn.Linear(2, 2), dtype="float64", threads=3)
    made.module.train()
    sizes, threads = [], []

    def one(part: torch.Tensor) -> torch.Tensor:
        assert part.dtype == torch.float64
        assert not torch.is_grad_enabled()
        assert not made.module.training
        sizes.append(len(part))
        threads.append(torch.get_num_threads())
        return part if rows == 0 else torch.stack([part, part + 1])

    before = torch.get_num_threads()
    features = torch.arange(20.0).reshape(10, 2)
    found = in_chunks(made, features, one, rows=rows)
    assert sizes == [4, 4, 2]
    assert threads == [3, 3, 3]
    assert torch.get_num_threads() == before
    expected = features.double()
    assert torch.equal(found, expected if rows == 0 else torch.stack([expected, expected + 1]))
