"""A pool of texts: a file with a text and a label per row, read as token ids."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from querist.errors import DataError
from querist.offline import import_transformers, local_folder
from querist.pools.tensor_pool import TensorPool
from querist.registry import register

CHUNK = 4096
"""Texts that are tokenized at once."""

_LONGEST_FIELD = 2**31 - 1
_MOST_CLASSES = 10_000
_SHOWN = 200


class TextPool(TensorPool):
    """Token ids `(n, length)`, kept as int32 and given as int64, and the names of the classes.

    Args:
        ids: `(n, length)` int32.
        targets: `(n,)` classes; None when nobody knows.
        class_names: what each class is called in the file.
        held_out: other pools of the same kind to measure on, by subset.
    """

    def __init__(
        self,
        ids: np.ndarray[Any, Any],
        targets: np.ndarray[Any, Any] | None,
        *,
        class_names: Sequence[str],
        held_out: dict[str, TensorPool] | None = None,
    ) -> None:
        super().__init__(ids, targets, classes=len(class_names), held_out=held_out)
        self.class_names = tuple(class_names)

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """The token ids of `indices`, `(k, length)` int64."""
        return super().features(indices).long()


@register("pool", "texts")
def texts(
    file: str,
    tokenizer: str,
    text: str = "text",
    label: str | None = "label",
    classes: Sequence[str] | None = None,
    max_length: int = 128,
    test: str | None = None,
    validation: str | None = None,
) -> TextPool:
    """Texts of a CSV or JSON-lines file as token ids, each cut or padded to `max_length`.

    Args:
        file: a `.csv` file with a header, or a `.jsonl` file with an object a line.
        tokenizer: a local folder with a tokenizer of transformers; nothing is downloaded.
        text: the column with the text.
        label: the column with the class, a text or a whole number; null where nobody knows it.
        classes: the classes in their order; default: those of the file, sorted.
        max_length: tokens per text.
        test: a file of the same kind to measure on.
        validation: a file of the same kind for early stopping.

    Raises:
        DataError: a file cannot be read, or which of its rows cannot be used.
        ConfigurationError: there is no such tokenizer.
    """
    encode = _Encoder(tokenizer, max_length)
    names = None if classes is None else _checked_names(classes)
    ids, labels = _read(file, text, label, encode)
    if names is None:
        if labels is None:
            raise DataError("texts without labels need their classes: set classes or label")
        names = _sorted_names(set(labels))
    held_out: dict[str, TensorPool] = {}
    for subset, path in (("test", test), ("validation", validation)):
        if path is not None:
            if label is None:
                raise DataError(f"{subset} texts need labels to measure on: set label")
            found, truth = _read(path, text, label, encode)
            held_out[subset] = TextPool(found, _as_classes(truth, names, path), class_names=names)
    return TextPool(ids, _as_classes(labels, names, file), class_names=names, held_out=held_out)


class _Encoder:
    """Turns texts into rows of token ids."""

    def __init__(self, folder: str, max_length: int) -> None:
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 1:
            raise DataError(f"max_length is a number of tokens from 1, not {max_length!r:.80}")
        transformers = import_transformers()
        path = local_folder(folder, "tokenizer", "tokenizer.json")
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # a folder may hold anything, and its readers raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            raise DataError(
                f"tokenizer is a folder that save_pretrained of a tokenizer wrote, unlike "
                f"{folder!r:.200} ({reason}): write it anew"
            ) from error
        if self._tokenizer.pad_token_id is None:
            raise DataError(
                f"the tokenizer in {folder!r:.200} has no padding token, which short texts need: "
                "set its pad_token and save it"
            )
        self._max_length = max_length

    def __call__(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Token ids `(n, max_length)` int32."""
        found = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return np.array(found["input_ids"], dtype=np.int32).reshape(-1, self._max_length)

    def is_empty(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which rows hold nothing but padding `(n,)`."""
        empty: np.ndarray[Any, Any] = (ids == self._tokenizer.pad_token_id).all(1)
        return empty


def _read(
    path: str, text: str, label: str | None, encode: _Encoder
) -> tuple[np.ndarray[Any, Any], list[str] | None]:
    """Token ids and labels of a file; its texts are in memory chunk by chunk only."""
    parts: list[np.ndarray[Any, Any]] = []
    labels: list[str] = []
    known: dict[str, str] = {}  # one string per class, not per row
    rows = _rows(path)
    while chunk := list(islice(rows, CHUNK)):
        ids = encode([_text_of(row, text, place) for place, row in chunk])
        for (place, _), empty in zip(chunk, encode.is_empty(ids).tolist(), strict=True):
            if empty:
                raise DataError(f"a text has at least one token, that of {place} has none: drop it")
        parts.append(ids)
        if label is not None:
            found = (_label_of(row, label, place) for place, row in chunk)
            labels.extend(known.setdefault(name, name) for name in found)
            if len(known) > _MOST_CLASSES:
                raise DataError(
                    f"{label!r:.80} of {path!r:.200} has more than {_MOST_CLASSES} different "
                    "values: name the column with the classes as label"
                )
    if not parts:
        raise DataError(f"{path!r:.200} has no rows: a pool needs at least one text")
    return np.concatenate(parts), labels if label is not None else None


def _rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file, each with its place in words."""
    if not isinstance(path, str) or "\0" in path or not Path(path).is_file():
        raise DataError(
            f"texts are in a .csv or .jsonl file, and {path!r:.200} is no file: name one"
        )
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(f"texts are in a .csv or .jsonl file, unlike {path!r:.200}: convert it")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from reader(file, Path(path).name[-_SHOWN:])
    except (UnicodeDecodeError, OSError, csv.Error) as error:
        raise DataError(f"{path!r:.200} cannot be read as text in UTF-8: {error}") from error


def _csv_rows(file: Iterable[str], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.DictReader(file)
    for row in reader:
        place = f"line {reader.line_num} of {name}"
        if None in row:
            raise DataError(
                f"{place} has more fields than the header has columns: quote fields with commas"
            )
        yield place, row


def _json_rows(file: Iterable[str], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        place = f"line {number} of {name}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is no JSON: {str(error)[:_SHOWN]}") from error
        if not isinstance(row, dict):
            raise DataError(f"{place} is a JSON object, not a {type(row).__name__}: write one")
        yield place, row


def _text_of(row: dict[str, Any], column: str, place: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise DataError(_no_value("text", row, column, place, "a text"))
    return value


def _label_of(row: dict[str, Any], column: str, place: str) -> str:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(_no_value("label", row, column, place, "a text or a whole number"))
    return str(value)


def _no_value(option: str, row: dict[str, Any], column: str, place: str, wanted: str) -> str:
    if column not in row:
        columns = ", ".join(map(str, row))[:_SHOWN]
        return (
            f"{place} has no column {column!r:.80}, it has {columns}: set {option} to one of them"
        )
    return f"{column!r:.80} is {wanted}, {place} has {row[column]!r:.80}: repair it"


def _checked_names(classes: Any) -> list[str]:
    names = [str(name) for name in classes] if isinstance(classes, list | tuple) else []
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"classes are two or more different names, not {classes!r:.200}")
    return names


def _sorted_names(found: set[str]) -> list[str]:
    """Whole numbers by size, other names by letter."""
    try:
        return sorted(found, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(found)


def _as_classes(
    labels: list[str] | None, names: Sequence[str], path: str
) -> np.ndarray[Any, Any] | None:
    if labels is None:
        return None
    codes = {name: code for code, name in enumerate(names)}
    for name in labels:
        if name not in codes:
            raise DataError(
                f"{path!r:.200} has the label {name!r:.80}, which is none of the classes "
                f"{', '.join(names)[:_SHOWN]}: add it to classes, or repair the label"
            )
    return np.array([codes[name] for name in labels], dtype=np.int64)
