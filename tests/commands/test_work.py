from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from querist.commands.work import plain_file, work_in, write_arrays, write_json
from querist.errors import ConfigurationError
from querist.registry import build


def test_components_are_told_and_those_that_they_hold(tmp_path: Path) -> None:
    inner = {"name": "command", "options": {"argv": ["true"]}}
    criterion = build("stop", "any_of", {"criteria": [inner, "max_iterations"]} | {
        "criteria": [inner, {"name": "all_of", "options": {"criteria": [inner]}}]
    })  # fmt: skip
    work_in(criterion, tmp_path)
    first, second = criterion.criteria
    assert first._folder == second.criteria[0]._folder == tmp_path
    work_in(None, tmp_path)
    work_in(object(), tmp_path)


def test_what_is_written_for_commands(work: Path) -> None:
    path = write_json(work / "a.json", {"x": torch.tensor([1.0, float("nan")]), "y": np.int64(3)})
    assert json.loads(path.read_text()) == {"x": [1.0, None], "y": 3}
    arrays = np.load(write_arrays(work / "a.npz", {"x": torch.ones(2)}), allow_pickle=False)
    assert arrays["x"].tolist() == [1.0, 1.0]
    assert np.load(write_arrays(work / "a.npy", {"x": [1]}), allow_pickle=False).tolist() == [1]


def test_plain_files_only(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert plain_file(folder, "a/b") == folder / "a" / "b"
    with pytest.raises(ConfigurationError, match="leads through a link"):
        plain_file(folder, "link/file")
