"""Experiments from YAML files and from `key=value` overrides."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from querist.config.experiment import Experiment
from querist.config.limits import MAX_BYTES, MAX_KEY, check_counts, check_limits, shown
from querist.errors import ConfigurationError, UnknownNameError

# Ten times as fast where PyYAML was built with it, as its wheels are.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ONE_LINE = 10**9
_LONGEST_NAME = 300
_LONGEST_MESSAGE = 1000
_LONGEST_NUMBER = 100
_DIGITS = frozenset("0123456789:_+-.")
_OTHER_LINE_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")


class _Loader(_SafeLoader):  # type: ignore[misc]
    """YAML with numbers as people write them (`1e-3`), and every key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise ConfigurationError(
                        f"the key {key.value!r} is there twice: remove one of them"
                    )
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would read as something other than text."""


for _either in (_Loader, _Dumper):
    _either.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$", re.ASCII),
        list("-+0123456789"),
    )


def dump_yaml(content: Any) -> str:
    """`content` as YAML that `read_yaml` reads back."""
    text: str = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, width=_ONE_LINE, allow_unicode=True
    )
    if _OTHER_LINE_BREAKS.search(text):  # written as they are they are read as a blank
        text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=_ONE_LINE)
    return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigurationError: no such file, too large, too deep, not YAML, or not a mapping.
    """
    name = _in_one_line(path)[-_LONGEST_NAME:]
    try:
        if not path.is_file():
            reason = "it is no file" if path.exists() else "there is no such file"
            raise ConfigurationError(f"{name} cannot be read, {reason}: name a YAML file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, ConfigurationError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{name} cannot be read: {reason}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(
            f"a configuration has at most {MAX_BYTES:,} bytes, {name} has more: make it smaller"
        )
    try:
        content = _parse(raw.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigurationError):
            raise ConfigurationError(f"{name}: {error}") from None
        raise ConfigurationError(f"{name} is not valid YAML: {_in_one_line(error)}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{name} holds no mapping: start with `name: ...`")
    return content


def _parse(text: str) -> Any:
    """What the YAML `text` says, with its limits checked before anything recursive sees it."""
    depth = values = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigurationError("aliases are not supported in a configuration: write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            continue
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        elif (
            event.implicit[0]
            and len(event.value) > _LONGEST_NUMBER
            and _DIGITS.issuperset(event.value)
        ):  # with colons it is read in base 60, in quadratic time
            raise ValueError(f"a number has at most {_LONGEST_NUMBER} digits")
        values += 1
        check_counts(values // 2, depth)  # about one key a value
    content = yaml.load(text, _Loader)
    check_limits(content)
    return content


def _in_one_line(words: object) -> str:
    return " ".join(str(words).split())


def apply_overrides(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`content` with `key.subkey=value` overrides merged in; values are read as YAML.

    Raises:
        ConfigurationError: an override without `=`, or whose value is not YAML.
    """
    check_limits(content)
    merged = copy.deepcopy(dict(content))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError(f"an override has the form key=value, not {shown(override)}")
        try:
            value = _parse(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"the value of {shown(override)} is not valid YAML: {_in_one_line(error)}"
            ) from error
        _set(merged, key.strip().split("."), value, override)
    return merged


def _set(target: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    here: Any = target
    for step in path[:-1]:
        key = _key(here, step, override)
        present = here[key] if isinstance(here, list) else here.get(key)
        if present is None:
            present = {}
        elif isinstance(present, str):  # a component's short form
            present = {"name": present}
        if not isinstance(present, dict | list):
            raise ConfigurationError(
                f"{shown(override)} looks inside {step!r}, which is {shown(present)}: name a group"
            )
        here[key] = present
        here = present
    here[_key(here, path[-1], override)] = value


def _key(here: dict[str, Any] | list[Any], step: str, override: str) -> Any:
    """`step` as a key of a mapping or a position in a list."""
    if isinstance(here, dict):
        return step
    if not step.isdecimal() or int(step) >= len(here):
        raise ConfigurationError(
            f"{shown(override)} needs a position 0 to {len(here) - 1} where it says {shown(step)}"
        )
    return int(step)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` merged into `base`, mapping by mapping; lists and values are replaced."""
    merged = dict(base)
    for key, value in over.items():
        present = merged.get(key)
        both = isinstance(present, Mapping) and isinstance(value, Mapping)
        # A component that is named anew starts with options of its own.
        renamed = both and "name" in value and value["name"] != present.get("name")  # type: ignore[union-attr]
        merged[key] = merge(present, value) if both and not renamed else value  # type: ignore[arg-type]
    return merged


def build_experiment(content: Mapping[str, Any], source: str = "the experiment") -> Experiment:
    """`content` as a checked `Experiment`.

    Raises:
        ConfigurationError: the first thing that is wrong with it, in one line.
    """
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {explain(error)}") from error


def explain(error: ValidationError, model: type[BaseModel] = Experiment) -> str:
    """The first error of a failed validation of `model`, with its place, in one line."""
    errors = error.errors(include_url=False)
    # A misspelt key says more than the required one that is missing for it.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    steps = (str(part) for part in first["loc"])
    place = ".".join(s if s.isprintable() else repr(s) for s in steps)[:MAX_KEY]
    cause = first.get("ctx", {}).get("error")
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, first["loc"][:-1])
        message = str(UnknownNameError("key", str(first["loc"][-1]), known)).strip("'")
        return f"{place}: {message}" if len(first["loc"]) > 1 else message
    message = (str(cause) if cause is not None else first["msg"])[:_LONGEST_MESSAGE]
    given = (
        "" if cause is not None or first["type"] == "missing" else f", not {shown(first['input'])}"
    )
    more = error.error_count() - 1
    rest = f" (and {more} more)" if more else ""
    return f"{place}: {message}{given}{rest}" if place else f"{message}{rest}"


def _known_keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that the group at `place` of `model` has."""
    schema: Any = model.model_json_schema()
    definitions = schema["$defs"]

    def resolve(node: Any) -> Any:
        for branch in [node, *node.get("allOf", []), *node.get("anyOf", [])]:
            if "$ref" in branch:
                return definitions[branch["$ref"].rpartition("/")[2]]
        return node

    for step in place:
        schema = resolve(schema)
        schema = schema.get("items", {}) if isinstance(step, int) else schema["properties"][step]
    return list(resolve(schema).get("properties", {}))


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """An experiment from a YAML file, with `key=value` overrides.

    Raises:
        ConfigurationError: what is wrong, in one line.
    """
    return build_experiment(apply_overrides(read_yaml(path), overrides), str(path))
