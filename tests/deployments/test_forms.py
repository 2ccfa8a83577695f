"""The forms of the Prefect UI: every field has words, and few are a blob of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, TypeAdapter

from querist.config.compare import CheckConfig
from querist.config.retraining import BaseConfig, CollectionConfig, ItemsConfig, Retraining
from querist.config.subsets import SubsetsConfig, SubsetShare
from querist.deployments.served_flows import DESCRIPTIONS, served_flow

FREE = {
    "Component.options": "each component has options of its own, users' components too",
    "QueryComponent.options": "each strategy has options of its own",
    "ScheduleConfig.options": "each schedule has options of its own",
    "LearnerConfig.settings": "any settings of the experiment, merged over it",
    "Comparison.variants": "any settings of the experiment, merged over it, by a name of one's own",
    "ItemsConfig.train_filter": "a filter over metadata, whose keys are the user's",
    "ItemsConfig.test_filter": "a filter over metadata, whose keys are the user's",
}
"""Where an object of any keys may be typed, and why no form can be had."""
REF = "#/definitions/"


def schema(flow: str) -> dict[str, Any]:
    found: dict[str, Any] = parameter_schema(served_flow(flow)).model_dump(exclude_unset=True)
    return found


def fields(flow: str) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Every field of a flow's form: where it is, its schema, and all groups by name."""
    found = schema(flow)
    groups = found.get("definitions", {})
    for where, group in {flow: found, **groups}.items():
        for key, field in group.get("properties", {}).items():
            yield f"{where}.{key}", field, groups


def parts(field: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A field's schema, and those of its alternatives and of what it is a list of."""
    yield field
    inner = [*field.get("anyOf", []), *field.get("allOf", []), *field.get("prefixItems", [])]
    inner += [field["items"]] if isinstance(field.get("items"), Mapping) else []
    for part in inner:
        yield from parts(part)


@pytest.mark.parametrize("flow", DESCRIPTIONS)
def test_every_field_says_what_it_is(flow: str) -> None:
    silent = []
    for where, field, groups in fields(flow):
        # A group that is described as its field is: the words stand at the group only.
        group = groups.get(field.get("$ref", "").removeprefix(REF), {})
        if not (field.get("description") or group.get("description")):
            silent.append(where)
    assert silent == []


@pytest.mark.parametrize("flow", DESCRIPTIONS)
def test_every_field_can_be_filled_in_without_json(flow: str) -> None:
    for where, field, groups in fields(flow):
        for part in parts(field):
            refers = part.get("$ref", "").removeprefix(REF)
            typed = refers in groups or {"type", "enum", "const", "anyOf", "allOf"} & part.keys()
            blob = part.get("type") == "object" or refers == "JsonValue" or not typed
            assert not blob or where in FREE, f"{where} is free-form: {part}"


def test_what_is_free_is_there() -> None:
    assert {where for flow in DESCRIPTIONS for where, _, _ in fields(flow)} >= FREE.keys()


def test_what_can_be_chosen_is_a_list_to_choose_from() -> None:
    retraining = schema("retraining")["definitions"]
    assert retraining["Retraining"]["properties"]["busy"]["enum"] == ["wait", "skip"]
    start = retraining["BaseConfig"]["properties"]["start"]
    assert start["enum"] == ["champion", "version", "run", "scratch"]
    assert start["default"] == "champion"
    assert retraining["CheckConfig"]["properties"]["direction"]["enum"] == ["auto", "max", "min"]


GROUPS: list[type[BaseModel]] = [
    BaseConfig, CheckConfig, CollectionConfig, ItemsConfig, Retraining, SubsetShare, SubsetsConfig,
]  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_examples_are_right(group: type[BaseModel]) -> None:
    shown = {name: field for name, field in group.model_fields.items() if field.examples}
    assert shown
    for field in shown.values():
        for example in field.examples or ():
            TypeAdapter(field.rebuild_annotation()).validate_python(example)
