from __future__ import annotations

import pytest
import torch

from querist.items.digests import digests_of


def test_equal_rows_have_equal_digests() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    first, second, third = digests_of(features)
    assert first == third != second
    assert digests_of(features[2:]) == [third], "a row's digest does not depend on its neighbours"


def test_a_negative_zero_is_a_zero() -> None:
    assert digests_of(torch.tensor([[-0.0]])) == digests_of(torch.tensor([[0.0]]))


def test_type_and_shape_count() -> None:
    rows = torch.zeros(1, 4)
    others = (rows.double(), rows.int(), rows.reshape(1, 2, 2))
    assert len({digests_of(features)[0] for features in (rows, *others)}) == 4


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 2)])
def test_rows_of_any_shape(shape: tuple[int, ...]) -> None:
    features = torch.arange(torch.Size(shape).numel()).reshape(shape)
    assert len(set(digests_of(features))) == 3
    assert digests_of(features.transpose(0, -1).contiguous().transpose(0, -1)) == digests_of(
        features
    ), "whatever lies where in memory"


def test_nothing_has_no_digest() -> None:
    assert digests_of(torch.empty(0, 7)) == []
