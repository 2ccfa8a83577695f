"""Items in a folder: one JSON object a line, and their features."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from querist.errors import DataError
from querist.items.digests import digests_of
from querist.registry import register
from querist.values import Item

ITEMS_FILE = "items.jsonl"
FEATURES_FILE = "features.npy"
_KEYS = {"id", "label", "metadata", "features", "row"}
_CHUNK = 8192


@dataclass(frozen=True)
class _Line:
    """One item as its line has it."""

    number: int
    id: str
    label: Any
    metadata: Mapping[str, Any]
    features: Any
    row: int | None


@register("items", "files")
class FileItems:
    """Items in a folder, read anew each time: whoever adds a line adds an item.

    `items.jsonl` has an object a line: `id`, `label` (null while nobody knows it), `metadata`, and
    either `features` (a list of numbers) or `row` (a row of `features.npy`).

    Args:
        folder: where the two files are.
        classes: number of classes; None for labels that are numbers.
    """

    def __init__(self, folder: str, classes: int | None = None) -> None:
        self._folder = Path(folder)
        self.classes = classes
        self._lines: dict[str, _Line] = {}

    def items(self) -> Iterator[Item]:
        """Every item, in the order of the lines.

        Raises:
            DataError: which line is no item.
        """
        self._read_anew()
        lines = list(self._lines.values())
        for start in range(0, len(lines), _CHUNK):
            chunk = lines[start : start + _CHUNK]
            features = self._features(chunk)
            self._check_finite(chunk, features)
            for line, digest in zip(chunk, digests_of(features), strict=True):
                yield Item(line.id, digest, line.label, line.metadata)

    def features(self, ids: Sequence[str]) -> torch.Tensor:
        """The features of items `(k, ...)`, in that order."""
        if not self._lines:
            self._read_anew()
        return self._features([self._lines[name] for name in ids])

    def _read_anew(self) -> None:
        """All lines, checked beside each other: what one item is never depends on another one."""
        lines = {line.id: line for line in self._read()}
        stored = self._stored() if any(line.row is not None for line in lines.values()) else None
        first: tuple[tuple[int, ...], str] | None = None
        for line in lines.values():
            kind = self._kind(line, stored)
            first = first or kind
            if kind != first:
                raise DataError(
                    f"{self._where(line)}: all items have features of one shape and type, "
                    f"{first[0]} {first[1]} as in the first line, not {kind[0]} {kind[1]}: give "
                    f"all of them in {FEATURES_FILE}, or none"
                )
        self._lines = lines

    def _kind(
        self, line: _Line, stored: np.ndarray[Any, Any] | None
    ) -> tuple[tuple[int, ...], str]:
        """Shape and type of an item's features."""
        if line.row is None:
            return np.shape(line.features), "float32"
        assert stored is not None
        if not 0 <= line.row < len(stored):
            raise DataError(
                f"{self._where(line)}: there is no row {line.row} among the {len(stored)} of "
                f"{FEATURES_FILE}"
            )
        return stored.shape[1:], stored.dtype.name

    def _check_finite(self, lines: Sequence[_Line], features: torch.Tensor) -> None:
        finite = torch.isfinite(features).reshape(len(lines), -1).all(1)
        if not bool(finite.all()):
            line = lines[int((~finite).nonzero()[0])]
            raise DataError(
                f"{self._where(line)}: features must be finite as {features.dtype}, unlike those "
                f"of item {line.id!r}: repair or remove it"
            )

    def _where(self, line: _Line) -> str:
        return f"{self._folder / ITEMS_FILE}, line {line.number}"

    def _read(self) -> Iterator[_Line]:
        path = self._folder / ITEMS_FILE
        seen: set[str] = set()
        try:
            with path.open(encoding="utf-8") as file:
                for number, text in enumerate(file, 1):
                    if not text.strip():
                        continue
                    line = _parse(path, number, text)
                    if line.id in seen:
                        raise DataError(
                            f"{path}, line {number}: the id {line.id!r:.80} is there already"
                        )
                    seen.add(line.id)
                    yield line
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read, {error}: it holds an item a line") from error

    def _features(self, lines: Sequence[_Line]) -> torch.Tensor:
        if not lines:
            return torch.empty(0, 1)
        stored = None
        rows: list[np.ndarray[Any, Any]] = []
        for line in lines:
            if line.row is None:
                with np.errstate(over="ignore"):  # what becomes infinite is refused
                    rows.append(np.asarray(line.features, dtype=np.float32))
                continue
            if stored is None:
                stored = self._stored()
            rows.append(np.asarray(stored[line.row]))
        return torch.from_numpy(np.stack(rows))

    def _stored(self) -> np.ndarray[Any, Any]:
        path = self._folder / FEATURES_FILE
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read, {error}: write it with numpy.save(allow_pickle=False)"
            ) from error
        if not isinstance(found, np.ndarray) or found.ndim == 0 or found.dtype.kind not in "biuf":
            raise DataError(
                f"{path} holds a row of numbers per item, (n, ...), not "
                f"{getattr(found, 'shape', '')} {getattr(found, 'dtype', 'an archive')}: write it "
                "with numpy.save"
            )
        return found


def _parse(path: Path, number: int, text: str) -> _Line:
    """One line.

    Raises:
        DataError: it is no item.
    """
    where = f"{path}, line {number}"
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON, {error}: correct it") from error
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        raise DataError(f"{where}: an item is an object with a text `id`, unlike {text!r:.80}")
    if _has_half_a_pair(content["id"]):  # no database could write it down
        raise DataError(f"{where}: an id is whole Unicode text, unlike {content['id']!r:.80}")
    unknown = sorted(set(content) - _KEYS)
    if unknown:
        raise DataError(f"{where}: there is no key {unknown[0]!r}: use {', '.join(sorted(_KEYS))}")
    features, row, metadata = content.get("features"), content.get("row"), content.get("metadata")
    if (features is None) == (row is None):
        raise DataError(f"{where}: an item has either `features` or a `row`: give one of them")
    if row is not None and (isinstance(row, bool) or not isinstance(row, int)):
        raise DataError(f"{where}: a row is a whole number, not {row!r:.80}")
    if features is not None and not _are_numbers(features):
        raise DataError(f"{where}: features are a list of finite numbers, not {features!r:.80}")
    if metadata is not None and not isinstance(metadata, dict):
        raise DataError(f"{where}: metadata are an object, not {metadata!r:.80}")
    return _Line(number, content["id"], content.get("label"), metadata or {}, features, row)


def _has_half_a_pair(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _no_number(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _only_numbers(value: Any) -> bool:
    """Whether there are numbers and lists of them, and no text that looks like one."""
    if isinstance(value, list):
        return all(map(_only_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(features: Any) -> bool:
    if not isinstance(features, list) or not features or not _only_numbers(features):
        return False
    try:
        numbers = np.asarray(features, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return False
    return bool(np.isfinite(numbers).all())
