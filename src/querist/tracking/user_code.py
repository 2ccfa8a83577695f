"""Which folders of user code a logged model needs, found without importing any of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from querist.errors import ConfigurationError
from querist.registry import check_import_path

_NOT_CODE = (
    "__pycache__", "*.pyc", ".*", "*.egg-info", "active_learning_logs", "mlruns", "mlartifacts",
    "*.db", "*.db-wal", "*.db-shm",
)  # fmt: skip
_EXTRAS = {"hf_image_classifier": "transformers", "hf_sequence_classifier": "transformers"}
"""Learners of Querist that need a package of an extra."""


@dataclass(frozen=True)
class UserCode:
    """The code that the import paths of settings lead to.

    Attributes:
        folders: what to copy: (package folder or module file, where below the code folder).
        requirements: installed distributions, pinned, that need no copy.
        packages: all top-level names, for the allow-list.
        missing: top-level names that were not found.
    """

    folders: tuple[tuple[Path, Path], ...]
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    missing: tuple[str, ...]


def find_user_code(settings: Any) -> UserCode:
    """The code behind all import paths that are allowed here, in an experiment or any settings."""
    texts = list(_texts(settings))
    modules = sorted({text.partition(":")[0] for text in texts if _is_allowed_path(text)})
    folders: dict[Path, Path] = {}
    requirements, packages, missing = set(), set(), set()
    for extra in {_EXTRAS[text] for text in texts if text in _EXTRAS}:
        requirements |= _distributions(extra)
    for module in modules:
        top = module.partition(".")[0]
        if top == "querist":
            continue
        packages.add(top)
        spec = _find_spec(top)
        place = _place(spec, module) if spec else None
        if place is None:
            missing.add(top)
        elif _is_installed(place[0]):
            requirements |= _distributions(top)
        else:
            folders[place[0]] = place[1]
    inner = {f for f in folders if any(f != o and f.is_relative_to(o) for o in folders)}
    return UserCode(
        folders=tuple((f, to) for f, to in sorted(folders.items()) if f not in inner),
        requirements=tuple(sorted(requirements)),
        packages=tuple(sorted(packages)),
        missing=tuple(sorted(missing)),
    )


def copy_user_code(code: UserCode, into: Path) -> list[Path]:
    """Copy the folders, without caches, logs and databases.

    Returns:
        The top-level folders and files that were made below `into`.
    """
    for source, below in code.folders:
        target = into / below
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignore = shutil.ignore_patterns(*_NOT_CODE)
            shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    return sorted(into.iterdir()) if code.folders else []


def _texts(content: Any) -> Iterator[str]:
    """All strings that are values in a configuration."""
    if isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
    elif isinstance(content, str):
        yield content


def _is_allowed_path(text: str) -> bool:
    """Whether it is an import path of an allowed package."""
    if ":" not in text:
        return False
    try:
        check_import_path(text)
    except ConfigurationError:
        return False
    return True


def _find_spec(top: str) -> ModuleSpec | None:
    """The spec of a top-level package; the working folder counts as on the path."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    return spec or PathFinder.find_spec(top, [str(Path.cwd())])


def _place(spec: ModuleSpec, module: str) -> tuple[Path, Path] | None:
    """What to copy for a module, and where to: its package, or its part of a namespace.

    A namespace package (no `__init__.py`) may span half a disk, so only the package inside it that
    the module belongs to is taken.
    """
    locations = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    if spec.origin is not None and spec.has_location:
        origin = Path(spec.origin).resolve()
        return (origin.parent if locations else origin), Path(
            spec.name if locations else origin.name
        )
    for here in locations:
        below = Path(spec.name)
        for name in module.split(".")[1:]:
            if (here / name).is_dir():
                here, below = here / name, below / name
                if (here / "__init__.py").is_file():
                    return here, below
            elif (here / f"{name}.py").is_file():
                alone = below == Path(spec.name)
                file = here / f"{name}.py"
                return (file, below / file.name) if alone else (here, below)
            else:
                break
    return None


def _is_installed(place: Path) -> bool:
    homes = {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib", "stdlib")}
    return any(place.is_relative_to(home) for home in homes)


def _distributions(top: str) -> set[str]:
    """The distributions that a top-level package comes from, pinned."""
    names = importlib.metadata.packages_distributions().get(top, [])
    return {f"{name}=={importlib.metadata.version(name)}" for name in names}
