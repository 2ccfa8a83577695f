from __future__ import annotations

import pytest
import torch

from querist.learners import scoring
from querist.learners.scoring import Scoring

CPU = torch.device("cpu")
WEIGHTS = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))


def rows(n: int) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n", [0, 1, 6, 7, 20])
def test_chunks_are_put_together(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 7)
    sizes: list[int] = []

    def forward(features: torch.Tensor) -> torch.Tensor:
        sizes.append(len(features))
        return features @ WEIGHTS

    found = Scoring(forward, CPU, torch.float32, lambda: [WEIGHTS], capture=True)(rows(n))
    assert torch.allclose(found, rows(n) @ WEIGHTS)
    assert found.shape == (n, 2)
    assert max(sizes) <= 7


def test_features_come_as_they_are_wanted() -> None:
    seen: list[torch.dtype] = []

    def forward(features: torch.Tensor) -> torch.Tensor:
        seen.append(features.dtype)
        return features

    score = Scoring(forward, CPU, torch.float64, list, capture=False)
    score(rows(2))
    score(torch.arange(3))
    assert seen == [torch.float64, torch.int64]


def test_no_gradients_are_kept() -> None:
    weights = WEIGHTS.clone().requires_grad_()
    score = Scoring(lambda f: f @ weights, CPU, torch.float32, lambda: [weights], capture=False)
    assert not score(rows(2)).requires_grad


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU is here")
@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_gpu_scores_the_same_with_copies_behind(
    pinned: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CUDA_CHUNK", 64)
    weights = WEIGHTS.cuda()
    score = Scoring(
        lambda f: f @ weights, torch.device("cuda"), torch.float32, lambda: [weights], capture=True
    )
    features = rows(1000).to(dtype)
    features = features.pin_memory() if pinned else features
    for _ in range(3):
        expected = features.float() @ weights.cpu()
        assert torch.allclose(score(features), expected, atol=1e-3)
        weights.mul_(0.5)
    assert score._capture
