from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import StrategyError
from querist.strategies.gates.detection import intersection_over_union, match, overlap_of_each
from querist.values import Detections, Outcomes, Task

Box = tuple[int, tuple[float, float, float, float]]
"""A class, and left, top, right, bottom."""


def detections(boxes: list[Box], scores: list[float] | None = None) -> Detections:
    return Detections(
        torch.tensor([box for _, box in boxes]).reshape(-1, 4).float(),
        torch.tensor([label for label, _ in boxes], dtype=torch.int64),
        None if scores is None else torch.tensor(scores),
    )


def images(*pairs: tuple[list[tuple[float, Box]], list[Box]]) -> Outcomes:
    found = [detections([b for _, b in f], [s for s, _ in f]) for f, _ in pairs]
    truth = [detections(t) for _, t in pairs]
    nothing = torch.empty(0)
    return Outcomes(Task.CLASSIFICATION, 3, nothing, nothing, found=found, truth=truth)


def precision(outcomes: Outcomes, threshold: float = 0.5, label: int | None = None) -> float:
    assert outcomes.found is not None
    times = torch.ones(len(outcomes.found), dtype=torch.int64)
    return match(outcomes, threshold).mean_average_precision(times, label)


ONE: Box = (0, (0, 0, 10, 10))
SHIFTED: Box = (0, (0, 0, 10, 5))
ELSEWHERE: Box = (0, (20, 20, 30, 30))
OTHER_CLASS: Box = (1, (0, 0, 10, 10))


def test_overlap_is_shared_area_over_all_area() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [5, 5, 5, 5]])
    others = torch.tensor([[0, 0, 10, 5], [5, 5, 15, 15], [10, 0, 20, 10], [5, 5, 5, 5]])
    expected = [[0.5, 25 / 175, 0, 0], [0, 0, 0, 0]]
    assert torch.allclose(
        intersection_over_union(boxes, others), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([([(0.9, ONE)], [ONE])], 1.0),
        ([([(0.9, SHIFTED)], [ONE])], 1.0),  # reached is enough
        ([([(0.9, ELSEWHERE)], [ONE])], 0.0),
        ([([(0.9, OTHER_CLASS)], [ONE])], 0.0),
        ([([], [ONE])], 0.0),
        ([([(0.9, ONE), (0.8, ONE)], [ONE])], 1.0),  # found twice: the second one is wrong
        ([([(0.8, ONE), (0.9, ELSEWHERE)], [ONE])], 0.5),
        ([([(0.9, ONE)], [ONE]), ([], [ONE])], 0.5),
        ([([(0.9, ONE)], [ONE]), ([(0.8, ELSEWHERE), (0.7, ONE)], [ONE])], (1 + 2 / 3) / 2),
        ([([(0.9, ONE), (0.9, OTHER_CLASS)], [ONE, (1, ELSEWHERE[1])])], 0.5),  # mean of 1 and 0
        ([([(0.5, ONE)], [ONE]), ([(0.5, ELSEWHERE)], [])], 0.5),  # one score: together
    ],
)
def test_average_precision_by_hand(pairs: Any, expected: float) -> None:
    assert precision(images(*pairs)) == pytest.approx(expected)


def test_a_higher_threshold_finds_less() -> None:
    outcomes = images(([(0.9, SHIFTED)], [ONE]))
    assert precision(outcomes, 0.51) == 0.0


def test_one_class_only() -> None:
    outcomes = images(([(0.9, ONE), (0.9, OTHER_CLASS)], [ONE, (1, ELSEWHERE[1])]))
    assert (precision(outcomes, label=0), precision(outcomes, label=1)) == (1.0, 0.0)
    assert math.isnan(precision(outcomes, label=2)), "there is no such box"


def test_nothing_to_find_has_no_precision() -> None:
    assert math.isnan(precision(images(([(0.9, ONE)], []))))
    assert math.isnan(precision(images(([(math.nan, ONE)], [ONE]))))


def test_an_image_that_counts_twice() -> None:
    outcomes = images(([(0.9, ONE)], [ONE]), ([(0.8, ELSEWHERE)], [ONE]))
    assert match(outcomes, 0.5).mean_average_precision(torch.tensor([2, 1])) == pytest.approx(2 / 3)
    assert match(outcomes, 0.5).mean_average_precision(torch.tensor([3, 0])) == 1.0


box = st.tuples(st.integers(0, 1), st.tuples(st.integers(0, 3), st.integers(0, 3))).map(
    lambda b: (b[0], (b[1][0], b[1][1], b[1][0] + 3, b[1][1] + 2))
)
scored = st.tuples(st.integers(0, 4).map(lambda n: n / 4), box)
pair = st.tuples(st.lists(scored, max_size=4), st.lists(box, max_size=3))


def plain(pairs: Any, threshold: float) -> float:
    """Class by class and box by box; the curve's steps one after the other."""
    results = []
    for label in (0, 1):
        total = sum(t[0] == label for _, truth in pairs for t in truth)
        if not total:
            continue
        right = []
        for found, truth in pairs:
            free = [t for t in truth if t[0] == label]
            for score, (mine, where) in sorted(found, key=lambda f: -f[0]):
                if mine != label:
                    continue
                overlaps = [overlap(where, t[1]) for t in free]
                best = max(overlaps, default=0.0)
                hit = bool(overlaps) and best >= threshold
                if hit:
                    del free[overlaps.index(best)]
                right.append((score, hit))
        points = []
        for score in sorted({s for s, _ in right}, reverse=True):
            kept = [hit for s, hit in right if s >= score]
            points.append((sum(kept) / total, sum(kept) / len(kept)))
        area, reached = 0.0, 0.0
        for i, (recall, _) in enumerate(points):
            area += (recall - reached) * max(p for _, p in points[i:])
            reached = recall
        results.append(area)
    return sum(results) / len(results) if results else math.nan


def overlap(one: Any, other: Any) -> float:
    sides = [max(0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1)]
    shared = sides[0] * sides[1]
    return float(shared / (12 - shared))


@settings(deadline=None, max_examples=200)
@given(pairs=st.lists(pair, min_size=1, max_size=4), threshold=st.sampled_from([0.2, 0.5, 1.0]))
def test_as_the_plain_reference(pairs: Any, threshold: float) -> None:
    found, expected = precision(images(*pairs), threshold), plain(pairs, threshold)
    assert found == pytest.approx(expected, nan_ok=True)


def test_how_well_boxes_fit_image_by_image() -> None:
    outcomes = images(
        ([(0.9, ONE)], [ONE]),
        ([(0.9, SHIFTED)], [ONE]),
        ([(0.9, ONE), (0.8, ELSEWHERE)], [ONE]),
        ([], []),
        ([(0.9, ONE)], []),
        ([], [ONE]),
    )
    assert overlap_of_each(outcomes).tolist() == pytest.approx([1, 0.5, 2 / 3, 1, 0, 0])


def test_what_cannot_be_matched_is_refused() -> None:
    whole = images(([(0.9, ONE)], [ONE]))
    for change, message in (
        ({"truth": None}, "image by image: give the found and the true ones of each"),
        ({"truth": []}, "image by image"),
        ({"found": [detections([ONE])]}, "found boxes have a score each"),
        ({"truth": [Detections(torch.zeros(1, 4), torch.empty(0))]}, "boxes have a class each"),
    ):
        with pytest.raises(StrategyError, match=message):
            match(Outcomes(**{**whole.__dict__, **change}), 0.5)
