from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from querist.storage.plain import from_bytes, to_bytes, to_plain

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
)
nested = st.recursive(
    leaves,
    lambda x: (
        st.lists(x, max_size=3)
        | st.tuples(x, x)
        | st.dictionaries(st.text(max_size=5), x, max_size=3)
    ),
    max_leaves=10,
)


@given(nested)
def test_nested_values_come_back(value: Any) -> None:
    assert from_bytes(to_bytes(value)) == value


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_tensors_come_back(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape) * 10).to(dtype)
    found = from_bytes(to_bytes({"x": [tensor]}))["x"][0]
    assert found.dtype == dtype
    assert found.shape == tensor.shape
    assert torch.equal(found, tensor)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_arrays_come_back(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    found = from_bytes(to_bytes((array, 1)))[0]
    assert isinstance(found, np.ndarray)
    assert found.shape == shape
    assert np.array_equal(found, array)


def test_odd_memory_layouts_come_back() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(from_bytes(to_bytes(array.T[::2])), array.T[::2])
    assert torch.equal(from_bytes(to_bytes(torch.from_numpy(array).T)), torch.from_numpy(array).T)
    view = torch.zeros(4, requires_grad=True)
    assert torch.equal(from_bytes(to_bytes(view)), torch.zeros(4))


def test_numpy_scalars_become_python_numbers() -> None:
    assert from_bytes(to_bytes([np.int64(3), np.float32(0.5), np.bool_(True)])) == [3, 0.5, True]
    assert math.isnan(from_bytes(to_bytes(math.nan)))


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {3}}, b"bytes", lambda: None, 1j])
def test_what_cannot_be_stored(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be stored: use numbers"):
        to_plain(value)
