"""A logged model names what it needs."""

from __future__ import annotations

from importlib.metadata import version

from querist.tracking.model_requirements import model_requirements
from querist.tracking.user_code import UserCode


def test_versions_are_pinned_without_local_builds_and_named_once() -> None:
    numpy = f"numpy=={version('numpy')}"
    found = model_requirements(UserCode((), (numpy, "other==1.0"), (), ()))
    assert found[0] == f"mlflow=={version('mlflow')}"
    assert f"torch=={version('torch').partition('+')[0]}" in found
    assert found.count(numpy) == 1
    assert found[-1] == "other==1.0"
    assert all("==" in requirement and "+" not in requirement for requirement in found)
