"""No version below the fixes that the threat model counts on; the pins are inside the ranges."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
FLOORS = {
    "prefect": "3.6.28",
    "mlflow": "3.11",
    "torch": "2.10",
    "skops": "0.13",
    "pyyaml": "6",
    "safetensors": "0.5",
}
"""Code execution and bypassed checks were repaired up to these (RELIABILITY.md, facts)."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict[str, Requirement]:
    content = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = content.get("optional-dependencies", {}).values()
    lines = [*content["dependencies"], *(line for extra in extras for line in extra)]
    found = map(Requirement, lines)
    return {normal(r.name): r for r in found if r.url is None}


def pins() -> dict[str, Version]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in lines)
    return {normal(m[1]): Version(m[2]) for m in found if m}


def floor(requirement: Requirement) -> Version:
    return max(
        Version(s.version) for s in requirement.specifier if s.operator in (">=", "==", "~=")
    )


@pytest.mark.parametrize("name", FLOORS)
def test_floors(name: str) -> None:
    assert floor(project()[name]) >= Version(FLOORS[name])


def test_every_requirement_has_a_floor() -> None:
    without = [
        name
        for name, requirement in project().items()
        if not any(s.operator in (">=", "==", "~=") for s in requirement.specifier)
    ]
    assert without == []


def test_pins_are_inside_the_ranges() -> None:
    pinned, ranges = pins(), project()
    assert len(pinned) > 50
    outside = {
        name: (str(pinned[name]), str(requirement.specifier))
        for name, requirement in ranges.items()
        if name in pinned and not requirement.specifier.contains(pinned[name], prereleases=True)
    }
    assert outside == {}


@pytest.mark.parametrize("name", FLOORS)
def test_what_the_threat_model_counts_on_is_pinned(name: str) -> None:
    assert pins()[name] >= Version(FLOORS[name])
