"""The work folder of a run: where its commands run, and where they leave their files."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from querist.errors import ConfigurationError
from querist.storage.atomic import write_file

WORK = "work"
"""The folder's name inside a run's folder."""


def work_in(component: Any, folder: Path) -> None:
    """Tell a component, and those that it holds, where a run's commands work.

    To be called for every component that is built for a run, also when it is built anew. A
    component wants to know it if it has a method `work_in(folder)`.

    Args:
        component: a built pool, learner, strategy or criterion.
        folder: the run's work folder, `<run>/work`; it need not exist yet.
    """
    told = getattr(component, "work_in", None)
    if callable(told):
        told(folder)
    for part in parts_of(component):
        work_in(part, folder)


def parts_of(component: Any) -> Iterator[Any]:
    """The components that a component holds in its lists `criteria` and `strategies`."""
    for held in ("criteria", "strategies"):
        inner = getattr(component, held, ())
        yield from inner if isinstance(inner, list | tuple) else ()


def known_folder(folder: Path | None) -> Path:
    """The work folder, if the component was told it.

    Raises:
        ConfigurationError: it was not.
    """
    if folder is None:
        raise ConfigurationError(
            "a command runs in the work folder of a run, and this component belongs to none: call "
            "its work_in(folder) first"
        )
    return folder


def make(folder: Path) -> Path:
    """The folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(path: Path, content: Any) -> Path:
    """Write a file for a command to read: whole or not at all; NaN and infinity become null."""
    make(path.parent)
    write_file(path, json.dumps(_plain(content), allow_nan=False).encode(), durable=False)
    return path


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write an `.npz` file, or an `.npy` file of the only array, for a command to read."""
    make(path.parent)
    buffer = io.BytesIO()
    found = {name: np.asarray(array) for name, array in arrays.items()}
    if path.suffix == ".npy":
        (array,) = found.values()
        np.save(buffer, array, allow_pickle=False)
    else:
        np.savez(buffer, allow_pickle=False, **found)
    write_file(path, buffer.getvalue(), durable=False)
    return path


def plain_file(folder: Path, name: str) -> Path:
    """A plain file inside `folder`, reached through no link.

    Raises:
        ConfigurationError: the name leads elsewhere, or it is there and no plain file.
    """
    path = folder / checked_name(name)
    for part in (path, *path.parents):
        if part == folder:
            break
        if part.is_symlink():
            raise ConfigurationError(
                f"a file of the work folder is a plain file, and {name!r:.200} leads through a "
                "link: write the file itself there"
            )
    if path.exists() and not path.is_file():
        raise ConfigurationError(
            f"a file of the work folder is a plain file, and {name!r:.200} is none: name another"
        )
    return path


def checked_name(name: Any) -> str:
    """The name of a file inside a folder.

    Raises:
        ConfigurationError: it is absolute, leads out of the folder, or is no name.
    """
    good = isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable()
    parts = Path(name).parts if good else ()
    if not good or os.path.isabs(name) or not parts or ".." in parts:
        raise ConfigurationError(
            f"a file of the work folder is named from there, as 'model.json' is, unlike "
            f"{name!r:.80}: correct it"
        )
    return str(Path(name))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # a tensor, an array or a number of theirs
        return _plain(value.tolist())
    return value
