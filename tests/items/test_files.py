from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from querist.errors import DataError
from querist.items.files import FileItems

A = {"id": "a", "features": [0.5, 0.25]}


def folder(path: Path, *lines: Any, rows: Any = None) -> FileItems:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (path / "items.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    if rows is not None:
        np.save(path / "features.npy", rows)
    return FileItems(str(path), classes=2)


def test_a_line_that_is_added_is_an_item_and_changes_no_other(tmp_path: Path) -> None:
    source = folder(tmp_path, A)
    before = list(source.items())
    with (tmp_path / "items.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"id": "b", "label": 1, "features": [1e3, 2]}\n')
    after = list(source.items())
    assert after[:1] == before
    assert (after[1].id, after[1].label) == ("b", 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is no JSON"),
        ('{"id": ' + '{"x":' * 100_000, "line 2 is no JSON, maximum recursion depth"),
        ('{"id": "b", "features": [1, 2], "metadata": {"x": NaN}}', "JSON has no NaN"),
        ("[]", "line 2: an item is an object with a text `id`"),
        ({"id": 3, "features": [1, 2]}, "line 2: an item is an object with a text `id`"),
        ('{"id": "\\ud800", "features": [1, 2]}', "line 2: an id is whole Unicode text"),
        (A, "line 2: the id 'a' is there already"),
        ({"id": "b", "features": [1, 2], "tag": 1}, "line 2: there is no key 'tag'"),
        ({"id": "b"}, "line 2: an item has either `features` or a `row`"),
        ({"id": "b", "features": [1, 2], "row": 0}, "line 2: an item has either"),
        ({"id": "b", "row": True}, "line 2: a row is a whole number, not True"),
        ({"id": "b", "features": ["1", "2"]}, "line 2: features are a list of finite numbers"),
        ({"id": "b", "features": [True, 2]}, "line 2: features are a list of finite numbers"),
        ({"id": "b", "features": [[1], [2, 3]]}, "line 2: features are a list of finite numbers"),
        ({"id": "b", "features": [1e300, 1]}, "line 2: features must be finite as torch.float32"),
        ({"id": "b", "features": [1, 2, 3]}, r"line 2: all items have features of one shape"),
        ({"id": "b", "features": [1, 2], "metadata": 3}, "line 2: metadata are an object, not 3"),
    ],
)
def test_bad_lines_are_refused_with_their_number(tmp_path: Path, line: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(folder(tmp_path, A, line).items())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.array([[np.nan, 1.0]]), "line 1: features must be finite as torch.float64"),
        (np.array([["x"]]), r"features.npy holds a row of numbers per item, .* not \(1, 1\) <U1"),
        (np.array(3.0), r"features.npy holds a row of numbers per item, .* not \(\) float64"),
        (np.ones((1, 1), complex), r"features.npy holds a row of numbers per item, .*complex128"),
        (np.ones((0, 2)), "line 1: there is no row 0 among the 0 of features.npy"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, rows: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(folder(tmp_path, {"id": "a", "row": 0}, rows=rows).items())


def test_a_row_of_another_type_would_change_the_digests_of_others(tmp_path: Path) -> None:
    source = folder(tmp_path, A, {"id": "b", "row": 0}, rows=np.ones((1, 2)))
    with pytest.raises(DataError, match=r"line 2: .* \(2,\) float32 .* not \(2,\) float64: give"):
        list(source.items())
    same = folder(tmp_path, A, {"id": "b", "row": 0}, rows=np.ones((1, 2), np.float32))
    assert [item.id for item in same.items()] == ["a", "b"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items\.jsonl cannot be read"):
        list(FileItems(str(tmp_path)).items())
    with pytest.raises(DataError, match=r"features\.npy cannot be read"):
        list(folder(tmp_path, {"id": "a", "row": 0}).items())
