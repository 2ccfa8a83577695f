from __future__ import annotations

from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.geometry.points import Points
from querist.strategies.query.covering import checked_references, select_covering
from querist.strategies.query.space import Space
from querist.testing import query_context


def test_references_are_a_number_or_all() -> None:
    assert checked_references(None) is None
    assert checked_references(7) == 7
    with pytest.raises(ConfigurationError, match="references is a whole number of at least 1"):
        checked_references(0)


@pytest.mark.parametrize("references", [None, 9])
def test_the_width_is_asked_for_the_points_and_what_is_to_be_covered(references: Any) -> None:
    context, seen = query_context(), []

    def width(asked: Any, points: Points, covered: torch.Tensor) -> float:
        seen.append((asked is context, len(points), len(covered)))
        return 1.0

    found = select_covering(context, 4, Space("features"), references, width, torch.Tensor.exp_)
    there = len(context.unlabeled)
    assert seen == [(True, there, references or there)]
    assert len(set(found.indices)) == 4
    assert found.scores == (4.0, 3.0, 2.0, 1.0)


def test_nothing_is_gathered_for_nothing() -> None:
    def width(*_: Any) -> float:
        raise AssertionError("it is asked for no samples")

    for context, n in ((query_context(), 0), (query_context(unlabeled=torch.tensor([]).long()), 3)):
        found = select_covering(context, n, Space("features"), None, width, torch.Tensor.exp_)
        assert len(found) == 0
