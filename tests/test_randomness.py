from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from querist.randomness import derive_seed, generator, seeded_globally

seeds = st.integers(0, 2**63 - 1)


@given(seeds, st.integers(-1, 10**6), st.text(max_size=10), st.text(max_size=10))
def test_a_seed_is_in_range_and_depends_on_nothing_else(
    seed: int, iteration: int, phase: str, purpose: str
) -> None:
    found = derive_seed(seed, iteration, phase, purpose)
    assert 0 <= found < 2**63
    assert derive_seed(seed, iteration, phase, purpose) == found


def test_a_seed_never_changes_between_versions() -> None:
    # Runs that were stopped under an older version go on under this one.
    assert derive_seed(0, 0, "train", "epoch 0") == 8707769464184680099


def test_each_part_matters() -> None:
    parts = [(1, 2, "a", "b"), (2, 2, "a", "b"), (1, 3, "a", "b"), (1, 2, "c", "b"),
             (1, 2, "a", "c"),
             (12, 2, "a", "b"), (1, 22, "a", "b"), (1, 2, "", "ab"), (1, 2, "ab", "")]  # fmt: skip
    assert len({derive_seed(*p) for p in parts}) == len(parts)


def test_generators_are_independent_of_each_other_and_of_the_global_one() -> None:
    first = torch.rand(3, generator=generator(1, 0, "query", "x"))
    torch.rand(7)
    assert torch.equal(torch.rand(3, generator=generator(1, 0, "query", "x")), first)
    assert not torch.equal(torch.rand(3, generator=generator(1, 1, "query", "x")), first)


@given(seeds)
def test_global_generators_are_put_back(seed: int) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    with seeded_globally(seed):
        inside = torch.rand(2), np.random.rand(2)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])
    with seeded_globally(seed):
        assert torch.equal(torch.rand(2), inside[0])
        assert np.array_equal(np.random.rand(2), inside[1])


def test_global_generators_are_put_back_after_an_error() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with pytest.raises(ZeroDivisionError), seeded_globally(3):  # noqa: PT012
        torch.rand(2)
        np.random.rand(2)
        1 / 0  # noqa: B018
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
