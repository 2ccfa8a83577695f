from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError
from querist.strategies.geometry import approximate
from querist.strategies.geometry.approximate import ApproximateNeighbours, import_faiss
from querist.strategies.geometry.neighbours import k_nearest

DRAWN = torch.Generator().manual_seed(4)
CENTRES = torch.randn(9, 5, generator=DRAWN) * 6
X = CENTRES[torch.randint(9, (1200,), generator=DRAWN)] + torch.randn(1200, 5, generator=DRAWN)
ALL = torch.arange(1200)


def rows(indices: torch.Tensor) -> torch.Tensor:
    return X[indices]


def test_without_faiss_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    original = builtins.__import__

    def refuse(name: str, *args: object, **more: object) -> object:
        if name == "faiss":
            raise ModuleNotFoundError("No module named 'faiss'")
        return original(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigurationError, match="needs faiss: pip install 'querist.neighbours.'"):
        import_faiss()


class TestIndex:
    @pytest.fixture(autouse=True)
    def _needs_faiss(self) -> None:
        pytest.importorskip("faiss", reason="needs the extra querist[neighbours]")

    def test_all_lists_give_the_exact_neighbours(self) -> None:
        index = ApproximateNeighbours(rows, 1200)
        allowed = ALL[ALL % 3 != 0]
        found = index.nearest(X[:40] + 0.01, 7, allowed, probes=1000)
        expected = allowed[k_nearest(X[allowed], X[:40] + 0.01, 7)[1]]
        assert torch.equal(found, expected)

    def test_some_lists_give_most_of_them(self) -> None:
        found = ApproximateNeighbours(rows, 1200).nearest(X[:100], 10, ALL, probes=8)
        expected = k_nearest(X, X[:100], 10)[1]
        pairs = zip(found.tolist(), expected.tolist(), strict=True)
        assert sum(len(set(one) & set(other)) for one, other in pairs) > 900

    def test_far_from_zero_no_digits_are_lost(self) -> None:
        far = X + 1e4
        found = ApproximateNeighbours(lambda i: far[i], 1200).nearest(far[:40], 5, ALL, probes=1000)
        moved = far - far.mean(0)
        assert torch.equal(found, k_nearest(moved, moved[:40], 5)[1])

    def test_parts_are_searched_as_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = ApproximateNeighbours(rows, 1200).nearest(X[:40], 7, ALL, probes=1000)
        monkeypatch.setattr(approximate, "PART", 28 * 250)
        cut = ApproximateNeighbours(rows, 1200)
        assert len(cut._parts) == 5
        assert torch.equal(cut.nearest(X[:40], 7, ALL, probes=1000), whole)

    def test_fewer_than_k_are_filled_up(self) -> None:
        index = ApproximateNeighbours(rows, 1200)
        found = index.nearest(X[:2], 5, torch.tensor([3, 9]), probes=1000)
        assert [sorted(row) for row in found.tolist()] == [[-1, -1, -1, 3, 9]] * 2

    @pytest.mark.parametrize("size", [1, 2, 30, 50])
    def test_small_pools(self, size: int) -> None:
        found = ApproximateNeighbours(rows, size).nearest(X[:1], 1, torch.arange(size), probes=9)
        assert found.tolist() == [[0]]

    def test_it_is_found_again_and_gone_on_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(approximate, "PART", 28 * 250)
        first = ApproximateNeighbours(rows, 1200, tmp_path).nearest(X[:9], 7, ALL, probes=4)
        before = {path.name: digest(path) for path in tmp_path.iterdir()}
        assert len(before) == 6
        (tmp_path / "250-500.faiss").unlink()  # as a killed process leaves it
        (tmp_path / "250-500.unfinished").write_bytes(b"half of it")
        read = []

        def watched(indices: torch.Tensor) -> torch.Tensor:
            read.extend(indices.tolist())
            return X[indices]

        again = ApproximateNeighbours(watched, 1200, tmp_path).nearest(X[:9], 7, ALL, probes=4)
        assert read == list(range(250, 500))
        assert torch.equal(again, first)
        assert {path.name: digest(path) for path in tmp_path.iterdir()} == before


    @pytest.mark.parametrize("name", ["lists.faiss", "0-1200.faiss"])
    @pytest.mark.parametrize("kept", [0, 10, 400, -1])
    def test_a_damaged_file_is_built_again(
        self, tmp_path: Path, name: str, kept: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a power cut may leave: an empty file, or some of it."""
        first = ApproximateNeighbours(rows, 1200, tmp_path).nearest(X[:9], 7, ALL, probes=4)
        before = {path.name: digest(path) for path in tmp_path.iterdir()}
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:kept])
        again = ApproximateNeighbours(rows, 1200, tmp_path).nearest(X[:9], 7, ALL, probes=4)
        assert torch.equal(again, first)
        assert {path.name: digest(path) for path in tmp_path.iterdir()} == before
        assert f"{name} is damaged and is built again" in caplog.text

    def test_a_file_is_on_the_disk_before_it_has_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        monkeypatch.setattr(approximate, "_flush", lambda path: done.append(f"flush {path.name}"))
        monkeypatch.setattr(os, "replace", _watched(os.replace, done))
        ApproximateNeighbours(rows, 1200, tmp_path)
        assert done == [
            *("flush lists.unfinished", "name lists.faiss"),
            *("flush 0-1200.unfinished", "name 0-1200.faiss"),
        ]


def _watched(replace: Any, done: list[str]) -> Any:
    def watched(source: Path, target: Path) -> None:
        replace(source, target)
        done.append(f"name {target.name}")

    return watched


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
