from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import UnknownNameError
from querist.strategies.query.class_balanced import ClassBalanced, evened_out
from querist.strategies.query.margin import Margin, margin_scores
from querist.testing import FixedProbabilities, QueryStrategyContract, query_context


class TestContract(QueryStrategyContract):
    def make(self) -> ClassBalanced:
        return ClassBalanced()


COUNTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=100)
@given(counts=COUNTS, n=st.integers(0, 30))
def test_turns_are_those_of_the_plain_rule(counts: list[tuple[int, int]], n: int) -> None:
    labeled, there = (list(column) for column in zip(*counts, strict=True))
    expected = []
    now, left = list(labeled), list(there)
    for _ in range(min(n, sum(there))):
        each = min((c for c in range(len(now)) if left[c]), key=lambda c: (now[c], c))
        expected.append(each)
        now[each] += 1
        left[each] -= 1
    assert list(evened_out(labeled, there, n)) == expected


def skewed(features: torch.Tensor) -> torch.Tensor:
    """Class 0 below 30, class 1 below 38, class 2 from there; surer with higher numbers."""
    at = features[:, 0]
    best = (at >= 30).long() + (at >= 38).long()
    sure = 0.4 + at / 100
    rows = ((1 - sure) / 2)[:, None].repeat(1, 3)
    return rows.scatter(1, best[:, None], sure[:, None])


def test_classes_with_few_labels_get_more() -> None:
    features = torch.arange(40, dtype=torch.float64)[:, None]
    context = query_context(
        features=features,
        targets=torch.tensor([0] * 30 + [1] * 8 + [2] * 2),
        learner=FixedProbabilities(skewed),
        labeled=(0, 1, 2, 30),
    )
    found = ClassBalanced().sample(context, 8)
    # Class 2 has no label and two samples; class 1 has one label, class 0 three.
    assert found.indices == (38, 31, 39, 32, 3, 33, 4, 34)
    plain = Margin().sample(context, 8).indices
    assert all(index < 30 for index in plain)


def test_agrees_with_numpy() -> None:
    context = query_context()
    features = context.pool.features(context.unlabeled)
    probabilities = context.learner.predict_proba(features)
    classes, scores = probabilities.argmax(1), margin_scores(probabilities)
    labeled = torch.bincount(context.labeled.targets, minlength=3).tolist()
    there = torch.bincount(classes, minlength=3).tolist()
    queues = []
    for each in range(3):
        members = context.unlabeled[classes == each]
        order = torch.sort(scores[classes == each], descending=True, stable=True).indices
        queues.append(iter(members[order].tolist()))
    expected = tuple(next(queues[each]) for each in evened_out(labeled, there, 12))
    assert ClassBalanced().sample(context, 12).indices == expected


def test_the_strategy_inside_is_checked() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'margin'"):
        ClassBalanced("margn")
