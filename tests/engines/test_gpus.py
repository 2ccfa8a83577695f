"""GPUs are dealt out, and never shared by accident."""

from __future__ import annotations

import pytest

from querist.engines.gpus import GpuDealer, visible_gpus
from querist.errors import ConfigurationError


def test_nobody_gets_what_another_has() -> None:
    dealer = GpuDealer(2, 2, ["0", "3", "5", "GPU-7"])
    first, second = dealer.take(), dealer.take()
    assert sorted(first + second) == ["0", "3", "5", "GPU-7"]
    dealer.give_back(first)
    assert dealer.take() == first


def test_too_few_are_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigurationError, match="3 learners at once with 1 GPUs each need 3"):
        GpuDealer(1, 3, ["0", "1"])


def test_without_gpus_there_is_nothing_to_deal() -> None:
    assert GpuDealer(0, 100, []).take() == []


def test_the_users_choice_of_gpus_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-1")
    assert visible_gpus() == ["2", "GPU-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
