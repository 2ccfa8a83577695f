from __future__ import annotations

import errno
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querist.errors import StorageError
from querist.shared_views import SharedViews, computed_on, is_mapped
from querist.views import View

INDICES = torch.tensor([2, 3, 5, 7, 11])
VALUES = torch.arange(10.0).reshape(5, 2)


def kept(view: View = View.EMBEDDINGS, values: torch.Tensor = VALUES) -> SharedViews:
    shared = SharedViews()
    shared.keep(view, INDICES, values)
    return shared


@settings(deadline=None, max_examples=60)
@given(wanted=st.sets(st.sampled_from(INDICES.tolist())))
def test_some_of_the_kept_are_found(wanted: set[int]) -> None:
    asked = torch.tensor(sorted(wanted), dtype=torch.int64)
    found = kept().get(View.EMBEDDINGS, asked)
    assert found is not None
    rows = [INDICES.tolist().index(i) for i in sorted(wanted)]
    assert torch.equal(found, VALUES[rows])
    assert kept().has(View.EMBEDDINGS, asked)


def test_models_come_first_in_samples() -> None:
    samples = torch.rand(3, 5, 2)
    found = kept(View.PROBABILITY_SAMPLES, samples).get(
        View.PROBABILITY_SAMPLES, torch.tensor([3, 11])
    )
    assert found is not None
    assert torch.equal(found, samples[:, [1, 4]])


def test_what_was_not_asked_is_not_there() -> None:
    shared = kept()
    for asked in ([4], [2, 4], [1, 2, 3, 5, 7, 11], [99]):
        assert shared.get(View.EMBEDDINGS, torch.tensor(asked)) is None
        assert not shared.has(View.EMBEDDINGS, torch.tensor(asked))
    assert shared.get(View.LOGITS, INDICES) is None
    assert not shared.has(View.LOGITS, INDICES)


def test_as_it_stands_it_is_not_copied() -> None:
    shared = kept()
    assert shared.get(View.EMBEDDINGS, INDICES) is VALUES
    assert shared.get(View.EMBEDDINGS, INDICES.clone()) is VALUES


def test_there_is_room_up_to_the_limit_for_all_views_together() -> None:
    shared = SharedViews(in_memory=100)
    row = torch.zeros(3, 2)
    room = shared.room(View.EMBEDDINGS, row, 10, needed=False)
    assert room is not None
    assert room.shape == (10, 2)
    shared.keep(View.EMBEDDINGS, torch.arange(10), room)
    assert shared.room(View.LOGITS, row, 3, needed=False) is None
    assert shared.room(View.LOGITS, row, 2, needed=False) is not None


def test_what_is_kept_anew_takes_the_place_of_the_old() -> None:
    shared = SharedViews(in_memory=100)
    for _ in range(3):
        shared.keep(View.EMBEDDINGS, INDICES, torch.zeros(5, 2))
    assert shared.room(View.LOGITS, torch.zeros(1, 1), 15, needed=False) is not None


def test_beyond_the_limit_there_is_a_file_where_it_is_needed() -> None:
    shared = SharedViews(in_memory=100)
    mapped = shared.room(View.EMBEDDINGS, torch.zeros(1, 2), 1000, needed=True)
    assert mapped is not None
    assert mapped.mapped  # type: ignore[attr-defined]
    assert mapped.shape == (1000, 2)
    assert mapped.dtype == torch.float32
    mapped[999] = 7
    shared.keep(View.EMBEDDINGS, torch.arange(1000), mapped)
    # It takes nothing of what may be kept in memory.
    assert shared.room(View.LOGITS, torch.zeros(1, 1), 25, needed=False) is not None
    found = shared.get(View.EMBEDDINGS, torch.tensor([0, 999]))
    assert found is not None
    assert found.tolist() == [[0, 0], [7, 7]]


def test_room_is_reserved_until_it_is_kept_or_released() -> None:
    shared = SharedViews(in_memory=100)
    row = torch.zeros(1, 2)
    first = shared.room(View.EMBEDDINGS, row, 10, needed=False)
    assert first is not None
    assert shared.room(View.LOGITS, row, 10, needed=False) is None
    shared.release(first)
    second = shared.room(View.LOGITS, row, 10, needed=False)
    assert second is not None
    shared.keep(View.LOGITS, torch.arange(10), second)
    shared.release(second)
    assert shared.room(View.EMBEDDINGS, row, 3, needed=False) is None
    assert shared.room(View.EMBEDDINGS, row, 2, needed=False) is not None


def test_some_rows_of_a_file_lie_in_a_file_where_they_are_many() -> None:
    shared = SharedViews(in_memory=100)
    values = shared.room(View.PROBABILITY_SAMPLES, torch.zeros(2, 1, 1), 1000, needed=True)
    assert values is not None
    values.copy_(torch.arange(2000.0).reshape(2, 1000, 1))
    shared.keep(View.PROBABILITY_SAMPLES, torch.arange(1000), values)
    for step, mapped in ((2, True), (100, False)):
        asked = torch.arange(0, 1000, step)
        found = shared.get(View.PROBABILITY_SAMPLES, asked)
        assert found is not None
        assert is_mapped(found) is mapped
        assert torch.equal(found, values[:, ::step])
    # Nothing stays reserved for what is not kept.
    assert shared.room(View.LOGITS, torch.zeros(1, 1), 25, needed=False) is not None


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"8000 bytes do not fit there, No space left.*TMPDIR"):
        SharedViews(in_memory=100).room(View.EMBEDDINGS, torch.zeros(1, 2), 1000, needed=True)


def test_a_file_remembers_where_its_values_were_computed() -> None:
    row = torch.zeros(1, 2, device="meta")
    found = SharedViews(in_memory=100).room(View.EMBEDDINGS, row, 1000, needed=True)
    assert found is not None
    assert (found.device.type, computed_on(found).type) == ("cpu", "meta")
    assert computed_on(VALUES) == VALUES.device


def test_nothing_always_has_room() -> None:
    shared = SharedViews(in_memory=10)
    shared.keep(View.EMBEDDINGS, INDICES, VALUES)
    none = shared.room(View.LOGITS, torch.zeros(0, 2), 0, needed=True)
    assert none is not None
    assert none.shape == (0, 2)
