"""What probabilities of a learner must be."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def check_probabilities(
    found: torch.Tensor, shape: Sequence[int], name: str, *, sum_to_one: bool
) -> None:
    """Refuse what are no probabilities: finite floats in 0 .. 1 on the CPU; rows sum to 1.

    Raises:
        AssertionError: what is not as it should be.
    """
    assert found.shape == tuple(shape), f"{name} gives {tuple(shape)}, not {tuple(found.shape)}"
    assert found.device.type == "cpu", f"{name} is on {found.device}, not on the CPU"
    assert found.is_floating_point(), f"probabilities are floats, not {found.dtype}"
    assert bool(found.isfinite().all()), f"{name} must be finite"
    assert bool((found >= 0).all()), f"{name} is negative: {found.min()}"
    if not sum_to_one:
        assert bool((found <= 1).all()), f"{name} is above 1: {found.max()}"
        return
    off = float((found.sum(-1) - 1).abs().max())
    assert off < 1e-4, f"rows of {name} sum to 1, one is off by {off}"
