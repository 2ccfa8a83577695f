from __future__ import annotations

import pytest
import torch

from querist.strategies.geometry.scaling import exact_scale


@pytest.mark.parametrize("size", [1e-38, 1e-24, 1e-9, 1e7, 1e19, 3e38])
def test_numbers_come_near_one_and_none_is_rounded(size: float) -> None:
    x = torch.tensor([[size, -size / 3], [size / 7, 0.0]])
    scale = exact_scale(x, None, x[:0])
    assert 1e-3 < float((x * scale).abs().max()) < 1e3
    assert torch.equal(x * scale / scale, x)


def test_double_precision_has_more_room() -> None:
    assert 0.4 < 1e300 * exact_scale(torch.tensor([1e300, -1e-300], dtype=torch.float64)) < 1.1


@pytest.mark.parametrize("values", [[1.0, 0.5], [0.0], [], [float("nan")], [float("inf")]])
def test_what_fits_is_left_as_it_is(values: list[float]) -> None:
    assert exact_scale(torch.tensor(values)) == 1.0
