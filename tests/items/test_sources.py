"""Every source of items keeps the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from querist.items import FileItems, LabeledRun, PoolItems
from querist.registry import components
from querist.testing import ItemSourceContract
from tests.shared.runs import drive, experiment, new_run

__all__ = ["drive", "experiment", "new_run"]


class TestPool(ItemSourceContract):
    def make(self) -> PoolItems:
        return PoolItems("digits")


class TestInlineFiles(ItemSourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        lines = [
            {"id": "a", "label": 0, "metadata": {"site": "north"}, "features": [0.5, 0.25]},
            {"id": "b", "label": None, "features": [1, 2]},
            {"id": "twin of a", "label": 1, "features": [0.5, 0.25]},
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        (tmp_path / "items.jsonl").write_text(text + "\n", encoding="utf-8")

    def make(self) -> FileItems:
        return FileItems(str(self.folder), classes=2)


class TestFilesWithRows(ItemSourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        np.save(tmp_path / "features.npy", np.arange(12.0).reshape(3, 2, 2))
        text = "\n".join(json.dumps({"id": str(n), "label": n / 2, "row": n}) for n in (2, 0, 1))
        (tmp_path / "items.jsonl").write_text(text, encoding="utf-8")

    def make(self) -> FileItems:
        return FileItems(str(self.folder))


class TestLabeledRun(ItemSourceContract):
    @pytest.fixture(autouse=True)
    def _run(self, new_run: Callable[..., Any], drive: Any, tmp_path: Path) -> None:
        # It stays open, and locked, while it is read.
        run = new_run("labels", data={"split": {"validation": 0.1}})
        drive.iterate(run, 0)
        self.root = tmp_path / "runs"

    def make(self) -> LabeledRun:
        source = LabeledRun("labels")
        source.bind(self.root)
        return source


def test_they_are_registered() -> None:
    assert {c.name for c in components("items")} >= {"files", "labeled_run", "pool"}
