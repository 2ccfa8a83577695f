from __future__ import annotations

import os

import pytest
import torch

from querist.training.threads import (
    SMALL_MODEL_PARAMETERS,
    choose_threads,
    share_cores,
    torch_threads,
)


def test_small_models_get_one_thread() -> None:
    assert choose_threads("auto", 0) == choose_threads("auto", SMALL_MODEL_PARAMETERS - 1) == 1
    assert choose_threads("auto", SMALL_MODEL_PARAMETERS) == len(os.sched_getaffinity(0))
    assert choose_threads(7, 10**9) == 7


def test_threads_are_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):  # noqa: PT012
        assert torch.get_num_threads() == before + 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


def test_learners_side_by_side_share_the_cores() -> None:
    try:
        share_cores(1)
        assert choose_threads("auto", 10**9) == 1
        assert choose_threads(7, 10**9) == 7
        share_cores(10**6)
        assert choose_threads("auto", 10**9) == len(os.sched_getaffinity(0))
    finally:
        share_cores(None)
