from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page() -> str:
    return (REPOSITORY / "docs" / "reference.md").read_text()


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_reference", REPOSITORY / "docs" / "make_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_up_to_date(maker: ModuleType, page: str) -> None:
    fresh = maker.rendered(page)
    stale = sorted(set(page.splitlines()) - set(fresh.splitlines()))
    assert stale == [], "run `python docs/make_reference.py`"
    assert page == fresh, "run `python docs/make_reference.py`"


def test_a_part_without_a_place_is_noticed(maker: ModuleType) -> None:
    with pytest.raises(ValueError, match="no place for 'command line'"):
        maker.rendered("# Reference\n")


def test_every_command_and_option_is_there(page: str) -> None:
    import typer

    from querist.deployments.cli import app

    commands: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {"run", "resume", "runs", "status", "components", "schema"} <= set(commands)
    labels = commands.pop("labels").commands
    commands |= {f"labels {name}": command for name, command in labels.items()}
    for name, command in commands.items():
        heading = re.search(rf"^### `querist {name}\b.*", page, re.MULTILINE)
        assert heading, f"{name} has no heading"
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            shown = parameter.opts[0] if parameter.opts[0].startswith("-") else "`"
            assert shown in heading[0], f"{name}: {parameter.name} is not shown"


def test_every_key_is_there(page: str) -> None:
    from querist.config import Experiment
    from querist.config.comparison import Comparison
    from querist.config.parallel import ParallelExperiment
    from querist.config.retraining import Retraining

    models = (
        (Experiment, ()),
        (Comparison, ("base",)),
        (ParallelExperiment, ("base",)),
        (Retraining, ("experiment",)),
    )
    for model, leave_out in models:
        for key in dotted(model, leave_out):
            if (model, key) == (ParallelExperiment, "base"):
                continue  # in a file its keys stand beside `learners`
            assert f"| `{key}` |" in page, f"{key} is not in the reference"


def dotted(model: Any, leave_out: tuple[str, ...] = (), prefix: str = "") -> list[str]:
    """All keys of a pydantic model, found without the script."""
    from pydantic import BaseModel

    from querist.config import Component

    found = []
    for name, field in model.model_fields.items():
        if issubclass(model, Component) and name in ("name", "options") and prefix:
            continue
        found.append(prefix + name)
        text = str(field.annotation)
        for inner in inner_models(field.annotation):
            below = issubclass(inner, BaseModel) and inner is not Component
            if below and name not in leave_out:
                several = "[]" if text.startswith("tuple") else ""
                found += dotted(inner, leave_out, f"{prefix}{name}{several}.")
    return found


def inner_models(annotation: Any) -> list[type]:
    from typing import get_args

    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [model for part in get_args(annotation) for model in inner_models(part)]


def test_every_key_has_a_description(page: str) -> None:
    rows = re.findall(r"^\| `([\w.\[\]]+)` \|.*\| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 60
    assert [key for key, what in rows if not what.strip() and key[0].islower()] == []


def test_every_component_and_option_is_there(page: str) -> None:
    from querist.registry import components

    for component in components():
        if not component.factory.__module__.startswith("querist."):
            continue
        section = page.partition(f"\n### {component.kind}\n")[2].partition("\n### ")[0]
        row = re.search(rf"^\| `{component.name}` \|.*$", section, re.MULTILINE)
        assert row, f"{component.kind} {component.name} is not in the reference"
        for option in component.options:
            assert f"`{option}`" in row[0], f"{component.name}: {option} is not shown"


def test_every_public_name_is_there(maker: ModuleType, page: str) -> None:
    for name in maker.MODULES:
        section = page.partition(f"### `{name}`\n")[2].partition("\n### ")[0]
        assert section, f"{name} has no section"
        for public in maker.public_names(importlib.import_module(name)):
            assert re.search(rf"- `{public}\b", section), f"{name}.{public} is not there"


def test_no_module_with_public_names_is_forgotten(maker: ModuleType) -> None:
    """A package of the library that declares `__all__` is meant for users, or named here."""
    internal = {
        "querist.figures",
        "querist.deployments",
        "querist.strategies",
        "querist.tracking",
        "querist.training",
        "querist.adapters",
        "querist.storage",
    }
    source = REPOSITORY / "src" / "querist"
    declared = {
        f"querist.{path.parent.name}"
        for path in source.glob("*/__init__.py")
        if "__all__" in path.read_text()
    }
    assert declared <= set(maker.MODULES) | internal


def test_what_the_page_shows_of_a_module_exists(maker: ModuleType) -> None:
    for name, names in maker.ONLY.items():
        module = importlib.import_module(name)
        assert [n for n in names if not hasattr(module, n)] == []
