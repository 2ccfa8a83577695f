"""An address may be written down anywhere: it holds no password."""

from __future__ import annotations

import pytest

from querist.errors import ConfigurationError
from querist.tracking.address import check_address, is_remote, is_server


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000", "https://tracker.example/mlflow?workspace=a", "sqlite:////x/y@z.db",
        "sqlite:///mlflow.db", "postgresql://user@db.example/mlflow", "databricks://profile",
        "file:///x",
    ],
)  # fmt: skip
def test_an_address_without_a_secret_is_taken(uri: str) -> None:
    assert check_address(uri) == uri


@pytest.mark.parametrize(
    ("uri", "instead"),
    [
        ("http://me:canary@tracker.example:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("HTTPS://canary@tracker.example", "MLFLOW_TRACKING_PASSWORD"),
        ("https://tracker.example/?token=canary", "MLFLOW_TRACKING_PASSWORD"),
        ("http://:canary@tracker.example", "MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://me:canary@tracker.example/mlflow", "PGPASSWORD"),
        ("postgresql+psycopg://tracker.example/mlflow?user=me&PASSWORD=canary", "PGPASSWORD"),
    ],
)
def test_a_password_is_refused_and_not_repeated(uri: str, instead: str) -> None:
    with pytest.raises(ConfigurationError, match=r"that of 'tracker\.example' does") as refusal:
        check_address(uri)
    assert instead in str(refusal.value)
    assert "canary" not in str(refusal.value)


def test_what_is_no_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="use a form like") as refusal:
        check_address("http://[canary")
    assert "canary" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_what_can_be_silent() -> None:
    assert [is_server(u) for u in ("http://a", "https://a", "sqlite:///a", "postgresql://a")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [is_remote(u) for u in ("http://a", "postgresql://a", "sqlite:///a", "x/y")] == [
        True, True, False, False,
    ]  # fmt: skip
