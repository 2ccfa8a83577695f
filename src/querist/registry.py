"""Components by name: built-ins, `@register`, entry points, and allowed import paths.

A configuration names a component, `{name: margin, options: {...}}`; nothing outside the registry is
imported unless its package is on the operator's allow-list (`QUERIST_ALLOWED_PACKAGES`, comma
separated), because a configuration may have been typed into a web form. An entry is a package or a
part of one (`mine.models`). Of Querist itself only the parts that components are made of are on it:
others start processes, write files and connect to databases.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from querist.errors import (
    ConfigurationError,
    ForbiddenImportError,
    QueristError,
    UnknownNameError,
)

KINDS = (
    "pool",
    "learner",
    "loop",
    "step",
    "query",
    "label",
    "metrology",
    "queue",
    "stop",
    "schedule",
    "schedule_function",
    "gate",
    "items",
)
ALLOWED_BY_DEFAULT = frozenset(
    {
        "examples",
        "querist.items",
        "querist.learners",
        "querist.pools",
        "querist.queues",
        "querist.randomness",
        "querist.strategies",
        "querist.testing",
        "querist.training",
    }
)
ALLOWED_PACKAGES_VARIABLE = "QUERIST_ALLOWED_PACKAGES"

_BUILT_IN_MODULES = (
    "querist.pools",
    "querist.items",
    "querist.learners",
    "querist.training.loop",
    "querist.queues",
    "querist.strategies",
)
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)

_SHOWN = 200
"""Characters of a name that a message shows."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Registered:
    """One component that a configuration can name."""

    kind: str
    name: str
    factory: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """What can be set, by name."""
        return {
            n: p
            for n, p in inspect.signature(self.factory).parameters.items()
            if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }


_components: dict[str, dict[str, Registered]] = {kind: {} for kind in KINDS}
_discovered = False
_discovering = False
_discovery = threading.RLock()


def register(kind: str, name: str) -> Callable[[F], F]:
    """Give a class or function a name that configurations can use.

    Raises:
        ConfigurationError: the kind is unknown, or the name is taken by something else.
    """
    _check_kind(kind)

    def decorate(factory: F) -> F:
        present = _components[kind].get(name)
        if present is not None and _identity(present.factory) != _identity(factory):
            raise ConfigurationError(
                f"the {kind} name {name!r} is taken by {_identity(present.factory)}: "
                f"choose another name for {_identity(factory)}"
            )
        _components[kind][name] = Registered(kind, name, factory)
        return factory

    return decorate


def _identity(factory: Callable[..., Any]) -> str:
    return f"{factory.__module__}.{factory.__qualname__}"


def _check_kind(kind: str) -> None:
    if kind not in _components:
        raise UnknownNameError("kind of component", kind, _components)


def _discover() -> None:
    """Import the built-ins and the plug-ins of installed packages, once; again after a failure.

    Raises:
        ConfigurationError: a plug-in cannot be imported.
    """
    global _discovered, _discovering
    with _discovery:
        if _discovered or _discovering:  # the second: what is being imported asks for a component
            return
        _discovering = True
        try:
            for module in _BUILT_IN_MODULES:
                importlib.import_module(module)
            for kind in KINDS:
                _load_entry_points(kind)
            _discovered = True
        finally:
            _discovering = False


def _load_entry_points(kind: str) -> None:
    for point in entry_points(group=f"querist.{kind}"):
        if point.name in _components[kind]:
            continue
        try:
            found = point.load()
        except Exception as error:
            raise ConfigurationError(
                f"the plug-in {point.name!r} ({point.value}) cannot be imported, "
                f"{_in_words(error)[:500]}: repair it, or uninstall its package"
            ) from error
        _components[kind][point.name] = Registered(kind, point.name, found)


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def components(kind: str | None = None) -> list[Registered]:
    """Everything that can be named, sorted by kind and name."""
    _discover()
    if kind is not None:
        _check_kind(kind)
    return [
        _components[k][name] for k in KINDS if kind in (None, k) for name in sorted(_components[k])
    ]


def allowed_packages() -> frozenset[str]:
    """Packages, or parts of packages, that an import path may lead to."""
    extra = os.environ.get(ALLOWED_PACKAGES_VARIABLE, "")
    return ALLOWED_BY_DEFAULT | {p.strip() for p in extra.split(",") if p.strip()}


def _check_allowed(path: str, module: str) -> None:
    """Refuse a module that is neither on the allow-list nor below an entry of it."""
    if any(module == p or module.startswith(f"{p}.") for p in allowed_packages()):
        return
    raise ForbiddenImportError(
        f"importing from {module!r} is not allowed ({path!r}): the operator can allow it by "
        f"setting {ALLOWED_PACKAGES_VARIABLE}={module.partition('.')[0]} where Querist runs"
    )


def is_import_path(name: str) -> bool:
    """Whether `name` looks like `package.module:attribute`."""
    return ":" in name


def check_import_path(path: str) -> None:
    """Refuse an import path that is malformed or not allowed, without importing anything.

    Raises:
        ConfigurationError: it is not of the form `package.module:attribute`.
        ForbiddenImportError: its package is not on the allow-list.
    """
    if len(path) > _SHOWN or not _IMPORT_PATH.fullmatch(path):
        raise ConfigurationError(
            f"an import path has the form 'package.module:attribute' and at most {_SHOWN} "
            f"characters, unlike {path[:_SHOWN]!r}: correct it"
        )
    attributes = path.partition(":")[2].split(".")
    if any(part.startswith("_") for part in [*path.partition(":")[0].split("."), *attributes]):
        raise ForbiddenImportError(f"an import path may not reach private names: {path!r}")
    _check_allowed(path, path.partition(":")[0])


def import_object(path: str) -> Any:
    """What an allowed import path points to.

    Raises:
        ConfigurationError: the path is not allowed, or there is nothing there.
    """
    check_import_path(path)
    module_name, _, attributes = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{path!r} cannot be imported, {_in_words(error)[:500]}: run from the folder that "
            f"holds {module_name.partition('.')[0]!r}, or install it"
        ) from error
    except Exception as error:
        raise ConfigurationError(
            f"{path!r} cannot be imported, {_in_words(error)[:500]}: repair {module_name!r}"
        ) from error
    for attribute in attributes.split("."):
        if isinstance(found, ModuleType):  # reached through another one, as `data:torch.load` is
            _check_allowed(path, found.__name__)
        if not hasattr(found, attribute):
            raise UnknownNameError(f"attribute of {module_name}", attribute[:_SHOWN], dir(found))
        found = getattr(found, attribute)
    _check_origin(path, found, module_name)
    return found


def _check_origin(path: str, found: Any, module_name: str) -> None:
    """Refuse what an allowed module only happens to hold: a function of another package."""
    if isinstance(found, ModuleType):
        _check_allowed(path, found.__name__)
        return
    defined_in = getattr(found, "__module__", module_name)
    if not isinstance(defined_in, str):
        raise ForbiddenImportError(
            f"an import path leads to a class or function of its package, unlike {path!r}, a "
            f"{type(found).__name__} that names no module: wrap it in a function"
        )
    _check_allowed(path, defined_in)


def find(kind: str, name: str) -> Callable[..., Any]:
    """The class or function behind a name or an allowed import path.

    Raises:
        UnknownNameError: nobody registered the name; the nearest ones are suggested.
        ForbiddenImportError: an import path that is not allowed.
    """
    _check_kind(kind)
    if is_import_path(name):
        found = import_object(name)
        if not callable(found):
            raise ConfigurationError(
                f"{name[:_SHOWN]!r} is not callable: name a class or a function"
            )
        return found  # type: ignore[no-any-return]
    _discover()
    if name not in _components[kind]:
        raise UnknownNameError(f"{kind} component", name[:_SHOWN], _components[kind])
    return _components[kind][name].factory


def found_elsewhere(kind: str, name: str) -> bool:
    """Whether another process of this machine would find the same under the name.

    It would not where `@register` has run in this process alone, in a notebook for example.

    Raises:
        UnknownNameError: nobody registered the name; the nearest ones are suggested.
    """
    if is_import_path(name):
        return True
    factory = find(kind, name)
    built_in = factory.__module__.partition(".")[0] == __name__.partition(".")[0]
    return built_in or any(point.name == name for point in entry_points(group=f"querist.{kind}"))


def check_options(kind: str, name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the component does not take.

    Raises:
        ConfigurationError: an option is unknown, or a required one is missing.
    """
    factory = find(kind, name)
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return
    parameters = signature.parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for option in options:
            if option not in signature.parameters:
                raise UnknownNameError(
                    f"option of {kind} {name!r}", option[:_SHOWN], signature.parameters
                )
    for p in parameters:
        required = p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        if required and p.name not in options:
            raise ConfigurationError(
                f"{kind} {name!r} needs the option {p.name!r}: add it under options"
            )


def build(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """An instance of a component.

    Raises:
        ConfigurationError: unknown name or option, or the component refused its options.
    """
    check_options(kind, name, options)
    try:
        return find(kind, name)(**options)
    except QueristError:
        raise
    except Exception as error:  # whatever a value out of place causes: the cause says more
        known = isinstance(error, TypeError | ValueError | OverflowError | RuntimeError)
        reason = " ".join(str(error).split())[:500] if known else _in_words(error)[:500]
        raise ConfigurationError(f"{kind} {name!r} refused its options: {reason}") from error
