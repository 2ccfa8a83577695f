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
from querist.errors import ConfigurationError, UnknownNameError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
_OTHER_LINE_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")


class _Loader(yaml.SafeLoader):
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
        return super().construct_mapping(node, deep)


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
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if _OTHER_LINE_BREAKS.search(text):  # written as they are they are read as a blank
        text = yaml.dump(content, Dumper=_Dumper, sort_keys=False)
    return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigurationError: no such file, too large, too deep, not YAML, or not a mapping.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(
            f"a configuration has at most {MAX_BYTES:,} bytes, {path} has {len(raw):,}"
        )
    try:
        text = raw.decode()
        _check_depth(text)
        content = yaml.load(text, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"{path} is not valid YAML: {_in_one_line(error)}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no mapping: start with `name: ...`")
    return content


def _check_depth(text: str) -> None:
    """Refuse deep nesting and aliases before anything recursive sees them."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigurationError("aliases are not supported in a configuration: write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigurationError(f"a configuration is at most {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def apply_overrides(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`content` with `key.subkey=value` overrides merged in; values are read as YAML.

    Raises:
        ConfigurationError: an override without `=`, or whose value is not YAML.
    """
    merged = copy.deepcopy(dict(content))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError(f"an override has the form key=value, not {override!r}")
        try:
            _check_depth(text)
            value = yaml.load(text, _Loader)
        except (yaml.YAMLError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"the value of {override!r} is not valid YAML: {_in_one_line(error)}"
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
            raise ConfigurationError(f"{override!r} looks inside {step!r}, which is {present!r}")
        here[key] = present
        here = present
    here[_key(here, path[-1], override)] = value


def _key(here: dict[str, Any] | list[Any], step: str, override: str) -> Any:
    """`step` as a key of a mapping or a position in a list."""
    if isinstance(here, dict):
        return step
    if not step.isdecimal() or int(step) >= len(here):
        raise ConfigurationError(
            f"{override!r} needs a position 0 to {len(here) - 1} where it says {step!r}"
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
    place = ".".join(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, first["loc"][:-1])
        message = str(UnknownNameError("key", str(first["loc"][-1]), known)).strip("'")
        return f"{place}: {message}" if len(first["loc"]) > 1 else message
    message = str(cause) if cause is not None else first["msg"]
    given = (
        "" if cause is not None or first["type"] == "missing" else f", not {first['input']!r:.80}"
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
