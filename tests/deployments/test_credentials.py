"""Credentials: from the environment, or made once in a file that only its owner reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from querist.deployments.credentials import load_credentials
from querist.errors import ConfigurationError


def test_they_are_made_once(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    made = load_credentials(file, {})
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_credentials(file, {}) == made
    assert made.prefect_auth.startswith("querist:")
    assert len({made.prefect_auth, made.mlflow_password, made.mlflow_secret_key}) == 3


def test_those_of_the_environment_win_and_are_not_written(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    given = {
        "QUERIST_PREFECT_AUTH": "me:a-long-password",
        "QUERIST_MLFLOW_PASSWORD": "another-password",
        "QUERIST_MLFLOW_SECRET_KEY": "a-key-of-some-length",
    }
    found = load_credentials(file, given)
    assert found.prefect_auth == "me:a-long-password"
    assert not file.exists()
    partly = load_credentials(file, {"QUERIST_PREFECT_AUTH": "me:a-long-password"})
    assert partly.prefect_auth == "me:a-long-password"
    assert "a-long-password" not in file.read_text()


def test_they_are_not_shown(tmp_path: Path) -> None:
    made = load_credentials(tmp_path / "credentials.json", {})
    assert made.mlflow_password not in repr(made)
    assert made.prefect_auth not in str(made)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("QUERIST_PREFECT_AUTH", "a:b", "has at least 12 characters, not 3"),
        ("QUERIST_PREFECT_AUTH", "no-colon-in-here", "has the form user:password"),
        ("QUERIST_MLFLOW_PASSWORD", "", "has at least 12 characters, not 0"),
    ],
)
def test_weak_ones_are_refused(variable: str, value: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        load_credentials(tmp_path / "credentials.json", {variable: value})
    assert not value or value not in str(error.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    load_credentials(file, {})
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others can read it"):
        load_credentials(file, {})


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_a_damaged_file_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.touch(0o600)
    file.write_text(content)
    if content == "[]":
        assert load_credentials(file, {}).prefect_auth
        return
    with pytest.raises(ConfigurationError, match="is damaged: delete it"):
        load_credentials(file, {})
