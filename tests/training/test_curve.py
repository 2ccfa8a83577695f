"""The points of a curve are few, and depend on nothing but the epoch."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from querist.training.curve import PartialWithCurve, TrainingCurve, is_point, rows_of, thinned
from querist.training.job import EpochReport
from tests.shared.memory import Memory


def trained(epochs: int, *, of: int | None = None, points: int = 50) -> TrainingCurve:
    curve = TrainingCurve(points)
    for epoch in range(1, epochs + 1):
        curve.add(EpochReport(epoch, of or epochs, 1 / epoch, lr=0.1))
    return curve


@given(epochs=st.integers(1, 3000), points=st.integers(4, 200))
def test_never_more_points_and_always_the_ends(epochs: int, points: int) -> None:
    chosen = [epoch for epoch in range(1, epochs + 1) if is_point(epoch, epochs, points)]
    assert len(chosen) <= points
    assert chosen[0] == 1
    assert chosen[-1] == epochs
    if epochs <= points:
        assert len(chosen) == epochs


def test_ten_thousand_epochs_have_points_everywhere() -> None:
    chosen = [row[0] for row in trained(10_000).rows]
    assert 40 <= len(chosen) <= 50
    gaps = [b - a for a, b in itertools.pairwise(chosen)]
    assert max(gaps) <= 10_000 / 23
    assert len([epoch for epoch in chosen if epoch < 100]) >= 6


def test_a_training_that_is_stopped_early_has_a_curve_too() -> None:
    rows = trained(300, of=10**6).rows
    assert [row[0] for row in rows][-1] == 300, "the epoch that it ended with"
    assert 8 <= len(rows) <= 50


@given(
    epochs=st.integers(1, 500), stopped=st.integers(1, 500), points=st.integers(4, 60)
)
def test_nor_with_an_early_end(epochs: int, stopped: int, points: int) -> None:
    rows = trained(min(epochs, stopped), of=epochs, points=points).rows
    assert len(rows) <= points
    assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    assert rows[-1][0] == min(epochs, stopped)


def test_add_gives_only_what_is_a_point_whatever_comes_next() -> None:
    curve = TrainingCurve(4)
    given_ = [curve.add(EpochReport(e, 100, 0.5)) for e in range(1, 8)]
    assert given_[0] == (1, 0.5, None, None)
    assert given_[-1] is None
    assert curve.rows[-1] == (7, 0.5, None, None)


def test_no_points() -> None:
    assert trained(10, points=0).rows == []


def test_a_curve_is_thinned_to_its_ends_and_some_between() -> None:
    rows = trained(200, points=200).rows
    thin = thinned(rows, 20)
    assert len(thin) <= 20
    assert (thin[0], thin[-1]) == (rows[0], rows[-1])
    assert set(thin) <= set(rows)
    assert thinned(rows[:5], 20) == rows[:5]
    assert thinned([], 20) == []


def test_a_curve_goes_on_from_a_partial_checkpoint() -> None:
    memory = Memory()
    first = trained(7, of=30, points=10)
    PartialWithCurve(memory, first).save(7, {"weights": b"w"})
    again = TrainingCurve(10)
    found = PartialWithCurve(memory, again).latest()
    assert found is not None
    assert found[0] == 7
    assert again.rows == first.rows
    for epoch in range(8, 31):
        again.add(EpochReport(epoch, 30, 1 / epoch, lr=0.1))
    assert again.rows == trained(30, points=10).rows


def test_epochs_that_come_again_replace_what_was() -> None:
    curve = trained(7, of=9, points=4)
    for epoch in range(3, 10):
        curve.add(EpochReport(epoch, 9, 1 / epoch, lr=0.1))
    assert curve.rows == trained(9, points=4).rows


def test_the_loop_finds_its_own_files_only() -> None:
    memory = Memory()
    PartialWithCurve(memory, trained(3, of=9)).save(3, {"weights": b"w"})
    found = PartialWithCurve(memory, TrainingCurve(50)).latest()
    assert found == (3, {"weights": b"w"})


def test_a_partial_checkpoint_without_a_curve() -> None:
    memory = Memory()
    curve = TrainingCurve(10)
    assert PartialWithCurve(memory, curve).latest() is None
    memory.save(3, {"weights": b"w"})
    assert PartialWithCurve(memory, curve).latest() == (3, {"weights": b"w"})
    assert curve.rows == []


def test_curves_of_older_versions_have_no_learning_rate() -> None:
    assert rows_of([[1, 0.5, None], [2, 0.25, 0.5, 0.1]]) == [
        (1, 0.5, None, None), (2, 0.25, 0.5, 0.1),
    ]  # fmt: skip
